"""The 34 measures of Dziugaite et al. 2020, arXiv:2010.11924, as one table of short functions.

All are order-only: they rank networks and bound nothing. Formulas and their equation numbers are
those of Jiang et al. 2020, arXiv:1912.02178; the list, the factors 1/n and the roots are those of
the second study's published code: √(x/n) of a measure x, ½(ln x − ln n) where ln x is meant,
which may be negative. W⁰ are the initial weights, gamma the 10th percentile of the margins.

Convolutions. The study takes the spectral norm of a layer twice: of its kernel as a matrix
(out, in·kh·kw), which is not the norm of the convolution, and by FFT. Rows named `…-fft` read the
upper bound of `norms.convolution_norm_upper` at the size of the layer's own input; the study has
the size of the image at every layer, on a grid that is no bound under zero padding. Frobenius
norms are of the kernel in both, as there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from prunecert.bounds.layerwise import Floats
from prunecert.bounds.measure_arguments import EQUATIONS, MEASURES, measure

__all__ = ["EQUATIONS", "MEASURES"]  # filled by `measure` below

EPSILON = 1e-3  # of the study: the noise that a weight of 0 still has
CONFIDENCE = 10.0  # of the study: stands for the logarithm of the failure probability


def _log_squares(norms: Floats) -> Any:
    """ln ∏‖W_l‖²."""
    return 2.0 * np.log(norms).sum()


def _halved(log_value: Any, n: Any) -> Any:
    """How the study scales a logarithm."""
    return 0.5 * (log_value - np.log(n))


# --------------------------------------------------------------------------- size and output


@measure("equation (20)")
def params(parameters: int, n: int) -> Any:
    """number of weights: √(omega/n).

    >>> params(100, 4)
    5.0
    """
    return np.sqrt(parameters / n)


@measure("equation (22)")
def inverse_margin(margin: float, n: int) -> Any:
    """inverse of the margin: √(1/(gamma²n)).

    >>> inverse_margin(0.5, 4)
    1.0
    """
    return np.sqrt(1.0 / margin**2 / n)


# --------------------------------------------------------------------------- norms of layers


@measure("equation (29)")
def log_spec_init_main(
    spectral_norm: Floats, distance_frobenius_norm: Floats, margin: float, n: int
) -> Any:
    """spectral bound from the initial weights: ½ ln(∏‖W_l‖₂²·Σ‖W_l − W_l⁰‖_F²/‖W_l‖₂²/(gamma²n)).

    >>> log_spec_init_main([2.0], [1.0], 1.0, 1)
    0.0
    """
    ratios = np.log(((distance_frobenius_norm / spectral_norm) ** 2).sum())
    return _halved(_log_squares(spectral_norm) - 2.0 * np.log(margin) + ratios, n)


@measure("equation (30)")
def log_spec_orig_main(spectral_norm: Floats, frobenius_norm: Floats, margin: float, n: int) -> Any:
    """spectral bound from the origin: ½ ln(∏‖W_l‖₂²·Σ‖W_l‖_F²/‖W_l‖₂²/(gamma²n)).

    >>> log_spec_orig_main([2.0], [2.0], 2.0, 1)
    0.0
    """
    ratios = np.log(((frobenius_norm / spectral_norm) ** 2).sum())
    return _halved(_log_squares(spectral_norm) - 2.0 * np.log(margin) + ratios, n)


@measure("equation (31)")
def log_prod_of_spec_over_margin(spectral_norm: Floats, margin: float, n: int) -> Any:
    """product of spectral norms over the margin: ½ ln(∏‖W_l‖₂²/(gamma²n)).

    >>> log_prod_of_spec_over_margin([2.0, 3.0], 6.0, 1)
    0.0
    """
    return _halved(_log_squares(spectral_norm) - 2.0 * np.log(margin), n)


@measure("equation (32)")
def log_prod_of_spec(spectral_norm: Floats, n: int) -> Any:
    """product of spectral norms: ½ ln(∏‖W_l‖₂²/n).

    >>> log_prod_of_spec([1.0, 1.0], 1)
    0.0
    """
    return _halved(_log_squares(spectral_norm), n)


@measure("equation (33)")
def fro_over_spec(frobenius_norm: Floats, spectral_norm: Floats, n: int) -> Any:
    """stable ranks: √(Σ‖W_l‖_F²/‖W_l‖₂²/n).

    >>> fro_over_spec([4.0], [2.0], 1)
    2.0
    """
    return np.sqrt(((frobenius_norm / spectral_norm) ** 2).sum() / n)


@measure("equation (34)")
def log_sum_of_spec_over_margin(spectral_norm: Floats, margin: float, n: int) -> Any:
    """mean spectral norm over the margin: ½ ln(d·(∏‖W_l‖₂²/gamma²)^{1/d}/n).

    >>> log_sum_of_spec_over_margin([3.0], 3.0, 1)
    0.0
    """
    mean = (_log_squares(spectral_norm) - 2.0 * np.log(margin)) / spectral_norm.size
    return _halved(np.log(spectral_norm.size) + mean, n)


@measure("equation (35)")
def log_sum_of_spec(spectral_norm: Floats, n: int) -> Any:
    """mean spectral norm: ½ ln(d·∏‖W_l‖₂^{2/d}/n).

    >>> log_sum_of_spec([1.0, 1.0], 2)
    0.0
    """
    mean = _log_squares(spectral_norm) / spectral_norm.size
    return _halved(np.log(spectral_norm.size) + mean, n)


@measure("equation (36)")
def log_prod_of_fro_over_margin(frobenius_norm: Floats, margin: float, n: int) -> Any:
    """product of Frobenius norms over the margin: ½ ln(∏‖W_l‖_F²/(gamma²n)).

    >>> log_prod_of_fro_over_margin([2.0, 3.0], 6.0, 1)
    0.0
    """
    return _halved(_log_squares(frobenius_norm) - 2.0 * np.log(margin), n)


@measure("equation (37)")
def log_prod_of_fro(frobenius_norm: Floats, n: int) -> Any:
    """product of Frobenius norms: ½ ln(∏‖W_l‖_F²/n).

    >>> log_prod_of_fro([1.0, 1.0], 1)
    0.0
    """
    return _halved(_log_squares(frobenius_norm), n)


@measure("equation (38)")
def log_sum_of_fro_over_margin(frobenius_norm: Floats, margin: float, n: int) -> Any:
    """mean Frobenius norm over the margin: ½ ln(d·(∏‖W_l‖_F²/gamma²)^{1/d}/n).

    >>> log_sum_of_fro_over_margin([3.0], 3.0, 1)
    0.0
    """
    mean = (_log_squares(frobenius_norm) - 2.0 * np.log(margin)) / frobenius_norm.size
    return _halved(np.log(frobenius_norm.size) + mean, n)


@measure("equation (39)")
def log_sum_of_fro(frobenius_norm: Floats, n: int) -> Any:
    """mean Frobenius norm: ½ ln(d·∏‖W_l‖_F^{2/d}/n).

    >>> log_sum_of_fro([1.0, 1.0], 2)
    0.0
    """
    mean = _log_squares(frobenius_norm) / frobenius_norm.size
    return _halved(np.log(frobenius_norm.size) + mean, n)


@measure("equation (40)")
def fro_dist(distance_frobenius_norm: Floats, n: int) -> Any:
    """distance from the initial weights, Frobenius: √(Σ‖W_l − W_l⁰‖_F²/n).

    >>> fro_dist([3.0, 4.0], 1)
    5.0
    """
    return np.sqrt((distance_frobenius_norm**2).sum() / n)


@measure("equation (41)")
def dist_spec_init(distance_spectral_norm: Floats, n: int) -> Any:
    """distance from the initial weights, spectral: √(Σ‖W_l − W_l⁰‖₂²/n).

    >>> dist_spec_init([3.0, 4.0], 1)
    5.0
    """
    return np.sqrt((distance_spectral_norm**2).sum() / n)


@measure("equation (42)")
def param_norm(frobenius_norm: Floats, n: int) -> Any:
    """size of all weights: √(Σ‖W_l‖_F²/n).

    >>> param_norm([3.0, 4.0], 1)
    5.0
    """
    return np.sqrt((frobenius_norm**2).sum() / n)


@measure("equation (43)")
def path_norm_over_margin(path_norm: float, margin: float, n: int) -> Any:
    """path norm over the margin: √(Σ over paths of ∏ w²/(gamma²n)).

    >>> path_norm_over_margin(16.0, 2.0, 1)
    2.0
    """
    return np.sqrt(path_norm / margin**2 / n)


@measure("equation (44)")
def path_norm(path_norm: float, n: int) -> Any:
    """path norm: √(Σ over paths of ∏ w²/n).

    >>> path_norm(16.0, 4)
    2.0
    """
    return np.sqrt(path_norm / n)


# --------------------------------------------------------------------------- flatness


def _pac_bayes(norms: Floats, sigma: Any, n: Any) -> Any:
    penalty = (norms**2).sum() / (4.0 * sigma**2)
    return np.sqrt((penalty + np.log(n / sigma) + CONFIDENCE) / n)


@measure("equation (48)")
def pacbayes_init(distance_frobenius_norm: Floats, sigma: float, n: int) -> Any:
    """flatness and distance: √((‖w − w⁰‖²/(4sigma²) + ln(n/sigma) + 10)/n).

    >>> round(pacbayes_init([12.0], 1.0, 1) ** 2, 9)
    46.0
    """
    return _pac_bayes(distance_frobenius_norm, sigma, n)


@measure("equation (49)")
def pacbayes_orig(frobenius_norm: Floats, sigma: float, n: int) -> Any:
    """flatness and size: √((‖w‖²/(4sigma²) + ln(n/sigma) + 10)/n).

    >>> round(pacbayes_orig([12.0], 1.0, 1) ** 2, 9)
    46.0
    """
    return _pac_bayes(frobenius_norm, sigma, n)


@measure("equation (53)")
def pacbayes_flatness(sigma: float, n: int) -> Any:
    """flatness: √(1/(sigma²n)).

    >>> pacbayes_flatness(0.5, 4)
    1.0
    """
    return np.sqrt(1.0 / sigma**2 / n)


def _pac_bayes_magnitude(norms: Floats, parameters: Any, sigma: Any, log_sum: Any, n: Any) -> Any:
    scale = EPSILON**2 + (sigma**2 + 1.0) * (norms**2).sum() / parameters
    sum_of_logs = parameters * np.log(scale) - log_sum
    return np.sqrt((0.25 * sum_of_logs + np.log(n / sigma) + CONFIDENCE) / n)


@measure("equation (56)")
def pacbayes_mag_init(
    distance_frobenius_norm: Floats,
    parameters: int,
    magnitude_sigma: float,
    magnitude_log_sum: float,
    n: int,
) -> Any:
    """flatness by magnitude and distance: √((¼Σ_i ln(A/B_i) + ln(n/sigma) + 10)/n) with
    A = epsilon² + (sigma² + 1)‖w − w⁰‖²/omega and B_i = epsilon² + sigma²(w_i − w_i⁰)².

    >>> round(pacbayes_mag_init([0.0], 1, 1.0, 2 * float(np.log(EPSILON)), 1) ** 2, 9)
    10.0
    """
    return _pac_bayes_magnitude(
        distance_frobenius_norm, parameters, magnitude_sigma, magnitude_log_sum, n
    )


@measure("equation (57)")
def pacbayes_mag_orig(
    frobenius_norm: Floats,
    parameters: int,
    magnitude_sigma: float,
    magnitude_log_sum: float,
    n: int,
) -> Any:
    """flatness by magnitude and size: √((¼Σ_i ln(A/B_i) + ln(n/sigma) + 10)/n) with
    A = epsilon² + (sigma² + 1)‖w‖²/omega and B_i = epsilon² + sigma²(w_i − w_i⁰)².

    >>> round(pacbayes_mag_orig([1.0], 1, 1.0, float(np.log(EPSILON**2 + 2)), 1) ** 2, 9)
    10.0
    """
    return _pac_bayes_magnitude(frobenius_norm, parameters, magnitude_sigma, magnitude_log_sum, n)


@measure("equation (61)")
def pacbayes_mag_flatness(magnitude_sigma: float, n: int) -> Any:
    """flatness by magnitude: √(1/(sigma²n)).

    >>> pacbayes_mag_flatness(0.5, 4)
    1.0
    """
    return np.sqrt(1.0 / magnitude_sigma**2 / n)


# --------------------------------------------------------------------------- of the second study


@measure("no equation: `L2`")
def l2(frobenius_norm: Floats, n: int) -> Any:
    """length of the weights: √(‖w‖/n).

    >>> l2([3.0, 4.0], 5)
    1.0
    """
    return np.sqrt(np.sqrt((frobenius_norm**2).sum()) / n)


@measure("no equation: `L2_DIST`")
def l2_dist(distance_frobenius_norm: Floats, n: int) -> Any:
    """length of the way from the initial weights: √(‖w − w⁰‖/n).

    >>> l2_dist([3.0, 4.0], 5)
    1.0
    """
    return np.sqrt(np.sqrt((distance_frobenius_norm**2).sum()) / n)
