"""The curve of a lottery: accuracy, certificates and the seed paper's bound against density."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from prunecert.api.lottery.measured import FORMS, SEED_BOUND, Form

Row = Mapping[str, Any]

COLUMNS = (
    "seed", "level", "control", "density", "kept", "errors", "n", "test_errors", "test_n",
    "holdout_bound", "seed_bound",
    *(f"{form}_{what}" for form in FORMS for what in ("bits", "errors", "bound", "reason")),
    "seconds", "folder",
)  # fmt: skip
TICKET = "lottery"
FORM_NAMES: dict[Form, str] = {
    "values": "mask and values",
    "supermask": "mask over initial weights",
    "difference": "mask and differences",
}


def as_csv(rows: Sequence[Row]) -> bytes:
    """One line per level, seed and control."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@dataclass(frozen=True)
class Point:
    """One level over its seeds: a value's mean, and mean ± sd where there are two seeds."""

    density: float
    mean: float
    low: float | None
    high: float | None


def by_level(rows: Sequence[Row], control: str, value: Callable[[Row], Any]) -> dict[int, Point]:
    """The point of each level at which some seed has this value."""
    points = {}
    for number in sorted({row["level"] for row in rows}):
        at = [
            row
            for row in rows
            if (row["control"], row["level"]) == (control, number) and value(row) is not None
        ]
        if at:
            values = [float(value(row)) for row in at]
            middle, spread = mean(values), stdev(values) if len(values) > 1 else None
            ends = (None, None) if spread is None else (middle - spread, middle + spread)
            points[number] = Point(mean(row["density"] for row in at), middle, *ends)
    return points


def test_error(row: Row) -> float | None:
    return None if row["test_n"] is None else row["test_errors"] / row["test_n"]


def training_error(row: Row) -> float:
    return float(row["errors"] / row["n"])


def results(rows: Sequence[Row], title: str, delta: float, command: str) -> dict[str, Any]:
    """`results.json` of a lottery."""
    return {
        "title": title,
        "summary": sentences(rows),
        "networks": [_network(row) for row in rows],
        "bounds": [bound for row in rows for bound in _bounds(row, delta)],
        "figures": _figures(rows, delta),
        "commands": [{"what": "everything here", "command": command}],
    }


def sentences(rows: Sequence[Row]) -> list[str]:
    """What the curve shows, computed."""
    said = []
    certified = [
        (row[f"{form}_bound"], form, row)
        for row in rows
        for form in FORMS
        if row.get(f"{form}_bound") is not None
    ]
    if certified:
        bound, form, row = min(certified, key=lambda found: found[0])
        said.append(
            f"Smallest certificate from training data alone: {100 * bound:.4f} % "
            f"({FORM_NAMES[form]}, {_name(row)}: {row[f'{form}_errors']} errors, "
            f"{row[f'{form}_bits']} bits). All {len(certified)} hold together at one delta: they "
            "are words of one code, so choosing among them is free."
        )
    measured_on = test_error if rows[0]["test_n"] is not None else training_error
    what = "test" if measured_on is test_error else "training"
    last = max(row["level"] for row in rows)
    for control in dict.fromkeys(row["control"] for row in rows if row["control"]):
        ours, theirs = (by_level(rows, name, measured_on)[last].mean for name in ("", control))
        said.append(
            f"At level {last} the mean {what} error is {100 * ours:.2f} %, with the control "
            f"{control} {100 * theirs:.2f} %."
        )
    return said


def _name(row: Row) -> str:
    return f"seed {row['seed']} {row['control'] or 'level'} {row['level']}"


def _network(row: Row) -> dict[str, Any]:
    return {
        "name": _name(row),
        "method": row["control"] or TICKET,
        "sparsity": round(1 - row["density"], 6),
        "nonzeros": row["kept"],
        "errors": row["errors"],
        "test_errors": row["test_errors"],
        "folder": row["folder"],
    }


def _bounds(row: Row, delta: float) -> list[dict[str, Any]]:
    plain = {"network": _name(row), "unit": "fraction", "delta": delta}
    found = [
        {
            **plain,
            "name": "occam",
            "kind": "certified",
            "value": row[f"{form}_bound"],
            "sample": "train",
            "details": {
                "form": FORM_NAMES[form],
                "errors": row[f"{form}_errors"],
                "bits": row[f"{form}_bits"],
            },
        }
        for form in FORMS
        if row.get(f"{form}_bound") is not None
    ]
    if row["holdout_bound"] is not None:
        details = {"errors": row["test_errors"], "n": row["test_n"]}
        value = row["holdout_bound"]
        found.append(
            {**plain, "name": "holdout", "kind": "certified", "value": value, "sample": "test",
             "details": details}
        )  # fmt: skip
    if row["seed_bound"] is not None:
        value = row["seed_bound"]
        found.append(
            {**plain, "name": SEED_BOUND, "kind": "order-only", "value": value, "sample": "train",
             "details": {}}
        )  # fmt: skip
    return found


def _figures(rows: Sequence[Row], delta: float) -> dict[str, Any]:
    density = {"label": "density: fraction of the prunable weights kept", "scale": "log"}
    seeds = len({row["seed"] for row in rows})
    over = f"Mean of {seeds} seeds, with one standard deviation." if seeds > 1 else "One seed."
    on_test = rows[0]["test_n"] is not None
    measured_on = test_error if on_test else training_error
    controls = list(dict.fromkeys(row["control"] for row in rows))
    statements = [
        *((FORM_NAMES[f], "certified", lambda r, f=f: r.get(f"{f}_bound")) for f in FORMS),
        ("hold-out", "certified", lambda r: r["holdout_bound"]),
        ("seed paper, as published", "order-only", lambda r: r["seed_bound"]),
        ("test error" if on_test else "training error", "measured", measured_on),
    ]
    return {
        "accuracy": {
            "title": f"{'Test' if on_test else 'Training'} error against density",
            "x": density,
            "y": {"label": "error", "scale": "log", "risk": False},
            "series": [
                _series(name or TICKET, "measured", by_level(rows, name, measured_on))
                for name in controls
            ],
            "note": over,
        },
        "certificates": {
            "title": "Certificates and the seed paper's bound against density",
            "x": density,
            "y": {"label": "certified error, at most"},
            "series": [
                _series(name, kind, points)
                for name, kind, value in statements
                if (points := by_level(rows, "", value))
            ],
            "note": f"{over} The code certificates hold together at delta {delta:g}; each hold-out "
            "at its own. The seed paper's value drops constants: it ranks and bounds nothing.",
        },
    }


def _series(name: str, kind: str, points: Mapping[int, Point]) -> dict[str, Any]:
    found = list(points.values())
    return {
        "name": name,
        "kind": kind,
        "x": [point.density for point in found],
        "y": [point.mean for point in found],
        "low": [point.low for point in found],
        "high": [point.high for point in found],
    }
