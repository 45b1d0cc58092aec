"""What is called exact is what rational arithmetic gives; what is not proven to be is refused."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prunecert.models.exactness import LIMIT, why_inexact
from prunecert.models.front_ends import Bytes, Deskew, Gradients
from prunecert.models.zoo import build

Maps = list[list[list[Fraction]]]  # channels, rows, columns


# --------------------------------------------------------------------------- rational evaluation


def evaluated(network: nn.Sequential, image: Maps) -> list[Fraction]:
    """The logits of one image, every number a fraction."""
    values: Any = image
    for part in network:
        if isinstance(part, Bytes):
            values = each(values, lambda v: Fraction(math.floor(255 * v + Fraction(1, 2))))
        elif isinstance(part, nn.ReLU):
            values = each(values, lambda v: max(v, Fraction(0)))
        elif isinstance(part, nn.Flatten):
            values = [v for channel in values for row in channel for v in row]
        elif isinstance(part, nn.MaxPool2d):
            values = pooled(values, int(part.kernel_size), max)
        elif isinstance(part, nn.AvgPool2d):
            values = pooled(values, int(part.kernel_size), lambda v: sum(v) / len(v))
        elif isinstance(part, nn.Conv2d):
            values = convolved(values, part)
        elif isinstance(part, nn.Linear):
            rows = part.weight.tolist()
            biases = part.bias.tolist() if part.bias is not None else [0.0] * len(rows)
            values = [
                sum((Fraction(w) * v for w, v in zip(row, values, strict=True)), Fraction(b))
                for row, b in zip(rows, biases, strict=True)
            ]
        else:
            raise AssertionError(part)
    return values


def each(values: Any, function: Any) -> Any:
    if isinstance(values, list):
        return [each(v, function) for v in values]
    return function(values)


def windows(values: Maps, size: int, stride: int) -> Any:
    height, width = len(values[0]), len(values[0][0])
    for y in range(0, height - size + 1, stride):
        yield y, range(0, width - size + 1, stride)


def pooled(values: Maps, size: int, of: Any) -> Maps:
    return [
        [
            [of([c[y + i][x + j] for i in range(size) for j in range(size)]) for x in columns]
            for y, columns in windows(values, size, size)
        ]
        for c in values
    ]


def convolved(values: Maps, part: nn.Conv2d) -> Maps:
    pad, size = int(part.padding[0]), part.kernel_size[0]
    width = len(values[0][0]) + 2 * pad
    zero = [Fraction(0)]
    padded = [
        [zero * width] * pad + [zero * pad + row + zero * pad for row in c] + [zero * width] * pad
        for c in values
    ]
    kernels = part.weight.tolist()
    biases = part.bias.tolist() if part.bias is not None else [0.0] * len(kernels)
    terms = list(itertools.product(range(len(values)), range(size), range(size)))
    return [
        [
            [
                Fraction(b)
                + sum(Fraction(k[c][i][j]) * padded[c][y + i][x + j] for c, i, j in terms)
                for x in columns
            ]
            for y, columns in windows(padded, size, 1)
        ]
        for k, b in zip(kernels, biases, strict=True)
    ]


def images(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Bytes as they are delivered: float32 k/255; all of 255 among them."""
    rng = np.random.default_rng(seed)
    stored = torch.from_numpy(rng.integers(0, 256, (3, *shape), dtype=np.uint8))
    stored[0] = 255
    return stored.to(torch.float32).div_(255)


def is_exactly_what_it_computes(network: nn.Sequential, inputs: torch.Tensor) -> bool:
    with torch.no_grad():
        found = network.double()(inputs.double()).tolist()
    rational = [evaluated(network, each(image, Fraction)) for image in inputs.tolist()]
    return [[Fraction(v) for v in row] for row in found] == rational


def filled(network: nn.Sequential, seed: int, levels: int, bias_step: float) -> nn.Sequential:
    """Weights k · 2^-2 with |k| ≤ levels, biases on a grid of their own."""
    rng = np.random.default_rng(seed)
    for name, parameter in network.named_parameters():
        step = bias_step if name.endswith("bias") else 0.25
        k = torch.from_numpy(rng.integers(-levels, levels + 1, parameter.shape))
        parameter.data = (k * step).to(parameter.dtype)
    return network


# --------------------------------------------------------------------------- exact


