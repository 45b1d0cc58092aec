"""Exact coverage of statements about a network that was chosen by looking at the sample.

M networks of one risk whose errors on the sample are independent, and the best of them is taken:
the hardest choice a prior 1/M has to pay for. Such networks exist: let network h err at x where a
hash of (h, x) is below the risk, x having as many random digits as needed. So a bound that fails
more often than delta here is false; no relaxation takes part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prunecert.testing.cases import Broken, Case, values
from prunecert.types import BoundSpec

Floats = NDArray[np.float64]
CLOSE = 1.0 + 1e-9  # sums of floating-point masses
BETAS = (0.5, 1.0, 2.0, 4.0, 8.0)  # a grid, its best entry taken


def binomial_pmf(n: int, p: float, last: int | None = None) -> Floats:
    """P[Bin(n, p) = k] for k from 0 to `last` (n)."""
    some = range((n if last is None else last) + 1)
    return np.array([math.comb(n, k) * p**k * (1.0 - p) ** (n - k) for k in some])


def fewest_pmf(n: int, p: float, networks: float) -> Floats:
    """The same for the fewest errors among so many independent networks."""
    tail = np.minimum(np.cumsum(binomial_pmf(n, p)), 1.0)
    with np.errstate(divide="ignore"):
        none_below = np.exp(networks * np.log1p(-tail))  # P[every network has more than k]
    return -np.diff(none_below, prepend=1.0)


def _edges(bounds: Sequence[float]) -> list[float]:
    """The truths that are hardest: just above a value of the bound."""
    return sorted({bound for bound in bounds if bound < 1.0})


# --------------------------------------------------------------------------- PAC-Bayes


def posterior(spec: BoundSpec, base: Case) -> Broken:
    """A uniform prior over M networks, all posterior mass on the best: KL = ln M. M = 1 is one
    fixed network. A majority vote is also tried where it errs twice as often as its voters."""
    for n, doublings in itertools.product((2, 7, 20, 60), (0, 3, 20, 60)):
        case = base | {"n": n, "kl_nats": doublings * math.log(2.0)}
        bounds = [_smallest(spec, case | {"empirical_risk": k / n}) for k in range(n + 1)]
        for edge in _edges(bounds):
            pmf = fewest_pmf(n, edge, 2.0**doublings)
            failure = float(pmf[np.array(bounds) <= edge].sum())
            if failure > base["delta"] * CLOSE:
                yield (
                    f"the best of 2^{doublings} networks of risk {edge}, n = {n}: "
                    f"it fails with probability {failure}"
                )
    if "vote" in spec.quantity:
        yield from _two_voters(spec, base)


def _smallest(spec: BoundSpec, case: Case) -> float:
    """The bound; over a grid of beta that is paid for, the smallest."""
    if "beta" not in case:
        return float(values(spec, case))
    paid = case | {"betas": len(BETAS)}
    return min(float(values(spec, paid | {"beta": beta})) for beta in BETAS)


def _two_voters(spec: BoundSpec, base: Case) -> Broken:
    """Two networks of weight 1/2 that never err together: every error of one is a tie, so an
    error of the vote. KL = 0."""
    for n in (2, 7, 20, 60, 200):
        case = base | {"n": n, "kl_nats": 0.0}
        bounds = [float(values(spec, case | {"empirical_risk": k / (2 * n)})) for k in range(n + 1)]
        for edge in _edges(bounds):
            failure = float(binomial_pmf(n, edge)[np.array(bounds) <= edge].sum())
            if failure > base["delta"] * CLOSE:
                yield f"two voters, vote risk {edge}, n = {n}: it fails with probability {failure}"


def single_draw(spec: BoundSpec, base: Case, doublings: int = 10) -> Broken:
    """With probability s the best of M networks is taken, else one of the M at random; so
    dQ/dP is 1 − s + sM at the best and 1 − s at every other."""
    many = 2**doublings
    for n, share in itertools.product((2, 7, 20), (0.0, 0.5, 1.0)):
        at_best, elsewhere = math.log(1 - share + share * many), math.log(max(1 - share, 1e-300))
        best, other = (
            np.array(
                [
                    float(values(spec, base | {"n": n, "errors": k, "log_ratio_nats": ratio}))
                    for k in range(n + 1)
                ]
            )
            for ratio in (at_best, elsewhere)
        )
        for edge in _edges([*best.tolist(), *other.tolist()]):
            fewest, any_one = fewest_pmf(n, edge, many), binomial_pmf(n, edge)
            best_fails = float(fewest[best <= edge].sum())
            failing_others = many * any_one[other <= edge].sum() - fewest[other <= edge].sum()
            failure = (share + (1 - share) / many) * best_fails
            failure += (1 - share) / many * float(failing_others)
            if failure > base["delta"] * CLOSE:
                yield (
                    f"drawn with weight {share} on the best of {many} networks of risk {edge}, "
                    f"n = {n}: it fails with probability {failure}"
                )


# --------------------------------------------------------------------------- sample compression


def compression(spec: BoundSpec, base: Case) -> Broken:
    """One network per subset and message, independent errors outside; fails any of any size?"""
    for n, bits in itertools.product((6, 12), (0, 5)):
        case = base | {"n": n, "bits": bits}
        bounds = [
            np.array(
                [
                    float(values(spec, case | {"size": size, "errors": k}))
                    for k in range(n - size + 1)
                ]
            )
            for size in range(n)
        ]
        for edge in _edges(np.concatenate(bounds).tolist()):
            none_fails = 1.0
            for size, row in enumerate(bounds):
                mass = min(1.0, float(binomial_pmf(n - size, edge)[row <= edge].sum()))
                none_fails *= (1.0 - mass) ** (math.comb(n, size) * 2.0**bits)
            if 1.0 - none_fails > base["delta"] * CLOSE:
                yield (
                    f"risk {edge}, n = {n}, {bits} bits: some subset's bound fails with "
                    f"probability {1.0 - none_fails}"
                )


def pick_to_learn(spec: BoundSpec, base: Case) -> Broken:
    """Schemes whose risk is known: at size k the samples beyond k − 1 others stay unseen, as for
    the largest of n numbers (k = 1) or the smallest interval around them (k = 2), so
    P[risk > e] = P[Bin(n, e) <= k − 1]; at size 0 a fixed network without an error."""
    for n in (1, 2, 7, 20):
        for size in range(n + 1):
            edge = float(values(spec, base | {"n": n, "size": size}))
            failure = float(binomial_pmf(n, edge)[: max(size, 1)].sum())
            if edge < 1.0 and failure > base["delta"] * CLOSE:
                yield f"risk {edge}, n = {n}, size {size}: it fails with probability {failure}"


# --------------------------------------------------------------------------- two samples


def train_and_holdout(spec: BoundSpec, base: Case) -> Broken:
    """The best of 2^bits networks on one sample, tried on another: independent binomials."""
    for (n, m), bits in itertools.product(((7, 5), (3, 12)), (0, 5)):
        case = base | {"n": n, "holdout_n": m, "bits": bits}
        bounds = _pairs(spec, case, "errors", n, "holdout_errors", m)
        for edge in _edges(bounds.ravel().tolist()):
            masses = np.outer(fewest_pmf(n, edge, 2.0**bits), binomial_pmf(m, edge))
            failure = float(masses[bounds <= edge].sum())
            if failure > base["delta"] * CLOSE:
                yield (
                    f"the best of 2^{bits} networks of risk {edge}, n = {n}, hold-out {m}: "
                    f"it fails with probability {failure}"
                )


def transfer(spec: BoundSpec, base: Case) -> Broken:
    """One network errs, another differs from it elsewhere: the other's risk is the sum."""
    for n, inputs in ((7, 5), (3, 12), (12, 3), (6, 400)):
        for bits in (0, 1, 5) if "bits" in base else (0,):
            case = base | {"n": n, "inputs": inputs} | ({"bits": bits} if "bits" in base else {})
            bounds = _pairs(spec, case, "errors", n, "count", min(inputs, 12))  # fewer fail first
            for edge, share in itertools.product(
                _edges(bounds.ravel().tolist()), (0.0, 0.1, 0.5, 0.9, 1.0)
            ):
                differs = binomial_pmf(inputs, (1 - share) * edge, bounds.shape[1] - 1)
                masses = np.outer(fewest_pmf(n, share * edge, 2.0**bits), differs)
                failure = float(masses[bounds <= edge].sum())
                if failure > base["delta"] * CLOSE:
                    yield (
                        f"risk {share * edge} and disagreement {(1 - share) * edge} at {case}: "
                        f"it fails with probability {failure}"
                    )


def _pairs(spec: BoundSpec, case: Case, first: str, n: int, second: str, m: int) -> Floats:
    return np.array(
        [
            [float(values(spec, case | {first: k, second: h})) for h in range(m + 1)]
            for k in range(n + 1)
        ]
    )
