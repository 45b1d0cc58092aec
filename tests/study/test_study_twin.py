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
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from prunecert.cli.app import run
from prunecert.results import evidence_bytes
from prunecert.study.environments import (
    Design,
    Pairs,
    Testing,
    counted_pairs,
    mean_by_group,
    paired_standard_error,
    pairs_along,
)
from prunecert.study.statistics import (
    both_known,
    granulated_tau,
    kendall_tau,
    ranks,
    sign_products,
)
from prunecert.types import Outcomes

CLOSE = 1e-12
TRAIN_ROWS, TEST_ROWS = 30, 40
SEED, METHOD, SPARSITY = "seed", "method", "sparsity"

FACTORIAL = {"lr": (0.01, 0.1), METHOD: ("magnitude", "random"), SPARSITY: (0.0, 0.5, 0.9)}
TABLES = {
    "two axes": ({"lr": (1, 2, 3), "n": (10, 20)}, 2, 0.0),
    "dense networks": (FACTORIAL, 2, 0.0),
    "missing cells": (FACTORIAL, 3, 0.25),
    "hardly any left": (FACTORIAL, 2, 0.6),
    "no roles, missing cells": ({"lr": (1, 2, 3), "n": (1, 2), "width": (4, 8)}, 3, 0.3),
    "four axes": ({"width": (4, 8), **FACTORIAL}, 2, 0.15),
}


# ---- the twin -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    place: dict[str, object]
    network: str
    training_errors: int
    wrong: tuple[bool, ...]
    measure: Fraction

    @property
    def gap(self) -> Fraction:
        """Test minus training error."""
        return Fraction(sum(self.wrong), TEST_ROWS) - Fraction(self.training_errors, TRAIN_ROWS)


def sign(x: Fraction) -> int:
    """1, 0 or −1."""
    return (x > 0) - (x < 0)


def agreement(a: Row, b: Row) -> int:
    """The sign product sgn(ΔC)·sgn(ΔG) of two rows."""
    return sign(a.measure - b.measure) * sign(a.gap - b.gap)


def mean(values: Iterable[Fraction | int]) -> Fraction | None:
    """The exact mean; None of nothing."""
    listed = list(values)
    return Fraction(sum(listed)) / len(listed) if listed else None


def twin_tau(rows: Sequence[Row]) -> Fraction | None:
    """tau_a over all unordered pairs, ties 0; a network that stands twice stands once."""
    once = list({row.network: row for row in rows}.values())
    return mean(agreement(a, b) for a, b in itertools.combinations(once, 2))


def settings_of(
    rows: Sequence[Row], axis: str, free: str = ""
) -> dict[tuple[object, ...], list[Row]]:
    """The rows by the setting of all axes but `axis` and `free`."""
    found: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(v for k, v in row.place.items() if k not in (axis, free))].append(row)
    return found


@dataclass(frozen=True)
class TwinPsi:
    """psi of one axis, how many settings occur, how many have fewer than two values."""

    psi: Fraction | None
    settings: int
    missing: int


def twin_psi(rows: Sequence[Row], axis: str) -> TwinPsi:
    """The mean of tau_a over the settings of the others, the seed being one of them.

    A pair of networks counts once: the dense networks of a second method make no new setting.
    """
    settings = settings_of(rows, axis)
    seen: set[frozenset[str]] = set()
    taus = []
    missing = 0
    for group in settings.values():
        missing += len({row.place[axis] for row in group}) < 2
        products = []
        for a, b in itertools.combinations(group, 2):
            names = frozenset((a.network, b.network))
            if a.place[axis] != b.place[axis] and len(names) == 2 and names not in seen:
                seen.add(names)
                products.append(agreement(a, b))
        tau = mean(products)
        if tau is not None:
            taus.append(tau)
    return TwinPsi(mean(taus), len(settings), missing)


