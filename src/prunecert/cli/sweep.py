"""The command that runs many configurations: sweep."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from prunecert.cli.app import RESEARCH, app
from prunecert.cli.options import Quiet, usable
from prunecert.cli.terminal import Terminal
from prunecert.types import InputError


@app.command(rich_help_panel=RESEARCH)
def sweep(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="A TOML file with run and grid: see docs/sweeps.md."),
    ],
    engine: Annotated[str, typer.Option("--engine", help="local or ray.")] = "local",
    address: Annotated[
        Optional[str], typer.Option("--address", help="ray: of a running cluster, or auto.")
    ] = None,
    workers: Annotated[
        Optional[int], typer.Option("--workers", min=1, help="Processes; default: one per CPU.")
    ] = None,
    out: Annotated[
        Optional[Path], typer.Option("--out", help="The folder; default: what CONFIG says.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train, prune and measure every combination of a grid; each run is done once, ever.

    A run that is interrupted, or killed, goes on where it stopped when the same command is given
    again. OUT/table.csv has one row for each network, OUT/evidence.tar.xz what was measured of it.
    """
    from prunecert.sweep.config import read_config
    from prunecert.sweep.drive import Collected, run_all
    from prunecert.sweep.table import assemble

    asked = read_config(config)
    root = out or asked.out
    if root is None:
        raise InputError(f"{config}: out: missing; expected a folder here or as --out")
    root = root.resolve()
    if engine == "local":
        for device in {config.device for config in asked.configs}:
            usable(device)
    command = f"prunecert sweep {shlex.quote(str(config))}"
    terminal = Terminal(quiet=quiet)
    collected = Collected()
    try:
        with terminal.progress() as stage:
            run_all(
                asked.configs,
                root,
                engine,
                workers,
                stage,
                say=lambda line: print("prunecert:", line, file=sys.stderr),
                varied=asked.varied,
                address=address,
                collected=collected,
            )
    except KeyboardInterrupt:
        if collected.rows:
            assemble(root, collected.in_order(), command)
        raise
    if collected.rows:
        files = assemble(root, collected.in_order(), command)
        _show(terminal, collected.in_order(), len(asked.configs), collected.done_now)
        for file in files:
            terminal.copyable(str(file))
    if collected.failed:
        first = collected.failed[min(collected.failed)]
        raise InputError(
            f"{config}: {len(collected.failed)} of {len(asked.configs)} runs failed, the first: "
            f"{first}"
        )


def _show(terminal: Terminal, rows: Sequence[dict[str, Any]], runs: int, done_now: int) -> None:
    train = [row["train_errors"] / row["n"] for row in rows]
    test = [row["test_errors"] / row["test_n"] for row in rows]
    networks = len({row["network"] for row in rows})
    terminal.line(f"{runs} runs ({done_now} done now), {networks} networks, {len(rows)} rows")
    columns = ("over all rows", "least", "mean", "most")
    values = {"training error": train, "test error": test, "gap": [row["gap"] for row in rows]}
    lines = [
        (name, *(f"{x:.2%}" for x in (min(v), sum(v) / len(v), max(v))))
        for name, v in values.items()
    ]
    terminal.table(columns, lines)
