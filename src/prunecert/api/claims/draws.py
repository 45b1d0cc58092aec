"""Claims about networks drawn from a posterior: the randomised one, and one drawn once."""

from __future__ import annotations

from prunecert.api.claims.terms import BOUNDED, FIXED, IID, Claim, Counts, Terms, others
from prunecert.bounds.pac_bayes import pac_bayes_kl_upper, single_draw_upper
from prunecert.bounds.pac_bayes_rows import SAMPLING_SHARE
from prunecert.bounds.sampling import gibbs_product_upper
from prunecert.inversions import round_up
from prunecert.types import Assumption

PRIOR = Assumption(
    "the prior network and which of its weights may be pruned were fixed without the sample",
    "declared",
)
PRIOR_MADE = Assumption(
    "the prior mixes all its variances and all sets of kept weights, and pays for the ones used",
    "by construction",
)
RANDOMISED = Assumption(
    "each prediction is made with weights drawn afresh: the statement is not about the network of "
    "the mean weights",
    "declared",
)
DRAWS = Assumption(
    "the weights counted were drawn after the posterior was fixed, by a generator seeded with a "
    "hash of it",
    "by construction",
)
COMPARED = Assumption(
    "no other posterior was tried after seeing the errors of these draws", "declared"
)
DRAWN_ONCE = Assumption(
    "the network was drawn once, and no other posterior was tried after seeing its draw", "declared"
)


def pac_bayes_kl(counts: Counts, terms: Terms) -> Claim:
    """Risk of the randomised network (THEORY 2.9); a share of delta pays for sampling weights."""
    delta = terms.delta / terms.tried
    for_draws = SAMPLING_SHARE * delta
    right = counts["mean_log_right"]
    gibbs_risk = round_up(gibbs_product_upper(right, counts["draws"], for_draws), 9)  # as `right`
    bound = pac_bayes_kl_upper(gibbs_risk, counts["kl_nats"], counts["n"], delta - for_draws)
    shares = (
        ("the draws of the weights", for_draws),
        ("PAC-Bayes-kl bound, all posteriors at once", delta - for_draws),
    )
    return Claim(
        "pac-bayes-kl",
        "zero-one risk",
        round_up(bound),
        counts["n"],
        counts["errors"],
        (*shares, *others(terms, "priors")),
        (IID, BOUNDED, PRIOR, PRIOR_MADE, DRAWS, COMPARED, RANDOMISED, FIXED),
        {name: counts[name] for name in ("draws", "kl_nats", "mean_log_right")}
        | {"gibbs_risk": gibbs_risk},
    )


def single_draw(counts: Counts, terms: Terms) -> Claim:
    """Risk of one network drawn from the posterior (THEORY 2.9), paid by its own density ratio."""
    delta = terms.delta / terms.tried
    bound = single_draw_upper(counts["errors"], counts["n"], counts["log_ratio_nats"], delta)
    return Claim(
        "single-draw",
        "zero-one risk",
        round_up(bound),
        counts["n"],
        counts["errors"],
        (("PAC-Bayes-kl bound of one draw", delta), *others(terms, "priors")),
        (IID, BOUNDED, PRIOR, PRIOR_MADE, DRAWN_ONCE, FIXED),
        {"log_ratio_nats": counts["log_ratio_nats"]},
    )
