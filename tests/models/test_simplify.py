"""Dead units and renumbering: the function stays, on many small networks in float64."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from small_networks import NETWORKS, Patches, WrittenInPlace, randomised
from torch import Tensor, nn

from prunecert.models.layers import LayerView, Slot, UnitGroup, layer_view
from prunecert.models.simplify import active_units, remove_dead_units, renumber

ATOL = 1e-10  # float64; a wrong unit or a lost bias shows at 1e-3 and above


def slots(group: UnitGroup) -> tuple[Slot, ...]:
    return (*group.producers, *group.companions, *group.consumers)


def units_of(tensor: Tensor, slot: Slot, units: Tensor) -> Tensor:
    """Boolean mask of what `units` own of `tensor`."""
    along = torch.zeros(tensor.shape[slot.axis] // slot.repeat, dtype=torch.bool)
    along[units] = True
    shape = [1] * tensor.ndim
    shape[slot.axis] = -1
    return along.repeat_interleave(slot.repeat).reshape(shape).expand_as(tensor)


def pruned(net: nn.Module, view: LayerView, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Prune in place, at random and by unit; per group the units cut off on either side.

    About a quarter of the units loses its incoming weights, another quarter what reads it.
    """
    generator = torch.Generator().manual_seed(seed)
    state = net.state_dict()
    for layer in view.layers:
        weight = state[layer.name]
        weight.mul_(torch.rand(weight.shape, generator=generator) < 0.7)
    cut = {}
    for group in view.groups:
        order = torch.randperm(group.size, generator=generator)
        quarter = max(1, group.size // 4)
        silent, unread = order[:quarter], order[quarter : 2 * quarter]
        for slot in group.producers:
            state[slot.tensor].masked_fill_(units_of(state[slot.tensor], slot, silent), 0)
        for slot in group.consumers:
            state[slot.tensor].masked_fill_(units_of(state[slot.tensor], slot, unread), 0)
        cut[group.producers[0].tensor] = (silent, unread)
    return cut


def outputs(net: nn.Module, state: dict[str, Tensor], x: Tensor) -> Tensor:
    copied = copy.deepcopy(net)
    copied.load_state_dict(state)
    with torch.no_grad():
        return copied(x.clone())


def prepared(name: str, seed: int) -> tuple[nn.Module, LayerView, dict[str, Tensor], Tensor, dict]:
    build, shape = NETWORKS[name]
    net = randomised(build, seed)
    view = layer_view(net)
    assert view.opaque_reason == ""
    cut = pruned(net, view, seed)
    x = torch.randn(6, *shape, dtype=torch.float64)
    return net, view, {k: v.clone() for k, v in net.state_dict().items()}, x, cut


# --------------------------------------------------------------------------- the function stays


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETWORKS)
def test_removing_and_renumbering_keep_the_function(name: str, seed: int) -> None:
    net, view, state, x, cut = prepared(name, seed)
    given = {key: tensor.clone() for key, tensor in state.items()}
    expected = outputs(net, state, x)
    assert expected.std() > 1e-3  # the comparison is about something

    smaller, removed = remove_dead_units(view, state)
    torch.testing.assert_close(outputs(net, smaller, x), expected, rtol=0, atol=ATOL)
    sorted_state = renumber(view, smaller)
    torch.testing.assert_close(outputs(net, sorted_state, x), expected, rtol=0, atol=ATOL)
    torch.testing.assert_close(outputs(net, renumber(view, state), x), expected, rtol=0, atol=ATOL)

    for key, tensor in state.items():
        assert torch.equal(tensor, given[key])
        assert sorted_state[key].dtype == tensor.dtype
    active = active_units(view, sorted_state)
    for index, group in enumerate(view.groups):
        silent, unread = cut[group.producers[0].tensor]
        dead = removed.no_outgoing[index] + removed.constant[index]
        if not group.renumberable:
            assert dead == 0
            continue
        gone = len(unread) + (len(silent) if group.foldable else 0)
        assert dead >= gone and active[index] <= group.size - gone
        for slot in slots(group):  # the active ones are a prefix
            tail = units_of(state[slot.tensor], slot, torch.arange(active[index], group.size))
            assert not sorted_state[slot.tensor][tail].any()


