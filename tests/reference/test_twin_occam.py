"""Occam twins: closed forms, exact enumeration, and the numbers of THEORY and ANCHORS."""

from fractions import Fraction

import pytest
from exact_tail import is_upper
from mpmath import mpf, workdps

from prunecert.reference import TWINS
from prunecert.types import InputError

occam, occam_kl = TWINS["occam"], TWINS["occam-kl"]


@pytest.mark.parametrize("bits", [0, 1, 13, 500])
@pytest.mark.parametrize("delta", [0.05, 0.5, 1e-12])
def test_small_samples_by_exact_enumeration(bits, delta):
    for n in (1, 3, 6):
        for errors in range(n + 1):
            value = occam(errors=errors, n=n, bits=bits, delta=delta)
            assert is_upper(value, errors, n, Fraction(delta) / 2**bits)


@workdps(50)
@pytest.mark.parametrize(("n", "bits"), [(1, 0), (50, 7), (60000, 4000), (60000, 10**6)])
def test_closed_forms_at_no_error_and_at_all_errors(n, bits):
    root = 1 - (mpf(0.05) * mpf(2) ** -bits) ** (mpf(1) / n)
    assert abs(occam(errors=0, n=n, bits=bits, delta=0.05) - root) < mpf("1e-30")
    assert abs(occam_kl(errors=0, n=n, bits=bits, delta=0.05) - root) < mpf("1e-30")
    assert occam(errors=n, n=n, bits=bits, delta=0.05) == 1
    assert occam_kl(errors=n, n=n, bits=bits, delta=0.05) == 1


# errors, bits, exact and Chernoff form in percent, half a unit of the last digit quoted
QUOTED = [
    (1200, 4000, 9.42, 9.43, 0.005),  # THEORY 3.4
    (470, 55565, 49.7, None, 0.05),  # THEORY 3.3, ANCHORS: LeNet-5, 5,347 nonzeros
    (470, 33024, 34.4, None, 0.05),  # the same, dead units removed
]


@pytest.mark.parametrize(("errors", "bits", "exact_percent", "kl_percent", "half_unit"), QUOTED)
def test_quoted_certificates(errors, bits, exact_percent, kl_percent, half_unit):
    question = {"errors": errors, "n": 60000, "bits": bits, "delta": 0.05}
    assert abs(100 * occam(**question) - exact_percent) <= half_unit
    if kl_percent is not None:
        assert abs(100 * occam_kl(**question) - kl_percent) <= half_unit


# THEORY 3.4, "Budgets": bits that still give the error, quoted in hundreds
BUDGETS = [
    (60000, 1200, 5700, 0.116),
    (60000, 600, 7500, 0.116),
    (60000, 600, 2100, 0.05),
    (50000, 15000, 11700, 0.582),
    (50000, 12500, 16300, 0.582),
]


@pytest.mark.parametrize(("n", "errors", "bits", "risk"), BUDGETS)
def test_quoted_budgets_to_a_hundred_bits(n, errors, bits, risk):
    assert occam(errors=errors, n=n, bits=bits - 100, delta=0.05) < risk
    assert occam(errors=errors, n=n, bits=bits + 100, delta=0.05) > risk


@workdps(50)
def test_chernoff_form_is_never_below_the_exact_tail():
    for errors in (0, 1, 30, 99, 100):
        for bits in (0, 40, 3000):
            question = {"errors": errors, "n": 100, "bits": bits, "delta": 0.05}
            assert occam_kl(**question) >= occam(**question) * (1 - mpf("1e-32"))


@workdps(50)
def test_a_billion_bits_do_not_underflow():
    for twin in (occam, occam_kl):
        assert 1 - mpf("1e-30") < twin(errors=1200, n=60000, bits=10**9, delta=0.05) <= 1


@pytest.mark.parametrize("twin", [occam, occam_kl])
def test_bad_numbers_are_refused(twin):
    good = {"errors": 1, "n": 10, "bits": 3, "delta": 0.05}
    for name, bad in [("bits", -1), ("delta", 0), ("delta", 1), ("errors", 11)]:
        with pytest.raises(InputError, match=f"^{name}: expected"):
            twin(**{**good, name: bad})
