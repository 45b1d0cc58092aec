"""Size of what Bernoulli magnitude pruning removed, in six ways (THEORY 1.1 to 1.3).

Arguments of shape (L,) go from the first layer to the last; a matrix is a list of rows, (out, in).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import floor, inf

from mpmath import exp, log, matrix, mpf, mpmathify, sqrt, svd_r, workdps

from prunecert.reference.binomial import DIGITS, demand, demand_delta
from prunecert.reference.comparators import depth, layer_widths, per_layer
from prunecert.reference.sketching import product

Matrix = Sequence[Sequence[float]]
GAIN = mpf("1e-35")  # of the value, below which a doubling of theta is not worth another
STEP = mpf("1e-16")  # of log theta, where a smooth minimum is found to the square of it


def finite_rows(values: Matrix, field: str) -> list[list[mpf]]:
    """Rows of one length, at least one, of finite numbers."""
    demand(len(values) > 0 and len(values[0]) > 0, field, "at least one row and one column")
    demand(all(len(row) == len(values[0]) for row in values), field, "rows of one length")
    demand(all(-inf < entry < inf for row in values for entry in row), field, "finite numbers")
    return [[mpmathify(entry) for entry in row] for row in values]


def probabilities(values: Matrix, field: str) -> list[list[mpf]]:
    demand(all(0 <= p <= 1 for row in values for p in row), field, "numbers from 0 to 1")
    return finite_rows(values, field)


def demand_same_shape(values: Matrix, weight: Matrix, field: str) -> None:
    same = len(values) == len(weight) and len(values[0]) == len(weight[0])
    demand(same, field, f"the shape of weight, ({len(weight)}, {len(weight[0])})")


def drop_ratio(pruning_d: float) -> mpf:
    """d/(d+2): a Gaussian weight is dropped with the square root of it as probability."""
    demand(0 <= pruning_d < inf, "pruning_d", f"a number of 0 or more, got {pruning_d}")
    d = mpmathify(pruning_d)
    return d / (d + 2)


def latala(outputs: mpf, inputs: mpf, psi: mpf, dropped: mpf) -> mpf:
    """Gamma of one layer from E D² = Ψ r^(3/2) and E D⁴ = 3 Ψ² r^(5/2), r = `dropped` (C = 1)."""
    second = sqrt(psi) * dropped ** (mpf(3) / 4) * (sqrt(inputs) + sqrt(outputs))
    fourth = (3 * psi**2 * dropped ** (mpf(5) / 2) * inputs * outputs) ** (mpf(1) / 4)
    return second + fourth


def largest_singular_value(rows: list[list[mpf]]) -> mpf:
    return max(svd_r(matrix(rows), compute_uv=False))


@workdps(DIGITS)
def kept_fraction(pruning_d: float) -> mpf:
    """chi = 1 − √(d/(d+2)), the probability that a Gaussian weight is kept."""
    return 1 - sqrt(drop_ratio(pruning_d))


@workdps(DIGITS)
def removed_norm_latala(
    fan_out: Sequence[int], fan_in: Sequence[int], pruning_d: float, variance: Sequence[float]
) -> list[mpf]:
    """√Ψ (d/(d+2))^(3/4) (√d_{l−1} + √d_l) + (3Ψ² (d/(d+2))^(5/2) d_{l−1} d_l)^(1/4)."""
    layers = depth(fan_out, "fan_out")
    outputs = layer_widths(fan_out, layers, "fan_out")
    inputs = layer_widths(fan_in, layers, "fan_in")
    variances = per_layer(variance, layers, "variance")
    dropped = drop_ratio(pruning_d)
    return [
        latala(outputs[layer], inputs[layer], variances[layer], dropped) for layer in range(layers)
    ]


@workdps(DIGITS)
def removed_norm_gaussian(
    fan_out: Sequence[int],
    fan_in: Sequence[int],
    pruning_d: float,
    variance: Sequence[float],
    delta: float,
) -> list[mpf]:
    """√(Ψ d/(d+2)) (√d_l + √d_{l−1} + √(2 ln(L/delta))): all layers at once hold but for delta."""
    layers = depth(fan_out, "fan_out")
    outputs = layer_widths(fan_out, layers, "fan_out")
    inputs = layer_widths(fan_in, layers, "fan_in")
    variances = per_layer(variance, layers, "variance")
    dropped = drop_ratio(pruning_d)
    demand_delta(delta)
    share = mpmathify(delta) / layers
    return [
        sqrt(variances[layer] * dropped)
        * (sqrt(outputs[layer]) + sqrt(inputs[layer]) + sqrt(2 * log(1 / share)))
        for layer in range(layers)
    ]


def weights_and_drops(
    weight: Matrix, drop_probability: Matrix
) -> tuple[list[list[mpf]], list[list[mpf]]]:
    weights = finite_rows(weight, "weight")
    demand_same_shape(drop_probability, weights, "drop_probability")
    return weights, probabilities(drop_probability, "drop_probability")


def expected_removal(weight: list[list[mpf]], drop: list[list[mpf]]) -> mpf:
    """‖W∘p‖₂."""
    expected = [[w * p for w, p in zip(*pair)] for pair in zip(weight, drop)]
    return largest_singular_value(expected)


@workdps(DIGITS)
def removed_norm_bernstein(weight: Matrix, drop_probability: Matrix, delta: float) -> mpf:
    """‖W∘p‖₂ + Mℓ/3 + √((Mℓ/3)² + 2vℓ), ℓ = ln((rows + columns)/delta).

    v is the largest sum of w² p (1−p) over a row or a column and M the largest |w| max(p, 1−p) of
    the entries with 0 < p < 1: the others are not random.
    """
    weights, drop = weights_and_drops(weight, drop_probability)
    demand_delta(delta)
    rows, columns = range(len(weights)), range(len(weights[0]))
    ell = log((len(rows) + len(columns)) / mpmathify(delta))
    variance = [[w * w * p * (1 - p) for w, p in zip(*pair)] for pair in zip(weights, drop)]
    v = max(
        *(sum(variance[i][j] for j in columns) for i in rows),
        *(sum(variance[i][j] for i in rows) for j in columns),
    )
    largest = mpf(0)
    for i in rows:
        for j in columns:
            if 0 < drop[i][j] < 1:
                largest = max(largest, abs(weights[i][j]) * max(drop[i][j], 1 - drop[i][j]))
    third = largest * ell / 3
    return expected_removal(weights, drop) + third + sqrt(third**2 + 2 * v * ell)


def moment(w: mpf, p: mpf, theta: mpf) -> mpf:
    """e^g(theta), the larger of E e^(±theta (D − E D)) for D = w with probability p, else 0."""
    if p in (0, 1):
        return mpf(1)
    return max(
        (1 - p + p * exp(theta * w)) * exp(-theta * w * p),
        (1 - p + p * exp(-theta * w)) * exp(theta * w * p),
    )


def smallest_value(f: Callable[[mpf], mpf], start: mpf) -> mpf:
    """min f over theta > 0, for an f that falls from infinity and rises, if ever, only once.

    Halves, then doubles `start` until the minimum is between half and twice of it, or until f has
    come down to its limit at infinity; then golden sections on log theta.
    """
    theta = start
    while f(theta / 2) < f(theta):
        theta /= 2
    while f(2 * theta) < f(theta) * (1 - GAIN):
        theta *= 2
    golden = (sqrt(mpf(5)) - 1) / 2
    low, high = log(theta / 2), log(2 * theta)
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = f(exp(left)), f(exp(right))
    while high - low > STEP:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = f(exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = f(exp(right))
    return min(at_left, at_right)


@workdps(DIGITS)
def removed_norm_cumulants(weight: Matrix, drop_probability: Matrix, delta: float) -> mpf:
    """‖W∘p‖₂ + min over theta of (ln(Σ_i e^(Σ_j g_ij) + Σ_j e^(Σ_i g_ij)) − ln delta)/theta.

    g_ij = max_± [ln(1−p+p e^(±theta w)) ∓ theta w p]: Tropp's master bound with the cumulants as
    they are. The infimum where there is no minimum, 0 where nothing is random.
    """
    weights, drop = weights_and_drops(weight, drop_probability)
    demand_delta(delta)
    rows, columns = range(len(weights)), range(len(weights[0]))
    random = [weights[i][j] for i in rows for j in columns if 0 < drop[i][j] < 1]
    if not any(random):
        return expected_removal(weights, drop)

    def bound(theta: mpf) -> mpf:
        moments = [[moment(weights[i][j], drop[i][j], theta) for j in columns] for i in rows]
        by_row = sum(product([moments[i][j] for j in columns]) for i in rows)
        by_column = sum(product([moments[i][j] for i in rows]) for j in columns)
        return (log(by_row + by_column) - log(mpmathify(delta))) / theta

    start = 1 / max(abs(w) for w in random)
    return expected_removal(weights, drop) + smallest_value(bound, start)


@workdps(DIGITS)
def removed_norm_redraws(redrawn_norms: Sequence[float], delta: float) -> mpf:
    """The r-th largest of N redrawn norms, r = ⌊delta (N+1)⌋ >= 1, delta as the decimal it prints.

    The float 0.3 is below 3/10; r must not hang on that.
    """
    demand_delta(delta)
    demand(all(0 <= norm < inf for norm in redrawn_norms), "redrawn_norms", "numbers of 0 or more")
    rank = floor(Fraction(repr(float(delta))) * (len(redrawn_norms) + 1))
    demand(rank >= 1, "redrawn_norms", f"at least 1/delta - 1, got {len(redrawn_norms)}")
    return mpmathify(sorted(redrawn_norms)[-rank])


@workdps(DIGITS)
def removed_norm_measured(weight: Matrix, kept: Matrix) -> mpf:
    """‖W∘(1−kept)‖₂ of the mask in use, kept = 0 or 1."""
    weights = finite_rows(weight, "weight")
    demand(all(one in (0, 1) for row in kept for one in row), "kept", "entries 0 or 1")
    demand_same_shape(kept, weights, "kept")
    removed = [[mpf(0) if k else w for w, k in zip(*pair)] for pair in zip(weights, kept)]
    return largest_singular_value(removed)
