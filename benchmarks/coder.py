"""Our codes against an arithmetic coder in Python's Decimal, and against the ideal length.

    python benchmarks/coder.py

The Decimal coder is the plain one that published bounds were computed with: an interval of growing
precision, one exact subdivision per symbol. It takes time that grows with the square of the length
and codes the shorter message only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.coding.frame import Frame
from prunecert.coding.mask_codes import SEQUENTIAL_LIMIT, MaskMode
from prunecert.coding.patterns import Patterns
from prunecert.coding.static_code import code_static
from prunecert.coding.stream import Reader, Stream, Writer
from prunecert.coding.tensor_codes import code_places
from prunecert.coding.value_codes import code_codebook, kept_bits

LEVELS, WIDTH = 11, 32
SHORT, LONG = 10_000, 1_000_000
MASKS = [(300, 784, 0.05), (4096, 1024, 0.001), (4096, 1024, 0.05), (4096, 1024, 0.5)]
GOES = 5

Code = Callable[[Stream, int, Patterns, int], Patterns]


def decimal_seconds(symbols: list[int]) -> float:
    """To encode with intervals in Decimal; the precision is what the message needs."""
    counts = [1] * LEVELS
    begun = time.perf_counter()
    with localcontext() as context:
        context.prec = int(len(symbols) * math.log10(LEVELS)) + 50
        low, width = Decimal(0), Decimal(1)
        for symbol in symbols:
            total, before = sum(counts), sum(counts[:symbol])
            low += width * before / total
            width = width * counts[symbol] / total
            counts[symbol] += 1
    return time.perf_counter() - begun


def coded(code: Code, values: Patterns) -> tuple[float, float, int]:
    """Seconds to encode and to decode, the best of a few goes each, and the bits written."""
    writing, reading = [], []
    for _ in range(GOES):
        begun = time.perf_counter()
        stream = Writer()
        code(stream, WIDTH, values, len(values))
        words = stream.finish()
        middle = time.perf_counter()
        found = code(Reader(words), WIDTH, np.zeros(0, np.uint64), len(values))
        reading.append(time.perf_counter() - middle)
        writing.append(middle - begun)
        assert np.array_equal(found, values)
    return min(writing), min(reading), 32 * len(words)


def adaptive_bits(symbols: NDArray[np.int64]) -> float:
    """The length of the ideal adaptive (Krichevsky-Trofimov) code in bits."""
    counts = np.bincount(symbols, minlength=LEVELS)
    half = LEVELS / 2
    nats = math.lgamma(len(symbols) + half) - math.lgamma(half)
    nats -= sum(math.lgamma(c + 0.5) - math.lgamma(0.5) for c in counts)
    return nats / math.log(2)


def log2_choose(places: int, kept: int) -> float:
    nats = math.lgamma(places + 1) - math.lgamma(kept + 1) - math.lgamma(places - kept + 1)
    return nats / math.log(2)


def report_values(
    name: str, code: Code, symbols: NDArray[np.int64], book: Patterns, plain: float
) -> None:
    """One line: speed, speed over the Decimal coder's, length over the ideal."""
    writing, reading, bits = coded(code, book[symbols])
    ideal = adaptive_bits(symbols) + 8 + 5 + LEVELS * kept_bits(book, WIDTH)
    per_second = [len(symbols) / seconds for seconds in (writing, reading)]
    print(
        f"  {name:10} {len(symbols):>9,} symbols: {per_second[0]:>11,.0f} a second to write, "
        f"{per_second[1]:>11,.0f} to read;\n"
        f"{'':13}{per_second[0] / plain:,.0f} and {per_second[1] / plain:,.0f} times the Decimal "
        f"coder; {bits:,} bits, {bits / ideal - 1:+.3%} of ideal"
    )


def report_mask(mode: MaskMode, rows: int, columns: int, density: float) -> None:
    """One line: speed, the best of a few goes each way, and length over the ideal."""
    mask = np.random.default_rng(0).random((rows, columns)) < density
    frame = Frame(0, mask.shape, mask.shape, 1, torch.float32)
    writing, reading = [], []
    for _ in range(GOES):
        begun = time.perf_counter()
        stream = Writer()
        code_places(stream, mode, frame, mask)
        words = stream.finish()
        middle = time.perf_counter()
        found = code_places(Reader(words), mode, frame, None)
        reading.append(time.perf_counter() - middle)
        writing.append(middle - begun)
        assert np.array_equal(found, mask)
    per_second = [mask.size / min(seconds) for seconds in (writing, reading)]
    ideal, bits = log2_choose(mask.size, int(mask.sum())), 32 * len(words)
    print(
        f"  {mode:10} {rows} x {columns}, {density:g} kept: {per_second[0]:,.0f} places a second "
        f"to write, {per_second[1]:,.0f} to read;\n"
        f"{'':13}{bits:,} bits, {bits / ideal - 1:+.2%} of log2 C(N, k)"
    )


def main() -> None:
    generator = np.random.default_rng(0)
    odds = np.exp(-0.5 * (np.arange(LEVELS) - 5.0) ** 2 / 3)
    symbols = generator.choice(LEVELS, LONG, p=odds / odds.sum())
    book = np.sort(generator.choice(1 << WIDTH, LEVELS, replace=False)).astype(np.uint64)
    plain = SHORT / decimal_seconds(symbols[:SHORT].tolist())
    print(f"values of {LEVELS} levels; lengths with the {LEVELS} entries of the codebook")
    print(f"  {'Decimal':10} {SHORT:>9,} symbols: {plain:>11,.0f} a second to write")
    report_values("codebook", code_codebook, symbols[:SHORT], book, plain)
    report_values("static", code_static, symbols[:SHORT], book, plain)
    report_values("static", code_static, symbols, book, plain)
    print("masks, kept at random")
    for rows, columns, density in MASKS:
        modes: list[MaskMode] = [] if rows * columns > SEQUENTIAL_LIMIT else ["adaptive"]
        for mode in (*modes, "rows", "runs"):
            report_mask(mode, rows, columns, density)


if __name__ == "__main__":
    main()
