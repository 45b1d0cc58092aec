"""Claims about a loss between 0 and 1 that is not an error count."""

from __future__ import annotations

from prunecert.api.claims.terms import FIXED, IID, Claim, Counts, Terms, untouched
from prunecert.bounds.losses import bounded_loss_upper
from prunecert.inversions import round_up
from prunecert.types import Assumption

IN_UNIT = Assumption("every loss lies between 0 and 1", "by construction")


def bounded_loss(counts: Counts, terms: Terms) -> Claim:
    """The smaller of Hoeffding–Bentkus and empirical Bernstein, bought beforehand (THEORY 2.11)."""
    delta = terms.delta / terms.tried
    bound = bounded_loss_upper(counts["mean"], counts["variance"], counts["n"], 0, delta)
    ledger = [("Hoeffding–Bentkus", delta / 2), ("empirical Bernstein", delta / 2)]
    if terms.tried > 1:
        ledger.append((f"the other {terms.tried - 1} networks of the list", terms.delta - delta))
    return Claim(
        "bounded-loss",
        f"{counts['loss']} loss",
        round_up(bound),
        counts["n"],
        counts["errors"],
        tuple(ledger),
        (IID, IN_UNIT, untouched(terms.tried), FIXED),
        {name: counts[name] for name in ("loss", "mean", "variance")},
    )
