"""The shipped study: its table follows from its evidence, its rankings from its table, and what is
said of it from them."""

from __future__ import annotations

import csv
import io
import json
import lzma
import re
from pathlib import Path

import numpy as np
import pandas
import pytest

from prunecert.results import archive_members, read_evidence
from prunecert.study.statistics import granulated_tau, kendall_tau
from prunecert.sweep.config import read_config
from prunecert.sweep.rows import statements

STUDY = Path(__file__).parents[1] / "docs" / "study"
SWEEPS = ("digits", "mnist", "cifar10", "cifar10-conv")
COUNTED = ("train_errors", "n", "test_errors", "test_n")
EVERY = 40  # of the networks, evaluated again


@pytest.fixture(scope="module")
def rows():
    text = lzma.decompress((STUDY / "networks.csv.xz").read_bytes()).decode()
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def evidence():
    return dict(archive_members(STUDY / "evidence.tar.xz"))


def parts_of(data):
    return read_evidence(io.BytesIO(data))[0]


def test_there_are_enough_networks_and_each_has_its_evidence(rows, evidence):
    networks = {row["network"] for row in rows}
    assert len(networks) >= 200
    assert {row["axis.data"] for row in rows} == {"digits", "mnist", "cifar10"}
    assert set(evidence) == networks


def test_every_row_says_where_it_came_from(rows):
    commands = {row["command"] for row in rows}
    assert commands == {f"prunecert sweep docs/study/{name}.toml" for name in SWEEPS}
    for row in rows:
        assert re.fullmatch(r"[0-9a-f]{40}", row["commit"]) and float(row["seconds"]) > 0


def test_the_sweeps_have_these_rows(rows):
    for name in SWEEPS:
        asked = read_config(STUDY / f"{name}.toml")
        made = [row for row in rows if row["command"].endswith(f"/{name}.toml")]
        assert len(made) == len(asked.configs) * 4  # dense, and three sparsities
        assert len({row["run"] for row in made}) == len(asked.configs)


def test_gaps_follow_from_counts(rows):
    for row in rows:
        train, n, test, m = (int(row[name]) for name in COUNTED)
        assert 0 <= train <= n and 0 <= test <= m
        assert float(row["gap"]) == test / m - train / n


def test_counts_and_measures_follow_from_the_evidence(rows, evidence):
    compared = 0
    for row in rows[::EVERY]:
        parts = parts_of(evidence[row["network"]])
        assert parts["counts"].errors == int(row["train_errors"])
        assert int(parts["outcomes@holdout"].wrong.sum()) == int(row["test_errors"])
        found = statements(parts, 0.05)
        told = {k: v for k, v in row.items() if k.startswith("measure.") and v}
        assert told.keys() == found.keys()
        for name, value in told.items():
            assert float(value) == pytest.approx(found[name], rel=1e-9)
            compared += 1
    assert compared > 500


def test_the_rankings_follow_from_the_table(rows):
    """Within one data set, by the plain functions: no bootstrap, no page."""
    rankings = pandas.read_csv(STUDY / "rankings.csv")
    of = rankings[(rankings["scope"] == "overall") & (rankings["stratum"] == "digits")]
    chosen = {row["network"]: row for row in rows if row["axis.data"] == "digits"}
    gap = [float(row["gap"]) for row in chosen.values()]
    for name in ("measure-l2", "mbp-sketch-as-published", "measure-pacbayes-orig"):
        values = [float(row[f"measure.{name}"] or "nan") for row in chosen.values()]
        told = of[of["measure"] == name]["tau"].item()
        assert told == pytest.approx(kendall_tau(values, gap), abs=1e-9)
    assert len(gap) == 640


def test_psi_of_the_learning_rate_follows_from_the_table(rows):
    rankings = pandas.read_csv(STUDY / "rankings.csv")
    of = rankings[(rankings["scope"] == "overall") & (rankings["stratum"] == "digits")]
    axes = ["depth", "width", "lr", "n", "label_noise", "method", "sparsity", "seed"]
    dense_once = [
        row
        for row in rows
        if row["axis.data"] == "digits"
        and (float(row["axis.sparsity"]) > 0 or row["axis.method"] == "magnitude")
    ]
    levels = np.array(
        [np.unique([row[f"axis.{a}"] for row in dense_once], return_inverse=True)[1] for a in axes]
    ).T
    name = "measure-l2"
    values = [float(row[f"measure.{name}"]) for row in dense_once]
    gap = [float(row["gap"]) for row in dense_once]
    found = granulated_tau(levels, values, gap, seed=axes.index("seed"))
    told = of[of["measure"] == name]["psi.lr"].item()
    assert told == pytest.approx(found.psi[axes.index("lr")], abs=1e-9)


def test_the_answers_in_words_are_those_that_were_computed():
    summary = json.loads((STUDY / "results.json").read_text())["summary"]
    page = (STUDY.parent / "study.md").read_text()
    quoted = re.findall(r"^> (.+)$", page, flags=re.M)
    assert len(quoted) >= 4
    for sentence in quoted:
        assert sentence in summary
    for figure in re.findall(r"\((study/figures/[^)]+)\)", page):
        assert (STUDY.parent / figure).exists()
