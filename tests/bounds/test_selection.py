"""Statements about lists: the walk, the split, and what would have passed."""

import re

import numpy as np
import pytest
from scipy import stats

from prunecert.bounds import (
    binomial_p_value,
    cost_of_pruning_upper,
    errors_that_pass,
    fixed_sequence_accepted,
    fixed_sequence_drop_accepted,
    fixed_sequence_upper,
    holdout_upper,
    simultaneous_upper,
)
from prunecert.types import InputError


def test_p_value_closed_forms_and_scipy():
    assert binomial_p_value(0, 3, 0.5) == pytest.approx(0.125, rel=2e-12)
    assert binomial_p_value(3, 3, 0.5) == 1.0
    assert binomial_p_value(40, 1000, 0.05) == pytest.approx(
        stats.binom.cdf(40, 1000, 0.05), rel=1e-10
    )
    assert binomial_p_value(0, 3, 0.5) >= 0.125
    assert 0.0 < binomial_p_value(0, 1000, 0.99) < 1e-300  # 1e-2000, rounded up


def test_walk_stops_at_the_first_failure():
    limit = errors_that_pass(1000, 0.05, 0.05)
    errors = [limit, 0, limit, limit + 1, 0, 0]
    assert fixed_sequence_accepted(errors, 1000, 0.05, 0.05) == 3
    assert fixed_sequence_upper(errors, 1000, 0.05, 0.05).tolist() == [0.05] * 3 + [1.0] * 3
    assert fixed_sequence_accepted([limit + 1, 0], 1000, 0.05, 0.05) == 0
    assert fixed_sequence_accepted([0, limit], 1000, 0.05, 0.05) == 2


def test_walk_takes_one_size_or_one_per_network():
    assert fixed_sequence_accepted([0, 0], [59, 58], 0.05, 0.05) == 1  # 0.95^59 < .05 < 0.95^58
    assert fixed_sequence_upper([0, 0], np.array([59, 59]), 0.05, 0.05).tolist() == [0.05, 0.05]


def test_acceptance_agrees_with_the_holdout_bound():
    for n in (20, 60, 333):
        for k in range(n):
            accepted = fixed_sequence_accepted([k], n, 0.2, 0.05) == 1
            assert accepted == (holdout_upper(k, n, 0.05) <= 0.2)


@pytest.mark.parametrize(
    ("n", "target", "delta"), [(1000, 0.05, 0.05), (59, 0.05, 0.05), (7, 0.6, 0.3)]
)
def test_errors_that_pass_is_the_last_that_does(n, target, delta):
    k = errors_that_pass(n, target, delta)
    assert stats.binom.cdf(k, n, target) <= delta
    assert stats.binom.cdf(k + 1, n, target) > delta


def test_errors_that_pass_where_nothing_does():
    assert errors_that_pass(58, 0.05, 0.05) is None
    assert errors_that_pass(59, 0.05, 0.05) == 0
    assert errors_that_pass(1, 0.95, 0.06) == 0


def test_simultaneous_is_the_holdout_at_a_share_of_delta():
    errors = [3, 0, 9, 40]
    expected = [holdout_upper(k, 100, 0.08 / 4) for k in errors]
    assert simultaneous_upper(errors, 100, 0.08).tolist() == expected
    assert simultaneous_upper([3], 100, 0.08).tolist() == [holdout_upper(3, 100, 0.08)]


def test_drop_walk_stops_at_the_first_failure():
    worse, better = [20, 60, 61, 0], [20, 40, 40, 0]
    limit = cost_of_pruning_upper(60, 40, 10_000, 0.05)
    assert fixed_sequence_drop_accepted(worse, better, 10_000, limit, 0.05) == 2
    assert fixed_sequence_drop_accepted(worse, better, 10_000, limit * (1 - 1e-9), 0.05) == 1
    assert fixed_sequence_drop_accepted(worse, better, 10_000, 0.0, 0.05) == 0
    assert fixed_sequence_drop_accepted([0], [500], 10_000, 0.0, 0.05) == 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: binomial_p_value(11, 10, 0.5), "errors must be an integer"),
        (lambda: binomial_p_value(1, 10, 1.0), "target_error must be a number with 0 < target"),
        (lambda: fixed_sequence_upper(3, 10, 0.5, 0.05), "errors must be a list"),
        (lambda: fixed_sequence_upper([], 10, 0.5, 0.05), "errors must be a list"),
        (lambda: fixed_sequence_upper([3], 10, 0.5, 0.0), "delta must be a number"),
        (lambda: fixed_sequence_upper([3], [10, 10], 0.5, 0.05), "n must be a number or a list"),
        (lambda: simultaneous_upper([3], [10, 10], 0.05), "one entry per network (1)"),
        (lambda: simultaneous_upper([], 10, 0.05), "errors must be a list"),
        (lambda: simultaneous_upper([11], 10, 0.05), "errors must be an integer"),
        (lambda: errors_that_pass(0, 0.5, 0.05), "n must be an integer >= 1"),
        (lambda: errors_that_pass(10, 0.0, 0.05), "target_error must be a number"),
        (lambda: fixed_sequence_drop_accepted([1], [1, 2], 10, 0.1, 0.05), "better must be a num"),
        (lambda: fixed_sequence_drop_accepted([1], [1], 10, 1.0, 0.05), "max_drop must be a num"),
        (lambda: fixed_sequence_drop_accepted([1], [1], 10, -0.1, 0.05), "0 <= max_drop < 1"),
    ],
)
def test_illegal_arguments_are_named(call, says):
    with pytest.raises(InputError, match=re.escape(says)):
        call()
