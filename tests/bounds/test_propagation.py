"""Change of the output: never exceeded by networks computed outright, and in the right order."""

import math

import numpy as np
import pytest

from prunecert.bounds.norms import spectral_norm_upper
from prunecert.bounds.propagation import (
    ENOUGH,
    output_change_as_in_paper,
    output_change_at_input,
    output_change_telescoped,
    output_change_terms,
    output_change_upper,
    output_change_with_biases,
    rounding_norm_upper,
)
from prunecert.types import InputError

DEPTHS = [(5, 4), (5, 7, 4), (6, 6, 6, 6, 3)]


def one_layer(*numbers):
    """`rounding_norm_upper` of one layer."""
    return float(rounding_norm_upper(*([number] for number in numbers))[0])


class Chain:
    """A ReLU chain, what was removed from it, and its norms."""

    def __init__(self, widths, seed, removed=0.1, bias=0.0):
        source = np.random.default_rng(seed)
        shapes = list(zip(widths[1:], widths))
        self.dense = [source.normal(size=shape) for shape in shapes]
        self.removed = [removed * source.normal(size=shape) for shape in shapes]
        self.pruned = [a - d for a, d in zip(self.dense, self.removed)]
        self.bias = [bias * source.normal(size=rows) for rows, _ in shapes]
        self.removed_bias = [0.1 * b for b in self.bias]
        self.inputs = source.normal(size=(200, widths[0]))
        self.input_norm = float(np.linalg.norm(self.inputs, axis=1).max())
        for name in ("dense", "removed", "pruned"):
            norms = np.array([spectral_norm_upper(matrix) for matrix in getattr(self, name)])
            setattr(self, f"{name}_norm", norms)

    def activations(self, matrices, biases):
        x = [self.inputs]
        for matrix, bias in zip(matrices, biases):
            before = np.maximum(x[-1], 0.0) if len(x) > 1 else x[0]
            x.append(before @ matrix.T + bias)
        return x

    def change(self):
        """‖f(x) − f̂(x)‖₂ of every input."""
        other = [b - r for b, r in zip(self.bias, self.removed_bias)]
        f = self.activations(self.dense, self.bias)[-1]
        g = self.activations(self.pruned, other)[-1]
        return np.linalg.norm(f - g, axis=1)

    def layer_change(self):
        """‖Δ^l x^{l−1}‖, shape (inputs, L)."""
        x = self.activations(self.dense, self.bias)
        entering = [x[0], *(np.maximum(a, 0.0) for a in x[1:-1])]
        changes = [np.linalg.norm(a @ d.T, axis=1) for a, d in zip(entering, self.removed)]
        return np.stack(changes, axis=1)


