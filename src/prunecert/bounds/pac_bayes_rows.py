"""The rows about networks drawn at random, and how draws and their divergence become a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunecert.bounds import pac_bayes, sampling
from prunecert.bounds.assumptions import IID
from prunecert.inversions import require_open_unit
from prunecert.types import Assumption, BoundSpec, Evidence, InputError, Source

# Part of delta for the Monte Carlo estimate of the empirical risk; the bound itself has the rest.
# Fixed here, hence before any sample. With N draws it costs ln(5/delta)/N in place of
# ln(1/delta)/N there and ln(5/4) of a nat among thousands in the bound.
# That the product form reads the draws is fixed here too: the smaller of two forms, chosen after
# the draws, would be two statements at one share. It is the better one wherever the error rates of
# a posterior's networks differ little, which is what training a posterior makes them do.
SAMPLING_SHARE = 0.2

# Catoni's beta, 1/32 to 16 in steps of √2: the best real one lies within 2^(1/4) of one of them
# wherever the bound says anything, and all 19 together cost ln 19 < 3 nats.
BETAS = tuple(2.0 ** (half / 2.0) for half in range(-10, 9))

# --------------------------------------------------------------------------- sources

MAURER = Source(
    key="maurer2004",
    authors="Andreas Maurer",
    year=2004,
    title="A Note on the PAC Bayesian Theorem",
    theorem="Theorem 5",
    identifier="arXiv:cs/0411099",
    deviation="xi(n) itself up to n = 1,000,000, where print has its upper bound 2 sqrt(n)",
)
CATONI = Source(
    key="catoni2007",
    authors="Olivier Catoni",
    year=2007,
    title="PAC-Bayesian Supervised Classification: The Thermodynamics of Statistical Learning",
    theorem="Theorem 1.2.6",
    version="IMS Lecture Notes 56",
    identifier="arXiv:0712.0248",
    deviation="beta is one of a grid fixed beforehand, delta divided by its length",
)
LANGFORD_CARUANA = Source(
    key="langford2001",
    authors="John Langford and Rich Caruana",
    year=2001,
    title="(Not) Bounding the True Error",
    version="Advances in Neural Information Processing Systems 14",
    deviation="each draw predicts the whole sample, so what is averaged lies in [0, 1]",
)
WAUDBY_SMITH = Source(
    key="waudby-smith2024",
    authors="Ian Waudby-Smith and Aaditya Ramdas",
    year=2024,
    title="Estimating means of bounded random variables by betting",
    version="Journal of the Royal Statistical Society Series B 86",
    identifier="arXiv:2010.09686",
    deviation="a fixed number of draws, everything bet on each: Markov's inequality of a product",
)
RIVASPLATA = Source(
    key="rivasplata2020",
    authors="Omar Rivasplata, Ilja Kuzborskij, Csaba Szepesvári and John Shawe-Taylor",
    year=2020,
    title="PAC-Bayes Analysis Beyond the Usual Bounds",
    theorem="Theorem 1",
    identifier="arXiv:2006.13057",
    deviation="xi(n) itself up to n = 1,000,000, where print has its upper bound 2 sqrt(n)",
)
VOTE = Source(
    key="langford2002",
    authors="John Langford and John Shawe-Taylor",
    year=2002,
    title="PAC-Bayes & Margins",
    version="Advances in Neural Information Processing Systems 15",
    deviation="twice the kl form of the bound on the randomised network",
)

# --------------------------------------------------------------------------- assumptions

PRIOR = Assumption(
    "prior and delta were fixed without looking at the sample of the statement", "declared"
)
DIVERGENCE = Assumption("the divergence is that of the posterior from the prior", "checked")
DRAWN = Assumption(
    "the networks were drawn from the posterior independently, after it was fixed",
    "by construction",
)
COUNTED = Assumption("each drawn network's errors are counted on the whole sample", "checked")
SPLIT = Assumption(
    f"{SAMPLING_SHARE:.0%} of delta is for the draws, the rest for the sample", "by construction"
)
GRID = Assumption(f"beta is one of {len(BETAS)} values fixed beforehand", "by construction")
FIRST = Assumption("the network is the first and only draw from the posterior", "declared")
JUDGED = Assumption("the errors are those of the drawn network on the sample", "checked")
RATIO = Assumption("the ratio of densities is the one at the weights drawn", "checked")
RANDOMISED = (IID, DIVERGENCE, DRAWN, COUNTED, SPLIT, PRIOR)

# --------------------------------------------------------------------------- evidence to arguments


def _counts_by_draw(part: Any) -> NDArray[Any]:
    """The errors of every draw, one legal count each."""
    errors = np.asarray(part.errors)
    if errors.ndim != 1 or errors.size == 0:
        raise InputError(f"gibbs.errors must list one count per draw, not shape {errors.shape}")
    if errors.min() < 0 or errors.max() > part.n:
        raise InputError(f"gibbs.errors must be from 0 to n = {part.n}")
    return errors


def _sampled_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    """The mean empirical risk of the draws, and how many there are."""
    part = evidence["gibbs"]
    errors = _counts_by_draw(part)
    risk = int(errors.sum()) / (errors.size * part.n)
    return {"empirical_risk": risk, "draws": errors.size, "delta": delta}


def _product_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    """The mean logarithm of the draws' rates of right answers, and how many draws there are."""
    part = evidence["gibbs"]
    errors = _counts_by_draw(part)
    right = sampling.mean_log_right_of(errors, part.n)
    return {"mean_log_right": right, "draws": len(errors), "delta": delta}