@pytest.mark.parametrize("name", NETWORKS)
def test_any_permutation_of_a_renumberable_group_is_harmless(name: str) -> None:
    """The claim `renumberable` makes, on dense weights; and every single slot matters."""
    build, shape = NETWORKS[name]
    net = randomised(build, 7)
    view = layer_view(net)
    x = torch.randn(4, *shape, dtype=torch.float64)
    state = dict(net.state_dict())
    expected = outputs(net, state, x)
    for group in (g for g in view.groups if g.renumberable):
        order = torch.arange(group.size).roll(1)
        moved = rolled(group, state)
        torch.testing.assert_close(outputs(net, moved, x), expected, rtol=0, atol=ATOL)
        for slot in slots(group):
            back = permuted(moved[slot.tensor], slot, order.argsort())
            wrong = outputs(net, moved | {slot.tensor: back}, x)
            assert (wrong - expected).abs().max() > 1e-6, slot


def rolled(group: UnitGroup, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every unit of the group one place further."""
    moved = dict(state)
    for slot in slots(group):
        moved[slot.tensor] = permuted(moved[slot.tensor], slot, torch.arange(group.size).roll(1))
    return moved


def permuted(tensor: Tensor, slot: Slot, order: Tensor) -> Tensor:
    blocks = tensor.movedim(slot.axis, 0).unflatten(0, (len(order), slot.repeat))
    return blocks[order].flatten(0, 1).movedim(0, slot.axis).contiguous()


# --------------------------------------------------------------------------- by hand


def test_constant_and_unread_units_of_a_chain_by_hand() -> None:
    """relu(2)·5 moves into the bias 1; relu(−3) is 0 and moves nothing; unit 2 is not read."""
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    state = {
        "0.weight": torch.tensor([[1.0, -1.0], [0.0, 0.0], [4.0, 5.0], [0.0, 0.0]]),
        "0.bias": torch.tensor([0.5, 2.0, 7.0, -3.0]),
        "2.weight": torch.tensor([[3.0, 5.0, 0.0, 6.0]]),
        "2.bias": torch.tensor([1.0]),
    }
    view = layer_view(net)
    smaller, removed = remove_dead_units(view, state)
    assert torch.equal(smaller["0.weight"], torch.tensor([[1.0, -1.0], [0, 0], [0, 0], [0, 0]]))
    assert torch.equal(smaller["0.bias"], torch.tensor([0.5, 0.0, 0.0, 0.0]))
    assert torch.equal(smaller["2.weight"], torch.tensor([[3.0, 0.0, 0.0, 0.0]]))
    assert torch.equal(smaller["2.bias"], torch.tensor([11.0]))
    assert (removed.no_outgoing, removed.constant) == ((1, 0), (2, 0))
    assert active_units(view, smaller) == (1, 1)


def test_a_removal_can_make_others_possible_in_both_directions() -> None:
    """Unit 0 of layer 2 loses its only input's source; unit 1 of layer 1 its only reader."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    state = {
        "0.weight": torch.tensor([[0.0], [1.0]]),
        "0.bias": torch.tensor([2.0, 0.0]),
        "2.weight": torch.tensor([[3.0, 0.0], [0.0, 4.0]]),
        "2.bias": torch.tensor([1.0, 0.0]),
        "4.weight": torch.tensor([[5.0, 0.0]]),
        "4.bias": torch.tensor([0.0]),
    }
    smaller, removed = remove_dead_units(layer_view(net), state)
    assert smaller["4.bias"].item() == (2 * 3 + 1) * 5
    assert all(not smaller[name].any() for name in state if name != "4.bias")
    assert (removed.no_outgoing, removed.constant) == ((1, 1, 0), (1, 1, 0))


