"""The tail and its inverses against closed forms and exact rational enumeration."""

from fractions import Fraction

import pytest
from exact_tail import exact, exact_cdf, is_upper
from mpmath import exp, log, mpf, sqrt, workdps

from prunecert.reference.binomial import (
    binary_kl,
    binomial_cdf,
    binomial_lower,
    binomial_upper,
    kl_inverse,
)
from prunecert.types import InputError

TINY = mpf("1e-30")


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("sixteenths", [1, 5, 8, 15])
def test_cdf_is_the_sum_over_all_outcomes(n, sixteenths):
    p = Fraction(sixteenths, 16)
    for errors in range(n + 1):
        value = exact(binomial_cdf(errors, n, mpf(sixteenths) / 16))
        assert abs(value - exact_cdf(errors, n, p)) < Fraction(1, 10**45)


@pytest.mark.parametrize("errors", [0, 90, 499, 500, 501, 900, 1999])
def test_cdf_of_a_long_sum_on_both_sides_of_the_mode(errors):
    """n = 2000, p = 1/4: terms rise and then fall, and the tail is cut off early."""
    truth = exact_cdf(errors, 2000, Fraction(1, 4))
    relative = exact(binomial_cdf(errors, 2000, mpf(1) / 4)) / truth - 1
    assert abs(relative) < Fraction(1, 10**44)


def test_cdf_is_a_probability_even_in_its_last_digit():
    """1 - 0.01^100 rounds to 1 at fifty digits, and must not be rounded past it."""
    assert binomial_cdf(99, 100, mpf(0.01)) <= 1


@pytest.mark.parametrize("probability", [Fraction(19, 20), Fraction(1, 2), Fraction(1, 2**40)])
def test_upper_end_brackets_the_exact_root(probability):
    with workdps(50):
        threshold = mpf(probability.numerator) / probability.denominator
    for n in (1, 2, 5, 8):
        for errors in range(n + 1):
            assert is_upper(binomial_upper(errors, n, threshold), errors, n, probability)


@workdps(50)
@pytest.mark.parametrize("n", [1, 10, 60000])
def test_upper_end_has_closed_forms_at_both_ends(n):
    share = mpf("0.05")
    assert abs(binomial_upper(0, n, share) - (1 - share ** (mpf(1) / n))) < TINY
    assert abs(binomial_upper(n - 1, n, share) - (1 - share) ** (mpf(1) / n)) < TINY
    assert binomial_upper(n, n, share) == 1
    assert binomial_lower(0, n, share) == 0
    assert abs(binomial_lower(n, n, share) - share ** (mpf(1) / n)) < TINY


def test_a_small_root_keeps_its_digits():
    """1 - delta^(1/n) is 3e-13 here: thirty digits of it, not thirty decimals."""
    with workdps(70):
        truth = 1 - mpf("0.05") ** (1 / mpf(10) ** 13)
        assert abs(binomial_upper(0, 10**13, mpf("0.05")) / truth - 1) < TINY


@workdps(50)
def test_kl_inverse_has_closed_forms():
    for nats in (mpf("1e-9"), mpf("0.3"), mpf(7)):
        assert abs(kl_inverse(0, nats) - (1 - exp(-nats))) < TINY
        half = (1 + sqrt(1 - exp(-2 * nats))) / 2  # kl(1/2, p) = -ln(4p(1-p))/2
        assert abs(kl_inverse(mpf(1) / 2, nats) - half) < TINY
        assert kl_inverse(1, nats) == 1


@workdps(50)
@pytest.mark.parametrize("q", ["0.001", "0.2", "0.97"])
def test_kl_inverse_inverts_kl_on_the_upper_side(q):
    for nats in (mpf("1e-4"), mpf("0.05"), mpf(2)):
        p = kl_inverse(mpf(q), nats)
        assert p > mpf(q)
        assert binary_kl(mpf(q), p * (1 - mpf("1e-31"))) < nats
        assert binary_kl(mpf(q), p * (1 + mpf("1e-31"))) > nats


@workdps(50)
def test_kl_is_in_nats():
    assert abs(binary_kl(0, mpf(1) / 2) - log(2)) < TINY
    assert abs(binary_kl(mpf(1) / 4, mpf(1) / 2) - (3 * log(3) / 4 - log(2))) < TINY


@pytest.mark.parametrize(("errors", "n"), [(-1, 10), (11, 10), (0, -1)])
def test_counts_out_of_range_are_refused(errors, n):
    with pytest.raises(InputError, match="errors: expected a count from 0 to n"):
        binomial_upper(errors, n, mpf("0.05"))


def test_a_count_is_an_integer():
    with pytest.raises(TypeError):
        binomial_upper(1.5, 10, mpf("0.05"))