def twin_granulated(rows: Sequence[Row]) -> tuple[dict[str, TwinPsi], Fraction | None]:
    """psi by axis, and Psi: their mean over the axes other than the seed."""
    by_axis = {axis: twin_psi(rows, axis) for axis in rows[0].place if axis != SEED}
    return by_axis, mean(one.psi for one in by_axis.values() if one.psi is not None)


def exceeds_paired_error(a: Row, b: Row, difference: Fraction) -> bool:
    """|difference| > sqrt((b + c) − (b − c)²/m)/m, as squares."""
    worse = sum(x and not y for x, y in zip(a.wrong, b.wrong, strict=True))
    better = sum(y and not x for x, y in zip(a.wrong, b.wrong, strict=True))
    m = len(a.wrong)
    return difference**2 > (worse + better - Fraction((worse - better) ** 2, m)) / m**2


def exceeds_unpaired_error(a: Row, b: Row, difference: Fraction) -> bool:
    """|difference| > sqrt(p(1 − p)/m + q(1 − q)/m), as squares."""
    p, q = (Fraction(sum(row.wrong), TEST_ROWS) for row in (a, b))
    return difference**2 > (p * (1 - p) + q * (1 - q)) / TEST_ROWS


def difference_on_test(a: Row, b: Row) -> Fraction:
    """(b − c)/m: the first's test error less the second's."""
    return Fraction(sum(a.wrong) - sum(b.wrong), TEST_ROWS)


def by_the_test(a: Row, b: Row) -> bool:
    """Whether the test difference exceeds its paired standard error."""
    return exceeds_paired_error(a, b, difference_on_test(a, b))


def by_the_gap(a: Row, b: Row) -> bool:
    """Whether the difference of the gaps does."""
    return exceeds_paired_error(a, b, a.gap - b.gap)


def always(a: Row, b: Row) -> bool:
    """Every pair counts."""
    return True


RULES: dict[str, Callable[[Row, Row], bool]] = {
    "test": by_the_test,
    "gap": by_the_gap,
    "none": always,
}

NamePair = frozenset[str]
Environment = dict[NamePair, tuple[Row, Row]]


def dense(row: Row) -> bool:
    """Whether the row is one of a dense network: the same at every method."""
    return METHOD in row.place and row.place.get(SPARSITY) == 0.0


def twin_environments(rows: Sequence[Row], axis: str) -> list[Environment]:
    """The pairs of each (two values of axis, setting of all others but the seed).

    A network is never compared with itself, a dense one never along the methods, and two
    networks along one axis once.
    """
    seen: set[NamePair] = set()
    found = []
    for group in settings_of(rows, axis, SEED).values():
        if axis == METHOD:
            group = [row for row in group if not dense(row)]
        for low, high in itertools.combinations(sorted({row.place[axis] for row in group}), 2):  # type: ignore[type-var]
            pairs = {
                frozenset((a.network, b.network)): (a, b)
                for a in group
                for b in group
                if (a.place[axis], b.place[axis]) == (low, high) and a.network != b.network
            }
            fresh = {names: pair for names, pair in pairs.items() if names not in seen}
            seen.update(fresh)
            if fresh:
                found.append(fresh)
    return found


def twin_sign_error(
    environment: Environment, counts: Callable[[Row, Row], bool] = by_the_test
) -> tuple[Fraction | None, int]:
    """½·mean(1 − sgn(ΔC)·sgn(ΔG)) over the pairs that count, and how many do."""
    counted = [(a, b) for a, b in environment.values() if counts(a, b)]
    return mean(Fraction(1 - agreement(a, b), 2) for a, b in counted), len(counted)


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
    ("name", "seed"), [(name, seed) for name in TABLES for seed in range(4)]
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


@many_tables
def test_granulated_tau(name: str, seed: int) -> None:
    rows = [replace(row, network=str(i)) for i, row in enumerate(table(name, seed))]
    measure, gap = measures_and_gaps(rows)
    axes = list(rows[0].place)
    got = granulated_tau(level_numbers(rows), measure, gap, seed=axes.index(SEED))
    by_axis, whole = twin_granulated(rows)
    assert [axes[i] for i in got.axes] == list(by_axis)
    for place, exact in enumerate(by_axis.values()):
        assert equal(float(got.psi[place]), exact.psi)
        assert got.settings[place] == exact.settings
        assert got.missing[place] == exact.missing
    assert equal(got.mean, whole)


