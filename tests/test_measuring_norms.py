"""Norms measured: by hand, and against the explicit matrix of every layer."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from norm_networks import explicit, linear, randomised, sample
from prunecert.bounds.norms import convolution_norm_upper
from prunecert.measuring_norms import chain, folded, spread_kernel, weight_measures
from prunecert.models.layers import layer_view
from prunecert.models.zoo import build
from prunecert.types import InputError


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def chain_of(*layers, inputs=((0.0, 1.0),)):
    parts = list(itertools.chain.from_iterable((layer, nn.ReLU()) for layer in layers))[:-1]
    net = nn.Sequential(*parts)
    return chain(layer_view(net), net.state_dict(), sample(inputs))


# --------------------------------------------------------------------------- chains, from above


def squared(value):
    """The exact square of a float, for comparing with a sum of squares."""
    return Fraction(value) ** 2


def just_above(value, exact_square):
    return exact_square <= squared(value) <= exact_square * (1 + Fraction(1, 10**8))


def test_a_chain_without_biases():
    found = chain_of(linear([1, 2], [3, 4]), linear([0, 1], [5, 0]), linear([1, 2], [2, 3], [0, 0]))
    assert just_above(found.frobenius_norm[0], 30)
    assert just_above(found.frobenius_norm[1], 26)
    assert len(found.frobenius_norm) == 2
    assert just_above(found.last_row_norm, 13)
    assert just_above(found.input_bound, 2)
    assert found.classes == 3
    assert found.sample == "train[0:1]"


def test_biases_are_lifted_with_a_unit_and_the_input_with_one():
    found = chain_of(linear([1, 2], [3, 4], bias=[6, 0]), linear([1, 2], [3, 0], bias=[1, 4]))
    assert just_above(found.frobenius_norm[0], 30 + 36 + 1)
    assert just_above(found.last_row_norm, 25)
    assert just_above(found.input_bound, 3)


def test_after_the_last_bias_nothing_is_lifted():
    layers = (linear([1, 2], [3, 4]), linear([1, 1], [1, 1], bias=[2, 0]))
    found = chain_of(*layers, linear([1, 0], [0, 2]), linear([3, 4]))
    assert just_above(found.frobenius_norm[0], 30 + 1)  # the unit passes a layer without bias
    assert just_above(found.frobenius_norm[1], 4 + 4)
    assert just_above(found.frobenius_norm[2], 5)
    assert just_above(found.last_row_norm, 25)
    assert just_above(found.input_bound, 3)


def test_the_lifted_matrices_compute_the_network():
    """What the norms are of: their product with (x, 1) and ReLU is the network itself."""
    g = torch.Generator().manual_seed(3)
    net = randomised(build("mlp:4-5-3-2", 0), 1)
    state = net.state_dict()
    found = chain(layer_view(net), state, sample(torch.rand(7, 4, generator=g).numpy()))
    x = torch.cat([torch.rand(9, 4, generator=g), torch.ones(9, 1)], dim=1)
    expected = net(x[:, :4])
    norms = []
    for name in ("fc1", "fc2", "fc3"):
        matrix = torch.cat([state[f"{name}.weight"], state[f"{name}.bias"][:, None]], dim=1)
        if name != "fc3":
            unit = torch.zeros(1, matrix.shape[1])
            unit[0, -1] = 1
            matrix = torch.cat([matrix, unit])
            norms.append(float(matrix.double().norm()))
        x = x @ matrix.T if name == "fc3" else (x @ matrix.T).clamp(min=0)
    assert torch.allclose(x, expected, atol=1e-5)
    assert found.frobenius_norm == pytest.approx(norms, rel=1e-8)
    assert (found.frobenius_norm >= norms).all()
    assert found.last_row_norm == pytest.approx(float(matrix.double().norm(dim=1).max()), rel=1e-8)


def test_the_input_bound_is_no_norm_of_the_sample():
    found = chain_of(linear([1, 2], [3, 4]), inputs=((0.1, 0.0), (0.0, 0.2)))
    assert just_above(found.input_bound, 2)


@pytest.mark.parametrize("value", [-0.001, 1.001, 255.0])
def test_inputs_outside_the_unit_cube_are_refused(value):
    rows = np.zeros((2500, 2))
    rows[2400, 1] = value
    with pytest.raises(InputError, match=r"not in \[0, 1\]"):
        chain_of(linear([1, 2], [3, 4]), inputs=rows)


def test_a_dead_layer_has_a_norm_above_zero_that_still_bounds_it():
    found = chain_of(linear([0, 0], [0, 0]), linear([1, 2], [3, 4]))
    assert 0 < found.frobenius_norm[0] < 1e-300


def test_other_networks_have_no_chain():
    net = build("lenet-5", 0)
    with pytest.raises(InputError, match="not a chain"):
        chain(layer_view(net), net.state_dict(), sample(np.zeros((1, 1, 28, 28))))


def test_a_weight_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="not a finite number"):
        chain_of(linear([1, math.inf], [3, 4]), linear([1, 2], [3, 4]))


# --------------------------------------------------------------------------- norms of the layers


CONVOLUTIONS = {
    "plain": (nn.Conv2d(2, 3, 3), (2, 6, 5)),
    "padded": (nn.Conv2d(2, 3, 3, padding=1), (2, 6, 5)),
    "widely padded": (nn.Conv2d(1, 2, 3, padding=2), (1, 4, 4)),
    "with a stride": (nn.Conv2d(2, 2, 3, stride=2, padding=1), (2, 7, 6)),
    "in groups": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 5, 5)),
    "dilated": (nn.Conv2d(2, 3, 2, dilation=2, padding=1), (2, 5, 6)),
    "high": (nn.Conv2d(1, 2, (3, 1)), (1, 6, 2)),
}
every_convolution = pytest.mark.parametrize("name", CONVOLUTIONS)


@every_convolution
def test_the_operator_norm_bounds_that_of_the_explicit_matrix(name):
    layer, shape = CONVOLUTIONS[name]
    randomised(layer, 5)
    net = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    net(torch.zeros(1, *shape))
    net.float()
    found = weight_measures(net, sample(np.zeros((4, *shape))), draws=1)
    exact = np.linalg.norm(explicit(layer, shape), 2)
    dense = np.linalg.norm(net[3].weight.detach().double().numpy(), 2)
    loosest = 2.5 if name == "with a stride" else 1.3
    assert exact <= found.operator_norm[0] <= loosest * exact
    assert dense <= found.operator_norm[1] <= dense * (1 + 1e-8)
    kernel = layer.weight.detach().double().numpy()
    matrix = kernel.reshape(len(kernel), -1)
    assert found.spectral_norm[0] == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-6)
    assert found.frobenius_norm[0] == pytest.approx(np.sqrt((kernel**2).sum()), rel=1e-6)
    assert found.parameters == sum(p.numel() for n, p in net.named_parameters() if "weight" in n)


def test_the_kernel_as_a_matrix_is_not_the_convolution():
    """All ones: the norm of the matrix is 3, that of the convolution nearly 9."""
    layer = nn.Conv2d(1, 1, 3, bias=False)
    layer.weight.data.fill_(1.0)
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(26**2, 2))
    found = weight_measures(net, sample(np.zeros((2, 1, 28, 28))), draws=1)
    assert found.spectral_norm[0] == pytest.approx(3, rel=1e-12)
    assert found.operator_norm[0] == pytest.approx(9, rel=1e-8)


@pytest.mark.parametrize("name", ["in groups", "dilated", "plain"])
def test_a_spread_kernel_is_the_same_map(name):
    layer, shape = CONVOLUTIONS[name]
    layer = randomised(layer, 6).double()
    kernel = layer.weight.detach().numpy()
    spread = torch.tensor(spread_kernel(kernel, layer.groups, layer.dilation))
    x = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    same = nn.functional.conv2d(x, spread, layer.bias, layer.stride, layer.padding)
    assert torch.allclose(same, layer(x), atol=1e-12)


def test_a_convolution_over_one_axis():
    layer = nn.Conv1d(2, 3, 3, bias=False)
    randomised(layer, 2)
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(12, 2))
    found = weight_measures(net, sample(np.zeros((2, 2, 6))), draws=1)
    columns = torch.eye(12).reshape(12, 2, 6)
    exact = np.linalg.norm(layer(columns).flatten(1).T.detach().numpy(), 2)
    assert exact * (1 - 1e-6) <= found.operator_norm[0] <= 1.3 * exact


def test_a_convolution_is_bounded_at_the_size_of_its_own_input():
    """A row of 4 pixels and a kernel of 3 have 6 frequencies t, where |1 + e^it − e^2it| is at
    most |1 − 2i·sin(60°)| = 2; 7 pixels, as the image has, would have 9 frequencies."""
    second = nn.Conv2d(1, 1, (1, 3), bias=False)
    second.weight.data = torch.tensor([[[[1.0, 1.0, -1.0]]]])
    first = nn.Conv2d(1, 1, 3, stride=2, padding=1)
    net = nn.Sequential(first, nn.ReLU(), second, nn.Flatten(), nn.Linear(8, 2))
    found = weight_measures(net, sample(np.zeros((2, 1, 8, 7))), draws=1)
    assert found.operator_norm[1] == pytest.approx(2, rel=1e-8)
    kernel = first.weight.detach().double().numpy()
    assert found.operator_norm[0] == convolution_norm_upper(kernel, 8, 7)


def test_what_is_no_zero_padded_convolution_has_no_operator_norm():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(32, 2)
    )
    found = weight_measures(net, sample(np.zeros((2, 1, 4, 4))), draws=1)
    assert found.operator_norm is None
    assert found.spectral_norm.shape == (2,)


def test_distances_are_of_the_differences():
    start, net = build("mlp:6-4-3", 0), build("mlp:6-4-3", 1)
    found = weight_measures(net, sample(np.zeros((2, 6))), initial=start, draws=1)
    away = [
        (net.get_parameter(name) - start.get_parameter(name)).detach().double().numpy()
        for name in found.names
    ]
    frobenius = [math.sqrt((a**2).sum()) for a in away]
    spectral = [math.sqrt(np.linalg.eigvalsh(a @ a.T)[-1]) for a in away]
    assert found.distance_frobenius_norm == pytest.approx(frobenius, rel=1e-6)
    assert found.distance_spectral_norm == pytest.approx(spectral, rel=1e-6)
    assert found.distance_operator_norm == pytest.approx(spectral, rel=1e-6)
    assert found.spectral_norm != pytest.approx(spectral, rel=1e-2)
    alone = weight_measures(net, sample(np.zeros((2, 6))), draws=1)
    assert alone.distance_frobenius_norm is None and alone.magnitude_log_sum is None


# --------------------------------------------------------------------------- batch normalisation


def normalised():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 5),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )


def test_folding_keeps_the_function_and_leaves_the_module_alone():
    net = randomised(normalised(), 4).double()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x = torch.randn(6, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = folded(net)
    assert torch.allclose(whole(x), net(x), rtol=1e-12, atol=1e-12)
    assert not [m for m in whole.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    scale = before["1.weight"] / (before["1.running_var"] + net[1].eps).sqrt()
    found = weight_measures(net.float(), sample(np.zeros((2, 2, 6, 6))), draws=1)
    expected = float((before["0.weight"] * scale[:, None, None, None]).norm())
    assert found.frobenius_norm[0] == pytest.approx(expected, rel=1e-5)


def test_folding_of_a_residual_network():
    net = randomised(build("resnet-20", 0), 1).double()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(folded(net)(x), net(x), rtol=1e-9)


def test_a_normalisation_without_a_layer_of_its_own_is_refused():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(InputError, match="does not follow a layer of its own"):
        folded(net)
