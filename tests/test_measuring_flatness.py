"""Paths, degrees and the noise a network bears: by hand, by enumeration, and once more in numpy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from norm_networks import explicit, linear, randomised, sample
from prunecert.measuring_norms import (
    DISPLACEMENT,
    TOLERANCE,
    folded,
    path_norm,
    weight_measures,
)
from prunecert.models.zoo import build
from prunecert.pruning.draws import own_generator


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# --------------------------------------------------------------------------- paths


def test_the_path_norm_is_a_sum_over_paths():
    net = nn.Sequential(linear([1, -2], [3, 4], bias=[5, 0]), nn.ReLU(), linear([1, -1], [2, 0]))
    first, second = [[1, -2], [3, 4]], [[1, -1], [2, 0]]
    paths = [(second[k][j] * first[j][i]) ** 2 for i, j, k in itertools.product(range(2), repeat=3)]
    from_biases = [(second[k][0] * 5) ** 2 for k in range(2)]
    assert path_norm(net, (2,)) == sum(paths) + sum(from_biases)


def test_the_path_norm_does_not_see_rescaling_through_relu():
    net = randomised(build("mlp:5-7-6-3", 0), 2)
    before = path_norm(net, (5,))
    state = net.state_dict()
    factors = torch.tensor([0.25, 4.0, 2.0, 0.5, 1.0, 8.0, 16.0])
    state["fc1.weight"].mul_(factors[:, None])
    state["fc1.bias"].mul_(factors)
    state["fc2.weight"].div_(factors)
    assert path_norm(net, (5,)) == pytest.approx(before, rel=1e-12)
    for name in ("fc3.weight", "fc3.bias"):
        state[name].mul_(3.0)
    assert path_norm(net, (5,)) == pytest.approx(9 * before, rel=1e-6)


def test_the_path_norm_of_a_convolution_is_that_of_its_matrix():
    layer = randomised(nn.Conv2d(2, 3, 3, padding=1, stride=2, bias=False), 3).double()
    net = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(27, 4, bias=False).double())
    matrix = explicit(layer, (2, 6, 5))
    second = net[3].weight.detach().numpy()
    assert path_norm(net, (2, 6, 5)) == pytest.approx(
        float((second**2 @ matrix**2).sum()), rel=1e-9
    )


def test_the_path_norm_of_a_residual_network_and_of_none():
    assert path_norm(folded(build("resnet-20", 0)), (3, 32, 32)) > 0
    for other in (nn.Sigmoid(), nn.GELU(), nn.LayerNorm(4), nn.Softmax(dim=1)):
        assert path_norm(nn.Sequential(nn.Linear(3, 4), other, nn.Linear(4, 2)), (3,)) is None


# --------------------------------------------------------------------------- degrees and pixels


def test_degrees_count_pixels_and_not_channels():
    net = nn.Sequential(
        nn.Conv2d(3, 4, (3, 2)), nn.ReLU(), nn.Conv2d(4, 5, 2, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(5 * 3 * 3, 7), nn.ReLU(), nn.Linear(7, 2),
    )  # fmt: skip
    inputs = np.random.RandomState(0).rand(6, 3, 9, 8)
    found = weight_measures(net, sample(inputs), draws=1)
    assert found.degrees.tolist() == [6, 4, 9, 1]
    squares = (inputs.astype(np.float32).astype(float) ** 2).sum(1).mean(0)
    assert found.pixel_norm == pytest.approx(math.sqrt(squares.max()), rel=1e-9)


def test_a_linear_layer_sees_one_pixel():
    inputs = np.random.RandomState(0).rand(6, 1, 2, 3)
    found = weight_measures(build("mlp:6-4-3", 0), sample(inputs), draws=1)
    assert found.degrees.tolist() == [1, 1]
    assert found.pixel_norm == pytest.approx(math.sqrt((inputs**2).sum() / 6), rel=1e-6)


def test_pooling_is_outside_the_theorem_of_degrees():
    found = weight_measures(build("lenet-5", 0), sample(np.zeros((2, 1, 28, 28))), draws=1, rows=1)
    assert found.degrees is None and found.pixel_norm is None
    assert found.path_norm > 0


# --------------------------------------------------------------------------- noise


def solved(seed=0, rows=400):
    """A linear network that is right everywhere, by margins of many sizes."""
    inputs = np.random.RandomState(seed).randn(rows, 8).astype(np.float32)
    net = nn.Sequential(nn.Linear(8, 3))
    randomised(net, seed)
    labels = net(torch.tensor(inputs)).argmax(1).numpy()
    return net, inputs, labels


def accuracy_lost(net, inputs, labels, deviation, draws):
    """The noise as the docstrings have it, written once more."""
    state = {name: p.detach().double() for name, p in net.named_parameters()}
    lost = []
    for draw in range(draws):
        g = own_generator("flatness", draw)
        noisy = {
            name: p + deviation(p) * torch.randn(p.shape, generator=g).double()
            for name, p in state.items()
        }
        scores = torch.tensor(inputs).double() @ noisy["0.weight"].T + noisy["0.bias"]
        lost.append(1 - float((scores.argmax(1).numpy() == labels).mean()))
    return sum(lost) / draws


def test_sigma_costs_a_tenth_of_the_accuracy():
    net, inputs, labels = solved()
    found = weight_measures(net, sample(inputs, labels), initial=net, draws=6)
    lost = accuracy_lost(net, inputs, labels, lambda p: found.sigma_estimate, 6)
    assert abs(lost - DISPLACEMENT) < TOLERANCE
    sigma = found.magnitude_sigma_estimate
    lost = accuracy_lost(net, inputs, labels, lambda p: (sigma**2 * p**2 + 1e-6).sqrt(), 6)
    assert abs(lost - DISPLACEMENT) < TOLERANCE
    assert found.magnitude_log_sum == pytest.approx(24 * math.log(1e-6), rel=1e-12)  # w = w⁰


def test_the_log_sum_is_over_weights_that_moved():
    net, inputs, labels = solved()
    start = nn.Sequential(nn.Linear(8, 3))
    found = weight_measures(net, sample(inputs, labels), initial=start, draws=2)
    moved = (net[0].weight - start[0].weight).detach().double().numpy()
    terms = np.log(1e-6 + found.magnitude_sigma_estimate**2 * moved**2)
    assert found.magnitude_log_sum == pytest.approx(terms.sum(), rel=1e-6)


def test_the_search_is_seeded_and_leaves_the_network_alone():
    net, inputs, labels = solved()
    before = [p.clone() for p in net.parameters()]
    sigmas = [
        weight_measures(net, sample(inputs, labels), draws=1, seed=seed).sigma_estimate
        for seed in (0, 0, 1, 2, 3)
    ]
    assert sigmas[0] == sigmas[1]
    assert len(set(sigmas)) > 2
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters()))


def test_larger_weights_bear_more_plain_noise():
    net, inputs, labels = solved()
    with torch.no_grad():
        before = weight_measures(net, sample(inputs, labels), draws=4).sigma_estimate
        for p in net.parameters():
            p.div_(4.0)
    after = weight_measures(net, sample(inputs, labels), draws=4).sigma_estimate
    assert before / after == pytest.approx(4.0, rel=0.3)


def test_no_noise_costs_a_tenth_where_the_answer_is_far_away():
    net = nn.Sequential(linear([0, 0], [0, 0], bias=[1e6, 0]))
    found = weight_measures(net, sample(np.zeros((3, 2))), initial=net, draws=10)
    assert found.sigma_estimate is None  # below the largest sigma of the search
    assert found.magnitude_sigma_estimate is not None  # a bias of a million moves by its size
    assert found.sample == "train[0:3]"


def test_only_the_first_rows_are_read_and_named():
    net, inputs, labels = solved()
    inputs[50:] = np.nan
    found = weight_measures(net, sample(inputs, labels), draws=1, rows=50)
    assert found.sample == "train[0:50]"


def test_progress_counts_draws():
    net, inputs, labels = solved()
    seen = []
    weight_measures(net, sample(inputs, labels), draws=3, tick=seen.append)
    assert 6 <= sum(seen) <= 2 * 15 * 3 and sum(seen) % 3 == 0
