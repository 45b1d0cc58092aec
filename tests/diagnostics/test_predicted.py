"""Predicted against measured: formulas by hand, Gaussian draws, and masks that were planted."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from prunecert.diagnostics import Compared, prediction
from prunecert.types import InputError

ERRORS = 4.0


def gaussian_layer(*shape, d, seed=0):
    """Weights N(0, 1) and a Bernoulli mask of parameter d for Ψ = 1, drawn here."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal(shape)
    return weight, rng.random(shape) >= np.exp(-(weight**2) / d)


def test_every_number_by_hand():
    """Mean 0, variance 10/6; d = 2/3 keeps half, d/(d+2) = 1/4; (0, −1, 0), (0, −2, 0) go."""
    weight = np.array([[1.0, -1.0, 2.0], [0.0, -2.0, 0.0]])
    kept = np.array([[True, False, True], [False, False, False]])
    psi = 10 / 6
    found = prediction(weight, 2 / 3, kept, delta=0.1, lambda_l=2.0)

    def is_(compared, predicted, measured):
        assert compared.predicted == pytest.approx(predicted, rel=1e-9)
        assert compared.measured == pytest.approx(measured, rel=2e-9)

    def fewest(lines, places):
        return next(j for j in range(9) if lines * stats.binom.sf(j, places, 0.5) <= 0.05)

    second, fourth = psi / 8, 3 * psi**2 / 32
    roots, norm = math.sqrt(2) + math.sqrt(3), math.sqrt(5)
    is_(found.kept, 0.5, 2 / 6)
    is_(found.removed_energy, second, 5 / 6)
    is_(found.removed_norm_latala, math.sqrt(second) * roots + (6 * fourth) ** 0.25, norm)
    log = math.sqrt(2 * math.log(10))
    is_(found.removed_norm_gaussian, math.sqrt(psi) / 2 * (roots + log), norm)
    is_(found.pattern_as_in_paper, 3 * 2 * 3 * 0.5, 2)
    is_(found.row_nonzeros, fewest(2, 3), 2)
    is_(found.column_nonzeros, fewest(3, 2), 1)
    is_(found.dead_rows, 2 / 8, 1)
    is_(found.dead_columns, 3 / 4, 1)
    rows, columns = fewest(2, 3), fewest(3, 2)

    def sketch(j_r, j_c):
        return math.ceil(math.sqrt(max(j_c * 2, j_r * 3)) * math.log(3))

    is_(found.sketch_rows, sketch(rows, columns), sketch(2, 1))
    assert sketch(rows, columns) > sketch(2, 1)


def test_miss_is_measured_over_predicted():
    assert Compared(4.0, 1.0).miss == 0.25
    assert Compared(0.0, 0.0).miss == 1.0
    assert Compared(0.0, 2.0).miss == math.inf


@pytest.mark.parametrize("d", [0.3, 1.0, 5.0])
def test_gaussian_weights_meet_every_prediction(d):
    shape, n = (250, 400), 100_000
    weight, kept = gaussian_layer(*shape, d=d)
    found = prediction(weight, d, kept, delta=1e-3)
    chi = found.kept.predicted
    assert found.kept.measured == pytest.approx(chi, abs=ERRORS * math.sqrt(chi * (1 - chi) / n))
    s = d / (d + 2)
    error = math.sqrt((3 * s**2.5 - s**3) / n) + s**1.5 * math.sqrt(2 / n)  # of the mean, of Ψ
    assert found.removed_energy.predicted == pytest.approx(s**1.5, rel=ERRORS * math.sqrt(2 / n))
    assert found.removed_energy.measured == pytest.approx(s**1.5, abs=ERRORS * error)
    largest = np.linalg.svd(np.where(kept, 0.0, weight), compute_uv=False)[0]
    assert found.removed_norm_gaussian.measured == pytest.approx(largest, rel=2e-9)
    assert 0.5 < found.removed_norm_gaussian.miss < 1
    assert 0.5 < found.removed_norm_latala.miss < 1
    for most in (found.row_nonzeros, found.column_nonzeros):
        assert 0.7 < most.miss <= 1
    assert found.pattern_as_in_paper.measured == max(
        found.row_nonzeros.measured, found.column_nonzeros.measured
    )
    assert found.sketch_rows.miss == pytest.approx(1, abs=0.1)
    assert found.dead_rows.measured == found.dead_columns.measured == 0


