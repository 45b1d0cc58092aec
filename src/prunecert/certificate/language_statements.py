"""The sentences of certificates about language models: each names its own quantity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from prunecert.certificate.folder import NETWORK
from prunecert.certificate.numbers import percent

Record = Mapping[str, Any]


def language_samples(record: Record) -> str:
    """What confidence is over: stands where other certificates say "the n samples …"."""
    n, sample = record["n"], record["data"]["sample"]
    documents = record["details"].get("documents")
    if record["method"] == "language-sampled":
        seed = record["details"]["seed"]
        return f"{n:,} documents by seed {seed} out of the {documents:,} documents {sample}"
    if record["method"] == "language-tokens":
        return f"the {n:,} tokens of the {documents:,} documents {sample}"
    return f"the {n:,} documents {sample}"


def _sampled(record: Record) -> str:
    return (
        f"{_costs(record)} bits per token on average over those {record['details']['documents']:,} "
        f"documents, and this says nothing of any other text {_measured(record)}"
    )


def _documents(record: Record) -> str:
    return (
        f"{_costs(record)} bits per token on average over those tokens of a new document drawn "
        f"alike {_measured(record)}"
    )


def _tokens(record: Record) -> str:
    return (
        f"{_costs(record)} bits for the next token, expected in each of the contexts that occurred "
        "in this text and averaged over them, and this says nothing of a new document "
        f"{_measured(record)}"
    )


def _top_k(record: Record) -> str:
    details = record["details"]
    return (
        f"the network in {NETWORK}, which reads {details['places']:,} tokens of a document at "
        f"most, misses with its {details['k']} best guesses on average at most "
        f"{percent(record['risk_bound'])} of those tokens of a new document drawn alike "
        f"({percent(details['beyond'])} measured, a code of {record['code_bits']:,} bits)"
    )


def _costs(record: Record) -> str:
    places = record["details"]["places"]
    return (
        f"the network in {NETWORK}, which reads {places:,} tokens of a document at most, costs at "
        f"most {record['risk_bound']}"
    )


def _measured(record: Record) -> str:
    details = record["details"]
    nothing = math.log2(details["vocabulary"])
    return (
        f"({details['mean_bits']} measured, with {details['mixing']} of every probability spread "
        f"over {details['vocabulary']:,} tokens; knowing nothing costs {nothing:.6g}; a code of "
        f"{record['code_bits']:,} bits)"
    )


LANGUAGE_CLAIMED: dict[str, Callable[[Record], str]] = {
    "language-sampled": _sampled,
    "language-documents": _documents,
    "language-tokens": _tokens,
    "language-top-k": _top_k,
}
