"""Comparators: every factor by hand on matrices whose norms are known in closed form."""

import math

import numpy as np
import pytest

from prunecert.bounds.comparators import (
    arora_2018,
    bartlett_2017,
    bartlett_2017_as_coded,
    bartlett_2017_theorem,
    neyshabur_2015,
    neyshabur_2018,
    neyshabur_2018_theorem,
)
from prunecert.types import InputError

# diag(3, 4) and a row of two fours: spectral 4 and 4√2, Frobenius 5 and 4√2, 2,1 norm 7 and 4√2
FIRST, SECOND = np.diag([3.0, 4.0]), np.array([[4.0, 4.0]])
ROOT = 4 * math.sqrt(2)
SPECTRAL, FROBENIUS, ROWS = [4.0, ROOT], [5.0, ROOT], [7.0, ROOT]
GAMMA = 2.0


def test_the_norms_used_here():
    for matrix, spectral, frobenius, rows in zip((FIRST, SECOND), SPECTRAL, FROBENIUS, ROWS):
        assert np.linalg.norm(matrix, 2) == pytest.approx(spectral, rel=1e-14)
        assert np.linalg.norm(matrix) == pytest.approx(frobenius, rel=1e-14)
        assert np.linalg.norm(matrix, axis=1).sum() == pytest.approx(rows, rel=1e-14)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (neyshabur_2015(FROBENIUS, GAMMA), 25 * 32 / 4),
        (bartlett_2017(SPECTRAL, ROWS, GAMMA), 16 * 32 / 4 * (49 / 16 + 1)),
        (bartlett_2017_as_coded(SPECTRAL, FROBENIUS, GAMMA), 16 * 32 / 4 * (25 / 16 + 1)),
        (
            bartlett_2017_theorem(SPECTRAL, ROWS, GAMMA),
            16 * 32 / 4 * ((7 / 4) ** (2 / 3) + 1) ** 3,
        ),
        (neyshabur_2018([10, 2], SPECTRAL, FROBENIUS, GAMMA), 128 * (10 * 25 / 16 + 2)),
        (
            neyshabur_2018_theorem([2, 1], SPECTRAL, FROBENIUS, 3.0, GAMMA),
            9 * 4 * 2 * math.log(4) * 128 * (25 / 16 + 1),
        ),
        (
            arora_2018([0.5, 0.25], [0.2, 1.0], 1.5, 7.0, 6.0, GAMMA),
            (1.5 * 2 * 7) ** 2 * (1 / 0.01 + 16) / 4,
        ),
    ],
)
def test_by_hand(value, expected):
    assert value == pytest.approx(expected, rel=1e-12)


def test_smoothness_below_three_times_the_depth_says_nothing():
    given = ([0.5, 0.25], [0.2, 1.0], 1.5, 7.0)
    assert arora_2018(*given, 6.0, GAMMA) > 0
    with pytest.raises(InputError, match="smoothness 5.999 is below 3L = 6"):
        arora_2018(*given, 5.999, GAMMA)


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan, math.inf])
def test_a_margin_that_is_not_positive_says_nothing(margin):
    with pytest.raises(InputError, match="margin must be a number with margin > 0"):
        neyshabur_2015(FROBENIUS, margin)


def test_doubling_the_margin_divides_by_four():
    for function, norms in ((neyshabur_2015, (FROBENIUS,)), (bartlett_2017, (SPECTRAL, ROWS))):
        assert function(*norms, 1.0) == pytest.approx(4 * function(*norms, 2.0), rel=1e-12)
