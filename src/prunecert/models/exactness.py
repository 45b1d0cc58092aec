"""Whether a network can be evaluated without any rounding: integers in disguise.

Where inputs are multiples of one power of two, weights of others, and no sum of absolute values
reaches 2^53 of the finest unit, every product and partial sum of a float64 evaluation is exact, in
any order: all machines agree (THEORY 3.5). The bounds are of the weights, for every input at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunecert.models.fixed_parts import Fold, Scale, Slopes
from prunecert.models.front_ends import Bytes, FrontEnd
from prunecert.models.trace import is_plain

LIMIT = 2**53
LEAST_UNIT, LARGEST_UNIT = -1022, 970  # times numbers below LIMIT: normal and finite in float64
_BYTE_UNIT = -31  # 1/255 in float32 has its last bit there, and larger multiples have coarser ones
_SAME = (nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout)


class Inexact(Exception):
    """The evaluation may round; the message says where."""


@dataclass(frozen=True)
class Fixed:
    """Every value is an integer multiple of 2^unit, at most `largest` of them in size; `bytes`: an
    integer from 0 to 255."""

    largest: int
    unit: int
    bytes: bool = False


def why_inexact(network: nn.Module, byte_images: bool) -> str | None:
    """None where every sum of evaluating `network` in float64 is exact, else the reason why not.

    `byte_images`: inputs are float32 k/255 for integers k from 0 to 255, as images of bytes are
    delivered. A network that begins with `Bytes` makes them so itself.
    """
    if type(network) is not nn.Sequential or not all(is_plain(m) for m in network.modules()):
        return "the network is not a Sequential of known parts, without hooks"
    values = Fixed(2**-_BYTE_UNIT, _BYTE_UNIT) if byte_images else None
    try:
        for name, part in network._modules.items():  # a part that stands twice counts twice
            assert part is not None
            values = _after(name, part, values)
    except Inexact as reason:
        return str(reason)
    return None


def _after(name: str, part: nn.Module, values: Fixed | None) -> Fixed:
    """What is known of the outputs of `part`, given its inputs."""
    if isinstance(part, FrontEnd):
        if type(part) is not Bytes and not (values and values.bytes):
            raise Inexact(f"{name}: reads inputs that are not bytes")
        return Fixed(part.largest, 0, part.largest <= 255)
    if values is None:
        raise Inexact("inputs are not images of bytes")
    if type(part) in _SAME:
        return values
    if type(part) is Scale:
        most = part.values << part.bits  # what a row's largest value can become
        _checked(name, Fixed(values.largest * most, values.unit))
        return _checked(name, Fixed(most, 0))
    if type(part) is Slopes:
        return _checked(name, Fixed(2 * values.largest, values.unit))
    if type(part) is Fold:
        return _checked(name, Fixed(part.halves * values.largest, values.unit))
    if type(part) is nn.AvgPool2d:
        window = part.kernel_size
        area = window * window if isinstance(window, int) else math.prod(window)
        if area & (area - 1) or part.divisor_override:
            raise Inexact(f"{name}: averages over {area} values, no power of two")
        if part.padding not in (0, (0, 0)) or part.ceil_mode:
            raise Inexact(f"{name}: averages over fewer values at the border")
        return _checked(name, Fixed(values.largest * area, values.unit - area.bit_length() + 1))
    if type(part) is nn.Linear or type(part) is nn.Conv2d:
        return _linear(name, part.weight, part.bias, values)
    raise Inexact(f"{name}: a {type(part).__name__} may round")


def _linear(name: str, weight: Tensor, bias: Tensor | None, values: Fixed) -> Fixed:
    """Sums of weight · value + bias, bounded by the largest sum of absolute values of a row."""
    unit, integers = _integers(weight.detach().flatten(1))
    rows = [sum(row) for row in integers.abs().tolist()]
    largest, unit = max(rows) * values.largest, unit + values.unit
    if bias is not None and bool((bias != 0).any()):
        bias_unit, biases = _integers(bias.detach())
        finer = min(unit, bias_unit)
        largest = (largest << (unit - finer)) + (int(biases.abs().max()) << (bias_unit - finer))
        unit = finer
    return _checked(name, Fixed(largest, unit))


def _checked(name: str, values: Fixed) -> Fixed:
    if values.largest >= LIMIT:
        bits = values.largest.bit_length()
        raise Inexact(f"{name}: a sum may need {bits} bits, float64 has 53")
    if not LEAST_UNIT <= values.unit <= LARGEST_UNIT:
        raise Inexact(f"{name}: values are multiples of 2^{values.unit}, out of range for float64")
    return values


def _integers(values: Tensor) -> tuple[int, Tensor]:
    """(unit, k) with values = k · 2^unit exactly; Inexact where k would not fit into 62 bits."""
    exact = values.double()
    mantissas, exponents = torch.frexp(exact[exact != 0])
    if not len(mantissas):
        return 0, torch.zeros(values.shape, dtype=torch.int64)
    whole, last = (mantissas * 2**53).long(), exponents.long() - 53
    trailing = torch.frexp((whole & -whole).double()).exponent.long() - 1
    unit = int((last + trailing).min())
    if int(exponents.max()) - unit > 62:
        raise Inexact("weights are too far apart in size")
    integers = torch.zeros(values.shape, dtype=torch.int64)
    integers[exact != 0] = (whole >> trailing) << (last + trailing - unit)
    return unit, integers
