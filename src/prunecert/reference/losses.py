"""Bounds for losses that are any number from 0 to 1 (THEORY 2.11, 2.1a v)."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from operator import index

from mpmath import e, exp, log, mpf, mpmathify, sqrt, workdps

from prunecert.reference.binomial import (
    DIGITS,
    binary_kl,
    binomial_cdf,
    demand,
    demand_delta,
    largest,
)
from prunecert.reference.occam import demand_bits


def demand_rate(empirical_risk: float) -> None:
    demand(0 <= empirical_risk <= 1, "empirical_risk", f"from 0 to 1, got {empirical_risk}")


def demand_size(n: int, field: str) -> int:
    """The size of a sample as a Python integer; the bound of an empty sample is 1."""
    demand(index(n) >= 0, field, f"a count of 0 or more, got {n}")
    return index(n)


@workdps(DIGITS)
def hoeffding_bentkus(empirical_risk: float, n: int, bits: float, delta: float) -> mpf:
    """The largest alpha of [r, 1] whose p-value is at least delta 2^-bits, r = empirical_risk.

    p-value = min{exp(-n kl(min(r, alpha)‖alpha)), e P[Bin(n, alpha) <= ⌈n r⌉]}; both fall as alpha
    rises from r to 1. At alpha = r the first is 1 and the second is above 1, because the median
    of a binomial is at most its mean rounded up. The rate is read as the decimal it is written
    as: 0.07 of 100 is 7, although 0.07 * 100 is 7.000000000000001 in floats and would round up
    to 8. The count is never below n times that decimal.
    """
    demand_rate(empirical_risk)
    demand_bits(bits)
    demand_delta(delta)
    n = demand_size(n, "n")
    decimal = Fraction(repr(float(empirical_risk)))
    if n == 0 or decimal == 1:
        return mpf(1)
    rate = mpf(decimal.numerator) / decimal.denominator
    count = ceil(n * decimal)
    threshold = mpf(delta) * mpf(2) ** (-mpmathify(bits))

    def p_value(alpha: mpf) -> mpf:
        hoeffding = exp(-n * binary_kl(min(rate, alpha), alpha))
        bentkus = e * binomial_cdf(count, n, alpha)
        return min(hoeffding, bentkus)

    return largest(lambda alpha: p_value(alpha) >= threshold, rate)


@workdps(DIGITS)
def empirical_bernstein(
    empirical_risk: float, variance: float, n: int, bits: float, delta: float
) -> mpf:
    """min(1, r + √(2 variance t/n) + 7t/(3(n-1))), t = ln(2/(delta 2^-bits)).

    `variance` is the unbiased one of the n losses. One loss has none, and its bound is 1.
    """
    demand_rate(empirical_risk)
    demand(variance >= 0, "variance", f"0 or more, got {variance}")
    demand_bits(bits)
    demand_delta(delta)
    n = demand_size(n, "n")
    if n < 2:
        return mpf(1)
    nats = log(2 / mpf(delta)) + mpmathify(bits) * log(2)
    deviation = sqrt(2 * mpmathify(variance) * nats / n) + 7 * nats / (3 * (n - 1))
    return min(mpf(1), mpmathify(empirical_risk) + deviation)


@workdps(DIGITS)
def bounded_loss(empirical_risk: float, variance: float, n: int, bits: float, delta: float) -> mpf:
    """The smaller of Hoeffding–Bentkus and empirical Bernstein, each at delta/2."""
    demand_delta(delta)
    half = mpf(delta) / 2
    return min(
        hoeffding_bentkus(empirical_risk, n, bits, half),
        empirical_bernstein(empirical_risk, variance, n, bits, half),
    )
