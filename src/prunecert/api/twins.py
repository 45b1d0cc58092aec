"""Which slow, independent computation checks which claim."""

from __future__ import annotations

from typing import Any

from prunecert.api.claims import Claim, Terms
from prunecert.api.claims.language import LANGUAGE_CLAIMS, twin_question

Question = tuple[str, dict[str, Any], float]  # twin, its arguments, the number it must not exceed


def twin_questions(claim: Claim, terms: Terms) -> list[Question]:
    """What to ask the twins about a claim: each answer must not exceed its number."""
    delta = terms.delta / terms.tried
    plain = {"n": claim.n, "delta": delta}
    match claim.method:
        case "occam":
            bits = (terms.code_bits or 0) + claim.selection_bits
            return [
                (
                    "occam",
                    {"errors": claim.errors, "bits": bits, **plain, "delta": terms.delta},
                    claim.risk_bound,
                )
            ]
        case "per-class":
            rows = [row for row in claim.details["per_class"] if row["n"]]
            share = delta / len(claim.details["per_class"])
            return [
                ("holdout", {"errors": r["errors"], "n": r["n"], "delta": share}, r["risk_bound"])
                for r in rows
            ]
        case "cost-of-pruning":
            counts = {name: claim.details[name] for name in ("worse", "better")}
            return [("cost-of-pruning", {**counts, **plain}, claim.risk_bound)]
        case "pac-bayes-kl":
            return _of_draws(claim, delta)
        case "single-draw":
            ratio = claim.details["log_ratio_nats"]
            arguments = {"errors": claim.errors, "log_ratio_nats": ratio, **plain}
            return [("single-draw", arguments, claim.risk_bound)]
        case "bounded-loss":
            return _of_losses(claim, plain)
        case "train-and-holdout" | "code-or-holdout" | "transfer-to-dense" | "transfer-to-pruned":
            return [(claim.method, _of_two_samples(claim, terms), claim.risk_bound)]
        case "disagreement":
            return [("disagreement", {"count": claim.errors, **plain}, claim.risk_bound)]
        case method if method in LANGUAGE_CLAIMS:
            return [twin_question(claim, terms)]
        case "fixed-sequence" | "simultaneous":
            return _of_accepted(claim, terms)
    return [("holdout", {"errors": claim.errors, **plain}, claim.risk_bound)]


def _of_losses(claim: Claim, plain: dict[str, Any]) -> list[Question]:
    """Each of the two at its half of delta, and the smaller one."""
    details = claim.details
    mean = {"empirical_risk": details["mean"], "bits": 0, **plain}
    both = mean | {"variance": details["variance"]}
    half = {"delta": plain["delta"] / 2}
    return [
        ("hoeffding-bentkus", mean | half, details["hoeffding_bentkus"]),
        ("empirical-bernstein", both | half, details["empirical_bernstein"]),
        ("bounded-loss", both, claim.risk_bound),
    ]


def _of_draws(claim: Claim, delta: float) -> list[Question]:
    """From the draws to all weights, then from the sample to new data."""
    details, for_draws = claim.details, claim.ledger[0][1]
    drawn = {name: details[name] for name in ("mean_log_right", "draws")}
    bound = {"empirical_risk": details["gibbs_risk"], "kl_nats": details["kl_nats"], "n": claim.n}
    return [
        ("gibbs-product", {**drawn, "delta": for_draws}, details["gibbs_risk"]),
        ("pac-bayes-kl", {**bound, "delta": delta - for_draws}, claim.risk_bound),
    ]


def _of_two_samples(claim: Claim, terms: Terms) -> dict[str, Any]:
    """A list of T alternatives or networks costs either sample a share of delta."""
    bits = {} if terms.code_bits is None else {"bits": terms.code_bits}
    counts = {"errors": claim.errors, "n": claim.n, **claim.details}
    return {**counts, **bits, "delta": terms.delta / terms.tried}


def _of_accepted(claim: Claim, terms: Terms) -> list[Question]:
    """Each accepted network at its share of delta, one by one: same event, written otherwise.

    A p-value ≤ delta says the same as a Clopper–Pearson bound ≤ the target.
    """
    share = claim.ledger[0][1]
    questions: list[Question] = []
    for row in claim.details["sequence"]:
        if not row["accepted"]:
            continue
        plain = {"n": claim.n, "delta": share}
        if "target_error" in claim.details:
            limit = claim.details["target_error"]
            questions.append(("holdout", {"errors": row["errors"], **plain}, limit))
        if "max_drop" in claim.details:
            counts = {name: row[name] for name in ("worse", "better")}
            questions.append(("cost-of-pruning", {**counts, **plain}, claim.details["max_drop"]))
    return questions
