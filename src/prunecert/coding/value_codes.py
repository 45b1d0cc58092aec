"""What the nonzeros of a tensor are: codebook, grid, raw bits or seeded signs, on bit patterns.

`subspace`, `difference` and `static_code` have the later codes.

Patterns are unsigned integers of the dtype's width, so round trips are exact for every dtype and
−0.0, whose pattern is not zero, is a value like any other. A codebook keeps only the leading
`kept` bits of each pattern: a value with few mantissa bits costs few bits.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from prunecert.coding.patterns import Patterns
from prunecert.coding.stream import AdaptiveSymbols, Stream, positive, uniform
from prunecert.types import CodeError

ValueMode = Literal["codebook", "grid", "raw", "seeded", "subspace", "difference", "static"]
VALUE_MODES: tuple[ValueMode, ...] = ("codebook", "grid", "raw")
SEEDED_VALUE_MODES: tuple[ValueMode, ...] = (*VALUE_MODES, "seeded")  # of dialect 1
EXTENDED_VALUE_MODES: tuple[ValueMode, ...] = get_args(ValueMode)  # of dialect 2
MAX_CODEBOOK = 256
MAX_GRID = 1 << 12
SEQUENTIAL_VALUES = 1 << 17  # more than these an encoder left alone does not code in a loop


def kept_bits(patterns: Patterns, width: int) -> int:
    """The smallest number of leading bits that still tells these patterns exactly (at least 1)."""
    together = int(np.bitwise_or.reduce(patterns)) if patterns.size else 0
    trailing = (together & -together).bit_length() - 1 if together else width - 1
    return max(width - trailing, 1)


def code_codebook(stream: Stream, width: int, patterns: Patterns, count: int) -> Patterns:
    """Distinct patterns in increasing order at their kept width, then one adaptive index each."""
    book, indices = np.unique(patterns, return_inverse=True)
    book = code_book(stream, width, book)
    symbols = AdaptiveSymbols(len(book))
    given = indices.tolist() or [0] * count
    return book[np.array([symbols.code(stream, i) for i in given], np.int64)]


def code_book(stream: Stream, width: int, book: Patterns) -> Patterns:
    """A codebook: its size, the kept width, its patterns in increasing order."""
    size = uniform(stream, MAX_CODEBOOK, max(len(book), 1) - 1) + 1
    kept = uniform(stream, width, kept_bits(book, width) - 1) + 1
    shift = np.uint64(width - kept)
    book = stream.words(kept, book >> shift, size) << shift
    if np.any(book[1:] <= book[:-1]):
        raise CodeError("a codebook is not in increasing order")
    return book


def code_grid(
    stream: Stream, step: NDArray[np.uint64], width: int, integers: NDArray[np.int64], count: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A step (its pattern at the kept width) and nonzero integer multiples: signs and sizes."""
    step = code_step(stream, step, width)
    largest = positive(stream, int(np.abs(integers).max(initial=1)))
    if largest > MAX_GRID:
        raise CodeError(f"a grid of {largest} steps is larger than {MAX_GRID}")
    sizes, signs = AdaptiveSymbols(largest), AdaptiveSymbols(2)
    out = []
    for value in integers.tolist() or [1] * count:
        size = sizes.code(stream, abs(value) - 1) + 1
        out.append(-size if signs.code(stream, int(value < 0)) else size)
    return step, np.array(out, np.int64)


def code_step(stream: Stream, step: Patterns, width: int) -> Patterns:
    """One pattern, shape (1,), at its kept width."""
    kept = uniform(stream, width, kept_bits(step, width) - 1) + 1
    shift = np.uint64(width - kept)
    return stream.words(kept, step >> shift, 1) << shift


def code_integers(stream: Stream, integers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` integers, zero among them: the largest size, then sizes and the signs of nonzeros.

    Where all are zero they cost one bit together.
    """
    largest = positive(stream, int(np.abs(integers).max(initial=0)) + 1) - 1
    if largest > MAX_GRID:
        raise CodeError(f"a grid of {largest} steps is larger than {MAX_GRID}")
    if not largest:
        return np.zeros(count, np.int64)
    sizes, signs = AdaptiveSymbols(largest + 1), AdaptiveSymbols(2)
    out = []
    for value in integers.tolist() or [0] * count:
        size = sizes.code(stream, abs(value))
        out.append(-size if size and signs.code(stream, int(value < 0)) else size)
    return np.array(out, np.int64)


def code_raw(stream: Stream, width: int, patterns: Patterns, count: int) -> Patterns:
    """Every bit of every value."""
    return stream.words(width, patterns, count)


def code_seeded(
    stream: Stream, width: int, patterns: Patterns, negative: NDArray[np.bool_]
) -> Patterns:
    """One magnitude, its pattern without the sign bit at its kept width, for values whose signs the
    seed has decided: `negative`, shape (count,), is known to writer and reader and costs nothing.
    """
    magnitude = _magnitude(patterns, width)
    kept = uniform(stream, width - 1, kept_bits(magnitude, width - 1) - 1) + 1
    shift = np.uint64(width - 1 - kept)
    magnitude = stream.words(kept, magnitude >> shift, 1) << shift
    if not magnitude[0]:
        raise CodeError("the magnitude of seeded values is zero")
    out = _signed(magnitude, width, negative)
    if patterns.size and not np.array_equal(out, patterns):
        raise CodeError("values are not one magnitude with the signs of the seed")
    return out


def is_seeded(patterns: Patterns, width: int, negative: NDArray[np.bool_]) -> bool:
    """True where these nonzeros are one magnitude with exactly these signs."""
    magnitude = _magnitude(patterns, width)
    return bool(magnitude.any()) and np.array_equal(_signed(magnitude, width, negative), patterns)


def _magnitude(patterns: Patterns, width: int) -> Patterns:
    """The first pattern without its sign bit, shape (1,); shape (0,) where there is none."""
    return patterns[:1] & np.uint64((1 << (width - 1)) - 1)


def _signed(magnitude: Patterns, width: int, negative: NDArray[np.bool_]) -> Patterns:
    return magnitude | negative.astype(np.uint64) << np.uint64(width - 1)
