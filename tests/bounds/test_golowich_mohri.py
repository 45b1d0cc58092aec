"""The norm bound with constants, and the order-only forms beside it: closed forms and laws."""

import doctest
import math

import mpmath
import numpy as np
import pytest

from prunecert.bounds import golowich_mohri
from prunecert.bounds.golowich_mohri import (
    NORM_ROWS,
    QUANTILES,
    galanti_2023,
    golowich_2018,
    golowich_mohri_upper,
)
from prunecert.bounds.table import evaluate
from prunecert.types import (
    Certificate,
    Chain,
    InputError,
    Layers,
    Margins,
    NotApplicable,
    WeightMeasures,
)

ROWS = {row.name: row for row in NORM_ROWS}
CASE = {
    "errors": 0,
    "n": 4**10,
    "margin": 1.0,
    "classes": 2,
    "input_bound": 1.0,
    "frobenius_norm": [1.0],
    "last_row_norm": 1.0,
    "delta": 0.05,
}


def constant(layers, classes, n):
    """c of the statement in 40 digits."""
    with mpmath.workdps(40):
        root = mpmath.sqrt(2 * layers * mpmath.log(2)) + 1
        return 4 * classes * root / mpmath.sqrt(n)


def test_every_example_in_a_docstring_is_true():
    results = doctest.testmod(golowich_mohri)
    assert (results.failed, results.attempted > 3) == (0, True)


# --------------------------------------------------------------------------- the certified one


@pytest.mark.parametrize(
    ("n", "grid"), [(4, 1), (5, 2), (16, 2), (17, 3), (64, 3), (65, 4), (4**10, 10), (60_000, 8)]
)
def test_a_network_of_norm_zero_leaves_the_end_of_the_grid(n, grid):
    found = golowich_mohri_upper(**CASE | {"n": n, "input_bound": 0.0, "errors": 0})
    exact = mpmath.mpf(2) ** -grid + mpmath.sqrt(
        mpmath.log((grid + 1) / mpmath.mpf("0.05")) / 2 / n
    )
    if exact >= 1:
        assert found == 1.0
    else:
        assert exact <= found <= exact * (1 + mpmath.mpf("1e-11"))


@pytest.mark.parametrize(("layers", "classes"), [(1, 2), (2, 2), (3, 10), (7, 3)])
@pytest.mark.parametrize("j", [2, 4, 9])
def test_each_step_of_the_grid_is_reached_where_c_times_t_says(layers, classes, j):
    n = 4**10
    at_the_step = float(mpmath.mpf(2) ** -j / constant(layers, classes, n))
    case = CASE | {"classes": classes, "frobenius_norm": [1.0] * (layers - 1)}
    below = golowich_mohri_upper(**case | {"input_bound": at_the_step * (1 - 1e-9)})
    above = golowich_mohri_upper(**case | {"input_bound": at_the_step * (1 + 1e-9)})
    assert above - below == pytest.approx(2.0**-j, rel=1e-9)
    confidence = math.sqrt(math.log(11 / 0.05) / (2 * n))
    assert below == pytest.approx(2.0**-j + confidence, rel=1e-9)


def test_errors_are_added_as_a_rate():
    without = golowich_mohri_upper(**CASE | {"input_bound": 0.0})
    found = golowich_mohri_upper(**CASE | {"input_bound": 0.0, "errors": 2**17})
    assert found - without == pytest.approx(1 / 8, rel=1e-10)


@pytest.mark.parametrize("size", [2.0**-9, 2.0**-7, 2.0**-5])
def test_rescaling_neighbouring_layers_changes_nothing(size):
    case = CASE | {"input_bound": size, "frobenius_norm": [1.0, 1.0], "last_row_norm": 1.0}
    for scale in (2.0**-20, 2.0**12):  # powers of two round nothing
        for other in (
            {"frobenius_norm": [scale, 1 / scale]},
            {"frobenius_norm": [scale, 1.0], "last_row_norm": 1 / scale},
            {"frobenius_norm": [1.0, scale], "margin": scale},
            {"input_bound": size * scale, "margin": scale},
        ):
            assert golowich_mohri_upper(**case | other) == golowich_mohri_upper(**case)
    assert golowich_mohri_upper(**case | {"margin": 2.0**-20}) == 1.0


def test_norms_of_networks_in_use_say_nothing():
    case = CASE | {"n": 60_000, "classes": 10, "input_bound": 28.0, "last_row_norm": 3.0}
    assert golowich_mohri_upper(**case | {"frobenius_norm": [10.0, 8.0]}) == 1.0
    assert golowich_mohri_upper(**case | {"frobenius_norm": [1e200, 1e200]}) == 1.0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("errors", (-1, 4**10 + 1, 0.5)),
        ("n", (0, 2.5)),
        ("margin", (0.0, -1.0, math.nan, math.inf)),
        ("classes", (1, 2.0, True, "ten")),
        ("input_bound", (-1.0, math.nan, math.inf)),
        ("frobenius_norm", ([0.0], [-1.0], [math.nan], [[1.0]], "long")),
        ("last_row_norm", (-1.0, math.nan)),
        ("delta", (0.0, 1.0, math.nan)),
    ],
)
def test_illegal_arguments_are_refused_by_name(name, values):
    for value in values:
        with pytest.raises(InputError, match=name):
            golowich_mohri_upper(**CASE | {name: value})


