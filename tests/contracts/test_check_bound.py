"""The contract suite on statements of every shape: an honest one passes, a planted fault fails.

The honest ones are written here, from their textbook forms; ours are in test_bound_contracts.py.
"""

import math

import numpy as np
import pytest
from mpmath import log, mpf, sqrt, workdps

from prunecert.bounds import holdout_upper
from prunecert.inversions import (
    LN2,
    binomial_tail_upper,
    elementwise,
    kl_inverse_lower,
    kl_inverse_upper,
    log_failure,
    require_count,
    require_number,
    require_open_unit,
)
from prunecert.testing import ARGUMENTS, check_bound, sample_evidence
from prunecert.testing.coverage import ENUMERATIONS
from prunecert.types import PARTS, Assumption, BoundSpec, InputError, Source

LARGE = 1e300


def statement(function, quantity="zero-one risk", unit="fraction"):
    return BoundSpec(
        name=function.__name__.replace("_", "-"),
        function=function,
        kind="certified",
        quantity=quantity,
        summary="made up for this test",
        source=Source("nobody2026", "Nobody", 2026, "Nothing"),
        assumptions=(Assumption("independent draws", "standing"),),
        unit=unit,
    )


def whole(name, value, low=1):
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"{name} must be an integer >= {low}, not {value!r}")


def rate(name, value):
    require_number(name, value, 0.0, 1.0, f"0 <= {name} <= 1")


def number(name, value, low=0.0):
    require_number(name, value, low, LARGE, f"{low} <= {name} < infinity")


# --------------------------------------------------------------------------- honest statements


@elementwise
def posterior(empirical_risk, kl_nats, n, delta):
    """Maurer: kl(R̂(Q)‖R(Q)) <= (KL + ln(2√n/delta))/n, and never more than 2√n is needed."""
    rate("empirical_risk", empirical_risk)
    number("kl_nats", kl_nats)
    whole("n", n)
    require_open_unit("delta", delta)
    logs = math.log(2.0 * math.sqrt(n)) - math.log(delta)
    return float(kl_inverse_upper(empirical_risk, (kl_nats + logs) / n))


@elementwise
def vote(empirical_risk, kl_nats, n, delta):
    return min(1.0, 2.0 * posterior(empirical_risk, kl_nats, n, delta))


@elementwise
def catoni(empirical_risk, kl_nats, n, beta, betas, delta):
    posterior(empirical_risk, kl_nats, n, delta)
    number("beta", beta, math.ulp(0.0))
    whole("betas", betas)
    budget = (kl_nats + math.log(betas) - math.log(delta)) / n
    bound = -math.expm1(-beta * empirical_risk - budget) / -math.expm1(-beta)
    return min(1.0, bound * (1.0 + 1e-12))


@elementwise
def drawn(empirical_risk, draws, delta):
    rate("empirical_risk", empirical_risk)
    whole("draws", draws)
    return float(kl_inverse_upper(empirical_risk, -log_failure(delta) / draws))


@elementwise
def drawn_product(mean_log_right, draws, delta):
    whole("draws", draws)
    require_number("mean_log_right", mean_log_right, -LARGE, 0.0, "mean_log_right <= 0")
    exponent = mean_log_right + log_failure(delta) / draws
    return min(1.0, -math.expm1(exponent * (1 + 1e-12)) * (1 + 1e-12))


@elementwise
def hoeffding(empirical_risk, n, bits, delta):
    rate("empirical_risk", empirical_risk)
    whole("n", n)
    return min(1.0, empirical_risk + math.sqrt(-log_failure(delta, bits) / (2 * n)))


@elementwise
def bernstein(empirical_risk, variance, n, bits, delta):
    """Maurer and Pontil 2009, Theorem 4."""
    rate("empirical_risk", empirical_risk)
    number("variance", variance)
    whole("n", n)
    logs = LN2 - log_failure(delta, bits)
    if n == 1:
        return 1.0
    width = math.sqrt(2 * variance * logs / n) + 7 * logs / (3 * (n - 1))
    return min(1.0, empirical_risk + width)


