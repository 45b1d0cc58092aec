"""Rounding: expected strings are by hand; the properties compare exact fractions."""

import math
import random
from fractions import Fraction

import pytest

from prunecert.report.numbers import percent, plain, power_of_ten, stated


def read_percent(words: str) -> tuple[Fraction, Fraction]:
    """(the value shown, one unit of its last decimal), both as fractions of one."""
    digits = words.removesuffix(" %").replace("−", "-")
    decimals = len(digits.partition(".")[2])
    return Fraction(digits) / 100, Fraction(1, 100 * 10**decimals)


@pytest.mark.parametrize(
    ("value", "up", "words"),
    [
        (0.268896, True, "26.89 %"),
        (0.26884, True, "26.89 %"),
        (0.26884, False, "26.88 %"),
        (0.268801, True, "26.89 %"),
        (0.07, True, "7.00 %"),  # 100 * 0.07 is 7.000000000000001 in binary
        (0.29, True, "29.00 %"),  # 100 * 0.29 is 28.999999999999996 in binary
        (1.0, True, "100.00 %"),
        (0.999999, True, "100.00 %"),
        (0.00012341, True, "0.0124 %"),
        (0.00012341, False, "0.0123 %"),
        (-0.012345, True, "−1.23 %"),
        (0.0, True, "0 %"),
    ],
)
def test_percent(value: float, up: bool, words: str) -> None:
    assert percent(value, up) == words


@pytest.mark.parametrize(
    ("value", "up", "words"),
    [
        (6626, False, "6,626"),
        (8621344.0, False, "8,621,344"),
        (0.05, False, "0.05"),
        (37.214055, True, "37.22"),
        (37.214055, False, "37.21"),
        (12345.1, True, "12,346"),
        (0.0333333, False, "0.03333"),
        (1243907.2, False, "1.244 × 10⁶"),
        (9999999.5, True, "1 × 10⁷"),
        (0.00012341, True, "1.235 × 10⁻⁴"),
        (-2.5, False, "−2.5"),
        (0.30000000000000004, False, "0.3"),
        (0.0, False, "0"),
    ],
)
def test_plain(value: float, up: bool, words: str) -> None:
    assert plain(value, up) == words


def test_power_of_ten() -> None:
    assert power_of_ten(-12) == "10⁻¹²"


def test_proven_percentages_are_never_below_the_value_nor_a_whole_unit_above() -> None:
    draw = random.Random(1)
    for _ in range(2000):
        value = round(math.exp(draw.uniform(-14, 0)), 6) or 1e-6
        shown, unit = read_percent(stated(value, draw.choice(["certified", "conditional"]), True))
        assert Fraction(repr(value)) <= shown < Fraction(repr(value)) + unit


def test_measured_percentages_are_the_nearest() -> None:
    draw = random.Random(2)
    for _ in range(2000):
        value = draw.random()
        shown, unit = read_percent(stated(value, "measured", True))
        assert abs(shown - Fraction(repr(value))) <= unit / 2


def test_what_is_no_fraction_of_one_is_no_percentage() -> None:
    assert stated(0.5, "order-only", is_fraction=True) == "0.5"
    assert stated(1.5, "certified", is_fraction=True) == "1.5"
    assert stated(0.5, "certified", is_fraction=False) == "0.5"
    assert stated(1.0, "certified", is_fraction=True) == "100.00 %"
