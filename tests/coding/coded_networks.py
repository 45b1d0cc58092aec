"""Networks for the coder's tests: random and adversarial tensors, and comparison bit by bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from prunecert.coding import Choice, CodedNetwork, DecodedNetwork, decode_network, encode_network
from prunecert.coding.patterns import DTYPE_LIST
from prunecert.models.groups import Slot, UnitGroup
from prunecert.models.loading import TensorSpec

SHAPES = [(), (0,), (1,), (9,), (0, 3), (3, 0), (1, 8), (8, 1), (5, 6), (2, 0, 3), (3, 2, 0)]
SHAPES += [(4, 3, 2), (3, 2, 3, 3), (2, 2, 1, 5)]
DENSITIES = [0.0, 0.02, 0.2, 0.9, 0.98, 1.0]


def specs_of(tensors: Mapping[str, Tensor]) -> list[TensorSpec]:
    return [TensorSpec(name, tuple(t.shape), t.dtype) for name, t in tensors.items()]


def bits_of(tensor: Tensor) -> bytes:
    """The memory of a tensor: −0.0 and 0.0 differ, NaNs of equal payload do not."""
    if not tensor.numel():
        return b""
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).tolist())


def assert_identical(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert bits_of(found[name]) == bits_of(tensor), name


def round_trip(
    tensors: Mapping[str, Tensor],
    slots: Sequence[TensorSpec] | None = None,
    groups: Sequence[UnitGroup] = (),
    architecture: tuple[int, ...] = (),
    choices: Mapping[str, Choice] | None = None,
) -> tuple[CodedNetwork, DecodedNetwork]:
    """Encode, decode, and re-encode what was decoded: equal tensors, equal bytes."""
    slots = specs_of(tensors) if slots is None else slots
    coded = encode_network(tensors, slots, groups, architecture, choices)
    decoded = decode_network(coded.data, slots, groups)
    assert_identical(decoded.tensors, tensors)
    assert decoded.architecture == architecture
    again = encode_network(decoded.tensors, slots, groups, architecture, decoded.choices)
    assert again.data == coded.data
    return coded, decoded


def random_patterns(rng: np.random.Generator, dtype: torch.dtype, count: int) -> Tensor:
    """Any bits at all (truth values: 0 and 1): infinities, NaNs, subnormals, both zeros."""
    raw = rng.integers(0, 256, count * dtype.itemsize, dtype=np.uint8)
    if dtype == torch.bool:
        return torch.from_numpy(raw % 2).to(torch.bool)
    return torch.from_numpy(raw).view(dtype) if count else torch.zeros(0, dtype=dtype)


def random_tensor(
    seed: int, shape: tuple[int, ...], dtype: torch.dtype, density: float, distinct: int | None
) -> Tensor:
    """`density` of the entries hold random bits, of at most `distinct` different patterns."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape))
    values = random_patterns(rng, dtype, count)
    if distinct is not None and count:
        which = torch.from_numpy(rng.integers(0, distinct, count))
        values = random_patterns(rng, dtype, distinct)[which]
    out = torch.zeros(count, dtype=dtype)
    kept = torch.from_numpy(rng.random(count) < density)
    out[kept] = values[kept]
    return out.reshape(shape)


tensors = st.builds(
    random_tensor,
    st.integers(0, 2**32 - 1),
    st.sampled_from(SHAPES),
    st.sampled_from(DTYPE_LIST),
    st.sampled_from(DENSITIES),
    st.sampled_from([None, 1, 2, 3, 256]),
)
networks = st.lists(tensors, max_size=4).map(lambda ts: {f"t{i}": t for i, t in enumerate(ts)})


def two_layers(hidden: int, repeat: int = 1) -> tuple[list[TensorSpec], list[UnitGroup]]:
    """fc1 (hidden, 4), its bias, fc2 (3, hidden · repeat): one group of hidden units."""
    slots = [
        TensorSpec("fc1", (hidden, 4), torch.float32),
        TensorSpec("bias", (hidden,), torch.float32),
        TensorSpec("fc2", (3, hidden * repeat), torch.float32),
    ]
    group = UnitGroup(
        hidden,
        producers=(Slot("fc1", 0),),
        companions=(Slot("bias", 0),),
        consumers=(Slot("fc2", 1, repeat),),
        renumberable=True,
        foldable=True,
    )
    return slots, [group]
