"""Twins for losses in [0, 1]: closed forms and exact failure probabilities."""

from fractions import Fraction
from math import comb

import pytest
from exact_tail import exact, exact_cdf
from mpmath import e, exp, log, mpf, sqrt, workdps

from prunecert.reference import TWINS
from prunecert.reference.binomial import binary_kl, kl_inverse
from prunecert.types import InputError

TINY = mpf("1e-30")

hoeffding_bentkus = TWINS["hoeffding-bentkus"]
empirical_bernstein = TWINS["empirical-bernstein"]
bounded_loss = TWINS["bounded-loss"]


@workdps(50)
@pytest.mark.parametrize(("n", "bits"), [(1, 0), (50, 7), (60000, 4000)])
def test_hoeffding_bentkus_at_both_ends(n, bits):
    """At no loss both p-values are powers of 1 - alpha, and the one without the e is smaller."""
    root = 1 - (mpf(0.05) * mpf(2) ** -bits) ** (mpf(1) / n)
    assert abs(hoeffding_bentkus(empirical_risk=0, n=n, bits=bits, delta=0.05) - root) < TINY
    assert hoeffding_bentkus(empirical_risk=1, n=n, bits=bits, delta=0.05) == 1
    assert hoeffding_bentkus(empirical_risk=0.5, n=0, bits=bits, delta=0.05) == 1


