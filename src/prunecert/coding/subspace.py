"""Values in a seeded random subspace: step · (P z), z few integers (THEORY 3.2 and 3.3, dialect 2).

P has a row for every place of the full tensor and entries ±1 from `prng.projection_rows`. Row sums
are integers, their product with the step is exact or rounded once in float64, then comes the
rounding to the tensor's dtype (for 16-bit dtypes by way of float32).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.coding.frame import Frame
from prunecert.coding.patterns import Patterns, to_floats, to_patterns, width_of
from prunecert.coding.prng import BLOCK_ROWS, projection_rows
from prunecert.coding.stream import Stream, positive
from prunecert.coding.value_codes import code_integers, code_step
from prunecert.types import CodeError

MAX_DIMENSIONS = 1 << 14
MAX_SIGNS = 1 << 32  # of all projections of one file together: a few seconds
MAX_SOLVED = 1 << 24  # signs of the equations that a writer solves for z
SPARE_EQUATIONS = 64

Integers = NDArray[np.int64]


class Subspaces:
    """The code of a file's tensors, which share one allowance of signs."""

    def __init__(self) -> None:
        self._signs_left = MAX_SIGNS

    def code(
        self,
        stream: Stream,
        frame: Frame,
        step: Patterns,
        z: Integers,
        places: Integers,
        values: Patterns,
    ) -> tuple[Patterns, Patterns, Integers]:
        """Dimensions, step, z → the patterns at `places` (flat, of the full tensor), step and z.

        A writer's `values` must be what comes out; a reader gives none.
        """
        dimensions = positive(stream, max(len(z), 1))
        if dimensions > MAX_DIMENSIONS:
            raise CodeError(f"a subspace of {dimensions} dimensions: at most {MAX_DIMENSIONS}")
        self._signs_left -= dimensions * frame.size
        if self._signs_left < 0:
            raise CodeError(f"the subspaces of one file have more than {MAX_SIGNS} signs")
        step = code_step(stream, step, width_of(frame.dtype))
        z = code_integers(stream, z, dimensions)
        sums = projected(frame.needed_seed, frame.index, frame.size, z)[places]
        out = _patterns(sums, step, frame.dtype)
        if len(values) and not np.array_equal(out, values):
            raise CodeError("values are not in the subspace that they were to be coded in")
        return out, step, z


def projected(seed: int, index: int, size: int, z: Integers) -> Integers:
    """P z, shape (size,), P of shape (size, len(z)) with the signs of this seed and tensor.

    Eight columns at a time: their 256 possible sums are looked up.
    """
    width = -(-len(z) // 8)
    padded = np.zeros(8 * width, np.int64)
    padded[: len(z)] = z
    of_byte = 1 - 2 * _bits(np.arange(256, dtype=np.uint8)[:, None]).astype(np.int64)
    sums = (padded.reshape(width, 8) @ of_byte.T).astype(np.int32).ravel()  # below 2^15 each
    row = 256 * np.arange(width)
    out = np.empty(size, np.int64)
    for start in range(0, size, BLOCK_ROWS):
        packed = projection_rows(seed, index, start // BLOCK_ROWS, width)[: size - start]
        out[start : start + BLOCK_ROWS] = np.take(sums, packed + row).sum(axis=1, dtype=np.int64)
    return out


def projection(seed: int, index: int, places: Integers, dimensions: int) -> NDArray[np.int8]:
    """The rows of P at these places of the tensor, shape (len(places), dimensions), entries ±1."""
    out = np.empty((len(places), dimensions), np.int8)
    for block in np.unique(places // BLOCK_ROWS).tolist():
        packed = projection_rows(seed, index, block, -(-dimensions // 8))
        here = places // BLOCK_ROWS == block
        out[here] = 1 - 2 * _bits(packed[places[here] % BLOCK_ROWS])[:, :dimensions]
    return out


def solved(
    frame: Frame, dimensions: int, step: Patterns, places: Integers, values: Patterns
) -> Integers:
    """The integers z whose subspace holds these values: least squares on some of them, rounded.

    Whether they do is checked when they are coded. CodeError where z is not determined or the
    equations are too many; a caller who knows z gives it (`Choice.coordinates`).
    """
    count = min(len(places), 2 * dimensions + SPARE_EQUATIONS)
    if count < dimensions or count * dimensions > MAX_SOLVED:
        raise CodeError(
            f"{dimensions} coordinates cannot be found from {len(places)} values: give them"
        )
    rows = projection(frame.needed_seed, frame.index, places[:count], dimensions)
    exact = rows.astype(np.float64)
    sums = to_floats(values[:count], frame.dtype) / _positive(step, frame.dtype)
    try:
        z = np.rint(np.linalg.solve(exact.T @ exact, exact.T @ sums))
    except np.linalg.LinAlgError as error:
        raise CodeError("the coordinates of a subspace are not determined: give them") from error
    if not np.all(np.abs(z) < 2.0**31):  # NaN too
        raise CodeError("values are not in the subspace that they were to be coded in")
    return z.astype(np.int64)  # type: ignore[no-any-return]


def _bits(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Shape (rows, bytes) → (rows, 8 · bytes), the least significant bit first."""
    return np.unpackbits(packed, axis=1, bitorder="little").astype(np.int8)


def _positive(step: Patterns, dtype: torch.dtype) -> float:
    width = float(to_floats(step, dtype)[0])
    if not 0 < width < np.inf:
        raise CodeError("the step of a subspace is not a positive number")
    return width


def _patterns(sums: Integers, step: Patterns, dtype: torch.dtype) -> Patterns:
    values = torch.from_numpy(sums * _positive(step, dtype)).to(dtype)
    if not bool(values.isfinite().all()):
        raise CodeError("a subspace holds values that are not finite")
    return to_patterns(values)
