"""Claims about a language model, each about its own quantity (THEORY 2.12). Pure.

`counts` hold what was measured: n, mean_bits and mixing (or beyond and k), and what the unit needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from prunecert.api.claims.code import CODE, CODE_FIXED, alternatives
from prunecert.api.claims.terms import FIXED, Claim, Counts, Terms
from prunecert.bounds.language import (
    language_documents_upper,
    language_sampled_upper,
    language_tokens_upper,
)
from prunecert.bounds.losses import hoeffding_bentkus_upper
from prunecert.inversions import round_up
from prunecert.types import Assumption

Unit = Literal["sampled", "documents", "tokens"]
UNITS: tuple[Unit, ...] = get_args(Unit)

CAUSAL = Assumption(
    "the model's scores of a token read the tokens before it and nothing else (tried on the first "
    "documents)",
    "declared",
)
BOUNDED = Assumption("the loss of (1 − a)p + a/V is bounded, whatever the model", "by construction")
SHARE = Assumption("a share of a document's tokens is between 0 and 1", "by construction")
LISTED = Assumption("a is one of a list that the program fixes", "by construction")
IID = Assumption(
    "the documents are drawn independently from the distribution of new documents", "standing"
)
DRAWN = Assumption(
    "the documents are drawn from the corpus by the program's own sampler, with replacement",
    "by construction",
)
SEED = Assumption(
    "seed and number of the draws, and the corpus, were fixed before any loss was looked at",
    "declared",
)
LENGTH = Assumption(
    "the number of documents was fixed before the text; that of tokens is paid for in the bits",
    "declared",
)


@dataclass(frozen=True)
class _Meaning:
    """What a unit makes of the number."""

    bound: Callable[..., Any]
    quantity: str
    measured_in: str
    own: tuple[Assumption, ...]
    counts: tuple[str, ...]  # besides those of every unit


MEANINGS: dict[Unit, _Meaning] = {
    "sampled": _Meaning(
        language_sampled_upper,
        "bits per token, average over the corpus",
        "bits per token of the corpus",
        (DRAWN, SEED),
        ("documents", "seed"),
    ),
    "documents": _Meaning(
        language_documents_upper,
        "bits per token, expected of a new document",
        "bits per token of new documents",
        (IID,),
        (),
    ),
    "tokens": _Meaning(
        language_tokens_upper,
        "bits per token, conditional on the contexts of the text",
        "bits per token in the contexts of the text",
        (LENGTH,),
        ("documents",),
    ),
}
LOSS_COUNTS = ("mean_bits", "mixing", "mixings", "vocabulary", "places")
SHARE_COUNTS = ("beyond", "k", "vocabulary", "places")


def language_sampled(counts: Counts, terms: Terms) -> Claim:
    """(A): n seeded draws from a finite corpus bound its average."""
    return _bits_per_token("sampled", counts, terms)


def language_documents(counts: Counts, terms: Terms) -> Claim:
    """(B): n independent documents bound what a new one costs on average."""
    return _bits_per_token("documents", counts, terms)


def language_tokens(counts: Counts, terms: Terms) -> Claim:
    """(C): n tokens of one text bound the loss expected in its own contexts."""
    return _bits_per_token("tokens", counts, terms)


def language_top_k(counts: Counts, terms: Terms) -> Claim:
    """Share of tokens beyond the k best, expected of a new document (THEORY 2.11, 2.12 B)."""
    bits, selection_bits = paid(counts, terms, "documents")
    bound = hoeffding_bentkus_upper(counts["beyond"], counts["n"], bits, terms.delta)
    return Claim(
        "language-top-k",
        f"top-{counts['k']} risk per token, expected of a new document",
        round_up(float(bound)),
        counts["n"],
        math.ceil(counts["beyond"] * counts["n"]),
        (("Hoeffding–Bentkus, all codewords at once", terms.delta),),
        (IID, SHARE, CAUSAL, CODE, CODE_FIXED, FIXED, *alternatives(terms.tried)),
        {name: counts[name] for name in SHARE_COUNTS},
        selection_bits,
    )


def bits_bound(unit: Unit, counts: Counts, terms: Terms) -> float:
    """Bits per token, before they are rounded to six digits."""
    bits, _ = paid(counts, terms, unit)
    names = ("mean_bits", "n", "vocabulary", "mixing", "mixings")
    numbers = {name: counts[name] for name in names}
    return float(MEANINGS[unit].bound(**numbers, bits=bits, delta=terms.delta))


def paid(counts: Counts, terms: Terms, unit: Unit) -> tuple[float, float]:
    """What the statement pays in bits, and how much of it for alternatives: the T of --tried and,
    where tokens are the units, as many values as their number could have had."""
    assert terms.code_bits is not None
    lengths = counts["documents"] * counts["places"] if unit == "tokens" else 1
    selection_bits = round_up(math.log2(terms.tried * lengths))
    return terms.code_bits + selection_bits, selection_bits


def _bits_per_token(unit: Unit, counts: Counts, terms: Terms) -> Claim:
    meaning = MEANINGS[unit]
    _, selection_bits = paid(counts, terms, unit)
    return Claim(
        f"language-{unit}",
        meaning.quantity,
        round_up(bits_bound(unit, counts, terms)),
        counts["n"],
        math.ceil(counts["mean_bits"] * counts["n"]),
        (("language bound, all codewords and every a of the list at once", terms.delta),),
        (
            *(*meaning.own, BOUNDED, LISTED, CAUSAL, CODE, CODE_FIXED, FIXED),
            *alternatives(terms.tried),
        ),
        {name: counts[name] for name in (*LOSS_COUNTS, *meaning.counts)},
        selection_bits,
    )


def twin_question(claim: Claim, terms: Terms) -> tuple[str, dict[str, Any], float]:
    """(name of the twin, its arguments, the bound it must not exceed)."""
    numbers, bits = claim.details, (terms.code_bits or 0) + claim.selection_bits
    common = {"n": claim.n, "bits": bits, "delta": terms.delta}
    if claim.method == "language-top-k":
        risk = {"empirical_risk": numbers["beyond"]}
        return "language-top-k", {**risk, **common}, claim.risk_bound
    names = ("mean_bits", "vocabulary", "mixing", "mixings")
    return claim.method, {**{name: numbers[name] for name in names}, **common}, claim.risk_bound


LANGUAGE_CLAIMS: Mapping[str, Callable[[Counts, Terms], Claim]] = {
    "language-sampled": language_sampled,
    "language-documents": language_documents,
    "language-tokens": language_tokens,
    "language-top-k": language_top_k,
}
LANGUAGE_COUNTS: Mapping[str, tuple[str, ...]] = {
    **{f"language-{unit}": (*LOSS_COUNTS, *MEANINGS[unit].counts) for unit in UNITS},
    "language-top-k": SHARE_COUNTS,
}


def language_unit(method: str) -> str:
    """What the number of such a certificate is measured in."""
    if method == "language-top-k":
        return "share of the tokens of new documents"
    return next(m.measured_in for unit, m in MEANINGS.items() if method == f"language-{unit}")
