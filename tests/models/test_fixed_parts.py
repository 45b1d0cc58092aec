"""Scale, slopes and fold against slow twins in integers and fractions, and chains that hold them.

The floor of a correctly rounded quotient of integers below 2^53 is that of the quotient itself:
one that is not whole is at least 1/divisor away from the next integer, more than half a last bit.
So the twins divide integers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from test_colours import colours
from test_exactness import each, evaluated, filled
from torch import nn

from prunecert.models.exactness import LIMIT, why_inexact
from prunecert.models.fixed_parts import Fold, Scale, Slopes
from prunecert.models.front_ends import Bytes, Colours
from prunecert.models.zoo import build

# --------------------------------------------------------------------------- twins


def flat(values: Any) -> list[Any]:
    return [v for part in values for v in flat(part)] if isinstance(values, list) else [values]


def scaled(row: Any, bits: int) -> Any:
    """floor(x · N · 2^bits / Σ|x|) of one row, in rational numbers."""
    numbers = flat(row)
    size = sum(abs(v) for v in numbers)
    return each(row, lambda v: math.floor(Fraction(v * len(numbers) * 2**bits) / size) if v else 0)


def slopes(channels: Any, halves: int) -> Any:
    """Itself, then what it rises to the right, left, below, above; each picture for itself."""
    out = []
    for channel in channels:
        height = len(channel) // halves

        def at(y: int, x: int, top: int, of: Any = channel, height: int = height) -> Any:
            inside = top <= y < top + height and 0 <= x < len(of[0])
            return of[y][x] if inside else 0

        steps = {"right": (0, 1), "left": (0, -1), "below": (1, 0), "above": (-1, 0)}
        out.append(channel)
        for dy, dx in steps.values():
            out.append(
                [
                    [
                        max(0, at(y + dy, x + dx, top) - at(y - dy, x - dx, top))
                        for x in range(len(channel[0]))
                    ]
                    for top in range(0, len(channel), height)
                    for y in range(top, top + height)
                ]
            )
    return out


def folded(channels: Any, halves: int) -> Any:
    return [
        [
            [sum(column) for column in zip(*channel[y :: len(channel) // halves], strict=True)]
            for y in range(len(channel) // halves)
        ]
        for channel in channels
    ]


def rational(network: nn.Sequential, image: Any) -> Any:
    """The logits of one image in fractions, part by part."""
    values = each(image, Fraction)
    for part in network:
        if isinstance(part, Scale):
            values = scaled(values, part.bits)
        elif isinstance(part, Slopes):
            values = slopes(values, part.halves)
        elif isinstance(part, Fold):
            values = folded(values, part.halves)
        elif isinstance(part, Colours):
            values = colours(each(values, int), part.cell, part.bits, part.floor)
        else:
            values = evaluated(nn.Sequential(part), values)
    return values


def agrees(network: nn.Sequential, images: torch.Tensor) -> bool:
    with torch.no_grad():
        found = network.double()(images.double()).tolist()
    return each(found, Fraction) == [rational(network, image) for image in images.tolist()]


# --------------------------------------------------------------------------- inputs


def pictures(seed: int, shape: tuple[int, ...], least: int) -> torch.Tensor:
    """Integers from `least` to 255: hostile pictures, then random ones of every density."""
    rng = np.random.default_rng(seed)
    found = [np.full(shape, value) for value in (0, 1, 255, least)]
    for place in (0, math.prod(shape) // 2, -1):
        for value in (1, 255, least):
            found.append(np.zeros(shape, dtype=np.int64))
            found[-1].flat[place] = value
    edge = np.arange(math.prod(shape)).reshape(shape)
    found += [np.where(edge % 2, 255, least), np.where(edge % shape[-1] > 1, 255, least)]
    for density in (0.1, 0.5, 1.0, 1.0):
        found.append(rng.integers(least, 256, shape) * (rng.random(shape) < density))
    return torch.from_numpy(np.stack(found)).double()


SHAPES = [(2, 4, 3), (1, 6, 5), (3, 12, 1), (1, 2, 2)]
both_signs = pytest.mark.parametrize("least", [0, -255])
every_shape = pytest.mark.parametrize("shape", SHAPES)


# --------------------------------------------------------------------------- scale


@both_signs
@every_shape
@pytest.mark.parametrize("bits", [0, 1, 6, 16])
def test_scale_is_its_twin(bits, shape, least):
    x = pictures(0, shape, least)
    part = Scale(bits, math.prod(shape))
    assert part(x).tolist() == [scaled(each(row, int), bits) for row in x.tolist()]
    assert torch.equal(part(x * 2.0**-40), part(x)), "sizes alone do not matter"
    assert part(x)[0].count_nonzero() == 0, "a row of zeros"
    assert part(x).abs().max() == part.values << bits, "a lone value has all of the row's size"


def test_scale_of_vectors():
    x = pictures(1, (7,), -255)
    assert Scale(6, 7)(x).tolist() == [scaled(each(row, int), 6) for row in x.tolist()]


@pytest.mark.parametrize("sign", [1, -1])
def test_scale_just_below_an_integer(sign):
    """k − 1/S for the largest S there can be: the closest that a quotient comes to an integer."""
    rng = np.random.default_rng(2)
    for bits in (0, 6, 16):
        most = 2 << bits
        for size in (int(s) | 1 for s in rng.integers(LIMIT // most // 2, LIMIT // most - 1, 100)):
            k = pow(size, -1, most)
            first = (k * size - 1) // most
            rows = torch.tensor([[sign * first, size - first]], dtype=torch.float64)
            assert rows.long().tolist() == [[sign * first, size - first]]
            assert Scale(bits, 2)(rows)[0, 0] == (k - 1 if sign > 0 else -k)


def test_beyond_the_limit_scale_does_round():
    """3 x = 2^53 + 7 has no float64, and is rounded to the sum that it is divided by."""
    first = (LIMIT + 7) // 3
    row = [first, LIMIT // 2, LIMIT + 8 - first - LIMIT // 2]
    assert scaled(row, 0)[0] == 0
    assert Scale(0, 3)(torch.tensor([row], dtype=torch.float64))[0, 0] == 1


def test_gradients_of_scale_are_those_without_the_floor():
    """d(M x_i / S) / dx_j = M (1[i = j] / S − x_i sign(x_j) / S²)."""
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.integers(1, 50, (2, 4)) * rng.choice([-1, 1], (2, 4))).double()
    above = torch.from_numpy(rng.normal(size=(2, 4)))
    x.requires_grad_()
    Scale(6, 4)(x).backward(above)
    size = x.detach().abs().sum(1, keepdim=True)
    along = (above * x.detach()).sum(1, keepdim=True)
    expected = 256 * (above / size - along * x.detach().sign() / size**2)
    assert torch.allclose(x.grad, expected, rtol=1e-13, atol=1e-15)


def test_gradients_of_a_row_of_zeros_are_finite():
    x = torch.zeros(1, 3, requires_grad=True)
    Scale(2, 3)(x).sum().backward()
    assert torch.isfinite(x.grad).all()


# --------------------------------------------------------------------------- slopes, fold


@both_signs
@every_shape
@pytest.mark.parametrize("halves", [1, 2])
def test_slopes_are_their_twin(halves, shape, least):
    x = pictures(4, shape, least)
    found = Slopes(halves)(x)
    assert found.tolist() == [slopes(image, halves) for image in x.tolist()]


def test_no_slope_crosses_from_one_picture_to_the_next():
    """Each half has the slopes that it has alone, and another half changes none of them."""
    x = pictures(5, (2, 12, 3), -255)
    for halves in (1, 2, 3, 4, 6, 12):
        alone = [Slopes(1)(half) for half in x.chunk(halves, 2)]
        assert torch.equal(Slopes(halves)(x), torch.cat(alone, 2))
    y = x.clone()
    y[:, :, 6:] += 1000
    assert torch.equal(Slopes(2)(x)[:, :, :6], Slopes(2)(y)[:, :, :6])
    assert not torch.equal(Slopes(1)(x)[:, :, :6], Slopes(1)(y)[:, :, :6])


def test_slopes_of_a_ramp():
    """By hand: x = column, so that inner columns rise by 2 to the right; zeros lie outside."""
    ramp = torch.tensor([[[[0.0, 1, 2], [0, 1, 2]]]])
    own, right, left, below, above = Slopes(1)(ramp)[0].tolist()
    assert own == [[0, 1, 2], [0, 1, 2]]
    assert right == [[1, 2, 0], [1, 2, 0]] and left == [[0, 0, 1], [0, 0, 1]]
    assert below == [[0, 1, 2], [0, 0, 0]] and above == [[0, 0, 0], [0, 1, 2]]


@both_signs
@every_shape
def test_fold_is_its_twin(shape, least):
    x = pictures(6, shape, least)
    for halves in (h for h in range(1, shape[1] + 1) if shape[1] % h == 0):
        assert Fold(halves)(x).tolist() == [folded(image, halves) for image in x.tolist()]


@pytest.mark.parametrize("part", [Scale(6, 24), Slopes(2), Fold(2)])
def test_a_row_does_not_depend_on_its_batch(part):
    x = pictures(7, (2, 4, 3), -255)
    assert torch.equal(part(x), torch.cat([part(row[None]) for row in x]))


# --------------------------------------------------------------------------- exact chains


CHAINS = {
    "scale": "net:2x3x3,bytes,scale-6-0,conv-3-2,relu,scale-4-0,linear-3",
    "slopes": "net:2x4x3,bytes,slopes-2,conv-3-1,slopes-2,scale-6-0,linear-3",
    "fold": "net:2x4x4,bytes,conv-3-1,slopes-2,avg-2,fold-2,scale-5-0,linear-3",
    "colours": "net:3x8x8,bytes,colours-2-6-120-1-2,scale-6-0,conv-3-1,relu,slopes-2,scale-6-0,"
    "conv-4-1,relu,avg-2,fold-2,scale-6-0,linear-3",
}


@pytest.mark.parametrize("bias_step", [0.25, 64.0])
@pytest.mark.parametrize("kind", CHAINS)
def test_exact_chains_agree_with_fractions(kind, bias_step):
    network = filled(build(CHAINS[kind]), len(kind), 9, bias_step)
    shape = tuple(int(side) for side in CHAINS[kind][4:9].split("x"))
    images = (pictures(8, shape, 0).float() / 255)[:: 2 if kind == "colours" else 1]
    assert why_inexact(network, byte_images=True) is None
    assert agrees(network, images)


def chain(largest: int, parts: dict[str, nn.Module], places: tuple[int, ...]) -> nn.Sequential:
    """Bytes become values up to `largest` and no finer than integers, then go through `parts`."""
    conv = nn.Conv2d(1, 1, 1).double()
    conv.weight.data.fill_(largest // 255)
    conv.bias.data.fill_(largest % 255)
    return nn.Sequential(OrderedDict(bytes1=Bytes(), conv1=conv, **parts, flatten=nn.Flatten()))


def test_scale_may_not_multiply_beyond_the_limit():
    """Values · N · 2^bits, here with three values and 2^6: one more than the most is refused."""
    most = (LIMIT - 1) // (3 << 6)
    below, above = (chain(v, {"scale1": Scale(6, 3)}, (1, 3)) for v in (most, most + 1))
    assert why_inexact(below, True) is None
    assert "scale1: a sum may need 54 bits" in why_inexact(above, True)
    stored = torch.tensor([[255, 0, 0], [255, 255, 255], [254, 255, 0], [1, 2, 253], [0, 0, 0]])
    assert agrees(below, stored[:, None, None].float() / 255)


ENDS = {  # parts, what the largest of their outputs is for inputs up to 255, an image that has it
    "scale": ({"scale1": Scale(6, 4)}, 4 << 6, [[255, 0], [0, 0]]),
    "fold": ({"fold1": Fold(2)}, 2 * 255, [[255, 255], [255, 255]]),
    "fold of slopes": ({"slopes1": Slopes(2), "fold1": Fold(2)}, 4 * 255, None),
    "slopes": ({"slopes1": Slopes(1)}, 2 * 255, None),
    "scaled slopes": ({"slopes1": Slopes(1), "scale1": Scale(3, 20)}, 20 << 3, None),
}


@pytest.mark.parametrize("kind", ENDS)
def test_what_is_known_of_outputs_decides_about_the_next_layer(kind):
    """An odd weight and a bias that fill 53 bits are accepted, one more is refused; where the
    largest output is reached by an image, so is the largest sum."""
    parts, largest, image = ENDS[kind]
    outputs = int(nn.Sequential(*parts.values())(torch.ones(1, 1, 2, 2)).numel())
    for more in (0, 1):
        last = nn.Linear(outputs, 1).double()
        last.weight.data.zero_()
        last.weight.data[0, 0] = weight = (LIMIT - 1) // largest - 4 | 1
        last.bias.data.fill_(LIMIT - 1 - weight * largest + more)
        network = nn.Sequential(OrderedDict(bytes1=Bytes(), **parts, flatten=nn.Flatten(), fc=last))
        assert (why_inexact(network, True) is None) == (more == 0)
        if image and not more:
            logits = network((torch.tensor([[image]]) / 255).double())
            assert logits.item() == LIMIT - 1


@both_signs
def test_no_output_exceeds_what_is_known_of_it(least):
    """N · 2^bits, twice, `halves` times the largest input; with both signs all are reached."""
    x = pictures(9, (1, 4, 3), least)
    x[0] = torch.tensor([0.0, 0, 255, least, 0, 0, 255, 0, 0, 0, 0, 0]).reshape(1, 4, 3)
    x[1] = torch.tensor([least, 0, 255] * 4).reshape(1, 4, 3)
    known = {Scale(6, 12): 12 << 6, Slopes(2): 255 - least, Fold(2): 2 * 255, Fold(4): 4 * 255}
    for part, largest in known.items():
        assert part(x).abs().max() == largest


def test_scale_makes_integers_again():
    """k/255 in float32 are multiples of 2^-31, in which a bias of 2^30 alone would need 62 bits."""
    network = build("net:1x2x2,scale-6-0,linear-1")
    network.linear1.weight.data = torch.tensor([[2.0**42 + 1, -1.0, 5.0, 2.0**41 - 1]]).double()
    network.linear1.bias.data.fill_(2.0**30)
    assert "not images of bytes" in why_inexact(network, byte_images=False)
    assert why_inexact(network, byte_images=True) is None
    assert agrees(network, pictures(10, (1, 2, 2), 0).float() / 255)


@pytest.mark.parametrize("part", [Scale(1, 4), Slopes(1), Fold(1)])
def test_no_byte_leaves_these_parts(part):
    network = nn.Sequential(Bytes(), part, Colours(2, 6, 120))
    assert "not bytes" in why_inexact(network, True)


def test_scale_over_channels_and_over_places():
    """Each group of values has mean size 2^bits: channels (4, 8), places (1, 3), floored."""
    x = torch.tensor([[[[4.0, 8.0]], [[1.0, 3.0]]]], dtype=torch.float64)
    by_channel = Scale(3, 2, over=1)(x)
    assert by_channel.tolist() == [[[[4 * 16 // 12, 8 * 16 // 12]], [[1 * 16 // 4, 3 * 16 // 4]]]]
    by_place = Scale(3, 2, over=2)(x)
    assert by_place.tolist() == [[[[4 * 16 // 5, 8 * 16 // 11]], [[1 * 16 // 5, 3 * 16 // 11]]]]
