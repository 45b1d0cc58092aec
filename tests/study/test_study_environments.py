"""Pairs, standard errors and sign errors against plain loops over a small table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from small_tables import (
    GRID,
    naive_environments,
    naive_psi,
    naive_tau,
    noisy,
    rows_of,
    table,
    unpaired_apart,
)

from prunecert.study.environments import (
    Design,
    Testing,
    counted_pairs,
    paired_standard_error,
    pairs_along,
    unpaired_standard_error,
)
from prunecert.study.rankings import environment_rows, ranked, worst_environment
from prunecert.study.scopes import FIXED, OVERALL
from prunecert.types import InputError

AXES = [name for name in GRID if name != "axis.seed"]


@pytest.fixture(scope="module")
def rows():
    return rows_of(noisy)


@pytest.fixture(scope="module")
def study(rows, tmp_path_factory):
    return ranked(table(tmp_path_factory.mktemp("study"), rows), draws=0)


def found(study, measure, scope=OVERALL):
    return next(row for row in study.summary_rows(scope) if row["measure"] == measure)


# --------------------------------------------------------------------------- against loops


@pytest.mark.parametrize("measure", ["near", "coarse", "partial"])
def test_every_statistic_agrees_with_plain_loops(study, rows, measure):
    row, name = found(study, measure), f"measure.{measure}"
    assert row["tau"] == pytest.approx(naive_tau(rows, name), abs=1e-12)
    psi = {axis: naive_psi(rows, axis, name) for axis in AXES}
    for axis, value in psi.items():
        assert row[f"psi.{axis.removeprefix('axis.')}"] == pytest.approx(value, abs=1e-12)
    assert row["granulated"] == pytest.approx(np.mean(list(psi.values())), abs=1e-12)

    environments = {
        (axis, key): errors
        for axis in AXES
        for key, errors in naive_environments(rows, axis, name, unpaired_apart).items()
    }
    means = [np.mean(errors) for errors in environments.values()]
    assert row["environments"] == len(means)
    assert row["sign_error"] == pytest.approx(np.mean(means), abs=1e-12)
    assert row["sign_error.max"] == pytest.approx(max(means), abs=1e-12)
    assert row["sign_error.p90"] == pytest.approx(np.quantile(means, 0.9), abs=1e-12)
    everything = sum(len(naive_environments(rows, axis, "gap", lambda a, b: True)) for axis in AXES)
    assert row["environments.discarded"] == everything - len(means)

    coarse: dict = {}
    for (axis, (values, _)), errors in environments.items():
        coarse.setdefault((axis, values), []).extend(errors)
    largest = max(np.mean(errors) for errors in coarse.values())
    assert row["sign_error.coarse_max"] == pytest.approx(largest, abs=1e-12)


@pytest.mark.parametrize("measure", ["near", "partial"])
def test_within_fixed_sparsity_is_the_mean_over_sparsities(study, rows, measure):
    name, by_scope = f"measure.{measure}", {}
    for sparsity in GRID["axis.sparsity"]:
        part = [row for row in rows if row["axis.sparsity"] == sparsity]
        row = found(study, measure, f"sparsity {sparsity:g}")
        axes = ["axis.lr", "axis.width", "axis.method"]
        axes = axes[:2] if sparsity == 0 else axes  # one dense network for both methods
        psi = np.mean([naive_psi(part, axis, name) for axis in axes])
        errors = [
            np.mean(e)
            for axis in axes
            for e in naive_environments(part, axis, name, unpaired_apart).values()
        ]
        expected = (naive_tau(part, name), psi, np.mean(errors), max(errors))
        values = tuple(row[key] for key in ("tau", "granulated", "sign_error", "sign_error.max"))
        assert values == pytest.approx(expected, abs=1e-12)
        assert row["psi.sparsity"] is None
        by_scope[sparsity] = values
    row = found(study, measure, FIXED)
    tau, psi, error, largest = zip(*by_scope.values())
    assert row["tau"] == pytest.approx(np.mean(tau), abs=1e-12)
    assert row["granulated"] == pytest.approx(np.mean(psi), abs=1e-12)
    assert row["sign_error"] == pytest.approx(np.mean(error), abs=1e-12)
    assert row["sign_error.max"] == max(largest)


def test_the_file_of_environments_agrees_with_plain_loops(study, rows):
    written = {
        (r["measure"], r["axis"], float(r["lower"]), float(r["higher"])): r
        for r in environment_rows(study)
        if r["axis"] != "method"
    }
    for axis in ("axis.lr", "axis.width", "axis.sparsity"):
        pooled: dict = {}
        for (values, _), e in naive_environments(
            rows, axis, "measure.partial", unpaired_apart
        ).items():
            pooled.setdefault(values, []).append(e)
        assert len(pooled) == len(list(itertools.combinations(GRID[axis], 2)))
        for (low, high), parts in pooled.items():
            row = written["partial", axis.removeprefix("axis."), low, high]
            assert row["pairs"] == sum(map(len, parts))
            assert row["environments"] == len(parts)
            assert row["sign_error"] == pytest.approx(np.mean(sum(parts, [])), abs=1e-12)


def test_the_worst_environment_is_named(study, rows):
    worst = worst_environment(study, study.table.measures.index("near"))
    errors = naive_environments(rows, f"axis.{worst.axis}", "measure.near", unpaired_apart)
    setting = worst.setting.split(", ")
    matching = [
        e
        for (values, where), e in errors.items()
        if tuple(str(v) if isinstance(v, str) else f"{v:g}" for v in values) == worst.values
        and all(
            f"{k.removeprefix('axis.')} {v if isinstance(v, str) else f'{v:g}'}" in setting
            for k, v in where
        )
    ]
    assert len(matching) == 1
    assert (np.mean(matching[0]), len(matching[0])) == (worst.error, worst.pairs)
    assert worst.error == pytest.approx(found(study, "near")["sign_error.max"], abs=1e-12)


def test_perfect_within_each_sparsity_and_reversed_across(tmp_path):
    """psi is 1 along every axis but the sparsity, and −1 there; the sign error likewise 0 and 1."""

    def measures(row, _):
        level = row["axis.sparsity"]
        return {"gap": 10.0 * level + row["gap"], "measure.m": row["gap"] - 10.0 * level}

    grid = {k: v for k, v in GRID.items() if k != "axis.method"}
    study = ranked(table(tmp_path, rows_of(measures, grid)), rule="none", draws=0)
    row = found(study, "m")
    assert (row["psi.lr"], row["psi.width"], row["psi.sparsity"]) == (1.0, 1.0, -1.0)
    assert row["granulated"] == pytest.approx(1 / 3, abs=1e-12)
    assert found(study, "m", FIXED)["granulated"] == 1.0
    assert found(study, "m", FIXED)["sign_error.max"] == 0.0
    assert row["sign_error.max"] == row["sign_error.coarse_max"] == 1.0
    assert worst_environment(study, 0, coarse=True).axis == "sparsity"


# --------------------------------------------------------------------------- pairs


def test_one_network_in_two_rows_is_no_pair_and_two_networks_are_one():
    """Two dense networks (one per lr), each in a row for both methods; one pruned row each."""
    levels = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]])
    network = np.array([0, 0, 1, 1, 2, 3])
    design = Design(("lr", "method", "sparsity"), levels, np.zeros(6, int), network, sparsity=2)
    along_lr = pairs_along(design, 0)
    assert (len(along_lr), along_lr.repeated, along_lr.in_several) == (2, 1, 0)
    along_method = pairs_along(design, 1)
    assert (len(along_method), along_method.in_several) == (0, 2)
    assert (along_method.settings, along_method.missing) == (4, 2)


def test_dense_networks_of_two_seeds_do_not_differ_in_the_method():
    """Each of two dense networks stands in a row for both methods; seeds are free."""
    levels = np.array([[method, seed] for method in (0, 1) for seed in (0, 1)])
    design = Design(("method", "seed"), levels, np.zeros(4, int), np.array([0, 1, 0, 1]), seed=1)
    found = pairs_along(design, 0)
    assert (len(found), found.in_several) == (0, 4)


def test_strata_are_never_compared():
    levels = np.array([[0], [1], [0], [1]])
    design = Design(("lr",), levels, np.array([0, 0, 1, 1]), np.arange(4))
    pairs = pairs_along(design, 0)
    assert list(zip(pairs.first, pairs.second)) == [(0, 1), (2, 3)]


def test_an_environment_holds_all_pairs_of_seeds_a_column_one_seed():
    levels = np.array([[value, seed] for value in (0, 1) for seed in (0, 1, 2)])
    design = Design(("lr", "seed"), levels, np.zeros(6, int), np.arange(6), seed=1)
    pairs = pairs_along(design, 0)
    assert len(pairs) == 9
    assert len(np.unique(pairs.environment)) == 1
    columns = pairs.column[pairs.column >= 0]
    assert len(columns) == len(np.unique(columns)) == 3
    assert design.compared == (0,)


# --------------------------------------------------------------------------- standard errors


def test_paired_standard_error_is_that_of_the_mean_of_differences():
    rng = np.random.default_rng(1)
    w, v = rng.random(200) < 0.3, rng.random(200) < 0.25
    differences = w.astype(float) - v
    b, c = int((w & ~v).sum()), int((v & ~w).sum())
    expected = differences.std() / np.sqrt(200)
    assert paired_standard_error(b, c, 200) == pytest.approx(expected, rel=1e-14)
    assert paired_standard_error(0, 0, 10) == 0.0
    assert paired_standard_error(1, 0, 4) == pytest.approx(np.sqrt(3 / 4) / 4, rel=1e-15)


def test_unpaired_standard_error_is_that_of_two_binomials():
    expected = np.sqrt(0.1 * 0.9 / 50 + 0.2 * 0.8 / 100)
    assert unpaired_standard_error(5, 50, 20, 100) == pytest.approx(expected, rel=1e-15)


def one_pair():
    levels = np.array([[0], [1]])
    return pairs_along(Design(("lr",), levels, np.zeros(2, int), np.arange(2)), 0)


def outcomes(*wrong):
    flags = tuple(np.arange(100) < k if k >= 0 else np.arange(100) >= 100 + k for k in wrong)
    errors = np.array([f.sum() for f in flags], float)
    return Testing(errors, np.full(2, 100.0), flags, ("test", "test"))


def test_pairing_sees_what_counts_alone_cannot():
    """10 and 12 of 100 wrong. The 10 among the 12: 2 discordant, d = 0.02 > se = √(2 − 0.04)/100.
    As counts alone: se = √(0.09 + 0.1056)/10 = 0.044 > d."""
    gap = np.array([0.1, 0.12])
    paired = counted_pairs(one_pair(), outcomes(10, 12), gap, "test")
    assert (paired.flags.tolist(), paired.paired, paired.unpaired) == ([True], 1, 0)
    alone = Testing(np.array([10.0, 12.0]), np.full(2, 100.0))
    unpaired = counted_pairs(one_pair(), alone, gap, "test")
    assert (unpaired.flags.tolist(), unpaired.paired, unpaired.unpaired) == ([False], 0, 1)
    # disjoint mistakes, 10 and 12: 22 discordant, d = 0.02 < se = √(22 − 0.04)/100
    apart = counted_pairs(one_pair(), outcomes(10, -12), gap, "test")
    assert (apart.flags.tolist(), apart.paired) == ([False], 1)


def test_outcomes_on_other_samples_are_not_paired():
    testing = outcomes(10, 12)
    other = Testing(testing.errors, testing.n, testing.wrong, ("test", "test[:100]"))
    assert counted_pairs(one_pair(), other, np.zeros(2), "test").unpaired == 1
    lone = Testing(testing.errors, testing.n, (testing.wrong[0], None), ("test", ""))
    assert counted_pairs(one_pair(), lone, np.zeros(2), "test").unpaired == 1


def test_the_three_filters():
    """Tests differ by 0.2, gaps by 0.001, and the reverse."""
    far, near = Testing(np.array([10.0, 30.0]), np.full(2, 100.0)), outcomes(10, 10)
    close, apart = np.array([0.1, 0.101]), np.array([0.1, 0.4])
    assert counted_pairs(one_pair(), far, close, "test").flags.tolist() == [True]
    assert counted_pairs(one_pair(), far, close, "gap").flags.tolist() == [False]
    assert counted_pairs(one_pair(), near, apart, "test").flags.tolist() == [False]
    assert counted_pairs(one_pair(), near, apart, "gap").flags.tolist() == [True]
    assert counted_pairs(one_pair(), near, close, "none").flags.tolist() == [True]
    with pytest.raises(InputError, match="--filter 'some': expected one of test, gap, none"):
        counted_pairs(one_pair(), near, close, "some")


def test_where_nothing_is_known_of_the_test_the_pair_counts():
    unknown = Testing(np.full(2, np.nan), np.full(2, np.nan))
    found = counted_pairs(one_pair(), unknown, np.array([0.1, 0.1]), "test")
    assert (found.flags.tolist(), found.unknown) == ([True], 1)
