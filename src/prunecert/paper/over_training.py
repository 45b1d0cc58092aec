"""Over training: every bound of the network beside its true error, as coded and corrected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from prunecert import measuring
from prunecert.api import measure
from prunecert.api.counting import Options, outputs_of
from prunecert.api.networks import Network
from prunecert.bounds.capacity_table import COMPARATOR_ROWS
from prunecert.bounds.holdout import holdout_upper
from prunecert.bounds.sketching import mbp_sketch_terms
from prunecert.bounds.table import BOUNDS, evaluate
from prunecert.data import Sample
from prunecert.inversions import round_up
from prunecert.paper.settings import DELTA, Setting
from prunecert.paper.training import PaperData, augment
from prunecert.progress import Stage, quiet
from prunecert.types import CapacityMeasure, Evidence, Margins, NotApplicable, Result

PUBLISHED, THEOREM = "mbp-sketch-as-published", "mbp-sketch-as-in-theorem"
TICKET = "strong-ticket"
NORM_BOUNDS = tuple(row.name for row in COMPARATOR_ROWS)
COMPARED = (PUBLISHED, THEOREM, *NORM_BOUNDS, TICKET)
QUANTILE = 0.1  # margins below it count as errors where the smallest margin says nothing


@dataclass(frozen=True)
class AtEpoch:
    """One network: its evidence, its errors, what each bound says.

    `as_coded` reads what the published code reads; `corrected` the whole image and the margins of
    the images themselves; `at_quantile` the 10 % margin in place of the smallest.
    """

    epoch: int
    network: Network
    evidence: Evidence
    train_error: float
    test_errors: int
    as_coded: dict[str, Result]
    corrected: dict[str, Result]
    at_quantile: dict[str, Result]


def measure_over_training(
    setting: Setting,
    snapshots: Iterable[tuple[int, Network]],
    data: PaperData,
    seed: int = 0,
    stage: Stage = quiet,
) -> list[AtEpoch]:
    """Measure every snapshot; the last one on the fine grid of d and with its cushions."""
    found = []
    options = Options(stage=stage)
    for epoch, network in snapshots:
        last = epoch == setting.epochs[-1]
        parts = measure(
            network,
            data.train,
            seed=seed,
            points=setting.grid if last else setting.coarse_grid,
            cushion_rows=setting.cushion_rows if last else 0,
            options=options,
        )
        coded = _as_coded(setting, network, parts, data, seed, options)
        test = outputs_of(network, data.test, options)
        margins = np.asarray(parts["margins"].values)
        found.append(
            AtEpoch(
                epoch,
                network,
                parts,
                float((margins <= 0).mean()),
                measuring.count_errors(test),
                _said(coded),
                _said(parts),
                _at_quantile(parts),
            )
        )
    return found


def _at_quantile(parts: Evidence) -> dict[str, Result]:
    """Every bound with the 10 % margin in place of the smallest: the norm bounds divide by it, and
    the seed paper's prunes up to it and pays for the margins below."""
    margins = np.asarray(parts["margins"].values)
    gamma = float(np.quantile(margins, QUANTILE))
    only = {**parts, "margins": Margins(np.array([gamma]), parts["margins"].sample)}
    said = {name: evaluate(BOUNDS[name], only, DELTA) for name in NORM_BOUNDS}
    layers, curve = parts["layers"], parts["pruningcurve"]
    terms = mbp_sketch_terms(
        int((margins <= gamma).sum()),
        margins.size,
        gamma,
        layers.fan_out,
        layers.fan_in,
        layers.spectral_norm,
        layers.input_norm,
        curve.d,
        curve.removed_norm,
    )
    return said | {PUBLISHED: CapacityMeasure(PUBLISHED, terms["value"], terms)}


def _said(parts: Evidence) -> dict[str, Result]:
    return {name: evaluate(BOUNDS[name], parts, DELTA) for name in COMPARED}


def _as_coded(
    setting: Setting,
    network: Network,
    parts: Evidence,
    data: PaperData,
    seed: int,
    options: Options,
) -> Evidence:
    """On CIFAR-10 the code takes margins on augmented images, and as the largest input norm the
    largest over single pixels (of three channels)."""
    if not setting.augmented:
        return parts
    images = Augmented(data.train, seed)
    with options.stage("margins on augmented images", data.train.n) as tick:
        found = measuring.run(network.module(), images, batch_size=options.batch_size, tick=tick)
    pixels = (x.norm(dim=1).max() for x, _ in _images(data.train, options.batch_size))
    layers = replace(parts["layers"], input_norm=float(max(pixels)))
    return {**parts, "layers": layers, "margins": measuring.margins(found)}


