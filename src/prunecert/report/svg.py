"""Matplotlib drawings as inline SVG that takes font and colours from the page.

Colours are names here: stand-ins that matplotlib accepts, each of which becomes a variable of the
style sheet (`--ink`, `--series-0`, …), so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib.style
from markupsafe import Markup, escape
from matplotlib.figure import Figure as Canvas

INK, MUTED, RULE, STRIP, PAGE = (f"#f000{index:02x}" for index in range(5))
SERIES = tuple(f"#f001{index:02x}" for index in range(8))
VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", STRIP: "strip", PAGE: "page"}
VARIABLES |= {colour: f"series-{index}" for index, colour in enumerate(SERIES)}

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same layout everywhere
    "font.size": 11.5,
    "figure.dpi": 72,  # a point is a pixel
    "figure.facecolor": "none",
    "figure.constrained_layout.w_pad": 3 / 72,
    "figure.constrained_layout.h_pad": 3 / 72,
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "axes.titlecolor": MUTED,
    "axes.titlepad": 8,
    "axes.axisbelow": True,
    **{f"axes.spines.{side}": False for side in ("top", "right", "left", "bottom")},
    "grid.color": RULE,
    "grid.linewidth": 1,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "lines.linewidth": 2,
    "lines.markersize": 6.5,
    "lines.markeredgewidth": 1.5,
}


def inline_svg(draw: Callable[[], Canvas], identity: str, css_class: str, label: str) -> Markup:
    """What `draw` makes, as one `<svg>` element named `label` for those who cannot see it.

    `identity` must differ between the drawings of a page: it keeps their ids apart.
    """
    stream = io.BytesIO()
    with matplotlib.style.context({**STYLE, "svg.hashsalt": identity}, after_reset=True):
        canvas = draw()
        canvas.savefig(stream, format="svg", metadata={"Date": None})
    width, height = (round(72 * inches) for inches in canvas.get_size_inches())
    drawn = stream.getvalue().decode()
    body = drawn[drawn.index("</metadata>") + len("</metadata>") :]
    body = re.sub(r"<style.*?</style>", "", body, count=1)
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # only ids in <defs> are referred to
    body = re.sub(r" font-family: [^;\"]*;?", "", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", body)
    body = re.sub(r"\s*\n\s*", " ", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    return Markup(
        f'<svg class="{css_class}" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="{escape(label)}">{body}'
    )