@elementwise
def one_draw(errors, n, log_ratio_nats, delta):
    require_count("errors", errors, n)
    number("log_ratio_nats", log_ratio_nats, -LARGE)
    logs = math.log(2.0 * math.sqrt(n)) - log_failure(delta)
    return float(kl_inverse_upper(errors / n, max(0.0, log_ratio_nats + logs) / n))


@elementwise
def kept_samples(errors, size, n, bits, delta):
    require_count("size", size, n)
    whole("errors", errors, 0)
    if errors > n - size:
        raise InputError(f"errors must be at most n - size = {n - size}, not {errors}")
    if size == n:
        return 1.0
    subsets = math.lgamma(n + 1) - math.lgamma(size + 1) - math.lgamma(n - size + 1)
    share = math.log(6 / math.pi**2) - 2 * math.log(size + 1)
    log_delta = log_failure(delta, bits) + share - subsets - 1e-9
    return float(binomial_tail_upper(errors, n - size, log_delta))


@elementwise
def kept_without_errors(size, n, delta):
    return kept_samples(0, size, n, 0.0, delta)


@elementwise
def two_samples(errors, n, bits, holdout_errors, holdout_n, delta):
    whole("holdout_n", holdout_n)
    require_count("holdout_errors", holdout_errors, holdout_n)
    require_open_unit("delta", delta)
    on_training = binomial_tail_upper(errors, n, log_failure(delta / 2, bits))
    return min(on_training, binomial_tail_upper(holdout_errors, holdout_n, log_failure(delta / 2)))


@elementwise
def transferred(errors, n, bits, count, inputs, delta):
    whole("inputs", inputs)
    require_count("count", count, inputs)
    require_open_unit("delta", delta)
    risk = binomial_tail_upper(errors, n, log_failure(delta / 2, bits))
    return min(1.0, risk + binomial_tail_upper(count, inputs, log_failure(delta / 2)))


@elementwise
def tokens(mean_bits, n, bits, vocabulary, mixing, mixings, delta):
    whole("vocabulary", vocabulary)
    whole("n", n)
    whole("mixings", mixings)
    require_open_unit("mixing", mixing)
    high = -math.log2(mixing / vocabulary)
    low = -math.log2(1 - mixing + mixing / vocabulary)
    require_number("mean_bits", mean_bits, low * (1 - 1e-9), high * (1 + 1e-9), "low..high")
    logs = math.log(mixings) - log_failure(delta, bits)
    return min(high, mean_bits + (high - low) * math.sqrt(logs / (2 * n)))


VOTE = "risk of the majority vote"
TOKENS = ("bits per token of new text", "bits per token")
HONEST = [
    statement(posterior),
    statement(vote, VOTE),
    statement(catoni),
    statement(drawn, "training error of the randomised network"),
    statement(drawn_product, "training error of the randomised network"),
    statement(hoeffding),
    statement(bernstein),
    statement(one_draw),
    statement(kept_samples),
    statement(kept_without_errors),
    statement(two_samples),
    statement(transferred),
    statement(tokens, *TOKENS),
]


@pytest.mark.parametrize("spec", HONEST, ids=lambda spec: spec.name)
def test_an_honest_statement_passes(spec):
    check_bound(spec)


# --------------------------------------------------------------------------- planted faults


def rounded_to_the_wrong_side(empirical_risk, kl_nats, n, delta):
    posterior(empirical_risk, kl_nats, n, delta)
    return kl_inverse_lower(empirical_risk, 0.1 / np.asarray(n))


def nats_taken_as_bits(empirical_risk, kl_nats, n, delta):
    posterior(empirical_risk, kl_nats, n, delta)
    return posterior(empirical_risk, np.multiply(kl_nats, LN2), n, delta)


def nats_not_charged(empirical_risk, kl_nats, n, delta):
    posterior(empirical_risk, kl_nats, n, delta)
    return posterior(empirical_risk, 0.0, n, delta)


def twice_the_samples(empirical_risk, kl_nats, n, delta):
    posterior(empirical_risk, kl_nats, n, delta)
    return posterior(empirical_risk, kl_nats, np.multiply(n, 2), delta)


def delta_to_the_power_of_a_half(empirical_risk, kl_nats, n, delta):
    posterior(empirical_risk, kl_nats, n, delta)
    sizes = np.asarray(n, float)
    radius = (kl_nats - 0.5 * np.log(delta)) / sizes
    return kl_inverse_upper(empirical_risk, radius)


