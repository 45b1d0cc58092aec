"""Figures as files: the colours of the page, every mark in the table, the same bytes again."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from prunecert.report.files import write_figures
from prunecert.types import InputError

FIGURES = {
    "curves": {
        "title": "Bounds over d",
        "x": {"label": "d"},
        "y": {"label": "norm", "risk": False},
        "series": [
            {"name": "measured", "x": [1, 2], "y": [0.5, None]},
            {"name": "explicit", "kind": "certified", "x": [1, 2], "y": [2.0, 3.0]},
        ],
    },
    "bars": {
        "title": "Certificates",
        "x": {"label": "network"},
        "y": {"label": "error"},
        "series": [{"name": "code", "kind": "certified", "style": "bars", "x": ["a"], "y": [0.3]}],
    },
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"title": "t", "figures": FIGURES}))
    return tmp_path


def test_pictures_are_whole_and_have_no_stand_in_colour(run):
    """Stand-ins are #f000xx and #f001xx: colours that only a page can fill in."""
    written = write_figures(run, run / "figures")
    assert [(file.name, title) for file, title in written] == [
        ("curves.svg", "Bounds over d"),
        ("bars.svg", "Certificates"),
    ]
    for file, title in written:
        text = file.read_text()
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert not re.search("#f00[01]", text)
        assert title in text
        assert file.with_suffix(".png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    curves = (run / "figures" / "curves.svg").read_text()
    assert "explicit (certified)" in curves and "measured (measured)" in curves
    assert "#2a78d6" in curves and "#d9730d" in curves  # the page's first two colours


def test_tables_have_every_mark(run):
    write_figures(run, run / "figures")
    head, *rows = list(csv.reader((run / "figures" / "curves.csv").open()))
    assert head == ["series", "kind", "d", "norm"]
    assert rows == [
        ["measured", "measured", "1", "0.5"],
        ["measured", "measured", "2", ""],
        ["explicit", "certified", "1", "2.0"],
        ["explicit", "certified", "2", "3.0"],
    ]


def test_same_results_same_bytes(run):
    for folder in ("one", "two"):
        write_figures(run, run / folder)
    for file in sorted((run / "one").iterdir()):
        assert file.read_bytes() == (run / "two" / file.name).read_bytes(), file.name


def test_a_run_that_is_none(tmp_path):
    with pytest.raises(InputError, match="results.json: no such file"):
        write_figures(tmp_path, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
