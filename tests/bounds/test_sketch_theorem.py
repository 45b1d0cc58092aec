"""The seed paper's theorem, with explicit arguments, and its ticket extension: by hand."""

import math

import numpy as np
import pytest

from prunecert.bounds.pattern import pattern_failure
from prunecert.bounds.pruning_error import removed_norm_latala
from prunecert.bounds.sketch_theorem import (
    mbp_sketch_as_in_theorem,
    mbp_sketch_theorem_terms,
    ticket_capacity,
    ticket_terms,
)
from prunecert.types import InputError

# d = 2/3 keeps half of Gaussian weights
TWO_LAYERS = {
    "fan_out": [3, 7],
    "fan_in": [7, 3],
    "spectral_norm": [2.0, 4.0],
    "variance": [0.5, 0.25],
    "input_norm": 3.0,
    "pruning_d": 2 / 3,
    "lambda_l": [2.0, 4.0],
    "epsilon_l": [5.0, 10.0],
    "rho_l": [0.5, 0.25],
    "rounding_norm": [0.3, 0.7],
}


def test_the_root_by_hand():
    """3λχ·d_l·max(d_l, d_{l−1})·ln²(max dim)·ln(1/ρ): 3·2·½·3·7·ln²7·ln2 and so on, n = 4."""
    terms = mbp_sketch_theorem_terms([1.0, 2.0, 3.0, 4.0], **TWO_LAYERS)
    first = 3 * 2 * 0.5 * 3 * 7 * math.log(7) ** 2 * math.log(2)
    second = 3 * 4 * 0.5 * 7 * 7 * math.log(7) ** 2 * math.log(4)
    assert terms["capacity"] == pytest.approx(math.sqrt((first + second) / 4), rel=1e-12)
    assert terms["chi"] == pytest.approx(0.5, rel=1e-12)


def test_the_margin_by_hand():
    """e·B·∏‖A‖·Σ(εΓ + rounding)/‖A‖."""
    gamma_l = removed_norm_latala([3, 7], [7, 3], 2 / 3, [0.5, 0.25])
    total = (5 * gamma_l[0] + 0.3) / 2 + (10 * gamma_l[1] + 0.7) / 4
    terms = mbp_sketch_theorem_terms([1.0], **TWO_LAYERS)
    assert terms["gamma"] == pytest.approx(math.e * 3 * 8 * total, rel=1e-12)
    assert terms["relative_sum"] == pytest.approx(total, rel=1e-12)


def test_margins_within_gamma_count():
    gamma = mbp_sketch_theorem_terms([1.0], **TWO_LAYERS)["gamma"]
    margins = [-1.0, gamma * (1 - 1e-9), gamma, gamma * (1 + 1e-9), 1e9]
    terms = mbp_sketch_theorem_terms(margins, **TWO_LAYERS)
    assert terms["margin_risk"] == 3 / 5
    assert terms["value"] == 3 / 5 + terms["capacity"]
    assert mbp_sketch_as_in_theorem(margins, **TWO_LAYERS) == terms["value"]


def test_how_much_probability_is_left():
    """1 − Σ(1/ε + 1/λ + max^{−1/3} + 1/max)."""
    wide = TWO_LAYERS | {"fan_out": [8000, 8000], "fan_in": [8000, 10]}
    wide |= {"lambda_l": [10.0, 20.0], "epsilon_l": [50.0, 25.0]}
    left = mbp_sketch_theorem_terms([1.0], **wide)["probability_left"]
    expected = 1 - (0.02 + 0.04) - (0.1 + 0.05) - 2 * 0.05 - 2 / 8000
    assert left == pytest.approx(expected, rel=1e-9)
    assert mbp_sketch_theorem_terms([1.0], **TWO_LAYERS)["probability_left"] == 0.0
    assert pattern_failure([8000], [10], [20.0])[0] == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize(("scale", "holds"), [(1e-9, True), (1.0, False)])
def test_whether_the_condition_holds(scale, holds):
    changed = {"variance": [scale, scale], "rho_l": [1e-6, 1e-6]}
    assert mbp_sketch_theorem_terms([1.0], **TWO_LAYERS | changed)["holds"] is holds


def test_the_papers_network_is_far_from_the_theorems_condition():
    """5 × 784 at d = 1 with weights of the usual size: stated, and said not to hold."""
    widths = [784] * 4 + [10], [784] * 5
    terms = mbp_sketch_theorem_terms(
        [1.0] * 100,
        *widths,
        [2.0] * 5,
        [1 / 784] * 5,
        28.0,
        1.0,
        [20.0] * 5,
        [20.0] * 5,
        [2.0**-8] * 5,
        [784 * 2.0**-9] * 5,
    )
    assert not terms["holds"]
    assert terms["value"] > 1
    assert terms["probability_left"] == 0.0


# --------------------------------------------------------------------------- tickets


def test_ticket_by_hand():
    """Target 5 → 6 → 7 → 2: d = 5, w = 7, ℓ = 3: 5·7 + 49·3 = 182 active weights."""
    given = {"fan_out": [6, 7, 2], "fan_in": [5, 6, 7], "spectral_norm": [1.0, 0.5, 1.0]}
    terms = ticket_terms(3, 100, **given)
    assert terms["active_weights"] == 182
    assert terms["dense_weights"] == 30 + 42 + 14
    assert terms["norms_hold"] is True
    assert terms["capacity"] == pytest.approx(math.sqrt(182 * math.log(7) ** 2 / 100), rel=1e-12)
    assert ticket_capacity(3, 100, **given) == 0.03 + terms["capacity"]
    assert ticket_terms(3, 100, **given | {"spectral_norm": [1.0, 1.1, 1.0]})["norms_hold"] is False


def test_a_wide_input_takes_the_logarithm():
    terms = ticket_terms(0, 100, [6, 2], [50, 6], [1.0, 1.0])
    assert terms["active_weights"] == 50 * 6 + 36 * 2
    assert terms["capacity"] == pytest.approx(math.sqrt(372 * math.log(50) ** 2 / 100), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lambda_l": [0.5, 2.0]}, "lambda_l must be numbers >= 1"),
        ({"epsilon_l": [2.0]}, "epsilon_l"),
        ({"rho_l": [1.0, 0.5]}, "rho_l must be numbers in"),
        ({"rounding_norm": [-1.0, 0.5]}, "rounding_norm must be numbers >= 0"),
        ({"pruning_d": -1.0}, "pruning_d must be a number"),
        ({"variance": [0.0, 1.0]}, "variance must be numbers > 0"),
        ({"margins": []}, "margins must be a list"),
    ],
)
def test_illegal_arguments_are_named(change, says):
    with pytest.raises(InputError, match=says):
        mbp_sketch_as_in_theorem(**{"margins": np.ones(3)} | TWO_LAYERS | change)
