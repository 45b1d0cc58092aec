"""Anything malformed is one line that names file and field."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prunecert.report import write_report
from prunecert.report.contents import read_run
from prunecert.types import InputError

Results = dict[str, Any]


def _set(*path: str | int, value: Any) -> Callable[[Results], None]:
    def change(results: Any) -> None:
        for key in path[:-1]:
            results = results[key]
        results[path[-1]] = value

    return change


BAD: list[tuple[Callable[[Results], None], str, str]] = [
    (_set("title", value=3), "title", "string"),
    (_set("summary", value="one sentence"), "summary", "list"),
    (_set("summary", 1, value=3), "summary[1]", "string"),
    (_set("bounds", 2, "value", value="0.3"), "bounds[2].value", "number"),
    (_set("bounds", 2, "value", value=True), "bounds[2].value", "number"),
    (_set("bounds", 2, "value", value=float("nan")), "results.json", "NaN is not JSON"),
    (_set("bounds", 2, "value", value=None), "bounds[2]", "value: expected a number"),
    (_set("bounds", 2, "kind", value="proven"), "bounds[2].kind", "certified"),
    (_set("bounds", 2, "kind", value="not-applicable"), "bounds[2]", "value: expected null"),
    (_set("bounds", -1, "details", value={}), "bounds[16]", "details.reason"),
    (_set("networks", 0, "sparsity", value="high"), "networks[0].sparsity", "number"),
    (_set("networks", 0, value={}), "networks[0].name", "required"),
    (_set("diagnostics", 0, "network", value=None), "diagnostics[0].network", "string"),
    (_set("figures", value=[]), "figures", "dict"),
    (_set("figures", "bits", "y", "scale", value="sqrt"), "figures.bits.y.scale", "log"),
    (_set("figures", "bits", "y", "risk", value="no"), "figures.bits.y.risk", "boolean"),
    (_set("bounds", 2, "measured", value="0.3"), "bounds[2].measured", "number"),
    (_set("bounds", 2, "layer", value=2), "bounds[2].layer", "string"),
    (_set("figures", "bits", "kind", value="bars"), "figures.bits.kind", "not permitted"),
    (_set("figures", "bits", "series", 1, "y", 3, value="x"), "series[1].y[3]", "number"),
    (_set("figures", "bits", "series", 1, "y", value=[1.0]), "series[1]", "y: expected 4 values"),
    (_set("figures", "bits", "series", 1, "x", 0, value=7), "series[1].x", "names only"),
    (
        _set("figures", "sparsity", "series", 0, "x", 0, value=float("inf")),
        "results.json",
        "Infinity is not JSON",
    ),
    (_set("figures", "sparsity", "series", 0, "x", 0, value=True), "series[0].x", "numbers"),
    (_set("figures", "sparsity", "series", 0, "kindd", value="order-only"), "kindd", "not perm"),
    (_set("commands", 0, "command", value=["a", "b"]), "commands[0].command", "string"),
]


@pytest.mark.parametrize(("change", "field", "expected"), BAD)
def test_malformed(
    change: Callable[[Results], None], field: str, expected: str, results: Results, tmp_path: Path
) -> None:
    change(results)
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    with pytest.raises(InputError) as caught:
        read_run(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert field in message and expected in message
    assert "\n" not in message


def test_the_unchanged_file_is_fine(results: Results, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert read_run(tmp_path) == read_run(tmp_path / "results.json")
    assert read_run(tmp_path).title == results["title"]


def test_everything_is_optional_and_a_run_goes_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "results.json").write_text("{}")
    run = read_run(tmp_path / "night")
    assert (run.title, run.bounds, run.figures) == ("night", [], {})


def test_a_refused_report_leaves_the_old_one(results: Results, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("the old one")
    results["bounds"][0]["kind"] = "proven"
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match=r"bounds\[0\]\.kind"):
        write_report([tmp_path], page)
    assert page.read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.json"]


def test_no_run_and_a_missing_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run given"):
        write_report([], tmp_path / "report.html")
    with pytest.raises(InputError, match=r"results\.json"):
        write_report([tmp_path / "absent"], tmp_path / "report.html")
