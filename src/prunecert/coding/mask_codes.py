"""Where the nonzeros of a matrix are: several codes, each told apart by a field of the header.

Those of every dialect are here, the later ones in `structured_masks`, `free_masks`, `run_masks`.

A mask is a bool array of shape (rows, columns): rows are output units, columns are inputs (input
channel major, kernel position minor; `repeat` consecutive columns belong to one input unit).
"""

from __future__ import annotations

from math import isqrt
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from prunecert.coding.mixing import Mixer, log
from prunecert.coding.stream import SCALE, Stream, uniform
from prunecert.types import CodeError

MaskMode = Literal[
    "empty", "dense", "adaptive", "enumerative", "rows",
    "n:m", "blocks", "seeded", "positional", "initial", "runs",
]  # fmt: skip
MASK_MODES: tuple[MaskMode, ...] = get_args(MaskMode)[:5]
EXTENDED_MASK_MODES: tuple[MaskMode, ...] = get_args(MaskMode)  # of dialect 2
SEQUENTIAL_LIMIT = 1 << 21  # above this many entries only the vectorised codes are allowed

BoolMatrix = NDArray[np.bool_]


def candidates(mask: BoolMatrix) -> tuple[MaskMode, ...]:
    """The modes worth trying for this mask."""
    if not mask.any():
        return ("empty",)
    if mask.all():
        return ("dense",)
    if mask.size > SEQUENTIAL_LIMIT:
        return ("rows",)
    return ("adaptive", "enumerative")


def code_mask(
    stream: Stream, mode: MaskMode, shape: tuple[int, int], repeat: int, mask: BoolMatrix | None
) -> BoolMatrix:
    """Write `mask` (or, with None, read one) of this shape in this mode."""
    if mode == "empty":
        if mask is not None and mask.any():
            raise ValueError("a mask with nonzeros was to be coded as empty")
        return np.zeros(shape, np.bool_)
    if mode == "dense":
        return np.ones(shape, np.bool_)
    given = np.zeros(shape, np.bool_) if mask is None else mask
    if mode == "rows":
        return _rows(stream, given)
    if given.size > SEQUENTIAL_LIMIT:
        raise CodeError(f"a mask of {given.size} entries is coded in a mode for smaller ones")
    if mode == "enumerative":
        return code_enumerative(stream, given)
    return _adaptive(stream, given, repeat)


def code_enumerative(stream: Stream, mask: BoolMatrix) -> BoolMatrix:
    """log2 C(N, k) bits and k: each bit has probability (ones left) / (places left)."""
    flat = mask.ravel().tolist()
    left = uniform(stream, mask.size + 1, int(mask.sum()))
    for i, places in enumerate(range(mask.size, 0, -1)):
        if left == 0 or left == places:
            flat[i : i + places] = [left != 0] * places
            break
        probability = min(max(left * SCALE // places, 1), SCALE - 1)
        flat[i] = bool(stream.bit(probability, int(flat[i])))
        left -= flat[i]
    return np.array(flat, np.bool_).reshape(mask.shape)


def _rows(stream: Stream, mask: BoolMatrix) -> BoolMatrix:
    """Each row's count, then its bits at that rate: whole rows at a time, for large matrices."""
    rows, columns = mask.shape
    out = np.zeros((rows, columns), np.bool_)
    for r in range(rows):
        ones = uniform(stream, columns + 1, int(mask[r].sum()))
        if 0 < ones < columns:
            probability = min(max(ones * SCALE // columns, 1), SCALE - 1)
            out[r] = stream.bits(probability, mask[r].astype(np.int32), columns)
        else:
            out[r] = bool(ones)
    return out


def _adaptive(stream: Stream, mask: BoolMatrix, repeat: int) -> BoolMatrix:
    """Row by row, predicting each bit from its row, its column, its neighbours and its kernel.

    The base rate is (ones left) / (places left), as in the enumerative code: on a mask without
    structure the two cost nearly the same.
    """
    rows, columns = mask.shape
    left, places = uniform(stream, mask.size + 1, int(mask.sum())), mask.size
    width = _image_width(columns, repeat)
    mixer = Mixer([64, 256, 256, 64, 512, 64], left, places)
    above = [0] * (columns + width + 2)  # the row before, padded on both sides
    column_ones = [0] * columns
    column_levels = [c * 8 // columns for c in range(columns)]
    out = mask.tolist()
    for r in range(rows):
        row = out[r]
        here = [0] * (columns + width + 2)
        row_level, row_ones, kernel_ones = r * 8 // rows << 3, 0, 0
        age = min(r.bit_length(), 7)
        for c in range(columns):
            kernel_ones = 0 if c % repeat == 0 else kernel_ones
            i = c + width  # left padding: neighbours outside the matrix are zeros
            near = here[i - 1] | here[i - 2] << 1 | above[i] << 2 | above[i - 1] << 3
            near |= above[i + 1] << 4 | here[c] << 5
            ones = column_ones[c]
            contexts = [
                row_level | column_levels[c],
                min(ones, 31) << 3 | age,
                min(row_ones, 31) << 3 | min(c.bit_length(), 11) >> 1,
                near,
                min(ones, 15) << 5 | min(row_ones, 15) << 1 | (near & 1),
                min(kernel_ones, 3) << 4 | min(c % repeat, 15),
            ]
            base = log(2 * left + 1) - log(2 * (places - left) + 1)
            bit = row[c] = mixer.code(stream, base, contexts, int(row[c]))
            places -= 1
            left -= bit
            if not 0 <= left <= places:
                raise CodeError("a mask has more or fewer nonzeros than its count says")
            if bit:
                here[i] = 1
                row_ones += 1
                kernel_ones += 1
                column_ones[c] += 1
        above = here
    return np.array(out, np.bool_).reshape(rows, columns)


def _image_width(columns: int, repeat: int) -> int:
    """How far back the pixel above lies: inputs and kernels are square when they can be."""
    for size in (repeat, columns):
        side = isqrt(size)
        if side > 2 and side * side == size:
            return side
    return 3
