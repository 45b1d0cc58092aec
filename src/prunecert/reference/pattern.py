"""How many weights a row and a column keep, and the sketch that is enough (THEORY 1.6, 1.7)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

from mpmath import binomial, ceil, log, mpf, mpmathify, sqrt, workdps

from prunecert.reference.binomial import DIGITS, demand, demand_delta
from prunecert.reference.comparators import depth, layer_widths, per_layer
from prunecert.reference.removed import Matrix, kept_fraction, probabilities


def smallest_allowed(tails: list[mpf], allowed: mpf) -> int:
    """min{j : tails[j] <= allowed}, tails[j] being P[some count is above j], 0 at the end."""
    return next(j for j, tail in enumerate(tails) if tail <= allowed)


def tails_of(masses: list[mpf]) -> list[mpf]:
    """P[count > j] for every j, from P[count = j], summed from the largest count downwards."""
    tails = [mpf(0)]
    for mass in reversed(masses[1:]):
        tails.append(tails[-1] + mass)
    return tails[::-1]


def binomial_masses(n: int, p: mpf) -> list[mpf]:
    return [binomial(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def poisson_binomial_masses(keep: list[mpf]) -> list[mpf]:
    """P[count = k] of independent events of probabilities `keep`, one event at a time."""
    masses = [mpf(1)]
    for q in keep:
        without, one_more = [*masses, mpf(0)], [mpf(0), *masses]
        masses = [(1 - q) * a + q * b for a, b in zip(without, one_more, strict=True)]
    return masses


@workdps(DIGITS)
def pattern_as_in_paper(
    fan_out: Sequence[int], fan_in: Sequence[int], pruning_d: float, lambda_l: Sequence[float]
) -> list[mpf]:
    """3 λ_l chi max(d_l, d_{l−1})."""
    layers = depth(fan_out, "fan_out")
    outputs = layer_widths(fan_out, layers, "fan_out")
    inputs = layer_widths(fan_in, layers, "fan_in")
    lambdas = per_layer(lambda_l, layers, "lambda_l")
    chi = kept_fraction(pruning_d)
    return [
        3 * lambdas[layer] * chi * max(outputs[layer], inputs[layer]) for layer in range(layers)
    ]


@workdps(DIGITS)
def pattern_gaussian(
    fan_out: Sequence[int], fan_in: Sequence[int], pruning_d: float, delta: float
) -> list[tuple[int, int]]:
    """(j_r, j_c) of each layer, all of them at once for Gaussian weights but for delta.

    j_r = min{j : d_l P[Bin(d_{l−1}, chi) > j] <= delta/(2L)}, j_c with the dimensions exchanged.
    """
    layers = depth(fan_out, "fan_out")
    outputs = [int(width) for width in layer_widths(fan_out, layers, "fan_out")]
    inputs = [int(width) for width in layer_widths(fan_in, layers, "fan_in")]
    chi = kept_fraction(pruning_d)
    demand_delta(delta)
    half = mpmathify(delta) / layers / 2

    def count(lines: int, entries: int) -> int:
        tails = tails_of(binomial_masses(entries, chi))
        return smallest_allowed([lines * tail for tail in tails], half)

    return [
        (count(rows, columns), count(columns, rows))
        for rows, columns in zip(outputs, inputs, strict=True)
    ]


@workdps(DIGITS)
def pattern_poisson_binomial(drop_probability: Matrix, delta: float) -> tuple[int, int]:
    """(j_r, j_c): j_r = min{j : Σ_i P[row i keeps more than j] <= delta/2}, columns likewise."""
    drop = probabilities(drop_probability, "drop_probability")
    demand_delta(delta)
    half = mpmathify(delta) / 2

    def count(lines: list[list[mpf]]) -> int:
        each = [tails_of(poisson_binomial_masses([1 - p for p in line])) for line in lines]
        return smallest_allowed([sum(tails) for tails in zip(*each, strict=True)], half)

    return count(drop), count([list(column) for column in zip(*drop, strict=True)])


@workdps(DIGITS)
def sketch_rows(fan_out: int, fan_in: int, row_nonzeros: int, column_nonzeros: int) -> int:
    """m = ⌈√max(j_c p1, j_r p2) ln p⌉ for a (p1, p2) matrix, p = max(p1, p2), constant 1."""
    fields = {
        "fan_out": fan_out,
        "fan_in": fan_in,
        "row_nonzeros": row_nonzeros,
        "column_nonzeros": column_nonzeros,
    }
    for field, value in fields.items():
        demand(index(value) >= 1, field, f"a count of 1 or more, got {value}")
    p1, p2, j_r, j_c = (index(value) for value in fields.values())
    return int(ceil(sqrt(mpf(max(j_c * p1, j_r * p2))) * log(mpf(max(p1, p2)))))
