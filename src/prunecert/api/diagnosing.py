"""Diagnose: what the Gaussian and independence assumptions predict, against what is measured.

One draw of Bernoulli pruning at d, layer by layer and for the output of the network. Nothing here
is a statement about a sample; what rests on which assumption is `diagnostics.RESTS_ON`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prunecert.api.counting import Options
from prunecert.api.networks import Network, network_of
from prunecert.api.pruning_steps import (
    ROUNDING_STEP,
    Chain,
    LayerSteps,
    Matrix,
    OutputChange,
    chain_of,
    drawn_mask,
    layer_steps,
    output_change,
)
from prunecert.api.samples import sample_of
from prunecert.bounds.pruning_error import D_LEGAL
from prunecert.data import Sample
from prunecert.diagnostics import (
    Gaussianity,
    Independence,
    Prediction,
    Verdict,
    gaussianity,
    independence,
    prediction,
    verdicts,
)
from prunecert.inversions import require_number, require_open_unit
from prunecert.measuring import weight_matrices
from prunecert.types import InputError

LEADING = 30  # singular values of a layer that are kept
NO_INPUTS = "it needs inputs: give a data set (--data)"

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LayerFindings:
    """All about one layer: its steps, its effect sizes, and what each assumption is found to be."""

    steps: LayerSteps
    entries: Gaussianity
    places: Independence
    pruned: Prediction
    verdicts: tuple[Verdict, ...]
    leading: tuple[float, ...]  # singular values over the Marchenko–Pastur edge, largest first
    kept: Mask = field(repr=False)

    @property
    def name(self) -> str:
        return self.steps.name

    @property
    def far(self) -> tuple[Verdict, ...]:
        """The assumptions that this layer is not near."""
        return tuple(verdict for verdict in self.verdicts if not verdict.near)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """A network at one d; `left_out`: layers that nothing can be said of, and why.

    `kept` is the share of all weights that stay. `change` is of the output when all layers are
    pruned, None where `no_change` says why; `rounded` when what is kept is rounded to ROUNDING_STEP
    as well; `alone` when only the layer of that name is pruned.
    """

    network: Network
    d: float
    delta: float
    seed: int
    layers: tuple[LayerFindings, ...]
    left_out: dict[str, str]
    kept: float
    change: OutputChange | None
    rounded: OutputChange | None
    alone: dict[str, OutputChange]
    no_change: str
    sample: str | None


def diagnose(
    network: nn.Module | Network,
    data: Any = None,
    *,
    d: float = 1.0,
    delta: float = 0.05,
    seed: int = 0,
    sample: str = "train",
    options: Options = Options(),
) -> Diagnosis:
    """Predicted and measured for every layer, and for the output on a sample of `data`.

    Each statement has failure probability `delta` of its own. Without `data`, or for a network that
    is no chain of linear layers and ReLU, `change` is left out with the reason.

    Raises InputError for d or delta out of range, data that the network does not take, and a
    network without weights to prune.
    """
    require_number("d", d, *D_LEGAL[:2], "0 <= d <= 1e12")
    require_open_unit("delta", delta)
    subject = network if isinstance(network, Network) else network_of(network)
    chosen = None if data is None else sample_of(data, sample, "bound")
    matrices = weight_matrices(subject.architecture.view, subject.tensors)
    if not matrices:
        raise InputError(f"{subject.name}: no layer to prune: expected linear layers, convolutions")
    seeds = {name: (seed, place) for place, name in enumerate(matrices)}
    masks = {name: drawn_mask(weight, d, seeds[name]) for name, weight in matrices.items()}
    change, rounded, alone, no_change = _changes(subject, masks, chosen, options)
    layers, left_out = [], {}
    with options.stage("diagnosing layers", len(matrices)) as tick:
        for name, weight in matrices.items():
            try:
                found = _layer(name, weight, masks[name], d, delta, seeds[name], options)
                layers.append(found)
            except InputError as reason:
                left_out[name] = str(reason)
            tick(1)
    total = sum(mask.size for mask in masks.values())
    return Diagnosis(
        subject,
        d,
        delta,
        seed,
        tuple(layers),
        left_out,
        sum(int(mask.sum()) for mask in masks.values()) / total,
        change,
        rounded,
        alone,
        no_change,
        None if chosen is None else chosen.name,
    )


def _layer(
    name: str,
    weight: Matrix,
    kept: Mask,
    d: float,
    delta: float,
    seed: tuple[int, int],
    options: Options,
) -> LayerFindings:
    out, into = weight.shape
    with options.stage(f"{name}: entries and directions", 0):
        entries, places = gaussianity(weight), independence(weight)
        pruned = prediction(weight, d, kept, delta, 1.0 / delta)
        edge = entries.standard_deviation * (out**0.5 + into**0.5)
        leading = np.linalg.svd(weight, compute_uv=False)[:LEADING] / edge
    with options.stage(f"{name}: statements and redraws", 0) as tick:
        steps = layer_steps(name, weight, d, seed=seed, delta=delta, tick=tick)
    judged = verdicts(name, entries, places, pruned)
    return LayerFindings(steps, entries, places, pruned, judged, tuple(leading.tolist()), kept)


def _changes(
    network: Network, masks: dict[str, Mask], sample: Sample | None, options: Options
) -> tuple[OutputChange | None, OutputChange | None, dict[str, OutputChange], str]:
    """How far the output moves on the sample: all layers pruned, then rounded too, and each layer
    pruned alone; or why nobody knows."""
    try:
        chain = chain_of(network)
    except InputError as reason:
        return None, None, {}, str(reason)
    if sample is None:
        return None, None, {}, NO_INPUTS

    def pruned(names: Iterable[str]) -> Chain:
        return chain.with_masks({name: torch.from_numpy(masks[name]) for name in names})

    def change(other: Chain) -> OutputChange:
        return output_change(chain, other, sample, options)

    alone = {name: change(pruned([name])) for name in masks}
    return change(pruned(masks)), change(pruned(masks).rounded(ROUNDING_STEP)), alone, ""
