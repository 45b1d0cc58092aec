"""The table of statements, and how a statement meets evidence.

Adding a bound is one function, one row here, one high-precision twin. Evidence is keyed by part
name; a part measured on a sample other than the statement's own carries it after an "@":
`counts` are of the sample a code certificate reads (train), `counts@holdout` of the hold-out,
`counts@top-k` of the hold-out under the top-k loss, `counts@dense-alone` of the hold-out samples
that only the dense network gets wrong, counted from above (`better` is counted from below). So
training counts can never be mistaken for hold-out counts. `disagreements`, `pairedoutcomes` and
`classcounts` are hold-out parts always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from prunecert.bounds import holdout, occam, selection, sketching
from prunecert.bounds.assumptions import (
    COUNTED,
    FIXED_CODE,
    IID,
    MEASURED,
    PREFIX_FREE,
    UNUSED,
)
from prunecert.bounds.capacity_table import CAPACITY_ROWS, CAPACITY_TERMS
from prunecert.bounds.combined_rows import COMBINED_ROWS
from prunecert.bounds.golowich_mohri import NORM_ROWS
from prunecert.bounds.language import LANGUAGE_ROWS
from prunecert.bounds.losses import LOSS_ROWS
from prunecert.bounds.measure_rows import MEASURE_ROWS
from prunecert.bounds.pac_bayes_rows import PAC_BAYES_ROWS
from prunecert.bounds.sample_compression import COMPRESSION_ROWS
from prunecert.bounds.sources import LANGFORD, LANGFORD_KL, clopper_pearson
from prunecert.bounds.step_table import STEP_ROWS
from prunecert.inversions import round_up
from prunecert.types import (
    Assumption,
    BoundSpec,
    CapacityMeasure,
    Certificate,
    Evidence,
    InputError,
    NotApplicable,
    Result,
    Source,
)

# --------------------------------------------------------------------------- sources

LEARN_THEN_TEST = Source(
    key="angelopoulos2021",
    authors="Anastasios N. Angelopoulos, Stephen Bates, Emmanuel J. Candès, Michael I. Jordan "
    "and Lihua Lei",
    year=2021,
    title="Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control",
    identifier="arXiv:2110.01052",
    deviation="fixed-sequence testing with exact binomial p-values",
)
GUHA = Source(
    key="guha2023",
    authors="Etash Kumar Guha, Prasanjit Dubey and Xiaoming Huo",
    year=2023,
    title="Generalization Bounds for Magnitude-Based Pruning via Sparse Matrix Sketching",
    version="v2, experiment code",
    identifier="arXiv:2305.18789",
    deviation="removed norms measured once on a grid of d and interpolated, where the code draws "
    "new masks at every bisection step; d ends at the grid where the code stops with an error",
)

# --------------------------------------------------------------------------- assumptions

CODE = (IID, PREFIX_FREE, MEASURED, FIXED_CODE)
HOLDOUT = (IID, COUNTED, UNUSED)
LISTED = (
    *HOLDOUT,
    Assumption("list, order and target were fixed before the sample was looked at", "declared"),
)

# --------------------------------------------------------------------------- evidence to arguments


def _code_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    counts = evidence["counts"]
    bits = evidence["code"].bits
    return {"errors": counts.errors, "n": counts.n, "bits": bits, "delta": delta}


def _count_arguments(part: str, *names: str) -> Callable[[Evidence, float], dict[str, Any]]:
    """Read the named fields of one part, and delta."""

    def arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
        return {name: getattr(evidence[part], name) for name in names} | {"delta": delta}

    return arguments


def _dense_alone_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    counts = evidence["counts@dense-alone"]
    return {"better": counts.errors, "n": counts.n, "delta": delta}


def _sketch_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    layers, margins = evidence["layers"], np.asarray(evidence["margins"].values)
    curve = evidence["pruningcurve"]
    if not layers.relu_chain:
        raise InputError("the network is not a chain of linear layers and ReLU, which it covers")
    return {
        "errors": int((margins <= 0).sum()),
        "n": margins.size,
        "smallest_margin": float(margins.min()),
        "fan_out": layers.fan_out,
        "fan_in": layers.fan_in,
        "spectral_norm": layers.spectral_norm,
        "input_norm": layers.input_norm,
        "d": curve.d,
        "removed_norm": curve.removed_norm,
    }


VACUOUS = 0.999  # a bound on the risk from here on says nothing


# --------------------------------------------------------------------------- the table

_ROWS = (
    BoundSpec(
        name="occam",
        function=occam.occam_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="training errors and code length, exact binomial tail",
        source=LANGFORD,
        needs=("counts", "code"),
        from_evidence=_code_arguments,
        assumptions=CODE,
    ),
    BoundSpec(
        name="occam-kl",
        function=occam.occam_kl_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="training errors and code length, Chernoff form",
        source=LANGFORD_KL,
        needs=("counts", "code"),
        from_evidence=_code_arguments,
        assumptions=CODE,
    ),
    BoundSpec(
        name="holdout",
        function=holdout.holdout_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="errors on a sample not used for training or choosing",
        source=clopper_pearson("one-sided"),
        needs=("counts@holdout",),
        from_evidence=_count_arguments("counts@holdout", "errors", "n"),
        assumptions=HOLDOUT,
    ),
    BoundSpec(
        name="per-class",
        function=holdout.per_class_upper,
        kind="certified",
        quantity="worst class risk",
        summary="hold-out errors within each true class, all classes at once",
        source=clopper_pearson("one-sided, delta/K for each of K classes"),
        needs=("classcounts",),
        from_evidence=_count_arguments("classcounts", "errors", "n"),
        assumptions=HOLDOUT,
    ),
    BoundSpec(
        name="top-k",
        function=holdout.holdout_upper,
        kind="certified",
        quantity="top-k risk",
        summary="hold-out samples whose label is not among the k best",
        source=clopper_pearson("one-sided, for the top-k loss"),
        needs=("counts@top-k",),
        from_evidence=_count_arguments("counts@top-k", "errors", "n"),
        assumptions=HOLDOUT,
    ),
    BoundSpec(
        name="disagreement",
        function=holdout.disagreement_upper,
        kind="certified",
        quantity="disagreement",
        summary="inputs without labels on which two networks differ or abstain",
        source=clopper_pearson("one-sided; bounds the risk difference of two networks"),
        needs=("disagreements",),
        from_evidence=_count_arguments("disagreements", "count", "n"),
        assumptions=HOLDOUT,
    ),
    BoundSpec(
        name="cost-of-pruning",
        function=holdout.cost_of_pruning_upper,
        kind="certified",
        quantity="risk increase",
        summary="how much riskier the pruned network is than the dense one",
        source=clopper_pearson("one bound up, one down, delta/2 each"),
        needs=("pairedoutcomes",),
        from_evidence=_count_arguments("pairedoutcomes", "worse", "better", "n"),
        assumptions=HOLDOUT,
        unit="risk difference",
    ),
    BoundSpec(
        name="labelled-transfer",
        function=holdout.labelled_transfer_upper,
        kind="certified",
        quantity="risk of the dense network above the pruned one",
        summary="carries a bound on the pruned network over to the dense one",
        source=clopper_pearson("one-sided; add it, and its delta, to a bound on the pruned"),
        needs=("counts@dense-alone",),
        from_evidence=_dense_alone_arguments,
        assumptions=HOLDOUT,
        unit="risk difference",
    ),
    BoundSpec(
        name="fixed-sequence",
        function=selection.fixed_sequence_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="an ordered list of networks, accepted up to the first failure",
        source=LEARN_THEN_TEST,
        assumptions=LISTED,
    ),
    BoundSpec(
        name="simultaneous",
        function=selection.simultaneous_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="a list of networks, all at once, delta split evenly",
        source=clopper_pearson("one-sided, delta/T for each of T networks"),
        assumptions=LISTED,
    ),
    BoundSpec(
        name="mbp-sketch-as-published",
        function=sketching.mbp_sketch_as_published,
        kind="order-only",
        quantity="capacity",
        summary="magnitude-based pruning through sparse sketching, as its code runs it",
        source=GUHA,
        needs=("margins", "layers", "pruningcurve"),
        from_evidence=_sketch_arguments,
        unit="none",
    ),
)

# What a network's evidence can be asked; STEPS speak of masks and matrices, from plain numbers.
BOUNDS: dict[str, BoundSpec] = {
    row.name: row
    for row in (
        *_ROWS,
        *COMBINED_ROWS,
        *LOSS_ROWS,
        *PAC_BAYES_ROWS,
        *COMPRESSION_ROWS,
        *NORM_ROWS,
        *LANGUAGE_ROWS,
        *CAPACITY_ROWS,
        *MEASURE_ROWS,
    )
}
STEPS: dict[str, BoundSpec] = {row.name: row for row in STEP_ROWS}
STATEMENTS: dict[str, BoundSpec] = {**BOUNDS, **STEPS}

# What is shown beside a number, where that is more than the counts it was computed from.
TERMS: dict[str, Callable[..., Mapping[str, Any]]] = {
    "mbp-sketch-as-published": sketching.mbp_sketch_terms,
    **CAPACITY_TERMS,
}

# --------------------------------------------------------------------------- statement × evidence


def evaluate(spec: BoundSpec, evidence: Evidence, delta: float) -> Result:
    """What one statement says about one network's evidence, at failure probability `delta`.

    A Certificate's `risk_bound` is rounded up at 6 digits; where the function bounds several
    risks at once (classes) it is the largest, and `details["values"]` has them all. Raises
    InputError where delta or a number in the evidence is out of a certified statement's range; an
    order-only one does not apply then.
    """
    if spec.from_evidence is None:
        about = "a mask or a matrix: see `prunecert diagnose`"
        about = about if spec.name in STEPS else "a list of networks: see `prunecert select`"
        return NotApplicable(spec.name, f"it is about {about}")
    missing = [need for need in spec.needs if need not in evidence]
    if missing:
        return NotApplicable(spec.name, f"it needs what was not measured: {', '.join(missing)}")
    try:
        arguments = spec.from_evidence(evidence, delta)
    except InputError as reason:
        return NotApplicable(spec.name, str(reason))
    if spec.kind == "order-only":
        try:
            values = np.asarray(spec.function(**arguments))
        except InputError as reason:  # a dead layer's norm, say
            return NotApplicable(spec.name, str(reason))
        terms = TERMS[spec.name](**arguments) if spec.name in TERMS else {}
        return CapacityMeasure(spec.name, float(values.max()), dict(terms))
    values = np.asarray(spec.function(**arguments))
    details = {name: np.asarray(value).tolist() for name, value in arguments.items()}
    if values.ndim > 0:
        details["values"] = round_up(values).tolist()
    return Certificate(
        name=spec.name,
        quantity=spec.quantity,
        risk_bound=float(round_up(values.max())),
        delta=delta,
        assumptions=spec.assumptions,
        details=details,
    )


def evaluate_all(evidence: Evidence, delta: float) -> list[Result]:
    """Every statement of the table: certificates tightest first, then capacities, then reasons.

    Each line is a statement of its own at `delta`. Choosing the smallest after seeing them all is
    one more statement and costs the sum of the deltas chosen among (THEORY 2.1a v).
    """

    def order(result: Result) -> tuple[int, float]:
        if isinstance(result, Certificate):
            return 0, result.risk_bound
        if isinstance(result, CapacityMeasure):
            return 1, result.value
        return 2, 0.0

    return sorted((evaluate(spec, evidence, delta) for spec in BOUNDS.values()), key=order)