def rises_with_n(empirical_risk, kl_nats, n, delta):
    honest = posterior(empirical_risk, kl_nats, n, delta)
    return np.minimum(1.0, honest + np.log(n) / 30)


def falls_with_the_rate(empirical_risk, kl_nats, n, delta):
    honest = posterior(empirical_risk, kl_nats, n, delta)
    return np.minimum(1.0, honest + 0.2 * np.isclose(empirical_risk, 0.3, 0, 1e-9))


def refuses_nothing(empirical_risk, kl_nats, n, delta):
    try:
        return posterior(empirical_risk, kl_nats, n, delta)
    except InputError:
        return 1.0


def gibbs_in_place_of_the_vote(empirical_risk, kl_nats, n, delta):
    return posterior(empirical_risk, kl_nats, n, delta)


def grid_of_beta_not_paid(empirical_risk, kl_nats, n, beta, betas, delta):
    catoni(empirical_risk, kl_nats, n, beta, betas, delta)
    return catoni(empirical_risk, kl_nats, n, beta, 1, delta)


@elementwise
def divided_by_beta(empirical_risk, kl_nats, n, beta, betas, delta):
    honest = catoni(empirical_risk, kl_nats, n, beta, betas, delta)
    return min(1.0, honest * -math.expm1(-beta) / beta)


def draws_counted_twice(empirical_risk, draws, delta):
    drawn(empirical_risk, draws, delta)
    return drawn(empirical_risk, np.multiply(draws, 2), delta)


def factors_counted_twice(mean_log_right, draws, delta):
    drawn_product(mean_log_right, draws, delta)
    return drawn_product(mean_log_right, np.multiply(draws, 2), delta)


def a_tenth_of_the_logarithms(mean_log_right, draws, delta):
    drawn_product(mean_log_right, draws, delta)
    return drawn_product(np.multiply(mean_log_right, 0.1), draws, delta)


def full_price_only_without_an_error(mean_log_right, draws, delta):
    """All-or-nothing networks cannot tell; those that are wrong on half of the sample can."""
    drawn_product(mean_log_right, draws, delta)
    quarter = -np.expm1(mean_log_right + 0.25 * np.log(delta) / np.asarray(draws))
    return np.minimum(1.0, np.maximum(quarter, drawn_product(0.0, draws, delta)))


def capital_not_paid_for(mean_log_right, draws, delta):
    drawn_product(mean_log_right, draws, delta)
    return np.minimum(1.0, -np.expm1(mean_log_right) + 1e-9)


def bits_taken_as_nats_twice(empirical_risk, n, bits, delta):
    hoeffding(empirical_risk, n, bits, delta)
    return hoeffding(empirical_risk, n, np.multiply(bits, LN2 * LN2), delta)


@elementwise
def root_without_the_half(empirical_risk, n, bits, delta):
    hoeffding(empirical_risk, n, bits, delta)
    return min(1.0, empirical_risk + math.sqrt(-log_failure(delta, bits) / n) / 2)


@elementwise
def variance_alone(empirical_risk, variance, n, bits, delta):
    bernstein(empirical_risk, variance, n, bits, delta)
    logs = LN2 - log_failure(delta, bits)
    return min(1.0, empirical_risk + math.sqrt(2 * variance * logs / n))


@elementwise
def variance_not_used(empirical_risk, variance, n, bits, delta):
    bernstein(empirical_risk, variance, n, bits, delta)
    return bernstein(empirical_risk, 0.25, n, bits, delta)


def half_the_ratio(errors, n, log_ratio_nats, delta):
    one_draw(errors, n, log_ratio_nats, delta)
    return one_draw(errors, n, np.multiply(log_ratio_nats, 0.5), delta)


@elementwise
def subsets_half_charged(errors, size, n, bits, delta):
    kept_samples(errors, size, n, bits, delta)
    if size == n:
        return 1.0
    subsets = math.log(math.comb(n, size)) / 2
    share = math.log(6 / math.pi**2) - 2 * math.log(size + 1)
    log_delta = log_failure(delta, bits) + share - subsets
    return float(binomial_tail_upper(errors, n - size, log_delta))


