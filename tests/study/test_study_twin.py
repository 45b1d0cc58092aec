"""An independent twin of THEORY 5: plain loops over exact fractions against prunecert.study.

Written from THEORY's words and the docstrings, without reading the code it checks. A table is a
list of rows here; a row knows its place on every axis, which network it is, what the network gets
wrong on the test rows, and its exact measure and gap.
"""

from __future__ import annotations

import csv
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from naive_study import (
    METHOD,
    RULES,
    SEED,
    SPARSITY,
    TEST_ROWS,
    TRAIN_ROWS,
    NamePair,
    Row,
    compared,
    mean,
    sign,
    twin_environments,
    twin_psi,
    twin_sign_error,
    twin_tau,
    twin_whole,
)

from prunecert.cli.app import run
from prunecert.results import archive_bytes, evidence_bytes
from prunecert.study.environments import (
    Design,
    Testing,
    counted_pairs,
    mean_by_group,
    paired_standard_error,
    pairs_along,
)
from prunecert.study.statistics import (
    granulated_tau,
    kendall_tau,
    ranks,
    sign_products,
)
from prunecert.types import Outcomes

CLOSE = 1e-12

FACTORIAL = {"lr": (0.01, 0.1), METHOD: ("magnitude", "random"), SPARSITY: (0.0, 0.5, 0.9)}
TABLES = {
    "two axes": ({"lr": (1, 2, 3), "n": (10, 20)}, 2, 0.0),
    "dense networks": (FACTORIAL, 2, 0.0),
    "missing cells": (FACTORIAL, 3, 0.25),
    "hardly any left": (FACTORIAL, 2, 0.6),
    "no roles, missing cells": ({"lr": (1, 2, 3), "n": (1, 2), "width": (4, 8)}, 3, 0.3),
    "four axes": ({"width": (4, 8), **FACTORIAL}, 2, 0.15),
}


# ---- tables -------------------------------------------------------------------------------------


def table(name: str, seed: int) -> list[Row]:
    """A seeded random table: measure and gap have ties, a dense network stands once per method."""
    axes, seeds, dropped = TABLES[name]
    rng = random.Random(f"{name}/{seed}")
    networks: dict[tuple[object, ...], Row | None] = {}
    rows = []
    for values in itertools.product(*axes.values(), range(seeds)):
        place = dict(zip((*axes, SEED), values, strict=True))
        same = tuple(
            None if axis == METHOD and place.get(SPARSITY) == 0.0 else value
            for axis, value in place.items()
        )
        if same not in networks:
            rate = rng.choice((0.05, 0.2, 0.4))
            drawn = Row(
                place,
                f"{rng.getrandbits(64):016x}",
                rng.randrange(0, TRAIN_ROWS, 3),
                tuple(rng.random() < rate for _ in range(TEST_ROWS)),
                Fraction(rng.randrange(6), 8),
            )
            networks[same] = None if rng.random() < dropped else drawn
        network = networks[same]
        if network is not None:
            rows.append(replace(network, place=place))
    rng.shuffle(rows)
    return rows


def level_numbers(rows: Sequence[Row]) -> np.ndarray:
    """(R, A) value numbers in the order of the values."""
    columns = []
    for axis in rows[0].place:
        values = sorted({row.place[axis] for row in rows})  # type: ignore[type-var]
        columns.append([values.index(row.place[axis]) for row in rows])
    return np.array(columns).T


def designed(rows: Sequence[Row]) -> Design:
    """The package's view of the table."""
    axes = tuple(rows[0].place)
    names = sorted({row.network for row in rows})
    roles = {role: axes.index(role) if role in axes else None for role in (SEED, SPARSITY, METHOD)}
    return Design(
        axes,
        level_numbers(rows),
        np.zeros(len(rows), dtype=int),
        np.array([names.index(row.network) for row in rows]),
        **roles,
    )


def measures_and_gaps(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """As floats; a gap is a difference of two rates, as tables have it."""
    gaps = [sum(row.wrong) / TEST_ROWS - row.training_errors / TRAIN_ROWS for row in rows]
    return np.array([float(row.measure) for row in rows]), np.array(gaps)


def all_known(rows: Sequence[Row]) -> Testing:
    """All outcomes known, on one sample."""
    return Testing(
        np.array([float(sum(row.wrong)) for row in rows]),
        np.full(len(rows), float(TEST_ROWS)),
        tuple(np.array(row.wrong) for row in rows),
        ("same",) * len(rows),
    )


def equal(number: float, exact: Fraction | None) -> bool:
    """Whether a float is the fraction (NaN: there is none)."""
    return math.isnan(number) if exact is None else abs(number - float(exact)) < CLOSE


many_tables = pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name in TABLES for seed in range(3)]
)


