"""The seed paper's bound as its theorem states it, and its extension to tickets (THEORY 1.8, 1.9).

Three forms of one argument stand side by side in every report, with the same pruned network:

1. as published in code: `mbp_sketch_as_published` (order-only, no logarithm of the precision, no
   failure probability, removed norms measured);
2. as in the theorem: here (order-only and conditional on Gaussian weights: constants of Latała's
   inequality and of sketch recovery are not given by the source, so 1 stands for them);
3. explicit and assumption-free: `occam_upper` on what the pruned, rounded and written network
   decodes to. That is the certified one: the bytes are counted, not argued about.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prunecert.bounds.layerwise import floats, per_layer
from prunecert.bounds.pattern import pattern_as_in_paper, pattern_failure
from prunecert.bounds.propagation import output_change_terms
from prunecert.bounds.pruning_error import drop_share, removed_norm_latala
from prunecert.inversions import require_count
from prunecert.types import InputError

# P[recovery fails] = p^−c at p = max(d_l, d_{l−1}); the source leaves c > 0 open
RECOVERY_EXPONENT = 1.0


def mbp_sketch_theorem_terms(
    margins: ArrayLike,
    fan_out: ArrayLike,
    fan_in: ArrayLike,
    spectral_norm: ArrayLike,
    variance: ArrayLike,
    input_norm: float,
    pruning_d: float,
    lambda_l: ArrayLike,
    epsilon_l: ArrayLike,
    rho_l: ArrayLike,
    rounding_norm: ArrayLike,
) -> dict[str, Any]:
    """Every part of `mbp_sketch_as_in_theorem`, with its conditions; same arguments and errors.

    value · chi · gamma · capacity · margin_risk · probability_left = 1 − Σ_l (1/epsilon_l +
    1/lambda_l + max(d_l, d_{l−1})^{−1/3} + 1/max(d_l, d_{l−1})), at least 0 · strict, sufficient,
    holds, relative_sum: as `output_change_terms`.

    >>> one = [1.0]
    >>> mbp_sketch_theorem_terms([1, 9], one, one, one, one, 1.0, 0.0, one, one, [0.5], one)["chi"]
    1.0
    """
    found = floats("margins", margins)
    if found.ndim != 1 or found.size == 0:
        raise InputError("margins must be a list with at least one entry")
    rows, columns, norms, factor, excess, rho, rounding = per_layer(
        fan_out=fan_out,
        fan_in=fan_in,
        spectral_norm=spectral_norm,
        lambda_l=lambda_l,
        epsilon_l=epsilon_l,
        rho_l=rho_l,
        rounding_norm=rounding_norm,
    )
    widest = np.maximum(rows, columns)
    nonzeros = pattern_as_in_paper(rows, columns, pruning_d, factor)
    removed = excess * removed_norm_latala(rows, columns, pruning_d, variance)
    change = output_change_terms(norms, removed + rounding, input_norm)
    parameters = nonzeros * rows * np.log(widest) ** 2 * np.log(1.0 / rho)
    capacity = math.sqrt(float(parameters.sum()) / found.size)
    gamma = change.pop("value")
    margin_risk = float((found <= gamma).mean())
    lost = 1.0 / excess + pattern_failure(rows, columns, factor) + widest**-RECOVERY_EXPONENT
    return {
        "value": margin_risk + capacity,
        "chi": 1.0 - drop_share(pruning_d),
        "gamma": gamma,
        "capacity": capacity,
        "margin_risk": margin_risk,
        "probability_left": max(0.0, 1.0 - float(lost.sum())),
        **change,
    }


def mbp_sketch_as_in_theorem(
    margins: ArrayLike,
    fan_out: ArrayLike,
    fan_in: ArrayLike,
    spectral_norm: ArrayLike,
    variance: ArrayLike,
    input_norm: float,
    pruning_d: float,
    lambda_l: ArrayLike,
    epsilon_l: ArrayLike,
    rho_l: ArrayLike,
    rounding_norm: ArrayLike,
) -> float:
    """Order-only value for the pruned network of the seed paper, as its theorem states it.

    **Statement.** The source: for Gaussian weights, with the probability that
    `mbp_sketch_theorem_terms` calls probability_left, R(f̂) <= R̂_gamma(f) + O(√(Σ_l 3·lambda_l·
    chi·d_l·max(d_l, d_{l−1})·ln²(max(d_l, d_{l−1}))·ln(1/rho_l)/n)), where gamma = e·B·∏‖A^l‖·Σ_l
    (epsilon_l·C·Gamma_l + rounding_l)/‖A^l‖ needs every term of the sum to be at most 1/L (or the
    sum at most 1.75). The constants of O and C are not given: 1 stands for them.

    **Symbols → arguments.** margins: of the n training samples, finite · fan_out, fan_in: d_l,
    d_{l−1}, integers >= 1 · spectral_norm: ‖A^l‖₂ > 0 · variance: Ψ_l > 0 · input_norm: B >= 0 ·
    pruning_d: d >= 0 · lambda_l, epsilon_l >= 1: what the pattern and the norm may exceed their
    means by, at failures 1/lambda_l and 1/epsilon_l · 0 < rho_l < 1: step of the kept weights ·
    rounding_norm: rounding_l >= 0, the spectral norm of what rounding changes
    (`rounding_norm_upper`).

    **Shapes.** n margins (n,), L layers (L,), numbers. **Returns** a number >= 0 without unit,
    not rounded; values far above 1 are the rule.

    **Order-only**, and conditional on Gaussian weights. The published gamma is the propagated
    error itself; compression needs twice that (THEORY 2.2).

    **Fails loudly.** InputError where lists differ in length or a number is out of its range.
    Where the condition on the removed norms fails the value is still given, with holds = False.

    **Source.** Guha, Dubey and Huo, arXiv:2305.18789v2. THEORY 1.8, 1.3–1.7. Deviation: rounding
    is a second removed part (1.5); unspecified constants are 1 and the exponent of the recovery's
    failure is 1.

    **Example.** One entry has ln 1 = 0, so what remains are the margins within gamma:

    >>> one = [1.0]
    >>> mbp_sketch_as_in_theorem([1e-9, 9], one, one, one, one, 1.0, 0.0, one, one, [0.5], [0.1])
    0.5
    """
    terms = mbp_sketch_theorem_terms(
        margins,
        fan_out,
        fan_in,
        spectral_norm,
        variance,
        input_norm,
        pruning_d,
        lambda_l,
        epsilon_l,
        rho_l,
        rounding_norm,
    )
    return float(terms["value"])


def ticket_terms(
    errors: int, n: int, fan_out: ArrayLike, fan_in: ArrayLike, spectral_norm: ArrayLike
) -> dict[str, Any]:
    """Every part of `ticket_capacity`; same arguments and errors.

    value · capacity · margin_risk = errors/n · active_weights = d·w + w²·ell, of the ticket ·
    dense_weights, of the target · norms_hold: every ‖A^l‖₂ <= 1, which the theorem needs.

    >>> ticket_terms(0, 1, [3, 1], [2, 3], [1.0, 1.0])["active_weights"]
    24.0
    """
    require_count("errors", errors, n)
    rows, columns, norms = per_layer(fan_out=fan_out, fan_in=fan_in, spectral_norm=spectral_norm)
    width = float(max(rows.max(), columns[1:].max(initial=1.0)))
    active = float(columns[0]) * width + width**2 * rows.size
    widest = max(width, float(columns[0]))
    capacity = math.sqrt(active * math.log(widest) ** 2 / n)
    return {
        "value": errors / n + capacity,
        "capacity": capacity,
        "margin_risk": errors / n,
        "active_weights": active,
        "dense_weights": float((rows * columns).sum()),
        "norms_hold": bool((norms <= 1.0).all()),
    }


def ticket_capacity(
    errors: int, n: int, fan_out: ArrayLike, fan_in: ArrayLike, spectral_norm: ArrayLike
) -> float:
    """Order-only value for a strong ticket: a pruned random network that stands in for a target.

    **Statement.** The source: a target of depth ell, width w and input dimension d, with
    ‖W‖₂ <= 1 and entries at most 1/√fan_in, is approximated by pruning a random network of depth
    2·ell and polynomial width to O(d·w + w²·ell) active weights. In the root of the published
    form that number replaces the dense count: errors/n + √((d·w + w²·ell)·ln²(max(d, w))/n).

    **Symbols → arguments.** errors: of the target on the training sample, 0 <= errors <= n ·
    fan_out, fan_in, spectral_norm: of the target's layers (w is its largest width, d the first
    fan-in, ell the number of layers).

    **Shapes.** Numbers, and lists (L,). **Returns** a number >= 0 without unit, not rounded.

    **Order-only.** Constants are dropped; `ticket_terms` says whether ‖W‖₂ <= 1 holds. The
    certified version is `occam_upper`: a ticket at seeded values costs its mask, in bits.

    **Fails loudly.** InputError where lists differ in length or a number is out of its range.

    **Source.** Malach, Yehudai, Shalev-Shwartz and Shamir 2020, arXiv:2002.00585, Theorem 2.1;
    Guha, Dubey and Huo, arXiv:2305.18789v2. THEORY 1.9. Deviation: chi = 1, as the active
    weights are all that is counted.

    **Example.** One weight has ln 1 = 0:

    >>> ticket_capacity(1, 10, [1], [1], [1.0])
    0.1
    """
    return float(ticket_terms(errors, n, fan_out, fan_in, spectral_norm)["value"])
