"""What an encoder may choose for a tensor, by real cost (free: THEORY 2.1a i).

Nothing here is part of the format: what was chosen stands in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import TypeVar

import numpy as np
import torch

from prunecert.coding import free_masks, mask_codes, structured_masks, value_codes
from prunecert.coding.difference import initial_exponent
from prunecert.coding.frame import Frame
from prunecert.coding.header import Header
from prunecert.coding.mask_codes import BoolMatrix, MaskMode
from prunecert.coding.patterns import Patterns, to_floats, to_patterns, width_of
from prunecert.coding.stream import Stream, Writer
from prunecert.coding.subspace import Subspaces, solved
from prunecert.coding.tensor_codes import Choice, code_places, code_values, grid_integers, signs_at
from prunecert.coding.value_codes import ValueMode
from prunecert.types import CodeError

GRID_STEPS = 64  # multiples of a step that a writer looks for by itself

Way = TypeVar("Way")
Priced = list[tuple[Way, float]]  # ways to code and their bits; among equals the first is taken


@dataclass(frozen=True)
class Options:
    """The ways in which one tensor may be coded: one of a kind where it was asked for."""

    masks: Priced[MaskMode]
    values: Priced[Choice]  # none where no place carries a value

    def best(self, header: Header) -> Choice:
        """The cheapest places and the cheapest values among those that the header has a name for
        (where it has none, the first)."""
        masks = [way for way in self.masks if header.allows_mask(way[0])] or self.masks
        values = [way for way in self.values if header.allows_values(way[0].values)] or self.values
        choice = min(values, key=_price)[0] if values else Choice()
        return replace(choice, mask=min(masks, key=_price)[0])


def options(frame: Frame, tensor: torch.Tensor, asked: Choice) -> Options:
    """What this tensor allows; CodeError where it is not what was asked for."""
    patterns = to_patterns(tensor)[frame.region].reshape(frame.matrix)
    nonzero = patterns != 0
    modes = [asked.mask] if asked.mask else _mask_modes(frame, nonzero)
    masks = _priced(modes, lambda stream, mode: code_places(stream, mode, frame, nonzero))
    places = np.ones_like(nonzero) if asked.mask == "dense" else nonzero
    values = _value_options(frame, places, patterns[places], asked) if places.any() else []
    return Options(masks, values)


def value_cost_bits(tensor: torch.Tensor, choice: Choice) -> float:
    """What the nonzeros of one tensor cost, without their places and in a file without a seed."""
    frame = Frame(0, tuple(tensor.shape), tuple(tensor.shape), 1, tensor.dtype)
    patterns = to_patterns(tensor).reshape(frame.matrix)
    places = patterns != 0
    if not places.any():
        return 0.0
    chosen = min(_value_options(frame, places, patterns[places], choice), key=_price)[0]
    stream = Writer()
    code_values(stream, frame, chosen, places, patterns[places], Subspaces())
    return stream.cost_bits


def _price(way: tuple[Way, float]) -> float:
    return way[1]


def _priced(ways: Sequence[Way], write: Callable[[Stream, Way], object]) -> Priced[Way]:
    """Each way with its real cost, which is not measured where there is no choice."""
    if len(ways) == 1:
        return [(ways[0], 0.0)]
    out = []
    for way in ways:
        stream = Writer()
        write(stream, way)
        out.append((way, stream.cost_bits))
    return out


def _mask_modes(frame: Frame, mask: BoolMatrix) -> list[MaskMode]:
    """The modes of every dialect worth trying for this mask."""
    modes = list(mask_codes.candidates(mask))
    if modes in (["empty"], ["dense"]):
        return modes
    if mask.size > mask_codes.SEQUENTIAL_LIMIT:
        modes.append("runs")
    if structured_masks.find_groups(mask, frame.kernel):
        modes.append("n:m")
    if structured_masks.find_blocks(mask, frame.repeat):
        modes.append("blocks")
    return [*modes, *free_masks.free_modes(frame, mask)]


def _value_options(
    frame: Frame, places: BoolMatrix, values: Patterns, asked: Choice
) -> Priced[Choice]:
    """A codebook or raw bits; beside them what the values happen to be.

    Of many values no code that is a loop is tried: a static codebook is within 1 % of its length.
    """
    if asked.values:
        return [(_completed(frame, places, values, asked), 0.0)]
    few = len(values) <= value_codes.SEQUENTIAL_VALUES
    book: ValueMode = "codebook" if few else "static"
    choices = [Choice(values=book if _codebook_pays(values, frame.dtype) else "raw")]
    if frame.dtype.is_floating_point:
        if few and (step := _small_step(values, frame.dtype)):
            choices.append(Choice(values="grid", step=step))
        if frame.seed is not None:
            if value_codes.is_seeded(values, width_of(frame.dtype), signs_at(frame, places)):
                choices.insert(0, Choice(values="seeded"))
            exponent = initial_exponent(frame, frame.positions[places], values)
            if exponent is not None:
                choices.append(Choice(values="difference", exponent=exponent))
    return _priced(
        choices,
        lambda stream, choice: code_values(stream, frame, choice, places, values, Subspaces()),
    )


def _completed(frame: Frame, places: BoolMatrix, values: Patterns, asked: Choice) -> Choice:
    """What was asked for, with what the values themselves say of it."""
    flat = frame.positions[places]
    if asked.values == "subspace" and asked.coordinates is None:
        z = solved(frame, asked.dimensions, asked.steps, flat, values)
        return replace(asked, coordinates=tuple(z.tolist()))
    if asked.values == "difference" and asked.exponent is None:
        exponent = initial_exponent(frame, flat, values)
        if exponent is None:
            raise CodeError("values are not the initial ones: their exponent and step are needed")
        return replace(asked, exponent=exponent)
    return asked


def _codebook_pays(values: Patterns, dtype: torch.dtype) -> bool:
    """Entries at full width plus indices at their plain width: adaptive coding only improves it."""
    book, width = np.unique(values), width_of(dtype)
    indexed = len(book) * width + len(values) * (len(book) - 1).bit_length()
    return len(book) <= value_codes.MAX_CODEBOOK and indexed < width * len(values)


def _small_step(values: Patterns, dtype: torch.dtype) -> int | None:
    """The pattern of a step of which all values are exact multiples up to GRID_STEPS: the smallest
    magnitude or the greatest common divisor."""
    sizes = np.unique(np.abs(to_floats(values, dtype))).tolist()
    if len(sizes) > GRID_STEPS or not 0 < sizes[0] <= sizes[-1] < (GRID_STEPS + 1) * sizes[0]:
        return None  # NaN too, which is sorted last
    if sizes[-1] == float("inf"):
        return None
    ratios = [size.as_integer_ratio() for size in sizes]
    unit = max(below for _, below in ratios)
    divisor = gcd(*(above * (unit // below) for above, below in ratios)) / unit
    for size in dict.fromkeys((sizes[0], divisor)):
        step = to_patterns(torch.tensor([size], dtype=torch.float64).to(dtype))
        try:
            if np.abs(grid_integers(values, step, dtype)).max() <= GRID_STEPS:
                return int(step[0])
        except CodeError:  # not multiples
            continue
    return None
