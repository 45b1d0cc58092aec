"""Networks that a part of the training sample determines (THEORY 2.10)."""

from __future__ import annotations

from operator import index

from mpmath import binomial, mpf, mpmathify, pi, workdps

from prunecert.reference.binomial import (
    DIGITS,
    NEGLIGIBLE,
    binomial_upper,
    demand,
    demand_delta,
    largest,
)
from prunecert.reference.occam import demand_bits


def demand_kept(size: int, n: int) -> tuple[int, int]:
    """`size` and `n` as Python integers with 0 <= size <= n."""
    demand(0 <= index(size) <= index(n), "size", f"a count from 0 to n = {n}, got {size}")
    return index(size), index(n)


@workdps(DIGITS)
def sample_compression(errors: int, size: int, n: int, bits: float, delta: float) -> mpf:
    """B̄(errors, n - size, delta 2^-bits (6/π²)/((size+1)² C(n, size)))."""
    demand_bits(bits)
    demand_delta(delta)
    size, n = demand_kept(size, n)
    others = n - size
    demand(0 <= index(errors) <= others, "errors", f"from 0 to n - size = {others}, got {errors}")
    share = mpf(delta) * mpf(2) ** (-mpmathify(bits))
    share *= 6 / pi**2 / (mpf(size + 1) ** 2 * binomial(n, size))
    return binomial_upper(errors, others, share)


@workdps(DIGITS)
def pick_to_learn(size: int, n: int, delta: float) -> mpf:
    """The ε with (delta/n) Σ_{m=k}^{n-1} [C(m, k)/C(n, k)] (1-ε)^-(n-m) = 1, k = size.

    The left side rises with ε from below 1 to infinity; the sum is empty, and ε is 1, at k = n.
    Σ_{m=k}^{n-1} C(m, k) ε^(k+1) (1-ε)^(m-k) is the probability that success k+1 comes by trial
    n, that is P[Bin(n, ε) > k], so the left side is delta P[Bin(n, ε) > k]/(n ε P[Bin(n, ε) = k]).
    """
    demand_delta(delta)
    size, n = demand_kept(size, n)
    if size == n:
        return mpf(1)

    def holds(risk: mpf) -> bool:
        odds = risk / (1 - risk)
        term = mpf(1)  # P[Bin(n, risk) = i]/P[Bin(n, risk) = size]
        total = mpf(0)
        enough = n * risk / mpf(delta)
        for i in range(size + 1, n + 1):
            ratio = odds * (n - i + 1) / i  # of term i-1 to term i; it only falls as i rises
            term *= ratio
            total += term
            if total > enough:
                return False
            if ratio < 1 and term * ratio < NEGLIGIBLE * total * (1 - ratio):
                break
        return True

    return largest(holds, mpf(0))
