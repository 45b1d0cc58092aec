"""A whole network: bit-exact round trips, a length that is the bytes, and nothing else."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from coded_networks import (
    assert_identical,
    networks,
    random_tensor,
    round_trip,
    specs_of,
    two_layers,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from prunecert.coding import MAGIC, Choice, decode_network, encode_network, unpack
from prunecert.coding.container import pack
from prunecert.coding.header import MAX_ARCHITECTURE
from prunecert.coding.patterns import DTYPE_LIST, from_patterns, to_patterns
from prunecert.coding.stream import AdaptiveSymbols, Writer, positive
from prunecert.coding.tensor_codes import grid_patterns
from prunecert.coding.value_codes import code_grid, code_raw
from prunecert.models.groups import Slot, UnitGroup
from prunecert.models.layers import layer_view
from prunecert.models.loading import TensorSpec, tensor_specs
from prunecert.models.zoo import build, zoo_code
from prunecert.types import CodeError, InputError

# a length field of at most two bytes here, and a flush of at most 33 bits
CONTAINER = 16 + 33


def sparse(seed, shape, density, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator).to(dtype)
    return torch.where(torch.rand(shape, generator=generator) < density, values, 0)


# ----------------------------------------------------------------------------- round trips


@settings(derandomize=True, deadline=None, max_examples=150)
@given(networks, st.lists(st.integers(0, 10**6), max_size=6).map(tuple))
def test_round_trip_of_any_tensors(tensors, architecture):
    coded, _ = round_trip(tensors, architecture=architecture)
    assert coded.code.bits == 8 * (len(coded.data) - len(MAGIC))
    assert sum(coded.code.parts.values()) == coded.code.bits
    assert 0 <= coded.code.parts["container"] <= CONTAINER + 2  # parts are rounded


@pytest.mark.parametrize("mask", ["adaptive", "enumerative", "rows", "dense"])
@pytest.mark.parametrize("values", ["codebook", "raw"])
@pytest.mark.parametrize("dtype", DTYPE_LIST, ids=str)
def test_every_choice_is_obeyed_and_exact(mask, values, dtype):
    for shape in ((3, 2, 3, 3), (1, 40), (20,), ()):
        tensors = {"w": random_tensor(5, shape, dtype, 0.4, 7)}
        _, decoded = round_trip(tensors, choices={"w": Choice(mask, values)})
        assert decoded.choices["w"].mask == mask
        if bool((to_patterns(tensors["w"]) != 0).any()):
            assert decoded.choices["w"].values == values


@pytest.mark.parametrize("dtype", [d for d in DTYPE_LIST if d.is_floating_point], ids=str)
@pytest.mark.parametrize("largest", [1, 3, 127])
def test_grids_are_exact_in_every_floating_dtype(dtype, largest):
    """Multiples of one step, each rounded once to the dtype."""
    rng = np.random.default_rng(0)
    step = torch.tensor([0.0123], dtype=dtype)
    pattern = int(to_patterns(step)[0])
    integers = torch.from_numpy(rng.integers(-largest, largest + 1, (9, 11)))
    tensors = {"w": (integers * step.double()).to(dtype)}
    _, decoded = round_trip(tensors, choices={"w": Choice(values="grid", step=pattern)})
    assert (decoded.choices["w"].values, decoded.choices["w"].step) == ("grid", pattern)


def test_values_off_the_grid_are_refused():
    step = int(to_patterns(torch.tensor([0.5]))[0])
    for bad in (0.75, 0.5 + 2**-24, math.inf, math.nan, 0.5 * 5000):
        tensors = {"w": torch.tensor([0.5, bad])}
        choices = {"w": Choice("dense", "grid", step)}
        with pytest.raises(CodeError):
            encode_network(tensors, specs_of(tensors), [], choices=choices)


def test_nonzeros_are_never_dropped_for_a_choice():
    tensors = {"w": torch.ones(2, 3)}
    with pytest.raises(ValueError, match="empty"):
        encode_network(tensors, specs_of(tensors), [], choices={"w": Choice("empty")})


def test_minus_zero_is_a_value():
    tensors = {"w": torch.tensor([[0.0, -0.0, 1.0], [-0.0, 0.0, 0.0]])}
    _, decoded = round_trip(tensors)
    assert decoded.tensors["w"].signbit().tolist() == [[False, True, False], [True, False, False]]


def test_tied_tensors_are_written_once():
    tensors = {"a": sparse(0, (30, 20), 0.3), "b": torch.zeros(3)}
    slots = specs_of(tensors)
    alone = encode_network(tensors, slots, []).code.bits
    slots.append(TensorSpec("c", (30, 20), torch.float32, alias_of="a"))
    coded, decoded = round_trip({**tensors, "c": tensors["a"]}, slots)
    assert coded.code.bits == alone
    assert decoded.tensors["c"] is decoded.tensors["a"]


@pytest.mark.parametrize("dtype", DTYPE_LIST, ids=str)
def test_a_dtype_other_than_the_models_is_written_and_comes_back(dtype):
    tensors = {"a": torch.ones(3, 3, dtype=dtype), "b": torch.ones(2)}
    slots = [TensorSpec("a", (3, 3), torch.float32), TensorSpec("b", (2,), torch.float32)]
    round_trip(tensors, slots)


def with_dead_units(spec):
    """A sparse zoo network whose hidden units are dead from the first fifth on."""
    module = build(spec)
    tensors = {
        name: sparse(seed, t.shape, 0.05)
        for seed, (name, t) in enumerate(module.state_dict().items())
    }
    groups = layer_view(module).groups
    for group in groups:
        for slot in (*group.producers, *group.companions, *group.consumers):
            start = slot.repeat * (group.size // 5)
            length = tensors[slot.tensor].shape[slot.axis] - start
            tensors[slot.tensor].narrow(slot.axis, start, length).zero_()
    return tensors, tensor_specs(module), groups


@pytest.mark.parametrize("spec", ["lenet-5", "mlp:64-40-40-10"])
def test_zoo_networks_with_dead_units(spec):
    tensors, slots, groups = with_dead_units(spec)
    _, decoded = round_trip(tensors, slots, groups, zoo_code(spec))
    assert decoded.architecture == zoo_code(spec)


def test_naming_the_active_units_pays_for_itself():
    tensors, slots, groups = with_dead_units("mlp:64-40-40-10")
    parts = [encode_network(tensors, slots, g).code.parts for g in (groups, [])]
    named = parts[0]["header"] - parts[1]["header"]
    assert named == pytest.approx(2 * 6, abs=3)  # 0 … 40 twice; mask modes may differ
    assert parts[0]["positions"] + named < parts[1]["positions"]
    assert parts[0]["values"] == parts[1]["values"]


# ----------------------------------------------------------------------------- active units


@pytest.mark.parametrize("repeat", [1, 3])
@pytest.mark.parametrize("tensor", ["fc1", "bias", "fc2"])
def test_a_unit_touched_in_one_tensor_only_is_active(tensor, repeat):
    """Also the very first, the very last, and one whose only nonzero is −0.0."""
    slots, groups = two_layers(8, repeat)
    for unit, value in itertools.product((0, 4, 7), (1.5, -0.0)):
        tensors = {s.name: torch.zeros(s.shape) for s in slots}
        place = unit * repeat + (repeat - 1 if tensor == "fc2" else 0)
        index = (0, place) if tensor == "fc2" else (unit, 0)[: tensors[tensor].ndim]
        tensors[tensor][index] = value
        round_trip(tensors, slots, groups)


def test_inactive_units_cost_nothing_but_their_number():
    """Doubling the hidden units with dead ones adds one bit: uniform(9) has 4, uniform(17) 5."""
    costs = []
    for hidden in (8, 16):
        slots, groups = two_layers(hidden)
        tensors = {s.name: torch.zeros(s.shape) for s in slots}
        tensors["fc1"][:8] = sparse(1, (8, 4), 0.5)
        tensors["bias"][:8] = 1.0
        tensors["fc2"][:, :8] = sparse(2, (3, 8), 0.5)
        coded, _ = round_trip(tensors, slots, groups)
        costs.append(sum(v for k, v in coded.code.parts.items() if k != "container"))
    assert costs[1] - costs[0] == 1


def test_groups_whose_tensors_are_not_there():
    slots, groups = two_layers(4)
    strange = UnitGroup(5, (Slot("elsewhere", 0),), (), (), True, True)
    round_trip({s.name: torch.ones(s.shape) for s in slots}, slots, [strange, *groups])


# ----------------------------------------------------------------------------- lengths


@pytest.mark.parametrize("dtype", DTYPE_LIST, ids=str)
def test_raw_values_cost_the_width_of_their_dtype(dtype):
    tensor = random_tensor(3, (10, 10), dtype, 1.0, None)
    coded, _ = round_trip({"w": tensor}, choices={"w": Choice("dense", "raw")})
    mode = 2  # which value code: at most two bits for the first tensor
    assert 0 <= coded.code.parts["values"] - 100 * 8 * dtype.itemsize <= mode
    assert coded.code.parts["positions"] == 0


def test_positions_and_codebook_are_in_the_bytes():
    """A known network, priced by hand: 1000 × 20 places, 2000 nonzeros of four values."""
    rng = np.random.default_rng(0)
    flat = np.zeros(20_000, np.float32)
    places = rng.choice(20_000, 2000, replace=False)
    flat[places] = rng.choice(np.float32([-3.0, -1.0, 1.0, 3.0]), 2000)
    tensors = {"w": torch.from_numpy(flat.reshape(1000, 20))}
    coded, _ = round_trip(tensors, choices={"w": Choice(values="codebook")})
    choose = math.lgamma(20_001) - math.lgamma(2001) - math.lgamma(18_001)
    positions = choose / math.log(2) + math.log2(20_001)
    kept = 10  # sign, eight bits of exponent, one of the mantissa of ±3.0
    values = 2000 * 2 + 1.5 * math.log2(2000) + 4 * kept + 8 + 5
    assert positions - 15 < coded.code.parts["positions"] <= 1.01 * positions + 64
    assert values - 30 < coded.code.parts["values"] <= 1.01 * values + 64
    assert coded.code.bits == 8 * (len(coded.data) - len(MAGIC))
    assert coded.code.bits > positions + values - 45


def test_the_mode_with_the_fewest_bits_is_taken():
    structured = torch.zeros(60, 60)
    structured[:, :6] = 1.0
    plain = sparse(0, (60, 60), 0.1)
    tensors = {"structured": structured, "plain": plain}
    _, decoded = round_trip(tensors)
    assert decoded.choices["structured"].mask == "adaptive"
    slots = specs_of(tensors)
    bits = [
        encode_network(tensors, slots, [], choices={"plain": Choice(mode)}).code.bits
        for mode in ("adaptive", "enumerative")
    ]
    assert encode_network(tensors, slots, []).code.bits == min(bits)


def test_kraft_sum_over_all_ternary_networks_of_six_weights():
    """Two layers, one group: every network decodes to itself and Σ 2^−bits ≤ 1.

    Also with the shorter length −Σ log2 p, which has no flush to hide an unpaid part behind.
    """
    slots = [TensorSpec("a", (2, 2), torch.float32), TensorSpec("b", (1, 2), torch.float32)]
    groups = [UnitGroup(2, (Slot("a", 0),), (), (Slot("b", 1),), True, True)]
    files, total, tight = set(), 0.0, 0.0
    for weights in itertools.product([-1.0, 0.0, 1.0], repeat=6):
        tensors = {"a": torch.tensor(weights[:4]).reshape(2, 2), "b": torch.tensor([weights[4:]])}
        coded = encode_network(tensors, slots, groups)
        assert_identical(decode_network(coded.data, slots, groups).tensors, tensors)
        files.add(coded.data)
        total += 2.0**-coded.code.bits
        tight += 2.0 ** -(coded.code.bits - coded.code.parts["container"])
    assert len(files) == 3**6
    assert total < tight <= 1
    # sorted, a prefix would stand directly before one of its extensions
    ordered = sorted(files)
    assert not any(after.startswith(before) for before, after in zip(ordered, ordered[1:]))


def test_many_networks_no_file_a_prefix_of_another():
    files = set()
    slots, groups = two_layers(6)
    for seed in range(60):
        tensors = {s.name: sparse(seed, s.shape, seed / 60) for s in slots}
        files.add(encode_network(tensors, slots, groups).data)
    ordered = sorted(files)
    assert len(ordered) > 50
    assert not any(after.startswith(before) for before, after in zip(ordered, ordered[1:]))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(networks, st.binary(min_size=1, max_size=30))
def test_a_tail_is_found_and_refused(tensors, tail):
    slots = specs_of(tensors)
    data = encode_network(tensors, slots, []).data
    assert unpack(data + tail)[1] == len(data)
    with pytest.raises(CodeError, match="follow"):
        decode_network(data + tail, slots, [])


def test_same_input_same_bytes():
    tensors = {"a": sparse(0, (40, 30), 0.1), "b": sparse(1, (30,), 0.5)}
    slots = specs_of(tensors)
    assert encode_network(tensors, slots, []) == encode_network(dict(tensors), slots, [])


# ----------------------------------------------------------------------------- header


def test_an_architecture_too_long_is_refused_in_words():
    longest = tuple(range(MAX_ARCHITECTURE))
    round_trip({"w": torch.zeros(2)}, architecture=longest)
    with pytest.raises(InputError, match="1023 integers"):
        encode_network({"w": torch.zeros(2)}, specs_of({"w": torch.zeros(2)}), [], (*longest, 1))


def test_dtypes_without_a_pattern_are_refused():
    tensors = {"w": torch.zeros(2, dtype=torch.complex64)}
    with pytest.raises(InputError, match="complex64"):
        encode_network(tensors, specs_of(tensors), [])


# ----------------------------------------------------------------------------- hostile streams


def file_of(write):
    """A file whose header announces no architecture, then whatever `write` puts there."""
    stream = Writer()
    positive(stream, 1)  # no integers name the architecture
    write(stream)
    return pack(stream.finish())


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf, 0.0, -0.0, 3e38])
def test_grids_of_zero_or_beyond_the_dtype_are_refused(value):
    """A NaN's bits after a product differ between machines; zeros would not be nonzeros."""

    def write(stream):
        AdaptiveSymbols(2).code(stream, 0)  # the slot's dtype
        AdaptiveSymbols(5).code(stream, 1)  # dense
        AdaptiveSymbols(3).code(stream, 1)  # grid
        step = to_patterns(torch.tensor([value]))
        code_grid(stream, step, 32, np.array([1, -2, 3]), 3)

    with pytest.raises(CodeError):
        decode_network(file_of(write), [TensorSpec("w", (3,), torch.float32)], [])


