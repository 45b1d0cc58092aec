"""L1 recovery of a matrix from its sketch: min ‖X‖₁ subject to P X Qᵀ = Y (THEORY 1.7).

The dual is max ⟨Y, Z⟩ subject to max |Pᵀ Z Q| <= 1. Any such Z proves ‖X‖₁ >= ⟨Y, Z⟩ for every X
with this sketch, so the gap between the two is a certificate that anyone can check.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike
from scipy.sparse.linalg import lsmr

from prunecert.progress import Stage, quiet
from prunecert.sketch.operator import Floats, SketchOperator
from prunecert.types import InputError

THRESHOLD = 1.0  # of the largest entry of the least-squares solution: the step of the method
FIRST_CHECK, CHECK_GROWTH = 30, 1.25  # iterations before the first check, then between checks
PURSUIT_ROUNDS = 12
RANK = 1e-10  # smaller eigenvalues of a Gram matrix, relative to the largest, are zeros
RANGE = 1e-6  # relative residual above which no matrix at all has a sketch
EXACT = 1e-10  # relative residual that counts as none
NONZERO = 1e-9  # of the largest value: what is smaller is a zero that the solver missed
LSMR_ACCURACY, LSMR_STEPS, LSMR_OUT_OF_STEPS = 1e-13, 200, 7


@dataclass(frozen=True)
class Recovery:
    """A matrix whose sketch is Y, and how close its l1 norm is proven to be to the smallest.

    `x` (p1, p2); `objective` = ‖x‖₁; `lower_bound` = ⟨Y, dual⟩, a lower bound on the l1 norm of
    every matrix with this sketch (up to float64 rounding), since |Pᵀ dual Q| <= 1 everywhere;
    `residual` = ‖P x Qᵀ − Y‖ / ‖Y‖, Frobenius; `converged` means that gap and residual are below
    the tolerance asked for. That the minimiser is the matrix once sketched is another question,
    which the sketch alone does not answer.
    """

    x: Floats
    dual: Floats
    objective: float
    lower_bound: float
    residual: float
    iterations: int
    converged: bool

    @property
    def gap(self) -> float:
        """(objective − lower bound) / objective; 0 for a zero sketch."""
        return (self.objective - self.lower_bound) / self.objective if self.objective else 0.0


def sketch(x: ArrayLike, rows: int, weight: int | None = None, seed: int = 0) -> Floats:
    """P X Qᵀ (rows, rows) of a matrix, by `SketchOperator.draw(x.shape, rows, weight, seed)`.

    Raises InputError as `checked_matrix` and `SketchOperator.draw` do.
    """
    matrix = checked_matrix(x)
    return SketchOperator.draw(matrix.shape, rows, weight, seed).forward(matrix)


def checked_matrix(x: ArrayLike, name: str = "matrix") -> Floats:
    """`x` in float64. Raises InputError unless it has two axes, an entry, and only finite ones."""
    matrix = np.asarray(x, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise InputError(f"{name}: has shape {matrix.shape}, expected a matrix (rows, columns)")
    if wrong := int((~np.isfinite(matrix)).sum()):
        raise InputError(f"{name}: holds {wrong} NaN or infinite values")
    return matrix


def recover(
    operator: SketchOperator,
    y: ArrayLike,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 2000,
    give_up_below: float = 0.0,
    stage: Stage = quiet,
) -> Recovery:
    """The matrix of smallest l1 norm with the sketch `y` (rows, rows), and the proof that it is.

    Douglas–Rachford: a soft threshold and a projection onto {X : P X Qᵀ = Y} in turn; the
    projection needs the inverses of P Pᵀ and Q Qᵀ only. At growing intervals the entries that
    survive the threshold are solved for exactly, and the dual is corrected so that it is ±1 on
    them: kept only where the gap, computed afresh, is smaller.

    Not reaching `tolerance` (relative, gap and residual) in `max_iterations` is flagged, not
    raised: `converged` is False. The search also ends at a matrix of l1 norm below
    `give_up_below`, which proves that a matrix of that norm is not the one recovered.

    Raises InputError where y has another shape or NaN, or is the sketch of no matrix at all.
    """
    target = checked_matrix(y, "sketch")
    if target.shape != (operator.rows, operator.rows):
        raise InputError(
            f"sketch: has shape {target.shape}, expected ({operator.rows}, {operator.rows})"
        )
    system = _System(operator, target, tolerance)
    best = system.answer(np.zeros(operator.shape), np.zeros_like(target), 0)
    if best.converged:  # a sketch of zeros
        return best
    with stage(f"recovery from {operator.rows} x {operator.rows}", max_iterations) as tick:
        for k, feasible, sparse, dual in _douglas_rachford(system, max_iterations):
            tick(k - best.iterations)
            best = system.answer(feasible, dual, k)
            if best.objective < give_up_below * (1 - tolerance):
                break
            polished = _polished(system, sparse, dual, k)
            if polished is not None and abs(polished.gap) < abs(best.gap):
                best = polished
            if best.converged:
                break
    return best


class _System:
    """The constraint P X Qᵀ = Y, with what projecting onto it needs."""

    def __init__(self, operator: SketchOperator, y: Floats, tolerance: float) -> None:
        self.operator, self.y, self.tolerance = operator, y, tolerance
        # pseudo-inverses: P and Q have fewer columns than rows where X is far from square, and
        # rows that no column hits are zero
        self._left, self._right = (
            scipy.linalg.pinvh((side @ side.T).toarray(), rtol=RANK)
            for side in (operator.P, operator.Q)
        )
        self._size = float(np.linalg.norm(y)) or 1.0
        self.least_squares = operator.adjoint(self.solve_gram(y))
        if self.residual(self.least_squares) > RANGE:
            raise InputError("sketch: no matrix has this sketch under this operator")

    def solve_gram(self, z: Floats) -> Floats:
        """W with (P Pᵀ) W (Q Qᵀ) = z, for z in the range of the sketch."""
        return np.asarray(self._left @ z @ self._right)

    def residual(self, x: Floats) -> float:
        """How far the sketch of `x` is from Y, relative to Y."""
        return float(np.linalg.norm(self.operator.forward(x) - self.y)) / self._size

    def answer(self, x: Floats, dual: Floats, iterations: int) -> Recovery:
        """`x` with the lower bound that `dual`, scaled until it is feasible, proves."""
        dual = dual / max(1.0, float(np.abs(self.operator.adjoint(dual)).max()))
        objective, lower_bound = float(np.abs(x).sum()), float((self.y * dual).sum())
        residual = self.residual(x)
        closed = abs(objective - lower_bound) <= self.tolerance * objective
        converged = closed and residual <= self.tolerance
        return Recovery(x, dual, objective, lower_bound, residual, iterations, converged)


def _douglas_rachford(
    system: _System, max_iterations: int
) -> Iterator[tuple[int, Floats, Floats, Floats]]:
    """Now and then (iteration, a feasible matrix, a sparse one, a dual point); all converge.

    With U the running sum of the method, W = G⁻¹(P U Qᵀ − Y), X = U − Pᵀ W Q its projection and V
    the soft threshold of 2X − U, the step is U ← U + V − X = V + Pᵀ W Q. So P U Qᵀ − Y changes by
    P V Qᵀ − Y, and −W over the threshold is the dual point. U is never stored: `sparse` holds, in
    turn, V, U, X, 2X − U and the next V.
    """
    operator, y = system.operator, system.y
    threshold = THRESHOLD * float(np.abs(system.least_squares).max())
    misfit, sparse = -y, np.zeros(operator.shape)
    back, scratch = np.zeros(operator.shape), np.empty(operator.shape)
    due = float(FIRST_CHECK)
    for k in range(1, max_iterations + 1):
        sparse += back
        multiplier = system.solve_gram(misfit)
        back = operator.adjoint(multiplier)
        sparse -= back
        if k >= due or k == max_iterations:
            feasible = sparse.copy()
        sparse -= back
        sparse -= np.clip(sparse, -threshold, threshold, out=scratch)
        if k >= due or k == max_iterations:
            yield k, feasible, sparse, -multiplier / threshold
            due *= CHECK_GROWTH
        misfit += operator.forward(sparse) - y


def _polished(system: _System, sparse: Floats, dual: Floats, iterations: int) -> Recovery | None:
    """The exact solution on the support of `sparse`, where it has one, with a dual that fits it."""
    x = _pursued(system, sparse)
    if x is None:
        return None
    return system.answer(x, _fitting_dual(system.operator, x, dual), iterations)


def _pursued(system: _System, guess: Floats) -> Floats | None:
    """A sparse matrix with the sketch Y, from a guess of it.

    Entries are added where the residual, projected back, is largest (orthogonal matching pursuit,
    several at a time): those that the threshold still hides are few and small.
    """
    operator, y = system.operator, system.y
    support = guess != 0
    for _ in range(PURSUIT_ROUNDS):
        i, j = np.nonzero(support)
        if not 0 < len(i) <= operator.size // 2:
            return None
        entries = operator.restricted(i, j)
        change = _least_squares(entries, y.ravel() - entries @ guess[i, j])
        if change is None:
            return None
        values = guess[i, j] + change
        residual = y - (entries @ values).reshape(y.shape)
        if np.linalg.norm(residual) <= EXACT * np.linalg.norm(y):
            x = np.zeros(operator.shape)
            x[i, j] = np.where(np.abs(values) > NONZERO * np.abs(values).max(), values, 0.0)
            return x
        back = np.abs(operator.adjoint(system.solve_gram(residual)))
        back[support] = 0.0
        support |= back > back.max() / 2
    return None


def _fitting_dual(operator: SketchOperator, x: Floats, dual: Floats) -> Floats:
    """A dual point near `dual` with |Pᵀ Z Q| <= 1, and equal to the sign of x where x is not 0.

    The shortest correction that mends the signs pushes a few other entries above 1; these are held
    at their own ±1 from then on. None may exist, or be found: the caller checks what comes.
    """
    wanted = np.sign(x)
    for _ in range(PURSUIT_ROUNDS):
        i, j = np.nonzero(wanted)
        if len(i) > operator.size:
            break
        entries = operator.restricted(i, j).T
        change = _least_squares(entries, wanted[i, j] - entries @ dual.ravel())
        if change is None:
            break
        dual = dual + change.reshape(dual.shape)
        back = operator.adjoint(dual)
        above = (np.abs(back) > 1 + NONZERO) & (wanted == 0)
        if not above.any():
            break
        wanted[above] = np.sign(back[above])
    return dual


def _least_squares(matrix: Any, right: Floats) -> Floats | None:
    """The shortest least-squares solution; None where it takes long, as with a wrong support."""
    solution, reason, *_ = lsmr(
        matrix, right, atol=LSMR_ACCURACY, btol=LSMR_ACCURACY, conlim=0.0, maxiter=LSMR_STEPS
    )
    return None if reason == LSMR_OUT_OF_STEPS else np.asarray(solution)
