"""What the counts in a certificate must satisfy, and the claim that follows from them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunecert.api.claims import CLAIMS, METHODS, Claim, Terms, counts_of
from prunecert.api.selection import Criterion, Selection, judged
from prunecert.api.twins import twin_questions
from prunecert.certificate import CertificateRecord
from prunecert.reference import TWINS
from prunecert.types import CodeError

LAST_DIGIT = 1.5e-6  # of a number rounded up at six digits, where a logarithm's may differ
SELECTIONS = {"fixed-sequence": "sequence", "simultaneous": "simultaneous"}  # → --correction


def refuse_better_than(strict: Mapping[str, Any], record: CertificateRecord, subject: str) -> None:
    """CodeError where the certificate counts fewer errors than the strict recount found.

    `subject` is the hash of the weights (or predictions) in hand: a selection may list it more
    than once.
    """
    for recorded in _recorded_counts(record, subject):
        for name, ours in strict.items():
            if name not in recorded:
                raise CodeError(f"details.{name}: missing")
            if not _covers(name, recorded[name], ours):
                raise CodeError(f"recount: {name} is {ours}, the certificate says {recorded[name]}")


def _recorded_counts(record: CertificateRecord, subject: str) -> list[dict[str, Any]]:
    if record.method in SELECTIONS:
        rows = record.details.get("sequence", [])
        return [{"n": record.n, **row} for row in rows if row["sha256"] == subject]
    try:
        return [counts_of(record.model_dump())]
    except KeyError as missing:
        raise CodeError(f"details.{missing.args[0]}: missing") from None


def _covers(name: str, recorded: Any, ours: Any) -> bool:
    """Counting was conservative, so a recorded count may only be the worse one."""
    if name in ("n", "class_sizes", "holdout_n", "inputs", "loss", "draws"):
        return bool(recorded == ours)
    if name in ("kl_nats", "log_ratio_nats"):  # computed, not counted: the same to the last digit
        return bool(ours <= recorded <= ours + LAST_DIGIT)
    if name == "class_errors":
        enough = (theirs >= count for theirs, count in zip(recorded, ours))
        return len(recorded) == len(ours) and all(enough)
    larger_is_worse = name not in ("better", "mean_log_right")
    return bool(recorded >= ours if larger_is_worse else recorded <= ours)


def claim_again(record: CertificateRecord, code_bits: int | None) -> tuple[Terms, Claim]:
    """The claim that the recorded counts yield."""
    details = record.details
    if record.method in SELECTIONS:
        _, claim = selection_again(record)
        if claim is None:
            raise CodeError("details.sequence: nothing is accepted at these errors")
        return Terms(record.delta, target=details.get("target_error")), claim
    bits = code_bits if METHODS[record.method].coded else None
    terms = Terms(record.delta, bits, record.tried, record.target, details.get("k", 1))
    return terms, CLAIMS[record.method](counts_of(record.model_dump()), terms)


def selection_again(record: CertificateRecord) -> tuple[Selection, Claim | None]:
    """The walk over the recorded rows, in rows and words."""
    details = record.details
    criterion = Criterion(details.get("target_error"), details.get("max_drop"))
    rows = details.get("sequence", [])
    if not rows:
        raise CodeError("details.sequence: expected at least one network")
    if criterion.max_drop is not None and any({"worse", "better"} - row.keys() for row in rows):
        raise CodeError("details.sequence: expected worse and better for every network")
    return judged(rows, record.n, criterion, record.delta, SELECTIONS[record.method])


def require_selected(claim: Claim, subject: str, sparsity: float | None) -> None:
    """CodeError unless what a selection chose is what lies in the folder."""
    if claim.method in SELECTIONS:
        if claim.details["selected"] != subject:
            raise CodeError("details.selected: is another network than the one in this folder")
        if claim.details["sparsity"] != sparsity:
            raise CodeError(f"details.sparsity: is {claim.details['sparsity']}, not {sparsity}")


def ask_twins(claim: Claim, terms: Terms) -> None:
    """The slow, independent computation must not exceed the recorded bound."""
    for name, arguments, recorded in twin_questions(claim, terms):
        value = TWINS[name](**arguments)
        if value > recorded:
            raise CodeError(f"risk_bound: {recorded} is below {float(value):.8f}, the bound")
