"""Commands about the statements themselves: bounds, bound, explain."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from prunecert.cli.app import UNDERSTAND, app
from prunecert.cli.options import Delta, Json
from prunecert.cli.terminal import Terminal
from prunecert.types import BoundSpec, InputError

if TYPE_CHECKING:
    from prunecert.bounds.external import ExternalBound, Twin

Name = Annotated[str, typer.Argument(help="A statement of `prunecert bounds`.")]
External = Annotated[
    Optional[str],
    typer.Option("--bounds", help="Statements of yours: file.py:NAME (see docs)."),
]


# --------------------------------------------------------------------------- which statements


def _suite(spec: BoundSpec, twin: Twin | None) -> None:
    from prunecert.testing import check_bound

    check_bound(spec, twin)


def _external(source: str | None) -> tuple[list[ExternalBound], list[str]]:
    """Statements from outside, judged, and what could not be read of installed ones."""
    from prunecert.bounds.external import bounds_of_file, distinct, installed_bounds

    found, sentences = installed_bounds(_suite)
    if source is not None:
        found = distinct([*found, *bounds_of_file(source, _suite)])
    return found, sentences


def _statement(name: str, source: str | None) -> tuple[BoundSpec, str]:
    """The statement of this name, and its kind in words."""
    from prunecert.bounds.table import STATEMENTS

    if name in STATEMENTS and source is None:
        return STATEMENTS[name], STATEMENTS[name].kind
    specs: dict[str, tuple[BoundSpec, str]] = {s.name: (s, s.kind) for s in STATEMENTS.values()}
    found, sentences = _external(source)
    for bound in found:
        specs[bound.spec.name] = (bound.spec, f"external, {bound.standing}")
    if name not in specs:
        import difflib

        near = difflib.get_close_matches(name, specs, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        unread = f" ({'; '.join(sentences)})" if sentences else ""
        raise InputError(
            f"no statement {name!r}: {hint}expected a name that `prunecert bounds` lists{unread}"
        )
    return specs[name]


# --------------------------------------------------------------------------- bounds


@app.command(rich_help_panel=UNDERSTAND)
def bounds(
    evidence: Annotated[
        Optional[Path], typer.Argument(metavar="evidence.npz", help="What was measured.")
    ] = None,
    delta: Delta = 0.05,
    external: External = None,
    json: Json = False,
) -> None:
    """Every statement of the tool; with evidence, what each says about it."""
    from prunecert.inversions import require_open_unit

    terminal = Terminal(json=json)
    require_open_unit("delta", delta)
    found, sentences = _external(external)
    if evidence is None:
        _list_statements(terminal, found)
    else:
        _evaluate(terminal, evidence, delta, found)
    for sentence in sentences:
        terminal.line(f"not read: {sentence}")


def _list_statements(terminal: Terminal, found: list[ExternalBound]) -> None:
    from prunecert.bounds.table import BOUNDS, STEPS

    columns = ("statement about a network", "kind", "what it says")
    terminal.table(columns, [(s.name, s.kind, s.summary) for s in BOUNDS.values()])
    columns = ("step of the argument", "kind", "what it says")
    terminal.table(columns, [(s.name, s.kind, s.summary) for s in STEPS.values()])
    if found:
        rows = [(b.spec.name, "external", f"{b.spec.summary} ({b.standing})") for b in found]
        terminal.table(("statement from outside", "kind", "what it says"), rows)
    if terminal.json:
        ours = [
            _described(spec, spec.kind, "prunecert") for spec in (*BOUNDS.values(), *STEPS.values())
        ]
        theirs = [_described(b.spec, b.standing, b.origin) for b in found]
        _print_json(terminal, {"statements": ours + theirs})


def _described(spec: BoundSpec, standing: str, origin: str) -> dict[str, str]:
    plain = {key: getattr(spec, key) for key in ("name", "kind", "quantity", "unit", "summary")}
    return plain | {"standing": standing, "origin": origin}


def _evaluate(terminal: Terminal, evidence: Path, delta: float, found: list[ExternalBound]) -> None:
    from prunecert.cli.statements import lines_of, show_lines
    from prunecert.results import read_evidence

    parts, _ = read_evidence(evidence)
    lines = lines_of(parts, delta, found)
    show_lines(terminal, lines, delta)
    if terminal.json:
        _print_json(terminal, {"delta": delta, "statements": [asdict(line) for line in lines]})


def _print_json(terminal: Terminal, document: dict[str, Any]) -> None:
    from json import dumps

    text = dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    terminal.document(f"{text}\n".encode())


# --------------------------------------------------------------------------- bound


@app.command(
    rich_help_panel=UNDERSTAND,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def bound(context: typer.Context, name: Name, external: External = None) -> None:
    """Any statement from plain numbers: `bound occam --errors 9 --n 900 --bits 80 --delta 0.05`."""
    import numpy as np

    spec, standing = _statement(name, external)
    values = _arguments(spec, context.args)
    answer = np.asarray(spec.function(**values))
    terminal = Terminal()
    if spec.kind == "order-only":
        shown = ", ".join(f"{float(value):.6g}" for value in answer.ravel())
        terminal.line(f"{spec.name}: {shown} ({standing}: bounds nothing)")
        return
    from prunecert.inversions import round_up

    whole = answer.dtype.kind == "i"
    shown = ", ".join(str(v) if whole else f"{float(round_up(v)):.6f}" for v in answer.ravel())
    terminal.line(f"{spec.quantity} ≤ {shown} ({standing}, {spec.name})")


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


# --------------------------------------------------------------------------- explain


@app.command(rich_help_panel=UNDERSTAND)
def explain(
    name: Name,
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Only the BibTeX entry.")] = False,
    external: External = None,
) -> None:
    """What a statement says, assumes and comes from."""
    spec, standing = _statement(name, external)
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
    about = "bounds nothing" if spec.kind == "order-only" else f"bounds the {spec.quantity}"
    terminal.line(f"{spec.name}  ({standing}; {about})")
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
