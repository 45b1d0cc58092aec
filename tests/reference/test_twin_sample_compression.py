"""Sample-compression twins: closed forms, the defining sum, exact failure probabilities."""

from fractions import Fraction
from math import comb

import pytest
from exact_tail import exact, exact_cdf
from mpmath import mpf, pi, workdps

from prunecert.reference import TWINS
from prunecert.types import InputError

TINY = mpf("1e-30")

sample_compression, pick_to_learn = TWINS["sample-compression"], TWINS["pick-to-learn"]


@workdps(50)
@pytest.mark.parametrize(
    ("size", "n", "bits"), [(0, 1, 0), (3, 8, 5), (300, 60000, 12), (30000, 60000, 0)]
)
def test_no_error_outside_has_a_closed_form(size, n, bits):
    share = mpf(0.05) * 6 / pi**2 / ((size + 1) ** 2 * comb(n, size)) / 2**bits
    value = sample_compression(errors=0, size=size, n=n, bits=bits, delta=0.05)
    assert abs(value - (1 - share ** (mpf(1) / (n - size)))) < TINY


@workdps(50)
def test_all_but_one_wrong_outside():
    share = mpf(0.05) * 6 / pi**2 / (9 * 28)
    value = sample_compression(errors=5, size=2, n=8, bits=0, delta=0.05)
    assert abs(value - (1 - share) ** (mpf(1) / 6)) < TINY
    assert sample_compression(errors=6, size=2, n=8, bits=0, delta=0.05) == 1
    assert sample_compression(errors=0, size=8, n=8, bits=0, delta=0.05) == 1


@workdps(50)
def test_all_subsets_and_messages_together_pay_less_than_delta():
    """At no error outside (1 - value)^(n-k) is the share of one subset with one message."""
    n, delta, spent = 12, mpf(0.05), mpf(0)
    for size in range(n):
        value = sample_compression(errors=0, size=size, n=n, bits=2, delta=0.05)
        spent += comb(n, size) * 4 * (1 - value) ** (n - size)
    expected = delta * 6 / pi**2 * sum(mpf(1) / (k + 1) ** 2 for k in range(n))
    assert abs(spent - expected) < TINY
    assert delta * 0.9 < spent < delta


def pick_to_learn_sum(size: int, n: int, delta: Fraction, risk: Fraction) -> Fraction:
    """The left side of THEORY 2.10's equation, literally."""
    terms = (Fraction(comb(m, size), comb(n, size)) / (1 - risk) ** (n - m) for m in range(size, n))
    return delta / n * sum(terms, start=Fraction(0))


@pytest.mark.parametrize("delta", [0.05, 0.9, 1e-9])
def test_pick_to_learn_solves_its_equation(delta):
    step = Fraction(1, 10**30)
    for n in (1, 2, 5, 13):
        for size in range(n):
            value = exact(pick_to_learn(size=size, n=n, delta=delta))
            below = pick_to_learn_sum(size, n, Fraction(delta), value - step)
            above = pick_to_learn_sum(size, n, Fraction(delta), value + step)
            assert below < 1 < above
        assert pick_to_learn(size=n, n=n, delta=delta) == 1


def test_pick_to_learn_of_nothing():
    assert pick_to_learn(size=0, n=0, delta=0.05) == 1


@workdps(50)
@pytest.mark.parametrize(("size", "n"), [(0, 3000), (30, 3000), (1500, 3000)])
def test_pick_to_learn_of_a_long_sum(size, n):
    """The terms from m = n-1 down, each from the last: (m-k)/m of C(m, k) and one more 1-ε."""
    risk = pick_to_learn(size=size, n=n, delta=0.05)
    term = mpf(n - size) / n / (1 - risk)
    total = mpf(0)
    for m in range(n - 1, size - 1, -1):
        total += term
        term *= mpf(m - size) / m / (1 - risk) if m else 0
    assert abs(mpf(0.05) / n * total - 1) < mpf("1e-26")


@pytest.mark.parametrize("delta", [0.05, 0.5])
def test_extremes_of_a_sample_are_covered(delta):
    """The k outermost samples decide: the risk exceeds ε with probability P[Bin(n, ε) <= k-1].

    That is the case in which the risk of a scheme of size k is largest.
    """
    for n in (2, 6, 15):
        for size in range(1, n):
            risk = exact(pick_to_learn(size=size, n=n, delta=delta))
            assert exact_cdf(size - 1, n, risk) <= Fraction(delta)


def test_a_larger_support_is_a_larger_risk():
    values = [pick_to_learn(size=size, n=16, delta=0.05) for size in range(17)]
    assert all(low < high for low, high in zip(values, values[1:], strict=False))


def test_bad_numbers_are_refused():
    good = {"errors": 1, "size": 2, "n": 10, "bits": 0, "delta": 0.05}
    for name, bad in [("errors", 9), ("size", 11), ("bits", -1), ("delta", 0)]:
        with pytest.raises(InputError, match=f"^{name}: expected"):
            sample_compression(**{**good, name: bad})
    for name, bad in [("size", 11), ("size", -1), ("delta", 1)]:
        with pytest.raises(InputError, match=f"^{name}: expected"):
            pick_to_learn(**{"size": 2, "n": 10, "delta": 0.05, name: bad})
