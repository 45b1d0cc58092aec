"""Logarithms, odds and the mixer: integers that no machine and no setting can change."""

import decimal
import math

import mpmath
import numpy as np
import pytest

from prunecert.coding import mixing
from prunecert.coding.mixing import COUNT, LIMIT, NAT, PRIOR, Mixer, log
from prunecert.coding.stream import SCALE, Reader, Writer


def nearest(value):
    """The nearest integer in 50 digits; no value here is within 1e-9 of a tie."""
    assert abs(abs(value - mpmath.floor(value)) - 0.5) > 1e-9
    return int(mpmath.nint(value))


def test_logarithms_of_small_integers_are_correctly_rounded():
    with mpmath.workdps(50):
        assert [log(i) for i in range(1, 1024)] == [
            nearest(NAT * mpmath.log(i)) for i in range(1, 1024)
        ]
        assert nearest(NAT * mpmath.log(2)) == mixing.LOG_TWO


def test_logarithms_never_fall_and_stay_close():
    """One unit for the leading bits, and what LOG_TWO lost in rounding per doubling."""
    values = [log(i) for i in range(1, 1 << 17)]
    assert all(a <= b for a, b in zip(values, values[1:]))
    per_doubling = abs(mixing.LOG_TWO - NAT * math.log(2))
    for i in range(1, 1 << 17):
        doublings = max(i.bit_length() - mixing.MANTISSA, 0)
        assert abs(values[i - 1] - NAT * math.log(i)) <= 1 + per_doubling * doublings


def test_the_looked_up_logarithms_are_the_computed_ones():
    table = mixing._long_log_table()
    assert table[1:] == [log(i) for i in range(1, mixing.FADE + 1)]


def test_probabilities_are_correctly_rounded_rise_and_exclude_certainty():
    table = mixing._squash_table()
    assert len(table) == 2 * LIMIT + 1
    with mpmath.workdps(50):
        for s in range(-LIMIT, LIMIT + 1, 7):
            exact = SCALE / (1 + mpmath.exp(-mpmath.mpf(s) / NAT))
            assert table[s + LIMIT] == min(max(int(mpmath.nint(exact)), 1), SCALE - 1)
    assert all(a <= b for a, b in zip(table, table[1:]))
    middle = table[LIMIT - 2 * NAT : LIMIT + 2 * NAT]  # where a step is worth many units
    assert all(a < b for a, b in zip(middle, middle[1:]))
    assert (min(table), table[LIMIT], max(table)) == (1, SCALE // 2, SCALE - 1)
    assert all(p + q == SCALE for p, q in zip(table, reversed(table)))


@pytest.mark.parametrize("name", ["_log_table", "_squash_table"])
def test_the_decimal_context_of_the_caller_does_not_matter(name):
    """A setting of the program around us would be a side channel (THEORY 3.1)."""
    table = getattr(mixing, name)
    before = list(table())
    table.cache_clear()
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP)):
        assert table() == before


def code_all(stream, values, contexts, base=0, ones=1, places=2):
    mixer = Mixer([16, 8], ones, places)
    return [mixer.code(stream, base, [a, b], v) for (a, b), v in zip(contexts, values, strict=True)]


def test_a_reader_learns_what_the_writer_learnt():
    rng = np.random.default_rng(0)
    contexts = rng.integers(0, [16, 8], (5000, 2)).tolist()
    values = [int(rng.random() < (a + 1) / 20) for a, _ in contexts]
    writer = Writer()
    assert code_all(writer, values, contexts) == values
    assert code_all(Reader(writer.finish()), [0] * 5000, contexts) == values


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.01])
def test_without_structure_the_base_rate_is_kept(rate):
    """20,000 independent bits whose rate is announced: contexts may only cost a little."""
    rng = np.random.default_rng(1)
    values = (rng.random(20_000) < rate).astype(int).tolist()
    contexts = rng.integers(0, [16, 8], (20_000, 2)).tolist()
    ones = sum(values)
    entropy = -sum(p * math.log2(p) for p in (ones / 20_000, 1 - ones / 20_000)) * 20_000
    writer = Writer()
    base = round(NAT * math.log(ones / (20_000 - ones)))
    code_all(writer, values, contexts, base, ones, 20_000)
    assert entropy < writer.cost_bits < 1.01 * entropy + 64


def test_a_mask_with_next_to_no_ones_starts_above_the_largest_count():
    """Prior counts of 24 · 2^21 exceed what is looked up: still the same on both sides."""
    values = [0] * 200 + [1] + [0] * 200
    contexts = [(i % 3, i % 2) for i in range(len(values))]
    writer = Writer()
    code_all(writer, values, contexts, -LIMIT, 1, 2**21)
    reader = Reader(writer.finish())
    assert code_all(reader, [0] * 401, contexts, -LIMIT, 1, 2**21) == values
    mixer = Mixer([1], 1, 2**21)
    mixer.code(Writer(), 0, [0], 1)  # one observation is COUNT, on top of PRIOR
    assert mixer._votes == [log(PRIOR + COUNT) - log(PRIOR)]


def test_context_that_tells_is_used():
    """The bit equals the context's parity: almost free, where the base rate alone says nothing."""
    rng = np.random.default_rng(2)
    contexts = rng.integers(0, [16, 8], (5000, 2)).tolist()
    writer = Writer()
    code_all(writer, [a % 2 for a, _ in contexts], contexts)
    assert writer.cost_bits < 0.1 * 5000
