"""What stands on which axes, read back from the axes themselves."""

import math
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from prunecert.report.contents import Figure
from prunecert.report.figures import NOT_DRAWN, ON_STRIP, WIDTHS, curves, draw, rows


def figure(*series: dict[str, Any], **more: Any) -> Figure:
    axes = {"x": {"label": "the x"}, "y": {"label": "the y"}}
    return Figure.model_validate({"title": "T", **axes, "series": list(series), **more})


def strip_of(canvas: Canvas) -> Axes | None:
    found = [axes for axes in canvas.axes if "vacuous" in axes.get_title(loc="left")]
    assert len(found) <= 1
    return found[0] if found else None


def main_of(canvas: Canvas) -> Axes | None:
    found = [axes for axes in canvas.axes if axes.get_title(loc="left") == "the y"]
    assert len(found) <= 1
    return found[0] if found else None


def points(axes: Axes | None) -> list[tuple[float, float]]:
    assert axes is not None
    pairs = [pair for line in axes.lines for pair in zip(*line.get_data())]
    return sorted((float(x), float(y)) for x, y in pairs if not math.isnan(y))


def values_in_rows(axes: Axes | None) -> list[float]:
    assert axes is not None
    bars = [float(bar.get_width()) for bar in axes.patches]  # type: ignore[attr-defined]
    return sorted(bars + [float(x) for line in axes.lines for x in line.get_xdata()])


MIXED = figure(
    {"name": "a", "kind": "certified", "x": [1, 2, 3], "y": [1.5, 1.0, 0.25]},
    {"name": "b", "kind": "order-only", "x": [1, 2, 3], "y": [70.0, 0.5, None]},
    {"name": "a", "kind": "measured", "x": [1, 2, 3], "y": [0.1, 0.0, 0.2]},
    {"name": "c", "kind": "conditional", "x": [3], "y": [0.9]},
)


@pytest.mark.parametrize("width", WIDTHS.values())
def test_curves_keep_order_only_and_vacuous_values_off_the_risk_axis(width: int) -> None:
    canvas = curves(MIXED, width)
    main, strip = main_of(canvas), strip_of(canvas)
    assert main is not None and strip is not None
    assert points(main) == [(1, 0.1), (2, 0.0), (2, 1.0), (3, 0.2), (3, 0.25), (3, 0.9)]
    assert points(strip) == [(1, 1.5), (1, 70.0), (2, 0.5)]
    assert main.get_ylim() == (0, 1) and main.get_yscale() == "linear"
    assert strip.get_yscale() == "log" and strip.get_ylim() == (0.1, 100)
    assert strip.get_position().y0 > main.get_position().y0


@pytest.mark.parametrize("width", WIDTHS.values())
@pytest.mark.parametrize("style", ["points", "bars"])
def test_rows_do_the_same_with_the_strip_on_the_right(width: int, style: str) -> None:
    named = [
        {**s.model_dump(), "x": [f"row {x}" for x in s.x], "style": style} for s in MIXED.series
    ]
    canvas = rows(figure(*named), width)
    main, strip = main_of(canvas), strip_of(canvas)
    assert main is not None and strip is not None
    assert values_in_rows(main) == [0.0, 0.1, 0.2, 0.25, 0.9, 1.0]
    assert values_in_rows(strip) == [0.5, 1.5, 70.0]
    assert not strip.patches  # a bar on a log axis would have no foot
    assert main.get_xlim() == (0, 1)
    assert strip.get_position().x0 > main.get_position().x1
    words = [text.get_text() for axes in canvas.axes for text in axes.texts]
    assert words == [
        *("row 1", "1.5", "70", "10.00 %"),
        *("row 2", "100.00 %", "0.5", "0 %"),
        *("row 3", "25.00 %", "20.00 %", "90.00 %"),
    ]


def test_each_row_is_level_with_its_words() -> None:
    canvas = rows(figure({"name": "a", "style": "bars", "x": ["p", "q"], "y": [1, 2]}), 360)
    main = main_of(canvas)
    assert main is not None
    middles = [bar.get_y() + bar.get_height() / 2 for bar in main.patches]  # type: ignore[attr-defined]
    written = {text.get_text(): text.get_position()[1] for text in canvas.axes[-1].texts}
    assert middles == [written["1"], written["2"]]
    assert written["p"] < written["1"] < written["q"] < written["2"]
    bottom, top = main.get_ylim()
    assert canvas.axes[-1].get_ylim() == (bottom, top) and top == 0 < written["2"] < bottom
    assert canvas.axes[-1].get_position().height == main.get_position().height


