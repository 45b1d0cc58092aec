"""Statements that put two pieces of evidence together (THEORY 2.1–2.3, 2.5, 2.14).

Code length and margins, training sample and hold-out, a bound on one network and how often
another differs from it. Arguments may be numbers or arrays (broadcast); bits are bits.
"""

from __future__ import annotations

import math
from typing import Any

from prunecert.inversions import (
    LN2,
    SLACK,
    STEP,
    binomial_log_cdf,
    binomial_tail_upper,
    elementwise,
    log_failure,
    require_count,
)
from prunecert.types import InputError

# --------------------------------------------------------------------------- the statements


@elementwise
def compression_theorem_upper(errors: int, n: int, bits: float, delta: float) -> float:
    """Upper bound on the zero-one risk R(f̂) of a compressed network f̂ from the margins of f.

    **Statement.** For a prefix-free code fixed before S: with probability >= 1 − delta over
    S ~ Dⁿ, simultaneously for every codeword f̂ of |f̂| bits, every gamma >= 0 and every f with
    |f(x) − f̂(x)|_∞ <= gamma on S, R(f̂) <= R̂_{2gamma}(f) + √((|f̂| ln 2 + ln(1/delta))/(2n)). It
    is about f̂, not f. `occam_upper` at the errors of f̂ is never above it.

    **Symbols → arguments.** errors: samples on which the margin of f is <= 2gamma, integer,
    0 <= errors <= n (at gamma = 0, f = f̂: the errors of f̂) · n: size of S, >= 1 · bits: |f̂|, >= 0
    (q log2 r for a class of r^q networks) · 0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 2e-12 of itself), capped at 1.

    **Certified.** Standing: i.i.d. draws. By construction: the code is prefix-free. Checked: the
    margins and the length. Declared: the code was fixed before S.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Arora, Ge, Neyshabur and Zhang, ICML 2018, arXiv:1802.05296, Theorem 2.1. THEORY
    2.2. Deviations: every constant explicit; a code length in place of q ln r; 2gamma where print
    has gamma, as two outputs may each move by gamma.

    **Example.** (bits ln 2 + ln(1/delta))/(2n) is ln 4/(2n) here:

    >>> round(compression_theorem_upper(1, 4, 1, 0.5), 11) == round(1 / 4 + math.sqrt(LN2) / 2, 11)
    True
    """
    require_count("errors", errors, n)
    nats = -log_failure(delta, bits)
    return min(1.0, (errors / n + math.sqrt(nats / (2.0 * n))) * (1.0 + SLACK))


