"""Measuring, on logits whose counts can be read off by eye."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from prunecert import measuring
from prunecert.models.layers import layer_view
from prunecert.types import InputError

T = measuring.TOLERANCE


@dataclass
class Given:
    """Logits as inputs of an identity network."""

    logits: list[list[float]]
    labels: list[int]
    name: str = "given"

    def batches(self, batch_size, device="cpu"):
        rows, labels = torch.tensor(self.logits), torch.tensor(self.labels)
        for start in range(0, len(rows), batch_size):
            yield rows[start : start + batch_size], labels[start : start + batch_size]


def outputs(logits, labels, **options):
    return measuring.run(nn.Identity(), Given(logits, labels), **options)


CASES = [
    ("right by far", [2.0, 1.0, 0.0], 0, False),
    ("wrong by far", [1.0, 2.0, 0.0], 0, True),
    ("tie at the top", [1.0, 1.0, 0.0], 0, True),
    ("ahead by half the tolerance", [1.0 + T / 2, 1.0, 0.0], 0, True),
    ("ahead by twice the tolerance", [1.0 + 2 * T, 1.0, 0.0], 0, False),
    ("the scale is the largest logit, negative ones too", [0.001, 0.0, -100.0], 0, True),
    ("not a number", [math.nan, 1.0, 0.0], 0, True),
    ("infinitely wrong", [0.0, math.inf, 0.0], 0, True),
    ("all the same", [0.0, 0.0, 0.0], 2, True),
]


@pytest.mark.parametrize(("case", "logits", "label", "wrong"), CASES, ids=lambda c: str(c))
def test_what_counts_as_an_error(case, logits, label, wrong):
    found = outputs([logits], [label])
    assert measuring.count_errors(found) == int(wrong)


def test_strict_counting_keeps_ties_wrong_and_narrow_leads_right():
    found = outputs([[1.0, 1.0], [1.0 + T / 2, 1.0]], [0, 0])
    assert measuring.count_errors(found, 0.0) == 1
    assert measuring.count_errors(found) == 2


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_change_nothing(batch_size):
    rows = np.random.RandomState(0).randn(23, 4).tolist()
    labels = (np.arange(23) % 4).tolist()
    whole, parts = outputs(rows, labels), outputs(rows, labels, batch_size=batch_size)
    assert np.array_equal(whole.margins, parts.margins)
    assert measuring.count_errors(parts) == measuring.count_errors(whole)


@pytest.mark.parametrize(
    ("k", "wrong"),
    # the true logit is third; it ties with the fourth, and a tie for the last place is a miss
    [(1, True), (2, True), (3, True), (4, False)],
)
def test_top_k_counts_a_tie_for_the_last_place_as_a_miss(k, wrong):
    found = outputs([[5.0, 4.0, 3.0, 3.0, 0.0]], [2], k=k)
    assert measuring.count_errors(found) == int(wrong)


def test_class_counts_by_true_class():
    found = outputs([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], [0, 0, 1])
    counts = measuring.class_counts(found)
    assert counts.errors.tolist() == [1, 0, 0]
    assert counts.n.tolist() == [2, 1, 0]


def test_disagreement_counts_abstentions_of_either():
    """f ≡ (0, 0) never differs from anything by argmax, and predicts nothing (THEORY 2.5)."""
    one = outputs([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], [0, 0, 0, 0])
    two = outputs([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]], [0, 0, 0, 0])
    assert measuring.disagreements(one, two).count == 3
    assert measuring.disagreements(two, one).count == 3


def test_paired_outcomes_lean_against_the_pruned_network():
    """Right, wrong and too close to tell, for both: nine samples, one of each pair."""
    right, wrong, close = [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]
    pairs = [(p, d) for p in (right, wrong, close) for d in (right, wrong, close)]
    labels = [0] * 9
    pruned, dense = (outputs([pair[i] for pair in pairs], labels) for i in (0, 1))
    found = measuring.paired_outcomes(pruned, dense)
    # worse: pruned not surely right and dense not surely wrong: (wrong|close) × (right|close)
    # better: pruned surely right and dense surely wrong
    assert (found.worse, found.better, found.n) == (4, 1, 9)


def test_bad_labels_k_and_inputs_are_one_line():
    with pytest.raises(InputError, match=r"label 3 but the network has 2 outputs"):
        outputs([[0.0, 1.0]], [3])
    with pytest.raises(InputError, match="--top-k 2: expected less than the 2 classes"):
        outputs([[0.0, 1.0]], [0], k=2)
    with pytest.raises(InputError, match="does not take the inputs of given") as error:
        measuring.run(nn.Linear(5, 2), Given([[0.0, 1.0]], [0]))
    assert "\n" not in str(error.value)


def test_norms_of_a_known_matrix():
    """[[3, 0], [0, 4]]: spectral 4, Frobenius 5, rows of norm 3 and 4."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    state = {k: torch.zeros_like(v) for k, v in net.state_dict().items()}
    state["0.weight"] = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    state["2.weight"] = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    found = measuring.layers(layer_view(net), state, input_norm=2.5)
    assert found.names == ("0.weight", "2.weight")
    assert found.spectral_norm == pytest.approx([4.0, math.sqrt(2)], abs=1e-14)
    assert found.frobenius_norm == pytest.approx([5.0, math.sqrt(2)], abs=1e-14)
    assert found.norm_2_1 == pytest.approx([7.0, math.sqrt(2)], abs=1e-14)
    assert found.nonzeros.tolist() == [2, 2]
    assert found.relu_chain
    assert found.input_norm == 2.5


def test_the_largest_input_norm_is_of_whole_inputs():
    found = outputs([[3.0, 4.0], [1.0, 1.0]], [0, 0])
    assert found.input_norm == 5.0


def test_pruning_curve_starts_at_nothing_removed_and_follows_chi():
    """Gaussian weights: kept fraction 1 − √(d/(d+2)), within five standard errors."""
    net = nn.Sequential(nn.Linear(120, 90), nn.ReLU(), nn.Linear(90, 80))
    generator = torch.Generator().manual_seed(1)
    state = {k: torch.randn(v.shape, generator=generator) for k, v in net.state_dict().items()}
    curve = measuring.pruning_curve(layer_view(net), state, seed=3, points=6)
    assert curve.d.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert curve.kept[0] == 1.0
    assert curve.removed_norm[0].tolist() == [0.0, 0.0]
    chi = 1 - np.sqrt(curve.d / (curve.d + 2))
    weights = 120 * 90 + 90 * 80
    assert np.all(np.abs(curve.kept[1:] - chi[1:]) < 5 * np.sqrt(0.25 / weights) + 5e-3)
    # entries of the removed part have variance (d/(d+2))^(3/2) (THEORY 1.2), and a random m × n
    # matrix of unit variance has norm near √m + √n
    scale = (curve.d[1:] / (curve.d[1:] + 2)) ** 0.75
    expected = np.outer(scale, [math.sqrt(90) + math.sqrt(120), math.sqrt(80) + math.sqrt(90)])
    assert np.all(np.abs(curve.removed_norm[1:] / expected - 1) < 0.08)