@dataclass(frozen=True)
class Augmented:
    """The images of a sample, each cropped and flipped; the same ones at every pass."""

    sample: Sample
    seed: int

    @property
    def name(self) -> str:
        return self.sample.name

    def batches(self, batch_size: int, device: str = "cpu") -> Iterator[tuple[Tensor, Tensor]]:
        random = np.random.default_rng((self.seed, 1))
        for images, labels in _images(self.sample, batch_size):
            yield augment(images, random).to(device), labels.to(device)


def _images(sample: Sample, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for images, labels in sample.batches(batch_size):
        assert isinstance(images, Tensor)
        yield images, labels


# --------------------------------------------------------------------------- rows and figures


def bound_rows(found: Sequence[AtEpoch]) -> list[dict[str, Any]]:
    """What every bound says of the last network, as coded and corrected where they differ."""
    last = found[-1]
    rows = []
    for how, results in (("as coded", last.as_coded), ("corrected", last.corrected)):
        for name, result in results.items():
            if how == "as coded" or result != last.as_coded[name]:
                rows.append(_row(f"epoch {last.epoch}, {how}", name, result, last))
    for name, result in last.at_quantile.items():
        if result != last.corrected[name]:
            rows.append(_row(f"epoch {last.epoch}, 10 % margin", name, result, last))
    return rows


def _row(network: str, name: str, result: Result, at: AtEpoch) -> dict[str, Any]:
    row = {"network": network, "name": name, "sample": at.evidence["margins"].sample}
    if isinstance(result, CapacityMeasure):
        terms = {k: v for k, v in result.details.items() if isinstance(v, int | float)}
        return row | {"kind": "order-only", "value": result.value, "unit": "none", "details": terms}
    assert isinstance(result, NotApplicable)
    details = {"reason": result.reason}
    return row | {"kind": "not-applicable", "value": None, "unit": "none", "details": details}


def holdout_bound(at: AtEpoch, n: int) -> float:
    """The hold-out certificate of a snapshot: a statement of its own at `DELTA`."""
    return float(round_up(holdout_upper(at.test_errors, n, DELTA)))


def figures(found: Sequence[AtEpoch], data: PaperData) -> dict[str, Any]:
    """All bounds and the true error over epochs; capacities stand on the strip of their own."""
    epochs = [at.epoch for at in found]

    def capacity(results: list[dict[str, Result]], name: str) -> list[float | None]:
        values = [r[name] for r in results]
        return [v.value if isinstance(v, CapacityMeasure) else None for v in values]

    plain = [at.corrected for at in found]
    quantiles = [at.at_quantile for at in found]
    orders = [
        ("seed paper, as published", capacity([at.as_coded for at in found], PUBLISHED)),
        ("seed paper, as in its theorem", capacity(plain, THEOREM)),
        ("Neyshabur 2015", capacity(quantiles, "neyshabur-2015")),
        ("Bartlett 2017", capacity(quantiles, "bartlett-2017")),
        ("Neyshabur 2018", capacity(quantiles, "neyshabur-2018")),
    ]
    errors = [
        ("training error", "measured", [at.train_error for at in found]),
        ("test error", "measured", [at.test_errors / data.test.n for at in found]),
        ("hold-out certificate", "certified", [holdout_bound(at, data.test.n) for at in found]),
    ]
    return {
        "over-training": {
            "title": "All bounds and the true error over training",
            "x": {"label": "epoch"},
            "y": {"label": "error, or bound on it"},
            "series": [
                *({"name": n, "kind": k, "x": epochs, "y": y} for n, k, y in errors),
                *(
                    {"name": name, "kind": "order-only", "x": epochs, "y": y}
                    for name, y in orders
                    if any(value is not None for value in y)
                ),
            ],
            "note": "Norm bounds are taken at the 10 % margin, as the smallest is negative while "
            "the network still errs. Each point is a statement of its own at delta 0.05.",
        }
    }