def test_granulated_tau_without_a_seed_has_every_axis() -> None:
    rows = [replace(row, network=str(i)) for i, row in enumerate(table("missing cells", 5))]
    measure, gap = measures_and_gaps(rows)
    got = granulated_tau(level_numbers(rows), measure, gap)
    exact = [twin_psi(rows, axis) for axis in rows[0].place]
    assert all(equal(float(p), e.psi) for p, e in zip(got.psi, exact, strict=True))
    assert got.settings.tolist() == [e.settings for e in exact]
    assert got.missing.tolist() == [e.missing for e in exact]
    assert equal(got.mean, mean(e.psi for e in exact if e.psi is not None))


def test_paired_standard_error() -> None:
    m = 13
    for worse, better in itertools.product(range(m + 1), repeat=2):
        if worse + better <= m:
            exact = (worse + better - Fraction((worse - better) ** 2, m)) / m**2
            assert float(paired_standard_error(worse, better, m)) ** 2 == pytest.approx(
                float(exact), rel=CLOSE, abs=1e-15
            )


def groups_of(pairs: Pairs, rows: Sequence[Row]) -> dict[int, set[NamePair]]:
    """The package's environments, as sets of pairs of networks."""
    found: dict[int, set[NamePair]] = defaultdict(set)
    for first, second, number in zip(pairs.first, pairs.second, pairs.environment, strict=True):
        found[int(number)].add(frozenset((rows[first].network, rows[second].network)))
    return found


@many_tables
def test_the_same_pairs_are_compared(name: str, seed: int) -> None:
    rows = table(name, seed)
    design = designed(rows)
    for place, axis in enumerate(rows[0].place):
        if axis == SEED:
            continue
        pairs = pairs_along(design, place)
        exact = twin_environments(rows, axis)
        assert len(pairs.first) == sum(len(environment) for environment in exact)
        assert (design.levels[pairs.first, place] < design.levels[pairs.second, place]).all()
        assert {frozenset(g) for g in groups_of(pairs, rows).values()} == {
            frozenset(environment) for environment in exact
        }


def package_sign_errors(
    rows: Sequence[Row], axis: str, rule: str
) -> dict[frozenset[NamePair], tuple[float, int]]:
    """The package's sign error of each environment, found by its pairs; how many count."""
    pairs = pairs_along(designed(rows), list(rows[0].place).index(axis))
    measure, gap = measures_and_gaps(rows)
    flags = counted_pairs(pairs, all_known(rows), gap, rule).flags  # type: ignore[arg-type]
    places = ranks(measure)[:, None]
    products = sign_products(places, ranks(gap), pairs.first, pairs.second)
    assert both_known(places, pairs.first, pairs.second).all()
    groups = int(pairs.environment.max()) + 1
    means, sizes = mean_by_group(
        (1 - products.astype(float)) / 2, flags[:, None], pairs.environment, groups
    )
    return {
        frozenset(names): (float(means[g, 0]), int(np.ravel(sizes[g])[0]))
        for g, names in groups_of(pairs, rows).items()
    }


@many_tables
@pytest.mark.parametrize("rule", RULES)
def test_sign_errors_of_environments(name: str, seed: int, rule: str) -> None:
    rows = table(name, seed)
    compared = 0
    for axis in rows[0].place:
        exact = [] if axis == SEED else twin_environments(rows, axis)
        if not exact:
            continue
        got = package_sign_errors(rows, axis, rule)
        for environment in exact:
            error, counted = twin_sign_error(environment, RULES[rule])
            number, size = got[frozenset(environment)]
            assert size == counted
            assert equal(number, error)
            compared += counted
    assert compared > 0


