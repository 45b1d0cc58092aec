"""The norm bound's twin: grid, constants and edges, each solved for by hand."""

import pytest
from mpmath import log, mpf, sqrt, workdps

from prunecert.reference import TWINS
from prunecert.types import InputError

TINY = mpf("1e-30")

golowich_mohri = TWINS["golowich-mohri"]

CHAIN = {"margin": 0.5, "classes": 3, "input_bound": 4, "last_row_norm": 0.25, "delta": 0.05}


@workdps(50)
@pytest.mark.parametrize(("n", "last"), [(64, 3), (65, 4), (256, 4), (257, 5), (60000, 8)])
def test_a_network_of_norm_zero_reaches_the_last_point_of_the_grid(n, last):
    """J = ⌈½ log₂ n⌉, and each of the J+1 points pays its share of delta."""
    value = golowich_mohri(errors=0, n=n, frobenius_norm=[0], **CHAIN)
    deviation = sqrt(log((last + 1) / mpf(0.05)) / (2 * n))
    assert abs(value - (mpf(2) ** -last + deviation)) < TINY


@workdps(50)
@pytest.mark.parametrize("hidden", [[], [7.0], [7.0, 0.5, 0.25]])
@pytest.mark.parametrize("j", [1, 2, 5, 8])
def test_the_grid_point_is_the_last_that_is_not_below_the_norms(hidden, j):
    """The margin that puts T at τ_j, moved by a millionth to either side."""
    n, scale = 60000, mpf(4) * mpf("0.25")
    for norm in hidden:
        scale *= mpf(norm)
    c = 12 * (sqrt(2 * (len(hidden) + 1) * log(2)) + 1) / sqrt(mpf(n))
    margin = scale * c * mpf(2) ** j
    deviation = sqrt(log(9 / mpf(0.05)) / (2 * n))
    chain = {**CHAIN, "errors": 600, "n": n, "frobenius_norm": hidden}
    enough = golowich_mohri(**{**chain, "margin": margin * (1 + mpf("1e-6"))})
    assert abs(enough - (mpf("0.01") + mpf(2) ** -j + deviation)) < TINY
    short = golowich_mohri(**{**chain, "margin": margin * (1 - mpf("1e-6"))})
    assert abs(short - min(1, mpf("0.01") + mpf(2) ** -(j - 1) + deviation)) < TINY


def test_norms_above_every_grid_point_bound_nothing():
    assert golowich_mohri(errors=0, n=60000, frobenius_norm=[1e9], **CHAIN) == 1


def test_the_first_grid_point_and_an_empty_sample_bound_nothing():
    """2^0 is 1 already, and it is all there is of the grid at n = 1."""
    assert golowich_mohri(errors=0, n=1, frobenius_norm=[0], **CHAIN) == 1
    assert golowich_mohri(errors=0, n=0, frobenius_norm=[0], **CHAIN) == 1


@workdps(50)
def test_every_norm_and_constant_counts():
    """T < τ_8 by a millionth, and doubling any factor of it costs one grid point."""
    n = 60000
    c = 12 * (sqrt(4 * log(2)) + 1) / sqrt(mpf(n))
    hidden = mpf(2) ** -8 / c / 2 * (1 - mpf("1e-6"))  # 4 · 0.25 / 0.5 = 2
    chain = {**CHAIN, "errors": 0, "n": n, "frobenius_norm": [hidden]}
    at_last = golowich_mohri(**chain)
    deviation = sqrt(log(9 / mpf(0.05)) / (2 * n))
    assert abs(at_last - (mpf(2) ** -8 + deviation)) < TINY
    for change in (
        {"margin": 0.25},
        {"classes": 6},
        {"input_bound": 8},
        {"last_row_norm": 0.5},
        {"frobenius_norm": [2 * hidden]},
    ):
        value = golowich_mohri(**{**chain, **change})
        assert abs(value - at_last - mpf(2) ** -8) < TINY
    one_more_layer = golowich_mohri(**{**chain, "frobenius_norm": [hidden, 1]})
    assert abs(one_more_layer - at_last - mpf(2) ** -8) < TINY


def test_bad_numbers_are_refused():
    good = {"errors": 1, "n": 10, "frobenius_norm": [1], **CHAIN}
    for name, bad in [
        ("errors", 11),
        ("margin", 0),
        ("classes", 1),
        ("input_bound", -1),
        ("frobenius_norm", [-1]),
        ("last_row_norm", -1),
        ("delta", 1),
    ]:
        with pytest.raises(InputError, match=f"^{name}: expected"):
            golowich_mohri(**{**good, name: bad})
