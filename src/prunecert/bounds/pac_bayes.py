"""Statements about a network drawn at random from a posterior Q (THEORY 2.9).

The prior P is fixed before S, the sample of n that the statement is about; Q is any distribution,
found from S in any way. The certified object is the randomised classifier, which draws a fresh
network from Q for every prediction, not the network of the mean weights. A prior made from data
is allowed where that data is not in S: then n counts only the samples P never saw.
Arguments may be numbers or arrays (broadcast) unless a function says "list". Nats, not bits.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunecert.bounds.sampling import require_at_least_one, require_risk
from prunecert.inversions import (
    LN2,
    SLACK,
    STEP,
    elementwise,
    kl_bernoulli,
    kl_inverse_upper,
    log_failure,
    require_count,
    require_number,
)
from prunecert.types import InputError

LARGEST_SUMMED = 1_000_000  # n up to which xi(n) is summed; beyond it is 2√n, which is larger
NEAR = 0.25  # |t| below which t − ln(1 + t) is taken from a series


# --------------------------------------------------------------------------- legal arguments


def _require_nats(kl_nats: Any) -> None:
    require_number("kl_nats", kl_nats, 0.0, 1e300, "0 <= kl_nats < infinity")


# --------------------------------------------------------------------------- xi(n)


@elementwise
@functools.lru_cache(maxsize=256, typed=True)
def log_xi(n: int) -> float:
    """ln xi(n), xi(n) = sum over k = 0…n of C(n,k) (k/n)^k (1 − k/n)^(n−k); rounded up by 1e-12.

    Summed as the equal sum over j = 0…n of n!/((n−j)! n^j), an identity of Abel's kind (Riordan,
    Combinatorial Identities, 1968, section 1.5), whose terms are products of (1 − i/n) and die
    out after a few √n. What is left out is below a geometric series, which is added. Beyond
    n = 1,000,000 the larger ln(2√n) is returned (Maurer 2004, for n >= 8).

    >>> round(math.exp(log_xi(1)), 11), round(math.exp(log_xi(2)), 11)
    (2.0, 2.5)
    """
    require_count("n", n, n)
    if n > LARGEST_SUMMED:
        return (LN2 + 0.5 * math.log(n)) * (1.0 + SLACK)
    last = min(n, math.ceil(9.0 * math.sqrt(n)))
    terms = np.cumprod(1.0 - np.arange(last) / n)  # j = 1…last
    left_out = float(terms[-1]) * (n - last) / last  # each further term is smaller by 1 − last/n
    return math.log(1.0 + math.fsum(terms) + left_out) * (1.0 + SLACK)


# --------------------------------------------------------------------------- the randomised network


@elementwise
def pac_bayes_kl_upper(empirical_risk: float, kl_nats: float, n: int, delta: float) -> float:
    """Upper bound on R(Q), the risk of the randomised classifier that draws from Q.

    **Statement.** For every distribution D, every loss in [0, 1] and every prior P fixed before
    S: with probability >= 1 − delta over S ~ Dⁿ, simultaneously for every posterior Q, however
    found, kl(R̂(Q)‖R(Q)) <= (KL(Q‖P) + ln(xi(n)/delta))/n. Hence R(Q) is at most the largest p
    with kl(R̂(Q)‖p) within that. R̂(Q) and R(Q) are means over w ~ Q of the risk of network w.

    **Symbols → arguments.** empirical_risk: R̂(Q) on S or an upper bound on it (see
    `bounds.sampling`), in [0, 1] · kl_nats: KL(Q‖P) or an upper bound, >= 0, in nats · n:
    size of S, integer >= 1 · delta: failure probability, 0 < delta < 1. xi(n): `log_xi`.

    **Shapes.** Numbers or arrays that broadcast; arrays are alternatives, not simultaneous at one
    delta unless they are posteriors of one prior and one S.

    **Returns** a fraction in [0, 1], rounded up (by less than 1e-11 of itself).

    **Certified.** Standing: i.i.d. draws, a loss in [0, 1]. Checked: KL and empirical risk.
    Declared: P and delta were fixed before S was looked at. A prior chosen from a list of T fixed
    beforehand (a grid of variances) costs delta/T each; T is not an argument: pass delta/T.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Seeger, JMLR 3 (2002); Maurer, "A note on the PAC Bayesian theorem" (2004),
    arXiv:cs/0411099, Theorem 5. THEORY 2.9. Deviation: xi(n) itself where print has its bound 2√n.

    **Example.** One sample, no error, Q = P: xi(1) = 2, so 1 − delta/2.

    >>> round(pac_bayes_kl_upper(0, 0, 1, 0.1), 11)
    0.95
    """
    require_risk(empirical_risk)
    _require_nats(kl_nats)
    radius = (kl_nats + log_xi(n) - log_failure(delta)) / n
    return float(kl_inverse_upper(empirical_risk, radius))


@elementwise
def pac_bayes_catoni_upper(
    empirical_risk: float, kl_nats: float, n: int, beta: float, betas: int, delta: float
) -> float:
    """Upper bound on R(Q), the risk of the randomised classifier: Catoni's, one beta of a grid.

    **Statement.** For every D, every loss in [0, 1], every prior P and every list of `betas`
    positive numbers fixed before S: with probability >= 1 − delta over S ~ Dⁿ, simultaneously for
    every posterior Q and every beta of the list,
    R(Q) <= [1 − exp(−beta R̂(Q) − (KL(Q‖P) + ln(betas/delta))/n)] / (1 − exp(−beta)).

    **Symbols → arguments.** empirical_risk, kl_nats, n, delta: as `pac_bayes_kl_upper` · beta:
    the one used, > 0, chosen after S if it is on the list · betas: length of the list, integer
    >= 1; each beta has delta/betas.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 1e-11 of itself).

    **Certified.** As `pac_bayes_kl_upper`. Declared besides: the list was fixed before S.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Catoni, PAC-Bayesian Supervised Classification (2007), Theorem 1.2.6,
    arXiv:0712.0248; this form: Germain, Lacasse, Laviolette and Marchand, ICML 2009, Corollary
    2.2. THEORY 2.9. Deviation: the list of beta and its union bound.

    **Example.** No error, Q = P, one sample, beta = ln 2: 2 (1 − delta).

    >>> round(pac_bayes_catoni_upper(0, 0, 1, LN2, 1, 0.75), 11)
    0.5
    """
    require_risk(empirical_risk)
    _require_nats(kl_nats)
    require_count("n", n, n)
    require_number("beta", beta, math.ulp(0.0), 1e300, "0 < beta < infinity")
    require_at_least_one("betas", betas)
    radius = (kl_nats + math.log(betas) - log_failure(delta)) / n
    exponent = (beta * empirical_risk + radius) * (1.0 + SLACK)
    return min(1.0, math.expm1(-exponent) / math.expm1(-beta) * (1.0 + SLACK))


@elementwise
def majority_vote_upper(empirical_risk: float, kl_nats: float, n: int, delta: float) -> float:
    """Upper bound on the risk of the vote weighted by Q: twice the randomised classifier's.

    **Statement.** As `pac_bayes_kl_upper`, on the same event, for the network that answers with
    the class of largest probability under w ~ Q, ties being errors: where it is wrong at least
    half of Q is wrong, so its risk is at most 2 R(Q). A vote of finitely many draws from Q is
    another network, which this does not cover.

    **Symbols → arguments, Shapes, Certified, Fails loudly.** As `pac_bayes_kl_upper`; the loss
    is the zero-one loss. Several classes are covered.

    **Returns** a fraction in [0, 1], rounded up (by less than 1e-11 of itself).

    **Source.** Langford and Shawe-Taylor, "PAC-Bayes & Margins", NIPS 2002 (Markov's inequality).
    THEORY 2.9. No deviation.

    **Example.** Two samples, no error, Q = P: xi(2) = 2.5, so 2 (1 − √(delta/2.5)).

    >>> round(majority_vote_upper(0, 0, 2, 0.9), 11)
    0.8
    """
    return min(1.0, 2.0 * float(pac_bayes_kl_upper(empirical_risk, kl_nats, n, delta)))


# --------------------------------------------------------------------------- one network drawn once


@elementwise
def single_draw_upper(errors: int, n: int, log_ratio_nats: float, delta: float) -> float:
    """Upper bound on the zero-one risk R(w) of one network w, drawn once from Q.

    **Statement.** For every D, every prior P and every rule that turns S into a posterior Q
    absolutely continuous to P, both fixed before S: with probability >= 1 − delta over S ~ Dⁿ and
    one draw w ~ Q, kl(R̂(w)‖R(w)) <= (ln(dQ/dP)(w) + ln(xi(n)/delta))/n. It is about this w and
    this S together, not about all w at once: drawing again until the number pleases is not
    covered.

    **Symbols → arguments.** errors: errors of w on S, integer, 0 <= errors <= n · n: size of S,
    >= 1 · log_ratio_nats: ln of the density of Q over that of P at w, in nats, finite; it may be
    negative (a radius below 0 counts as 0) · 0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 1e-11 of itself).

    **Certified.** Standing: i.i.d. draws. By construction: w was drawn from Q independently of
    everything else. Checked: the count and the ratio. Declared: P and delta were fixed before S,
    and w is the first and only draw.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Catoni (2007), arXiv:0712.0248; this form: Rivasplata, Kuzborskij, Szepesvári and
    Shawe-Taylor, "PAC-Bayes Analysis Beyond the Usual Bounds" (2020), arXiv:2006.13057, Theorem 1.
    THEORY 2.9. Deviation: xi(n) itself where print has 2√n.

    **Example.** One sample, no error, a ratio of 1: 1 − delta/2.

    >>> round(single_draw_upper(0, 1, 0.0, 0.1), 11)
    0.95
    """
    require_count("errors", errors, n)
    legal = "-infinity < log_ratio_nats < infinity"
    require_number("log_ratio_nats", log_ratio_nats, -1e300, 1e300, legal)
    cost = log_xi(n) - log_failure(delta)
    rounding = SLACK * (abs(log_ratio_nats) + cost)  # the two may cancel: relative to their size
    radius = max(0.0, (log_ratio_nats + cost + rounding) / n)
    rate = errors / n * (1.0 + STEP)  # also where the radius is 0, not below the exact ratio
    return float(kl_inverse_upper(min(rate, 1.0), radius))


# --------------------------------------------------------------------------- divergences


def gaussian_kl_nats(
    mean: ArrayLike, variance: ArrayLike, prior_mean: ArrayLike, prior_variance: ArrayLike
) -> float:
    """KL(Q‖P) in nats of independent Gaussian weights Q from independent Gaussian weights P.

    ½ Σ [σ²/λ + (μ − μ₀)²/λ − 1 + ln(λ/σ²)] over the weights, rounded up by 1e-12 of itself. Lists
    of one shape, or single numbers that stand for every weight: mean μ, variance σ², prior_mean
    μ₀, prior_variance λ. These are variances, not standard deviations; both above 0. The prior's
    were fixed before S; a variance chosen from a grid is paid for in delta.

    InputError where a value is not finite, a variance not above 0, or shapes differ.

    >>> round(gaussian_kl_nats([1.0, 0.0], 1.0, 0.0, 1.0), 11)
    0.5
    """
    return _rounded_up(
        0.5 * _gaussian_terms(mean, variance, prior_mean, prior_variance),
        "the divergence of the Gaussians",
    )


def spike_and_slab_kl_nats(
    mask_bits: float,
    mean: ArrayLike,
    variance: ArrayLike,
    prior_mean: ArrayLike,
    prior_variance: ArrayLike,
) -> float:
    """KL(Q‖P) in nats for a pruned network: one mask, Gaussian weights where it keeps.

    Q puts everything on one mask; P gives that mask at least 2^−mask_bits, as a prefix-free code
    of masks fixed before S does, and given the mask independent Gaussians to the kept weights.
    Pruned weights are 0 under both. KL <= mask_bits ln 2 + the Gaussians' KL over the survivors
    (chain rule); rounded up. The lists are of the kept weights alone; see `gaussian_kl_nats`.

    >>> round(spike_and_slab_kl_nats(2, [1.0], 1.0, 0.0, 1.0) - 2 * LN2, 11)
    0.5
    """
    require_number("mask_bits", mask_bits, 0.0, 1e300, "0 <= mask_bits < infinity")
    gaussian = gaussian_kl_nats(mean, variance, prior_mean, prior_variance)
    return mask_bits * LN2 * (1.0 + SLACK) + gaussian


def independent_spike_and_slab_kl_nats(
    keep: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    prior_keep: ArrayLike,
    prior_mean: ArrayLike,
    prior_variance: ArrayLike,
) -> float:
    """KL(Q‖P) in nats where every weight is 0, or Gaussian with its own probability of being kept.

    Σ [kl(ρ‖π) + ρ·(Gaussian KL)] over the weights, rounded up: keep ρ in [0, 1] is the posterior
    probability that the weight is not pruned, prior_keep π in (0, 1) the prior's. Masks are drawn
    weight by weight, under both. Lists of one shape or single numbers; the rest as
    `gaussian_kl_nats`.

    >>> round(independent_spike_and_slab_kl_nats([1.0, 0.0], 1.0, 1.0, 0.5, 0.0, 1.0) - 2 * LN2, 11)
    0.5
    """
    kept, prior = _numbers("keep", keep), _numbers("prior_keep", prior_keep)
    if not ((kept >= 0.0) & (kept <= 1.0)).all():
        raise InputError("keep must hold numbers from 0 to 1")
    if not ((prior > 0.0) & (prior < 1.0)).all():
        raise InputError("prior_keep must hold numbers strictly between 0 and 1")
    gaussian = 0.5 * _gaussian_terms(mean, variance, prior_mean, prior_variance)
    _require_one_shape(keep=kept, prior_keep=prior, mean=gaussian)
    return _rounded_up(
        np.asarray(kl_bernoulli(kept, prior)) + kept * gaussian, "the divergence of the masks"
    )


def _gaussian_terms(
    mean: ArrayLike, variance: ArrayLike, prior_mean: ArrayLike, prior_variance: ArrayLike
) -> NDArray[np.float64]:
    """Twice each weight's KL, with a relative error of a few roundings however small it is."""
    mu, mu_0 = _numbers("mean", mean), _numbers("prior_mean", prior_mean)
    sigma_2, lambda_ = _numbers("variance", variance), _numbers("prior_variance", prior_variance)
    for name, values in (("variance", sigma_2), ("prior_variance", lambda_)):
        if not (values > 0.0).all():
            raise InputError(f"{name} must hold numbers above 0")
    _require_one_shape(mean=mu, variance=sigma_2, prior_mean=mu_0, prior_variance=lambda_)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        ratio, excess = sigma_2 / lambda_, (sigma_2 - lambda_) / lambda_
        spread = np.where(np.abs(excess) < NEAR, _near_one(excess), ratio - 1.0 - np.log(ratio))
        shift = ((mu - mu_0) / np.sqrt(lambda_)) ** 2
        return np.asarray(spread + shift)


