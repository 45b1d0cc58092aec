"""Quantities that a seed alone decides, the same on every machine for ever (THEORY 3.2).

They come from SHAKE-128 (FIPS 202), whose output is fixed by a standard, of a label in plain
ASCII: no framework's generator, whose streams change between releases, and no floating point.
Numbers in labels are decimal without leading zeros; `index` tells the tensors of a network apart.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

SEED_BITS = 16
SEEDS = 1 << SEED_BITS  # a seed is one of 0 … SEEDS − 1: what its field in a file can hold
INITIAL_BITS = 15  # of an initial value: odd integers up to 2^INITIAL_BITS − 1
BLOCK_ROWS = 1024  # rows of a projection that share a label


def seeded_signs(seed: int, index: int, count: int) -> NDArray[np.bool_]:
    """`count` signs, shape (count,), True = negative.

    Sign i is bit i mod 8 (the least significant bit is bit 0) of byte ⌊i / 8⌋ of
    SHAKE-128("prunecert signs {seed} {index}"). Fewer signs are a prefix of more.
    """
    stream = _bytes(f"prunecert signs {seed} {index}", (count + 7) // 8)
    return np.unpackbits(stream, count=count, bitorder="little").astype(np.bool_)


def seeded_ranks(seed: int, index: int, count: int) -> NDArray[np.int64]:
    """`count` integers of 32 bits, shape (count,): the lower, the earlier a place is kept.

    Integer i is bytes 4i … 4i + 3, little end first, of SHAKE-128("prunecert places {seed}
    {index}").
    """
    stream = _bytes(f"prunecert places {seed} {index}", 4 * count)
    return stream.view("<u4").astype(np.int64)


def initial_integers(seed: int, index: int, count: int) -> NDArray[np.int64]:
    """`count` odd integers, uniform on −32767 … 32767, shape (count,): initial weights in units of
    a power of two.

    Integer i is 2u + 1 − 2^15, u the low 15 bits of bytes 2i, 2i + 1, little end first, of
    SHAKE-128("prunecert initial {seed} {index}").
    """
    stream = _bytes(f"prunecert initial {seed} {index}", 2 * count)
    low = stream.view("<u2").astype(np.int64) & ((1 << INITIAL_BITS) - 1)
    return 2 * low + 1 - (1 << INITIAL_BITS)


def projection_rows(seed: int, index: int, block: int, width: int) -> NDArray[np.uint8]:
    """Packed signs of rows BLOCK_ROWS · block … of a ±1 matrix, shape (BLOCK_ROWS, width) bytes.

    The sign of row BLOCK_ROWS · block + r and column j is bit j mod 8 of byte r · width + ⌊j / 8⌋
    of SHAKE-128("prunecert subspace {seed} {index} {block}"), 1 = negative; width = ⌈columns / 8⌉.
    """
    label = f"prunecert subspace {seed} {index} {block}"
    return _bytes(label, BLOCK_ROWS * width).reshape(BLOCK_ROWS, width)


def _bytes(label: str, count: int) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.shake_128(label.encode("ascii")).digest(count), np.uint8)
