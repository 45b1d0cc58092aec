"""Commands that make networks: demo, train, prune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from prunecert.cli.app import PRUNE, app
from prunecert.cli.options import (
    Data,
    Device,
    MaybeData,
    MaybeModel,
    Model,
    Out,
    Quiet,
    SampleName,
    Seed,
    numbers,
    usable,
)
from prunecert.cli.terminal import Terminal
from prunecert.types import InputError

SAFETENSORS = ".safetensors"


@app.command(rich_help_panel=PRUNE)
def demo(
    out: Annotated[Path, typer.Option("--out", help="The run folder.")] = Path("runs/demo"),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train, prune, select and certify on bundled digits: the whole tool in two minutes."""
    from prunecert.demo import run_demo

    terminal = Terminal(quiet=quiet)
    with terminal.progress() as stage:
        found = run_demo(out, seed=seed, stage=stage)
    terminal.table(found.columns, found.rows, found.title)
    terminal.line()
    for sentence in found.sentences:
        terminal.line(sentence)
    for command in found.commands:
        terminal.copyable(f"  {command}")


@app.command(rich_help_panel=PRUNE)
def train(
    model: Model,
    data: Data,
    out: Out,
    epochs: Annotated[Optional[int], typer.Option("--epochs", min=0, help="Passes.")] = None,
    steps: Annotated[Optional[str], typer.Option("--steps", help="Instead: 500it or 10ep.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 128,
    learning_rate: Annotated[
        Optional[float], typer.Option("--lr", min=0.0, help="Default: 0.05 sgd, 0.001 adamw.")
    ] = None,
    optimizer: Annotated[str, typer.Option("--optimizer", help="sgd or adamw.")] = "sgd",
    weight_decay: Annotated[float, typer.Option("--weight-decay", min=0.0)] = 0.0,
    sample: SampleName = None,
    device: Device = "cpu",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a model on the training sample; an interrupted run goes on where it stopped."""
    from prunecert.api import architecture, sample_of
    from prunecert.api.runs import MODEL, Recipe, train_run

    if epochs is not None and steps is not None:
        raise InputError("--epochs and --steps: give one of them")
    length = steps or f"{20 if epochs is None else epochs}ep"
    terminal = Terminal(quiet=quiet)
    recipe = Recipe(
        steps=length,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer=optimizer,
        weight_decay=weight_decay,
        seed=seed,
        device=usable(device),
    )
    with terminal.progress() as stage:
        chosen = sample_of(data, sample or "train", "train")
        network = train_run(architecture(model), chosen, recipe, out, stage)
    terminal.line(f"trained {model} on {chosen.name} of {data} for {length} (seed {seed})")
    terminal.copyable(f"{out / MODEL}  sha256 {network.sha256[:16]}…")


@app.command(rich_help_panel=PRUNE)
def supermask(
    model: Model,
    data: Data,
    density: Annotated[
        float, typer.Option("--density", help="Fraction of the weights kept, above 0, at most 1.")
    ],
    out: Out,
    scope: Annotated[
        str, typer.Option("--scope", help="global, layerwise, uniform+, erk, lamp, per-output")
    ] = "global",
    epochs: Annotated[int, typer.Option("--epochs", min=0, help="Passes.")] = 20,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 128,
    learning_rate: Annotated[
        Optional[float],
        typer.Option("--lr", min=0.0, help="Default: 10 x density (sgd), 0.001 (adamw)."),
    ] = None,
    optimizer: Annotated[str, typer.Option("--optimizer", help="sgd or adamw.")] = "sgd",
    weight_decay: Annotated[float, typer.Option("--weight-decay", min=0.0)] = 0.0,
    sample: SampleName = None,
    device: Device = "cpu",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Choose weights to keep among frozen random ones: a network that is only its mask.

    Weights are one size per layer, with signs drawn from the seed; biases are zero. What is trained
    is which weights to keep, and a certificate pays for that and the seed, not for values.
    """
    from prunecert.api import architecture, sample_of
    from prunecert.api.runs import MODEL, Recipe
    from prunecert.api.supermasks import supermask_run
    from prunecert.supermask import Ticket

    terminal = Terminal(quiet=quiet)
    ticket = Ticket(density, seed, scope)
    recipe = Recipe(
        steps=f"{epochs}ep",
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer=optimizer,
        weight_decay=weight_decay,
        seed=seed,
        device=usable(device),
    )
    with terminal.progress() as stage:
        chosen = sample_of(data, sample or "train", "train")
        network = supermask_run(architecture(model), chosen, ticket, recipe, out, stage)
    terminal.line(
        f"kept {1 - network.sparsity:.2%} of the frozen weights of {model} (seed {seed}), trained "
        f"on {chosen.name} of {data} for {epochs} epochs"
    )
    terminal.copyable(f"{out / MODEL}  sha256 {network.sha256[:16]}…")


@app.command(rich_help_panel=PRUNE)
def prune(
    weights: Annotated[Path, typer.Argument(metavar="W", help="Weights: .safetensors or .pt")],
    out: Out,
    sparsity: Annotated[
        Optional[str], typer.Option("--sparsity", help="Fraction of zeros, or a rising list.")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="magnitude, bernoulli, random, snip, taylor")
    ] = "magnitude",
    scope: Annotated[
        str,
        typer.Option("--scope", help="global, layerwise, uniform+, erk, lamp, per-output, or N:M"),
    ] = "global",
    model: MaybeModel = None,
    data: MaybeData = None,
    epochs: Annotated[
        Optional[int], typer.Option("--epochs", min=0, help="Retraining after each rung.")
    ] = None,
    learning_rate: Annotated[Optional[float], typer.Option("--lr", min=0.0)] = None,
    include: Annotated[
        Optional[list[str]], typer.Option("--include", help="Only tensors matching this glob.")
    ] = None,
    exclude: Annotated[
        Optional[list[str]], typer.Option("--exclude", help="Not tensors matching this glob.")
    ] = None,
    mask_out: Annotated[
        Optional[Path], typer.Option("--mask-out", help="Write {name: 0/1} masks here.")
    ] = None,
    keep_diagonal: Annotated[
        bool, typer.Option("--keep-diagonal", help="bernoulli: keep entries (i, i).")
    ] = False,
    sample: SampleName = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Prune weights to one sparsity (a file) or up a ladder of them (a folder)."""
    from prunecert.api import ladder as rungs
    from prunecert.api import sample_of
    from prunecert.api.runs import Recipe
    from prunecert.files import write_bytes

    terminal = Terminal(quiet=quiet)
    rule = rungs.Pruning(
        method, scope, tuple(include or ()), tuple(exclude or ()), keep_diagonal, seed
    )
    wanted: list[float | None] = [None] if sparsity is None else [*numbers(sparsity, "--sparsity")]
    if sparsity is None and ":" not in scope:
        raise InputError("--sparsity: expected a number in [0, 1), or a list such as 0.5,0.8,0.9")
    if data is not None and model is None:
        raise InputError("prune: --data is read through a model: expected --model too")
    one_file = len(wanted) == 1 and not out.is_dir()
    _check_names(weights, out, mask_out, one_file)
    recipe = None if not epochs else Recipe(f"{epochs}ep", learning_rate=learning_rate, seed=seed)
    network = rungs.to_prune(weights, model)
    chosen = None if data is None else sample_of(data, sample or "train", "train")
    with terminal.progress() as stage:
        if one_file:
            made = [rungs.rung(network, wanted[0], rule, sample=chosen, recipe=recipe, stage=stage)]
            write_bytes(out, rungs.network_file(made[0]))
        else:
            made = rungs.ladder(
                network, wanted, out, rule, sample=chosen, recipe=recipe, stage=stage
            )
    if mask_out is not None:
        write_bytes(mask_out, rungs.mask_bytes(made[-1], rungs.pruned_names(made[-1], rule)))
    for note in network.notes:
        terminal.line(note)
    rows = [rungs.summary(rung, rule) for rung in made]
    terminal.table(("rung", "zeros", "of prunable", "sparsity"), rows)
    skipped = rungs.skipped(network, rule)
    if skipped:
        terminal.line(f"not pruned: {', '.join(skipped)}")
    terminal.copyable(str(out))


def _check_names(weights: Path, out: Path, mask_out: Path | None, one_file: bool) -> None:
    """Names that what is written can be found under again, and that are not the input's."""
    if not one_file and out.suffix == SAFETENSORS:
        raise InputError(
            f"--out {out}: several sparsities make a folder of files: expected a folder's name"
        )
    written = {"--out": out if one_file else None, "--mask-out": mask_out}
    for option, file in written.items():
        if file is None:
            continue
        if file.suffix != SAFETENSORS:
            raise InputError(f"{option} {file}: expected a file's name that ends in {SAFETENSORS}")
        if file.resolve() == weights.resolve():
            raise InputError(f"{option} {file}: is the file to prune: expected another name")
    if one_file and mask_out is not None and mask_out.resolve() == out.resolve():
        raise InputError(f"--mask-out {mask_out}: is --out too: expected another name")
