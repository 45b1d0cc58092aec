"""Coordinate search against plain recounts: what it says it has, the network has."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from prunecert import coordinate_search as searching
from prunecert.bounds.occam import occam_kl_upper
from prunecert.coordinate_search import Grid, _Search, coordinate_search, grid_of
from prunecert.models.zoo import build

ENDLESS = 1e6  # seconds: what stops a search here is that nothing helps


def bound_of(errors: int, bits: float, n: int = 400) -> float:
    return float(occam_kl_upper(errors, n, bits, 0.05))


def task(n: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Integers, so that no sum is rounded and a recount in another order is the same."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(-8, 9, (n, 6), generator=generator).float()
    return inputs, (inputs[:, 0] > inputs[:, 1]).long() + 2 * (inputs[:, 2] > 0).long()


def network_on_grids(spec: str = "mlp:6-5-4", seed: int = 0) -> nn.Module:
    """Every tensor k · step of its own, |k| ≤ 2, both ends taken."""
    network, generator = build(spec), torch.Generator().manual_seed(seed)
    for i, parameter in enumerate(network.parameters()):
        k = torch.randint(-2, 3, parameter.shape, generator=generator)
        k.view(-1)[:2] = torch.tensor([1, -2])
        parameter.data = k * 2.0 ** (i % 3 - 1)
    return network.eval()


def errors_of(network: nn.Module, inputs: Tensor, labels: Tensor) -> int:
    """One row at a time: an error unless the label's logit is larger than all others."""
    errors = 0
    for x, y in zip(inputs, labels.tolist(), strict=True):
        logits = network(x[None])[0].tolist()
        errors += any(v >= logits[y] for k, v in enumerate(logits) if k != y)
    return errors


