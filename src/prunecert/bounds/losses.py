"""Statements about losses in [0, 1] that are not just right or wrong (THEORY 2.11).

`empirical_risk` is the mean loss of n samples, `bits` the length of the network's code (0 for a
network fixed before the sample). A loss with another range [low, high] is shifted and scaled to
[0, 1] first. Arguments may be numbers or arrays (broadcast).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunecert.bounds.assumptions import FIXED_CODE, IID, PREFIX_FREE, UNUSED
from prunecert.inversions import (
    LN2,
    SLACK,
    binomial_tail_upper,
    elementwise,
    kl_inverse_upper,
    log_failure,
    require_count,
    require_number,
)
from prunecert.types import Assumption, BoundSpec, Evidence, InputError, Losses, Source

LARGEST_VARIANCE = 0.5  # of numbers in [0, 1]: 0 and 1, divided by n − 1 = 1


# --------------------------------------------------------------------------- the statements


@elementwise
def hoeffding_bentkus_upper(empirical_risk: float, n: int, bits: float, delta: float) -> float:
    """Upper bound on the mean loss R(f), the loss in [0, 1], from the empirical mean alone.

    **Statement.** For a prefix-free code fixed before S: with probability >= 1 − delta over
    S ~ Dⁿ, simultaneously for every codeword f of |f| bits, R(f) is at most the largest alpha
    with min{exp(−n kl(min(R̂, alpha)‖alpha)), e·P[Bin(n, alpha) <= ⌈nR̂⌉]} >= delta·2^−|f|. For
    one f fixed before S, |f| = 0. Both terms bound the same tail P[R̂ <= r] from above, so the
    smaller of them does too and neither pays for the other. Both fall in alpha, so the largest
    alpha is the smaller of their two inverses.

    **Symbols → arguments.** empirical_risk: R̂, mean loss on S, in [0, 1]; nR̂ is read from the
    decimal it prints as (0.03·1000 is 30) · n: size of S, integer >= 1 · bits: |f| >= 0 · delta:
    total failure probability, 0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 2e-12 of itself). Computed in
    logarithms: bits = 1e9 neither underflows nor lies.

    **Certified.** Standing: i.i.d. draws, a loss in [0, 1]. Checked: the losses. Declared: f or
    its code was fixed before S.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Bates et al., J. ACM 68 (2021), arXiv:2101.02703; Hoeffding 1963 (kl form) and
    Bentkus, Ann. Probab. 32 (2004). THEORY 2.11. Deviation: delta·2^−|f| in place of delta.

    **Example.** Without any loss it is 1 − (delta·2^−bits)^(1/n).

    >>> round(hoeffding_bentkus_upper(0.0, 1, 1, 0.1), 11)
    0.95
    """
    _require_sample(empirical_risk, n, smallest_n=1)
    return _hoeffding_bentkus(empirical_risk, n, log_failure(delta, bits))


@elementwise
def empirical_bernstein_upper(
    empirical_risk: float, variance: float, n: int, bits: float, delta: float
) -> float:
    """Upper bound on the mean loss R(f), the loss in [0, 1], that gains from a small variance.

    **Statement.** For a prefix-free code fixed before S: with probability >= 1 − delta over
    S ~ Dⁿ, simultaneously for every codeword f of |f| bits, R(f) <= R̂ + √(2V̂ ln(2/delta')/n) +
    7 ln(2/delta')/(3(n−1)) with delta' = delta·2^−|f|.

    **Symbols → arguments.** empirical_risk: R̂ in [0, 1] · variance: V̂ in [0, 1/2], the unbiased
    sample variance of the losses (divided by n − 1) · n: size of S, integer >= 2 · bits: |f| >= 0
    · 0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 2e-12 of itself), capped at 1.

    **Certified.** Standing: i.i.d. draws, a loss in [0, 1]. Checked: the losses. Declared: f or
    its code was fixed before S.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Maurer and Pontil, COLT 2009, arXiv:0907.3740, Theorem 4. THEORY 2.11. Deviation:
    delta·2^−|f| in place of delta.

    **Example.** Losses that are all the same leave 7 ln(2/delta)/(3(n − 1)).

    >>> round(empirical_bernstein_upper(0.0, 0.0, 8, 0, 2 / math.e), 11)
    0.33333333333
    """
    _require_sample(empirical_risk, n, smallest_n=2)
    _require_variance(variance)
    return _empirical_bernstein(empirical_risk, variance, n, log_failure(delta, bits))


@elementwise
def bounded_loss_upper(
    empirical_risk: float, variance: float, n: int, bits: float, delta: float
) -> float:
    """Upper bound on the mean loss R(f), the loss in [0, 1]: the better of the two above.

    **Statement.** As `empirical_bernstein_upper`, R(f) being at most the smaller of
    `hoeffding_bentkus_upper` and `empirical_bernstein_upper`, each at delta/2.

    **Symbols → arguments, Shapes, Returns, Certified, Fails loudly.** As
    `empirical_bernstein_upper`.

    **Source.** The two above and a union bound. THEORY 2.11, 2.1a (v).

    **Example.** No loss at all: the first wins, 1 − (delta/2)^(1/n).

    >>> round(bounded_loss_upper(0.0, 0.0, 2, 0, 0.5), 11)
    0.5
    """
    _require_sample(empirical_risk, n, smallest_n=2)
    _require_variance(variance)
    half = log_failure(delta, bits) - LN2
    return min(
        _hoeffding_bentkus(empirical_risk, n, half),
        _empirical_bernstein(empirical_risk, variance, n, half),
    )


def _require_sample(empirical_risk: Any, n: Any, smallest_n: int) -> None:
    require_number("empirical_risk", empirical_risk, 0.0, 1.0, "0 <= empirical_risk <= 1")
    require_count("errors", 0, n)
    if n < smallest_n:
        raise InputError(f"n must be an integer >= {smallest_n}, not {n!r}: one loss has no spread")


def _require_variance(variance: Any) -> None:
    require_number("variance", variance, 0.0, LARGEST_VARIANCE, "0 <= variance <= 1/2")


def _hoeffding_bentkus(empirical_risk: float, n: int, log_delta: float) -> float:
    total = math.ceil(n * Fraction(repr(float(empirical_risk))))
    hoeffding = float(kl_inverse_upper(empirical_risk, -log_delta / n))
    bentkus = float(binomial_tail_upper(total, n, log_delta - 1.0))  # e·P >= delta'
    return min(hoeffding, bentkus)


def _empirical_bernstein(empirical_risk: float, variance: float, n: int, log_delta: float) -> float:
    nats = LN2 - log_delta
    excess = math.sqrt(2.0 * variance * nats / n) + 7.0 * nats / (3.0 * (n - 1))
    return min(1.0, (empirical_risk + excess) * (1.0 + SLACK))


# --------------------------------------------------------------------------- evidence to arguments


def _sum_upper(values: list[float]) -> float:
    """The smallest float that is not below the exact sum."""
    total = math.fsum(values)
    return math.nextafter(total, math.inf) if math.fsum([*values, -total]) > 0.0 else total


def _mean_upper(losses: NDArray[np.float64], low: float, high: float) -> float:
    """The mean of (losses − low)/(high − low), up to a float that even as a decimal is not below.

    Where the mean is a short decimal, as 30 losses of 1 in 1000 are, it is that decimal.
    """
    shifted = _sum_upper([*losses.tolist(), *[-low] * losses.size])
    exact = Fraction(shifted) / (losses.size * (Fraction(high) - Fraction(low)))
    mean = float(exact)
    if Fraction(repr(mean)) < exact:
        mean = math.nextafter(mean, math.inf)
    return min(1.0, mean)


def _variance_upper(losses: NDArray[np.float64], low: float, high: float) -> float:
    """Unbiased variance of (losses − low)/(high − low), rounded up.

    Squares around anything but the exact mean only sum to more.
    """
    deviations = (losses - math.fsum(losses) / losses.size) / (high - low)
    return min(LARGEST_VARIANCE, math.fsum(deviations**2) / (losses.size - 1) * (1.0 + SLACK))


def _loss_arguments(
    with_variance: bool, name: str = "losses@holdout"
) -> Callable[[Evidence, float], dict[str, Any]]:
    def arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
        part: Losses = evidence[name]
        losses, low, high = np.asarray(part.values, dtype=np.float64), part.low, part.high
        if not -math.inf < low < high < math.inf:
            raise InputError(f"the range of the losses is [{low}, {high}], expected low < high")
        if losses.ndim != 1 or losses.size < 2:
            raise InputError(f"losses of shape {losses.shape}, expected a list of at least two")
        if not ((low <= losses) & (losses <= high)).all():
            raise InputError(f"a loss is not within its range [{low}, {high}]")
        numbers = {"empirical_risk": _mean_upper(losses, low, high)}
        if with_variance:
            numbers["variance"] = _variance_upper(losses, low, high)
        bits = 0.0 if name == "losses@holdout" else float(evidence["code"].bits)
        return {**numbers, "n": losses.size, "bits": bits, "delta": delta}

    return arguments


# --------------------------------------------------------------------------- the rows

LOSSES = (
    IID,
    Assumption("the loss lies in the range given, for every input", "standing"),
    Assumption("the losses are those of the network on the sample", "checked"),
    UNUSED,
)
QUANTITY = "mean loss, its range scaled to [0, 1]"

BATES = Source(
    key="bates2021",
    authors="Stephen Bates, Anastasios N. Angelopoulos, Lihua Lei, Jitendra Malik "
    "and Michael I. Jordan",
    year=2021,
    title="Distribution-Free, Risk-Controlling Prediction Sets",
    version="Journal of the ACM 68(6); inequalities of Hoeffding (1963) and Bentkus (2004)",
    identifier="arXiv:2101.02703",
    deviation="solved for the risk; a code length may divide delta",
)
MAURER_PONTIL = Source(
    key="maurer2009",
    authors="Andreas Maurer and Massimiliano Pontil",
    year=2009,
    title="Empirical Bernstein Bounds and Sample Variance Penalization",
    theorem="Theorem 4",
    version="COLT 2009",
    identifier="arXiv:0907.3740",
    deviation="a code length may divide delta",
)
BOTH = replace(
    MAURER_PONTIL,
    deviation="the smaller of it and the Hoeffding-Bentkus bound of Bates et al. 2021 "
    "(arXiv:2101.02703), delta/2 each",
)


def _loss_row(
    name: str, function: Callable[..., Any], summary: str, source: Source, with_variance: bool
) -> BoundSpec:
    return BoundSpec(
        name=name,
        function=function,
        kind="certified",
        quantity=QUANTITY,
        summary=summary,
        source=source,
        needs=("losses@holdout",),
        from_evidence=_loss_arguments(with_variance),
        assumptions=LOSSES,
    )


LOSS_ROWS = (
    _loss_row(
        "hoeffding-bentkus",
        hoeffding_bentkus_upper,
        "mean of a bounded loss on a hold-out sample",
        BATES,
        with_variance=False,
    ),
    _loss_row(
        "empirical-bernstein",
        empirical_bernstein_upper,
        "mean and variance of a bounded loss on a hold-out sample",
        MAURER_PONTIL,
        with_variance=True,
    ),
    _loss_row(
        "bounded-loss",
        bounded_loss_upper,
        "the better of hoeffding-bentkus and empirical-bernstein, delta/2 each",
        BOTH,
        with_variance=True,
    ),
    BoundSpec(
        name="language-top-k",
        function=hoeffding_bentkus_upper,
        kind="certified",
        quantity="top-k risk per token, expected of a new document",
        summary="share of a document's tokens beyond the k best, and code length",
        source=BATES,
        needs=("losses@language-top-k", "code"),
        from_evidence=_loss_arguments(False, "losses@language-top-k"),
        assumptions=(
            IID,
            Assumption("a share of a document's tokens is between 0 and 1", "by construction"),
            PREFIX_FREE,
            Assumption("shares and code length are those of the network on the text", "checked"),
            FIXED_CODE,
        ),
    ),
)
