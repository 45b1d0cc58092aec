"""`runs`: the places of a whole matrix in a few vectorised calls, for large masks (dialect 2).

In the file: one bit, 1 where the zeros are the rarer entries; then the runs between these, row
after row, as `static_code.code_runs` has them. Where more than one place in eight holds a rare
entry, runs have no remainders, and their quotients in unary are the matrix itself, bit by bit at
one rate: no density needs another code.
"""

from __future__ import annotations

import numpy as np

from prunecert.coding.mask_codes import BoolMatrix
from prunecert.coding.static_code import code_runs
from prunecert.coding.stream import SCALE, Stream


def code_run_mask(stream: Stream, shape: tuple[int, int], mask: BoolMatrix | None) -> BoolMatrix:
    """Write `mask` (or, with None, read one) of this shape."""
    rows, columns = shape
    size, kept = rows * columns, 0 if mask is None else int(mask.sum())
    if not size:
        return np.zeros(shape, np.bool_)
    zeros_are_rare = kept == 0 or size < 2 * kept < 2 * size  # there is at least one rare entry
    common = bool(stream.bit(SCALE // 2, int(zeros_are_rare)))
    places = np.zeros(0, np.int64) if mask is None else np.flatnonzero(mask != common)
    out = np.full(size, common)
    out[code_runs(stream, places, size)] = not common
    return out.reshape(shape)