def test_a_constant_channel_counts_every_kernel_position_and_every_pixel() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 1)
    ).double()
    state = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}
    state["0.weight"][0] = 0
    state["0.bias"][:] = 3.0
    smaller, _ = remove_dead_units(layer_view(net), state)
    assert smaller["1.bias"].tolist() == [1 + 3 * 4, 1 + 3 * 4]  # 2×2 kernel
    state["1.weight"][1] = 0
    smaller, _ = remove_dead_units(layer_view(net), state)
    assert smaller["4.bias"].tolist() == [1 + 1 * 4]  # channel 1 is its bias, on 4 pixels
    assert smaller["4.weight"].tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]


def test_a_normalisation_that_multiplies_by_zero_makes_a_constant() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1)).double()
    state = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}
    state["1.weight"][0] = 0.0
    state["1.bias"][0] = 4.0
    smaller, removed = remove_dead_units(layer_view(net), state)
    assert smaller["3.bias"].tolist() == [5.0] and removed.constant == (1, 0)
    assert smaller["1.running_var"].tolist() == [0.0, 1.0]


def test_order_is_nonzeros_then_norm_then_place_and_dead_units_last() -> None:
    """Units: 0 dead, 1 bias only, 2 one weight of 9, 3 two of 1, 4 two of 2, 5 as 3."""
    net = nn.Sequential(nn.Linear(1, 6), nn.ReLU(), nn.Linear(6, 1))
    state = {
        "0.weight": torch.tensor([[0.0], [0.0], [9.0], [1.0], [-2.0], [-1.0]]),
        "0.bias": torch.tensor([0.0, 8.0, 0.0, 0.1, 0.2, 0.3]),
        "2.weight": torch.tensor([[0.0, 0.0, 0.0, 1.0, 2.0, -1.0]]),
        "2.bias": torch.tensor([1.0]),
    }
    new = renumber(layer_view(net), state)
    assert torch.equal(new["0.bias"], state["0.bias"][[4, 3, 5, 2, 1, 0]])
    assert torch.equal(new["2.weight"][0], state["2.weight"][0][[4, 3, 5, 2, 1, 0]])
    assert active_units(layer_view(net), new) == (5, 1)


