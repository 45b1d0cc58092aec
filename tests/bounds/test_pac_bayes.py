"""PAC-Bayes: closed forms, exact sums, exact coverage of small worlds."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from prunecert.bounds.pac_bayes import (
    LARGEST_SUMMED,
    gaussian_kl_nats,
    independent_spike_and_slab_kl_nats,
    log_xi,
    majority_vote_upper,
    pac_bayes_catoni_upper,
    pac_bayes_kl_upper,
    single_draw_upper,
    spike_and_slab_kl_nats,
)
from prunecert.bounds.sampling import gibbs_sampled_upper
from prunecert.inversions import kl_bernoulli
from prunecert.types import InputError

mpmath.mp.dps = 40


def outward(value, exact, tightness):
    """`value` is not below `exact` and above it by at most `tightness`, relatively."""
    exact = mpf(exact)
    return exact <= mpf(value) <= exact * (1 + mpf(tightness))


# --------------------------------------------------------------------------- xi(n)


def xi(n):
    """By definition, as a fraction."""
    return sum(
        math.comb(n, k) * Fraction(k, n) ** k * Fraction(n - k, n) ** (n - k) for k in range(n + 1)
    )


@pytest.mark.parametrize("n", [1, 2, 3, 8, 50, 81, 82, 83, 300, 700])
def test_xi_against_its_definition(n):
    exact = xi(n)
    assert outward(log_xi(n), mpmath.log(mpf(exact.numerator) / exact.denominator), 3e-12)


def test_xi_of_60000():
    assert round(math.exp(log_xi(60_000)), 2) == 307.67  # THEORY 2.9


def test_xi_beyond_the_sum_is_the_larger_root():
    """√(πn/2) + 2/3 is xi(n) up to 1/√n (Ramanujan's Q, Knuth 1.2.11.3); 2√n lies above it."""
    n = LARGEST_SUMMED
    assert math.exp(log_xi(n)) == pytest.approx(math.sqrt(math.pi * n / 2) + 2 / 3, rel=1e-6)
    assert outward(log_xi(n + 1), mpmath.log(2 * mpmath.sqrt(n + 1)), 3e-12)
    assert log_xi(np.array([1, 2])).tolist() == [log_xi(1), log_xi(2)]


# --------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize(
    ("n", "nats", "delta"), [(1, 0.0, 0.1), (2, 3.5, 0.05), (60_000, 5e3, 0.5)]
)
def test_without_errors_every_kl_form_is_closed(n, nats, delta):
    """kl(0‖p) = −ln(1 − p)."""
    radius = (mpf(nats) + mpmath.log(float(xi(n)) if n < 9 else mpmath.exp(log_xi(n)))) / n
    radius -= mpmath.log(mpf(delta)) / n
    exact = -mpmath.expm1(-radius)
    tight = 1e-11 if n == 60_000 else 4e-12
    slack = mpf(1e-11) if n == 60_000 else 0  # there log_xi itself, rounded up, is the reference
    for value in (
        pac_bayes_kl_upper(0.0, nats, n, delta),
        single_draw_upper(0, n, nats, delta),
    ):
        assert outward(value, exact * (1 - slack), tight + float(slack))
    assert majority_vote_upper(0.0, nats, n, delta) == min(
        1.0, 2.0 * pac_bayes_kl_upper(0.0, nats, n, delta)
    )


def test_the_kl_form_inverts_the_kl():
    """At the bound, n·kl is the nats, ln xi and ln(1/delta), each once."""
    for risk, nats, n, delta in ((0.02, 5000.0, 60_000, 0.04), (0.3, 2.0, 40, 0.05)):
        p = pac_bayes_kl_upper(risk, nats, n, delta)
        assert n * kl_bernoulli(risk, p) == pytest.approx(
            nats + log_xi(n) + math.log(1 / delta), rel=1e-10
        )
        p = gibbs_sampled_upper(risk, n, delta)
        assert n * kl_bernoulli(risk, p) == pytest.approx(math.log(1 / delta), rel=1e-10)


def test_all_wrong_is_1():
    for value in (
        pac_bayes_kl_upper(1.0, 0.0, 10**6, 0.9),
        pac_bayes_catoni_upper(1.0, 0.0, 10**6, 1.0, 1, 0.9),
        gibbs_sampled_upper(1.0, 10**6, 0.9),
        majority_vote_upper(0.5, 0.0, 10**6, 0.9),
        single_draw_upper(7, 7, -3.0, 0.9),
        pac_bayes_kl_upper(0.0, 1e300, 10, 0.5),
        pac_bayes_catoni_upper(0.0, 1e300, 10, 1e-300, 3, 0.5),
    ):
        assert value == 1.0