def _near_one(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """t − ln(1 + t) for |t| < 1/4, from the series of ln in v = t/(2 + t); it keeps its digits."""
    v = t / (2.0 + t)
    square = v * v
    series = np.zeros_like(v)
    for odd in range(23, 1, -2):  # v² < 0.021, so the first term left out is below 1e-20
        series = series * square + 1.0 / odd
    return np.asarray(v * (t - 2.0 * square * series))


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must hold numbers, not {values!r}") from error
    if not np.isfinite(array).all():
        raise InputError(f"{name} must hold finite numbers")
    return array


def _require_one_shape(**arrays: NDArray[np.float64]) -> None:
    """Lists of one shape and single numbers only: stretching a list would count weights twice."""
    shapes = {array.shape for array in arrays.values() if array.ndim > 0}
    if len(shapes) > 1:
        raise InputError(f"{', '.join(arrays)} must have one shape, not {sorted(shapes)}")


def _rounded_up(terms: NDArray[np.float64], what: str) -> float:
    """Their sum, a little above, or InputError where it is beyond all floats."""
    total = math.fsum(terms.ravel()) if np.isfinite(terms).all() else math.inf
    if not total < 1e300:
        raise InputError(f"{what} is infinite: variance and prior_variance are too far apart")
    return total * (1.0 + SLACK)
