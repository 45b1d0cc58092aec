"""Dialect 2 of whole networks: what its header says, when it is taken, and hostile bytes.

The codes themselves are in `test_structured_masks`, `test_free_masks`, `test_run_masks`,
`test_subspace`, `test_difference` and `test_static_code`.
"""

import contextlib
import itertools
import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from coded_networks import bits_of, random_patterns, random_tensor, specs_of
from frozen_extended import ARCHITECTURE, CHOICES, GROUPS, SEED, SLOTS, network
from test_hostile_bytes import Chooser

from prunecert.coding import (
    MAGIC,
    Choice,
    decode_network,
    encode_network,
    pack,
    unpack,
)
from prunecert.coding.free_masks import initial_places, seeded_places
from prunecert.coding.header import Header, code_header
from prunecert.coding.mask_codes import EXTENDED_MASK_MODES
from prunecert.coding.network_codes import _Network
from prunecert.coding.patterns import DTYPE_LIST, to_patterns
from prunecert.coding.stream import AdaptiveSymbols, Reader, Writer, positive, uniform
from prunecert.coding.value_codes import EXTENDED_VALUE_MODES
from prunecert.models.layers import layer_view
from prunecert.models.loading import TensorSpec
from prunecert.models.zoo import build
from prunecert.types import CodeError

DATA = encode_network(network(), SLOTS, GROUPS, ARCHITECTURE, CHOICES, SEED).data


def accepted(data, slots=SLOTS, groups=GROUPS):
    """What `verify` asks: decodes, and encodes to the same bytes; only CodeError may escape."""
    try:
        found = decode_network(data, slots, groups)
        again = encode_network(
            found.tensors, slots, groups, found.architecture, found.choices, found.seed
        )
    except CodeError:
        return False
    return again.data == data


def test_round_trip():
    decoded = decode_network(DATA, SLOTS, GROUPS)
    for name, tensor in network().items():
        assert bits_of(decoded.tensors[name]) == bits_of(tensor), name
    assert (decoded.seed, decoded.architecture) == (SEED, ARCHITECTURE)
    assert decoded.choices == CHOICES
    assert accepted(DATA)


def test_the_other_codes_are_found_without_asking():
    """A codebook of one value is a matter of taste; subspaces and steps cannot be guessed; static
    codes and runs are for more than these."""
    guessed = ("groups", "every", "places", "ticket", "signs", "count")
    asked = {name: choice for name, choice in CHOICES.items() if name not in guessed}
    assert encode_network(network(), SLOTS, GROUPS, ARCHITECTURE, asked, SEED).data == DATA


@pytest.mark.parametrize("dtype", DTYPE_LIST, ids=str)
def test_any_bits_at_the_places_of_every_mask_code(dtype):
    """Infinities, NaNs, subnormals and −0.0 too; the price of the places is the same for all."""
    masks = {
        "n:m": network()["groups"] != 0,
        "blocks": network()["blocks"] != 0,
        "positional": network()["every"] != 0,
        "runs": network()["scattered"] != 0,
        "seeded": torch.from_numpy(seeded_places(SEED, 0, 108, 50)).reshape(9, 12),
        "initial": torch.from_numpy(initial_places(SEED, 0, 108, 30)).reshape(9, 12),
    }
    limits = {"n:m": 60 * np.log2(6) + 8, "blocks": np.log2(math.comb(36, 6)) + 18}
    limits["runs"] = math.log2(math.comb(1500, int(masks["runs"].sum()))) * 1.01 + 2 * 11 + 1
    for mode, mask in masks.items():
        values = random_patterns(np.random.default_rng(0), dtype, mask.numel()).reshape(mask.shape)
        values[torch.from_numpy(to_patterns(values) == 0)] = 1
        kept = torch.zeros(mask.shape, dtype=dtype)
        kept[mask] = values[mask]
        seed = SEED if mode in ("seeded", "initial") else None
        slots, choice = specs_of({"w": kept}), {"w": Choice(mode)}
        coded = encode_network({"w": kept}, slots, (), (), choice, seed)
        decoded = decode_network(coded.data, slots, ())
        assert bits_of(decoded.tensors["w"]) == bits_of(kept)
        assert decoded.choices["w"].mask == mode
        assert coded.code.parts["positions"] <= limits.get(mode, 12)
        assert coded.code.bits == 8 * (len(coded.data) - len(MAGIC))
        assert accepted(coded.data, slots, ())


# ----------------------------------------------------------------------------- the header


@pytest.mark.parametrize(("seed", "bits"), [(None, 21 + 1 + 1), (5, 21 + 1 + 16 + 1)])
def test_the_header(seed, bits):
    """Gamma code of 1026: 10 ones, a zero, 10 low bits; has a seed; the seed; no architecture."""
    writer = Writer()
    code_header(writer, Header((), seed, 2))
    assert writer.cost_bits == bits
    assert code_header(Reader(writer.finish()), Header()) == Header((), seed, 2)