# ---- comparisons --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_kendall_is_the_mean_over_all_pairs(seed: int) -> None:
    rng = random.Random(seed)
    x, y = ([Fraction(rng.randrange(4 + seed), 7) for _ in range(2 + seed)] for _ in range(2))
    exact = mean(
        sign(x[i] - x[j]) * sign(y[i] - y[j]) for i, j in itertools.combinations(range(len(x)), 2)
    )
    assert equal(kendall_tau([float(v) for v in x], [float(v) for v in y]), exact)


def with_all_networks_new(rows: Sequence[Row]) -> list[Row]:
    """For functions that do not ask which network a row is."""
    return [replace(row, network=str(i)) for i, row in enumerate(rows)]


@many_tables
@pytest.mark.parametrize("seed_axis", [True, False])
def test_granulated_tau(name: str, seed: int, seed_axis: bool) -> None:
    """Without a seed axis, the seed is an axis like any other."""
    rows = with_all_networks_new(table(name, seed))
    axes = list(rows[0].place)
    got = granulated_tau(
        level_numbers(rows), *measures_and_gaps(rows), seed=axes.index(SEED) if seed_axis else None
    )
    twins = [twin_psi(rows, axis) for axis in (compared(rows) if seed_axis else axes)]
    assert len(got.axes) == len(twins)
    for place, (psi, settings, missing) in enumerate(twins):
        assert equal(float(got.psi[place]), psi)
        assert (got.settings[place], got.missing[place]) == (settings, missing)
    assert equal(got.mean, mean(psi for psi, _, _ in twins if psi is not None))


@pytest.mark.parametrize("seed", range(3))
def test_rows_without_the_measure_take_no_part(seed: int) -> None:
    rows = with_all_networks_new(table("four axes", seed))
    rng = random.Random(seed)
    speaks = [rng.random() < 0.7 for _ in rows]
    measure, gap = measures_and_gaps(rows)
    measure[[not one for one in speaks]] = np.nan
    left = list(itertools.compress(rows, speaks))
    got = granulated_tau(level_numbers(rows), measure, gap, seed=list(rows[0].place).index(SEED))
    for place, axis in enumerate(compared(rows)):
        assert equal(float(got.psi[place]), twin_psi(left, axis)[0])
    assert equal(got.mean, twin_whole(left))
    assert equal(kendall_tau(measure, gap), twin_tau(left))


def test_paired_standard_error() -> None:
    m = 13
    for worse, better in itertools.product(range(m + 1), repeat=2):
        if worse + better <= m:
            exact = (worse + better - Fraction((worse - better) ** 2, m)) / m**2
            got = float(paired_standard_error(worse, better, m)) ** 2
            assert got == pytest.approx(float(exact), rel=CLOSE, abs=1e-15)


def package_sign_errors(
    rows: Sequence[Row], axis: str, rule: str
) -> dict[frozenset[NamePair], tuple[float, int]]:
    """The package's sign error of each environment, found by its pairs; how many count."""
    place = list(rows[0].place).index(axis)
    design = designed(rows)
    pairs = pairs_along(design, place)
    assert (design.levels[pairs.first, place] < design.levels[pairs.second, place]).all()
    measure, gap = measures_and_gaps(rows)
    if rule == "unpaired":
        counted = counted_pairs(pairs, replace(all_known(rows), wrong=(), sample=()), gap, "test")
    else:
        counted = counted_pairs(pairs, all_known(rows), gap, rule)  # type: ignore[arg-type]
    products = sign_products(ranks(measure)[:, None], ranks(gap), pairs.first, pairs.second)
    groups: dict[int, list[NamePair]] = defaultdict(list)
    for first, second, number in zip(pairs.first, pairs.second, pairs.environment, strict=True):
        groups[int(number)].append(frozenset((rows[first].network, rows[second].network)))
    wrong = (1 - products.astype(float)) / 2
    means, sizes = mean_by_group(wrong, counted.flags[:, None], pairs.environment, len(groups))
    listed = [names for group in groups.values() for names in group]
    assert len(listed) == len(set(listed)), "a pair of networks counts once"
    return {frozenset(names): (means[g, 0], sizes[g, 0]) for g, names in groups.items()}


