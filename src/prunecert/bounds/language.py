"""Statements about the bits per token of a language model, each with its own unit (THEORY 2.12).

The loss is −log2 p'(token), p' = (1 − a)·p + a/V: it lies between l_min = −log2(1 − a + a/V) and
l_min + Delta_a, Delta_a = log2(1 + (1 − a)V/a), whatever the model says. Three quantities go by the
name "bits per token", and a number proven for one says nothing of the others: the average over a
finite corpus (A), the expectation for a new document (B), the average conditional loss in the
contexts of the training text (C). Arguments may be numbers or arrays (broadcast).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from prunecert.inversions import (
    LN2,
    SLACK,
    elementwise,
    kl_inverse_upper,
    log_failure,
    require_number,
    require_open_unit,
)
from prunecert.types import (
    Assumption,
    BoundSpec,
    Evidence,
    InputError,
    LanguageLosses,
    Source,
)

SHARE_SLACK = 1e-15  # what rounding can take from a loss between 0 and 1
RANGE_SLACK = 1e-9  # a mean this far beyond the range, relatively, was rounded there


def loss_range(vocabulary: int, mixing: float) -> tuple[float, float]:
    """(l_min, Delta_a): the smallest loss of p' in bits per token, and how much larger it can be.

    >>> lowest, width = loss_range(256, 0.5)
    >>> round(lowest + width, 12)  # a token with p = 0 has p' = a/V = 1/512
    9.0
    """
    lowest = -math.log1p(-mixing * (1.0 - 1.0 / vocabulary)) / LN2
    width = math.log1p((1.0 - mixing) * vocabulary / mixing) / LN2
    return lowest, width


@elementwise
def language_sampled_upper(
    mean_bits: float,
    n: int,
    bits: float,
    vocabulary: int,
    mixing: float,
    mixings: int,
    delta: float,
) -> float:
    """Upper bound on the average bits per token over one finite corpus, from n draws (A).

    **Statement.** For a finite corpus, a prefix-free code and a list of `mixings` values of a, all
    fixed before the draws: with probability >= 1 − delta over n documents drawn from the corpus
    uniformly, independently and with replacement, simultaneously for every codeword f of |f| bits
    and every a of the list, A(f, a) <= l_min + Delta_a·kl⁻¹((mean_bits − l_min)/Delta_a,
    (|f| ln 2 + ln(mixings/delta))/n). A(f, a) is the average, over the documents of that corpus,
    of the mean loss of a document's tokens. It says nothing of text outside the corpus.

    **Symbols → arguments.** mean_bits: mean over the n draws (a document drawn twice counts twice)
    of the loss in bits per token of p', in [l_min, l_min + Delta_a] · n: draws, >= 1 · bits: |f|,
    >= 0 · vocabulary: V, integer >= 2 · mixing: a, 0 < a < 1 · mixings: length of the list of a,
    integer >= 1 · delta: total failure probability, 0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** bits per token, at most l_min + Delta_a = log2(V/a), rounded up (by less than 1e-11
    of itself).

    **Certified.** By construction: the draws come from our seeded sampler; the loss is bounded; the
    code is prefix-free. Checked: the mean and the length. Declared: seed, corpus, list of a and
    code were fixed without a look at the losses. Nothing is assumed of the text.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Lotfi, Finzi, Kuang, Rudner, Goldblum and Wilson 2023, arXiv:2312.17173 (loss, unit
    and code); the kl form of Hoeffding, J. Amer. Statist. Assoc. 58 (1963), Theorem 1. THEORY 2.12.
    Deviation: kl⁻¹ in place of the square root, and the quantity is named as what it is.

    **Example.** One draw without avoidable loss, no code, a = 1/2, V = 2: kl⁻¹(0, ln 2) = 1/2 of
    the range log2 3 above −log2(3/4), that is 2 − log2(3)/2.

    >>> bound = language_sampled_upper(-math.log2(0.75), 1, 0, 2, 0.5, 1, 0.5)
    >>> round(bound - (2 - math.log2(3) / 2), 10)
    0.0
    """
    return _kl_form(mean_bits, n, bits, vocabulary, mixing, mixings, delta)


@elementwise
def language_documents_upper(
    mean_bits: float,
    n: int,
    bits: float,
    vocabulary: int,
    mixing: float,
    mixings: int,
    delta: float,
) -> float:
    """Upper bound on the expected bits per token of a new document (B).

    **Statement.** For a prefix-free code and a list of `mixings` values of a fixed before S: with
    probability >= 1 − delta over n i.i.d. documents S ~ Dⁿ, simultaneously for every codeword f of
    |f| bits and every a of the list, E[loss of a new document] <= l_min + Delta_a·kl⁻¹((mean_bits −
    l_min)/Delta_a, (|f| ln 2 + ln(mixings/delta))/n). The loss of a document is the mean over its
    tokens of −log2 p', so short and long documents count alike.

    **Symbols → arguments.** mean_bits: mean over the documents of that loss, in [l_min, l_min +
    Delta_a] · n: number of *documents*, >= 1; tokens within a document are dependent, and their
    number in this place makes a bound that fails half the time · bits, vocabulary, mixing, mixings,
    delta: as in `language_sampled_upper`.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** bits per token, at most l_min + Delta_a = log2(V/a), rounded up (by less than 1e-11
    of itself). It is vacuous from log2 V on, which a model that knows nothing attains.

    **Certified.** Standing: documents are i.i.d. By construction: the loss is bounded; the code is
    prefix-free. Checked: the mean and the length. Declared: code and list of a were fixed before S.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Lotfi et al. 2023, arXiv:2312.17173 (documents as units, p' and the code); the kl
    form of Hoeffding, J. Amer. Statist. Assoc. 58 (1963), Theorem 1. THEORY 2.12. Deviation: kl⁻¹
    in place of the square root.

    **Example.** Nothing learnt: the mean is the largest there can be, log2(V/a).

    >>> round(language_documents_upper(9.0, 100, 0, 256, 0.5, 1, 0.5), 10)
    9.0
    """
    return _kl_form(mean_bits, n, bits, vocabulary, mixing, mixings, delta)


@elementwise
def language_tokens_upper(
    mean_bits: float,
    n: int,
    bits: float,
    vocabulary: int,
    mixing: float,
    mixings: int,
    delta: float,
) -> float:
    """Upper bound on the average conditional loss in the contexts of the training text (C).

    **Statement.** For a prefix-free code, a list of `mixings` values of a and n fixed before the
    text: with probability >= 1 − delta over a text of n tokens drawn in any order of dependence,
    simultaneously for every codeword f of |f| bits and every a of the list, (1/n)·sum over t of
    E[loss of token t | the tokens before it] <= mean_bits + Delta_a·√((|f| ln 2 +
    ln(mixings/delta))/(2n)). The expectation is over one more token in contexts that *have
    occurred*: it is no statement about a new document.

    **Symbols → arguments.** mean_bits: mean over the n tokens of −log2 p', each from the tokens
    before it, in [l_min, l_min + Delta_a] · n: number of tokens, >= 1, fixed beforehand; of one
    that the text decided, at most N, log2 N more bits · bits, vocabulary, mixing, mixings, delta:
    as in `language_sampled_upper`.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** bits per token, at most l_min + Delta_a = log2(V/a), rounded up (by less than 1e-11
    of itself).

    **Certified.** By construction: the loss is bounded and reads earlier tokens only; the code is
    prefix-free. Checked: the mean and the length. Declared: code and list of a were fixed before
    the text. Nothing is assumed of the text: differences from the conditional mean are martingale
    differences by definition.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Lotfi, Kuang, Amos, Goldblum, Finzi and Wilson 2024, arXiv:2407.18158 (the token
    martingale); Hoeffding 1963 and Azuma 1967. THEORY 2.12. Deviation: none but the price of n.

    **Example.** a = 1/2, V = 2, one token, ln(1/delta) = 2·(1/log2 3)²·(1/16): 1/4 bit is added.

    >>> delta = math.exp(-2 * (0.25 / math.log2(3)) ** 2)
    >>> round(language_tokens_upper(0.5, 1, 0, 2, 0.5, 1, delta), 10)
    0.75
    """
    lowest, width = _require_mean(mean_bits, vocabulary, mixing)
    rate = _rate(n, bits, mixings, delta)
    return _capped(mean_bits + width * math.sqrt(rate / 2.0), lowest + width)


@elementwise
def subsampled_bits_upper(
    mean_bits: float,
    evaluated: int,
    vocabulary: int,
    mixing: float,
    mixings: int,
    delta: float,
) -> float:
    """Upper bound on the mean loss over a whole sample, from `evaluated` units drawn out of it.

    **Statement.** For a model and a sample of units (draws, documents or tokens, as in the bound
    that this mean goes into) fixed before the draws: with probability >= 1 − delta over `evaluated`
    uniform, independent draws with replacement, for every a of the list at once, the mean loss over
    the whole sample is at most mean_bits + Delta_a·√(ln(mixings/delta)/(2·evaluated)). What is
    returned is the mean_bits of `language_sampled_upper`, `…_documents_upper` or `…_tokens_upper`;
    of a total delta, s·delta goes there and (1 − s)·delta comes here, s fixed beforehand.

    **Symbols → arguments.** mean_bits: mean loss over the units drawn, in [l_min, l_min + Delta_a]
    · evaluated: draws, integer >= 1 · vocabulary, mixing, mixings: as there · delta: the share of
    this step, 0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** bits per token, at most l_min + Delta_a, rounded up (by less than 1e-11 of itself).

    **Certified.** By construction: the draws come from our seeded sampler; the loss is bounded.
    Declared: the model was fixed before these draws (it is not one of many, so no code is paid).

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Hoeffding, J. Amer. Statist. Assoc. 58 (1963), Theorem 2; its use here: Lotfi et al.
    2023, arXiv:2312.17173. THEORY 2.12.

    **Example.** As in `language_tokens_upper`, for one draw.

    >>> delta = math.exp(-2 * (0.25 / math.log2(3)) ** 2)
    >>> round(subsampled_bits_upper(0.5, 1, 2, 0.5, 1, delta), 10)
    0.75
    """
    _require_whole("evaluated", evaluated, 1)
    lowest, width = _require_mean(mean_bits, vocabulary, mixing)
    added = width * math.sqrt(_rate(evaluated, 0.0, mixings, delta) / 2.0)
    return _capped(mean_bits + added, lowest + width)


# --------------------------------------------------------------------------- shared


def _kl_form(
    mean_bits: float,
    n: int,
    bits: float,
    vocabulary: int,
    mixing: float,
    mixings: int,
    delta: float,
) -> float:
    """Of n independent units: losses are shares of the range, and the kl of shares is inverted."""
    lowest, width = _require_mean(mean_bits, vocabulary, mixing)
    rate = _rate(n, bits, mixings, delta)
    share = min(1.0, max(0.0, (mean_bits - lowest) / width) + SHARE_SLACK)
    return _capped(lowest + width * float(kl_inverse_upper(share, rate)), lowest + width)


def _rate(n: int, bits: float, mixings: int, delta: float) -> float:
    """(|f| ln 2 + ln(mixings/delta))/n, nats per unit."""
    _require_whole("n", n, 1)
    _require_whole("mixings", mixings, 1)
    return (math.log(mixings) - float(log_failure(delta, bits))) / n


def _require_mean(mean_bits: float, vocabulary: int, mixing: float) -> tuple[float, float]:
    """The range of the loss, which a mean of it must lie in."""
    _require_whole("vocabulary", vocabulary, 2)
    require_open_unit("mixing", mixing)
    lowest, width = loss_range(vocabulary, mixing)
    low, high = lowest * (1.0 - RANGE_SLACK), (lowest + width) * (1.0 + RANGE_SLACK)
    require_number("mean_bits", mean_bits, low, high, f"{low:.6g} <= mean_bits <= {high:.6g}")
    return lowest, width


def _require_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be an integer >= {least}, not {value!r}")


def _capped(bound: float, largest: float) -> float:
    """Pushed outward; no loss is above `largest`."""
    return min(bound, largest) * (1.0 + SLACK)


# --------------------------------------------------------------------------- the rows

LOTFI_2023 = Source(
    key="lotfi2023",
    authors="Sanae Lotfi, Marc Finzi, Yilun Kuang, Tim G. J. Rudner, Micah Goldblum and "
    "Andrew Gordon Wilson",
    year=2023,
    title="Non-Vacuous Generalization Bounds for Large Language Models",
    identifier="arXiv:2312.17173",
    deviation="the kl is inverted in place of a square root; mixing weights from a list are paid",
)
LOTFI_2024 = Source(
    key="lotfi2024",
    authors="Sanae Lotfi, Yilun Kuang, Brandon Amos, Micah Goldblum, Marc Finzi and "
    "Andrew Gordon Wilson",
    year=2024,
    title="Unlocking Tokens as Data Points for Generalization Bounds on Larger Language Models",
    identifier="arXiv:2407.18158",
    deviation="named as what it bounds: a conditional loss in the contexts of the training text",
)

_BOUNDED = Assumption("the loss of p' is bounded, whatever the model says", "by construction")
_CODED = (
    Assumption("the code is prefix-free", "by construction"),
    Assumption("mean loss and code length are those of the network on the sample", "checked"),
    Assumption("the code, the list of a and delta were fixed before the sample", "declared"),
)


def _arguments(unit: str) -> Callable[[Evidence, float], dict[str, Any]]:
    def arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
        found: LanguageLosses = evidence[f"languagelosses@{unit}"]
        return {
            "mean_bits": found.mean_bits,
            "n": found.n,
            "bits": evidence["code"].bits,
            "vocabulary": found.vocabulary,
            "mixing": found.mixing,
            "mixings": found.mixings,
            "delta": delta,
        }

    return arguments


def _row(
    unit: str,
    function: Callable[..., Any],
    quantity: str,
    summary: str,
    source: Source,
    first: Assumption,
) -> BoundSpec:
    return BoundSpec(
        name=f"language-{unit}",
        function=function,
        kind="certified",
        quantity=quantity,
        summary=summary,
        source=source,
        needs=("code", f"languagelosses@{unit}"),
        from_evidence=_arguments(unit),
        assumptions=(first, _BOUNDED, *_CODED),
        unit="bits per token",
    )


LANGUAGE_ROWS = (
    _row(
        "sampled",
        language_sampled_upper,
        "bits per token, average over the corpus",
        "seeded draws from a finite corpus and code length, kl form",
        LOTFI_2023,
        Assumption("seed and corpus were fixed before any loss on the draws was seen", "declared"),
    ),
    _row(
        "documents",
        language_documents_upper,
        "bits per token, expected of a new document",
        "loss on independent documents and code length, kl form",
        LOTFI_2023,
        Assumption("the n documents are independent draws of what is meant", "standing"),
    ),
    _row(
        "tokens",
        language_tokens_upper,
        "bits per token, conditional on the contexts of the text",
        "token martingale and code length; not about new documents",
        LOTFI_2024,
        Assumption("the number of tokens was fixed, or is paid for in the bits", "declared"),
    ),
)
