"""The static code: exact for every dtype, as short as adaptive codes, hostile bytes refused."""

import contextlib
import itertools
import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import torch
from coded_networks import assert_identical, random_patterns, specs_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hostile_bytes import Chooser

from prunecert.coding import (
    Choice,
    choosing,
    decode_network,
    encode_network,
    pack,
    quantize,
    unpack,
)
from prunecert.coding.header import Header, code_header
from prunecert.coding.patterns import DTYPE_LIST
from prunecert.coding.quantize import Precision
from prunecert.coding.static_code import COMMON, code_static, shares
from prunecert.coding.stream import CERTAIN, AdaptiveSymbols, Reader, Writer, uniform
from prunecert.coding.value_codes import EXTENDED_VALUE_MODES, kept_bits
from prunecert.models.loading import TensorSpec
from prunecert.types import CodeError

NOTHING = np.zeros(0, np.uint64)
FLUSH = 33


def static_bits(width, values):
    """The cost and the words' bits, after checking that the words decode to the values."""
    writer = Writer()
    assert np.array_equal(code_static(writer, width, values, len(values)), values)
    words = writer.finish()
    found = code_static(Reader(words), width, NOTHING, len(values))
    assert found.dtype == np.uint64
    assert np.array_equal(found, values)
    assert 32 * len(words) - writer.cost_bits >= -0.5
    return writer.cost_bits, 32 * len(words)


def adaptive_bits(counts):
    """−log2 of Γ(K/2) Π Γ(c + ½) / (Γ(½)^K Γ(n + K/2)): Krichevsky and Trofimov 1981."""
    n, half = sum(counts), len(counts) / 2
    nats = sum(math.lgamma(c + 0.5) - math.lgamma(0.5) for c in counts)
    return (math.lgamma(n + half) - math.lgamma(half) - nats) / math.log(2)


# ----------------------------------------------------------------------------- frequencies


@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=256).filter(any))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_shares_are_positive_sum_to_certain_and_follow_the_weights(weights):
    frequencies = shares(weights).tolist()
    assert sum(frequencies) == CERTAIN
    free, total = CERTAIN - len(weights), sum(weights)
    for frequency, weight in zip(frequencies, weights, strict=True):
        assert frequency >= 1
        assert abs(frequency - 1 - Fraction(weight * free, total)) < 1


# ----------------------------------------------------------------------------- exactness

