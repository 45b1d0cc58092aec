"""The rows of magnitude-based pruning: contracts, evidence, and what they refuse to say."""

import doctest
import inspect
import math
from dataclasses import replace

import numpy as np
import pytest

from prunecert.bounds import (
    comparators,
    mbp_sketch_terms,
    norms,
    pattern,
    propagation,
    pruning_error,
    sketch_theorem,
)
from prunecert.bounds.capacity_table import CAPACITY_ROWS
from prunecert.bounds.table import BOUNDS, STEPS, TERMS, evaluate
from prunecert.testing import check_bound, sample_evidence
from prunecert.types import (
    PARTS,
    STATUSES,
    CapacityMeasure,
    InputError,
    Margins,
    NotApplicable,
)

ROWS = {row.name: row for row in (*CAPACITY_ROWS, *STEPS.values())}
MODULES = [comparators, norms, pattern, propagation, pruning_error, sketch_theorem]


def test_names_are_unique():
    assert len(ROWS) == len(CAPACITY_ROWS) + len(STEPS) == 26


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_every_example_in_a_docstring_is_true(module):
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0


@pytest.mark.parametrize("name", ROWS)
def test_every_row_keeps_every_contract(name):
    check_bound(ROWS[name])


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_complete(name):
    spec = ROWS[name]
    assert spec.source.key.endswith(str(spec.source.year))
    assert len(spec.summary) < 80
    assert all(need in PARTS for need in spec.needs)
    assert all(assumption.status in STATUSES for assumption in spec.assumptions)
    documentation = inspect.getdoc(spec.function)
    for heading in ("Statement", "Symbols", "Source", "Example"):
        assert f"**{heading}" in documentation.replace("\n", " ")
    parameters = inspect.signature(spec.function).parameters.values()
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty for p in parameters)


def test_kinds():
    conditional = {name for name, row in ROWS.items() if row.kind == "conditional"}
    assert conditional == {"removed-norm-gaussian", "pattern-gaussian"}
    order_only = {name for name, row in STEPS.items() if row.kind == "order-only"}
    assert order_only == {
        "kept-fraction",
        "removed-norm-latala",
        "pattern-as-in-paper",
        "sketch-rows",
    }
    assert all(row.kind == "order-only" for row in CAPACITY_ROWS)


def test_no_step_stands_on_a_risk_axis():
    for row in STEPS.values():
        assert row.unit in ("norm", "weights", "length", "rows", "share of weights")
        assert row.from_evidence is None


@pytest.mark.parametrize("row", CAPACITY_ROWS, ids=lambda row: row.name)
def test_every_capacity_is_read_off_evidence(row):
    evidence = sample_evidence()
    result = evaluate(row, evidence, 0.05)
    assert isinstance(result, CapacityMeasure)
    assert result.value == row.function(**row.from_evidence(evidence, 0.05))


def test_the_theorem_is_evaluated_at_the_d_of_the_published_form():
    evidence = sample_evidence()
    layers, curve = evidence["layers"], evidence["pruningcurve"]
    published = mbp_sketch_terms(
        0, 1000, 0.5, layers.fan_out, layers.fan_in, layers.spectral_norm, 3.0, curve.d,
        curve.removed_norm,
    )  # fmt: skip
    given = ROWS["mbp-sketch-as-in-theorem"].from_evidence(evidence, 0.08)
    assert given["pruning_d"] == published["d"] > 0
    # two layers: 1/λ and 1/ε sum to a quarter of delta each
    assert (1 / given["lambda_l"]).sum() == pytest.approx(0.02, rel=1e-12)
    assert (1 / given["epsilon_l"]).sum() == pytest.approx(0.02, rel=1e-12)
    # Ψ of a mean of 0: 3²/(8·16), 2²/(4·8)
    assert given["variance"] == pytest.approx([9 / 128, 4 / 32], rel=1e-12)
    terms = TERMS["mbp-sketch-as-in-theorem"](**given)
    assert {"probability_left", "holds", "gamma", "chi"} <= set(terms)


NORM_ROWS = [row for row in CAPACITY_ROWS if "layers" in row.needs]


