"""Claims that join two samples: training and hold-out, or labels on one and inputs of another."""

from __future__ import annotations

import math
from collections.abc import Callable

from prunecert.api.claims.code import CODE, CODE_FIXED, alternatives
from prunecert.api.claims.terms import (
    BOUNDED,
    DENSE_MEANT,
    FIXED,
    IID,
    UNTOUCHED,
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
INPUTS_UNTOUCHED = Assumption(
    "the inputs without labels were not used to make or to choose either network", "declared"
)


def train_and_holdout(counts: Counts, terms: Terms) -> Claim:
    """Code and hold-out in one number (THEORY 2.14): one event, one delta."""
    ledger = (("Fisher's combination of code and hold-out, all codewords at once", terms.delta),)
    return _of_code_and_holdout("train-and-holdout", train_and_holdout_upper, ledger, counts, terms)


def code_or_holdout(counts: Counts, terms: Terms) -> Claim:
    """The smaller of code and hold-out certificate, bought beforehand (THEORY 2.1a v)."""
    ledger = (
        ("Occam bound, all codewords at once", terms.delta / 2),
        ("hold-out bound", terms.delta - terms.delta / 2),
    )
    return _of_code_and_holdout("code-or-holdout", code_or_holdout_upper, ledger, counts, terms)


def _of_code_and_holdout(
    method: str,
    bound: Callable[..., float],
    ledger: tuple[tuple[str, float], ...],
    counts: Counts,
    terms: Terms,
) -> Claim:
    bits, selection_bits = _bits(terms)
    numbers = {name: counts[name] for name in ("errors", "n", "holdout_errors", "holdout_n")}
    return Claim(
        method,
        "zero-one risk",
        round_up(bound(**numbers, bits=bits, delta=terms.delta)),
        counts["n"],
        counts["errors"],
        ledger,
        (IID, APART, BOUNDED, CODE, CODE_FIXED, UNTOUCHED, FIXED, *alternatives(terms.tried)),
        {name: counts[name] for name in ("holdout_errors", "holdout_n")},
        selection_bits=selection_bits,
    )


def transfer_to_dense(counts: Counts, terms: Terms) -> Claim:
    """From the code of the pruned network to the dense one (THEORY 2.5), half of delta each."""
    bits, selection_bits = _bits(terms)
    bound = transfer_to_dense_upper(
        counts["errors"], counts["n"], bits, counts["count"], counts["inputs"], terms.delta
    )
    return Claim(
        "transfer-to-dense",
        "zero-one risk",
        round_up(bound),
        counts["n"],
        counts["errors"],
        (
            ("Occam bound of the pruned network, all codewords at once", terms.delta / 2),
            ("disagreement bound", terms.delta - terms.delta / 2),
        ),
        (
            *(IID, APART, BOUNDED, CODE, CODE_FIXED, INPUTS_UNTOUCHED, DENSE_MEANT, FIXED),
            *alternatives(terms.tried),
        ),
        {name: counts[name] for name in ("count", "inputs")},
        selection_bits=selection_bits,
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


def _bits(terms: Terms) -> tuple[float, float]:
    """What the statement pays in bits, and how much of it for alternatives."""
    assert terms.code_bits is not None
    selection_bits = round_up(math.log2(terms.tried))
    return terms.code_bits + selection_bits, selection_bits
