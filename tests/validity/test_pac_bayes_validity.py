"""Randomised and compressed networks on worlds with known risk: they must not fail too often.

The rule is that of `test_simulated_validity`: a one-sided binomial test at 1e-6 rejects "fails
with probability at most delta". Every statement has a dishonest twin that the rule must reject.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, chi2

from prunecert.bounds.holdout import holdout_upper
from prunecert.bounds.pac_bayes import (
    gaussian_kl_nats,
    pac_bayes_catoni_upper,
    pac_bayes_kl_upper,
    single_draw_upper,
)
from prunecert.bounds.pac_bayes_rows import BETAS, SAMPLING_SHARE
from prunecert.bounds.sample_compression import pick_to_learn_upper, sample_compression_upper
from prunecert.bounds.sampling import (
    gibbs_product_upper,
    gibbs_sampled_upper,
    mean_log_right_of,
)
from prunecert.inversions import binomial_tail_upper

DRAWS = 2000
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def rejected(failures: int, delta: float) -> bool:
    """The observed number of failures is too large for a failure probability of at most delta."""
    return bool(binom.sf(failures - 1, DRAWS, delta) < 1e-6)


def test_the_rule_itself():
    assert not rejected(100, 0.05)
    assert rejected(160, 0.05)


def counted(trials: Iterator[tuple[bool, ...]]) -> tuple[int, ...]:
    """How often each of several procedures failed, over the same samples."""
    return tuple(sum(column) for column in zip(*trials, strict=True))


# --------------------------------------------------------------------------- a finite class

PREDICTORS, SAMPLES, DELTA = 512, 24, 0.2
RISKS = np.linspace(0.3, 0.6, PREDICTORS)  # each wrong where its own coin says so


def errors_of_the_class(rng: np.random.Generator) -> Ints:
    return rng.binomial(SAMPLES, RISKS)


def posterior(errors: Ints, beta: float) -> tuple[Floats, float]:
    """Q ∝ exp(−beta·errors) on the uniform prior, and KL(Q‖P)."""
    weights = np.exp(-beta * (errors - errors.min()))
    q = weights / weights.sum()
    held = q[q > 0]
    return q, max(0.0, float((held * np.log(held * len(q))).sum()))


@pytest.mark.parametrize("beta", [0.5, 4.0])
def test_gibbs_posteriors_of_a_finite_class(beta):
    """Exact R̂(Q) and R(Q). The same posterior reported as if it were the prior fails."""

    def trials() -> Iterator[tuple[bool, ...]]:
        rng = np.random.default_rng(1)
        for _ in range(DRAWS):
            errors = errors_of_the_class(rng)
            q, nats = posterior(errors, beta)
            empirical, risk = float(q @ errors) / SAMPLES, float(q @ RISKS)
            catoni = min(
                pac_bayes_catoni_upper(empirical, nats, SAMPLES, b, len(BETAS), DELTA)
                for b in BETAS[6:16:4]
            )
            yield (
                pac_bayes_kl_upper(empirical, nats, SAMPLES, DELTA) < risk,
                catoni < risk,
                pac_bayes_kl_upper(empirical, 0.0, SAMPLES, DELTA) < risk,
            )

    kl, catoni, free = counted(trials())
    assert not rejected(kl, DELTA)
    assert not rejected(catoni, DELTA)
    if beta == 4.0:
        assert rejected(free, DELTA)


def test_a_single_draw_and_one_that_forgets_its_ratio():
    def trials() -> Iterator[tuple[bool, ...]]:
        rng = np.random.default_rng(2)
        for _ in range(DRAWS):
            errors = errors_of_the_class(rng)
            q, _ = posterior(errors, 3.0)
            w = int(rng.choice(PREDICTORS, p=q))
            ratio = math.log(q[w] * PREDICTORS)
            yield tuple(
                single_draw_upper(int(errors[w]), SAMPLES, paid, DELTA) < RISKS[w]
                for paid in (ratio, 0.0)
            )

    honest, free = counted(trials())
    assert not rejected(honest, DELTA)
    assert rejected(free, DELTA)


# --------------------------------------------------------------------------- drawn networks


def test_draws_are_counted_and_not_their_predictions():
    """A posterior that is wrong everywhere with probability 0.1 and right everywhere otherwise:
    40 draws are 40 coins, whatever the 500 samples that each of them predicts."""
    draws, n, wrong, delta = 40, 500, 0.1, SAMPLING_SHARE * 0.5
    seen = np.random.default_rng(3).binomial(draws, wrong, size=DRAWS) / draws
    honest = int((gibbs_sampled_upper(seen, draws, delta) < wrong).sum())
    inflated = int((gibbs_sampled_upper(seen, draws * n, delta) < wrong).sum())
    assert honest > 0
    assert not rejected(honest, delta)
    assert rejected(inflated, delta)


@pytest.mark.parametrize("form", [gibbs_product_upper, gibbs_sampled_upper])
def test_posterior_sampled_and_bounded_on_one_delta(form):
    """The whole certificate: SAMPLING_SHARE of delta for 50 draws, the rest for the sample."""
    draws, beta = 50, 0.5

    def trials() -> Iterator[tuple[bool, ...]]:
        rng = np.random.default_rng(4)
        for _ in range(DRAWS):
            errors = errors_of_the_class(rng)
            q, nats = posterior(errors, beta)
            drawn = errors[rng.choice(PREDICTORS, size=draws, p=q)]
            shown = float(drawn.mean()) / SAMPLES
            if form is gibbs_product_upper:
                shown = mean_log_right_of(drawn, SAMPLES)
            empirical = form(shown, draws, SAMPLING_SHARE * DELTA)
            share = (1 - SAMPLING_SHARE) * DELTA
            yield (
                empirical < float(q @ errors) / SAMPLES,
                pac_bayes_kl_upper(empirical, nats, SAMPLES, share) < float(q @ RISKS),
            )

    sampling, bound = counted(trials())
    assert not rejected(sampling, SAMPLING_SHARE * DELTA)
    assert not rejected(bound, DELTA)


def test_a_prior_variance_chosen_after_the_data_is_paid_for():
    """Gaussian weights whose only trait is their size: its power of 4 picks one of 400 predictors,
    each wrong on half of the world. Posterior = prior = the variance that did best on S, so KL = 0.
    With delta/400 each it holds; chosen for nothing it does not."""
    variances, weights, n, delta = 400, 64, 24, 0.2
    scales = 4.0 ** np.arange(variances)
    # Q_t puts on predictor u the probability that the mean square falls in the band 4^(u ± ½)
    edges = 4.0 ** (np.arange(-2, 4) - 0.5)
    band = np.diff(chi2.cdf(weights * edges, weights))  # predictors t − 2 … t + 2
    assert band.sum() == pytest.approx(1.0, abs=1e-12)

    def trials() -> Iterator[tuple[bool, ...]]:
        rng = np.random.default_rng(5)
        for _ in range(DRAWS):
            empirical = np.convolve(rng.binomial(n, 0.5, size=variances) / n, band, mode="valid")
            t = int(empirical.argmin())
            prior = np.full(weights, scales[t])
            nats = gaussian_kl_nats(0.0, prior, 0.0, prior)
            yield tuple(
                pac_bayes_kl_upper(float(empirical[t]), nats, n, share) < 0.5
                for share in (delta / variances, delta)
            )

    paid, free = counted(trials())
    assert not rejected(paid, delta)
    assert rejected(free, delta)


# --------------------------------------------------------------------------- sample compression


def thresholds(rng: np.random.Generator, n: int, noise: float) -> tuple[Ints, Floats]:
    """One sample: x uniform, y = [x > ½] but for `noise`. For each kept point, the classifier
    [x > that point]: its errors on the n − 1 others, and its risk."""
    x = np.sort(rng.random(n))
    y = (x > 0.5) ^ (rng.random(n) < noise)
    left = np.concatenate([[0], np.cumsum(y)])  # ones among the first i
    errors = left[:-1] + (~y).sum() - (np.arange(1, n + 1) - left[1:])
    # the kept point itself is predicted 0: it counts in neither sum unless it is a 1
    return errors.astype(np.int64), noise + (1 - 2 * noise) * np.abs(x - 0.5)


def test_errors_of_the_thresholds_one_by_one():
    rng, again = (np.random.default_rng(6) for _ in range(2))
    errors, _ = thresholds(rng, 20, 0.2)
    x = np.sort(again.random(20))
    y = (x > 0.5) ^ (again.random(20) < 0.2)
    for i in range(20):
        wrong = (x > x[i]) != y
        assert errors[i] == np.delete(wrong, i).sum()


@pytest.mark.parametrize(("n", "noise"), [(10, 0.0), (50, 0.2)])
def test_the_best_threshold_at_a_kept_point(n, noise):
    delta = 0.2

    def trials() -> Iterator[tuple[bool, ...]]:
        rng = np.random.default_rng(7)
        for _ in range(DRAWS):
            errors, risks = thresholds(rng, n, noise)
            best = int(errors.argmin())
            yield (sample_compression_upper(int(errors[best]), 1, n, 0, delta) < risks[best],)

    (failed,) = counted(trials())
    assert not rejected(failed, delta)


def intervals(rng: np.random.Generator, n: int) -> int:
    """Labels are fair coins. Of all classifiers "1 between two kept points", the fewest errors on
    the n − 2 others; the risk of each is a half."""
    y = rng.random(n) < 0.5
    score = np.concatenate([[0], np.cumsum(np.where(y, -1, 1))])  # zeros minus ones up to i
    i, j = np.triu_indices(n, 1)
    inside = score[j] - score[i + 1]  # between the points, neither of them
    return int((inside + y.sum() - y[i] - y[j]).min())


def test_the_best_of_all_intervals_pays_for_its_subset():
    """Charged as one subset of two, without the C(n, 2), it fails too often."""
    n, delta = 40, 0.9
    share = delta * 6 / math.pi**2 / 9  # of the size 2, for all its subsets together

    def trials() -> Iterator[tuple[bool, ...]]:
        rng = np.random.default_rng(8)
        for _ in range(DRAWS):
            errors = intervals(rng, n)
            yield (
                sample_compression_upper(errors, 2, n, 0, delta) < 0.5,
                binomial_tail_upper(errors, n - 2, math.log(share)) < 0.5,
            )

    honest, free = counted(trials())
    assert not rejected(honest, share)
    assert rejected(free, share)


def test_kept_points_are_not_points_that_were_passed():
    """All but one of 40 samples are kept, and the one left out is one the network happens to be
    right on. Its right answer counts for one sample; counted over all 40 it fails."""
    n, delta = 40, 0.2
    right = np.random.default_rng(9).random(DRAWS) < 0.5  # labels are fair coins: risk ½
    share = math.log(delta * 6 / math.pi**2 / n**2 / n)
    honest = [sample_compression_upper(int(not r), n - 1, n, 0, delta) < 0.5 for r in right]
    over_all = [binomial_tail_upper(int(not r), n, share) < 0.5 for r in right]
    assert not rejected(sum(honest), delta)
    assert rejected(sum(over_all), delta)


# --------------------------------------------------------------------------- pick to learn


def picked_box(points: Floats) -> tuple[int, float]:
    """Pick-to-learn of a box: everything in the unit square is a 1, the network says 1 in the
    smallest box around what was picked. Pick the point farthest outside it, until none is.

    The number picked, and the risk: what the box leaves of the square.
    """
    low = high = points[points.sum(axis=1).argmax()]  # first pick, nothing being covered yet
    picked = 1
    while True:
        outside = np.maximum(low - points, points - high).max(axis=1)
        farthest = int(outside.argmax())
        if outside[farthest] <= 0:
            return picked, 1.0 - float(np.prod(high - low))
        picked += 1
        low, high = np.minimum(low, points[farthest]), np.maximum(high, points[farthest])


@pytest.mark.parametrize(("n", "delta"), [(12, 0.1), (60, 0.3)])
def test_a_picked_box_and_one_that_does_not_count_its_picks(n, delta):
    """Right on all that was not picked: as a hold-out without errors it would fail."""
    sizes = set()

    def trials() -> Iterator[tuple[bool, ...]]:
        rng = np.random.default_rng(10)
        for _ in range(DRAWS):
            picked, risk = picked_box(rng.random((n, 2)))
            sizes.add(picked)
            yield (
                pick_to_learn_upper(picked, n, delta) < risk,
                holdout_upper(0, n - picked, delta) < risk,
                pick_to_learn_upper(0, n, delta) < risk,
            )

    honest, as_holdout, uncounted = counted(trials())
    assert len(sizes) > 1
    assert not rejected(honest, delta)
    assert rejected(as_holdout, delta)
    assert rejected(uncounted, delta)
