"""A source whose labels are wrong with a known probability, in training and in test alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.data.samples import take
from prunecert.data.sources import Source, SplitName
from prunecert.data.splits import Inputs, Split
from prunecert.types import InputError


def with_label_noise(source: Source, rate: float, seed: int = 0) -> Source:
    """`source` with every label replaced, with probability `rate`, by a uniform other class.

    Each row of `train` and of `test` is decided by a draw of its own, from a stream that belongs
    to the split and to `seed` alone: never to a network's seed, to the rows or to their order.
    Both splits are noisy, so that rows are independent draws from one population, the noisy one,
    and every statement about a sample of it (a hold-out bound, a code certificate) stays valid
    for it. A larger rate keeps the wrong labels of a smaller one. The origin is another than the
    clean source's.

    `rate` is in [0, 1]; InputError otherwise, or where the source has fewer than two classes, or
    several labels in a row.
    """
    if not 0 <= rate <= 1:
        raise InputError(f"label_noise {rate:g}: expected a probability from 0 to 1")

    def read(split: SplitName) -> Split | None:
        rows = source.train if split == "train" else source.test
        return None if rows is None else NoisySplit(rows, rate, seed, split, classes_of(source))

    described = f"label noise {rate!r}, seed {seed}"
    return Source(f"{source.spec} with {described}", f"{source.origin} with {described}", read)


def classes_of(source: Source) -> int:
    """K as the source declares it, else as its training labels show."""
    declared = source.classes
    if declared is None:
        labels = take(source, "test" if source.train is None else "train", "bound").labels
        if labels.ndim != 1:
            raise InputError(f"{source.spec}: expected one label for each row")
        declared = int(labels.max()) + 1
    if declared < 2:
        raise InputError(f"{source.spec}: expected at least two classes, found {declared}")
    return declared


@dataclass(frozen=True)
class NoisySplit:
    """The rows of another split, some with another label; inputs are untouched."""

    rows: Split
    rate: float
    seed: int
    name: SplitName
    classes: int
    drawn: NDArray[np.float64] = field(init=False, repr=False, compare=False)  # (n, 2) in [0, 1)

    def __post_init__(self) -> None:
        stream = hashlib.sha256(f"label noise of {self.name}, seed {self.seed}".encode()).digest()
        rng = np.random.default_rng(np.frombuffer(stream, np.uint32))
        object.__setattr__(self, "drawn", rng.random((len(self.rows), 2)))

    @property
    def inputs_name(self) -> str:
        return self.rows.inputs_name

    @property
    def labels_name(self) -> str:
        return self.rows.labels_name

    @property
    def scaled(self) -> Any:
        """As of the split below: whether stored bytes are delivered divided by 255."""
        return getattr(self.rows, "scaled", None)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int, labeled: bool) -> tuple[Inputs, torch.Tensor]:
        inputs, labels = self.rows.read(start, stop, labeled)
        if not labeled:
            return inputs, labels
        hit, which = torch.from_numpy(self.drawn[start:stop]).unbind(1)
        others = self.classes - 1
        shift = 1 + (which * others).long().clamp(max=others - 1)
        legal = (labels >= 0) & (labels < self.classes)  # others are refused when they are checked
        changed = legal & (hit < self.rate)
        return inputs, torch.where(changed, (labels + shift) % self.classes, labels)

    def deliver(self, stored: Inputs) -> Inputs:
        return self.rows.deliver(stored)
