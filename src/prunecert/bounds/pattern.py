"""How many weights does Bernoulli pruning leave in a row or a column? (THEORY 1.6)

The sketch needs matrices that are (j_r, j_c)-sparse: at most j_r nonzeros in every row, j_c in
every column. None of these is a statement about the sample S: probability is over the draw of
the mask (and, in the Gaussian forms, of the weights). Sorted magnitude pruning has no such law:
measure it.
"""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunecert.bounds.layerwise import Floats, per_layer, probabilities
from prunecert.bounds.norms import OUTWARD
from prunecert.bounds.pruning_error import drop_share
from prunecert.inversions import SLACK, binomial_tail_is_below, require_open_unit

UNDERFLOW = 1e-300  # more than all that a sum of products below 1e-308 can have lost


def pattern_as_in_paper(
    fan_out: ArrayLike, fan_in: ArrayLike, pruning_d: float, lambda_l: ArrayLike
) -> Floats:
    """Order-only size 3·lambda_l·chi·max(d_l, d_{l−1}) of max(j_r, j_c), per layer.

    **Statement.** The source says, for Gaussian weights: max(j_r, j_c) <=
    3·lambda_l·max(d_l, d_{l−1})·chi with probability >= 1 − `pattern_failure`. As printed it is
    false where chi·max(d_l, d_{l−1}) is far below 1 (the value is then below 1, and a single
    weight that stays exceeds it), and it says nothing once chi >= 1/3.

    **Symbols → arguments.** fan_out, fan_in: d_l, d_{l−1}, integers >= 1 · pruning_d: d, >= 0 ·
    lambda_l: >= 1.

    **Shapes.** Lists (L,), a number, (L,); the result is (L,). **Returns** a number of weights,
    not rounded.

    **Order-only.** Not proven as printed; `pattern_gaussian` is what holds.

    **Fails loudly.** InputError where lists differ in length or a number is out of its range.

    **Source.** Guha, Dubey and Huo, arXiv:2305.18789v2. THEORY 1.6. The published code plots the
    rows of one layer only against 3·d_{l−1}·chi.

    **Example.** d = 2/3 keeps half: 3·2·10/2.

    >>> pattern_as_in_paper([10], [4], 2 / 3, [2.0]).round(9).tolist()
    [30.0]
    """
    rows, columns, factor = per_layer(fan_out=fan_out, fan_in=fan_in, lambda_l=lambda_l)
    kept = 1.0 - drop_share(pruning_d)
    return np.asarray(3.0 * factor * np.maximum(rows, columns) * kept)


def sketch_rows(
    fan_out: ArrayLike, fan_in: ArrayLike, row_nonzeros: ArrayLike, column_nonzeros: ArrayLike
) -> NDArray[np.int64]:
    """Order-only numbers m of rows of two-sided sketches P X Qᵀ that give the matrices back.

    **Statement.** The source: for a fixed X with at most j nonzeros in every row and column and
    random P, Q of m = O(√(jp)·ln p) rows, X is the only matrix of least l1 norm with its sketch,
    except with probability p^−c. Here m = ⌈√(max(j_c·d_l, j_r·d_{l−1}))·ln p⌉, p = max(d_l,
    d_{l−1}): the same for a square matrix with j_r = j_c = j, at constant 1.

    **Symbols → arguments.** fan_out, fan_in: d_l, d_{l−1} >= 1 · row_nonzeros, column_nonzeros:
    j_r, j_c, the most in a row and in a column, >= 0. Integers.

    **Shapes.** Lists (L,); the result is (L,). **Returns** numbers of rows.

    **Order-only.** The constant is not given; `prunecert sketch` measures the m that is needed.

    **Fails loudly.** InputError where lists differ in length or a number is out of its range.

    **Source.** Dasarathy, Shah, Bhaskar and Nowak, IEEE T-IT 61(3) 2015, arXiv:1303.6544.
    THEORY 1.7. Deviation: the rectangular form is ours.

    **Example.** √(3·784)·ln 784 = 323.2:

    >>> sketch_rows([784], [784], [3], [3]).tolist()
    [324]
    """
    rows, columns, in_row, in_column = per_layer(
        fan_out=fan_out, fan_in=fan_in, row_nonzeros=row_nonzeros, column_nonzeros=column_nonzeros
    )
    spread = np.maximum(in_column * rows, in_row * columns)
    needed = np.ceil(np.sqrt(spread) * np.log(np.maximum(rows, columns)))
    return np.asarray(needed, np.int64)


def pattern_failure(fan_out: ArrayLike, fan_in: ArrayLike, lambda_l: ArrayLike) -> Floats:
    """1/lambda_l + max(d_l, d_{l−1})^{−1/3}: the failure the source allows itself, per layer.

    >>> pattern_failure([8], [4], [2.0]).round(9).tolist()
    [1.0]
    """
    rows, columns, factor = per_layer(fan_out=fan_out, fan_in=fan_in, lambda_l=lambda_l)
    return np.asarray(1.0 / factor + np.maximum(rows, columns) ** (-1.0 / 3.0))


