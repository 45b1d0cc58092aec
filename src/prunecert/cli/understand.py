"""Commands that explain: measure, bounds, bound, explain, report."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from prunecert.cli.app import UNDERSTAND, app
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
    evaluation,
)
from prunecert.cli.terminal import Terminal, percent
from prunecert.types import (
    BoundSpec,
    CapacityMeasure,
    Certificate,
    InputError,
    NotApplicable,
    Result,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@app.command(rich_help_panel=UNDERSTAND)
def measure(
    weights: Annotated[Path, typer.Argument(metavar="W", help="Weights: .safetensors or .pt")],
    model: Model,
    data: Data,
    out: Out,
    sample: SampleName = None,
    batch_size: BatchSize = 1000,
    device: Device = "cpu",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Measure everything the statements need, once, into evidence.npz."""
    from prunecert.api import architecture, sample_of
    from prunecert.api import measure as measured
    from prunecert.api.evidence import evidence_file
    from prunecert.api.networks import open_network
    from prunecert.files import write_bytes

    terminal = Terminal(quiet=quiet)
    network = open_network(weights, architecture(model))
    chosen = sample_of(data, sample or "train", "bound")
    with terminal.progress() as stage:
        how = evaluation(batch_size, device, stage)
        parts = measured(network, chosen, seed=seed, options=how)
    write_bytes(out, evidence_file(network, chosen, parts))
    terminal.line(f"measured {', '.join(parts)} of {weights} on {chosen.name}")
    terminal.copyable(f"{out}  (prunecert bounds {out})")


@app.command(rich_help_panel=UNDERSTAND)
def bounds(
    evidence: Annotated[
        Optional[Path], typer.Argument(metavar="evidence.npz", help="What was measured.")
    ] = None,
    delta: Delta = 0.05,
) -> None:
    """Every statement of the tool; with evidence, what each says about it."""
    from prunecert.bounds.table import BOUNDS, STEPS, evaluate_all
    from prunecert.inversions import require_open_unit

    terminal = Terminal()
    require_open_unit("delta", delta)
    if evidence is None:
        for columns, table in (
            (("statement about a network", "kind", "what it says"), BOUNDS),
            (("step of the argument", "kind", "what it says"), STEPS),
        ):
            terminal.table(columns, [(s.name, s.kind, s.summary) for s in table.values()])
        return
    from prunecert.results import read_evidence

    parts, _ = read_evidence(evidence)
    rows = [_result_row(result, BOUNDS) for result in evaluate_all(parts, delta)]
    terminal.table(("statement", "kind", "value", ""), rows)
    terminal.line(
        f"Each line is a statement of its own at delta {delta:g}; choosing the smallest afterwards "
        "costs the sum of the deltas. Order-only values rank networks and bound nothing."
    )


def _result_row(result: Result, table: Mapping[str, BoundSpec]) -> tuple[str, str, str, str]:
    if isinstance(result, Certificate):
        return result.name, result.kind, percent(result.risk_bound), result.quantity
    if isinstance(result, CapacityMeasure):
        return (
            result.name,
            "order-only",
            f"{result.value:.4g}",
            "vacuous" if result.value > 1 else "",
        )
    assert isinstance(result, NotApplicable)
    return result.name, table[result.name].kind, "—", result.reason


@app.command(
    rich_help_panel=UNDERSTAND,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def bound(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A statement of `prunecert bounds`.")],
) -> None:
    """Any statement from plain numbers: `bound occam --errors 9 --n 900 --bits 80 --delta 0.05`."""
    import numpy as np

    spec = _spec(name)
    values = _arguments(spec, context.args)
    answer = np.asarray(spec.function(**values))
    terminal = Terminal()
    if spec.kind == "order-only":
        shown = ", ".join(f"{float(value):.6g}" for value in answer.ravel())
        terminal.line(f"{spec.name}: {shown} (order-only: bounds nothing)")
        return
    from prunecert.inversions import round_up

    whole = answer.dtype.kind == "i"
    shown = [str(v) if whole else f"{float(round_up(v)):.6f}" for v in answer.ravel()]
    terminal.line(f"{spec.quantity} ≤ {', '.join(shown)} ({spec.kind}, {spec.name})")


def _spec(name: str) -> BoundSpec:
    from prunecert.bounds.table import STATEMENTS

    if name not in STATEMENTS:
        import difflib

        near = difflib.get_close_matches(name, STATEMENTS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"no statement {name!r}: {hint}expected one of {', '.join(STATEMENTS)}")
    return STATEMENTS[name]


def _arguments(spec: BoundSpec, words: list[str]) -> dict[str, Any]:
    """`--errors 1500 --n 60000` by the names of the function's own parameters."""
    known = list(inspect.signature(spec.function).parameters)
    usage = " ".join(f"--{p.replace('_', '-')} …" for p in known)
    values: dict[str, Any] = {}
    words = [part for word in words for part in (word.split("=", 1) if "--" in word else [word])]
    for option, value in zip(words[::2], [*words[1::2], None][: len(words[::2])], strict=True):
        key = option.removeprefix("--").replace("-", "_")
        if not option.startswith("--") or key not in known or value is None:
            raise InputError(f"bound {spec.name}: {option!r}: expected {usage}")
        values[key] = _number(value, option)
    missing = [p for p in known if p not in values and p != "delta"]
    if missing:
        raise InputError(
            f"bound {spec.name}: missing --{missing[0].replace('_', '-')}: expected {usage}"
        )
    if "delta" in known:
        values.setdefault("delta", 0.05)
    return values


def _number(text: str, option: str) -> Any:
    """An integer, a number, a list of them by commas, or rows of lists by semicolons."""
    if ";" in text:
        rows = [_number(part, option) for part in text.split(";")]
        if len({len(row) if isinstance(row, list) else 1 for row in rows}) > 1:
            raise InputError(f"{option} {text!r}: expected rows of one length")
        return rows
    if "," in text:
        return [_number(part, option) for part in text.split(",")]
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option} {text!r}: expected a number") from None


@app.command(rich_help_panel=UNDERSTAND)
def explain(
    name: Annotated[str, typer.Argument(help="A statement of `prunecert bounds`.")],
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Only the BibTeX entry.")] = False,
) -> None:
    """What a statement says, assumes and comes from."""
    spec = _spec(name)
    terminal = Terminal()
    source = spec.source
    if bibtex:
        kind = "article" if source.version else "misc"
        fields = {
            "author": source.authors.replace(", ", " and "),
            "title": source.title,
            "year": str(source.year),
        }
        fields |= {"note": f"{source.version} {source.identifier}".strip()}
        lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
        terminal.copyable("\n".join([f"@{kind}{{{source.key},", *lines, "}"]))
        return
    terminal.line(f"{spec.name}  ({spec.kind}; bounds the {spec.quantity})")
    terminal.line()
    for paragraph in (inspect.getdoc(spec.function) or spec.summary).split("\n\n"):
        lines = paragraph.splitlines() if ">>>" in paragraph else [" ".join(paragraph.split())]
        for line in lines:
            terminal.line(line)
        terminal.line()
    for assumption in spec.assumptions:
        terminal.line(f"{assumption.status}: {assumption.text}")
    place = ", ".join(p for p in (source.theorem, source.version, source.identifier) if p)
    terminal.line(f"source: {source.authors} ({source.year}), {source.title}, {place}")
    if source.deviation:
        terminal.line(f"deviation from print: {source.deviation}")


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
