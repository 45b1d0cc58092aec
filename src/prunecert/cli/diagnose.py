"""Commands that explain: diagnose."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prunecert.cli.app import UNDERSTAND, app
from prunecert.cli.options import (
    BatchSize,
    Delta,
    MaybeData,
    Model,
    Out,
    Quiet,
    SampleName,
    Seed,
)
from prunecert.cli.terminal import Terminal
from prunecert.types import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prunecert.api.diagnosing import Diagnosis, LayerFindings

COLUMNS = ("layer", "kept %", "removed", "Gaussian", "cumulants", "most kept")
MOST_SENTENCES = 12


@app.command(rich_help_panel=UNDERSTAND)
def diagnose(
    weights: Annotated[Path, typer.Argument(metavar="W", help="Weights: .safetensors or .pt")],
    model: Model,
    out: Out,
    data: MaybeData = None,
    d: Annotated[
        float, typer.Option("--d", help="Bernoulli pruning drops w with exp(-w²/(d·variance)).")
    ] = 1.0,
    delta: Delta = 0.05,
    seed: Seed = 0,
    sample: SampleName = None,
    batch_size: BatchSize = 1000,
    quiet: Quiet = False,
) -> None:
    """What Gaussian, independent weights predict of pruning, against what it does."""
    from prunecert.api import Options, architecture
    from prunecert.api.diagnosed import results
    from prunecert.api.diagnosing import diagnose as diagnosed
    from prunecert.api.networks import open_network
    from prunecert.report import write_report
    from prunecert.results import write_results

    terminal = Terminal(quiet=quiet)
    if sample is not None and data is None:
        raise InputError(f"--sample {sample}: expected --data beside it")
    if out.is_file():
        raise InputError(f"--out {out}: is a file: expected a folder")
    network = open_network(weights, architecture(model))
    with terminal.progress() as stage:
        found = diagnosed(
            network,
            data,
            d=d,
            delta=delta,
            seed=seed,
            sample=sample or "train",
            options=Options(batch_size, stage=stage),
        )
    given: dict[str, object] = {"model": model, "data": data, "d": d, "delta": delta}
    given |= {"seed": seed, "sample": sample, "out": out}
    written = results(found, _command(weights, given))
    write_results(out / "results.json", written)
    page = write_report([out], out / "report.html")
    _say(terminal, found, written["summary"])
    terminal.copyable(f"Figures and tables: {page}")


def _command(weights: Path, given: Mapping[str, object]) -> str:
    """The line that does it again."""
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return shlex.join(["prunecert", "diagnose", str(weights), *options])


def _say(terminal: Terminal, found: Diagnosis, summary: Sequence[str]) -> None:
    """The table, the assumptions that are not near, and what it comes to."""
    rows = [_row(at) for at in found.layers]
    rows += [(_short(name), *("—" for _ in COLUMNS[1:])) for name in found.left_out]
    terminal.table(COLUMNS, rows, f"d = {found.d:g}: predicted / measured (* = bound exceeded)")
    for name, reason in found.left_out.items():
        terminal.line(f"{name}: {reason}")
    far = [verdict.sentence for at in found.layers for verdict in at.far]
    near = sum(len(at.verdicts) for at in found.layers) - len(far)
    for sentence in far[:MOST_SENTENCES]:
        terminal.line(sentence)
    more = len(far) - MOST_SENTENCES
    terminal.line(
        f"{near} of {near + len(far)} assumptions are near"
        + (f"; {more} more that are not are on the page." if more > 0 else ".")
    )
    for sentence in summary:
        terminal.line(sentence)


def _row(at: LayerFindings) -> tuple[str, ...]:
    """Proven values are rounded up, others to the nearest."""
    from prunecert.report.numbers import plain

    steps = at.steps
    kept, removed, most = steps.kept_fraction, steps.removed_norm, steps.most_kept

    def proven(said: dict[str, float], name: str) -> str:
        return plain(said[name], up=True) + "*" * steps.exceeds(name)

    return (
        _short(at.name),
        f"{100 * kept['kept-fraction']:.1f} / {100 * kept['measured']:.1f}",
        plain(removed["measured"]),
        proven(removed, "removed-norm-gaussian"),
        proven(removed, "removed-norm-cumulants"),
        f"{proven(most, 'pattern-gaussian')} / {plain(most['measured'])}",
    )


def _short(name: str) -> str:
    return name.removesuffix(".weight")
