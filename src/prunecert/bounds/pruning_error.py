"""How large is what Bernoulli magnitude-based pruning removes? (THEORY 1.2, 1.3)

Δ = A − Â has the entry w where w was dropped and 0 where it was kept. None of these is a
statement about the sample S: probability is over the draw of the mask (and, in the Gaussian
forms, of the weights). A mask drawn again until it looks good voids them all.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from prunecert.bounds.layerwise import Floats, floats, matrix, per_layer, probabilities
from prunecert.bounds.norms import OUTWARD, spectral_norm_upper
from prunecert.inversions import SLACK, require_number, require_open_unit
from prunecert.types import InputError

D_LEGAL = (0.0, 1e12, "0 <= pruning_d <= 1e12")


def drop_share(pruning_d: float) -> float:
    """P(drop) = √(d/(d+2)) of a Gaussian weight at d >= 0; 1 − chi.

    >>> drop_share(2.0) == math.sqrt(0.5)
    True
    """
    require_number("pruning_d", pruning_d, *D_LEGAL)
    return math.sqrt(pruning_d / (pruning_d + 2.0))


def kept_fraction_expected(pruning_d: float) -> float:
    """Expected fraction chi = 1 − √(d/(d+2)) of the weights kept, for Gaussian weights.

    **Statement.** For w ~ N(0, Ψ), any Ψ, kept with probability 1 − exp(−w²/(d·Ψ)): P[kept] = chi.

    **Symbols → arguments.** pruning_d: d, >= 0. **Shapes.** Numbers.

    **Returns** the expectation, not rounded: a prediction, not a bound.

    **Order-only.** The weights are assumed Gaussian; the fraction of one draw scatters around it.

    **Fails loudly.** InputError where d is out of its range.

    **Source.** Guha, Dubey and Huo, arXiv:2305.18789v2. THEORY 1.2.

    **Example.** √(d/(d+2)) = 1/2 at d = 2/3:

    >>> round(kept_fraction_expected(2 / 3), 12)
    0.5
    """
    return 1.0 - drop_share(pruning_d)


def removed_second_moment(pruning_d: float, variance: ArrayLike) -> Floats:
    """EΔ² = Ψ(d/(d+2))^{3/2} of one entry, for weights w ~ N(0, Ψ); EΔ = 0 (THEORY 1.2).

    variance: Ψ > 0, one per layer.

    >>> removed_second_moment(2.0, [8.0]).round(6).tolist()
    [2.828427]
    """
    (psi,) = per_layer(variance=variance)
    return np.asarray(psi * drop_share(pruning_d) ** 3)


def removed_fourth_moment(pruning_d: float, variance: ArrayLike) -> Floats:
    """EΔ⁴ = 3Ψ²(d/(d+2))^{5/2} of one entry, for weights w ~ N(0, Ψ) (THEORY 1.2).

    >>> removed_fourth_moment(2.0, [8.0]).round(6).tolist()
    [33.941125]
    """
    (psi,) = per_layer(variance=variance)
    return np.asarray(3.0 * psi**2 * drop_share(pruning_d) ** 5)


def removed_norm_latala(
    fan_out: ArrayLike, fan_in: ArrayLike, pruning_d: float, variance: ArrayLike
) -> Floats:
    """Order-only size Gamma_l of ‖Δ^l‖₂ for Gaussian weights, per layer.

    **Statement.** For w ~ N(0, Ψ_l) i.i.d.: E‖Δ^l‖₂ <= C·Gamma_l with a universal C that the
    source does not give, Gamma_l = √(EΔ²)·(√d_{l−1} + √d_l) + (EΔ⁴·d_{l−1}·d_l)^{1/4}; by
    Markov's inequality ‖Δ^l‖₂ <= epsilon_l·C·Gamma_l with probability >= 1 − 1/epsilon_l.

    **Symbols → arguments.** fan_out, fan_in: d_l, d_{l−1}, integers >= 1 · pruning_d: d, >= 0 ·
    variance: Ψ_l > 0.

    **Shapes.** L layers: lists (L,), a number, (L,); the result is (L,).

    **Returns** Gamma_l, in the unit of the weights, not rounded: C = 1 is not proven.

    **Order-only.** C is unspecified, and the weights are assumed Gaussian.

    **Fails loudly.** InputError where lists differ in length or a number is out of its range.

    **Source.** Guha, Dubey and Huo, arXiv:2305.18789v2; Latała, Proc. AMS 133 (2005). THEORY 1.3.
    Their published code never evaluates it.

    **Example.** One entry, d = 2, Ψ = 8: 2√(8·2^{−3/2}) + (3·64·2^{−5/2})^{1/4}.

    >>> removed_norm_latala([1], [1], 2.0, [8.0]).round(6).tolist()
    [5.777276]
    """
    rows, columns, psi = per_layer(fan_out=fan_out, fan_in=fan_in, variance=variance)
    second = removed_second_moment(pruning_d, psi)
    fourth = removed_fourth_moment(pruning_d, psi)
    return np.asarray(
        np.sqrt(second) * (np.sqrt(columns) + np.sqrt(rows)) + (fourth * rows * columns) ** 0.25
    )


def removed_norm_gaussian(
    fan_out: ArrayLike, fan_in: ArrayLike, pruning_d: float, variance: ArrayLike, delta: float
) -> Floats:
    """Upper bounds on ‖Δ^l‖₂ of all layers at once, for Gaussian weights.

    **Statement.** For weights w ~ N(0, Ψ_l), all independent, and any d: with probability >=
    1 − delta over weights and masks, for all L layers at once, ‖Δ^l‖₂ <=
    √(Ψ_l d/(d+2))·(√d_l + √d_{l−1} + √(2 ln(L/delta))). Given the mask, dropped weights are
    N(0, Ψ_l d/(d+2)); filling up the kept places only enlarges the mean norm (Jensen), and the
    norm is a 1-Lipschitz function of the dropped weights.

    **Symbols → arguments.** As `removed_norm_latala`, and 0 < delta < 1, delta/L for each layer.

    **Shapes.** Lists (L,), pruning_d and delta numbers; the result is (L,).

    **Returns** norms in the unit of the weights, rounded up.

    **Assumed.** The weights are independent Gaussians of mean 0 and known variance Ψ_l. *By
    construction*: the mask is drawn independently. *Declared*: it is the first draw.

    **Fails loudly.** InputError where lists differ in length or a number is out of its range.

    **Source.** Davidson and Szarek 2001, Theorem II.13. THEORY 1.3 (with its proof). Deviation:
    a union bound over the layers.

    **Example.** d = 2, Ψ = 2, delta = e^{−2}, one entry: 1·(1 + 1 + 2).

    >>> removed_norm_gaussian([1], [1], 2.0, [2.0], math.exp(-2)).round(6).tolist()
    [4.0]
    """
    rows, columns, psi = per_layer(fan_out=fan_out, fan_in=fan_in, variance=variance)
    require_open_unit("delta", delta)
    spread = np.sqrt(psi) * drop_share(pruning_d)
    tail = math.sqrt(2.0 * (math.log(rows.size) - math.log(delta)))
    return np.asarray(spread * (np.sqrt(rows) + np.sqrt(columns) + tail) * (1.0 + SLACK))


def removed_norm_bernstein(weight: ArrayLike, drop_probability: ArrayLike, delta: float) -> float:
    """Upper bound on ‖Δ‖₂ of one layer for its trained weights, whatever they are: Bernstein.

    **Statement.** For every matrix W and probabilities p fixed before the mask: with probability
    >= 1 − delta over the mask (entry ij dropped with probability p_ij, independently),
    ‖Δ‖₂ <= ‖W∘p‖₂ + t, t = Mℓ/3 + √((Mℓ/3)² + 2vℓ), ℓ = ln((d_l + d_{l−1})/delta),
    v = the largest row or column sum of w²p(1−p), M = max of |w|·max(p, 1−p) over the entries
    with 0 < p < 1 (the others are not random).

    **Symbols → arguments.** weight: W, finite · drop_probability: p, in [0, 1] · 0 < delta < 1.

    **Shapes.** (out, in), (out, in), a number. **Returns** a norm in the unit of the weights,
    rounded up by the factor 1 + 1e-9 (‖W∘p‖₂ enters as `spectral_norm_upper`).

    **Certified** over the draw of the mask, given the weights; nothing is said about the sample.
    By construction: independent drops with these probabilities. Declared: the first draw.

    **Fails loudly.** InputError where shapes differ or a number is out of its range.

    **Source.** Tropp, arXiv:1004.4389, Theorem 1.6 (rectangular Bernstein). THEORY 1.3.
    Deviation: M is taken over the random entries only.

    **Example.** Nothing is random, everything is dropped: the norm itself.

    >>> round(removed_norm_bernstein([[3.0], [4.0]], [[1.0], [1.0]], 0.05), 6)
    5.0
    """
    values, p = _matching(weight, drop_probability)
    require_open_unit("delta", delta)
    _, t = _bernstein(values, p, delta)
    return spectral_norm_upper(values * p) + t * OUTWARD


def removed_norm_cumulants(weight: ArrayLike, drop_probability: ArrayLike, delta: float) -> float:
    """Upper bound on ‖Δ‖₂ of one layer for its trained weights, from exact cumulants.

    **Statement.** As `removed_norm_bernstein` with t = min over theta > 0 of
    (1/theta)·[ln(Σ_i e^{Σ_j g_ij} + Σ_j e^{Σ_i g_ij}) − ln delta], g_ij = the larger over both
    signs of ln(1 − p + p·e^{±theta·w}) ∓ theta·w·p. Never above `removed_norm_bernstein`.

    **Symbols → arguments, Shapes, Returns, Certified, Fails loudly.** As
    `removed_norm_bernstein`. theta is searched for numerically; it depends on W and p only, so
    any theta gives a valid bound.

    **Source.** Tropp, arXiv:1004.4389, Theorem 3.6 (master bound) and Section 4. THEORY 1.3.

    **Example.** One weight, dropped half of the time, is never further than all of it:

    >>> removed_norm_cumulants([[0.0]], [[0.5]], 0.05)
    0.0
    """
    values, p = _matching(weight, drop_probability)
    require_open_unit("delta", delta)
    start, t = _bernstein(values, p, delta)
    if t > 0.0:
        t = _master_bound(values, p, delta, start)
    return spectral_norm_upper(values * p) + t * OUTWARD


def _matching(weight: ArrayLike, drop_probability: ArrayLike) -> tuple[Floats, Floats]:
    values, p = matrix("weight", weight), probabilities("drop_probability", drop_probability)
    if values.shape != p.shape:
        raise InputError(f"weight and drop_probability differ in shape: {values.shape}, {p.shape}")
    return values, p


def _bernstein(values: Floats, p: Floats, delta: float) -> tuple[float, float]:
    """(theta, t): Bernstein's deviation, and the theta of the master bound that proves it."""
    variances = values**2 * p * (1.0 - p)
    v = max(float(variances.sum(0).max()), float(variances.sum(1).max()))
    if v == 0.0:
        return 0.0, 0.0
    largest = float(np.where(variances > 0.0, np.abs(values) * np.maximum(p, 1.0 - p), 0.0).max())
    log_terms = math.log(sum(values.shape)) - math.log(delta)
    linear = largest * log_terms / 3.0
    t = linear + math.sqrt(linear**2 + 2.0 * v * log_terms)
    return t / (v + largest * t / 3.0), t


