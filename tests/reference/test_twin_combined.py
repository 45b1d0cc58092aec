"""Twins that join two statements: closed forms, exact failure probabilities, quoted numbers."""

from fractions import Fraction
from math import comb

import pytest
from exact_tail import exact, exact_cdf
from mpmath import exp, log, mpf, sqrt, workdps

from prunecert.reference import TWINS
from prunecert.types import InputError

TINY = mpf("1e-30")
FLOAT = mpf("1e-14")  # where delta is a rounded irrational number

compression_theorem = TWINS["compression-theorem"]
train_and_holdout = TWINS["train-and-holdout"]
to_dense, to_pruned = TWINS["transfer-to-dense"], TWINS["transfer-to-pruned"]


def test_quoted_square_root_form():
    """THEORY 3.4: 2 % of 60,000 and 4,000 bits give 17.2 %."""
    value = compression_theorem(errors=1200, n=60000, bits=4000, delta=0.05)
    assert abs(100 * value - 17.2) <= 0.05


@workdps(50)
def test_compression_theorem_in_closed_form():
    """36 bits and delta = 2^-14 are 50 ln 2 nats; over 2n = 50 that is ln 2."""
    value = compression_theorem(errors=2, n=25, bits=36, delta=2.0**-14)
    assert abs(value - (mpf(2) / 25 + sqrt(log(2)))) < TINY
    assert compression_theorem(errors=5, n=25, bits=36, delta=2.0**-14) == 1
    assert compression_theorem(errors=0, n=0, bits=0, delta=0.05) == 1


@workdps(50)
def test_compression_theorem_is_never_better_than_the_exact_tail():
    for errors in (0, 3, 50, 99):
        for bits in (0, 12, 60):
            question = {"errors": errors, "n": 100, "bits": bits, "delta": 0.05}
            assert compression_theorem(**question) >= TWINS["occam"](**question)


@workdps(50)
def test_train_and_holdout_without_errors():
    """x (1 - ln x) is 2/e at x = 1/e, and 3/e² at 1/e²; x = 2^bits (1-p)^(n+m) if P₁ < 1."""
    question = {"errors": 0, "n": 40, "holdout_errors": 0, "holdout_n": 10}
    value = train_and_holdout(**question, bits=0, delta=float(2 * exp(-1)))
    assert abs(value - (1 - exp(mpf(-1) / 50))) < FLOAT
    value = train_and_holdout(**question, bits=0, delta=float(3 * exp(-2)))
    assert abs(value - (1 - exp(mpf(-2) / 50))) < FLOAT
    value = train_and_holdout(**question, bits=3, delta=float(2 * exp(-1)))
    assert abs(value - (1 - exp(-(1 + 3 * log(2)) / 50))) < FLOAT


@workdps(50)
@pytest.mark.parametrize("bits", [30, 1e9])
def test_a_long_code_leaves_the_holdout_alone(bits):
    """P₁ is 1 at the root, where (1-p)^10 = 1/e; 2^30 e^-4 is above 1."""
    question = {"errors": 0, "n": 40, "holdout_errors": 0, "holdout_n": 10}
    value = train_and_holdout(**question, bits=bits, delta=float(2 * exp(-1)))
    assert abs(value - (1 - exp(mpf(-1) / 10))) < FLOAT


@workdps(50)
def test_an_empty_sample_has_probability_one():
    delta = float(2 * exp(-1))
    only_training = train_and_holdout(0, 40, 0, 0, 0, delta)
    assert abs(only_training - (1 - exp(mpf(-1) / 40))) < FLOAT
    only_holdout = train_and_holdout(0, 0, 0, 0, 10, delta)
    assert abs(only_holdout - (1 - exp(mpf(-1) / 10))) < FLOAT
    assert train_and_holdout(7, 7, 0, 3, 3, delta) == 1
    assert train_and_holdout(0, 0, 0, 0, 0, delta) == 1


