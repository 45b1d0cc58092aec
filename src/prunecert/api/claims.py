"""From counts to a claim: the bound, what it spends, what it assumes. Pure; no network, no file.

`certify` and `verify` call the same function with the same counts, so a certificate is
regenerated, not trusted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prunecert.bounds.holdout import (
    cost_of_pruning_upper,
    disagreement_upper,
    holdout_upper,
    per_class_upper,
)
from prunecert.bounds.occam import occam_upper
from prunecert.certificate import MOST, SMALLEST_DELTA
from prunecert.inversions import round_up
from prunecert.types import Assumption, InputError, Role

IID = Assumption(
    "the samples are drawn independently from the distribution of new data", "standing"
)
BOUNDED = Assumption("the loss is zero or one", "by construction")
FIXED = Assumption(
    "delta, the rows of the sample and the preparation of their inputs were fixed before the "
    "sample was looked at",
    "declared",
)
CODE = Assumption(
    "the code is prefix-free, and its length is that of the bytes that the decoder reads",
    "by construction",
)
CODE_FIXED = Assumption(
    "the constants of the code were fixed before the sample was looked at", "declared"
)
UNTOUCHED = Assumption("the hold-out was not used to make or to choose the network", "declared")
DENSE_MEANT = Assumption(
    "the dense network that it is compared with is the one meant, untouched by the hold-out too",
    "declared",
)


@dataclass(frozen=True)
class Terms:
    """What a claim is made under, apart from the counts."""

    delta: float
    code_bits: int | None = None
    tried: int = 1
    target: float | None = None
    k: int = 1


@dataclass(frozen=True)
class Claim:
    """One statement in numbers."""

    method: str
    quantity: str
    risk_bound: float
    n: int
    errors: int
    ledger: tuple[tuple[str, float], ...]
    assumptions: tuple[Assumption, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    selection_bits: float = 0.0


Counts = Mapping[str, Any]


def occam(counts: Counts, terms: Terms) -> Claim:
    """Code certificate (THEORY 2.1): a list of T alternatives costs log2 T bits."""
    assert terms.code_bits is not None
    selection_bits = round_up(math.log2(terms.tried))
    bits = terms.code_bits + selection_bits
    bound = occam_upper(counts["errors"], counts["n"], bits, terms.delta)
    return Claim(
        "occam",
        "zero-one risk",
        round_up(bound),
        counts["n"],
        counts["errors"],
        (("Occam bound, all codewords at once", terms.delta),),
        (IID, BOUNDED, CODE, CODE_FIXED, FIXED, *_alternatives(terms.tried)),
        selection_bits=selection_bits,
    )


def _alternatives(tried: int) -> tuple[Assumption, ...]:
    text = f"what the file does not tell was one of {tried} alternatives listed before the sample"
    return (Assumption(text, "declared"),) if tried > 1 else ()


def untouched(tried: int) -> Assumption:
    """What the hold-out may have been used for: nothing, or to choose from a list paid for."""
    if tried == 1:
        return UNTOUCHED
    return Assumption(
        "the hold-out was not used to make the network, only to choose it from a list of "
        f"{tried} fixed before the hold-out was looked at",
        "declared",
    )


def holdout(counts: Counts, terms: Terms) -> Claim:
    """Hold-out certificate (THEORY 2.3); a list of T networks fixed beforehand costs δ/T each."""
    bound = holdout_upper(counts["errors"], counts["n"], terms.delta / terms.tried)
    k = terms.k
    return Claim(
        "holdout" if k == 1 else "top-k",
        "zero-one risk" if k == 1 else f"top-{k} risk",
        round_up(bound),
        counts["n"],
        counts["errors"],
        _shared("hold-out bound", terms),
        (IID, BOUNDED, untouched(terms.tried), FIXED),
        {} if k == 1 else {"k": k},
    )


def per_class(counts: Counts, terms: Terms) -> Claim:
    """Every class at δ/K (THEORY 2.6); the risk bound is that of the worst class."""
    errors, sizes = list(counts["class_errors"]), list(counts["class_sizes"])
    bounds = [round_up(float(b)) for b in per_class_upper(errors, sizes, terms.delta / terms.tried)]
    rows = [
        {"class": c, "errors": e, "n": m, "risk_bound": b}
        for c, (e, m, b) in enumerate(zip(errors, sizes, bounds, strict=True))
    ]
    given = Assumption(
        "class sizes are taken as given: the statement is conditional on them", "standing"
    )
    return Claim(
        "per-class",
        "worst class risk",
        max(bounds),
        sum(sizes),
        sum(errors),
        _shared(f"hold-out bounds of {len(sizes)} classes, an equal share each", terms),
        (IID, BOUNDED, given, untouched(terms.tried), FIXED),
        {"per_class": rows},
    )


def disagreement(counts: Counts, terms: Terms) -> Claim:
    """Different predictions on unlabelled inputs (THEORY 2.5), abstentions counted."""
    bound = disagreement_upper(counts["errors"], counts["n"], terms.delta / terms.tried)
    return Claim(
        "disagreement",
        "disagreement",
        round_up(bound),
        counts["n"],
        counts["errors"],
        _shared("disagreement bound", terms),
        (IID, BOUNDED, untouched(terms.tried), DENSE_MEANT, FIXED),
    )


def cost_of_pruning(counts: Counts, terms: Terms) -> Claim:
    """Risk of the pruned network minus risk of the dense one (THEORY 2.7)."""
    worse, better, n = counts["worse"], counts["better"], counts["n"]
    delta = terms.delta / terms.tried
    bound = cost_of_pruning_upper(worse, better, n, delta)
    ledger = [("samples lost by pruning", delta / 2), ("samples won by pruning", delta / 2)]
    if terms.tried > 1:
        ledger.append((f"the other {terms.tried - 1} networks of the list", terms.delta - delta))
    return Claim(
        "cost-of-pruning",
        "risk increase",
        round_up(max(bound, 0.0)),
        n,
        worse,
        tuple(ledger),
        (IID, BOUNDED, untouched(terms.tried), DENSE_MEANT, FIXED),
        {"worse": worse, "better": better},
    )


def _shared(item: str, terms: Terms) -> tuple[tuple[str, float], ...]:
    """δ/T for this network, the rest for the others of the list."""
    share = terms.delta / terms.tried
    if terms.tried == 1:
        return ((item, terms.delta),)
    others = f"the other {terms.tried - 1} networks of the list"
    return (item, share), (others, terms.delta - share)


CLAIMS: dict[str, Callable[[Counts, Terms], Claim]] = {
    "occam": occam,
    "holdout": holdout,
    "top-k": holdout,
    "per-class": per_class,
    "disagreement": disagreement,
    "cost-of-pruning": cost_of_pruning,
}


def counts_of(claim: Claim | Mapping[str, Any]) -> dict[str, Any]:
    """The counts a claim was made from, read back out of it (or of a certificate's fields)."""
    get = claim.__getattribute__ if isinstance(claim, Claim) else claim.__getitem__
    method, details = get("method"), get("details")
    counts: dict[str, Any] = {"n": get("n")}
    if method == "cost-of-pruning":
        return {**counts, "worse": details["worse"], "better": details["better"]}
    if method == "per-class":
        rows = details["per_class"]
        counts["class_errors"] = [row["errors"] for row in rows]
        return {**counts, "class_sizes": [row["n"] for row in rows]}
    return {**counts, "errors": get("errors")}


def role_of(method: str) -> Role:
    """The role in which a method reads its sample."""
    roles: dict[str, Role] = {"occam": "bound", "disagreement": "unlabeled"}
    return roles.get(method, "holdout")


def check_terms(delta: float, tried: int = 1, target: float | None = None) -> None:
    """InputError unless a certificate can be made out under these terms."""
    if not SMALLEST_DELTA <= delta <= 1 - SMALLEST_DELTA:
        raise InputError(
            f"--delta {delta}: expected a number strictly between 0 and 1, at least "
            f"{SMALLEST_DELTA:g} from either"
        )
    if not 1 <= tried <= MOST:
        raise InputError(f"--tried {tried}: expected a count of at least 1")
    if target is not None and not 0 <= target <= 1:
        raise InputError(f"--target-error {target}: expected a number from 0 to 1")
