"""Claims about a loss between 0 and 1 that is not an error count."""

from __future__ import annotations

import math

from prunecert.api.claims.terms import FIXED, IID, Claim, Counts, Terms, others, untouched
from prunecert.bounds.losses import empirical_bernstein_upper, hoeffding_bentkus_upper
from prunecert.inversions import round_up
from prunecert.types import Assumption

IN_UNIT = Assumption("every loss lies between 0 and 1", "by construction")


def bounded_loss(counts: Counts, terms: Terms) -> Claim:
    """The smaller of Hoeffding–Bentkus and empirical Bernstein, bought beforehand (THEORY 2.11)."""
    delta = terms.delta / terms.tried
    mean, variance, n = counts["mean"], counts["variance"], counts["n"]
    both = {
        "hoeffding_bentkus": round_up(hoeffding_bentkus_upper(mean, n, 0, delta / 2), 9),
        "empirical_bernstein": round_up(
            empirical_bernstein_upper(mean, variance, n, 0, delta / 2), 9
        ),
    }
    halves = (("Hoeffding–Bentkus", delta / 2), ("empirical Bernstein", delta / 2))
    return Claim(
        "bounded-loss",
        f"{counts['loss']} loss",
        round_up(min(both.values())),
        counts["n"],
        math.ceil(mean * n * (1 - 1e-9)),  # the sum of the losses: a mean of 0.03 is no 30.0…1
        (*halves, *others(terms)),
        (IID, IN_UNIT, untouched(terms.tried), FIXED),
        {name: counts[name] for name in ("loss", "mean", "variance")} | both,
    )
