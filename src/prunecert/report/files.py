"""The figures of a run as files: SVG and PNG to look at, CSV to read on."""

from __future__ import annotations

import csv
import io
import re
from importlib.resources import files
from pathlib import Path

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Canvas

from prunecert.files import write_bytes
from prunecert.report.contents import Figure, read_run
from prunecert.report.figures import drawn, handles
from prunecert.report.svg import STYLE, VARIABLES

WIDTH = 760
_COLOURED = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


def write_figures(run: str | Path, folder: str | Path) -> list[tuple[Path, str]]:
    """Every figure of a run's `results.json` as NAME.svg, NAME.png and NAME.csv in `folder`.

    The SVG files with their titles are returned. The same results give the same bytes. Raises
    InputError as `read_run` does.
    """
    written = []
    for name, figure in read_run(run).figures.items():
        place = Path(folder) / name
        for suffix, picture in _pictures(figure, name).items():
            write_bytes(place.with_suffix(f".{suffix}"), picture)
        write_bytes(place.with_suffix(".csv"), _numbers(figure))
        written.append((place.with_suffix(".svg"), figure.title))
    return written


def _pictures(figure: Figure, name: str) -> dict[str, bytes]:
    streams = {"svg": io.BytesIO(), "png": io.BytesIO()}
    colours = _light_colours()
    with matplotlib.style.context({**STYLE, "svg.hashsalt": name}, after_reset=True):
        canvas = drawn(figure, WIDTH)
        canvas.legend(handles=handles(figure), loc="upper left", bbox_to_anchor=(0, 0), ncols=2)
        canvas.text(0, 1.01, figure.title, va="bottom", weight="bold")
        canvas.draw_without_rendering()  # makes the tick labels, which are coloured too
        _paint(canvas, colours)
        for suffix, stream in streams.items():
            canvas.savefig(
                stream,
                format=suffix,
                dpi=144,
                bbox_inches="tight",
                facecolor=colours["page"],
                metadata={"Date": None} if suffix == "svg" else {},
            )
    return {suffix: stream.getvalue() for suffix, stream in streams.items()}


def _light_colours() -> dict[str, str]:
    """The colours of the page for a light screen, by variable: the first that its style names."""
    style = (files("prunecert.report") / "page.html").read_text()
    found = re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", style)
    return dict(reversed(found))


def _paint(canvas: Canvas, colours: dict[str, str]) -> None:
    """Put the page's colours in place of the stand-ins that drawings have."""
    for artist in canvas.findobj(Artist):
        for name in _COLOURED:
            current = getattr(artist, f"get_{name}", lambda: None)()
            if current is None or (isinstance(current, str) and current in ("none", "auto")):
                continue
            try:
                variable = VARIABLES.get(to_hex(current))
            except ValueError:  # several colours at once: none of ours
                continue
            if variable:
                getattr(artist, f"set_{name}")(colours[variable])


def _numbers(figure: Figure) -> bytes:
    """One row per mark: series, kind, x, y, and where there are any the ends of its interval."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    ends = ["low", "high"] if any(series.intervals for series in figure.series) else []
    table.writerow(["series", "kind", figure.x.label, figure.y.label, *ends])
    for series in figure.series:
        none: list[float | None] = [None] * len(series.x)
        columns = [series.low or none, series.high or none] if ends else []
        for x, y, *both in zip(series.x, series.y, *columns):
            table.writerow([series.name, series.kind, x, y, *both])
    return text.getvalue().encode()
