"""Networks written as a list of parts: `net:1x28x28,bytes,gradients-8-6-3-9-1,conv-12-3,relu,…`.

The name holds every number that the architecture has, and so does the header of a network file:
(family, C, H, W, then each part's number and its arguments).
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from prunecert.models.fixed_parts import Fold, Scale, Slopes
from prunecert.models.front_ends import Bytes, Colours, Deskew, Gradients
from prunecert.types import InputError

PREFIX = "net:"
EXAMPLE = "net:1x28x28,conv-20-5,relu,max-2,linear-10"
LARGEST_SIDE = 1 << 14  # pixels, channels, units: what a stranger's file can make us build
MOST_WEIGHTS = 1 << 26
MOST_VALUES = 1 << 26  # of one row on its way through the network
MOST_PARTS = 100

Shape = tuple[int, ...]  # (C, H, W) or (units,)


class Misfit(ValueError):
    """A part that does not fit where it stands."""


@dataclass(frozen=True)
class Kind:
    """One kind of part: its number in files, its arguments, and how it is built on a shape."""

    number: int
    arguments: tuple[str, ...]
    build: Callable[..., tuple[nn.Module, Shape]]


def _image(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise Misfit("comes after a linear layer: expected an image")
    return shape[0], shape[1], shape[2]


def _after(size: int, window: int, stride: int) -> int:
    if not 1 <= window <= size:
        raise Misfit(f"a window of {window} does not fit into {size} pixels")
    return (size - window) // stride + 1


def _require_moderate(weights: int) -> None:
    if not 1 <= weights <= MOST_WEIGHTS:
        raise Misfit(f"has {weights:,} weights: expected 1 to {MOST_WEIGHTS:,}")


def _bytes(shape: Shape) -> tuple[nn.Module, Shape]:
    return Bytes(), _image(shape)


def _deskew(shape: Shape) -> tuple[nn.Module, Shape]:
    channels, height, width = _image(shape)
    if channels != 1:
        raise Misfit(f"expected one channel, not {channels}")
    if Deskew.largest_moment(height, width) >= 1 << 53:
        raise Misfit(f"{height} x {width} pixels: moments may need more than 53 bits")
    return Deskew(), (channels, height, width)


def _gradients(
    shape: Shape, bins: int, cell: int, stride: int, shift: int, power: int
) -> tuple[nn.Module, Shape]:
    channels, height, width = _image(shape)
    if not 1 <= bins <= 64 or stride < 1 or shift > 20 or power not in (1, 2):
        raise Misfit(
            "expected 1 to 64 bins, a stride of at least 1, a shift of at most 20, power 1 or 2"
        )
    rows, columns = (_after(size, cell, stride) for size in (height, width))
    part = Gradients(bins, cell, stride, shift, power)
    if not 0 < part.largest < 1 << 24:
        raise Misfit(f"features up to {part.largest}: expected a shift that leaves 1 to 24 bits")
    return part, (channels * bins, rows, columns)


def _colours(
    shape: Shape, cell: int, bits: int, floor: int, even: int, views: int
) -> tuple[nn.Module, Shape]:
    channels, height, width = _image(shape)
    if channels != 3:
        raise Misfit(f"expected three channels, not {channels}")
    if cell < 2 or cell % 2 or height % cell or width % cell or min(height, width) < 2 * cell:
        raise Misfit("expected an even cell that divides both sides, at most half of them")
    if not 1 <= bits <= 12 or floor < 1 or even > 1 or views not in (1, 2):
        raise Misfit("expected 1 to 12 bits, a floor of at least 1, even 0 or 1, 1 or 2 views")
    part = Colours(cell, bits, floor, even, views)
    if part.largest_number >= 1 << 53:
        raise Misfit("sums above 2^53 would be rounded: expected a smaller cell, or fewer bits")
    if part.largest >= 1 << 24:
        raise Misfit("features of more than 24 bits: expected fewer bits or a higher floor")
    return part, (22, views * height // cell, width // cell)


def _scale(shape: Shape, bits: int, over: int) -> tuple[nn.Module, Shape]:
    if bits > 16:
        raise Misfit(f"{bits} bits: expected at most 16")
    if over > 2 or (over and len(shape) < 3):
        raise Misfit("expected 0 (a row), or of a picture 1 (each channel) or 2 (each place)")
    values = (math.prod(shape), math.prod(shape[1:]), shape[0])[over]
    return Scale(bits, values, over), shape


def _slopes(shape: Shape, halves: int) -> tuple[nn.Module, Shape]:
    channels, height, width = _image(shape)
    _require_halves(height, halves)
    return Slopes(halves), (5 * channels, height, width)


def _fold(shape: Shape, halves: int) -> tuple[nn.Module, Shape]:
    channels, height, width = _image(shape)
    _require_halves(height, halves)
    return Fold(halves), (channels, height // halves, width)


def _require_halves(height: int, halves: int) -> None:
    if halves < 1 or height % halves:
        raise Misfit(f"{height} rows are not {halves} pictures of the same size")


def _conv(shape: Shape, channels: int, kernel: int) -> tuple[nn.Module, Shape]:
    before, height, width = _image(shape)
    rows, columns = (_after(size, kernel, 1) for size in (height, width))
    _require_moderate(before * channels * kernel**2)
    return nn.Conv2d(before, channels, kernel), (channels, rows, columns)


def _pool(layer: type[nn.Module]) -> Callable[..., tuple[nn.Module, Shape]]:
    def build(shape: Shape, window: int) -> tuple[nn.Module, Shape]:
        channels, height, width = _image(shape)
        rows, columns = (_after(size, window, window) for size in (height, width))
        return layer(window), (channels, rows, columns)

    return build


def _linear(shape: Shape, units: int) -> tuple[nn.Module, Shape]:
    (fan_in,) = shape  # an image is flattened first
    _require_moderate(fan_in * units)
    return nn.Linear(fan_in, units), (units,)


# Numbers are written into network files: add, never renumber.
KINDS: dict[str, Kind] = {
    "linear": Kind(1, ("units",), _linear),
    "conv": Kind(2, ("channels", "kernel"), _conv),
    "relu": Kind(3, (), lambda shape: (nn.ReLU(), shape)),
    "max": Kind(4, ("window",), _pool(nn.MaxPool2d)),
    "avg": Kind(5, ("window",), _pool(nn.AvgPool2d)),
    "bytes": Kind(6, (), _bytes),
    "deskew": Kind(7, (), _deskew),
    "scale": Kind(9, ("bits", "over"), _scale),
    "slopes": Kind(10, ("halves",), _slopes),
    "fold": Kind(11, ("halves",), _fold),
    "colours": Kind(12, ("cell", "bits", "floor", "even", "views"), _colours),
    "gradients": Kind(8, ("bins", "cell", "stride", "shift", "power"), _gradients),
}
_FORM = re.compile(r"net:([1-9]\d{0,4})x([1-9]\d{0,4})x([1-9]\d{0,4})((?:,[a-z]+(?:-\d{1,5})*)+)")


def chain_code(spec: str) -> tuple[int, ...]:
    """The integers that stand for a chain: C, H, W, then (number, arguments…) of each part.

    Raises InputError where the name cannot be read, or a part does not fit.
    """
    match = _FORM.fullmatch(spec)
    if not match:
        raise InputError(
            f"model '{spec}': expected C x H x W and parts joined by commas, as in {EXAMPLE}"
        )
    code = [int(size) for size in match.groups()[:3]]
    for part in match[4][1:].split(","):
        name, *arguments = part.split("-")
        kind = KINDS.get(name)
        if kind is None or len(arguments) != len(kind.arguments):
            forms = ", ".join("-".join((n, *map(str.upper, k.arguments))) for n, k in KINDS.items())
            raise InputError(f"model '{spec}': '{part}': expected one of {forms}")
        code += [kind.number, *map(int, arguments)]
    try:
        _require_buildable(code)
    except Misfit as problem:
        raise InputError(f"model '{spec}': {problem}") from None
    return tuple(code)


def chain_spec(code: Sequence[int]) -> str:
    """Inverse of `chain_code`; Misfit for integers that are no such network."""
    parts = [f"{name}{''.join(f'-{a}' for a in arguments)}" for name, arguments in _parts(code)]
    _require_buildable(code)
    return PREFIX + ",".join(["x".join(str(size) for size in code[:3]), *parts])


def _require_buildable(code: Sequence[int]) -> None:
    """Misfit where `build_chain` would raise it; no weight is allocated."""
    with torch.device("meta"):
        build_chain(code)


def _parts(code: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
    names = {kind.number: name for name, kind in KINDS.items()}
    rest, parts = list(code[3:]), []
    if len(code) < 4 or not all(1 <= size <= LARGEST_SIDE for size in code[:3]):
        raise Misfit(f"expected three sizes from 1 to {LARGEST_SIDE}, then parts")
    while rest:
        name = names.get(rest.pop(0))
        if name is None or len(rest) < len(KINDS[name].arguments):
            raise Misfit("a part is none that is known here")
        count = len(KINDS[name].arguments)
        parts.append((name, tuple(rest[:count])))
        rest = rest[count:]
    return parts


def build_chain(code: Sequence[int]) -> nn.Module:
    """The network, its parts named by kind and number (`conv1`, `relu2`); Misfit where a part does
    not fit, or what is asked for is too large to be built."""
    shape: Shape = tuple(code[:3])
    found: OrderedDict[str, nn.Module] = OrderedDict()
    counts: dict[str, int] = {}
    parts = _parts(code)
    if len(parts) > MOST_PARTS:
        raise Misfit(f"{len(parts)} parts: expected at most {MOST_PARTS}")
    weights = 0
    for name, arguments in parts:
        if name == "linear" and len(shape) == 3:
            found["flatten"] = nn.Flatten()
            shape = (shape[0] * shape[1] * shape[2],)
        counts[name] = counts.get(name, 0) + 1
        try:
            found[f"{name}{counts[name]}"], shape = KINDS[name].build(shape, *arguments)
        except Misfit as problem:
            raise Misfit(f"part '{name}' number {counts[name]}: {problem}") from None
        weights += sum(
            parameter.numel() for parameter in next(reversed(found.values())).parameters()
        )
        if weights > MOST_WEIGHTS or math.prod(shape) > MOST_VALUES:
            raise Misfit(f"is larger than {MOST_WEIGHTS:,} weights, or than as many values")
    return nn.Sequential(found)
