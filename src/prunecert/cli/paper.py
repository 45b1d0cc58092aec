"""The command that reproduces the seed paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunecert.cli.app import RESEARCH, app
from prunecert.cli.options import Data, Quiet, Seed
from prunecert.cli.terminal import Terminal


@app.command(rich_help_panel=RESEARCH)
def paper(
    name: Annotated[str, typer.Argument(metavar="mnist|cifar10", help="Which experiment.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="The run folder.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Minutes: short training, coarse grids.")
    ] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Reproduce the seed paper's experiments and put certified values beside its bound."""
    from prunecert.paper import run_paper, summary

    terminal = Terminal(quiet=quiet)
    with terminal.progress() as stage:
        found = run_paper(name, data, out, quick=quick, seed=seed, stage=stage)
    for sentence in summary(found):
        terminal.line(sentence)
    terminal.copyable(f"{out / 'paper.md'}, {out / 'report.html'}, {out / 'figures'}")
