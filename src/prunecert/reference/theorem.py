"""The bound of Guha, Dubey and Huo (arXiv 2305.18789) as their theorem states it (THEORY 1.8)."""

from __future__ import annotations

from collections.abc import Sequence

from mpmath import e, log, mpf, sqrt, workdps

from prunecert.reference.binomial import DIGITS, demand
from prunecert.reference.comparators import demand_positive, depth, layer_widths, per_layer
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
) -> mpf:
    """Margin risk at gamma + √(Σ 3λ χ d_l max(d_l, d_{l−1}) ln²(max dim) ln(1/ρ) / n).

    gamma = e B Π‖A‖ Σ ε Γ/‖A‖ is the propagation of THEORY 1.4 with ‖Δ‖ at its Latała bound of
    THEORY 1.3 (C = 1), chi = 1 − √(d/(d+2)). n margins; those at gamma count. Order-only. The
    largest dimension is the layer's own, as in the sketch of THEORY 1.7. Whether every ε Γ is at
    most ‖A‖/L, as the propagation asks, is not part of the value.
    """
    layers = depth(fan_out, "fan_out")
    demand(len(margins) > 0, "margins", "at least one")
    demand(pruning_d >= 0, "pruning_d", f"a number of 0 or more, got {pruning_d}")
    outputs = layer_widths(fan_out, layers, "fan_out")
    inputs = layer_widths(fan_in, layers, "fan_in")
    norms = per_layer(spectral_norm, layers, "spectral_norm")
    variances = per_layer(variance, layers, "variance")
    lambdas = per_layer(lambda_l, layers, "lambda_l")
    epsilons = per_layer(epsilon_l, layers, "epsilon_l")
    steps = per_layer(rho_l, layers, "rho_l")
    demand(all(step < 1 for step in steps), "rho_l", "steps below 1")

    dropped = mpf(pruning_d) / (mpf(pruning_d) + 2)
    chi = 1 - sqrt(dropped)
    relative, size = mpf(0), mpf(0)
    for layer in range(layers):
        rows, columns, psi = outputs[layer], inputs[layer], variances[layer]
        second = sqrt(psi) * dropped ** (mpf(3) / 4) * (sqrt(columns) + sqrt(rows))
        fourth = (3 * psi**2 * dropped ** (mpf(5) / 2) * columns * rows) ** (mpf(1) / 4)
        relative += epsilons[layer] * (second + fourth) / norms[layer]
        widest = max(rows, columns)
        size += 3 * lambdas[layer] * chi * rows * widest * log(widest) ** 2 * log(1 / steps[layer])

    gamma = e * demand_positive(input_norm, "input_norm") * product(norms) * relative
    risk = mpf(sum(1 for margin in margins if mpf(margin) <= gamma)) / len(margins)
    return risk + sqrt(size / len(margins))
