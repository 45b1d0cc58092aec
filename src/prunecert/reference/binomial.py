"""Binomial tail and its two inverses, and the inverse of the binary kl (THEORY 0).

Naive on purpose: fifty-digit numbers whose exponent is unbounded, so that 2^-bits does not
underflow and no logarithm is needed, plain sums and plain bisection. Results keep their fifty
digits after return; arithmetic on them outside `workdps(50)` rounds to mpmath's own setting.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index

from mpmath import binomial, log, mpf, workdps

from prunecert.types import InputError

DIGITS = 50
WIDTH = mpf("1e-33")  # of a bisection bracket, relative to its upper end
NEGLIGIBLE = mpf("1e-60")  # of a tail sum, relative to the sum so far


def demand(holds: bool, field: str, expected: str) -> None:
    """Raise `InputError` naming the argument unless it is in its range."""
    if not holds:
        raise InputError(f"{field}: expected {expected}")


def demand_counts(errors: int, n: int) -> tuple[int, int]:
    """`errors` and `n` as Python integers with 0 <= errors <= n."""
    demand(0 <= index(errors) <= index(n), "errors", f"a count from 0 to n = {n}, got {errors}")
    return index(errors), index(n)


def demand_delta(delta: float) -> None:
    demand(0 < delta < 1, "delta", f"a number above 0 and below 1, got {delta}")


def largest(holds: Callable[[mpf], bool], low: mpf) -> mpf:
    """The largest p of [low, 1] for which `holds(p)`, true up to there and false beyond."""
    high = mpf(1)
    while high - low > WIDTH * high:
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


@workdps(DIGITS)
def binomial_cdf(errors: int, n: int, p: mpf) -> mpf:
    """P[Bin(n, p) <= errors] for 0 < p < 1, summed from i = errors downwards (THEORY 2.1)."""
    errors, n = demand_counts(errors, n)
    if errors == n:
        return mpf(1)
    p = mpf(p)
    odds = (1 - p) / p
    term = binomial(n, errors) * p**errors * (1 - p) ** (n - errors)
    total = term
    for i in range(errors, 0, -1):
        ratio = odds * i / (n - i + 1)  # of term i-1 to term i; it only falls as i falls
        term *= ratio
        total += term
        if term < NEGLIGIBLE * total * (1 - ratio):  # the rest is below term·ratio/(1 - ratio)
            break
    return min(total, mpf(1))  # the last of fifty digits may be rounded up past a probability


@workdps(DIGITS)
def binomial_upper(errors: int, n: int, probability: mpf) -> mpf:
    """B̄(errors, n, probability) = max{p : P[Bin(n, p) <= errors] >= probability}."""
    errors, n = demand_counts(errors, n)
    if errors == n:
        return mpf(1)
    return largest(lambda p: binomial_cdf(errors, n, p) >= probability, mpf(0))


@workdps(DIGITS)
def binomial_lower(errors: int, n: int, probability: mpf) -> mpf:
    """B̲(errors, n, probability) = 1 - B̄(n - errors, n, probability)."""
    errors, n = demand_counts(errors, n)
    return 1 - binomial_upper(n - errors, n, probability)


@workdps(DIGITS)
def binary_kl(q: mpf, p: mpf) -> mpf:
    """kl(q‖p) = q ln(q/p) + (1-q) ln((1-q)/(1-p)) in nats, 0 < p < 1, with 0 ln 0 = 0."""
    q, p = mpf(q), mpf(p)
    ones = q * log(q / p) if q > 0 else mpf(0)
    zeros = (1 - q) * log((1 - q) / (1 - p)) if q < 1 else mpf(0)
    return ones + zeros


@workdps(DIGITS)
def kl_inverse(q: mpf, nats: mpf) -> mpf:
    """kl⁻¹(q, nats) = max{p : kl(q‖p) <= nats}."""
    q = mpf(q)
    if q == 1:
        return mpf(1)
    return largest(lambda p: binary_kl(q, p) <= nats, q)