@elementwise
def train_and_holdout_upper(
    errors: int, n: int, bits: float, holdout_errors: int, holdout_n: int, delta: float
) -> float:
    """Upper bound on the zero-one risk R(f) from the training sample and a hold-out, in one number.

    **Statement.** For a prefix-free code fixed before S, and a hold-out independent of S: with
    probability >= 1 − delta over both, for the codeword f of |f| bits that was chosen from S
    alone, R(f) <= max{p : P₁P₂(1 − ln(P₁P₂)) >= delta}, P₁ = min(1, 2^|f| P[Bin(n, p) <= errors]),
    P₂ = P[Bin(m, p) <= holdout_errors]. P₁, P₂ and x(1 − ln x) on [0, 1] are monotone, so what is
    excluded is an interval up to 1. At p = R(f), P₁ is a p-value by Kraft's inequality, and P₂
    is one given S; their product is below x with probability at most x(1 − ln x).

    **Symbols → arguments.** errors, n: of f on S, integers, 0 <= errors <= n, n >= 1 · bits: |f|,
    >= 0 · holdout_errors, holdout_n: of f on the hold-out, likewise, m = holdout_n ·
    0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 1e-11 of itself). Computed in
    logarithms: bits = 1e9 neither underflows nor lies.

    **Certified.** Standing: i.i.d. draws. By construction: the code is prefix-free. Checked: the
    counts and the length. Declared: the code was fixed before S, the hold-out had no part in
    making or choosing f.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Fisher, Statistical Methods for Research Workers, 4th edition (1932), section
    21.1, for two p-values; Langford, JMLR 6 (2005), for P₁. THEORY 2.14. Deviation: a code length
    in place of a prior.

    **Example.** All wrong on S, which says nothing: 1 − P₂ = 1 − x, where x(1 − ln x) = 2/e.

    >>> round(train_and_holdout_upper(5, 5, 0, 0, 1, 2 / math.e), 11) == round(1 - 1 / math.e, 11)
    True
    """
    require_count("errors", errors, n)
    _require_count_of("holdout_errors", holdout_errors, "holdout_n", holdout_n)
    log_weight = log_failure(delta) - log_failure(delta, bits)  # |f| ln 2
    log_product = _log_fisher(log_failure(delta))  # P₁P₂ >= x is what remains possible

    def possible(p: float) -> bool:
        """Whether P₁P₂ >= x at p, ties and rounding counted as yes."""
        log_train = log_weight * (1.0 + SLACK) + binomial_log_cdf(errors, n, p) * (1.0 - SLACK)
        log_holdout = binomial_log_cdf(holdout_errors, holdout_n, p) * (1.0 - SLACK)
        return bool(min(0.0, log_train) + log_holdout >= log_product)

    def both(exponent: float) -> float:
        """The largest p with P₁ >= x^exponent and P₂ >= x^exponent."""
        least = exponent * log_product
        train = binomial_tail_upper(errors, n, least - log_weight)
        return min(float(train), float(binomial_tail_upper(holdout_errors, holdout_n, least)))

    low, high = both(0.5), both(1.0)  # √x each suffices, x each is necessary
    while high - low > STEP * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if possible(middle) else (low, middle)
    return min(1.0, high * (1.0 + STEP))


def _log_fisher(log_delta: float) -> float:
    """ln x with x(1 − ln x) = delta, rounded down.

    With t = −ln x it is t − ln(1 + t) = −ln(delta), convex in t; c + √(2c) is above the root, so
    Newton's method comes down to it.
    """
    c = -log_delta * (1.0 + SLACK)
    t = c + math.sqrt(2.0 * c)
    while (step := (t - math.log1p(t) - c) * (1.0 + t) / t) > STEP * t:
        t -= step
    return -(t * (1.0 + SLACK) + 1e-15 * (1.0 + t))  # near delta = 1, t − ln(1 + t) cancels


@elementwise
def code_or_holdout_upper(
    errors: int, n: int, bits: float, holdout_errors: int, holdout_n: int, delta: float
) -> float:
    """Upper bound on the zero-one risk R(f): the smaller of code and hold-out certificate.

    **Statement.** For a prefix-free code fixed before S, and a hold-out independent of S and of
    the choice of the codeword f: with probability >= 1 − delta over both, R(f) <= min{B̄(errors, n,
    delta/2 · 2^−|f|), B̄(holdout_errors, holdout_n, delta/2)}. Which of the two is smaller may be
    seen afterwards; that the two would be compared was settled before.

    **Symbols → arguments.** errors of f among the n of S · bits: |f|, >= 0 · holdout_errors among
    the holdout_n of the hold-out · 0 < delta < 1, half for each.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 2e-12 of itself).

    **Certified.** Standing: i.i.d. draws. By construction: the code is prefix-free. Checked: the
    counts and the length. Declared: the code was fixed before S, and the hold-out had no part in
    making or choosing f.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Langford, JMLR 6 (2005): Occam's razor and the test set bound, with a union bound.
    THEORY 2.1a v.

    **Example.** No error anywhere and no bits: 1 − (delta/2)^(1/samples) of the larger sample.

    >>> round(code_or_holdout_upper(0, 1, 0, 0, 2, 0.5), 11)
    0.5
    """
    _require_count_of("holdout_errors", holdout_errors, "holdout_n", holdout_n)
    of_code = float(binomial_tail_upper(errors, n, log_failure(delta, bits) - LN2))
    half = log_failure(delta, 1.0)
    return min(of_code, float(binomial_tail_upper(holdout_errors, holdout_n, half)))


