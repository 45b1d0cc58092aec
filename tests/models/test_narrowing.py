"""A narrowed network is the wide one whose other units are zero, and the way back is exact."""

from __future__ import annotations

import pytest
import torch
from small_networks import CaffeLeNet
from torch import Tensor, nn

from prunecert.models.layers import layer_view
from prunecert.models.narrowing import active_units, embedded, kept_units, narrow
from prunecert.models.weights import apply_weights
from prunecert.models.zoo import build

NETWORKS = {
    "mlp:12-9-7-3": (1, 3, 4),
    "lenet-5": (1, 28, 28),
    "net:1x12x12,bytes,gradients-4-3-3-6-1,conv-6-2,relu,max-2,linear-5,relu,linear-3": (1, 12, 12),
    "resnet-20": (3, 32, 32),
}


def network_of(spec: str) -> nn.Module:
    torch.manual_seed(0)
    network = build(spec, seed=1).eval()
    for tensor in network.state_dict().values():  # statistics of batch norms, too
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1.0).mul_(torch.rand(tensor.shape).gt(0.5) * 2.0 - 1.0)
            tensor /= max(tensor[:1].numel(), 1) ** 0.5
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.abs_()
    return network


def outside(tensors: dict[str, Tensor], kept: dict[str, dict[int, Tensor]]) -> dict[str, Tensor]:
    """Zeros everywhere but at the places that are kept: index by index, no meshgrid."""
    result = {}
    for name, tensor in tensors.items():
        mask = torch.ones(tensor.shape, dtype=torch.bool)
        for axis, places in kept.get(name, {}).items():
            for place in range(tensor.shape[axis]):
                if place not in places.tolist():
                    mask.select(axis, place).fill_(False)
        result[name] = torch.where(mask, tensor, torch.zeros_like(tensor))
    return result


def inputs_of(spec: str) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand((4, *NETWORKS[spec]), generator=generator)


@pytest.mark.parametrize("by_size", [True, False])
@pytest.mark.parametrize("spec", NETWORKS)
def test_the_same_logits_where_the_other_units_are_zero(spec, by_size):
    wide = network_of(spec)
    view, tensors = layer_view(wide), wide.state_dict()
    kept = kept_units(view, tensors, 3, by_size=by_size)
    assert kept
    zeroed = outside(tensors, kept)
    expected = apply_weights(wide, zeroed)(inputs_of(spec))
    small = apply_weights(wide, tensors)
    narrow(small, kept)
    found = small(inputs_of(spec))
    assert expected.abs().max() > 0
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    for name, tensor in small.state_dict().items():
        back = embedded(tensor, torch.zeros_like(tensors[name]), kept.get(name, {}))
        assert torch.equal(back, zeroed[name]), name
    assert {n: t.shape for n, t in wide.state_dict().items()} == {
        n: t.shape for n, t in tensors.items()
    }


def test_shapes_of_a_narrow_lenet():
    """The flatten between conv2 and fc1 gives every channel 4 × 4 columns."""
    network = build("lenet-5")
    narrow(network, kept_units(layer_view(network), network.state_dict(), 16, by_size=False))
    assert {name: tuple(t.shape) for name, t in network.state_dict().items()} == {
        "conv1.weight": (16, 1, 5, 5),
        "conv1.bias": (16,),
        "conv2.weight": (16, 16, 5, 5),
        "conv2.bias": (16,),
        "fc1.weight": (16, 16 * 16),
        "fc1.bias": (16,),
        "fc2.weight": (10, 16),
        "fc2.bias": (10,),
    }


def test_the_columns_of_a_channel_stay_together():
    network = build("lenet-5")
    tensors = network.state_dict()
    tensors["conv2.weight"].zero_()[[7, 30]] = 1.0
    kept = kept_units(layer_view(network), tensors, 2, by_size=True)
    columns = [*range(7 * 16, 8 * 16), *range(30 * 16, 31 * 16)]
    assert kept["fc1.weight"][1].tolist() == columns
    assert kept["conv2.weight"][0].tolist() == kept["conv2.bias"][0].tolist() == [7, 30]


