"""Losses of documents: by hand, conservatively, and only of models that do not look ahead."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from prunecert.data import Sample, in_memory, load_source, take
from prunecert.data.text import LONGEST, seeded_text
from prunecert.measuring import TOLERANCE
from prunecert.measuring_language import MIXINGS, run, seeded_draws
from prunecert.models.zoo import build
from prunecert.types import InputError

VOCABULARY = 256


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    path = tmp_path / "some.txt"
    path.write_bytes(b"aaaaaaa\nab\nba\nc\nbbb\nx\n" + seeded_text(0, 12))
    return take(load_source(str(path)), "train", "bound")


class Table(nn.Module):
    """The scores after each token stand in a table, whatever came before it."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.scores[tokens]


def some_scores(seed: int = 0, spread: float = 4.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(VOCABULARY, VOCABULARY, generator=generator)


def by_hand(scores: torch.Tensor, sample: Sample, k: int) -> tuple[list[list[float]], list[float]]:
    """Loss for every a, and share beyond the k best, of every document; one token at a time."""
    inputs, labels = next(iter(sample.batches(1000)))
    table, losses, beyond = scores.double().tolist(), [], []
    for row, following in zip(inputs.tolist(), labels.tolist()):
        pairs = [(x, y) for x, y in zip(row, following) if y >= 0]
        total, missed = [0.0] * len(MIXINGS), 0
        for x, y in pairs:
            p = math.exp(table[x][y]) / math.fsum(map(math.exp, table[x]))
            for i, a in enumerate(MIXINGS):
                total[i] -= math.log2((1 - a) * p + a / VOCABULARY)
            missed += sum(other >= table[x][y] for other in table[x]) > k
        losses.append([value / len(pairs) for value in total])
        beyond.append(missed / len(pairs))
    return losses, beyond


@pytest.mark.parametrize("k", [1, 3, 100])
def test_losses_are_those_computed_by_hand(sample, k):
    scores = some_scores()
    found = run(Table(scores), sample, k=k, tolerance=0.0)
    losses, beyond = by_hand(scores, sample, k)
    assert np.allclose(found.bits, losses, rtol=1e-12, atol=0)
    assert found.beyond.tolist() == beyond
    assert (found.vocabulary, found.k, found.n) == (VOCABULARY, k, sample.n)
    assert found.tokens[:5].tolist() == [8, 3, 3, 2, 4]  # bytes and the end


def test_nothing_known_costs_the_logarithm_of_the_vocabulary(sample):
    found = run(Table(torch.zeros(VOCABULARY, VOCABULARY)), sample)
    assert np.allclose(found.bits, 8.0, rtol=1e-13, atol=0)
    assert (found.beyond == 1.0).all()  # nobody leads


@pytest.mark.parametrize("seed", range(4))
def test_no_execution_within_the_tolerance_costs_more(sample, seed):
    """Every score of a place moved by up to τ/2, and the worst such move against the truth."""
    scores = some_scores(seed).double()
    cautious = run(Table(scores), sample, k=2)
    half = TOLERANCE / 2 * scores.abs().amax(dim=1, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    moves = 2 * torch.rand(scores.shape, generator=generator, dtype=torch.float64) - 1
    inputs, labels = next(iter(sample.batches(1000)))
    against = torch.ones_like(scores)
    against[inputs[labels >= 0], labels[labels >= 0]] = -1
    for move in (moves, moves.sign(), against):
        strict = run(Table(scores + half * move), sample, k=2, tolerance=0.0)
        assert (strict.bits <= cautious.bits * (1 + 1e-14)).all()
        assert (strict.beyond <= cautious.beyond).all()
    plain = run(Table(scores), sample, k=2, tolerance=0.0)
    assert (plain.bits < cautious.bits).all()
    assert np.allclose(plain.bits, cautious.bits, rtol=0, atol=5e-3)


def test_the_worst_move_costs_what_is_measured_where_little_is_likely(sample):
    """Of a token of small p, ln p falls by τ exactly: no slack is wasted."""
    scores = torch.zeros(VOCABULARY, VOCABULARY, dtype=torch.float64)
    scores[:, 0] = 10.0  # byte 0 never occurs
    cautious = run(Table(scores), sample).bits
    tau = TOLERANCE * 10
    p = math.exp(-tau) / (255 + math.exp(10))
    expected = [-math.log2((1 - a) * p + a / VOCABULARY) for a in MIXINGS]
    assert np.allclose(cautious, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_scores_that_are_no_numbers_cost_the_most(sample, wrong):
    scores = some_scores()
    scores[ord("a"), 7] = wrong  # of a token that never occurs
    found = run(Table(scores), sample)
    first = run(Table(some_scores()), sample).bits[0]
    most = np.array([math.log2(VOCABULARY / a) for a in MIXINGS])
    assert sample.labels[0, :8].tolist() == [*b"aaaaaaa\n"]  # seven of its places follow an "a"
    assert (found.bits[0] >= 7 / 8 * most).all() and (found.bits[0] > first).all()
    assert found.beyond[0] >= 7 / 8


def test_batches_do_not_matter(sample):
    scores = some_scores()
    whole = run(Table(scores), sample, k=3)
    for size in (1, 4):
        again = run(Table(scores), sample, k=3, batch_size=size)
        assert np.allclose(again.bits, whole.bits, rtol=1e-13, atol=0)
        assert (again.beyond == whole.beyond).all()


def test_the_longest_document_seen_does_not_decide_how_much_is_read(sample):
    """Of documents of 24 tokens at most: what the model's context is, or else LONGEST."""
    assert sample.labels.shape[1] == 24
    assert run(build("gpt:1-4-1-16"), sample).places == 16
    assert run(build("gpt:1-4-1-50"), sample).places == 50
    assert run(Table(some_scores()), sample).places == LONGEST
    assert run(build("gpt:1-4-1-16"), sample).tokens.max() == 16


def test_a_model_must_take_documents_of_any_length(sample):
    class Short(Table):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.scores[tokens] + torch.zeros(30, 1)[: tokens.shape[1]]

    with pytest.raises(InputError, match="filled up to 1024 tokens"):
        run(Short(some_scores()), sample)


# --------------------------------------------------------------------------- means


def test_documents_count_alike_or_tokens_do(sample):
    found = run(Table(some_scores()), sample, k=2)
    for i, mean in enumerate(found.mean_bits()):
        exact = sum(map(Fraction, found.bits[:, i].tolist())) / found.n
        assert exact <= mean <= exact * (1 + Fraction(1, 10**11))
    for i, mean in enumerate(found.token_mean_bits()):
        pairs = zip(found.bits[:, i].tolist(), found.tokens.tolist())
        exact = sum(Fraction(b) * t for b, t in pairs) / int(found.tokens.sum())
        assert exact <= mean <= exact * (1 + Fraction(1, 10**11))
    assert abs(found.mean_bits()[0] - found.token_mean_bits()[0]) > 1e-3
    assert found.mean_beyond() == pytest.approx(found.beyond.mean(), rel=1e-11)


def test_a_document_drawn_twice_counts_twice(sample):
    found = run(Table(some_scores()), sample)
    twice = found.of(np.array([2, 0, 2]))
    assert twice.bits.tolist() == [found.bits[i].tolist() for i in (2, 0, 2)]
    assert twice.tokens.tolist() == [3, 8, 3]
    assert (twice.n, twice.places, twice.vocabulary) == (3, found.places, VOCABULARY)


# --------------------------------------------------------------------------- refusals


class LooksAhead(Table):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        following = torch.roll(tokens, -1, dims=1)
        return self.scores[tokens] + 5 * nn.functional.one_hot(following, VOCABULARY)


class LooksAside(Table):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.scores[tokens] + tokens.float().mean(dim=0)[None, :, None] * self.scores[0]


class ByChance(Table):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.scores[tokens] + torch.rand(VOCABULARY)


@pytest.mark.parametrize("cheat", [LooksAhead, LooksAside, ByChance])
def test_scores_that_are_no_function_of_earlier_tokens_are_refused(sample, cheat):
    with pytest.raises(InputError, match="a function of the earlier tokens alone"):
        run(cheat(some_scores()), sample)


def test_tokens_beyond_the_vocabulary_are_refused(sample):
    with pytest.raises(InputError, match="255 scores, expected at least 256"):
        run(Table(some_scores()[:, :255]), sample)
    assert run(Table(some_scores()[:, :256]), sample).vocabulary == 256


def test_rows_that_are_no_documents_are_refused():
    rows = take(in_memory((np.zeros((3, 4)), np.zeros(3, np.int64))), "train", "bound")
    with pytest.raises(InputError, match="expected documents"):
        run(build("gpt:1-8-2-16"), rows)


@pytest.mark.parametrize("k", [0, 256])
def test_k_is_less_than_the_vocabulary(sample, k):
    with pytest.raises(InputError, match=f"--top-k {k}"):
        run(Table(some_scores()), sample, k=k)


# --------------------------------------------------------------------------- draws


@pytest.mark.parametrize("documents", [1, 7, 64, 3_000_000_019, 3 * 2**61])
def test_draws_are_words_of_the_stream(documents):
    stream = hashlib.shake_128(b"prunecert documents 5").digest(8 * 200)
    words = [int.from_bytes(stream[i : i + 8], "little") for i in range(0, len(stream), 8)]
    expected = [w % documents for w in words if w < 2**64 // documents * documents]
    assert seeded_draws(5, documents, 100).tolist() == expected[:100]


def test_words_beyond_the_last_multiple_are_passed_over():
    """Of 3 · 2^61 documents a quarter of all words are: else the lower two thirds come too often,
    three times in four."""
    drawn = seeded_draws(0, 3 * 2**61, 2000)
    assert abs((drawn < 2 * 2**61).mean() - 2 / 3) < 0.05


def test_draws_are_uniform_and_seeds_differ():
    counts = np.bincount(seeded_draws(1, 10, 20_000), minlength=10)
    assert len(counts) == 10 and abs(counts - 2000).max() < 5 * math.sqrt(2000)
    assert seeded_draws(1, 10, 50).tolist() != seeded_draws(2, 10, 50).tolist()
