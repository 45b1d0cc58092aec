"""How far removing weights moves the output of a network (THEORY 1.4 and 1.5).

For ReLU, or any 1-Lipschitz activation with phi(0) = 0. Arguments of shape (L,) go from the first
layer to the last and are ‖A‖ (spectral), ‖Â‖ (pruned), ‖Δ‖ (removed), Δ = A − Â.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from operator import index

from mpmath import e, mpf, mpmathify, sqrt, workdps

from prunecert.reference.binomial import DIGITS, demand
from prunecert.reference.comparators import depth
from prunecert.reference.sketching import product

CANCELLING = 700  # floats span 632 digits: so many a difference of products of them may lose


def not_negative(value: float, field: str) -> mpf:
    demand(0 <= value < inf, field, f"a number of 0 or more, got {value}")
    return mpmathify(value)


def norms_per_layer(values: Sequence[float], layers: int, field: str) -> list[mpf]:
    """One number of 0 or more per layer."""
    demand(len(values) == layers, field, f"{layers} numbers, one per layer, got {len(values)}")
    return [not_negative(value, field) for value in values]


@workdps(DIGITS)
def output_change(
    spectral_norm: Sequence[float],
    pruned_norm: Sequence[float],
    removed_norm: Sequence[float],
    input_norm: float,
) -> mpf:
    """‖x‖ Σ_l (Π_{k<l}‖A^k‖) ‖Δ^l‖ (Π_{k>l}‖Â^k‖)."""
    layers = depth(spectral_norm, "spectral_norm")
    spectral = norms_per_layer(spectral_norm, layers, "spectral_norm")
    pruned = norms_per_layer(pruned_norm, layers, "pruned_norm")
    removed = norms_per_layer(removed_norm, layers, "removed_norm")
    total = sum(
        product(spectral[:layer]) * removed[layer] * product(pruned[layer + 1 :])
        for layer in range(layers)
    )
    return not_negative(input_norm, "input_norm") * total


@workdps(DIGITS)
def output_change_at_input(layer_change: Sequence[float], pruned_norm: Sequence[float]) -> mpf:
    """Σ_l ‖Δ^l x^{l−1}‖ Π_{k>l}‖Â^k‖ on one x, `layer_change` being ‖Δ^l x^{l−1}‖."""
    layers = depth(layer_change, "layer_change")
    changes = norms_per_layer(layer_change, layers, "layer_change")
    pruned = norms_per_layer(pruned_norm, layers, "pruned_norm")
    return sum(
        (changes[layer] * product(pruned[layer + 1 :]) for layer in range(layers)), start=mpf(0)
    )


@workdps(DIGITS)
def output_change_telescoped(
    spectral_norm: Sequence[float], removed_norm: Sequence[float], input_norm: float
) -> mpf:
    """‖x‖ (Π(‖A^l‖ + ‖Δ^l‖) − Π‖A^l‖)."""
    layers = depth(spectral_norm, "spectral_norm")
    spectral = norms_per_layer(spectral_norm, layers, "spectral_norm")
    removed = norms_per_layer(removed_norm, layers, "removed_norm")
    with workdps(CANCELLING):
        both = [spectral[layer] + removed[layer] for layer in range(layers)]
        change = product(both) - product(spectral)
    return not_negative(input_norm, "input_norm") * change


@workdps(DIGITS)
def output_change_as_in_paper(
    spectral_norm: Sequence[float], removed_norm: Sequence[float], input_norm: float
) -> mpf:
    """e ‖x‖ Π‖A^l‖ Σ‖Δ^l‖/‖A^l‖, where every ‖Δ^l‖ <= ‖A^l‖/L or the sum is at most 1.75."""
    layers = depth(spectral_norm, "spectral_norm")
    spectral = norms_per_layer(spectral_norm, layers, "spectral_norm")
    removed = norms_per_layer(removed_norm, layers, "removed_norm")
    demand(all(norm > 0 for norm in spectral), "spectral_norm", "numbers above 0")
    relative = sum(removed[layer] / spectral[layer] for layer in range(layers))
    strict = all(layers * removed[layer] <= spectral[layer] for layer in range(layers))
    demand(
        strict or relative <= mpf("1.75"),
        "removed_norm",
        "at most spectral_norm/L in every layer, or relative changes of at most 1.75 in all",
    )
    return e * not_negative(input_norm, "input_norm") * product(spectral) * relative


@workdps(DIGITS)
def output_change_with_biases(
    spectral_norm: Sequence[float],
    pruned_norm: Sequence[float],
    removed_norm: Sequence[float],
    bias_norm: Sequence[float],
    removed_bias_norm: Sequence[float],
    input_norm: float,
) -> mpf:
    """e_L of e_l = ‖Â^l‖ e_{l−1} + ‖Δ^l‖ a_{l−1} + ‖Δb^l‖, a_l = ‖A^l‖ a_{l−1} + ‖b^l‖.

    They start from e_0 = 0 and a_0 = ‖x‖: a bounds the activations, e their change.
    """
    layers = depth(spectral_norm, "spectral_norm")
    spectral = norms_per_layer(spectral_norm, layers, "spectral_norm")
    pruned = norms_per_layer(pruned_norm, layers, "pruned_norm")
    removed = norms_per_layer(removed_norm, layers, "removed_norm")
    bias = norms_per_layer(bias_norm, layers, "bias_norm")
    removed_bias = norms_per_layer(removed_bias_norm, layers, "removed_bias_norm")
    activation, change = not_negative(input_norm, "input_norm"), mpf(0)
    for layer in range(layers):
        change = pruned[layer] * change + removed[layer] * activation + removed_bias[layer]
        activation = spectral[layer] * activation + bias[layer]
    return change


@workdps(DIGITS)
def rounding_norm(
    rounding_step: float, nonzeros: int, row_nonzeros: int, column_nonzeros: int
) -> mpf:
    """(rho/2) √min(nonzeros, j_r j_c), a bound on ‖D‖₂ of what rounding to multiples of rho moves.

    Entries are at most rho/2, ‖D‖₂ <= ‖D‖_F and ‖D‖₂² <= ‖D‖₁ ‖D‖_∞; at most j_r of a row and j_c
    of a column are not 0.
    """
    step = not_negative(rounding_step, "rounding_step")
    entries = not_negative(index(nonzeros), "nonzeros")
    in_rows = not_negative(index(row_nonzeros), "row_nonzeros")
    in_columns = not_negative(index(column_nonzeros), "column_nonzeros")
    return step / 2 * sqrt(min(entries, in_rows * in_columns))
