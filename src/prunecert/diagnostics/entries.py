"""Are the entries of a weight matrix independent Gaussians of mean 0? Effect sizes (THEORY 4).

Everything is in units of √Ψ, Ψ the variance that Bernoulli pruning divides by: the population
variance about the mean, zeros included (`prunecert.pruning.bernoulli`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prunecert.bounds.layerwise import Floats, matrix
from prunecert.types import InputError

TAIL = 3.0  # standard deviations
EQUAL = 1e12  # entries this many deviations from 0 differ by little more than rounding
SUBSAMPLE, SUBSAMPLE_SEED = 2_000, 0
GAUSSIAN_QUANTILES = np.linspace(-4.0, 4.0, 41)
TOP = 0.01  # share of the rows or columns that `Lines.top_share` sums over


@dataclass(frozen=True)
class Gaussianity:
    """How far the entries w, taken without their places, are from draws of N(0, Ψ)."""

    entries: int
    standard_deviation: float  # √Ψ, in the unit of the weights
    mean_in_deviations: float  # mean/√Ψ
    mean_in_errors: float  # mean over its standard error √(Ψ/entries)
    kolmogorov: float  # sup |F − F_Gaussian|
    excess_kurtosis: float  # about the mean; 0 for Gaussians
    tail_ratio: float  # share of |w| > 3√Ψ over the Gaussian's 0.0027
    quantiles: tuple[tuple[float, float], ...]  # (of N(0, 1), of w/√Ψ)
    p_value: float  # Kolmogorov's test of N(0, Ψ) on the subsample
    p_value_entries: int  # size of the subsample


@dataclass(frozen=True)
class Lines:
    """Energies Σw² of the rows (or of the columns) against independent entries."""

    lines: int
    length: int
    dispersion: float  # variance of the energies over what independent entries give: 1
    spread: float  # standard deviation of the energies beyond chance, over their mean
    top_share: float  # share of all energy in the ⌈1 %⌉ of the lines that have most
    zero_lines: int


@dataclass(frozen=True)
class Independence:
    """How far the entries are from being placed at random, and from having no direction."""

    rows: Lines
    columns: Lines
    edge_ratio: float  # ‖A‖₂ over the Marchenko–Pastur edge √Ψ(√out + √in)


def in_deviations(weight: ArrayLike) -> tuple[Floats, float]:
    """(weight/√Ψ, √Ψ); InputError where the weights do not vary."""
    values = matrix("weight", weight)
    with np.errstate(all="ignore"):
        deviation = float(values.std())
    if not (0.0 < deviation < math.inf and np.abs(values).max() <= EQUAL * deviation):
        raise InputError("weight must vary: the variance of its entries is 0, or not a number")
    return values / deviation, deviation


def gaussianity(weight: ArrayLike) -> Gaussianity:
    """Effect sizes of one layer against N(0, Ψ); only the p-value depends on the entries' places.

    weight: (out, in), finite, not all equal. Quantiles are read at 41 fixed Gaussian ones from
    −4 to 4, less those beyond 1/entries, which no entry can show. The p-value is of the exact
    Kolmogorov law for SUBSAMPLE entries (all, if there are fewer) at places that a fixed seed
    chooses; it ignores that Ψ was measured on them, so it is too large for small layers.

    Raises InputError otherwise. Source: Kolmogorov 1933. THEORY 4.

    >>> gaussianity([[1.0, -1.0]]).excess_kurtosis
    -2.0
    """
    from scipy.special import ndtr
    from scipy.stats import kstwo

    values, deviation = in_deviations(weight)
    ordered = np.sort(values, axis=None)
    n, mean = ordered.size, float(values.mean())
    chosen = np.random.default_rng(SUBSAMPLE_SEED).permutation(n)[:SUBSAMPLE]
    sample = np.sort(values.ravel()[chosen])
    levels = ndtr(GAUSSIAN_QUANTILES)
    seen = np.minimum(levels, 1.0 - levels) * n >= 1.0
    return Gaussianity(
        entries=n,
        standard_deviation=deviation,
        mean_in_deviations=mean,
        mean_in_errors=mean * math.sqrt(n),
        kolmogorov=_kolmogorov(ordered, ndtr(ordered)),
        excess_kurtosis=float(((values - mean) ** 4).mean()) - 3.0,
        tail_ratio=float((np.abs(values) > TAIL).mean() / (2.0 * ndtr(-TAIL))),
        quantiles=tuple(
            zip(GAUSSIAN_QUANTILES[seen].tolist(), np.quantile(ordered, levels[seen]).tolist())
        ),
        p_value=float(kstwo.sf(_kolmogorov(sample, ndtr(sample)), sample.size)),
        p_value_entries=sample.size,
    )


def _kolmogorov(ordered: Floats, gaussian: Floats) -> float:
    """sup |F − G| from the ordered entries and G at them."""
    steps = np.arange(ordered.size + 1) / ordered.size
    return float(max((steps[1:] - gaussian).max(), (gaussian - steps[:-1]).max()))


def independence(weight: ArrayLike) -> Independence:
    """Dispersion of row and column energies, and ‖A‖₂ against the Marchenko–Pastur edge.

    weight: (out, in), finite, not all equal. The dispersion of rows of c entries is the sample
    variance of Σ_j w² over c times the sample variance of w², both with divisor count − 1: its
    mean is exactly 1 when the entries are placed by a random permutation, so for independent
    entries of any one law. It is 1 by convention where nothing can vary: a single line, or
    entries of one magnitude. `spread` turns the excess into a size that does not grow with the
    matrix: √((dispersion − 1)·Var w²/c) over the mean of w², 0 where the dispersion is below 1;
    lines of unequal variances v have about std(v)/mean(v). Weights of inputs that never vary
    (border pixels) stay as initialised or decay to 0: cold columns, counted when exactly 0.

    Raises InputError otherwise. Sources: analysis of variance; Marchenko and Pastur 1967, with
    the edge as limit of ‖A‖₂ by Bai and Yin 1993. THEORY 4.

    >>> independence([[3.0, 3.0], [0.0, 0.0]]).rows.dispersion
    3.0
    """
    values, _ = in_deviations(weight)
    out, into = values.shape
    edge = math.sqrt(out) + math.sqrt(into)
    return Independence(
        rows=_lines(values**2),
        columns=_lines(values.T**2),
        edge_ratio=float(np.linalg.norm(values, 2)) / edge,
    )


def _lines(squares: Floats) -> Lines:
    lines, length = squares.shape
    energies = np.sort(squares.sum(axis=1))
    dispersion = spread = 0.0
    if lines == 1 or squares.max() == squares.min():
        dispersion = 1.0
    else:
        chance = length * float(squares.var(ddof=1))
        dispersion = float(energies.var(ddof=1)) / chance
        spread = math.sqrt(max(dispersion - 1.0, 0.0) * chance) / float(energies.mean())
    top = math.ceil(TOP * lines)
    return Lines(
        lines=lines,
        length=length,
        dispersion=dispersion,
        spread=spread,
        top_share=float(energies[-top:].sum() / energies.sum()),
        zero_lines=int((squares == 0.0).all(axis=1).sum()),
    )