@elementwise
def transfer_to_dense_upper(
    errors: int, n: int, bits: float, count: int, inputs: int, delta: float
) -> float:
    """Upper bound on the zero-one risk R(f) of the dense f from the code of the pruned f̂.

    **Statement.** For a prefix-free code fixed before S and i.i.d. inputs without labels that are
    independent of f and f̂: with probability >= 1 − delta over both, for the codeword f̂ of |f̂|
    bits, R(f) <= B̄(errors of f̂ on S, n, delta/2·2^−|f̂|) + B̄(count, inputs, delta/2).

    **Symbols → arguments.** errors, n: of the pruned f̂ on S, integers, 0 <= errors <= n, n >= 1 ·
    bits: |f̂|, >= 0 · count of `inputs` unlabelled inputs on which f and f̂ differ or either
    abstains, integers, 0 <= count <= inputs, inputs >= 1 · 0 < delta < 1, half for each part.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 2e-12 of itself), capped at 1.

    **Certified.** Standing: i.i.d. draws. By construction: the code is prefix-free. Checked: the
    counts, abstentions among them, and the length. Declared: the code was fixed before S, the
    inputs had no part in making or choosing either network.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** `occam_upper`, `disagreement_upper` and a union bound. THEORY 2.5.

    **Example.** Two samples, two inputs, nothing wrong: 2 − √(delta/2·2^−bits) − √(delta/2).

    >>> round(transfer_to_dense_upper(0, 2, 2, 0, 2, 0.98), 11)
    0.95
    """
    require_count("errors", errors, n)
    _require_count_of("count", count, "inputs", inputs)
    pruned = float(binomial_tail_upper(errors, n, log_failure(delta, bits) - LN2))
    return min(1.0, pruned + float(binomial_tail_upper(count, inputs, log_failure(delta, 1.0))))


@elementwise
def transfer_to_pruned_upper(errors: int, n: int, count: int, inputs: int, delta: float) -> float:
    """Upper bound on the zero-one risk R(f̂) of the pruned f̂ from a hold-out of the dense f.

    **Statement.** For f and f̂ independent of n i.i.d. labelled samples and of i.i.d. inputs
    without labels: with probability >= 1 − delta over both, R(f̂) <= B̄(errors of f, n, delta/2) +
    B̄(count, inputs, delta/2). The two samples may share inputs.

    **Symbols → arguments.** errors, n: of the dense f on its hold-out, integers,
    0 <= errors <= n, n >= 1 · count of `inputs` unlabelled inputs on which f and f̂ differ or
    either abstains, integers, 0 <= count <= inputs, inputs >= 1 · 0 < delta < 1, half for each.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 2e-12 of itself), capped at 1.

    **Certified.** Standing: i.i.d. draws. Checked: the counts, abstentions among them. Declared:
    neither sample had a part in making or choosing either network.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** `holdout_upper`, `disagreement_upper` and a union bound. THEORY 2.5.

    **Example.** Two samples, two inputs, nothing wrong: 2(1 − √(delta/2)).

    >>> round(transfer_to_pruned_upper(0, 2, 0, 2, 0.98), 11)
    0.6
    """
    require_count("errors", errors, n)
    _require_count_of("count", count, "inputs", inputs)
    half = log_failure(delta, 1.0)
    dense = float(binomial_tail_upper(errors, n, half))
    return min(1.0, dense + float(binomial_tail_upper(count, inputs, half)))


def _require_count_of(name: str, count: Any, size_name: str, size: Any) -> None:
    """`require_count` for a second sample, whose size has a name of its own."""
    try:
        require_count(name, 0, size)
    except InputError:
        raise InputError(f"{size_name} must be an integer >= 1, not {size!r}") from None
    require_count(name, count, size)
