"""Noise cushions: by hand, and against twins that build every Jacobian by autograd."""

from __future__ import annotations

from dataclasses import astuple
from math import sqrt

import numpy as np
import pytest
import torch
from torch import nn

from prunecert.bounds.comparators import arora_2018
from prunecert.cushions import (
    SMOOTHEST,
    compression_noise,
    homogeneous,
    measure_cushions,
    network_cushions,
)
from prunecert.data import in_memory, take
from prunecert.models.layers import layer_view
from prunecert.pruning.draws import own_generator
from prunecert.types import InputError

CLOSE = 1e-10  # relative; a missing unit, layer or row moves each number by far more


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def measured(weights, inputs, biases=None, **options):
    biases = biases or [None] * len(weights)
    return measure_cushions(weights, biases, [inputs], **options)


def random_chain(widths, biased, seed=0):
    """Weights, biases (None where `biased` says so) and 12 inputs, none of which kills a layer."""
    g = torch.Generator().manual_seed(seed)
    weights = [torch.randn(o, i, generator=g) for i, o in zip(widths, widths[1:])]
    biases = [torch.randn(len(w), generator=g) if b else None for w, b in zip(weights, biased)]
    return weights, biases, torch.randn(12, widths[0], generator=g)


CHAINS = {
    "no biases": random_chain([6, 9, 8, 7, 3], [False] * 4),
    "biases everywhere": random_chain([6, 9, 8, 7, 3], [True] * 4),
    "last bias in the middle": random_chain([6, 9, 8, 7, 3], [False, True, False, False]),
    "wide output": random_chain([5, 6, 11], [True, False]),
}
every_chain = pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())


# --------------------------------------------------------------------------- by hand


def test_one_layer():
    found = measured([tensor([3.0, 4.0])], tensor([1.0, 0.0], [0.0, 2.0]), sample="train[0:2]")
    assert found.layer == pytest.approx([3 / 5], rel=CLOSE)
    assert found.interlayer == pytest.approx([1.0], rel=CLOSE)
    assert (found.contraction, found.output_norm) == (1.0, 8.0)
    assert (found.smoothness, found.sample) == (SMOOTHEST, "train[0:2]")


def test_identities_spread_everything_evenly():
    found = measured([torch.eye(4)] * 3, tensor([1.0, 2.0, 3.0, 4.0]))
    assert found.layer == pytest.approx([0.5] * 3, rel=CLOSE)
    assert found.interlayer == pytest.approx([0.5] * 3, rel=CLOSE)
    assert found.contraction == 1.0
    assert found.output_norm == pytest.approx(sqrt(30), rel=CLOSE)


def test_two_layers():
    """x = (2, 1): x^1 = (2, −1, 3), phi = (2, 0, 3), x^2 = (0, 3), J = [[3, 0, −2], [0, 0, 1]]."""
    first, second = tensor([1.0, 0.0], [0.0, -1.0], [1.0, 1.0]), tensor([3, 5, -2], [0, 0, 1])
    found = measured([first, second], tensor([2.0, 1.0]))
    assert found.layer == pytest.approx([sqrt(14 / (4 * 5)), 3 / sqrt(39 * 13)], rel=CLOSE)
    assert found.interlayer == pytest.approx([3 / 14, 1 / sqrt(2)], rel=CLOSE)
    assert found.contraction == pytest.approx(sqrt(14 / 13), rel=CLOSE)
    assert found.output_norm == 3.0


def test_biases_are_weights_from_a_unit_that_is_always_one():
    weights = [tensor([2.0]), tensor([3.0], [4.0]), tensor([5.0, 6.0])]
    found = homogeneous(weights, [None, torch.tensor([7.0, 8.0]), None])
    expected = [tensor([2, 0], [0, 1]), tensor([3, 7], [4, 8]), tensor([5, 6])]
    assert len(found) == 3
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


def test_a_bias_by_hand():
    """x' = (1, 1), A'^1 = [[1, 2], [0, 1]], x^1 = (3, 1), A'^2 = [−1, 4], x^2 = 1."""
    found = measured(
        [tensor([1.0]), tensor([-1.0])],
        tensor([1.0]),
        [torch.tensor([2.0]), torch.tensor([4.0])],
    )
    assert found.layer == pytest.approx([sqrt(10 / (6 * 2)), 1 / sqrt(17 * 10)], rel=CLOSE)
    assert found.interlayer == pytest.approx([1 / sqrt(17 * 10), 1.0], rel=CLOSE)
    assert (found.contraction, found.output_norm) == (1.0, 1.0)


# --------------------------------------------------------------------------- twins


def onward(matrices, start, stop):
    """x^start ↦ x^stop."""

    def run(x):
        for at in range(start, stop):
            x = matrices[at] @ (torch.relu(x) if at else x)
        return x

    return run


