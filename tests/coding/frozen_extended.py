"""The network behind the frozen file of dialect 2: each of its codes, by rule.

What the seed decides comes from the slow twins, so that no change of the generator can follow it.
"""

from __future__ import annotations

import hashlib
import itertools
from fractions import Fraction

import torch
from seeded_twins import (
    initial_integer_list,
    initial_place_list,
    row_sum,
    seeded_place_list,
    tensor_of,
)

from prunecert.coding import Choice
from prunecert.coding.prng import seeded_signs
from prunecert.models.groups import Slot, UnitGroup
from prunecert.models.loading import TensorSpec

ARCHITECTURE = (3, 5)
SEED = 77
STEP = 0x3E000000  # 0.125 in float32
Z = [3, -1, 0, 2, -2, 1, 1, 0, -3, 2]


def at(places: list[int], values: list[float], shape: tuple[int, ...]) -> torch.Tensor:
    out = torch.zeros(torch.Size(shape).numel())
    out[places] = torch.tensor(values)
    return out.reshape(shape)


def two_of_four() -> torch.Tensor:
    """60 groups; which two of each, from the digest of a label."""
    pairs = list(itertools.combinations(range(4), 2))
    chosen = [pairs[byte % 6] for byte in hashlib.shake_128(b"two of four").digest(60)]
    places = [4 * i + place for i, pair in enumerate(chosen) for place in pair]
    return at(places, [0.25 * (1 + i % 9) for i in range(120)], (10, 24))


def kinds() -> torch.Tensor:
    """400 values of five kinds, −0.0 one of them."""
    drawn = hashlib.shake_128(b"kinds").digest(400)
    values = [-0.0, 1.5, -2.0, 0.25, -1 / 3]
    return torch.tensor([values[max(byte // 48 - 1, 0)] for byte in drawn]).reshape(20, 20)


def rare() -> torch.Tensor:
    """2000 values, four of them another."""
    out = torch.full((40, 50), -3, dtype=torch.int8)
    for place, value in ((0, 5), (777, -7), (778, 5), (1999, -7)):
        out.view(-1)[place] = value
    return out


def scattered() -> torch.Tensor:
    """1500 places, about one in 26 of them kept."""
    drawn = hashlib.shake_128(b"scattered").digest(1500)
    places = [place for place, byte in enumerate(drawn) if byte < 10]
    return at(places, [0.5 * (1 + i % 2) for i in range(len(places))], (30, 50))


def holes() -> torch.Tensor:
    """600 places, about one in five of them empty."""
    drawn = hashlib.shake_128(b"holes").digest(600)
    places = [place for place, byte in enumerate(drawn) if byte >= 50]
    return at(places, [1.0] * len(places), (600,))


def initial(index: int, size: int, exponent: int) -> list[Fraction]:
    integers = initial_integer_list(SEED, index, size)
    return [integer * Fraction(2) ** exponent for integer in integers]


def network() -> dict[str, torch.Tensor]:
    blocks = [[0.75 * (r // 4 == c // 4) for c in range(24)] for r in range(24)]
    places = seeded_place_list(SEED, 3, 108, 50)
    every = [p for p in range(60) if p % 5 < 2]
    kept = initial_place_list(SEED, 4, 108, 30)
    ticket = [v if p in kept else 0 for p, v in enumerate(initial(4, 108, -18))]
    sums = [Fraction(1, 8) * row_sum(SEED, 6, row, Z) for row in range(72)]
    tuned = [v + Fraction(i % 7 // 5, 8) for i, v in enumerate(initial(7, 81, -16))]
    return {
        "groups": two_of_four(),
        "blocks": torch.tensor(blocks),
        "every": at(every, [0.5 * (1 + i % 3) for i in range(24)], (6, 10)),
        "places": at(places, [1 / (p + 3) for p in places], (9, 12)),
        "ticket": tensor_of(ticket, (9, 12), torch.bfloat16),
        "signs": torch.where(torch.from_numpy(seeded_signs(SEED, 5, 40)), -0.5, 0.5),
        "line": tensor_of(sums, (8, 9), torch.float32),
        "tuned": tensor_of(tuned, (9, 9), torch.float32),
        "count": torch.tensor(12345),
        "kinds": kinds(),
        "rare": rare(),
        "scattered": scattered(),
        "holes": holes(),
    }


SLOTS = [TensorSpec(name, tuple(t.shape), t.dtype) for name, t in network().items()]
GROUPS = [UnitGroup(9, (Slot("places", 0),), (), (), True, True)]

CHOICES = {
    "groups": Choice("n:m", "grid", 0x3E800000),
    "blocks": Choice("blocks", "codebook"),
    "every": Choice("positional", "grid", 0x3F000000),
    "places": Choice("seeded", "raw"),
    "ticket": Choice("initial", "difference", exponent=-18),
    "signs": Choice("dense", "seeded"),
    "line": Choice("dense", "subspace", STEP, len(Z), tuple(Z)),
    "tuned": Choice("dense", "difference", STEP, exponent=-16),
    "count": Choice("dense", "raw"),
    "kinds": Choice("dense", "static"),
    "rare": Choice("dense", "static"),
    "scattered": Choice("runs", "codebook"),
    "holes": Choice("runs", "codebook"),
}
