"""Does a measure order networks as their gaps do? Numbers in, numbers out (THEORY 5).

A *measure* C and the *gap* G are arrays over the rows of a table; a *sign product* is
sgn(ΔC)·sgn(ΔG) of two rows: 1 where the measure is right about the pair, −1 where it is wrong,
0 where either is tied. Everything here is an average of sign products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunecert.types import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_BITS = 40  # of a number that are compared: what differs only beyond is the noise of subtraction
_BLOCK = 512  # rows whose comparisons with all others are held at once


def ranks(values: ArrayLike) -> Ints:
    """The place of each value among the distinct ones of its column, from 0; −1 where missing.

    Numbers that agree in 40 bits (12 digits) are tied: gaps are differences of rates, and two
    equal ones need not be equal in their last digit. Infinite values are the largest (smallest).

    >>> ranks([0.3, 0.1, 0.1 + 1e-17, float("nan"), float("inf")]).tolist()
    [1, 0, 0, -1, 2]
    """
    array = np.asarray(values, np.float64)
    if array.ndim == 2:
        columns = [ranks(column) for column in array.T]
        return np.stack(columns, axis=1) if columns else np.empty(array.shape, np.int64)
    missing = np.isnan(array)
    mantissa, exponent = np.frexp(np.where(np.isfinite(array), array, 0.0))
    rounded = np.ldexp(np.round(np.ldexp(mantissa, _BITS)), exponent - _BITS)
    rounded = np.where(np.isfinite(array), rounded, array)
    places = np.full(array.shape, -1, np.int64)
    places[~missing] = np.unique(rounded[~missing], return_inverse=True)[1].reshape(-1)
    return places


def sign_products(places: Ints, gap: Ints, first: Ints, second: Ints) -> NDArray[np.int8]:
    """sgn(ΔC)·sgn(ΔG) of pairs of rows, (P, M) for places (R, M); 0 where a measure is missing."""
    gaps = np.sign(gap[second] - gap[first])[:, None]
    products = np.sign(places[second] - places[first]) * gaps
    return np.where(both_known(places, first, second), products, 0).astype(np.int8)


def both_known(places: Ints, first: Ints, second: Ints) -> Flags:
    """Where a measure speaks about both rows of a pair, (P, M)."""
    return np.asarray((places[first] >= 0) & (places[second] >= 0))


def equal_shares(group: Ints, counted: Flags) -> Floats:
    """What each pair weighs, (P, M), so that every group with a counted pair weighs 1 in all.

    group (P,) numbers from 0, negative for none; counted (P, M). Pairs not counted weigh 0.
    """
    shares = np.zeros(counted.shape)
    inside = group >= 0
    if not inside.any():
        return shares
    patterns, which = np.unique(counted, axis=1, return_inverse=True)
    for index, pattern in enumerate(patterns.T):
        used = pattern & inside
        sizes = np.bincount(group[used], minlength=int(group.max()) + 1)
        share = np.zeros(len(group))
        share[used] = 1.0 / sizes[group[used]]
        shares[:, which.reshape(-1) == index] = share[:, None]
    return shares


# --------------------------------------------------------------------------- Kendall's tau


def kendall_tau(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau_a: the mean sign product over all pairs, ties counting 0.

    Rows where x is missing (NaN) take no part; NaN where fewer than two are left.

    >>> kendall_tau([1, 2, 3], [10, 20, 30]), kendall_tau([1, 2, 3], [3, 2, 1])
    (1.0, -1.0)
    """
    places, gap = ranks(np.asarray(x, np.float64).reshape(-1, 1)), ranks(y)
    if len(gap) != len(places) or (gap < 0).any():
        raise InputError("y: expected one number for each value of x")
    return float(tau_at_weights(places, gap, np.ones((len(gap), 1), np.float32))[0, 0])


@dataclass(frozen=True)
class Exceptions:
    """Pairs of rows, (P,) each, and what they weigh, (P, B), in place of the product of rows."""

    first: Ints
    second: Ints
    weights: Floats


