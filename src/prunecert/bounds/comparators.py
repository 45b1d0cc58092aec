"""Capacity measures the seed paper is compared with, one short function each (THEORY 1.10).

All are order-only: constants, logarithms and the sample size n are suppressed, so they rank
networks and bound nothing. `margin` is gamma > 0; where the smallest margin of the sample is not
positive none of them says anything. Norms are lists (L,), one entry per layer, > 0; results are
numbers > 0 without unit, not rounded; InputError names an argument that is out of its range.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from prunecert.bounds.layerwise import Floats, per_layer
from prunecert.inversions import require_number
from prunecert.types import InputError


def _require_margin(margin: float) -> None:
    require_number("margin", margin, math.ulp(0.0), 1e300, "margin > 0, finite")


def _product_squared(norms: Floats, margin: float) -> float:
    """∏‖A^l‖²/gamma²."""
    _require_margin(margin)
    return float((norms.prod() / margin) ** 2)


def neyshabur_2015(frobenius_norm: ArrayLike, margin: float) -> float:
    """Order-only: product of Frobenius norms.

    **Statement.** (1/gamma²)·∏‖A^l‖_F². **Symbols → arguments.** ‖A^l‖_F, gamma.

    **Source.** Neyshabur, Tomioka and Srebro 2015, arXiv:1503.00036. Deviation: the theorem has a
    further factor exponential in L.

    **Example.** 2²·3²/2²:

    >>> neyshabur_2015([2.0, 3.0], 2.0)
    9.0
    """
    (frobenius,) = per_layer(frobenius_norm=frobenius_norm)
    return _product_squared(frobenius, margin)


def bartlett_2017(spectral_norm: ArrayLike, norm_2_1: ArrayLike, margin: float) -> float:
    """Order-only: spectral norms and row norms, as plotted by the seed paper, with the right norm.

    **Statement.** (1/gamma²)·∏‖A^l‖₂²·Σ a_l², a_l = ‖(A^l)ᵀ‖_{2,1}/‖A^l‖₂. **Symbols →
    arguments.** ‖A^l‖₂; ‖(A^l)ᵀ‖_{2,1}, sum over output units of the l2 norm of the incoming
    weights; gamma.

    **Source.** Bartlett, Foster and Telgarsky 2017, arXiv:1706.08498. Deviation: see
    `bartlett_2017_theorem` for the exponents in print.

    **Example.** (2/1)²·(6/2)²:

    >>> bartlett_2017([2.0], [6.0], 1.0)
    36.0
    """
    spectral, rows = per_layer(spectral_norm=spectral_norm, norm_2_1=norm_2_1)
    return _product_squared(spectral, margin) * float(((rows / spectral) ** 2).sum())


def bartlett_2017_as_coded(
    spectral_norm: ArrayLike, frobenius_norm: ArrayLike, margin: float
) -> float:
    """Order-only: `bartlett_2017` as the seed paper's code computes it, with another norm.

    **Statement.** (1/gamma²)·∏‖A^l‖₂²·Σ a_l², a_l = ‖A^l‖_F/‖A^l‖₂: what the code calls
    `lpq_norm(·, 1, 2)` is the Frobenius norm. **Symbols → arguments.** ‖A^l‖₂, ‖A^l‖_F, gamma.

    **Source.** Guha, Dubey and Huo, arXiv:2305.18789v2, experiment code. Not in the literature.

    **Example.** (2/1)²·(3/2)²:

    >>> bartlett_2017_as_coded([2.0], [3.0], 1.0)
    9.0
    """
    spectral, entries = per_layer(spectral_norm=spectral_norm, frobenius_norm=frobenius_norm)
    return _product_squared(spectral, margin) * float(((entries / spectral) ** 2).sum())


def bartlett_2017_theorem(spectral_norm: ArrayLike, norm_2_1: ArrayLike, margin: float) -> float:
    """Order-only: spectral complexity with the exponents in print, squared over the margin.

    **Statement.** (R_A/gamma)², R_A = ∏‖A^l‖₂·(Σ a_l^{2/3})^{3/2}, a_l = ‖(A^l)ᵀ‖_{2,1}/‖A^l‖₂.
    **Symbols → arguments.** As `bartlett_2017`.

    **Source.** Bartlett, Foster and Telgarsky 2017, arXiv:1706.08498, Theorem 1.1. Deviation:
    squared, for the scale of the others; reference matrices are 0.

    **Example.** Two layers with a = 1: (1·2^{3/2})² = 8.

    >>> round(bartlett_2017_theorem([1.0, 1.0], [1.0, 1.0], 1.0), 9)
    8.0
    """
    spectral, rows = per_layer(spectral_norm=spectral_norm, norm_2_1=norm_2_1)
    ratios = float(((rows / spectral) ** (2.0 / 3.0)).sum())
    return _product_squared(spectral, margin) * ratios**3


def neyshabur_2018(
    fan_in: ArrayLike, spectral_norm: ArrayLike, frobenius_norm: ArrayLike, margin: float
) -> float:
    """Order-only: spectral norms and stable ranks, as the seed paper's code computes it.

    **Statement.** (1/gamma²)·∏‖A^l‖₂²·Σ h_l·‖A^l‖_F²/‖A^l‖₂², h_l the fan-in. **Symbols →
    arguments.** h_l, integers >= 1; ‖A^l‖₂; ‖A^l‖_F; gamma.

    **Source.** Neyshabur, Bhojanapalli and Srebro 2018, arXiv:1707.09564, as coded by Guha, Dubey
    and Huo. Deviation: h_l per layer; `neyshabur_2018_theorem` has the factors in print.

    **Example.** (2/1)²·5·(3/2)²:

    >>> neyshabur_2018([5], [2.0], [3.0], 1.0)
    45.0
    """
    widths, spectral, entries = per_layer(
        fan_in=fan_in, spectral_norm=spectral_norm, frobenius_norm=frobenius_norm
    )
    return _product_squared(spectral, margin) * float((widths * (entries / spectral) ** 2).sum())


def neyshabur_2018_theorem(
    fan_out: ArrayLike,
    spectral_norm: ArrayLike,
    frobenius_norm: ArrayLike,
    input_norm: float,
    margin: float,
) -> float:
    """Order-only: spectral norms and stable ranks with the factors in print.

    **Statement.** B²·L²·h·ln(L·h)·∏‖A^l‖₂²·Σ‖A^l‖_F²/‖A^l‖₂²/gamma², h the largest number of
    outputs of a layer. **Symbols → arguments.** fan_out: integers >= 1; ‖A^l‖₂; ‖A^l‖_F;
    input_norm: B >= 0; gamma.

    **Source.** Neyshabur, Bhojanapalli and Srebro 2018, arXiv:1707.09564, Theorem 1. Deviation:
    the root, n and the confidence term are suppressed.

    **Example.** One layer of one unit has ln 1 = 0:

    >>> neyshabur_2018_theorem([1], [2.0], [3.0], 1.0, 1.0)
    0.0
    """
    outputs, spectral, entries = per_layer(
        fan_out=fan_out, spectral_norm=spectral_norm, frobenius_norm=frobenius_norm
    )
    require_number("input_norm", input_norm, 0.0, 1e300, "input_norm >= 0, finite")
    layers, widest = spectral.size, float(outputs.max())
    factors = (input_norm * layers) ** 2 * widest * math.log(layers * widest)
    ranks = float(((entries / spectral) ** 2).sum())
    return factors * _product_squared(spectral, margin) * ranks


def arora_2018(
    layer_cushion: ArrayLike,
    interlayer_cushion: ArrayLike,
    contraction: float,
    output_norm: float,
    smoothness: float,
    margin: float,
) -> float:
    """Order-only: compressibility from measured noise cushions.

    **Statement.** c²·L²·max‖f(x)‖²·Σ 1/(mu_l²·mu_{l→}²)/gamma², for smoothness rho >= 3L.
    **Symbols → arguments.** mu_l, mu_{l→} in (0, 1]; contraction: c >= 1; output_norm:
    max‖f(x)‖₂ >= 0; smoothness: rho >= 3L; gamma. See `Cushions`.

    **Fails loudly.** InputError also where rho < 3L: the theorem says nothing there.

    **Source.** Arora, Ge, Neyshabur and Zhang 2018, arXiv:1802.05296, Theorem 4.1 (mem).

    **Example.** One layer: 2²·1²·3²·1/(½²·1²)/1².

    >>> arora_2018([0.5], [1.0], 2.0, 3.0, 3.0, 1.0)
    144.0
    """
    layer, interlayer = per_layer(
        layer_cushion=layer_cushion, interlayer_cushion=interlayer_cushion
    )
    require_number("contraction", contraction, 1.0, 1e300, "contraction >= 1, finite")
    require_number("output_norm", output_norm, 0.0, 1e300, "output_norm >= 0, finite")
    require_number("smoothness", smoothness, 0.0, 1e300, "smoothness >= 0, finite")
    _require_margin(margin)
    if smoothness < 3.0 * layer.size:
        raise InputError(
            f"smoothness {smoothness:g} is below 3L = {3 * layer.size}, which the theorem needs"
        )
    sensitivity = float((1.0 / (layer * interlayer) ** 2).sum())
    return float(np.square(contraction * layer.size * output_norm / margin)) * sensitivity