def test_dead_lines_are_as_many_as_expected():
    """d = 8: a row of 4 dies with probability (8/10)², a column of 3 with (8/10)^1.5."""
    found = [
        prediction(w, 8.0, k) for w, k in (gaussian_layer(3, 4, d=8.0, seed=s) for s in range(800))
    ]
    for lines, expected in (("dead_rows", 3 * 0.8**2), ("dead_columns", 4 * 0.8**1.5)):
        counts = [getattr(f, lines).measured for f in found]
        assert getattr(found[0], lines).predicted == pytest.approx(expected, rel=1e-9)
        error = statistics.stdev(counts) / math.sqrt(len(counts))
        assert error < 0.05
        assert statistics.fmean(counts) == pytest.approx(expected, abs=ERRORS * error)


def test_a_correlated_matrix_loses_more_than_the_gaussian_bound_allows():
    """All weights ±1 but a few: what is dropped is close to rank one."""
    rng = np.random.default_rng(0)
    weight = np.outer(rng.choice([-1.0, 1.0], 100), rng.choice([-1.0, 1.0], 200))
    found = prediction(weight, 1.0, rng.random(weight.shape) >= math.exp(-1))
    assert found.removed_norm_gaussian.miss > 3
    assert found.removed_energy.miss == pytest.approx(math.exp(-1) * 3**1.5, rel=0.05)


def test_the_prediction_beside_a_sorted_mask_keeps_as_many():
    weight, _ = gaussian_layer(100, 200, d=1.0)
    s = 0.9
    kept = np.abs(weight) > np.quantile(np.abs(weight), s)
    found = prediction(weight, 2 * s**2 / (1 - s**2), kept)
    assert found.kept.miss == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("axis", [0, 1])
def test_hot_and_dead_lines_are_counted(axis):
    weight, _ = gaussian_layer(60, 80, d=1.0)
    kept = np.zeros((60, 80), dtype=bool)
    kept[:50, 7] = True
    kept[3, :9] = True
    found = prediction(weight.T, 1.0, kept.T) if axis else prediction(weight, 1.0, kept)
    rows = (found.row_nonzeros, found.dead_rows)
    columns = (found.column_nonzeros, found.dead_columns)
    if axis:
        rows, columns = columns, rows
    assert [r.measured for r in rows] == [9, 10]
    assert [c.measured for c in columns] == [50, 71]


@pytest.mark.filterwarnings("error")
def test_nothing_pruned_and_everything_pruned_give_numbers():
    weight, kept = np.array([[1.0, -2.0]]), np.array([[True, True]])
    nothing = prediction(weight, 0.0, kept)
    everything = prediction(weight, 1e12, ~kept)
    assert {c.miss for name, c in vars(nothing).items() if name != "pattern_as_in_paper"} == {1.0}
    assert prediction(weight, 0.0, ~kept).removed_energy.miss == math.inf
    assert everything.dead_columns.miss == pytest.approx(1, rel=1e-9)
    assert everything.kept.measured == everything.sketch_rows.measured == 0
    assert not any(math.isnan(c.miss) for c in vars(everything).values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "changed, words",
    [
        ({"weight": [[1.0, 1.0]]}, "weight must vary"),
        ({"weight": [[1.0, math.nan]]}, "weight must be finite"),
        ({"weight": [1.0, 2.0]}, "weight must be a matrix"),
        ({"kept": [[True]]}, "kept must be a mask"),
        ({"kept": [[0.5, 1.0]]}, "kept must be a mask"),
        ({"pruning_d": -1.0}, "pruning_d"),
        ({"pruning_d": math.nan}, "pruning_d"),
        ({"delta": 1.0}, "delta"),
        ({"lambda_l": 0.5}, "lambda_l"),
    ],
)
def test_bad_input_is_refused_in_one_line(changed, words):
    good = {"weight": [[1.0, 2.0]], "kept": [[True, False]], "pruning_d": 1.0}
    prediction(**good)
    with pytest.raises(InputError, match=words) as caught:
        prediction(**(good | changed))
    assert "\n" not in str(caught.value)
