"""Losses in [0, 1]: closed forms, the p-value inverted, coverage exact and simulated, evidence."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy import stats

from prunecert.bounds import holdout_upper
from prunecert.bounds.losses import (
    LOSS_ROWS,
    bounded_loss_upper,
    empirical_bernstein_upper,
    hoeffding_bentkus_upper,
)
from prunecert.bounds.table import evaluate
from prunecert.types import Certificate, InputError, Losses, NotApplicable, kind_of

mpmath.mp.dps = 50
# language-top-k reads a text: see test_language.py
ROWS = {row.name: row for row in LOSS_ROWS if row.needs == ("losses@holdout",)}
ROUNDING = 1e-12


def log_tail(k, n, p):
    """ln P[Bin(n, p) <= k] by mpmath, summed downwards until nothing changes."""
    if k >= n:
        return mpmath.mpf(0)
    p = mpmath.mpf(p)
    term = total = mpmath.mpf(1)
    for i in range(k, 0, -1):
        term *= mpmath.mpf(i) / (n - i + 1) * (1 - p) / p
        total += term
        if term < total * mpmath.mpf(1e-45):  # terms shrink from here on
            break
    log_binomial = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
    return log_binomial + k * mpmath.log(p) + (n - k) * mpmath.log(1 - p) + mpmath.log(total)


def log_p_value(rate, n, alpha):
    """ln of the Hoeffding–Bentkus p-value, THEORY 2.11 word for word; `rate` is a decimal text."""
    mean, alpha = mpmath.mpf(rate), mpmath.mpf(alpha)
    least = min(mean, alpha)
    kl = (1 - least) * mpmath.log((1 - least) / (1 - alpha))
    if least > 0:
        kl += least * mpmath.log(least / alpha)
    return min(-n * kl, 1 + log_tail(math.ceil(Fraction(rate) * n), n, alpha))


# --------------------------------------------------------------------------- closed forms


def test_hoeffding_bentkus_closed_forms():
    for n, bits in ((1, 3), (100, 200), (60_000, 5_000)):
        expected = 1 - (mpmath.mpf(0.05) * mpmath.mpf(2) ** -bits) ** (mpmath.mpf(1) / n)
        upper = hoeffding_bentkus_upper(0.0, n, bits, 0.05)
        assert expected <= upper <= expected * (1 + mpmath.mpf(3e-12))
        assert hoeffding_bentkus_upper(1.0, n, bits, 0.05) == 1.0
    # two losses of mean 1/2, kl term: 4 alpha (1 − alpha) = delta
    assert hoeffding_bentkus_upper(0.5, 2, 0, 0.19) == pytest.approx(0.95, rel=2e-12)


@pytest.mark.parametrize(
    ("rate", "n", "bits", "delta"),
    [
        ("0.03", 1000, 0, 0.05),
        ("0.07", 100, 0, 1e-3),  # 0.07·100 is 7.000000000000001 as floats
        ("0.29", 100, 0, 1e-6),  # 0.29·100 is 28.999999999999996 as floats
        ("0.0301", 1000, 0, 0.05),  # 30.1 losses count as 31
        ("0.4", 50, 12.5, 0.05),
        ("0.9", 50, 3, 0.05),
        ("0.02", 60_000, 4_000, 0.05),
        ("0.5", 1000, 5_000, 0.05),  # 2^-5000 is no float
        ("0.3", 1_000_000, 1_000_000, 1e-12),
    ],
)
def test_hoeffding_bentkus_inverts_its_p_value(rate, n, bits, delta):
    upper = hoeffding_bentkus_upper(float(rate), n, bits, delta)
    log_delta = mpmath.log(mpmath.mpf(delta)) - bits * mpmath.log(2)
    assert upper < 1.0
    assert log_p_value(rate, n, upper) < log_delta
    inside = mpmath.mpf(upper) - mpmath.mpf(3e-12) * mpmath.mpf(upper)
    assert log_p_value(rate, n, inside) > log_delta


def test_nothing_above_the_bound_is_possible_and_all_below_is():
    """The largest alpha with p-value >= delta, on a grid: no second interval further up."""
    for rate, n, delta in (("0.2", 10, 0.05), ("0.55", 20, 0.3), ("0", 5, 0.1), ("0.25", 6, 0.9)):
        upper = hoeffding_bentkus_upper(float(rate), n, 0, delta)
        for step in range(1, 200):
            possible = log_p_value(rate, n, step / 200) >= math.log(delta)
            assert possible == (step / 200 <= upper)


def test_each_term_of_hoeffding_bentkus_wins_somewhere():
    bentkus = stats.beta.ppf(1 - 0.05 / math.e, 1, 100)  # Bentkus alone, no loss
    assert hoeffding_bentkus_upper(0.0, 100, 0, 0.05) < bentkus * 0.9
    bentkus = stats.beta.ppf(1 - 0.001 / math.e, 30 + 1, 970)  # 30 of 1000 at delta/e
    assert hoeffding_bentkus_upper(0.03, 1000, 0, 0.001) == pytest.approx(bentkus, rel=1e-9)
    bentkus = stats.beta.ppf(1 - 0.05 / math.e, 4 + 1, 6)  # the kl reads 3.01, not 4
    assert hoeffding_bentkus_upper(0.301, 10, 0, 0.05) < bentkus * 0.97


def test_empirical_bernstein_closed_forms():
    # Maurer and Pontil, Theorem 4, typed out: ln(2/delta') = 1 + bits ln 2 at delta = 2/e
    for mean, variance, n, bits in (
        (0.1, 0.02, 1001, 0),
        (0.0, 0.25, 5_001, 7),
        (0.3, 0, 8_000, 40),
    ):
        nats = 1 + bits * mpmath.log(2)
        expected = (
            mean + mpmath.sqrt(2 * mpmath.mpf(variance) * nats / n) + 7 * nats / (3 * (n - 1))
        )
        upper = empirical_bernstein_upper(mean, variance, n, bits, 2 / math.e)
        assert expected <= upper <= expected * (1 + mpmath.mpf(2e-12))
    assert empirical_bernstein_upper(0.0, 0.0, 2, 0, 0.05) == 1.0
    assert empirical_bernstein_upper(0.5, 0.1, 10**6, 1e6, 0.05) == 1.0


def test_bits_are_bits():
    """One more bit is half of delta, exactly."""
    for bound, numbers in (
        (hoeffding_bentkus_upper, (0.2, 300)),
        (empirical_bernstein_upper, (0.2, 0.01, 300)),
        (bounded_loss_upper, (0.2, 0.01, 300)),
    ):
        assert bound(*numbers, 4, 0.08) == pytest.approx(bound(*numbers, 0, 0.005), rel=3e-12)


def test_bounded_loss_is_the_better_one_at_half_of_delta():
    first, second = (0.3, 0.21, 400, 3, 0.1), (0.3, 1e-4, 4_000, 3, 0.1)
    assert bounded_loss_upper(*first) == hoeffding_bentkus_upper(0.3, 400, 3, 0.05)
    assert bounded_loss_upper(*second) == empirical_bernstein_upper(0.3, 1e-4, 4_000, 3, 0.05)
    assert hoeffding_bentkus_upper(0.3, 4_000, 3, 0.05) > bounded_loss_upper(*second) + 0.01


# --------------------------------------------------------------------------- exact coverage


def worst_failure(outcomes, bounds, means, laws):
    """Largest P[bound of the outcome < mean loss] over laws; `laws[i]` are P[outcome]."""
    failures = [
        sum(law[outcome] for outcome in outcomes if bounds[outcome] < mean)
        for mean, law in zip(means, laws)
    ]
    return max(failures)


@pytest.mark.parametrize("delta", [0.05, 0.3])
@pytest.mark.parametrize("n", [2, 5, 40])
def test_coverage_of_bernoulli_losses(n, delta):
    counts = np.arange(n + 1)
    variance = counts * (n - counts) / (n * (n - 1))
    tables = {
        "hoeffding-bentkus": hoeffding_bentkus_upper(counts / n, n, 0, delta),
        "empirical-bernstein": empirical_bernstein_upper(counts / n, variance, n, 0, delta),
        "bounded-loss": bounded_loss_upper(counts / n, variance, n, 0, delta),
        "the mean itself": counts / n,
    }
    worst = {}
    for name, bounds in tables.items():
        truths = np.concatenate([np.linspace(0, 1, 41), np.nextafter(bounds[bounds < 1], 2)])
        laws = [stats.binom.pmf(counts, n, p) for p in truths]
        worst[name] = worst_failure(range(n + 1), bounds, truths, laws)
    assert worst.pop("the mean itself") > 0.4  # negative control
    assert max(worst.values()) <= delta + ROUNDING
    exact = holdout_upper(counts, n, delta)
    assert (tables["hoeffding-bentkus"] >= exact * (1 - 1e-9)).all()


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_coverage_of_losses_in_halves(delta, n=16):
    """Losses 0, 1/2 and 1, every count of each: means between the counts of wrong samples."""
    outcomes = [(h, w) for h in range(n + 1) for w in range(n + 1 - h)]
    means = np.array([(h / 2 + w) / n for h, w in outcomes])
    squares = np.array([h / 4 + w for h, w in outcomes])
    variances = (squares - n * means**2).clip(0) / (n - 1)
    ways = np.array([math.comb(n, h) * math.comb(n - h, w) for h, w in outcomes], dtype=float)
    halves, wholes = np.array(outcomes).T
    tables = [
        hoeffding_bentkus_upper(means, n, 0, delta),
        empirical_bernstein_upper(means, variances, n, 0, delta),
        bounded_loss_upper(means, variances, n, 0, delta),
    ]
    control = 0.0
    for half, whole in itertools.product(np.linspace(0, 1, 21), repeat=2):
        if half + whole > 1:
            continue
        rest = max(0.0, 1 - half - whole)
        law = ways * half**halves * whole**wholes * rest ** (n - halves - wholes)
        for bounds in tables:
            assert law[bounds < half / 2 + whole - ROUNDING].sum() <= delta + ROUNDING
        control = max(control, law[means < half / 2 + whole - ROUNDING].sum())
    assert control > 0.5


# --------------------------------------------------------------------------- simulated coverage

TRIALS = 2000


def rare_large(rng, n):
    """Small uniform losses and, one time in fifty, a loss of 1: mean 0.069."""
    return np.where(rng.random((TRIALS, n)) < 0.02, 1.0, 0.1 * rng.random((TRIALS, n)))


def skewed(rng, n):
    """Beta(1/2, 3/2): mean 1/4."""
    return rng.beta(0.5, 1.5, (TRIALS, n))


def rejected(failures, delta):
    """Too many failures for a failure probability of at most delta (binomial test at 1e-6)."""
    return bool(stats.binom.sf(failures - 1, TRIALS, delta) < 1e-6)


@pytest.mark.parametrize(
    ("losses", "risk", "n"),
    [(rare_large, 0.02 + 0.98 * 0.05, 30), (rare_large, 0.069, 300), (skewed, 0.25, 60)],
)
@pytest.mark.parametrize("delta", [0.1, 0.5])
def test_simulated_losses(losses, risk, n, delta):
    sample = losses(np.random.default_rng(11), n)
    means, variances = sample.mean(axis=1), sample.var(axis=1, ddof=1)
    tables = [
        hoeffding_bentkus_upper(means, n, 0, delta),
        empirical_bernstein_upper(means, variances, n, 0, delta),
        bounded_loss_upper(means, variances, n, 0, delta),
    ]
    for bounds in tables:
        assert not rejected((bounds < risk).sum(), delta)
        assert bounds.mean() < 1  # says something
    assert rejected((means < risk).sum(), min(delta, 0.3))  # negative control
    if n == 30 and delta == 0.1:  # nor will the first term of Bernstein's do alone
        first = means + np.sqrt(2 * variances * math.log(2 / delta) / n)
        assert rejected((first < risk).sum(), delta)
    if n == 300 and delta == 0.5:  # sharp enough to be seen failing at all
        assert (tables[0] < risk).sum() > 0


# --------------------------------------------------------------------------- evidence


def evidence(values, low=0.0, high=1.0):
    return {"losses@holdout": Losses(np.array(values), low, high, "loss", "test")}


def exact_moments(values, low, high):
    """Mean and unbiased variance of the scaled losses, in fractions."""
    scaled = [(Fraction(v) - Fraction(low)) / (Fraction(high) - Fraction(low)) for v in values]
    mean = sum(scaled) / len(scaled)
    return mean, sum((x - mean) ** 2 for x in scaled) / (len(scaled) - 1)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-2.5, 5.0), (0.1, 0.7), (1e6, 1e6 + 1)])
def test_moments_are_rounded_up_and_tight(low, high):
    rng = np.random.default_rng(3)
    for n in (2, 3, 10, 1000):
        values = (low + (high - low) * rng.random(n)).clip(low, high)
        arguments = ROWS["bounded-loss"].from_evidence(evidence(values, low, high), 0.05)
        mean, variance = exact_moments(values.tolist(), low, high)
        decimal = Fraction(repr(arguments["empirical_risk"]))
        assert mean <= decimal <= mean * (1 + Fraction(1, 10**15))
        assert variance <= Fraction(arguments["variance"]) <= variance * (1 + Fraction(2, 10**12))
        assert (arguments["n"], arguments["bits"], arguments["delta"]) == (n, 0.0, 0.05)


def test_whole_losses_are_counted_whole():
    """30 losses of 1 in 1000 are the decimal 0.03, so nR̂ is 30 and not 31."""
    losses = [1.0] * 30 + [0.0] * 970
    arguments = ROWS["hoeffding-bentkus"].from_evidence(evidence(losses), 0.05)
    assert arguments == {"empirical_risk": 0.03, "n": 1000, "bits": 0.0, "delta": 0.05}
    doubled = ROWS["hoeffding-bentkus"].from_evidence(evidence(np.array(losses) * 2, 0, 2), 0.05)
    assert doubled == arguments


def test_extremes_of_the_evidence_stay_legal():
    for values in ([0.0, 1.0], [1.0, 1.0], [0.0, 0.0]):
        for row in ROWS.values():
            result = evaluate(row, evidence(values), 0.05)
            assert isinstance(result, Certificate)
            assert result.risk_bound <= 1.0


@pytest.mark.parametrize("name", ROWS)
def test_rows_give_a_certificate_of_the_scaled_loss(name):
    row = ROWS[name]
    values = np.random.default_rng(5).uniform(-1.0, 0.5, 2_000)
    result = evaluate(row, evidence(values, -1.0, 3.0), 0.05)
    assert isinstance(result, Certificate)
    assert row.kind == kind_of(row.assumptions) == "certified"
    scaled_mean = (values.mean() + 1.0) / 4.0
    assert scaled_mean < result.risk_bound < scaled_mean + 0.04
    exact = row.function(**row.from_evidence(evidence(values, -1.0, 3.0), 0.05))
    assert exact <= result.risk_bound <= exact + 1e-6


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        (evidence([0.5, 1.5]), "not within its range"),
        (evidence([-0.1, 0.5]), "not within its range"),
        (evidence([math.nan, 0.5]), "not within its range"),
        (evidence([0.5, 0.5], 1.0, 0.0), "expected low < high"),
        (evidence([0.5, 0.5], 0.0, math.inf), "expected low < high"),
        (evidence([0.5, 0.5], math.nan, 1.0), "expected low < high"),
        (evidence([0.5]), "a list of at least two"),
        (evidence([[0.5, 0.5]]), "a list of at least two"),
    ],
)
@pytest.mark.parametrize("name", ROWS)
def test_evidence_that_is_refused(name, losses, says):
    result = evaluate(ROWS[name], losses, 0.05)
    assert isinstance(result, NotApplicable)
    assert says in result.reason


LEGAL = {"empirical_risk": 0.1, "variance": 0.05, "n": 100, "bits": 3, "delta": 0.05}
ILLEGAL = {
    "empirical_risk": (-1e-9, 1.0001, math.nan, "small", None, True),
    "variance": (-1e-9, 0.51, math.nan, "small", None),
    "n": (0, -1, 1.5, "many", None),
    "bits": (-1, -1e-9, math.nan, math.inf, "few", None),
    "delta": (0.0, 1.0, -0.1, math.nan, "small", None),
}


@pytest.mark.parametrize("name", ROWS)
def test_illegal_arguments_are_named(name):
    function = ROWS[name].function
    legal = {k: v for k, v in LEGAL.items() if k != "variance" or name != "hoeffding-bentkus"}
    assert 0.1 < function(**legal) < 1
    for argument in legal:
        for value in ILLEGAL[argument]:
            with pytest.raises(InputError, match=rf"^{argument} must be [^\n]*$"):
                function(**legal | {argument: value})


def test_one_loss_has_no_variance():
    for bound in (empirical_bernstein_upper, bounded_loss_upper):
        with pytest.raises(InputError, match="n must be an integer >= 2"):
            bound(0.1, 0.0, 1, 0, 0.05)
