"""One tensor's places and values in the mode that was chosen, the same calls in both directions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.coding import free_masks, mask_codes, structured_masks, value_codes
from prunecert.coding.difference import code_difference
from prunecert.coding.frame import Frame
from prunecert.coding.mask_codes import BoolMatrix, MaskMode
from prunecert.coding.patterns import Patterns, from_patterns, to_patterns, width_of
from prunecert.coding.prng import seeded_signs
from prunecert.coding.run_masks import code_run_mask
from prunecert.coding.static_code import code_static
from prunecert.coding.stream import Stream
from prunecert.coding.subspace import Subspaces
from prunecert.coding.value_codes import ValueMode
from prunecert.types import CodeError


@dataclass(frozen=True)
class Choice:
    """How one tensor is coded; what is None is chosen by the encoder for the fewest bits.

    "subspace" wants `step` and `coordinates`, or the number of `dimensions` where they are to be
    solved for. "difference" wants `exponent`, and `step` unless the values are the initial ones.
    """

    mask: MaskMode | None = None
    values: ValueMode | None = None
    step: int = 0  # bit pattern of the step of a grid, a subspace or a difference
    dimensions: int = 0  # of a subspace
    coordinates: tuple[int, ...] | None = None  # z of a subspace
    exponent: int | None = None  # of the initial values that differences are to

    @property
    def steps(self) -> Patterns:
        return np.array([self.step], np.uint64)


def code_places(
    stream: Stream, mode: MaskMode, frame: Frame, mask: BoolMatrix | None
) -> BoolMatrix:
    """Write `mask` (or, with None, read one) of the frame's matrix in this mode."""
    if mode == "n:m":
        return structured_masks.code_groups(stream, frame.matrix, frame.kernel, mask)
    if mode == "blocks":
        return structured_masks.code_blocks(stream, frame.matrix, frame.repeat, mask)
    if mode == "seeded" or mode == "positional" or mode == "initial":
        return free_masks.code_free(stream, mode, frame, mask)
    if mode == "runs":
        return code_run_mask(stream, frame.matrix, mask)
    return mask_codes.code_mask(stream, mode, frame.matrix, frame.repeat, mask)


def code_values(
    stream: Stream,
    frame: Frame,
    choice: Choice,
    mask: BoolMatrix,
    values: Patterns,
    subspaces: Subspaces,
) -> tuple[Patterns, Choice]:
    """Write the patterns at the mask's places (or, with none, read them) and what they used."""
    width, count = width_of(frame.dtype), int(mask.sum())
    if choice.values == "codebook":
        return value_codes.code_codebook(stream, width, values, count), choice
    if choice.values == "raw":
        return value_codes.code_raw(stream, width, values, count), choice
    if choice.values == "static":
        return code_static(stream, width, values, count), choice
    if not frame.dtype.is_floating_point:
        raise CodeError(f"a tensor of dtype {frame.dtype} is coded as {choice.values}")
    if choice.values == "seeded":
        return value_codes.code_seeded(stream, width, values, signs_at(frame, mask)), choice
    if choice.values == "grid":
        integers = grid_integers(values, choice.steps, frame.dtype)
        steps, integers = value_codes.code_grid(stream, choice.steps, width, integers, count)
        values = grid_patterns(integers, steps, frame.dtype)
        return values, replace(choice, step=int(steps[0]))
    places = frame.positions[mask]
    if choice.values == "subspace":
        z = np.array(choice.coordinates or (), np.int64)
        values, steps, z = subspaces.code(stream, frame, choice.steps, z, places, values)
        used = replace(choice, step=int(steps[0]), coordinates=tuple(z.tolist()))
        return values, replace(used, dimensions=len(z))
    values, exponent, step = code_difference(
        stream, frame, choice.exponent or 0, choice.step, places, values
    )
    return values, replace(choice, step=step, exponent=exponent)


def signs_at(frame: Frame, mask: BoolMatrix) -> NDArray[np.bool_]:
    """The seed's signs of one tensor's nonzeros, each read at its place in the full tensor."""
    return seeded_signs(frame.needed_seed, frame.index, frame.size)[frame.positions[mask]]


def grid_integers(values: Patterns, step: Patterns, dtype: torch.dtype) -> NDArray[np.int64]:
    """Multiples of the step; a writer's values must lie on the grid exactly."""
    if not values.size:
        return np.zeros(0, np.int64)
    exact = from_patterns(values, dtype).double() / from_patterns(step, dtype).double()
    integers: NDArray[np.int64] = exact.round().long().numpy()
    if not np.array_equal(grid_patterns(integers, step, dtype), values):
        raise CodeError("values are not multiples of their grid's step")
    return integers


def grid_patterns(integers: NDArray[np.int64], step: Patterns, dtype: torch.dtype) -> Patterns:
    """round(step · integer) in the tensor's dtype: one exact product in float64, one rounding.

    Exact also where torch goes through float32: MAX_GRID leaves its products within 24 bits.
    """
    values = (torch.from_numpy(integers) * from_patterns(step, dtype).double()).to(dtype)
    if not bool((values.isfinite() & (values != 0)).all()):  # NaN would differ between machines
        raise CodeError("a grid holds values that are zero or not finite")
    return to_patterns(values)
