"""The bound of Guha, Dubey and Huo (arXiv 2305.18789) as their code computes it (THEORY 1.8)."""

from __future__ import annotations

from collections.abc import Sequence

from mpmath import e, exp, log, mpf, sqrt, workdps

from prunecert.reference.binomial import DIGITS, demand


def interpolate(x: mpf, knots: list[mpf], values: list[mpf]) -> mpf:
    """The piecewise linear curve through (knots, values) at x, constant beyond the last knot."""
    if x >= knots[-1]:
        return values[-1]
    right = next(g for g, knot in enumerate(knots) if knot > x)
    left = right - 1
    share = (x - knots[left]) / (knots[right] - knots[left])
    return values[left] + share * (values[right] - values[left])


def product(factors: list[mpf]) -> mpf:
    result = mpf(1)
    for factor in factors:
        result *= factor
    return result


def kappa(outputs: int, inputs: int, n: int) -> mpf:
    """min(1, t sqrt(outputs)) with n e^(-t² inputs) = 0.01 where a layer narrows, else 1.

    t is found as the published code finds it: midpoints of [0, 1], halved until the step is below
    0.01; the last midpoint is taken.
    """
    if outputs >= inputs:
        return mpf(1)
    low, high = mpf(0), mpf(1)
    t = (low + high) / 2
    while True:
        if int(n) * exp(-t * t * int(inputs)) > mpf("0.01"):
            low = t
        else:
            high = t
        if high - low < mpf("0.01"):
            return min(mpf(1), t * sqrt(int(outputs)))
        t = (low + high) / 2


@workdps(DIGITS)
def mbp_sketch_as_published(
    margins: Sequence[float],
    fan_out: Sequence[int],
    fan_in: Sequence[int],
    spectral_norm: Sequence[float],
    input_norm: float,
    d: Sequence[float],
    removed_norm: Sequence[Sequence[float]],
    n: int,
) -> dict[str, mpf]:
    """margin_risk + capacity at the d whose propagated error gamma(d) is the smallest margin.

    gamma(d) = e B Σ‖Δ‖/‖A‖ Π‖A‖ Πκ. The curve has G increasing values of d and `removed_norm`
    (G, L); between them it is linear, and at d = 0 nothing is removed. chi = 1 − √(d/(d+2)).
    d = 0 if the smallest margin is not positive, 10 if gamma(10) does not reach it. The published
    code counts margins strictly below gamma, and none is below the smallest: what is left are the
    errors, ties among them.
    """
    demand(len(margins) > 0, "margins", "at least one")
    demand(all(norm > 0 for norm in spectral_norm), "spectral_norm", "a positive one per layer")
    measured = [g for g in range(len(d)) if d[g] > 0]
    demand(len(measured) > 0, "d", "at least one value above 0")
    knots = [mpf(0)] + [mpf(d[g]) for g in measured]
    layers = range(len(fan_out))
    removed_curve = [[mpf(0)] + [mpf(removed_norm[g][layer]) for g in measured] for layer in layers]
    norms = [mpf(norm) for norm in spectral_norm]
    kappas = [kappa(fan_out[layer], fan_in[layer], n) for layer in layers]

    def gamma(at: mpf) -> mpf:
        removed = sum(
            interpolate(at, knots, removed_curve[layer]) / norms[layer] for layer in layers
        )
        return e * mpf(input_norm) * removed * product(norms) * product(kappas)

    smallest = mpf(min(margins))
    low, high = mpf(0), mpf(10)
    if smallest <= 0:
        high = mpf(0)
    elif gamma(high) >= smallest:
        while high - low > mpf("1e-40"):
            middle = (low + high) / 2
            if gamma(middle) < smallest:
                low = middle
            else:
                high = middle

    chi = 1 - sqrt(high / (high + 2))
    margin_risk = mpf(sum(1 for margin in margins if mpf(margin) <= 0)) / len(margins)
    size = sum(
        int(fan_out[layer])
        * int(fan_in[layer])
        * chi
        * log(int(max(fan_out[layer], fan_in[layer]))) ** 2
        for layer in layers
    )
    capacity = sqrt(size / int(n))
    return {
        "d": high,
        "chi": chi,
        "gamma": gamma(high),
        "margin_risk": margin_risk,
        "capacity": capacity,
        "value": margin_risk + capacity,
    }
