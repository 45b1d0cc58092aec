"""Statements on a sample that had no part in making or choosing the network (THEORY 2.3, 2.5–2.8).

All of them are one binomial tail read for different events. Arguments may be numbers or arrays
(broadcast) unless a function says "list".
"""

from __future__ import annotations

import math
from bisect import bisect_left
from fractions import Fraction
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunecert.inversions import (
    as_list,
    binomial_tail_is_below,
    binomial_tail_lower,
    binomial_tail_upper,
    elementwise,
    kl_bernoulli,
    log_failure,
    require_count,
    require_number,
    require_open_unit,
)
from prunecert.types import InputError

MOST_SAMPLES = 100_000_000  # of a plan: beyond, the search is slow and the answer is no


@elementwise
def holdout_upper(errors: int, n: int, delta: float) -> float:
    """Upper bound on the zero-one risk R(f) of a network f fixed before the hold-out was seen.

    **Statement.** For every distribution D and every f fixed before the sample: with probability
    >= 1 − delta over n i.i.d. draws from D, R(f) <= B̄(errors, n, delta), where B̄(k, n, delta) =
    max{p : P[Bin(n, p) <= k] >= delta}. The same holds for any 0-1 loss fixed beforehand (top-k).

    **Symbols → arguments.** errors: wrong samples, integer, 0 <= errors <= n · n: hold-out size,
    integer >= 1 · delta: failure probability, 0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast; each element is a statement of its own.

    **Returns** a fraction in [0, 1], rounded up (by less than 2e-12 of itself).

    **Certified.** Standing: i.i.d. draws. Checked: the count. Declared: the hold-out had no part
    in making or choosing f.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Clopper and Pearson, Biometrika 26 (1934), one-sided; the "test set bound" of
    Langford, JMLR 6 (2005). THEORY 2.3. No deviation.

    **Example.** No error in n samples gives 1 − delta**(1/n):

    >>> round(holdout_upper(0, 1, 0.05), 11), holdout_upper(7, 7, 0.05)
    (0.95, 1.0)
    """
    return float(binomial_tail_upper(errors, n, log_failure(delta)))


def per_class_upper(errors: ArrayLike, n: ArrayLike, delta: float) -> NDArray[np.float64]:
    """Upper bounds on the risk within each of K true classes, all at once.

    **Statement.** For f fixed before the sample: with probability >= 1 − delta over the sample,
    for every class c at once, P[f(x) ≠ y | y = c] <= B̄(errors_c, n_c, delta/K). It holds
    conditionally on the class counts, hence also without conditioning.

    **Symbols → arguments.** errors, n: lists over the K classes, integers, 0 <= errors_c <= n_c ·
    delta: total failure probability, 0 < delta < 1. A class with n_c = 0 gets the bound 1 and
    still takes its share of delta.

    **Shapes.** (K,) and (K,); the result is (K,).

    **Returns** fractions in [0, 1], rounded up (by less than 2e-12 of themselves).

    **Certified.** Standing: i.i.d. draws. Checked: the counts. Declared: the hold-out had no part
    in making or choosing f, and K is the model's number of classes.

    **Fails loudly.** InputError where a list is empty or a single number, lengths differ, or an
    argument is out of its range.

    **Source.** Clopper and Pearson 1934 with a union bound over classes. THEORY 2.6.

    **Example.** Two classes of one sample each, no error: 1 − delta/2 for both.

    >>> per_class_upper([0, 0], [1, 1], 0.1).round(9).tolist()
    [0.95, 0.95]
    """
    wrong, sizes = as_list("errors", errors), as_list("n", n)
    if wrong.shape != sizes.shape:
        raise InputError(f"n must have one entry per class ({wrong.size}), not {sizes.size}")
    require_open_unit("delta", delta)
    bounds = np.ones(wrong.size)
    for c, (errors_c, n_c) in enumerate(zip(wrong.tolist(), sizes.tolist())):
        if n_c == 0 and errors_c == 0:
            continue
        bounds[c] = holdout_upper(errors_c, n_c, delta / wrong.size)
    return bounds


@elementwise
def disagreement_upper(count: int, n: int, delta: float) -> float:
    """Upper bound on |R(f) − R(f̂)|, dense f against pruned f̂, from inputs without labels.

    **Statement.** For f and f̂ fixed before the inputs: with probability >= 1 − delta over n
    i.i.d. inputs, P[f and f̂ differ, or either abstains] <= B̄(count, n, delta); hence
    |R(f) − R(f̂)| is at most that, for every labelling.

    **Symbols → arguments.** count: inputs on which the predictions differ or either network
    abstains (top margin within tolerance), integer, 0 <= count <= n · n >= 1 · 0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 2e-12 of itself).

    **Certified.** Standing: i.i.d. inputs. Checked: the count, with abstentions in it (without
    them the statement is false for a network that outputs ties). Declared: the inputs had no part
    in making or choosing either network.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Clopper and Pearson 1934; that disagreement bounds the risk difference is one line
    (THEORY 2.5). To pass from a bound on f̂ to one on f, add both bounds and both deltas.

    **Example.**

    >>> round(disagreement_upper(0, 1, 0.05), 11)
    0.95
    """
    require_count("count", count, n)
    return float(binomial_tail_upper(count, n, log_failure(delta)))


