"""Bounds that join two statements or two samples (THEORY 2.2, 2.5, 2.14)."""

from __future__ import annotations

from operator import index

from mpmath import log, mpf, mpmathify, sqrt, workdps

from prunecert.reference.binomial import (
    DIGITS,
    binomial_cdf,
    demand,
    demand_counts,
    demand_delta,
    largest,
)
from prunecert.reference.holdout import disagreement, holdout
from prunecert.reference.occam import demand_bits, occam


def demand_part(count: int, size: int, count_field: str, size_field: str) -> tuple[int, int]:
    """A count of a sample whose arguments have names of their own."""
    demand(
        0 <= index(count) <= index(size),
        count_field,
        f"a count from 0 to {size_field} = {size}, got {count}",
    )
    return index(count), index(size)


@workdps(DIGITS)
def compression_theorem(errors: int, n: int, bits: float, delta: float) -> mpf:
    """min(1, errors/n + √((bits ln 2 + ln(1/delta))/(2n))).

    `errors` are the samples whose margin under the original network is at most 2 gamma.
    """
    demand_bits(bits)
    demand_delta(delta)
    errors, n = demand_counts(errors, n)
    if n == 0:
        return mpf(1)
    nats = mpmathify(bits) * log(2) + log(1 / mpf(delta))
    return min(mpf(1), mpf(errors) / n + sqrt(nats / (2 * n)))


@workdps(DIGITS)
def train_and_holdout(
    errors: int, n: int, bits: float, holdout_errors: int, holdout_n: int, delta: float
) -> mpf:
    """max{p : x (1 - ln x) >= delta}, x = P₁P₂ of the training and the hold-out sample.

    P₁(p) = min(1, 2^bits P[Bin(n, p) <= errors]), P₂(p) = P[Bin(holdout_n, p) <= holdout_errors].
    Both fall as p rises, so x falls, and x (1 - ln x) rises with x as long as x <= 1 (its slope is
    -ln x): the minimum with 1 is what makes the p that hold an interval that begins at 0. Without
    it x (1 - ln x) would be negative for small p.
    """
    demand_bits(bits)
    demand_delta(delta)
    errors, n = demand_counts(errors, n)
    held = demand_part(holdout_errors, holdout_n, "holdout_errors", "holdout_n")
    if errors == n and held[0] == held[1]:
        return mpf(1)
    codewords = mpf(2) ** mpmathify(bits)

    def holds(p: mpf) -> bool:
        x = min(mpf(1), codewords * binomial_cdf(errors, n, p)) * binomial_cdf(*held, p)
        return bool(x * (1 - log(x)) >= mpf(delta))

    return largest(holds, mpf(0))


@workdps(DIGITS)
def code_or_holdout(
    errors: int, n: int, bits: float, holdout_errors: int, holdout_n: int, delta: float
) -> mpf:
    """min{occam at delta/2, holdout at delta/2}."""
    half = mpf(delta) / 2
    holdout_errors, holdout_n = demand_part(
        holdout_errors, holdout_n, "holdout_errors", "holdout_n"
    )
    return min(occam(errors, n, bits, half), holdout(holdout_errors, holdout_n, half))


@workdps(DIGITS)
def transfer_to_dense(
    errors: int, n: int, bits: float, count: int, inputs: int, delta: float
) -> mpf:
    """min(1, occam(errors, n, bits, delta/2) + B̄(count, inputs, delta/2)) >= R(dense)."""
    demand_delta(delta)
    count, inputs = demand_part(count, inputs, "count", "inputs")
    half = mpf(delta) / 2
    return min(mpf(1), occam(errors, n, bits, half) + disagreement(count, inputs, half))


@workdps(DIGITS)
def transfer_to_pruned(errors: int, n: int, count: int, inputs: int, delta: float) -> mpf:
    """min(1, B̄(errors, n, delta/2) + B̄(count, inputs, delta/2)) >= R(pruned)."""
    demand_delta(delta)
    count, inputs = demand_part(count, inputs, "count", "inputs")
    half = mpf(delta) / 2
    return min(mpf(1), holdout(errors, n, half) + disagreement(count, inputs, half))
