"""What a Gaussian posterior on a pruned network costs, in fifty digits (THEORY 2.9).

The prior: one variance exponent for all of 0 … 40; per prunable tensor one of four rules (the
prior's own support | k of that support | k of all entries | r rows, c columns and k of where they
cross; every number uniform from 0, then every choice alike); N(prior value, 2^-exponent) for what
is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import comb

from mpmath import log, mpf, workdps

from prunecert.reference.binomial import DIGITS

EXPONENTS = 41
RULES = 4

Rule = Sequence[tuple[int, int]]  # (of how many, how many) for each choice it makes


@workdps(DIGITS)
def choices_nats(tensors: Iterable[Sequence[Rule]]) -> mpf:
    """ln 41 for the exponent, ln 4 for each tensor's rule, and the cheapest of the rules that give
    its set of kept weights."""
    total = log(mpf(EXPONENTS))
    for rules in tensors:
        total += log(mpf(RULES)) + min(rule_nats(rule) for rule in rules)
    return total


@workdps(DIGITS)
def rule_nats(rule: Rule) -> mpf:
    """Σ ln((n + 1)·C(n, k)) over the choices that a rule makes."""
    return sum((log(mpf(n + 1)) + log(mpf(comb(n, k))) for n, k in rule), mpf(0))


@workdps(DIGITS)
def gaussian_nats(
    mean: Sequence[float], exponents: Sequence[int], prior: Sequence[float], prior_exponent: int
) -> mpf:
    """½ Σ [σ²/λ + (μ − μ0)²/λ − 1 + ln(λ/σ²)], σ² = 2^-exponent, λ = 2^-prior_exponent."""
    scale, total, ln2 = mpf(2) ** prior_exponent, mpf(0), log(mpf(2))
    for mu, exponent, mu0 in zip(mean, exponents, prior, strict=True):
        total += scale * (mpf(2) ** -int(exponent) + (mpf(mu) - mpf(mu0)) ** 2) - 1
        total += (int(exponent) - prior_exponent) * ln2
    return total / 2


@workdps(DIGITS)
def log_ratio_nats(
    mean: Sequence[float],
    exponents: Sequence[int],
    prior: Sequence[float],
    prior_exponent: int,
    noise: Sequence[float],
) -> mpf:
    """Σ of ln of the two normal densities' ratio at mean + 2^(-exponent/2)·noise."""
    total, ln2 = mpf(0), log(mpf(2))
    for mu, exponent, mu0, z in zip(mean, exponents, prior, noise, strict=True):
        value = mpf(mu) + mpf(2) ** (-mpf(int(exponent)) / 2) * mpf(z)
        total += (int(exponent) - prior_exponent) * ln2
        total += mpf(2) ** prior_exponent * (value - mpf(mu0)) ** 2 - mpf(z) ** 2
    return total / 2