def test_alphabets_are_the_old_ones_and_the_new_ones():
    """Orders are the format."""
    masks = "empty dense adaptive enumerative rows n:m blocks seeded positional initial runs"
    assert tuple(masks.split()) == EXTENDED_MASK_MODES
    values = "codebook grid raw seeded subspace difference static"
    assert tuple(values.split()) == EXTENDED_VALUE_MODES


# ----------------------------------------------------------------------------- when it is taken

# all but differences with a step, which an encoder that is left alone does not look for
GOLDEN = [
    file
    for file in sorted((Path(__file__).parents[1] / "golden").glob("*/*/network.bin"))
    if file.parent.name != "lottery-difference"
]


@pytest.mark.parametrize("file", GOLDEN, ids=lambda p: p.parent.name)
def test_files_of_the_first_dialects_are_what_they_were(file):
    """Byte for byte; and an encoder left alone writes no more than they have."""
    spec = json.loads((file.parent / "certificate.json").read_text())["model"]["spec"]
    module = build(spec)
    slots = [TensorSpec(n, tuple(t.shape), t.dtype) for n, t in module.state_dict().items()]
    groups, data = layer_view(module).groups, file.read_bytes()
    found = decode_network(data, slots, groups)
    from_seed = {"seeded", "difference"}
    assert found.seed is None or from_seed & {c.values for c in found.choices.values()}
    again = encode_network(
        found.tensors, slots, groups, found.architecture, found.choices, found.seed
    )
    assert again.data == data
    free = encode_network(found.tensors, slots, groups, found.architecture, None, found.seed)
    assert len(free.data) <= len(data)


def dialect_of(data):
    return code_header(Reader(unpack(data)[0]), Header()).dialect


@pytest.mark.parametrize("seed", range(3))
def test_networks_without_structure_stay_in_the_first_dialect(seed):
    tensors = {
        "a": random_tensor(seed, (30, 40), torch.float32, 0.3, 5),
        "b": random_tensor(seed + 9, (40,), torch.float16, 1.0, None),
    }
    for given in (None, 3):
        assert dialect_of(encode_network(tensors, specs_of(tensors), (), seed=given).data) == 0


def test_the_dialect_must_pay_for_its_announcement():
    """One row kept of eight: saves less than 22 bits; of 64 × 64 every other: saves hundreds."""
    small, large = torch.zeros(4, 4), torch.zeros(64, 64)
    small[:, 1], large[torch.randperm(64, generator=torch.Generator().manual_seed(0))[:32]] = 1, 1
    for tensor, dialect in ((small, 0), (large, 2)):
        data = encode_network({"w": tensor}, specs_of({"w": tensor}), ()).data
        assert dialect_of(data) == dialect
        forced = {"w": Choice("enumerative")}
        plain = encode_network({"w": tensor}, specs_of({"w": tensor}), (), choices=forced).data
        assert len(data) <= len(plain)


def test_a_seed_without_use_is_not_named():
    tensors = {"w": network()["groups"]}
    plain = encode_network(tensors, specs_of(tensors), ())
    assert encode_network(tensors, specs_of(tensors), (), seed=9) == plain
    assert dialect_of(plain.data) == 2


def test_kraft_sum_over_all_small_networks():
    """Every ternary 1 × 5 matrix, left alone and forced into each mask code that can hold it."""
    files, tight = set(), 0.0
    for entries in itertools.product([-1.0, 0.0, 1.0], repeat=5):
        tensor = torch.tensor([entries])
        for mask in (None, "n:m", "blocks", "positional", "initial", "seeded"):
            try:
                coded = encode_network(
                    {"w": tensor}, specs_of({"w": tensor}), (), (), {"w": Choice(mask)}, 3
                )
            except CodeError:
                continue
            if coded.data not in files:
                tight += 2.0 ** -(coded.code.bits - coded.code.parts["container"])
            files.add(coded.data)
    assert len(files) > 3**5 + 50
    assert tight <= 1
    ordered = sorted(files)
    assert not any(after.startswith(before) for before, after in zip(ordered, ordered[1:]))


# ----------------------------------------------------------------------------- ternary


def test_ternary_tensors_cost_a_step_and_their_signs():
    """±c: three fields and one adaptive bit per nonzero; the codebook writes both patterns."""
    rng = np.random.default_rng(0)
    signs = torch.from_numpy(rng.choice([-0.5, 0.5], (30, 40))).float()
    coded = encode_network({"w": signs}, specs_of({"w": signs}), ())
    found = decode_network(coded.data, specs_of({"w": signs}), ()).choices["w"]
    assert found.values == "grid"
    kept, adaptive = 8, 1200 + 0.5 * np.log2(1200) + 1
    assert coded.code.parts["values"] <= 2 + 5 + kept + 1 + adaptive
    book = {"w": Choice(values="codebook")}
    other = encode_network({"w": signs}, specs_of({"w": signs}), (), choices=book)
    assert other.code.parts["values"] - coded.code.parts["values"] >= 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("unit", [0.75, 2.0**-9, 1 / 3])