def pattern_gaussian(
    fan_out: ArrayLike, fan_in: ArrayLike, pruning_d: float, delta: float
) -> NDArray[np.int64]:
    """Upper bounds (j_r, j_c) on the nonzeros of a row and of a column, for Gaussian weights.

    **Statement.** For independent weights w ~ N(0, Ψ_l) with any Ψ_l: with probability >=
    1 − delta over weights and masks, for all L layers at once, every row of layer l keeps at most
    j_r and every column at most j_c weights, j_r = min{j : d_l·P[Bin(d_{l−1}, chi) > j] <=
    delta/(2L)}, j_c = min{j : d_{l−1}·P[Bin(d_l, chi) > j] <= delta/(2L)}.

    **Symbols → arguments.** fan_out, fan_in: d_l, d_{l−1}, integers >= 1 · pruning_d: d, >= 0,
    chi = 1 − √(d/(d+2)) · 0 < delta < 1.

    **Shapes.** Lists (L,), numbers; the result is (L, 2): rows, columns.

    **Returns** counts, never too small by rounding.

    **Assumed.** The weights are independent Gaussians of mean 0. *By construction*: independent
    drops with probability exp(−w²/(dΨ_l)). *Declared*: the mask is the first draw.

    **Fails loudly.** InputError where lists differ in length or a number is out of its range.

    **Source.** Binomial tails and a union bound. THEORY 1.6.

    **Example.** At d = 0 everything stays:

    >>> pattern_gaussian([3], [5], 0.0, 0.05).tolist()
    [[5, 3]]
    """
    rows, columns = per_layer(fan_out=fan_out, fan_in=fan_in)
    require_open_unit("delta", delta)
    dropped = drop_share(pruning_d) * (1.0 - SLACK)
    log_share = math.log(delta) - math.log(2.0 * rows.size)
    return np.array(
        [
            [
                _most_kept(into, dropped, log_share - math.log(out)),
                _most_kept(out, dropped, log_share - math.log(into)),
            ]
            for out, into in zip(rows.astype(int).tolist(), columns.astype(int).tolist())
        ]
    )


def _most_kept(places: int, dropped: float, log_delta: float) -> int:
    """min{j : P[Bin(places, 1 − dropped) > j] <= e^log_delta}, read off the dropped ones."""
    if dropped == 0.0:
        return places

    def enough(j: int) -> bool:
        return bool(binomial_tail_is_below(places - j - 1, places, dropped, log_delta))

    return bisect_left(range(places), True, key=enough)


def pattern_poisson_binomial(drop_probability: ArrayLike, delta: float) -> NDArray[np.int64]:
    """Upper bounds (j_r, j_c) on the nonzeros of a row and of a column, for the trained weights.

    **Statement.** For every matrix of drop probabilities p fixed before the mask: with
    probability >= 1 − delta over the mask, every row keeps at most j_r and every column at most
    j_c weights, j_r = min{j : Σ_i P[row i keeps more than j] <= delta/2}, j_c likewise. The
    number kept in row i is Poisson–binomial with probabilities 1 − p_i1, 1 − p_i2, …; its law is
    computed exactly, by convolution.

    **Symbols → arguments.** drop_probability: p, in [0, 1] · 0 < delta < 1.

    **Shapes.** (out, in), a number; the result is (2,): rows, columns.

    **Returns** counts, never too small by rounding. Costs out·in·(out + in)/2 products.

    **Certified** over the draw of the mask, given the weights; nothing is said about the sample.
    By construction: independent drops with these probabilities. Declared: the first draw.

    **Fails loudly.** InputError where p is not a matrix of probabilities.

    **Source.** Convolution and a union bound. THEORY 1.6.

    **Example.** Nothing random: the diagonal stays.

    >>> pattern_poisson_binomial([[0.0, 1.0], [1.0, 0.0]], 0.05).tolist()
    [1, 1]
    """
    p = probabilities("drop_probability", drop_probability)
    require_open_unit("delta", delta)
    return np.array([_exceeded_rarely(p, delta / 2.0), _exceeded_rarely(p.T, delta / 2.0)])


def _exceeded_rarely(drop: Floats, share: float) -> int:
    """min{j : Σ_i P[row i keeps more than j] <= share}."""
    tails = _summed_tails(drop)
    rare = np.where(tails > 0.0, tails * OUTWARD + UNDERFLOW, 0.0) <= share
    return int(np.argmax(rare))  # the last entry is always rare: no row keeps more than it has


def _summed_tails(drop: Floats) -> Floats:
    """Σ_i P[row i keeps more than j] for j = 0 … columns."""
    rows, columns = drop.shape
    law = np.zeros((rows, columns + 1))
    law[:, 0] = 1.0
    for seen, p in enumerate(drop.T[:, :, None], start=1):
        law[:, 1 : seen + 1] = law[:, 1 : seen + 1] * p + law[:, :seen] * (1.0 - p)
        law[:, :1] *= p
    more = np.cumsum(law.sum(axis=0)[:0:-1])[::-1]
    return np.append(more, 0.0)
