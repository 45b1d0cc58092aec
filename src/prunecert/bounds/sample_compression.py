"""Statements about a network that a part of its own training sample determines (THEORY 2.10).

Of n samples k are kept; the network is a function of those k (and of a short message), and the
other n − k, which it was not made from, judge it. Arguments may be numbers or arrays (broadcast).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunecert.bounds.assumptions import IID
from prunecert.inversions import (
    SLACK,
    STEP,
    binomial_tail_upper,
    elementwise,
    log_failure,
    require_count,
)
from prunecert.types import Assumption, BoundSpec, Evidence, InputError, Source


@elementwise
def sample_compression_upper(errors: int, size: int, n: int, bits: float, delta: float) -> float:
    """Upper bound on the zero-one risk of a network rebuilt from `size` of its n samples.

    **Statement.** For every D and every reconstruction (set of samples, message) → network that
    is deterministic and fixed before S: with probability >= 1 − delta over S ~ Dⁿ, simultaneously
    for every k, every k of the samples and every message of a prefix-free code, however chosen,
    R(f) <= B̄(errors, n − k, delta · 2^−bits · (6/π²)/((k+1)² C(n, k))), B̄ as in `occam_upper`
    and errors counted on the n − k samples not kept, all of them.

    **Symbols → arguments.** errors: wrong among the n − size others, integer, 0 <= errors
    <= n − size · size: k, samples kept, integer, 0 <= size <= n · n: size of S, >= 1 · bits:
    length of the message, >= 0 (0: none) · delta: total failure probability, 0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast; each element is a statement about the same event.

    **Returns** a fraction in [0, 1], rounded up (by less than 3e-12 of itself); 1 where every
    sample is kept. Computed in logarithms, C(n, k) from an exact sum.

    **Certified.** Standing: i.i.d. draws. Checked: the count. Declared: the reconstruction was
    fixed before S, gives the same network bit for bit, and reads the kept samples as a *set* (in
    a canonical order). One that reads their order has k! times as many: add log2(k!) to bits.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Littlestone and Warmuth 1986; Floyd and Warmuth, Machine Learning 21 (1995); with
    errors and the weights 1/(k+1)²: Marchand and Shawe-Taylor, JMLR 3 (2002); binomial tail:
    Langford, JMLR 6 (2005). THEORY 2.10. No deviation.

    **Example.** Nothing kept: one network fixed beforehand, at 6/π² of delta.

    >>> round(sample_compression_upper(0, 0, 1, 0, math.pi**2 / 60), 11)
    0.9
    """
    require_count("size", size, n)
    if isinstance(errors, bool) or not isinstance(errors, int) or not 0 <= errors <= n - size:
        raise InputError(
            f"errors must be an integer with 0 <= errors <= n - size = {n - size}, not {errors!r}"
        )
    share = math.log(6.0 / math.pi**2) - 2.0 * math.log(size + 1.0) - _log_choose(n, size)
    log_delta = log_failure(delta, bits) + share
    return 1.0 if size == n else float(binomial_tail_upper(errors, n - size, log_delta))


def _log_choose(n: int, k: int) -> float:
    """ln C(n, k) as a sum of logarithms of one sign: to a few roundings of its own value."""
    fewer = min(k, n - k)
    return float(np.log1p((n - fewer) / np.arange(1.0, fewer + 1.0)).sum())


@elementwise
def pick_to_learn_upper(size: int, n: int, delta: float) -> float:
    """Upper bound on the risk of a network that a preferent scheme made from `size` of n samples.

    **Statement.** For every D and every preferent compression scheme fixed before S, whose network
    depends on the kept samples alone and is always right on the others: with probability
    >= 1 − delta over S ~ Dⁿ, R(f) <= epsilon(k), k the number kept, where epsilon(k) solves
    (delta/n) Σ_{m=k}^{n−1} [C(m, k)/C(n, k)] (1 − epsilon)^{−(n−m)} = 1, and epsilon(n) = 1.
    Preferent: a set that the scheme keeps from S it keeps from every sample between that set and
    S; so does pick-to-learn, which adds the sample its current network does worst on, by a rule
    without ties fixed beforehand, until no wrong one is left.

    **Symbols → arguments.** size: k, samples kept, 0 <= size <= n; a sample picked to train on
    counts even if right at the end · n: size of S, integer >= 1 · 0 < delta < 1. No argument for
    errors: one sample outside that is wrong, and the statement says nothing.

    **Shapes.** Numbers or arrays that broadcast; all sizes hold at once.

    **Returns** a fraction in [0, 1], rounded up (by less than 1e-11 of itself at n = 60,000).

    **Certified.** Standing: i.i.d. draws. Checked: the number kept and that no other is wrong.
    Declared: the scheme is deterministic, preferent and was fixed before S.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Campi and Garatti, "Compression, Generalization and Learning", JMLR 24 (2023),
    arXiv:2301.12767, the theorem under preference alone; Paccagnan, Campi and Garatti, "The
    Pick-to-Learn Algorithm", NeurIPS 2023. THEORY 2.10. No deviation: the upper side alone.

    **Example.** All but one of n kept: 1 − delta/n².

    >>> round(pick_to_learn_upper(1, 2, 0.4), 11)
    0.9
    """
    require_count("size", size, n)
    log_delta = log_failure(delta)
    if size == n:
        return 1.0
    left, log_ratio = _log_ratios(size, n)
    cost = math.log(n) - log_delta
    # In y = −ln(1 − epsilon) the log of the sum is convex and rises. Any one term gives a y above
    # the root; from the lowest of them Newton's method comes down without passing it.
    y = float(((log_ratio + cost) / left).min())
    while True:
        exponents = left * y - log_ratio
        highest = float(exponents.max())
        weights = np.exp(exponents - highest)
        total = float(weights.sum())
        step = (highest + math.log(total) - cost) * total / float(weights @ left)
        if step <= STEP * y:
            break
        y -= step
    return min(1.0, -math.expm1(-y * (1.0 + SLACK + n * 2.0**-51)) * (1.0 + STEP))


def _log_ratios(k: int, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """n − m and ln C(n, k)/C(m, k), for m = n − 1 down to k. All terms have one sign: the error of
    the running sum is below n·2^−53 of it, which `pick_to_learn_upper` pays for."""
    left = np.arange(1.0, n - k + 1.0)
    return left, np.cumsum(np.log1p(k / (n - k + 1.0 - left)))


# --------------------------------------------------------------------------- the rows

FLOYD = Source(
    key="floyd1995",
    authors="Sally Floyd and Manfred K. Warmuth",
    year=1995,
    title="Sample Compression, Learnability, and the Vapnik-Chervonenkis Dimension",
    version="Machine Learning 21(3), 269-304",
    identifier="doi:10.1007/BF00993593",
    deviation="errors are allowed, by the exact binomial tail; sizes k share delta by "
    "(6/pi^2)/(k+1)^2; a message is paid for in bits",
)
CAMPI = Source(
    key="campi2023",
    authors="Marco C. Campi and Simone Garatti",
    year=2023,
    title="Compression, Generalization and Learning",
    theorem="the bound under preference alone",
    version="Journal of Machine Learning Research 24, 1-74",
    identifier="arXiv:2301.12767",
    deviation="none: the upper side alone, read for pick-to-learn (Paccagnan et al. 2023)",
)
REBUILT = Assumption(
    "the network is a deterministic function of the set of kept samples and the message", "declared"
)
FIXED = Assumption(
    "reconstruction, message code and delta were fixed before the sample was looked at", "declared"
)
OUTSIDE = Assumption("errors are those of the network on all samples not kept", "checked")
PREFERENT = Assumption(
    "the scheme is preferent and deterministic, and it and delta were fixed before the sample was "
    "looked at",
    "declared",
)
NONE_WRONG = Assumption("the network is right on every sample not kept", "checked")


def _compression_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    part = evidence["compressed"]
    return {
        "errors": part.errors,
        "size": part.size,
        "n": part.n,
        "bits": part.message_bits,
        "delta": delta,
    }


def _pick_to_learn_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    part = evidence["compressed"]
    if part.errors != 0:
        raise InputError(f"errors among the samples not kept are {part.errors}, expected 0")
    if part.message_bits != 0:
        raise InputError(f"the network needs a message of {part.message_bits:g} bits, expected 0")
    return {"size": part.size, "n": part.n, "delta": delta}


COMPRESSION_ROWS = (
    BoundSpec(
        name="sample-compression",
        function=sample_compression_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="a network that k of its n samples determine, judged by the others",
        source=FLOYD,
        needs=("compressed",),
        from_evidence=_compression_arguments,
        assumptions=(IID, REBUILT, OUTSIDE, FIXED),
    ),
    BoundSpec(
        name="pick-to-learn",
        function=pick_to_learn_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="k samples picked until no other is wrong, by a preferent scheme",
        source=CAMPI,
        needs=("compressed",),
        from_evidence=_pick_to_learn_arguments,
        assumptions=(IID, PREFERENT, NONE_WRONG),
    ),
)
