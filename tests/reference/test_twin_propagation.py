"""Change of the output: by hand, and never below the change of real little networks."""

import numpy as np
import pytest
from mpmath import e, mpf, sqrt, workdps

from prunecert.reference import TWINS
from prunecert.reference.propagation import rounding_norm as rounding
from prunecert.types import InputError

TINY = mpf("1e-30")
change, at_input = TWINS["output-change"], TWINS["output-change-at-input"]
telescoped, in_paper = TWINS["output-change-telescoped"], TWINS["output-change-as-in-paper"]
with_biases = TWINS["output-change-with-biases"]


def test_three_layers_by_hand():
    """A: 2, 3, 5; Â: 7, 11, 13; Δ: 1, 2, 4; ‖x‖ = 3.

    3 (1·11·13 + 2·2·13 + 2·3·4) = 3 · 219; Π(A + Δ) − ΠA = 3·5·9 − 30.
    """
    spectral, pruned, removed = [2.0, 3.0, 5.0], [7.0, 11.0, 13.0], [1.0, 2.0, 4.0]
    question = {"spectral_norm": spectral, "removed_norm": removed, "input_norm": 3.0}
    assert change(**question, pruned_norm=pruned) == 657
    assert telescoped(**question) == 315
    # Σ ‖Δ^l x^{l−1}‖ Π later Â = 1·143 + 2·13 + 4
    assert at_input(layer_change=removed, pruned_norm=pruned) == 173


def test_biases_by_hand():
    """a: 3, 2·3+1 = 7; e: 0, 1·3+10 = 13, then 11·13 + 2·7 + 20 = 177; b of the last: unused."""
    question = {
        "spectral_norm": [2.0, 3.0],
        "pruned_norm": [7.0, 11.0],
        "removed_norm": [1.0, 2.0],
        "bias_norm": [1.0, 100.0],
        "removed_bias_norm": [10.0, 20.0],
        "input_norm": 3.0,
    }
    assert with_biases(**question) == 177


@workdps(50)
def test_without_biases_the_recursion_is_the_sum():
    source = np.random.default_rng(1)
    spectral, pruned, removed = (source.random(5) for _ in range(3))
    question = {
        "spectral_norm": spectral,
        "pruned_norm": pruned,
        "removed_norm": removed,
        "input_norm": 0.7,
    }
    none = [0.0] * 5
    recursion = with_biases(**question, bias_norm=none, removed_bias_norm=none)
    assert abs(change(**question) / recursion - 1) < TINY
    layer_change = [
        0.7 * removed[i] * np.prod([mpf(norm) for norm in spectral[:i]]) for i in range(5)
    ]
    on_x = at_input(layer_change=layer_change, pruned_norm=pruned)
    assert abs(on_x / recursion - 1) < 1e-14


def relu_outputs(x, matrices, biases):
    activations = [x]
    for layer, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
        output = matrix @ activations[-1] + bias
        last = layer == len(matrices) - 1
        activations.append(output if last else np.maximum(output, 0))
    return activations


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("biased", [False, True])
def test_no_network_changes_more(seed, biased):
    source = np.random.default_rng(seed)
    widths = [6, 5, 7, 3]
    shapes = list(zip(widths[1:], widths))
    matrices = [source.normal(size=shape) for shape in shapes]
    small = [matrix * (np.abs(matrix) < 0.4) for matrix in matrices]
    pruned = [matrix - part for matrix, part in zip(matrices, small)]
    biases = [biased * source.normal(size=shape[0]) for shape in shapes]
    moved = [biased * 0.1 * source.normal(size=shape[0]) for shape in shapes]
    x = source.normal(size=6)
    activations = relu_outputs(x, matrices, biases)
    after = relu_outputs(x, pruned, [b - m for b, m in zip(biases, moved)])
    actual = np.linalg.norm(activations[-1] - after[-1])

    spectral, hat, delta = (
        [np.linalg.norm(matrix, 2) for matrix in group] for group in (matrices, pruned, small)
    )
    size = np.linalg.norm(x)
    recursion = with_biases(
        spectral_norm=spectral,
        pruned_norm=hat,
        removed_norm=delta,
        bias_norm=[np.linalg.norm(b) for b in biases],
        removed_bias_norm=[np.linalg.norm(m) for m in moved],
        input_norm=size,
    )
    assert 0 < actual <= recursion
    if biased:
        return
    question = {"spectral_norm": spectral, "removed_norm": delta, "input_norm": size}
    layer_change = [np.linalg.norm(part @ a) for part, a in zip(small, activations)]
    on_x = at_input(layer_change=layer_change, pruned_norm=hat)
    first = change(**question, pruned_norm=hat)
    assert actual <= on_x <= first <= telescoped(**question)
    ratios = [d / s for d, s in zip(delta, spectral)]
    if sum(ratios) <= 1.75:
        assert telescoped(**question) <= in_paper(**question)


@workdps(50)
def test_the_paper_by_hand():
    """Relative changes 1/2 and 1/2 of L = 2 layers: the condition holds with equality."""
    value = in_paper(spectral_norm=[2.0, 6.0], removed_norm=[1.0, 3.0], input_norm=5.0)
    assert abs(value - e * 5 * 12) < TINY


