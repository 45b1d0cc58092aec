"""The code of large masks: exact, as short as the binomial coefficient says, hostile bytes refused.

Its runs are those of `test_static_code`, where the border cases of their fields are.
"""

import contextlib
import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch
from coded_networks import assert_identical, bits_of, specs_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hostile_bytes import Chooser

from prunecert.coding import Choice, decode_network, encode_network, mask_codes, pack, unpack
from prunecert.coding.header import Header, code_header
from prunecert.coding.mask_codes import code_mask
from prunecert.coding.run_masks import code_run_mask
from prunecert.coding.static_code import shares
from prunecert.coding.stream import SCALE, Reader, Writer, uniform
from prunecert.models.loading import TensorSpec
from prunecert.types import CodeError


def written(mask):
    """The cost and the words' bits, after checking that the words decode to the mask."""
    writer = Writer()
    assert np.array_equal(code_run_mask(writer, mask.shape, mask), mask)
    words = writer.finish()
    found = code_run_mask(Reader(words), mask.shape, None)
    assert found.dtype == np.bool_
    assert np.array_equal(found, mask)
    assert 32 * len(words) - writer.cost_bits >= -0.5
    return writer.cost_bits, 32 * len(words)


def rows_bits(mask):
    writer = Writer()
    code_mask(writer, "rows", mask.shape, 1, mask)
    return writer.cost_bits


def log2_choose(n, k):
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(2)


def independent(seed, shape, density):
    return np.random.default_rng(seed).random(shape) < density


# ----------------------------------------------------------------------------- exactness


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(0, 12), st.integers(0, 90)),
    st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.8, 0.99, 1.0]),
)
def test_round_trip(seed, shape, density):
    written(independent(seed, shape, density))


@pytest.mark.parametrize("shape", [(1, 10_000), (10_000, 1), (80, 125)])
@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("places", [[0], [9999], [0, 9999], [0, 1], [9998, 9999], range(124, 251)])
def test_odd_entries_at_the_ends_and_together(shape, filled, places):
    mask = np.full(shape, filled)
    mask.flat[list(places)] = not filled
    assert written(mask)[0] <= 1 + 14 + 14 + len(places) * 15


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 3), (40, 50)])
def test_masks_of_one_kind(shape):
    for filled in (False, True):
        written(np.full(shape, filled))


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_masks_without_entries(shape):
    assert written(np.zeros(shape, bool)) == (0, 0)
    for word in (0, 2**32 - 1, 0x12345678):
        reader = Reader(np.array([word, word], np.uint32))
        assert code_run_mask(reader, shape, None).shape == shape


# ----------------------------------------------------------------------------- lengths


@pytest.mark.parametrize("density", [0.001, 0.01, 0.06, 0.12, 0.13, 0.3, 0.5, 0.7, 0.9, 0.999])
@pytest.mark.parametrize("shape", [(100, 101), (1024, 1024), (3, 10_000)])
def test_within_one_percent_of_the_binomial_coefficient(shape, density):
    """The words themselves, not only what they are said to cost."""
    mask = independent(1, shape, density)
    ideal = log2_choose(mask.size, int(mask.sum()))
    cost, words = written(mask)
    assert ideal < cost
    assert max(cost, words) <= 1.01 * ideal + 64


@pytest.mark.parametrize("common", [False, True])
def test_around_the_border_of_remainders(common):
    """Of 8192 places every eighth is rare, or one less (shorter remainders), or one more."""
    for rare in (1023, 1024, 1025):
        mask = np.full((64, 128), common)
        mask.flat[np.random.default_rng(0).choice(8192, rare, replace=False)] = not common
        assert written(mask)[0] <= 1.005 * log2_choose(8192, rare) + 1 + 26


def test_as_many_zeros_as_ones():
    """The places are then the nonzeros; one more of these, and they are the zeros: by symmetry the
    mask and its complement cost the same."""
    for kept in (4999, 5000, 5001):
        mask = np.zeros((100, 100), bool)
        mask.flat[np.random.default_rng(0).choice(10_000, kept, replace=False)] = True
        assert written(mask)[0] == pytest.approx(written(~mask)[0], abs=15)
        assert written(mask)[0] <= 10_000 + 1 + 28


@pytest.mark.parametrize("shape", [(3, 3), (1, 9), (2, 5)])
def test_kraft_sum_over_every_small_mask(shape):
    total = 0.0
    for entries in itertools.product([False, True], repeat=math.prod(shape)):
        total += 2.0 ** -written(np.array(entries).reshape(shape))[0]
    assert 0.05 < total <= 1 + 1e-9


# ----------------------------------------------------------------------------- when it is taken


def dialect_of(data):
    return code_header(Reader(unpack(data)[0]), Header()).dialect


def coded(mask, choice=None):
    """The file, the mode of the mask in it, and the bits of the places."""
    tensors = {"w": torch.from_numpy(mask).float()}
    slots = specs_of(tensors)
    network = encode_network(tensors, slots, (), choices={"w": choice} if choice else None)
    found = decode_network(network.data, slots, ())
    assert_identical(found.tensors, tensors)
    return network.data, found.choices["w"].mask, network.code.parts["positions"]


def test_offered_above_the_limit_only(monkeypatch):
    mask = independent(2, (60, 70), 0.05)
    monkeypatch.setattr(mask_codes, "SEQUENTIAL_LIMIT", 4200)
    data, mode, _ = coded(mask)
    assert mode in ("adaptive", "enumerative")
    assert dialect_of(data) == 0
    monkeypatch.setattr(mask_codes, "SEQUENTIAL_LIMIT", 4199)
    data, mode, bits = coded(mask)
    assert (mode, dialect_of(data)) == ("runs", 2)
    assert bits <= 1.01 * log2_choose(4200, int(mask.sum())) + 27
    data, mode, _ = coded(mask, Choice("rows"))
    assert (mode, dialect_of(data)) == ("rows", 0)


