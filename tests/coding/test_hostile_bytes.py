"""Any byte string decodes or raises CodeError, soon; what decodes can be encoded again.

`verify` re-encodes what it decoded and compares: that step must not fail in another way either.
"""

import contextlib
import tracemalloc

import numpy as np
import pytest
import torch
from coded_networks import two_layers
from hypothesis import given, settings
from hypothesis import strategies as st

from prunecert.coding import MAGIC, Choice, decode_network, encode_network, pack, unpack
from prunecert.coding.header import Header
from prunecert.coding.network_codes import _Network
from prunecert.coding.patterns import DTYPE_LIST, to_patterns
from prunecert.coding.stream import Writer
from prunecert.models.groups import Slot, UnitGroup
from prunecert.models.loading import TensorSpec
from prunecert.types import CodeError


def odd_architecture():
    """Every dtype, scalars, empty tensors, an alias, a convolution, two groups."""
    slots, groups = two_layers(5, repeat=2)
    for i, dtype in enumerate(DTYPE_LIST):
        slots.append(TensorSpec(f"d{i}", (3, 4), dtype))
    slots += [
        TensorSpec("scalar", (), torch.float32),
        TensorSpec("count", (), torch.int64),
        TensorSpec("empty", (0,), torch.float32),
        TensorSpec("flat", (3, 0, 2), torch.float16),
        TensorSpec("tied", (5, 4), torch.float32, alias_of="fc1"),
        TensorSpec("conv", (4, 2, 3, 3), torch.float32),
    ]
    groups.append(UnitGroup(4, (Slot("conv", 0),), (), (), True, False))
    return slots, groups


SLOTS, GROUPS = odd_architecture()


def attempt(data, slots=SLOTS, groups=GROUPS):
    """True where `data` decodes to what encodes to `data` again; only CodeError may escape."""
    try:
        decoded = decode_network(data, slots, groups)
        for slot in slots:
            assert tuple(decoded.tensors[slot.name].shape) == slot.shape
        again = encode_network(
            decoded.tensors, slots, groups, decoded.architecture, decoded.choices
        )
    except CodeError:
        return False
    return again.data == data


def real_file(seed, density=0.4):
    generator = torch.Generator().manual_seed(seed)
    tensors, choices = {}, {}
    for slot in SLOTS:
        values = torch.randn(slot.shape, generator=generator) * 3
        kept = torch.rand(slot.shape, generator=generator) < density
        tensors[slot.name] = torch.where(kept, values, 0).to(slot.dtype)
    tensors["tied"] = tensors["fc1"]
    for name, dtype, mode in (("d0", torch.float32, "adaptive"), ("d1", torch.float16, "rows")):
        step = torch.tensor([0.25], dtype=dtype)
        integers = torch.randint(-3, 4, (3, 4), generator=generator)
        tensors[name] = (integers * 0.25).to(dtype)
        choices[name] = Choice(mode, "grid", int(to_patterns(step)[0]))
    return encode_network(tensors, SLOTS, GROUPS, (3, 10, 10), choices).data


def test_real_files_are_accepted():
    for seed in range(5):
        assert attempt(real_file(seed))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=400))
