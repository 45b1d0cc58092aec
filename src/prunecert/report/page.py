"""The page: tables and figures of runs, laid into `page.html`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from prunecert import __version__
from prunecert.bounds.table import STEPS
from prunecert.report.contents import Bound, Diagnostic, Figure, Network, Run
from prunecert.report.figures import draw
from prunecert.report.numbers import stated

KINDS = {
    "certified": "Proven: with probability at least 1−δ over the sample, the risk is at most this. "
    "Of a step of the argument: over the draw of the mask, what it is about is at most this.",
    "conditional": "Proven under a property of the weights or the data that was assumed.",
    "order-only": "A capacity measure: it ranks networks and bounds nothing.",
    "not applicable": "The statement does not cover this network or what was measured of it.",
    "measured": "Counted on a sample; it promises nothing about new data.",
    "vacuous": "At least 100 %, which is true of every network.",
}
STEP_UNITS = {spec.unit for spec in STEPS.values()}  # of norms, counts and lengths: no risks


@dataclass(frozen=True)
class Table:
    """`columns` are (head, cells, are they numbers?); cells and heads are ready HTML."""

    caption: str
    columns: list[tuple[Markup, list[Markup], bool]]

    @property
    def rows(self) -> list[list[tuple[Markup, bool]]]:
        return [
            [(cells[index], is_number) for _, cells, is_number in self.columns]
            for index in range(len(self.columns[0][1]) if self.columns else 0)
        ]


def page_html(runs: list[Run]) -> str:
    """The whole page as one string."""
    source = (files("prunecert.report") / "page.html").read_text()
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.from_string(source).render(
        runs=[_section(run, index) for index, run in enumerate(runs)],
        kinds=[(_label(kind), meaning) for kind, meaning in KINDS.items()],
        version=__version__,
    )


def _section(run: Run, index: int) -> dict[str, Any]:
    steps = [b for b in run.bounds if b.unit in STEP_UNITS]
    bounds = [b for b in run.bounds if b.unit not in STEP_UNITS]
    return {
        "run": run,
        "figures": [
            (figure, draw(figure, f"{index} {name}"), _numbers_of(figure))
            for name, figure in run.figures.items()
        ],
        "tables": [
            _statements([b for b in bounds if b.kind in ("certified", "conditional")]),
            _measures([b for b in bounds if b.kind == "order-only"]),
            _steps([b for b in steps if b.kind != "not-applicable"]),
            _refusals([b for b in run.bounds if b.kind == "not-applicable"]),
            _networks(run.networks),
            _diagnostics(run.diagnostics),
        ],
    }


# --------------------------------------------------------------------------- tables


def _table(caption: str, rows: list[dict[str, Markup]]) -> Table:
    """Cells by head; a column with nothing in it is left out."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    columns = [(escape(head), [row.get(head, Markup()) for row in rows]) for head in heads]
    return Table(
        caption,
        [
            (head, cells, all(cell.startswith("<data") for cell in cells if cell))
            for head, cells in columns
            if any(cells)
        ],
    )


def _statements(bounds: list[Bound]) -> Table:
    rows = [
        {
            "network": escape(b.network),
            "statement": escape(b.name),
            "at most": _value(b),
            "kind": _label(b.kind) + (" " + _label("vacuous") if _is_vacuous(b) else ""),
            "sample": escape(b.sample or ""),
            "δ": _scalar(b.delta),
            "from": _pairs(b.details),
        }
        for b in bounds
    ]
    return _table("Statements about new data", rows)


def _measures(bounds: list[Bound]) -> Table:
    rows = [
        {
            "network": escape(b.network),
            "measure": escape(b.name),
            "value": _value(b),
            "kind": _label(b.kind),
            "sample": escape(b.sample or ""),
            "δ": _scalar(b.delta),
            "from": _pairs(b.details),
        }
        for b in bounds
    ]
    return _table("Capacity measures (rank networks, bound nothing)", rows)


