"""Exact coverage: over every outcome of a small sample, a bound fails with probability <= delta.

A bound that takes few values fails most often just above one of them, so those are the truths
tried. Here are the samples of one fixed network; `selected` has those of a network that was
chosen by looking at the sample, which is what bits and nats pay for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

from prunecert.testing import selected
from prunecert.testing.cases import Broken, Case, bits_per_token, is_list_bound, values
from prunecert.testing.pruning import step_coverage
from prunecert.types import BoundSpec

DELTAS = (0.05, 0.3)
CLOSE = 1.0 + 1e-9  # sums of floating-point masses


def coverage(spec: BoundSpec, base: Case) -> Broken:
    """Dispatch on the arguments that depend on the sample; unknown outcomes are not skipped."""
    if spec.kind == "order-only":
        return
    random = OUTCOMES.intersection(base)
    if not random or SAMPLED.isdisjoint(base):  # a statement about a mask, or about every input
        yield from step_coverage(spec, base)
        return
    enumerate_outcomes = _lists if is_list_bound(base) else ENUMERATIONS.get(random)
    if enumerate_outcomes is None:
        yield f"this suite cannot enumerate the outcomes of {sorted(random)}"
        return
    for delta in DELTAS:
        yield from enumerate_outcomes(spec, base | {"delta": delta})


def _binomial_pmf(n: int, p: Fraction, last: int | None = None) -> list[Fraction]:
    """P[Bin(n, p) = k] for k from 0 to `last` (n), exactly."""
    count = n if last is None else last
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(count + 1)]


# --------------------------------------------------------------------------- counts


def _counts(spec: BoundSpec, base: Case) -> Broken:
    """In exact arithmetic: each codeword of b bits may fail with probability delta·2^-b."""
    (name,) = {"errors", "count", "worse", "better"} & base.keys()
    for n, bits in itertools.product((1, 2, 7, 20), (0, 1, 5) if "bits" in base else (0,)):
        case = base | {"n": n} | ({"bits": bits} if "bits" in base else {})
        bounds = [float(values(spec, case | {name: k})) for k in range(n + 1)]
        for edge in (bound for bound in bounds if bound < 1.0):
            pmf = _binomial_pmf(n, Fraction(edge))
            failure = sum(mass for mass, bound in zip(pmf, bounds) if bound <= edge)
            if failure > Fraction(base["delta"]) / 2**bits:
                yield f"at risk {edge}, {case}, it fails with probability {float(failure):.9g}"
    if "bits" in base:  # where 2^-bits is no float any more
        case = base | {"n": 1000, name: 30, "bits": 5000}
        edge = float(values(spec, case))
        if sum(_binomial_pmf(1000, Fraction(edge), 30)) > Fraction(base["delta"]) / 2**5000:
            yield f"at risk {edge}, {case}, it fails with probability above delta·2^-5000"


def _norms(spec: BoundSpec, base: Case) -> Broken:
    """A norm bound holds for all weights at once, which no enumeration can visit.

    What can be enumerated is one network fixed before the sample, with norms so small that only
    the other terms are left. Range and monotony are checked as everywhere.
    """
    yield from _counts(spec, base)


def _paired(spec: BoundSpec, base: Case, n: int = 6) -> Broken:
    """Over a grid of trinomials."""
    outcomes = [(w, b) for w in range(n + 1) for b in range(n + 1 - w)]
    case = base | {"n": n}
    bound = {(w, b): values(spec, case | {"worse": w, "better": b}) for w, b in outcomes}
    for worse, better in itertools.product(range(21), repeat=2):
        p, q, r = worse / 20, better / 20, (20 - worse - better) / 20
        failure = sum(
            math.comb(n, w) * math.comb(n - w, b) * p**w * q**b * r ** (n - w - b)
            for w, b in outcomes
            if r >= 0 and bound[w, b] < p - q - 1e-12
        )
        if failure > base["delta"] + 1e-12:
            yield f"at rates {p} worse, {q} better, n = {n} it fails with probability {failure}"


def _lists(spec: BoundSpec, base: Case, n: int = 6) -> Broken:
    """Two independent entries, truths just above the bound's own values: does either fail?"""
    case = base | {"n": [n, n]} | ({"target_error": 0.6} if "target_error" in base else {})
    outcomes = list(itertools.product(range(n + 1), repeat=2))
    bound = {pair: values(spec, case | {"errors": list(pair)}) for pair in outcomes}
    edges = sorted({float(v) for found in bound.values() for v in found if v < 1.0})
    pmf = {edge: [float(mass) for mass in _binomial_pmf(n, Fraction(edge))] for edge in edges}
    for p, q in itertools.product(edges, repeat=2):
        failing = [pair for pair in outcomes if bound[pair][0] <= p or bound[pair][1] <= q]
        failure = sum(pmf[p][i] * pmf[q][j] for i, j in failing)
        if failure > base["delta"] + 1e-12:
            yield f"at risks {p} and {q}, n = {n}, some bound fails with probability {failure}"


# --------------------------------------------------------------------------- rates


def _variance(total: float, squares: float, n: int) -> float:
    """The unbiased variance of n losses, from their sum and the sum of their squares."""
    return max(0.0, (squares - total * total / n) / (n - 1))


