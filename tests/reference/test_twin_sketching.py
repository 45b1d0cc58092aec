"""The published sketch bound on curves whose root is known in closed form."""

import pytest
from mpmath import e, log, mpf, sqrt, workdps

from prunecert.reference import TWINS
from prunecert.reference.sketching import interpolate, kappa
from prunecert.types import InputError

twin = TWINS["mbp-sketch-as-published"]
TINY = mpf("1e-30")

# One square layer, ‖A‖ = 2, B = 1, ‖Δ‖ = d/10: gamma(d) = e B ‖Δ‖/‖A‖ ‖A‖ = e d/10.
STRAIGHT = {
    "fan_out": [4],
    "fan_in": [4],
    "spectral_norm": [2.0],
    "input_norm": 1.0,
    "d": [0.0, 10.0],
    "removed_norm": [[0.0], [1.0]],
    "n": 100,
}


def last_midpoint(root):
    """Where seven halvings of [0, 1] look last: an odd multiple of 2^-7 within 2^-7 of the root."""
    low = int(root * 64)
    return mpf(2 * low + 1) / 128


@workdps(50)
def test_root_on_a_straight_curve():
    result = twin(margins=[1.0, 1.5, 9.0, 1.0], **STRAIGHT)
    root = 10 / e
    assert abs(result["d"] - root) < TINY
    chi = 1 - sqrt(root / (root + 2))
    assert abs(result["chi"] - chi) < TINY
    assert abs(result["gamma"] - 1) < TINY
    assert result["margin_risk"] == 0  # no margin is strictly below the smallest
    capacity = sqrt(16 * chi / 100) * log(4)
    assert abs(result["capacity"] - capacity) < TINY
    assert abs(result["value"] - capacity) < TINY


@workdps(50)
@pytest.mark.parametrize("smallest", [0.0, -3.0])
def test_nothing_is_pruned_when_a_training_sample_is_wrong(smallest):
    result = twin(margins=[2.0, smallest, 1.0, 5.0], **STRAIGHT)
    assert (result["d"], result["chi"], result["gamma"]) == (0, 1, 0)
    assert result["margin_risk"] == mpf(1) / 4
    assert abs(result["capacity"] - sqrt(mpf(16) / 100) * log(4)) < TINY


@workdps(50)
def test_an_unreachable_margin_gives_the_end_of_the_interval():
    """gamma(10) = e < 2.75."""
    result = twin(margins=[2.75, 3.0], **STRAIGHT)
    assert result["d"] == 10
    assert abs(result["chi"] - (1 - sqrt(mpf(10) / 12))) < TINY
    assert abs(result["gamma"] - e) < TINY
    assert result["margin_risk"] == 0


@workdps(50)
def test_two_layers_multiply_norms_and_kappas_and_add_relative_changes():
    """Curve measured at d = 1, 4, 8 only: linear from nothing removed at 0, flat beyond 8."""
    question = {
        "fan_out": [4, 1],
        "fan_in": [3, 10000],
        "spectral_norm": [2.0, 0.5],
        "input_norm": 3.0,
        "d": [1.0, 4.0, 8.0],
        "removed_norm": [[0.25, 0.125], [0.5, 0.25], [1.0, 0.25]],
        "n": 50,
    }
    # Relative changes sum to 0.375, 0.75, 1.0 at the knots; the norms multiply to 1.
    narrowing = last_midpoint(sqrt(log(mpf(5000)) / 10000))
    scale = 3 * e * narrowing
    margin = float(scale * mpf("0.875"))
    result = twin(margins=[margin], **question)
    assert abs(result["d"] - (4 + 4 * (margin / scale - mpf("0.75")) / mpf("0.25"))) < TINY
    assert abs(result["gamma"] - margin) < TINY
    assert abs(result["chi"] - (1 - sqrt(result["d"] / (result["d"] + 2)))) < TINY
    size = result["chi"] * (12 * log(4) ** 2 + 10000 * log(10000) ** 2)
    assert abs(result["capacity"] - sqrt(size / 50)) < TINY

    early = twin(margins=[float(scale * mpf("0.1875"))], **question)
    assert abs(early["d"] - mpf("0.5")) < mpf("1e-15")
    late = twin(margins=[float(2 * scale)], **question)  # flat beyond the last knot: never reached
    assert late["d"] == 10


@workdps(50)
def test_kappa_counts_only_where_a_layer_narrows():
    assert kappa(10, 10, 60000) == 1
    assert kappa(300, 784, 60000) == 1  # t sqrt(300) is 2.4
    exact = sqrt(log(mpf(6000000)) / 10**4)  # where 60000 e^(-t² 10^4) = 0.01
    assert kappa(1, 10**4, 60000) == last_midpoint(exact)
    assert abs(kappa(1, 10**4, 60000) - exact) < mpf("0.01")


def test_interpolation_meets_its_knots():
    knots, values = [mpf(0), mpf(1), mpf(3)], [mpf(5), mpf(7), mpf(3)]
    assert [interpolate(mpf(x), knots, values) for x in (0, 1, 2, 3, 4)] == [5, 7, 5, 3, 3]


def test_empty_evidence_is_refused():
    with pytest.raises(InputError, match="margins: expected at least one"):
        twin(margins=[], **STRAIGHT)
    with pytest.raises(InputError, match="spectral_norm: expected a positive"):
        twin(margins=[1.0], **{**STRAIGHT, "spectral_norm": [0.0]})
    with pytest.raises(InputError, match="d: expected at least one value above 0"):
        twin(margins=[1.0], **{**STRAIGHT, "d": [0.0], "removed_norm": [[0.0]]})
