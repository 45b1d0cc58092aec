"""Select: the sparsest network of a list that a hold-out certifies (fixed-sequence testing)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prunecert import measuring
from prunecert.api.certification import Options, equal_to_trained, located, outputs_of
from prunecert.api.claims import BOUNDED, DELTA_FIXED, IID, UNTOUCHED, Claim, Terms, check_delta
from prunecert.api.issuing import Issued, issue
from prunecert.api.networks import Network, refuse_trained_on
from prunecert.api.records import AS_GIVEN
from prunecert.bounds.holdout import cost_of_pruning_upper, samples_needed
from prunecert.bounds.selection import binomial_p_value, errors_that_pass
from prunecert.certificate import DENSE, SELECTION, dump, percent, sha256
from prunecert.data import Sample
from prunecert.inversions import round_up
from prunecert.results import evidence_bytes
from prunecert.types import Assumption, Counts, InputError

LISTED = Assumption(
    "the list of networks, its order and the target were fixed before the hold-out was looked at",
    "declared",
)


@dataclass(frozen=True)
class Criterion:
    """What a network must be shown to satisfy; either limit may be None, not both."""

    target_error: float | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        if self.target_error is None and self.max_drop is None:
            raise InputError("select: expected --target-error, or --dense with --max-drop")
        for name, value in (("--target-error", self.target_error), ("--max-drop", self.max_drop)):
            if value is not None and not 0 < value < 1:
                raise InputError(f"{name} {value}: expected a number strictly between 0 and 1")

    def words(self) -> str:
        """What is shown, in words."""
        parts = []
        if self.target_error is not None:
            parts.append(f"an error of at most {percent(self.target_error)}")
        if self.max_drop is not None:
            parts.append(f"a loss of at most {percent(self.max_drop)}")
        return " and ".join(parts)

    def p_value(self, row: Mapping[str, Any], n: int) -> float:
        """Of "the target is missed"; 0 where only the drop is limited."""
        if self.target_error is None:
            return 0.0
        return float(binomial_p_value(row["errors"], n, self.target_error))

    def holds(self, row: Mapping[str, Any], n: int, delta: float) -> bool:
        """Every limit shown at level delta: each is tested at the full delta, because a network
        that misses one is accepted only if that very test fails (intersection–union)."""
        if self.p_value(row, n) > delta:
            return False
        if self.max_drop is None:
            return True
        return bool(cost_of_pruning_upper(row["worse"], row["better"], n, delta) <= self.max_drop)


def walk(
    rows: Sequence[Mapping[str, Any]], n: int, criterion: Criterion, delta: float, correction: str
) -> list[dict[str, Any]]:
    """Every row with its p-value and whether it is accepted (THEORY 2.4).

    `sequence`: one walk per `row["sequence"]`, delta split evenly, each stops at its first failure.
    `simultaneous`: every network at delta over their number.
    """
    names = list(dict.fromkeys(row["sequence"] for row in rows))
    share = delta / (len(names) if correction == "sequence" else len(rows))
    stopped: set[str] = set()
    out = []
    for row in rows:
        accepted = row["sequence"] not in stopped and criterion.holds(row, n, share)
        if correction == "sequence" and not accepted:
            stopped.add(row["sequence"])
        p_value = min(round_up(criterion.p_value(row, n)), 1.0)
        out.append({**row, "p_value": p_value, "accepted": accepted})
    return out


def selection_claim(
    rows: Sequence[Mapping[str, Any]], n: int, criterion: Criterion, delta: float, correction: str
) -> Claim | None:
    """The claim about all accepted networks, named by the sparsest; None when none is accepted."""
    walked = walk(rows, n, criterion, delta, correction)
    accepted = [row for row in walked if row["accepted"]]
    if not accepted:
        return None
    chosen = sparsest(accepted)
    names = list(dict.fromkeys(row["sequence"] for row in rows))
    parts = names if correction == "sequence" else [r["sha256"][:12] for r in rows]
    limits = {
        name: value
        for name, value in (
            ("target_error", criterion.target_error),
            ("max_drop", criterion.max_drop),
        )
        if value is not None
    }
    by_risk = criterion.target_error is not None
    return Claim(
        "fixed-sequence" if correction == "sequence" else "simultaneous",
        "zero-one risk" if by_risk else "risk increase",
        float(limits["target_error" if by_risk else "max_drop"]),
        n,
        chosen["errors"],
        tuple((f"sequence {name}", delta / len(parts)) for name in parts),
        (IID, BOUNDED, LISTED, UNTOUCHED, DELTA_FIXED),
        {
            **limits,
            "networks": len(rows),
            "accepted": len(accepted),
            "selected": chosen["sha256"],
            "sparsity": chosen["sparsity"],
            "sequence": walked,
        },
    )


def sparsest(accepted: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The network to use: the sparsest, or where sparsities are not known the last of the list."""
    if any(row["sparsity"] is None for row in accepted):
        return accepted[-1]
    return max(accepted, key=lambda row: row["sparsity"])


@dataclass(frozen=True)
class Selection:
    """What `select` found: the walk, and the certificate when something was accepted."""

    rows: list[dict[str, Any]]
    issued: Issued | None
    sentence: str
    summary: dict[str, Any]

    @property
    def accepted(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["accepted"]]


