"""Kendall's tau and granulated coefficients against closed forms and tables made for them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from prunecert.study.statistics import (
    Exceptions,
    equal_shares,
    granulated_tau,
    kendall_tau,
    pairs_within,
    ranks,
    tau_at_weights,
)
from prunecert.types import InputError


def test_tau_of_perfect_reversed_and_tied_lists():
    x = np.arange(7.0)
    assert kendall_tau(x, x**3) == 1.0
    assert kendall_tau(x, -x) == -1.0
    assert kendall_tau(np.ones(7), x) == 0.0
    # one swap of neighbours: 21 pairs, 1 wrong
    assert kendall_tau([0, 1, 2, 3, 4, 6, 5], x) == pytest.approx(19 / 21, abs=1e-15)
    # tau_a: one tied pair of six counts 0 and stays in the denominator
    assert kendall_tau([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(5 / 6, abs=1e-15)


def test_tau_leaves_out_what_is_missing_and_orders_what_is_infinite():
    assert kendall_tau([1, np.nan, 2, 3], [1, 9, 2, 3]) == 1.0
    assert kendall_tau([1, 2, np.inf, np.inf], [1, 2, 3, 4]) == pytest.approx(5 / 6, abs=1e-15)
    assert np.isnan(kendall_tau([1, np.nan], [1, 2]))
    with pytest.raises(InputError, match="y: expected one number"):
        kendall_tau([1, 2], [1, 2, 3])


def test_tau_by_enumeration():
    """The mean of tau over all orders is 0, its variance 2(2n + 5)/(9n(n − 1)) (Kendall 1938)."""
    n = 5
    taus = [kendall_tau(order, np.arange(n)) for order in itertools.permutations(range(n))]
    assert np.mean(taus) == pytest.approx(0.0, abs=1e-15)
    assert np.var(taus) == pytest.approx(2 * (2 * n + 5) / (9 * n * (n - 1)), abs=1e-14)


def test_equal_numbers_stay_equal_after_subtraction():
    gaps = [0.3 - 0.1, 0.2, 0.1 + 0.1]  # the first is 0.19999999999999998
    assert len(set(gaps)) == 2
    assert ranks(gaps).tolist() == [0, 0, 0]
    assert ranks([1.0, 1.0 + 1e-9]).tolist() == [0, 1]
    assert ranks([1e-30, 2e-30, -1e-30, 0.0, np.nan]).tolist() == [2, 3, 0, 1, -1]


def test_weights_are_copies_that_are_not_compared():
    """Rows 0, 1, 2 standing 2, 1, 0 times: two comparisons, both of rows 0 and 1."""
    places, gap = ranks(np.array([[1.0], [2.0], [0.0]])), ranks([1.0, 2.0, 3.0])
    weights = np.array([[1, 2, 3], [1, 1, 0], [1, 0, 0]], np.float32)
    found = tau_at_weights(places, gap, weights)
    assert found[0, 0] == pytest.approx(-1 / 3, abs=1e-15)  # one right, two wrong
    assert found[0, 1] == 1.0
    assert np.isnan(found[0, 2])


def test_exceptions_weigh_what_they_say():
    rng = np.random.default_rng(3)
    values, gap = rng.integers(0, 4, 9).astype(float), rng.normal(size=9)
    weights = rng.integers(0, 3, (9, 4)).astype(np.float32)
    first, second = pairs_within(np.arange(9) // 3, np.arange(9))
    special = rng.random((len(first), 4))
    factor = np.array([1.0, 1.5, 1.5, 1.5])
    total, agreed = np.zeros(4), np.zeros(4)
    for i, j in itertools.combinations(range(9), 2):
        w = factor * weights[i] * weights[j]
        if i // 3 == j // 3:
            w = special[[k for k in range(len(first)) if {first[k], second[k]} == {i, j}][0]]
        total += w
        agreed += w * np.sign(values[i] - values[j]) * np.sign(gap[i] - gap[j])
    found = tau_at_weights(
        ranks(values[:, None]), ranks(gap), weights, factor, Exceptions(first, second, special)
    )
    np.testing.assert_allclose(found[0], agreed / total, atol=1e-12)


def test_shares_make_every_group_weigh_one():
    group = np.array([0, 0, 1, -1, 1, 2])
    counted = np.array([[1, 1], [1, 0], [1, 1], [1, 1], [1, 1], [0, 1]], bool)
    shares = equal_shares(group, counted)
    assert shares[:, 0].tolist() == [0.5, 0.5, 0.5, 0.0, 0.5, 0.0]
    assert shares[:, 1].tolist() == [1.0, 0.0, 0.5, 0.0, 0.5, 1.0]


# --------------------------------------------------------------------------- granulated


def grid(*sizes: int) -> np.ndarray:
    return np.array(list(itertools.product(*(range(size) for size in sizes))))


def test_psi_of_each_axis_as_constructed():
    """A measure that is right along the first axis, wrong along the second, tied along the third:
    psi = 1, −1, 0, whatever the other axes do."""
    levels = grid(3, 4, 2)
    a, b, c = levels.T
    gap = 100.0 * a + 10.0 * b + c
    measure = a - 7.0 * b
    found = granulated_tau(levels, measure, gap)
    assert found.psi.tolist() == [1.0, -1.0, 0.0]
    assert found.mean == 0.0
    assert found.settings.tolist() == [8, 6, 12]
    assert found.missing.tolist() == [0, 0, 0]


def test_psi_is_a_mean_over_settings_not_over_pairs():
    """One setting with 3 values (3 pairs, all right), one with 2 (1 pair, wrong): psi = 0."""
    levels = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [1, 1]])
    gap = np.array([0.0, 1.0, 2.0, 0.0, 1.0])
    found = granulated_tau(levels, np.array([0.0, 1.0, 2.0, 1.0, 0.0]), gap)
    assert found.psi[0] == 0.0


def test_missing_cells_are_counted():
    levels = grid(3, 2)
    kept = np.array([0, 1, 2, 4])  # (0,0) (0,1) (1,0) (2,0)
    gap = np.arange(6.0)[kept]
    found = granulated_tau(levels[kept], gap, gap)
    assert found.settings.tolist() == [2, 3]
    assert found.missing.tolist() == [1, 2]
    assert found.psi.tolist() == [1.0, 1.0]
    alone = granulated_tau(levels[[0, 3]], [1.0, 2.0], [1.0, 2.0])
    assert np.isnan(alone.psi).all() and np.isnan(alone.mean)


def test_a_missing_value_is_a_missing_cell_of_its_measure():
    levels, gap = grid(2, 2), np.arange(4.0)
    found = granulated_tau(levels, [0.0, 1.0, np.nan, 3.0], gap)
    assert found.missing.tolist() == [1, 1]
    assert found.psi.tolist() == [1.0, 1.0]


def test_the_seed_is_a_replicate_and_no_axis():
    """Between seeds the measure is wrong; within each it is right: psi is 1, the seed has none."""
    levels = grid(4, 3)
    value, seed = levels.T
    gap, measure = value + 10.0 * seed, value - 10.0 * seed
    found = granulated_tau(levels, measure, gap, seed=1)
    assert found.axes == (0,)
    assert found.psi.tolist() == [1.0]
    assert found.mean == 1.0
    assert granulated_tau(levels, measure, gap).psi.tolist() == [1.0, -1.0]


def test_replicates_are_not_compared():
    """Rows that agree on every axis: their order says nothing."""
    levels = np.array([[0], [0], [1]])
    assert granulated_tau(levels, [1.0, 0.0, 2.0], [0.0, 1.0, 2.0]).psi.tolist() == [1.0]
