"""What every statement says about one network's evidence, as lines of a table.

Grouped by the quantity they bound, since bits per token and a difference of risks do not stand on
one axis with a risk. What bounds nothing, and what nobody has certified, has a strip of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prunecert.bounds.external import ExternalBound
from prunecert.bounds.table import BOUNDS, evaluate, evaluate_all
from prunecert.cli.terminal import Terminal, percent
from prunecert.inversions import round_up
from prunecert.types import (
    BoundSpec,
    CapacityMeasure,
    Certificate,
    Evidence,
    InputError,
    NotApplicable,
    Result,
)

PROVEN = ("certified", "conditional", "external")


@dataclass(frozen=True)
class Line:
    """One statement about the evidence. `kind` is certified, conditional, external (certified),
    order-only, external order-only, external not certified, or not applicable."""

    name: str
    kind: str
    quantity: str
    unit: str
    value: float | None  # rounded up at 6 digits; None where it does not apply
    note: str
    origin: str = "prunecert"


def lines_of(evidence: Evidence, delta: float, found: Iterable[ExternalBound] = ()) -> list[Line]:
    """Ours and those from outside, by quantity, tightest first; then what bounds nothing."""
    lines = [_line(BOUNDS[r.name], r) for r in evaluate_all(evidence, delta)]
    for bound in found:
        try:
            result = evaluate(bound.spec, evidence, delta)
        except InputError as error:
            result = NotApplicable(bound.spec.name, str(error))
        lines.append(_from_outside(bound, _line(bound.spec, result)))
    kinds = [*PROVEN, "external, not certified", "order-only", "external, order-only"]
    quantities = list(dict.fromkeys(spec.quantity for spec in BOUNDS.values()))
    quantities += [line.quantity for line in lines if line.quantity not in quantities]

    def place(line: Line) -> tuple[int, int, float]:
        if line.value is None:
            return len(kinds) + 1, 0, 0.0
        strip = 0 if line.kind in PROVEN else kinds.index(line.kind)
        return strip, quantities.index(line.quantity), line.value

    return sorted(lines, key=place)


def _line(spec: BoundSpec, result: Result) -> Line:
    about = {"name": spec.name, "quantity": spec.quantity, "unit": spec.unit}
    if isinstance(result, Certificate):
        assumed = [a.text for a in result.assumptions if a.status == "assumed"]
        note = "; ".join([f"if {text}" for text in assumed])
        if spec.unit == "fraction" and result.risk_bound >= 1.0:
            note = "; ".join(filter(None, ("vacuous", note)))
        return Line(**about, kind=result.kind, value=result.risk_bound, note=note)
    if isinstance(result, CapacityMeasure):
        note = "vacuous" if spec.unit == "none" and result.value > 1.0 else ""
        return Line(**about, kind="order-only", value=result.value, note=note)
    return Line(**about, kind="not applicable", value=None, note=result.reason)


def _from_outside(bound: ExternalBound, line: Line) -> Line:
    kind, note = line.kind, line.note
    if line.value is None:
        pass
    elif kind == "order-only":
        kind = "external, order-only"
    elif bound.doubt:
        kind, note = "external, not certified", bound.doubt
    else:
        kind, note = "external", "; ".join(filter(None, (kind, note)))
    return Line(line.name, kind, line.quantity, line.unit, line.value, note, bound.origin)


# --------------------------------------------------------------------------- on the screen


def show_lines(terminal: Terminal, lines: list[Line], delta: float) -> None:
    """Every line, strip by strip, and what they do not say together."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        if line.kind in PROVEN:
            groups.setdefault(line.quantity, []).append(line)
    rows: list[tuple[str, str, str, str]] = []
    for quantity, group in groups.items():
        rows += [("", "", "", "")] * bool(rows)
        rows += [_row(line, ", ".join(filter(None, (quantity, line.note)))) for line in group]
    _strip(terminal, ("statement", "kind", "at most", "of what"), rows)
    unproven = [line for line in lines if line.kind == "external, not certified"]
    rows = [_row(line, f"{line.quantity}: {line.note}") for line in unproven]
    _strip(terminal, ("nobody vouches for", "kind", "value", ""), rows)
    measures = [line for line in lines if line.kind in ("order-only", "external, order-only")]
    rows = [_row(line, line.note) for line in measures]
    _strip(terminal, ("bounds nothing", "kind", "value", ""), rows)
    silent = [(line.name, line.note) for line in lines if line.value is None]
    _strip(terminal, ("statement", "why it says nothing here"), silent)
    _say_what_choosing_costs(terminal, groups, delta)


def _row(line: Line, words: str) -> tuple[str, str, str, str]:
    return line.name, line.kind, _shown(line), words


def _strip(terminal: Terminal, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        terminal.table(columns, rows)
        terminal.line()


def _say_what_choosing_costs(
    terminal: Terminal, groups: Mapping[str, list[Line]], delta: float
) -> None:
    """THEORY 2.1a (v)."""
    terminal.line(
        f"Each line is a statement of its own at delta {delta:g}. Picking the smallest afterwards "
        "is one more, and costs the sum of the deltas of all it was picked from."
    )
    for quantity, group in groups.items():
        if len(group) > 1:
            total = len(group) * delta
            holds = f"delta {total:.4g}" if total < 1.0 else "no confidence at all"
            terminal.line(f"The smallest of the {len(group)} on {quantity}: {holds}.")
    terminal.line("Order-only values rank networks and bound nothing.")


def _shown(line: Line) -> str:
    if line.value is None:
        return "—"
    if line.unit in ("fraction", "risk difference") and line.kind != "order-only":
        return percent(line.value)
    if line.unit == "bits per token":
        return f"{round_up(line.value, 4):.4f} bits"
    return f"{line.value:.4g}"