@elementwise
def cost_of_pruning_upper(worse: int, better: int, n: int, delta: float) -> float:
    """Upper bound on R(f̂) − R(f), what pruning f to f̂ costs in zero-one risk.

    **Statement.** For f and f̂ fixed before the sample: with probability >= 1 − delta over n
    i.i.d. labelled samples, R(f̂) − R(f) = P[only f̂ wrong] − P[only f wrong]
    <= B̄(worse, n, delta/2) − B̲(better, n, delta/2).

    **Symbols → arguments.** worse: samples with f̂ wrong and f right · better: the reverse ·
    integers, worse + better <= n · n >= 1 · 0 < delta < 1, half for each side.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a difference of risks in [−1, 1] (negative: pruning certainly helped), rounded up
    (by less than 3e-12).

    **Certified.** Standing: i.i.d. draws. Checked: the counts. Declared: the hold-out had no part
    in making or choosing either network.

    **Fails loudly.** InputError where an argument is out of its range or worse + better > n.

    **Source.** Two Clopper–Pearson bounds (1934) and a union bound. THEORY 2.7.

    **Example.** One sample, on which only the pruned network is wrong: nothing can be excluded.

    >>> cost_of_pruning_upper(1, 0, 1, 0.05)
    1.0
    """
    require_count("worse", worse, n)
    require_count("better", better, n)
    if worse + better > n:
        raise InputError(f"worse + better must be at most n = {n}, not {worse} + {better}")
    half = log_failure(delta, 1.0)
    return float(binomial_tail_upper(worse, n, half)) - float(binomial_tail_lower(better, n, half))


@elementwise
def labelled_transfer_upper(better: int, n: int, delta: float) -> float:
    """Upper bound on R(f) − R(f̂): carries a bound on the pruned f̂ over to the dense f.

    **Statement.** For f and f̂ fixed before the sample: with probability >= 1 − delta over n
    i.i.d. labelled samples, R(f) − R(f̂) <= P[f wrong, f̂ right] <= B̄(better, n, delta).

    **Symbols → arguments.** better: samples with f wrong and f̂ right, integer, 0 <= better <= n ·
    n >= 1 · 0 < delta < 1, to be added to the delta of the bound on f̂.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a difference of risks in [0, 1], rounded up (by less than 2e-12 of itself).

    **Certified.** Standing: i.i.d. draws. Checked: the count. Declared: the hold-out had no part
    in making or choosing either network.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Clopper and Pearson 1934. THEORY 2.7, last sentence.

    **Example.**

    >>> round(labelled_transfer_upper(0, 1, 0.05), 11)
    0.95
    """
    require_count("better", better, n)
    return float(binomial_tail_upper(better, n, log_failure(delta)))


def samples_needed(target_error: float, expected_error: float, delta: float) -> int:
    """How many hold-out samples certify `target_error` when the error rate is `expected_error`.

    **Statement.** The smallest m >= 1 with B̄(⌈expected_error·m⌉, m, delta) <= target_error.
    Because of the ceiling some larger m fail again: this is literally the smallest.

    **Symbols → arguments.** 0 <= expected_error < target_error < 1, 0 < delta < 1.
    expected_error is read as the decimal it prints as (0.07·100 is 7, not 7.000000000000001).

    **Shapes.** Numbers. **Returns** a count.

    **Certified.** Nothing: it plans a `holdout_upper`.

    **Fails loudly.** InputError where expected_error >= target_error (no number of samples will
    do), where a hundred million would not do, or an argument is out of its range.

    **Source.** THEORY 2.8. Sizes that cannot do are skipped by the lower bound on binomial tails
    of Zubkov and Serov, Theory Probab. Appl. 57 (2013), doi:10.1137/S0040585X97986138.

    **Example.** With no error expected, m is the first with (1 − target)**m <= delta:

    >>> samples_needed(0.5, 0.0, 0.1)
    4
    """
    require_open_unit("target_error", target_error)
    require_number("expected_error", expected_error, 0.0, 1.0, "0 <= expected_error <= 1")
    if expected_error >= target_error:
        raise InputError(
            f"expected_error must be below target_error = {target_error!r}, not "
            f"{expected_error!r}: no number of samples certifies less than the error itself"
        )
    log_delta = log_failure(delta)
    rate = Fraction(repr(float(expected_error)))

    def enough(errors: int, m: int) -> bool:
        return bool(binomial_tail_is_below(errors, m, target_error, log_delta))

    def sizes(errors: int) -> range:
        """The sizes whose expected number of errors rounds up to `errors`."""
        if rate == 0:
            return range(1, 3 + int(log_delta / math.log1p(-target_error)))
        return range((errors - 1) // rate + 1, errors // rate + 1)

    errors = _errors_to_start_from(target_error, expected_error, delta)
    while not enough(errors, sizes(errors)[-1]):
        errors += 1
    # with the errors held, more samples never hurt: the smallest size by bisection
    m = bisect_left(sizes(errors), True, key=lambda size: enough(errors, size))
    return sizes(errors)[m]


def _errors_to_start_from(target_error: float, expected_error: float, delta: float) -> int:
    """Every m below z²/(2 kl) fails, as P[Bin(m, A) <= k] >= Φ(−√(2m kl(k/m‖A))) for k < mA."""
    if expected_error == 0.0:
        return 0
    if delta >= 0.5:
        return 1
    z = NormalDist().inv_cdf(delta)
    smallest = z * z / (2.0 * float(kl_bernoulli(expected_error, target_error)))
    if smallest > MOST_SAMPLES:
        raise InputError(
            f"expected_error {expected_error!r} is so near to target_error = {target_error!r} that "
            f"more than {MOST_SAMPLES:,} samples are needed"
        )
    return max(1, math.floor(smallest * (1.0 - 1e-9) * expected_error))
