"""Order-only capacities on numbers whose answer is known by hand, and on identity networks."""

import pytest
from mpmath import e, exp, log, mpf, pi, quad, sqrt, workdps

from prunecert.reference import TWINS
from prunecert.types import InputError

TINY = mpf("1e-30")
CHAIN = ("spectral_norm", "norm_2_1", "frobenius_norm")

# ‖A‖₂ = 2 and 3, margin 1/2: Π‖A‖₂² / margin² is 144.
BY_HAND = [
    ("neyshabur-2015", {"frobenius_norm": [2, 5]}, 400),
    ("bartlett-2017", {"spectral_norm": [2, 3], "norm_2_1": [8, 15]}, 144 * (16 + 25)),
    # a = 8, 27: the sum of a^(2/3) is 4 + 9.
    ("bartlett-2017-theorem", {"spectral_norm": [2, 3], "norm_2_1": [16, 81]}, 144 * 13**3),
    ("bartlett-2017-as-coded", {"spectral_norm": [2, 3], "frobenius_norm": [4, 9]}, 144 * 13),
    (
        "neyshabur-2018",
        {"fan_in": [7, 11], "spectral_norm": [2, 3], "frobenius_norm": [4, 9]},
        144 * (7 * 4 + 11 * 9),
    ),
    (
        "neyshabur-2018-theorem",
        {
            "fan_out": [11, 7],
            "spectral_norm": [2, 3],
            "frobenius_norm": [4, 9],
            "input_norm": 5,
        },
        lambda: 25 * 4 * 11 * log(22) * 144 * (4 + 9),
    ),
    # (c L ‖f‖ / margin)² = 60²; 1/(μ² μ→²) is 16 and 16 · 4.
    (
        "arora-2018",
        {
            "layer_cushion": [0.5, 0.25],
            "interlayer_cushion": [0.5, 0.5],
            "contraction": 3,
            "output_norm": 5,
            "smoothness": 6,
        },
        60**2 * 80,
    ),
]
NAMES = [name for name, _, _ in BY_HAND]


@workdps(50)
@pytest.mark.parametrize(("name", "question", "answer"), BY_HAND, ids=NAMES)
def test_two_layers_by_hand(name, question, answer):
    answer = answer() if callable(answer) else answer  # at fifty digits, not when collected
    value = TWINS[name](**question, margin=0.5)
    assert abs(value / answer - 1) < TINY
    assert abs(TWINS[name](**question, margin=0.25) / answer - 4) < TINY


@workdps(50)
@pytest.mark.parametrize("layers", [1, 2, 5])
def test_a_chain_of_identities(layers):
    """Width 16, all singular values 1: ‖A‖_F = 4 and ‖Aᵀ‖_{2,1} = 16."""
    spectral, frobenius, rows, widths = ([x] * layers for x in (1.0, 4.0, 16.0, 16))
    theorem = layers**2 * 16 * log(mpf(layers * 16)) * layers * 16
    expected = {
        "neyshabur-2015": ({"frobenius_norm": frobenius}, 16**layers),
        "bartlett-2017": ({"spectral_norm": spectral, "norm_2_1": rows}, layers * 16**2),
        "bartlett-2017-theorem": (
            {"spectral_norm": spectral, "norm_2_1": rows},
            layers**3 * 16**2,
        ),
        "bartlett-2017-as-coded": (
            {"spectral_norm": spectral, "frobenius_norm": frobenius},
            layers * 16,
        ),
        "neyshabur-2018": (
            {"fan_in": widths, "spectral_norm": spectral, "frobenius_norm": frobenius},
            layers * 16**2,
        ),
        "neyshabur-2018-theorem": (
            {
                "fan_out": widths,
                "spectral_norm": spectral,
                "frobenius_norm": frobenius,
                "input_norm": 1.0,
            },
            theorem,
        ),
    }
    for name, (question, answer) in expected.items():
        assert abs(TWINS[name](**question, margin=1.0) / answer - 1) < TINY, name


@workdps(50)
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"arora-2018"}))
def test_scaling_a_layer_and_the_margin_together_changes_nothing(name):
    question = next(question for row, question, _ in BY_HAND if row == name)
    scaled = {
        key: [8 * values[0], values[1]] if key in CHAIN else values
        for key, values in question.items()
    }
    assert scaled != question
    before, after = TWINS[name](**question, margin=0.5), TWINS[name](**scaled, margin=4.0)
    assert abs(after / before - 1) < TINY


def test_arora_needs_a_smoothness_of_three_times_the_depth():
    question = next(question for name, question, _ in BY_HAND if name == "arora-2018")
    with pytest.raises(InputError, match="smoothness: expected at least 3 L = 6, got 5.9"):
        TWINS["arora-2018"](**{**question, "smoothness": 5.9}, margin=0.5)


@pytest.mark.parametrize(("name", "question", "_"), BY_HAND, ids=NAMES)
def test_numbers_that_have_no_capacity_are_refused(name, question, _):
    for margin in (0.0, -1.0):
        with pytest.raises(InputError, match="margin: expected a number above 0"):
            TWINS[name](**question, margin=margin)
    for key, values in question.items():
        if isinstance(values, list):
            with pytest.raises(InputError, match=f"{key}: expected a number above 0, got 0"):
                TWINS[name](**{**question, key: [0, values[1]]}, margin=1.0)
            with pytest.raises(InputError, match="expected (at least one layer|2 numbers|0 numb)"):
                TWINS[name](**{**question, key: []}, margin=1.0)


