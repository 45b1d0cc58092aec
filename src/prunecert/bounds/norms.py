"""Spectral norms from above: what may stand inside an upper bound (THEORY 2.13).

Power iteration, Lanczos and randomised SVD approach ‖A‖₂ from below, so an upper bound that
multiplies them is none. Everything here is at least the true norm, rounding included.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunecert.bounds.layerwise import Floats, floats, matrix
from prunecert.inversions import require_number
from prunecert.types import InputError

# Far above the rounding of a float64 SVD, FFT or sum of the sizes met here (about size·1e-16).
OUTWARD = 1.0 + 1e-9
UNIT = 2.0**-53  # unit roundoff of float64


def spectral_norm_upper(weight: ArrayLike) -> float:
    """Upper bound on ‖A‖₂ by a float64 SVD.

    **Statement.** ‖A‖₂ <= the largest computed singular value times 1 + 1e-9, for every A with
    fewer than about 10⁵ rows or columns.

    **Symbols → arguments.** weight: A, finite. **Shapes.** (out, in). **Returns** a number >= 0.

    **Certified.** Standing: LAPACK's singular values are off by at most p(out, in)·2⁻⁵³·‖A‖₂,
    p a low-degree polynomial; `spectral_norm_certified` needs no such trust in an algorithm.

    **Fails loudly.** InputError where weight is not a finite matrix.

    **Source.** Golub and Van Loan, Matrix Computations, 4th edition, 2013, 8.6. THEORY 2.13.

    **Example.**

    >>> round(spectral_norm_upper([[3.0, 0.0], [0.0, -4.0]]), 6)
    4.0
    """
    return float(np.linalg.norm(matrix("weight", weight), 2)) * OUTWARD


def spectral_norm_certified(weight: ArrayLike) -> float:
    """Upper bound on ‖A‖₂ that a Cholesky factorisation proves.

    **Statement.** If floating-point Cholesky of fl((t² − slack)·I − AᵀA) runs to the end, then
    ‖A‖₂ < t, where slack covers the rounding of AᵀA (γ_m‖A‖_F²), of the subtraction (2⁻⁵²t²) and
    of the factorisation (γ_{k+1}/(1 − γ_{k+1}) times the trace), γ_j = j·2⁻⁵³/(1 − j·2⁻⁵³), for
    A of m rows and k columns, k <= m (Aᵀ otherwise). t starts just above the largest eigenvalue
    and grows until the factorisation succeeds.

    **Symbols → arguments, Shapes, Fails loudly.** As `spectral_norm_upper`.

    **Returns** t, rounded up. For 1000 × 1000 about 1e-10 of itself above the norm.

    **Certified.** Checked, by the factorisation itself: the estimate that t starts from may be
    wrong without harm. Standing: float64 arithmetic of IEEE 754, products without Strassen.

    **Source.** Rump, Verification of positive definiteness, BIT 46 (2006), Theorem 2.3 (mem).
    THEORY 2.13. Deviation: slack is doubled, which covers second-order terms and underflow.

    **Example.**

    >>> 5.0 <= spectral_norm_certified([[3.0, 0.0], [4.0, 0.0]]) < 5.0 + 1e-12
    True
    """
    tall = matrix("weight", weight)
    if tall.shape[0] < tall.shape[1]:
        tall = tall.T
    largest = float(np.abs(tall).max())
    if largest == 0.0:
        return 0.0
    scale = math.ldexp(1.0, math.frexp(largest)[1])  # a power of two: scaling does not round
    tall = tall / scale
    rows, columns = tall.shape
    gram = tall.T @ tall
    of_gram = _gamma(rows) * float(np.trace(gram))

    def slack(square: float) -> float:
        of_factor: float = _gamma(columns + 1) * columns * square + 2.0 * UNIT * square
        return 2.0 * (of_gram + of_factor)

    estimate = float(np.linalg.eigvalsh(gram)[-1])
    for attempt in range(60):
        square = estimate + math.ldexp(slack(estimate), attempt + 1)
        if _is_positive_definite((square - slack(square)) * np.eye(columns) - gram):
            return math.sqrt(square) * scale * (1.0 + 4.0 * UNIT)
    raise InputError("weight: no factorisation succeeded: expected a matrix of ordinary scale")


def _gamma(operations: int) -> float:
    return operations * UNIT / (1.0 - operations * UNIT)


def _is_positive_definite(symmetric: Floats) -> bool:
    try:
        np.linalg.cholesky(symmetric)
    except np.linalg.LinAlgError:
        return False
    return True


def spectral_norm_interpolated(weight: ArrayLike) -> float:
    """Upper bound on ‖A‖₂ that costs one pass: √(‖A‖₁‖A‖_∞).

    **Statement.** ‖A‖₂² <= (largest absolute column sum)·(largest absolute row sum).

    **Symbols → arguments, Shapes, Fails loudly.** As `spectral_norm_upper`. **Returns** a number
    >= 0, rounded up.

    **Certified.** No hypothesis.

    **Source.** Golub and Van Loan 2013, Corollary 2.3.2. THEORY 2.13.

    **Example.** Tight for a matrix of equal entries:

    >>> round(spectral_norm_interpolated([[1.0, 1.0], [1.0, 1.0]]), 6)
    2.0
    """
    sizes = np.abs(matrix("weight", weight))
    return math.sqrt(float(sizes.sum(0).max()) * float(sizes.sum(1).max())) * OUTWARD


def convolution_norm_upper(kernel: ArrayLike, height: int, width: int) -> float:
    """Upper bound on the spectral norm of a convolution, any stride, zero padding.

    **Statement.** For inputs of height × width pixels the linear map x ↦ K∗x (stride >= 1, zero
    padding >= 0, no dilation) has ‖K∗‖₂ <= max over the frequencies of a grid of
    (height + k_h − 1) × (width + k_w − 1) of the spectral norm of the (out, in) matrix K̂. On that
    grid circular convolution does not wrap, so it contains every output as one of its own. The
    smaller height × width grid is not an upper bound: it samples the same function more coarsely.

    **Symbols → arguments.** kernel: finite · height, width: of the input, integers >= 1.

    **Shapes.** kernel (out, in, k_h, k_w); a grouped one as its block-diagonal kernel, a dilated
    one with its zeros written out. **Returns** a number >= 0, rounded up by the factor 1 + 1e-9.

    **Certified.** Standing: the rounding of FFT and SVD is below 1e-9 of the norm.

    **Fails loudly.** InputError where kernel is not of four axes or a size is not an integer >= 1.

    **Source.** Sedghi, Gupta and Long, ICLR 2019, arXiv:1805.10408 (circular convolution).
    THEORY 2.13. Deviation: the grid, which makes it hold for zero padding.

    **Example.** One pixel and one channel: a scalar.

    >>> round(convolution_norm_upper([[[[-3.0]]]], 5, 5), 6)
    3.0
    """
    values = floats("kernel", kernel)
    if values.ndim != 4 or values.size == 0:
        raise InputError("kernel must have four axes: (out, in, height, width)")
    for name, size in (("height", height), ("width", width)):
        require_number(name, size, 1, 2**20, f"{name} >= 1, an integer")
        if size != int(size):
            raise InputError(f"{name} must be an integer >= 1, not {size!r}")
    grid = (int(height) + values.shape[2] - 1, int(width) + values.shape[3] - 1)
    return _largest_on_grid(values, grid) * OUTWARD


def _largest_on_grid(kernel: Floats, grid: tuple[int, int]) -> float:
    """Largest spectral norm of the channel matrix over the frequencies of a grid.

    A real kernel has conjugate values at opposite frequencies, so half of them are enough.
    """
    spectrum: NDArray[np.complex128] = np.fft.rfft2(kernel, s=grid, axes=(2, 3))
    return max(
        float(np.linalg.norm(row.transpose(2, 0, 1), 2, axis=(1, 2)).max())
        for row in np.moveaxis(spectrum, 2, 0)
    )
