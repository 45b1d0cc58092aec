"""PAC-Bayes bounds and the divergences that go into them (THEORY 2.9)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from mpmath import exp, expm1, fsum, log, mpf, mpmathify, workdps

from prunecert.reference.binomial import (
    DIGITS,
    NEGLIGIBLE,
    demand,
    demand_counts,
    demand_delta,
    kl_inverse,
)
from prunecert.reference.losses import demand_rate, demand_size
from prunecert.reference.occam import demand_bits

Numbers = float | Sequence[float]


def demand_kl(kl_nats: float) -> None:
    demand(kl_nats >= 0, "kl_nats", f"a divergence of 0 or more, got {kl_nats}")


@workdps(DIGITS)
def xi(n: int) -> mpf:
    """ξ(n) = Σ_k C(n, k) (k/n)^k (1 - k/n)^(n-k), computed as Σ_i n!/((n-i)! n^i).

    The two sums are equal: with T = z e^T, the power series of 1/(1-T) is Σ k^k z^k/k!, so
    Σ_k C(n, k) k^k (n-k)^(n-k) is n! times the coefficient of z^n in 1/(1-T)². By Lagrange's
    inversion that is n! times the one of u^n in e^(nu)/(1-u), which is n! Σ_{j<=n} n^j/j!. Divide
    by n^n and put j = n-i. The terms only fall, by the factor 1 - i/n.
    """
    n = index(n)
    demand(n >= 1, "n", f"a count of 1 or more, got {n}")
    term = total = mpf(1)
    for i in range(n):
        term *= mpf(n - i) / n
        total += term
        if term * n < NEGLIGIBLE * total:  # fewer than n terms remain, none of them larger
            break
    return total


@workdps(DIGITS)
def pac_bayes_kl(empirical_risk: float, kl_nats: float, n: int, delta: float) -> mpf:
    """kl⁻¹(empirical_risk, (kl_nats + ln(ξ(n)/delta))/n)."""
    demand_rate(empirical_risk)
    demand_kl(kl_nats)
    demand_delta(delta)
    n = demand_size(n, "n")
    if n == 0:
        return mpf(1)
    nats = (mpmathify(kl_nats) + log(xi(n) / mpf(delta))) / n
    return kl_inverse(mpmathify(empirical_risk), nats)


@workdps(DIGITS)
def pac_bayes_catoni(
    empirical_risk: float, kl_nats: float, n: int, beta: float, betas: int, delta: float
) -> mpf:
    """min(1, [1 - exp(-beta r - (kl_nats + ln(betas/delta))/n)]/(1 - e^-beta))."""
    demand_rate(empirical_risk)
    demand_kl(kl_nats)
    demand(beta > 0, "beta", f"a number above 0, got {beta}")
    demand(index(betas) >= 1, "betas", f"a count of 1 or more, got {betas}")
    demand_delta(delta)
    n = demand_size(n, "n")
    if n == 0:
        return mpf(1)
    nats = (mpmathify(kl_nats) + log(index(betas) / mpf(delta))) / n
    beta = mpmathify(beta)
    return min(mpf(1), expm1(-beta * mpmathify(empirical_risk) - nats) / expm1(-beta))


@workdps(DIGITS)
def gibbs_sampled(empirical_risk: float, draws: int, delta: float) -> mpf:
    """kl⁻¹(empirical_risk, ln(1/delta)/draws): from the mean over the draws to the Gibbs risk."""
    demand_rate(empirical_risk)
    demand_delta(delta)
    draws = demand_size(draws, "draws")
    if draws == 0:
        return mpf(1)
    return kl_inverse(mpmathify(empirical_risk), log(1 / mpf(delta)) / draws)


@workdps(DIGITS)
def gibbs_product(mean_log_right: float, draws: int, delta: float) -> mpf:
    """1 - (delta · Π(1 - r_i))^(1/draws), where ln Π(1 - r_i) is draws · mean_log_right.

    The r_i are independent with the Gibbs risk m as mean, so E Π(1 - r_i) = (1 - m)^draws, and
    Π(1 - r_i) < (1 - m)^draws/delta but for a probability of delta (Markov).
    """
    demand(mean_log_right <= 0, "mean_log_right", f"a number of 0 or less, got {mean_log_right}")
    demand_delta(delta)
    draws = demand_size(draws, "draws")
    if draws == 0:
        return mpf(1)
    product = exp(draws * mpmathify(mean_log_right))
    return 1 - (mpf(delta) * product) ** (mpf(1) / draws)


@workdps(DIGITS)
def single_draw(errors: int, n: int, log_ratio_nats: float, delta: float) -> mpf:
    """kl⁻¹(errors/n, (log_ratio_nats + ln(ξ(n)/delta))/n).

    log_ratio_nats = ln(dQ/dP)(w) may be so negative that no kl is as small, an event that is part
    of the delta; the radius is then taken as 0 and the value is errors/n.
    """
    demand_delta(delta)
    errors, n = demand_counts(errors, n)
    if n == 0:
        return mpf(1)
    nats = (mpmathify(log_ratio_nats) + log(xi(n) / mpf(delta))) / n
    rate = mpf(errors) / n
    return kl_inverse(rate, nats) if nats > 0 else rate


@workdps(DIGITS)
def majority_vote(empirical_risk: float, kl_nats: float, n: int, delta: float) -> mpf:
    """min(1, 2 · pac_bayes_kl)."""
    return min(mpf(1), 2 * pac_bayes_kl(empirical_risk, kl_nats, n, delta))


def entries(values: Any, size: int, field: str) -> list[mpf]:
    """`size` numbers: those of a list, or one number for all of them."""
    if not hasattr(values, "__len__"):
        return [mpmathify(values)] * size
    demand(len(values) == size, field, f"one number or {size} of them, got {len(values)}")
    return [mpmathify(value) for value in values]


@workdps(DIGITS)
def gaussian_kl(
    mean: Sequence[float], variance: Numbers, prior_mean: Numbers, prior_variance: Numbers
) -> mpf:
    """½ Σ [v/λ + (m - m₀)²/λ - 1 + ln(λ/v)] of independent Gaussians, v and λ variances."""
    means = entries(mean, len(mean), "mean")
    variances = entries(variance, len(mean), "variance")
    prior_means = entries(prior_mean, len(mean), "prior_mean")
    prior_variances = entries(prior_variance, len(mean), "prior_variance")
    demand(all(v > 0 for v in variances), "variance", "numbers above 0")
    demand(all(v > 0 for v in prior_variances), "prior_variance", "numbers above 0")
    terms = [
        v / prior_v + (m - prior_m) ** 2 / prior_v - 1 + log(prior_v / v)
        for m, v, prior_m, prior_v in zip(
            means, variances, prior_means, prior_variances, strict=True
        )
    ]
    return fsum(terms) / 2


@workdps(DIGITS)
def spike_and_slab_kl(
    mask_bits: float,
    mean: Sequence[float],
    variance: Numbers,
    prior_mean: Numbers,
    prior_variance: Numbers,
) -> mpf:
    """mask_bits ln 2 + gaussian_kl of the survivors.

    The prior draws a mask with probability 2^-mask_bits and then Gaussian survivors; the posterior
    has this one mask. The divergence of a pair is that of the mask plus, in the mean over the
    posterior's masks, that of the survivors given the mask.
    """
    demand_bits(mask_bits)
    nats = mpmathify(mask_bits) * log(2)
    return nats + gaussian_kl(mean, variance, prior_mean, prior_variance)


@workdps(DIGITS)
def independent_spike_and_slab_kl(
    keep_probability: float,
    removed: int,
    mean: Sequence[float],
    variance: Numbers,
    prior_mean: Numbers,
    prior_variance: Numbers,
) -> mpf:
    """Σ over the kept of (-ln keep_probability + Gaussian KL) - removed ln(1 - keep_probability).

    The prior keeps each weight on its own with `keep_probability`; the posterior's mask is fixed,
    `removed` weights are 0 and those of `mean` are kept.
    """
    demand(
        0 < keep_probability < 1,
        "keep_probability",
        f"a number above 0 and below 1, got {keep_probability}",
    )
    removed = demand_size(removed, "removed")
    keep = mpmathify(keep_probability)
    mask_nats = -len(mean) * log(keep) - removed * log(1 - keep)
    return mask_nats + gaussian_kl(mean, variance, prior_mean, prior_variance)
