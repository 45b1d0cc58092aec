"""Hold-out twins: exact enumeration at tiny n, composition, and quoted numbers."""

from fractions import Fraction

import pytest
from exact_tail import is_upper
from mpmath import mpf, workdps

from prunecert.reference import TWINS
from prunecert.types import InputError

DELTA = 0.05


@pytest.mark.parametrize(
    ("name", "count"), [("holdout", "errors"), ("top-k", "errors"), ("disagreement", "count")]
)
def test_small_samples_by_exact_enumeration(name, count):
    for n in (1, 4, 6):
        for errors in range(n + 1):
            value = TWINS[name](**{count: errors, "n": n, "delta": DELTA})
            assert is_upper(value, errors, n, Fraction(DELTA))


def test_quoted_holdout():
    """ANCHORS: 10,000 points at 0.6 % error give 0.74 %."""
    value = TWINS["holdout"](errors=60, n=10000, delta=DELTA)
    assert abs(100 * value - 0.74) <= 0.005


def test_each_class_pays_its_share_of_delta():
    errors, n = [2, 0, 3, 0, 2], [5, 0, 3, 4, 5]
    values = TWINS["per-class"](errors=errors, n=n, delta=DELTA)
    assert len(values) == 5
    for value, count, size in zip(values, errors, n, strict=True):
        assert is_upper(value, count, size, Fraction(DELTA) / 5)
    assert values[1] == 1
    assert values[0] == values[4]


@workdps(50)
def test_cost_of_pruning_by_exact_enumeration():
    upper = TWINS["holdout"]
    n = 5
    for worse in range(n + 1):
        for better in range(n + 1 - worse):
            cost = TWINS["cost-of-pruning"](worse=worse, better=better, n=n, delta=DELTA)
            first = upper(errors=worse, n=n, delta=DELTA / 2)
            second = upper(errors=n - better, n=n, delta=DELTA / 2)
            assert is_upper(first, worse, n, Fraction(DELTA) / 2)
            assert is_upper(second, n - better, n, Fraction(DELTA) / 2)
            assert abs(cost - (first + second - 1)) < mpf("1e-45")


@workdps(50)
def test_cost_of_pruning_in_closed_form():
    """With r = (delta/2)^(1/n): nothing changed costs 1 - r, always better costs 1 - 2r."""
    root = mpf(DELTA / 2) ** (mpf(1) / 7)
    cost = TWINS["cost-of-pruning"]
    assert abs(cost(worse=0, better=0, n=7, delta=DELTA) - (1 - root)) < mpf("1e-30")
    assert abs(cost(worse=0, better=7, n=7, delta=DELTA) - (1 - 2 * root)) < mpf("1e-30")


def test_quoted_cost_of_pruning():
    """THEORY 2.7: 60 and 40 of 10,000 cost at most 0.49 points."""
    value = TWINS["cost-of-pruning"](worse=60, better=40, n=10000, delta=DELTA)
    assert abs(100 * value - 0.49) <= 0.005


@workdps(50)
def test_labelled_transfer_adds_the_corrected_samples():
    transfer = TWINS["labelled-transfer"]
    root = 1 - mpf(DELTA) ** (mpf(1) / 100)
    value = transfer(risk_bound=0.125, better=0, n=100, delta=DELTA)
    assert abs(value - (mpf("0.125") + root)) < mpf("1e-30")
    assert transfer(risk_bound=0.125, better=99, n=100, delta=DELTA) == 1


def test_bad_numbers_are_refused():
    with pytest.raises(InputError, match="worse \\+ better: expected at most n = 5"):
        TWINS["cost-of-pruning"](worse=3, better=3, n=5, delta=DELTA)
    with pytest.raises(InputError, match="errors: expected one count per class"):
        TWINS["per-class"](errors=[1], n=[3, 4], delta=DELTA)
    with pytest.raises(InputError, match="delta: expected"):
        TWINS["holdout"](errors=1, n=5, delta=5)
    with pytest.raises(InputError, match="risk_bound: expected"):
        TWINS["labelled-transfer"](risk_bound=1.5, better=1, n=5, delta=DELTA)
