"""Noisy labels: in both splits, at the rate asked for, whoever trains on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare

from prunecert.data import in_memory, load_source, take
from prunecert.data.label_noise import with_label_noise
from prunecert.types import InputError

K, N = 5, 20_000


def world(labels=None):
    y = np.arange(N) % K if labels is None else labels
    x = np.arange(len(y), dtype=np.float32)[:, None]
    return in_memory(((x, y), (x + N, y)))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_labels_of_both_splits_are_wrong_at_the_rate(split, rate):
    clean, noisy = (
        take(world(), split, "bound"),
        take(with_label_noise(world(), rate), split, "bound"),
    )
    changed = clean.labels != noisy.labels
    assert binomtest(int(changed.sum()), N, rate).pvalue > 1e-6
    # every other class as often, from every class
    shift = (noisy.labels - clean.labels)[changed] % K
    assert chisquare(np.bincount(shift, minlength=K)[1:]).pvalue > 1e-6
    assert np.array_equal(clean.row_digests(), noisy.row_digests())


def test_train_and_test_have_streams_of_their_own():
    noisy = with_label_noise(world(), 0.5)
    train, test = (take(noisy, split, "bound").labels for split in ("train", "test"))
    clean = np.arange(N) % K
    both = int(((train != clean) & (test != clean)).sum())
    assert binomtest(both, N, 0.25).pvalue > 1e-6


def test_what_is_drawn_depends_on_the_seed_and_on_nothing_around():
    def labels(seed, batch=1000):
        sample = take(with_label_noise(world(), 0.3, seed), "train", "bound")
        return torch.cat([y for _, y in sample.stored(batch)])

    torch.manual_seed(1), np.random.seed(1)
    first = labels(0)
    torch.manual_seed(2), np.random.seed(2)
    assert torch.equal(first, labels(0, batch=7))
    different = int((first != labels(1)).sum())  # 0.3·0.7·2 + 0.09·3/4
    assert binomtest(different, N, 0.42 + 0.09 * 0.75).pvalue > 1e-6


def test_a_slice_has_the_labels_of_the_whole():
    noisy = with_label_noise(world(), 0.3)
    whole, part = take(noisy, "train", "bound"), take(noisy, "train[300:900]", "bound")
    assert np.array_equal(whole.labels[300:900], part.labels)


def test_a_larger_rate_keeps_the_wrong_labels_of_a_smaller():
    few, more = (take(with_label_noise(world(), r), "train", "bound").labels for r in (0.1, 0.4))
    wrong = few != np.arange(N) % K
    assert wrong.any() and np.array_equal(few[wrong], more[wrong])


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_never_and_always(rate):
    labels = take(with_label_noise(world(), rate), "train", "bound").labels
    assert ((labels == np.arange(N) % K) == (rate == 0.0)).all()
    assert labels.min() >= 0 and labels.max() < K


def test_the_noisy_source_is_another_one():
    clean = load_source("digits")
    named = {with_label_noise(clean, rate, seed).origin for rate in (0.1, 0.2) for seed in (0, 1)}
    assert len(named | {clean.origin}) == 5
    noisy = with_label_noise(clean, 0.1)
    assert noisy.classes == 10
    assert noisy.train.scaled == clean.train.scaled and len(noisy.test) == len(clean.test)


def test_unlabelled_rows_stay_unlabelled():
    sample = take(with_label_noise(world(), 0.5), "train", "unlabeled")
    assert (sample.labels == -1).all()


def test_illegal_labels_are_still_refused():
    y = np.arange(100) % 3
    source = with_label_noise(in_memory(((np.zeros((100, 1), np.float32), y),) * 2), 1.0)
    bad = y.copy()
    bad[7] = -2
    object.__setattr__(source.train.rows, "y", bad)
    with pytest.raises(InputError, match="row 7"):
        _ = take(source, "train", "bound").labels


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_is_a_probability(rate):
    with pytest.raises(InputError, match="label_noise"):
        with_label_noise(world(), rate)


def test_one_class_leaves_no_other():
    with pytest.raises(InputError, match="at least two classes"):
        _ = with_label_noise(world(np.zeros(9, np.int64)), 0.1).train
