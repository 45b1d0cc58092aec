"""From counts to a claim: the bound, what it spends, what it assumes. Pure; no network, no file.

`certify` and `verify` call the same function with the same counts, so a certificate is
regenerated, not trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prunecert.api.claims.code import occam
from prunecert.api.claims.draws import pac_bayes_kl, single_draw
from prunecert.api.claims.holdout import cost_of_pruning, disagreement, holdout, per_class
from prunecert.api.claims.language import LANGUAGE_CLAIMS, LANGUAGE_COUNTS
from prunecert.api.claims.losses import bounded_loss
from prunecert.api.claims.terms import (
    BOUNDED,
    DENSE_MEANT,
    FIXED,
    IID,
    UNTOUCHED,
    Claim,
    Counts,
    Terms,
    check_terms,
)
from prunecert.api.claims.two_samples import (
    code_or_holdout,
    train_and_holdout,
    transfer_to_dense,
    transfer_to_pruned,
)
from prunecert.types import Role

__all__ = [
    "BOUNDED",
    "CLAIMS",
    "DENSE_MEANT",
    "FIXED",
    "IID",
    "METHODS",
    "UNTOUCHED",
    "Claim",
    "Counts",
    "Method",
    "Terms",
    "check_terms",
    "counts_of",
    "method_of",
]


@dataclass(frozen=True)
class Method:
    """What a statement is computed from."""

    claim: Callable[[Counts, Terms], Claim]
    role: Role = "holdout"  # in which it reads its sample
    second: Role | None = None  # in which it reads another sample, if it does
    compared: bool = False  # it speaks of a dense network too
    drawn: bool = False  # it is about networks drawn from a posterior
    coded: bool = False  # it is about what network.bin decodes to, and pays for its length
    counts: tuple[str, ...] = ()  # its counts besides `errors` and `n`, by name in `details`


PAIRS, ON_HOLDOUT = ("worse", "better"), ("holdout_errors", "holdout_n")
METHODS: dict[str, Method] = {
    "occam": Method(occam, "bound", coded=True),
    "holdout": Method(holdout),
    "top-k": Method(holdout),
    "per-class": Method(per_class),
    "disagreement": Method(disagreement, "unlabeled", compared=True),
    "cost-of-pruning": Method(cost_of_pruning, compared=True, counts=PAIRS),
    "bounded-loss": Method(bounded_loss, counts=("loss", "mean", "variance")),
    "train-and-holdout": Method(
        train_and_holdout, "bound", "holdout", coded=True, counts=ON_HOLDOUT
    ),
    "code-or-holdout": Method(code_or_holdout, "bound", "holdout", coded=True, counts=ON_HOLDOUT),
    "transfer-to-dense": Method(
        transfer_to_dense,
        "bound",
        "unlabeled",
        compared=True,
        coded=True,
        counts=("count", "inputs"),
    ),
    "transfer-to-pruned": Method(
        transfer_to_pruned, "holdout", "unlabeled", compared=True, counts=("count", "inputs")
    ),
    "pac-bayes-kl": Method(
        pac_bayes_kl, "bound", drawn=True, counts=("draws", "kl_nats", "mean_log_right")
    ),
    "single-draw": Method(single_draw, "bound", drawn=True, counts=("log_ratio_nats",)),
}
METHODS |= {
    name: Method(claim, "bound", coded=True, counts=LANGUAGE_COUNTS[name])
    for name, claim in LANGUAGE_CLAIMS.items()
}
SELECTION = Method(holdout)  # what `select` states is read from a hold-out, too
CLAIMS = {name: method.claim for name, method in METHODS.items()}


def method_of(name: str) -> Method:
    """What the statement of this name is computed from; those of `select` have no claim here."""
    return METHODS.get(name, SELECTION)


def counts_of(claim: Claim | Mapping[str, Any]) -> dict[str, Any]:
    """The counts a claim was made from, read back out of it (or of a certificate's fields)."""
    get = claim.__getattribute__ if isinstance(claim, Claim) else claim.__getitem__
    method, details = get("method"), get("details")
    counts: dict[str, Any] = {"n": get("n")}
    if method == "per-class":
        rows = details["per_class"]
        counts["class_errors"] = [row["errors"] for row in rows]
        return {**counts, "class_sizes": [row["n"] for row in rows]}
    named = {name: details[name] for name in METHODS[method].counts}
    return {**counts, **named} if "worse" in named else {**counts, **named, "errors": get("errors")}
