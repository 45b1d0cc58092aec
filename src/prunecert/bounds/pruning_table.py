"""The rows of magnitude-based pruning: capacities of a network, and the steps of the argument.

`PRUNING_ROWS` speak about a network and a sample, like every row of the table. `STEP_ROWS` do
not: they bound a norm, a count or a change of the output over the draw of a mask, so they have no
evidence door and never stand beside a risk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from prunecert.bounds import (
    comparators,
    pattern,
    propagation,
    pruning_error,
    sketch_theorem,
    sketching,
    sources,
)
from prunecert.types import (
    Assumption,
    BoundSpec,
    Evidence,
    InputError,
    Kind,
    Layers,
    Source,
    kind_of,
)

RHO = 2.0**-8  # step of the kept weights in the theorem's form, where only evidence is given

# --------------------------------------------------------------------------- assumptions

DRAWN = Assumption("entries were dropped independently with these probabilities", "by construction")
FIRST_DRAW = Assumption("the mask is the first draw, not one that was chosen", "declared")
GAUSSIAN = Assumption("the weights are independent Gaussians of mean 0", "assumed")
CHAIN = Assumption("the network is a chain of linear layers and ReLU", "checked")
NORMS = Assumption("every norm given is an upper bound", "checked")
SMALL = Assumption(
    "every removed norm is at most the layer's over L, or the ratios sum to at most 1.75", "checked"
)

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


# no twin for the ticket yet, and the theorem's rounding is open: not among the statements
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


def _step(
    name: str,
    function: Callable[..., Any],
    quantity: str,
    unit: str,
    summary: str,
    source: Source,
    *assumptions: Assumption,
) -> BoundSpec:
    """A statement over the draw of a mask, or none at all; order-only where nothing is assumed."""
    kind: Kind = kind_of(assumptions) if assumptions else "order-only"
    return BoundSpec(
        name, function, kind, quantity, summary, source, assumptions=assumptions, unit=unit
    )


_REMOVED = ("spectral norm of what pruning removes", "norm")
_NONZEROS = ("most nonzeros of a row or column", "weights")
_CHANGE = ("change of the output", "length")

PRUNING_ROWS = (*FORM_ROWS, *COMPARATOR_ROWS)

STEP_ROWS = (
    _step(
        "removed-norm-latala",
        pruning_error.removed_norm_latala,
        *_REMOVED,
        "Gaussian weights, unknown constant, as in the seed paper",
        sources.GUHA_LATALA,
    ),
    _step(
        "removed-norm-gaussian",
        pruning_error.removed_norm_gaussian,
        *_REMOVED,
        "Gaussian weights, explicit",
        sources.DAVIDSON,
        DRAWN,
        FIRST_DRAW,
        GAUSSIAN,
    ),
    _step(
        "removed-norm-bernstein",
        pruning_error.removed_norm_bernstein,
        *_REMOVED,
        "the trained weights, whatever they are: matrix Bernstein",
        sources.TROPP_BERNSTEIN,
        DRAWN,
        FIRST_DRAW,
    ),
    _step(
        "removed-norm-cumulants",
        pruning_error.removed_norm_cumulants,
        *_REMOVED,
        "the trained weights, whatever they are: exact cumulants",
        sources.TROPP_MASTER,
        DRAWN,
        FIRST_DRAW,
    ),
    _step(
        "removed-norm-redraws",
        pruning_error.removed_norm_redraws,
        *_REMOVED,
        "the r-th largest norm of N other draws of the mask",
        sources.RANKS,
        DRAWN,
        FIRST_DRAW,
        NORMS,
    ),
    _step(
        "output-change",
        propagation.output_change_upper,
        *_CHANGE,
        "one layer at a time, no condition",
        sources.ONE_LAYER_AT_A_TIME,
        CHAIN,
        NORMS,
    ),
    _step(
        "output-change-at-input",
        propagation.output_change_at_input,
        *_CHANGE,
        "one layer at a time, on inputs that were measured",
        sources.ONE_LAYER_AT_A_TIME,
        CHAIN,
        NORMS,
    ),
    _step(
        "output-change-telescoped",
        propagation.output_change_telescoped,
        *_CHANGE,
        "from the norms of the layers and of what was removed, no condition",
        sources.ONE_LAYER_AT_A_TIME,
        CHAIN,
        NORMS,
    ),
    _step(
        "output-change-as-in-paper",
        propagation.output_change_as_in_paper,
        *_CHANGE,
        "the seed paper's form, where its condition holds",
        sources.GUHA_PROPAGATION,
        CHAIN,
        NORMS,
        SMALL,
    ),
    _step(
        "output-change-with-biases",
        propagation.output_change_with_biases,
        *_CHANGE,
        "by recursion through layers with biases, no condition",
        sources.ONE_LAYER_AT_A_TIME,
        CHAIN,
        NORMS,
    ),
    _step(
        "pattern-as-in-paper",
        pattern.pattern_as_in_paper,
        *_NONZEROS,
        "Gaussian weights, as in the seed paper",
        sources.GUHA_PATTERN,
    ),
    _step(
        "pattern-gaussian",
        pattern.pattern_gaussian,
        *_NONZEROS,
        "Gaussian weights, binomial quantile",
        sources.COUNTING,
        DRAWN,
        FIRST_DRAW,
        GAUSSIAN,
    ),
    _step(
        "pattern-poisson-binomial",
        pattern.pattern_poisson_binomial,
        *_NONZEROS,
        "the trained weights, whatever they are: exact law of every row and column",
        sources.COUNTING,
        DRAWN,
        FIRST_DRAW,
    ),
)

STEPS: dict[str, BoundSpec] = {row.name: row for row in STEP_ROWS}

# What is shown beside a number, as `TERMS` of the table.
PRUNING_TERMS: dict[str, Callable[..., Mapping[str, Any]]] = {
    "mbp-sketch-as-in-theorem": sketch_theorem.mbp_sketch_theorem_terms,
    "strong-ticket": sketch_theorem.ticket_terms,
}
