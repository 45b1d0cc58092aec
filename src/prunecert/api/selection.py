"""Select: the sparsest network of a list that a hold-out certifies (fixed-sequence testing)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prunecert import measuring
from prunecert.api.certification import equal_to_trained, located
from prunecert.api.claims import BOUNDED, DENSE_MEANT, FIXED, IID, Claim, Terms, check_terms
from prunecert.api.counting import Options, outputs_of
from prunecert.api.issuing import Issued, dense_file, issue
from prunecert.api.networks import Network, refuse_trained_on
from prunecert.api.records import AS_GIVEN
from prunecert.bounds.holdout import MOST_SAMPLES, cost_of_pruning_upper, samples_needed
from prunecert.bounds.selection import binomial_p_value, errors_that_pass
from prunecert.certificate import SELECTION, confidence_of, dump, percent
from prunecert.data import Sample
from prunecert.inversions import round_up
from prunecert.results import evidence_bytes
from prunecert.types import Assumption, InputError

LISTED = Assumption(
    "the list of networks, its order and the target were fixed before the hold-out was looked at, "
    "which was not used to make them",
    "declared",
)
OTHERS = Assumption(
    "the other networks of the list, which are not in this folder, made the errors recorded",
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

    def p_value(self, row: Mapping[str, Any], n: int) -> float | None:
        """Of "the target is missed"; None where only the drop is limited."""
        if self.target_error is None:
            return None
        return float(binomial_p_value(row["errors"], n, self.target_error))

    def holds(self, row: Mapping[str, Any], n: int, delta: float) -> bool:
        """Every limit shown at level delta: each is tested at the full delta, because a network
        that misses one is accepted only if that very test fails (intersection–union)."""
        p_value = self.p_value(row, n)
        if p_value is not None and p_value > delta:
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
    share = share_of(rows, delta, correction)
    stopped: set[str] = set()
    out = []
    for row in rows:
        accepted = row["sequence"] not in stopped and criterion.holds(row, n, share)
        if correction == "sequence" and not accepted:
            stopped.add(row["sequence"])
        p_value = criterion.p_value(row, n)
        shown = None if p_value is None else min(round_up(p_value), 1.0)
        out.append({**row, "p_value": shown, "accepted": accepted})
    return out


def share_of(rows: Sequence[Mapping[str, Any]], delta: float, correction: str) -> float:
    """What each network is tested at: delta over the sequences, or over all networks."""
    sequences = {row["sequence"] for row in rows}
    return delta / (len(sequences) if correction == "sequence" else len(rows))


def selection_claim(
    rows: Sequence[Mapping[str, Any]], n: int, criterion: Criterion, delta: float, correction: str
) -> Claim | None:
    """The claim about the sparsest accepted network; None when none is accepted."""
    _require_densest_first(rows)
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
        (
            *(IID, BOUNDED, LISTED, FIXED),
            *((OTHERS,) if len(rows) > 1 else ()),
            *((DENSE_MEANT,) if criterion.max_drop is not None else ()),
        ),
        {
            **limits,
            "networks": len(rows),
            "accepted": len(accepted),
            "selected": chosen["sha256"],
            "sparsity": chosen["sparsity"],
            "sequence": walked,
        },
    )


def _require_densest_first(rows: Sequence[Mapping[str, Any]]) -> None:
    """InputError unless sparsities, where known, never fall: an order nobody could tune."""
    known = [row["sparsity"] for row in rows]
    if known != [None] * len(rows) and (None in known or known != sorted(known)):
        raise InputError("the networks of a selection: expected the densest first")


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
    check_terms(delta, target=target_error)
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
    sentence = verdict(walked, n, criterion, delta, share_of(rows, delta, correction))
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


def verdict(
    walked: Sequence[Mapping[str, Any]], n: int, criterion: Criterion, delta: float, share: float
) -> str:
    """One sentence: the sparsest network shown good enough, or what the densest missed at its
    share of delta."""
    accepted = [row for row in walked if row["accepted"]]
    if accepted:
        best = sparsest(accepted)
        shown = f"{criterion.words()} is certified at confidence {percent(confidence_of(delta))}."
        if best["sparsity"] is None:
            return f"{len(accepted)} of {len(walked)} accepted: {shown}"
        return f"{percent(best['sparsity'])} of the weights can go ({best['sequence']}): {shown}"
    densest = walked[0]
    p_value = criterion.p_value(densest, n)
    if criterion.target_error is None or p_value is None or p_value <= share:
        return (
            f"Nothing accepted: the densest network loses {densest['worse']} and wins "
            f"{densest['better']} of {n} samples: not enough to show {criterion.words()}."
        )
    sentence = (
        f"Nothing accepted: the densest network makes {densest['errors']} errors on {n} samples"
    )
    allowed = errors_that_pass(n, criterion.target_error, share)
    sentence += ", none would have passed" if allowed is None else f", {allowed} would have passed"
    rate = densest["errors"] / n
    if rate >= criterion.target_error:
        return f"{sentence}; no hold-out of any size would help at this error rate."
    try:
        needed = f"{samples_needed(criterion.target_error, rate, share):,}"
    except InputError:
        needed = f"more than {MOST_SAMPLES:,}"
    return f"{sentence}; at this error rate {needed} hold-out samples are needed."


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
    extra, named = dense_file(dense)
    details: dict[str, Any] = {"equal_rows": equal, **named}
    # No counts: a plain hold-out bound of a network chosen on that hold-out would not hold.
    parts = {"code": code.code}
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
        extra_files={SELECTION: dump(summary), **extra},
    )
