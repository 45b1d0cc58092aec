"""What every claim is made of: terms, assumptions, shares of delta. Pure; no network, no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prunecert.certificate import MOST, SMALLEST_DELTA
from prunecert.types import Assumption, InputError

IID = Assumption(
    "the samples are drawn independently from the distribution of new data", "standing"
)
BOUNDED = Assumption("the loss is zero or one", "by construction")
FIXED = Assumption(
    "delta, the rows of the sample and the preparation of their inputs were fixed before the "
    "sample was looked at",
    "declared",
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


def untouched(tried: int) -> Assumption:
    """What the hold-out may have been used for: nothing, or to choose from a list paid for."""
    if tried == 1:
        return UNTOUCHED
    return Assumption(
        "the hold-out was not used to make the network, only to choose it from a list of "
        f"{tried} fixed before the hold-out was looked at",
        "declared",
    )


def shared(item: str, terms: Terms) -> tuple[tuple[str, float], ...]:
    """δ/T for this network, the rest for the others of the list."""
    return (item, terms.delta / terms.tried), *others(terms)


def others(terms: Terms, what: str = "networks") -> tuple[tuple[str, float], ...]:
    """What the other T − 1 of a list are paid, where there is one."""
    if terms.tried == 1:
        return ()
    rest = terms.delta - terms.delta / terms.tried
    return ((f"the other {terms.tried - 1} {what} of the list", rest),)


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
