"""Small tables of networks that never were, and the statistics of THEORY 5 by plain loops.

The loops are written from THEORY's words alone and share no code with `prunecert.study`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from prunecert.study.tables import Columns, Table, read_table

Row = dict[str, Any]
GRID: dict[str, list[Any]] = {
    "axis.lr": [0.01, 0.1, 1.0],
    "axis.width": [8, 16],
    "axis.method": ["magnitude", "random"],
    "axis.sparsity": [0.0, 0.5, 0.9],
    "axis.seed": [0, 1, 2],
}


def rows_of(
    measures: Callable[[Row, np.random.Generator], Row],
    grid: dict[str, list[Any]] | None = None,
    test_n: int = 400,
) -> list[Row]:
    """A full grid; a dense network has the same name in the rows of every method."""
    grid = GRID if grid is None else grid
    rows, dense = [], {}
    for number, values in enumerate(itertools.product(*grid.values())):
        row = dict(zip(grid, values))
        generator = np.random.default_rng(number)
        key = tuple(v for k, v in row.items() if k not in ("axis.method", "axis.sparsity"))
        is_dense = row.get("axis.sparsity") == 0.0
        if is_dense and key in dense:
            rows.append({**dense[key], **row})
            continue
        test_errors = int(generator.integers(20, 120))
        train_errors, n = int(generator.integers(0, 30)), 500
        found = {
            "network": f"{number:016x}",
            **row,
            "n": n,
            "train_errors": train_errors,
            "test_n": test_n,
            "test_errors": test_errors,
            "gap": test_errors / test_n - train_errors / n,
            "nonzeros": 1000 - int(900 * row.get("axis.sparsity", 0.0)),
        }
        found |= measures(found, generator)
        rows.append(found)
        if is_dense:
            dense[key] = found
    return rows


def noisy(row: Row, generator: np.random.Generator) -> Row:
    """The gap with noise, pure noise with ties, and one that is missing in places."""
    gap = row["gap"]
    return {
        "measure.near": gap + 0.05 * generator.normal(),
        "measure.coarse": int(generator.integers(0, 3)),
        "measure.partial": gap if generator.random() < 0.7 else np.nan,
    }


def table(folder: Path, rows: list[Row], name: str = "t.csv", **columns: Any) -> Table:
    """The rows as a file, read back."""
    pandas.DataFrame(rows).to_csv(folder / name, index=False)
    return read_table(folder / name, Columns(**columns))


# --------------------------------------------------------------------------- plain loops


def sign(x: float) -> int:
    return (x > 1e-12) - (x < -1e-12)


def setting(row: Row, without: set[str]) -> tuple[Any, ...]:
    return tuple((k, v) for k, v in row.items() if k.startswith("axis.") and k not in without)


def pairs(rows: list[Row], axis: str, free: set[str]) -> Iterator[tuple[Row, Row]]:
    """Pairs that differ along the axis and, at most, in what is free; two networks once.

    A network at several values of the axis (a dense one, along the methods) is in no pair.
    """
    seen = set()
    values: dict[str, set[Any]] = {}
    for row in rows:
        values.setdefault(row["network"], set()).add(row[axis])
    rows = [row for row in rows if len(values[row["network"]]) == 1]
    for a, b in itertools.combinations(rows, 2):
        if a[axis] == b[axis] or a["network"] == b["network"]:
            continue
        if setting(a, {axis} | free) != setting(b, {axis} | free):
            continue
        names = frozenset((a["network"], b["network"]))
        if names not in seen:
            seen.add(names)
            yield a, b


def is_known(value: float) -> bool:
    return value == value


def naive_psi(rows: list[Row], axis: str, measure: str) -> float:
    """The mean over settings of all other axes (the seed too) of tau along the axis."""
    columns: dict[Any, list[int]] = {}
    for a, b in pairs(rows, axis, {"axis.seed"}):
        if a["axis.seed"] != b["axis.seed"] or not is_known(a[measure] + b[measure]):
            continue
        product = sign(a[measure] - b[measure]) * sign(a["gap"] - b["gap"])
        columns.setdefault(setting(a, {axis}), []).append(product)
    return float(np.mean([np.mean(column) for column in columns.values()]))


def naive_environments(
    rows: list[Row], axis: str, measure: str, counts: Callable[[Row, Row], bool]
) -> dict[Any, list[float]]:
    """½(1 − sgn·sgn) of every pair that counts, by environment."""
    found: dict[Any, list[float]] = {}
    for a, b in pairs(rows, axis, {"axis.seed"}):
        if is_known(a[measure] + b[measure]) and counts(a, b):
            product = sign(a[measure] - b[measure]) * sign(a["gap"] - b["gap"])
            key = (tuple(sorted((a[axis], b[axis]))), setting(a, {axis, "axis.seed"}))
            found.setdefault(key, []).append((1 - product) / 2)
    return found


def unpaired_apart(a: Row, b: Row) -> bool:
    p, q = a["test_errors"] / a["test_n"], b["test_errors"] / b["test_n"]
    return abs(p - q) > (p * (1 - p) / a["test_n"] + q * (1 - q) / b["test_n"]) ** 0.5


def naive_tau(rows: list[Row], measure: str) -> float:
    """tau_a over all pairs of networks, each once."""
    each = list({row["network"]: row for row in reversed(rows)}.values())
    known = [row for row in each if is_known(row[measure])]
    products = [
        sign(a[measure] - b[measure]) * sign(a["gap"] - b["gap"])
        for a, b in itertools.combinations(known, 2)
    ]
    return float(np.mean(products))
