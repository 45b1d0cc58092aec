"""The stream and its integer codes: what is written is read, and costs what it should."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunecert.coding.stream import (
    CERTAIN,
    SCALE,
    AdaptiveBits,
    AdaptiveSymbols,
    Reader,
    Writer,
    positive,
    uniform,
)
from prunecert.types import CodeError

# The coder ends with one or two 32-bit words for a state of at least 32 bits: at most 33 bits.
FLUSH = 33


class Recorder(Writer):
    """A writer that keeps the probabilities it was given."""

    def __init__(self):
        super().__init__()
        self.probabilities = []

    def bit(self, probability, value=0):
        self.probabilities.append(probability)
        return super().bit(probability, value)


probabilities = st.integers(1, SCALE - 1)
operations = st.one_of(
    st.tuples(st.just("bit"), probabilities, st.integers(0, 1)),
    st.tuples(st.just("bits"), probabilities, st.lists(st.integers(0, 1), max_size=9)),
    st.lists(st.integers(1, CERTAIN - 1), min_size=1, max_size=9, unique=True).flatmap(
        lambda borders: st.tuples(
            st.just("symbols"),
            st.just(np.diff([0, *sorted(borders), CERTAIN])),
            st.lists(st.integers(0, len(borders)), max_size=9),
        )
    ),
    st.integers(1, 64).flatmap(
        lambda w: st.tuples(
            st.just("words"), st.just(w), st.lists(st.integers(0, 2**w - 1), max_size=5)
        )
    ),
    st.integers(1, 10**6).flatmap(
        lambda n: st.tuples(st.just("uniform"), st.just(n), st.integers(0, n - 1))
    ),
    st.tuples(st.just("positive"), st.just(0), st.integers(1, 2**63 - 1)),
)


def perform(stream, name, parameter, value):
    """One operation; a reader is handed nothing but how many values there are."""
    writes = isinstance(stream, Writer)
    if name == "bit":
        return stream.bit(parameter, value if writes else 0)
    if name in ("bits", "symbols", "words"):
        dtypes = {"bits": np.int32, "symbols": np.int64, "words": np.uint64}
        given_values = np.array(value if writes else [], dtypes[name])
        return getattr(stream, name)(parameter, given_values, len(value)).tolist()
    if name == "uniform":
        return uniform(stream, parameter, value) if writes else uniform(stream, parameter)
    return positive(stream, value) if writes else positive(stream)


def ideal_bits(name, parameter, value):
    if name in ("bit", "bits"):
        given_bits = [value] if name == "bit" else value
        return -sum(math.log2((parameter if b else SCALE - parameter) / SCALE) for b in given_bits)
    if name == "symbols":
        return -sum(math.log2(parameter[i] / CERTAIN) for i in value)
    if name == "words":
        return parameter * len(value)
    if name == "uniform":
        return (parameter - 1).bit_length()
    return 2 * (value.bit_length() - 1) + 1


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(operations, max_size=30))
def test_what_is_written_is_read_and_costs_what_it_should(program):
    writer = Writer()
    for operation in program:
        assert perform(writer, *operation) == operation[2]
    words = writer.finish()
    reader = Reader(words)
    for operation in program:
        assert perform(reader, *operation) == operation[2]
    cost = sum(ideal_bits(*operation) for operation in program)
    assert writer.cost_bits == pytest.approx(cost, abs=1e-6)
    assert -0.1 <= 32 * len(words) - cost <= FLUSH


def test_long_streams_of_rare_bits_cost_what_was_counted():
    """Not an entropy estimate: 200,000 symbols, and the words are really there."""
    rng = np.random.default_rng(0)
    for probability in (1, 200, SCALE // 2, SCALE - 1):
        writer = Writer()
        values = (rng.random(200_000) < probability / SCALE).astype(np.int32)
        writer.bits(probability, values, len(values))
        # a 24-bit coder on a state of 32 bits or more loses up to 2e-4 bits per symbol
        assert abs(32 * len(writer.finish()) - writer.cost_bits) <= FLUSH + 2e-4 * len(values)


def first_symbol(lower, read):
    """The first symbol of a stream whose first 64 bits are `lower`."""
    return read(Reader(np.array([lower >> 32, lower & 0xFFFFFFFF], np.uint32)))


def test_probabilities_become_fixed_point_in_exact_arithmetic():
    """constriction cuts a fresh range of 2^64 − 1 into 2^24 steps and gives 0 the first
    1 + ⌊(2^24 − 2)(1 − p)⌋ of them: p = k / 2^16 is exact in float64, and so is the product, so
    the bytes do not depend on the machine. The two points around the border prove the count.
    """
    step = (2**64 - 1) >> 24
    for k in (1, 2, 3, 255, 256, 257, SCALE // 2, SCALE - 1, *range(1, SCALE, 97)):
        border = 1 + (2**24 - 2) * (SCALE - k) // SCALE
        assert first_symbol(border * step - 1, lambda reader, k=k: reader.bit(k)) == 0
        assert first_symbol(border * step, lambda reader, k=k: reader.bit(k)) == 1


def test_equal_shares_are_exact():
    step, nothing = (2**64 - 1) >> 24, np.zeros(0, np.uint64)
    for width in (1, 2, 7, 16):
        for value in {1, 2**width // 3 + 1, 2**width - 1}:
            border = value * 2 ** (24 - width) * step
            for point, expected in ((border - 1, value - 1), (border, value)):
                found = first_symbol(point, lambda reader, w=width: reader.words(w, nothing, 1))
                assert found.tolist() == [expected]


@pytest.mark.parametrize("size", [2, 3, 11, 256])
def test_frequencies_of_symbols_are_exact(size):
    """Of the 2^24 steps of a fresh range each symbol has as many as its frequency says, in order:
    nothing is rounded. Also frequencies of 1 beside one another, and nearly all for one symbol."""
    step, nothing = (2**64 - 1) >> 24, np.zeros(0, np.int64)
    rng = np.random.default_rng(size)
    even = np.sort(rng.choice(CERTAIN - 1, size - 1, replace=False)) + 1
    for borders in (even, np.arange(1, size), CERTAIN - np.arange(1, size)[::-1]):
        frequencies = np.diff([0, *borders.tolist(), CERTAIN])
        for symbol, border in enumerate(borders.tolist()):
            for point, expected in ((border * step - 1, symbol), (border * step, symbol + 1)):
                found = first_symbol(point, lambda r, f=frequencies: r.symbols(f, nothing, 1))
                assert found.tolist() == [expected]


def test_damaged_words_are_a_code_error():
    reader = Reader(np.array([2**32 - 1] * 2, np.uint32))  # beyond every symbol's interval
    with pytest.raises(CodeError):
        reader.bit(SCALE // 2)


def test_a_reader_past_the_end_of_its_words_still_answers():
    reader = Reader(np.zeros(0, np.uint32))
    assert reader.words(64, np.zeros(0, np.uint64), 100).tolist() == [0] * 100


# ----------------------------------------------------------------------------- integers


def test_one_possible_value_costs_nothing():
    writer = Writer()
    assert uniform(writer, 1, 0) == 0
    assert writer.cost_bits == 0


@pytest.mark.parametrize("size", [3, 5, 6, 257])
def test_values_outside_the_range_are_refused(size):
    writer = Writer()
    writer.words((size - 1).bit_length(), np.array([size], np.uint64), 1)
    with pytest.raises(CodeError):
        uniform(Reader(writer.finish()), size)
    with pytest.raises(CodeError):
        uniform(Writer(), size, size)


def test_endless_integers_are_refused():
    writer = Writer()
    writer.bits(SCALE // 2, np.ones(5000, np.int32), 5000)
    with pytest.raises(CodeError):
        positive(Reader(writer.finish()))
    with pytest.raises(CodeError):
        positive(Writer(), 2**63)


def test_kraft_sum_of_the_code_of_positive_integers():
    """Elias gamma: the 2^k integers of k + 1 bits share 2^−(k+1), so all below 2^10 leave 2^−10."""
    total = Fraction(0)
    for value in range(1, 2**10):
        writer = Writer()
        positive(writer, value)
        total += Fraction(1, 2 ** round(writer.cost_bits))
    assert total == 1 - Fraction(1, 2**10)


# ----------------------------------------------------------------------------- adaptive bits


def test_probabilities_are_krichevsky_trofimov_in_integers():
    """p(1) = (ones + ½) / (seen + 1), rounded down to 1 / SCALE, on both sides of the stream."""
    values = np.random.default_rng(0).integers(0, 2, 300).tolist() + [0] * 70_000 + [1] * 5
    writer, bits = Recorder(), AdaptiveBits(1)
    for value in values:
        bits.code(writer, 0, value)
    ones = list(itertools.accumulate(values, initial=0))
    expected = [
        max(math.floor((Fraction(ones[n]) + Fraction(1, 2)) / (n + 1) * SCALE), 1)
        for n in range(len(values))
    ]
    assert writer.probabilities == expected
    reader, bits = Reader(writer.finish()), AdaptiveBits(1)
    assert [bits.code(reader, 0) for _ in values] == values


def test_contexts_do_not_share_counts():
    writer, bits = Recorder(), AdaptiveBits(2)
    for _ in range(50):
        bits.code(writer, 0, 1)
    bits.code(writer, 1, 0)
    assert writer.probabilities[-1] == SCALE // 2


def kt_bits(zeros, ones):
    """−log2 of Γ(zeros + ½) Γ(ones + ½) / (π · (zeros + ones)!): Krichevsky and Trofimov 1981."""
    nats = math.lgamma(zeros + 0.5) + math.lgamma(ones + 0.5) - math.log(math.pi)
    return -(nats - math.lgamma(zeros + ones + 1)) / math.log(2)


@pytest.mark.parametrize(("zeros", "ones"), [(0, 20), (20, 0), (13, 7), (1000, 30), (3, 4000)])
def test_cost_of_adaptive_bits_in_closed_form(zeros, ones):
    values = np.random.default_rng(1).permutation([0] * zeros + [1] * ones).tolist()
    writer, bits = Writer(), AdaptiveBits(1)
    for value in values:
        bits.code(writer, 0, value)
    assert writer.cost_bits == pytest.approx(kt_bits(zeros, ones), rel=2e-3)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 8])
def test_adaptive_symbols_waste_nothing(size):
    """Over all sequences of three symbols, Σ 2^−cost = 1: no probability on what cannot be."""
    total = 0.0
    for sequence in itertools.product(range(size), repeat=3):
        writer, symbols = Writer(), AdaptiveSymbols(size)
        assert [symbols.code(writer, value) for value in sequence] == list(sequence)
        reader, symbols = Reader(writer.finish()), AdaptiveSymbols(size)
        assert [symbols.code(reader) for _ in sequence] == list(sequence)
        total += 2**-writer.cost_bits
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("size", [2, 3, 7, 200, 256])
def test_adaptive_symbols_approach_the_entropy(size):
    """Within n·H + ½ (K − 1) log2 n plus the tree's few bits, for a skewed source."""
    rng = np.random.default_rng(2)
    weights = rng.dirichlet(np.full(size, 0.5))
    values = rng.choice(size, 20_000, p=weights)
    counts = np.bincount(values, minlength=size)
    frequencies = counts[counts > 0] / len(values)
    ideal = -len(values) * float((frequencies * np.log2(frequencies)).sum())
    writer, symbols = Writer(), AdaptiveSymbols(size)
    for value in values.tolist():
        symbols.code(writer, value)
    adaptive = ideal + (size - 1) / 2 * math.log2(len(values))
    assert ideal <= writer.cost_bits <= 1.01 * adaptive + 64