def select(
    networks: Sequence[Network],
    sample: Sample,
    *,
    delta: float,
    target_error: float | None = None,
    max_drop: float | None = None,
    dense: Network | None = None,
    correction: str = "sequence",
    trained: Sample | None = None,
    options: Options = Options(),
) -> Selection:
    """Walk the networks, densest first; networks of several methods form several sequences."""
    check_delta(delta)
    criterion = Criterion(target_error, max_drop)
    check_correction(correction, dense is not None, max_drop)
    refuse_trained_on([*networks, *([dense] if dense else [])], located(sample))
    equal = equal_to_trained(trained, sample)
    ordered = sorted(networks, key=lambda network: network.sparsity)
    reference = None if dense is None else outputs_of(dense, sample, options)
    rows = []
    for network in ordered:
        found = outputs_of(network, sample, options)
        row = {
            "sequence": sequence_of(network),
            "sha256": network.sha256,
            "sparsity": round(network.sparsity, 6),
            "errors": measuring.count_errors(found),
        }
        if reference is not None:
            pairs = measuring.paired_outcomes(found, reference)
            row |= {"worse": pairs.worse, "better": pairs.better}
        rows.append(row)
    found, claim = judged(rows, sample.n, criterion, delta, correction)
    if claim is None:
        return found
    chosen = next(n for n in ordered if n.sha256 == claim.details["selected"])
    terms = Terms(delta, target=target_error)
    return replace(found, issued=_issued(claim, terms, chosen, dense, sample, equal, found.summary))


def check_correction(correction: str, with_dense: bool, max_drop: float | None) -> None:
    """InputError for an unknown correction, or half of what a limit on the drop needs."""
    if correction not in ("sequence", "simultaneous"):
        raise InputError(f"--correction {correction}: expected sequence or simultaneous")
    if (max_drop is None) == with_dense:
        raise InputError("select: --max-drop and --dense belong together: give both or neither")


def judged(
    rows: Sequence[Mapping[str, Any]], n: int, criterion: Criterion, delta: float, correction: str
) -> tuple[Selection, Claim | None]:
    """The walk in rows and words, and its claim; no certificate yet."""
    walked = walk(rows, n, criterion, delta, correction)
    sentence = verdict(walked, n, criterion, delta)
    summary = {
        "target_error": criterion.target_error,
        "max_drop": criterion.max_drop,
        "delta": delta,
        "n": n,
        "correction": correction,
        "sequence": walked,
        "verdict": sentence,
    }
    claim = selection_claim(rows, n, criterion, delta, correction)
    return Selection(walked, None, sentence, summary), claim


def sequence_of(network: Network) -> str:
    """Networks pruned by one method form one sequence; without a run log they are "as listed"."""
    return str(network.log.get("method", "as listed"))


def verdict(walked: Sequence[Mapping[str, Any]], n: int, criterion: Criterion, delta: float) -> str:
    """One sentence: the sparsest network shown good enough, or what was missing for the densest."""
    accepted = [row for row in walked if row["accepted"]]
    if accepted:
        best = sparsest(accepted)
        shown = f"{criterion.words()} is certified at confidence {percent(round(1 - delta, 12))}."
        if best["sparsity"] is None:
            return (
                f"{len(accepted)} of {len(walked)} accepted, {best['sequence']} the last: {shown}"
            )
        return f"{percent(best['sparsity'])} of the weights can go ({best['sequence']}): {shown}"
    densest = walked[0]
    if criterion.target_error is None:
        return (
            f"Nothing accepted: the densest network loses {densest['worse']} and wins "
            f"{densest['better']} of {n} samples, too many to show {criterion.words()}."
        )
    sentence = (
        f"Nothing accepted: the densest network makes {densest['errors']} errors on {n} samples"
    )
    allowed = errors_that_pass(n, criterion.target_error, delta)
    sentence += ", none would have passed" if allowed is None else f", {allowed} would have passed"
    rate = densest["errors"] / n
    if rate < criterion.target_error:
        needed = samples_needed(criterion.target_error, rate, delta)
        return f"{sentence}; at this error rate {int(needed):,} hold-out samples are needed."
    return f"{sentence}; no hold-out of any size would help at this error rate."


def _issued(
    claim: Claim,
    terms: Terms,
    chosen: Network,
    dense: Network | None,
    sample: Sample,
    equal: int,
    summary: Mapping[str, Any],
) -> Issued:
    code = chosen.architecture.encode(chosen.tensors)
    extra = {SELECTION: dump(summary)}
    details: dict[str, Any] = {"equal_rows": equal}
    if dense is not None:
        extra[DENSE] = dense.architecture.encode(dense.tensors).data
        details["dense"] = {"sha256": sha256(extra[DENSE]), "weights_sha256": dense.sha256}
    parts = {"counts": Counts(claim.errors, claim.n, sample.name), "code": code.code}
    return issue(
        claim,
        terms,
        chosen,
        code.data,
        sample,
        object_text=AS_GIVEN,
        evidence=evidence_bytes(parts, {}),
        details=details,
        notes=chosen.notes,
        extra_files=extra,
    )
