"""Fixed front ends: what a network computes from an image before its first weight.

Everything is exact: `Bytes` makes an image integers again, and all that follows are integers below
2^53 in float64, so that every machine computes the same features. Nothing here is trained; the
numbers of a front end stand in the name of the network and in the header of its file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunecert.models.fixed_parts import FixedPart

SUBPIXELS = 64  # a row is moved by multiples of 1 / SUBPIXELS pixel
DIRECTION = 10  # length of the integer vectors that stand for directions


class FrontEnd(FixedPart):
    """A part without parameters that turns images into features, row by row.

    Its outputs are integers from 0 to `largest`, below 2^24, in the dtype of its inputs.
    """

    largest: int


class Bytes(FrontEnd):
    """round(255 x): the stored bytes of an image in [0, 1], any shape."""

    largest = 255

    def forward(self, x: Tensor) -> Tensor:
        return (x.double() * 255 + 0.5).floor().clamp(0, 255).to(x.dtype)


class Deskew(FrontEnd):
    """Undo the slant of a bright shape: rows move sideways until it is upright (LeCun et al. 1998).

    (n, 1, H, W) bytes → the same. The slant is the covariance of the two coordinates over the
    variance of the vertical one, all moments being exact integers, cut to ±1 and rounded to
    1 / SUBPIXELS; the row of the mean height, rounded, stays. Zeros lie beside the image; between
    two pixels a row is interpolated and rounded. Halves are rounded up.
    """

    largest = 255

    @staticmethod
    def largest_moment(height: int, width: int) -> int:
        """What no product of moments of such images exceeds; exact below 2^53."""
        across, down = sum(range(width)), sum(range(height))
        squares = sum(y * y for y in range(height))
        return 255**2 * height * width * max(across * down, width * squares)

    def forward(self, images: Tensor) -> Tensor:
        x = images.double()[:, 0]
        rows, columns = (torch.arange(size, device=x.device).double() for size in x.shape[1:])
        mass = x.sum((1, 2)).clamp(min=1)
        by_row = x.sum(2)
        first_y, first_x = (by_row * rows).sum(1), (x.sum(1) * columns).sum(1)
        second_y = (by_row * rows * rows).sum(1)
        mixed = ((x * columns).sum(2) * rows).sum(1)
        covariance = mass * mixed - first_x * first_y
        variance = (mass * second_y - first_y * first_y).clamp(min=1)
        slant = (covariance * SUBPIXELS / variance + 0.5).floor().clamp(-SUBPIXELS, SUBPIXELS)
        centre = (first_y / mass + 0.5).floor()
        shift = slant[:, None] * (rows - centre[:, None])  # (n, H), in subpixels
        whole = (shift / SUBPIXELS).floor()
        part = (shift - whole * SUBPIXELS)[:, :, None]
        places = (columns + whole[:, :, None]).long()
        padded = functional.pad(x, (1, 1))

        def at(index: Tensor) -> Tensor:
            return padded.gather(2, (index + 1).clamp(0, len(columns) + 1))

        moved = at(places) * (SUBPIXELS - part) + at(places + 1) * part
        return (moved / SUBPIXELS + 0.5).floor()[:, None].to(images.dtype)


class Gradients(FrontEnd):
    """Half-rectified directional derivatives, pooled by triangles: a histogram of gradients.

    (n, C, H, W) bytes → (n, C · bins, H', W'). Derivatives are central differences in
    `bins` directions (Dalal and Triggs 2005 have the histogram); each is summed over cell × cell
    pixels with weights that fall off linearly, every `stride` pixels, and divided by 2^shift
    (floored); `power` 2 squares it before.
    """

    def __init__(self, bins: int, cell: int, stride: int, shift: int, power: int = 1) -> None:
        super().__init__()
        self.bins, self.stride, self.shift, self.power = bins, stride, shift, power
        angles = [2 * math.pi * k / bins for k in range(bins)]
        self.directions = [
            (round(DIRECTION * math.cos(a)), round(DIRECTION * math.sin(a))) for a in angles
        ]
        self.slope = [min(i + 1, cell - i) for i in range(cell)]
        steepest = max(abs(c) + abs(s) for c, s in self.directions)
        self.largest = ((255 * steepest) ** power * sum(self.slope) ** 2) >> shift

    def forward(self, images: Tensor) -> Tensor:
        padded = functional.pad(images.double(), (1, 1, 1, 1))
        across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
        down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
        found = [
            pooled(functional.relu(c * across + s * down) ** self.power, self.slope, self.stride)
            for c, s in self.directions
        ]
        together = torch.stack(found, 2).flatten(1, 2)  # channel major, direction minor
        return (together / 2**self.shift).floor().to(images.dtype)


def pooled(maps: Tensor, weights: Sequence[int], stride: int) -> Tensor:
    """Weighted sums over windows, the same weights down and across: (…, H, W) → (…, H', W')."""
    for axis in (-2, -1):
        count = (maps.shape[axis] - len(weights)) // stride + 1
        windows = maps.unfold(axis, len(weights), stride).narrow(axis - 1, 0, count)
        maps = sum(w * windows[..., i] for i, w in enumerate(weights))
    return maps


class Colours(FrontEnd):
    """Oriented gradients of brightness and of colour, evened out, and patches of colour.

    (n, 3, H, W) bytes → (n, 22, 2 H / `cell`, W / `cell`): features of the image, and below them
    those of its mirror image. Brightness R + 2G + B has half-rectified derivatives in eight
    directions, 2(R − B) and 2G − R − B the sizes of theirs in four; each is pooled by triangles of
    2 · cell pixels, colours count twice, and divided by `floor` plus the mean gradient of
    brightness around (5 × 5 places), times 2^bits. Then 2^bits / 256 of the three means themselves,
    brightness about its middle, colours twice, half-rectified.

    `even` 0 leaves gradients as they are, in the unit of the three means; `views` 1 leaves out the
    mirror image.
    """

    def __init__(self, cell: int, bits: int, floor: int, even: int = 1, views: int = 2) -> None:
        super().__init__()
        self.cell, self.bits, self.floor = cell, bits, floor
        self.even, self.views = even, views
        self.slope = [min(i + 1, 2 * cell - i) for i in range(2 * cell)]
        self.mass = sum(self.slope) ** 2
        # brightness: at most all 200 gradients of the mean it is divided by; colours: 2 · 7 · 2040
        self.largest = max(200 << bits, (28560 << bits) // (floor if even else 256) + 1)
        # what is divided (a pooled gradient times 200 · 2^bits), and what it is divided by
        self.largest_number = self.mass * max(28560 * (200 << bits), 867000 + 200 * floor)

    def forward(self, images: Tensor) -> Tensor:
        x = images.double()
        seen = (x, x.flip(3))[: self.views]
        return torch.cat([self._features(view) for view in seen], 2).to(images.dtype)

    def _features(self, x: Tensor) -> Tensor:
        red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:]
        light, first, second = red + 2 * green + blue, 2 * (red - blue), 2 * green - red - blue
        turned = _directional(light)
        bright = self._pooled(torch.cat([turned.relu(), (-turned).relu()], 1))
        colour = self._pooled(torch.cat([_directional(first), _directional(second)], 1).abs())
        gradients = torch.cat([bright, 2 * colour], 1)
        # tensors: by a plain number CUDA would multiply with the rounded reciprocal
        unit = x.new_tensor(256 * self.mass)
        if self.even:
            around = functional.pad(bright.sum(1, keepdim=True), (2, 2, 2, 2), mode="replicate")
            energy = pooled(around, [1] * 5, 1) + 200 * self.floor * self.mass
            gradients = gradients * (200 << self.bits) / energy
        else:
            gradients = gradients * 2**self.bits / unit
        patches = self._pooled(torch.cat([light - 510, 2 * first, 2 * second], 1))
        patches = torch.cat([patches.relu(), (-patches).relu()], 1) * 2**self.bits
        patches = patches / unit
        return torch.cat([gradients, patches], 1).floor()

    def _pooled(self, maps: Tensor) -> Tensor:
        border = (self.cell // 2,) * 4
        return pooled(functional.pad(maps, border, mode="replicate"), self.slope, self.cell)


def _directional(maps: Tensor) -> Tensor:
    """Central differences in four directions, 45 degrees apart: (n, 1, H, W) → (n, 4, H, W)."""
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    return torch.cat([10 * across, 7 * (across + down), 10 * down, 7 * (down - across)], 1)


def without_front_end(module: nn.Module) -> tuple[nn.Module | None, nn.Module]:
    """The leading fixed parts of a Sequential, if any, and what follows them: the tensors of the
    latter have the names they have in `module`."""
    parts = list(module._modules.items()) if type(module) is nn.Sequential else []
    count = next((i for i, (_, p) in enumerate(parts) if not isinstance(p, FixedPart)), 0)
    if not count:
        return None, module
    front, trunk = nn.Sequential(), nn.Sequential()
    for i, (name, part) in enumerate(parts):
        (front if i < count else trunk).add_module(name, part)
    return front, trunk
