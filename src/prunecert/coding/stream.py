"""One arithmetic-coded stream, written or read by the same calls.

`Writer` and `Reader` share one interface: every call takes the value to write and returns the
value in the stream (a reader ignores what it is given). A code is therefore described once, and
what encodes is what decodes. Probabilities are integers out of 2^16 (for `symbols` 2^24) built from
integer counts, so the bytes are the same on every machine (THEORY 3.2); constriction's range coder
does the rest.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from prunecert.types import CodeError

models = constriction.stream.model
RangeEncoder = constriction.stream.queue.RangeEncoder
RangeDecoder = constriction.stream.queue.RangeDecoder

SCALE = 1 << 16  # probabilities are integers in 1 … SCALE − 1, in units of 1 / SCALE
CERTAIN = 1 << 24  # what the frequencies of `symbols` sum to: constriction's own fixed point
WORD = 16  # uniform integers travel in pieces of at most this many bits


class Stream(Protocol):
    """What a code may do with a stream, in either direction."""

    def bit(self, probability: int, value: int = 0) -> int: ...

    def bits(
        self, probability: int, values: NDArray[np.int32], count: int
    ) -> NDArray[np.int32]: ...

    def symbols(
        self, frequencies: NDArray[np.int64], values: NDArray[np.int64], count: int
    ) -> NDArray[np.int64]: ...

    def words(self, width: int, values: NDArray[np.uint64], count: int) -> NDArray[np.uint64]: ...


@cache
def _bernoulli(probability: int) -> Any:
    return models.Bernoulli(probability / SCALE, perfect=False)


@cache
def _uniform(width: int) -> Any:
    return models.Uniform(1 << width)


def _categorical(frequencies: NDArray[np.int64]) -> Any:
    """constriction scales its weights to CERTAIN less one for each symbol and then adds that one:
    given weights with exactly that sum, it scales by 1.0 and has exactly these frequencies."""
    return models.Categorical((frequencies - 1).astype(np.float64), perfect=False, lazy=False)


def _pieces(width: int) -> list[tuple[int, int]]:
    """(shift, width) of the pieces, low first, that a `width`-bit word is cut into."""
    return [(shift, min(WORD, width - shift)) for shift in range(0, width, WORD)]


class Writer:
    """Encodes; `cost_bits` is −Σ log2 p of all that was written so far."""

    def __init__(self) -> None:
        self.cost_bits = 0.0
        self._coder = RangeEncoder()

    def bit(self, probability: int, value: int = 0) -> int:
        """One bit that is 1 with `probability` / SCALE."""
        self.cost_bits -= math.log2((probability if value else SCALE - probability) / SCALE)
        self._coder.encode(value, _bernoulli(probability))
        return value

    def bits(self, probability: int, values: NDArray[np.int32], count: int) -> NDArray[np.int32]:
        """`count` bits, each 1 with the same `probability` / SCALE."""
        if count:
            ones = int(values.sum())
            self.cost_bits -= ones * math.log2(probability / SCALE)
            self.cost_bits -= (count - ones) * math.log2((SCALE - probability) / SCALE)
            self._coder.encode(np.ascontiguousarray(values, np.int32), _bernoulli(probability))
        return values

    def symbols(
        self, frequencies: NDArray[np.int64], values: NDArray[np.int64], count: int
    ) -> NDArray[np.int64]:
        """`count` integers 0 … K − 1 (K ≥ 2), i with probability `frequencies[i]` / CERTAIN.

        The K frequencies are at least 1 and sum to CERTAIN.
        """
        if count:
            times = np.bincount(values, minlength=len(frequencies)).tolist()
            for seen, frequency in zip(times, frequencies.tolist()):
                self.cost_bits -= seen * math.log2(frequency / CERTAIN)
            self._coder.encode(values.astype(np.int32), _categorical(frequencies))
        return values

    def words(self, width: int, values: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
        """`count` unsigned integers of `width` bits each, all equally likely."""
        self.cost_bits += float(width) * count
        for shift, piece in _pieces(width) if count else []:
            part = (values >> np.uint64(shift)) & np.uint64((1 << piece) - 1)
            self._coder.encode(part.astype(np.int32), _uniform(piece))
        return values

    def finish(self) -> NDArray[np.uint32]:
        """The stream as 32-bit words."""
        words: NDArray[np.uint32] = self._coder.get_compressed()
        return words


class Reader:
    """Decodes the words of a `Writer`; invalid words raise CodeError."""

    def __init__(self, words: NDArray[np.uint32]) -> None:
        self._coder = RangeDecoder(words)

    def bit(self, probability: int, value: int = 0) -> int:
        return int(self._decode(_bernoulli(probability)))

    def bits(self, probability: int, values: NDArray[np.int32], count: int) -> NDArray[np.int32]:
        if not count:
            return np.zeros(0, np.int32)
        return np.asarray(self._decode(_bernoulli(probability), count), np.int32)

    def symbols(
        self, frequencies: NDArray[np.int64], values: NDArray[np.int64], count: int
    ) -> NDArray[np.int64]:
        if not count:
            return np.zeros(0, np.int64)
        return np.asarray(self._decode(_categorical(frequencies), count), np.int64)

    def words(self, width: int, values: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
        out = np.zeros(count, np.uint64)
        for shift, piece in _pieces(width) if count else []:
            part = np.asarray(self._decode(_uniform(piece), count), np.uint64)
            out |= part << np.uint64(shift)
        return out

    def _decode(self, *args: Any) -> Any:
        try:
            return self._coder.decode(*args)
        except AssertionError as error:  # what constriction raises on impossible words
            raise CodeError("the compressed payload is damaged") from error


# ----------------------------------------------------------------------- integers of all kinds


def uniform(stream: Stream, size: int, value: int = 0) -> int:
    """An integer in 0 … size − 1, all equally likely up to rounding to whole bits."""
    width = (size - 1).bit_length()
    if width == 0:
        return 0
    out = int(stream.words(width, np.array([value], np.uint64), 1)[0])
    if out >= size:
        raise CodeError(f"a field holds {out} where at most {size - 1} is possible")
    return out


def positive(stream: Stream, value: int = 1) -> int:
    """An integer ≥ 1 in Elias' gamma code (at most 64 bits long)."""
    extra = value.bit_length() - 1
    width = 0
    while stream.bit(SCALE // 2, int(width < extra)):
        width += 1
        if width > 62:
            raise CodeError("an integer in the header is longer than 62 bits")
    if not width:
        return 1
    low = stream.words(width, np.array([value & ((1 << width) - 1) if extra else 0], np.uint64), 1)
    return (1 << width) | int(low[0])


class AdaptiveBits:
    """Krichevsky–Trofimov counts per context: p(1) = (ones + ½) / (seen + 1)."""

    def __init__(self, contexts: int) -> None:
        self._ones = [1] * contexts  # twice the count, plus one
        self._all = [2] * contexts

    def code(self, stream: Stream, context: int, value: int = 0) -> int:
        """One bit in this context."""
        ones, seen = self._ones[context], self._all[context]
        probability = max(ones * SCALE // seen, 1)  # below SCALE, since ones < seen
        value = stream.bit(probability, value)
        self._ones[context] = ones + 2 * value
        self._all[context] = seen + 2
        return value


class AdaptiveSymbols:
    """Symbols 0 … size − 1 through a binary tree of adaptive bits."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._width = (size - 1).bit_length()
        self._tree = AdaptiveBits(1 << self._width)

    def code(self, stream: Stream, value: int = 0) -> int:
        """One symbol, its most significant bit first."""
        node = 1
        for shift in range(self._width - 1, -1, -1):
            # a branch no symbol lives in costs nothing: it is not coded
            reachable = ((node << 1 | 1) << shift) - (1 << self._width) < self._size
            bit = self._tree.code(stream, node, value >> shift & 1) if reachable else 0
            node = node << 1 | bit
        return node - (1 << self._width)
