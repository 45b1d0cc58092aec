"""The seed paper's value: every factor against the formulas of THEORY 1.2, 1.4, 1.8, by hand."""

import math

import numpy as np
import pytest
from scipy.optimize import bisect

from prunecert.bounds import mbp_sketch_as_published, mbp_sketch_terms
from prunecert.bounds.sketching import (
    capacity_term,
    kept_fraction,
    narrowing_factor,
    needed_margin,
)
from prunecert.types import InputError

MLP = {  # two layers, 6 → 5 → 5: the first narrows, though its factor is 1 at fan-in 6
    "n": 100,
    "fan_out": [5, 5],
    "fan_in": [6, 5],
    "spectral_norm": [2.0, 4.0],
    "input_norm": 3.0,
    "d": [0.0, 1.0, 10.0],
    "removed_norm": [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]],
}


def test_kept_fraction_of_gaussian_weights():
    """THEORY 1.2, P(drop) = √(d/(d+2)), against the integral it comes from."""
    w = np.linspace(-12, 12, 200_001)
    density = np.exp(-(w**2) / 2) / math.sqrt(2 * math.pi)
    for d in (0.1, 1.0, 3.0, 10.0):
        dropped = np.trapezoid(density * np.exp(-(w**2) / d), w)
        assert kept_fraction(d) == pytest.approx(1 - dropped, abs=1e-9)
    assert kept_fraction(0.0) == 1.0


def test_capacity_term_by_hand():
    # d = 2/3: chi = 1/2; 3·7·½·ln²7 + 7·7·½·ln²7 over n = 10
    expected = math.sqrt((21 + 49) / 2 * math.log(7) ** 2 / 10)
    assert capacity_term([3, 7], [7, 7], 2 / 3, 10) == pytest.approx(expected, rel=1e-12)


def test_capacity_term_of_the_papers_network():
    """THEORY 1.11: from about 12 at d = 10 (n = 60,000) to above 40 at d = 0."""
    widths = [784] * 4 + [10], [784] * 5
    assert 12 < capacity_term(*widths, 10.0, 60_000) < 13
    assert capacity_term(*widths, 0.0, 60_000) > 40


@pytest.mark.parametrize("n", [100, 40_000, 48_000, 60_000])
@pytest.mark.parametrize(("out", "into"), [(10, 784), (10, 2000), (300, 784), (10, 100), (3, 2000)])
def test_narrowing_factor_is_the_published_bisection(n, out, into):
    t = bisect(lambda t: 1 - n * np.exp(-t * t * into) - 0.99, 0, 1, xtol=0.01)
    assert narrowing_factor(out, into, n) == min(1, t * math.sqrt(out))


def test_narrowing_factor_is_one_where_a_layer_does_not_narrow():
    assert narrowing_factor(784, 784, 48_000) == 1.0
    assert narrowing_factor(2000, 784, 48_000) == 1.0
    assert narrowing_factor(5, 6, 100) == 1.0  # root above 1, where the published code stops


def test_needed_margin_by_hand():
    # e·B·Σ‖Δ‖/‖A‖·∏‖A‖: e·3·(1/2 + 1/4)·8 = 18e at d = 1
    gammas = needed_margin([5, 5], [6, 5], [2.0, 4.0], MLP["removed_norm"], 3.0, 100)
    assert gammas == pytest.approx([0.0, 18 * math.e, 36 * math.e], rel=1e-12)


def test_needed_margin_takes_the_narrowing_factors():
    plain = needed_margin([784], [784], [2.0], [[1.0]], 1.0, 48_000)
    narrow = needed_margin([10], [784], [2.0], [[1.0]], 1.0, 48_000)
    assert narrow / plain == pytest.approx(narrowing_factor(10, 784, 48_000), rel=1e-12)


def test_d_is_where_gamma_meets_the_smallest_margin():
    # gamma runs from 0 to 18e on [0, 1]: margin 9e is met at d = 1/2
    terms = mbp_sketch_terms(errors=0, smallest_margin=9 * math.e, **MLP)
    assert terms["d"] == pytest.approx(0.5, rel=1e-12)
    assert terms["gamma"] == pytest.approx(9 * math.e, rel=1e-12)
    assert terms["gamma"] <= 9 * math.e
    assert terms["chi"] == pytest.approx(1 - math.sqrt(0.2), rel=1e-12)
    logs = 30 * math.log(6) ** 2 + 25 * math.log(5) ** 2
    capacity = math.sqrt(logs * (1 - math.sqrt(0.2)) / 100)
    assert terms["capacity"] == pytest.approx(capacity, rel=1e-12)
    assert terms["value"] == terms["capacity"]
    # and on the second piece, 18e to 36e over [1, 10]: margin 20e at d = 2
    assert mbp_sketch_terms(errors=0, smallest_margin=20 * math.e, **MLP)["d"] == pytest.approx(2.0)


@pytest.mark.parametrize("margin", [0.0, -3.0])
def test_no_positive_margin_prunes_nothing(margin):
    terms = mbp_sketch_terms(errors=7, smallest_margin=margin, **MLP)
    assert (terms["d"], terms["chi"], terms["gamma"]) == (0.0, 1.0, 0.0)
    assert terms["value"] == 0.07 + terms["capacity"]
    assert mbp_sketch_as_published(errors=7, smallest_margin=margin, **MLP) == terms["value"]


def test_a_zero_margin_prunes_nothing_even_where_pruning_removes_nothing():
    flat = MLP | {"removed_norm": [[0.0, 0.0], [0.0, 0.0], [2.0, 2.0]]}
    assert mbp_sketch_terms(errors=1, smallest_margin=0.0, **flat)["d"] == 0.0


def test_a_margin_above_the_curve_ends_at_the_grid():
    terms = mbp_sketch_terms(errors=0, smallest_margin=1e6, **MLP)
    assert terms["d"] == 10.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fan_in": [6]}, "fan_out and fan_in"),
        ({"fan_in": [6, 0]}, "integers >= 1"),
        ({"spectral_norm": [2.0, 0.0]}, "spectral_norm must be a list of numbers > 0"),
        ({"spectral_norm": [2.0, math.nan]}, "spectral_norm must be finite"),
        ({"d": [1.0, 2.0, 3.0]}, "d must be an increasing list that starts at 0"),
        ({"d": [0.0, 2.0, 1.0]}, "d must be an increasing list"),
        ({"removed_norm": [[0.0, 0.0]]}, "removed_norm must be numbers >= 0, one row per d"),
        ({"removed_norm": "large"}, "removed_norm must be numbers"),
        ({"input_norm": -1.0}, "input_norm must be a number"),
        ({"n": 0}, "n must be an integer >= 1"),
    ],
)
def test_illegal_arguments_are_named(change, says):
    with pytest.raises(InputError, match=says):
        mbp_sketch_as_published(**{"errors": 0, "smallest_margin": 1.0} | MLP | change)
