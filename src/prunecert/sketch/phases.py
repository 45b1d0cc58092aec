"""How many rows a sketch needs: measured, against a floor and against listing the nonzeros."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from prunecert.progress import Stage, quiet
from prunecert.sketch.operator import Floats, SketchOperator, default_weight
from prunecert.sketch.recover import Recovery, checked_matrix, recover
from prunecert.types import InputError

SAME = 1e-5  # largest relative Frobenius error of a matrix that counts as recovered


@dataclass(frozen=True)
class Pattern:
    """Where the nonzeros of a matrix (p1, p2) are; every field but `shape` is a count."""

    shape: tuple[int, int]
    nonzeros: int
    largest_row: int  # j_r: nonzeros of the fullest row
    largest_column: int  # j_c
    dead_rows: int
    dead_columns: int

    def list_bits(self, value_bits: int = 32) -> int:
        """Bits to list the nonzeros: for each its value and its position in the matrix."""
        return self.nonzeros * (value_bits + math.ceil(math.log2(math.prod(self.shape))))


def pattern(x: ArrayLike) -> Pattern:
    """Counts of the nonzeros of a matrix. Raises InputError as `checked_matrix` does."""
    kept = checked_matrix(x) != 0
    rows, columns = kept.sum(axis=1), kept.sum(axis=0)
    return Pattern(
        shape=(len(rows), len(columns)),
        nonzeros=int(kept.sum()),
        largest_row=int(rows.max()),
        largest_column=int(columns.max()),
        dead_rows=int((rows == 0).sum()),
        dead_columns=int((columns == 0).sum()),
    )


def fewest_rows(where: Pattern) -> int:
    """No sketch of fewer rows has the matrix as its only l1 minimiser, whatever P and Q are.

    The sketch must be injective on the matrices that vanish where X does: else X can be changed
    both ways without its l1 norm growing in both. These have as many dimensions as X has nonzeros,
    and the sketch is m². A column's nonzeros reach it through P alone, which has m rows: m is no
    smaller than the fullest column, nor the fullest row. One hot column is enough to spoil it.
    """
    square = math.isqrt(max(where.nonzeros - 1, 0)) + 1
    return max(square, where.largest_row, where.largest_column)


def distributed_sparse(p: int, count: int, random: Generator) -> Floats:
    """A (p, p) matrix with exactly `count` standard normal entries in each row and column.

    Raises InputError unless 1 <= count <= p.
    """
    if not 1 <= count <= p:
        raise InputError(f"{count} nonzeros per row: expected 1 to {p}")
    x = np.zeros((p, p))
    rows, columns = random.permutation(p), random.permutation(p)
    for shift in random.choice(p, size=count, replace=False):
        x[rows, np.roll(columns, shift)] = random.standard_normal(p)
    return x


def recovered(
    x: ArrayLike,
    rows: int,
    *,
    weight: int | None = None,
    seed: int = 0,
    max_iterations: int = 1000,
    stage: Stage = quiet,
) -> tuple[bool, Recovery]:
    """Sketch x and recover it; whether that gave x back, and what it gave.

    x counts as recovered if the l1 minimum was proven to be reached within `max_iterations` and
    the minimiser is x to a relative Frobenius error of `SAME`.

    Raises InputError as `checked_matrix` and `SketchOperator.draw` do.
    """
    matrix = checked_matrix(x)
    operator = SketchOperator.draw(matrix.shape, rows, weight, seed)
    found = recover(
        operator,
        operator.forward(matrix),
        max_iterations=max_iterations,
        give_up_below=float(np.abs(matrix).sum()),
        stage=stage,
    )
    error = np.linalg.norm(found.x - matrix)
    return bool(found.converged and error <= SAME * np.linalg.norm(matrix)), found


def success_probability(
    draw: Callable[[Generator], ArrayLike],
    rows: Sequence[int],
    trials: int,
    *,
    seed: int = 0,
    weight: int | None = None,
    stage: Stage = quiet,
) -> Floats:
    """The share of `trials` that recover a matrix, for each m in `rows`: shape (len(rows),).

    Each trial draws a matrix, `draw(generator)`, and a sketch; a fixed matrix (a pruned layer) is
    `lambda _: x`, and the chance is then over the sketch alone. Seeded by (seed, m, trial).
    """
    if trials < 1:
        raise InputError(f"trials {trials}: expected at least 1")
    successes = np.zeros(len(rows))
    with stage("recovery experiments", len(rows) * trials) as tick:
        for at, m in enumerate(rows):
            for trial in range(trials):
                random = np.random.default_rng([seed, m, trial])
                x, own_seed = draw(random), int(random.integers(2**31))
                successes[at] += recovered(x, m, weight=weight, seed=own_seed)[0]
                tick(1)
    return successes / trials


def uniform_phases(
    p: int,
    counts: Sequence[int],
    rows: Sequence[int],
    trials: int,
    *,
    seed: int = 0,
    stage: Stage = quiet,
) -> Floats:
    """`success_probability` of `distributed_sparse(p, j)` over j in `counts` and m in `rows`.

    The result has shape (len(counts), len(rows)).
    """

    def row(j: int) -> Floats:
        def draw(random: Generator) -> Floats:
            return distributed_sparse(p, j, random)

        return success_probability(draw, rows, trials, seed=seed, stage=stage)

    return np.array([row(j) for j in counts])


def smallest_rows(
    x: ArrayLike,
    *,
    weight: int | None = None,
    seed: int = 0,
    resolution: int = 1,
    stage: Stage = quiet,
) -> int | None:
    """The smallest m whose sketch recovers x, by bisection to `resolution`; None if none does.

    One seeded sketch per m. Recovery is not strictly monotone in m, so what is returned recovers x
    and some m at most `resolution` below it does not. The search starts at `fewest_rows`, doubles
    until it succeeds, and ends at the larger dimension.
    """
    matrix = checked_matrix(x)
    weight = default_weight(matrix.shape) if weight is None else weight
    where = pattern(matrix)

    def works(m: int) -> bool:
        return recovered(matrix, m, weight=weight, seed=seed, stage=stage)[0]

    fails, p = max(fewest_rows(where), weight) - 1, max(where.shape)
    high = min(2 * (fails + 1), p)
    while not works(high):
        if high == p:
            return None
        fails, high = high, min(2 * high, p)
    while high - fails > resolution:
        middle = (fails + high) // 2
        if works(middle):
            high = middle
        else:
            fails = middle
    return high
