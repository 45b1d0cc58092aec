"""The file around the stream: self-delimiting, so that 8 · bytes is a legal length (THEORY 3.1)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunecert.coding.container import MAGIC, code_bits, pack, unpack
from prunecert.types import CodeError

word_lists = st.lists(st.integers(0, 2**32 - 1), max_size=300)


def words(values):
    return np.array(values, np.uint32)


def test_layout_is_magic_then_the_number_of_words_then_little_endian_words():
    assert pack(words([])) == MAGIC + b"\x00"
    assert pack(words([0x04030201])) == MAGIC + b"\x01" + b"\x01\x02\x03\x04"
    # 200 = 72 + 1·128, low group first, the high bit says that another byte follows
    assert pack(words([0] * 200)) == MAGIC + b"\xc8\x01" + bytes(800)


def test_every_byte_after_the_magic_is_paid():
    assert code_bits(pack(words([]))) == 8
    assert code_bits(pack(words([7]))) == 8 * (1 + 4)
    assert code_bits(pack(words([7] * 200))) == 8 * (2 + 800)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(word_lists, st.binary(max_size=40))
def test_the_end_is_found_without_an_end_of_file(values, tail):
    data = pack(words(values))
    found, end = unpack(data + tail)
    assert (found.tolist(), end) == (values, len(data))


@settings(derandomize=True, deadline=None, max_examples=20)
@given(word_lists)
def test_no_proper_prefix_of_a_file_is_a_file(values):
    data = pack(words(values))
    for length in range(len(data)):
        with pytest.raises(CodeError):
            unpack(data[:length])


def test_no_file_of_many_is_a_prefix_of_another():
    rng = np.random.default_rng(0)
    files = [pack(words(rng.integers(0, 3, n))) for n in range(140) for _ in range(3)]
    files = sorted(set(files))
    # in lexicographic order a prefix stands directly before some extension of it
    assert not any(after.startswith(before) for before, after in zip(files, files[1:]))


@pytest.mark.parametrize(
    "field",
    [
        b"",
        b"\x80",  # an integer that does not end
        b"\x80\x80\x80\x80\x80\x01",  # longer than any length can be
        b"\x80\x00",  # 0, written with a needless byte
        b"\x81\x80\x00" + bytes(4),  # 1, likewise
        b"\x01" + bytes(3),
        b"\xff\xff\xff\xff\x7f" + bytes(40),  # 2^35 − 1 words announced, ten there
    ],
)
def test_bad_lengths_are_refused(field):
    with pytest.raises(CodeError):
        unpack(MAGIC + field)


def test_a_length_is_read_from_five_bytes_at_most():
    """A million of them would be a hang: integers of any size are slow."""
    with pytest.raises(CodeError, match="not a complete integer"):
        unpack(MAGIC + b"\xff" * 5 + b"\x01" + bytes(40))


@pytest.mark.parametrize("start", [b"", MAGIC[:-1], b"\x00" + MAGIC, b"prunecert/2\n\x00"])
def test_another_beginning_is_refused(start):
    with pytest.raises(CodeError):
        unpack(start)
