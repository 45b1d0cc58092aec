"""The two-sided sketch Y = P X Qᵀ, sparse and matrix-free (THEORY 1.7)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from prunecert.types import InputError

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def default_weight(shape: tuple[int, int]) -> int:
    """delta = ⌈ln p⌉ ones per column, p the larger dimension: the O(log p) of THEORY 1.7."""
    return max(1, math.ceil(math.log(max(shape))))


@dataclass(frozen=True)
class SketchOperator:
    """X (p1, p2) ↦ P X Qᵀ (rows, rows); P (rows, p1) and Q (rows, p2) hold zeros and ones.

    `left` (p1, delta) and `right` (p2, delta) say where the ones of each column of P and Q stand;
    a place named twice is one 1, so a column holds between 1 and delta of them. `draw` makes the
    random operator of the theory.

    Raises InputError where places are not integers in [0, rows).
    """

    rows: int
    left: Places
    right: Places

    def __post_init__(self) -> None:
        for side in ("left", "right"):
            places = np.asarray(getattr(self, side))
            whole = places.ndim == 2 and places.size and np.issubdtype(places.dtype, np.integer)
            if not whole or places.min() < 0 or places.max() >= self.rows:
                raise InputError(f"{side}: expected integers from 0 to {self.rows - 1}, in 2 axes")
            object.__setattr__(self, side, np.sort(places, axis=1).astype(np.int64))

    @classmethod
    def draw(
        cls, shape: tuple[int, int], rows: int, weight: int | None = None, seed: int = 0
    ) -> SketchOperator:
        """The delta-left-regular ensemble: each column has `weight` ones at uniform rows.

        Rows are drawn with replacement, as in Dasarathy et al. 2015 (arXiv 1303.6544). `shape` is
        (p1, p2), `weight` is `default_weight(shape)` unless given; equal seeds, equal operators.

        Raises InputError unless 1 <= weight <= rows <= max(shape).
        """
        weight = default_weight(shape) if weight is None else weight
        if min(shape) < 1:
            raise InputError(f"shape {shape}: expected at least one row and one column")
        if not 1 <= rows <= max(shape):
            raise InputError(f"rows {rows}: expected 1 to {max(shape)}, the larger dimension")
        if not 1 <= weight <= rows:
            raise InputError(f"column weight {weight}: expected 1 to {rows}, the sketch's rows")
        random = np.random.default_rng(seed)
        left, right = (random.integers(rows, size=(size, weight)) for size in shape)
        return cls(rows, left, right)

    @property
    def shape(self) -> tuple[int, int]:
        """(p1, p2), the shape of what is sketched."""
        return len(self.left), len(self.right)

    @property
    def size(self) -> int:
        """How many numbers the sketch holds."""
        return self.rows**2

    @cached_property
    def P(self) -> Any:
        """The left factor, sparse, (rows, p1)."""
        return _incidence(self.rows, self.left)

    @cached_property
    def Q(self) -> Any:
        """The right factor, sparse, (rows, p2)."""
        return _incidence(self.rows, self.right)

    @cached_property
    def _transposed(self) -> tuple[Any, Any]:
        return self.P.T.tocsr(), self.Q.T.tocsr()

    def forward(self, x: ArrayLike) -> Floats:
        """P X Qᵀ for X of shape (..., p1, p2); the result has shape (..., rows, rows)."""
        return _each(self._forward, x, self.shape)

    def adjoint(self, z: ArrayLike) -> Floats:
        """Pᵀ Z Q for Z of shape (..., rows, rows); the result has shape (..., p1, p2)."""
        return _each(self._adjoint, z, (self.rows, self.rows))

    # The large matrix is multiplied from the left in both: its rows lie together in memory.

    def _forward(self, x: Floats) -> Floats:
        return np.asarray((self.Q @ np.ascontiguousarray((self.P @ x).T)).T)

    def _adjoint(self, z: Floats) -> Floats:
        from_left, from_right = self._transposed
        return np.asarray(from_left @ np.ascontiguousarray((from_right @ z.T.copy()).T))

    def restricted(self, i: Places, j: Places) -> Any:
        """The columns of P ⊗ Q that belong to the entries (i, j): sparse, (rows², k).

        It maps the values of X on these k entries to vec(P X Qᵀ), row-major.
        """
        pairs = self.left[i][:, :, None] * self.rows + self.right[j][:, None, :]
        ones = _first(self.left)[i][:, :, None] & _first(self.right)[j][:, None, :]
        entry = np.broadcast_to(np.arange(len(i))[:, None, None], pairs.shape)
        where = (pairs[ones], entry[ones])
        return sp.csr_matrix((np.ones(len(where[0])), where), shape=(self.size, len(i)))


def _first(places: Places) -> NDArray[np.bool_]:
    """Where a sorted row names a place for the first time."""
    first = np.ones(places.shape, dtype=bool)
    first[:, 1:] = places[:, 1:] != places[:, :-1]
    return first


def _incidence(rows: int, places: Places) -> Any:
    ones = _first(places)
    column = np.broadcast_to(np.arange(len(places))[:, None], places.shape)
    where = (places[ones], column[ones])
    return sp.csr_matrix((np.ones(len(where[0])), where), shape=(rows, len(places)))


def _each(product: Callable[[Floats], Floats], x: ArrayLike, shape: tuple[int, int]) -> Floats:
    """`product` of each matrix of a batch."""
    batch = np.asarray(x, dtype=np.float64)
    if batch.shape[-2:] != shape:
        raise InputError(f"shape {batch.shape}: expected (..., {shape[0]}, {shape[1]})")
    if batch.ndim == 2:
        return product(batch)
    results = np.stack([product(matrix) for matrix in batch.reshape(-1, *shape)])
    return results.reshape(*batch.shape[:-2], *results.shape[1:])