value_lists = st.sampled_from((8, 16, 32, 64)).flatmap(
    lambda w: st.tuples(
        st.just(w),
        st.lists(st.integers(0, 2**w - 1), min_size=1, max_size=12).flatmap(
            lambda book: st.lists(st.sampled_from(book), min_size=1, max_size=60)
        ),
        st.integers(0, 2 * COMMON),  # more of the first
    )
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(value_lists)
def test_round_trip(case):
    width, values, more = case
    static_bits(width, np.array(values[:1] * more + values, np.uint64))


@pytest.mark.parametrize("places", [(0,), (9999,), (0, 1), (9998, 9999), (0, 9999), range(7, 37)])
@pytest.mark.parametrize("rare_is_first", [False, True])
def test_rare_values_at_the_ends_and_together(places, rare_is_first):
    values = np.full(10_000, 200 if rare_is_first else 3, np.uint64)
    values[list(places)] = 100
    cost, _ = static_bits(8, values)
    assert cost < 8 + 3 + 16 + 80 + 14 * len(places)


@pytest.mark.parametrize("others", range(30, 50))
def test_round_trip_around_the_border_of_common(others):
    """10,000 / 256 is 39.06; the codes on both sides cost nearly the same."""
    values = np.zeros(10_000, np.uint64)
    places = np.random.default_rng(0).choice(10_000, others, replace=False)
    values[places] = 1 + places % 2
    cost, _ = static_bits(8, values)
    fields = 8 + 3 + 3 * kept_bits(np.arange(3, dtype=np.uint64), 8)
    assert cost <= fields + 1.01 * adaptive_bits(np.bincount(values.astype(int)).tolist()) + 64


@pytest.mark.parametrize("dtype", DTYPE_LIST, ids=str)
@pytest.mark.parametrize("common", [False, True])
def test_any_bits_of_every_dtype(dtype, common):
    """Infinities, NaNs, subnormals, −0.0; sparse too, beside another tensor."""
    rng = np.random.default_rng(1)
    book = random_patterns(rng, dtype, 12)
    odds = [0.996] + [0.004 / 11] * 11 if common else [1 / 12] * 12
    dense = book[torch.from_numpy(rng.choice(12, 3000, p=odds))].reshape(50, 60)
    sparse = torch.where(torch.from_numpy(rng.random((50, 60)) < 0.1), dense, 0).to(dtype)
    tensors = {"a": dense, "b": sparse, "c": torch.ones(3)}
    asked = {name: Choice(values="static") for name in ("a", "b")}
    coded = encode_network(tensors, specs_of(tensors), (), (), asked)
    found = decode_network(coded.data, specs_of(tensors), ())
    assert_identical(found.tensors, tensors)
    values = [found.choices[name].values for name in ("a", "b")]
    assert [v for v in values if v] == ["static"] * len([t for t in (dense, sparse) if t.any()])
    again = encode_network(found.tensors, specs_of(tensors), (), (), found.choices)
    assert again.data == coded.data


def test_one_kind_costs_its_codebook_only():
    assert static_bits(32, np.full(5000, 0x3F800000, np.uint64))[0] == 8 + 5 + 9


def test_more_kinds_than_a_codebook_has_are_refused():
    static_bits(16, np.arange(256, dtype=np.uint64))
    with pytest.raises(CodeError, match="256"):
        code_static(Writer(), 16, np.arange(257, dtype=np.uint64), 257)
    late = np.concatenate([np.zeros(10_000, np.uint64), np.arange(257, dtype=np.uint64)])
    static_bits(16, late[:-1])
    with pytest.raises(CodeError, match="256"):
        code_static(Writer(), 16, late, len(late))


@pytest.mark.parametrize("width", [8, 16, 32, 64])
@pytest.mark.parametrize("shape", ["low bits", "high bits", "one bit", "evenly"])
def test_regular_codebooks_of_256_kinds(width, shape):
    """In any order of appearance, some of them late: the writer finds each kind and its index."""
    every = list(range(256))
    low = {
        "low bits": every,
        "high bits": [i << (width - 8) for i in every],
        "one bit": [1 << i for i in range(width)],
        "evenly": [i * ((1 << width) // 256 | 1) % (1 << width) for i in every],
    }[shape]
    kinds = np.random.default_rng(7).permutation(np.array(low, np.uint64))
    static_bits(width, np.concatenate([np.repeat(kinds[:100], 60), kinds, kinds[::-1]]))


# ----------------------------------------------------------------------------- lengths

SOURCES = {
    "two": [0.5] * 2,
    "all 256": [1 / 256] * 256,
    "bell": np.exp(-0.5 * (np.arange(11) - 5.0) ** 2 / 3),
    "geometric": 2.0 ** -np.arange(40),
    "zipf": 1 / np.arange(1, 257) ** 1.5,
    "1 in 10": [0.9, 0.1],
    "1 in 250": [249, 1],
    "1 in 260": [259, 1],
    "1 in 10,000": [9999, 1],
    "1 in 100,000": [99_999, 1],
    "none but two": [1, 1e-9, 1e-9],
    "many rare": [300] + [1 / 255] * 255,
}


@pytest.mark.parametrize("count", [10_000, 1_000_000])
@pytest.mark.parametrize("odds", SOURCES.values(), ids=SOURCES)
def test_within_one_percent_of_the_ideal_adaptive_length(odds, count):
    """The words themselves, not only what they are said to cost."""
    rng = np.random.default_rng(2)
    symbols = rng.choice(len(odds), count, p=np.array(odds) / np.sum(odds))
    symbols[:3] = 0, 1, len(odds) - 1
    book = np.sort(rng.choice(2**32, len(odds), replace=False)).astype(np.uint64)
    counts = np.bincount(symbols)
    counts = counts[counts > 0]
    entropy = -float((counts * np.log2(counts / count)).sum())
    fields = 8 + 5 + len(counts) * kept_bits(book[np.unique(symbols)], 32)
    cost, written = static_bits(32, book[symbols])
    ideal = adaptive_bits(counts.tolist())
    assert max(cost, written) <= fields + 1.01 * ideal + 64
    # places cost no less than their binomial coefficient, whatever code they have
    assert cost >= fields + min(entropy, ideal) - len(counts) * math.log2(count)


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_kraft_sum_over_short_lists(count):
    values = range(4) if count < 9 else range(2)
    total = 0.0
    for chosen in itertools.product(values, repeat=count):
        total += 2.0 ** -static_bits(8, np.array(chosen, np.uint64))[0]
    assert 0 < total <= 1


def test_kraft_sum_where_one_value_is_common():
    """Every list of 300 with one odd value: which, where, beside which common one."""
    total = 0.0
    for place in range(300):
        values = np.zeros(300, np.uint64)
        values[place] = 255
        total += 2.0 ** -static_bits(8, values)[0]
    assert 0 < 256 * 255 * total <= 1


# ----------------------------------------------------------------------------- when it is taken


def dialect_of(data):
    return code_header(Reader(unpack(data)[0]), Header()).dialect


def test_taken_where_a_loop_would_be_long(monkeypatch):
    """Above the limit instead of codebook and grid, which stay where they are asked for."""
    rng = np.random.default_rng(3)
    tensors = {"w": torch.from_numpy(rng.choice([-0.5, 0.5], (40, 50))).float()}
    slots = specs_of(tensors)
    small = encode_network(tensors, slots, ())
    assert decode_network(small.data, slots, ()).choices["w"].values == "grid"
    for limit, expected in ((2000, "grid"), (1999, "static")):
        monkeypatch.setattr(choosing.value_codes, "SEQUENTIAL_VALUES", limit)
        coded = encode_network(tensors, slots, ())
        found = decode_network(coded.data, slots, ())
        assert_identical(found.tensors, tensors)
        assert found.choices["w"].values == expected
        assert dialect_of(coded.data) == (2 if expected == "static" else 0)
    assert coded.code.parts["values"] <= 1.01 * small.code.parts["values"] + 64
    for asked in ("codebook", "grid"):
        choice = {"w": Choice("dense", asked, 0x3F000000)}
        data = encode_network(tensors, slots, (), choices=choice).data
        assert decode_network(data, slots, ()).choices["w"].values == asked
        assert dialect_of(data) == 0


def test_many_different_values_stay_raw(monkeypatch):
    monkeypatch.setattr(choosing.value_codes, "SEQUENTIAL_VALUES", 10)
    tensors = {"w": torch.randn(30, 40, generator=torch.Generator().manual_seed(0))}
    data = encode_network(tensors, specs_of(tensors), ()).data
    assert decode_network(data, specs_of(tensors), ()).choices["w"].values == "raw"
    assert dialect_of(data) == 0


@pytest.mark.parametrize("precision", [Precision("codebook", 5), Precision("grid", 4)])
def test_quantized_tensors_too(precision, monkeypatch):
    monkeypatch.setattr(choosing.value_codes, "SEQUENTIAL_VALUES", 1000)
    monkeypatch.setattr(quantize, "SEQUENTIAL_VALUES", 1000)
    weights = torch.randn(30, 40, generator=torch.Generator().manual_seed(0))
    for size, expected in ((25, precision.kind), (26, "static")):
        tensor, choice = quantize.quantize(weights[:size], precision)
        data = encode_network({"w": tensor}, specs_of({"w": tensor}), (), (), {"w": choice}).data
        found = decode_network(data, specs_of({"w": tensor}), ())
        assert torch.equal(found.tensors["w"], tensor)
        assert found.choices["w"].values == expected


def test_a_large_tensor_at_the_real_limit():
    rng = np.random.default_rng(4)
    tensors = {"w": torch.from_numpy(rng.choice([-1, 2, 7], (2**17 + 1, 1))).to(torch.int8)}
    data = encode_network(tensors, specs_of(tensors), ()).data
    found = decode_network(data, specs_of(tensors), ())
    assert_identical(found.tensors, tensors)
    assert found.choices["w"].values == "static"


# ----------------------------------------------------------------------------- hostile bytes

COUNT = 600
SLOTS = [TensorSpec("w", (20, 30), torch.float32), TensorSpec("v", (COUNT,), torch.int8)]


def network():
    """One tensor of several kinds, one of a common value and two rare ones."""
    rng = np.random.default_rng(5)
    v = torch.full((COUNT,), 3, dtype=torch.int8)
    v[100], v[400] = -5, 7
    return {"w": torch.from_numpy(rng.choice([-1.0, 0.5, 3.0], (20, 30))).float(), "v": v}


DATA = encode_network(
    network(), SLOTS, (), (), dict.fromkeys(("w", "v"), Choice("dense", "static"))
).data


def accepted(data):
    """What `verify` asks: decodes, and encodes to the same bytes; only CodeError may escape."""
    try:
        found = decode_network(data, SLOTS, ())
        again = encode_network(found.tensors, SLOTS, (), found.architecture, found.choices)
    except CodeError:
        return False
    return again.data == data


def test_tails_truncations_and_changed_bits():
    assert accepted(DATA)
    for tail in (b"\0", b"\0" * 4, DATA[-4:]):
        with pytest.raises(CodeError, match="follow the end"):
            decode_network(DATA + tail, SLOTS, ())
    for length in range(len(DATA)):
        with pytest.raises(CodeError):
            decode_network(DATA[:length], SLOTS, ())
    words = unpack(DATA)[0]
    for position in range(32 * len(words)):
        changed = words.copy()
        changed[position // 32] ^= np.uint32(1 << position % 32)
        accepted(pack(changed))


@pytest.mark.parametrize("width", [8, 64])
def test_every_field_at_random(width):
    """The code's own grammar with arbitrary contents: what decodes is written again."""
    outcomes = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        writer = Chooser(rng)
        with contextlib.suppress(CodeError):
            code_static(writer, width, NOTHING, COUNT)
        try:
            found = code_static(Reader(writer.finish()), width, NOTHING, COUNT)
        except CodeError:
            outcomes.append(False)
            continue
        assert found.shape == (COUNT,)
        static_bits(width, found)
        outcomes.append(True)
    assert 20 < sum(outcomes) < 280


def rare_file(others, zeros, unary, remainders):
    """Two kinds of weight 544 and 1; then the places as they are told."""
    writer = Writer()
    uniform(writer, 256, 1)
    uniform(writer, 8, 7)
    writer.words(8, np.array([1, 9], np.uint64), 2)
    lengths = AdaptiveSymbols(COUNT.bit_length())
    lengths.code(writer, 9)
    writer.words(3, np.array([0], np.uint64), 1)
    lengths.code(writer, 0)
    uniform(writer, COUNT, others - 1)
    low = max((COUNT // others).bit_length() - 3, 0)
    uniform(writer, (COUNT - others >> low) + 1, zeros)
    writer.symbols(shares([zeros, others]), np.array(unary), len(unary))
    writer.words(low, np.array(remainders, np.uint64), len(remainders))
    writer.symbols(shares([0, 1]), np.ones(others, np.int64), others)
    return writer.finish()


def test_places_as_the_format_tells_them():
    """One other in 600: runs in pieces of 2^7; two: 2^6. Run 3 · 128 + 5 ends at place 389."""
    cases = [((1, 3, [0, 0, 0, 1], [5]), [389]), ((2, 3, [0, 1, 0, 0, 1], [5, 0]), [69, 198])]
    for arguments, places in cases:
        found = code_static(Reader(rare_file(*arguments)), 8, NOTHING, COUNT)
        assert np.flatnonzero(found == 9).tolist() == places
        assert (found == 1).sum() == COUNT - len(places)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 4, [0, 0, 0, 0, 1], [600 - 512]), "place 600"),  # one beyond the end
        ((2, 9, [0] * 9 + [1, 1], [23, 0]), "place 600"),
        ((2, 3, [0, 0, 0, 0, 1], [5, 0]), "rare"),  # one too few, one too many
        ((2, 3, [1, 1, 0, 1, 0], [5, 0]), "rare"),
        ((601, 0, [1], [0]), "at most 599"),
        ((1, 5, [0], [0]), "at most 4"),
    ],
)
def test_places_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(CodeError, match=message):
        code_static(Reader(rare_file(*arguments)), 8, NOTHING, COUNT)


def test_memory_is_bounded_by_the_number_of_values():
    generator = np.random.default_rng(6)
    code_static(Reader(np.zeros(4, np.uint32)), 32, NOTHING, 10)
    for _ in range(40):
        words = generator.integers(0, 2**32, 300, dtype=np.uint32)
        words[0] >>= int(generator.integers(0, 16))  # small codebooks too
        tracemalloc.start()
        with contextlib.suppress(CodeError):
            code_static(Reader(words), 32, NOTHING, 100_000)
        assert tracemalloc.get_traced_memory()[1] < 12 * 8 * 100_000
        tracemalloc.stop()


def test_static_is_the_last_of_the_codes():
    assert EXTENDED_VALUE_MODES.index("static") == len(EXTENDED_VALUE_MODES) - 1 == 6