@many_tables
@pytest.mark.parametrize("rule", RULES)
def test_sign_errors_of_environments(name: str, seed: int, rule: str) -> None:
    """The same environments, the same pairs in each, the same of them counted, the same mean."""
    rows = table(name, seed)
    counted = 0
    for axis in compared(rows):
        exact = {frozenset(e): twin_sign_error(e, rule) for e in twin_environments(rows, axis)}
        got = package_sign_errors(rows, axis, rule) if exact else {}
        assert len(exact) == len(twin_environments(rows, axis))
        assert got.keys() == exact.keys()
        for names, (error, size) in exact.items():
            assert got[names][1] == size
            assert equal(float(got[names][0]), error)
            counted += size
    assert counted > 0


def test_a_difference_equal_to_its_standard_error_does_not_exceed_it() -> None:
    """Separate samples of m rows: m(a − b)² = a(m − a) + b(m − b)."""
    design = Design(("x",), np.array([[0], [1]]), np.zeros(2, dtype=int), np.arange(2))
    pairs = pairs_along(design, 0)
    flags = []
    for m in range(2, 41):
        for a, b in itertools.combinations(range(m + 1), 2):
            if m * (a - b) ** 2 == a * (m - a) + b * (m - b):
                testing = Testing(np.array([a, b], float), np.full(2, float(m)))
                counted = counted_pairs(pairs, testing, np.array([a, b]) / m, "test")
                flags.append(bool(counted.flags[0]))
    assert flags == [False] * 4


# ---- the command --------------------------------------------------------------------------------


def write_table(rows: Sequence[Row], folder: Path) -> tuple[Path, Path]:
    """The table and its evidence, as a sweep leaves them."""
    path, evidence = folder / "table.csv", folder / "evidence.tar.xz"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        axes = [f"axis.{name}" for name in rows[0].place]
        known = ["n", "train_errors", "test_n", "test_errors", "gap", "sparsity", "nonzeros"]
        writer.writerow(["run", "network", *axes, *known, "parameters", "measure.twin"])
        for number, row in enumerate(rows):
            kept = round(1000 * (1 - float(row.place[SPARSITY])))  # type: ignore[arg-type]
            errors = [TRAIN_ROWS, row.training_errors, TEST_ROWS, sum(row.wrong), float(row.gap)]
            rest = [row.place[SPARSITY], kept, 1000, float(row.measure)]
            writer.writerow([f"{number:016x}", row.network, *row.place.values(), *errors, *rest])
    outcomes = {row.network: Outcomes(np.array(row.wrong), "same") for row in rows}
    members = ((n, evidence_bytes({"outcomes@holdout": o}, {})) for n, o in outcomes.items())
    evidence.write_bytes(archive_bytes(members))
    return path, evidence


def scopes(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The whole table, and what stands at each sparsity."""
    yield "overall", list(rows)
    for value in sorted({row.place[SPARSITY] for row in rows}):  # type: ignore[type-var]
        yield f"sparsity {value:g}", [row for row in rows if row.place[SPARSITY] == value]


@pytest.mark.parametrize(
    "name",
    [
        "four axes",
        pytest.param("dense networks", marks=pytest.mark.slow),
        pytest.param("missing cells", marks=pytest.mark.slow),
    ],
)
def test_the_command_prints_the_twins_numbers(name: str, tmp_path: Path) -> None:
    rows = table(name, 11)
    path, evidence = write_table(rows, tmp_path)
    arguments = ["--evidence", str(evidence), "--out", str(tmp_path / "out"), "--draws", "20"]
    assert run(["study", str(path), *arguments]) == 0
    with (tmp_path / "out" / "rankings.csv").open() as file:
        printed = {row["scope"]: row for row in csv.DictReader(file) if row["measure"] == "twin"}
    for scope, part in scopes(rows):
        line = {key: float(value or "nan") for key, value in list(printed[scope].items())[4:]}
        assert equal(line["tau"], twin_tau(part))
        assert equal(line["granulated"], twin_whole(part))
        for axis in compared(part):
            assert equal(line.get(f"psi.{axis}", math.nan), twin_psi(part, axis)[0])
        environments = [e for axis in compared(part) for e in twin_environments(part, axis)]
        errors = [error for error, _ in map(twin_sign_error, environments) if error is not None]
        assert equal(line["sign_error"], mean(errors))
        assert equal(line["sign_error.max"], max(errors))
        assert line["environments"] == len(errors)
        assert line["environments.discarded"] == len(environments) - len(errors)
