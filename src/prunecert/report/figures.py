"""Figures in two layouts: numbers on x make curves, names on x (or bars) make rows.

Values that state no risk (above 1, or order-only) never stand on the risk axis but on a strip
beyond it: above the curves, to the right of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from prunecert.report.contents import Figure, Series
from prunecert.report.numbers import plain, power_of_ten, stated
from prunecert.report.svg import INK, MUTED, PAGE, SERIES, STRIP, inline_svg

Place = Literal["strip", "main"]

WIDTHS = {"wide": 760, "narrow": 360}  # pixels: for a desk and for a telephone
ON_STRIP = (
    "The strip marked vacuous has a log scale of its own. On it stand values above 1, which say "
    "nothing about the risk, and order-only values, which rank networks and bound nothing."
)
NOT_DRAWN = "Values of zero or less cannot stand on a log axis: they are only among the numbers."

# How the marks of each kind look; "plain" is for figures of measurements.
_LOOKS: dict[str, dict[str, Any]] = {
    "plain": {"linestyle": "-", "marker": "o"},
    "certified": {"linestyle": "-", "marker": "o"},
    "conditional": {"linestyle": "--", "marker": "D", "markersize": 5.5},
    "order-only": {"linestyle": ":", "marker": "s", "markerfacecolor": PAGE},
    "measured": {"linestyle": (0, (1, 1.6)), "marker": "o", "markerfacecolor": PAGE},
}
_BAR_OPACITY = {
    "plain": 1.0,
    "certified": 1.0,
    "conditional": 0.55,
    "measured": 0.4,
    "order-only": 0.25,
}

_THIN = 56  # pixels across the strip
ROOM = 1.15  # beyond the ends of a log axis
_GAP, _NAME, _LANE = 8, 18, 15  # pixels down a row: space, its name, one mark
_ABOVE, _BELOW, _LEFT, _VALUES = 24, 22, 14, 84  # pixels around the rows


@dataclass(frozen=True)
class Drawing:
    """A figure at each width, its legend as (swatch, words), and what must be said below it."""

    svgs: list[Markup]
    legend: list[tuple[Markup, str]]
    notes: list[str]


def draw(figure: Figure, identity: str) -> Drawing:
    """`identity` must differ between the figures of a page."""
    label = (
        f"{figure.title}: {figure.y.label} against {figure.x.label} for {', '.join(figure.names)}."
        " The numbers are in the table below."
    )
    svgs = [
        inline_svg(partial(drawn, figure, width), f"{identity} {name}", f"plot {name}", label)
        for name, width in WIDTHS.items()
    ]
    places = [_place(figure, s, x, y) for s in figure.series for x, y in _points(s)]
    notes = [figure.note] if figure.note else []
    notes += [ON_STRIP] if "strip" in places else []
    notes += [NOT_DRAWN] if None in places else []
    return Drawing(svgs, _legend(figure, identity), notes)


# --------------------------------------------------------------------------- what stands where


def _has_rows(figure: Figure) -> bool:
    return any(s.style == "bars" or isinstance(x, str) for s in figure.series for x in s.x)


def _points(series: Series) -> Iterator[tuple[Any, float]]:
    return ((x, y) for x, y in zip(series.x, series.y) if y is not None)


def _place(figure: Figure, series: Series, x: Any, y: float) -> Place | None:
    """Where a value stands; None for one that a log axis cannot show."""
    place: Place = "main"
    if figure.is_risk and (series.kind == "order-only" or y > 1):
        place = "strip"
    y_is_log = place == "strip" or figure.y.scale == "log"
    x_is_log = figure.x.scale == "log" and not _has_rows(figure)
    return None if (y_is_log and y <= 0) or (x_is_log and x <= 0) else place


def _at(figure: Figure, place: Place) -> list[float]:
    """All values that stand at `place`, ends of intervals among them."""
    values = [y for s in figure.series for x, y in _points(s) if _place(figure, s, x, y) == place]
    ends = [end for s in figure.series for _, *both in s.intervals for end in both]
    if not values or place == "strip":
        return values
    return values + [end for end in ends if end > 0 or figure.y.scale != "log"]


def _places(figure: Figure) -> list[Place]:
    """The panels a figure needs, top first; an empty figure is an empty main panel."""
    places: tuple[Place, ...] = ("strip", "main")
    return [place for place in places if _at(figure, place)] or ["main"]


# --------------------------------------------------------------------------- how marks look


def _kind(figure: Figure, series: Series) -> str:
    return series.kind if figure.has_kinds else "plain"


def _colour(figure: Figure, series: Series) -> str:
    return SERIES[figure.names.index(series.name) % len(SERIES)]


def _draw_marks(
    axes: Axes, x: Sequence[float], y: Sequence[float], kind: str, style: str, colour: str
) -> None:
    look = {"color": colour, **_LOOKS[kind]}
    if style != "line":
        look["linestyle"] = "none"
    axes.plot(x, y, clip_on=False, zorder=3, **look)


def _draw_bar(axes: Axes, start: float, length: float, y: float, kind: str, colour: str) -> None:
    opacity = _BAR_OPACITY[kind]
    axes.barh(y, length, left=start, height=_LANE - 4, color=colour, alpha=opacity, zorder=3)


def _legend(figure: Figure, identity: str) -> list[tuple[Markup, str]]:
    """A colour for each name; then, where more than measurements stand, a look for each kind."""
    named = {s.name: ("plain", "bars", _colour(figure, s)) for s in figure.series}
    marks = list(named.items()) if len(named) > 1 else []
    if figure.has_kinds:
        marks += {s.kind: (s.kind, _style(figure, s), INK) for s in figure.series}.items()
    return [
        (inline_svg(partial(_swatch, *mark), f"{identity} {words}", "swatch", words), words)
        for words, mark in marks
    ]


def _style(figure: Figure, series: Series) -> str:
    """How its marks are drawn: order-only values beside risks stand on the strip, as points."""
    on_strip = figure.is_risk and series.kind == "order-only"
    return "points" if on_strip and series.style == "bars" else series.style


def drawn(figure: Figure, width: int) -> Canvas:
    """The figure alone, in the layout it needs."""
    return rows(figure, width) if _has_rows(figure) else curves(figure, width)


def handles(figure: Figure) -> list[Line2D]:
    """One mark for each series, labelled, as a legend of matplotlib wants them."""
    found = []
    for series in figure.series:
        kind = _kind(figure, series)
        label = f"{series.name} ({kind})" if figure.has_kinds else series.name
        found.append(Line2D([], [], color=_colour(figure, series), label=label, **_LOOKS[kind]))
    return found


def _swatch(kind: str, style: str, colour: str) -> Canvas:
    is_bar = style == "bars"
    x = [4, 15, 26] if style == "line" else [6]
    width = 2 * x[0] + x[-1] - x[0]
    canvas = Canvas(figsize=(width / 72, 14 / 72))
    axes = canvas.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, 14))
    axes.axis("off")
    if is_bar:
        _draw_bar(axes, 0, width, 7, kind, colour)
    else:
        _draw_marks(axes, x, [7] * len(x), kind, style, colour)
    return canvas


def _prepare(figure: Figure, axes: Axes, direction: Literal["x", "y"], place: Place) -> None:
    """Heading, limits, ticks and grid of the axis that carries the values."""
    values = _at(figure, place)
    is_log = place == "strip" or figure.y.scale == "log"
    is_risk = place == "main" and figure.is_risk
    title = "vacuous · log scale" if place == "strip" else figure.y.label
    axes.set_title(title, loc="left", wrap=True)
    if place == "strip":
        axes.set_facecolor(STRIP)
    if is_log:
        axes.set(**{f"{direction}scale": "log"})
    if values and (is_log or is_risk or direction == "x"):
        low, high = _decades(values) if is_log else (min(0, *values), 1.05 * max(0, *values) or 1)
        axes.set(**{f"{direction}lim": (low, 1 if is_risk else high)})
    axis = axes.xaxis if direction == "x" else axes.yaxis
    _write_ticks(axis, _short_percent if is_risk else _power if is_log else plain)
    if place == "main" and is_log and not is_risk and _is_narrow(values):
        axes.set(**{f"{direction}lim": (min(values) / ROOM, max(values) * ROOM)})
        _write_narrow(axis)
    axis.grid(True)


def _write_ticks(axis: Axis, write: Callable[[float], str]) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(float(value))))
    axis.set_minor_locator(NullLocator())


def _is_narrow(values: Sequence[float]) -> bool:
    """Powers of ten alone would leave such a log axis nearly without ticks."""
    return bool(values) and max(values) <= 100 * min(values)


def _write_narrow(axis: Axis) -> None:
    """Ticks at some multiples of the powers of ten, written out."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
    _write_ticks(axis, plain)