@elementwise
def all_samples_counted(errors, size, n, bits, delta):
    kept_samples(errors, size, n, bits, delta)
    log_delta = log_failure(delta, bits) - math.log(math.comb(n, size)) - 2 * math.log(size + 2)
    return float(binomial_tail_upper(errors, n, log_delta))


@elementwise
def sizes_share_nothing(errors, size, n, bits, delta):
    kept_samples(errors, size, n, bits, delta)
    if size == n:
        return 1.0
    log_delta = log_failure(delta, bits) - math.log(math.comb(n, size)) - 1e-9
    return float(binomial_tail_upper(errors, n - size, log_delta))


@elementwise
def kept_at_a_small_price(size, n, delta):
    kept_without_errors(size, n, delta)
    return 0.9 * binomial_tail_upper(max(size - 1, 0), n, log_failure(delta))


def delta_spent_twice(errors, n, bits, holdout_errors, holdout_n, delta):
    two_samples(errors, n, bits, holdout_errors, holdout_n, delta)
    on_training = binomial_tail_upper(errors, n, log_failure(delta, bits))
    on_holdout = binomial_tail_upper(holdout_errors, holdout_n, log_failure(delta))
    return np.minimum(on_training, on_holdout)


def holdout_of_the_wrong_size(errors, n, bits, holdout_errors, holdout_n, delta):
    two_samples(errors, n, bits, holdout_errors, holdout_n, delta)
    both = np.add(n, holdout_n)
    return two_samples(errors, n, bits, holdout_errors, both, delta)


def disagreement_left_out(errors, n, bits, count, inputs, delta):
    transferred(errors, n, bits, count, inputs, delta)
    return binomial_tail_upper(errors, n, log_failure(delta, bits))


def disagreement_at_a_tenth_of_its_width(errors, n, bits, count, inputs, delta):
    transferred(errors, n, bits, count, inputs, delta)
    risk = binomial_tail_upper(errors, n, log_failure(delta, bits))
    share = np.asarray(count) / np.asarray(inputs)
    width = binomial_tail_upper(count, inputs, log_failure(delta)) - share
    return np.minimum(1.0, risk + share + 0.1 * width)


@elementwise
def disagreement_over_the_wrong_sample(errors, n, bits, count, inputs, delta):
    transferred(errors, n, bits, count, inputs, delta)
    return transferred(errors, n, bits, min(count, n), n, delta)


@elementwise
def range_taken_as_one(mean_bits, n, bits, vocabulary, mixing, mixings, delta):
    top = tokens(mean_bits, n, 1e9, vocabulary, mixing, mixings, delta)
    logs = math.log(mixings) - log_failure(delta, bits)
    return min(top, mean_bits + math.sqrt(logs / (2 * n)))


def mixings_not_paid(mean_bits, n, bits, vocabulary, mixing, mixings, delta):
    tokens(mean_bits, n, bits, vocabulary, mixing, mixings, delta)
    return tokens(mean_bits, n, bits, vocabulary, mixing, 1, delta)


@elementwise
def not_capped(mean_bits, n, bits, vocabulary, mixing, mixings, delta):
    tokens(mean_bits, n, bits, vocabulary, mixing, mixings, delta)
    return mean_bits + 20.0 * math.sqrt((math.log(mixings) - log_failure(delta, bits)) / (2 * n))


@pytest.mark.parametrize(
    ("function", "contract"),
    [
        (rounded_to_the_wrong_side, "range"),
        (nats_taken_as_bits, "coverage"),
        (nats_not_charged, "monotone"),
        (twice_the_samples, "coverage"),
        (delta_to_the_power_of_a_half, "coverage"),
        (rises_with_n, "monotone"),
        (falls_with_the_rate, "monotone"),
        (refuses_nothing, "refusals"),
        (grid_of_beta_not_paid, "monotone"),
        (divided_by_beta, "range"),
        (draws_counted_twice, "coverage"),
        (factors_counted_twice, "coverage"),
        (a_tenth_of_the_logarithms, "range"),
        (full_price_only_without_an_error, "coverage"),
        (capital_not_paid_for, "monotone"),
        (bits_taken_as_nats_twice, "coverage"),
        (root_without_the_half, "coverage"),
        (variance_alone, "coverage"),
        (variance_not_used, "monotone"),
        (half_the_ratio, "coverage"),
        (subsets_half_charged, "coverage"),
        (all_samples_counted, "monotone"),
        (sizes_share_nothing, "coverage"),
        (kept_at_a_small_price, "coverage"),
        (delta_spent_twice, "coverage"),
        (holdout_of_the_wrong_size, "range"),
        (disagreement_left_out, "range"),
        (disagreement_at_a_tenth_of_its_width, "coverage"),
        (disagreement_over_the_wrong_sample, "range"),
    ],
)
def test_a_planted_fault_is_found(function, contract):
    with pytest.raises(AssertionError, match=f"breaks the contract '{contract}': .+"):
        check_bound(statement(function))


