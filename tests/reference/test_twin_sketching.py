"""The published sketch bound on curves with a known root; rounding in the theorem; tickets."""

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


# ------------------------------------------------------------ the theorem's second change

theorem, ticket = TWINS["mbp-sketch-as-in-theorem"], TWINS["strong-ticket"]
UNPRUNED = {  # d = 0 removes nothing: rounding alone moves the output
    "fan_out": [4, 2],
    "fan_in": [9, 4],
    "spectral_norm": [2.0, 0.5],
    "variance": [0.25, 1.0],
    "input_norm": 3.0,
    "pruning_d": 0.0,
    "lambda_l": [2.0, 7.0],
    "epsilon_l": [5.0, 3.0],
    "rho_l": [0.125, 0.5],
}


def jumps_at(question, gamma):
    """Whether the margin risk of one of two samples appears where its margin passes gamma."""
    below, above = float(gamma * (1 - mpf("1e-14"))), float(gamma * (1 + mpf("1e-14")))
    clear = theorem(margins=[above, above], **question)
    return abs(theorem(margins=[below, above], **question) - clear - mpf("0.5")) < TINY


@workdps(50)
def test_rounding_alone_is_propagated():
    """gamma = e B Π‖A‖ Σ rounding/‖A‖ = 3 e (1/2/2 + 3/0.5); the root does not see it."""
    question = {**UNPRUNED, "rounding_norm": [0.5, 3.0]}
    assert jumps_at(question, 3 * e * mpf("6.25"))
    unrounded = {**UNPRUNED, "rounding_norm": [0.0, 0.0]}
    assert theorem(margins=[1e9], **question) == theorem(margins=[1e9], **unrounded)


@workdps(50)
def test_rounding_is_added_to_the_scaled_size_of_what_was_removed():
    """d = 2 and Ψ = 1: E Δ² = 2^(-3/2) and E Δ⁴ = 3 · 2^(-5/2), 16 inputs and 1 output."""
    question = {
        "fan_out": [1],
        "fan_in": [16],
        "spectral_norm": [2.0],
        "variance": [1.0],
        "input_norm": 3.0,
        "pruning_d": 2.0,
        "lambda_l": [2.0],
        "epsilon_l": [5.0],
        "rho_l": [0.125],
        "rounding_norm": [0.75],
    }
    half = mpf(1) / 2
    size = half ** (3 * half / 2) * 5 + (3 * half ** (5 * half) * 16) ** (half / 2)
    assert jumps_at(question, 3 * e * (5 * size + mpf("0.75")))


@pytest.mark.parametrize("wrong", [[-1.0, 0.0], [float("nan"), 0.0], [0.0], [0.0] * 3])
def test_rounding_is_a_norm_of_every_layer(wrong):
    with pytest.raises(InputError, match="^rounding_norm: expected"):
        theorem(margins=[1.0], **UNPRUNED, rounding_norm=wrong)


@workdps(50)
def test_ticket_by_hand():
    """d = 9, w = 4 outputs, ell = 2: (36 + 32) ln² 9; w = 16 where a layer is that wide."""
    shape = {"fan_out": [4, 2], "fan_in": [9, 4], "spectral_norm": [0.5, 1.0]}
    value = ticket(errors=3, n=25, **shape)
    assert abs(value - mpf(3) / 25 - sqrt(mpf(68)) * log(9) / 5) < TINY
    assert ticket(errors=3, n=25, **{**shape, "spectral_norm": [7.0, 8.0]}) == value
    wide = ticket(errors=0, n=25, **{**shape, "fan_out": [4, 16]})
    assert abs(wide - sqrt(mpf(9 * 16 + 2 * 256)) * log(16) / 5) < TINY
    pooled = ticket(errors=0, n=25, **{**shape, "fan_in": [9, 16]})  # inputs of a later layer
    assert pooled == wide
    only = ticket(errors=0, n=25, fan_out=[4], fan_in=[9], spectral_norm=[1.0])
    assert abs(only - sqrt(mpf(36 + 16)) * log(9) / 5) < TINY


def test_bad_tickets_are_refused():
    good = {"errors": 1, "n": 5, "fan_out": [4], "fan_in": [9], "spectral_norm": [1.0]}
    for field, wrong in [
        ("errors", 6),
        ("errors", -1),
        ("spectral_norm", [0.0]),
        ("spectral_norm", [1.0, 1.0]),
        ("fan_out", []),
        ("fan_out", [0]),
        ("fan_in", [0]),
        ("fan_in", [9, 4]),
    ]:
        with pytest.raises(InputError, match=f"^{field}: expected"):
            ticket(**{**good, field: wrong})
    with pytest.raises(InputError, match="^n: expected at least one sample"):
        ticket(**{**good, "errors": 0, "n": 0})
