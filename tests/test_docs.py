"""The studies that ship as data: their numbers are recomputed from their own counts."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from prunecert.bounds import holdout_upper, occam_upper
from prunecert.certificate import percent
from prunecert.report.contents import read_run

DOCS = Path(__file__).parents[1] / "docs"
STUDIES = sorted(path.parent for path in DOCS.glob("paper-*/results.json"))


def test_the_paper_is_there():
    assert {"paper-mnist", "paper-cifar10"} <= {study.name for study in STUDIES}


@pytest.mark.parametrize("study", STUDIES, ids=lambda p: p.name)
def test_every_certified_number_follows_from_its_counts(study):
    read_run(study)
    rows = json.loads((study / "results.json").read_text())["bounds"]
    sizes = {row["sample"]: row["details"]["n"] for row in rows if row["name"] == "holdout"}
    recomputed = 0
    for row in rows:
        details, delta = row["details"], row.get("delta")
        if row["name"] == "occam":
            start, stop = map(int, re.findall(r"\d+", row["sample"]))
            exact = occam_upper(details["errors"], stop - start, details["bits"], delta)
        elif row["name"] == "holdout":
            exact = holdout_upper(details["errors"], sizes[row["sample"]], delta)
        elif row["name"] == "mbp-sketch-as-published":
            assert row["value"] == details["margin_risk"] + details["capacity"]
            continue
        else:
            continue
        assert exact <= row["value"] <= exact + 1e-6, row
        recomputed += 1
    assert recomputed >= 2 * 8 * 2  # two certificates, eight criteria, at least two sparsities


@pytest.mark.parametrize("study", STUDIES, ids=lambda p: p.name)
def test_the_page_has_its_figures_its_command_and_its_best_certificate(study):
    page = (study / "paper.md").read_text()
    results = json.loads((study / "results.json").read_text())
    assert results["commands"][0]["command"] in page
    for name in re.findall(r"\(figures/(.+?)\)", page):
        assert (study / "figures" / name).exists(), name
        assert (study / "figures" / name).with_suffix(".csv").exists(), name
    codes = [row for row in results["bounds"] if row["name"] == "occam"]
    best = min(codes, key=lambda row: row["value"])
    assert f"training data alone: {percent(best['value'])} (" in page
    assert np.isfinite([row["value"] for row in codes]).all()


def test_every_certificate_of_the_curves_follows_from_its_counts():
    rows = list(csv.DictReader((DOCS / "curves" / "curves.csv").open()))
    assert len(rows) > 40 and len({row["method"] for row in rows}) >= 6
    for row in rows:
        bits = int(row["code_bits"])
        parts = sum(int(row[part]) for part in ("header", "positions", "values", "container"))
        exact = occam_upper(int(row["errors"]), int(row["n"]), bits, 0.05)
        assert bits == parts and exact <= float(row["risk_bound"]) <= exact + 1e-6, row
        held = holdout_upper(int(row["holdout_errors"]), 10_000, 0.05)
        assert held <= float(row["holdout_bound"]) <= held + 1e-6, row
    drawn = json.loads((DOCS / "curves" / "results.json").read_text())["figures"]
    assert all((DOCS / "curves" / f"{name}.svg").exists() for name in drawn)


def test_the_lottery_of_the_readme_follows_from_its_counts():
    """Every certificate of the table is what its errors and bits give; the README quotes it."""
    readme = (DOCS.parent / "README.md").read_text()
    rows = list(csv.DictReader((DOCS / "lottery" / "certified.csv").read_text().splitlines()))
    assert [int(row["level"]) for row in rows] == list(range(21))
    for row in rows:
        for form in ("values", "supermask", "difference"):
            errors, bits = int(row[f"{form}_errors"]), int(row[f"{form}_bits"])
            exact = occam_upper(errors, int(row["n"]), bits, 0.05)
            assert exact <= float(row[f"{form}_bound"]) <= exact + 1e-6
    assert f"**{percent(float(rows[20]['values_bound']))}**" in readme
    levels = list(csv.DictReader((DOCS / "lottery" / "levels.csv").read_text().splitlines()))
    for control, said in (("", "**3.28 %**"), ("random-mask", "17.76 %"), ("reinit", "6.38 %")):
        last = [row for row in levels if (row["level"], row["control"]) == ("20", control)]
        errors = [int(row["test_errors"]) / int(row["test_n"]) for row in last]
        assert len(errors) == 3 and f"{100 * np.mean(errors):.2f} %" in said and said in readme
