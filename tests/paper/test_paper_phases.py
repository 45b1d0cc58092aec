"""The recovery experiment: where it must fail, where it must succeed, and its tables by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prunecert.paper.phases import (
    Experiment,
    layer_transition,
    layers_figure,
    phases,
    rows_figure,
    spread_evenly,
    uniform_transition,
)
from prunecert.report.contents import Figure
from prunecert.sketch import distributed_sparse
from prunecert.types import InputError


@pytest.fixture(scope="module")
def transition():
    return uniform_transition(30, [1, 3], [6, 9, 15, 21, 30], 5, seed=1)


def test_success_is_impossible_below_the_floor_and_certain_at_full_size(transition):
    """j = 3 has 90 nonzeros, which take at least √90 > 9 rows."""
    one, three = transition["figure"]["series"]
    assert [s["name"] for s in (one, three)] == ["j = 1", "j = 3"]
    assert one["x"] == three["x"] == [6, 9, 15, 21, 30]
    assert three["y"][:2] == [0, 0] and one["y"][4] == three["y"][4] == 1
    assert 0 < sum(three["y"]) < 5, "there is a transition"


def test_thresholds_rise_with_the_level_and_with_j(transition):
    one, three = transition["table"]
    for row in (one, three):
        assert row["fewest_rows"] <= row["half_rows"] <= row["nearly_all_rows"] <= 30
    assert one["half_rows"] < three["half_rows"]


def test_the_table_by_hand(transition):
    one, three = transition["table"]
    # 900 places take 10 bits: a nonzero is 42 bits, 42/32 numbers
    assert one["list_rows"] == 7 and 6**2 < 30 * 42 / 32 <= 7**2
    assert three["list_rows"] == 11 and 10**2 < 90 * 42 / 32 <= 11**2
    assert (one["theory_rows"], three["theory_rows"]) == (19, 33)  # √30 ln 30 = 18.6, √90 ln 30
    assert (one["fewest_rows"], three["fewest_rows"]) == (6, 10)  # √30, √90, up
    assert one["dense_rows"] == three["dense_rows"] == 30
    assert (one["j"], three["j"]) == (1, 3)


@pytest.mark.parametrize(
    ("shares", "half", "nearly_all"),
    [
        ([0.0, 0.5, 0.9, 0.95], 4, 8),
        ([0.6, 0.4, 1.0, 1.0], 6, 6),  # 2 reaches a half, but 4 does not
        ([1.0, 1.0, 1.0, 0.9], 2, None),
        ([0.0, 0.0, 0.0, 0.49], None, None),
    ],
)
def test_a_threshold_is_where_success_stays(monkeypatch, shares, half, nearly_all):
    def given(*_, **__):
        return np.array([shares])

    monkeypatch.setattr("prunecert.paper.phases.uniform_phases", given)
    (row,) = uniform_transition(10, [1], [2, 4, 6, 8], 20)["table"]
    assert (row["half_rows"], row["nearly_all_rows"]) == (half, nearly_all)


@pytest.mark.parametrize("shape", [(12, 12), (8, 20), (20, 8), (7, 9), (1, 5)])
@pytest.mark.parametrize("share", [0.1, 0.35, 1.0])
def test_spread_evenly_keeps_the_values_and_levels_the_counts(shape, share):
    random = np.random.default_rng(0)
    x = random.standard_normal(shape) * (random.random(shape) < share)
    spread = spread_evenly(x, random)
    assert spread.shape == shape
    assert sorted(spread[spread != 0]) == sorted(x[x != 0])
    for axis in (0, 1):
        counts = (spread != 0).sum(axis=axis)
        assert counts.max() - counts.min() <= 1


def test_a_hot_column_needs_as_many_rows_as_it_has_nonzeros():
    """24 nonzeros spread evenly need few; in one column they need 24, dead rows or not."""
    x = np.zeros((30, 30))
    x[:24, 4] = np.random.default_rng(0).standard_normal(24)
    x[24, 7] = 1.0
    pruned, alive, even = layer_transition(x, "fc", steps=30, seed=0)
    assert [row["arrangement"] for row in (pruned, alive, even)] == [
        "as pruned",
        "without dead rows and columns",
        "spread evenly",
    ]
    assert pruned["fewest_rows"] == alive["fewest_rows"] == 24 and even["fewest_rows"] == 5
    assert pruned["measured_rows"] >= 24 and alive["measured_rows"] in (24, 25, None)
    assert even["measured_rows"] < 24
    assert pruned["shape"] == even["shape"] == [30, 30] and alive["shape"] == [25, 2]
    assert (pruned["dead_rows"], pruned["dead_columns"]) == (5, 28)
    assert (alive["dead_rows"], alive["dead_columns"]) == (0, 0)
    assert (pruned["fullest_row"], pruned["fullest_column"]) == (1, 24)
    assert (even["fullest_row"], even["fullest_column"]) == (1, 1)
    assert {row["nonzeros"] for row in (pruned, alive, even)} == {25}
    assert pruned["theory_rows"] == math.ceil(math.sqrt(24 * 30) * math.log(30))
    assert pruned["list_rows"] == 6  # 25 · 42 / 32 = 32.8
    assert (pruned["dense_rows"], alive["dense_rows"]) == (30, 8)  # √50 = 7.07


def test_a_block_is_of_the_size_asked_for_and_seeded():
    x = distributed_sparse(30, 3, np.random.default_rng(0))[:, :20]
    one, again, other = (
        layer_transition(x, "fc", block=12, steps=12, seed=s)[0] for s in (0, 0, 1)
    )
    assert one["shape"] == [12, 12] and one == again
    assert one["layer"] == "fc (12 x 12 of 30 x 20)"
    assert one["nonzeros"] != other["nonzeros"]
    assert layer_transition(x, "fc", block=30, steps=3)[0]["layer"] == "fc"
    wide = layer_transition(x, "fc", block=25, steps=5)[0]
    assert wide["shape"] == [25, 20] and wide["resolution"] == 5


def test_everything_and_its_figures_can_be_reported():
    small = Experiment(p=12, counts=(1,), rows=(4, 12), trials=2, block=12, steps=4)
    layer = distributed_sparse(12, 1, np.random.default_rng(0))
    coincide = np.ones((2, 12))  # fewer rows than 1s in a column of Q cannot tell 24 apart
    found = phases({"fc1": layer, "fc2": coincide}, small, seed=0)
    for figure in found["figures"].values():
        Figure.model_validate(figure)
    assert list(found["figures"]) == ["recovery", "recovery-rows", "recovery-layers"]
    assert len(found["tables"]["uniform"]) == 1 and len(found["tables"]["layers"]) == 6
    bars = {s["name"]: s for s in found["figures"]["recovery-layers"]["series"]}
    first = found["tables"]["layers"][0]
    assert bars["as pruned"]["x"] == ["fc1", "fc2"]
    assert bars["as pruned"]["y"][0] == first["measured_rows"]
    assert bars["as large as the list"]["y"] == [first["list_rows"], 6]  # √(24 · 37 / 32)
    assert list(phases({}, small)["figures"]) == ["recovery", "recovery-rows"]


def test_figures_state_the_table():
    table = [
        {"j": j, "half_rows": 5 * j, "nearly_all_rows": None}
        | {"theory_rows": 9 * j, "list_rows": 3, "dense_rows": 10}
        for j in (1, 2)
    ]
    series = {s["name"]: s for s in rows_figure(table, 10)["series"]}
    assert series["measured, 50% succeed"]["y"] == [5, 10]
    assert series["measured, 95% succeed"]["y"] == [None, None]
    assert series["theory, constant 1"]["y"] == [9, 18]
    assert all(s["x"] == [1, 2] for s in series.values())
    row = {"layer": "fc", "arrangement": "as pruned", "measured_rows": None, "list_rows": 4}
    row["resolution"] = 3
    assert [s["y"] for s in layers_figure([row])["series"]] == [[None], [4]]


def test_refusals():
    with pytest.raises(InputError, match=r"rows \[4, 2\]: expected to increase"):
        uniform_transition(10, [1], [4, 2], 1)
    with pytest.raises(InputError, match="fc: holds zeros only"):
        layer_transition(np.zeros((3, 4)), "fc")
    with pytest.raises(InputError, match="fc: has shape"):
        layer_transition(np.ones(3), "fc")