def test_rows_stay_where_they_are_shorter(monkeypatch):
    """Rows of very different densities pay for their counts, and equal ones do not."""
    monkeypatch.setattr(mask_codes, "SEQUENTIAL_LIMIT", 1000)
    densities = np.array([0.002, 0.9, 0.04, 0.5])[np.arange(100) % 4]
    for mask, expected in (
        (independent(3, (100, 400), densities[:, None]), "rows"),
        (independent(3, (100, 400), 0.3), "runs"),
    ):
        costs = {"rows": rows_bits(mask), "runs": written(mask)[0]}
        data, mode, bits = coded(mask)
        assert mode == min(costs, key=costs.get) == expected
        assert bits == round(costs[mode])
        assert dialect_of(data) == (2 if expected == "runs" else 0)


def test_a_large_mask_at_the_real_limit():
    mask = independent(4, (2**12 + 1, 2**9), 0.02)
    data, mode, bits = coded(mask)
    assert (mode, dialect_of(data)) == ("runs", 2)
    assert bits <= 1.01 * log2_choose(mask.size, int(mask.sum())) + 64


# ----------------------------------------------------------------------------- hostile bytes

SLOTS = [TensorSpec("w", (20, 30), torch.float32), TensorSpec("v", (40, 10), torch.int8)]


def network():
    """Few nonzeros, few zeros."""
    few, many = independent(5, (20, 30), 0.03), independent(6, (40, 10), 0.8)
    return {"w": torch.from_numpy(few).float(), "v": torch.from_numpy(many).to(torch.int8)}


DATA = encode_network(network(), SLOTS, (), (), dict.fromkeys("wv", Choice("runs"))).data


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
    found = decode_network(DATA, SLOTS, ())
    assert all(bits_of(found.tensors[name]) == bits_of(t) for name, t in network().items())
    assert [c.mask for c in found.choices.values()] == ["runs", "runs"]
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


def test_every_field_at_random():
    """The code's own grammar with arbitrary contents: what decodes is written again."""
    complete = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        writer = Chooser(rng)
        with contextlib.suppress(CodeError):
            code_run_mask(writer, (20, 30), None)
        try:
            found = code_run_mask(Reader(writer.finish()), (20, 30), None)
        except CodeError:
            continue
        complete += 1
        written(found)
    assert 20 < complete < 280


def runs_file(zeros_are_rare, others, zeros, unary, remainders):
    """A mask of 600 places as it is told."""
    writer = Writer()
    writer.bit(SCALE // 2, zeros_are_rare)
    uniform(writer, 600, others - 1)
    low = max((600 // others).bit_length() - 3, 0)
    uniform(writer, (600 - others >> low) + 1, zeros)
    writer.symbols(shares([zeros, others]), np.array(unary), len(unary))
    writer.words(low, np.array(remainders, np.uint64), len(remainders))
    return writer.finish()


def test_places_as_the_format_tells_them():
    """One rare entry in 600: runs in pieces of 2^7; two: 2^6; 76, without remainders."""
    cases = [((1, 3, [0, 0, 0, 1], [5]), [389]), ((2, 3, [0, 1, 0, 0, 1], [5, 0]), [69, 198])]
    cases.append(((76, 2, [0, 0] + [1] * 76, []), list(range(2, 78))))
    for arguments, places in cases:
        for zeros_are_rare in (0, 1):
            words = runs_file(zeros_are_rare, *arguments)
            found = code_run_mask(Reader(words), (20, 30), None)
            assert np.flatnonzero(found != bool(zeros_are_rare)).tolist() == places
            assert found.shape == (20, 30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 4, [0, 0, 0, 0, 1], [600 - 512]), "place 600"),  # one beyond the end
        ((2, 3, [0, 0, 0, 0, 1], [5, 0]), "rare"),  # one too few, one too many
        ((2, 3, [1, 1, 0, 1, 0], [5, 0]), "rare"),
        ((601, 0, [1], []), "at most 599"),
        ((76, 525, [1], []), "at most 524"),  # more entries than there are places
    ],
)
def test_places_that_do_not_fit_are_refused(arguments, message):
    for zeros_are_rare in (0, 1):
        with pytest.raises(CodeError, match=message):
            code_run_mask(Reader(runs_file(zeros_are_rare, *arguments)), (20, 30), None)


def test_memory_is_bounded_by_the_shape():
    """The largest numbers that the fields allow, and noise: some arrays of 8 bytes a place."""
    written(independent(7, (2, 5), 0.3))  # what is allocated once
    generator, peaks = np.random.default_rng(7), []
    for others in (1, 12_501, 50_000, 99_999, 100_000, None):
        writer = Writer()
        if others is not None:
            low = max((100_000 // others).bit_length() - 3, 0)
            writer.bit(SCALE // 2, 0)
            uniform(writer, 100_000, others - 1)
            uniform(writer, (100_000 - others >> low) + 1, 100_000 - others >> low)
        noise = generator.integers(0, 2**32, 20_000, dtype=np.uint32)
        words = np.append(writer.finish(), noise)
        tracemalloc.start()
        with contextlib.suppress(CodeError):
            code_run_mask(Reader(words), (100, 1000), None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 12 * 8 * 100_000
