"""Values near seeded initial ones: initial + step · k, k small integers (THEORY 3.3, dialect 2).

All in integers times one power of two: (m + q · k) · 2^e, m the odd integers of
`prng.initial_integers`, q the step in units of 2^e; then one rounding to the tensor's dtype (for
16-bit dtypes by way of float32).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.coding.frame import Frame
from prunecert.coding.patterns import Patterns, to_floats, to_patterns
from prunecert.coding.prng import initial_integers
from prunecert.coding.stream import Stream, positive, uniform
from prunecert.coding.value_codes import MAX_GRID, code_integers
from prunecert.types import CodeError

LOWEST_EXPONENT, EXPONENTS = -128, 256  # e is one of −128 … 127
STEP_SHIFTS = 16
MAX_STEP = 1 << 24

Integers = NDArray[np.int64]


def initial_values(
    seed: int, index: int, shape: tuple[int, ...], exponent: int, dtype: torch.dtype
) -> torch.Tensor:
    """The initial values of one tensor: uniform on odd multiples of 2^exponent up to 32767, never
    zero, rounded to the dtype. `index` counts all slots of the model, tied ones included."""
    count = int(np.prod(shape))
    return _values(initial_integers(seed, index, count), exponent, dtype).reshape(shape)


def initial_exponent(frame: Frame, places: Integers, values: Patterns) -> int | None:
    """The exponent for which these values are exactly the initial ones, or None."""
    integers = _integers(frame, places)
    if not len(values):
        return None
    first = float(to_floats(values[:1], frame.dtype)[0])
    if not 0 < abs(first) < np.inf:
        return None
    exponent = round(float(np.log2(abs(first) / abs(int(integers[0])))))
    if not LOWEST_EXPONENT <= exponent < LOWEST_EXPONENT + EXPONENTS:
        return None
    same = to_patterns(_values(integers, exponent, frame.dtype))
    return exponent if np.array_equal(same, values) else None


def code_difference(
    stream: Stream, frame: Frame, exponent: int, step: int, places: Integers, values: Patterns
) -> tuple[Patterns, int, int]:
    """Exponent, the integers k, then, unless all are zero, the step as shift and odd part.

    `step` is a bit pattern of the dtype, an integer multiple of 2^exponent; 0 where every k is
    zero. A writer's `values` must be what comes out; a reader gives none. Returns the patterns at
    `places` (flat, of the full tensor), the exponent and the step.
    """
    start = _integers(frame, places)
    q, k = 0, np.zeros(0, np.int64)
    if len(values):
        q = _in_units(step, exponent, frame.dtype)
        k = _multiples(start, exponent, q, values, frame.dtype)
    exponent = uniform(stream, EXPONENTS, exponent - LOWEST_EXPONENT) + LOWEST_EXPONENT
    k = code_integers(stream, k, len(places))
    q = _code_step(stream, q) if k.any() else 0
    near = _values(start + q * k, exponent, frame.dtype)
    if not bool(near.isfinite().all()):
        raise CodeError("a difference holds values that are not finite")
    out = to_patterns(near)
    if len(values) and not np.array_equal(out, values):
        raise CodeError("values are not initial ones and multiples of the step")
    return out, exponent, _pattern(q, exponent, frame.dtype)


def _code_step(stream: Stream, q: int) -> int:
    shift = max((q & -q).bit_length() - 1, 0)
    shift = uniform(stream, STEP_SHIFTS, min(shift, STEP_SHIFTS - 1))
    q = (2 * positive(stream, max((q >> shift) + 1 >> 1, 1)) - 1) << shift
    if q >= MAX_STEP:
        raise CodeError(f"a step of {q} units of the initial values: at most {MAX_STEP - 1}")
    return q


def _integers(frame: Frame, places: Integers) -> Integers:
    return initial_integers(frame.needed_seed, frame.index, frame.size)[places]


def _in_units(step: int, exponent: int, dtype: torch.dtype) -> int:
    """The step as a multiple of 2^exponent."""
    units = float(np.ldexp(to_floats(np.array([step], np.uint64), dtype), -exponent)[0])
    if not 0 <= units < MAX_STEP or units != int(units):
        raise CodeError(f"the step of a difference is no multiple of 2^{exponent} below 2^24 of it")
    return int(units)


def _multiples(
    start: Integers, exponent: int, q: int, values: Patterns, dtype: torch.dtype
) -> Integers:
    """The nearest k, zero where a value is the initial one as rounded; whether they give the values
    is checked when they are coded."""
    if not q:
        return np.zeros(len(start), np.int64)
    k = np.rint((np.ldexp(to_floats(values, dtype), -exponent) - start) / q)
    if not np.all(np.abs(k) <= MAX_GRID):  # NaN too
        raise CodeError(f"values are further than {MAX_GRID} steps from the initial ones")
    k[to_patterns(_values(start, exponent, dtype)) == values] = 0
    return k.astype(np.int64)


def _pattern(q: int, exponent: int, dtype: torch.dtype) -> int:
    """The step as a pattern of the dtype, which must hold it exactly."""
    exact = np.ldexp(np.array([float(q)]), exponent)
    step = torch.from_numpy(exact).to(dtype)
    if not np.array_equal(step.double().numpy(), exact):
        raise CodeError(f"the step of a difference is no number of dtype {dtype}")
    return int(to_patterns(step)[0])


def _values(integers: Integers, exponent: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(np.ldexp(integers.astype(np.float64), exponent)).to(dtype)
