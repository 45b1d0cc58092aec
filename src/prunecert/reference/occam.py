"""Occam bounds on the training sample of a network that has a code (THEORY 2.1)."""

from __future__ import annotations

from mpmath import log, mpf, mpmathify, workdps

from prunecert.reference.binomial import (
    DIGITS,
    binomial_upper,
    demand,
    demand_counts,
    demand_delta,
    kl_inverse,
)


def demand_bits(bits: float) -> None:
    demand(bits >= 0, "bits", f"a length of 0 or more, got {bits}")


@workdps(DIGITS)
def occam(errors: int, n: int, bits: float, delta: float) -> mpf:
    """max{p : P[Bin(n, p) <= errors] >= delta 2^-bits}."""
    demand_bits(bits)
    demand_delta(delta)
    return binomial_upper(errors, n, mpf(delta) * mpf(2) ** (-mpmathify(bits)))


@workdps(DIGITS)
def occam_kl(errors: int, n: int, bits: float, delta: float) -> mpf:
    """kl⁻¹(errors/n, (bits ln 2 + ln(1/delta))/n)."""
    demand_bits(bits)
    demand_delta(delta)
    errors, n = demand_counts(errors, n)
    if n == 0:
        return mpf(1)
    return kl_inverse(mpf(errors) / n, (mpmathify(bits) * log(2) + log(1 / mpf(delta))) / n)
