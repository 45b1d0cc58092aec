"""Counting bounds of two theorems: sketching and tickets (THEORY 1.8 and 1.9). Order-only."""

from __future__ import annotations

from collections.abc import Sequence

from mpmath import e, log, mpf, sqrt, workdps

from prunecert.reference.binomial import DIGITS, demand, demand_counts
from prunecert.reference.comparators import demand_positive, depth, layer_widths, per_layer
from prunecert.reference.propagation import norms_per_layer
from prunecert.reference.removed import drop_ratio, latala
from prunecert.reference.sketching import product


@workdps(DIGITS)
def mbp_sketch_as_in_theorem(
    margins: Sequence[float],
    fan_out: Sequence[int],
    fan_in: Sequence[int],
    spectral_norm: Sequence[float],
    variance: Sequence[float],
    input_norm: float,
    pruning_d: float,
    lambda_l: Sequence[float],
    epsilon_l: Sequence[float],
    rho_l: Sequence[float],
    rounding_norm: Sequence[float],
) -> mpf:
    """Margin risk at gamma + √(Σ 3λ χ d_l max(d_l, d_{l−1}) ln²(max dim) ln(1/ρ) / n).

    From Guha, Dubey and Huo (arXiv 2305.18789). gamma = e B Π‖A‖ Σ ‖Δ‖/‖A‖ is the propagation of
    THEORY 1.4 with ‖Δ‖ = ε Γ + rounding_norm: the Latała bound of THEORY 1.3 (C = 1) and what
    rounding the kept weights moves (THEORY 1.5). chi = 1 − √(d/(d+2)). n margins; those at gamma
    count. The largest dimension is the layer's own, as in the sketch of THEORY 1.7. Whether every
    ‖Δ‖ is at most ‖A‖/L, as the propagation asks, is not part of the value.
    """
    layers = depth(fan_out, "fan_out")
    demand(len(margins) > 0, "margins", "at least one")
    outputs = layer_widths(fan_out, layers, "fan_out")
    inputs = layer_widths(fan_in, layers, "fan_in")
    norms = per_layer(spectral_norm, layers, "spectral_norm")
    variances = per_layer(variance, layers, "variance")
    lambdas = per_layer(lambda_l, layers, "lambda_l")
    epsilons = per_layer(epsilon_l, layers, "epsilon_l")
    steps = per_layer(rho_l, layers, "rho_l")
    demand(all(step < 1 for step in steps), "rho_l", "steps below 1")
    rounded = norms_per_layer(rounding_norm, layers, "rounding_norm")

    dropped = drop_ratio(pruning_d)
    chi = 1 - sqrt(dropped)
    relative, size = mpf(0), mpf(0)
    for layer in range(layers):
        rows, columns, psi = outputs[layer], inputs[layer], variances[layer]
        removed = epsilons[layer] * latala(rows, columns, psi, dropped) + rounded[layer]
        relative += removed / norms[layer]
        widest = max(rows, columns)
        size += 3 * lambdas[layer] * chi * rows * widest * log(widest) ** 2 * log(1 / steps[layer])

    gamma = e * demand_positive(input_norm, "input_norm") * product(norms) * relative
    risk = mpf(sum(1 for margin in margins if mpf(margin) <= gamma)) / len(margins)
    return risk + sqrt(size / len(margins))


@workdps(DIGITS)
def strong_ticket(
    errors: int,
    n: int,
    fan_out: Sequence[int],
    fan_in: Sequence[int],
    spectral_norm: Sequence[float],
) -> mpf:
    """errors/n + √((d w + w² ell) ln²(max(d, w)) / n): the active weights of a strong ticket.

    From Malach et al. 2020 (arXiv 2002.00585). w is the target's largest width (outputs of any
    layer, inputs of any but the first), d its inputs, ell its depth. The norms of the target are
    checked and do not enter the value.
    """
    layers = depth(fan_out, "fan_out")
    errors, n = demand_counts(errors, n)
    demand(n >= 1, "n", "at least one sample")
    outputs = layer_widths(fan_out, layers, "fan_out")
    inputs = layer_widths(fan_in, layers, "fan_in")
    per_layer(spectral_norm, layers, "spectral_norm")
    d, w = inputs[0], max(outputs + inputs[1:])
    return mpf(errors) / n + sqrt((d * w + w**2 * layers) * log(max(d, w)) ** 2 / n)
