"""Bit patterns: exact both ways for every dtype, and nothing but the value's own bits."""

import struct

import numpy as np
import pytest
import torch
from coded_networks import bits_of, random_patterns

from prunecert.coding.patterns import DTYPE_LIST, from_patterns, to_patterns, width_of
from prunecert.types import CodeError, InputError


@pytest.mark.parametrize("dtype", DTYPE_LIST, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (0, 3), (2, 3, 4)])
def test_there_and_back(dtype, shape):
    tensor = random_patterns(np.random.default_rng(0), dtype, int(np.prod(shape))).reshape(shape)
    patterns = to_patterns(tensor)
    assert (patterns.dtype, patterns.shape) == (np.uint64, shape)
    back = from_patterns(np.asarray(patterns), dtype)
    assert (back.dtype, back.shape) == (dtype, shape)
    assert back.stride() == torch.empty(shape).stride()  # safetensors looks at the memory
    assert bits_of(back) == bits_of(tensor)


@pytest.mark.parametrize(
    ("tensor", "pattern"),
    [
        (torch.tensor(-0.0), 0x80000000),
        (torch.tensor(-2.0), struct.unpack("<I", struct.pack("<f", -2.0))[0]),
        (torch.tensor(-2.0, dtype=torch.float64), struct.unpack("<Q", struct.pack("<d", -2.0))[0]),
        (torch.tensor(-2.0, dtype=torch.float16), struct.unpack("<H", struct.pack("<e", -2.0))[0]),
        (torch.tensor(-2.0, dtype=torch.bfloat16), 0xC000),  # the upper half of float32
        (torch.tensor(-1, dtype=torch.int8), 0xFF),
        (torch.tensor(-1, dtype=torch.int16), 0xFFFF),
        (torch.tensor(-1, dtype=torch.int64), 2**64 - 1),
        (torch.tensor(200, dtype=torch.uint8), 200),
        (torch.tensor(True), 1),
    ],
)
def test_patterns_are_the_memory_of_the_value(tensor, pattern):
    assert int(to_patterns(tensor)) == pattern


def test_tensors_that_are_not_contiguous_or_need_gradients():
    tensor = torch.randn(3, 4, requires_grad=True)
    assert to_patterns(tensor.T).tolist() == to_patterns(tensor).T.tolist()


def test_widths_and_refusals():
    assert [width_of(dtype) for dtype in DTYPE_LIST] == [8 * d.itemsize for d in DTYPE_LIST]
    with pytest.raises(InputError, match="complex64"):
        width_of(torch.complex64)


def test_truth_values_are_zero_or_one():
    """Anything else in a bool tensor's memory is undefined behaviour downstream."""
    assert from_patterns(np.array([0, 1], np.uint64), torch.bool).tolist() == [False, True]
    with pytest.raises(CodeError):
        from_patterns(np.array([0, 2], np.uint64), torch.bool)
