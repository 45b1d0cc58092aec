"""The rows about steps of the seed paper's argument: what pruning removes, how far that reaches.

They bound a norm, a count or a change of the output over the draw of a mask and say nothing about
a risk: they read no evidence and never stand on a risk axis. `prunecert diagnose` has them for a
network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prunecert.bounds import pattern, propagation, pruning_error, sources
from prunecert.types import Assumption, BoundSpec, Kind, Source, kind_of

DRAWN = Assumption("entries were dropped independently with these probabilities", "by construction")
FIRST_DRAW = Assumption("the mask is the first draw, not one that was chosen", "declared")
GAUSSIAN = Assumption(
    "the weights are independent Gaussians of mean 0 and of the variance given", "assumed"
)
IN_USE = Assumption("the mask given is the one in use", "checked")
ROUNDED = Assumption("kept weights are rounded to the nearest multiple of the step", "checked")
CHAIN = Assumption("the network is a chain of linear layers and ReLU", "checked")
NO_BIASES = Assumption("no layer of the chain has a bias", "checked")
NORMS = Assumption("every norm given is an upper bound", "checked")
SMALL = Assumption(
    "every removed norm is at most the layer's over L, or the ratios sum to at most 1.75", "checked"
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

STEP_ROWS = (
    _step(
        "kept-fraction",
        pruning_error.kept_fraction_expected,
        "fraction of the weights kept",
        "share of weights",
        "Gaussian weights, expectation",
        sources.GUHA_MOMENTS,
    ),
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
        "removed-norm-measured",
        pruning_error.removed_norm_measured,
        *_REMOVED,
        "the mask in use, by a float64 singular value decomposition",
        sources.MEASURED,
        IN_USE,
    ),
    _step(
        "rounding-norm",
        propagation.rounding_norm_upper,
        "spectral norm of what rounding changes",
        "norm",
        "kept weights rounded to a step: a second removed part",
        sources.ROUNDED,
        ROUNDED,
    ),
    _step(
        "output-change",
        propagation.output_change_upper,
        *_CHANGE,
        "one layer at a time, no condition",
        sources.ONE_LAYER_AT_A_TIME,
        CHAIN,
        NO_BIASES,
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
        NO_BIASES,
        NORMS,
    ),
    _step(
        "output-change-as-in-paper",
        propagation.output_change_as_in_paper,
        *_CHANGE,
        "the seed paper's form, where its condition holds",
        sources.GUHA_PROPAGATION,
        CHAIN,
        NO_BIASES,
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
    _step(
        "sketch-rows",
        pattern.sketch_rows,
        "rows of a sketch that gives the matrix back",
        "rows",
        "two-sided sketch of a matrix with few nonzeros in each row and column",
        sources.DASARATHY,
    ),
)