def _decades(values: list[float]) -> tuple[float, float]:
    """The powers of ten around positive values, with a little room."""
    low, high = math.log10(0.9 * min(values)), math.log10(1.1 * max(values))
    return 10.0 ** math.floor(low), 10.0 ** math.ceil(high)


def _power(value: float) -> str:
    return power_of_ten(round(math.log10(value)))


def _short_percent(value: float) -> str:
    return f"{plain(100 * value)} %"


# --------------------------------------------------------------------------- the two layouts


def curves(figure: Figure, width: int) -> Canvas:
    """Lines or points over x, the strip thin and above the main panel."""
    places = _places(figure)
    heights = [_THIN if place == "strip" and "main" in places else 250 for place in places]
    size = (width / 72, (sum(heights) + 40 + 24 * len(places)) / 72)
    canvas = Canvas(figsize=size, layout="constrained")
    grid = canvas.subplots(len(places), sharex=True, squeeze=False, height_ratios=heights)
    for place, axes in zip(places, grid[:, 0]):
        for s in figure.series:
            y = [
                math.nan if y is None or _place(figure, s, x, y) != place else y
                for x, y in zip(s.x, s.y)
            ]
            _draw_marks(axes, s.x, y, _kind(figure, s), s.style, _colour(figure, s))
            for x, low, high in s.intervals if place == "main" else []:
                axes.vlines(x, low, high, color=_colour(figure, s), alpha=0.5)
        _prepare(figure, axes, "y", place)
    axes = grid[-1, 0]
    axes.set_xlabel(figure.x.label, wrap=True)
    axes.set_xscale(figure.x.scale)
    positive = [x for s in figure.series for x in s.x if x > 0 and figure.x.scale == "log"]
    if positive:
        axes.set_xlim(min(positive) / ROOM, max(positive) * ROOM)
    _write_ticks(axes.xaxis, plain)
    if positive and _is_narrow(positive):
        _write_narrow(axes.xaxis)
    return canvas


