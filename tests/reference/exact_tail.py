"""Exact rational arithmetic that the tests of the twins are held against."""

from __future__ import annotations

from fractions import Fraction
from math import comb

from mpmath import mpf
from mpmath.libmp import to_rational

SLACK = Fraction(1, 10**30)


def exact(value: mpf) -> Fraction:
    """The rational number that an mpf is."""
    numerator, denominator = to_rational(value._mpf_)
    return Fraction(int(numerator), int(denominator))


def exact_cdf(errors: int, n: int, p: Fraction) -> Fraction:
    """P[Bin(n, p) <= errors] by enumeration of the outcomes."""
    return sum(
        (comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(errors + 1)), start=Fraction(0)
    )


def is_upper(value: mpf, errors: int, n: int, probability: Fraction) -> bool:
    """Whether value is max{p : P[Bin(n, p) <= errors] >= probability} to 30 decimals."""
    if errors == n:
        return value == 1
    below, above = exact(value) - SLACK, exact(value) + SLACK
    holds_below = below <= 0 or exact_cdf(errors, n, below) > probability
    fails_above = above >= 1 or exact_cdf(errors, n, above) < probability
    return holds_below and fails_above