@workdps(50)
@pytest.mark.parametrize("rate", ["0.01", "0.2", "0.55", "0.96"])
@pytest.mark.parametrize("n", [10, 40, 75])
def test_hoeffding_bentkus_is_the_smaller_of_its_two_roots(rate, n):
    """The kl inverse, and the alpha with e P[Bin <= ⌈n rate⌉] = delta, both by other means."""
    value = hoeffding_bentkus(empirical_risk=float(rate), n=n, bits=2, delta=0.04)
    threshold = mpf(0.04) / 4
    chernoff = kl_inverse(mpf(rate), log(1 / threshold) / n)
    count = -(-n * Fraction(rate) // 1)

    def bentkus(alpha: Fraction) -> mpf:
        tail = exact_cdf(int(count), n, alpha)
        return e * mpf(tail.numerator) / tail.denominator

    step = Fraction(1, 10**30)
    if abs(value - chernoff) < TINY:
        assert bentkus(exact(value) - step) > threshold
    else:
        assert value < chernoff
        assert bentkus(exact(value) - step) > threshold > bentkus(exact(value) + step)


@workdps(50)
@pytest.mark.parametrize(("rate", "count"), [(0.55, 55), (0.5501, 56)])
def test_the_rate_is_the_decimal_it_is_written_as(rate, count):
    """55 % of 100 are 55 and not 56 samples, 55.01 % are 56; Bentkus' root is the smaller one."""
    assert 0.55 * 100 > 55
    value = hoeffding_bentkus(empirical_risk=rate, n=100, bits=0, delta=0.001)
    root = TWINS["holdout"](errors=count, n=100, delta=mpf(0.001) / e)
    assert abs(value - root) < TINY
    assert value < kl_inverse(mpf(str(rate)), log(1 / mpf(0.001)) / 100) - mpf("1e-4")


def test_either_p_value_can_be_the_smaller_one():
    """Bentkus wins where the loss is moderate and n r whole, Hoeffding where it is rare."""

    def against_kl(rate: float, n: int) -> int:
        value = hoeffding_bentkus(empirical_risk=rate, n=n, bits=0, delta=0.001)
        with workdps(50):
            chernoff = kl_inverse(mpf(str(rate)), log(1 / mpf(0.001)) / n)
            return int((chernoff - value) > TINY)

    assert (against_kl(0.5, 1000), against_kl(0.0001, 1000)) == (1, 0)


@workdps(50)
def test_empirical_bernstein_in_closed_form():
    """ln(2/delta') = 10 ln 2 at delta = 2^-5 and 4 bits."""
    nats = 10 * log(2)
    value = empirical_bernstein(empirical_risk=0.25, variance=0.125, n=101, bits=4, delta=2.0**-5)
    assert abs(value - (mpf("0.25") + sqrt(nats / 404) + 7 * nats / 300)) < TINY
    value = empirical_bernstein(empirical_risk=0.25, variance=0, n=101, bits=4, delta=2.0**-5)
    assert abs(value - (mpf("0.25") + 7 * nats / 300)) < TINY


def test_empirical_bernstein_is_a_risk():
    for n in (0, 1, 2, 15):
        assert empirical_bernstein(0.5, 0.25, n, bits=10, delta=0.05) == 1


@workdps(50)
def test_bounded_loss_pays_half_of_delta_for_each():
    """A small variance lets Bernstein win, a large one Hoeffding and Bentkus."""
    question = {"empirical_risk": 0.3, "n": 500, "bits": 5}
    for variance, winner in ((0.0001, empirical_bernstein), (0.21, hoeffding_bentkus)):
        value = bounded_loss(variance=variance, delta=0.05, **question)
        both = [
            empirical_bernstein(variance=variance, delta=0.025, **question),
            hoeffding_bentkus(delta=0.025, **question),
        ]
        assert value == min(both)
        assert both.index(value) == [empirical_bernstein, hoeffding_bentkus].index(winner)


@workdps(50)
@pytest.mark.parametrize("twin", ["hoeffding-bentkus", "empirical-bernstein", "bounded-loss"])
def test_no_twin_fails_more_often_than_delta(twin):
    """All samples of 7 losses that are 0, 1/2 or 1, under many distributions of them."""
    n, delta = 7, 0.9
    samples = []  # halves, ones, how many orders, bound
    for halves in range(n + 1):
        for ones in range(n + 1 - halves):
            mean = (mpf(halves) / 2 + ones) / n
            squares = mpf(halves) / 4 + ones
            question = {"empirical_risk": float(mean), "n": n, "bits": 0, "delta": delta}
            if twin != "hoeffding-bentkus":
                question["variance"] = float((squares - n * mean**2) / (n - 1))
            orders = comb(n, halves) * comb(n - halves, ones)
            samples.append((halves, ones, orders, TWINS[twin](**question)))
    worst = mpf(0)
    for half in range(0, 20, 3):
        for one in range(20 - half):
            p, q = mpf(half) / 20, mpf(one) / 20
            risk = p / 2 + q
            failure = sum(
                orders * p**halves * q**ones * (1 - p - q) ** (n - halves - ones)
                for halves, ones, orders, bound in samples
                if bound < risk
            )
            worst = max(worst, failure)
    assert 0 < worst <= delta


@workdps(50)
def test_hoeffding_bentkus_on_a_zero_one_loss_is_nearly_tight():
    """The risk just above each of the 21 bounds; the exact tail itself would reach delta."""
    n, delta = 20, 0.1
    bounds = [hoeffding_bentkus(k / n, n, bits=0, delta=delta) for k in range(n + 1)]
    assert bounds == sorted(bounds)
    for k in range(n):
        tail = exact_cdf(k, n, exact(bounds[k] * (1 + mpf("1e-9"))))
        assert Fraction(delta) / 6 < tail <= Fraction(delta)


@workdps(50)
def test_the_chernoff_half_is_in_nats():
    """kl(0.0001‖value) = ln(1/delta)/n where Hoeffding wins."""
    value = hoeffding_bentkus(empirical_risk=0.0001, n=1000, bits=0, delta=0.001)
    assert abs(exp(-1000 * binary_kl(mpf("0.0001"), value)) / mpf(0.001) - 1) < mpf("1e-25")


@pytest.mark.parametrize("twin", [hoeffding_bentkus, bounded_loss, empirical_bernstein])
def test_bad_numbers_are_refused(twin):
    good = {"empirical_risk": 0.1, "n": 10, "bits": 3, "delta": 0.05}
    if twin is not hoeffding_bentkus:
        good["variance"] = 0.1
        with pytest.raises(InputError, match="^variance: expected"):
            twin(**{**good, "variance": -0.1})
    for name, bad in [("empirical_risk", 1.1), ("n", -1), ("bits", -1), ("delta", 0)]:
        with pytest.raises(InputError, match=f"^{name}: expected"):
            twin(**{**good, name: bad})
