"""Resampling: what is drawn, what a resample weighs, and that intervals cover."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from small_tables import GRID, noisy, rows_of, table

from prunecert.study.bootstrap import interval, ratios, resampled
from prunecert.study.environments import Design, pairs_along
from prunecert.study.rankings import ranked
from prunecert.study.scopes import OVERALL
from prunecert.study.statistics import equal_shares, ranks, sign_products


def factorial(cells: int, sparsities: int, seeds: int, strata: int = 1) -> Design:
    levels = np.array(
        list(itertools.product(range(strata), range(cells), range(sparsities), range(seeds)))
    )
    return Design(
        axes=("lr", "sparsity", "seed"),
        levels=levels[:, 1:],
        stratum=levels[:, 0],
        network=np.arange(len(levels)),
        seed=2,
        sparsity=1,
    )


def test_whole_cells_and_whole_seeds_are_drawn():
    design = factorial(cells=5, sparsities=3, seeds=4, strata=2)
    found = resampled(design, 50, seed=0)
    assert (found.rows[:, 0] == 1).all()
    for stratum in (0, 1):
        inside = design.stratum == stratum
        for draw in range(1, 51):
            one_each = {(c, found.cells[r, draw]) for r, c in enumerate(found.cell) if inside[r]}
            assert len(one_each) == 5  # all rows of a cell are drawn together
            assert sum(times for _, times in one_each) == 5
    for cell in np.unique(found.cell):
        inside = found.cell == cell
        seeds = design.levels[inside, 2]
        drawn = found.seeds[inside]
        for seed in range(4):  # with everything pruned from them
            assert (drawn[seeds == seed] == drawn[seeds == seed][0]).all()
        assert (drawn.sum(axis=0) == 3 * 4).all()  # three sparsities of four seeds


def test_what_a_pair_weighs():
    """By its kind: m and r are the multiplicities of cells and seeds; three cells, two seeds."""
    design = factorial(cells=3, sparsities=2, seeds=2)
    found = resampled(design, 30, seed=1)
    rows = {tuple(levels): row for row, levels in enumerate(design.levels.tolist())}
    m, r = found.cells.astype(float), found.seeds.astype(float)

    def weight(one, other):
        i, j = np.array([rows[one]]), np.array([rows[other]])
        return found.comparisons(i, j)[0]

    a, same_seed, other_seed, other_cell = rows[0, 0, 0], (0, 1, 0), (0, 1, 1), (1, 0, 1)
    assert (weight((0, 0, 0), same_seed) == m[a] * r[a]).all()
    expected = m[a] * r[a] * r[rows[other_seed]] * 2
    assert (weight((0, 0, 0), other_seed)[1:] == expected[1:]).all()
    b = rows[other_cell]
    expected = m[a] * r[a] * m[b] * r[b] * 3 / 2
    assert weight((0, 0, 0), other_cell)[1:] == pytest.approx(expected[1:], abs=1e-12)
    for other in (same_seed, other_seed, other_cell):
        assert weight((0, 0, 0), other)[0] == 1.0


def test_every_pair_is_compared_once_on_average():
    design = factorial(cells=4, sparsities=2, seeds=3)
    draws = 8_000
    found = resampled(design, draws, seed=2)
    i, j = np.triu_indices(len(design.levels), 1)
    means = found.comparisons(i, j)[:, 1:].mean(axis=1)
    # a weight has a variance below 12 here, so four standard errors are below 0.16
    assert np.abs(means - 1).max() < 0.16


def test_column_zero_is_the_table_and_an_interval_is_of_the_others():
    design = factorial(cells=4, sparsities=3, seeds=2)
    pairs = pairs_along(design, 1)
    rng = np.random.default_rng(4)
    values, gap = rng.normal(size=(24, 2)), rng.normal(size=24)
    products = sign_products(ranks(values), ranks(gap), pairs.first, pairs.second)
    shares = equal_shares(pairs.column, np.ones(products.shape, bool))
    comparisons = resampled(design, 9, seed=0).comparisons(pairs.first, pairs.second)
    found = ratios(products.astype(float), shares, comparisons)
    expected = (products * shares).sum(axis=0) / 8  # four cells of two seeds
    np.testing.assert_allclose(found.mean[:, 0], expected, atol=1e-12)
    by_hand = (products * shares * comparisons[:, [5]]).sum(axis=0)
    by_hand = by_hand / (shares * comparisons[:, [5]]).sum(axis=0)
    np.testing.assert_allclose(found.mean[:, 5], by_hand, atol=1e-12)


def test_interval_is_of_percentiles():
    draws = np.concatenate([[1e9], np.arange(1001.0)])
    low, high = interval(draws)
    assert (float(low), float(high)) == pytest.approx((25.0, 975.0), rel=1e-12)
    assert np.isnan(interval(np.array([1.0]))[0])  # no draws
    half = np.array([0.0, *[np.nan] * 6, *range(4)])
    assert np.isnan(interval(half)[0])


def test_a_statistic_that_every_resample_has_the_same_has_a_degenerate_interval(tmp_path):
    def measures(row, generator):
        gap = row["gap"] + 1e-6 * generator.random()  # so that no two are tied
        return {"gap": gap, "measure.m": gap}

    study = ranked(table(tmp_path, rows_of(measures)), draws=20)
    row = study.summary_rows()[0]
    for name in ("tau", "granulated", "psi.sparsity"):
        assert (row[f"{name}.low"], row[name], row[f"{name}.high"]) == pytest.approx((1, 1, 1))
    assert row["sign_error.high"] == pytest.approx(0.0, abs=1e-12)


def test_a_cell_that_is_never_drawn_has_no_part(tmp_path):
    """One of two cells right, the other wrong about pruning: psi is 1, 0 or −1 in a resample."""
    grid = {"axis.lr": [0.1, 1.0], "axis.sparsity": [0.0, 0.5], "axis.seed": [0, 1]}

    def measures(row, _):
        right = 1.0 if row["axis.lr"] == 0.1 else -1.0
        return {"gap": row["axis.sparsity"], "measure.m": right * row["axis.sparsity"]}

    study = ranked(table(tmp_path, rows_of(measures, grid)), rule="none", draws=400)
    psi = study.along[1].psi.over(0, [0, 1, -1]).mean[0]
    assert psi[0] == 0.0
    assert sorted(np.unique(psi[1:]).tolist()) == [-1.0, 0.0, 1.0]
    # (2, 0), (1, 1), (0, 2) with probabilities ¼, ½, ¼; five standard errors of 400 draws
    assert np.mean(psi[1:] == 0.0) == pytest.approx(0.5, abs=5 * 0.5 / 20)


def test_the_seed_decides(tmp_path):
    found = table(tmp_path, rows_of(noisy, {**GRID, "axis.lr": [0.1, 1.0]}))
    one, same, other = (ranked(found, draws=25, seed=s).rows for s in (3, 3, 4))
    assert one == same
    assert one != other
    assert [r["tau"] for r in one] == [r["tau"] for r in other]


def test_intervals_cover():
    """The measure is right about the effect of pruning with a probability that each cell draws
    for itself, from a law of mean 0.7: psi along the sparsity is 0.4 on average. Of 300 tables of
    30 cells, the 95 % interval misses 0.4 in at most 9 % (a resampling of pairs, which takes the
    seeds of a cell for independent, misses far more often: see below)."""
    rng = np.random.default_rng(7)
    design = factorial(cells=30, sparsities=2, seeds=4)
    pairs = pairs_along(design, 1)
    use = np.flatnonzero(pairs.column >= 0)
    cell = design.levels[pairs.first[use], 0]
    resampling = resampled(design, 200, seed=0)
    comparisons = resampling.comparisons(pairs.first[use], pairs.second[use])
    shares = np.ones((len(use), 300))
    probability = rng.beta(0.7, 0.3, (30, 300))  # of mean 0.7, and far apart
    products = np.where(rng.random((len(use), 300)) < probability[cell], 1.0, -1.0)
    low, high = interval(ratios(products, shares, comparisons).mean)
    missed = np.mean((low > 0.4) | (high < 0.4))
    assert missed <= 0.09

    by_pairs = rng.multinomial(len(use), np.full(len(use), 1 / len(use)), 200).T
    low, high = interval(ratios(products, shares, np.column_stack([by_pairs[:, 0], by_pairs])).mean)
    assert np.mean((low > 0.4) | (high < 0.4)) > 0.2


def test_scopes_have_intervals_too(tmp_path):
    study = ranked(table(tmp_path, rows_of(noisy)), draws=30)
    assert study.scopes[0] == OVERALL
    for row in study.rows:
        for name in ("tau", "granulated", "sign_error"):
            assert row[f"{name}.low"] <= row[f"{name}.high"]