# ------------------------------------------------------------ the sketch bound of the theorem

theorem = TWINS["mbp-sketch-as-in-theorem"]
ONE_LAYER = {
    "fan_out": [4],
    "fan_in": [9],
    "spectral_norm": [2.0],
    "variance": [0.25],
    "input_norm": 3.0,
    "pruning_d": 2.0,
    "lambda_l": [2.0],
    "epsilon_l": [5.0],
    "rho_l": [0.125],
    "rounding_norm": [0.0],
}


def removed_moment(power, variance, d):
    """E[w^power; dropped] for w ~ N(0, variance), dropped with probability e^(-w²/(d variance))."""

    def density(w):
        return exp(-w * w / (2 * variance)) / sqrt(2 * pi * variance)

    def integrand(w):
        return w**power * exp(-w * w / (d * variance)) * density(w)

    edges = [-12 * sqrt(variance), 0, 12 * sqrt(variance)]
    return quad(integrand, edges)


def latala(outputs, inputs, variance, d):
    """√E Δ² (√inputs + √outputs) + (E Δ⁴ inputs outputs)^(1/4), from the integrals."""
    second = sqrt(removed_moment(2, mpf(variance), mpf(d)))
    fourth = removed_moment(4, mpf(variance), mpf(d)) * inputs * outputs
    return second * (sqrt(mpf(inputs)) + sqrt(mpf(outputs))) + fourth ** (mpf(1) / 4)


def assert_threshold(question, gamma):
    """The margin risk jumps where a margin passes gamma; 1e-14 is float resolution."""
    below, above = float(gamma * (1 - mpf("1e-14"))), float(gamma * (1 + mpf("1e-14")))
    root = theorem(margins=[above] * 4, **question)
    assert abs(theorem(margins=[below, above, above, -1.0], **question) - root - mpf("0.5")) < TINY


@workdps(50)
@pytest.mark.parametrize(("variance", "d"), [(0.25, 2.0), (1.0, 0.5), (0.01, 9.0)])
def test_gamma_from_the_moments_of_what_is_removed(variance, d):
    question = {**ONE_LAYER, "variance": [variance], "pruning_d": d}
    # e B Π‖A‖ ε Γ/‖A‖ = e · 3 · 2 · 5 Γ / 2
    assert_threshold(question, 15 * e * latala(4, 9, variance, d))


@workdps(50)
def test_gamma_of_two_layers():
    question = {
        "fan_out": [4, 2],
        "fan_in": [9, 4],
        "spectral_norm": [2.0, 0.5],
        "variance": [0.25, 1.0],
        "input_norm": 3.0,
        "pruning_d": 1.0,
        "lambda_l": [2.0, 7.0],
        "epsilon_l": [5.0, 3.0],
        "rho_l": [0.125, 0.5],
        "rounding_norm": [0.0, 0.0],
    }
    relative = 5 * latala(4, 9, 0.25, 1) / 2 + 3 * latala(2, 4, 1, 1) / mpf("0.5")
    assert_threshold(question, 3 * e * relative)


@workdps(50)
def test_nothing_removed_leaves_the_errors_ties_among_them_and_the_dense_root():
    """d = 0: gamma 0, chi 1."""
    question = {**ONE_LAYER, "pruning_d": 0.0}
    size = 3 * 2 * 4 * 9 * log(mpf(9)) ** 2 * log(mpf(8))
    value = theorem(margins=[0.0, -1.0, 1e-300, 2.0], **question)
    assert abs(value - mpf("0.5") - sqrt(size / 4)) < TINY


@workdps(50)
def test_the_root_multiplies_outputs_with_the_larger_side():
    """8 ← 2, then 2 ← 8; ln 8 = 3 ln 2, ln 1/ρ = 2 ln 2 and ln 2; d = 2 keeps 1 − √½."""
    question = {
        "fan_out": [8, 2],
        "fan_in": [2, 8],
        "spectral_norm": [1.0, 1.0],
        "variance": [1.0, 1.0],
        "input_norm": 1.0,
        "pruning_d": 2.0,
        "lambda_l": [1.0, 5.0],
        "epsilon_l": [1.0, 1.0],
        "rho_l": [0.25, 0.5],
        "rounding_norm": [0.0, 0.0],
    }
    size = (1 - sqrt(mpf(1) / 2)) * 27 * log(2) ** 3 * (64 * 2 + 5 * 16)
    assert abs(theorem(margins=[1e9] * 10, **question) - sqrt(size / 10)) < TINY


def test_bad_input_of_the_theorem_is_refused():
    for field, value in [
        ("pruning_d", -0.5),
        ("input_norm", 0.0),
        ("rho_l", [1.0]),
        ("variance", [0.0]),
        ("fan_in", [9, 9]),
    ]:
        with pytest.raises(InputError, match=f"^{field}: expected"):
            theorem(margins=[1.0], **{**ONE_LAYER, field: value})
    with pytest.raises(InputError, match="margins: expected at least one"):
        theorem(margins=[], **ONE_LAYER)
