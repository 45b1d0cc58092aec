"""The network behind the frozen file of dialect 1: seeded tensors among others, by rule.

The signs are written out, so that no change of the generator can follow them.
"""

from __future__ import annotations

import torch
from frozen_network import scattered

from prunecert.coding import Choice
from prunecert.models.groups import Slot, UnitGroup
from prunecert.models.loading import TensorSpec

ARCHITECTURE = (3, 6, 8, 4)
SEED = 40503
# negative (−) or positive (+) at every place of the full tensor, row by row
SIGNS = {
    "fc1": "-+-+-+-----+-+------++-+++-+-+---++++--++---++-+",
    "fc2": "++++----++--++-+-+----+-+-++----",
    "half": "-++-+--++-----+++++-+",
    "kernel": "-+----++-++-+++-+-+--+---+--+-+--+++",
}


def ticket(name: str, shape: tuple[int, ...], every: int, magnitude: float) -> torch.Tensor:
    signs = torch.tensor([-1.0 if sign == "-" else 1.0 for sign in SIGNS[name]])
    return scattered(shape, every, [magnitude]) * signs.reshape(shape) + 0.0


def network() -> dict[str, torch.Tensor]:
    fc1 = ticket("fc1", (8, 6), 2, 0.5)
    fc1[5:] = 0  # units 5 to 7 are dead
    fc2 = ticket("fc2", (4, 8), 1, 1.25)
    fc2[:, 5:] = 0
    return {
        "fc1": fc1,
        "bias": torch.zeros(8),
        "fc2": fc2,
        "tied": fc1,
        "half": ticket("half", (3, 7), 1, 0.125).half(),
        "plain": scattered((6, 6), 2, [0.5, -0.25, 0.5]),
        "kernel": ticket("kernel", (2, 2, 3, 3), 4, 2.0).double(),
        "count": torch.tensor(7, dtype=torch.int64),
    }


SLOTS = [TensorSpec(name, tuple(t.shape), t.dtype) for name, t in network().items()]
SLOTS[3] = TensorSpec("tied", (8, 6), torch.float32, alias_of="fc1")

GROUPS = [
    UnitGroup(8, (Slot("fc1", 0),), (Slot("bias", 0),), (Slot("fc2", 1),), True, True),
]

CHOICES = {
    "fc1": Choice("adaptive", "seeded"),
    "bias": Choice("empty"),
    "fc2": Choice("dense", "seeded"),
    "half": Choice("dense", "seeded"),
    "plain": Choice("enumerative", "codebook"),
    "kernel": Choice("rows", "seeded"),
    "count": Choice("dense", "raw"),
}
