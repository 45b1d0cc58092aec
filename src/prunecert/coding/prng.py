"""Signs that a seed alone decides, the same on every machine for ever (THEORY 3.2).

They come from SHAKE-128 (FIPS 202), whose output is fixed by a standard, of a label in plain
ASCII: no framework's generator, whose streams change between releases, and no floating point.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

SEED_BITS = 16
SEEDS = 1 << SEED_BITS  # a seed is one of 0 … SEEDS − 1: what its field in a file can hold


def seeded_signs(seed: int, index: int, count: int) -> NDArray[np.bool_]:
    """`count` signs, shape (count,), True = negative.

    Sign i is bit i mod 8 (the least significant bit is bit 0) of byte ⌊i / 8⌋ of
    SHAKE-128("prunecert signs {seed} {index}"), numbers in decimal without leading zeros. Fewer
    signs are a prefix of more. `index` tells the tensors of a network apart.
    """
    label = f"prunecert signs {seed} {index}".encode("ascii")
    stream = np.frombuffer(hashlib.shake_128(label).digest((count + 7) // 8), np.uint8)
    return np.unpackbits(stream, count=count, bitorder="little").astype(np.bool_)