@pytest.mark.parametrize(
    ("risk", "nats", "n", "beta", "betas", "delta"),
    [
        (0.0, 0.0, 1, 0.7, 1, 0.75),
        (0.02, 5000.0, 60_000, 1.5, 19, 0.04),
        (0.1, 1.0, 50, 0.01, 3, 0.5),
    ],
)
def test_catoni_as_printed(risk, nats, n, beta, betas, delta):
    exponent = mpf(beta) * mpf(risk) + (mpf(nats) + mpmath.log(betas / mpf(delta))) / n
    exact = min(mpf(1), (1 - mpmath.exp(-exponent)) / (1 - mpmath.exp(-mpf(beta))))
    assert outward(pac_bayes_catoni_upper(risk, nats, n, beta, betas, delta), exact, 1e-11)


def test_catoni_at_its_best_beta_is_the_kl_form_without_xi():
    """The envelope over beta is kl⁻¹ (Germain et al. 2009): no beta may go below it."""
    risk, nats, n, delta = 0.05, 40.0, 500, 0.05
    p = gibbs_sampled_upper(risk, n, delta * math.exp(-nats))  # kl⁻¹(risk, (nats + ln 1/delta)/n)
    best = math.log(p * (1 - risk) / (risk * (1 - p)))
    found = pac_bayes_catoni_upper(
        risk, nats, n, np.array([best, best / 1.01, 1.01 * best]), 1, delta
    )
    assert found[0] == pytest.approx(p, rel=1e-11)
    assert (found[1:] > found[0] * (1 + 1e-7)).all()


def test_a_single_draw_may_be_likelier_under_the_prior():
    assert single_draw_upper(3, 10, -1.0, 0.05) < single_draw_upper(3, 10, 0.0, 0.05)
    at_least = single_draw_upper(3, 10, -1e6, 0.05)  # a radius below 0 counts as 0
    assert mpf(3) / 10 <= at_least <= 0.3 * (1 + 1e-12)


def test_a_cancelling_ratio_is_rounded_outward():
    cost = mpmath.log(mpf(2)) - mpmath.log(mpf(0.1))
    ratio = -2.9957  # nearly −ln 20: what is left of the sum is 3e-5
    exact = -mpmath.expm1(-(cost + mpf(ratio)))
    assert outward(single_draw_upper(0, 1, ratio, 0.1), exact, 1e-6)


# --------------------------------------------------------------------------- divergences


def exact_gaussian_kl(mu, variance, mu_0, prior):
    """½(σ²/λ + (μ−μ₀)²/λ − 1 + ln(λ/σ²)), in 40 digits."""
    mu, variance, mu_0, prior = map(mpf, (mu, variance, mu_0, prior))
    return (variance / prior + (mu - mu_0) ** 2 / prior - 1 + mpmath.log(prior / variance)) / 2


def some_gaussians(seed, count):
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=count),
        np.exp(3 * rng.normal(size=count)),
        rng.normal(size=count),
        np.exp(3 * rng.normal(size=count)),
    ]


def test_gaussian_kl_against_forty_digits():
    given = some_gaussians(seed=0, count=200)
    exact = sum(exact_gaussian_kl(*weight) for weight in zip(*given))
    assert outward(gaussian_kl_nats(*given), exact, 2e-12)
    square = [values.reshape(10, 20) for values in given]
    assert gaussian_kl_nats(*square) == gaussian_kl_nats(*given)


@pytest.mark.parametrize(
    "ratio", [1e-300, 0.5, 0.76, 0.99, 1 - 1e-9, 1 + 1e-12, 1.01, 1.24, 1.26, 1e9]
)
def test_gaussian_kl_keeps_its_digits_near_the_prior(ratio):
    assert outward(gaussian_kl_nats(0.0, ratio, 0.0, 1.0), exact_gaussian_kl(0, ratio, 0, 1), 2e-12)
    assert gaussian_kl_nats(0.0, ratio, 0.0, ratio) == 0.0


def test_one_number_stands_for_every_weight():
    assert gaussian_kl_nats([1.0, 2.0, 3.0], 0.5, 0.0, 2.0) == gaussian_kl_nats(
        [1.0, 2.0, 3.0], [0.5] * 3, [0.0] * 3, [2.0] * 3
    )


