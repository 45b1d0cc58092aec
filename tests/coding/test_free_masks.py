"""Masks that the decoder recomputes: the places of slow twins, a few integers in the file."""

import math

import numpy as np
import pytest
import torch
from coded_networks import bits_of, specs_of, two_layers
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded_twins import initial_place_list, seeded_place_list

from prunecert.coding import Choice, decode_network, encode_network
from prunecert.coding.frame import Frame
from prunecert.coding.free_masks import (
    code_free,
    free_modes,
    initial_places,
    positional_places,
    seeded_places,
)
from prunecert.coding.prng import initial_integers
from prunecert.coding.stream import Reader, Writer, positive, uniform
from prunecert.types import CodeError, InputError

SHAPE = (11, 14)
SIZE = 11 * 14


def frame(seed=7, index=3, box=SHAPE):
    return Frame(index, SHAPE, box, 1, torch.float32, seed)


def mask_of(places, shape=SHAPE):
    out = np.zeros(math.prod(shape), bool)
    out[places] = True
    return out.reshape(shape)


def cost(mode, mask, where):
    writer = Writer()
    code_free(writer, mode, where, mask)
    assert np.array_equal(code_free(Reader(writer.finish()), mode, where, None), mask)
    return writer.cost_bits


# ----------------------------------------------------------------------------- the places


@pytest.mark.parametrize("kept", [0, 1, 50, 153, 154])
@pytest.mark.parametrize(("seed", "index"), [(0, 0), (7, 3), (65535, 12)])
def test_places_are_those_of_the_twins(seed, index, kept):
    for found, twin in ((seeded_places, seeded_place_list), (initial_places, initial_place_list)):
        places = np.flatnonzero(found(seed, index, SIZE, kept)).tolist()
        assert places == twin(seed, index, SIZE, kept)
        assert len(places) == kept


def test_ties_go_to_the_lower_place():
    """Among 30,000 initial values of 16,384 magnitudes most have an equal; every cut is tried
    where two equal magnitudes stand on either side of it."""
    integers = initial_integers(1, 0, 30_000)
    order = np.lexsort((np.arange(30_000), -np.abs(integers)))
    sizes = np.abs(integers)[order]
    cuts = np.flatnonzero(sizes[1:] == sizes[:-1])[:200] + 1
    assert len(cuts) == 200
    for kept in cuts:
        assert np.array_equal(
            np.flatnonzero(initial_places(1, 0, 30_000, int(kept))), np.sort(order[:kept])
        )


@pytest.mark.parametrize(("stride", "offset", "width"), [(2, 0, 1), (7, 3, 4), (154, 20, 99)])
def test_positional_places(stride, offset, width):
    found = np.flatnonzero(positional_places(SIZE, stride, offset, width)).tolist()
    assert found == [p for p in range(SIZE) if offset <= p % stride < offset + width]


# ----------------------------------------------------------------------------- the code


@pytest.mark.parametrize(
    ("mode", "twin"), [("seeded", seeded_place_list), ("initial", initial_place_list)]
)
def test_seeded_masks_cost_their_count(mode, twin):
    for kept in (1, 40, 150):
        mask = mask_of(twin(7, 3, SIZE, kept))
        assert mode in free_modes(frame(), mask)
        assert cost(mode, mask, frame()) == 8  # 0 … 154
        for other in (frame(seed=8), frame(index=2), frame(seed=None)):
            assert mode not in free_modes(other, mask)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.integers(1, SIZE), st.data())
def test_every_positional_mask_is_found_and_comes_back(stride, data):
    offset = data.draw(st.integers(0, stride - 1))
    width = data.draw(st.integers(1, stride - offset))
    mask = mask_of([p for p in range(SIZE) if offset <= p % stride < offset + width])
    assert "positional" in free_modes(frame(seed=None), mask)
    assert cost("positional", mask, frame(seed=None)) <= 15 + 2 * math.ceil(math.log2(SIZE))


@pytest.mark.parametrize("mode", ["seeded", "initial", "positional"])
def test_another_place_is_another_mask(mode):
    places = {"seeded": seeded_place_list, "initial": initial_place_list}
    right = places[mode](7, 3, SIZE, 60) if mode in places else range(4, SIZE, 5)
    mask = mask_of(list(right))
    row, column = np.argwhere(~mask)[30]
    mask[tuple(np.argwhere(mask)[10])], mask[row, column] = False, True
    assert free_modes(frame(), mask) == []
    with pytest.raises(CodeError, match=mode):
        code_free(Writer(), mode, frame(), mask)


def test_places_are_those_of_the_full_tensor():
    """Only 8 × 10 of 11 × 14 are active: a mask in there has its full positions."""
    inside = [p for p in range(SIZE) if p // 14 < 8 and p % 14 < 10]
    where = frame(box=(8, 10))
    assert where.positions.ravel().tolist() == inside
    mask = mask_of([i for i, p in enumerate(inside) if p % 14 in (3, 4)], (8, 10))
    assert free_modes(where, mask) == ["positional"]  # every 14 places, not every 10
    cost("positional", mask, where)
    compact = mask_of(initial_place_list(7, 3, 80, 30), (8, 10))
    assert free_modes(where, compact) == []  # of a tensor of 8 × 10


@pytest.mark.parametrize(("stride", "message"), [(SIZE + 1, "repeats"), (2**50, "repeats")])
def test_hostile_strides_are_refused(stride, message):
    writer = Writer()
    positive(writer, stride)
    with pytest.raises(CodeError, match=message):
        code_free(Reader(writer.finish()), "positional", frame(), None)


def test_hostile_counts_and_missing_seeds_are_refused():
    writer = Writer()
    uniform(writer, 256, 155)
    for mode in ("seeded", "initial"):
        with pytest.raises(CodeError, match="154"):
            code_free(Reader(writer.finish()), mode, frame(), None)
        good = Writer()
        uniform(good, 256, 154)
        with pytest.raises(CodeError, match="seed"):
            code_free(Reader(good.finish()), mode, frame(seed=None), None)


# ----------------------------------------------------------------------------- in a network


@pytest.mark.parametrize("mode", ["seeded", "initial", "positional"])
def test_the_encoder_finds_them(mode):
    slots, groups = two_layers(30)
    make = {"seeded": seeded_place_list, "initial": initial_place_list}
    tensors = {}
    for index, slot in enumerate(slots):
        size = math.prod(slot.shape)
        kept = make[mode](5, index, size, size // 2) if mode in make else range(1, size, 2)
        tensors[slot.name] = torch.zeros(size)
        tensors[slot.name][list(kept)] = torch.randn(len(kept), generator=torch.Generator())
        tensors[slot.name] = tensors[slot.name].reshape(slot.shape)
    seed = 5 if mode in make else None
    coded = encode_network(tensors, slots, groups, seed=seed)
    decoded = decode_network(coded.data, slots, groups)
    assert [c.mask for c in decoded.choices.values()] == [mode] * 3
    assert decoded.seed == seed
    assert all(bits_of(decoded.tensors[n]) == bits_of(t) for n, t in tensors.items())
    assert coded.code.parts["positions"] <= 3 * 14
    again = encode_network(decoded.tensors, slots, groups, (), decoded.choices, decoded.seed)
    assert again.data == coded.data


def test_a_free_mask_needs_its_seed():
    tensors = {"w": torch.eye(4)}
    with pytest.raises(InputError, match="seed"):
        encode_network(tensors, specs_of(tensors), (), choices={"w": Choice("initial")})
