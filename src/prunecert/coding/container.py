"""The file around the stream: constant magic, the payload's length, the payload.

The set of valid files is prefix-free: the length stands before the payload in a self-delimiting
code, so a decoder that reads from the left knows the last byte without an end of file
(THEORY 3.1). Hence 8 · (bytes after the constant magic) is a legal code length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prunecert.types import CodeError

MAGIC = b"prunecert/1\n"  # the same in every file: names the format and costs nothing
WORD_BYTES = 4


def pack(words: NDArray[np.uint32]) -> bytes:
    """Magic, number of 32-bit words as a little-endian base-128 integer, the words."""
    return MAGIC + _varint(len(words)) + words.astype("<u4").tobytes()


def unpack(data: bytes) -> tuple[NDArray[np.uint32], int]:
    """The payload's words and where they end; raises CodeError on anything but a whole file."""
    if not data.startswith(MAGIC):
        raise CodeError(f"the first bytes are not {MAGIC!r}: this is not a prunecert network")
    count, start = _read_varint(data, len(MAGIC))
    end = start + WORD_BYTES * count
    if end > len(data):
        raise CodeError(f"the file ends early: {count} words are announced, not all are there")
    return np.frombuffer(data[start:end], dtype="<u4").astype(np.uint32), end


def code_bits(data: bytes) -> int:
    """Length in bits that a statement pays for this file: every byte but the constant magic."""
    return 8 * (len(data) - len(MAGIC))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(0x80 | (value & 0x7F))
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    value = 0
    for position in range(start, min(start + 5, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << (7 * (position - start))
        if byte < 0x80:
            if byte == 0 and position > start:
                raise CodeError("the payload's length is written with a needless zero byte")
            return value, position + 1
    raise CodeError("the payload's length is not a complete integer")