def rows(figure: Figure, width: int) -> Canvas:
    """A row for each x: its name, then a lane for each value, written out at the far right."""
    named: dict[str, list[tuple[Series, Place | None, float, list[float]]]] = {}
    for series in figure.series:
        ends = {x: [low, high] for x, low, high in series.intervals}
        for x, y in _points(series):
            lanes = named.setdefault(x if isinstance(x, str) else plain(x), [])
            lanes.append((series, _place(figure, series, x, y), y, ends.get(x, [])))
    height = sum(_GAP + _NAME + _LANE * len(lanes) for lanes in named.values()) + _GAP
    canvas = Canvas(figsize=(width / 72, (height + _ABOVE + _BELOW) / 72))
    panels = _row_panels(canvas, figure, width, height)
    paper = _panel(canvas, 0, width, height)
    paper.set_xlim(0, width)
    paper.axis("off")
    top = 0.0
    for name, lanes in named.items():
        top += _GAP
        paper.text(_LEFT, top + _NAME / 2, name, va="center")
        for lane, (series, place, y, interval) in enumerate(lanes):
            at = top + _NAME + _LANE * (lane + 0.5)
            kind, colour = _kind(figure, series), _colour(figure, series)
            if place == "main" and series.style == "bars" and figure.y.scale == "linear":
                _draw_bar(panels[place], 0, y, at, kind, colour)
            elif place:
                _draw_marks(panels[place], [y], [at], kind, "points", colour)
            if place == "main" and interval:
                low, high = interval
                panels[place].hlines(at, low, high, color=colour, alpha=0.5)
            words = stated(y, series.kind, is_fraction=figure.is_risk)
            paper.text(width - 2, at, words, va="center", ha="right", color=MUTED, size=11)
        top += _NAME + _LANE * len(lanes)
    return canvas


def _row_panels(canvas: Canvas, figure: Figure, width: int, height: int) -> dict[Place, Axes]:
    """The risk axis from the left, the strip right of it, then room for the written values."""
    right = width - _VALUES
    strip = right - (right - _LEFT) // 4
    edges: dict[Place, tuple[int, int]] = {"main": (_LEFT, right), "strip": (_LEFT, right)}
    if len(_places(figure)) > 1:
        edges = {"main": (_LEFT, strip - 3 * _LEFT), "strip": (strip, right)}
    panels: dict[Place, Axes] = {}
    for place in _places(figure):
        panels[place] = axes = _panel(canvas, *edges[place], height)
        axes.set_yticks([])
        _prepare(figure, axes, "x", place)
    return panels


def _panel(canvas: Canvas, left: int, right: int, height: int) -> Axes:
    """Axes between two columns of pixels whose y counts pixels from the top."""
    width, total = 72 * canvas.get_size_inches()
    rect = (left / width, _BELOW / total, (right - left) / width, height / total)
    return canvas.add_axes(rect, ylim=(height, 0))
