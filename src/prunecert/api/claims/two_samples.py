"""Claims that join two samples: training and hold-out, or labels on one and inputs of another."""

from __future__ import annotations

from collections.abc import Callable

from prunecert.api.claims.code import CODE, CODE_FIXED
from prunecert.api.claims.terms import (
    BOUNDED,
    DENSE_MEANT,
    FIXED,
    IID,
    Claim,
    Counts,
    Terms,
    shared,
    untouched,
)
from prunecert.bounds.combined import (
    code_or_holdout_upper,
    train_and_holdout_upper,
    transfer_to_dense_upper,
    transfer_to_pruned_upper,
)
from prunecert.inversions import round_up
from prunecert.types import Assumption

APART = Assumption("the two samples share no row and were drawn independently", "standing")
SETTLED = Assumption(
    "that code and hold-out would be stated together was settled before either was looked at",
    "declared",
)
INPUTS_UNTOUCHED = Assumption(
    "the inputs without labels were not used to make or to choose either network", "declared"
)


def train_and_holdout(counts: Counts, terms: Terms) -> Claim:
    """Code and hold-out in one number (THEORY 2.14): one event, one delta."""
    item = "Fisher's combination of code and hold-out, all codewords at once"
    ledger = shared(item, terms)
    return _of_code_and_holdout("train-and-holdout", train_and_holdout_upper, ledger, counts, terms)


def code_or_holdout(counts: Counts, terms: Terms) -> Claim:
    """The smaller of code and hold-out certificate, bought beforehand (THEORY 2.1a v)."""
    half = Terms(terms.delta / 2, tried=terms.tried)
    ledger = (*shared("Occam bound, all codewords at once", half), *shared("hold-out bound", half))
    return _of_code_and_holdout("code-or-holdout", code_or_holdout_upper, ledger, counts, terms)


def _of_code_and_holdout(
    method: str,
    bound: Callable[..., float],
    ledger: tuple[tuple[str, float], ...],
    counts: Counts,
    terms: Terms,
) -> Claim:
    numbers = {name: counts[name] for name in ("errors", "n", "holdout_errors", "holdout_n")}
    delta = terms.delta / terms.tried
    return Claim(
        method,
        "zero-one risk",
        round_up(bound(**numbers, bits=terms.code_bits, delta=delta)),
        counts["n"],
        counts["errors"],
        ledger,
        (*(IID, APART, BOUNDED, CODE, CODE_FIXED, untouched(terms.tried)), FIXED, SETTLED),
        {name: counts[name] for name in ("holdout_errors", "holdout_n")},
    )


def transfer_to_dense(counts: Counts, terms: Terms) -> Claim:
    """From the code of the pruned network to the dense one (THEORY 2.5), half of delta each."""
    bound = transfer_to_dense_upper(
        counts["errors"],
        counts["n"],
        terms.code_bits,
        counts["count"],
        counts["inputs"],
        terms.delta / terms.tried,
    )
    half = Terms(terms.delta / 2, tried=terms.tried)
    item = "Occam bound of the pruned network, all codewords at once"
    return Claim(
        "transfer-to-dense",
        "zero-one risk",
        round_up(bound),
        counts["n"],
        counts["errors"],
        (*shared(item, half), *shared("disagreement bound", half)),
        (
            *(IID, APART, BOUNDED, CODE, CODE_FIXED, untouched(terms.tried)),
            *(INPUTS_UNTOUCHED, DENSE_MEANT, FIXED),
        ),
        {name: counts[name] for name in ("count", "inputs")},
    )


def transfer_to_pruned(counts: Counts, terms: Terms) -> Claim:
    """From a hold-out of the dense network to the pruned one (THEORY 2.5), half of delta each."""
    delta = terms.delta / terms.tried
    bound = transfer_to_pruned_upper(
        counts["errors"], counts["n"], counts["count"], counts["inputs"], delta
    )
    half = Terms(terms.delta / 2, tried=terms.tried)
    return Claim(
        "transfer-to-pruned",
        "zero-one risk",
        round_up(bound),
        counts["n"],
        counts["errors"],
        (*shared("hold-out bound of the dense network", half), *shared("disagreement bound", half)),
        (IID, APART, BOUNDED, untouched(terms.tried), INPUTS_UNTOUCHED, DENSE_MEANT, FIXED),
        {name: counts[name] for name in ("count", "inputs")},
    )
