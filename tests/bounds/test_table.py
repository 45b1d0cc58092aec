"""The table: what each statement needs, what it says on evidence, and what it refuses to say."""

import doctest
import inspect
import math
from dataclasses import replace

import numpy as np
import pytest

import prunecert.bounds
from prunecert import inversions
from prunecert.bounds import (
    BOUNDS,
    evaluate,
    evaluate_all,
    holdout,
    holdout_upper,
    occam,
    occam_upper,
    selection,
    sketching,
    table,
)
from prunecert.bounds.measure_rows import MEASURE_ROWS
from prunecert.testing import sample_evidence
from prunecert.types import (
    PARTS,
    STATUSES,
    CapacityMeasure,
    Certificate,
    Counts,
    InputError,
    Margins,
    NotApplicable,
)

NAMES = {
    *("occam", "occam-kl", "occam-split", "holdout", "per-class", "top-k", "disagreement"),
    *("cost-of-pruning", "labelled-transfer", "fixed-sequence", "simultaneous"),
    *("compression-theorem", "train-and-holdout", "code-or-holdout"),
    *("transfer-to-dense", "transfer-to-pruned"),
    *("hoeffding-bentkus", "empirical-bernstein", "bounded-loss"),
    *("pac-bayes-kl", "pac-bayes-catoni", "gibbs-sampled", "gibbs-product"),
    *("single-draw", "majority-vote"),
    *("sample-compression", "pick-to-learn", "golowich-mohri"),
    *("language-sampled", "language-documents", "language-tokens", "language-top-k"),
    *("mbp-sketch-as-published", "mbp-sketch-as-in-theorem", "strong-ticket"),
    *("neyshabur-2015", "bartlett-2017", "bartlett-2017-as-coded", "bartlett-2017-theorem"),
    *("neyshabur-2018", "neyshabur-2018-theorem", "arora-2018", "golowich-2018", "galanti-2023"),
    *(row.name for row in MEASURE_ROWS),
}
SPEAKING = {name for name, spec in BOUNDS.items() if spec.from_evidence}


def test_the_table_holds_every_statement_under_its_name():
    assert set(BOUNDS) == NAMES
    assert all(name == spec.name for name, spec in BOUNDS.items())


@pytest.mark.parametrize("module", [inversions, holdout, occam, selection, sketching, table])
def test_every_example_in_a_docstring_is_true(module):
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0 or module is table


@pytest.mark.parametrize("name", BOUNDS)
def test_rows_are_complete(name):
    spec = BOUNDS[name]
    assert spec.source.authors
    assert spec.source.title
    assert spec.source.key.endswith(str(spec.source.year))
    assert len(spec.summary) < 80
    assert all(need.split("@")[0] in PARTS for need in spec.needs)
    assert all(assumption.status in STATUSES for assumption in spec.assumptions)
    documentation = inspect.getdoc(spec.function)
    for heading in ("Statement", "Symbols", "Source", "Example"):
        assert f"**{heading}" in documentation


@pytest.mark.parametrize("name", BOUNDS)
def test_every_statement_is_called_from_plain_keywords(name):
    parameters = inspect.signature(BOUNDS[name].function).parameters.values()
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty for p in parameters)


def test_a_certificate_is_the_function_rounded_up():
    result = evaluate(BOUNDS["occam"], sample_evidence(), 0.05)
    assert isinstance(result, Certificate)
    exact = occam_upper(errors=30, n=1000, bits=50, delta=0.05)
    assert result.risk_bound == math.ceil(exact * 1e6) / 1e6
    assert exact < result.risk_bound < exact + 1e-6
    assert result.kind == "certified"
    assert result.details == {"errors": 30, "n": 1000, "bits": 50, "delta": 0.05}


def test_per_class_reports_the_worst_and_all():
    result = evaluate(BOUNDS["per-class"], sample_evidence(), 0.05)
    assert result.quantity == "worst class risk"
    assert result.risk_bound == 1.0  # the second class is empty
    values = result.details["values"]
    assert values[0] == inversions.round_up(holdout_upper(3, 300, 0.05 / 3))
    assert values[1:] == [1.0, inversions.round_up(holdout_upper(7, 700, 0.05 / 3))]


def test_training_counts_never_make_a_holdout_certificate():
    evidence = {"counts": Counts(0, 1000, "train")}
    for name in ("holdout", "top-k", "per-class", "disagreement"):
        result = evaluate(BOUNDS[name], evidence, 0.05)
        assert isinstance(result, NotApplicable)
        assert "it needs what was not measured" in result.reason


def test_order_only_lands_on_no_risk_axis():
    result = evaluate(BOUNDS["mbp-sketch-as-published"], sample_evidence(), 0.05)
    assert isinstance(result, CapacityMeasure)
    assert not hasattr(result, "risk_bound")
    assert set(result.details) == {"value", "d", "chi", "gamma", "capacity", "margin_risk"}
    assert result.details["gamma"] <= 0.5  # the smallest margin
    assert result.value == result.details["value"]


def test_a_tie_is_an_error_of_the_sketch_bound():
    evidence = sample_evidence() | {"margins": Margins(np.array([0.0, 1.0, -1.0, 2.0]), "train")}
    result = evaluate(BOUNDS["mbp-sketch-as-published"], evidence, 0.05)
    assert result.details["margin_risk"] == 0.5


def test_the_sketch_bound_covers_relu_chains_only():
    evidence = dict(sample_evidence())
    evidence["layers"] = replace(evidence["layers"], relu_chain=False)
    result = evaluate(BOUNDS["mbp-sketch-as-published"], evidence, 0.05)
    assert isinstance(result, NotApplicable)
    assert "chain of linear layers and ReLU" in result.reason


@pytest.mark.parametrize("name", ["fixed-sequence", "simultaneous"])
def test_statements_about_lists_say_where_to_go(name):
    result = evaluate(BOUNDS[name], sample_evidence(), 0.05)
    assert isinstance(result, NotApplicable)
    assert "prunecert select" in result.reason


def test_all_statements_tightest_first_then_capacities_then_reasons():
    results = evaluate_all(sample_evidence(), 0.05)
    assert sorted(result.name for result in results) == sorted(BOUNDS)
    proven = {name for name in SPEAKING if BOUNDS[name].kind != "order-only"}
    many = {
        Certificate: len(proven),
        CapacityMeasure: len(SPEAKING - proven),
        NotApplicable: len(BOUNDS) - len(SPEAKING),
    }
    order = [type(result) for result in results]
    assert order == [kind for kind, count in many.items() for _ in range(count)]
    assert {result.name for result in results[: len(proven)]} == proven
    bounds = [result.risk_bound for result in results[: len(proven)]]
    assert bounds == sorted(bounds)


def test_no_evidence_gives_reasons_only():
    assert all(isinstance(result, NotApplicable) for result in evaluate_all({}, 0.05))


def test_numpy_counts_are_counts():
    evidence = sample_evidence() | {"counts@holdout": Counts(np.int64(40), np.int64(1000), "test")}
    expected = evaluate(BOUNDS["holdout"], sample_evidence(), 0.05)
    assert evaluate(BOUNDS["holdout"], evidence, 0.05) == expected


@pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
def test_an_illegal_delta_is_refused(delta):
    with pytest.raises(InputError, match="delta must be a number with 0 < delta < 1"):
        evaluate(BOUNDS["holdout"], sample_evidence(), delta)


def test_everything_public_is_named():
    assert all(hasattr(prunecert.bounds, name) for name in prunecert.bounds.__all__)
