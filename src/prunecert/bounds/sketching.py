"""The bound of magnitude-based pruning through sparse matrix sketching, as published in code.

Guha, Dubey and Huo (arXiv:2305.18789v2) prune weight w of layer l with probability
exp(−w²/(d·Psi_l)), bound the change of the output, and count the parameters of a sketch of what
is left. Their experiment code drops universal constants and logarithms, so the value ranks
networks and bounds nothing: order-only (THEORY 1.8, first form).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from prunecert.bounds.layerwise import Floats, floats
from prunecert.inversions import require_count, require_number
from prunecert.types import InputError


def kept_fraction(d: ArrayLike) -> Floats:
    """chi(d) = 1 − √(d/(d+2)), the fraction of Gaussian weights that pruning at d keeps.

    >>> kept_fraction([0.0, 2.0]).round(6).tolist()
    [1.0, 0.292893]
    """
    grid = np.asarray(d, dtype=np.float64)
    return np.asarray(1.0 - np.sqrt(grid / (grid + 2.0)))


def capacity_term(fan_out: ArrayLike, fan_in: ArrayLike, d: float, n: int) -> float:
    """√(Σ_l d_l d_{l−1} chi(d) ln²(max(d_l, d_{l−1})) / n), the root of the bound.

    >>> round(capacity_term([1], [1], 0.0, 10), 6)
    0.0
    """
    rows, columns = np.asarray(fan_out, np.float64), np.asarray(fan_in, np.float64)
    entries = rows * columns * np.log(np.maximum(rows, columns)) ** 2
    return math.sqrt(float(entries.sum() * kept_fraction(d)) / n)


def narrowing_factor(fan_out: int, fan_in: int, n: int) -> float:
    """kappa_l = min(1, t·√fan_out) of a layer that narrows, where n·exp(−t²·fan_in) = 0.01; else 1.

    As in the published code, t is the last midpoint of a bisection of [0, 1] that stops at a width
    of 0.01 (so it is off by up to 0.008); where the root lies above 1 (fan_in < ln(100 n), where
    that code stops with an error) kappa_l is 1.

    >>> narrowing_factor(784, 784, 60000), narrowing_factor(10, 784, 48000) < 1
    (1.0, True)
    """
    if fan_out >= fan_in:
        return 1.0
    low, width = 0.0, 1.0
    while width >= 0.01:
        width /= 2.0
        middle = low + width
        if n * math.exp(-middle * middle * fan_in) > 0.01:
            low = middle
    return min(1.0, middle * math.sqrt(fan_out))


def needed_margin(
    fan_out: ArrayLike,
    fan_in: ArrayLike,
    spectral_norm: ArrayLike,
    removed_norm: ArrayLike,
    input_norm: float,
    n: int,
) -> Floats:
    """gamma over a grid of G values of d: e·B·Σ_l(‖Δ^l‖/‖A^l‖)·∏_l‖A^l‖·∏_l kappa_l.

    removed_norm: (G, L), measured ‖A^l − Â^l‖₂; the rest as in `mbp_sketch_as_published`. It is
    the paper's bound on the change of the output, with the code's extra factors kappa_l, which
    no theorem covers; that bound needs every ‖Δ^l‖ <= ‖A^l‖/L, which the code does not check.

    >>> needed_margin([4], [4], [2.0], [[0.0], [1.0]], 1.0, 100).round(6).tolist()
    [0.0, 2.718282]
    """
    norms = np.asarray(spectral_norm, dtype=np.float64)
    relative = (np.asarray(removed_norm, dtype=np.float64) / norms).sum(axis=-1)
    shapes = zip(np.asarray(fan_out).tolist(), np.asarray(fan_in).tolist())
    kappa = math.prod(narrowing_factor(out, into, n) for out, into in shapes)
    return np.asarray(math.e * input_norm * relative * norms.prod() * kappa)


def mbp_sketch_terms(
    errors: int,
    n: int,
    smallest_margin: float,
    fan_out: ArrayLike,
    fan_in: ArrayLike,
    spectral_norm: ArrayLike,
    input_norm: float,
    d: ArrayLike,
    removed_norm: ArrayLike,
) -> dict[str, float]:
    """Every part of `mbp_sketch_as_published`: value, d, chi, gamma, capacity, margin_risk.

    Same arguments and errors.

    >>> mbp_sketch_terms(1, 10, -0.5, [1], [1], [1.0], 1.0, [0, 10], [[0.0], [1.0]])["chi"]
    1.0
    """
    require_count("errors", errors, n)
    require_number("smallest_margin", smallest_margin, -1e300, 1e300, "a finite value")
    require_number("input_norm", input_norm, 0.0, 1e300, "input_norm >= 0, finite")
    grid = _checked_curve(fan_out, fan_in, spectral_norm, d, removed_norm)
    gammas = needed_margin(fan_out, fan_in, spectral_norm, removed_norm, input_norm, n)
    chosen = _largest_affordable(grid, gammas, smallest_margin)
    capacity = capacity_term(fan_out, fan_in, chosen, n)
    return {
        "value": errors / n + capacity,
        "d": chosen,
        "chi": float(kept_fraction(chosen)),
        "gamma": float(np.interp(chosen, grid, gammas)),
        "capacity": capacity,
        "margin_risk": errors / n,
    }


def mbp_sketch_as_published(
    errors: int,
    n: int,
    smallest_margin: float,
    fan_out: ArrayLike,
    fan_in: ArrayLike,
    spectral_norm: ArrayLike,
    input_norm: float,
    d: ArrayLike,
    removed_norm: ArrayLike,
) -> float:
    """Order-only value for the pruned network of the seed paper; not a bound on any risk.

    **Statement.** None is proven. The published code reports R̂_gamma(f) + √(Σ_l d_l d_{l−1} chi
    ln²(max(d_l, d_{l−1}))/n) with chi = 1 − √(d/(d+2)), at the d in [0, 10] where
    gamma(d) = e·B·Σ‖Δ^l‖/‖A^l‖·∏‖A^l‖·∏kappa_l equals the smallest training margin, or at d = 0
    where that margin is not positive.

    **Symbols → arguments.** errors: training samples with margin <= 0; as gamma(d) never exceeds
    the smallest margin, errors/n is R̂_gamma · n: training samples, >= 1 · smallest_margin:
    finite · fan_out, fan_in: d_l, d_{l−1} per layer, >= 1 · spectral_norm: ‖A^l‖₂ > 0 ·
    input_norm: B, the largest input norm of the sample · d: grid from 0 upwards, increasing ·
    removed_norm: measured ‖A^l − Â^l‖₂ at each d.

    **Shapes.** L layers, G grid points: (L,), (L,), (L,), (G,), (G, L).

    **Returns** a number >= 0 without unit, not rounded; values above 1 are the rule.

    **Order-only.** Constants and the failure probabilities of pruning and recovery are dropped,
    and gamma is chosen on the training sample without payment.

    **Fails loudly.** InputError where shapes do not fit or a number is out of its range.

    **Source.** Guha, Dubey and Huo, arXiv:2305.18789v2, experiment code. THEORY 1.8, 1.4.
    Deviation: removed norms are measured once on the grid of d and gamma is interpolated, where
    the code draws new masks at every bisection step; where gamma(d) stays below the margin on
    the whole grid the code stops with an error, and here d is the grid's end; a margin of exactly
    0 is an error here, as everywhere, and none in the code.

    **Example.** A margin of −0.5 prunes nothing; one entry has ln 1 = 0, so 1/10 remains:

    >>> mbp_sketch_as_published(1, 10, -0.5, [1], [1], [1.0], 1.0, [0, 10], [[0.0], [1.0]])
    0.1
    """
    terms = mbp_sketch_terms(
        errors, n, smallest_margin, fan_out, fan_in, spectral_norm, input_norm, d, removed_norm
    )
    return terms["value"]


def _largest_affordable(grid: Floats, gammas: Floats, margin: float) -> float:
    """A d with gamma(d) = margin on the interpolated curve, from below, by bisection."""
    if margin <= 0.0:
        return 0.0
    if gammas[-1] <= margin:
        return float(grid[-1])
    low, high = float(grid[0]), float(grid[-1])
    for _ in range(60):
        middle = (low + high) / 2.0
        if np.interp(middle, grid, gammas) <= margin:
            low = middle
        else:
            high = middle
    return low


def _checked_curve(
    fan_out: ArrayLike,
    fan_in: ArrayLike,
    spectral_norm: ArrayLike,
    d: ArrayLike,
    removed_norm: ArrayLike,
) -> Floats:
    """The grid of d as an array, once shapes fit and every number is in its range."""
    rows, columns = floats("fan_out", fan_out), floats("fan_in", fan_in)
    norms, grid = floats("spectral_norm", spectral_norm), floats("d", d)
    removed = floats("removed_norm", removed_norm)
    if rows.ndim != 1 or rows.size == 0 or columns.shape != rows.shape:
        raise InputError("fan_out and fan_in must be lists of one length, one entry per layer")
    if min(rows.min(), columns.min()) < 1 or (rows % 1).any() or (columns % 1).any():
        raise InputError("fan_out and fan_in must be integers >= 1")
    if norms.shape != rows.shape or not (norms > 0).all():
        raise InputError("spectral_norm must be a list of numbers > 0, one per layer")
    if grid.ndim != 1 or grid.size < 2 or grid[0] != 0.0 or not (np.diff(grid) > 0).all():
        raise InputError("d must be an increasing list that starts at 0")
    if removed.shape != (grid.size, rows.size) or not (removed >= 0).all():
        raise InputError("removed_norm must be numbers >= 0, one row per d, one column per layer")
    return grid