CHAINS = {
    "mlp": lambda: build("mlp:9-4-3"),
    "bytes": lambda: build("net:1x3x3,bytes,linear-4,relu,linear-3"),
    "conv": lambda: build("net:2x7x7,bytes,conv-3-2,relu,avg-2,conv-2-2,max-2,linear-3"),
    "average of inputs": lambda: build("net:1x4x4,avg-4,linear-3"),
    "padding": lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3, bias=False)
    ),
}
SHAPES = {"conv": (2, 7, 7), "average of inputs": (1, 4, 4)}


@pytest.mark.parametrize("levels", [1, 20])
@pytest.mark.parametrize("bias_step", [2.0**-9, 1.0, 2.0**7])
@pytest.mark.parametrize("kind", CHAINS)
def test_exact_networks_agree_with_fractions(kind, bias_step, levels):
    network = filled(CHAINS[kind](), len(kind), levels, bias_step)
    inputs = images(0, SHAPES.get(kind, (1, 3, 3)))
    assert why_inexact(network, byte_images=True) is None
    assert is_exactly_what_it_computes(network, inputs)


def test_whatever_is_called_exact_is():
    """Depth and levels on both sides of the limit; each side is met often."""
    verdicts = []
    for seed in range(60):
        depth, levels = 1 + seed % 5, (1, 30, 1000, 2**20)[seed % 4]
        spec = "net:1x2x2,bytes," + "linear-4,relu," * depth + "linear-2"
        network = filled(build(spec if seed % 3 else f"mlp:4{'-3' * depth}-2"), seed, levels, 0.5)
        verdicts.append(why_inexact(network, byte_images=True) is None)
        if verdicts[-1]:
            assert is_exactly_what_it_computes(network, images(seed, (1, 2, 2))), seed
    assert 15 < sum(verdicts) < 45


def test_a_front_end_makes_any_inputs_bytes():
    network = build("net:1x12x12,bytes,deskew,max-2,gradients-4-3-1-6-1,linear-2")
    filled(network, 0, 7, 0.5)
    assert why_inexact(network, byte_images=False) is None


# --------------------------------------------------------------------------- the limit


def one_weight(weight: int, bias: int, *, unit: float = 1.0) -> nn.Sequential:
    """bytes → weight · byte + bias, in multiples of `unit`."""
    linear = nn.Linear(1, 1).double()
    linear.weight.data.fill_(weight * unit)
    linear.bias.data.fill_(bias * unit)
    return nn.Sequential(OrderedDict(bytes1=Bytes(), flatten=nn.Flatten(), fc=linear))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("unit", [1.0, 2.0**-40, 2.0**30])
def test_the_largest_sum_that_is_exact(unit, sign):
    weight = (LIMIT - 1) // 255 - 4 | 1
    bias = LIMIT - 1 - 255 * weight
    below, at = (one_weight(weight, sign * bias + more, unit=unit) for more in (0, sign))
    assert why_inexact(below, True) is None
    assert is_exactly_what_it_computes(below, torch.ones(1, 1, 1, 1))
    assert "54 bits" in why_inexact(at, True)


def test_the_limit_is_that_of_float64():
    """2^53 + 1 is the first integer that float64 does not have."""
    assert LIMIT == 2**53 and float(LIMIT) + 1 == float(LIMIT)
    assert why_inexact(one_weight(1, LIMIT - 255), True) is not None
    assert not is_exactly_what_it_computes(one_weight(2, LIMIT - 509), torch.ones(1, 1, 1, 1))


def test_partial_sums_count_not_what_is_left_of_them():
    linear = nn.Linear(2, 1, bias=False).double()
    linear.weight.data = torch.tensor([[2.0**46 + 1, -(2.0**46) - 1]], dtype=torch.float64)
    network = nn.Sequential(Bytes(), nn.Flatten(), linear)
    assert "bits" in why_inexact(network, True)


@pytest.mark.parametrize("where", [0, 1])
def test_the_largest_row_decides(where):
    """Of weights, and of biases, whichever row they stand in."""
    linear = nn.Linear(1, 2).double()
    linear.weight.data.fill_(1.0)
    linear.bias.data.zero_()
    linear.bias.data[where] = LIMIT - 255
    network = nn.Sequential(Bytes(), nn.Flatten(), linear)
    assert why_inexact(network, True)
    linear.bias.data[where] = LIMIT - 256
    assert why_inexact(network, True) is None
    linear.weight.data[where] = 2.0
    assert why_inexact(network, True)


def test_a_fine_bias_makes_everything_finer():
    """1 + 2^-52 · k: the weights are 1, the bias alone has too many bits."""
    for exponent, exact in ((-44, True), (-46, False)):
        network = one_weight(1, 0)
        network.fc.bias.data.fill_(2.0**exponent)
        assert (why_inexact(network, True) is None) == exact
        assert is_exactly_what_it_computes(network, torch.ones(1, 1, 1, 1)) == exact


