"""Seeded random subspaces: the twin's sums, exact round trips, coordinates found or refused."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from coded_networks import bits_of, specs_of, two_layers
from seeded_twins import row_sum, sign, tensor_of

from prunecert.coding import MAGIC, Choice, decode_network, encode_network
from prunecert.coding import subspace as module
from prunecert.coding.frame import Frame
from prunecert.coding.patterns import to_floats, to_patterns, width_of
from prunecert.coding.stream import Reader, Writer, positive
from prunecert.coding.subspace import MAX_DIMENSIONS, Subspaces, projected, solved
from prunecert.coding.value_codes import code_integers, code_step
from prunecert.types import CodeError, InputError

FLOATS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
STEP = 0.0625 + 2.0**-7  # 9 · 2^−7: exact in every dtype


def step_of(value, dtype):
    return to_patterns(torch.tensor([value], dtype=torch.float64).to(dtype))


def some_z(dimensions, largest=3, seed=0):
    return np.random.default_rng(seed).integers(-largest, largest + 1, dimensions)


def in_subspace(shape, z, seed, index, step=STEP, dtype=torch.float32):
    """From the fast projection, which the first tests hold against the twin."""
    sums = projected(seed, index, math.prod(shape), z)
    return (torch.from_numpy(sums) * step).to(dtype).reshape(shape)


def round_trip(tensors, choices, seed, slots=None, groups=()):
    slots = specs_of(tensors) if slots is None else slots
    coded = encode_network(tensors, slots, groups, (), choices, seed)
    decoded = decode_network(coded.data, slots, groups)
    assert all(bits_of(decoded.tensors[n]) == bits_of(t) for n, t in tensors.items())
    assert coded.code.bits == 8 * (len(coded.data) - len(MAGIC)) == sum(coded.code.parts.values())
    again = encode_network(decoded.tensors, slots, groups, (), decoded.choices, decoded.seed)
    assert again.data == coded.data
    return coded, decoded


# ----------------------------------------------------------------------------- the sums


@pytest.mark.parametrize("dimensions", [1, 7, 8, 9, 20])
@pytest.mark.parametrize(("seed", "index"), [(0, 0), (65535, 3)])
def test_sums_are_those_of_the_twin(dimensions, seed, index):
    z = some_z(dimensions, 4096, dimensions)
    sums = projected(seed, index, 60, z)
    assert sums.tolist() == [row_sum(seed, index, row, z.tolist()) for row in range(60)]


def test_rows_beyond_the_first_block():
    z = some_z(10, 5)
    sums = projected(4, 2, 3000, z)
    for row in (1023, 1024, 1025, 2047, 2048, 2999):
        assert sums[row] == row_sum(4, 2, row, z.tolist())


def test_the_largest_sums_do_not_overflow():
    z = np.full(MAX_DIMENSIONS, 4096)
    signs = [sign(1, 0, 0, j, MAX_DIMENSIONS) for j in range(0, MAX_DIMENSIONS, 997)]
    alternating = np.zeros(MAX_DIMENSIONS, np.int64)
    alternating[::997] = [4096 * s for s in signs]
    assert projected(1, 0, 1, alternating).tolist() == [4096 * len(signs)]
    assert abs(int(projected(1, 0, 1, z)[0])) < 4096 * 6 * 128  # six standard deviations


def test_tensors_and_seeds_have_projections_of_their_own():
    """±1 rows of 1,000: independent ones have inner products below 6 · √1000."""
    identity = np.eye(40, dtype=np.int64)
    rows = [[projected(s, i, 25, z) for z in identity] for s, i in ((0, 0), (0, 1), (1, 0), (1, 1))]
    flat = [np.concatenate(columns) for columns in rows]
    for a, first in enumerate(flat):
        assert abs(int(first.sum())) < 190
        for second in flat[:a]:
            assert abs(int((first * second).sum())) < 190


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("step", [STEP, 1 / 3, 2.0**-14])
def test_values_are_those_of_the_twin(dtype, step):
    """Rational arithmetic, one rounding: step as the dtype holds it."""
    pattern = step_of(step, dtype)
    z = some_z(12, 700)
    exact = Fraction(float(to_floats(pattern, dtype)[0]))
    twin = tensor_of([exact * row_sum(9, 0, r, z.tolist()) for r in range(24)], (4, 6), dtype)
    choice = Choice("dense", "subspace", int(pattern[0]), coordinates=tuple(z.tolist()))
    _, decoded = round_trip({"w": twin}, {"w": choice}, 9)
    assert decoded.choices["w"].coordinates == tuple(z.tolist())


# ----------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", [(40, 50), (10, 4, 5, 5), (900,)])
def test_the_encoder_finds_the_coordinates(dtype, shape):
    z = some_z(60)
    tensors = {"a": torch.zeros(3), "w": in_subspace(shape, z, 5, 1, dtype=dtype)}
    choice = Choice("dense", "subspace", int(step_of(STEP, dtype)[0]), dimensions=60)
    coded, decoded = round_trip(tensors, {"w": choice}, 5)
    found = decoded.choices["w"]
    assert found.coordinates == tuple(z.tolist())
    assert (found.values, found.dimensions, found.step) == ("subspace", 60, choice.step)
    entropy = 60 * math.log2(7)
    assert coded.code.parts["values"] <= 1.01 * entropy + 64


def test_a_row_sum_of_zero_is_a_value():
    z = np.array([1, -1, 2])
    tensors = {"w": in_subspace((9, 9), z, 3, 0)}
    assert bool((tensors["w"] == 0).any())
    choice = Choice("dense", "subspace", int(step_of(STEP, torch.float32)[0]), dimensions=3)
    round_trip(tensors, {"w": choice}, 3)


def test_fewer_values_than_dimensions_need_the_coordinates():
    z = some_z(30)
    tensors = {"w": in_subspace((2, 5), z, 3, 0)}
    step = int(step_of(STEP, torch.float32)[0])
    with pytest.raises(CodeError, match="give them"):
        round_trip(tensors, {"w": Choice("dense", "subspace", step, 30)}, 3)
    given = Choice("dense", "subspace", step, coordinates=tuple(z.tolist()))
    round_trip(tensors, {"w": given}, 3)


def test_with_a_mask_and_dead_units():
    """Rows of the projection belong to places of the full tensor."""
    slots, groups = two_layers(30, repeat=4)
    z = some_z(16)
    tensors = {s.name: in_subspace(s.shape, z, 8, i) for i, s in enumerate(slots)}
    tensors["fc1"][11:], tensors["bias"][11:], tensors["fc2"][:, 44:] = 0, 0, 0
    tensors["fc2"][:, ::3] = 0
    choice = Choice(None, "subspace", int(step_of(STEP, torch.float32)[0]), 0, tuple(z.tolist()))
    _, decoded = round_trip(tensors, dict.fromkeys(tensors, choice), 8, slots, groups)
    assert [c.values for c in decoded.choices.values()] == ["subspace"] * 3


# ----------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("change", ["a value", "seed", "index", "step", "dimensions"])
def test_what_is_not_in_the_subspace_is_refused(change):
    tensors = {"w": in_subspace((30, 30), some_z(20), 6, int(change == "index"))}
    if change == "a value":
        tensors["w"][17, 3] += STEP
    step = int(step_of(STEP * (1.5 if change == "step" else 1), torch.float32)[0])
    choice = Choice("dense", "subspace", step, 21 if change == "dimensions" else 20)
    seed = 7 if change == "seed" else 6
    if change == "dimensions":  # rows have another width: another projection
        choice = Choice("dense", "subspace", step, 12)
    with pytest.raises(CodeError, match="subspace"):
        encode_network(tensors, specs_of(tensors), (), (), {"w": choice}, seed)


@pytest.mark.parametrize("step", [0.0, -0.5, math.inf, math.nan])
def test_steps_are_positive_numbers(step):
    frame = Frame(0, (4, 5), (4, 5), 1, torch.float32, 3)
    places = np.arange(20)
    pattern = step_of(step, torch.float32)
    with pytest.raises(CodeError, match="positive"):
        solved(frame, 2, pattern, places, pattern.repeat(20))
    writer = Writer()
    positive(writer, 2)
    code_step(writer, pattern, 32)
    code_integers(writer, np.array([1, -2]), 2)
    with pytest.raises(CodeError, match="positive"):
        read(writer, frame)


def read(writer, frame):
    none = np.zeros(0, np.uint64)
    places = np.arange(frame.size)
    return Subspaces().code(
        Reader(writer.finish()), frame, np.zeros(1, np.uint64), none.view(np.int64), places, none
    )


def test_subspaces_too_large_are_refused_before_any_work():
    """2^33 signs, or more dimensions than allowed: no second is spent on them."""
    small = Frame(0, (4, 5), (4, 5), 1, torch.float32, 3)
    writer = Writer()
    positive(writer, MAX_DIMENSIONS + 1)
    with pytest.raises(CodeError, match="at most"):
        read(writer, small)
    writer = Writer()
    positive(writer, 1 << 14)
    with pytest.raises(CodeError, match="signs"):
        read(writer, Frame(0, (1 << 10, 1 << 9), (0, 1), 1, torch.float32, 3))


def test_the_allowance_is_that_of_the_whole_file(monkeypatch):
    monkeypatch.setattr(module, "MAX_SIGNS", 3 * 100 * 8)
    z = some_z(8)
    step = int(step_of(STEP, torch.float32)[0])
    for count in (3, 4):
        tensors = {f"t{i}": in_subspace((10, 10), z, 2, i) for i in range(count)}
        choice = Choice("dense", "subspace", step, coordinates=tuple(z.tolist()))
        if count == 3:
            round_trip(tensors, dict.fromkeys(tensors, choice), 2)
        else:
            with pytest.raises(CodeError, match="one file"):
                round_trip(tensors, dict.fromkeys(tensors, choice), 2)


def test_solving_too_many_equations_is_refused():
    frame = Frame(0, (9000,), (9000,), 1, torch.float32, 3)
    values = np.ones(9000, np.uint64)
    with pytest.raises(CodeError, match="give them"):
        solved(frame, 4000, step_of(STEP, torch.float32), np.arange(9000), values)


def test_overflow_is_refused():
    z = np.full(40, 4096)
    choice = Choice("dense", "subspace", int(step_of(2.0, torch.float16)[0]), 0, tuple(z.tolist()))
    tensors = {"w": in_subspace((8, 8), z, 2, 0, 2.0, torch.float16)}
    assert not bool(tensors["w"].isfinite().all())
    with pytest.raises(CodeError, match="finite"):
        encode_network(tensors, specs_of(tensors), (), (), {"w": choice}, 2)


def test_integers_have_no_subspace_and_nothing_goes_without_a_seed():
    tensors = {"w": torch.ones(5, 5, dtype=torch.int32)}
    choice = {"w": Choice("dense", "subspace", 1, 0, (1, 2))}
    with pytest.raises(CodeError, match="int32"):
        encode_network(tensors, specs_of(tensors), (), (), choice, 2)
    with pytest.raises(InputError, match="seed"):
        encode_network(tensors, specs_of(tensors), (), (), choice)
    assert width_of(torch.int32) == 32
