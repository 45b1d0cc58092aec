"""Codes of positions: exact, complete (Kraft), and as short as the binomial coefficient says."""

import contextlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunecert.coding import mask_codes
from prunecert.coding.mask_codes import MASK_MODES, candidates, code_mask
from prunecert.coding.stream import SCALE, Reader, Writer, uniform
from prunecert.types import CodeError

MODES = ("adaptive", "enumerative", "rows")


def written(mode, mask, repeat=1):
    """The cost in bits, after checking that the words decode to the mask."""
    writer = Writer()
    assert np.array_equal(code_mask(writer, mode, mask.shape, repeat, mask), mask)
    words = writer.finish()
    decoded = code_mask(Reader(words), mode, mask.shape, repeat, None)
    assert decoded.dtype == np.bool_
    assert np.array_equal(decoded, mask)
    # the words are there: 33 bits of flush at most, and 2e-4 bits lost per symbol
    assert -0.5 <= 32 * len(words) - writer.cost_bits <= 33.5 + 2e-4 * mask.size
    return writer.cost_bits


def log2_choose(n, k):
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(2)


def independent(seed, shape, density):
    return np.random.default_rng(seed).random(shape) < density


# ----------------------------------------------------------------------------- exactness


shapes = st.tuples(st.integers(0, 12), st.integers(0, 30))


@settings(derandomize=True, deadline=None, max_examples=120)
@given(
    st.integers(0, 2**32 - 1),
    shapes,
    st.sampled_from([0.0, 0.02, 0.3, 0.97, 1.0]),
    st.sampled_from([1, 2, 9, 25]),
    st.sampled_from(MODES),
)
def test_round_trip(seed, shape, density, repeat, mode):
    written(mode, independent(seed, shape, density), repeat)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 400), (400, 1), (20, 50)])
@pytest.mark.parametrize("filled", [False, True])
def test_round_trip_of_one_odd_entry(mode, shape, filled):
    """One nonzero, or one zero: first, last, anywhere."""
    for place in (0, 399, 137):
        mask = np.full(shape, filled)
        mask.flat[place] = not filled
        written(mode, mask, repeat=5)


def test_modes_without_bits():
    for shape in ((0, 0), (0, 4), (3, 0), (3, 4)):
        assert written("empty", np.zeros(shape, bool)) == 0
        assert written("dense", np.ones(shape, bool)) == 0


def test_a_mask_is_never_silently_lost():
    with pytest.raises(ValueError, match="empty"):
        code_mask(Writer(), "empty", (1, 2), 1, np.array([[True, False]]))


def test_what_is_offered_can_code_the_mask():
    assert candidates(np.zeros((3, 3), bool)) == ("empty",)
    assert candidates(np.ones((3, 3), bool)) == ("dense",)
    assert candidates(np.eye(3, dtype=bool)) == ("adaptive", "enumerative")
    assert set(MODES) | {"empty", "dense"} == set(MASK_MODES)


def test_large_masks_are_only_coded_whole_rows_at_a_time(monkeypatch):
    """A few bytes must not buy hours: neither side runs a loop per entry above the limit."""
    monkeypatch.setattr(mask_codes, "SEQUENTIAL_LIMIT", 24)
    mask = np.eye(5, dtype=bool)
    assert candidates(mask) == ("rows",)
    written("rows", mask)
    for mode in ("adaptive", "enumerative"):
        with pytest.raises(CodeError):
            code_mask(Reader(np.zeros(1, np.uint32)), mode, (5, 5), 1, None)
        with pytest.raises(CodeError):
            code_mask(Writer(), mode, (5, 5), 1, mask)
        written(mode, mask[:, :4])


# ----------------------------------------------------------------------------- lengths


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(3, 3), (1, 9), (9, 1), (2, 5)])
def test_kraft_sum_over_every_small_mask(mode, shape):
    """Σ 2^−cost ≤ 1, and not far below: a position that is not paid for would show here."""
    total = 0.0
    for entries in itertools.product([False, True], repeat=math.prod(shape)):
        total += 2.0 ** -written(mode, np.array(entries).reshape(shape), repeat=3)
    assert 0.05 < total <= 1 + 1e-9


