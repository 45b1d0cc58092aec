"""PAC-Bayes twins: exact sums, closed forms, exact failure probabilities, quoted numbers."""

from fractions import Fraction
from math import comb

import pytest
from exact_tail import exact
from mpmath import exp, log, mpf, pi, quad, sqrt, workdps

from prunecert.reference import TWINS
from prunecert.reference.binomial import kl_inverse
from prunecert.reference.pac_bayes import (
    gaussian_kl,
    independent_spike_and_slab_kl,
    spike_and_slab_kl,
    xi,
)
from prunecert.types import InputError

TINY = mpf("1e-30")

pac_bayes_kl, catoni = TWINS["pac-bayes-kl"], TWINS["pac-bayes-catoni"]
gibbs_sampled, gibbs_product = TWINS["gibbs-sampled"], TWINS["gibbs-product"]
single_draw, majority_vote = TWINS["single-draw"], TWINS["majority-vote"]


def test_xi_is_its_defining_sum():
    for n in (1, 2, 3, 7, 30, 61):
        terms = (
            comb(n, k) * Fraction(k, n) ** k * Fraction(n - k, n) ** (n - k) for k in range(n + 1)
        )
        assert abs(exact(xi(n)) / sum(terms) - 1) < Fraction(1, 10**46)


@workdps(50)
def test_xi_of_a_large_sample():
    """THEORY 2.9, and 1 + Q(n) of Ramanujan, whose expansion is
    √(πn/2) - 1/3 + √(π/(2n))/12 - 4/(135n) + O(n^-3/2)."""
    assert abs(xi(60000) - mpf("307.67")) <= 0.005
    for n in (10000, 60000):
        expansion = sqrt(pi * n / 2) + mpf(2) / 3 + sqrt(pi / (2 * n)) / 12 - mpf(4) / (135 * n)
        assert abs(xi(n) - expansion) < mpf(n) ** (-mpf(3) / 2)


def test_xi_is_between_the_bounds_of_maurer():
    for n in (8, 100, 5000):
        assert sqrt(n) <= xi(n) <= 2 * sqrt(n)


def test_quoted_pac_bayes():
    """THEORY 3.4: a point posterior of 4,000 bits, 2 % of 60,000, gives 9.44 %."""
    with workdps(50):
        nats = 4000 * log(2)
    value = pac_bayes_kl(empirical_risk=0.02, kl_nats=nats, n=60000, delta=0.05)
    assert abs(100 * value - 9.44) <= 0.005


@workdps(50)
def test_pac_bayes_kl_in_closed_form():
    """No loss: 1 - e^-c; ξ(2) = 5/2; everything wrong, or nothing seen: 1."""
    value = pac_bayes_kl(empirical_risk=0, kl_nats=1, n=2, delta=0.5)
    assert abs(value - (1 - exp(-mpf(1) / 2) / sqrt(5))) < TINY
    assert pac_bayes_kl(empirical_risk=1, kl_nats=1, n=2, delta=0.5) == 1
    assert pac_bayes_kl(empirical_risk=0, kl_nats=0, n=0, delta=0.5) == 1


def at_least(k: int, n: int, p: mpf) -> mpf:
    return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


@workdps(50)
@pytest.mark.parametrize("networks", [1, 2, 5])
@pytest.mark.parametrize("name", ["pac-bayes-kl", "pac-bayes-catoni"])
def test_the_best_of_a_few_networks(name, networks):
    """P uniform, Q the network with the fewest errors: the risk just above each bound."""
    n, delta = 8, 0.4
    more = {"beta": 1.3, "betas": 1} if name == "pac-bayes-catoni" else {}
    bounds = [
        TWINS[name](empirical_risk=k / n, kl_nats=log(networks), n=n, delta=delta, **more)
        for k in range(n + 1)
    ]
    worst = mpf(0)
    for p in {bound * (1 + mpf("1e-9")) for bound in bounds if bound < 1}:
        failure = sum(
            at_least(k, n, p) ** networks - at_least(k + 1, n, p) ** networks
            for k in range(n + 1)
            if bounds[k] < p
        )
        worst = max(worst, failure)
    assert delta / 40 < worst <= delta


@workdps(50)
def test_catoni_at_its_best_beta_is_the_kl_inverse_without_xi():
    """The supremum over beta of -ln(1 - p(1-e^-beta)) - beta q is kl(q‖p), at the log odds ratio.

    At the rounded beta the value is above the inverse by the square of the rounding.
    """
    q, n, nats = mpf("0.125"), 50, mpf(3)
    p = kl_inverse(q, (nats + log(1 / mpf(0.05))) / n)
    best = log(p * (1 - q) / (q * (1 - p)))
    question = {"empirical_risk": 0.125, "kl_nats": 3, "n": n, "betas": 1, "delta": 0.05}
    assert abs(catoni(beta=best, **question) - p) < TINY
    for factor in (0.3, 0.9, 1.1, 3):
        assert catoni(beta=best * factor, **question) > p + mpf("1e-5")


