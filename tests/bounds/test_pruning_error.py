"""What pruning removes: closed forms, independent references, and failure rates on real draws."""

import itertools
import math

import numpy as np
import pytest
from random_masks import draws_of_masks, drop_probability, too_often
from scipy.integrate import quad
from scipy.linalg import expm, logm
from scipy.special import logsumexp
from scipy.stats import norm

from prunecert.bounds.pruning_error import (
    drop_share,
    removed_fourth_moment,
    removed_norm_bernstein,
    removed_norm_cumulants,
    removed_norm_gaussian,
    removed_norm_latala,
    removed_norm_measured,
    removed_norm_redraws,
    removed_second_moment,
)
from prunecert.types import InputError

MATRIX_BOUNDS = [removed_norm_bernstein, removed_norm_cumulants]
DRAWS = 2000


@pytest.mark.parametrize("d", [0.1, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("variance", [1.0, 0.04])
def test_moments_are_the_integrals_they_come_from(d, variance):
    def moment(power):
        """E[Δ^power; dropped] for w ~ N(0, Ψ)."""
        scale = math.sqrt(variance)
        return quad(
            lambda z: (z * scale) ** power * drop_probability(z * scale, d, variance) * norm.pdf(z),
            -12,
            12,
            epsabs=1e-14,
        )[0]

    assert drop_share(d) == pytest.approx(moment(0), rel=1e-9)
    assert removed_second_moment(d, [variance]) == pytest.approx([moment(2)], rel=1e-9)
    assert removed_fourth_moment(d, [variance]) == pytest.approx([moment(4)], rel=1e-9)


def test_latala_by_hand():
    # d = 2: P(drop)² = ½; Ψ = 2: EΔ² = 2·2^−1.5, EΔ⁴ = 12·2^−2.5; 4 inputs, 9 outputs
    expected = math.sqrt(2**-0.5) * (2 + 3) + (12 * 2**-2.5 * 36) ** 0.25
    assert removed_norm_latala([9], [4], 2.0, [2.0]) == pytest.approx([expected], rel=1e-12)


def test_gaussian_by_hand_and_for_all_layers_at_once():
    # Ψd/(d+2) = 4·½; one layer at delta, two layers at delta/2 each
    one = removed_norm_gaussian([9], [4], 2.0, [4.0], 0.01)
    assert one == pytest.approx([math.sqrt(2) * (3 + 2 + math.sqrt(2 * math.log(100)))], rel=1e-11)
    two = removed_norm_gaussian([9, 9], [4, 4], 2.0, [4.0, 4.0], 0.02)
    assert two == pytest.approx([one[0]] * 2, rel=1e-12)


@pytest.mark.parametrize("function", [removed_norm_latala, removed_norm_gaussian])
def test_nothing_is_removed_at_d_zero(function):
    delta = () if function is removed_norm_latala else (0.05,)
    assert function([9], [4], 0.0, [4.0], *delta).tolist() == [0.0]


def naive_bernstein(weight, drop, delta):
    """THEORY 1.3, term by term."""
    cells = list(np.ndindex(weight.shape))
    variance = {c: weight[c] ** 2 * drop[c] * (1 - drop[c]) for c in cells}
    rows = [sum(variance[i, j] for j in range(weight.shape[1])) for i in range(weight.shape[0])]
    columns = [sum(variance[i, j] for i in range(weight.shape[0])) for j in range(weight.shape[1])]
    v = max(rows + columns)
    largest = max(abs(weight[c]) * max(drop[c], 1 - drop[c]) for c in cells if 0 < drop[c] < 1)
    log_terms = math.log(sum(weight.shape) / delta)
    linear = largest * log_terms / 3
    mean = np.linalg.norm(weight * drop, 2)
    return mean + linear + math.sqrt(linear**2 + 2 * v * log_terms)


def naive_master_bound(weight, drop, delta, theta):
    g = np.zeros(weight.shape)
    for cell in np.ndindex(weight.shape):
        w, p = weight[cell], drop[cell]
        g[cell] = max(
            math.log(1 - p + p * math.exp(sign * theta * w)) - sign * theta * w * p
            for sign in (1, -1)
        )
    return (logsumexp([*g.sum(1), *g.sum(0)]) - math.log(delta)) / theta


def small_layer(seed, shape=(5, 7), d=3.0):
    weight = np.random.default_rng(seed).normal(size=shape)
    return weight, drop_probability(weight, d, weight.var())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("delta", [0.05, 1e-9])
def test_bernstein_against_the_formula_written_out(seed, delta):
    weight, drop = small_layer(seed)
    drop[0, 0], drop[1, 1] = 0.0, 1.0
    value = removed_norm_bernstein(weight, drop, delta)
    assert value == pytest.approx(naive_bernstein(weight, drop, delta), rel=2e-9)
    assert value >= naive_bernstein(weight, drop, delta)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("delta", [0.05, 0.5, 1e-3])
def test_cumulants_against_a_search_over_a_fine_grid(seed, delta):
    weight, drop = small_layer(seed)
    deviation = min(
        naive_master_bound(weight, drop, delta, theta) for theta in np.geomspace(0.05, 50, 800)
    )
    expected = np.linalg.norm(weight * drop, 2) + deviation
    assert removed_norm_cumulants(weight, drop, delta) == pytest.approx(expected, rel=3e-5)


def test_the_row_and_column_sums_dominate_the_matrix_cumulants():
    """tr exp Σ ln E e^{θX} by matrix functions, X the dilation of each entry: Tropp's own form."""
    weight, drop = small_layer(0, shape=(2, 3))
    theta, size = 1.3, 5
    total = np.zeros((size, size))
    for i, j in np.ndindex(weight.shape):
        unit = np.zeros((size, size))
        unit[i, 2 + j] = unit[2 + j, i] = 1.0
        w, p = weight[i, j], drop[i, j]
        mean = p * expm(theta * w * (1 - p) * unit) + (1 - p) * expm(-theta * w * p * unit)
        total += logm(mean).real
    exact = (math.log(np.trace(expm(total))) - math.log(0.05)) / theta
    ours = naive_master_bound(weight, drop, 0.05, theta)
    assert exact <= ours <= exact * 1.1


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (40, 3), (1, 30)])
@pytest.mark.parametrize("d", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("delta", [0.3, 1e-6])
def test_cumulants_are_never_above_bernstein(shape, d, delta):
    weight, drop = (
        small_layer(1, shape=shape, d=d)
        if shape != (1, 1)
        else (
            np.array([[2.0]]),
            np.array([[0.3]]),
        )
    )
    assert removed_norm_cumulants(weight, drop, delta) <= removed_norm_bernstein(
        weight, drop, delta
    )


@pytest.mark.parametrize("function", MATRIX_BOUNDS)
def test_what_is_not_random_costs_nothing(function):
    weight = np.array([[3.0, 100.0], [4.0, -100.0]])
    drop = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert function(weight, drop, 0.05) == pytest.approx(5.0, rel=2e-9)
    assert function(weight, np.zeros((2, 2)), 0.05) == 0.0
    assert function(np.zeros((2, 2)), np.full((2, 2), 0.5), 0.05) == 0.0


@pytest.mark.parametrize("function", MATRIX_BOUNDS)
def test_the_unit_of_the_weights_is_the_unit_of_the_norm(function):
    weight, drop = small_layer(2)
    scaled = function(1e-4 * weight, drop, 0.05)
    assert scaled == pytest.approx(1e-4 * function(weight, drop, 0.05), rel=1e-6)


# --------------------------------------------------------------------------- failure rates


def failures_given_the_weights(function, weight, drop, delta, seed):
    """Of DRAWS masks of fixed weights: where is ‖Δ‖₂ above the bound?"""
    masks = draws_of_masks(np.random.default_rng(seed), drop, DRAWS)
    return np.linalg.norm(weight * ~masks, 2, axis=(1, 2)) > function(weight, drop, delta)


@pytest.mark.parametrize("function", MATRIX_BOUNDS)
@pytest.mark.parametrize("delta", [0.05, 0.5])
@pytest.mark.parametrize("heavy", [False, True])
def test_matrix_bounds_fail_no_more_often_than_they_say(function, delta, heavy):
    weight, drop = small_layer(3, shape=(8, 6))
    if heavy:  # nothing is assumed of the weights
        weight = np.random.default_rng(3).standard_t(1.5, size=(8, 6))
        drop = drop_probability(weight, 3.0, weight.var())
    assert not too_often(failures_given_the_weights(function, weight, drop, delta, 4), delta)


def test_without_its_mean_the_bound_would_fail():
    """Negative control: the same test rejects Bernstein's t alone, ‖W∘p‖₂ forgotten."""
    weight, drop = np.full((12, 12), 1.0), np.full((12, 12), 0.9)
    without = removed_norm_bernstein(weight, drop, 0.05) - np.linalg.norm(weight * drop, 2)
    failures = failures_given_the_weights(lambda *_: without, weight, drop, 0.05, 5)
    assert too_often(failures, 0.05)


def gaussian_draws(seed, shape, d, variance):
    """‖Δ‖₂ of DRAWS pairs of Gaussian weights and masks."""
    generator = np.random.default_rng(seed)
    weights = generator.normal(scale=math.sqrt(variance), size=(DRAWS, *shape))
    dropped = generator.random(weights.shape) < drop_probability(weights, d, variance)
    return np.linalg.norm(weights * dropped, 2, axis=(1, 2))


@pytest.mark.parametrize("shape", [(1, 1), (6, 9)])
@pytest.mark.parametrize("delta", [0.05, 0.9])
def test_the_gaussian_bound_fails_no_more_often_than_it_says(shape, delta):
    bound = removed_norm_gaussian([shape[0]], [shape[1]], 3.0, [0.5], delta)[0]
    norms = gaussian_draws(6, shape, 3.0, 0.5)
    assert not too_often(norms > bound, delta)
    assert too_often(norms > 0.5 * bound, delta) == (shape == (6, 9))  # the test has teeth


def test_latala_has_the_size_of_the_mean_norm():
    """Order-only: C is unknown. At 784 × 784 the mean is 38.4/65 of Gamma (THEORY 1.3)."""
    norms = gaussian_draws(7, (20, 20), 3.0, 1.0)
    gamma = removed_norm_latala([20], [20], 3.0, [1.0])[0]
    assert 0.5 < norms.mean() / gamma < 1.0


def test_redraws_fail_no_more_often_than_they_say():
    weight, drop = small_layer(8, shape=(4, 4))
    masks = draws_of_masks(np.random.default_rng(9), drop, DRAWS * 20).reshape(DRAWS, 20, 4, 4)
    norms = np.linalg.norm(weight * ~masks, 2, axis=(2, 3))
    failures = {
        rank: np.array([row[0] > np.sort(row[1:])[-rank] for row in norms]) for rank in (1, 2)
    }
    bounds = [removed_norm_redraws(row[1:], 0.05) for row in norms[:50]]
    assert bounds == [row[1:].max() for row in norms[:50]]
    assert not too_often(failures[1], 0.05)
    assert too_often(failures[2], 0.05)  # one rank too low: rejected


@pytest.mark.parametrize(
    ("delta", "expected"), [(0.1, 9.0), (0.19, 9.0), (0.2, 8.0), (0.3, 7.0), (0.9, 1.0)]
)
def test_the_rank_is_the_floor_of_delta_times_n_plus_one(delta, expected):
    """0.3·10 is 3 although the floats' product may lie on either side."""
    for order in itertools.islice(itertools.permutations(range(1, 10)), 3):
        assert removed_norm_redraws(order, delta) == expected


def test_too_few_redraws_are_refused_with_the_number_needed():
    with pytest.raises(InputError, match="redrawn_norms: 18 redraws .* expected 19 or more"):
        removed_norm_redraws([1.0] * 18, 0.05)
    assert removed_norm_redraws([1.0] * 19, 0.05) == 1.0


def test_measured_is_the_norm_of_what_is_missing():
    weight = np.array([[3.0, 7.0], [4.0, 1.0]])
    kept = np.array([[False, True], [False, True]])
    assert removed_norm_measured(weight, kept) == pytest.approx(5.0, rel=2e-9)
    assert removed_norm_measured(weight, np.ones((2, 2), bool)) == 0.0
    for mask in (np.ones((2, 1)), np.full((2, 2), 0.5)):
        with pytest.raises(InputError, match="kept must be a mask"):
            removed_norm_measured(weight, mask)


def test_matrices_that_do_not_match_are_refused():
    with pytest.raises(InputError, match="weight and drop_probability differ in shape"):
        removed_norm_bernstein([[1.0, 2.0]], [[0.5], [0.5]], 0.05)


@pytest.mark.slow
def test_the_anchor_of_theory_1_3():
    """784 × 784, d = 3: truth 38.4, Gaussian 45.7 (delta 0.01), Gamma with C = 1 65.0."""
    weight = np.random.default_rng(0).normal(size=(784, 784))
    drop = drop_probability(weight, 3.0, 1.0)
    dropped = np.random.default_rng(1).random(weight.shape) < drop
    truth = removed_norm_measured(weight, ~dropped)
    assert truth == pytest.approx(38.4, abs=0.6)
    assert removed_norm_gaussian([784], [784], 3.0, [1.0], 0.01)[0] == pytest.approx(45.7, abs=0.05)
    assert removed_norm_latala([784], [784], 3.0, [1.0])[0] == pytest.approx(65.0, abs=0.05)
    cumulants = removed_norm_cumulants(weight, drop, 0.01)
    assert truth < cumulants < removed_norm_bernstein(weight, drop, 0.01)
