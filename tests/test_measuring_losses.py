"""Losses between 0 and 1: closed forms, what a tolerance may add, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from prunecert.data import in_memory, take
from prunecert.measuring_losses import LOSSES, MeasuredLosses, run
from prunecert.types import InputError


def sample(x, y):
    return take(in_memory(((x, y), (x, y))), "test", "holdout")


def measured(scores, labels, loss):
    """Of a network whose scores are its inputs."""
    return run(nn.Identity(), sample(torch.tensor(scores), torch.tensor(labels)), loss)


def test_closed_forms_of_two_classes():
    """Logits (ln 3, 0) give probabilities 3/4 and 1/4."""
    scores = [[math.log(3), 0.0], [math.log(3), 0.0], [0.0, 0.0]]
    brier = measured(scores, [0, 1, 0], "brier")
    assert brier.values == pytest.approx([1 / 16, 9 / 16, 1 / 4], abs=1e-7)
    confidence = measured(scores, [0, 1, 0], "confidence")
    assert confidence.values == pytest.approx([1 / 4, 3 / 4, 1 / 2], abs=1e-7)


def test_the_worst_network_loses_one():
    """All on one wrong class of three: half of 1² + 1²."""
    for loss in LOSSES:
        assert measured([[200.0, 0.0, 0.0]], [1], loss).values == pytest.approx([1.0])


def test_scores_that_are_no_number_lose_everything():
    found = run(_Broken(), sample(torch.zeros(3, 2), torch.tensor([0, 0, 1])), "brier")
    assert found.values.tolist() == found.slack.tolist() == [1.0] * 3


class _Broken(nn.Module):
    def forward(self, x):
        return torch.full((len(x), 2), math.nan)


@pytest.mark.parametrize("loss", LOSSES)
def test_no_execution_within_the_tolerance_finds_more(loss):
    """Logits moved by up to half the tolerance of their size, in the worst of many directions."""
    generator = torch.Generator().manual_seed(0)
    scores = 6 * torch.randn(200, 4, generator=generator)
    labels = torch.randint(0, 4, (200,), generator=generator)
    found = run(nn.Identity(), sample(scores, labels), loss)
    reach = 0.5e-4 * scores.abs().amax(dim=1, keepdim=True).double()
    most = found.counts()
    for _ in range(50):
        signs = torch.randint(0, 2, scores.shape, generator=generator) * 2 - 1
        moved = (scores.double() + signs * reach).softmax(dim=1)
        losses = LOSSES[loss](moved, labels).numpy()
        assert (losses <= found.values + found.slack).all()
        assert losses.mean() <= most["mean"]
        assert losses.var(ddof=1) <= most["variance"]
    assert found.counts(conservative=False)["mean"] < most["mean"]


def test_counts_are_rounded_up_and_say_how_many_losses_there_were():
    found = MeasuredLosses("brier", np.array([0.5, 0.25, 1.0]), np.array([0.0, 0.0, 0.1]), "test")
    counts = found.counts()
    assert counts["n"] == 3 and counts["loss"] == "brier"
    assert 1.75 / 3 <= counts["mean"] <= 1.75 / 3 * (1 + 1e-11)
    spread = math.sqrt(np.var([0.5, 0.25, 1.0], ddof=1))
    assert (spread + 0.1) ** 2 <= counts["variance"] <= (spread + 0.2) ** 2 * (1 + 1e-9)
    assert found.part().values.tolist() == [0.5, 0.25, 1.0]  # no loss exceeds 1


@pytest.mark.parametrize(
    ("labels", "loss", "said"), [([0, 2], "brier", "label 2"), ([0, 1], "hinge", "--loss hinge")]
)
def test_what_cannot_be_measured_is_refused(labels, loss, said):
    with pytest.raises(InputError, match=said):
        measured([[1.0, 0.0], [0.0, 1.0]], labels, loss)