def test_either_condition_of_the_paper_is_enough():
    ones = {"spectral_norm": [1.0, 1.0], "input_norm": 1.0}
    assert in_paper(**ones, removed_norm=[1.75, 0.0]) == in_paper(**ones, removed_norm=[0.75, 1.0])
    with pytest.raises(InputError, match="^removed_norm: expected at most spectral_norm/L in eve"):
        in_paper(**ones, removed_norm=[1.75, 1e-15])


def test_nothing_removed_changes_nothing():
    chain = {"spectral_norm": [2.0, 3.0], "removed_norm": [0.0, 0.0], "input_norm": 5.0}
    assert telescoped(**chain) == in_paper(**chain) == 0
    assert change(**chain, pruned_norm=[2.0, 3.0]) == 0
    everything = change(
        spectral_norm=[2.0, 3.0], pruned_norm=[0.0, 0.0], removed_norm=[2.0, 3.0], input_norm=5.0
    )
    assert everything == 30  # the output itself


@workdps(50)
def test_telescoping_keeps_its_digits():
    """(1 + 1e-200) − 1: the removed norm alone."""
    value = telescoped(spectral_norm=[1.0, 4.0], removed_norm=[1e-200, 0.0], input_norm=2.0)
    assert abs(value / (8 * mpf(1e-200)) - 1) < TINY


@pytest.mark.parametrize("wrong", [[-1.0, 1.0], [float("nan"), 1.0], [float("inf"), 1.0], [1.0]])
def test_bad_norms_are_refused(wrong):
    lists = ("spectral_norm", "pruned_norm", "removed_norm", "bias_norm", "removed_bias_norm")
    takes = {
        change: lists[:3],
        telescoped: ("spectral_norm", "removed_norm"),
        in_paper: ("spectral_norm", "removed_norm"),
        with_biases: lists,
    }
    for twin, fields in takes.items():
        good = {**{field: [1.0, 1.0] for field in fields}, "input_norm": 1.0}
        good["removed_norm"] = [0.5, 0.5]
        for field in fields:
            with pytest.raises(InputError, match=r"^\w+_norm: expected"):
                twin(**{**good, field: wrong})
            with pytest.raises(InputError, match=r"_norm: expected (at least one layer|\d num)"):
                twin(**{**good, field: []})
        with pytest.raises(InputError, match="^input_norm: expected a number of 0 or more"):
            twin(**{**good, "input_norm": wrong[0] if len(wrong) == 2 else -1.0})
    for field in ("layer_change", "pruned_norm"):
        with pytest.raises(InputError, match="^(layer_change|pruned_norm): expected"):
            at_input(**{"layer_change": [1.0, 1.0], "pruned_norm": [1.0, 1.0], field: wrong})


def test_the_paper_divides_by_the_norms():
    with pytest.raises(InputError, match="^spectral_norm: expected numbers above 0"):
        in_paper(spectral_norm=[0.0], removed_norm=[0.0], input_norm=1.0)


@workdps(50)
def test_rounding_by_hand():
    half = {"rounding_step": 0.5}
    assert rounding(**half, nonzeros=9, row_nonzeros=4, column_nonzeros=4) == mpf("0.75")
    assert rounding(**half, nonzeros=17, row_nonzeros=2, column_nonzeros=8) == 1
    value = rounding(**half, nonzeros=99, row_nonzeros=2, column_nonzeros=3)
    assert abs(value - sqrt(mpf(6)) / 4) < TINY
    assert rounding(**half, nonzeros=0, row_nonzeros=0, column_nonzeros=0) == 0
    assert rounding(rounding_step=0.0, nonzeros=9, row_nonzeros=4, column_nonzeros=4) == 0


@pytest.mark.parametrize("seed", range(5))
def test_rounding_moves_no_more_and_a_full_matrix_as_much(seed):
    source = np.random.default_rng(seed)
    weight = source.normal(size=(9, 6)) * (source.random((9, 6)) < 0.3)
    moved = np.round(weight / 0.25) * 0.25 - weight
    counts = {
        "nonzeros": np.count_nonzero(weight),
        "row_nonzeros": np.count_nonzero(weight, axis=1).max(),
        "column_nonzeros": np.count_nonzero(weight, axis=0).max(),
    }
    assert 0 < np.linalg.norm(moved, 2) <= rounding(rounding_step=0.25, **counts)
    full = rounding(rounding_step=0.25, nonzeros=54, row_nonzeros=6, column_nonzeros=9)
    assert abs(np.linalg.norm(np.full((9, 6), 0.125), 2) / full - 1) < 1e-14


def test_bad_input_of_rounding_is_refused():
    good = {"rounding_step": 0.1, "nonzeros": 3, "row_nonzeros": 2, "column_nonzeros": 2}
    for field in good:
        with pytest.raises(InputError, match=f"^{field}: expected a number of 0 or more, got -1"):
            rounding(**{**good, field: -1})
