"""Statements about a list of networks judged on one hold-out (THEORY 2.1a iv, 2.4).

The list, its order (densest first), the target and delta are fixed before the hold-out is looked
at. `errors` is a list with one count per network; `n` is one size, or one per network.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunecert.bounds.holdout import cost_of_pruning_upper, holdout_upper
from prunecert.inversions import (
    SLACK,
    as_list,
    binomial_log_cdf,
    binomial_tail_is_below,
    elementwise,
    log_failure,
    require_count,
    require_number,
    require_open_unit,
)
from prunecert.types import InputError


@elementwise
def binomial_p_value(errors: int, n: int, target_error: float) -> float:
    """P[Bin(n, target_error) <= errors]: evidence against "the risk is above target_error".

    Rounded up, so never 0. Integers 0 <= errors <= n, n >= 1, 0 < target_error < 1; numbers or
    arrays.

    >>> round(binomial_p_value(0, 2, 0.5), 11)
    0.25
    """
    require_count("errors", errors, n)
    require_open_unit("target_error", target_error)
    p_value = math.exp(binomial_log_cdf(errors, n, target_error)) * (1.0 + SLACK)
    return min(1.0, max(p_value, math.ulp(0.0)))


def _one_per_network(name: str, values: ArrayLike, like: NDArray[Any]) -> NDArray[Any]:
    """A number for all networks, or a list as long as `like`; anything else is refused."""
    if np.shape(values) not in ((), like.shape):
        raise InputError(
            f"{name} must be a number or a list with one entry per network ({like.size}), "
            f"not of shape {np.shape(values)}"
        )
    return np.broadcast_to(values, like.shape)


def _accepted(passed: NDArray[Any]) -> int:
    """Length of the prefix before the first False."""
    return int(np.append(passed, False).argmin())


def fixed_sequence_accepted(
    errors: ArrayLike, n: ArrayLike, target_error: float, delta: float
) -> int:
    """How many networks of the list are accepted by `fixed_sequence_upper`.

    >>> fixed_sequence_accepted([0, 1, 0], 2, 0.8, 0.05)
    1
    """
    counts = as_list("errors", errors)
    require_open_unit("target_error", target_error)
    sizes = _one_per_network("n", n, counts)
    return _accepted(binomial_tail_is_below(counts, sizes, target_error, log_failure(delta)))


def fixed_sequence_upper(
    errors: ArrayLike, n: ArrayLike, target_error: float, delta: float
) -> NDArray[np.float64]:
    """Upper bounds on the zero-one risks of an ordered list: the target for the accepted prefix.

    **Statement.** For networks f_1, f_2, … and target A fixed, in this order, before the
    hold-out: accept while P[Bin(n, A) <= errors_t] <= delta and stop at the first failure. With
    probability >= 1 − delta over the hold-out, R(f_t) <= A for every accepted t at once. Nothing
    is paid for the length of the list.

    **Symbols → arguments.** errors: list, integers, 0 <= errors_t <= n · n >= 1, a number or a
    list as long · 0 < target_error < 1 · 0 < delta < 1. For several lists split delta.

    **Shapes.** (T,) in, (T,) out.

    **Returns** target_error for the accepted prefix and 1 after it (nothing is claimed there).

    **Certified.** Standing: i.i.d. draws. Checked: the counts. Declared: list, order and target
    were fixed before the hold-out was looked at, and it had no part in making the networks.

    **Fails loudly.** InputError where the list is empty or an argument is out of its range.

    **Source.** Angelopoulos, Bates, Candès, Jordan and Lei, Learn then Test, arXiv:2110.01052
    (fixed-sequence testing). THEORY 2.4. Deviation: exact binomial p-values, zero-one loss.

    **Example.** The second of three fails, so the third is not even looked at:

    >>> fixed_sequence_upper([0, 1, 0], 2, 0.8, 0.05).tolist()
    [0.8, 1.0, 1.0]
    """
    accepted = fixed_sequence_accepted(errors, n, target_error, delta)
    return np.where(np.arange(len(as_list("errors", errors))) < accepted, target_error, 1.0)


def simultaneous_upper(errors: ArrayLike, n: ArrayLike, delta: float) -> NDArray[np.float64]:
    """Upper bounds on the zero-one risks of T networks, all at once, in any order.

    **Statement.** For T networks fixed before the hold-out: with probability >= 1 − delta over
    it, for every t at once, R(f_t) <= B̄(errors_t, n, delta/T). So any of them may be chosen.

    **Symbols → arguments.** errors: list of all T networks tried, integers, 0 <= errors_t <= n ·
    n >= 1, a number or a list as long · 0 < delta < 1, split evenly.

    **Shapes.** (T,) in, (T,) out.

    **Returns** fractions in [0, 1], rounded up (by less than 2e-12 of themselves).

    **Certified.** Standing: i.i.d. draws. Checked: the counts. Declared: the list was complete
    and fixed before the hold-out was looked at, which had no part in making the networks.

    **Fails loudly.** InputError where the list is empty or an argument is out of its range.

    **Source.** Clopper and Pearson 1934 with a union bound. THEORY 2.4, 2.1a (iv).

    **Example.** Two networks, one sample, no error: 1 − delta/2 for both.

    >>> simultaneous_upper([0, 0], 1, 0.1).round(9).tolist()
    [0.95, 0.95]
    """
    counts = as_list("errors", errors)
    require_open_unit("delta", delta)
    sizes = _one_per_network("n", n, counts)
    bounds: NDArray[np.float64] = holdout_upper(counts, sizes, delta / counts.size)
    return bounds


def errors_that_pass(n: int, target_error: float, delta: float) -> int | None:
    """The most errors of n with which one network is still accepted; None where even 0 fails.

    n >= 1, 0 < target_error < 1, 0 < delta < 1.

    >>> errors_that_pass(2, 0.8, 0.05), errors_that_pass(1, 0.8, 0.05)
    (0, None)
    """
    require_open_unit("target_error", target_error)
    log_delta = log_failure(delta)
    if not binomial_tail_is_below(0, n, target_error, log_delta):
        return None
    passes, fails = 0, n  # n errors of n never pass
    while fails - passes > 1:
        middle = (passes + fails) // 2
        if binomial_tail_is_below(middle, n, target_error, log_delta):
            passes = middle
        else:
            fails = middle
    return passes


def fixed_sequence_drop_accepted(
    worse: ArrayLike, better: ArrayLike, n: ArrayLike, max_drop: float, delta: float
) -> int:
    """How many networks of an ordered list certainly cost at most `max_drop` against one dense f.

    The walk of `fixed_sequence_upper` with `cost_of_pruning_upper` <= max_drop as its test: with
    probability >= 1 − delta every accepted network has R(f_t) − R(f) <= max_drop (THEORY 2.7).
    worse, better: lists with one count per network; 0 <= max_drop < 1.

    >>> fixed_sequence_drop_accepted([0, 9, 0], [0, 0, 0], 1000, 0.005, 0.05)
    1
    """
    counts = as_list("worse", worse)
    require_number("max_drop", max_drop, 0.0, 1.0 - 2.0**-53, "0 <= max_drop < 1")
    gains, sizes = (_one_per_network(*item, counts) for item in (("better", better), ("n", n)))
    return _accepted(cost_of_pruning_upper(counts, gains, sizes, delta) <= max_drop)
