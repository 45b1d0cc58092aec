"""Scores against gradients worked out by hand."""

import pytest
import torch
from torch import Tensor, nn

from prunecert.models.loading import load_model
from prunecert.pruning import prunable_names
from prunecert.pruning.criteria import SCORES
from prunecert.types import InputError


def weighted_mean(outputs: Tensor, labels: Tensor) -> Tensor:
    """Σ_k (k+1)·output_k, averaged over the batch: its gradient in a linear layer's W[k, j] is
    (k+1)·mean(x_j)."""
    return (outputs * torch.arange(1, 1 + outputs.shape[1])).sum(1).mean()


BATCHES = [  # column means 2, −1 over three samples; 5, 3 over one
    (torch.tensor([[1.0, -3], [2, 0], [3, 0]]), torch.zeros(3)),
    (torch.tensor([[5.0, 3]]), torch.zeros(1)),
]


@pytest.fixture
def linear() -> nn.Sequential:
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    module[0].weight = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 0.0]]))
    return module


def test_snip_weighs_samples_equally(linear):
    """g_kj = (k+1)·mean over all four samples: 11/4 and 0."""
    score = SCORES["snip"](linear, ["0.weight"], BATCHES, weighted_mean, 0)["0.weight"] / 4
    assert score.tolist() == [[11 / 4, 0.0], [0.5 * 2 * 11 / 4, 0.0]]


def test_taylor_adds_squares_per_batch(linear):
    score = SCORES["taylor"](linear, ["0.weight"], BATCHES, weighted_mean, 0)["0.weight"]
    expected = [[2**2 + 5**2, (-2 * -1) ** 2 + (-2 * 3) ** 2], [(0.5 * 2) ** 2 * (4 + 25), 0.0]]
    assert torch.allclose(score**2, torch.tensor(expected), rtol=1e-6)


@pytest.mark.parametrize("method", ["snip", "taylor"])
def test_gradient_methods_need_batches(linear, method):
    for nothing in (None, []):
        with pytest.raises(InputError, match="batches"):
            SCORES[method](linear, ["0.weight"], nothing, weighted_mean, 0)


@pytest.mark.parametrize("method", SCORES)
def test_nothing_is_changed(method):
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    module[0].requires_grad_(False)
    module[1].eval()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    rng = torch.get_rng_state()
    scores = SCORES[method](module, ["0.weight", "3.weight"], BATCHES, weighted_mean, 0)
    assert list(scores) == ["0.weight", "3.weight"]
    assert all(scores[n].shape == module.get_parameter(n).shape for n in scores)
    assert not any(s.requires_grad for s in scores.values())
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())
    assert [p.requires_grad for p in module.parameters()] == [False, False, True, True, True, True]
    assert [m.training for m in module] == [True, False, True, True]


def test_random_is_seeded_and_blind_to_the_weights():
    first, second = nn.Linear(200, 100), nn.Linear(200, 100)
    a, b = (
        SCORES["random"](m, ["weight"], None, weighted_mean, 7)["weight"] for m in (first, second)
    )
    other = SCORES["random"](first, ["weight"], None, weighted_mean, 8)["weight"]
    assert torch.equal(a, b) and not torch.equal(a, other)
    assert len(a.unique()) == a.numel()
    assert abs(float(a.mean()) - 0.5) < 5 * (1 / 12 / a.numel()) ** 0.5


def test_magnitude_copies_nothing():
    module = nn.Linear(3, 2)
    score = SCORES["magnitude"](module, ["weight"], None, weighted_mean, 0)["weight"]
    assert score.data_ptr() == module.weight.data_ptr()


def test_random_scores_do_not_depend_on_weights_drawn_at_the_same_seed():
    """Initialisation and scores at one seed are two streams: their correlation is chance."""
    module = load_model("lenet-300-100", 0).module
    (name, *_), weight = prunable_names(module), module.get_parameter("fc1.weight").detach()
    scores = SCORES["random"](module, [name], None, None, 0)[name]
    together = torch.corrcoef(torch.stack([scores.flatten(), weight.flatten()]))[0, 1]
    assert abs(float(together)) < 5 / weight.numel() ** 0.5