@many_tables
def test_unpaired_where_outcomes_are_not_known(name: str, seed: int) -> None:
    """A third of the outcomes is unknown, some on another sample, some without even a count."""
    rows = table(name, seed)
    rng = random.Random(seed)
    state = [rng.choice(("paired", "paired", "counts", "other", "nothing")) for _ in rows]
    known = all_known(rows)
    testing = Testing(
        np.where([s == "nothing" for s in state], np.nan, known.errors),
        np.where([s == "nothing" for s in state], np.nan, known.n),
        tuple(
            None if s in ("counts", "nothing") else w
            for s, w in zip(state, known.wrong, strict=True)
        ),
        tuple("other" if s == "other" else "same" for s in state),
    )

    def kind(i: int, j: int) -> str:
        if "nothing" in (state[i], state[j]):
            return "unknown"
        return "paired" if state[i] == state[j] != "counts" else "unpaired"

    _, gap = measures_and_gaps(rows)
    for place, axis in enumerate(rows[0].place):
        if axis == SEED:
            continue
        pairs = pairs_along(designed(rows), place)
        counted = counted_pairs(pairs, testing, gap, "test")
        kinds = [kind(int(i), int(j)) for i, j in zip(pairs.first, pairs.second, strict=True)]
        for i, j, how, flag in zip(pairs.first, pairs.second, kinds, counted.flags, strict=True):
            a, b = rows[i], rows[j]
            exceeds = {
                "paired": by_the_test(a, b),
                "unpaired": exceeds_unpaired_error(a, b, difference_on_test(a, b)),
                "unknown": True,
            }
            assert bool(flag) == exceeds[how]
        assert (counted.paired, counted.unpaired, counted.unknown) == tuple(
            kinds.count(how) for how in ("paired", "unpaired", "unknown")
        )


# ---- the command --------------------------------------------------------------------------------


def write_table(rows: Sequence[Row], folder: Path) -> tuple[Path, Path]:
    """The table and its evidence, as a sweep leaves them."""
    path, evidence = folder / "table.csv", folder / "evidence.zip"
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
    with zipfile.ZipFile(evidence, "w") as archive:
        for row in {row.network: row for row in rows}.values():
            outcomes = Outcomes(np.array(row.wrong), "same")
            archive.writestr(
                f"{row.network}.npz", evidence_bytes({"outcomes@holdout": outcomes}, {})
            )
    return path, evidence


def scopes(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The whole table, and what stands at each sparsity."""
    yield "overall", list(rows)
    for value in sorted({row.place[SPARSITY] for row in rows}):  # type: ignore[type-var]
        yield f"sparsity {value:g}", [row for row in rows if row.place[SPARSITY] == value]


@pytest.mark.parametrize("name", ["dense networks", "missing cells", "four axes"])
def test_the_command_prints_the_twins_numbers(name: str, tmp_path: Path) -> None:
    rows = table(name, 11)
    path, evidence = write_table(rows, tmp_path)
    arguments = ["--evidence", str(evidence), "--out", str(tmp_path / "out"), "--draws", "20"]
    assert run(["study", str(path), *arguments]) == 0
    with (tmp_path / "out" / "rankings.csv").open() as file:
        printed = {row["scope"]: row for row in csv.DictReader(file) if row["measure"] == "twin"}
    for scope, part in scopes(rows):
        line = {key: float(value or "nan") for key, value in list(printed[scope].items())[4:]}
        by_axis, whole = twin_granulated(part)
        assert equal(line["tau"], twin_tau(part))
        assert equal(line["granulated"], whole)
        for axis, exact in by_axis.items():
            assert equal(line.get(f"psi.{axis}", math.nan), exact.psi)
        environments = [e for axis in by_axis for e in twin_environments(part, axis)]
        errors = [error for error, _ in map(twin_sign_error, environments) if error is not None]
        assert equal(line["sign_error"], mean(errors))
        assert equal(line["sign_error.max"], max(errors))
        assert line["environments"] == len(errors)
        assert line["environments.discarded"] == len(environments) - len(errors)