def test_spike_and_slab_with_a_coded_mask():
    """Bits are bits; the pruned weights are not in the lists."""
    given = some_gaussians(seed=1, count=30)
    exact = 17 * mpmath.log(2) + sum(exact_gaussian_kl(*weight) for weight in zip(*given))
    assert outward(spike_and_slab_kl_nats(17, *given), exact, 2e-12)


def test_independent_spike_and_slab():
    mu, variance, mu_0, prior = some_gaussians(seed=2, count=40)
    rng = np.random.default_rng(3)
    keep, prior_keep = rng.random(40), 0.01 + 0.98 * rng.random(40)
    keep[:3] = 0.0, 1.0, prior_keep[2]

    def bernoulli(q, p):
        parts = [(mpf(q), mpf(p)), (1 - mpf(q), 1 - mpf(p))]
        return sum(a * mpmath.log(a / b) for a, b in parts if a > 0)

    exact = sum(
        bernoulli(q, p) + mpf(q) * exact_gaussian_kl(*weight)
        for q, p, *weight in zip(keep, prior_keep, mu, variance, mu_0, prior)
    )
    found = independent_spike_and_slab_kl_nats(keep, mu, variance, prior_keep, mu_0, prior)
    assert outward(found, exact, 2e-12)


def test_a_mask_drawn_surely_costs_its_bits_under_a_fair_prior():
    """keep in {0, 1} and prior_keep 1/2 is a mask coded with one bit per weight."""
    keep = np.array([1.0, 0.0, 1.0, 0.0])
    coded = spike_and_slab_kl_nats(4, [0.3, -2.0], 0.5, 0.0, 1.0)
    drawn = independent_spike_and_slab_kl_nats(keep, [0.3, 9.0, -2.0, 9.0], 0.5, 0.5, 0.0, 1.0)
    assert drawn == pytest.approx(coded, rel=1e-11)


# --------------------------------------------------------------------------- exact coverage

P_GRID = np.linspace(0.0, 1.0, 41)
ROUNDING = 1e-12  # of the sums over outcomes


def pmf(n, p):
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def worst_failure(bounds, n):
    """Largest P[bounds[k] < p] over p, also just above each value of the bound."""
    edges = np.nextafter(np.unique(bounds), 2.0)
    return max(pmf(n, p)[bounds < p].sum() for p in {*P_GRID, *edges[edges <= 1.0]})


