"""Over the pruning parameter d: what pruning removes and moves, measured and bounded.

The paper's first two figures, as its code draws them and corrected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prunecert.api.counting import Options
from prunecert.api.networks import Network
from prunecert.api.pruning_steps import Chain, OutputChange, chain_of, output_change
from prunecert.bounds.pattern import pattern_gaussian
from prunecert.bounds.sketching import kept_fraction, needed_margin
from prunecert.paper.settings import DELTA, Setting
from prunecert.paper.training import PaperData
from prunecert.progress import Stage, quiet
from prunecert.pruning.bernoulli import bernoulli_mask

D_END = 10.0


@dataclass(frozen=True)
class AtD:
    """One draw of all masks at d: kept fractions (L,), most nonzeros (L, 2) in a row, a column."""

    d: float
    kept: NDArray[np.float64]
    most: NDArray[np.int64]
    change: OutputChange
    published: float  # gamma(d) as the published code has it, from the removed norms measured


@dataclass(frozen=True)
class OverD:
    """`points` over the grid of d (0 left out) of the network `chain`."""

    chain: Chain
    points: tuple[AtD, ...]
    rows: str  # the part of the sample that the output is compared on

    @property
    def coded_layer(self) -> int:
        """The layer whose pattern the published code plots: the first of largest fan-in."""
        return int(np.argmax([w.shape[1] for w in self.chain.weights]))


def measure_over_d(
    setting: Setting,
    network: Network,
    data: PaperData,
    input_norm: float,
    seed: int = 0,
    stage: Stage = quiet,
) -> OverD:
    """Measure a trained network over d; `input_norm` is B of the published gamma."""
    chain = chain_of(network)
    part = replace(data.train, stop=data.train.start + min(setting.rows, data.train.n))
    options, n = Options(), data.train.n
    points = []
    grid = np.linspace(0.0, D_END, setting.grid)[1:]
    with stage("pruning over d", len(grid)) as tick:
        for number, d in enumerate(grid.tolist(), start=1):
            masks = bernoulli_mask(chain.by_name, d, seed * len(grid) + number)
            points.append(_at(chain, masks, d, part, input_norm, n, options))
            tick(1)
    return OverD(chain, tuple(points), part.name)


def _at(
    chain: Chain,
    masks: dict[str, Tensor],
    d: float,
    part: Any,
    input_norm: float,
    n: int,
    options: Options,
) -> AtD:
    change = output_change(chain, chain.with_masks(masks), part, options)
    shapes = [w.shape for w in chain.weights]
    published = needed_margin(
        [out for out, _ in shapes],
        [into for _, into in shapes],
        chain.norms,
        change.removed_norm,
        input_norm,
        n,
    )
    kept = [mask.numpy() for mask in masks.values()]
    return AtD(
        d,
        np.array([mask.mean() for mask in kept]),
        np.array([[mask.sum(1).max(), mask.sum(0).max()] for mask in kept]),
        change,
        float(published),
    )


# --------------------------------------------------------------------------- figures


def _series(name: str, kind: str, x: list[float], y: list[float | None]) -> dict[str, Any]:
    return {"name": name, "kind": kind, "x": x, "y": y}


def _axis(label: str, scale: str = "linear") -> dict[str, Any]:
    """Of values that are no risk."""
    return {"label": label, "scale": scale, "risk": False}


def figures(found: OverD) -> dict[str, Any]:
    """The paper's figures over d, and what they leave out."""
    d = [round(point.d, 6) for point in found.points]
    return {
        "pruning-error": _error_figure(found, d),
        "pattern": _pattern_figure(found, d),
        "kept-fraction": _kept_figure(found, d),
    }


def _error_figure(found: OverD, d: list[float]) -> dict[str, Any]:
    def statement(name: str) -> list[float | None]:
        return [point.change.statements.get(name) for point in found.points]

    lines = [
        (
            "largest change of the true logit",
            "measured",
            [p.change.true_class for p in found.points],
        ),
        ("largest change of all logits", "measured", [p.change.measured for p in found.points]),
        ("bound at the inputs", "certified", statement("output-change-at-input")),
        ("bound with biases", "certified", statement("output-change-with-biases")),
        ("the paper's, as published", "order-only", [p.published for p in found.points]),
    ]
    return {
        "title": "Pruning error over d: measured, and bounded",
        "x": {"label": "d"},
        "y": _axis("change of the output", "log"),
        "series": [_series(name, kind, d, list(y)) for name, kind, y in lines],
        "note": f"Largest over {found.rows}. The published form leaves biases out and does not "
        "check its condition; the other two bounds hold.",
    }


def _pattern_figure(found: OverD, d: list[float]) -> dict[str, Any]:
    layer = found.coded_layer
    out, into = found.chain.weights[layer].shape
    chi = kept_fraction(d)
    rows = [int(p.most[layer, 0]) for p in found.points]
    both = [int(p.most[layer].max()) for p in found.points]
    lines = [
        ("fullest row (as coded)", "measured", rows),
        ("fullest row or column", "measured", both),
        ("3·fan-in·chi (as coded)", "order-only", (3 * into * chi).tolist()),
        ("Gaussian weights, explicit", "conditional", [_gaussian(out, into, x) for x in d]),
        ("dense", "measured", [max(out, into)] * len(d)),
    ]
    series = [_series(name, kind, d, list(y)) for name, kind, y in lines]
    return {
        "title": f"Most nonzeros in a row or column of {found.chain.names[layer]}",
        "x": {"label": "d"},
        "y": _axis("nonzeros"),
        "series": series,
        "note": "The paper's prediction exceeds the dense matrix while chi is above 1/3.",
    }


def _gaussian(out: int, into: int, d: float) -> int:
    """What max(j_r, j_c) stays below with probability 1 − delta, were the weights Gaussian."""
    return int(pattern_gaussian([out], [into], d, DELTA).max())


def _kept_figure(found: OverD, d: list[float]) -> dict[str, Any]:
    measured = [
        _series(name, "measured", d, [round(float(p.kept[layer]), 6) for p in found.points])
        for layer, name in enumerate(found.chain.names)
    ]
    chi = [round(float(x), 6) for x in kept_fraction(d)]
    return {
        "title": "Fraction of weights kept over d, and chi",
        "x": {"label": "d"},
        "y": _axis("fraction kept"),
        "series": [_series("chi, for Gaussian weights", "order-only", d, list(chi)), *measured],
    }