# --------------------------------------------------------------------------- from evidence


def evidence(margins, input_bound=1e-3):
    chain = Chain(np.array([1.0]), 1.0, input_bound, 2, "train")
    return {"margins": Margins(np.asarray(margins, np.float64), "train"), "chain": chain}


def test_gamma_is_the_best_of_the_quantiles_of_the_positive_margins():
    margins = np.random.RandomState(0).normal(1.0, 1.0, 40_000)
    found = evaluate(ROWS["golowich-mohri"], evidence(margins), 0.05)
    assert isinstance(found, Certificate)
    positive = np.sort(margins[margins > 0])
    bounds = {}
    for percent in range(1, QUANTILES + 1):
        gamma = positive[math.ceil(percent * len(positive) / 100) - 1]
        bounds[gamma] = golowich_mohri_upper(
            int((margins <= gamma).sum()), 40_000, float(gamma), 2, 1e-3, [1.0], 1.0, 0.05
        )
    best = min(bounds.values())
    assert best <= found.risk_bound <= best + 1e-6
    assert found.details["margin"] in bounds
    assert len(set(bounds.values())) > 20  # the choice matters
    assert found.details["errors"] == (margins <= found.details["margin"]).sum()
    assert found.kind == "certified"


def test_a_margin_that_is_no_number_is_an_error():
    margins = np.ones(10_000)
    margins[:1000] = np.nan
    found = evaluate(ROWS["golowich-mohri"], evidence(np.r_[margins, [2.0] * 10_000]), 0.05)
    assert found.details["margin"] == 1.0 and found.details["errors"] == 10_000
    found = evaluate(ROWS["golowich-mohri"], evidence(np.r_[margins, [np.inf] * 10_000]), 0.05)
    assert found.details["errors"] == 10_000


def test_no_positive_margin_says_nothing():
    found = evaluate(ROWS["golowich-mohri"], evidence([-1.0, 0.0]), 0.05)
    assert isinstance(found, NotApplicable)
    assert "no margin of the sample is above 0" in found.reason


def test_without_the_chain_it_does_not_apply():
    found = evaluate(ROWS["golowich-mohri"], {"margins": Margins(np.ones(9))}, 0.05)
    assert isinstance(found, NotApplicable)
    assert "chain" in found.reason


# --------------------------------------------------------------------------- order-only forms


def test_golowich_2018_by_hand():
    assert golowich_2018([5.0, 2.0, 3.0], 2.0, 4.0) == 3 * 4 * 900 / 16
    assert golowich_2018([10.0, 2.0, 1.5], 2.0, 4.0) == golowich_2018([5.0, 2.0, 3.0], 2.0, 4.0)


def test_galanti_2023_by_hand():
    assert galanti_2023([9, 4, 1], [2.0, 3.0, 5.0], 0.5, 3.0) == pytest.approx(
        3 * 0.25 * 36 * 900 / 9, rel=1e-12
    )


def test_without_weight_sharing_both_forms_are_one():
    norms = [1.5, 2.5]
    assert galanti_2023([1, 1], norms, 3.0, 0.7) == pytest.approx(
        golowich_2018(norms, 3.0, 0.7), rel=1e-12
    )


@pytest.mark.parametrize("degrees", [[9], [0, 1], [1.5, 1], [-1, 1], [math.nan, 1], "long"])
def test_degrees_that_cannot_be_are_refused(degrees):
    with pytest.raises(InputError, match="degrees"):
        galanti_2023(degrees, [1.0, 2.0], 1.0, 1.0)


def layers(relu_chain):
    ones = np.ones(2)
    shape = np.array([3, 3])
    return Layers(("a", "b"), shape, shape, shape, ones, 2 * ones, ones, relu_chain, 3.0)


def weights(**fields):
    return WeightMeasures(("a",), 4, np.array([2.0]), np.array([2.0]), **fields)


def test_forms_from_evidence_and_what_they_refuse():
    margins = {"margins": Margins(np.array([0.5, 2.0]))}
    assert evaluate(ROWS["golowich-2018"], margins | {"layers": layers(True)}, 0.05).value == 1152
    found = evaluate(ROWS["golowich-2018"], margins | {"layers": layers(False)}, 0.05)
    assert "chain of linear layers and ReLU" in found.reason
    part = weights(degrees=np.array([9]), pixel_norm=0.5)
    found = evaluate(ROWS["galanti-2023"], margins | {"weightmeasures": part}, 0.05)
    assert found.value == 0.25 * 9 * 4 / 0.25
    found = evaluate(ROWS["galanti-2023"], margins | {"weightmeasures": weights()}, 0.05)
    assert "chain of convolutions" in found.reason
    for smallest in (0.0, math.nan, math.inf):
        all_parts = {"weightmeasures": part, "layers": layers(True)}
        all_parts["margins"] = Margins(np.array([smallest] * 2))
        for name in ("golowich-2018", "galanti-2023"):
            reason = evaluate(ROWS[name], all_parts, 0.05).reason
            assert "expected a number above 0" in reason
