"""Slow twins of what a seed decides, one place at a time from the documentation, in exact numbers.

Nothing is shared with `prunecert.coding` but the words of the docstrings of `prng`.
"""

from __future__ import annotations

import hashlib
import struct
from fractions import Fraction

import torch

from prunecert.coding.patterns import from_patterns


def word(label: str, start: int, count: int) -> int:
    """`count` bytes from `start` of a label's SHAKE-128, little end first."""
    digest = hashlib.shake_128(label.encode()).digest(start + count)
    return int.from_bytes(digest[start:], "little")


def seeded_place_list(seed: int, index: int, size: int, kept: int) -> list[int]:
    ranks = [(word(f"prunecert places {seed} {index}", 4 * p, 4), p) for p in range(size)]
    return sorted(place for _, place in sorted(ranks)[:kept])


def initial_integer_list(seed: int, index: int, size: int) -> list[int]:
    words = [word(f"prunecert initial {seed} {index}", 2 * p, 2) % 2**15 for p in range(size)]
    return [2 * u + 1 - 2**15 for u in words]


def initial_place_list(seed: int, index: int, size: int, kept: int) -> list[int]:
    integers = initial_integer_list(seed, index, size)
    order = sorted(range(size), key=lambda p: (-abs(integers[p]), p))
    return sorted(order[:kept])


def sign(seed: int, index: int, row: int, column: int, columns: int) -> int:
    """The entry of the projection."""
    width = (columns + 7) // 8
    label = f"prunecert subspace {seed} {index} {row // 1024}"
    byte = word(label, row % 1024 * width + column // 8, 1)
    return -1 if byte >> column % 8 & 1 else 1


def row_sum(seed: int, index: int, row: int, z: list[int]) -> int:
    return sum(k * sign(seed, index, row, j, len(z)) for j, k in enumerate(z))


def rounded(value: Fraction | int, dtype: torch.dtype) -> torch.Tensor:
    """The dtype's value nearest to an exact one (for 16-bit dtypes by way of float32), shape ()."""
    if dtype == torch.float64:
        return torch.tensor(float(value), dtype=dtype)  # correctly rounded by Python
    single = struct.unpack("<f", struct.pack("<f", float(value)))[0]
    if dtype == torch.float32:
        return torch.tensor(single, dtype=dtype)
    if dtype == torch.float16:
        return torch.tensor(struct.unpack("<e", struct.pack("<e", single))[0], dtype=dtype)
    pattern = int.from_bytes(struct.pack("<f", single), "little")
    low, high = pattern & 0xFFFF, pattern >> 16  # half to even
    high += low > 0x8000 or (low == 0x8000 and high & 1)
    return from_patterns(torch.tensor([high]).numpy().astype("u8"), dtype)[0]


def tensor_of(values: list[Fraction | int], shape: tuple[int, ...], dtype: torch.dtype):
    return torch.stack([rounded(value, dtype) for value in values]).reshape(shape)
