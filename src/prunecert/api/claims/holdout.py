"""Claims about weights as given, from a sample that had no part in making them."""

from __future__ import annotations

from prunecert.api.claims.terms import (
    BOUNDED,
    DENSE_MEANT,
    FIXED,
    IID,
    Claim,
    Counts,
    Terms,
    others,
    shared,
    untouched,
)
from prunecert.bounds.holdout import (
    cost_of_pruning_upper,
    disagreement_upper,
    holdout_upper,
    per_class_upper,
)
from prunecert.inversions import round_up
from prunecert.types import Assumption


def holdout(counts: Counts, terms: Terms) -> Claim:
    """Hold-out certificate (THEORY 2.3); a list of T networks fixed beforehand costs δ/T each."""
    bound = holdout_upper(counts["errors"], counts["n"], terms.delta / terms.tried)
    k = terms.k
    return Claim(
        "holdout" if k == 1 else "top-k",
        "zero-one risk" if k == 1 else f"top-{k} risk",
        round_up(bound),
        counts["n"],
        counts["errors"],
        shared("hold-out bound", terms),
        (IID, BOUNDED, untouched(terms.tried), FIXED),
        {} if k == 1 else {"k": k},
    )


def per_class(counts: Counts, terms: Terms) -> Claim:
    """Every class at δ/K (THEORY 2.6); the risk bound is that of the worst class."""
    errors, sizes = list(counts["class_errors"]), list(counts["class_sizes"])
    bounds = [round_up(float(b)) for b in per_class_upper(errors, sizes, terms.delta / terms.tried)]
    rows = [
        {"class": c, "errors": e, "n": m, "risk_bound": b}
        for c, (e, m, b) in enumerate(zip(errors, sizes, bounds, strict=True))
    ]
    given = Assumption(
        "class sizes are taken as given: the statement is conditional on them", "standing"
    )
    return Claim(
        "per-class",
        "worst class risk",
        max(bounds),
        sum(sizes),
        sum(errors),
        shared(f"hold-out bounds of {len(sizes)} classes, an equal share each", terms),
        (IID, BOUNDED, given, untouched(terms.tried), FIXED),
        {"per_class": rows},
    )


def disagreement(counts: Counts, terms: Terms) -> Claim:
    """Different predictions on unlabelled inputs (THEORY 2.5), abstentions counted."""
    bound = disagreement_upper(counts["errors"], counts["n"], terms.delta / terms.tried)
    return Claim(
        "disagreement",
        "disagreement",
        round_up(bound),
        counts["n"],
        counts["errors"],
        shared("disagreement bound", terms),
        (IID, BOUNDED, untouched(terms.tried), DENSE_MEANT, FIXED),
    )


def cost_of_pruning(counts: Counts, terms: Terms) -> Claim:
    """Risk of the pruned network minus risk of the dense one (THEORY 2.7)."""
    worse, better, n = counts["worse"], counts["better"], counts["n"]
    delta = terms.delta / terms.tried
    bound = cost_of_pruning_upper(worse, better, n, delta)
    sides = (("samples lost by pruning", delta / 2), ("samples won by pruning", delta / 2))
    return Claim(
        "cost-of-pruning",
        "risk increase",
        round_up(max(bound, 0.0)),
        n,
        worse,
        (*sides, *others(terms)),
        (IID, BOUNDED, untouched(terms.tried), DENSE_MEANT, FIXED),
        {"worse": worse, "better": better},
    )
