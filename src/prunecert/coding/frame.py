"""What writer and reader both know of a tensor before its places and values are coded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.types import CodeError


@dataclass(frozen=True)
class Frame:
    """One tensor: where it stands in the model, and the box of its active units, which is coded.

    A quantity that the seed decides is read at its flat position in the *full* tensor, so that it
    does not move with the active units.
    """

    index: int  # among all slots of the model, tied ones included
    shape: tuple[int, ...]
    box: tuple[int, ...]  # the leading part of each axis; everything outside is zero
    repeat: int  # consecutive columns of the matrix that belong to one input unit
    dtype: torch.dtype
    seed: int | None = None  # of the file

    @property
    def size(self) -> int:
        """Entries of the full tensor."""
        return prod(self.shape)

    @property
    def matrix(self) -> tuple[int, int]:
        """Shape (rows, columns) of the box as a matrix: rows are output units."""
        if len(self.box) < 2:
            return 1, prod(self.box)
        return self.box[0], prod(self.box[1:])

    @property
    def kernel(self) -> int:
        """Consecutive columns that belong to one input channel: 1 but for convolutions."""
        return prod(self.box[2:])

    @property
    def region(self) -> tuple[slice, ...]:
        return tuple(slice(0, size) for size in self.box)

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """The flat position in the full tensor of every entry of the matrix."""
        flat = np.arange(self.size, dtype=np.int64).reshape(self.shape)
        return flat[self.region].reshape(self.matrix)

    @property
    def needed_seed(self) -> int:
        """The seed, where a code cannot do without."""
        if self.seed is None:
            raise CodeError("a tensor is coded from a seed, and the file names none")
        return self.seed