@workdps(50)
def test_catoni_in_closed_form():
    """beta = ln 2 divides by 1/2; delta/betas = 1/32 is ln 2 for each of 5, which gives 2 - √½."""
    question = {"empirical_risk": 0.5, "kl_nats": 0, "n": 5, "beta": log(2), "delta": 0.25}
    assert catoni(betas=8, **question) == 1
    question = {**question, "empirical_risk": 0, "n": 25}
    assert abs(catoni(betas=8, **question) - 2 * (1 - mpf(2) ** (-mpf(1) / 5))) < TINY
    assert catoni(**{**question, "n": 0}, betas=8) == 1


@workdps(50)
def test_gibbs_sampled_in_closed_form():
    """kl⁻¹(0, c) = 1 - e^-c, and kl(1/2‖p) = -ln(4p(1-p))/2."""
    value = gibbs_sampled(empirical_risk=0, draws=150, delta=0.01)
    assert abs(value - (1 - mpf(0.01) ** (mpf(1) / 150))) < TINY
    value = gibbs_sampled(empirical_risk=0.5, draws=150, delta=0.01)
    assert abs(value - (1 + sqrt(1 - mpf(0.01) ** (mpf(2) / 150))) / 2) < TINY
    assert gibbs_sampled(empirical_risk=0.5, draws=0, delta=0.01) == 1


@workdps(50)
def test_gibbs_product_in_closed_form():
    """Half right in one draw: 1 - delta/2. Rates 0 and 3/4, delta 1/9: 1 - (1/36)^(1/2)."""
    value = gibbs_product(mean_log_right=-log(2), draws=1, delta=0.0625)
    assert abs(value - mpf(31) / 32) < TINY
    value = gibbs_product(mean_log_right=-log(4) / 2, draws=2, delta=mpf(1) / 9)
    assert abs(value - mpf(5) / 6) < TINY
    assert gibbs_product(mean_log_right=-1e300, draws=150, delta=0.01) == 1
    assert gibbs_product(mean_log_right=-0.1, draws=0, delta=0.01) == 1


@workdps(50)
def test_quoted_gibbs_product():
    """1,000 draws, each wrong on 1.06 %: 1.5146 % where the kl form says 2.36 %."""
    same = {"draws": 1000, "delta": 0.01}
    value = gibbs_product(mean_log_right=log(1 - mpf("0.0106")), **same)
    assert abs(100 * value - mpf("1.5146")) <= 0.00005
    assert abs(100 * gibbs_sampled(empirical_risk=0.0106, **same) - mpf("2.36")) <= 0.005


@workdps(50)
def test_without_errors_both_forms_are_one():
    for draws in (1, 7, 1000):
        product = gibbs_product(mean_log_right=0, draws=draws, delta=0.05)
        assert abs(product - gibbs_sampled(empirical_risk=0, draws=draws, delta=0.05)) < TINY


@workdps(50)
def test_gibbs_product_fails_no_more_often_than_delta():
    """Draws wrong on half of the sample or on nothing; means just above each bound."""
    draws, delta = 8, 0.5
    half = -log(2) / draws
    bounds = [
        gibbs_product(mean_log_right=k * half, draws=draws, delta=delta) for k in range(draws + 1)
    ]
    worst = mpf(0)
    for mean in {bound * (1 + mpf("1e-9")) for bound in bounds if bound < 0.499}:
        p = 2 * mean  # how many of the networks are wrong on half
        failure = sum(
            comb(draws, k) * p**k * (1 - p) ** (draws - k)
            for k in range(draws + 1)
            if bounds[k] < mean
        )
        worst = max(worst, failure)
    assert delta / 10 < worst <= delta


@workdps(50)
def test_single_draw_in_closed_form():
    """n = 2, ξ = 5/2: no error and ratio ln(1/5): 1 - (5 delta/(5/2))^(1/2)."""
    value = single_draw(errors=0, n=2, log_ratio_nats=-log(5), delta=0.125)
    assert abs(value - mpf("0.5")) < TINY
    same = {"n": 400, "delta": 0.05}
    value = single_draw(errors=30, log_ratio_nats=7, **same)
    expected = pac_bayes_kl(empirical_risk=mpf(30) / 400, kl_nats=7, **same)
    assert abs(value - expected) < TINY
    assert single_draw(errors=0, n=0, log_ratio_nats=7, delta=0.05) == 1


@workdps(50)
def test_a_very_negative_ratio_leaves_the_empirical_risk():
    assert single_draw(errors=30, n=400, log_ratio_nats=-1000, delta=0.05) == mpf(30) / 400
    assert single_draw(errors=0, n=400, log_ratio_nats=-1000, delta=0.05) == 0


