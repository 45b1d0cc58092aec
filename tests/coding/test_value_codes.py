"""Codes of values: exact for every dtype, and every part of them paid."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunecert.coding.stream import AdaptiveSymbols, Reader, Writer, positive, uniform
from prunecert.coding.value_codes import (
    MAX_CODEBOOK,
    MAX_GRID,
    code_codebook,
    code_grid,
    code_raw,
    kept_bits,
)
from prunecert.types import CodeError

NOTHING = np.zeros(0, np.uint64)
WIDTHS = (8, 16, 32, 64)


def patterns_of(values):
    return np.array(values, np.uint64)


def codebook_bits(width, values):
    writer = Writer()
    assert code_codebook(writer, width, values, len(values)).tolist() == values.tolist()
    words = writer.finish()
    assert code_codebook(Reader(words), width, NOTHING, len(values)).tolist() == values.tolist()
    assert -0.5 <= 32 * len(words) - writer.cost_bits <= 33.5 + 2e-4 * 8 * len(values)
    return writer.cost_bits


# ----------------------------------------------------------------------------- kept bits


@pytest.mark.parametrize(
    ("values", "width", "kept"),
    [
        ([0x80000000], 32, 1),
        ([0xC0000000], 32, 2),
        ([0x3F800000, 0xBF800000], 32, 9),  # ±1.0: the exponent's last bit is set
        ([0x40000000, 0xC0000000], 32, 2),  # ±2.0
        ([1], 32, 32),
        ([0], 32, 1),
        ([], 32, 1),
        ([0x8000], 16, 1),
        ([0x3C00, 0x3E00], 16, 7),  # 1.0 and 1.5 in float16
        ([0x80], 8, 1),
        ([1 << 63], 64, 1),
    ],
)
def test_kept_bits(values, width, kept):
    assert kept_bits(patterns_of(values), width) == kept


# ----------------------------------------------------------------------------- codebook


value_lists = st.sampled_from(WIDTHS).flatmap(
    lambda w: st.tuples(
        st.just(w),
        st.lists(st.integers(0, 2**w - 1), min_size=1, max_size=12).flatmap(
            lambda book: st.lists(st.sampled_from(book), min_size=1, max_size=60)
        ),
    )
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(value_lists)
def test_codebook_round_trip(case):
    width, values = case
    codebook_bits(width, patterns_of(values))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("size", [1, 2, 3, 255, 256])
def test_codebook_pays_every_entry(width, size):
    """Its size, the kept width, every entry, and ⌈log2 size⌉ bits for the first index."""
    rng = np.random.default_rng(0)
    entries = rng.choice(256, size, replace=False).astype(np.uint64) << np.uint64(width - 8)
    values = np.concatenate([entries, entries[:1]])
    kept = kept_bits(entries, width)
    fields = 8 + math.ceil(math.log2(width)) + size * kept
    writer, symbols = Writer(), AdaptiveSymbols(size)
    for index in np.searchsorted(np.sort(entries), values).tolist():
        symbols.code(writer, index)
    assert codebook_bits(width, values) == pytest.approx(fields + writer.cost_bits, abs=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 16, 100, 256])
def test_codebook_approaches_the_entropy(size):
    """n·H + ½ (K − 1) log2 n for the indices, on 12,000 values from a skewed source."""
    rng = np.random.default_rng(1)
    entries = np.sort(rng.choice(2**32, size, replace=False)).astype(np.uint64)
    values = entries[rng.choice(size, 12_000, p=rng.dirichlet(np.ones(size)))]
    used, counts = np.unique(values, return_counts=True)
    entropy = -float((counts * np.log2(counts / 12_000)).sum())
    fields = 8 + 5 + len(used) * kept_bits(used, 32)
    ideal = entropy + (len(used) - 1) / 2 * math.log2(12_000)
    cost = codebook_bits(32, values)
    assert fields + entropy <= cost <= fields + 1.01 * ideal + 64


@pytest.mark.parametrize(("count", "values"), [(1, range(256)), (2, range(0, 256, 8))])
def test_kraft_sum_over_short_lists_of_bytes(count, values):
    lists = itertools.product(values, repeat=count)
    assert 0 < sum(2.0 ** -codebook_bits(8, patterns_of(chosen)) for chosen in lists) <= 1


def test_a_codebook_out_of_order_is_refused():
    """Each network has one codebook, sorted: a permuted or repeating one is not a file."""
    for book in ([5, 3], [5, 5], [1, 2, 2]):
        writer = Writer()
        uniform(writer, MAX_CODEBOOK, len(book) - 1)
        uniform(writer, 8, 7)
        writer.words(8, patterns_of(book), len(book))
        writer.words(16, patterns_of([0] * 9), 9)
        with pytest.raises(CodeError):
            code_codebook(Reader(writer.finish()), 8, NOTHING, 4)


# ----------------------------------------------------------------------------- raw


@pytest.mark.parametrize("width", WIDTHS)
def test_raw_costs_the_width_of_the_dtype(width):
    values = np.random.default_rng(0).integers(0, 2**width, 99, dtype=np.uint64, endpoint=False)
    writer = Writer()
    code_raw(writer, width, values, 99)
    assert writer.cost_bits == 99 * width
    assert code_raw(Reader(writer.finish()), width, NOTHING, 99).tolist() == values.tolist()


# ----------------------------------------------------------------------------- grid


def grid_bits(width, step, integers):
    writer = Writer()
    given_step, integers = patterns_of([step]), np.array(integers, np.int64)
    code_grid(writer, given_step, width, integers, len(integers))
    reader = Reader(writer.finish())
    found = code_grid(reader, patterns_of([0]), width, np.zeros(0, np.int64), len(integers))
    assert (found[0].tolist(), found[1].tolist()) == ([step], integers.tolist())
    return writer.cost_bits


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.sampled_from(WIDTHS).flatmap(lambda w: st.tuples(st.just(w), st.integers(1, 2**w - 1))),
    st.lists(st.integers(-MAX_GRID, MAX_GRID).filter(lambda i: i != 0), min_size=1, max_size=40),
)
def test_grid_round_trip_keeps_sizes_and_signs(width_and_step, integers):
    grid_bits(*width_and_step, integers)


def test_grid_pays_step_largest_sizes_and_signs():
    """Step 2.0 keeps 2 of 32 bits; gamma(1) is one bit; then 8 signs by KT, 4 of each."""
    signs = [1, -1, 1, -1, 1, -1, 1, -1]
    writer, symbols = Writer(), AdaptiveSymbols(2)
    for sign in signs:
        symbols.code(writer, int(sign < 0))
    assert writer.cost_bits > 8
    assert grid_bits(32, 0x40000000, signs) == pytest.approx(5 + 2 + 1 + writer.cost_bits, abs=1e-9)


@pytest.mark.parametrize("largest", [1, 3, 16, 200])
def test_grid_approaches_the_entropy_of_sizes_and_signs(largest):
    rng = np.random.default_rng(2)
    sizes = rng.choice(largest, 12_000, p=rng.dirichlet(np.ones(largest))) + 1
    sizes[0] = largest
    signs = np.where(rng.random(12_000) < 0.3, -1, 1)
    ideal = sum((len(np.unique(x)) - 1) / 2 * math.log2(12_000) for x in (sizes, signs))
    entropy = 0.0
    for x in (sizes, signs):
        counts = np.unique(x, return_counts=True)[1]
        entropy -= float((counts * np.log2(counts / 12_000)).sum())
    cost = grid_bits(32, 0x3F800000, sizes * signs)
    assert entropy < cost <= 1.01 * (entropy + ideal) + 64


def test_a_grid_too_large_is_refused_by_both_sides():
    with pytest.raises(CodeError):
        code_grid(Writer(), patterns_of([1]), 8, np.array([MAX_GRID + 1]), 1)
    writer = Writer()
    uniform(writer, 32, 0)
    writer.words(1, patterns_of([1]), 1)
    positive(writer, 2**60)
    with pytest.raises(CodeError):
        code_grid(Reader(writer.finish()), patterns_of([0]), 32, np.zeros(0, np.int64), 3)
