"""Selection and planning twins against exact enumeration."""

from fractions import Fraction
from math import ceil

import pytest
from exact_tail import exact, exact_cdf, is_upper
from mpmath import mpf

from prunecert.reference import TWINS
from prunecert.types import InputError

p_value, fixed_sequence = TWINS["p-value"], TWINS["fixed-sequence"]
samples_needed, holdout = TWINS["samples-needed"], TWINS["holdout"]


def test_p_value_by_exact_enumeration():
    for n in (1, 4, 9):
        for errors in range(n + 1):
            value = exact(p_value(errors=errors, n=n, target_error=0.3))
            assert abs(value - exact_cdf(errors, n, Fraction(0.3))) < Fraction(1, 10**45)


def test_p_value_and_holdout_are_two_sides_of_one_statement():
    """p-value <= delta exactly when B̄(errors, n, delta) <= target."""
    for errors in range(60):
        accepted = p_value(errors=errors, n=400, target_error=0.1) <= mpf(0.05)
        assert accepted == (holdout(errors=errors, n=400, delta=0.05) <= mpf(0.1))


def test_fixed_sequence_stops_at_the_first_failure():
    """n = 20, target 1/2, delta 1/16: P[Bin <= 5] = 21700/2^20 passes, P[Bin <= 6] = 60460/2^20
    passes, P[Bin <= 7] = 137980/2^20 fails; what follows a failure is not looked at."""
    assert exact_cdf(6, 20, Fraction(1, 2)) == Fraction(60460, 2**20)
    bounds = fixed_sequence(errors=[5, 6, 7, 0], n=20, target_error=0.5, delta=0.0625)
    assert bounds == [0.5, 0.5, 1, 1]
    assert fixed_sequence(errors=[7, 5], n=20, target_error=0.5, delta=0.0625) == [1, 1]
    assert fixed_sequence(errors=[], n=20, target_error=0.5, delta=0.0625) == []


def test_fixed_sequence_accepts_a_p_value_equal_to_delta():
    """P[Bin(3, 1/2) <= 0] is 1/8 without rounding."""
    assert fixed_sequence(errors=[0], n=3, target_error=0.5, delta=0.125) == [0.5]


def test_simultaneous_pays_for_every_network():
    errors = [0, 2, 5]
    values = TWINS["simultaneous"](errors=errors, n=6, delta=0.05)
    for value, count in zip(values, errors, strict=True):
        assert is_upper(value, count, 6, Fraction(0.05) / 3)


def smallest_by_enumeration(target: str, expected: str, delta: float) -> int:
    m = 1
    while exact_cdf(ceil(Fraction(expected) * m), m, Fraction(target)) > Fraction(delta):
        m += 1
    return m


@pytest.mark.parametrize(
    ("target", "expected", "delta"),
    [("0.5", "0.25", 0.05), ("0.5", "0", 0.05), ("0.25", "0.125", 0.01), ("0.75", "0.5", 1e-12)],
)
def test_samples_needed_is_the_smallest_by_enumeration(target, expected, delta):
    value = samples_needed(target_error=float(target), expected_error=float(expected), delta=delta)
    assert value == smallest_by_enumeration(target, expected, delta)


@pytest.mark.parametrize(("target", "expected", "quoted"), [(0.05, 0.03, 400), (0.02, 0.015, 2400)])
def test_quoted_sample_sizes(target, expected, quoted):
    """THEORY 2.8 gives them as approximate. The size found is enough and one less is not."""
    m = int(samples_needed(target_error=target, expected_error=expected, delta=0.05))
    assert abs(m / quoted - 1) < 0.1
    rate = Fraction(str(expected))
    assert holdout(errors=ceil(rate * m), n=m, delta=0.05) <= target
    assert holdout(errors=ceil(rate * (m - 1)), n=m - 1, delta=0.05) > target


def test_no_expected_error_needs_logarithmically_many():
    """(1 - 1/20)^59 <= 1/20 < (1 - 1/20)^58."""
    assert Fraction(19, 20) ** 59 <= Fraction(1, 20) < Fraction(19, 20) ** 58
    assert samples_needed(target_error=0.05, expected_error=0, delta=0.05) == 59


def test_a_tiny_delta_is_not_lost_in_cancellation():
    """2^-m <= 1e-200 first at m = 665."""
    assert 2**664 < 10**200 <= 2**665
    assert samples_needed(target_error=0.5, expected_error=0, delta=1e-200) == 665


def test_bad_numbers_are_refused():
    with pytest.raises(InputError, match="expected_error: expected"):
        samples_needed(target_error=0.05, expected_error=0.05, delta=0.05)
    with pytest.raises(InputError, match="target_error: expected"):
        p_value(errors=1, n=5, target_error=1)
    with pytest.raises(InputError, match="delta: expected"):
        fixed_sequence(errors=[1], n=5, target_error=0.5, delta=0)
