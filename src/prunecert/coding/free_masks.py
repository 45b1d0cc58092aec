"""Masks that the decoder recomputes: a few integers instead of places (THEORY 3.3, dialect 2).

All of them speak of flat positions in the full tensor; of these, the part in the box of active
units is the mask.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prunecert.coding.frame import Frame
from prunecert.coding.mask_codes import BoolMatrix
from prunecert.coding.prng import INITIAL_BITS, initial_integers, seeded_ranks
from prunecert.coding.stream import Stream, positive, uniform
from prunecert.types import CodeError

FreeMode = Literal["seeded", "positional", "initial"]
FREE_MODES: tuple[FreeMode, ...] = ("seeded", "positional", "initial")


def free_modes(frame: Frame, mask: BoolMatrix) -> list[FreeMode]:
    """Those that this mask is, given the seed if there is one."""
    found: list[FreeMode] = []
    for mode in FREE_MODES:
        if mode != "positional" and frame.seed is None:
            continue
        if np.array_equal(_free(frame, mode, _integers(frame, mode, mask)), mask):
            found.append(mode)
    return found


def code_free(stream: Stream, mode: FreeMode, frame: Frame, mask: BoolMatrix | None) -> BoolMatrix:
    """The number of kept places k in "seeded" and "initial"; stride, offset, width in
    "positional"."""
    given = (1, 0, 1) if mask is None else _integers(frame, mode, mask)
    if mask is not None and not np.array_equal(_free(frame, mode, given), mask):
        raise CodeError(f"a mask was to be coded as {mode} and is another")
    if mode != "positional":
        return _free(frame, mode, (uniform(stream, frame.size + 1, given[0]),))
    stride = positive(stream, given[0])
    if stride > frame.size:
        raise CodeError(f"a mask repeats every {stride} places of a tensor of {frame.size}")
    offset = uniform(stream, stride, given[1])
    width = uniform(stream, stride - offset, given[2] - 1) + 1
    return _free(frame, mode, (stride, offset, width))


def seeded_places(seed: int, index: int, size: int, kept: int) -> NDArray[np.bool_]:
    """The `kept` places of lowest `seeded_ranks`, shape (size,); ties go to the lower place."""
    return _first(seeded_ranks(seed, index, size), kept)


def initial_places(seed: int, index: int, size: int, kept: int) -> NDArray[np.bool_]:
    """The `kept` places of largest `prng.initial_integers` in magnitude, shape (size,); ties go to
    the lower place."""
    integers = initial_integers(seed, index, size)
    return _first((1 << INITIAL_BITS) - np.abs(integers), kept)


def positional_places(size: int, stride: int, offset: int, width: int) -> NDArray[np.bool_]:
    """Every place p with p mod stride in offset … offset + width − 1, shape (size,)."""
    phase = np.arange(size) % stride
    return (phase >= offset) & (phase < offset + width)


def _first(ranks: NDArray[np.int64], kept: int) -> NDArray[np.bool_]:
    """True at the `kept` lowest ranks, the lower place first among equals."""
    if kept == 0:
        return np.zeros(len(ranks), np.bool_)
    last = int(np.partition(ranks, kept - 1)[kept - 1])
    out: NDArray[np.bool_] = ranks < last
    out[np.flatnonzero(ranks == last)[: kept - int(out.sum())]] = True
    return out


def _free(frame: Frame, mode: FreeMode, integers: tuple[int, ...]) -> BoolMatrix:
    """The mask in the box."""
    if mode == "positional":
        full = positional_places(frame.size, *integers)
    elif mode == "seeded":
        full = seeded_places(frame.needed_seed, frame.index, frame.size, *integers)
    else:
        full = initial_places(frame.needed_seed, frame.index, frame.size, *integers)
    return full[frame.positions]


def _integers(frame: Frame, mode: FreeMode, mask: BoolMatrix) -> tuple[int, ...]:
    """What a writer says of this mask, whether it fits or not."""
    kept = np.sort(frame.positions[mask])
    if mode != "positional":
        return (len(kept),)
    if not len(kept):
        return 1, 0, 1
    starts = kept[np.flatnonzero(np.diff(kept, prepend=-2) > 1)]
    offset = int(starts[0])
    stride = int(starts[1]) - offset if len(starts) > 1 else frame.size
    first_run = np.flatnonzero(np.diff(kept, append=frame.size + 1) > 1)[0] + 1
    return stride, offset, int(first_run)
