"""From finitely many networks drawn from Q to the whole of Q, on one and the same sample S.

R̂(Q), which PAC-Bayes bounds speak of, is a mean over all networks; N of them were drawn. Both
statements are about the luck of the draws alone: S and Q are fixed before, and nothing is said of
new data. The kl form reads the mean of the draws' error rates; the product form reads the mean of
ln(1 − rate) and pays far less where the rates differ little.
Arguments may be numbers or arrays (broadcast) unless a function says "list". Nats, not bits.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import ArrayLike

from prunecert.inversions import (
    SLACK,
    as_list,
    elementwise,
    kl_inverse_upper,
    log_failure,
    require_count,
    require_number,
)
from prunecert.types import InputError

NONE_RIGHT = -1e300  # in place of ln 0: a draw that is wrong on all of S


# --------------------------------------------------------------------------- legal arguments


def require_at_least_one(name: str, count: Any) -> None:
    """Refuse anything but an integer of 1 or more."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"{name} must be an integer >= 1, not {count!r}")


def require_risk(empirical_risk: Any) -> None:
    """Refuse anything but a rate in [0, 1]."""
    require_number("empirical_risk", empirical_risk, 0.0, 1.0, "0 <= empirical_risk <= 1")


# --------------------------------------------------------------------------- statements


@elementwise
def gibbs_sampled_upper(empirical_risk: float, draws: int, delta: float) -> float:
    """Upper bound on R̂(Q), the empirical risk of the randomised classifier, from weight draws.

    **Statement.** For every sample S and every Q fixed before the draws: with probability
    >= 1 − delta over N independent networks drawn from Q, R̂(Q) <= max{p : kl(mean of their
    empirical risks‖p) <= ln(1/delta)/N}. Each network predicts all of S with one and the same
    weights; it is the N networks that are independent, not their N·n predictions.

    **Symbols → arguments.** empirical_risk: mean over the draws of (errors/n), in [0, 1] · draws:
    N, integer >= 1, the number of *networks* drawn · 0 < delta < 1, added to the delta of the
    bound that this goes into. Where T posteriors are compared each has delta/T.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 2e-12 of itself).

    **Certified.** By construction: the draws are independent and made after Q was fixed. Checked:
    the errors of every draw. About S only: it says nothing about new data by itself.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Langford and Caruana, "(Not) Bounding the True Error", NIPS 2001; Chernoff 1952.
    THEORY 2.9. Deviation: the mean of values in [0, 1], by convexity, in place of a proportion.

    **Example.** One draw without error: 1 − delta.

    >>> round(gibbs_sampled_upper(0, 1, 0.05), 11)
    0.95
    """
    require_risk(empirical_risk)
    require_at_least_one("draws", draws)
    return float(kl_inverse_upper(empirical_risk, -log_failure(delta) / draws))


@elementwise
def gibbs_product_upper(mean_log_right: float, draws: int, delta: float) -> float:
    """Upper bound on R̂(Q), the empirical risk of the randomised classifier, from weight draws.

    **Statement.** For every sample S and every Q fixed before the draws: with probability
    >= 1 − delta over N independent networks drawn from Q, with error rates r_1 … r_N on all of S,
    R̂(Q) <= 1 − (delta · product of (1 − r_i))^(1/N). The rates are independent with mean R̂(Q), so
    the product has mean (1 − R̂(Q))^N, and by Markov's inequality it is seldom 1/delta times that.
    Equal rates r give 1 − (1 − r) delta^(1/N), at most r + (1 − r) ln(1/delta)/N.

    **Symbols → arguments.** mean_log_right: mean over the draws of ln(1 − r_i) or a lower bound on
    it (see `mean_log_right_of`), <= 0 and finite, nats; any number as low as −1e300 stands for a
    draw that is wrong everywhere, and gives 1 · draws: N, integer >= 1, the number of *networks*,
    fixed before the first was seen · 0 < delta < 1, added to the delta of the bound that this goes
    into. Where T posteriors are compared each has delta/T.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 3e-12 of itself).

    **Certified.** By construction: the draws are independent and made after Q was fixed. Checked:
    the errors of every draw. About S only: it says nothing about new data by itself. Not the
    smaller of this and `gibbs_sampled_upper` at one delta: that would be two statements.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
    JRSS B 86 (2024), arXiv:2010.09686: the capital of a gambler who bets everything that a
    network is right. THEORY 2.9. Deviation: N is fixed, so Markov's inequality is enough.

    **Example.** One draw, right on half of S: 1 − delta/2.

    >>> round(gibbs_product_upper(-math.log(2.0), 1, 0.1), 11)
    0.95
    """
    legal = "-infinity < mean_log_right <= 0"
    require_number("mean_log_right", mean_log_right, NONE_RIGHT, 0.0, legal)
    require_at_least_one("draws", draws)
    exponent = (mean_log_right + log_failure(delta) / draws) * (1.0 + SLACK)
    return min(1.0, -math.expm1(exponent) * (1.0 + SLACK))


def mean_log_right_of(errors: ArrayLike, n: int) -> float:
    """Mean over the draws of ln(1 − errors/n), rounded down by 1e-12 of itself.

    errors: list with one count per draw, each on the same n samples. −1e300 where a draw is wrong
    on all of them. Each logarithm is taken as −ln(1 + e/(n − e)), which keeps its digits.

    >>> round(mean_log_right_of([0, 5], 10) / math.log(2.0), 11)
    -0.5
    """
    counts = as_list("errors", errors).tolist()
    for count in counts:
        require_count("errors", count, n)
    if n in counts:
        return NONE_RIGHT
    logs = math.fsum(-math.log1p(count / (n - count)) for count in counts)
    return logs / len(counts) * (1.0 + SLACK)
