"""The steps on real matrices and chains: numbers by plain arithmetic, statements by frequency."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from prunecert.api import pruning_steps, sample_of
from prunecert.api.networks import network_of
from prunecert.api.pruning_steps import (
    Chain,
    chain_of,
    drawn_mask,
    layer_steps,
    output_change,
)
from prunecert.types import InputError

OUTWARD = 3e-9  # norms are multiplied by 1 + 1e-9, sums by less


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def norm(matrix):
    """Largest singular value, by the eigenvalues of AᵀA."""
    return math.sqrt(np.linalg.eigvalsh(matrix.T @ matrix)[-1])


# --------------------------------------------------------------------------- one layer


@pytest.mark.parametrize("d", [0.3, 1.0, 5.0])
def test_gaussian_moments_are_those_of_a_large_gaussian_matrix(d):
    """The pruning code itself against THEORY 1.2, within five standard errors."""
    weight = 0.2 * gaussian(800, 1000)
    kept = drawn_mask(weight, d, seed=4)
    removed = np.where(kept, 0.0, weight)
    ratio, psi = d / (d + 2), 0.04
    for values, expected in (
        (kept.astype(float), 1 - ratio**0.5),
        (removed, 0.0),
        (removed**2, psi * ratio**1.5),
        (removed**4, 3 * psi**2 * ratio**2.5),
    ):
        error = values.std() / math.sqrt(values.size)
        assert abs(values.mean() - expected) < 5 * error


@pytest.mark.parametrize("d", [0.5, 3.0])
def test_every_measured_number_of_a_layer(d):
    weight = gaussian(7, 11, seed=1)
    weight[2] = 0.0  # a row that is dead whatever the draw
    found = layer_steps("fc", weight, d, seed=5)
    kept = drawn_mask(weight, d, 5)
    order = sorted(np.ndindex(weight.shape), key=lambda cell: -abs(weight[cell]))
    largest = np.zeros(weight.shape, bool)
    for cell in order[: kept.sum()]:
        largest[cell] = True
    variance = ((weight - weight.mean()) ** 2).sum() / weight.size
    drop = np.exp(-(weight**2) / (d * variance))
    assert found.kept_fraction == pytest.approx(
        {
            "kept-fraction": 1 - math.sqrt(d / (d + 2)),
            "expected of these weights": 1 - drop.sum() / 77,
            "measured": kept.sum() / 77,
        },
        rel=1e-12,
    )
    for who, mask in (("measured", kept), ("sorted", largest)):
        assert found.removed_norm[who] == pytest.approx(norm(weight * ~mask), rel=OUTWARD)
        rows = [sum(line) for line in mask.tolist()]
        columns = [sum(line) for line in mask.T.tolist()]
        assert found.most_in[who] == (max(rows), max(columns))
        assert found.most_kept[who] == max(*rows, *columns)
        assert found.dead_rows[who] == rows.count(0) >= 1
        size = math.sqrt(max(max(columns) * 7, max(rows) * 11))
        assert found.sketch_rows[who] == math.ceil(size * math.log(11))
    assert found.reasons == {} and found.shape == (7, 11)


def test_every_predicted_number_of_a_layer():
    """THEORY 1.3 and 1.6 written out, at d = 2 where d/(d+2) is one half."""
    weight = gaussian(6, 4, seed=2)
    psi = weight.var()
    found = layer_steps("fc", weight, 2.0, delta=0.1)
    dims = 2 + math.sqrt(6)
    second, fourth = psi * 0.5**1.5, 3 * psi**2 * 0.5**2.5
    latala = math.sqrt(second) * dims + (24 * fourth) ** 0.25
    explicit = math.sqrt(psi / 2) * (dims + math.sqrt(2 * math.log(10)))
    assert found.removed_norm["removed-norm-latala"] == pytest.approx(latala, rel=1e-12)
    assert found.removed_norm["removed-norm-gaussian"] == pytest.approx(explicit, rel=OUTWARD)
    redrawn = [norm(weight * ~drawn_mask(weight, 2.0, 0, draw)) for draw in range(1, 20)]
    second_largest = sorted(redrawn)[-2]  # two of twenty are a tenth
    assert found.removed_norm["removed-norm-redraws"] == pytest.approx(second_largest, rel=OUTWARD)
    paper = 3 * 10 * 6 * (1 - math.sqrt(0.5))
    assert found.most_kept["pattern-as-in-paper"] == pytest.approx(paper, rel=1e-12)
    in_row = _fewest(lambda j: 6 * _binomial_beyond(j, 4, 1 - math.sqrt(0.5)) <= 0.05)
    in_column = _fewest(lambda j: 4 * _binomial_beyond(j, 6, 1 - math.sqrt(0.5)) <= 0.05)
    assert found.most_in["pattern-gaussian"] == (in_row, in_column)
    stay = 1 - np.exp(-(weight**2) / (2 * psi))
    in_row = _fewest(lambda j: sum(_beyond(j, line) for line in stay) <= 0.05)
    in_column = _fewest(lambda j: sum(_beyond(j, line) for line in stay.T) <= 0.05)
    assert found.most_in["pattern-poisson-binomial"] == (in_row, in_column)
    for name in ("pattern-gaussian", "pattern-poisson-binomial"):
        assert found.most_kept[name] == max(found.most_in[name])


def _fewest(enough):
    return next(j for j in range(100) if enough(j))


def _binomial_beyond(j, n, p):
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(j + 1, n + 1))


def _beyond(j, probabilities):
    """P[more than j successes], by enumeration of all outcomes."""
    total = 0.0
    for outcome in np.ndindex(*[2] * len(probabilities)):
        if sum(outcome) > j:
            total += math.prod(p if hit else 1 - p for p, hit in zip(probabilities, outcome))
    return total


DRAWS, DELTA = 200, 0.2


def too_often(failures):
    """Whether "at most a share DELTA" is rejected, exactly, at 1e-6."""
    return binomtest(sum(failures), len(failures), DELTA, alternative="greater").pvalue < 1e-6


@pytest.fixture(scope="module")
def drawn():
    """The steps of one heavy-tailed matrix under 200 seeds, and of 200 Gaussian matrices."""
    fixed = np.random.default_rng(3).standard_t(2.5, (6, 5))
    return {
        "fixed": [layer_steps("", fixed, 1.5, seed=s, delta=DELTA) for s in range(DRAWS)],
        "gaussian": [
            layer_steps("", gaussian(6, 5, seed=s), 1.5, seed=s, delta=DELTA) for s in range(DRAWS)
        ],
    }


@pytest.mark.parametrize(
    ("name", "teeth"), [("bernstein", 0.2), ("cumulants", 0.4), ("redraws", 0.8)]
)
def test_removed_norms_are_exceeded_no_more_often_than_delta(drawn, name, teeth):
    """That share of the bound would be rejected: the test has teeth."""
    for steps in drawn.values():
        norms = [s.removed_norm for s in steps]
        assert not too_often([n["measured"] > n[f"removed-norm-{name}"] for n in norms])
        assert too_often([n["measured"] > teeth * n[f"removed-norm-{name}"] for n in norms])


def test_the_gaussian_norm_holds_for_gaussian_matrices(drawn):
    found = [s.removed_norm for s in drawn["gaussian"]]
    assert not too_often([n["measured"] > n["removed-norm-gaussian"] for n in found])
    assert too_often([n["measured"] > 0.5 * n["removed-norm-gaussian"] for n in found])


@pytest.mark.parametrize(
    ("which", "name"),
    [
        ("fixed", "pattern-poisson-binomial"),
        ("gaussian", "pattern-poisson-binomial"),
        ("gaussian", "pattern-gaussian"),
    ],
)
def test_patterns_are_exceeded_no_more_often_than_delta(drawn, which, name):
    pairs = [(s.most_in["measured"], s.most_in[name]) for s in drawn[which]]
    assert not too_often([r > j_r or c > j_c for (r, c), (j_r, j_c) in pairs])
    assert too_often([r > j_r - 2 or c > j_c - 2 for (r, c), (j_r, j_c) in pairs])


def test_a_row_or_a_column_is_enough_to_exceed_a_pattern(drawn):
    by_column_only = 0
    for steps in drawn["gaussian"]:
        (r, c), (j_r, j_c) = steps.most_in["measured"], steps.most_in["pattern-gaussian"]
        assert steps.exceeds("pattern-gaussian") == (r > j_r or c > j_c)
        by_column_only += steps.exceeds("pattern-gaussian") and max(r, c) <= max(j_r, j_c)
        norms = steps.removed_norm
        is_beyond = norms["measured"] > norms["removed-norm-redraws"]
        assert steps.exceeds("removed-norm-redraws") == is_beyond
    assert by_column_only > 0


def test_the_draws_are_the_masks_in_use_and_differ():
    weight = gaussian(20, 30)
    masks = [drawn_mask(weight, 1.0, 0, draw) for draw in range(3)]
    masks += [drawn_mask(weight, 1.0, seed) for seed in (1, (0, 1), (1, 1))]
    assert len({mask.tobytes() for mask in masks}) == 6
    assert (drawn_mask(weight, 1.0, (0, 1)) == masks[4]).all()
    found = layer_steps("", weight, 1.0, seed=(0, 1))
    assert found.kept_fraction["measured"] == masks[4].mean() != masks[0].mean()


def test_a_small_delta_takes_more_redraws():
    ticks = []
    layer_steps("", gaussian(3, 4), 1.0, delta=0.01, tick=ticks.append)
    assert ticks == [1] * 99
    with pytest.raises(InputError, match="19 redraws say nothing at delta = 0.01"):
        layer_steps("", gaussian(3, 4), 1.0, delta=0.01, redraws=19)


@pytest.mark.parametrize(
    ("name", "products"),
    [
        ("removed-norm-redraws", 19 * pruning_steps.FIXED_PRODUCTS),
        ("pattern-poisson-binomial", 6 * 4 * 5),
    ],
)
def test_what_takes_too_long_is_left_out_with_a_reason(monkeypatch, name, products):
    weight = gaussian(6, 4)
    whole = layer_steps("", weight, 1.0)
    monkeypatch.setitem(pruning_steps.MOST_PRODUCTS, name, products)
    assert layer_steps("", weight, 1.0) == whole
    monkeypatch.setitem(pruning_steps.MOST_PRODUCTS, name, products - 1)
    found = layer_steps("", weight, 1.0)
    assert list(found.reasons) == [name] and "6 x 4" in found.reasons[name]
    for part in ("removed_norm", "most_kept", "most_in"):
        rest = {k: v for k, v in getattr(whole, part).items() if k != name}
        assert getattr(found, part) == rest


# --------------------------------------------------------------------------- chains


def sample(x, y):
    return sample_of((x, y), "train", "bound")


def chains(biases):
    """A dense chain 5-4-3-2 and a pruned one, and eleven rows."""
    random = np.random.default_rng(6)
    shapes = [(4, 5), (3, 4), (2, 3)]
    weights = [random.standard_normal(shape) for shape in shapes]
    added = [random.standard_normal(len(w)) * biases for w in weights]
    masks = [random.random(shape) < 0.9 for shape in shapes]
    names = ("a", "b", "c")
    dense = Chain(names, *(tuple(map(torch.from_numpy, part)) for part in (weights, added)))
    pruned = dense.with_masks({n: torch.from_numpy(mask) for n, mask in zip(names, masks)})
    thinned = [w * mask for w, mask in zip(weights, masks)]
    x, y = random.standard_normal((11, 5)).astype(np.float32), random.integers(0, 2, 11)
    return dense, pruned, weights, thinned, added, x, y


def forward(weights, biases, x):
    """Activations by plain loops: the input, then after each layer (ReLU but for the last)."""
    seen = [list(map(float, x))]
    for number, (weight, bias) in enumerate(zip(weights, biases), start=1):
        out = [sum(w * v for w, v in zip(row, seen[-1])) + b for row, b in zip(weight, bias)]
        seen.append(out if number == len(weights) else [max(0.0, v) for v in out])
    return seen


@pytest.mark.parametrize("biases", [0.0, 1.0])
def test_every_number_of_an_output_change(biases):
    dense, pruned, weights, thinned, added, x, y = chains(biases)
    found = output_change(dense, pruned, sample(x, y))
    a, hat = [norm(w) for w in weights], [norm(w) for w in thinned]
    delta = [norm(w - t) for w, t in zip(weights, thinned)]
    changes, logits, at_input = [], [], []
    for row, label in zip(x, y):
        seen, moved = forward(weights, added, row), forward(thinned, added, row)[-1]
        gap = np.subtract(seen[-1], moved)
        changes.append(math.sqrt(sum(gap**2)))
        logits.append(abs(gap[label]))
        parts = [np.linalg.norm((w - t) @ v) for w, t, v in zip(weights, thinned, seen)]
        at_input.append(parts[0] * hat[1] * hat[2] + parts[1] * hat[2] + parts[2])
    largest = max(math.sqrt(sum(v * v for v in map(float, row))) for row in x)
    assert found.measured == pytest.approx(max(changes), rel=1e-9)
    assert found.true_class == pytest.approx(max(logits), rel=1e-9)
    assert found.removed_norm.tolist() == pytest.approx(delta, rel=OUTWARD)
    assert found.input_norm == pytest.approx(largest, rel=1e-12)
    size, change = largest, 0.0
    for layer in range(3):
        change = hat[layer] * change + delta[layer] * size
        size = a[layer] * size + np.linalg.norm(added[layer])
    expected = {"output-change-at-input": max(at_input), "output-change-with-biases": change}
    without = {
        "output-change": largest
        * (delta[0] * hat[1] * hat[2] + a[0] * delta[1] * hat[2] + a[0] * a[1] * delta[2]),
        "output-change-telescoped": largest
        * (math.prod(n + r for n, r in zip(a, delta)) - math.prod(a)),
    }
    ratios = [r / n for r, n in zip(delta, a)]
    assert max(ratios) > 1 / 3 and sum(ratios) <= 1.75  # the second condition is what holds
    without["output-change-as-in-paper"] = math.e * largest * math.prod(a) * sum(ratios)
    expected |= {} if biases else without
    assert found.statements == pytest.approx(expected, rel=5 * OUTWARD)
    assert all(value >= found.measured for value in found.statements.values())
    assert set(found.reasons) == (set(without) if biases else set())
    assert all("without biases" in reason for reason in found.reasons.values())


def test_where_the_condition_of_the_paper_fails_it_says_so():
    dense, _, _, _, _, x, y = chains(0.0)
    nothing = dense.with_masks({n: torch.zeros_like(w) for n, w in dense.by_name.items()})
    found = output_change(dense, nothing, sample(x, y))
    assert list(found.reasons) == ["output-change-as-in-paper"]
    assert "condition does not hold" in found.reasons["output-change-as-in-paper"]


def test_layers_without_a_mask_stay():
    dense, *_, x, y = chains(1.0)
    same = dense.with_masks({})
    assert output_change(dense, same, sample(x, y)).measured == 0.0
    only = dense.with_masks({"b": torch.zeros(3, 4)})
    unmoved = [bool((a == b).all()) for a, b in zip(only.weights, dense.weights)]
    assert unmoved == [True, False, True]


def test_rounding_moves_each_weight_to_the_nearest_multiple():
    weight = torch.tensor([[0.0, 0.24, -0.26], [0.74, 1.0, -0.1]], dtype=torch.float64)
    chain = Chain(("a",), (weight,), (torch.tensor([0.1, 0.2], dtype=torch.float64),))
    found = chain.rounded(0.5)
    assert found.weights[0].tolist() == [[0.0, 0.0, -0.5], [0.5, 1.0, 0.0]]
    assert found.biases[0].tolist() == [0.1, 0.2] and found.names == ("a",)
    fine = chain.rounded(pruning_steps.ROUNDING_STEP).weights[0]
    assert (fine * 256 % 1 == 0).all() and ((fine - weight).abs() <= 2.0**-9).all()


@pytest.mark.parametrize("bias", [True, False])
def test_the_chain_of_a_network_computes_what_the_network_does(bias):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 5, bias=bias), nn.ReLU(), nn.Linear(5, 3, bias=bias)
    )
    chain = chain_of(network_of(module))
    assert chain.names == ("1.weight", "3.weight")
    x = torch.randn(4, 2, 3)
    seen = [forward(*([t.numpy() for t in p] for p in (chain.weights, chain.biases)), row.flatten())
            for row in x]  # fmt: skip
    assert torch.allclose(torch.tensor([s[-1] for s in seen]), module(x).double(), atol=1e-6)
    assert chain.norms.tolist() == pytest.approx([norm(w.numpy()) for w in chain.weights], rel=2e-9)


def test_what_is_no_chain_is_refused():
    with pytest.raises(InputError, match="not a chain of linear layers and ReLU"):
        chain_of(network_of(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))))


@pytest.mark.parametrize(
    ("x", "y", "line"),
    [
        (np.zeros((3, 4), np.float32), [0, 1, 0], "inputs of (4,) each: expected 5 numbers"),
        (np.ones((3, 5), np.float32), [0, 1, 2], "a label 2: expected 0 to 1"),
    ],
)
def test_samples_that_do_not_fit_are_refused(x, y, line):
    dense, pruned, *_ = chains(0.0)
    with pytest.raises(InputError) as caught:
        output_change(dense, pruned, sample(x, np.array(y)))
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_rounding_of_the_kept_weights_by_hand():
    """Steps of 2⁻⁸: 0.3 is 0.2 and 0.1 is 0.4 of a step from the nearest multiple."""
    step = pruning_steps.ROUNDING_STEP
    weight = np.array([[10.2 * step, 0.0], [0.0, 3.4 * step]])
    found = layer_steps("w", weight, 0.0).rounding
    assert found["measured"] == pytest.approx(0.4 * step, rel=1e-6)
    # two nonzeros, one in each row and column: (step/2)·√min(2, 1)
    assert found["rounding-norm"] == pytest.approx(step / 2, rel=1e-6)


def test_the_mask_in_use_is_not_among_the_redraws():
    """Then it would never exceed the largest of them; apart, one seed in twenty does."""
    weight = gaussian(5, 4)
    found = [layer_steps("", weight, 1.0, seed=seed, redraws=19) for seed in range(300)]
    exceeded = sum(steps.exceeds("removed-norm-redraws") for steps in found)
    assert 1 <= exceeded <= 37  # Bin(300, 1/20): each side fails with less than 1e-5
