"""Statements on a sample that neither made nor chose the network (THEORY 2.3, 2.5 to 2.7)."""

from __future__ import annotations

from collections.abc import Sequence

from mpmath import mpf, workdps

from prunecert.reference.binomial import (
    DIGITS,
    binomial_lower,
    binomial_upper,
    demand,
    demand_delta,
)


@workdps(DIGITS)
def holdout(errors: int, n: int, delta: float) -> mpf:
    """B̄(errors, n, delta), for any loss of a sample that is 0 or 1: plain errors, top-k errors."""
    demand_delta(delta)
    return binomial_upper(errors, n, mpf(delta))


@workdps(DIGITS)
def per_class(errors: Sequence[int], n: Sequence[int], delta: float) -> list[mpf]:
    """B̄(errors_c, n_c, delta/K) for each of the K classes, which is 1 for an empty class."""
    demand_delta(delta)
    demand(
        len(errors) == len(n) > 0,
        "errors",
        f"one count per class of n, got {len(errors)} and {len(n)}",
    )
    share = mpf(delta) / len(n)
    classes = list(zip(errors, n, strict=True))
    bounds = {  # classes with the same counts have the same bound
        (count, size): binomial_upper(count, size, share) for count, size in set(classes)
    }
    return [bounds[counts] for counts in classes]


@workdps(DIGITS)
def disagreement(count: int, n: int, delta: float) -> mpf:
    """B̄(count, n, delta): how often two networks differ on a new input."""
    return holdout(count, n, delta)


@workdps(DIGITS)
def cost_of_pruning(worse: int, better: int, n: int, delta: float) -> mpf:
    """B̄(worse, n, delta/2) - B̲(better, n, delta/2) >= R(pruned) - R(dense)."""
    demand_delta(delta)
    demand(worse + better <= n, "worse + better", f"at most n = {n}, got {worse} + {better}")
    half = mpf(delta) / 2
    return binomial_upper(worse, n, half) - binomial_lower(better, n, half)


@workdps(DIGITS)
def labelled_transfer(risk_bound: float, better: int, n: int, delta: float) -> mpf:
    """min(1, risk_bound + B̄(better, n, delta)), from R(pruned) <= risk_bound to the dense one."""
    demand(0 <= risk_bound <= 1, "risk_bound", f"a number from 0 to 1, got {risk_bound}")
    return min(mpf(1), mpf(risk_bound) + holdout(better, n, delta))
