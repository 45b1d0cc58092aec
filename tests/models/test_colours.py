"""Gradients of brightness and of colour against a slow twin in integers, and their bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch

from prunecert.models.exactness import LIMIT
from prunecert.models.front_ends import Colours

Map = list[list[int]]
ARGUMENTS = [(2, 6, 120), (2, 1, 1), (2, 12, 7), (4, 3, 30), (4, 12, 1000)]
DIRECTIONS = [(10, 0), (7, 7), (0, 10), (-7, 7)]  # length 10, every 45 degrees, (across, down)

# --------------------------------------------------------------------------- twin


def colours(image: list[Map], cell: int, bits: int, floor: int) -> list[Map]:
    """22 maps: features of the image, and below them those of its mirror image."""
    mirrored = [[row[::-1] for row in channel] for channel in image]
    halves = [features(half, cell, bits, floor) for half in (image, mirrored)]
    return [above + below for above, below in zip(*halves, strict=True)]


def features(image: list[Map], cell: int, bits: int, floor: int) -> list[Map]:
    """Each derivative over floor + mean derivative of brightness around, then the colours."""
    height, width = len(image[0]), len(image[0][0])
    pixels = [[[image[c][y][x] for c in range(3)] for x in range(width)] for y in range(height)]
    rows, columns = range(height // cell), range(width // cell)
    weight = [min(i + 1, 2 * cell - i) for i in range(2 * cell)]
    mass = sum(weight) ** 2

    def plane(of: Callable[[int, int, int], int]) -> Map:
        return [[of(*pixel) for pixel in row] for row in pixels]

    def near(values: Map, y: int, x: int) -> int:  # what lies outside is as at the border
        return values[min(max(y, 0), len(values) - 1)][min(max(x, 0), len(values[0]) - 1)]

    def derivative(values: Map, c: int, s: int) -> Map:
        return [
            [
                c * (near(values, y, x + 1) - near(values, y, x - 1))
                + s * (near(values, y + 1, x) - near(values, y - 1, x))
                for x in range(width)
            ]
            for y in range(height)
        ]

    def gathered(values: Map) -> Map:  # triangles, centred on the cells
        return [
            [
                sum(
                    a * b * near(values, p * cell - cell // 2 + i, q * cell - cell // 2 + j)
                    for i, a in enumerate(weight)
                    for j, b in enumerate(weight)
                )
                for q in columns
            ]
            for p in rows
        ]

    light = plane(lambda r, g, b: r + 2 * g + b)
    first, second = plane(lambda r, g, b: 2 * (r - b)), plane(lambda r, g, b: 2 * g - r - b)
    eight = DIRECTIONS + [(-c, -s) for c, s in DIRECTIONS]
    bright = [
        gathered([[max(v, 0) for v in row] for row in derivative(light, c, s)]) for c, s in eight
    ]
    sizes = [
        gathered([[2 * abs(v) for v in row] for row in derivative(values, c, s)])
        for values in (first, second)
        for c, s in DIRECTIONS
    ]
    mean = [
        [
            Fraction(
                sum(
                    near(m, p + i, q + j)
                    for m in bright
                    for i in range(-2, 3)
                    for j in range(-2, 3)
                ),
                len(eight) * 25 * mass,
            )
            for q in columns
        ]
        for p in rows
    ]
    gradients = [
        [
            [math.floor(Fraction(m[p][q] << bits, mass) / (floor + mean[p][q])) for q in columns]
            for p in rows
        ]
        for m in bright + sizes
    ]
    middle = [
        gathered(plane(of))
        for of in (
            lambda r, g, b: r + 2 * g + b - 510,
            lambda r, g, b: 4 * (r - b),
            lambda r, g, b: 2 * (2 * g - r - b),
        )
    ]
    patches = [
        [[(max(sign * v, 0) << bits) // (256 * mass) for v in row] for row in m]
        for sign in (1, -1)
        for m in middle
    ]
    return gradients + patches


# --------------------------------------------------------------------------- images

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
MAGENTA, WHITE, BLACK = (255, 0, 255), (255, 255, 255), (0, 0, 0)
PLACES = {"x": (0, 1), "y": (1, 0), "x + y": (1, 1), "x - y": (-1, 1)}


def drawn(height: int, width: int, colour: Callable[[int, int], tuple[int, ...]]) -> torch.Tensor:
    pixels = [[colour(y, x) for x in range(width)] for y in range(height)]
    return torch.tensor(pixels).permute(2, 0, 1)


def stripes(size: int, along: str, one: tuple[int, ...], other: tuple[int, ...]) -> torch.Tensor:
    """Two pixels of one, two of the other: each central difference is as large as can be."""
    dy, dx = PLACES[along]
    return drawn(size, size, lambda y, x: one if (dy * y + dx * x) % 4 < 2 else other)


def images(height: int, width: int) -> torch.Tensor:
    """(n, 3, H, W) bytes: constants, single pixels, hard edges, stripes, then random ones."""
    rng = np.random.default_rng(0)
    shape = (height, width)
    plain = [BLACK, WHITE, RED, GREEN, BLUE, MAGENTA, (127, 128, 127), (1, 0, 0)]
    found = [drawn(*shape, lambda y, x, c=c: c) for c in plain]
    for place in ((0, 0), (height // 2, 1), (height - 1, width - 1)):
        for colour in (WHITE, BLUE, (1, 1, 1)):
            dot = {place: colour}
            found.append(drawn(*shape, lambda y, x, dot=dot: dot.get((y, x), BLACK)))
    pairs = [(BLACK, WHITE), (BLACK, RED), (RED, BLUE), (GREEN, MAGENTA)]
    for one, other in pairs:
        found.append(drawn(*shape, lambda y, x, p=(one, other): p[x >= width // 2]))
        found.append(drawn(*shape, lambda y, x, p=(one, other): p[x > y]))
        side = max(shape)
        found += [stripes(side, a, one, other)[:, :height, :width] for a in PLACES]
    for density in (0.1, 1.0, 1.0):
        kept = rng.random((1, *shape)) < density
        found.append(torch.from_numpy(rng.integers(0, 256, (3, *shape)) * kept))
    return torch.stack(found)


IMAGES = images(8, 8)
every_part = pytest.mark.parametrize("arguments", ARGUMENTS)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


# --------------------------------------------------------------------------- the function


@every_part
def test_colours_are_their_twin(arguments):
    found = Colours(*arguments)(IMAGES.double())
    for image, maps in zip(IMAGES.tolist(), found.long().tolist(), strict=True):
        assert maps == colours(image, *arguments)


@pytest.mark.parametrize("shape", [(4, 12), (12, 4)])
def test_colours_of_wide_and_of_tall_images(shape):
    seen = images(*shape)[::3]
    found = Colours(2, 6, 120)(seen.double())
    assert found.shape[1:] == (22, shape[0], shape[1] // 2)
    assert found.long().tolist() == [colours(image, 2, 6, 120) for image in seen.tolist()]


@every_part
@both_dtypes
def test_the_lower_half_is_of_the_mirror_image(arguments, dtype):
    part, seen = Colours(*arguments), IMAGES.to(dtype)
    above, below = part(seen).chunk(2, 2)
    of_mirrored = part(seen.flip(3)).chunk(2, 2)
    assert torch.equal(below, of_mirrored[0]) and torch.equal(above, of_mirrored[1])
    assert not torch.equal(above, below)


def test_an_image_upside_down_and_mirrored_has_its_slopes_the_other_way():
    """No twin: brightness rises where it fell; sizes and patches stay; places are turned."""
    part, order = Colours(2, 6, 20), [*range(4, 8), *range(4), *range(8, 22)]
    above = part(IMAGES.double()).chunk(2, 2)[0]
    turned = part(IMAGES.double().flip(2, 3)).chunk(2, 2)[0]
    assert torch.equal(turned, above[:, order].flip(2, 3))


def test_brightness_rises_to_the_right_in_the_first_channel():
    edge = drawn(8, 8, lambda y, x: (100, 100, 100) if x > 3 else BLACK)[None].double()
    above, below = Colours(2, 6, 20)(edge)[0].chunk(2, 1)
    assert above[0].max() > 0 and above[4].max() == 0, "to the right, to the left"
    assert below[0].max() == 0 and below[4].max() > 0
    assert above[2].max() == above[6].max() == 0, "down, up"


@every_part
def test_float32_has_the_same_numbers(arguments):
    part = Colours(*arguments)
    found = part(IMAGES.float())
    assert found.dtype == torch.float32
    assert torch.equal(found.double(), part(IMAGES.double()))


def test_a_row_does_not_depend_on_its_batch():
    part = Colours(2, 6, 120)
    together = part(IMAGES.float())
    assert torch.equal(together, torch.cat([part(row[None].float()) for row in IMAGES]))


# --------------------------------------------------------------------------- bounds


def largest_of(bits: int, floor: int) -> list[int]:
    """What no image can exceed, by channel.

    A pixel with differences (a, d) adds 10|a| + 10|d| + 14 max(|a|, |d|) to all brightness: one
    axis has at most 10/24 of it, one diagonal 14/34; the mean has 1/200 of that at least. The
    steepest colours are 2 · 10 · 1020 and 2 · 14 · 1020, without any brightness.
    """
    axis, diagonal = 200 * 10 * 2**bits // 24, 200 * 14 * 2**bits // 34
    steep = [(20 * 1020 << bits) // floor, (28 * 1020 << bits) // floor]
    plain = [(most << bits) // 256 for most in (510, 1020, 1020)]
    return [axis, diagonal] * 4 + steep * 4 + plain * 2


@every_part
def test_outputs_are_integers_from_0_to_largest(arguments):
    part = Colours(*arguments)
    known = torch.tensor(largest_of(*arguments[1:]))
    assert known.max() <= part.largest < 2**24
    found = part(torch.cat([IMAGES, harsh(200)]).double())
    assert torch.equal(found, found.floor()) and found.min() == 0
    assert (found.amax((0, 2, 3)) <= known).all()


def harsh(n: int) -> torch.Tensor:
    """8 × 8 images of the corners of the colour cube, few to many pixels of a few colours."""
    rng = np.random.default_rng(1)
    corners = rng.integers(0, 2, (n, 3, 8, 8)) * 255
    few = rng.random((n, 1, 8, 8)) < rng.choice([0.03, 0.1, 0.5, 1], (n, 1, 1, 1))
    return torch.from_numpy(corners * few)


@pytest.mark.parametrize(("bits", "floor"), [(6, 120), (1, 1), (12, 7), (12, 1000)])
@pytest.mark.parametrize(("one", "other", "first"), [(RED, BLUE, 8), (GREEN, MAGENTA, 12)])
def test_the_steepest_colours_reach_their_bounds(one, other, first, bits, floor):
    """Stripes of colours that are equally bright: nothing to be divided by but the floor."""
    known = largest_of(bits, floor)
    for channel, along in enumerate(PLACES_BY_DIRECTION, start=first):
        image = stripes(16, along, one, other)[None].double()
        inside = Colours(2, bits, floor)(image)[0, :, 3:5, 3:5]
        assert (inside[channel] == known[channel]).all()
        assert (inside[:8] == 0).all()


PLACES_BY_DIRECTION = ["x", "x + y", "y", "x - y"]


@pytest.mark.parametrize(("bits", "floor"), [(6, 120), (1, 1), (12, 7)])
def test_plain_colours_reach_their_bounds(bits, floor):
    known = largest_of(bits, floor)
    for channel, colour in enumerate([WHITE, RED, GREEN, BLACK, BLUE, MAGENTA], start=16):
        maps = Colours(2, bits, floor)(drawn(4, 4, lambda y, x, c=colour: c)[None].double())[0]
        assert (maps[channel] == known[channel]).all()
        assert (maps[:16] == 0).all(), "no slope anywhere"


@pytest.mark.parametrize("channel", range(8))
def test_a_search_for_the_largest_brightness_stays_below(channel):
    """Hill climbing from edges and noise: pixels become black, white or any grey."""
    part, rng = Colours(2, 12, 7), np.random.default_rng(channel)
    best = torch.cat([IMAGES[-3:], IMAGES[:12], harsh(17)]).double()[:, :, :6, :6]
    for _ in range(60):
        tried = best.clone()
        for row, (y, x) in enumerate(rng.integers(0, 6, (len(best), 2))):
            tried[row, :, y, x] = float(rng.choice([0, 255, rng.integers(256)]))
        found = part(torch.cat([best, tried]))[:, channel].amax((1, 2)).chunk(2)
        best = torch.where((found[1] >= found[0])[:, None, None, None], tried, best)
    reached = float(part(best)[:, channel].max())
    assert largest_of(12, 7)[channel] / 25 < reached <= largest_of(12, 7)[channel]


@pytest.mark.parametrize(("cell", "bits"), [(2, 12), (6, 6), (6, 12), (24, 12)])
def test_numerators_and_sums_are_exact(cell, bits):
    """Of the steepest colours, and of all brightness around with a floor of 10^5."""
    mass = (cell * (cell + 1)) ** 2
    assert Colours(cell, bits, 10**5).mass == mass
    assert 28560 * mass * (200 << bits) < LIMIT
    assert 25 * (10 + 10 + 14) * 1020 * mass + 200 * 10**5 * mass < LIMIT


def test_one_view_is_the_upper_half_and_uneven_gradients_are_in_the_unit_of_patches():
    images = IMAGES.double()
    both, one = Colours(2, 6, 120)(images), Colours(2, 6, 120, 1, 1)(images)
    assert torch.equal(one, both[:, :, : both.shape[2] // 2])
    plain = Colours(2, 6, 120, 0, 1)(images)
    assert torch.equal(plain[:, 16:], one[:, 16:])  # patches are the same
    assert float(plain.max()) <= Colours(2, 6, 120, 0, 1).largest
    ramp = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    ramp[:] = 3 * torch.arange(8)  # brightness rises by 12 a pixel: a difference of 24
    assert float(Colours(2, 6, 120, 0, 1)(ramp)[0, 0, 2, 2]) == 240 * 64 // 256
