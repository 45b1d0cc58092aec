"""Tensors as unsigned bit patterns and back, exactly, for every dtype a network may hold."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.types import CodeError, InputError

# dtype → the integer type of the same width whose bits can be looked at; the order is the format
DTYPES: dict[torch.dtype, torch.dtype] = {
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float64: torch.int64,
    torch.int64: torch.int64,
    torch.int32: torch.int32,
    torch.int16: torch.int16,
    torch.int8: torch.int8,
    torch.uint8: torch.uint8,
    torch.bool: torch.uint8,
}
DTYPE_LIST = tuple(DTYPES)


Patterns = NDArray[np.uint64]


def width_of(dtype: torch.dtype) -> int:
    """Bits of one value."""
    if dtype not in DTYPES:
        raise InputError(f"a tensor of dtype {dtype} cannot be coded: expected one of {DTYPE_LIST}")
    return 8 * dtype.itemsize


def to_patterns(tensor: torch.Tensor) -> NDArray[np.uint64]:
    """The bit pattern of every value, in the tensor's shape."""
    width = width_of(tensor.dtype)
    bits = tensor.detach().cpu().contiguous().view(DTYPES[tensor.dtype])
    unsigned: NDArray[np.uint64] = bits.numpy().astype(np.int64).view(np.uint64)
    return unsigned & np.uint64((1 << width) - 1)


def from_patterns(patterns: NDArray[np.uint64], dtype: torch.dtype) -> torch.Tensor:
    """The tensor whose bit patterns these are; inverse of `to_patterns`."""
    if dtype == torch.bool and np.any(patterns > 1):
        raise CodeError("a truth value is neither 0 nor 1")
    unsigned = patterns.astype(f"u{width_of(dtype) // 8}")
    signed = unsigned if DTYPES[dtype] == torch.uint8 else unsigned.view(f"i{width_of(dtype) // 8}")
    copy = torch.from_numpy(signed).clone(memory_format=torch.contiguous_format)
    return copy.view(dtype)  # with torch's own strides: numpy has others where a tensor is empty


def to_floats(patterns: Patterns, dtype: torch.dtype) -> NDArray[np.float64]:
    """The values of these patterns of a floating-point dtype, exactly."""
    values: NDArray[np.float64] = from_patterns(patterns, dtype).double().numpy()
    return values
