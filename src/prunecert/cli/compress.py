"""The command that searches for the smallest certificate."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Optional

import typer

from prunecert.cli.app import CERTIFY, NO, app
from prunecert.cli.certify import Target, Tried, print_issued
from prunecert.cli.options import (
    BatchSize,
    Data,
    Delta,
    Device,
    Json,
    Model,
    Out,
    Quiet,
    SampleName,
    Seed,
    evaluation,
)
from prunecert.cli.terminal import Terminal, percent
from prunecert.cli.wording import attempt_rows
from prunecert.types import InputError

SECONDS = {"s": 1, "m": 60, "h": 3600}


@app.command(rich_help_panel=CERTIFY)
def compress(
    model: Model,
    data: Data,
    out: Out,
    delta: Delta = 0.05,
    start: Annotated[
        Optional[Path], typer.Option("--from", metavar="W", help="Weights to start from.")
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", help="Time for the search: 90s, 30m or 2h.")
    ] = "30m",
    levels: Annotated[
        int, typer.Option("--levels", min=1, max=127, help="Steps each side of 0, to begin with.")
    ] = 1,
    target_error: Target = None,
    tried: Tried = 1,
    sample: SampleName = None,
    batch_size: BatchSize = 1000,
    device: Device = "cpu",
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search sparsity, precision and width for the smallest certificate.

    Every candidate is trained with quantised weights, coded and counted.
    Choosing is free: the certificate holds for all of them at once.

    The work lies in OUT.search: an interrupted search, or one with a larger
    budget, goes on from there. It can be deleted afterwards.
    """
    import torch

    from prunecert.api import architecture
    from prunecert.api import compress as search
    from prunecert.api.networks import open_network
    from prunecert.certificate import CERTIFICATE

    seconds = in_seconds(budget)
    torch.set_num_threads(1)  # a core that is not free makes several threads far slower
    terminal = Terminal(json=json, quiet=quiet)
    with terminal.progress() as stage:
        issued, attempts = search(
            model,
            data,
            out,
            delta=delta,
            budget=seconds,
            start=None if start is None else open_network(start, architecture(model)),
            sample=sample,
            tried=tried,
            target=target_error,
            levels=levels,
            seed=seed,
            options=evaluation(batch_size, device, stage),
        )
        place = issued.write(out)
    terminal.document((place / CERTIFICATE).read_bytes())
    terminal.table(*attempt_rows(attempts))
    terminal.line(
        f"{len(attempts)} attempts, above those that were better than all before. price: of a "
        "nonzero, in loss; levels: steps on each side of 0; units: the most in a hidden layer."
    )
    print_issued(terminal, issued, place, given=start is not None)
    terminal.line("The same command with a larger --budget goes on from here.")
    if target_error is not None and issued.risk_bound > target_error:
        terminal.line(f"--target-error {percent(target_error)} is not met.")
        raise typer.Exit(NO)


def in_seconds(text: str) -> float:
    """ "90s", "30m" or "2h" in seconds; InputError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not match or not float(match[1]):
        raise InputError(f"--budget {text!r}: expected a time such as 90s, 30m or 2h")
    return float(match[1]) * SECONDS[match[2]]
