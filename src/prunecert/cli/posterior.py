"""The command that makes a posterior for PAC-Bayes certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from prunecert.cli.app import CERTIFY, app
from prunecert.cli.options import Data, Delta, Device, Model, Out, Quiet, SampleName, Seed, usable
from prunecert.cli.terminal import Terminal
from prunecert.types import InputError


@app.command(rich_help_panel=CERTIFY)
def posterior(
    weights: Annotated[Path, typer.Argument(metavar="W", help="Weights to begin with, pruned.")],
    prior: Annotated[
        Path,
        typer.Option("--prior", help="Weights made without the rows to be certified on; may be W."),
    ],
    model: Model,
    data: Data,
    out: Out,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes.")] = 5,
    learning_rate: Annotated[
        Optional[float], typer.Option("--lr", min=0.0, help="Of AdamW.")
    ] = 0.0005,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 128,
    exponent: Annotated[
        int, typer.Option("--exponent", min=0, max=40, help="Begin with variance 2^-EXPONENT.")
    ] = 12,
    delta: Delta = 0.05,
    sample: SampleName = None,
    device: Device = "cpu",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a posterior for the PAC-Bayes bound; `certify --gibbs PRIOR` then states it."""
    from prunecert.api import architecture
    from prunecert.api.networks import open_network, with_log
    from prunecert.api.posteriors import fitted, prior_rows, unseen_by
    from prunecert.api.runs import Recipe
    from prunecert.api.samples import open_source
    from prunecert.data import take
    from prunecert.files import write_bytes
    from prunecert.models.weights import safetensors_bytes

    if out.suffix != ".safetensors":
        raise InputError(f"--out {out}: expected a file name that ends in .safetensors")
    built, source = architecture(model), open_source(data)
    mean, other = open_network(weights, built), open_network(prior, built)
    chosen = take(source, sample or "train", "train")
    unseen = unseen_by(other, source) if prior_rows(other, source) else chosen.name
    rows = take(source, unseen, "bound")
    terminal = Terminal(quiet=quiet)
    recipe = Recipe(
        f"{epochs}ep", batch_size, learning_rate, "adamw", seed=seed, device=usable(device)
    )
    with terminal.progress() as stage, stage("training the posterior", 0) as tick:
        found, nats = fitted(
            mean, other, chosen, rows.n, delta, recipe, exponent, lambda *_: tick(1)
        )
    write_bytes(out, safetensors_bytes(found.tensors, with_log(found.log)))
    terminal.line(
        f"trained on {chosen.name}; {nats:,.1f} nats from the prior, to be certified on rows that "
        f"the prior has not seen{f': {rows.name}' if unseen != chosen.name else ''}"
    )
    terminal.copyable(f"wrote {out}")