def _gibbs_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    """SAMPLING_SHARE of delta for the empirical risk, the rest for the bound it goes into."""
    require_open_unit("delta", delta)  # a share of an illegal delta may be legal
    drawn = _product_arguments(evidence, SAMPLING_SHARE * delta)
    return {
        "empirical_risk": float(sampling.gibbs_product_upper(**drawn)),
        "kl_nats": float(evidence["gibbs"].kl_nats),
        "n": evidence["gibbs"].n,
        "delta": (1.0 - SAMPLING_SHARE) * delta,
    }


def _catoni_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    """The best beta of the grid: the statement holds for all of them at once."""
    given = _gibbs_arguments(evidence, delta) | {"betas": len(BETAS)}
    bounds = pac_bayes.pac_bayes_catoni_upper(beta=np.array(BETAS), **given)
    return given | {"beta": BETAS[int(bounds.argmin())]}


def _single_draw_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    part = evidence["singledraw"]
    ratio = float(part.log_ratio_nats)
    return {"errors": part.errors, "n": part.n, "log_ratio_nats": ratio, "delta": delta}


# --------------------------------------------------------------------------- the rows

PAC_BAYES_ROWS = (
    BoundSpec(
        name="pac-bayes-kl",
        function=pac_bayes.pac_bayes_kl_upper,
        kind="certified",
        quantity="zero-one risk of the randomised network",
        summary="divergence of a posterior from a prior, and the errors of its draws",
        source=MAURER,
        needs=("gibbs",),
        from_evidence=_gibbs_arguments,
        assumptions=RANDOMISED,
    ),
    BoundSpec(
        name="pac-bayes-catoni",
        function=pac_bayes.pac_bayes_catoni_upper,
        kind="certified",
        quantity="zero-one risk of the randomised network",
        summary="the same, Catoni's form, the best beta of a paid grid",
        source=CATONI,
        needs=("gibbs",),
        from_evidence=_catoni_arguments,
        assumptions=(*RANDOMISED, GRID),
    ),
    BoundSpec(
        name="gibbs-sampled",
        function=sampling.gibbs_sampled_upper,
        kind="certified",
        quantity="training error of the randomised network",
        summary="how wrong a posterior is on the sample itself, from its draws",
        source=LANGFORD_CARUANA,
        needs=("gibbs",),
        from_evidence=_sampled_arguments,
        assumptions=(DRAWN, COUNTED),
    ),
    BoundSpec(
        name="gibbs-product",
        function=sampling.gibbs_product_upper,
        kind="certified",
        quantity="training error of the randomised network",
        summary="the same, from the product of the draws' rates of right answers",
        source=WAUDBY_SMITH,
        needs=("gibbs",),
        from_evidence=_product_arguments,
        assumptions=(DRAWN, COUNTED),
    ),
    BoundSpec(
        name="single-draw",
        function=pac_bayes.single_draw_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="one network drawn once from a posterior, and its density ratio",
        source=RIVASPLATA,
        needs=("singledraw",),
        from_evidence=_single_draw_arguments,
        assumptions=(IID, RATIO, JUDGED, PRIOR, FIRST),
    ),
    BoundSpec(
        name="majority-vote",
        function=pac_bayes.majority_vote_upper,
        kind="certified",
        quantity="zero-one risk of the vote weighted by the posterior",
        summary="twice the bound on the randomised network",
        source=VOTE,
        needs=("gibbs",),
        from_evidence=_gibbs_arguments,
        assumptions=RANDOMISED,
    ),
)
