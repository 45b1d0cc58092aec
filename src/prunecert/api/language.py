"""Certify a language model: bits per token, or tokens beyond the k best, from a text and a code.

What is certified is the network that its bytes decode to. The unit is part of the method's name, as
each is about another quantity: language-sampled, language-documents, language-tokens (THEORY 2.12).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from prunecert import measuring_language
from prunecert.api.certification import sizes_of
from prunecert.api.claims import Claim, Terms, check_terms
from prunecert.api.claims.language import LANGUAGE_CLAIMS, UNITS, Unit
from prunecert.api.coded import BestCode, Probe
from prunecert.api.counting import Options
from prunecert.api.issuing import Issued, issue
from prunecert.api.networks import Network
from prunecert.api.records import AS_CODED
from prunecert.bounds.language import loss_range
from prunecert.certificate import CertificateRecord
from prunecert.coding.precision import search_precision
from prunecert.coding.prng import SEEDS
from prunecert.data import Sample
from prunecert.inversions import round_up
from prunecert.measuring import TOLERANCE
from prunecert.measuring_language import MIXINGS, DocumentLosses, seeded_draws
from prunecert.results import evidence_bytes
from prunecert.types import Code, CodeError, InputError, LanguageLosses, Losses

PROBE_BLOCKS, PROBE_BLOCK = 20, 10  # evenly spread documents that precisions are compared on
MOST_BITS = 64  # per token: what a certificate can hold
MOST_DRAWS = 10**7  # a certificate may come from a stranger: its draws must fit into memory
SAME = ("n", "mixings", "vocabulary", "places", "documents", "seed", "k")
WORSE = ("mean_bits", "beyond")


@dataclass(frozen=True)
class Asked:
    """Which statement, and what it is computed from besides the documents."""

    method: str
    k: int = 1
    draws: int = 0  # of language-sampled: how many, and their seed
    seed: int = 0

    @property
    def unit(self) -> Unit:
        found = self.method.removeprefix("language-")
        return next((unit for unit in UNITS if unit == found), "documents")


@dataclass(frozen=True)
class CertifiedLanguage:
    """A claim about a decoded language model, with all that goes into its certificate."""

    claim: Claim
    terms: Terms
    network: Network
    data: bytes = field(repr=False)
    sample: Sample = field(repr=False)
    evidence: bytes = field(repr=False)
    details: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def risk_bound(self) -> float:
        return self.claim.risk_bound

    def issue(self) -> Issued:
        """The certificate and its files."""
        return issue(
            self.claim,
            self.terms,
            self.network,
            self.data,
            self.sample,
            object_text=AS_CODED,
            evidence=self.evidence,
            details=self.details,
            notes=self.notes,
        )


def certify_language(
    network: Network,
    sample: Sample,
    *,
    delta: float,
    unit: Unit = "documents",
    k: int | None = None,
    draws: int | None = None,
    seed: int = 0,
    tried: int = 1,
    target: float | None = None,
    options: Options = Options(),
) -> CertifiedLanguage:
    """A code certificate of a pruned language model, from the documents it was trained on.

    `unit` says what the number is about. "documents": the bits per token expected of a new
    document. "sampled": their average over the documents of `sample` and no others, from `draws` of
    them (as many as there are, unless said) by `seed`. "tokens": the loss expected of the next
    token in the contexts of this text. With `k` the loss is instead the share of a document's
    tokens that are not among the k best guesses, and the unit is documents.
    """
    check_terms(delta, tried)
    if target is not None and not 0 <= target <= MOST_BITS:
        raise InputError(f"--target-error {target}: expected bits per token from 0 to {MOST_BITS}")
    if unit not in UNITS:
        raise InputError(f"--unit {unit}: expected one of {', '.join(UNITS)}")
    if k is not None and unit != "documents":
        raise InputError(f"--top-k {k}: its unit is documents, not {unit}")
    if sample.role != "bound":
        raise InputError(f"language: expected a sample in the role bound, not {sample.role}")
    count = sample.n if draws is None else draws
    if not 1 <= count <= MOST_DRAWS:
        raise InputError(f"--draws {count}: expected 1 to {MOST_DRAWS:,}")
    if not 0 <= seed < SEEDS:
        raise InputError(f"--seed {seed}: expected an integer from 0 to {SEEDS - 1}")
    method = f"language-{unit}" if k is None else "language-top-k"
    asked = Asked(method, k or 1, count, seed)
    best = smallest_language_code(network, sample, asked, Terms(delta, 0, tried), options)
    decoded = replace(network, tensors=network.architecture.decode(best.network.data).tensors)
    terms = Terms(delta, best.network.code.bits, tried, target, asked.k)
    found = document_losses(decoded, sample, asked, options)
    claim = best_claim(asked, found, terms, sample.n)
    parts = _parts(claim, found, best.network.code, asked)
    return CertifiedLanguage(
        claim,
        terms,
        decoded,
        best.network.data,
        sample,
        evidence_bytes(parts, {"precisions": best.precisions}),
        {"bits": dict(best.network.code.parts), "bytes": sizes_of(decoded, best.network.data)},
        (*network.notes, *best.notes),
    )


def document_losses(
    network: Network,
    sample: Sample,
    asked: Asked,
    options: Options,
    tolerance: float = TOLERANCE,
) -> DocumentLosses:
    """One pass over the documents; `tolerance` 0 measures strictly."""
    with options.stage(f"evaluating on {sample.name}", sample.n) as tick:
        return measuring_language.run(
            network.module(),
            sample,
            k=asked.k,
            tolerance=tolerance,
            batch_size=options.batch_size,
            device=options.device,
            tick=tick,
        )


def counts_of_losses(asked: Asked, found: DocumentLosses, documents: int) -> list[dict[str, Any]]:
    """What the claim is made from, for every a of the list (once for top-k); numbers rounded up.

    `found` may be of fewer documents than the `documents` that the statement is about, for a
    preview: their means are then taken for those of all.
    """
    shared = {"vocabulary": found.vocabulary, "places": found.places}
    if asked.method == "language-top-k":
        share = min(1.0, round_up(found.mean_beyond()))
        return [{**shared, "n": documents, "k": asked.k, "beyond": share}]
    n, means = documents, found.mean_bits()
    if asked.unit == "sampled":
        n, shared = asked.draws, {**shared, "documents": documents, "seed": asked.seed}
        if found.n == documents:
            means = found.of(seeded_draws(asked.seed, documents, n)).mean_bits()
    elif asked.unit == "tokens":
        n, means = int(found.tokens.sum()) * documents // found.n, found.token_mean_bits()
        shared = {**shared, "documents": documents}
    shared = {**shared, "n": n, "mixings": len(MIXINGS)}
    largest = (sum(loss_range(found.vocabulary, a)) for a in MIXINGS)
    return [
        {**shared, "mixing": a, "mean_bits": min(round_up(mean), most)}
        for a, mean, most in zip(MIXINGS, means, largest, strict=True)
    ]


def best_claim(asked: Asked, found: DocumentLosses, terms: Terms, documents: int) -> Claim:
    """The claim with the smallest bound: the choice of a is paid for by the length of its list."""
    claims = (
        LANGUAGE_CLAIMS[asked.method](counts, terms)
        for counts in counts_of_losses(asked, found, documents)
    )
    return min(claims, key=lambda claim: claim.risk_bound)


def asked_of(record: CertificateRecord) -> Asked:
    """What a certificate answers."""
    details: Mapping[str, Any] = record.details
    drawn = record.n if record.method == "language-sampled" else 0
    return Asked(record.method, details.get("k", 1), drawn, details.get("seed", 0))


def refuse_better_than_measured(
    recorded: Mapping[str, Any], network: Network, sample: Sample, asked: Asked, options: Options
) -> None:
    """CodeError where a certificate's numbers (n and its details) are better than a strict
    measurement finds, or are not those of this statement."""
    if asked.draws > MOST_DRAWS:
        raise CodeError(f"n: {asked.draws} draws, expected {MOST_DRAWS:,} at most")
    found = document_losses(network, sample, asked, options, tolerance=0.0)
    measured = counts_of_losses(asked, found, sample.n)
    strict = next((c for c in measured if c.get("mixing") == recorded.get("mixing")), None)
    if strict is None:
        raise CodeError(f"details.mixing: {recorded.get('mixing')} is not of the list")
    for name in (name for name in SAME if name in strict):
        if recorded.get(name) != strict[name]:
            raise CodeError(f"recount: {name} is {strict[name]}, not {recorded.get(name)}")
    for name in (name for name in WORSE if name in strict):
        if not recorded.get(name, -1.0) >= strict[name]:
            raise CodeError(f"recount: {name} is {strict[name]}, not {recorded.get(name)}")


def _parts(claim: Claim, found: DocumentLosses, code: Code, asked: Asked) -> dict[str, Any]:
    """Evidence from which the same number comes out: where tokens are the units, the price of
    their number is part of the code."""
    numbers = claim.details
    if asked.method == "language-top-k":
        share = Losses(found.beyond, 0.0, 1.0, f"beyond the {asked.k} best", found.sample)
        return {"losses@language-top-k": share, "code": code}
    if asked.unit == "tokens":
        price = int(np.ceil(claim.selection_bits))
        code = Code(code.bits + price, {**code.parts, "number of tokens": price})
    losses = LanguageLosses(
        numbers["mean_bits"],
        numbers["mixing"],
        numbers["mixings"],
        numbers["vocabulary"],
        claim.n,
        asked.unit,
        found.sample,
    )
    return {f"languagelosses@{asked.unit}": losses, "code": code}


# --------------------------------------------------------------------------- the code


def smallest_language_code(
    network: Network, sample: Sample, asked: Asked, terms: Terms, options: Options
) -> BestCode:
    """The bytes with the smallest bound found; measured on a part of the documents.

    The search hands numbers around: here they count the measurements made so far, number 0 being a
    model that makes no loss at all.
    """
    probe = _probe(sample, options)
    architecture = network.architecture
    first = measuring_language.run(network.module(), probe, k=asked.k, device=options.device)
    lowest = np.array([[loss_range(first.vocabulary, a)[0] for a in MIXINGS]])
    least_vacuous = min(sum(loss_range(first.vocabulary, a)) for a in MIXINGS)
    if asked.method == "language-top-k":
        least_vacuous = 1.0
    measured = [replace(first.of(np.zeros(1, np.int64)), bits=lowest, beyond=np.zeros(1))]

    def measure(candidate: dict[str, Any]) -> int:
        module = architecture.build(candidate)
        measured.append(measuring_language.run(module, probe, k=asked.k, device=options.device))
        return len(measured) - 1

    def bound_of(number: int, bits: float) -> float:
        found = measured[number]
        priced = replace(terms, code_bits=int(np.ceil(bits)))
        claim, best_guess = best_claim(asked, found, priced, sample.n), found.mean_beyond()
        if asked.method != "language-top-k":
            best_guess = float(min(found.mean_bits())) / np.log2(first.vocabulary)
        if claim.risk_bound < least_vacuous:
            return claim.risk_bound / least_vacuous
        # still a direction where it says nothing: the square-root form has no ceiling
        return 1.0 + best_guess + float(np.sqrt(bits * np.log(2) / (2 * claim.n)))

    given = {n: t + 0 if t.is_floating_point() else t for n, t in network.tensors.items()}
    with options.stage("searching the precision", 0) as tick:
        best = search_precision(
            given,
            architecture.specs,
            architecture.view.groups,
            measure,
            bound_of,
            rounds=1,
            on_step=lambda: tick(1),
        )
    words = {name: str(precision) for name, precision in best.precisions.items()}
    return BestCode(architecture.encode(best.tensors, best.choices), words, ())


def _probe(sample: Sample, options: Options) -> Probe:
    """About PROBE_BLOCKS · PROBE_BLOCK documents, evenly spread over the sample, in one batch."""
    stride = max(sample.n // PROBE_BLOCKS, PROBE_BLOCK)
    tokens, labels = [], []
    for start in range(sample.start, sample.stop, stride):
        block = replace(sample, start=start, stop=min(start + PROBE_BLOCK, sample.stop))
        for inputs, following in block.batches(PROBE_BLOCK, options.device):
            if not isinstance(inputs, torch.Tensor) or following.ndim != 2:
                raise InputError(f"{sample.source}: expected documents, as a FILE.txt has them")
            tokens.append(inputs)
            labels.append(following)
    return Probe(f"a part of {sample.name}", ((torch.cat(tokens), torch.cat(labels)),))
