"""`static`: many values of few kinds, a whole tensor in one call instead of a loop per symbol.

In the file, in this order:

    codebook    as in `codebook`: its size, the kept width, the patterns in increasing order
    weights     of each entry, about how often it occurs: the number of bits of its count, less
                one and adaptively, then about half of the bits below the leading one
    symbols     one per value, at the fixed probabilities that follow from the weights

With one entry, the codebook is all. An entry that all but 1 / COMMON of the values share is left
out of the symbols, and between weights and symbols stand the places of the others:

    others      their number, less one
    runs        how far each lies behind the one before, a Golomb-Rice code: the sum of the runs'
                quotients, the quotients in unary at their own rate, the remainders

because a range coder loses about 1e-4 bits per symbol, which nearly certain symbols do not cost.
The weights are short for the reason that makes adaptive codes good: more precision costs more than
it saves (J. Rissanen, "A universal prior for integers and estimation by minimum description
length", Annals of Statistics 1983).
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from prunecert.coding.patterns import Patterns
from prunecert.coding.stream import CERTAIN, AdaptiveSymbols, Stream, uniform
from prunecert.coding.value_codes import MAX_CODEBOOK, code_book
from prunecert.types import CodeError

COMMON = 256  # an entry is common where the others are fewer than 1 in this many
GLANCE = 1 << 12  # values at the front in which a writer looks for the kinds first
SLOT_BITS = 18  # of a writer's table of kinds: most multipliers leave 256 of them apart


def code_static(stream: Stream, width: int, patterns: Patterns, count: int) -> Patterns:
    """Write `patterns`, shape (count,), of at most MAX_CODEBOOK kinds, or read as many."""
    book = code_book(stream, width, _distinct(patterns))
    if len(book) == 1:
        return np.repeat(book, count)
    indices = _indices(book, patterns)
    weights = _code_weights(stream, np.bincount(indices, minlength=len(book)).tolist(), count)
    common = weights.index(max(weights))
    if (sum(weights) - weights[common]) * COMMON >= sum(weights):
        return book[stream.symbols(shares(weights), indices, count)]
    rare = indices != common
    places = code_runs(stream, np.flatnonzero(rare), count)
    weights[common] = 0
    out = np.repeat(book[common], count)
    out[places] = book[stream.symbols(shares(weights), indices[rare], len(places))]
    return out


def shares(weights: list[int]) -> NDArray[np.int64]:
    """Frequencies that sum to CERTAIN: 1 each, and the rest in proportion to the weights."""
    free, total = CERTAIN - len(weights), sum(weights)
    below = list(accumulate(weights, initial=0))
    widths = [free * end // total - free * start // total for start, end in pairwise(below)]
    return np.array(widths, np.int64) + 1


def _distinct(patterns: Patterns) -> Patterns:
    """np.unique for few kinds: only values that a first look has missed are sorted."""
    book = np.unique(patterns[:GLANCE])
    if len(book) > MAX_CODEBOOK:
        return book  # too many already
    return np.union1d(book, patterns[book[_indices(book, patterns)] != patterns])


def _indices(book: Patterns, patterns: Patterns) -> NDArray[np.int64]:
    """Where each pattern stands in the book (anywhere for those that do not), several times as fast
    as np.searchsorted: by a table whose slot is the top of pattern · multiplier mod 2^64."""
    generator, shift = np.random.default_rng(0), np.uint64(64 - SLOT_BITS)
    multiplier = np.uint64(1)
    while len(np.unique(book * multiplier >> shift)) < len(book):
        multiplier = generator.integers(0, 1 << 63, dtype=np.uint64) << np.uint64(1) | np.uint64(1)
    table = np.zeros(1 << SLOT_BITS, np.int64)
    table[book * multiplier >> shift] = np.arange(len(book))
    indices: NDArray[np.int64] = table[patterns * multiplier >> shift]
    return indices


def _code_weights(stream: Stream, counts: list[int], count: int) -> list[int]:
    """Of a count of b bits: b − 1, then the (b − 3) // 2 bits below the leading one; the weight is
    the middle of the counts that share those. What is cut off costs half a bit per entry or so.
    """
    lengths = AdaptiveSymbols(count.bit_length())
    weights = []
    for seen in counts:
        below = lengths.code(stream, max(seen.bit_length() - 1, 0))
        kept = max(below - 2, 0) // 2
        cut = below - kept
        high = (seen >> cut) & ((1 << kept) - 1)
        top = 1 << kept | int(stream.words(kept, np.array([high], np.uint64), 1)[0])
        weights.append((top << cut) + ((1 << cut) >> 1))
    return weights


def code_runs(stream: Stream, places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Increasing places below `count`, at least one; a reader's arrays are no longer than that."""
    others = uniform(stream, count, max(len(places), 1) - 1) + 1
    low = max((count // others).bit_length() - 3, 0)  # a quarter of the mean run: little to lose
    runs = np.diff(places, prepend=-1) - 1
    quotients = runs >> low
    zeros = uniform(stream, (count - others >> low) + 1, int(quotients.sum()))
    unary = np.zeros(others + zeros, np.int64)
    unary[np.cumsum(quotients + 1) - 1] = 1
    unary = stream.symbols(shares([zeros, others]), unary, others + zeros)
    ends = np.flatnonzero(unary)
    if len(ends) != others:
        raise CodeError("a tensor has more or fewer rare entries than their number says")
    remainders = stream.words(low, (runs & ((1 << low) - 1)).astype(np.uint64), others)
    runs = (np.diff(ends, prepend=-1) - 1 << low) + remainders.astype(np.int64)
    places = np.cumsum(runs + 1) - 1
    if places[-1] >= count:
        raise CodeError(f"a rare entry stands at place {places[-1]} of {count}")
    return places