def test_small_multiples_are_seen_as_a_grid(dtype, unit):
    """Multiples 2, 3, 7 of a unit that is no value itself, and multiples of the smallest."""
    step = torch.tensor([unit], dtype=dtype).double()
    rng = np.random.default_rng(0)
    for sizes in ([2, 3, 7], [1, 2, 5, 64]) if dtype.itemsize > 2 else ([2, 3, 6], [1, 2, 4, 8]):
        integers = rng.choice(sizes, (20, 30)) * rng.choice([-1, 1], (20, 30))
        tensors = {"w": (torch.from_numpy(integers) * step).to(dtype)}
        data = encode_network(tensors, specs_of(tensors), ()).data
        found = decode_network(data, specs_of(tensors), ()).choices["w"]
        assert found.values in ("grid", "codebook")
        if unit != 1 / 3:
            assert (found.values, found.step) == ("grid", int(to_patterns(step.to(dtype))[0]))


# ----------------------------------------------------------------------------- hostile bytes


def test_tails_and_truncations_are_refused():
    for tail in (b"\0", b"\0" * 4, DATA[-4:], b"prunecert"):
        with pytest.raises(CodeError, match="follow the end"):
            decode_network(DATA + tail, SLOTS, GROUPS)
    for length in range(len(DATA)):
        with pytest.raises(CodeError):
            decode_network(DATA[:length], SLOTS, GROUPS)


def test_changed_bits():
    start = 8 * (len(MAGIC) + 1)
    rng = np.random.default_rng(0)
    places = rng.choice(8 * len(DATA) - start, 250, replace=False) + start
    for position in [*range(start), *places.tolist()]:
        changed = bytearray(DATA)
        changed[position // 8] ^= 1 << position % 8
        assert not accepted(bytes(changed)) or position >= start


def test_noise_after_a_good_start():
    rng = np.random.default_rng(0)
    words = unpack(DATA)[0]
    for _ in range(300):
        start = int(rng.integers(2, len(words)))
        changed = words.copy()
        changed[start:] = rng.integers(0, 2**32, len(words) - start, dtype=np.uint32)
        accepted(pack(changed))


class Obedient(Chooser):
    """Random contents after a header that is as it should be: the first calls are obeyed."""

    def __init__(self, rng, calls):
        super().__init__(rng)
        self.calls = calls

    def obeys(self):
        self.calls -= 1
        return self.calls >= 0

    def bit(self, probability, value=0):
        write = Writer if self.obeys() else Chooser
        return write.bit(self, probability, value)

    def words(self, width, values, count):
        write = Writer if self.obeys() else Chooser
        return write.words(self, width, values, count)


def test_every_field_at_random():
    """The grammar of dialect 2 with arbitrary contents; each new mode is reached and decoded."""
    reached = set()
    for round_ in range(500):
        rng = np.random.default_rng(round_)
        seed = SEED if round_ % 3 else None
        slots = [SLOTS[i] for i in rng.choice(len(SLOTS), 2, replace=False)]
        # the dialect: 11 bits and a word; has a seed; the seed; the architecture's length
        writer = Obedient(rng, 12 + 1 + (seed is not None) + 1)
        with contextlib.suppress(CodeError):
            found = _Network(slots, []).code(writer, Header((), seed, 2), (), None, {})
            assert found.seed == seed
            reached |= {mode for c in found.choices.values() for mode in (c.mask, c.values)}
        accepted(pack(writer.finish()), slots, [])
    assert reached >= {*EXTENDED_MASK_MODES[5:], *EXTENDED_VALUE_MODES[3:]}


def file_of(mask_mode, rest, seed=3):
    """A file whose only tensor is coded in this mask mode."""
    writer = Writer()
    code_header(writer, Header((), seed, 2))
    AdaptiveSymbols(2).code(writer, 0)
    AdaptiveSymbols(len(EXTENDED_MASK_MODES)).code(writer, EXTENDED_MASK_MODES.index(mask_mode))
    rest(writer)
    return pack(writer.finish())


@pytest.mark.parametrize("mode", ["seeded", "initial"])
def test_modes_that_need_a_seed_are_refused_without_one(mode):
    data = file_of(mode, lambda s: uniform(s, 17, 4), seed=None)
    with pytest.raises(CodeError, match="seed"):
        decode_network(data, [TensorSpec("w", (4, 4), torch.float32)], ())


def test_memory_is_bounded_by_the_shapes():
    slots = [TensorSpec("w", (100, 1000), torch.float32)]

    def positional(stream):
        positive(stream, 2)
        uniform(stream, 2, 0)
        uniform(stream, 2, 0)
        AdaptiveSymbols(len(EXTENDED_VALUE_MODES)).code(stream, 0)
        uniform(stream, 256, 0)
        uniform(stream, 32, 8)
        stream.words(9, np.array([0x7F], np.uint64), 1)

    rests = {"positional": positional, "n:m": lambda s: uniform(s, 5, 3)}
    rests |= dict.fromkeys(("seeded", "initial"), lambda s: uniform(s, 100_001, 30_000))
    for mode, rest in rests.items():
        data = file_of(mode, rest)
        tracemalloc.start()
        with contextlib.suppress(CodeError):
            decode_network(data, slots, ())
        assert tracemalloc.get_traced_memory()[1] < 12 * 8 * 100_000
        tracemalloc.stop()
