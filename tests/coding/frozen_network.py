"""The network behind the frozen file: every code of the format, written out by rule.

Values come from integer arithmetic on the index, so that no generator can change them.
"""

from __future__ import annotations

import torch

from prunecert.coding import Choice
from prunecert.models.groups import Slot, UnitGroup
from prunecert.models.loading import TensorSpec

ARCHITECTURE = (3, 6, 8, 4)


def scattered(shape: tuple[int, ...], every: int, values: list[float]) -> torch.Tensor:
    """values[i mod len] where i · 7 mod `every` is 0, else zero; i counts in row-major order."""
    count = torch.Size(shape).numel()
    entries = [values[i % len(values)] if i * 7 % every == 0 else 0.0 for i in range(count)]
    return torch.tensor(entries).reshape(shape)


def network() -> dict[str, torch.Tensor]:
    fc1 = scattered((8, 6), 5, [0.5, -1.25, 2.0])
    fc1[6:] = 0  # units 6 and 7 are dead
    bias = scattered((8,), 2, [0.1, -0.2])
    bias[6:] = 0
    fc2 = scattered((4, 8), 3, [0.75, -0.25, 0.25, 1.5, -1.0])
    fc2[:, 6:] = 0
    return {
        "fc1": fc1,
        "bias": bias,
        "fc2": fc2,
        "conv": scattered((5, 2, 3, 3), 4, [1.0, -1.0, 3.0]),
        "half": scattered((3, 7), 2, [0.125, -0.375, 0.25]).half(),
        "brain": scattered((12,), 1, [1.5, -2.5, 3.0]).bfloat16(),
        "double": torch.tensor([[1 / 3, -0.0], [0.0, 2.0**-1074]], dtype=torch.float64),
        "count": torch.tensor(-1234567890123, dtype=torch.int64),
        "flags": torch.tensor([True, False, True]),
        "wide": scattered((30, 50), 11, [1.0, -1.0]),
        "nothing": torch.zeros(4, 3),
        "empty": torch.zeros(0, 5),
        "tied": fc1,
    }


SLOTS = [
    TensorSpec(name, tuple(t.shape), torch.float32 if name == "brain" else t.dtype)
    for name, t in network().items()
]
SLOTS[-1] = TensorSpec("tied", (8, 6), torch.float32, alias_of="fc1")

GROUPS = [
    UnitGroup(8, (Slot("fc1", 0),), (Slot("bias", 0),), (Slot("fc2", 1),), True, True),
]

CHOICES = {
    "fc1": Choice("adaptive", "codebook"),
    "bias": Choice("enumerative", "raw"),
    "fc2": Choice("rows", "grid", 0x3E800000),  # 0.25 in float32
    "conv": Choice("adaptive", "grid", 0x3F800000),  # 1.0
    "half": Choice("enumerative", "grid", 0x3000),  # 0.125 in float16
    "brain": Choice("dense", "codebook"),
    "double": Choice("rows", "raw"),
    "count": Choice("dense", "raw"),
    "flags": Choice("enumerative", "codebook"),
    "wide": Choice("adaptive", "grid", 0x3F800000),
    "nothing": Choice("empty"),
    "empty": Choice("empty"),
}
