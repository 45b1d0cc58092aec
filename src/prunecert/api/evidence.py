"""Measure: the union of what the statements need, nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from prunecert import cushions, measuring
from prunecert.api.certification import located
from prunecert.api.counting import Options, losses_of, outputs_of
from prunecert.api.networks import Network, network_of, refuse_trained_on
from prunecert.api.samples import sample_of
from prunecert.data import Sample
from prunecert.data.text import TextSplit
from prunecert.measuring import CURVE_POINTS
from prunecert.measuring_norms import ROWS, chain, weight_measures
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
    """Evidence parts by name: counts, margins, layers, code and, for ReLU chains, chain (inputs in
    [0, 1]), pruningcurve (on `points` values of d) and cushions (on the first `cushion_rows` rows,
    where defined; 0 for none)."""
    subject = network if isinstance(network, Network) else network_of(network)
    chosen = sample_of(data, sample, "bound")
    if isinstance(chosen.rows, TextSplit):
        raise InputError(
            f"{chosen.source}: a text is measured by `prunecert certify`: expected the evidence "
            "of its certificate"
        )
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
        parts |= _defined("chain", lambda: chain(view, subject.tensors, chosen))
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
    with options.stage("measuring noise cushions", min(rows, sample.n)) as tick:
        return _defined(
            "cushions",
            lambda: cushions.network_cushions(
                view, network.tensors, sample, rows=rows, seed=seed, tick=tick
            ),
        )


def _defined(name: str, measured: Callable[[], Any]) -> dict[str, Any]:
    """The part by its name; nothing where it is not defined for such a network or sample."""
    try:
        return {name: measured()}
    except InputError:
        return {}


def measure_weights(
    network: Network,
    sample: Sample,
    *,
    initial: Network | None = None,
    flatness: bool = True,
    rows: int = ROWS,
    seed: int = 0,
    options: Options = Options(),
) -> dict[str, Any]:
    """What the measures of generalization read: norms, distances from `initial`, flatness (a seeded
    search on the first `rows` rows that takes a while)."""
    with options.stage("measuring norms and flatness", 0) as tick:
        return _defined(
            "weightmeasures",
            lambda: weight_measures(
                network.module(),
                sample,
                initial=None if initial is None else initial.module(),
                flatness=flatness,
                rows=rows,
                device=options.device,
                seed=seed,
                tick=tick,
            ),
        )


def measure_holdout(network: Network, holdout: Sample, options: Options) -> dict[str, Any]:
    """Errors and Brier losses on a sample that the network was not made with; nothing where its run
    log says that it was."""
    try:
        refuse_trained_on([network], located(holdout))
    except InputError:
        return {}
    found = outputs_of(network, holdout, options)
    losses = losses_of(network, holdout, "brier", options)
    return {
        "counts@holdout": Counts(measuring.count_errors(found), found.n, holdout.name),
        "losses@holdout": losses.part(),
    }


def evidence_file(network: Network, sample: Sample, parts: dict[str, Any]) -> bytes:
    """`evidence.npz` of these parts, naming the network and the sample they are of."""
    header = {
        "model": network.architecture.describe().model_dump(),
        "weights_sha256": network.sha256,
        "data": {**sample.describe()},
    }
    return evidence_bytes(parts, header)