@pytest.mark.parametrize("widths", DEPTHS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("removed", [0.01, 0.1, 1.0])
def test_every_form_holds_and_they_are_ordered(widths, seed, removed):
    chain = Chain(widths, seed, removed)
    norms, gone, b = chain.dense_norm, chain.removed_norm, chain.input_norm
    change = chain.change()
    on_inputs = output_change_at_input(chain.layer_change(), chain.pruned_norm)
    layered = output_change_upper(norms, chain.pruned_norm, gone, b)
    telescoped = output_change_telescoped(norms, gone, b)
    assert (change <= on_inputs).all()
    assert on_inputs.max() <= layered * (1 + 1e-9)
    assert layered <= telescoped
    terms = output_change_terms(norms, gone, b)
    if terms["holds"]:
        assert telescoped <= output_change_as_in_paper(norms, gone, b)
        assert output_change_as_in_paper(norms, gone, b) == pytest.approx(terms["value"], rel=1e-11)
    else:
        with pytest.raises(InputError, match="removed_norm: the paper's condition does not hold"):
            output_change_as_in_paper(norms, gone, b)
    assert terms["holds"] == (terms["strict"] or terms["sufficient"])


def test_the_grid_above_meets_the_condition_both_ways():
    found = {
        output_change_terms(chain.dense_norm, chain.removed_norm, 1.0)["holds"]
        for chain in (Chain(DEPTHS[2], 0, 0.01), Chain(DEPTHS[2], 0, 1.0))
    }
    assert found == {True, False}


def test_tight_where_everything_is_aligned():
    """One unit per layer: f − f̂ = x(∏a − ∏â), and removing shrinks every factor."""
    a, gone = np.array([2.0, 3.0, 1.5]), np.array([0.5, 1.0, 0.25])
    exact = 4.0 * (a.prod() - (a - gone).prod())
    assert output_change_upper(a, a - gone, gone, 4.0) == pytest.approx(exact, rel=1e-11)
    grown = 4.0 * ((a + gone).prod() - a.prod())
    assert output_change_telescoped(a, gone, 4.0) == pytest.approx(grown, rel=1e-11)


def test_products_stand_on_the_right_side_of_the_layer():
    """‖A‖ before and ‖Â‖ after: two layers, each alone."""
    norms, pruned = [2.0, 3.0], [5.0, 7.0]
    first = output_change_upper(norms, pruned, [1.0, 0.0], 1.0)
    second = output_change_upper(norms, pruned, [0.0, 1.0], 1.0)
    assert (float(first), float(second)) == pytest.approx((7.0, 2.0), rel=1e-11)
    assert output_change_at_input([1.0, 0.0], pruned) == pytest.approx(7.0, rel=1e-11)
    assert output_change_at_input([0.0, 1.0], pruned) == pytest.approx(1.0, rel=1e-11)


def test_the_papers_form_by_hand():
    # e·3·(2·4)·(1/2 + 1/4) = 18e
    terms = output_change_terms([2.0, 4.0], [1.0, 1.0], 3.0)
    assert terms["value"] == pytest.approx(18 * math.e, rel=1e-12)
    assert terms["relative_sum"] == 0.75
    assert terms["strict"] and terms["sufficient"]


@pytest.mark.parametrize(
    ("removed", "strict", "sufficient"),
    [
        ([0.5, 0.5, 0.5, 0.5], False, False),
        ([1.0, 0.0, 0.0, 0.0], False, True),
        ([0.25, 0.25, 0.25, 0.25], True, True),
        ([1.75, 0.0, 0.0, 0.0], False, True),
        ([1.7501, 0.0, 0.0, 0.0], False, False),
    ],
)
def test_which_condition_holds(removed, strict, sufficient):
    terms = output_change_terms([1.0] * 4, removed, 1.0)
    assert (terms["strict"], terms["sufficient"]) == (strict, sufficient)


def test_strict_implies_sufficient_up_to_one_layer_each():
    """Every ratio at most 1/L sums to at most 1, so 1.75 is the wider condition."""
    for layers in (1, 2, 5, 50):
        terms = output_change_terms([3.0] * layers, [3.0 / layers * (1 - 1e-12)] * layers, 1.0)
        assert terms["strict"] and terms["sufficient"]


def test_the_second_condition_is_where_the_exponential_stays_below_its_chord():
    assert math.expm1(ENOUGH) / ENOUGH <= math.e
    assert math.expm1(ENOUGH + 0.01) / (ENOUGH + 0.01) > math.e


def test_without_the_condition_the_value_is_no_bound():
    """Negative control: many thin layers whose norms triple grow faster than e times the sum."""
    layers = 6
    norms, gone = np.ones(layers), 2.0 * np.ones(layers)
    change = (norms + gone).prod() - norms.prod()  # Â = A + 2 in a chain of one unit per layer
    terms = output_change_terms(norms, gone, 1.0)
    assert not terms["holds"]
    assert terms["value"] < change <= output_change_telescoped(norms, gone, 1.0)


@pytest.mark.parametrize("widths", DEPTHS)
@pytest.mark.parametrize("seed", range(3))
def test_biases(widths, seed):
    chain = Chain(widths, seed, 0.1, bias=2.0)
    bias, gone = ([np.linalg.norm(b) for b in bs] for bs in (chain.bias, chain.removed_bias))
    norms = (chain.dense_norm, chain.pruned_norm, chain.removed_norm)
    bound = output_change_with_biases(*norms, bias, gone, chain.input_norm)
    assert chain.change().max() <= bound
    nothing = np.zeros(len(bias))
    without = output_change_with_biases(*norms, nothing, nothing, chain.input_norm)
    assert without == pytest.approx(output_change_upper(*norms, chain.input_norm), rel=1e-11)


def test_biases_by_hand():
    # a: 1, 2·1+3 = 5; e: 0, 0 + 1·1 + ½ = 1.5, then 4·1.5 + 2·5 + ¼
    value = output_change_with_biases([2, 5], [9, 4], [1, 2], [3, 7], [0.5, 0.25], 1.0)
    assert value == pytest.approx(16.25, rel=1e-11)


def test_a_grid_of_settings_is_a_grid_of_bounds():
    gone = np.array([[0.0, 0.0], [0.5, 0.1], [1.0, 0.2]])
    norms = np.array([2.0, 3.0])
    rows = [output_change_telescoped(norms, row, 3.0) for row in gone]
    assert np.array_equal(output_change_telescoped(norms, gone, 3.0), rows)
    zeros = np.zeros(2)
    biased = output_change_with_biases(norms, norms, gone, zeros, zeros, 3.0)
    assert biased == pytest.approx(output_change_upper(norms, norms, gone, 3.0), rel=1e-11)
    assert output_change_as_in_paper(norms, gone, 3.0).shape == (3,)


# --------------------------------------------------------------------------- rounding


@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_rounding_changes_the_matrix_by_no_more(density, seed):
    source = np.random.default_rng(seed)
    step = 0.37
    matrix = source.normal(size=(12, 9)) * (source.random((12, 9)) < density)
    change = np.linalg.norm(step * np.round(matrix / step) - matrix, 2)
    kept = matrix != 0
    counts = int(kept.sum()), int(kept.sum(1).max()), int(kept.sum(0).max())
    assert change <= one_layer(step, *counts)


def test_rounding_is_tight_for_equal_errors_and_takes_the_smaller_form():
    full = np.full((4, 9), 0.25)
    assert one_layer(0.5, 36, 9, 4) == pytest.approx(np.linalg.norm(full, 2), rel=1e-11)
    assert one_layer(2.0, 10, 5, 5) == pytest.approx(math.sqrt(10), rel=1e-11)
    assert one_layer(2.0, 100, 3, 2) == pytest.approx(math.sqrt(6), rel=1e-11)
    assert one_layer(0.0, 100, 3, 2) == 0.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"spectral_norm": [1.0, 0.0]}, "spectral_norm must be numbers > 0"),
        ({"removed_norm": [1.0]}, r"removed_norm must be numbers >= 0, of shape \(…, 2\)"),
        ({"removed_norm": [1.0, -1.0]}, "removed_norm must be numbers >= 0"),
        ({"pruned_norm": [[1.0, 2.0, 3.0]]}, "pruned_norm must be numbers >= 0"),
        ({"input_norm": math.inf}, "input_norm must be a number"),
    ],
)
def test_illegal_arguments_are_named(change, says):
    given = {
        "spectral_norm": [1.0, 2.0],
        "pruned_norm": [1.0, 2.0],
        "removed_norm": [0.1, 0.2],
        "input_norm": 1.0,
    }
    with pytest.raises(InputError, match=says):
        output_change_upper(**given | change)