@pytest.mark.parametrize("seed", range(5))
def test_renumbering_twice_changes_nothing_where_norms_tie(seed: int) -> None:
    """All units of layer 1 hold the same numbers in other orders, whose float sums differ."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(12, generator=generator) for _ in range(6)]
    net = nn.Sequential(nn.Linear(1, 6), nn.ReLU(), nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    state = {name: torch.ones_like(tensor).double() for name, tensor in net.state_dict().items()}
    numbers = torch.arange(1, 13, dtype=torch.float64) / 10
    state["0.bias"] = torch.arange(1.0, 7.0).double()  # tells the units apart
    state["2.weight"] = torch.stack([numbers[order] for order in orders], dim=1)
    state["4.weight"] = 100 * numbers[orders[0]][None]  # the later group is sorted by these
    once = renumber(layer_view(net), state)
    assert once["0.bias"].tolist() == [1, 2, 3, 4, 5, 6]
    assert not torch.equal(once["4.weight"], state["4.weight"])
    twice = renumber(layer_view(net), once)
    assert all(torch.equal(twice[name], tensor) for name, tensor in once.items())


def test_minus_zero_counts_as_zero_and_is_written_as_zero() -> None:
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    state = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}
    for name in ("0.weight", "0.bias"):
        state[name][0] = -0.0
    state["2.weight"][0, 0] = -0.0
    smaller, removed = remove_dead_units(layer_view(net), state)
    assert removed.no_outgoing == removed.constant == (0, 0)
    assert not any(torch.signbit(tensor).any() for tensor in smaller.values())


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 23), (torch.bfloat16, 7)])
def test_a_bias_is_rounded_once_and_keeps_its_dtype(dtype: torch.dtype, digits: int) -> None:
    """1 + 2^−(digits+1) is half way and would round to 1; the last bit of the sum sends it up."""
    net = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1)).to(dtype)
    state = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}
    state["0.weight"][:2] = 0
    state["0.bias"][:2] = torch.tensor([2.0 ** -(digits + 1), 2.0 ** -(2 * digits + 3)])
    smaller, _ = remove_dead_units(layer_view(net), state)
    assert smaller["2.bias"].dtype == dtype
    assert smaller["2.bias"].item() == 1 + 2.0**-digits


# --------------------------------------------------------------------------- planted errors


def without_padding(group: UnitGroup) -> UnitGroup:
    """The same group, its zero padding forgotten."""
    paths = tuple(
        replace(path, padded=False, steps=tuple(replace(s, padded=False) for s in path.steps))
        for path in group.paths
    )
    return replace(group, paths=paths)


PADDED_READERS = {
    "convolution": (nn.Conv2d(2, 2, 3, padding=1),),
    "same": (nn.Conv2d(2, 2, 3, padding="same"),),
    "one side": (nn.Conv2d(2, 2, 3, padding=(0, 1)),),
    "pool": (nn.AvgPool2d(3, 1, padding=1), nn.Conv2d(2, 2, 1)),
}


@pytest.mark.parametrize("reader", PADDED_READERS)
def test_a_constant_stays_where_zeros_are_padded_and_folding_it_would_be_seen(reader: str) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), *PADDED_READERS[reader]).double()
    state = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}
    state["0.weight"][0] = 0
    view = layer_view(net)
    smaller, removed = remove_dead_units(view, state)
    assert removed.constant == (0, 0)
    assert all(torch.equal(smaller[name], tensor) for name, tensor in state.items())
    naive = replace(view, groups=tuple(without_padding(group) for group in view.groups))
    wrong, removed = remove_dead_units(naive, state)
    assert removed.constant == (1, 0)
    x = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    assert (outputs(net, wrong, x) - outputs(net, state, x)).abs().max() > 0.1


def test_a_padded_convolution_still_drops_a_constant_zero() -> None:
    net, view, state, x, _ = prepared("padded", 0)
    state["0.bias"].fill_(-1.0)  # relu: every silent channel is 0
    silent = (state["0.weight"] == 0).flatten(1).all(dim=1)
    assert silent.sum() == 1
    smaller, removed = remove_dead_units(view, state)
    assert removed.constant[0] == 1 and not smaller["0.bias"][silent].any()
    torch.testing.assert_close(outputs(net, smaller, x), outputs(net, state, x), rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", ["tied", "grouped", "half rows"])
def test_moving_what_is_frozen_would_be_seen(name: str) -> None:
    """Frozen although a layer reads it unit by unit: moving it changes the function."""
    build, shape = NETWORKS[name]
    net = randomised(build, 1)
    x = torch.randn(4, *shape, dtype=torch.float64)
    state = dict(net.state_dict())
    expected = outputs(net, state, x)
    frozen = [g for g in layer_view(net).groups if not g.renumberable and g.consumers]
    assert frozen
    for group in frozen:
        assert (outputs(net, rolled(group, state), x) - expected).abs().max() > 1e-3, group.reason


def test_reading_patches_as_a_flattened_image_would_be_seen() -> None:
    """64 = 4 channels · 16 pixels would be a plain flatten; here it is 4 patches · 4 · 4."""
    net = randomised(Patches, 1)
    (conv, _) = layer_view(net).groups
    assert not conv.renumberable and conv.consumers == ()
    naive = replace(conv, consumers=(Slot("fc.weight", 1, 16),))
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    state = dict(net.state_dict())
    moved = outputs(net, rolled(naive, state), x)
    assert (moved - outputs(net, state, x)).abs().max() > 1e-3


class NotInPlace(WrittenInPlace):
    """What the trace of `WrittenInPlace` looks like, taken at its word."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(1))
        changed = torch.add(h, 1.0)
        return self.left(h) + self.right(changed.relu())


def test_folding_a_value_written_in_place_would_be_seen() -> None:
    net, view, state, x, _ = prepared("written in place", 0)
    first = view.groups[0]
    assert first.renumberable and not first.foldable and first.paths == ()
    naive = replace(view, groups=(layer_view(NotInPlace()).groups[0], *view.groups[1:]))
    assert remove_dead_units(view, state)[1].constant[0] == 0
    wrong, removed = remove_dead_units(naive, state)
    assert removed.constant[0] > 0
    assert (outputs(net, wrong, x) - outputs(net, state, x)).abs().max() > 1e-3
