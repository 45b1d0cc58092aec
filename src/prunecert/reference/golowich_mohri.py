"""A norm bound with every constant explicit (THEORY 2.13)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

from mpmath import fprod, log, mpf, mpmathify, sqrt, workdps

from prunecert.reference.binomial import DIGITS, demand, demand_counts, demand_delta


@workdps(DIGITS)
def golowich_mohri(
    errors: int,
    n: int,
    margin: float,
    classes: int,
    input_bound: float,
    frobenius_norm: Sequence[float],
    last_row_norm: float,
    delta: float,
) -> mpf:
    """min(1, errors/n + 2^-j + √(ln((J+1)/delta)/(2n))) of a ReLU chain of L layers.

    T = input_bound · last_row_norm · Π frobenius_norm / margin, with one Frobenius norm for each
    of the L-1 hidden matrices; c = 4 classes (√(2 L ln 2) + 1)/√n; J = ⌈½ log₂ n⌉; j is the
    largest of 0, …, J with 2^-j/c >= T, and where there is none the bound is 1. `errors` are the
    samples whose margin is at most `margin`.
    """
    demand_delta(delta)
    errors, n = demand_counts(errors, n)
    demand(margin > 0, "margin", f"a number above 0, got {margin}")
    demand(index(classes) >= 2, "classes", f"a count of 2 or more, got {classes}")
    demand(input_bound >= 0, "input_bound", f"0 or more, got {input_bound}")
    demand(all(norm >= 0 for norm in frobenius_norm), "frobenius_norm", "numbers of 0 or more")
    demand(last_row_norm >= 0, "last_row_norm", f"0 or more, got {last_row_norm}")
    if n == 0:
        return mpf(1)
    layers = len(frobenius_norm) + 1
    hidden = fprod(mpmathify(norm) for norm in frobenius_norm)
    scale = mpmathify(input_bound) * mpmathify(last_row_norm) * hidden / mpmathify(margin)
    c = 4 * index(classes) * (sqrt(2 * layers * log(2)) + 1) / sqrt(mpf(n))
    last = 0  # J, the smallest with 4^J >= n
    while 4**last < n:
        last += 1
    reached = [j for j in range(last + 1) if mpf(2) ** -j / c >= scale]
    if not reached:
        return mpf(1)
    confidence = sqrt(log((last + 1) / mpf(delta)) / (2 * n))
    return min(mpf(1), mpf(errors) / n + mpf(2) ** -max(reached) + confidence)