def _steps(bounds: list[Bound]) -> Table:
    """Usually of one network, which then needs no column."""
    several = len({b.network for b in bounds}) > 1
    rows = [
        {
            "network": escape(b.network if several else ""),
            "layer": escape(b.layer or ""),
            "step": escape(b.name),
            "says": _number(b.value, kind=b.kind),
            "measured": _number(b.measured),
            "unit": escape(b.unit),
            "kind": _label(b.kind),
            "sample": escape(b.sample or ""),
            "δ": _scalar(b.delta),
            "from": _pairs(b.details),
        }
        for b in bounds
    ]
    return _table("Steps of the argument (nothing about new data)", rows)


def _refusals(bounds: list[Bound]) -> Table:
    rows = [
        {
            "network": escape(b.network),
            "layer": escape(b.layer or ""),
            "statement": escape(b.name),
            "kind": _label("not applicable"),
            "why": escape(b.details["reason"]),
        }
        for b in bounds
    ]
    return _table("Statements that do not apply", rows)


def _networks(networks: list[Network]) -> Table:
    rows = [
        {
            "network": escape(n.name),
            "method": escape(n.method or ""),
            "sparsity": _number(n.sparsity, is_fraction=True),
            "parameters": _scalar(n.parameters),
            "nonzeros": _scalar(n.nonzeros),
            **{_words(key): _scalar(value) for key, value in (n.model_extra or {}).items()},
            "sha256": _hash(n.sha256),
        }
        for n in networks
    ]
    return _table("Networks", rows)


def _diagnostics(diagnostics: list[Diagnostic]) -> Table:
    rows = [
        {
            "network": escape(d.network),
            "layer": escape(d.layer or ""),
            "measured": escape(d.name),
            "value": _scalar(d.value),
            "note": escape(d.note or ""),
        }
        for d in diagnostics
    ]
    return _table("Diagnostics", rows)


def _numbers_of(figure: Figure) -> Table:
    """One row for each x, one column for each series."""
    rows: dict[Any, dict[str, Markup]] = {}
    for series in figure.series:
        head = escape(series.name) + (" " + _label(series.kind) if figure.has_kinds else "")
        for x, y in zip(series.x, series.y):
            row = rows.setdefault(x, {escape(figure.x.label): _scalar(x)})
            cell = _number(y, is_fraction=figure.is_risk, kind=series.kind)
            row[head] = Markup(", ").join(part for part in (row.get(head), cell) if part)
    return _table(f"{figure.title}: {figure.y.label}", list(rows.values()))


# --------------------------------------------------------------------------- cells


def _number(value: float | None, is_fraction: bool = False, kind: str = "measured") -> Markup:
    """A number as shown, carrying the number as results.json has it."""
    if value is None:
        return Markup()
    return Markup('<data value="{}">{}</data>').format(value, stated(value, kind, is_fraction))


def _value(bound: Bound) -> Markup:
    is_fraction = bound.unit == "fraction"
    unit = "" if is_fraction else f" {bound.unit}"
    return _number(bound.value, is_fraction, bound.kind) + unit


def _is_vacuous(bound: Bound) -> bool:
    return bound.unit == "fraction" and bound.value is not None and bound.value >= 1


def _scalar(value: Any) -> Markup:
    """Any single value of a JSON file; lists and objects stay there."""
    if isinstance(value, bool):
        return escape("yes" if value else "no")
    if isinstance(value, (int, float)):
        return _number(value)
    return escape(value) if isinstance(value, str) else Markup()


def _pairs(details: dict[str, Any]) -> Markup:
    cells = {_words(key): _scalar(value) for key, value in details.items()}
    return Markup(", ").join(
        Markup("{}\N{NO-BREAK SPACE}{}").format(k, cell) for k, cell in cells.items() if cell
    )


def _words(key: str) -> str:
    return key.replace("_", " ")


def _hash(digest: str | None) -> Markup:
    return Markup('<code title="{}">{}</code>').format(digest, digest[:10]) if digest else Markup()


def _label(kind: str) -> Markup:
    css_class = kind.replace(" ", "-")
    return Markup('<span class="kind {}" title="{}">{}</span>').format(css_class, KINDS[kind], kind)