@pytest.mark.parametrize("density", [0.001, 0.01, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("shape", [(100, 200), (10, 1500)])
def test_enumerative_is_the_binomial_coefficient(shape, density):
    mask = independent(0, shape, density)
    ideal = log2_choose(mask.size, int(mask.sum())) + math.log2(mask.size + 1)
    cost = written("enumerative", mask)
    assert log2_choose(mask.size, int(mask.sum())) < cost <= 1.01 * ideal + 64


def test_enumerative_on_every_small_mask():
    """Rounding to 1/SCALE apart, exactly ⌈log2(N + 1)⌉ + log2 C(N, k)."""
    for entries in itertools.product([False, True], repeat=10):
        cost = written("enumerative", np.array([entries]))
        assert cost == pytest.approx(4 + math.log2(math.comb(10, sum(entries))), abs=1e-3)


@pytest.mark.parametrize("density", [0.002, 0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize(("shape", "repeat"), [((60, 200), 1), ((25, 450), 9)])
def test_adaptive_costs_little_where_there_is_no_structure(shape, repeat, density):
    """Independent entries: log2 C(N, k) and half a logarithm are ideal."""
    mask = independent(1, shape, density)
    ideal = log2_choose(mask.size, int(mask.sum())) + math.log2(mask.size + 1)
    assert written("adaptive", mask, repeat) <= 1.01 * ideal + 64


def dead_columns(rng):
    alive = rng.random(200) < 0.5
    mask = (rng.random((70, 200)) < 0.1) & alive
    return mask, [mask[:, alive], alive]


def dead_rows(rng):
    alive = rng.random((70, 1)) < 0.5
    mask = (rng.random((70, 200)) < 0.1) & alive
    return mask, [mask[alive[:, 0]], alive]


def hot_columns(rng):
    hot = np.arange(200) % 20 == 7
    mask = rng.random((70, 200)) < np.where(hot, 0.7, 0.05)
    return mask, [mask[:, hot], mask[:, ~hot], hot]


def blocks(rng):
    places = rng.random((7, 20)) < 0.1
    return np.kron(places, np.ones((10, 10), bool)), [places]


def whole_kernels(rng):
    places = rng.random((70, 22)) < 0.1
    return np.repeat(places, 9, axis=1), [places]


def vertical_runs(rng):
    places = rng.random((7, 200)) < 0.1
    return np.repeat(places, 10, axis=0), [places]


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        (dead_columns, 0.6),
        (dead_rows, 0.6),
        (hot_columns, 0.6),
        (vertical_runs, 0.85),
        (blocks, 0.92),
        (whole_kernels, 0.92),
    ],
)
def test_adaptive_finds_structure(kind, share):
    """At least this share of what an oracle gains that is told the parts and pays log2 C each."""
    mask, parts = kind(np.random.default_rng(3))
    oracle = sum(log2_choose(part.size, int(part.sum())) for part in parts)
    enumerative = written("enumerative", mask)
    adaptive = written("adaptive", mask, 9 if kind is whole_kernels else 1)
    assert oracle < adaptive < enumerative - share * (enumerative - oracle)


def test_rows_cost_a_binomial_coefficient_each():
    mask = independent(4, (60, 300), 0.05)
    counts = mask.sum(axis=1)
    entropy = sum(
        -k * math.log2(k / 300) - (300 - k) * math.log2(1 - k / 300) for k in counts.tolist() if k
    )
    assert written("rows", mask) == pytest.approx(60 * 9 + entropy, rel=1e-3)


# ----------------------------------------------------------------------------- hostile streams


def adaptive_stream(announced, bits):
    """A 2 × 4 mask announcing a count, followed by bits at the writer's own probabilities."""

    class Liar(Writer):
        def words(self, width, values, count):
            return super().words(width, np.array([announced], np.uint64), 1)

        def bit(self, probability, value=0):
            return super().bit(probability, bits.pop(0))

    writer = Liar()
    with contextlib.suppress(CodeError):
        code_mask(writer, "adaptive", (2, 4), 1, np.zeros((2, 4), bool))
    return writer.finish()


@pytest.mark.parametrize(
    ("announced", "bits"),
    [
        (0, [0, 0, 1]),  # one nonzero too many
        (2, [1, 1, 0, 0, 0, 0, 0, 1]),
        (1, [0] * 8),  # one too few
        (8, [1] * 7 + [0]),
        (9, []),  # more than there are places
        (15, []),
    ],
)
def test_a_count_that_does_not_fit_is_refused(announced, bits):
    words = adaptive_stream(announced, list(bits))
    with pytest.raises(CodeError):
        code_mask(Reader(words), "adaptive", (2, 4), 1, None)


@pytest.mark.parametrize("mode", ["enumerative", "rows"])
def test_more_nonzeros_than_places_are_refused(mode):
    writer = Writer()
    uniform(writer, 16, 15)
    with pytest.raises(CodeError):
        code_mask(Reader(writer.finish()), mode, (1, 9), 1, None)


@pytest.mark.parametrize("mode", MASK_MODES)
@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_masks_without_entries(mode, shape):
    """A hostile file may choose any mode for them."""
    for word in (0, 2**32 - 1, 0x12345678):
        reader = Reader(np.array([word, word], np.uint32))
        assert code_mask(reader, mode, shape, 1, None).shape == shape


@pytest.mark.parametrize("mode", MODES)
def test_probabilities_stay_strictly_between_zero_and_one(mode):
    """Near-certain bits over many places: neither side may be handed 0 or SCALE."""
    seen = []

    class Watcher(Writer):
        def bit(self, probability, value=0):
            seen.append(probability)
            return super().bit(probability, value)

        def bits(self, probability, values, count):
            seen.append(probability)
            return super().bits(probability, values, count)

    shape = (7, 10_000) if mode != "adaptive" else (2, 7_000)
    for filled in (False, True):
        mask = np.full(shape, filled)
        mask[-1, -1] = not filled
        code_mask(Watcher(), mode, shape, 1, mask)
    assert min(seen) >= 1
    assert max(seen) <= SCALE - 1
