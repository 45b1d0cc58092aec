"""From the networks drawn to all of Q: closed forms, exact coverage, draws with known mean."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from scipy.stats import binom

from prunecert.bounds.sampling import (
    gibbs_product_upper,
    gibbs_sampled_upper,
    mean_log_right_of,
)
from prunecert.types import InputError

mpmath.mp.dps = 40


def outward(value, exact, tightness):
    """`value` is not below `exact` and above it by at most `tightness`, relatively."""
    exact = mpf(exact)
    return exact <= mpf(value) <= exact * (1 + mpf(tightness))


def of_rates(rates):
    """The mean logarithm of right answers, over the last axis."""
    return np.log1p(-np.asarray(rates)).mean(axis=-1)


# --------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("delta", [0.05, 1 - 2.0**-53, 1e-300])
@pytest.mark.parametrize("draws", [1, 3, 1000, 10**9])
@pytest.mark.parametrize("errors", [0, 1, 500, 999_999])
def test_equal_draws_in_closed_form(errors, draws, delta):
    """1 − (1 − r) delta^(1/N)."""
    right = 1 - mpf(errors) / 10**6
    value = gibbs_product_upper(float(mpmath.log(right)), draws, delta)
    exact = 1 - right * mpf(delta) ** (mpf(1) / draws)
    rounding = mpf(2) ** -53 * abs(mpmath.log(right))  # of the logarithm given
    assert exact - rounding <= mpf(value) <= min(mpf(1), exact * (1 + mpf(4e-12)) + rounding)


def test_the_draws_multiply():
    """Three draws right on 1/2, 1/4 and all of S, delta 1/27: 1 − (1/8)^(1/3)/3 = 5/6."""
    mean = mean_log_right_of([4, 6, 0], 8)
    assert outward(gibbs_product_upper(mean, 3, 1 / 27), mpf(5) / 6, 1e-11)


def test_quoted_prices():
    """1,000 draws wrong on 1.06 % each, delta 1 %: 1 − 0.9894 e^−0.0046052 = 1.5146 %. By the kl
    form 2.36 %, where 0.0106 ln(0.0106/p) + 0.9894 ln(0.9894/(1 − p)) is 0.0046052."""
    assert round(100 * gibbs_product_upper(math.log1p(-0.0106), 1000, 0.01), 4) == 1.5146
    assert round(100 * gibbs_sampled_upper(0.0106, 1000, 0.01), 2) == 2.36


@pytest.mark.parametrize("n", [1, 7, 10**6])
def test_the_mean_of_logarithms_is_rounded_down(n):
    """Also at the last sample but one, and where next to nothing is wrong."""
    for errors in ([0], [n - 1], [0, n // 2, n - 1], [1 % n, 0, 0], [n // 3] * 11):
        exact = sum(mpmath.log(1 - mpf(e) / n) for e in errors) / len(errors)
        assert outward(-mean_log_right_of(errors, n), -exact, 2e-12)
    assert mean_log_right_of(np.array([n // 2, 0]), n) == mean_log_right_of([n // 2, 0], n)


def test_a_draw_that_is_wrong_everywhere_leaves_nothing():
    mean = mean_log_right_of([0, 10, 0], 10)
    assert mean == -1e300
    for draws in (1, 3, 10**9):
        assert gibbs_product_upper(mean, draws, 0.999) == 1.0


def test_never_below_the_mean_of_the_draws():
    rates = np.random.default_rng(0).beta(0.3, 0.9, size=(500, 7))
    assert (gibbs_product_upper(of_rates(rates), 7, 0.999999) > rates.mean(axis=1)).all()


# --------------------------------------------------------------------------- against the kl form


@pytest.mark.parametrize("draws", [1, 2, 30, 1000])
@pytest.mark.parametrize("delta", [0.5, 0.01, 1e-4])
def test_equal_draws_never_cost_more_than_in_the_kl_form(draws, delta):
    """1 − (1 − r)a ≤ kl⁻¹(r, ln(1/a)): the divergence there is r ln(r/p) + (1 − r) ln(1/a), and
    r ln(r/p) ≤ 0. Equal where nothing is wrong."""
    rates = np.array([1e-6, 0.0106, 0.3, 0.5, 0.9, 0.999])
    product = gibbs_product_upper(np.log1p(-rates), draws, delta)
    assert (product < gibbs_sampled_upper(rates, draws, delta)).all()
    none = gibbs_product_upper(0.0, draws, delta)
    assert none == pytest.approx(gibbs_sampled_upper(0.0, draws, delta), rel=5e-12)


def test_draws_that_are_all_or_nothing_cost_more():
    """One of a thousand networks is wrong everywhere: the kl form is the one that copes."""
    assert gibbs_sampled_upper(0.001, 1000, 0.01) < 0.02
    assert gibbs_product_upper(mean_log_right_of([0] * 999 + [8], 8), 1000, 0.01) == 1.0


# --------------------------------------------------------------------------- exact coverage


@pytest.mark.parametrize("delta", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("draws", [2, 5, 8])
def test_exact_coverage_of_three_rates(draws, delta):
    """Networks wrong on nothing, on 3/10 and on `most` of S, in every mixture on a grid, and every
    number of each drawn."""
    outcomes = [(a, b) for a, b in itertools.product(range(draws + 1), repeat=2) if a + b <= draws]
    worst = 0.0
    for most in (6, 9, 10):
        logs = [
            mean_log_right_of([0] * (draws - a - b) + [3] * a + [most] * b, 10) for a, b in outcomes
        ]
        bounds = gibbs_product_upper(np.array(logs), draws, delta)
        for i, j in itertools.product(range(21), repeat=2):
            if i + j > 20:
                continue
            p, q = i / 20, j / 20
            mean = 0.3 * p + most / 10 * q
            failure = math.fsum(
                math.comb(draws, a)
                * math.comb(draws - a, b)
                * p**a
                * q**b
                * max(0.0, 1 - p - q) ** (draws - a - b)
                for (a, b), bound in zip(outcomes, bounds)
                if bound < mean - 1e-12
            )
            assert failure <= delta * (1 + 1e-9)
            worst = max(worst, failure)
    assert worst > delta / 20


@pytest.mark.parametrize("delta", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("draws", [1, 4, 50])
def test_nothing_smaller_would_do_where_draws_are_all_or_nothing(draws, delta):
    """Just above the bound of draws without an error, these fail with probability delta."""
    bound = gibbs_product_upper(0.0, draws, delta)
    assert delta * (1 - 1e-9) < (1 - bound) ** draws <= delta * (1 + 1e-12)


# --------------------------------------------------------------------------- drawn networks

TRIALS = 2000


def rejected(failures, delta):
    """Too many for a failure probability of at most delta, as in tests/validity."""
    return bool(binom.sf(failures - 1, TRIALS, delta) < 1e-6)


@pytest.mark.parametrize(("a", "b"), [(0.2, 0.6), (2.0, 30.0), (40.0, 3000.0)])
def test_beta_distributed_rates_and_draws_taken_for_predictions(a, b):
    """Q's networks have Beta(a, b) error rates, mean a/(a + b). 30 draws are 30, whatever the 500
    samples that each of them predicts. (Where half of them are wrong on nearly nothing and some on
    nearly everything, the logarithms cost so much that even this cheat goes unnoticed.)"""
    draws, n, delta = 30, 500, 0.2
    rates = np.random.default_rng(1).beta(a, b, size=(TRIALS, draws))
    right = of_rates(np.minimum(rates, 1 - 1e-12))

    def failures(counted):
        return int((gibbs_product_upper(right, counted, delta) < a / (a + b)).sum())

    assert not rejected(failures(draws), delta)
    assert rejected(failures(draws * n), delta) is (a > 1)


def test_draws_left_out_for_being_wrong():
    """The product over the better half of the draws says nothing about Q."""
    draws, delta = 40, 0.2
    rates = np.sort(np.random.default_rng(2).beta(0.5, 2.0, size=(TRIALS, draws)), axis=1)
    honest, chosen = (
        int((gibbs_product_upper(of_rates(kept), kept.shape[1], delta) < 0.2).sum())
        for kept in (rates, rates[:, : draws // 2])
    )
    assert not rejected(honest, delta)
    assert rejected(chosen, delta)


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("function", "legal", "illegal"),
    [
        (
            gibbs_product_upper,
            {"mean_log_right": -0.1, "draws": 5, "delta": 0.05},
            {
                "mean_log_right": [1e-300, -math.inf, -1.1e300, math.nan, "most", True],
                "draws": [0, 2.5, True, "all"],
                "delta": [0.0, 1.0],
            },
        ),
        (
            mean_log_right_of,
            {"errors": [1, 2], "n": 5},
            {"errors": [[], 3, [6], [-1], [0.5], [[1, 2]]], "n": [0, 1, 2.5]},
        ),
    ],
)
def test_refusals(function, legal, illegal):
    function(**legal)
    for name, values in illegal.items():
        for value in values:
            with pytest.raises(InputError) as refusal:
                function(**legal | {name: value})
            assert name in str(refusal.value)
            assert "\n" not in str(refusal.value)
