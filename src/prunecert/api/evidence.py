"""Measure: the union of what the statements need, nothing twice."""

from __future__ import annotations

from typing import Any

from torch import nn

from prunecert import measuring
from prunecert.api.certification import Options, outputs_of
from prunecert.api.networks import Network, network_of
from prunecert.api.samples import sample_of
from prunecert.data import Sample
from prunecert.measuring import CURVE_POINTS
from prunecert.results import evidence_bytes
from prunecert.types import Counts


def measure(
    network: nn.Module | Network,
    data: Any,
    *,
    sample: str = "train",
    seed: int = 0,
    options: Options = Options(),
) -> dict[str, Any]:
    """Evidence parts by name: counts, margins, layers, code and, for ReLU chains, pruningcurve."""
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
        with options.stage("measuring what Bernoulli pruning removes", CURVE_POINTS) as tick:
            parts["pruningcurve"] = measuring.pruning_curve(
                view, subject.tensors, seed=seed, tick=tick
            )
    return parts


def evidence_file(network: Network, sample: Sample, parts: dict[str, Any]) -> bytes:
    """`evidence.npz` of these parts, naming the network and the sample they are of."""
    header = {
        "model": network.architecture.describe().model_dump(),
        "weights_sha256": network.sha256,
        "data": {**sample.describe()},
    }
    return evidence_bytes(parts, header)