def _rates(spec: BoundSpec, base: Case) -> Broken:
    """One network and losses in [0, 1]: first 0 or 1, then also 1/2, over a grid."""
    size = "draws" if "draws" in base else "n"
    for n, bits in itertools.product((2, 7, 20), (0, 1, 5) if "bits" in base else (0,)):
        case = base | {size: n} | ({"bits": bits} if "bits" in base else {})
        bounds = [_of_losses(spec, case, n, k, 0) for k in range(n + 1)]
        for edge in (bound for bound in bounds if bound < 1.0):
            pmf = selected.binomial_pmf(n, edge)
            failure = math.fsum(mass for mass, bound in zip(pmf, bounds) if bound <= edge)
            if failure > base["delta"] * 2.0**-bits * CLOSE:
                yield f"at risk {edge}, {case}, it fails with probability {failure}"
    yield from _three_losses(spec, base | {size: 5} | ({"bits": 0} if "bits" in base else {}))


def _of_losses(spec: BoundSpec, case: Case, n: int, ones: int, halves: int) -> float:
    """The bound where so many of n losses are 1, so many 1/2 and the others 0."""
    total = ones + halves / 2
    given = {
        "empirical_risk": total / n,
        "variance": _variance(total, ones + halves / 4, n) if n > 1 else 0.0,
    }
    return float(values(spec, case | {k: v for k, v in given.items() if k in case}))


def _three_losses(spec: BoundSpec, case: Case, n: int = 5) -> Broken:
    outcomes = [(a, b) for a in range(n + 1) for b in range(n + 1 - a)]
    bound = {(a, b): _of_losses(spec, case, n, a, b) for a, b in outcomes}
    for one, half in itertools.product(range(21), repeat=2):
        if one + half > 20:
            continue
        p, q, r = one / 20, half / 20, (20 - one - half) / 20
        failure = math.fsum(
            math.comb(n, a) * math.comb(n - a, b) * p**a * q**b * r ** (n - a - b)
            for a, b in outcomes
            if bound[a, b] < p + q / 2 - 1e-12
        )
        if failure > case["delta"] * CLOSE:
            yield f"losses 1 and 1/2 at rates {p} and {q}: it fails with probability {failure}"


def _draws(spec: BoundSpec, base: Case) -> Broken:
    """Networks drawn independently, wrong on none of the sample or on one and the same part of it:
    all of it is the hardest (the bound is exact there), parts show what a mean of logarithms hides.
    """
    for wrong, n in itertools.product((0.5, 0.9, 1.0), (1, 2, 7, 20, 60)):
        right = math.log1p(-wrong) if wrong < 1.0 else -1e300
        means = [0.0, *(max(right * (k / n), -1e300) for k in range(1, n + 1))]
        cases = [base | {"draws": n, "mean_log_right": mean} for mean in means]
        bounds = [float(values(spec, case)) for case in cases]
        for edge in (bound for bound in bounds if bound < wrong):
            pmf = selected.binomial_pmf(n, edge / wrong)
            failure = math.fsum(mass for mass, bound in zip(pmf, bounds) if bound <= edge)
            if failure > base["delta"] * CLOSE:
                yield (
                    f"{n} draws wrong on {wrong} of the sample or on nothing, mean {edge}: "
                    f"it fails with probability {failure}"
                )


def _two_ends(spec: BoundSpec, base: Case) -> Broken:
    """Bits per token of n independent units, each at the least or the largest loss of p'."""
    low, high = bits_per_token(base)
    for n, bits in itertools.product((2, 7, 20), (0, 1, 5)):
        case = base | {"n": n, "bits": bits, "mixings": 1}
        means = [min(low + (high - low) * k / n, high) for k in range(n + 1)]
        found = [float(values(spec, case | {"mean_bits": mean})) for mean in means]
        risks = [(bound - low) / (high - low) for bound in found]
        for edge in (risk for risk in risks if risk < 1.0):
            pmf = selected.binomial_pmf(n, edge)
            failure = math.fsum(mass for mass, risk in zip(pmf, risks) if risk <= edge)
            if failure > base["delta"] * 2.0**-bits * CLOSE:
                yield f"at a rate {edge} of largest losses, {case}, it fails with {failure}"


# --------------------------------------------------------------------------- which is which

Enumeration = Callable[[BoundSpec, Case], Broken]

# By the arguments that depend on the sample. Statements about a mask have none of SAMPLED.
ENUMERATIONS: dict[frozenset[str], Enumeration] = {
    frozenset(outcomes): enumeration
    for outcomes, enumeration in (
        (("errors",), _counts),
        (("count",), _counts),
        (("worse",), _counts),
        (("better",), _counts),
        (("worse", "better"), _paired),
        (("errors", "frobenius_norm", "last_row_norm", "margin"), _norms),
        (("empirical_risk",), _rates),
        (("empirical_risk", "variance"), _rates),
        (("mean_log_right",), _draws),
        (("mean_bits",), _two_ends),
        (("empirical_risk", "kl_nats"), selected.posterior),
        (("errors", "log_ratio_nats"), selected.single_draw),
        (("errors", "size"), selected.compression),
        (("size",), selected.pick_to_learn),
        (("errors", "holdout_errors"), selected.train_and_holdout),
        (("errors", "count"), selected.transfer),
    )
}
SAMPLED = {"errors", "count", "worse", "better", "holdout_errors", "size"}
SAMPLED |= {"empirical_risk", "mean_log_right", "mean_bits"}
OUTCOMES = frozenset().union(*ENUMERATIONS)
