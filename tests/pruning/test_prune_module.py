"""`prune_module`: from a module to a pruned copy and its masks."""

import math

import pytest
import torch
from torch import nn

from prunecert.pruning import METHODS, SCOPES, prune_module, sparsity
from prunecert.types import InputError


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 20), nn.Linear(20, 4)
    )


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    g = torch.Generator().manual_seed(1)
    return [
        (torch.randn(5, 4, 4, 4, generator=g), torch.randint(0, 4, (5,), generator=g))
        for _ in range(3)
    ]


SIZE = 8 * 4 * 9 + 32 * 20 + 20 * 4  # prunable weights: 1008


@pytest.mark.parametrize("scope", [*SCOPES, "2:4"])
@pytest.mark.parametrize("method", METHODS)
def test_the_input_is_untouched_and_the_copy_is_pruned(network, method, scope):
    if method == "bernoulli" and scope != "global":
        with pytest.raises(InputError, match="bernoulli"):
            prune_module(network, 0.5, method, scope)
        return
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    pruned, masks = prune_module(network, 0.5, method, scope, batches=batches())
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())
    assert network.training
    for name, tensor in pruned.state_dict().items():
        mask = masks.get(name, torch.ones_like(tensor, dtype=torch.bool))
        assert torch.equal(tensor, torch.where(mask, before[name], 0.0))
    assert list(masks) == ["0.weight", "3.weight", "4.weight"]
    zeros = sum(int((~mask).sum()) for mask in masks.values())
    if method == "bernoulli":
        assert abs(zeros - SIZE / 2) < 5 * math.sqrt(SIZE / 4)
    else:
        assert zeros == SIZE / 2


@pytest.mark.parametrize("method", METHODS)
def test_a_ladder_through_networks_or_masks_nests(network, method):
    dense, rung, masks = network, network, None
    for target in (0.3, 0.6, 0.9):
        again, same_masks = prune_module(
            dense, target, method, batches=batches(), previous=masks, seed=3
        )
        rung, new = prune_module(rung, target, method, batches=batches(), seed=3)
        if masks:
            assert all(bool((masks[n] | ~new[n]).all()) for n in new)
            assert all(bool((masks[n] | ~same_masks[n]).all()) for n in new)
        if method == "bernoulli":  # five deviations of the draw
            assert abs(sparsity(rung) - target) < 2.5 / math.sqrt(SIZE)
        else:
            assert sparsity(rung) == pytest.approx(
                math.floor(target * SIZE + 0.5) / SIZE, abs=1e-12
            )
            assert sparsity(again) == sparsity(rung)
        masks = new


@pytest.mark.parametrize("method", METHODS)
def test_less_sparsity_than_there_is_is_refused(network, method):
    half, _ = prune_module(network, 0.5, batches=batches())
    with pytest.raises(InputError, match="already"):
        prune_module(half, 0.4, method, batches=batches())


def test_methods_choose_different_weights(network):
    found = {
        method: torch.cat(
            [m.flatten() for m in prune_module(network, 0.5, method, batches=batches())[1].values()]
        )
        for method in METHODS
    }
    assert len({tuple(mask.tolist()) for mask in found.values()}) == len(METHODS)


def test_randomness_is_seeded(network):
    for method in ("random", "bernoulli"):
        rng = torch.get_rng_state()
        one, two, three = (prune_module(network, 0.5, method, seed=s)[1] for s in (1, 1, 2))
        assert torch.equal(one["3.weight"], two["3.weight"])
        assert not torch.equal(one["3.weight"], three["3.weight"])
        assert torch.equal(rng, torch.get_rng_state())


def test_only_what_is_selected_is_pruned(network):
    pruned, masks = prune_module(network, 0.5, exclude=["0.*", "4.*"])
    assert list(masks) == ["3.weight"] and int((~masks["3.weight"]).sum()) == 320
    assert (pruned[0].weight != 0).all() and (pruned[4].weight != 0).all()


def test_bernoulli_keeps_the_diagonal(network):
    _, masks = prune_module(network, 0.9, "bernoulli", keep_diagonal=True)
    assert all(bool(mask.flatten(1).diagonal().all()) for mask in masks.values())
    with pytest.raises(InputError, match="keep_diagonal"):
        prune_module(network, 0.9, "magnitude", keep_diagonal=True)


def test_a_kept_diagonal_does_not_revive_weights(network):
    half, masks = prune_module(network, 0.5, "bernoulli")
    _, later = prune_module(half, 0.7, "bernoulli", keep_diagonal=True)
    for name, mask in masks.items():
        assert torch.equal(later[name].flatten(1).diagonal(), mask.flatten(1).diagonal())


def test_patterns_need_no_sparsity(network):
    pruned, _ = prune_module(network, None, scope="1:4")
    assert sparsity(pruned) == 0.75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0,), r"\[0, 1\)"),
        ((-0.1, "bernoulli"), r"\[0, 1\)"),
        ((None,), r"\[0, 1\)"),
        ((0.5, "magnitud"), "did you mean 'magnitude'"),
        ((0.5, "magnitude", "gobal"), "did you mean 'global'"),
        ((0.5, "snip"), "batches"),
    ],
)
def test_bad_requests(network, arguments, message):
    with pytest.raises(InputError, match=message):
        prune_module(network, *arguments)
