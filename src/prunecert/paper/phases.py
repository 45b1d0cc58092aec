"""How many rows a sketch must have: uniform sparsity, and layers as pruning leaves them.

THEORY 1.7 asks for m = O(√(jp) ln p) rows where each row and column holds j nonzeros. Here m is
measured: the success probability over m, and beside it the m at which a sketch of m² numbers is as
large as a list of the nonzeros, and as the matrix itself. Then the same for real layers, whose hot
columns break what the theory assumes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from prunecert.api.sketching import theory_rows
from prunecert.progress import Stage, quiet
from prunecert.sketch import (
    Pattern,
    checked_matrix,
    fewest_rows,
    pattern,
    smallest_rows,
    uniform_phases,
)
from prunecert.types import InputError

Floats = NDArray[np.float64]

NUMBER_BITS = 32  # of a weight, and of a number of the sketch
HALF, NEARLY_ALL = 0.5, 0.95


@dataclass(frozen=True)
class Experiment:
    """What is measured: `p`, `counts` (j) and `rows` (m) of the uniform part, `trials` a point.

    Layers larger than `block` are cut to that many rows and columns; m is found to within 1/`steps`
    of their larger dimension.
    """

    p: int
    counts: tuple[int, ...]
    rows: tuple[int, ...]
    trials: int
    block: int
    steps: int


QUICK = Experiment(100, (1, 2, 3, 5, 8), (20, 26, 32, 38, 44, 50, 58, 70), 6, 392, 10)
FULL = Experiment(150, (1, 2, 3, 5, 8), tuple(range(24, 97, 6)), 8, 392, 50)


def phases(
    layers: Mapping[str, ArrayLike],
    experiment: Experiment = FULL,
    *,
    seed: int = 0,
    stage: Stage = quiet,
) -> dict[str, Any]:
    """Both parts: `figures` as `results.json` has them, and `tables`, lists of rows by name."""
    chosen = experiment
    uniform = uniform_transition(
        chosen.p, chosen.counts, chosen.rows, chosen.trials, seed=seed, stage=stage
    )
    rows = [
        row
        for name, matrix in layers.items()
        for row in layer_transition(
            matrix, name, block=chosen.block, steps=chosen.steps, seed=seed, stage=stage
        )
    ]
    figures = {
        "recovery": uniform["figure"],
        "recovery-rows": rows_figure(uniform["table"], chosen.p),
    }
    if rows:
        figures["recovery-layers"] = layers_figure(rows)
    return {"figures": figures, "tables": {"uniform": uniform["table"], "layers": rows}}


# --------------------------------------------------------------------------- uniform sparsity


def uniform_transition(
    p: int,
    counts: Sequence[int],
    rows: Sequence[int],
    trials: int,
    *,
    seed: int = 0,
    stage: Stage = quiet,
) -> dict[str, Any]:
    """The success probability over m of p x p matrices with j nonzeros in each row and column.

    `figure` has one series for each j in `counts`. `table` has one row for each: `half_rows` and
    `nearly_all_rows`, the smallest m of `rows` from which on at least 50 % and 95 % of the trials
    succeed (None where no m does); `fewest_rows`, below which none can; `theory_rows`, with
    constant 1; `list_rows` and `dense_rows`, from which on a sketch is no smaller than a list of
    the nonzeros with their positions, and than the matrix.

    Raises InputError unless `rows` increase, and as `uniform_phases` does.
    """
    if list(rows) != sorted(set(rows)):
        raise InputError(f"rows {list(rows)}: expected to increase")
    shares = uniform_phases(p, counts, rows, trials, seed=seed, stage=stage)
    table = []
    for j, row in zip(counts, shares.tolist()):
        measured = {
            "half_rows": _first_from_which(rows, row, HALF),
            "nearly_all_rows": _first_from_which(rows, row, NEARLY_ALL),
        }
        table.append({"j": j, **measured, **_compared(Pattern((p, p), j * p, j, j, 0, 0))})
    return {"figure": _shares_figure(p, counts, rows, trials, shares, table), "table": table}


def _first_from_which(rows: Sequence[int], shares: Sequence[float], level: float) -> int | None:
    """The smallest m at which, and at every larger one, the share is at least `level`."""
    found = None
    for m, share in zip(reversed(rows), reversed(shares)):
        if share < level:
            break
        found = m
    return found


def _compared(where: Pattern) -> dict[str, int]:
    """What m is measured against."""
    list_numbers = where.list_bits(NUMBER_BITS) / NUMBER_BITS
    return {
        "fewest_rows": fewest_rows(where),
        "theory_rows": theory_rows(where),
        "list_rows": math.ceil(math.sqrt(list_numbers)),
        "dense_rows": math.ceil(math.sqrt(math.prod(where.shape))),
    }


def _shares_figure(
    p: int,
    counts: Sequence[int],
    rows: Sequence[int],
    trials: int,
    shares: Floats,
    table: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    theory = ", ".join(str(row["theory_rows"]) for row in table)
    return {
        "title": f"Recovery of {p} x {p} matrices with j nonzeros in each row and column",
        "x": {"label": "m, rows and columns of the sketch"},
        "y": {"label": "share of trials that give the matrix back"},
        "series": [
            {"name": f"j = {j}", "kind": "measured", "x": list(rows), "y": row}
            for j, row in zip(counts, shares.tolist())
        ],
        "note": f"{trials} trials a point. The theory's m, with constant 1: {theory}.",
    }


def rows_figure(table: Sequence[Mapping[str, Any]], p: int) -> dict[str, Any]:
    """m over j: measured, of the theory, and where a sketch stops being the smaller one."""
    names = {
        "nearly_all_rows": f"measured, {NEARLY_ALL:.0%} succeed",
        "half_rows": f"measured, {HALF:.0%} succeed",
        "theory_rows": "theory, constant 1",
        "list_rows": "as large as the list",
        "dense_rows": "as large as the matrix",
    }
    return {
        "title": f"Rows that a sketch of a {p} x {p} matrix needs, and may have",
        "x": {"label": "j, nonzeros in each row and column"},
        "y": {"label": "m, rows and columns of the sketch"},
        "series": [
            {"name": name, "x": [row["j"] for row in table], "y": [row[key] for row in table]}
            for key, name in names.items()
        ],
        "note": "A sketch is smaller than the list of nonzeros, or than the matrix, only where its "
        "m is below that line. The list counts 32 bits a value and the bits of its position.",
    }


# --------------------------------------------------------------------------- real layers


def layer_transition(
    matrix: ArrayLike,
    name: str,
    *,
    block: int | None = None,
    steps: int = 100,
    seed: int = 0,
    stage: Stage = quiet,
) -> list[dict[str, Any]]:
    """The smallest m that recovers a pruned layer, as it is and after two changes; a row for each.

    The changes part hot columns from dead ones: dead rows and columns taken out; and the same
    nonzeros spread evenly over the whole shape, `spread_evenly`. `measured_rows` is found by
    `smallest_rows`, to within 1/`steps` of the larger dimension, None where no m recovers the
    layer. A layer with more than `block` rows or columns is first cut to so many of them, and named
    so: drawn at random, for at the corner of an image layer every pixel is dead.

    Raises InputError as `checked_matrix` does, and where every entry is zero.
    """
    layer = checked_matrix(matrix, name)
    random = np.random.default_rng([seed, 1])  # not the stream that draws P and Q
    if block is not None and max(layer.shape) > block:
        whole, layer = layer.shape, _block(layer, block, random)
        name += f" ({layer.shape[0]} x {layer.shape[1]} of {whole[0]} x {whole[1]})"
    if not layer.any():
        raise InputError(f"{name}: holds zeros only, expected a layer to recover")
    arrangements = {
        "as pruned": layer,
        "without dead rows and columns": layer[np.ix_(layer.any(axis=1), layer.any(axis=0))],
        "spread evenly": spread_evenly(layer, random),
    }
    resolution = max(1, max(layer.shape) // steps)
    return [
        {"layer": name, "arrangement": arrangement}
        | _described(pattern(x))
        | {"measured_rows": smallest_rows(x, seed=seed, resolution=resolution, stage=stage)}
        | {"resolution": resolution}
        for arrangement, x in arrangements.items()
    ]


def spread_evenly(matrix: Floats, random: Generator) -> Floats:
    """The nonzeros of a matrix, spread so that rows differ by at most 1 in how many they hold.

    So do columns. The k-th nonzero goes to row k mod p1 and column k mod p2, one further along
    each time round the least common multiple, which visits every place once; rows, columns and
    values are shuffled.
    """
    p1, p2 = matrix.shape
    values = random.permutation(matrix[matrix != 0])
    k = np.arange(len(values))
    rows, columns = random.permutation(p1), random.permutation(p2)
    spread = np.zeros((p1, p2))
    spread[rows[k % p1], columns[(k + k // math.lcm(p1, p2)) % p2]] = values
    return spread


def _block(layer: Floats, size: int, random: Generator) -> Floats:
    rows, columns = (
        np.sort(random.choice(extent, min(extent, size), replace=False)) for extent in layer.shape
    )
    return np.asarray(layer[np.ix_(rows, columns)])


def _described(where: Pattern) -> dict[str, Any]:
    return {
        "shape": list(where.shape),
        "nonzeros": where.nonzeros,
        "fullest_row": where.largest_row,
        "fullest_column": where.largest_column,
        "dead_rows": where.dead_rows,
        "dead_columns": where.dead_columns,
        **_compared(where),
    }


def layers_figure(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bars of `measured_rows`, for each layer and arrangement; beside them the size of the list."""

    def bars(name: str, key: str, chosen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        names, values = [row["layer"] for row in chosen], [row[key] for row in chosen]
        return {"name": name, "style": "bars", "x": names, "y": values}

    by_arrangement: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_arrangement.setdefault(row["arrangement"], []).append(row)
    series = [bars(name, "measured_rows", chosen) for name, chosen in by_arrangement.items()]
    series.append(bars("as large as the list", "list_rows", by_arrangement["as pruned"]))
    return {
        "title": "Rows that a sketch of a pruned layer needs",
        "x": {"label": "layer"},
        "y": {"label": "smallest m that gives the layer back"},
        "series": series,
        "note": "Only a sketch of fewer rows than the last bar is smaller than the list of "
        "nonzeros. No bar: no m up to the larger dimension gives the layer back. Measured to "
        f"within {max(row['resolution'] for row in rows)}.",
    }
