"""One layer of a weights file, sketched and recovered (THEORY 1.7)."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunecert.bounds.pattern import sketch_rows
from prunecert.models.weights import load_tensors
from prunecert.progress import Stage, quiet
from prunecert.sketch import Pattern, default_weight, pattern, recovered, smallest_rows
from prunecert.types import InputError

VALUE_BITS = 32  # of a weight, and of a number of the sketch
SHOWN = 10  # names of tensors, in a message
STEPS = 100  # the search for m stops at the larger dimension over this


@dataclass(frozen=True)
class LayerSketch:
    """What sketching a layer takes.

    `rows` is m, None where no m up to the larger dimension recovers the layer; `searched` says that
    it is the smallest m found (to within `resolution`); `error` is relative, in Frobenius norm.
    """

    layer: str
    flattened_from: tuple[int, ...] | None
    where: Pattern
    theory_rows: int
    weight: int
    rows: int | None
    searched: bool
    resolution: int
    recovered: bool
    error: float
    gap: float

    @property
    def sketch_bits(self) -> int:
        """Size of the sketch. P and Q come from a seed and cost nothing here."""
        return 0 if self.rows is None else self.rows**2 * VALUE_BITS

    @property
    def list_bits(self) -> int:
        """Size of the nonzeros with their positions."""
        return self.where.list_bits(VALUE_BITS)


def theory_rows(where: Pattern) -> int:
    """The order-only number of rows m of the theory (THEORY 1.7), `sketch_rows` of one matrix.

    >>> theory_rows(Pattern((784, 784), 2352, 3, 3, 0, 0))
    324
    """
    p1, p2 = where.shape
    return int(sketch_rows([p1], [p2], [where.largest_row], [where.largest_column])[0])


def sketch_layer(
    weights: Path,
    layer: str,
    rows: int | None = None,
    weight: int | None = None,
    seed: int = 0,
    stage: Stage = quiet,
) -> LayerSketch:
    """Sketch and recover the tensor `layer` of a file; without `rows`, at the smallest m found.

    Kernels (out, in, …) are flattened to (out, in·…). `weight` is the number of ones in a column of
    P and Q, `default_weight` unless given.

    Raises InputError for an unknown layer, a vector, complex numbers, and as `recovered` and
    `load_tensors` do.
    """
    tensor = _tensor(weights, layer)
    matrix: NDArray[np.float64] = tensor.reshape(len(tensor), -1)
    where = pattern(matrix)
    weight = default_weight(where.shape) if weight is None else weight
    resolution = max(1, max(where.shape) // STEPS)
    m = rows
    if m is None:
        m = smallest_rows(matrix, weight=weight, seed=seed, resolution=resolution, stage=stage)
    good, error, gap = False, float("nan"), float("nan")
    if m is not None:
        good, found = recovered(matrix, m, weight=weight, seed=seed, stage=stage)
        error = float(np.linalg.norm(found.x - matrix) / (np.linalg.norm(matrix) or 1.0))
        gap = found.gap
    return LayerSketch(
        layer=layer,
        flattened_from=tensor.shape if tensor.ndim > 2 else None,
        where=where,
        theory_rows=theory_rows(where),
        weight=weight,
        rows=m,
        searched=rows is None,
        resolution=resolution,
        recovered=good,
        error=error,
        gap=gap,
    )


def _tensor(weights: Path, layer: str) -> NDArray[np.float64]:
    tensors = load_tensors(weights).tensors
    if layer not in tensors:
        raise InputError(f"{weights}: no tensor {layer!r}: {_hint(layer, list(tensors))}")
    tensor = tensors[layer]
    if tensor.ndim < 2 or not tensor.numel():
        shape = tuple(tensor.shape)
        raise InputError(f"{weights}: '{layer}' has shape {shape}, expected a matrix or kernels")
    if tensor.is_complex():
        raise InputError(f"{weights}: '{layer}' is complex, expected real numbers")
    return np.asarray(tensor.double())


def _hint(layer: str, names: list[str]) -> str:
    near = difflib.get_close_matches(layer, names, 1)
    if near:
        return f"did you mean {near[0]}?"
    more = f" … ({len(names)} in all)" if len(names) > SHOWN else ""
    return f"expected one of {', '.join(names[:SHOWN])}{more}"