def lifted(chain):
    weights, biases, inputs = chain
    with_unit = any(bias is not None for bias in biases)
    rows = torch.cat([inputs, torch.ones(len(inputs), 1)], 1) if with_unit else inputs
    return homogeneous(weights, biases), rows.double()


@every_chain
def test_against_dense_jacobians(chain):
    weights, biases, inputs = chain
    matrices, rows = lifted(chain)
    depth = len(matrices)
    layer, interlayer = np.ones(depth), np.array([1 / sqrt(len(m)) for m in matrices])
    contraction, size = 1.0, 0.0
    for x in rows:
        states = [onward(matrices, 0, at)(x) for at in range(depth + 1)]
        for at, matrix in enumerate(matrices):
            seen = torch.relu(states[at]) if at else x
            layer[at] = min(layer[at], states[at + 1].norm() / (matrix.norm() * seen.norm()))
            if at:
                contraction = max(contraction, float(states[at].norm() / seen.norm()))
        for l in range(1, depth):  # noqa: E741
            for j in range(l + 1, depth + 1):
                jacobian = torch.autograd.functional.jacobian(onward(matrices, l, j), states[l])
                assert torch.allclose(jacobian @ states[l], states[j], rtol=0, atol=1e-9)
                ratio = (jacobian @ states[l]).norm() / (jacobian.norm() * states[l].norm())
                interlayer[l - 1] = min(interlayer[l - 1], ratio)
        size = max(size, float(states[-1].norm()))
    found = measure_cushions(weights, biases, inputs.split(5), draws=1)
    assert found.layer == pytest.approx(layer, rel=CLOSE)
    assert found.interlayer == pytest.approx(interlayer, rel=CLOSE)
    assert found.contraction == pytest.approx(contraction, rel=CLOSE)
    assert found.output_norm == pytest.approx(size, rel=CLOSE)


@every_chain
def test_output_norm_is_of_the_network_itself(chain):
    weights, biases, x = chain
    for at, (weight, bias) in enumerate(zip(weights, biases)):
        x = nn.functional.linear(torch.relu(x) if at else x, weight, bias)
    found = measure_cushions(*chain[:2], [chain[2]], draws=1)
    assert found.output_norm == pytest.approx(float(x.norm(dim=1).max()), rel=1e-5)


@every_chain
@pytest.mark.parametrize("projections", [None, 7, 10**8])
def test_smoothness_against_a_naive_loop(chain, projections):
    matrices, rows = lifted(chain)
    draws, seed, depth = 3, 5, len(matrices)
    smoothness = SMOOTHEST
    for draw in range(draws):
        generator = own_generator("compression noise", seed * draws + draw)
        for l in range(1, depth):  # noqa: E741
            matrix = matrices[l - 1]
            normal = torch.randn(matrix.shape, generator=generator, dtype=torch.float32).double()
            for x in rows:
                here = onward(matrices, 0, l)(x)
                before = onward(matrices, 0, l - 1)(x)
                seen = torch.relu(before) if l > 1 else x
                variance = matrix.square().sum() / (projections or matrix.numel())
                eta = variance.sqrt() * (normal @ seen)
                for j in range(l + 1, depth + 1):
                    move = onward(matrices, l, j)
                    jacobian = torch.autograd.functional.jacobian(move, here)
                    apart = (move(here + eta) - jacobian @ (here + eta)).norm()
                    allowed = eta.norm() * move(here).norm() / here.norm()
                    if apart > 0:
                        smoothness = min(smoothness, float(allowed / apart))
    found = measure_cushions(
        *chain[:2], chain[2].split(5), seed=seed, draws=draws, projections=projections
    )
    assert found.smoothness == pytest.approx(smoothness, rel=1e-8)
    assert found.noise_delta == 1 / 4


def test_noise_has_the_size_of_algorithm_1():
    """A ↦ mean of <A, M>·M over k random sign matrices M; widths leave 1/20 of difference."""
    g = torch.Generator().manual_seed(0)
    matrix = torch.randn(20, 20, generator=g, dtype=torch.float64)
    seen, k, times = torch.randn(1, 20, generator=g, dtype=torch.float64), 50, 2000
    signs = torch.randint(0, 2, (times, k, 20, 20), generator=g).double() * 2 - 1
    inner = torch.einsum("tkab,ab->tk", signs, matrix)
    compressed = torch.einsum("tk,tkab->tab", inner, signs) / k
    literal = ((compressed - matrix) @ seen[0]).square().sum(1).mean()
    gaussian = torch.cat([compression_noise(matrix, seen, k, g) for _ in range(times)])
    assert float(gaussian.square().sum(1).mean() / literal) == pytest.approx(1.0, abs=0.1)


# --------------------------------------------------------------------------- what changes nothing


def test_a_chain_that_stays_linear_has_the_largest_smoothness():
    """So many projections that no unit comes near 0."""
    chain = [torch.eye(3) + 0.5] * 3
    assert measured(chain, tensor([1, 2, 3]), projections=10**12).smoothness == SMOOTHEST


