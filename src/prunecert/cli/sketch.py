"""Commands of research: sketch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from prunecert.cli.app import RESEARCH, app
from prunecert.cli.options import Quiet, Seed
from prunecert.cli.terminal import Terminal

if TYPE_CHECKING:
    from prunecert.api.sketching import LayerSketch


@app.command(rich_help_panel=RESEARCH)
def sketch(
    weights: Annotated[Path, typer.Argument(metavar="W", help="Weights: .safetensors or .pt")],
    layer: Annotated[str, typer.Option("--layer", help="Name of a weight in the file.")],
    rows: Annotated[
        Optional[int], typer.Option("--rows", help="Sketch to m x m; default: the smallest m.")
    ] = None,
    weight: Annotated[
        Optional[int],
        typer.Option(
            "--weight", min=1, help="Ones per column of P and Q; default: ln p, rounded up."
        ),
    ] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Sketch a pruned layer, recover it, and compare with listing its nonzeros."""
    from prunecert.api.sketching import sketch_layer

    terminal = Terminal(quiet=quiet)
    with terminal.progress() as stage:
        done = sketch_layer(weights, layer, rows, weight, seed, stage)
    if done.flattened_from is not None:
        terminal.line(f"{layer}: kernels {done.flattened_from} are read as {done.where.shape}")
    terminal.pairs(_rows(done))
    terminal.line(_verdict(done))


def _rows(done: LayerSketch) -> dict[str, str]:
    from prunecert.api.sketching import VALUE_BITS

    where, theory = done.where, done.theory_rows
    dense = where.shape[0] * where.shape[1]
    rows = {
        "layer": f"{done.layer} {where.shape}",
        "nonzeros": f"{where.nonzeros:,} ({where.nonzeros / dense:.2%})",
        "fullest row, column": f"{where.largest_row:,}, {where.largest_column:,}",
        "dead rows, columns": f"{where.dead_rows:,}, {where.dead_columns:,}",
        "dense matrix": f"{dense:,} numbers, {_kib(dense * VALUE_BITS)}",
        "list of nonzeros": f"{where.nonzeros:,} with positions, {_kib(done.list_bits)}",
        "sketch, theory": f"m = {theory:,} (constant 1): {theory**2:,} numbers",
    }
    if done.rows is None:
        return rows | {"sketch that recovers": f"none up to m = {max(where.shape):,}"}
    how = f"m = {done.rows:,}"
    if done.searched:
        how += f" (smallest, to within {done.resolution})"
    rows["ones per column"] = f"{done.weight} or fewer, at random rows"
    rows["sketch"] = f"{how}: {done.rows**2:,} numbers, {_kib(done.sketch_bits)}"
    found = "gives the layer back" if done.recovered else "does NOT give the layer back"
    rows["recovery"] = f"{found}: relative error {done.error:.1e}, gap {max(done.gap, 0):.1e}"
    return rows


def _kib(bits: int) -> str:
    return f"{bits / 8192:,.1f} KiB"


def _verdict(done: LayerSketch) -> str:
    nonzeros = f"{done.where.nonzeros:,} nonzeros"
    if done.rows is None:
        largest = max(done.where.shape)
        return (
            f"No sketch up to {largest:,} x {largest:,} gives the layer back: list its {nonzeros}."
        )
    numbers = f"{done.rows**2:,} numbers"
    if not done.recovered:
        return f"{numbers} do not give the layer back: its {nonzeros}, listed, do."
    if not done.where.nonzeros:
        return "The layer holds zeros only: there is nothing to sketch, and nothing to list."
    smaller, larger = sorted((done.sketch_bits, done.list_bits))
    which = "the sketch" if done.sketch_bits == smaller else "listing them"
    return (
        f"{numbers} against {nonzeros}: {which} is smaller by a factor {larger / smaller:.3g} "
        "(positions counted)."
    )