@workdps(50)
@pytest.mark.parametrize("bits", [0, 3])
def test_train_and_holdout_is_the_largest_risk_of_exact_enumeration(bits):
    def enough(p: Fraction, errors: int, holdout_errors: int) -> bool:
        first = min(Fraction(1), 2**bits * exact_cdf(errors, 4, p))
        product = first * exact_cdf(holdout_errors, 3, p)
        x = mpf(product.numerator) / product.denominator
        return bool(x * (1 - log(x)) >= mpf(0.05))

    step = Fraction(1, 10**30)
    for errors in range(5):
        for held in range(4):
            value = exact(train_and_holdout(errors, 4, bits, held, 3, 0.05))
            if (errors, held) == (4, 3):
                assert value == 1
            else:
                assert enough(value - step, errors, held)
                assert not enough(value + step, errors, held)


@workdps(50)
def test_train_and_holdout_fails_no_more_often_than_delta():
    """The better on S of two networks of one bit each, the risk just above each possible bound."""
    n, m, delta = 5, 4, 0.3
    bounds = {
        (k, held): train_and_holdout(k, n, 1, held, m, delta)
        for k in range(n + 1)
        for held in range(m + 1)
    }

    def at_least(k: int, p: mpf) -> mpf:
        return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))

    worst = mpf(0)
    for p in {bound * (1 + mpf("1e-9")) for bound in bounds.values() if bound < 1}:
        failure = mpf(0)
        for (k, held), bound in bounds.items():
            if bound < p:
                best_has_k = at_least(k, p) ** 2 - at_least(k + 1, p) ** 2
                failure += best_has_k * comb(m, held) * p**held * (1 - p) ** (m - held)
        worst = max(worst, failure)
    assert delta / 4 < worst <= delta


@workdps(50)
def test_transfers_add_two_statements_at_half_of_delta():
    """Nothing wrong and nothing different: 1 - (delta/2)^(1/n) of either sample."""
    half = mpf(0.05) / 2
    different = 1 - half ** (mpf(1) / 300)
    value = to_dense(errors=0, n=200, bits=7, count=0, inputs=300, delta=0.05)
    assert abs(value - (1 - (half / 2**7) ** (mpf(1) / 200) + different)) < TINY
    value = to_pruned(errors=0, n=200, count=0, inputs=300, delta=0.05)
    assert abs(value - (1 - half ** (mpf(1) / 200) + different)) < TINY


@workdps(50)
def test_all_but_one_wrong_in_either_sample():
    """B̄(n-1, n, q) = (1-q)^(1/n); together with the other sample that is more than 1."""
    half = mpf(0.05) / 2
    value = to_pruned(errors=1, n=2, count=0, inputs=10**6, delta=0.05)
    expected = (1 - half) ** (mpf(1) / 2) + 1 - half ** (mpf(1) / 10**6)
    assert expected < 1
    assert abs(value - expected) < TINY
    assert to_pruned(errors=1, n=2, count=1, inputs=2, delta=0.05) == 1
    assert to_dense(errors=1, n=2, bits=0, count=1, inputs=2, delta=0.05) == 1


def test_bad_numbers_are_refused():
    with pytest.raises(InputError, match="bits: expected"):
        compression_theorem(errors=1, n=5, bits=-1, delta=0.05)
    with pytest.raises(InputError, match="holdout_errors: expected a count from 0 to holdout_n"):
        train_and_holdout(errors=1, n=5, bits=0, holdout_errors=3, holdout_n=2, delta=0.05)
    with pytest.raises(InputError, match="errors: expected a count from 0 to n"):
        train_and_holdout(errors=6, n=5, bits=0, holdout_errors=1, holdout_n=2, delta=0.05)
    with pytest.raises(InputError, match="count: expected a count from 0 to inputs"):
        to_dense(errors=1, n=5, bits=0, count=3, inputs=2, delta=0.05)
    with pytest.raises(InputError, match="delta: expected"):
        to_pruned(errors=1, n=5, count=1, inputs=2, delta=1)
