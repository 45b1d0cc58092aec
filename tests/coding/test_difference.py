"""Values near seeded initial ones: the twin's numbers, exact round trips, and their price."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from coded_networks import bits_of, specs_of, two_layers
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded_twins import initial_integer_list, initial_place_list, tensor_of

from prunecert.coding import MAGIC, Choice, decode_network, encode_network
from prunecert.coding.difference import code_difference, initial_exponent, initial_values
from prunecert.coding.frame import Frame
from prunecert.coding.patterns import to_patterns
from prunecert.coding.prng import initial_integers
from prunecert.coding.stream import Reader, Writer, positive, uniform
from prunecert.coding.value_codes import code_integers
from prunecert.types import CodeError

FLOATS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
E = -18


def pattern(value, dtype):
    return int(to_patterns(torch.tensor([value], dtype=torch.float64).to(dtype))[0])


def near(shape, seed, index, k, q, exponent, dtype):
    """(m + q k) 2^e in rational arithmetic."""
    start = initial_integer_list(seed, index, math.prod(shape))
    exact = [(m + q * int(n)) * Fraction(2) ** exponent for m, n in zip(start, k)]
    return tensor_of(exact, shape, dtype)


def round_trip(tensors, choices, seed, slots=None, groups=()):
    slots = specs_of(tensors) if slots is None else slots
    coded = encode_network(tensors, slots, groups, (), choices, seed)
    decoded = decode_network(coded.data, slots, groups)
    assert all(bits_of(decoded.tensors[n]) == bits_of(t) for n, t in tensors.items())
    assert coded.code.bits == 8 * (len(coded.data) - len(MAGIC)) == sum(coded.code.parts.values())
    again = encode_network(decoded.tensors, slots, groups, (), decoded.choices, decoded.seed)
    assert again.data == coded.data
    return coded, decoded


# ----------------------------------------------------------------------------- initial values


@pytest.mark.parametrize(("seed", "index"), [(0, 0), (65535, 3)])
def test_initial_integers_are_those_of_the_twin(seed, index):
    assert initial_integers(seed, index, 300).tolist() == initial_integer_list(seed, index, 300)


def test_initial_integers_are_odd_and_even_handed():
    """Mean and mean square of 40,000 within six standard errors of 0 and (2^30 − 1) / 3."""
    integers = initial_integers(1, 0, 40_000)
    assert np.all(integers % 2 == 1) and np.abs(integers).max() <= 32767
    assert abs(integers.mean()) < 6 * 18919 / 200
    assert abs((integers.astype(float) ** 2).mean() / ((2**30 - 1) / 3) - 1) < 6 * 0.9 / 200


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("exponent", [E, -15, 0])
def test_initial_values_are_found_and_cost_next_to_nothing(dtype, exponent):
    """e: 8 bits; "all zero": 1; the value code: at most 3 bits for the first tensor."""
    tensors = {"w": near((8, 9), 4, 0, [0] * 72, 1, exponent, dtype)}
    assert bits_of(tensors["w"]) == bits_of(initial_values(4, 0, (8, 9), exponent, dtype))
    coded, decoded = round_trip(tensors, {}, 4)
    assert decoded.choices["w"] == Choice("dense", "difference", exponent=exponent)
    assert coded.code.parts["values"] <= 8 + 1 + 3


def test_a_ticket_costs_its_count():
    """The largest initial weights with their initial values: lottery at initialisation. 0 … 400
    in 9 bits; header and value code are fields of dialect 2; length and flush are 5 bytes."""
    tensors = {"w": torch.zeros(400)}
    places = initial_place_list(9, 0, 400, 80)
    tensors["w"][places] = initial_values(9, 0, (400,), E, torch.float32)[places]
    tensors["w"] = tensors["w"].reshape(20, 20)
    coded, decoded = round_trip(tensors, {}, 9)
    assert decoded.choices["w"] == Choice("initial", "difference", exponent=E)
    assert coded.code.parts["positions"] == 9
    assert coded.code.bits <= 39 + 4 + 9 + 12 + 40


@pytest.mark.parametrize("bad", [0.0, -0.0, math.inf, math.nan, 1e300, 1e-300])
def test_no_exponent_where_values_are_no_initial_ones(bad):
    frame = Frame(0, (5,), (5,), 1, torch.float64, 3)
    values = to_patterns(torch.full((5,), bad, dtype=torch.float64))
    assert initial_exponent(frame, np.arange(5), values) is None


def test_overflow_in_a_narrow_dtype_is_no_accident():
    """An encoder that looks for initial values of float16 must not fail on huge ones."""
    tensors = {"w": torch.full((40, 3), 60000.0, dtype=torch.float16)}
    round_trip(tensors, {}, 3)


# ----------------------------------------------------------------------------- differences


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("q", [1, 256, 3 * 2**11, 2**15 + 2**14])
def test_differences_are_exact(dtype, q):
    k = np.random.default_rng(0).integers(-3, 4, 80)
    if q < 256 and dtype in (torch.bfloat16, torch.float16):
        k = k * 0  # finer than the dtype: see below
    tensors = {"w": near((8, 10), 4, 0, k, q, E, dtype)}
    choice = Choice("dense", "difference", pattern(q * 2.0**E, dtype), exponent=E)
    _, decoded = round_trip(tensors, {"w": choice}, 4)
    assert (decoded.choices["w"].values, decoded.choices["w"].exponent) == ("difference", E)
    assert decoded.choices["w"].step == (choice.step if k.any() else 0)


def test_steps_finer_than_the_dtype():
    """Any k with the same rounded value will do."""
    k = np.random.default_rng(1).integers(-3, 4, 80)
    tensors = {"w": near((8, 10), 4, 0, k, 1, E, torch.bfloat16)}
    choice = Choice("dense", "difference", pattern(2.0**E, torch.bfloat16), exponent=E)
    round_trip(tensors, {"w": choice}, 4)


def test_the_price_is_that_of_the_integers():
    rng = np.random.default_rng(2)
    k = rng.choice([-1, 0, 1], 4000, p=[0.1, 0.8, 0.1])
    tensors = {"w": near((50, 80), 4, 0, k, 4096, E, torch.float32)}
    choice = Choice("dense", "difference", pattern(4096 * 2.0**E, torch.float32), exponent=E)
    coded, _ = round_trip(tensors, {"w": choice}, 4)
    shares = np.bincount(k + 1, minlength=3) / 4000
    ideal = 4000 * -float((shares * np.log2(shares)).sum())
    assert ideal - 10 <= coded.code.parts["values"] <= 1.01 * ideal + 64


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.integers(0, 65535),
    st.sampled_from(FLOATS),
    st.integers(-24, -14),
    st.integers(0, 15),
    st.integers(0, 7),
    st.integers(0, 40),
    st.floats(0.0, 1.0),
)
def test_any_difference(seed, dtype, exponent, shift, odd, largest, density):
    rng = np.random.default_rng(seed)
    q = (2 * odd + 1) << shift
    k = rng.integers(-largest, largest + 1, 60)
    w = near((6, 10), seed, 1, k, q, exponent, dtype)
    if not bool(w.isfinite().all()):
        return
    w = torch.where(torch.from_numpy(rng.random((6, 10)) < density), w, 0)
    choice = Choice(None, "difference", pattern(q * 2.0**exponent, dtype), exponent=exponent)
    round_trip({"a": torch.ones(2), "w": w}, {"w": choice}, seed)


def test_initial_values_stand_at_full_positions():
    slots, groups = two_layers(30, repeat=4)
    tensors = {s.name: initial_values(8, i, s.shape, E, s.dtype) for i, s in enumerate(slots)}
    tensors["fc1"][11:], tensors["bias"][11:], tensors["fc2"][:, 44:] = 0, 0, 0
    _, decoded = round_trip(tensors, {}, 8, slots, groups)
    assert [c.values for c in decoded.choices.values()] == ["difference"] * 3


# ----------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("change", ["a value", "seed", "index", "exponent", "step", "minus zero"])
def test_what_is_no_difference_is_refused(change):
    k = np.random.default_rng(0).integers(-3, 4, 80)
    w = near((8, 10), 4, int(change == "index"), k, 256, E, torch.float32)
    if change == "a value":
        w[3, 3] += 2.0**-24
    if change == "minus zero":
        w[3, 3] = -0.0
    exponent = E + 2 if change == "exponent" else E
    step = pattern((512 if change == "step" else 256) * 2.0**E, torch.float32)
    choice = Choice("dense", "difference", step, exponent=exponent)
    with pytest.raises(CodeError):
        encode_network(
            {"w": w}, specs_of({"w": w}), (), (), {"w": choice}, 5 if change == "seed" else 4
        )


@pytest.mark.parametrize("step", [-1.0, 2.0 ** (E - 1), 2.0 ** (E + 24), math.inf, math.nan])
def test_steps_are_multiples_of_the_unit(step):
    tensors = {"w": torch.ones(4, 4)}
    choice = Choice("dense", "difference", pattern(step, torch.float32), exponent=E)
    with pytest.raises(CodeError, match="step"):
        encode_network(tensors, specs_of(tensors), (), (), {"w": choice}, 4)


def test_an_exponent_is_needed_where_it_cannot_be_seen():
    tensors = {"w": torch.ones(4, 4)}
    with pytest.raises(CodeError, match="exponent"):
        encode_network(
            tensors, specs_of(tensors), (), (), {"w": Choice("dense", "difference", 5)}, 4
        )


@pytest.mark.parametrize(("q", "dtype"), [((1 << 24) + 1, "float32"), (259 << 3, "bfloat16")])
def test_hostile_steps_are_refused(q, dtype):
    """Larger than allowed, or no number of the dtype: it could not be written again."""
    frame = Frame(0, (3,), (3,), 1, getattr(torch, dtype), 3)
    writer = Writer()
    uniform(writer, 256, 128 + E)
    code_integers(writer, np.array([1, 0, -1]), 3)
    shift = (q & -q).bit_length() - 1
    uniform(writer, 16, shift)
    positive(writer, ((q >> shift) + 1) // 2)
    none = np.zeros(0, np.uint64)
    with pytest.raises(CodeError, match="step"):
        code_difference(Reader(writer.finish()), frame, 0, 0, np.arange(3), none)


def test_overflow_is_refused():
    frame = Frame(0, (3,), (3,), 1, torch.float16, 3)
    writer = Writer()
    uniform(writer, 256, 255)
    code_integers(writer, np.zeros(3, np.int64), 3)
    with pytest.raises(CodeError, match="finite"):
        code_difference(Reader(writer.finish()), frame, 0, 0, np.arange(3), np.zeros(0, np.uint64))
