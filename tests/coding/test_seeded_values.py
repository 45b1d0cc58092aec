"""Dialect 1: a tensor whose nonzeros are ±c with the signs of a seed costs its mask and c.

Planted errors that must fail here: signs read at compact instead of full positions
(`test_signs_stand_at_full_positions`); the magnitude not charged (`test_every_field_is_paid`, and
the round trip of other magnitudes); the seed not charged (`test_every_field_is_paid`,
`test_the_file_names_the_seed`).
"""

import hashlib
import math

import numpy as np
import pytest
import torch
from coded_networks import assert_identical, specs_of, two_layers
from hypothesis import given, settings
from hypothesis import strategies as st

from prunecert.coding import MAGIC, Choice, decode_network, encode_network, pack, unpack
from prunecert.coding.header import LAST_DIALECT, MAX_ARCHITECTURE
from prunecert.coding.stream import SCALE, AdaptiveSymbols, Reader, Writer, positive
from prunecert.coding.value_codes import code_seeded, is_seeded
from prunecert.models.loading import TensorSpec
from prunecert.types import CodeError, InputError

FLOATS = {torch.float32: 32, torch.float16: 16, torch.bfloat16: 16, torch.float64: 64}


def ticket(shape, magnitude, seed, index, density, dtype=torch.float32, mask_seed=0):
    """±magnitude with signs straight from hashlib where a random mask keeps, zero elsewhere."""
    count = math.prod(shape)
    digest = hashlib.shake_128(f"prunecert signs {seed} {index}".encode()).digest(count // 8 + 1)
    rng = np.random.default_rng(mask_seed)
    values = [
        (-magnitude if digest[i // 8] >> (i % 8) & 1 else magnitude) if keep else 0.0
        for i, keep in enumerate(rng.random(count) < density)
    ]
    return torch.tensor(values, dtype=torch.float64).reshape(shape).to(dtype)


def network(seed=5, density=0.1, magnitude=0.125, shapes=((40, 60), (40,), (10, 40))):
    return {
        f"t{i}": ticket(shape, magnitude * 2**i, seed, i, density, mask_seed=i)
        for i, shape in enumerate(shapes)
    }


def round_trip(tensors, seed, slots=None, groups=(), architecture=(), choices=None):
    """The coded network and what it decodes to; encoding that again gives the same bytes."""
    slots = specs_of(tensors) if slots is None else slots
    coded = encode_network(tensors, slots, groups, architecture, choices, seed)
    decoded = decode_network(coded.data, slots, groups)
    assert_identical(decoded.tensors, tensors)
    assert decoded.architecture == architecture
    assert coded.code.bits == 8 * (len(coded.data) - len(MAGIC)) == sum(coded.code.parts.values())
    again = encode_network(
        decoded.tensors, slots, groups, architecture, decoded.choices, decoded.seed
    )
    assert again.data == coded.data
    return coded, decoded


def modes(decoded):
    return [choice.values for choice in decoded.choices.values()]


# ----------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("seed", [0, 1, 5, 65535])
def test_round_trip(seed):
    _, decoded = round_trip(network(seed), seed, architecture=(3, 60, 40, 10))
    assert decoded.seed == seed
    assert modes(decoded) == ["seeded"] * 3


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("magnitude", [1.0, 0.125, 1.25, 2.0**-14])
@pytest.mark.parametrize("shape", [(1, 400), (7, 9, 3, 3), (500,)])
def test_every_dtype_shape_and_magnitude(dtype, magnitude, shape):
    tensors = {"a": torch.zeros(3), "w": ticket(shape, magnitude, 9, 1, 0.7, dtype)}
    _, decoded = round_trip(tensors, 9)
    assert modes(decoded) == [None, "seeded"]


@pytest.mark.parametrize("magnitude", [1 / 3, 1e-40, 3.4e38, 2.0**-149])
def test_magnitudes_with_every_bit_set(magnitude):
    tensors = {"w": ticket((20, 30), magnitude, 2, 0, 0.5)}
    assert modes(round_trip(tensors, 2)[1]) == ["seeded"]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.integers(0, 65535),
    st.lists(st.sampled_from([(4, 9), (30,), (3, 2, 2), (1,), (), (0, 4)]), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    st.floats(2.0**-120, 2.0**120, width=32),
)
def test_any_ticket(seed, shapes, density, magnitude):
    tensors = {
        f"t{i}": ticket(shape, magnitude, seed, i, density, mask_seed=i)
        for i, shape in enumerate(shapes)
    }
    round_trip(tensors, seed)


def test_ties_do_not_shift_the_signs_of_later_tensors():
    """The index of a tensor is its place among all slots, tied ones included."""
    tensors = {"a": ticket((9, 9), 1.0, 3, 0, 0.4), "c": ticket((9, 9), 0.5, 3, 2, 0.4)}
    tensors = {"a": tensors["a"], "b": tensors["a"], "c": tensors["c"]}
    slots = specs_of(tensors)
    slots[1] = TensorSpec("b", (9, 9), torch.float32, alias_of="a")
    _, decoded = round_trip(tensors, 3, slots)
    assert modes(decoded) == ["seeded", "seeded"]


def test_signs_stand_at_full_positions():
    """Only some units are active: the signs are those of the full tensors, not of the box."""
    slots, groups = two_layers(30, repeat=4)
    tensors = {s.name: ticket(s.shape, 0.5, 8, i, 0.5) for i, s in enumerate(slots)}
    for tensor, axis in ((tensors["fc1"], 0), (tensors["bias"], 0)):
        tensor.narrow(axis, 11, 19).zero_()
    tensors["fc2"][:, 4 * 11 :] = 0  # its rows are now shorter than they were
    _, decoded = round_trip(tensors, 8, slots, groups)
    assert modes(decoded) == ["seeded"] * 3
    # the same box filled with the signs of a smaller tensor is no ticket of this model
    compact = {"fc1": ticket((11, 4), 0.5, 8, 0, 1.0), "bias": torch.zeros(11)}
    compact["fc2"] = ticket((3, 44), 0.5, 8, 2, 1.0)
    wrong = {s.name: torch.zeros(s.shape) for s in slots}
    wrong["fc1"][:11], wrong["fc2"][:, :44] = compact["fc1"], compact["fc2"]
    _, decoded = round_trip(wrong, 8, slots, groups)
    assert modes(decoded)[2] != "seeded"


# ----------------------------------------------------------------------------- what it costs


def test_cost_is_the_mask_and_sixty_bits():
    """Against the same places all holding the same positive value, by two routes."""
    tensors = {"w": ticket((100, 90), 0.125, 1, 0, 0.1)}
    coded, _ = round_trip(tensors, 1)
    positions = encode_network({"w": tensors["w"].abs()}, specs_of(tensors), ()).code.parts
    assert coded.code.parts["positions"] == positions["positions"]
    assert coded.code.bits - positions["positions"] - coded.code.parts["container"] <= 70
    signed = encode_network(tensors, specs_of(tensors), ()).code.bits
    nonzeros = int((tensors["w"] != 0).sum())
    assert signed - coded.code.bits > 0.9 * nonzeros - 100


def test_every_field_is_paid():
    """Bit for bit: the codewords of the format, added up by hand.

    Without architecture, one tensor of 8 × 8 that is dense. Gamma code of 1025: 10 ones, a zero,
    10 low bits; 16 for the seed; gamma code of 1: one bit; first symbols of fresh adaptive trees:
    one bit per level (dtype 1, mask 3 levels, values 2); 5 for the kept width less one, then the
    kept bits of the magnitude.
    """
    for magnitude, kept in ((2.0, 1), (0.125, 6), (1.0, 8), (1.5, 9)):
        tensors = {"w": ticket((8, 8), magnitude, 4, 0, 1.0)}
        parts = round_trip(tensors, 4)[0].code.parts
        assert parts["header"] == (10 + 1 + 10) + 16 + 1 + 1 + 3
        assert parts["positions"] == 0
        assert parts["values"] == 2 + 5 + kept


def test_the_file_names_the_seed():
    """No side channel: of all that a decoder is given only the bytes know the seed."""
    files = {encode_network(network(s), specs_of(network()), (), seed=s).data for s in range(20)}
    assert len(files) == 20
    found = [decode_network(data, specs_of(network()), ()).seed for data in files]
    assert sorted(found) == list(range(20))


def test_prefix_free():
    """Over every ticket of four weights and every network of ±1: Kraft's sum, and no prefixes."""
    files = set()
    for seed in (0, 1):
        for mask in range(16):
            for magnitude in (1.0, 2.0):
                kept = torch.tensor([[float(mask >> i & 1) for i in range(4)]])
                w = ticket((1, 4), magnitude, seed, 0, 1.0) * kept + 0
                files.add(encode_network({"w": w}, specs_of({"w": w}), (), seed=seed).data)
                forced = {"w": Choice(values="seeded")}
                files.add(encode_network({"w": w}, specs_of({"w": w}), (), (), forced, seed).data)
    assert sum(2.0 ** -(8 * (len(data) - len(MAGIC))) for data in files) <= 1
    ordered = sorted(files)
    assert not any(after.startswith(before) for before, after in zip(ordered, ordered[1:]))


# ----------------------------------------------------------------------------- the choice


def test_a_wrong_seed_is_no_help():
    tensors = network(5)
    plain = encode_network(tensors, specs_of(tensors), ())
    for seed in (4, 6):
        coded, decoded = round_trip(tensors, seed)
        assert coded == plain and decoded.seed is None


@pytest.mark.parametrize("change", ["one sign", "one size", "swapped tensors"])
def test_what_is_not_the_ticket_is_not_seeded(change):
    tensors = {"a": ticket((20, 20), 1.0, 5, 0, 0.5), "b": ticket((20, 20), 1.0, 5, 1, 0.5)}
    if change == "swapped tensors":
        tensors = {"a": tensors["b"], "b": tensors["a"]}
    else:
        row, column = tensors["b"].nonzero()[7]
        tensors["b"][row, column] *= -1 if change == "one sign" else 2
    _, decoded = round_trip(tensors, 5)
    expected = [None] * 2 if change == "swapped tensors" else ["seeded", None]
    assert [mode if mode == "seeded" else None for mode in modes(decoded)] == expected


def test_a_seed_that_does_not_pay_is_left_out():
    """Two nonzeros: their signs are worth less than the announcement of the dialect."""
    tensors = {"w": torch.zeros(4, 50)}
    full = ticket((4, 50), 1.0, 3, 0, 1.0)
    tensors["w"][1, 7], tensors["w"][3, 40] = full[1, 7], full[3, 40]
    coded, decoded = round_trip(tensors, 3)
    assert coded == encode_network(tensors, specs_of(tensors), ())
    assert decoded.seed is None


def test_integers_and_truth_values_are_never_seeded():
    tensors = {
        "count": torch.ones(50, dtype=torch.int64),
        "flags": torch.ones(50, dtype=torch.bool),
        "w": ticket((30, 30), 1.0, 7, 2, 0.5),
    }
    assert modes(round_trip(tensors, 7)[1]) == ["codebook", "codebook", "seeded"]


def test_a_network_without_nonzeros_names_no_seed():
    tensors = {"w": torch.zeros(4, 4)}
    assert round_trip(tensors, 7)[1].seed is None


@pytest.mark.parametrize("seed", [-1, 65536])
def test_seeds_have_sixteen_bits(seed):
    with pytest.raises(InputError, match="65535"):
        encode_network(network(), specs_of(network()), (), seed=seed)


def test_seeded_values_need_a_seed():
    tensors = {"w": ticket((5, 5), 1.0, 0, 0, 1.0)}
    with pytest.raises(InputError, match="seed"):
        encode_network(tensors, specs_of(tensors), (), (), {"w": Choice(values="seeded")})


def test_is_seeded():
    signs = np.array([True, False, True])
    one, minus_one = np.uint64(0x3F800000), np.uint64(0xBF800000)
    assert is_seeded(np.array([minus_one, one, minus_one]), 32, signs)
    assert not is_seeded(np.array([one, one, minus_one]), 32, signs)
    assert not is_seeded(np.array([minus_one, one, minus_one + np.uint64(1)]), 32, signs)
    assert not is_seeded(np.array([1 << 31] * 3, np.uint64), 32, np.array([True] * 3))  # all −0.0


# ----------------------------------------------------------------------------- hostile bytes

SLOTS = [
    TensorSpec("fc1", (12, 20), torch.float32),
    TensorSpec("count", (3,), torch.int32),
    TensorSpec("half", (5, 12), torch.float16),
]
REAL = {
    "fc1": ticket((12, 20), 0.25, 77, 0, 0.3),
    "count": torch.tensor([0, 4, 4], dtype=torch.int32),
    "half": ticket((5, 12), 1.0, 77, 2, 0.6, torch.float16),
}
DATA = encode_network(REAL, SLOTS, (), (2, 12, 20), seed=77).data


def accepted(data):
    """What `verify` asks: decodes, and encodes to the same bytes; only CodeError may escape."""
    try:
        found = decode_network(data, SLOTS, ())
        again = encode_network(
            found.tensors, SLOTS, (), found.architecture, found.choices, found.seed
        )
    except CodeError:
        return False
    return again.data == data


def file_of(write):
    stream = Writer()
    write(stream)
    return pack(stream.finish())


def test_a_real_file_is_accepted_and_its_tails_are_not():
    assert accepted(DATA)
    for tail in (b"\0", b"\0" * 4, DATA[-4:]):
        with pytest.raises(CodeError, match="follow the end"):
            decode_network(DATA + tail, SLOTS, ())
    for length in range(len(DATA)):
        with pytest.raises(CodeError):
            decode_network(DATA[:length], SLOTS, ())


def test_every_changed_bit():
    start = len(MAGIC) + 1
    kept = [accepted(flipped(DATA, bit)) for bit in range(8 * len(DATA))]
    assert not any(kept[: 8 * start])


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_noise_after_a_good_start():
    """Words replaced from some place on, 400 times: deeper into the dialect than flips get."""
    rng = np.random.default_rng(0)
    words = unpack(DATA)[0]
    for _ in range(400):
        start = int(rng.integers(1, len(words)))
        changed = words.copy()
        changed[start:] = rng.integers(0, 2**32, len(words) - start, dtype=np.uint32)
        accepted(pack(changed))


@pytest.mark.parametrize("dialect", [LAST_DIALECT + 1, 5, 1000, 2**40])
def test_dialects_yet_to_come_are_refused(dialect):
    with pytest.raises(CodeError, match=f"dialect {dialect} "):
        decode_network(file_of(lambda s: positive(s, MAX_ARCHITECTURE + dialect + 1)), SLOTS, ())


def test_a_dialect_is_announced_once():
    def write(stream):
        positive(stream, MAX_ARCHITECTURE + 2)
        stream.words(16, np.array([1], np.uint64), 1)
        positive(stream, MAX_ARCHITECTURE + 2)

    with pytest.raises(CodeError, match="1024 integers"):
        decode_network(file_of(write), SLOTS, ())


def dialect_one(mask_mode, value_mode, rest=lambda stream: None):
    """A file of dialect 1, seed 3, whose only tensor is coded in these modes."""

    def write(stream):
        positive(stream, MAX_ARCHITECTURE + 2)
        stream.words(16, np.array([3], np.uint64), 1)
        positive(stream, 1)
        AdaptiveSymbols(2).code(stream, 0)  # the slot's dtype
        AdaptiveSymbols(5).code(stream, mask_mode)
        if value_mode is not None:
            AdaptiveSymbols(4).code(stream, value_mode)
        rest(stream)

    return file_of(write)


def magnitude_of(kept, pattern):
    def rest(stream):
        stream.words(5, np.array([kept - 1], np.uint64), 1)
        stream.words(kept, np.array([pattern], np.uint64), 1)

    return rest


def decoded_and_again(data, slots):
    decoded = decode_network(data, slots, ())
    again = encode_network(
        decoded.tensors, slots, (), decoded.architecture, decoded.choices, decoded.seed
    )
    return decoded, again.data


def test_the_hand_written_file_is_what_is_written():
    """The control of the next tests: 0.125 is 01111100 0…, six bits without its sign."""
    slots = [TensorSpec("w", (4, 4), torch.float32)]
    data = dialect_one(1, 3, magnitude_of(6, 0b011111))
    decoded, again = decoded_and_again(data, slots)
    assert decoded.tensors["w"].equal(ticket((4, 4), 0.125, 3, 0, 1.0))
    assert again == data


@pytest.mark.parametrize(
    ("mask_mode", "value_mode", "rest"),
    [
        (1, 3, magnitude_of(7, 0b0111110)),  # a magnitude written longer than it is
        (0, None, lambda stream: None),  # no nonzero at all
        (1, 2, lambda stream: stream.words(32, np.full(16, 0x3F800000, np.uint64), 16)),  # raw
    ],
)
def test_other_spellings_do_not_encode_to_themselves(mask_mode, value_mode, rest):
    slots = [TensorSpec("w", (4, 4), torch.float32)]
    data = dialect_one(mask_mode, value_mode, rest)
    _, again = decoded_and_again(data, slots)
    assert again != data


@pytest.mark.parametrize(
    ("dtype", "message"), [(torch.float32, "magnitude"), (torch.int32, "int32")]
)
def test_zero_magnitudes_and_integers_are_refused(dtype, message):
    slots = [TensorSpec("w", (4, 4), dtype)]
    with pytest.raises(CodeError, match=message):
        decode_network(dialect_one(1, 3, magnitude_of(3, 0)), slots, ())


def test_a_writer_of_other_values_is_told():
    patterns = np.array([0x3F800000, 0x3F800000], np.uint64)
    with pytest.raises(CodeError, match="signs of the seed"):
        code_seeded(Writer(), 32, patterns, np.array([False, True]))


def test_a_single_magnitude_serves_all_values():
    patterns = np.array([0x3F800000, 0xBF800000, 0x3F800000], np.uint64)
    signs = np.array([False, True, False])
    writer = Writer()
    code_seeded(writer, 32, patterns, signs)
    assert math.isclose(writer.cost_bits, 5 + 8)
    found = code_seeded(Reader(writer.finish()), 32, np.zeros(0, np.uint64), signs)
    assert found.tolist() == patterns.tolist()
    assert SCALE == 1 << 16