@pytest.mark.parametrize("row", NORM_ROWS, ids=lambda row: row.name)
def test_norms_cover_relu_chains_only(row):
    evidence = dict(sample_evidence())
    evidence["layers"] = replace(evidence["layers"], relu_chain=False)
    result = evaluate(row, evidence, 0.05)
    assert isinstance(result, NotApplicable)
    assert "chain of linear layers and ReLU" in result.reason


@pytest.mark.parametrize("smallest", [0.0, -0.3])
def test_comparators_need_a_positive_margin(smallest):
    evidence = sample_evidence() | {"margins": Margins(np.array([1.0, smallest]), "train")}
    for row in CAPACITY_ROWS:
        result = evaluate(row, evidence, 0.05)
        if row.name in ("mbp-sketch-as-in-theorem", "strong-ticket"):
            assert isinstance(result, CapacityMeasure)
        else:
            assert isinstance(result, NotApplicable)
            assert "smallest margin" in result.reason


def test_rough_networks_have_no_arora_value():
    evidence = sample_evidence()
    evidence = evidence | {"cushions": replace(evidence["cushions"], smoothness=5.9)}
    result = evaluate(ROWS["arora-2018"], evidence, 0.05)
    assert isinstance(result, NotApplicable)
    assert "smoothness is 5.9, expected at least 3L = 6" in result.reason


# --------------------------------------------------------------------------- planted errors


def gaussian_without_its_tail(fan_out, fan_in, pruning_d, variance, delta):
    honest = pruning_error.removed_norm_gaussian(fan_out, fan_in, pruning_d, variance, delta)
    return honest - 0.9 * (honest - pruning_error.removed_norm_latala([1], [1], 0.0, [1.0]))


def redraws_one_rank_low(redrawn_norms, delta):
    pruning_error.removed_norm_redraws(redrawn_norms, delta)
    ranked = np.sort(redrawn_norms)
    return float(ranked[-min(len(ranked), int(delta * (len(ranked) + 1)) + 1)])


def bernstein_without_its_mean(weight, drop_probability, delta):
    honest = pruning_error.removed_norm_bernstein(weight, drop_probability, delta)
    return honest - np.linalg.norm(np.multiply(weight, drop_probability), 2)


def pattern_one_too_few(drop_probability, delta):
    return np.maximum(pattern.pattern_poisson_binomial(drop_probability, delta) - 1, 0)


def products_of_pruned_norms_only(spectral_norm, pruned_norm, removed_norm, input_norm):
    honest = propagation.output_change_upper(spectral_norm, pruned_norm, removed_norm, input_norm)
    naive = propagation.output_change_upper(
        np.maximum(np.ravel(pruned_norm), 1e-9), pruned_norm, removed_norm, input_norm
    )
    return np.minimum(honest, naive)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("removed-norm-gaussian", gaussian_without_its_tail),
        ("removed-norm-redraws", redraws_one_rank_low),
        ("removed-norm-bernstein", bernstein_without_its_mean),
        ("pattern-poisson-binomial", pattern_one_too_few),
        ("output-change", products_of_pruned_norms_only),
    ],
)
def test_a_broken_step_is_rejected(name, function):
    with pytest.raises(AssertionError, match=f"{name} breaks the contract 'coverage'"):
        check_bound(replace(STEPS[name], function=function))


def test_outcomes_that_cannot_be_enumerated_are_not_skipped():
    def lucky(n, delta):
        if not 0 < delta < 1:
            raise InputError("delta")
        return min(1.0, -math.log(delta))

    with pytest.raises(AssertionError, match="breaks the contract"):
        check_bound(replace(BOUNDS["holdout"], function=lucky))


def test_forms_that_biases_make_false_say_so():
    """A¹ = 1 with bias 10, A² = 1 pruned to 0: at x = 1 the output moves by 11, ‖x‖·1·1 is 1."""
    value = float(propagation.output_change_upper([1.0, 1.0], [1.0, 0.0], [0.0, 1.0], 1.0))
    assert value < 11.0
    for name in ("output-change", "output-change-telescoped", "output-change-as-in-paper"):
        assert any("bias" in a.text for a in STEPS[name].assumptions)
    with_biases = propagation.output_change_with_biases(
        [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [10.0, 0.0], [0.0, 0.0], 1.0
    )
    assert float(with_biases) >= 11.0
