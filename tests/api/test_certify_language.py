"""From a text to a certificate: train, prune, encode, decode, measure, bound; and back."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from prunecert.api.claims import Claim
from prunecert.api.claims.language import LANGUAGE_COUNTS, language_unit, twin_question
from prunecert.api.counting import Options
from prunecert.api.language import (
    Asked,
    CertifiedLanguage,
    best_claim,
    certify_language,
    document_losses,
    refuse_better_than_measured,
)
from prunecert.api.networks import Network, architecture
from prunecert.api.runs import Recipe, fit, state_of
from prunecert.bounds.language import (
    LANGUAGE_ROWS,
    language_documents_upper,
    language_sampled_upper,
    language_tokens_upper,
)
from prunecert.bounds.losses import hoeffding_bentkus_upper
from prunecert.bounds.table import evaluate
from prunecert.certificate import percent
from prunecert.certificate.language_statements import LANGUAGE_CLAIMED, language_samples
from prunecert.data import Sample, load_source, take
from prunecert.data.text import seeded_text
from prunecert.inversions import round_up
from prunecert.measuring_language import MIXINGS, DocumentLosses, seeded_draws
from prunecert.models.gpt import centre_tokens
from prunecert.models.zoo import build
from prunecert.pruning import prune_module
from prunecert.reference import TWINS
from prunecert.results import read_evidence
from prunecert.training import mean_cross_entropy
from prunecert.types import CodeError, InputError

SPEC = "gpt:1-8-2-24"
DELTA = 0.05
OPTIONS = Options()


def text_sample(folder: Path, documents: int) -> Sample:
    """The first 5/6 of so many documents."""
    path = folder / f"text-{documents}.txt"
    path.write_bytes(seeded_text(1, documents))
    return take(load_source(str(path)), "train", "bound")


def trained(sample: Sample, steps: str, sparsities: tuple[float, ...], batch_size: int) -> Network:
    """Trained from scratch, its embedding centred, then pruned and trained on, rung by rung."""
    recipe = Recipe(steps, batch_size, learning_rate=0.02, optimizer="adamw")
    module, masks = build(SPEC), None
    fit(module, sample, recipe)
    centre_tokens(module)
    for sparsity in sparsities:
        module, masks = prune_module(module, sparsity, include=["*"], previous=masks)
        fit(module, sample, recipe, masks=masks)
    return Network(architecture(SPEC), state_of(module), "pruned")


@dataclass(frozen=True)
class Made:
    sample: Sample
    given: Network
    certified: CertifiedLanguage


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    sample = text_sample(tmp_path_factory.mktemp("text"), 12_000)
    given = trained(sample, "250it", (0.85,), 32)
    return Made(sample, given, certify_language(given, sample, delta=DELTA))


@pytest.fixture(scope="module")
def losses(made: Made) -> DocumentLosses:
    """Of the certified network on its documents, beyond the two best guesses."""
    return document_losses(made.certified.network, made.sample, Asked("language-top-k", 2), OPTIONS)


def as_record(certified: CertifiedLanguage) -> dict[str, Any]:
    """The fields that verify and the statement read."""
    claim = certified.claim
    return {
        **{name: getattr(claim, name) for name in ("method", "risk_bound", "n", "details")},
        "code_bits": certified.terms.code_bits,
        "data": {"sample": certified.sample.name},
    }


# --------------------------------------------------------------------------- end to end


def test_a_pruned_language_model_has_a_certificate_that_says_something(made):
    certified = made.certified
    assert certified.risk_bound < 6 < 8 == math.log2(256)
    assert certified.claim.method == "language-documents"
    assert certified.claim.n == made.sample.n == 10_000


def test_it_is_about_what_the_bytes_decode_to(made):
    certified, architecture_ = made.certified, made.given.architecture
    decoded = architecture_.decode(certified.data)
    assert decoded.architecture == (6, 1, 8, 2, 24, 256)
    assert certified.network.tensors.keys() == decoded.tensors.keys()
    for name, tensor in decoded.tensors.items():
        assert torch.equal(certified.network.tensors[name], tensor)
    again = architecture_.encode(decoded.tensors, decoded.choices)
    assert (again.data, again.code.bits) == (certified.data, certified.terms.code_bits)
    pruned = {name for name in decoded.tensors if decoded.tensors[name].dim() > 1}
    for name in pruned:  # what was pruned stays so
        assert not decoded.tensors[name][made.given.tensors[name] == 0].any()


def test_its_number_is_the_bound_of_its_own_numbers(made, losses):
    claim, details = made.certified.claim, made.certified.claim.details
    assert (details["mixings"], details["vocabulary"], details["places"]) == (10, 256, 24)
    assert claim.risk_bound == round_up(
        language_documents_upper(
            details["mean_bits"],
            10_000,
            made.certified.terms.code_bits,
            256,
            details["mixing"],
            10,
            DELTA,
        )
    )
    mean = losses.bits[:, MIXINGS.index(details["mixing"])].mean()
    assert mean <= details["mean_bits"] < mean + 2e-6


def test_another_a_of_the_list_would_not_have_been_better(made, losses):
    bounds = [
        language_documents_upper(mean, 10_000, made.certified.terms.code_bits, 256, a, 10, DELTA)
        for a, mean in zip(MIXINGS, losses.mean_bits())
    ]
    assert made.certified.risk_bound == pytest.approx(min(bounds), abs=1e-5)


def test_evidence_gives_the_same_number_again(made, tmp_path):
    (tmp_path / "evidence.npz").write_bytes(made.certified.evidence)
    parts, _ = read_evidence(tmp_path / "evidence.npz")
    row = next(row for row in LANGUAGE_ROWS if row.name == "language-documents")
    assert evaluate(row, parts, DELTA).risk_bound == made.certified.risk_bound


# --------------------------------------------------------------------------- what verify asks


def test_an_honest_certificate_passes(made):
    claim = made.certified.claim
    recorded = {"n": claim.n, **claim.details}
    asked, others = Asked(claim.method), replace(OPTIONS, batch_size=57)
    refuse_better_than_measured(recorded, made.certified.network, made.sample, asked, others)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean_bits", 0.4),
        ("mean_bits", math.nan),
        ("mixing", 0.3),
        ("mixings", 1),
        ("vocabulary", 255),
        ("places", 25),
        ("n", 100_000),
        ("mean_bits", None),
    ],
)
def test_forged_numbers_are_refused(made, name, value):
    claim = made.certified.claim
    recorded = {"n": claim.n, **claim.details, name: value}
    recorded = {key: found for key, found in recorded.items() if found is not None}
    few = replace(made.sample, stop=600)
    asked = Asked(claim.method)
    honest = {**recorded, "n": few.n} if name != "n" else recorded
    with pytest.raises((CodeError, TypeError), match=name):
        refuse_better_than_measured(honest, made.certified.network, few, asked, OPTIONS)


def test_the_twins_agree(made, claims):
    for claim in claims.values():
        name, arguments, bound = twin_question(claim, made.certified.terms)
        value = TWINS[name](**arguments)
        assert bound - 2e-6 < value <= bound


def all_units(documents: int) -> tuple[Asked, ...]:
    return (
        Asked("language-documents"),
        Asked("language-sampled", draws=2 * documents, seed=3),
        Asked("language-tokens"),
        Asked("language-top-k", k=2),
    )


# --------------------------------------------------------------------------- units


@pytest.fixture(scope="module")
def claims(made: Made, losses: DocumentLosses) -> dict[str, Claim]:
    n, terms = made.sample.n, made.certified.terms
    return {a.method: best_claim(a, losses, terms, n) for a in all_units(n)}


def test_a_corpus_is_drawn_from_by_its_seed(made, claims, losses):
    claim = claims["language-sampled"]
    details = claim.details
    assert (claim.n, details["documents"], details["seed"]) == (20_000, 10_000, 3)
    drawn = losses.bits[seeded_draws(3, 10_000, 20_000), MIXINGS.index(details["mixing"])]
    assert drawn.mean() <= details["mean_bits"] < drawn.mean() + 2e-6
    arguments = {**only(details, "mean_bits", "vocabulary", "mixing", "mixings"), "n": 20_000}
    bits = made.certified.terms.code_bits
    expected = language_sampled_upper(**arguments, bits=bits, delta=DELTA)
    assert claim.risk_bound == round_up(expected)


def test_tokens_pay_for_their_number(made, claims):
    claim = claims["language-tokens"]
    labels = made.sample.labels
    assert claim.n == int((labels >= 0).sum())
    assert claim.selection_bits == round_up(math.log2(10_000 * 24))
    arguments = only(claim.details, "mean_bits", "vocabulary", "mixing", "mixings")
    bits = made.certified.terms.code_bits + math.log2(10_000 * 24)
    expected = language_tokens_upper(**arguments, n=claim.n, bits=bits, delta=DELTA)
    assert claim.risk_bound == pytest.approx(expected, abs=2e-6)


def test_top_k_is_a_share_of_tokens(made, claims):
    claim = claims["language-top-k"]
    share, bits = claim.details["beyond"], made.certified.terms.code_bits
    assert claim.risk_bound == round_up(hoeffding_bentkus_upper(share, 10_000, bits, DELTA))
    assert share < claim.risk_bound < 1
    assert claim.quantity == "top-2 risk per token, expected of a new document"


def test_every_unit_has_its_own_quantity_and_sentence(made, claims):
    assert len({claim.quantity for claim in claims.values()}) == 4
    assert len({language_unit(method) for method in claims}) == 4
    assert all(LANGUAGE_COUNTS[m] == tuple(claim.details) for m, claim in claims.items())
    sentences = {}
    for method, claim in claims.items():
        record = as_record(replace(made.certified, claim=claim))
        sentences[method] = f"{language_samples(record)}: {LANGUAGE_CLAIMED[method](record)}"
        digits = percent(claim.risk_bound) if "top-k" in method else str(claim.risk_bound)
        assert digits in sentences[method]  # every digit
    assert "a new document drawn alike" in sentences["language-documents"]
    assert "nothing of any other text" in sentences["language-sampled"]
    assert "by seed 3 out of the 10,000 documents" in sentences["language-sampled"]
    assert "says nothing of a new document" in sentences["language-tokens"]


def only(numbers: Any, *names: str) -> dict[str, Any]:
    return {name: numbers[name] for name in names}


# --------------------------------------------------------------------------- options and refusals


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Sample]:
    """As initialised, on 50 documents: vacuous, and quickly so."""
    sample = text_sample(tmp_path_factory.mktemp("small"), 60)
    return Network(architecture(SPEC), state_of(build(SPEC)), "initial"), sample


@pytest.mark.parametrize(
    ("how", "method", "n"),
    [
        ({}, "language-documents", 50),
        ({"unit": "sampled"}, "language-sampled", 50),
        ({"unit": "sampled", "draws": 7, "seed": 2}, "language-sampled", 7),
        ({"k": 3}, "language-top-k", 50),
    ],
)
def test_every_statement_can_be_asked_for(small, how, method, n):
    network, sample = small
    certified = certify_language(network, sample, delta=DELTA, tried=4, **how)
    claim = certified.claim
    assert (claim.method, claim.n, claim.selection_bits) == (method, n, 2.0)
    recorded = {"n": claim.n, **claim.details}
    asked = Asked(method, how.get("k", 1), n, how.get("seed", 0))
    refuse_better_than_measured(recorded, certified.network, sample, asked, OPTIONS)


def test_evidence_of_tokens_holds_what_their_number_costs(small, tmp_path):
    network, sample = small
    certified = certify_language(network, sample, delta=DELTA, unit="tokens")
    (tmp_path / "evidence.npz").write_bytes(certified.evidence)
    parts, _ = read_evidence(tmp_path / "evidence.npz")
    assert parts["code"].bits == certified.terms.code_bits + math.ceil(math.log2(50 * 24))
    with zipfile.ZipFile(io.BytesIO(certified.evidence)) as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"unit": "bytes"}, "--unit bytes: expected one of sampled, documents, tokens"),
        ({"unit": "tokens", "k": 2}, "its unit is documents"),
        ({"unit": "sampled", "draws": 0}, "--draws 0"),
        ({"unit": "sampled", "draws": 10**7 + 1}, "--draws 10000001"),
        ({"unit": "sampled", "seed": -1}, "--seed -1"),
        ({"unit": "sampled", "seed": 2**16}, "--seed 65536"),
        ({"k": 256}, "--top-k 256"),
        ({"delta": 0.0}, "--delta 0.0"),
    ],
)
def test_what_cannot_be_asked_for(small, how, words):
    network, sample = small
    with pytest.raises(InputError, match=words):
        certify_language(network, sample, **{"delta": DELTA, **how})


def test_a_stranger_cannot_ask_for_endless_draws(small):
    network, sample = small
    with pytest.raises(CodeError, match="10000001 draws"):
        asked = Asked("language-sampled", draws=10**7 + 1)
        refuse_better_than_measured({}, network, sample, asked, OPTIONS)


def test_a_sample_in_another_role_is_refused(small):
    network, sample = small
    with pytest.raises(InputError, match="role bound"):
        certify_language(network, replace(sample, role="holdout"), delta=DELTA)


# --------------------------------------------------------------------------- training


def test_training_averages_over_the_tokens_that_are_there():
    scores = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 4, -1, 2], [0, -1, -1, -1]])  # the fourth place is not read
    terms = [cross_entropy(scores[i, t], labels[i, t]) for i, t in ((0, 0), (0, 1), (1, 0))]
    found = mean_cross_entropy(scores, labels, torch.nn.Identity())
    assert torch.allclose(found, torch.stack(terms).mean(), rtol=1e-6, atol=0)


def test_training_refuses_tokens_beyond_the_vocabulary():
    with pytest.raises(InputError, match="label 5 but the network has 5 outputs"):
        mean_cross_entropy(torch.zeros(1, 2, 5), torch.tensor([[0, 5]]), torch.nn.Identity())


# --------------------------------------------------------------------------- the whole thing


@pytest.mark.slow
def test_a_tenth_of_the_weights_and_less_than_half_of_knowing_nothing(tmp_path):
    sample = text_sample(tmp_path, 24_000)
    network = trained(sample, "500it", (0.7, 0.8, 0.85, 0.9), 64)
    certified = certify_language(network, sample, delta=DELTA)
    assert certified.risk_bound < 4
    matrices = [t for t in certified.network.tensors.values() if t.dim() > 1]
    total, kept = (sum(int(f(t)) for t in matrices) for f in (torch.numel, torch.count_nonzero))
    assert kept <= 0.1 * total + 1
