"""Measure: the union of what the statements need, nothing twice."""

from __future__ import annotations

from typing import Any

from torch import nn

from prunecert import cushions, measuring
from prunecert.api.certification import Options, outputs_of
from prunecert.api.networks import Network, network_of
from prunecert.api.samples import sample_of
from prunecert.data import Sample
from prunecert.measuring import CURVE_POINTS
from prunecert.results import evidence_bytes
from prunecert.types import Counts, InputError


def measure(
    network: nn.Module | Network,
    data: Any,
    *,
    sample: str = "train",
    seed: int = 0,
    points: int = CURVE_POINTS,
    cushion_rows: int = cushions.ROWS,
    options: Options = Options(),
) -> dict[str, Any]:
    """Evidence parts by name: counts, margins, layers, code and, for ReLU chains, pruningcurve
    (on `points` values of d) and cushions (on the first `cushion_rows` rows, where defined; 0 for
    none)."""
    subject = network if isinstance(network, Network) else network_of(network)
    chosen = sample_of(data, sample, "bound")
    found = outputs_of(subject, chosen, options)
    view = subject.architecture.view
    parts: dict[str, Any] = {
        "counts": Counts(measuring.count_errors(found), found.n, chosen.name),
        "margins": measuring.margins(found),
        "layers": measuring.layers(view, subject.tensors, found.input_norm, chosen.name),
    }
    with options.stage("coding the weights as they are", 0):
        parts["code"] = subject.architecture.encode(subject.tensors).code
    if view.relu_chain:
        with options.stage("measuring what Bernoulli pruning removes", points) as tick:
            parts["pruningcurve"] = measuring.pruning_curve(
                view, subject.tensors, seed=seed, points=points, tick=tick
            )
        if cushion_rows:
            parts |= _cushions(subject, chosen, cushion_rows, seed, options)
    return parts


def _cushions(
    network: Network, sample: Sample, rows: int, seed: int, options: Options
) -> dict[str, Any]:
    """The noise cushions; nothing where a layer is dead at some row, as they are then undefined."""
    view = network.architecture.view
    try:
        with options.stage("measuring noise cushions", min(rows, sample.n)) as tick:
            found = cushions.network_cushions(
                view, network.tensors, sample, rows=rows, seed=seed, tick=tick
            )
    except InputError:
        return {}
    return {"cushions": found}


def evidence_file(network: Network, sample: Sample, parts: dict[str, Any]) -> bytes:
    """`evidence.npz` of these parts, naming the network and the sample they are of."""
    header = {
        "model": network.architecture.describe().model_dump(),
        "weights_sha256": network.sha256,
        "data": {**sample.describe()},
    }
    return evidence_bytes(parts, header)
