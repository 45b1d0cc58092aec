"""Front ends against slow twins in Python integers, written from their docstrings."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from prunecert.models.front_ends import Bytes, Deskew, Gradients, without_front_end

Image = list[list[int]]  # one channel, rows of bytes
GRADIENTS = [(4, 2, 1, 0), (8, 6, 3, 9), (6, 5, 2, 3), (1, 3, 4, 1)]


# --------------------------------------------------------------------------- twins


def nearest(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def deskewed(image: Image) -> Image:
    """Row y moves by slant · (y − centre) pixels, in 64ths; what lies outside is zero."""
    points = [(x, y, v) for y, row in enumerate(image) for x, v in enumerate(row)]
    mass = sum(v for _, _, v in points) or 1
    x1, y1 = sum(x * v for x, _, v in points), sum(y * v for _, y, v in points)
    covariance = mass * sum(x * y * v for x, y, v in points) - x1 * y1
    variance = mass * sum(y * y * v for _, y, v in points) - y1 * y1
    slant = max(-64, min(64, nearest(Fraction(64 * covariance, variance or 1))))
    centre = nearest(Fraction(y1, mass))
    out = []
    for y, row in enumerate(image):

        def at(x: int, row: list[int] = row) -> int:
            return row[x] if 0 <= x < len(row) else 0

        moved = []
        for x in range(len(row)):
            place = Fraction(slant * (y - centre), 64) + x
            left = math.floor(place)
            share = place - left
            moved.append(nearest((1 - share) * at(left) + share * at(left + 1)))
        out.append(moved)
    return out


def histogram(image: Image, bins: int, cell: int, stride: int, shift: int) -> list[Image]:
    """One map per direction; vectors of length 10 with integer ends."""
    height, width = len(image), len(image[0])

    def at(y: int, x: int) -> int:
        return image[y][x] if 0 <= y < height and 0 <= x < width else 0

    weight = [min(i + 1, cell - i) for i in range(cell)]
    maps = []
    for k in range(bins):
        c, s = (round(10 * f(2 * math.pi * k / bins)) for f in (math.cos, math.sin))
        energy = [
            [
                max(0, c * (at(y, x + 1) - at(y, x - 1)) + s * (at(y + 1, x) - at(y - 1, x)))
                for x in range(width)
            ]
            for y in range(height)
        ]
        maps.append(
            [
                [
                    sum(
                        weight[i] * weight[j] * energy[y + i][x + j]
                        for i in range(cell)
                        for j in range(cell)
                    )
                    // 2**shift
                    for x in range(0, width - cell + 1, stride)
                ]
                for y in range(0, height - cell + 1, stride)
            ]
        )
    return maps


# --------------------------------------------------------------------------- images


def stroke(slope: float, size: int = 12) -> np.ndarray:
    """One pixel per row on a slanted line."""
    image = np.zeros((size, size), dtype=np.int64)
    for y in range(size):
        x = round(size / 2 + slope * (y - size / 2))
        if 0 <= x < size:
            image[y, x] = 255
    return image


def images() -> torch.Tensor:
    """(n, 1, 12, 12) bytes: hostile ones, then random ones of every density."""
    rng = np.random.default_rng(0)
    found = [np.full((12, 12), value) for value in (0, 1, 255)]
    for place in ((0, 0), (0, 11), (11, 0), (5, 6), (11, 11)):
        found.append(np.zeros((12, 12), dtype=np.int64))
        found[-1][place] = 255 if place[0] else 1
    found += [stroke(slope) for slope in (-3, -1, -0.7, -0.3, 0, 0.2, 0.5, 1, 2, 12)]
    found += [np.tri(12, dtype=np.int64) * 255, np.tri(12, dtype=np.int64)[::-1].copy() * 3]
    for density in (0.02, 0.1, 0.5, 1.0):
        for _ in range(4):
            found.append(rng.integers(0, 256, (12, 12)) * (rng.random((12, 12)) < density))
    return torch.tensor(np.stack(found))[:, None]


IMAGES = images()
FRONT_ENDS = [Bytes(), Deskew(), *(Gradients(*g) for g in GRADIENTS)]
every_front_end = pytest.mark.parametrize("part", FRONT_ENDS, ids=lambda p: type(p).__name__)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@both_dtypes
def test_bytes_are_stored_bytes_again(dtype):
    stored = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(Bytes()((stored.float() / 255).to(dtype)), stored.to(dtype))
    assert torch.equal(Bytes()(stored.to(dtype) / 255), stored.to(dtype))


def test_bytes_of_any_numbers_are_the_nearest_ones():
    rng = np.random.default_rng(1)
    edges = [0, 1, -0.1, 1.1, 1e30, -1e30, 0.5, 2**-30, 1 / 510, 3 / 510, 507 / 510, 509 / 510]
    values = np.concatenate([edges, rng.random(500), np.arange(17) / 16]).astype(np.float32)
    expected = [max(0, min(255, nearest(255 * Fraction(float(v))))) for v in values]
    assert Bytes()(torch.from_numpy(values)).tolist() == expected


@both_dtypes
def test_deskew_is_its_twin(dtype):
    found = Deskew()(IMAGES.to(dtype))
    assert found.dtype == dtype
    assert found[:, 0].long().tolist() == [deskewed(i) for i in IMAGES[:, 0].tolist()]
    assert torch.equal(found, found.long().to(dtype))


def test_deskew_of_wide_and_of_tall_images():
    rng = np.random.default_rng(2)
    for shape in ((3, 9), (9, 3), (1, 5), (5, 1), (28, 28)):
        image = torch.from_numpy(rng.integers(0, 256, (2, 1, *shape)))
        found = Deskew()(image.float())[:, 0].long().tolist()
        assert found == [deskewed(i) for i in image[:, 0].tolist()]


def slant_of(image: torch.Tensor) -> float:
    """Covariance of the coordinates over the variance of the vertical one."""
    y, x = torch.meshgrid(*(torch.arange(float(s)) for s in image.shape), indexing="ij")
    total = image.sum()
    dx, dy = x - (x * image).sum() / total, y - (y * image).sum() / total
    return float((dx * dy * image).sum() / (dy * dy * image).sum())


@pytest.mark.parametrize("slope", [-0.7, -0.3, 0.3, 0.6])
def test_deskew_sets_a_slanted_stroke_upright(slope):
    """The property itself, whatever the formula: a sign or an axis mixed up doubles the slant."""
    image = torch.from_numpy(stroke(slope, 16)).float()[None, None]
    assert abs(slant_of(image[0, 0])) > 0.25
    assert abs(slant_of(Deskew()(image)[0, 0])) < 0.05


@both_dtypes
@pytest.mark.parametrize("arguments", GRADIENTS)
def test_gradients_are_their_twin(arguments, dtype):
    found = Gradients(*arguments)(IMAGES.to(dtype))
    assert found.dtype == dtype
    assert found.long().tolist() == [histogram(i, *arguments) for i in IMAGES[:, 0].tolist()]
    assert torch.equal(found, found.long().to(dtype))


def test_gradients_of_several_channels_are_channel_major():
    colour = IMAGES[-6:, 0].unflatten(0, (2, 3)).float()  # two images of three channels
    found = Gradients(4, 3, 2, 2)(colour).unflatten(1, (3, 4))
    for image, maps in zip(colour.long().tolist(), found.long().tolist(), strict=True):
        assert maps == [histogram(channel, 4, 3, 2, 2) for channel in image]


@every_front_end
def test_outputs_are_integers_from_0_to_largest(part):
    worst = [torch.zeros(12, 12), torch.full((12, 12), 255.0)]
    ramps = [torch.zeros(12, 12) for _ in range(4)]  # the steepest edges in four directions
    for ramp, cut in zip(ramps, ("v", "h", "d", "e"), strict=True):
        for y in range(12):
            for x in range(12):
                on = {"v": x > 5, "h": y > 5, "d": x + y > 11, "e": x > y}[cut]
                ramp[y, x] = 255.0 * on
    seen = torch.cat([IMAGES.float(), torch.stack([*worst, *ramps])[:, None]])
    out = part(seen / 255 if isinstance(part, Bytes) else seen)
    assert out.min() >= 0 and out.max() <= part.largest < 2**24
    assert torch.equal(out, out.floor())


@every_front_end
def test_a_row_does_not_depend_on_its_batch(part):
    seen = IMAGES.float() / (255 if isinstance(part, Bytes) else 1)
    alone = torch.cat([part(row) for row in seen.split(1)])
    assert torch.equal(part(seen), alone)
    assert torch.equal(part(seen.flip(0)), alone.flip(0))


def test_without_front_end_keeps_names_and_function():
    parts = {"bytes1": Bytes(), "deskew1": Deskew(), "conv1": nn.Conv2d(1, 2, 3)}
    network = nn.Sequential()
    for name, part in parts.items():
        network.add_module(name, part)
    front, trunk = without_front_end(network)
    assert front is not None
    assert list(trunk.state_dict()) == list(network.state_dict())
    images = IMAGES.float() / 255
    assert torch.equal(trunk(front(images)), network(images))
    assert without_front_end(trunk) == (None, trunk)
    assert without_front_end(nn.Linear(2, 2))[0] is None


def test_gradients_of_power_two_are_pooled_squares():
    """A central difference of 2 · 9 in one direction of length 10, squared, then the triangle."""
    image = torch.zeros(1, 1, 4, 4)
    image[..., 2:] = 9
    plain, squared = (Gradients(4, 2, 1, 0, power)(image.double()) for power in (1, 2))
    assert float(plain[0, 0, 1, 0]) == 10 * (0 + 9) * 2  # columns 0 and 1: differences 0 and 9
    assert float(squared[0, 0, 1, 0]) == 100 * (0 + 81) * 2