@workdps(50)
def test_a_single_draw_fails_no_more_often_than_delta():
    """Two networks, P uniform; Q gives 9/10 to the one with fewer errors, and half at a tie."""
    n, delta = 6, 0.5
    likely, rare, tie = log(mpf(9) / 5), log(mpf(1) / 5), mpf(0)

    def bound(k: int, ratio: mpf) -> mpf:
        return single_draw(errors=k, n=n, log_ratio_nats=ratio, delta=delta)

    table = {(k, ratio): bound(k, ratio) for k in range(n + 1) for ratio in (likely, rare, tie)}
    worst = mpf(0)
    for p in {value * (1 + mpf("1e-9")) for value in table.values() if 0 < value < 1}:
        weight = [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        failure = mpf(0)
        for first in range(n + 1):
            for second in range(n + 1):
                draws = (
                    [(first, tie, 1)]
                    if first == second
                    else [(min(first, second), likely, 0.9), (max(first, second), rare, 0.1)]
                )
                for k, ratio, share in draws:
                    failure += weight[first] * weight[second] * share * (table[k, ratio] < p)
        worst = max(worst, failure)
    assert delta / 40 < worst <= delta


@workdps(50)
def test_majority_vote_is_twice_the_gibbs_risk():
    question = {"empirical_risk": 0.02, "kl_nats": 30, "n": 5000, "delta": 0.05}
    assert majority_vote(**question) == 2 * pac_bayes_kl(**question) < 1
    assert majority_vote(**{**question, "empirical_risk": 0.5}) == 1


@workdps(30)
def test_gaussian_kl_is_its_integral():
    def density(x: mpf, mean: float, variance: float) -> mpf:
        return exp(-((x - mean) ** 2) / (2 * mpf(variance))) / sqrt(2 * pi * mpf(variance))

    def integrand(x: mpf) -> mpf:
        q = density(x, 0.5, 0.25)
        return q * log(q / density(x, -0.25, 2)) if q > 0 else mpf(0)

    integral = quad(integrand, [-8, 0, 0.5, 1, 9])
    assert abs(gaussian_kl([0.5], 0.25, -0.25, [2]) - integral) < mpf("1e-20")


@workdps(50)
def test_gaussian_kl_in_closed_form():
    """A shift costs (m - m₀)²/(2λ), a change of scale (r - 1 - ln r)/2, and entries add."""
    assert gaussian_kl([0.5, -1], 2, [0.5, -1], 2) == 0
    assert gaussian_kl([], 2, 0, 2) == 0
    assert abs(gaussian_kl([3], 2, 1, 2) - 1) < TINY
    assert abs(gaussian_kl([3], 4, 3, 2) - (1 - log(2)) / 2) < TINY
    both = gaussian_kl([3, 3], [2, 4], [1, 3], [2, 2])
    assert abs(both - 1 - (1 - log(2)) / 2) < TINY


@workdps(50)
def test_spike_and_slab_pays_the_mask_in_nats():
    gaussian = ([3, 3], [2, 4], [1, 3], [2, 2])
    value = spike_and_slab_kl(10, *gaussian)
    assert abs(value - gaussian_kl(*gaussian) - 10 * log(2)) < TINY


@workdps(50)
def test_independent_masks_share_one_unit_of_probability():
    """Σ over all masks of 7 weights of e^-(cost of the mask) is 1 when no Gaussian moved."""
    total = mpf(0)
    for kept in range(8):
        nats = independent_spike_and_slab_kl(0.3, 7 - kept, [0.5] * kept, 2, 0.5, 2)
        total += comb(7, kept) * exp(-nats)
    assert abs(total - 1) < TINY
    one = independent_spike_and_slab_kl(0.25, 2, [3], 2, 1, 2)
    assert abs(one - (log(4) + 1 + 2 * log(mpf(4) / 3))) < TINY


def test_bad_numbers_are_refused():
    good = {"empirical_risk": 0.1, "kl_nats": 3, "n": 10, "delta": 0.05}
    for name, bad in [("empirical_risk", -0.1), ("kl_nats", -1), ("n", -1), ("delta", 1)]:
        for twin in (pac_bayes_kl, majority_vote):
            with pytest.raises(InputError, match=f"^{name}: expected"):
                twin(**{**good, name: bad})
    for name, bad in [("beta", 0), ("betas", 0)]:
        with pytest.raises(InputError, match=f"^{name}: expected"):
            catoni(**{**good, "beta": 1, "betas": 1, name: bad})
    with pytest.raises(InputError, match="^draws: expected"):
        gibbs_sampled(empirical_risk=0.1, draws=-1, delta=0.05)
    good = {"mean_log_right": -0.1, "draws": 5, "delta": 0.05}
    for name, bad in [("mean_log_right", 1e-9), ("draws", -1), ("delta", 0)]:
        with pytest.raises(InputError, match=f"^{name}: expected"):
            gibbs_product(**{**good, name: bad})
    with pytest.raises(InputError, match="^n: expected"):
        xi(0)
    with pytest.raises(InputError, match="^variance: expected numbers above 0"):
        gaussian_kl([1], 0, 0, 1)
    with pytest.raises(InputError, match="^prior_variance: expected one number or 1"):
        gaussian_kl([1], 1, 0, [1, 1])
    with pytest.raises(InputError, match="^keep_probability: expected"):
        independent_spike_and_slab_kl(1, 0, [1], 1, 0, 1)
