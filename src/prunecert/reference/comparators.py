"""Norm- and cushion-based capacities that other papers give the same network (THEORY 1.10).

All are order-only, in the units of 1/margin², with n and every constant suppressed: they rank
networks and bound nothing. Arguments of shape (L,) go from the first layer to the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

from mpmath import cbrt, log, mpf, workdps

from prunecert.reference.binomial import DIGITS, demand
from prunecert.reference.sketching import product


def demand_positive(value: float, field: str) -> mpf:
    demand(value > 0, field, f"a number above 0, got {value}")
    return mpf(value)


def per_layer(values: Sequence[float], layers: int, field: str) -> list[mpf]:
    """One number above 0 per layer."""
    demand(len(values) == layers, field, f"{layers} numbers, one per layer, got {len(values)}")
    return [demand_positive(value, field) for value in values]


def layer_widths(values: Sequence[int], layers: int, field: str) -> list[mpf]:
    """One count of units above 0 per layer."""
    return per_layer([index(value) for value in values], layers, field)


def depth(values: Sequence[float], field: str) -> int:
    demand(len(values) > 0, field, "at least one layer")
    return len(values)


@workdps(DIGITS)
def neyshabur_2015(frobenius_norm: Sequence[float], margin: float) -> mpf:
    """Π‖A‖_F² / margin²; the theorem's factor exponential in the depth is left out."""
    frobenius = per_layer(frobenius_norm, depth(frobenius_norm, "frobenius_norm"), "frobenius_norm")
    return product(frobenius) ** 2 / demand_positive(margin, "margin") ** 2


@workdps(DIGITS)
def bartlett_2017(spectral_norm: Sequence[float], norm_2_1: Sequence[float], margin: float) -> mpf:
    """Π‖A‖₂² Σ a² / margin² with a = ‖Aᵀ‖_{2,1}/‖A‖₂: the form that is plotted."""
    layers = depth(spectral_norm, "spectral_norm")
    spectral = per_layer(spectral_norm, layers, "spectral_norm")
    rows = per_layer(norm_2_1, layers, "norm_2_1")
    ratios = [rows[layer] / spectral[layer] for layer in range(layers)]
    total = sum(a**2 for a in ratios)
    return product(spectral) ** 2 * total / demand_positive(margin, "margin") ** 2


@workdps(DIGITS)
def bartlett_2017_theorem(
    spectral_norm: Sequence[float], norm_2_1: Sequence[float], margin: float
) -> mpf:
    """(R/margin)² with R = Π‖A‖₂ (Σ a^(2/3))^(3/2), a = ‖Aᵀ‖_{2,1}/‖A‖₂.

    Squared, so that it is in the units of the plotted form; for one layer they are equal.
    """
    layers = depth(spectral_norm, "spectral_norm")
    spectral = per_layer(spectral_norm, layers, "spectral_norm")
    rows = per_layer(norm_2_1, layers, "norm_2_1")
    total = sum(cbrt((rows[layer] / spectral[layer]) ** 2) for layer in range(layers))
    complexity = product(spectral) * total ** (mpf(3) / 2)
    return (complexity / demand_positive(margin, "margin")) ** 2


@workdps(DIGITS)
def bartlett_2017_as_coded(
    spectral_norm: Sequence[float], frobenius_norm: Sequence[float], margin: float
) -> mpf:
    """The plotted form as the published code has it: ‖A‖_F stands where ‖Aᵀ‖_{2,1} should."""
    layers = depth(spectral_norm, "spectral_norm")
    spectral = per_layer(spectral_norm, layers, "spectral_norm")
    frobenius = per_layer(frobenius_norm, layers, "frobenius_norm")
    total = sum((frobenius[layer] / spectral[layer]) ** 2 for layer in range(layers))
    return product(spectral) ** 2 * total / demand_positive(margin, "margin") ** 2


@workdps(DIGITS)
def neyshabur_2018(
    fan_in: Sequence[int],
    spectral_norm: Sequence[float],
    frobenius_norm: Sequence[float],
    margin: float,
) -> mpf:
    """Π‖A‖₂² Σ h ‖A‖_F²/‖A‖₂² / margin² with h the layer's fan-in, as the published code has it."""
    layers = depth(spectral_norm, "spectral_norm")
    widths = layer_widths(fan_in, layers, "fan_in")
    spectral = per_layer(spectral_norm, layers, "spectral_norm")
    frobenius = per_layer(frobenius_norm, layers, "frobenius_norm")
    total = sum(
        widths[layer] * frobenius[layer] ** 2 / spectral[layer] ** 2 for layer in range(layers)
    )
    return product(spectral) ** 2 * total / demand_positive(margin, "margin") ** 2


@workdps(DIGITS)
def neyshabur_2018_theorem(
    fan_out: Sequence[int],
    spectral_norm: Sequence[float],
    frobenius_norm: Sequence[float],
    input_norm: float,
    margin: float,
) -> mpf:
    """B² L² h ln(L h) Π‖A‖₂² Σ ‖A‖_F²/‖A‖₂² / margin² with h the largest fan-out."""
    layers = depth(spectral_norm, "spectral_norm")
    width = max(layer_widths(fan_out, layers, "fan_out"))
    spectral = per_layer(spectral_norm, layers, "spectral_norm")
    frobenius = per_layer(frobenius_norm, layers, "frobenius_norm")
    total = sum(frobenius[layer] ** 2 / spectral[layer] ** 2 for layer in range(layers))
    largest_input = demand_positive(input_norm, "input_norm")
    shape = largest_input**2 * layers**2 * width * log(layers * width)
    return shape * product(spectral) ** 2 * total / demand_positive(margin, "margin") ** 2


@workdps(DIGITS)
def arora_2018(
    layer_cushion: Sequence[float],
    interlayer_cushion: Sequence[float],
    contraction: float,
    output_norm: float,
    smoothness: float,
    margin: float,
) -> mpf:
    """c² L² max‖f(x)‖² Σ 1/(μ² μ→²) / margin², which requires a smoothness of at least 3 L."""
    layers = depth(layer_cushion, "layer_cushion")
    cushions = per_layer(layer_cushion, layers, "layer_cushion")
    onward = per_layer(interlayer_cushion, layers, "interlayer_cushion")
    demand(smoothness >= 3 * layers, "smoothness", f"at least 3 L = {3 * layers}, got {smoothness}")
    total = sum(1 / (cushions[layer] ** 2 * onward[layer] ** 2) for layer in range(layers))
    scale = demand_positive(contraction, "contraction") * layers
    largest_output = demand_positive(output_norm, "output_norm")
    return (scale * largest_output / demand_positive(margin, "margin")) ** 2 * total
