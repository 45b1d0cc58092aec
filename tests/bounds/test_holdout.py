"""Hold-out statements: closed forms, anchors, sizes planned, arguments refused."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from prunecert.bounds import (
    cost_of_pruning_upper,
    disagreement_upper,
    holdout_upper,
    labelled_transfer_upper,
    per_class_upper,
    samples_needed,
)
from prunecert.types import InputError


def beta_upper(k, n, delta):
    """Clopper–Pearson through scipy's beta quantile: another road to the same number."""
    return 1.0 if k == n else stats.beta.ppf(1 - delta, k + 1, n - k)


@pytest.mark.parametrize("bound", [holdout_upper, disagreement_upper, labelled_transfer_upper])
def test_closed_forms(bound):
    for n in (1, 3, 1000):
        assert bound(0, n, 0.05) == pytest.approx(1 - 0.05 ** (1 / n), rel=2e-12)
        assert bound(n, n, 0.05) == 1.0
    assert bound(1, 2, 0.19) == pytest.approx(0.9, rel=2e-12)  # 1 − p² = 0.19


def test_ten_thousand_points_at_0_6_percent():
    """ANCHORS: 10,000 points at 0.6 % error give 0.74 %."""
    assert 0.00735 <= holdout_upper(60, 10_000, 0.05) < 0.00745
    assert holdout_upper(60, 10_000, 0.05) == pytest.approx(beta_upper(60, 10_000, 0.05), rel=1e-9)


def test_per_class_is_the_holdout_at_a_share_of_delta():
    bounds = per_class_upper([0, 5, 0], [10, 100, 0], 0.06)
    assert bounds.tolist() == [holdout_upper(0, 10, 0.02), holdout_upper(5, 100, 0.02), 1.0]


def test_per_class_counts_empty_classes_in_the_split():
    assert per_class_upper([0, 0], [5, 0], 0.1)[0] == pytest.approx(1 - 0.05**0.2, rel=2e-12)


def test_cost_of_pruning_anchor():
    """THEORY 2.7: 60 and 40 of 10,000 at delta .05 give at most 0.49 points."""
    upper = cost_of_pruning_upper(60, 40, 10_000, 0.05)
    assert 0.00485 <= upper < 0.0049
    expected = beta_upper(60, 10_000, 0.025) - stats.beta.ppf(0.025, 40, 10_000 - 40 + 1)
    assert upper == pytest.approx(expected, rel=1e-8)


def test_cost_of_pruning_closed_forms():
    # nothing seen either way: only the upper side is left, at delta/2
    assert cost_of_pruning_upper(0, 0, 50, 0.1) == pytest.approx(1 - 0.05 ** (1 / 50), rel=2e-12)
    # only ever better: 1 − (delta/2)^(1/n) − (delta/2)^(1/n)
    expected = 1 - 2 * 0.05 ** (1 / 50)
    assert cost_of_pruning_upper(0, 50, 50, 0.1) == pytest.approx(expected, abs=4e-12)
    assert cost_of_pruning_upper(50, 0, 50, 0.1) == 1.0


def literal_plan(target, expected, delta, limit):
    """THEORY 2.8 word for word, with scipy's quantile and an exact ceiling."""
    rate = Fraction(str(expected))
    for m in range(1, limit):
        if beta_upper(math.ceil(rate * m), m, delta) <= target:
            return m
    raise AssertionError("limit too low")


@pytest.mark.parametrize(
    ("target", "expected", "about"),
    [(0.05, 0.03, 400), (0.02, 0.015, 2_400)],  # THEORY 2.8
)
def test_plan_anchors(target, expected, about):
    m = samples_needed(target, expected, 0.05)
    assert m == literal_plan(target, expected, 0.05, 2 * about)
    assert abs(m - about) < 0.1 * about


@pytest.mark.parametrize("delta", [0.01, 0.05, 0.3, 0.7])
@pytest.mark.parametrize(
    ("target", "expected"),
    [(0.05, 0.0), (0.1, 0.07), (0.3, 0.2), (0.5, 0.4), (0.9, 0.7), (0.2, 1e-6), (0.999, 0.9)],
)
def test_plan_is_literally_the_smallest(target, expected, delta):
    assert samples_needed(target, expected, delta) == literal_plan(target, expected, delta, 2_000)


def test_plan_is_not_monotone_and_says_the_first():
    m = samples_needed(0.05, 0.03, 0.05)
    later = range(m + 1, m + 50)
    assert any(beta_upper(math.ceil(Fraction(3, 100) * n), n, 0.05) > 0.05 for n in later)


def test_plan_with_no_error_expected_is_a_logarithm():
    assert samples_needed(0.001, 0.0, 0.05) == math.ceil(math.log(0.05) / math.log(0.999))


def test_plan_of_millions_is_the_first_that_does():
    m = samples_needed(0.0101, 0.01, 0.05)
    errors = math.ceil(Fraction(1, 100) * m)
    assert m > 2_000_000
    assert holdout_upper(errors, m, 0.05) <= 0.0101
    assert holdout_upper(math.ceil(Fraction(1, 100) * (m - 1)), m - 1, 0.05) > 0.0101


def test_plan_reads_the_rate_as_printed():
    """0.07·100 is 7.000000000000001 in floats; the plan counts 7 errors there, not 8."""
    target = holdout_upper(7, 100, 0.05) * (1 + 1e-9)
    assert samples_needed(target, 0.07, 0.05) <= 100


@pytest.mark.parametrize("expected", [0.05, 0.06, 1.0])
def test_plan_refuses_the_impossible(expected):
    with pytest.raises(InputError, match="expected_error must be below target_error = 0.05"):
        samples_needed(0.05, expected, 0.05)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: holdout_upper(11, 10, 0.05), "errors must be an integer with 0 <= errors <= n"),
        (lambda: holdout_upper(1, 10, 5), "delta must be a number with 0 < delta < 1"),
        (lambda: disagreement_upper(-1, 10, 0.05), "count must be an integer"),
        (lambda: labelled_transfer_upper(1.5, 10, 0.05), "better must be an integer"),
        (lambda: cost_of_pruning_upper(6, 5, 10, 0.05), "worse + better must be at most n = 10"),
        (lambda: cost_of_pruning_upper(1, 11, 10, 0.05), "better must be an integer"),
        (lambda: per_class_upper(1, 10, 0.05), "errors must be a list"),
        (lambda: per_class_upper([], [], 0.05), "errors must be a list with at least one entry"),
        (lambda: per_class_upper([1, 2], [10], 0.05), "n must have one entry per class (2)"),
        (lambda: per_class_upper([1, 2], [10, 0], 0.05), "n must be an integer >= 1"),
        (lambda: samples_needed(1.0, 0.5, 0.05), "target_error must be a number"),
        (lambda: samples_needed(0.5, math.nan, 0.05), "expected_error must be a number"),
        (lambda: samples_needed(0.5, 0.1, 0.0), "delta must be a number"),
    ],
)
def test_illegal_arguments_are_named(call, says):
    with pytest.raises(InputError, match=re.escape(says)):
        call()


def test_arrays_broadcast():
    grid = holdout_upper(np.array([[0], [5]]), [10, 100, 1000], 0.05)
    assert grid.shape == (2, 3)
    assert grid[1, 2] == holdout_upper(5, 1000, 0.05)