@pytest.mark.parametrize(
    ("function", "contract"),
    [
        (range_taken_as_one, "coverage"),
        (mixings_not_paid, "monotone"),
        (not_capped, "range"),
    ],
)
def test_a_planted_fault_in_bits_per_token_is_found(function, contract):
    with pytest.raises(AssertionError, match=f"breaks the contract '{contract}': .+"):
        check_bound(statement(function, *TOKENS))


def test_a_vote_may_err_twice_as_often_as_its_voters():
    check_bound(statement(gibbs_in_place_of_the_vote, "risk of the randomised network"))
    with pytest.raises(AssertionError, match="breaks the contract 'coverage': two voters"):
        check_bound(statement(gibbs_in_place_of_the_vote, VOTE))


@pytest.mark.parametrize(
    "spec",
    [statement(tokens), statement(hoeffding, *TOKENS)],
    ids=["bits as a fraction", "a fraction as bits"],
)
def test_bits_per_token_stand_on_an_axis_of_their_own(spec):
    with pytest.raises(AssertionError, match="breaks the contract 'honest kind': .*bits per token"):
        check_bound(spec)


# --------------------------------------------------------------------------- nothing is skipped


def test_outcomes_without_an_enumeration_fail():
    @elementwise
    def mixture(count, worse, n, delta):
        require_count("count", count, n)
        require_count("worse", worse, n)
        require_open_unit("delta", delta)
        return min(1.0, holdout_upper(count, n, delta / 2) + holdout_upper(worse, n, delta / 2))

    with pytest.raises(AssertionError, match="cannot enumerate the outcomes of"):
        check_bound(statement(mixture, unit="risk difference"))


def test_every_argument_that_is_enumerated_is_known():
    assert frozenset().union(*ENUMERATIONS) <= set(ARGUMENTS)
    assert all(len(known) == 2 and known[1] for known in ARGUMENTS.values())


# --------------------------------------------------------------------------- twins


@workdps(40)
def exact_rate(errors, n, delta):
    """Reference for `naive`: errors/n + √(ln(1/delta)/(2n)), capped."""
    return min(mpf(1), mpf(errors) / n + sqrt(-log(mpf(delta)) / (2 * n)))


@elementwise
def naive(errors, n, delta):
    require_count("errors", errors, n)
    value = errors / n + math.sqrt(-log_failure(delta) / (2 * n))
    return min(1.0, value * (1 + 1e-12))


def test_a_twin_that_agrees():
    check_bound(statement(naive), exact_rate)


@pytest.mark.parametrize("factor", [1 - 1e-12, 1 - 1e-6, 1 + 1e-6])
def test_a_twin_that_disagrees(factor):
    """Rounded inward by a hair, too small, too large: the suite alone sees none of these."""

    @elementwise
    def another(errors, n, delta):
        require_count("errors", errors, n)
        value = (errors / n + math.sqrt(-log_failure(delta) / (2 * n))) * factor
        return max(errors / n, min(1.0, value))

    check_bound(statement(another))
    with pytest.raises(AssertionError, match="breaks the contract 'twin': at .* its twin"):
        check_bound(statement(another), exact_rate)


def test_a_twin_of_another_length():
    with pytest.raises(AssertionError, match="'twin': .* gives 1 numbers, its twin 2"):
        check_bound(statement(naive), lambda **given: [exact_rate(**given)] * 2)


def test_the_sample_evidence_has_every_part():
    assert {key.partition("@")[0] for key in sample_evidence()} == set(PARTS)