def test_numbers_too_small_for_float64_to_multiply():
    parts = [nn.Flatten()] + [nn.Linear(1, 1, bias=False).double() for _ in range(9)]
    network = nn.Sequential(Bytes(), *parts)
    for part in parts[1:]:
        part.weight.data.fill_(2.0**-140)
    assert "out of range" in why_inexact(network, True)
    assert why_inexact(network[:9], True) is None
    for part in parts[1:]:
        part.weight.data.fill_(2.0**120)
    assert "out of range" in why_inexact(network, True)


def test_float32_weights_of_every_size():
    """The whole of float32 is read: units far from 1, subnormal ones too."""
    for exponent in (-149, -130, -31, 0, 100):
        network = one_weight(3, 5, unit=2.0**exponent).float()
        assert why_inexact(network, True) is None
        assert is_exactly_what_it_computes(network, torch.ones(1, 1, 1, 1))
    wide = one_weight(1, 1)
    wide.fc.bias.data.fill_(2.0**-100)
    assert why_inexact(wide, True)


# --------------------------------------------------------------------------- refused


@pytest.mark.parametrize(("window", "exact"), [(2, True), (4, True), (3, False), (6, False)])
def test_averages_over_powers_of_two_only(window, exact):
    network = nn.Sequential(nn.AvgPool2d(window), nn.Flatten())
    reason = why_inexact(network, True)
    assert reason is None if exact else f"averages over {window**2} values" in reason


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2, padding=1),
        nn.AvgPool2d(4, ceil_mode=True),  # 4 × 3 values at the border
        nn.AvgPool2d(2, divisor_override=3),
        nn.AvgPool2d((2, 3)),
    ],
)
def test_averages_over_other_numbers_at_the_border(pool):
    assert "averages over" in why_inexact(nn.Sequential(pool, nn.Flatten()), True)


@pytest.mark.parametrize(
    "part", [nn.BatchNorm2d(1), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.ReLU())]
)
def test_parts_that_are_not_known(part):
    assert "0: a " + type(part).__name__ in why_inexact(nn.Sequential(part), True)


def test_networks_that_are_no_chain():
    assert "Sequential" in why_inexact(nn.Linear(2, 2), True)
    assert why_inexact(build("resnet-20"), True)


class Doubled(nn.Linear):
    """A part that only looks like a known one."""


def test_a_part_of_a_known_kind_is_not_enough():
    assert why_inexact(nn.Sequential(nn.Flatten(), Doubled(1, 1)), True)


def test_inputs_that_are_not_bytes():
    network = filled(build("mlp:4-3-2"), 0, 1, 1.0)
    assert why_inexact(network, byte_images=True) is None
    assert "not images of bytes" in why_inexact(network, byte_images=False)


@pytest.mark.parametrize(
    "parts",
    [
        [Deskew()],  # of k/255, whose moments are no integers
        [Gradients(4, 2, 1, 0)],
        [Bytes(), Gradients(4, 2, 1, 0), Gradients(4, 2, 1, 0)],  # beyond its own `largest`
        [Bytes(), nn.Conv2d(1, 1, 1), Deskew()],  # negative ones
        [Bytes(), nn.AvgPool2d(2), Deskew()],  # quarters
    ],
)
@pytest.mark.parametrize("byte_images", [True, False])
def test_front_ends_of_what_is_no_byte(parts, byte_images):
    assert "not bytes" in why_inexact(nn.Sequential(*parts), byte_images)


def test_weights_without_a_grid_in_a_deep_chain():
    network = build("net:1x2x2,bytes," + "linear-4,relu," * 3 + "linear-2")
    for parameter in network.parameters():
        parameter.data.fill_(0.1)
    assert "bits" in why_inexact(network, True)
    assert not is_exactly_what_it_computes(network, images(0, (1, 2, 2)))


def test_a_part_that_stands_twice_counts_twice():
    """255 · (2^23 + 1)^2 does not fit; named_children shows the shared layer once."""
    shared = nn.Linear(1, 1, bias=False)
    shared.weight.data.fill_(2.0**23 + 1)
    assert why_inexact(nn.Sequential(Bytes(), shared), True) is None
    assert why_inexact(nn.Sequential(Bytes(), shared, shared), True) is not None


def test_hooks_may_compute_anything():
    network = nn.Sequential(Bytes(), nn.ReLU())
    assert why_inexact(network, True) is None
    network[1].register_forward_hook(lambda module, inputs, output: output / 3)
    assert why_inexact(network, True) is not None