def _master_bound(values: Floats, p: Floats, delta: float, start: float) -> float:
    """The smallest t found over theta, searched around `start` (where t is Bernstein's at most).

    t(theta) has one valley: (F + c)/theta with F convex. Nothing overflows: start·|w| < 6.
    """
    from scipy.optimize import minimize_scalar

    random = (p > 0.0) & (p < 1.0) & (values != 0.0)
    inside = np.where(random, p, 0.0)

    def deviation(log_theta: float) -> float:
        theta = math.exp(log_theta)
        step = theta * values
        up = np.log1p(inside * np.expm1(step)) - step * inside
        down = np.log1p(inside * np.expm1(-step)) + step * inside
        g = np.maximum(np.maximum(up, down), 0.0)
        exponents = np.concatenate([g.sum(1), g.sum(0)])
        return float(np.logaddexp.reduce(exponents) - math.log(delta)) / theta

    center = math.log(start)
    found = minimize_scalar(
        deviation, bounds=(center - 1.0, center + 4.0), method="bounded", options={"xatol": 1e-2}
    )
    return min(deviation(center), float(found.fun))


def removed_norm_redraws(redrawn_norms: ArrayLike, delta: float) -> float:
    """Upper bound on ‖Δ‖₂ of the mask in use from N other draws of it: no constant at all.

    **Statement.** For N redraws independent of the mask in use and drawn as it was: with
    probability >= 1 − r/(N+1) >= 1 − delta over all of them, ‖Δ‖₂ of the mask in use is at most
    the r-th largest of the N norms, r = ⌊delta·(N+1)⌋ (exchangeability; ties only help).

    **Symbols → arguments.** redrawn_norms: ‖Δ‖₂ of each redraw, >= 0, each an upper bound
    (`spectral_norm_upper`), N >= 1/delta − 1 of them · 0 < delta < 1, read as the decimal it
    prints as.

    **Shapes.** (N,), a number. **Returns** one of the norms as given.

    **Certified** over the draws, given the weights; nothing is said about the sample. By
    construction: the draws are independent and alike. Declared: the mask in use is the first.

    **Fails loudly.** InputError where there are too few redraws for this delta.

    **Source.** Ranks of exchangeable variables, as in Vovk, Gammerman and Shafer, Algorithmic
    Learning in a Random World, 2005. THEORY 1.3.

    **Example.** The largest of nine holds with probability 9/10.

    >>> removed_norm_redraws([3, 1, 4, 1, 5, 9, 2, 6, 5], 0.1)
    9.0
    """
    (norms,) = per_layer(redrawn_norms=redrawn_norms)
    require_open_unit("delta", delta)
    rank = int(Fraction(repr(float(delta))) * (norms.size + 1))
    if rank == 0:
        raise InputError(
            f"redrawn_norms: {norms.size} redraws say nothing at delta = {delta!r}: "
            f"expected {math.ceil(1 / Fraction(repr(float(delta)))) - 1} or more"
        )
    return float(np.sort(norms)[-rank])


def removed_norm_measured(weight: ArrayLike, kept: ArrayLike) -> float:
    """Upper bound on ‖Δ‖₂ of one mask that is known: a float64 SVD, no chance at all.

    **Statement.** ‖W∘(1 − kept)‖₂ <= the value (`spectral_norm_upper`).

    **Symbols → arguments.** weight: W, finite · kept: the mask, True = kept.

    **Shapes.** (out, in), (out, in). **Returns** a norm in the unit of the weights, rounded up.

    **Certified.** Checked: this is the mask in use. Nothing is said about the sample.

    **Fails loudly.** InputError where shapes differ or kept is no mask.

    **Source.** THEORY 1.3.

    **Example.**

    >>> round(removed_norm_measured([[3.0, 4.0]], [[True, False]]), 6)
    4.0
    """
    values, mask = matrix("weight", weight), floats("kept", kept)
    if mask.shape != values.shape or not np.isin(mask, (0.0, 1.0)).all():
        raise InputError("kept must be a mask (True = kept) of the shape of weight")
    return spectral_norm_upper(values * (1.0 - mask))
