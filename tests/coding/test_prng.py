"""Signs from a seed: the standard's bits in the documented order, and the same for ever."""

import hashlib

import numpy as np
import pytest

from prunecert.coding.prng import SEEDS, seeded_signs

# SHAKE128 of the empty message, first 16 bytes: FIPS 202 example values, NIST.
EMPTY_MESSAGE = "7f9c2ba4e88f827d616045507605853e"

# The first 64 signs of seed 0, tensor 0, eight to a byte, the first in the lowest bit. Written once
# when the format was fixed: other signs make other networks of files already issued.
FROZEN = "31118242a3f76f12"


def by_definition(seed, index, count):
    """One big integer instead of an array of bytes: sign i is bit i of the little-endian number."""
    digest = hashlib.new("shake_128", b"prunecert signs %d %d" % (seed, index))
    number = int.from_bytes(digest.digest(count // 8 + 1), "little")
    return [bool(number >> i & 1) for i in range(count)]


def test_the_standard_is_the_one_meant():
    assert hashlib.shake_128(b"").hexdigest(16) == EMPTY_MESSAGE


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64, 1001])
@pytest.mark.parametrize(("seed", "index"), [(0, 0), (1, 0), (0, 1), (7, 12), (SEEDS - 1, 300)])
def test_signs_are_the_bits_of_the_standard(seed, index, count):
    signs = seeded_signs(seed, index, count)
    assert (signs.dtype, signs.shape) == (np.bool_, (count,))
    assert signs.tolist() == by_definition(seed, index, count)


def test_the_first_signs_are_frozen():
    number = sum(int(sign) << i for i, sign in enumerate(seeded_signs(0, 0, 64)))
    assert number.to_bytes(8, "little").hex() == FROZEN


def test_seeds_and_tensors_have_signs_of_their_own():
    """1,000 fair bits differ in 500 ± 6 · 15.8 places; "1 11" and "11 1" are different labels."""
    pairs = [(0, 0), (1, 0), (0, 1), (1, 1), (1, 11), (11, 1), (11, 11), (SEEDS - 1, 0)]
    all_signs = [seeded_signs(seed, index, 1000) for seed, index in pairs]
    for i, first in enumerate(all_signs):
        assert 405 <= int(first.sum()) <= 595
        for second in all_signs[:i]:
            assert 405 <= int((first != second).sum()) <= 595
