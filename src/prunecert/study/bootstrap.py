"""Which networks another experiment might have had: cells and seeds drawn again (THEORY 5)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prunecert.study.environments import Design
from prunecert.study.statistics import Floats, Ints, numbered

CONFIDENCE = 0.95
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Resampling:
    """How often each row's cell and seed are drawn; column 0 is the table as it is, once each.

    A *cell* is a dense configuration with everything pruned from it: all rows that agree on every
    axis but sparsity, pruning method and seed (and are of one stratum). A draw takes, in each
    stratum, as many cells as it has, with replacement; then in each cell, independently, as many
    seeds as the cell has, with replacement. A seed comes with its dense network and everything
    pruned from it. Pairs are never drawn: what they weigh follows from the rows they are made of.

    `cells` (R, 1 + B): how often the row's cell is drawn; `seeds` (R, 1 + B): how often its seed
    is drawn within it (the copies of a cell share this). Where no axis is a seed, a cell's rows
    stay together. `cell_factor`, `seed_factor` (R,): k/(k − 1) for the k that were drawn from, as
    two of k multiplicities multiply to 1 − 1/k on average.
    """

    cell: Ints
    seed: Ints
    cells: Weights
    seeds: Weights
    cell_factor: Floats
    seed_factor: Floats

    @property
    def rows(self) -> Weights:
        """How often each row stands in the resampled table."""
        return self.cells * self.seeds

    def apart(self, rows: Ints) -> Floats:
        """What the product of two rows of different cells is multiplied by, (1 + B,)."""
        factor = float(self.cell_factor[rows[0]]) if len(rows) else 1.0
        return np.append(1.0, np.full(self.cells.shape[1] - 1, factor))

    def comparisons(self, i: Ints, j: Ints) -> Floats:
        """How often rows i and j (P,) of one stratum are compared, (P, 1 + B); 1 on average.

        Copies of a cell are not compared with each other, nor are copies of a seed: two rows of
        one seed of one cell count once for each copy of the cell and of the seed; two rows of
        different seeds of one cell, for each copy of the cell and the product of the seeds'
        multiplicities; rows of two cells, the product of what both stand there for. Products of
        multiplicities are divided by their expectation, so that a resample does not favour pairs
        within a cell, or within a seed, over others.
        """
        same_cell = (self.cell[i] == self.cell[j])[:, None]
        same_seed = (self.seed[i] == self.seed[j])[:, None]
        within = self.seeds[i].astype(np.float64)
        crossed = within * self.seeds[j]
        crossed[:, 1:] *= self.seed_factor[i, None]
        inside = self.cells[i] * np.where(same_seed, within, crossed)
        apart = self.rows[i].astype(np.float64) * self.rows[j]
        apart[:, 1:] *= self.cell_factor[i, None]
        return np.where(same_cell, inside, apart)


def resampled(design: Design, draws: int, seed: int) -> Resampling:
    """`draws` seeded resamples of a table's cells and of the seeds within them.

    None at all where each could only be the table again: one cell of one seed in every stratum.
    """
    cell = design.cell
    seeds = np.zeros(len(cell), np.int64)
    if design.seed is not None:
        seeds = design.levels[:, design.seed]
    generator = np.random.default_rng(seed)
    cells, cell_factor = _drawn_within(design.stratum, cell, draws, generator)
    within, seed_factor = _drawn_within(cell, seeds, draws, generator)
    names = numbered(np.stack([cell, seeds], axis=1))
    if len(np.unique(names)) == len(np.unique(design.stratum)):
        cells, within = cells[:, :1], within[:, :1]
    return Resampling(cell, names, cells, within, cell_factor, seed_factor)


def _drawn_within(
    group: Ints, item: Ints, draws: int, generator: np.random.Generator
) -> tuple[Weights, Floats]:
    """In each group, as many of its items as it has, with replacement: how often each row's item
    was drawn, (R, 1 + draws) with ones first, and k/(k − 1) of the group's k items, (R,)."""
    found = np.ones((len(group), draws + 1), np.float32)
    factor = np.ones(len(group))
    for name in np.unique(group):
        inside = np.flatnonzero(group == name)
        items, which = np.unique(item[inside], return_inverse=True)
        k = len(items)
        drawn = generator.multinomial(k, np.full(k, 1 / k), draws)
        found[inside, 1:] = drawn.T[which.reshape(-1)]
        factor[inside] = k / max(k - 1, 1)
    return found, factor


@dataclass(frozen=True)
class Ratios:
    """Weighted means of values over pairs, kept as sums so that scopes can be put together.

    `total`, `weight` (…, M, 1 + B).
    """

    total: Floats
    weight: Floats

    @cached_property
    def mean(self) -> Floats:
        """NaN where nothing has weight, or where rounding is all there is."""
        found = np.full(self.total.shape, np.nan)
        np.divide(self.total, self.weight, out=found, where=self.weight > 1e-9)
        return found

    def over(self, stratum: int, levels: list[int]) -> Ratios:
        """Put together over sparsities, of ratios whose first axes are strata and sparsities."""
        total, weight = self.total[stratum, levels], self.weight[stratum, levels]
        return Ratios(total.sum(axis=0), weight.sum(axis=0))


def ratios(values: Floats, shares: Floats, comparisons: Floats) -> Ratios:
    """Sums over pairs of share·comparisons·value and of share·comparisons, (M, 1 + B).

    values, shares (P, M); comparisons (P, 1 + B). In column 0 the mean is that of the table.
    """
    return Ratios((shares * values).T @ comparisons, shares.T @ comparisons)


def interval(draws: Floats) -> tuple[Floats, Floats]:
    """The percentile interval over the last axis, at 95 %; column 0, the table itself, is left out.

    NaN where there are no draws, or where the statistic does not exist in half of them.
    """
    drawn = draws[..., 1:]
    low, high = np.full(drawn.shape[:-1], np.nan), np.full(drawn.shape[:-1], np.nan)
    known = ~np.isnan(drawn)
    enough = (known.sum(axis=-1) * 2 > drawn.shape[-1]) & (drawn.shape[-1] > 0)
    if enough.any():
        tail = (1 - CONFIDENCE) / 2
        low[enough], high[enough] = np.nanquantile(drawn[enough], [tail, 1 - tail], axis=-1)
    return low, high
