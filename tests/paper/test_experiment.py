"""The whole experiment on a tiny network: what it writes, and that its numbers are its own."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from small_paper import TINY, write_stripes

from prunecert.api import verify
from prunecert.bounds import holdout_upper, mbp_sketch_as_published, occam_upper
from prunecert.cli.app import run
from prunecert.paper import experiment
from prunecert.paper.criteria import CRITERIA


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One run of the command, with the tiny setting in place of the paper's."""
    out = tmp_path_factory.mktemp("paper")
    data = write_stripes(out / "stripes.npz")
    patch = pytest.MonkeyPatch()
    patch.setattr(experiment, "setting", lambda name, quick: TINY)
    patch.setattr(
        experiment, "QUICK", experiment.QUICK.__class__(20, (1, 2), (8, 16, 20), 2, 12, 4)
    )
    command = ["paper", "mnist", "--quick", "--data", data, "--out", str(out / "run"), "--quiet"]
    assert run(command) == 0
    yield out / "run", data
    patch.undo()


def rows_of(made, **wanted):
    results = json.loads((made[0] / "results.json").read_text())
    return [r for r in results["bounds"] if all(r.get(k) == v for k, v in wanted.items())]


def test_every_figure_is_a_picture_and_a_table(made):
    results = json.loads((made[0] / "results.json").read_text())
    expected = {"pruning-error", "pattern", "kept-fraction", "over-training", "recovery"}
    expected |= {"criteria-code", "criteria-holdout"}
    assert expected <= set(results["figures"])
    for name, figure in results["figures"].items():
        place = made[0] / "figures" / name
        assert place.with_suffix(".svg").read_bytes().startswith(b"<?xml")
        assert place.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        head, *rows = list(csv.reader(place.with_suffix(".csv").open()))
        assert head[:2] == ["series", "kind"]
        assert len(rows) == sum(len(series["x"]) for series in figure["series"])


def test_the_page_names_its_command_and_its_figures(made):
    page = (made[0] / "paper.md").read_text()
    assert f"prunecert paper mnist --quick --data {made[1]}" in page
    assert "figures/pruning-error.svg" in page
    for heading in ("Three forms", "agree with the paper", "code and text differ", "criteria"):
        assert heading in page
    assert "None" not in page and "nan" not in page


def test_the_published_bound_is_that_of_the_evidence(made):
    (row,) = rows_of(made, name="mbp-sketch-as-published", network="epoch 3, as coded")
    details = row["details"]
    assert row["kind"] == "order-only"
    shapes = [(12, 784), (12, 12), (10, 12)]
    # n = 320; what the value is made of, d included, stands beside it
    root = sum(
        out * into * (1 - np.sqrt(details["d"] / (details["d"] + 2))) * np.log(max(out, into)) ** 2
        for out, into in shapes
    )
    assert details["capacity"] == pytest.approx(np.sqrt(root / 320), rel=1e-9)
    assert row["value"] == pytest.approx(details["margin_risk"] + details["capacity"], rel=1e-12)
    assert mbp_sketch_as_published(0, 1, 1.0, [1], [1], [1.0], 1.0, [0, 1], [[0.0], [0.0]]) == 0


def test_the_holdout_row_is_a_certificate_of_the_snapshot(made):
    (row,) = rows_of(made, name="holdout", network="epoch 3")
    assert row["details"]["n"] == 100
    exact = holdout_upper(row["details"]["errors"], 100, 0.05)
    assert exact <= row["value"] <= exact + 1e-6


def test_the_ticket_is_certified_from_its_mask(made):
    (row,) = rows_of(made, network="supermask 0.9900")
    assert row["kind"] == "certified" and row["name"] == "occam"
    exact = occam_upper(row["details"]["errors"], 320, row["details"]["bits"], 0.05)
    assert exact <= row["value"] <= exact + 1e-6


def test_every_criterion_has_both_certificates_at_every_sparsity(made):
    for criterion in CRITERIA:
        for name in ("occam", "holdout"):
            rows = [r for r in rows_of(made, name=name) if r["network"].startswith(criterion + " ")]
            assert len(rows) == len(TINY.sparsities), (criterion, name)
            assert all(r["kind"] == "certified" and 0 < r["value"] <= 1 for r in rows)


def test_the_best_certificate_verifies(made):
    verdict = verify(made[0] / "certificate", data=made[1])
    assert verdict.valid, verdict


@pytest.mark.slow
def test_a_second_run_trains_nothing_and_writes_the_same(made, monkeypatch):
    before = {f.name: f.read_bytes() for f in made[0].glob("*.*") if f.is_file()}
    monkeypatch.setattr("prunecert.paper.training.train", None)  # would fail if called
    command = ["paper", "mnist", "--quick", "--data", made[1], "--out", str(made[0]), "--quiet"]
    assert run(command) == 0
    assert {f.name: f.read_bytes() for f in made[0].glob("*.*") if f.is_file()} == before