def test_grid_of_integers_and_truth_values_of_two_are_refused():
    def write(value_mode):
        def inner(stream):
            AdaptiveSymbols(2).code(stream, 0)
            AdaptiveSymbols(5).code(stream, 1)
            AdaptiveSymbols(3).code(stream, value_mode)
            code_raw(stream, 8, np.array([1, 2, 1], np.uint64), 3)

        return file_of(inner)

    for mode, dtype in ((1, torch.uint8), (2, torch.bool)):
        with pytest.raises(CodeError):
            decode_network(write(mode), [TensorSpec("w", (3,), dtype)], [])


def test_grid_products_are_rounded_once():
    """In float16 and bfloat16 too, where torch goes through float32: against exact rationals."""
    rng = np.random.default_rng(0)
    for dtype in (torch.float16, torch.bfloat16):
        low, high = (0x0001, 0x2C00) if dtype == torch.float16 else (0x0100, 0x6000)
        every = np.arange(1, 0x7C00 if dtype == torch.float16 else 0x7F80, dtype=np.uint64)
        values = from_patterns(every, dtype).double().tolist()
        for _ in range(300):
            step = rng.integers(low, high, 1).astype(np.uint64)
            integer = int(rng.integers(1, 4097))
            exact = Fraction(from_patterns(step, dtype).double().item()) * integer
            found = int(grid_patterns(np.array([integer]), step, dtype)[0])
            index = int(np.searchsorted(values, float(exact)))  # the values around the product
            around = range(max(index - 2, 0), min(index + 2, len(values)))
            distances = [(abs(Fraction(values[i]) - exact), int(every[i]) % 2, i) for i in around]
            assert found == int(every[min(distances)[2]])