def test_a_strip_only_where_it_is_needed() -> None:
    sound = figure({"name": "a", "kind": "certified", "x": [1], "y": [1.0]})
    assert strip_of(curves(sound, 360)) is None
    assert ON_STRIP not in draw(sound, "f").notes
    ranks = figure({"name": "a", "kind": "order-only", "x": [1], "y": [0.5]})
    assert main_of(curves(ranks, 360)) is None and points(strip_of(curves(ranks, 360))) == [
        (1, 0.5)
    ]
    assert ON_STRIP in draw(ranks, "f").notes


def test_a_figure_that_states_no_risk_has_an_ordinary_axis() -> None:
    bits = figure({"name": "a", "x": [1, 2], "y": [500, 1.5]})
    canvas = curves(bits, 360)
    assert strip_of(canvas) is None
    assert points(main_of(canvas)) == [(1, 500), (2, 1.5)]


NO_RISK = {"label": "the y", "risk": False}


@pytest.mark.parametrize("width", WIDTHS.values())
def test_norms_of_every_kind_stand_on_one_ordinary_axis(width: int) -> None:
    norms = MIXED.model_dump()["series"]
    canvas = curves(figure(*norms, y=NO_RISK), width)
    main = main_of(canvas)
    assert main is not None and strip_of(canvas) is None
    assert points(main) == sorted(
        (x, y) for s in norms for x, y in zip(s["x"], s["y"]) if y is not None
    )
    assert main.get_ylim()[1] > 70
    looks = {(line.get_linestyle(), line.get_marker()) for line in main.lines}
    assert len(looks) == 4  # as on a risk axis
    drawing = draw(figure(*norms, y=NO_RISK), "f")
    assert [words for _, words in drawing.legend] == [
        *("a", "b", "c", "certified", "order-only", "measured", "conditional")
    ]
    assert drawing.notes == []


def test_norms_in_rows_are_written_out_as_they_are() -> None:
    kinds = ["certified", "conditional", "order-only", "measured"]
    series = [
        {"name": kind, "kind": kind, "style": "bars", "x": ["p"], "y": [y]}
        for kind, y in zip(kinds, [5.00001, 0.5, 0.25, 2.0])
    ]
    canvas = rows(figure(*series, y=NO_RISK), 360)
    assert strip_of(canvas) is None
    assert values_in_rows(main_of(canvas)) == [0.25, 0.5, 2.0, 5.00001]
    written = [text.get_text() for text in canvas.axes[-1].texts]
    assert written == ["p", "5.001", "0.5", "0.25", "2"]  # proven ones are rounded up
    assert [words for _, words in draw(figure(*series, y=NO_RISK), "f").legend] == kinds * 2
    on_log = rows(figure(*series, y={**NO_RISK, "scale": "log"}), 360)
    assert strip_of(on_log) is None and values_in_rows(main_of(on_log)) == [0.25, 0.5, 2.0, 5.00001]


def test_what_a_log_axis_cannot_show_is_said() -> None:
    log = {"label": "the y", "scale": "log"}
    both = figure({"name": "a", "x": [1, 2], "y": [0, 5]}, y=log)
    assert points(main_of(curves(both, 360))) == [(2, 5)]
    assert draw(both, "f").notes == [NOT_DRAWN]
    zero = figure({"name": "a", "x": [0, 2], "y": [1, 5]}, x={"label": "the x", "scale": "log"})
    assert points(main_of(curves(zero, 360))) == [(2, 5)]
    assert draw(zero, "f").notes == [NOT_DRAWN]
    ranks = figure({"name": "a", "kind": "order-only", "x": ["p", "q"], "y": [0.0, 2.0]})
    assert values_in_rows(strip_of(rows(ranks, 360))) == [2.0]
    assert draw(ranks, "f").notes == [ON_STRIP, NOT_DRAWN]


def test_a_line_does_not_bridge_what_is_missing() -> None:
    gap = figure({"name": "a", "kind": "certified", "x": [1, 2, 3], "y": [0.5, None, 0.25]})
    main = main_of(curves(gap, 360))
    assert main is not None
    assert [math.isnan(y) for y in main.lines[0].get_ydata()] == [False, True, False]


def test_one_name_one_colour_and_each_kind_its_own_look() -> None:
    canvas = curves(MIXED, 760)
    main = main_of(canvas)
    assert main is not None
    certified, _, measured, conditional = main.lines
    assert certified.get_color() == measured.get_color() != conditional.get_color()
    looks = {
        (line.get_linestyle(), line.get_marker()) for line in (certified, measured, conditional)
    }
    faces = {line.get_markerfacecolor() == line.get_color() for line in (certified, measured)}
    assert len(looks) == 3 and faces == {True, False}
    words = [words for _, words in draw(MIXED, "f").legend]
    assert words == ["a", "b", "c", "certified", "order-only", "measured", "conditional"]
