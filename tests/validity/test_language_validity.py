"""Bits per token in worlds whose truth is known: each unit keeps its word, and only its own.

The rule is that of the other simulations: a one-sided binomial test at 1e-6 rejects "fails with
probability at most delta". It must reject what a bound says of another quantity than its own,
tokens read as documents first of all.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from prunecert.bounds.language import (
    language_documents_upper,
    language_sampled_upper,
    language_tokens_upper,
    loss_range,
)
from prunecert.data import load_source, take
from prunecert.data.text import DOES, WHAT, WHO
from prunecert.measuring_language import MIXINGS, DocumentLosses, run, seeded_draws

DRAWS = 3000
DELTA = 0.05
A, V = 0.25, 256
LOWEST, WIDTH = loss_range(V, A)
DOCUMENTS, LENGTH, DIFFICULT = 40, 50, 0.3


def rejected(failures: int) -> bool:
    """More failures in DRAWS than a failure probability of at most DELTA explains."""
    return bool(binom.sf(failures - 1, DRAWS, DELTA) < 1e-6)


# --------------------------------------------------------------------------- one topic a document

# Every token of a document costs what its first one costs, everything or nothing: a document is
# difficult with probability DIFFICULT. Its first token tells which, so the others are expected.


def difficult(seed: int) -> NDArray[np.float64]:
    """Which of DOCUMENTS documents are, as a share of the range of the loss."""
    return (np.random.default_rng(seed).random(DOCUMENTS) < DIFFICULT).astype(np.float64)


def bits(share: float) -> float:
    return LOWEST + WIDTH * share


def documents_of(seed: int, n: int) -> bool:
    """Whether (B), told that there were n documents, is wrong about a new one."""
    bound = language_documents_upper(bits(difficult(seed).mean()), n, 0, V, A, 1, DELTA)
    return bool(bound < bits(DIFFICULT))


def corpus_of(seed: int, truth: Callable[[NDArray[np.float64]], float]) -> bool:
    """Whether (A), from 400 draws out of the documents, is wrong about this quantity."""
    found = difficult(seed)
    drawn = found[seeded_draws(seed, DOCUMENTS, 400)]
    bound = language_sampled_upper(bits(drawn.mean()), 400, 0, V, A, 1, DELTA)
    return bool(bound < bits(truth(found)))


def text_of(seed: int, of_new_documents: bool) -> bool:
    """Whether (C) is wrong: about the contexts of the text, or about a new document."""
    found = difficult(seed)
    n = DOCUMENTS * LENGTH
    bound = language_tokens_upper(bits(found.mean()), n, 0, V, A, 1, DELTA)
    first, others = DOCUMENTS * DIFFICULT, (LENGTH - 1) * found.sum()
    return bool(bound < bits(DIFFICULT if of_new_documents else (first + others) / n))


def failures(trial: Callable[..., bool], *arguments: object) -> int:
    return sum(trial(seed, *arguments) for seed in range(DRAWS))


def test_documents_as_units_are_valid():
    assert not rejected(failures(documents_of, DOCUMENTS))


def test_tokens_read_as_documents_fail_about_half_of_the_time():
    found = failures(documents_of, DOCUMENTS * LENGTH)
    assert rejected(found)
    assert 0.2 < found / DRAWS < 0.8


def test_draws_from_a_corpus_are_valid_about_the_corpus():
    assert not rejected(failures(corpus_of, lambda found: float(found.mean())))


def test_draws_from_a_corpus_say_nothing_of_new_documents():
    assert rejected(failures(corpus_of, lambda found: DIFFICULT))


def test_tokens_are_valid_about_the_contexts_of_the_text():
    assert not rejected(failures(text_of, False))


def test_tokens_say_nothing_of_new_documents():
    assert rejected(failures(text_of, True))


# --------------------------------------------------------------------------- chosen models

MODELS, SAMPLE = 64, 12  # six bits


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[DocumentLosses]:
    """What every document of the grammar costs under random models, all of them equally bad."""
    lines = [
        f"{who} {does} {what}, {other} not"
        for who, does, what, other in product(WHO, DOES, WHAT, WHO)
        if other != who
    ]
    assert len(lines) == 192
    path = tmp_path_factory.mktemp("grammar") / "all.txt"
    path.write_text("\n".join(lines + ["x"] * 39))  # of 231 documents train are the first 192
    sample = take(load_source(str(path)), "train", "bound")
    assert sample.n == 192
    return [run(RandomTable(seed), sample, tolerance=0.0) for seed in range(MODELS)]


class RandomTable(torch.nn.Module):
    """Scores that depend on the token before, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.scores = 5 * torch.randn(V, V, generator=generator)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.scores[tokens]


def chosen_models(measured: list[DocumentLosses], seed: int) -> tuple[float, float, float]:
    """(a, mean loss on a sample, expected loss) of the model and the a that look best on a sample
    of documents of the grammar, all equally likely."""
    drawn = np.random.default_rng(seed).integers(192, size=SAMPLE)
    losses = np.stack([found.bits for found in measured])  # (models, documents, a)
    means = losses[:, drawn].mean(axis=1)
    model, i = np.unravel_index(means.argmin(), means.shape)
    return MIXINGS[i], float(means[model, i]), float(losses[model, :, i].mean())


def test_a_chosen_model_is_valid_where_code_and_list_are_paid(measured):
    found = 0
    for a, mean, expected in (chosen_models(measured, seed) for seed in range(DRAWS)):
        found += language_documents_upper(mean, SAMPLE, 6, V, a, 10, DELTA) < expected
    assert not rejected(found)


def test_the_mean_of_a_chosen_model_is_no_bound(measured):
    """The choice shows: the simulation above could fail."""
    found = 0
    for _, mean, expected in (chosen_models(measured, seed) for seed in range(DRAWS)):
        found += mean < expected
    assert rejected(found)
