"""Commands that look: measure, report (`bounds`, `bound`, `explain` stand in bounds.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from prunecert.cli.app import UNDERSTAND, app
from prunecert.cli.options import (
    BatchSize,
    Data,
    Device,
    Model,
    Out,
    Quiet,
    SampleName,
    Seed,
    evaluation,
)
from prunecert.cli.terminal import Terminal


@app.command(rich_help_panel=UNDERSTAND)
def measure(
    weights: Annotated[Path, typer.Argument(metavar="W", help="Weights: .safetensors or .pt")],
    model: Model,
    data: Data,
    out: Out,
    initial: Annotated[
        Optional[Path],
        typer.Option("--initial", metavar="W0", help="The weights before training."),
    ] = None,
    sample: SampleName = None,
    batch_size: BatchSize = 1000,
    device: Device = "cpu",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Measure everything the statements need, once, into evidence.npz."""
    from prunecert.api import architecture, sample_of
    from prunecert.api import measure as measured
    from prunecert.api.evidence import evidence_file, measure_holdout, measure_weights
    from prunecert.api.networks import open_network
    from prunecert.api.samples import open_source, test_sample
    from prunecert.files import write_bytes

    terminal = Terminal(quiet=quiet)
    built, source = architecture(model), open_source(data)
    network = open_network(weights, built)
    before = None if initial is None else open_network(initial, built)
    chosen = sample_of(source, sample or "train", "bound")
    holdout = test_sample(source) if chosen.split == "train" else None
    with terminal.progress() as stage:
        how = evaluation(batch_size, device, stage)
        parts = measured(network, chosen, seed=seed, options=how)
        parts |= measure_weights(network, chosen, initial=before, seed=seed, options=how)
        parts |= {} if holdout is None else measure_holdout(network, holdout, how)
    write_bytes(out, evidence_file(network, chosen, parts))
    terminal.line(f"measured {', '.join(parts)} of {weights} on {chosen.name}")
    terminal.copyable(f"{out}  (prunecert bounds {out})")


@app.command(rich_help_panel=UNDERSTAND)
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders with results.json.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page.")] = Path("report.html"),
    quiet: Quiet = False,
) -> None:
    """One page of figures and tables from results.json files."""
    from prunecert.report import write_report

    write_report(runs, out)
    Terminal(quiet=quiet).copyable(str(out))