def tau_at_weights(
    places: Ints,
    gap: Ints,
    weights: NDArray[np.float32],
    factor: ArrayLike = 1.0,
    exceptions: Exceptions | None = None,
) -> Floats:
    """tau_a of each measure, (M, B), when rows i and j are compared weights[i]·weights[j]·factor
    times; `exceptions` are compared as often as they say. NaN where nothing is left to compare.

    weights (R, B), whole numbers; factor (B,).
    """
    found = np.full((places.shape[1], weights.shape[1]), np.nan)
    gaps = np.sign(gap[:, None] - gap[None, :]).astype(np.float32)
    times = np.asarray(factor, np.float64)
    if exceptions is None:
        none = np.empty(0, np.int64)
        exceptions = Exceptions(none, none, np.empty((0, weights.shape[1])))
    i, j = exceptions.first, exceptions.second
    more = exceptions.weights - times * weights[i].astype(np.float64) * weights[j]
    known_pairs = both_known(places, i, j)
    products = sign_products(places, gap, i, j)
    for m, column in enumerate(places.T):
        known = column >= 0
        w, x = weights[known], column[known]
        total = w.sum(axis=0, dtype=np.float64)
        pairs = times * (total**2 - (w.astype(np.float64) ** 2).sum(axis=0)) / 2
        g = gaps if known.all() else gaps[np.ix_(known, known)]
        agreed = np.zeros(weights.shape[1])
        for start in range(0, len(x), _BLOCK):
            part = slice(start, start + _BLOCK)
            signs = np.sign(x[part, None] - x[None, :]).astype(np.float32) * g[part]
            agreed += ((signs @ w) * w[part]).sum(axis=0, dtype=np.float64)
        agreed = times * agreed / 2 + products[:, m] @ more
        pairs += known_pairs[:, m] @ more
        np.divide(agreed, pairs, out=found[m], where=pairs > 1e-9)
    return found


# --------------------------------------------------------------------------- granulated


@dataclass(frozen=True)
class Granulated:
    """psi (A,) by axis and their mean; NaN where no setting has two values along the axis."""

    axes: tuple[int, ...]
    psi: Floats
    mean: float
    settings: Ints  # of the other axes, that occur
    missing: Ints  # of them, with fewer than two values along the axis


def granulated_tau(
    levels: ArrayLike, measure: ArrayLike, gap: ArrayLike, seed: int | None = None
) -> Granulated:
    """Granulated Kendall coefficients (Jiang et al. 2019, arXiv:1912.02178, equation 5).

    psi_i is the mean, over all settings of the other axes that occur, of tau_a between measure and
    gap among the rows of that setting, which differ along axis i only; Psi is the mean of psi_i.
    levels (R, A): the value number of each row on each axis.

    The seed axis (its index) is a replicate: psi_i of another axis compares rows of one seed and
    is averaged over seeds as over the settings of any other axis; the seed has no psi of its own
    and no part in Psi. Rows that agree on every axis are replicates and not compared either. A
    setting with fewer than two values along the axis is missing: it has no tau and is counted.
    Rows without the measure (NaN) take no part at all.
    """
    places = ranks(np.asarray(measure, np.float64).reshape(-1, 1))
    speaks = places[:, 0] >= 0
    places, table, gaps = places[speaks], np.asarray(levels, np.int64)[speaks], ranks(gap)[speaks]
    axes = tuple(axis for axis in range(table.shape[1]) if axis != seed)
    psi, settings, missing = [], [], []
    for axis in axes:
        group = numbered(np.delete(table, axis, axis=1))
        first, second = pairs_within(group, table[:, axis])
        products = sign_products(places, gaps, first, second)
        shares = equal_shares(group[first], np.ones(products.shape, bool))
        total = shares.sum()
        psi.append(float((shares * products).sum() / total) if total else np.nan)
        settings.append(len(np.unique(group)))
        missing.append(settings[-1] - len(np.unique(group[first])))
    known_psi = [value for value in psi if not np.isnan(value)]
    mean = float(np.mean(known_psi)) if known_psi else np.nan
    return Granulated(axes, np.array(psi), mean, np.array(settings), np.array(missing))


def numbered(keys: ArrayLike) -> Ints:
    """The number of each row among the distinct rows of keys (R, A), from 0."""
    table = np.asarray(keys)
    if table.shape[1] == 0:
        return np.zeros(len(table), np.int64)
    return np.asarray(np.unique(table, axis=0, return_inverse=True)[1].reshape(-1), np.int64)


def pairs_within(group: Ints, value: Ints) -> tuple[Ints, Ints]:
    """All pairs of rows of one group whose values differ, (P,) each; the lower value first."""
    order = np.lexsort((np.arange(len(group)), value, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    firsts, seconds = [], []
    for rows in np.split(order, starts[1:]) if len(order) else []:
        i, j = np.triu_indices(len(rows), 1)
        differ = value[rows[i]] != value[rows[j]]
        firsts.append(rows[i[differ]])
        seconds.append(rows[j[differ]])
    if not firsts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(firsts), np.concatenate(seconds)
