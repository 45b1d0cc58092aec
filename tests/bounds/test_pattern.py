"""Nonzeros per row and column: exact enumeration, closed forms, and failure rates on real draws."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from random_masks import draws_of_masks, drop_probability, too_often
from scipy.stats import binom

from prunecert.bounds.pattern import (
    pattern_as_in_paper,
    pattern_failure,
    pattern_gaussian,
    pattern_poisson_binomial,
)
from prunecert.bounds.sketching import kept_fraction
from prunecert.types import InputError

DRAWS = 2000


def test_the_papers_form_by_hand():
    # d = 2/3 keeps half: 3·λ·max(784, 10)/2
    assert pattern_as_in_paper([10], [784], 2 / 3, [2.0]) == pytest.approx([3 * 784], rel=1e-12)
    assert pattern_failure([8], [27], [4.0]) == pytest.approx([1 / 4 + 1 / 3], rel=1e-12)


def test_the_papers_form_is_false_as_printed_where_few_weights_stay():
    """It then allows less than one nonzero, and one is all but sure: the claim cannot hold."""
    side, d, factor = 1000, 1e5, 10.0
    allowed = pattern_as_in_paper([side], [side], d, [factor])[0]
    assert allowed < 1
    some_weight_stays = -math.expm1(side**2 * math.log1p(-float(kept_fraction(d))))
    assert some_weight_stays > 0.9999
    assert pattern_failure([side], [side], [factor])[0] == pytest.approx(0.2, rel=1e-12)
    assert pattern_gaussian([side], [side], d, 0.2)[0].min() >= 1


@pytest.mark.parametrize("shape", [(1, 1), (784, 784), (10, 784), (300, 7)])
@pytest.mark.parametrize("d", [0.1, 1.0, 10.0, 1e4])
@pytest.mark.parametrize("delta", [0.9, 0.05, 1e-9])
def test_gaussian_is_the_binomial_quantile(shape, d, delta):
    """min{j : d_l·P[Bin(d_{l−1}, χ) > j] <= δ/2}, searched from 0 upwards with scipy's tail."""
    rows, columns = shape
    kept = float(kept_fraction(d))

    def quantile(lines, places):
        return next(j for j in range(places + 1) if lines * binom.sf(j, places, kept) <= delta / 2)

    expected = [quantile(rows, columns), quantile(columns, rows)]
    assert pattern_gaussian([rows], [columns], d, delta).tolist() == [expected]


def test_gaussian_holds_for_all_layers_at_once():
    one = pattern_gaussian([50], [60], 1.0, 0.01)
    assert pattern_gaussian([50, 50], [60, 60], 1.0, 0.02).tolist() == [*one.tolist()] * 2


def test_everything_stays_at_d_zero():
    assert pattern_gaussian([3, 4], [5, 6], 0.0, 0.9).tolist() == [[5, 3], [6, 4]]


def exact_tails(drop):
    """Σ_i P[row i keeps more than j], in fractions, over every outcome of every row."""
    rows, columns = len(drop), len(drop[0])
    tails = [Fraction(0)] * (columns + 1)
    for row in drop:
        for kept in itertools.product((0, 1), repeat=columns):
            mass = math.prod(1 - p if keep else p for p, keep in zip(row, kept))
            for j in range(sum(kept)):
                tails[j] += mass
    assert rows == len(drop)
    return tails


@pytest.mark.parametrize("seed", range(5))
def test_poisson_binomial_against_every_outcome(seed):
    source = np.random.default_rng(seed)
    drop = source.random((3, 4)) ** 0.5
    drop[0, 0], drop[1, 1] = 0.0, 1.0
    exact = [[Fraction(p) for p in row] for row in drop]
    by_row, by_column = exact_tails(exact), exact_tails(list(zip(*exact)))
    for delta in (0.9, 0.5, 0.1, 0.01, 1e-4):
        share = Fraction(delta) / 2
        expected = [
            next(j for j, tail in enumerate(tails) if tail <= share)
            for tails in (by_row, by_column)
        ]
        assert pattern_poisson_binomial(drop, delta).tolist() == expected


def test_a_tail_equal_to_its_share_is_conservative():
    """One entry kept half of the time: P[more than 0] = ½ > δ/2 for every δ; so 1."""
    assert pattern_poisson_binomial([[0.5]], 0.999).tolist() == [1, 1]
    # one row of two: P[2 kept] = ¼ = δ/2 exactly at δ = ½, and rounding outward refuses the tie
    assert pattern_poisson_binomial([[0.5, 0.5]], 0.5 * (1 + 1e-8))[0] == 1
    assert pattern_poisson_binomial([[0.5, 0.5]], 0.5 * (1 - 1e-8))[0] == 2


def test_equal_probabilities_give_the_binomial_quantile():
    drop = np.full((40, 30), math.sqrt(1 / 3))
    expected = pattern_gaussian([40], [30], 1.0, 0.05)[0]
    assert pattern_poisson_binomial(drop, 0.05).tolist() == expected.tolist()


def test_dead_rows_and_hot_columns_are_seen():
    """No assumption on the weights: one column that is always kept sets j_c, whatever the rest."""
    drop = np.full((20, 30), 0.99)
    drop[:, 7] = 0.0
    assert pattern_poisson_binomial(drop, 0.05)[1] == 20


@pytest.mark.parametrize("delta", [0.05, 0.5])
def test_failure_rates_given_the_weights(delta):
    weight = np.random.default_rng(1).standard_t(2, size=(7, 5))
    drop = drop_probability(weight, 3.0, weight.var())
    masks = draws_of_masks(np.random.default_rng(2), drop, DRAWS)
    rows, columns = masks.sum(2).max(1), masks.sum(1).max(1)
    j_r, j_c = pattern_poisson_binomial(drop, delta)
    assert not too_often((rows > j_r) | (columns > j_c), delta)
    assert too_often((rows > j_r - 1) | (columns > j_c - 1), delta)  # counts are no larger than due


@pytest.mark.parametrize("delta", [0.05, 0.5])
def test_failure_rates_for_gaussian_weights(delta):
    generator = np.random.default_rng(3)
    weights = generator.normal(size=(DRAWS, 12, 9))
    kept = generator.random(weights.shape) >= drop_probability(weights, 3.0, 1.0)
    rows, columns = kept.sum(2).max(1), kept.sum(1).max(1)
    j_r, j_c = pattern_gaussian([12], [9], 3.0, delta)[0]
    assert not too_often((rows > j_r) | (columns > j_c), delta)
    assert too_often((rows > j_r - 2) | (columns > j_c - 2), delta)


@pytest.mark.parametrize("drop", [[0.5], [[1.1]], [[-0.1]], [[math.nan]], [[]]])
def test_what_is_no_matrix_of_probabilities_is_refused(drop):
    with pytest.raises(InputError, match="drop_probability must be"):
        pattern_poisson_binomial(drop, 0.05)
