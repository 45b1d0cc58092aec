"""The lottery command: iterative magnitude pruning with rewinding, every level certified."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Optional

import typer

from prunecert.cli.app import RESEARCH, app
from prunecert.cli.options import (
    BatchSize,
    Data,
    Delta,
    Device,
    Model,
    Out,
    Quiet,
    SampleName,
    Seed,
    usable,
)
from prunecert.cli.terminal import Terminal, percent
from prunecert.types import InputError

COLUMNS = ("density", "of", "test error", "certified", "supermask", "difference", "seed paper")


@app.command(rich_help_panel=RESEARCH)
def lottery(
    model: Model,
    data: Data,
    out: Out,
    levels: Annotated[int, typer.Option("--levels", help="Beside the dense one.")] = 8,
    rewind: Annotated[
        str, typer.Option("--rewind", help="To the weights after 500it, 1ep; 0it: initial ones.")
    ] = "0it",
    rewinding: Annotated[
        str, typer.Option("--rewinding", help="weights, lr (weights stay), fine-tune.")
    ] = "weights",
    fraction: Annotated[
        float, typer.Option("--fraction", help="Removed per level, of what is left.")
    ] = 0.2,
    scope: Annotated[str, typer.Option("--scope", help="global, layerwise, erk, lamp")] = "global",
    controls: Annotated[
        str,
        typer.Option(
            "--controls", help="random-mask, reinit, no-rewinding, with commas between; or all."
        ),
    ] = "",
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Replicates: --seed and those after it.")
    ] = 3,
    train: Annotated[
        Optional[str], typer.Option("--train", help="Your own: file.py:train (see README).")
    ] = None,
    init: Annotated[
        str, typer.Option("--init", help="Initial weights: seeded (coded in 16 bits), or model's.")
    ] = "seeded",
    epochs: Annotated[
        Optional[int],
        typer.Option("--epochs", min=1, help="Per level. Default: 20, at least 2,000 steps."),
    ] = None,
    steps: Annotated[Optional[str], typer.Option("--steps", help="Instead: 5000it, 10ep.")] = None,
    train_batch: Annotated[int, typer.Option("--train-batch-size", min=1)] = 128,
    learning_rate: Annotated[
        Optional[float], typer.Option("--lr", min=0.0, help="Default: 0.05 sgd, 0.001 adamw.")
    ] = None,
    optimizer: Annotated[
        Optional[str], typer.Option("--optimizer", help="sgd (default) or adamw.")
    ] = None,
    weight_decay: Annotated[
        Optional[float], typer.Option("--weight-decay", min=0.0, help="Default: 0.")
    ] = None,
    include: Annotated[
        Optional[list[str]], typer.Option("--include", help="Only tensors matching this glob.")
    ] = None,
    exclude: Annotated[
        Optional[list[str]], typer.Option("--exclude", help="Not tensors matching this glob.")
    ] = None,
    no_certificates: Annotated[
        bool, typer.Option("--no-certificates", help="Else three forms per level.")
    ] = False,
    delta: Delta = 0.05,
    sample: SampleName = None,
    batch_size: BatchSize = 1000,
    device: Device = "cpu",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Find lottery tickets: train, prune a fifth, rewind, again; certify every level.

    Levels are kept by the hash of their configuration: nothing is trained twice, and an interrupted
    lottery goes on where it stopped.
    """
    from prunecert.api import Options, Recipe, sample_of
    from prunecert.api.lottery import CURVE, Lottery, UserLoop, default_steps, run_lottery
    from prunecert.api.lottery.curve import results
    from prunecert.inversions import require_open_unit
    from prunecert.report import write_report
    from prunecert.report.files import write_figures
    from prunecert.results import write_results

    terminal = Terminal(quiet=quiet)
    require_open_unit("delta", delta)
    if epochs is not None and steps is not None:
        raise InputError("--epochs and --steps: give one of them")
    own = {"--lr": learning_rate, "--optimizer": optimizer, "--weight-decay": weight_decay}
    for option, value in own.items():
        if train is not None and value is not None:
            raise InputError(f"{option} {value}: {train} trains in its own way: leave it out")
    settings = Lottery(
        levels, fraction, rewind, rewinding, scope, _controls(controls, rewinding), init,
        tuple(include or ()), tuple(exclude or ()),
    )  # fmt: skip
    which = sample or "train"
    length = steps or (f"{epochs}ep" if epochs else None)
    recipe = Recipe(
        steps=length or default_steps(sample_of(data, which, "train"), train_batch),
        batch_size=train_batch,
        learning_rate=learning_rate,
        optimizer=optimizer or "sgd",
        weight_decay=weight_decay or 0.0,
        device=usable(device),
    )
    with terminal.progress() as stage:
        rows = run_lottery(
            model, data, out, settings, recipe,
            seeds=range(seed, seed + seeds), trainer=None if train is None else UserLoop(train),
            delta=delta, certificates=not no_certificates, which=which,
            options=Options(batch_size, device, stage), say=terminal.line,
        )  # fmt: skip
    written = results(rows, f"Lottery tickets: {model} on {data}", delta, _command())
    write_results(out / "results.json", written)
    write_figures(out / "results.json", out)
    page = write_report([out], out / "report.html")
    _say(terminal, rows, written["summary"])
    for what, place in {
        "levels": f"{out}/seed-*/level-*",
        "curve": out / CURVE,
        "page": page,
    }.items():
        terminal.copyable(f"{what}: {place}")


def _controls(text: str, rewinding: str) -> tuple[str, ...]:
    """Names between commas; `all` are those that differ from the lottery itself."""
    from prunecert.api.lottery.settings import CONTROLS, NO_REWINDING, RATE

    if text == "all":
        return tuple(c for c in CONTROLS if not (c == NO_REWINDING and rewinding == RATE))
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _command() -> str:
    """The line that was typed."""
    return shlex.join(["prunecert", *sys.argv[1:]])


def _say(terminal: Terminal, rows: Sequence[Mapping[str, Any]], summary: Sequence[str]) -> None:
    """One line per level and control, means over seeds."""
    from prunecert.api.lottery import curve

    shown = []
    for control in dict.fromkeys(row["control"] for row in rows):
        error = curve.by_level(rows, control, curve.training_error)
        test = curve.by_level(rows, control, curve.test_error)
        bounds = [
            curve.by_level(rows, control, lambda row, form=form: row.get(f"{form}_bound"))
            for form in curve.FORMS
        ]
        published = curve.by_level(rows, control, lambda row: row["seed_bound"])
        for level, point in error.items():
            shown.append((
                f"{point.density:.4f}",
                control or "lottery",
                f"{100 * test[level].mean:.2f} %" if level in test else "—",
                *(percent(found[level].mean) if level in found else "—" for found in bounds),
                f"{published[level].mean:.3g}" if level in published else "—",
            ))  # fmt: skip
    terminal.table(COLUMNS, shown, "mean over seeds; certified: by the code of mask and values")
    for sentence in summary:
        terminal.line(sentence)
