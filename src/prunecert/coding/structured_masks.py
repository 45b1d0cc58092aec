"""Masks with a structure that hardware likes: N nonzeros in every M, or whole blocks.

Both belong to dialect 2. A writer finds the parameters in the mask itself and always takes the
same ones, so that they need not be remembered; a mask without the structure is a CodeError.
"""

from __future__ import annotations

from math import lgamma, log, prod

import numpy as np
import torch

from prunecert.coding.mask_codes import SEQUENTIAL_LIMIT, BoolMatrix, code_enumerative
from prunecert.coding.stream import SCALE, Stream, positive, uniform
from prunecert.types import CodeError

GROUP_SIZES = (2, 4, 8, 16, 32)  # M of an N:M mask; the order is the format
BLOCK_SIDES = (2, 4, 8, 16)
FEW = 1024  # entries: below, a mask can be N:M by chance
LN2 = log(2)


# ------------------------------------------------------------------------------------- N:M


def has_groups(tensor: torch.Tensor) -> bool:
    """True where a matrix or kernel is N:M sparse, which renumbering its inputs would undo."""
    if tensor.ndim < 2 or tensor.numel() < FEW:
        return False
    mask = (tensor != 0).flatten(1).numpy()
    return find_groups(mask, prod(tensor.shape[2:])) is not None


def find_groups(mask: BoolMatrix, kernel: int) -> tuple[int, int] | None:
    """(M, N) of the smallest M for which the mask is N:M, or None.

    Where it is for M it is for 2M, at more bits.
    """
    inputs = _inputs_last(mask, kernel)
    for m in GROUP_SIZES:
        ones = int(inputs[0, :m].sum()) if inputs.size else 0
        if 0 < ones < m and all(
            np.all(part.sum(1) == min(ones, part.shape[1])) for part in _groups(inputs, m)
        ):
            return m, ones
    return None


def code_groups(
    stream: Stream, shape: tuple[int, int], kernel: int, mask: BoolMatrix | None
) -> BoolMatrix:
    """M, N, then log2 C(M, N) bits for each group of M consecutive inputs, at each kernel place.

    `kernel` consecutive columns belong to one input. The last group of a row may be shorter, of
    length L: it holds min(N, L) nonzeros.
    """
    found = (2, 1) if mask is None else find_groups(mask, kernel)
    if found is None:
        raise CodeError("a mask was to be coded as N:M and is not")
    m = GROUP_SIZES[uniform(stream, len(GROUP_SIZES), GROUP_SIZES.index(found[0]))]
    ones = uniform(stream, m - 1, found[1] - 1) + 1
    inputs = _inputs_last(np.zeros(shape, np.bool_) if mask is None else mask, kernel)
    parts = [_exactly(stream, min(ones, p.shape[1]), p) for p in _groups(inputs, m)]
    rows, columns = inputs.shape
    coded = np.concatenate([p.reshape(rows, p.size // max(rows, 1)) for p in parts], axis=1)
    return coded.reshape(shape[0], kernel, columns).transpose(0, 2, 1).reshape(shape)


def _inputs_last(mask: BoolMatrix, kernel: int) -> BoolMatrix:
    """Shape (rows · kernel, inputs): one row per output unit and kernel place."""
    rows, inputs = mask.shape[0], mask.shape[1] // max(kernel, 1)
    by_place = mask.reshape(rows, inputs, kernel).transpose(0, 2, 1)
    return by_place.reshape(rows * kernel, inputs)


def _groups(inputs: BoolMatrix, m: int) -> tuple[BoolMatrix, BoolMatrix]:
    """All groups of M places, shape (groups, M), and the shorter ones at the ends of rows."""
    rows, whole = inputs.shape[0], inputs.shape[1] // m
    return inputs[:, : whole * m].reshape(rows * whole, m), inputs[:, whole * m :]


def _exactly(stream: Stream, ones: int, groups: BoolMatrix) -> BoolMatrix:
    """`ones` nonzeros in each row of (groups, places), a place of all groups at a time: each bit
    has probability (ones left) / (places left), as in the enumerative code."""
    out = groups.astype(np.int32)
    left = np.full(len(out), ones)
    for j in range(out.shape[1]):
        places = out.shape[1] - j
        for some in range(1, min(ones, places - 1) + 1):
            open_ = np.flatnonzero(left == some)
            out[open_, j] = stream.bits(some * SCALE // places, out[open_, j], len(open_))
        out[left == 0, j] = 0
        out[left == places, j] = 1
        left -= out[:, j]
    return out.astype(np.bool_)


# ------------------------------------------------------------------------------------- blocks


def find_blocks(mask: BoolMatrix, repeat: int) -> tuple[int, int] | None:
    """(block rows, block columns) of the cheapest size whose kept blocks are full, or None."""
    fitting = [size for size in _block_sizes(mask.shape, repeat) if _in_blocks(mask, size)]
    return min(fitting, key=lambda size: _block_price(mask, size), default=None)


def code_blocks(
    stream: Stream, shape: tuple[int, int], repeat: int, mask: BoolMatrix | None
) -> BoolMatrix:
    """Block rows and columns, then the enumerative code of the mask of blocks, each kept in full.

    The last blocks of a row or a column may be cut off by the border. `repeat` columns belong to
    one input unit: one of the sizes that a writer tries.
    """
    found = (1, 1) if mask is None else find_blocks(mask, repeat)
    if found is None:
        raise CodeError("a mask was to be coded in blocks and has none")
    size = positive(stream, found[0]), positive(stream, found[1])
    if size[0] > shape[0] or size[1] > shape[1]:
        raise CodeError(f"blocks of {size[0]} x {size[1]} are larger than their matrix")
    blocks = np.zeros((-(-shape[0] // size[0]), -(-shape[1] // size[1])), np.bool_)
    if blocks.size > SEQUENTIAL_LIMIT:
        raise CodeError(f"a mask of {blocks.size} blocks: at most {SEQUENTIAL_LIMIT} are coded")
    if mask is not None:
        blocks = mask[:: size[0], :: size[1]]
    return _filled(code_enumerative(stream, blocks), size, shape)


def _block_sizes(shape: tuple[int, int], repeat: int) -> list[tuple[int, int]]:
    """What a writer tries: rows, columns and squares of 2 to 16, an input unit, whole rows and
    columns; those that fit and leave few enough blocks."""
    sides = [size for k in BLOCK_SIDES for size in ((1, k), (k, 1), (k, k))]
    sizes = dict.fromkeys([*sides, (1, repeat), (1, shape[1]), (shape[0], 1)])
    return [
        (r, c)
        for r, c in sizes
        if r * c > 1
        and r <= shape[0]
        and c <= shape[1]
        and -(-shape[0] // r) * -(-shape[1] // c) <= SEQUENTIAL_LIMIT
    ]


def _in_blocks(mask: BoolMatrix, size: tuple[int, int]) -> bool:
    return np.array_equal(_filled(mask[:: size[0], :: size[1]], size, mask.shape), mask)


def _filled(blocks: BoolMatrix, size: tuple[int, int], shape: tuple[int, int]) -> BoolMatrix:
    return blocks.repeat(size[0], axis=0).repeat(size[1], axis=1)[: shape[0], : shape[1]]


def _block_price(mask: BoolMatrix, size: tuple[int, int]) -> float:
    """Bits of the two sides, of the count and of the kept blocks."""
    blocks = mask[:: size[0], :: size[1]]
    n, k = blocks.size, int(blocks.sum())
    choices = (lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)) / LN2
    sides = sum(2 * side.bit_length() - 1 for side in size)
    return sides + n.bit_length() + choices