def test_resnet_20_is_cut_inside_its_blocks_only():
    """What is added to a shortcut keeps its channels: sixteen, 32 and 64 of them."""
    network = build("resnet-20")
    narrow(network, kept_units(layer_view(network), network.state_dict(), 5, by_size=False))
    shapes = {name: tuple(t.shape[:2]) for name, t in network.state_dict().items()}
    assert shapes["conv1.weight"] == (16, 3) and shapes["fc.weight"] == (10, 64)
    assert shapes["stage2.block1.conv1.weight"] == (5, 16)
    assert shapes["stage2.block1.bn1.running_var"] == (5,)
    assert shapes["stage2.block1.conv2.weight"] == (32, 5)
    assert shapes["stage2.block1.bn2.weight"] == (32,)


def test_a_network_that_names_its_sizes_stays_as_it_is():
    """`x.view(-1, 32)` would cut the rows of a narrower network otherwise."""
    network = CaffeLeNet()
    view, tensors = layer_view(network), network.state_dict()
    assert any(group.renumberable for group in view.groups)
    assert kept_units(view, tensors, 2, by_size=True) == active_units(view, tensors) == {}


def test_none_and_enough_cut_nothing():
    network = build("lenet-5")
    for most in (None, 500, 10**6):
        assert kept_units(layer_view(network), network.state_dict(), most, by_size=True) == {}


def test_by_size_keeps_the_largest_product_of_what_comes_in_and_goes_out():
    """Energies in: 1 4 9 16 25; out: 100 1 4 1 0 → products 100 4 36 16 0."""
    network = build("mlp:1-5-1")
    network.fc1.weight.data = torch.tensor([[1.0], [2.0], [-3.0], [4.0], [5.0]])
    network.fc2.weight.data = torch.tensor([[-10.0, 1.0, 2.0, 1.0, 0.0]])
    view, tensors = layer_view(network), network.state_dict()
    for most, chosen in ((1, [0]), (2, [0, 2]), (3, [0, 2, 3]), (4, [0, 1, 2, 3])):
        kept = kept_units(view, tensors, most, by_size=True)
        assert kept["fc1.weight"][0].tolist() == chosen
        assert kept["fc2.weight"][1].tolist() == chosen
        first = kept_units(view, tensors, most, by_size=False)
        assert first["fc1.bias"][0].tolist() == list(range(most))


def test_active_units_have_weights_or_a_bias():
    network = build("mlp:2-6-2")
    tensors = {name: torch.zeros_like(t) for name, t in network.state_dict().items()}
    tensors["fc1.weight"][1, 0] = 1e-30  # its square is no float32
    tensors["fc1.bias"][2] = -1.0
    tensors["fc2.weight"][1, 4] = 3.0
    kept = active_units(layer_view(network), tensors)
    assert kept["fc1.weight"][0].tolist() == [1, 2, 4]
    small = apply_weights(network, tensors)
    narrow(small, kept)
    inputs = torch.rand(5, 2)
    assert torch.equal(small(inputs), apply_weights(network, tensors)(inputs))


def test_a_layer_without_any_weight_keeps_one_unit():
    network = build("mlp:2-6-2")
    tensors = {name: torch.zeros_like(t) for name, t in network.state_dict().items()}
    tensors["fc2.bias"][1] = 2.0
    kept = active_units(layer_view(network), tensors)
    assert kept["fc2.weight"][1].tolist() == [0]
    small = apply_weights(network, tensors)
    narrow(small, kept)
    assert small(torch.rand(3, 2)).tolist() == [[0.0, 2.0]] * 3


@pytest.mark.parametrize("spec", NETWORKS)
def test_active_units_of_a_sparse_network_compute_the_same(spec):
    wide = network_of(spec)
    view = layer_view(wide)
    tensors = outside(wide.state_dict(), kept_units(view, wide.state_dict(), 4, by_size=True))
    small = apply_weights(wide, tensors)
    narrow(small, active_units(view, tensors))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in wide.parameters())
    expected = apply_weights(wide, tensors)(inputs_of(spec))
    assert (small(inputs_of(spec)) - expected).abs().max() <= 1e-5 * expected.abs().max()
