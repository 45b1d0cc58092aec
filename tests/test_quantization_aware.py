"""Quantisation-aware training: what comes out is on its grids, and what goes in is respected."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from prunecert.data import load_source, take
from prunecert.models.loading import plain
from prunecert.models.weights import apply_weights
from prunecert.models.zoo import build
from prunecert.quantization_aware import (
    BIAS_LEVELS,
    NONZERO_BITS,
    Precisions,
    QuantizationAware,
    rate_objective,
)
from prunecert.training import train
from prunecert.types import InputError

SHAPES = {
    "mlp:12-9-7-3": (12,),
    "net:1x8x8,bytes,conv-4-3,relu,max-2,linear-6,relu,linear-3": (1, 8, 8),
    "resnet-20": (3, 32, 32),
}


def rows(spec: str, n: int = 16) -> Tensor:
    return torch.rand((n, *SHAPES[spec]), generator=torch.Generator().manual_seed(3))


def aware(spec: str = "mlp:12-9-7-3", n: int = 100, start=None, **precisions) -> QuantizationAware:
    return QuantizationAware(build(spec), Precisions(**precisions), rows(spec), n, start)


def trained(spec: str, steps: int = 12, start=None, **precisions) -> QuantizationAware:
    module = aware(spec, start=start, **precisions)
    labels = torch.arange(16) % 3
    train(module, rows(spec), labels, steps=f"{steps}it", batch_size=8, learning_rate=0.05,
          optimizer="adamw", objective=rate_objective)  # fmt: skip
    return module


def levels_of(tensor: Tensor, most: int) -> Tensor:
    """k of the power of two whose multiples all values are, |k| ≤ most; fails where none is."""
    for exponent in range(-40, 20):
        k = tensor.double() / 2.0**exponent
        if torch.equal(k, k.round()) and k.abs().max() <= most:
            return k.long()
    raise AssertionError("no power of two")


# --------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("levels", [1, 7])
@pytest.mark.parametrize("spec", SHAPES)
def test_tensors_are_few_levels_of_a_power_of_two(spec, levels):
    module = trained(spec, levels=levels, steps=4 if spec == "resnet-20" else 12)
    expected = build(spec).state_dict()
    found = module.tensors()
    assert {n: (t.shape, t.dtype) for n, t in found.items()} == {
        n: (t.shape, t.dtype) for n, t in expected.items()
    }
    kinds = dict(plain(build(spec)).named_modules())
    seen = set()
    for name, tensor in found.items():
        owner, local = kinds[name.rpartition(".")[0]], name.rpartition(".")[2]
        assert torch.isfinite(tensor).all()
        if isinstance(owner, nn.Linear | nn.Conv2d):
            most = levels if local == "weight" else BIAS_LEVELS
            seen |= set(levels_of(tensor, most).flatten().tolist())
            assert not torch.signbit(tensor[tensor == 0]).any()  # −0.0
    assert min(seen) < 0 < max(seen) and 0 in seen


@pytest.mark.parametrize("spec", SHAPES)
def test_the_tensors_are_the_function_that_was_trained(spec):
    module = trained(spec, steps=4).eval()
    network = apply_weights(build(spec), module.tensors()).eval()
    scale = float(module.log_temperature.detach().exp())
    expected, found = module(rows(spec)).detach(), network(rows(spec)).detach() * scale
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("units", [1, 3, 5])
def test_narrow_units(units):
    module = trained("mlp:12-9-7-3", units=units)
    tensors = module.tensors()
    for name in ("fc1.weight", "fc2.weight", "fc1.bias", "fc2.bias"):
        assert not tensors[name][units:].any(), name
    assert not tensors["fc2.weight"][:, units:].any()
    assert not tensors["fc3.weight"][:, units:].any()
    assert sum(p.numel() for p in module.latents()) == (
        12 * units + units + units**2 + units + units * 3 + 3
    )
    network = apply_weights(build("mlp:12-9-7-3"), tensors)
    torch.testing.assert_close(
        network(rows("mlp:12-9-7-3")) * module.log_temperature.exp(), module(rows("mlp:12-9-7-3"))
    )


def test_the_seed_decides_and_nothing_else():
    torch.manual_seed(1)
    first = trained("mlp:12-9-7-3", seed=4).tensors()
    torch.manual_seed(2)
    again = trained("mlp:12-9-7-3", seed=4).tensors()
    other = trained("mlp:12-9-7-3", seed=5).tensors()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_fresh_weights_do_not_depend_on_the_module_nor_change_it():
    one, two = build("mlp:12-9-7-3", seed=0), build("mlp:12-9-7-3", seed=1)
    for tensor in two.state_dict().values():
        tensor *= 1e4
    before = {name: t.clone() for name, t in one.state_dict().items()}
    found = []
    for module in (one, two):
        made = QuantizationAware(module, Precisions(seed=3), rows("mlp:12-9-7-3"), 100)
        found.append(made.tensors())
    assert all(torch.equal(found[0][name], found[1][name]) for name in before)
    assert all(torch.equal(t, before[name]) for name, t in one.state_dict().items())


def test_outputs_begin_at_about_unit_variance():
    """A power of two away at most: 2^-½ … 2^½ of one standard deviation, whatever the inputs."""
    for scale in (1e-3, 1.0, 255.0):
        inputs = rows("mlp:12-9-7-3", 256) * scale
        module = QuantizationAware(build("mlp:12-9-7-3"), Precisions(), inputs, 100)
        values = inputs
        for part in module.network.eval():
            values = part(values)
            if isinstance(part, nn.Linear):
                assert 0.5**0.5 - 1e-3 <= values.std() <= 2**0.5 + 1e-3


# --------------------------------------------------------------------------- weights to start from


@pytest.mark.parametrize("levels", [1, 3, 7])
def test_weights_on_a_grid_come_back_unchanged(levels):
    generator = torch.Generator().manual_seed(levels)
    start = build("mlp:12-9-7-3").state_dict()
    for i, tensor in enumerate(start.values()):
        k = torch.randint(-levels, levels + 1, tensor.shape, generator=generator)
        k.view(-1)[0] = levels
        tensor.copy_(k * 2.0 ** (i - 5))
    found = aware(start=start, levels=levels).tensors()
    for name in start:
        if name.endswith("weight"):
            assert torch.equal(found[name], start[name]), name


def test_other_weights_go_to_the_nearest_multiple():
    """The nearest of −s, 0, s: every entry at most half a step from where it came, or beyond s."""
    start = build("mlp:12-9-7-3", seed=2).state_dict()
    found = aware(start=start, levels=1).tensors()
    for name in ("fc1.weight", "fc2.weight", "fc3.weight"):
        step = float(found[name].abs().max())
        k = (start[name] / step).abs()
        assert torch.equal(found[name], step * start[name].sign() * (k > 0.5))
        wrong = [(start[name] - s * start[name].sign() * (start[name].abs() > s / 2))
                 for s in (step / 2, step * 2)]  # fmt: skip
        error = (start[name] - found[name]).square().sum()
        assert all(error <= other.square().sum() for other in wrong)


def test_biases_to_start_from_are_kept_up_to_their_grid():
    start = build("mlp:12-9-7-3", seed=2).state_dict()
    found = aware(start=start).tensors()
    for name in ("fc1.bias", "fc2.bias", "fc3.bias"):
        levels_of(found[name], BIAS_LEVELS)
        assert found[name].any() or start[name].abs().max() < 0.1
        assert (found[name] - start[name]).abs().max() < 0.2


def test_a_narrow_start_keeps_its_largest_units():
    start = build("mlp:12-9-7-3").state_dict()
    start["fc1.weight"][[2, 7]] *= 100
    found = aware(start=start, units=2).tensors()
    assert found["fc1.weight"].abs().sum(1).nonzero()[:, 0].tolist() == [2, 7]


# --------------------------------------------------------------------------- what is minimised


def test_the_price_of_the_code_in_closed_form():
    """price · 6 bits · ln 2 / n for each unit of latent size."""
    module = aware(n=50, price=3.0)
    for i, latent in enumerate(module.latents()):
        latent.data.fill_(-2.0 if i % 2 else 0.5)
    sizes = [latent.numel() for latent in module.latents()]
    assert sum(sizes) == 12 * 9 + 9 + 9 * 7 + 7 + 7 * 3 + 3
    total = sum(size * (2.0 if i % 2 else 0.5) for i, size in enumerate(sizes))
    expected = 3.0 * NONZERO_BITS * math.log(2) / 50 * total
    assert float(module.penalty().detach()) == pytest.approx(expected, rel=1e-6)
    outputs, labels = torch.zeros(4, 3), torch.arange(4) % 3
    assert float(rate_objective(outputs, labels, module).detach()) == pytest.approx(
        math.log(3) + expected, rel=1e-6
    )
    free = aware(price=0.0)
    assert float(free.penalty().detach()) == 0


@pytest.mark.parametrize("levels", [1, 3])
def test_the_gradient_passes_straight_through(levels):
    """As if the latent values had not been rounded: of a linear function of the weights, the step
    times its coefficients, beyond the levels too."""
    network = nn.Sequential(nn.Linear(3, 2))
    inputs = torch.tensor([[1.0, -2.0, 4.0]])
    module = QuantizationAware(network, Precisions(levels), inputs.repeat(2, 1), 10)
    owner, quantiser = module._levels[0]
    latent = owner.parametrizations.weight.original
    latent.data = torch.tensor([[-5.0, 0.2, 0.6], [0.0, 1.4, 9.0]])
    k = torch.tensor([[-5.0, 0.0, 1.0], [0.0, 1.0, 9.0]]).clamp(-levels, levels)
    assert torch.equal(owner.weight, k * quantiser.step)
    owner(inputs)[0, 1].backward()
    assert latent.grad.tolist() == [[0.0] * 3, [quantiser.step * x for x in (1.0, -2.0, 4.0)]]


def test_a_higher_price_leaves_fewer_nonzeros():
    counts = [
        sum(int((t != 0).sum()) for t in trained("mlp:12-9-7-3", 100, price=p).tensors().values())
        for p in (0.0, 1.0, 10.0)
    ]
    assert counts[0] > counts[1] > counts[2]


def test_training_on_digits_is_far_below_chance():
    sample = take(load_source("digits"), "train", "bound")
    held = list(sample.stored(2000))
    inputs, labels = torch.cat([x for x, _ in held]), torch.cat([y for _, y in held])
    network = build("mlp:64-16-10")
    module = QuantizationAware(network, Precisions(price=0.5), inputs, 60_000)
    train(module, inputs, labels, steps="8ep", batch_size=50, learning_rate=0.03,
          optimizer="adamw", objective=rate_objective)  # fmt: skip
    found = apply_weights(network, module.tensors())(inputs).argmax(1)
    assert int((found != labels).sum()) < 0.2 * len(labels)  # chance: 0.9


# --------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"levels": 0}, "levels 0"),
        ({"levels": 128}, "levels 128"),
        ({"price": -1.0}, "price -1.0"),
        ({"price": math.inf}, "price inf"),
        ({"price": math.nan}, "price nan"),
        ({"units": 0}, "units 0"),
    ],
)
def test_precisions_that_cannot_be(arguments, word):
    with pytest.raises(InputError, match=word):
        Precisions(**arguments)


def test_nothing_to_quantise():
    with pytest.raises(InputError, match="linear or convolutional"):
        QuantizationAware(nn.Sequential(nn.ReLU()), Precisions(), torch.rand(2, 3), 10)
