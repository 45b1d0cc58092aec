"""The order-only rows: the seed paper's theorem, its tickets, and what they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from prunecert.bounds import comparators, sketch_theorem, sketching, sources
from prunecert.types import BoundSpec, Evidence, InputError, Layers, Source

RHO = 2.0**-8  # step of the kept weights in the theorem's form, where only evidence is given

# --------------------------------------------------------------------------- evidence to arguments


def _chain(evidence: Evidence) -> Layers:
    layers: Layers = evidence["layers"]
    if not layers.relu_chain:
        raise InputError("the network is not a chain of linear layers and ReLU, which it covers")
    return layers


def _smallest_margin(evidence: Evidence) -> float:
    margin = float(np.min(evidence["margins"].values))
    if margin <= 0.0:
        raise InputError(f"the smallest margin of the sample is {margin:g}, expected above 0")
    return margin


def _norm_arguments(*names: str) -> Callable[[Evidence, float], dict[str, Any]]:
    """Read the named fields of the layers, and the smallest margin."""

    def arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
        layers = _chain(evidence)
        fields = {name: getattr(layers, name) for name in names}
        return fields | {"margin": _smallest_margin(evidence)}

    return arguments


def _cushion_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    cushions, layers = evidence["cushions"], len(evidence["cushions"].layer)
    if cushions.smoothness < 3 * layers:
        raise InputError(
            f"the interlayer smoothness is {cushions.smoothness:g}, expected at least 3L = "
            f"{3 * layers}"
        )
    return {
        "layer_cushion": cushions.layer,
        "interlayer_cushion": cushions.interlayer,
        "contraction": cushions.contraction,
        "output_norm": cushions.output_norm,
        "smoothness": cushions.smoothness,
        "margin": _smallest_margin(evidence),
    }


def _theorem_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    """At the d of the published form; a quarter of delta each for all norms and all patterns."""
    layers, margins = _chain(evidence), np.asarray(evidence["margins"].values)
    curve = evidence["pruningcurve"]
    published = sketching.mbp_sketch_terms(
        int((margins <= 0).sum()),
        margins.size,
        float(margins.min()),
        layers.fan_out,
        layers.fan_in,
        layers.spectral_norm,
        layers.input_norm,
        curve.d,
        curve.removed_norm,
    )
    factor = np.full(len(layers.names), 4.0 * len(layers.names) / delta)
    return {
        "margins": margins,
        "fan_out": layers.fan_out,
        "fan_in": layers.fan_in,
        "spectral_norm": layers.spectral_norm,
        "variance": layers.frobenius_norm**2 / (layers.fan_out * layers.fan_in),
        "input_norm": layers.input_norm,
        "pruning_d": published["d"],
        "lambda_l": factor,
        "epsilon_l": factor,
        "rho_l": np.full(len(layers.names), RHO),
        "rounding_norm": RHO / 2.0 * np.sqrt(layers.fan_out * layers.fan_in),
    }


def _ticket_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    layers, counts = _chain(evidence), evidence["counts"]
    return {
        "errors": counts.errors,
        "n": counts.n,
        "fan_out": layers.fan_out,
        "fan_in": layers.fan_in,
        "spectral_norm": layers.spectral_norm,
    }


# --------------------------------------------------------------------------- the rows


def _capacity(
    name: str,
    function: Callable[..., Any],
    summary: str,
    source: Source,
    needs: tuple[str, ...],
    arguments: Callable[[Evidence, float], dict[str, Any]],
) -> BoundSpec:
    return BoundSpec(
        name, function, "order-only", "capacity", summary, source, needs, arguments, unit="none"
    )


def _comparator(
    function: Callable[..., Any], summary: str, source: Source, *norms: str
) -> BoundSpec:
    """A capacity measure of norms and the smallest margin."""
    name = function.__name__.replace("_", "-")
    needs = ("margins", "layers")
    return _capacity(name, function, summary, source, needs, _norm_arguments(*norms))


FORM_ROWS = (
    _capacity(
        "mbp-sketch-as-in-theorem",
        sketch_theorem.mbp_sketch_as_in_theorem,
        "magnitude-based pruning through sparse sketching, as its theorem states it",
        sources.GUHA_THEOREM,
        ("margins", "layers", "pruningcurve"),
        _theorem_arguments,
    ),
    _capacity(
        "strong-ticket",
        sketch_theorem.ticket_capacity,
        "a pruned random network that stands in for this one",
        sources.MALACH,
        ("counts", "layers"),
        _ticket_arguments,
    ),
)

COMPARATOR_ROWS = (
    _comparator(
        comparators.neyshabur_2015,
        "product of Frobenius norms over the margin",
        sources.NEYSHABUR_2015,
        "frobenius_norm",
    ),
    _comparator(
        comparators.bartlett_2017,
        "spectral norms and row norms over the margin, as plotted",
        sources.BARTLETT,
        "spectral_norm",
        "norm_2_1",
    ),
    _comparator(
        comparators.bartlett_2017_as_coded,
        "the same with the Frobenius norm that the seed paper's code has",
        sources.BARTLETT_CODED,
        "spectral_norm",
        "frobenius_norm",
    ),
    _comparator(
        comparators.bartlett_2017_theorem,
        "spectral complexity with the exponents in print",
        sources.BARTLETT_THEOREM,
        "spectral_norm",
        "norm_2_1",
    ),
    _comparator(
        comparators.neyshabur_2018,
        "spectral norms and stable ranks over the margin, as plotted",
        sources.NEYSHABUR_2018,
        "fan_in",
        "spectral_norm",
        "frobenius_norm",
    ),
    _comparator(
        comparators.neyshabur_2018_theorem,
        "spectral norms and stable ranks with the factors in print",
        sources.NEYSHABUR_2018_THEOREM,
        "fan_out",
        "spectral_norm",
        "frobenius_norm",
        "input_norm",
    ),
    _capacity(
        "arora-2018",
        comparators.arora_2018,
        "noise cushions: how little noise inside the network reaches the output",
        sources.ARORA,
        ("margins", "cushions"),
        _cushion_arguments,
    ),
)


CAPACITY_ROWS = (*FORM_ROWS, *COMPARATOR_ROWS)

# What is shown beside a number, as `TERMS` of the table.
CAPACITY_TERMS: dict[str, Callable[..., Mapping[str, Any]]] = {
    "mbp-sketch-as-in-theorem": sketch_theorem.mbp_sketch_theorem_terms,
    "strong-ticket": sketch_theorem.ticket_terms,
}