class Wrapped(nn.Module):
    """Not a Sequential: evaluated as a whole."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


# --------------------------------------------------------------------------- grids


@pytest.mark.parametrize(
    ("values", "grid"),
    [
        ([0.0, 0.5, -0.5], Grid(0.5, 1)),
        ([3.0, 6.0], Grid(1.0, 6)),
        ([4.0, -12.0], Grid(4.0, 3)),
        ([0.75, 1.0], Grid(0.25, 4)),
        ([1.0, 127.0], Grid(1.0, 127)),
        ([1.0, 128.0], None),
        ([1.0, 1.1], None),
        ([0.0], None),
        ([2.0**-30], Grid(2.0**-30, 1)),
    ],
)
def test_the_coarsest_grid(values, grid):
    assert grid_of(torch.tensor(values)) == grid


# --------------------------------------------------------------------------- the count


@torch.no_grad()
@pytest.mark.parametrize("wrap", [nn.Sequential, Wrapped])
def test_errors_and_bounds_are_those_of_a_plain_recount(wrap):
    """After every move, kept or taken back; small batches, so that the rows are put together."""
    inputs, labels = task(120)
    inner = network_on_grids()
    network = inner if wrap is nn.Sequential else Wrapped(inner)
    search = _Search(network, 300.0, bound_of, torch.Generator().manual_seed(0))
    with torch.no_grad():
        search.look(inputs, labels)
        kept = 0
        for move in list(search.moves())[:150]:
            before = {n: t.clone() for n, t in network.state_dict().items()}
            bits, bound = search.bits, search.bound
            if stayed := search.tried(move):
                assert search.bound <= bound
                assert search.bound == bound_of(errors_of(network, inputs, labels), search.bits)
                for place, level in move.levels:
                    before[move.name].view(-1)[place] = level * search.grids[move.name].step
                kept += 1
            else:
                assert (search.bits, search.bound) == (bits, bound)
            assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items()), stayed
        assert kept > 5


@torch.no_grad()
def test_rows_that_are_not_looked_at_count_too(monkeypatch):
    """Hard rows only: of 400, 60 are kept, and some errors are among the others."""
    monkeypatch.setattr(searching, "HARD_SHARE", 0.15)
    monkeypatch.setattr(searching, "HARD_LEAST", 10)
    monkeypatch.setattr(searching, "BATCH", 70)
    inputs, labels = task()
    network = network_on_grids(seed=1)
    search = _Search(network, 300.0, bound_of, torch.Generator())
    with torch.no_grad():
        search.look(inputs, labels)
        errors = errors_of(network, inputs, labels)
        assert len(search.labels) == 60 and 0 < search.easy_errors < errors
        assert search.bound == bound_of(errors, 300.0)


@torch.no_grad()
def test_ties_are_errors():
    network = build("mlp:2-2").eval()
    network.fc1.weight.data = torch.eye(2)
    network.fc1.bias.data.zero_()
    search = _Search(network, 10.0, lambda errors, bits: errors, torch.Generator())
    with torch.no_grad():
        search.look(torch.tensor([[1.0, 1.0], [2.0, 1.0], [1.0, 2.0]]), torch.tensor([0, 0, 1]))
    assert search.bound == 1


def test_what_a_nonzero_costs():
    """Of 30 weights 6 are not zero, |k| ≤ 2: log2(24/6) for the place, log2 4 for the level."""
    network = build("mlp:6-5")
    network.fc1.weight.data.zero_()
    network.fc1.weight.data[:, 1] = torch.tensor([1.0, -1.0, 2.0, -2.0, 1.0])
    network.fc1.weight.data[0, 0] = 1.0
    network.fc1.bias.data.zero_()
    search = _Search(network, 10.0, bound_of, torch.Generator())
    assert search._place_bits("fc1.weight") == pytest.approx(4.0)
    assert "fc1.bias" not in search.tensors  # without a nonzero there is no grid


# --------------------------------------------------------------------------- the search


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("wrap", [nn.Sequential, Wrapped])
def test_the_bound_never_rises_and_grids_are_kept(seed, wrap, monkeypatch):
    inputs, labels = task()
    inner = network_on_grids(seed=seed)
    network = inner if wrap is nn.Sequential else Wrapped(inner)
    grids = {name: grid_of(t) for name, t in network.state_dict().items()}
    assert None not in grids.values()
    asked: list[tuple[int, float, float]] = []

    def recorded(errors: int, bits: float) -> float:
        asked.append((errors, bits, bound_of(errors, bits)))
        return asked[-1][2]

    start = errors_of(network, inputs, labels)
    looks: list[tuple[int, float]] = []
    look = _Search.look

    def looking(self: _Search, x: Tensor, y: Tensor) -> None:
        look(self, x, y)
        looks.append((errors_of(network, inputs, labels), self.bits))

    monkeypatch.setattr(_Search, "look", looking)
    stayed = coordinate_search(network, inputs, labels, recorded, 300.0, ENDLESS, seed)
    assert stayed > 0 and asked[0][:2] == (start, 300.0)
    bounds = [bound_of(errors, bits) for errors, bits in looks]
    assert all(later <= earlier for earlier, later in pairwise(bounds))
    assert bounds[-1] < bounds[0]
    assert bounds[-1] == min(bound for _, _, bound in asked)  # the best that was met is kept
    for name, tensor in network.state_dict().items():
        k = tensor / grids[name].step
        assert torch.equal(k, k.round()) and k.abs().max() <= grids[name].levels
        assert not torch.signbit(tensor[tensor == 0]).any()


def test_it_stops_by_itself_when_nothing_helps():
    """Each label is the larger input: the identity has no errors; no other place would help."""
    inputs = torch.randint(-50, 51, (200, 2), generator=torch.Generator().manual_seed(0)).float()
    inputs = inputs[inputs[:, 0] != inputs[:, 1]]
    labels = inputs.argmax(1)
    network = build("mlp:2-2")
    network.fc1.weight.data = torch.eye(2)
    network.fc1.bias.data.zero_()
    ticks: list[int] = []
    stayed = coordinate_search(
        network, inputs, labels, lambda e, b: bound_of(e, b, 200), 40.0, ENDLESS, tick=ticks.append
    )
    assert stayed == 0 and torch.equal(network.fc1.weight.data, torch.eye(2))
    # two nonzeros with two neighbours each and other places, as many zeros
    assert 0 < len(ticks) <= (2 * (2 + searching.RELOCATIONS) + 2) * searching.IDLE_SWEEPS


def test_a_needless_weight_is_dropped():
    """Inputs that say nothing: their weights only cost bits."""
    inputs = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]).repeat(100, 1)
    labels = torch.tensor([0, 1]).repeat(100)
    network = build("mlp:3-2")
    network.fc1.weight.data = torch.tensor([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]])
    network.fc1.bias.data.zero_()
    coordinate_search(network, inputs, labels, lambda e, b: bound_of(e, b, 200), 60.0, ENDLESS)
    assert not network.fc1.weight.data[:, 1:].any()
    assert int((network.fc1.weight != 0).sum()) == 1  # 0 against x is enough
    assert errors_of(network, inputs, labels) == 0


def test_time_is_kept():
    inputs, labels = task()
    ticks: list[int] = []
    coordinate_search(
        network_on_grids(), inputs, labels, bound_of, 300.0, seconds=0.0, tick=ticks.append
    )
    assert len(ticks) == 1


def test_the_seed_decides():
    inputs, labels = task(100)
    found = []
    for seed in (0, 0, 1):
        network = network_on_grids()
        coordinate_search(network, inputs, labels, bound_of, 300.0, ENDLESS, seed)
        found.append(torch.cat([p.flatten() for p in network.parameters()]))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
