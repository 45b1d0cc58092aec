"""Tables of ours and of others: what is read, what is left out and said, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from small_tables import GRID, noisy, rows_of, table

from prunecert.bounds.table import STATEMENTS
from prunecert.study import tables
from prunecert.study.rankings import ranked
from prunecert.study.scopes import AVERAGE, OVERALL
from prunecert.study.tables import Columns, read_table
from prunecert.types import InputError

GRIDS = {"axis.lr": [0.1, 1.0], "axis.sparsity": [0.0, 0.5], "axis.seed": [0, 1]}


@pytest.fixture
def rows():
    return rows_of(noisy, GRIDS)


def refused(folder: Path, rows, **columns) -> str:
    with pytest.raises(InputError) as error:
        table(folder, rows, **columns)
    message = str(error.value)
    assert "\n" not in message and message.startswith(f"{folder / 't.csv'}: ")
    return message.removeprefix(f"{folder / 't.csv'}: ")


# --------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.xz", "t.parquet"])
def test_every_format_holds_the_same_table(tmp_path, rows, name):
    frame = pandas.DataFrame(rows)
    if name.endswith("parquet"):
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_csv(tmp_path / name, index=False)
    found = read_table(tmp_path / name, Columns())
    assert found.measures[:3] == ("near", "coarse", "partial")
    assert found.gap.tolist() == [row["gap"] for row in rows]
    expected = [[row[f"measure.{m}"] for m in found.measures[:3]] for row in rows]
    np.testing.assert_array_equal(found.values[:, :3], np.array(expected, float))
    assert found.design.axes == ("lr", "sparsity", "seed")
    assert found.level_names == (("0.1", "1"), ("0", "0.5"), ("0", "1"))
    assert (found.design.seed, found.design.sparsity, found.design.method) == (2, 1, None)
    assert found.networks == tuple(row["network"] for row in rows)


def test_baselines_are_what_they_say(tmp_path, rows):
    found = table(tmp_path, rows)
    values = dict(zip(found.measures, found.values.T))
    assert [m for m, role in zip(found.measures, found.roles) if role == "baseline"] == [
        f"baseline.{name}"
        for name in ("training-error", "nonzeros", "sparsity", "one-over-n", "random")
    ]
    names = ("training-error", "nonzeros", "sparsity", "one-over-n")
    for row, *numbers in zip(rows, *(values[f"baseline.{name}"] for name in names)):
        assert numbers == [
            row["train_errors"] / row["n"],
            row["nonzeros"],
            row["axis.sparsity"],
            1 / row["n"],
        ]
    random = values["baseline.random"]
    assert len(set(random)) == len({row["network"] for row in rows})
    again = read_table(tmp_path / "t.csv", Columns())
    np.testing.assert_array_equal(again.values, found.values)
    other = read_table(tmp_path / "t.csv", Columns(), seed=1).values[:, -1]
    assert (other != random).all()


def test_a_network_has_one_random_value_in_all_its_rows(tmp_path):
    rows = rows_of(noisy)
    found = table(tmp_path, rows)
    by_network = {}
    for row, value in zip(rows, found.values[:, -1]):
        by_network.setdefault(row["network"], set()).add(value)
    assert {len(values) for values in by_network.values()} == {1}
    assert len(rows) > len(by_network)


def test_what_reads_the_test_sample_is_set_apart(tmp_path, rows):
    rows = [{**r, "measure.holdout": r["gap"], "measure.occam": r["gap"]} for r in rows]
    roles = dict(zip((found := table(tmp_path, rows)).measures, found.roles))
    assert (roles["holdout"], roles["occam"], roles["near"]) == ("reads test", "measure", "measure")
    assert {n for n, s in STATEMENTS.items() if tables.role_of(s) == "reads test"} >= {
        "holdout",
        "train-and-holdout",
        "code-or-holdout",
    }


def test_words_are_levels_even_where_they_look_missing(tmp_path, rows):
    rows = [{**r, "axis.schedule": ["None", "cosine"][i % 2]} for i, r in enumerate(rows)]
    found = table(tmp_path, rows)
    assert found.level_names[found.design.axes.index("schedule")] == ("None", "cosine")


def test_what_is_constant_or_empty_is_dropped_and_said(tmp_path, rows):
    rows = [{**r, "axis.depth": 2, "axis.steps": "", "measure.none": ""} for r in rows]
    found = table(tmp_path, rows)
    assert found.design.axes == ("lr", "sparsity", "seed")
    assert "none" not in found.measures
    said = " ".join(found.notes)
    assert "No axis, being constant: axis.depth." in said
    assert "axis.steps is empty" in said
    assert "apply to no row: none." in said


def test_what_only_one_method_has_is_a_part_of_it(tmp_path):
    grid = {**GRIDS, "axis.method": ["imp", "random"]}
    rows = rows_of(noisy, grid)
    for row in rows:
        row["axis.levels"] = 8 if row["axis.method"] == "imp" else ""
    found = table(tmp_path, rows)
    assert "levels" not in found.design.axes and "method" in found.design.axes
    assert "axis.levels is a part of axis.method." in found.notes
    for row in rows[::3]:
        row["axis.levels"] = 9 if row["axis.method"] == "imp" else ""
    message = refused(tmp_path, rows)
    assert message.endswith("axis.levels is missing: expected a value")


# --------------------------------------------------------------------------- other people's


def foreign(rows):
    """Their names, and nothing of ours."""
    names = {
        "axis.lr": "step size",
        "axis.sparsity": "zeros",
        "axis.seed": "run",
        "gap": "generalization_gap",
        "measure.near": "complexity_l2",
        "measure.coarse": "complexity_path",
    }
    return [{names[k]: v for k, v in row.items() if k in names} for row in rows]


def test_a_foreign_table_gives_the_same_numbers(tmp_path, rows):
    theirs = table(
        tmp_path,
        foreign(rows),
        "theirs.csv",
        measures="complexity_*",
        axes="step size,zeros",
        gap="generalization_gap",
        seed_axis="run",
        sparsity_axis="zeros",
    )
    assert theirs.measures == (
        "complexity_l2",
        "complexity_path",
        "baseline.sparsity",
        "baseline.random",
    )
    ours = table(tmp_path, rows)
    there = ranked(theirs, rule="none", draws=5).summary_rows()
    here = ranked(ours, rule="none", draws=5).summary_rows()
    for mine, other in zip(here[:2], there[:2]):
        keys = ("tau", "granulated", "granulated.low", "sign_error", "sign_error.max")
        assert [mine[k] for k in keys] == [other[k] for k in keys]
        assert mine["psi.lr"] == other["psi.step size"]


def test_strata_are_studied_apart_and_averaged(tmp_path, rows):
    """In one stratum the measure is the gap, in the other its negative."""
    both = []
    for data, factor in (("a", 1.0), ("b", -1.0)):
        for row in rows:
            network = data + row["network"]
            both.append(
                {**row, "axis.data": data, "network": network, "measure.m": factor * row["gap"]}
            )
    study = ranked(table(tmp_path, both), draws=5)
    found = {r["stratum"]: r for r in study.rows if r["measure"] == "m" and r["scope"] == OVERALL}
    assert [found[s]["tau"] for s in ("a", "b", AVERAGE)] == [1.0, -1.0, 0.0]
    assert [found[s]["granulated"] for s in ("a", "b", AVERAGE)] == [1.0, -1.0, 0.0]
    assert found[AVERAGE]["sign_error.max"] == 1.0
    assert found["a"]["sign_error.max"] == 0.0
    alone = ranked(table(tmp_path, [r for r in both if r["axis.data"] == "a"]), draws=0)
    near = next(r for r in alone.rows if (r["measure"], r["scope"]) == ("near", OVERALL))
    assert near["tau"] == next(
        r["tau"] for r in study.rows
        if (r["measure"], r["stratum"], r["scope"]) == ("near", "a", OVERALL)
    )  # fmt: skip


# --------------------------------------------------------------------------- what is refused


def test_a_row_without_gap_or_axis_is_named(tmp_path, rows):
    for name, value, line in (
        ("gap", "", "row 3, gap is missing: expected a number"),
        ("gap", "inf", "row 3, gap is infinite: expected a number"),
        ("gap", "much", "row 3, gap is 'much': expected a number"),
        ("axis.lr", "", "row 3, axis.lr is missing: expected a value"),
        ("axis.lr", "inf", "row 3, axis.lr is infinite: expected a number"),
        ("measure.near", "big", "row 3, measure.near is 'big': expected a number"),
    ):
        damaged = [dict(row) for row in rows]
        damaged[2][name] = value
        assert refused(tmp_path, damaged) == line


def test_an_unknown_column_is_named_with_the_nearest(tmp_path, rows):
    message = refused(tmp_path, rows, gap="gaps")
    assert message.startswith("--gap: no column 'gaps': did you mean gap? expected one of ")
    assert "did you mean axis.seed?" in refused(tmp_path, rows, seed_axis="axis.sed")
    assert "--measures: no column 'neer'" in refused(tmp_path, rows, measures="measure.near,neer")
    assert "--axes: no column 'lr*'" in refused(tmp_path, rows, axes="lr*")


def test_a_table_that_says_nothing_is_refused(tmp_path, rows):
    no_axis = [{k: v for k, v in row.items() if not k.startswith("axis.")} for row in rows]
    message = refused(tmp_path, no_axis)
    assert message == "no column starts with 'axis.': name them with --axes"
    no_measure = [{k: v for k, v in row.items() if not k.startswith("measure.")} for row in rows]
    assert refused(tmp_path, no_measure).endswith("name them with --measures")
    one = [{**row, "axis.lr": 1, "axis.sparsity": 0, "axis.seed": 0} for row in rows]
    assert refused(tmp_path, one).startswith("every axis is constant")
    seeds = [
        {**row, "axis.lr": 1, "axis.sparsity": 0, "axis.seed": i} for i, row in enumerate(rows)
    ]
    assert refused(tmp_path, seeds).startswith("only the seed varies")
    assert refused(tmp_path, rows[:1]).startswith("1 rows: expected at least two")
    empty = [
        {**row, "measure.near": "", "measure.coarse": "", "measure.partial": ""} for row in rows
    ]
    assert refused(tmp_path, empty).startswith("--measures: none of them has a value")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("none.csv", None, "no such file"),
        ("t.txt", b"a,b\n", "not a table: expected one of .csv"),
        ("t.csv", b"", "cannot be read as a table"),
        ("t.csv", b"\xff\xfe\x00a,b\n1,2\n", "cannot be read as a table"),
        ("t.csv.gz", b"a,b\n1,2\n", "cannot be read as a table"),
        ("t.parquet", b"a,b\n1,2\n", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, content, line):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=line) as error:
        read_table(tmp_path / name, Columns())
    assert "\n" not in str(error.value) and str(tmp_path / name) in str(error.value)


def test_without_pandas_the_extra_is_named(tmp_path, rows, monkeypatch):
    table(tmp_path, rows)
    monkeypatch.setattr(tables, "pandas", None)
    with pytest.raises(InputError, match=r"pip install 'prunecert\[study\]'"):
        read_table(tmp_path / "t.csv", Columns())
    assert "pandas" in sys.modules  # it is there: only the name was taken away


def test_axes_of_the_grid_are_read_in_order(tmp_path):
    found = table(tmp_path, rows_of(noisy))
    assert [f"axis.{name}" for name in found.design.axes] == list(GRID)