def test_random_words_after_a_good_length(noise):
    data = pack(np.frombuffer(noise[: len(noise) // 4 * 4], "<u4"))
    attempt(data)


def test_structured_noise():
    """Words of few ones, few zeros, one repeated byte: they steer the decoder to its corners."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        bits = rng.random(32 * int(rng.integers(1, 60))) < rng.choice([0.02, 0.1, 0.9, 0.98])
        attempt(pack(np.packbits(bits).view(">u4").astype(np.uint32)))
    for byte in range(256):
        attempt(pack(np.frombuffer(bytes([byte]) * 200, "<u4")))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_anything_at_all(noise):
    assert not attempt(noise)  # without the magic
    attempt(MAGIC + noise)


@pytest.mark.slow
def test_a_long_siege():
    """Real files with bits, bytes and words changed, and noise of every density, 20,000 times."""
    rng = np.random.default_rng(1)
    files = [real_file(seed, density) for seed, density in ((0, 0.1), (1, 0.5), (2, 0.95))]
    for round_ in range(20_000):
        words = unpack(files[round_ % 3])[0].copy()
        start = int(rng.integers(0, len(words)))
        if round_ % 4 == 0:
            words[start] ^= np.uint32(1 << int(rng.integers(0, 32)))
        elif round_ % 4 == 1:
            words[start:] = rng.integers(0, 2**32, len(words) - start, dtype=np.uint32)
        elif round_ % 4 == 2:
            words[start] = rng.choice(np.array([0, 1, 2**31, 2**32 - 1], np.uint32))
        else:
            noise = rng.random(32 * len(words)) < rng.choice([0.01, 0.1, 0.5, 0.9, 0.99])
            words = np.packbits(noise).view(">u4").astype(np.uint32)
        attempt(pack(words))


@pytest.mark.parametrize("seed", range(2))
def test_every_truncation_is_refused(seed):
    data = real_file(seed)
    for length in range(len(data)):
        with pytest.raises(CodeError):
            decode_network(data[:length], SLOTS, GROUPS)


def test_changed_bits():
    """Anywhere after the length, the file of another network at best; before it, no file."""
    data = real_file(3)
    start = 8 * (len(MAGIC) + 1)
    rng = np.random.default_rng(0)
    for position in [*range(start), *rng.integers(start, 8 * len(data), 300).tolist()]:
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        accepted = attempt(bytes(changed))
        assert position >= start or not accepted


def test_words_swapped_dropped_and_doubled():
    """Among them files of the right network with spare words: re-encoding tells them apart."""
    data = real_file(4)
    words = unpack(data)[0]
    for i in range(len(words)):
        assert not attempt(pack(np.delete(words, i)))
        assert not attempt(pack(np.insert(words, i, 0)))
        if i and words[i] != words[i - 1]:
            swapped = words.copy()
            swapped[[i - 1, i]] = swapped[[i, i - 1]]
            attempt(pack(swapped))
    assert not attempt(pack(np.append(words, 0)))
    assert not attempt(pack(np.append(words, 12345)))


class Chooser(Writer):
    """A writer that makes the decoder's choices at random, at the probabilities it asks for."""

    def __init__(self, rng):
        super().__init__()
        self.rng = rng

    def bit(self, probability, value=0):
        return super().bit(probability, int(self.rng.random() < 0.5))

    def bits(self, probability, values, count):
        return super().bits(probability, self.rng.integers(0, 2, count).astype(np.int32), count)

    def symbols(self, frequencies, values, count):
        chosen = self.rng.integers(0, len(frequencies), count)
        return super().symbols(frequencies, chosen, count)

    def words(self, width, values, count):
        high = 1 << int(self.rng.integers(0, width + 1))
        chosen = self.rng.integers(0, high, count, dtype=np.uint64, endpoint=False)
        return super().words(width, chosen, count)


def test_every_field_at_random():
    """The format's own grammar with arbitrary contents: deeper than noise in the bytes gets."""
    complete = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        slots = [SLOTS[i] for i in rng.choice(len(SLOTS), 2, replace=False)]
        slots = [s for s in slots if s.alias_of is None]
        writer = Chooser(rng)
        with contextlib.suppress(CodeError):
            _Network(slots, []).code(writer, Header(), (), None, {})
            complete += 1
        attempt(pack(writer.finish()), slots, [])
    assert complete > 20


def test_memory_is_bounded_by_the_shapes():
    """A file of a few bytes, a model of 100 × 1000: no more than a few copies of 8 bytes each."""
    slots = [TensorSpec("w", (100, 1000), torch.float32)]
    generator = np.random.default_rng(0)
    sizes = []
    for _ in range(30):
        data = pack(generator.integers(0, 2**32, 8, dtype=np.uint32))
        tracemalloc.start()
        with contextlib.suppress(CodeError):
            decode_network(data, slots, [])
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(sizes) < 12 * 8 * 100 * 1000


def test_announced_lengths_allocate_nothing():
    """2^35 words, codebooks and grids as large as fields can say, in a file of 20 bytes."""
    tracemalloc.start()
    with pytest.raises(CodeError):
        decode_network(MAGIC + b"\xff\xff\xff\xff\x7f" + bytes(8), SLOTS, GROUPS)
    for word in (0, 2**31, 2**32 - 1):
        attempt(pack(np.array([word] * 3, np.uint32)))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