@every_chain
def test_order_and_batches_of_rows_change_nothing(chain):
    weights, biases, inputs = chain
    whole = measure_cushions(weights, biases, [inputs], seed=2)
    for batches in (inputs.flip(0).split(1), inputs.roll(5, 0).split(7)):
        again = measure_cushions(weights, biases, batches, seed=2)
        for a, b in zip(astuple(whole), astuple(again)):
            assert a == b if isinstance(a, str) else a == pytest.approx(b, rel=CLOSE)


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    weights, biases, inputs = CHAINS["no biases"]
    before = torch.get_rng_state()
    one, same, other = (measured(weights, inputs, seed=seed).smoothness for seed in (1, 1, 2))
    assert one == same != other
    assert torch.equal(torch.get_rng_state(), before)


# --------------------------------------------------------------------------- refusals

I2 = torch.eye(2)


@pytest.mark.parametrize(
    ("weights", "row", "says"),
    [
        ([I2, I2], [0.0, 0.0], "the input is all zeros"),
        ([I2, I2], [-1.0, -2.0], "layer 1 is all zeros"),
        ([I2, tensor([1.0, -1.0])], [1.0, 1.0], "layer 2 is all zeros"),
        ([I2, I2 * torch.nan], [1.0, 1.0], "layer 2: expected finite"),
        ([I2, torch.eye(3)], [1.0, 1.0], r"layer 2: expected a weight \(out, 2\)"),
        ([I2], [1.0, 1.0, 1.0], "inputs have 3 features, expected 2"),
        ([], [1.0], "one bias or None for each weight"),
    ],
)
def test_refuses(weights, row, says):
    with pytest.raises(InputError, match=says):
        measured(weights, tensor([1.0] * len(row), row))


def test_a_bias_keeps_a_layer_alive():
    bias = torch.zeros(2)
    assert measured([I2, I2 + 1], tensor([-1.0, -2.0]), [bias, bias + 1]).contraction == sqrt(6)


@pytest.mark.parametrize("options", [{"draws": 0}, {"projections": 0}])
def test_refuses_options(options):
    with pytest.raises(InputError, match=f"{next(iter(options))} 0: expected"):
        measured([I2], tensor([1, 2]), **options)


def test_refuses_no_rows():
    with pytest.raises(InputError, match="no inputs"):
        measure_cushions([I2], [None], [])


# --------------------------------------------------------------------------- of a network

ROWS = np.random.RandomState(0).randn(30, 2, 3).astype(np.float32)
DATA = in_memory((ROWS, np.arange(30) % 4))


def network():
    g = torch.Generator().manual_seed(3)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5, bias=False), nn.ReLU(),
        nn.Linear(5, 4),
    )  # fmt: skip
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=g)
    return net


@pytest.mark.parametrize(("rows", "stop"), [(7, 12), (99, 30)])
def test_of_a_network_over_the_first_rows(rows, stop):
    net, heard = network(), []
    sample = take(DATA, "train[5:]", "bound")
    found = network_cushions(
        layer_view(net), net.state_dict(), sample, rows=rows, batch_size=4, tick=heard.append
    )
    weights, biases = zip(*((net[at].weight, net[at].bias) for at in (1, 3, 5)))
    here = torch.from_numpy(ROWS[5:stop])
    same = measured(weights, here, biases, sample=f"train[5:{stop}]")
    assert sum(heard) == stop - 5
    for a, b in zip(astuple(found), astuple(same)):
        assert a == b if isinstance(a, str) else a == pytest.approx(b, rel=CLOSE)


class Headed(nn.Module):
    """A chain whose last layer goes by the name of a language head, which is no layer."""

    def __init__(self):
        super().__init__()
        self.body, self.lm_head = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.lm_head(torch.relu(self.body(x)))


@pytest.mark.parametrize(
    "net", [nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 4)), Headed()]
)
def test_refuses_what_is_not_a_chain(net):
    with pytest.raises(InputError, match="not a chain of linear layers and ReLU"):
        network_cushions(layer_view(net), net.state_dict(), take(DATA, "train", "bound"))


def test_refuses_no_rows_of_a_sample():
    net = network()
    with pytest.raises(InputError, match="rows 0"):
        sample = take(DATA, "train", "bound")
        network_cushions(layer_view(net), net.state_dict(), sample, rows=0)


def test_the_comparator_takes_what_is_measured():
    """Two identities at x = (1, 2): every cushion is 1/√2, c = 1, the output norm √5."""
    found = measured([torch.eye(2)] * 2, tensor([1, 2]), projections=10**12)
    value = arora_2018(
        found.layer,
        found.interlayer,
        found.contraction,
        found.output_norm,
        found.smoothness,
        margin=1.0,
    )
    assert value == pytest.approx(2**2 * 5 * (2 * 2 + 2 * 2), rel=CLOSE)