@pytest.mark.parametrize("delta", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_coverage_of_one_predictor(n, delta):
    """Q = P on one network: divergence 0, ratio 1. Draws of a 0-1 risk are the same coin."""
    k = np.arange(n + 1)
    kl = pac_bayes_kl_upper(k / n, 0.0, n, delta)
    assert worst_failure(kl, n) <= delta
    assert single_draw_upper(k, n, 0.0, delta) == pytest.approx(kl, rel=4e-12)
    for beta in (0.1, 1.0, 5.0):
        assert worst_failure(pac_bayes_catoni_upper(k / n, 0.0, n, beta, 1, delta), n) <= delta
    draws = gibbs_sampled_upper(k / n, n, delta)
    assert worst_failure(draws, n) <= delta + ROUNDING
    assert worst_failure(draws, n) > delta * (1 - 1e-9)  # at k = 0 nothing smaller would do


def test_the_best_catoni_beta_on_a_list_and_one_that_is_not_paid():
    """Each beta is best for another outcome; charging one of nineteen lets too many fail."""
    n, delta, betas = 60, 0.3, np.array([0.3, 0.6, 1.0, 1.5, 2.2, 3.0, 5.0, 8.0, 16.0])
    k = np.arange(n + 1)[:, None]

    def best(length):
        return pac_bayes_catoni_upper(k / n, 0.0, n, betas, length, delta).min(axis=1)

    assert worst_failure(best(len(betas)), n) <= delta
    assert (best(1) < best(len(betas))).any()


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_coverage_of_the_better_of_two_predictors(delta):
    """Prior ½ each, posterior on the one with fewer errors: KL = ln 2. All outcomes, all risks."""
    n = 6
    pairs = list(itertools.product(range(n + 1), repeat=2))
    for bound in (
        pac_bayes_kl_upper(np.arange(n + 1) / n, math.log(2), n, delta),
        pac_bayes_catoni_upper(np.arange(n + 1) / n, math.log(2), n, 1.0, 1, delta),
    ):
        edges = np.unique([*P_GRID, *np.minimum(np.nextafter(bound, 2.0), 1.0)])
        for risks in itertools.product(edges, repeat=2):
            masses = [pmf(n, p) for p in risks]
            failure = sum(
                masses[0][i] * masses[1][j]
                for i, j in pairs
                if bound[min(i, j)] < risks[0 if i <= j else 1]
            )
            assert failure <= delta


def gibbs_posterior(errors, beta):
    """exp(−beta·errors), normalised over the last axis; ln(Q/P) against the uniform prior."""
    weights = np.exp(-beta * (errors - errors.min(axis=-1, keepdims=True)))
    posterior = weights / weights.sum(axis=-1, keepdims=True)
    return posterior, np.log(posterior * errors.shape[-1])


@pytest.mark.parametrize("beta", [0.0, 0.5, 3.0])
def test_exact_coverage_of_a_single_draw(beta):
    """Three predictors, every outcome and every draw: P[R(w) above its bound] <= delta."""
    n, delta = 6, 0.3
    outcomes = np.array(list(itertools.product(range(n + 1), repeat=3)))
    posterior, ratio = gibbs_posterior(outcomes, beta)
    bound = single_draw_upper(outcomes, n, ratio, delta)
    for risks in itertools.combinations_with_replacement(np.linspace(0.05, 0.95, 10), 3):
        mass = np.prod([pmf(n, p)[outcomes[:, i]] for i, p in enumerate(risks)], axis=0)
        assert (mass[:, None] * posterior * (bound < np.array(risks))).sum() <= delta


def test_the_vote_of_two_thirds_right():
    """Three networks wrong on a third each: the vote is right, Gibbs a third wrong. Three right on
    a third each: the vote is wrong everywhere, Gibbs two thirds. Twice Gibbs covers both."""
    wrong = np.eye(3, dtype=bool)
    for table in (wrong, ~wrong):
        vote_risk = (table.mean(axis=0) >= 0.5).mean()
        assert vote_risk <= 2 * table.mean()
        assert majority_vote_upper(table.mean(), 0.0, 10**6, 0.9) >= vote_risk


# --------------------------------------------------------------------------- refusals


GAUSSIAN = {"mean": [0.0], "variance": [1.0], "prior_mean": [0.0], "prior_variance": [1.0]}


@pytest.mark.parametrize(
    ("function", "legal", "illegal"),
    [
        (
            pac_bayes_kl_upper,
            {"empirical_risk": 0.1, "kl_nats": 1.0, "n": 10, "delta": 0.05},
            {
                "empirical_risk": [-0.1, 1.1, math.nan, "low"],
                "kl_nats": [-1e-9, math.inf, math.nan, None],
                "n": [0, 1.5, True],
                "delta": [0.0, 1.0, math.nan],
            },
        ),
        (
            pac_bayes_catoni_upper,
            {"empirical_risk": 0.1, "kl_nats": 1.0, "n": 9, "beta": 1.0, "betas": 1, "delta": 0.1},
            {
                "empirical_risk": [1.1, "low"],
                "kl_nats": [-1.0],
                "n": [0],
                "beta": [0.0, -1.0, math.inf, math.nan],
                "betas": [0, 1.5, True, None],
                "delta": [1.0],
            },
        ),
        (
            gibbs_sampled_upper,
            {"empirical_risk": 0.1, "draws": 5, "delta": 0.05},
            {"empirical_risk": [2], "draws": [0, 2.5, True, "all"], "delta": [0.0]},
        ),
        (
            single_draw_upper,
            {"errors": 1, "n": 10, "log_ratio_nats": 0.5, "delta": 0.05},
            {
                "errors": [-1, 11, 0.5],
                "n": [0],
                "log_ratio_nats": [math.inf, -math.inf, math.nan, "even"],
                "delta": [1.5],
            },
        ),
        (
            gaussian_kl_nats,
            GAUSSIAN,
            {
                "mean": [[math.nan], "none", [0.0, 1.0]],
                "variance": [[0.0], [-1.0], [math.inf]],
                "prior_mean": [[math.inf]],
                "prior_variance": [[0.0], 0.0, [-1.0], [1e-320], [[1.0], [1.0]]],
            },
        ),
        (
            spike_and_slab_kl_nats,
            {"mask_bits": 3} | GAUSSIAN,
            {"mask_bits": [-1, math.nan, math.inf], "variance": [0.0]},
        ),
        (
            independent_spike_and_slab_kl_nats,
            {"keep": [0.5], "prior_keep": [0.5]} | GAUSSIAN,
            {
                "keep": [[1.1], [-0.1], [math.nan], [0.5, 0.5]],
                "prior_keep": [[0.0], [1.0]],
                "variance": [[0.0]],
            },
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
