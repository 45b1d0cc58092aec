"""Which tensors are prunable, and zeros that stay zero in any training loop."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from prunecert.models.loading import plain
from prunecert.pruning.masks import (
    apply_mask,
    hold_masks,
    mask_of,
    prunable_names,
    sparsity,
    to_torch_prune,
)
from prunecert.types import InputError


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 8),
        nn.Linear(8, 3),
    )


class LanguageModel(nn.Module):
    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.mix = nn.Linear(4, 4)
        self.twin = self.mix
        self.head = nn.Linear(4, 7)
        self.norm = nn.LayerNorm(4)
        if tied:
            self.head.weight = self.embed.weight
        else:
            self.get_output_embeddings = lambda: self.head


def random_masks(module: nn.Module) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(module.get_parameter(name).shape, generator=g) < 0.5
        for name in prunable_names(module)
    }


# --------------------------------------------------------------------------- names


def test_default_names_are_linear_and_convolution_weights():
    assert prunable_names(small_network()) == ("0.weight", "4.weight", "5.weight")


@pytest.mark.parametrize("tied", [False, True])
def test_language_models_keep_embeddings_and_output_head(tied):
    names = prunable_names(LanguageModel(tied))
    assert names == ("attention.out_proj.weight", "mix.weight")


def test_include_and_exclude():
    network = small_network()
    assert prunable_names(network, exclude=["0.*"]) == ("4.weight", "5.weight")
    assert prunable_names(network, include=["[45].weight"], exclude=["5.*"]) == ("4.weight",)
    assert prunable_names(LanguageModel(False), include=["*in_proj*", "embed*"]) == (
        "embed.weight",
        "attention.in_proj_weight",
    )


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_a_glob_that_matches_nothing_lists_the_names(option):
    with pytest.raises(InputError, match=r"'fc\*'.*0\.weight, 4\.weight, 5\.weight"):
        prunable_names(small_network(), **{option: ["fc*"]})


def test_nothing_left_to_prune():
    with pytest.raises(InputError, match="nothing left"):
        prunable_names(small_network(), exclude=["*"])
    with pytest.raises(InputError, match="nothing left"):
        prunable_names(nn.LayerNorm(3))


# --------------------------------------------------------------------------- applying and reading


def test_apply_mask_and_read_it_back():
    network = small_network()
    masks = random_masks(network)
    with torch.no_grad():
        network[4].weight[0, 0] = float("nan")
    masks["4.weight"][0, 0] = False
    kept = {n: network.get_parameter(n)[m].clone() for n, m in masks.items()}
    apply_mask(network, masks)
    found = mask_of(network)
    assert all(torch.equal(found[n], m) for n, m in masks.items())
    assert all(torch.equal(network.get_parameter(n)[m], kept[n]) for n, m in masks.items())
    zeros = torch.cat([network.get_parameter(n)[~m] for n, m in masks.items()])
    assert not zeros.signbit().any()  # +0, also where a weight was negative or nan
    total = sum(m.numel() for m in masks.values())
    assert sparsity(network) == pytest.approx(len(zeros) / total, abs=1e-15)
    assert sparsity(masks) == sparsity(network)
    state = {"a": torch.tensor([[0.0, 2.0]]), "b": torch.tensor([0.0, 0.0])}
    assert mask_of(state)["a"].tolist() == [[False, True]]
    assert sparsity(state) == 0.75 and sparsity(state, ["a"]) == 0.5


def test_apply_mask_changes_nothing_when_one_mask_is_wrong():
    network = small_network()
    before = network[0].weight.clone()
    good = {"0.weight": torch.zeros(4, 1, 3, 3, dtype=torch.bool)}
    for name, message in (("6.weight", "no tensor"), ("4.weight", r"\(8, 16\)")):
        with pytest.raises(InputError, match=message):
            apply_mask(network, good | {name: torch.ones(2, 2, dtype=torch.bool)})
    assert torch.equal(network[0].weight, before)


def test_torch_prune_round_trip():
    network = small_network()
    masks = random_masks(network)
    expected = small_network()
    apply_mask(expected, masks)
    to_torch_prune(network, masks)
    assert torch_prune.is_pruned(network)
    assert torch.equal(network.get_buffer("4.weight_mask").bool(), masks["4.weight"])
    read = plain(network)
    assert all(torch.equal(read.state_dict()[n], t) for n, t in expected.state_dict().items())
    assert all(torch.equal(mask_of(read)[n], m) for n, m in masks.items())


# --------------------------------------------------------------------------- holding

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "fused sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.1, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
}


def some_steps(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    g = torch.Generator().manual_seed(2)
    for _ in range(steps):
        images = torch.randn(8, 1, 4, 4, generator=g)
        labels = torch.randint(0, 3, (8,), generator=g)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_zeros_stay_and_the_rest_moves(optimizer):
    network = small_network()
    steps = OPTIMIZERS[optimizer](network.parameters())
    some_steps(network, steps, 3)  # momentum and averages are full of weights about to be pruned
    masks = random_masks(network)
    start = {n: network.get_parameter(n).detach().clone() for n in masks}
    with hold_masks(network, steps, masks):
        some_steps(network, steps, 50)
    for name, mask in masks.items():
        weight = network.get_parameter(name).detach()
        assert (weight[~mask] == 0).all() and not weight[~mask].signbit().any()
        assert (weight[mask] != start[name][mask]).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_without_holding_they_come_back(optimizer):
    """The negative control: the same loop, masks applied once."""
    network = small_network()
    masks = random_masks(network)
    apply_mask(network, masks)
    some_steps(network, OPTIMIZERS[optimizer](network.parameters()), 50)
    assert all((network.get_parameter(n)[~m] != 0).any() for n, m in masks.items())


def test_masks_default_to_the_zeros_and_gradients_are_masked():
    network = small_network()
    masks = random_masks(network)
    apply_mask(network, masks)
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    with hold_masks(network, optimizer):
        some_steps(network, optimizer, 5)
        for name, mask in masks.items():
            parameter = network.get_parameter(name)
            assert (parameter.grad[~mask] == 0).all() and (parameter.grad[mask] != 0).any()
            momentum = optimizer.state[parameter]["momentum_buffer"]
            assert (momentum[~mask] == 0).all()
    assert all(torch.equal(mask_of(network)[n], m) for n, m in masks.items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_weights_do_not_depend_on_the_gradients_of_removed_ones(optimizer):
    def trained(gradients: bool) -> nn.Sequential:
        network = small_network()
        steps = OPTIMIZERS[optimizer](network.parameters())
        some_steps(network, steps, 3)
        masks = random_masks(network)
        with hold_masks(network, steps, masks, gradients=gradients):
            some_steps(network, steps, 20)
        removed = [network.get_parameter(n).grad[~m] for n, m in masks.items()]
        assert all((grad == 0).all() for grad in removed) == gradients
        return network

    left_alone, masked = (trained(gradients).state_dict() for gradients in (False, True))
    assert all(torch.equal(left_alone[name], masked[name]) for name in masked)
    assert not any(tensor[tensor == 0].signbit().any() for tensor in left_alone.values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_float_types_are_held(dtype):
    layer = nn.Linear(6, 4, dtype=dtype)
    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    with hold_masks(layer, optimizer, {"weight": mask}):
        for _ in range(5):
            optimizer.zero_grad()
            layer(torch.ones(1, 6, dtype=dtype)).square().sum().backward()
            optimizer.step()
    assert torch.equal(mask_of(layer)["weight"], mask)


def test_frozen_layers_are_held_too():
    network = small_network()
    network[0].requires_grad_(False)
    masks = random_masks(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    with hold_masks(network, optimizer, masks):
        some_steps(network, optimizer, 2)
    assert all(torch.equal(mask_of(network)[n], m) for n, m in masks.items())


def test_hooks_go_on_exit_also_after_an_error():
    network = small_network()
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    with pytest.raises(KeyboardInterrupt), hold_masks(network, optimizer, random_masks(network)):
        raise KeyboardInterrupt
    assert not optimizer._optimizer_step_post_hooks
    some_steps(network, optimizer, 2)
    assert sparsity(network) == 0
