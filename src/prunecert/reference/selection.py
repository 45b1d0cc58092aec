"""Choosing among networks with a guarantee, and planning the sample for it (THEORY 2.4, 2.8)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, log10

from mpmath import mpf, workdps

from prunecert.reference.binomial import (
    DIGITS,
    binomial_cdf,
    binomial_upper,
    demand,
    demand_delta,
)


@workdps(DIGITS)
def p_value(errors: int, n: int, target_error: float) -> mpf:
    """P[Bin(n, target_error) <= errors]."""
    demand(0 < target_error < 1, "target_error", f"above 0 and below 1, got {target_error}")
    return binomial_cdf(errors, n, mpf(target_error))


@workdps(DIGITS)
def fixed_sequence(errors: Sequence[int], n: int, target_error: float, delta: float) -> list[mpf]:
    """In the given order: `target_error` while p-value <= delta, 1 from the first failure on."""
    demand_delta(delta)
    bounds = []
    accepting = True
    for count in errors:
        accepting = accepting and p_value(count, n, target_error) <= mpf(delta)
        bounds.append(mpf(target_error) if accepting else mpf(1))
    return bounds


@workdps(DIGITS)
def simultaneous(errors: Sequence[int], n: int, delta: float) -> list[mpf]:
    """B̄(errors_t, n, delta/T) for each of the T networks."""
    demand_delta(delta)
    return [binomial_upper(count, n, mpf(delta) / len(errors)) for count in errors]


@workdps(DIGITS)
def samples_needed(target_error: float, expected_error: float, delta: float) -> mpf:
    """The smallest m >= 1 with B̄(⌈expected_error m⌉, m, delta) <= target_error.

    B̄(k, m, delta) <= A says P[Bin(m, A) <= k] <= delta, so that probability is carried from
    m to m + 1 by Pascal's rule; the cost is linear in the answer. `expected_error` is read as the
    decimal it is written as: ⌈0.05 · 100⌉ is 5, although the float 0.05 is above 1/20.
    """
    demand_delta(delta)
    demand(
        0 <= expected_error < target_error < 1,
        "expected_error",
        f"0 or more and below target_error = {target_error} < 1, got {expected_error}",
    )
    rate = Fraction(repr(float(expected_error)))
    with workdps(DIGITS + ceil(-log10(delta))):  # delta is reached by subtraction from 1
        p = mpf(target_error)
        m, k = 0, 0
        point = tail = mpf(1)  # P[Bin(m, p) = k] and P[Bin(m, p) <= k]
        while tail > mpf(delta):
            tail -= p * point  # k successes in m trials, then one more
            point *= (1 - p) * (m + 1) / (m + 1 - k)
            m += 1
            if ceil(rate * m) > k:
                point *= p / (1 - p) * (m - k) / (k + 1)
                tail += point
                k += 1
    return mpf(m)
