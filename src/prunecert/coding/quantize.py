"""Values to a small codebook or a grid, without retraining (THEORY 3.3 "Values").

All functions return a tensor of the same dtype whose nonzeros have short bit patterns, and the
`Choice` that codes them. Zeros stay zero; a value is never moved to zero unless asked to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.coding.patterns import to_patterns
from prunecert.coding.tensor_codes import Choice
from prunecert.coding.value_codes import SEQUENTIAL_VALUES

SMALL_CODEBOOK = 64  # values that already repeat among this few are coded exactly …
REPEATS = 3  # … when each is used this often on average
LLOYD_ROUNDS = 30


@dataclass(frozen=True)
class Precision:
    """How finely one tensor is written: by a codebook, by a grid, or not at all."""

    kind: Literal["codebook", "grid", "zero"]
    levels: int = 0  # codebook entries, or grid steps from zero to the largest value
    mantissa: int = 3  # explicit mantissa bits of codebook entries and steps

    def __str__(self) -> str:
        return self.kind if self.kind == "zero" else f"{self.kind}-{self.levels}"


def has_small_codebook(tensor: torch.Tensor) -> bool:
    """True where the nonzeros already repeat among few values: a quantised layer, say."""
    values = tensor[tensor != 0]
    distinct = len(torch.unique(values))
    return 0 < distinct <= SMALL_CODEBOOK and REPEATS * distinct <= len(values)


def quantize(tensor: torch.Tensor, precision: Precision) -> tuple[torch.Tensor, Choice]:
    """`tensor` at this precision and how to code the outcome: for very many values, as the encoder
    finds best."""
    if precision.kind == "zero":
        return torch.zeros_like(tensor), Choice("empty")
    nonzero = tensor != 0
    values = tensor[nonzero].double().numpy()
    if not len(values):
        return torch.zeros_like(tensor), Choice("empty")
    if precision.kind == "codebook":
        quantized, choice = _to_codebook(values, precision, tensor.dtype)
    else:
        quantized, choice = _to_grid(values, precision, tensor.dtype)
    out = torch.zeros_like(tensor)
    out[nonzero] = quantized
    return out, choice if len(values) <= SEQUENTIAL_VALUES else Choice()


def shorten(values: NDArray[np.float64], mantissa: int, dtype: torch.dtype) -> torch.Tensor:
    """The nearest values of `dtype` with at most `mantissa` explicit mantissa bits."""
    fraction, exponent = np.frexp(values)
    scale = float(1 << (mantissa + 1))
    short = np.ldexp(np.rint(fraction * scale) / scale, exponent)
    return torch.from_numpy(np.asarray(short)).to(dtype)


def _to_codebook(
    values: NDArray[np.float64], precision: Precision, dtype: torch.dtype
) -> tuple[torch.Tensor, Choice]:
    """Lloyd's algorithm in one dimension from quantiles; entries rounded, then reassigned."""
    book = np.unique(np.quantile(values, (np.arange(precision.levels) + 0.5) / precision.levels))
    for _ in range(LLOYD_ROUNDS):
        nearest = _nearest(values, book)
        sums = np.bincount(nearest, values, len(book))
        counts = np.bincount(nearest, minlength=len(book))
        moved = np.where(counts > 0, sums / np.maximum(counts, 1), book)
        if np.array_equal(moved, book):
            break
        book = np.sort(moved)
    short = torch.unique(shorten(book, precision.mantissa, dtype))
    short = short[short.isfinite() & (short != 0)]
    if not len(short):  # values too small or too large for the dtype's short numbers
        short = torch.unique(torch.from_numpy(values).to(dtype))[:1]
    index = _nearest(values, short.double().numpy())
    return short[torch.from_numpy(index)], Choice(values="codebook")


def _to_grid(
    values: NDArray[np.float64], precision: Precision, dtype: torch.dtype
) -> tuple[torch.Tensor, Choice]:
    """Multiples ±1 … ±levels of one step: the step of least squared error among a few."""
    largest = np.abs(values).max()
    best: tuple[float, torch.Tensor, int] | None = None
    for share in np.linspace(0.5, 1.0, 11):
        step = shorten(np.array([share * largest / precision.levels]), precision.mantissa, dtype)
        width = float(step.double()[0])
        if width == 0:
            continue
        sizes = np.clip(np.rint(np.abs(values) / width), 1, precision.levels)
        rounded = torch.from_numpy(np.sign(values) * sizes * width).to(dtype)
        error = float(((rounded.double().numpy() - values) ** 2).sum())
        if best is None or error < best[0]:
            best = (error, rounded, int(to_patterns(step)[0]))
    if best is None:
        return torch.from_numpy(values).to(dtype), Choice()
    return best[1], Choice(values="grid", step=best[2])


def _nearest(values: NDArray[np.float64], book: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the nearest entry of an increasing codebook; halfway goes to the lower."""
    return np.searchsorted((book[1:] + book[:-1]) / 2, values).astype(np.int64)
