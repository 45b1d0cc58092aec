"""Bernoulli magnitude-based pruning against the Gaussian closed forms of THEORY 1.2."""

import math

import pytest
import torch

from prunecert.models.loading import load_model
from prunecert.pruning.bernoulli import (
    bernoulli_mask,
    d_for_sparsity,
    drop_probability,
    expected_sparsity,
)
from prunecert.types import InputError

VARIANCE = 0.09


@pytest.fixture(scope="module")
def gaussian():
    g = torch.Generator().manual_seed(0)
    return {"w": torch.randn(1000, 1000, generator=g, dtype=torch.float64) * math.sqrt(VARIANCE)}


@pytest.mark.parametrize("d", [0.5, 3.0])
def test_moments_of_what_was_removed(gaussian, d):
    weight = gaussian["w"]
    mask = bernoulli_mask(gaussian, d, seed=1)["w"]
    delta = torch.where(mask, 0.0, weight)
    r = d / (d + 2)

    def moment(k: int) -> float:  # E Δ^k = P(drop) · E[N(0, Ψr)^k]
        return math.sqrt(r) * (VARIANCE * r) ** (k // 2) * math.prod(range(1, k, 2))

    n = weight.numel()
    for k in (2, 4):
        error = 5 * math.sqrt((moment(2 * k) - moment(k) ** 2) / n)
        assert abs(float((delta**k).mean()) - moment(k)) < error, k
    assert abs(float(delta.mean())) < 5 * math.sqrt(moment(2) / n)
    dropped = float((~mask).double().mean())
    assert abs(dropped - math.sqrt(r)) < 5 * math.sqrt(math.sqrt(r) * (1 - math.sqrt(r)) / n)


def test_the_variance_is_the_population_variance_of_the_layer():
    weight = torch.tensor([[0.0, 2.0]])  # mean 1, variance 1 (2 with n − 1; 2 about zero)
    assert drop_probability(weight, 2.0).tolist() == [[1.0, pytest.approx(math.exp(-2), rel=1e-6)]]


def test_d_zero_drops_zeros_only():
    weight = torch.tensor([[0.0, 1e-30, -3.0]])
    assert drop_probability(weight, 0.0).tolist() == [[1, 0, 0]]
    constant = torch.full((2, 2), 0.5)  # no variance: the limit again
    assert drop_probability(constant, 3.0).tolist() == [[0, 0], [0, 0]]


def test_keep_diagonal(gaussian):
    weights = {"conv": torch.full((3, 2, 1, 2), 1e-9), "fc": gaussian["w"][:4, :3]}
    weights["conv"][0, 0, 0, 0] = 1.0  # almost everything is dropped, were it not on the diagonal
    masks = bernoulli_mask(weights, 50.0, keep_diagonal=True)
    assert masks["conv"].flatten(1).diagonal().all() and masks["fc"].diagonal().all()
    off_diagonal = ~torch.eye(3, 4, dtype=torch.bool)
    assert not masks["conv"].flatten(1)[off_diagonal].any()
    assert not bernoulli_mask(weights, 50.0)["conv"].flatten(1)[1:].any()


def test_draws_follow_the_seed(gaussian):
    first, again, other = (bernoulli_mask(gaussian, 1.0, seed)["w"] for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("sparsity", [0.01, 0.5, 0.9, 0.999])
def test_d_for_sparsity_meets_the_expectation(gaussian, sparsity):
    weights = {"a": gaussian["w"][:50], "b": gaussian["w"][50:60] ** 3}
    d = d_for_sparsity(weights, sparsity)
    size = sum(w.numel() for w in weights.values())
    by_hand = sum(
        float(torch.exp(-(w**2) / (d * ((w - w.mean()) ** 2).mean())).sum())
        for w in weights.values()
    )
    assert by_hand / size == pytest.approx(sparsity, abs=1e-8)


def test_d_for_sparsity_of_gaussian_weights(gaussian):
    """P(drop) = √(d/(d+2)) gives d = 2s²/(1−s²); the sampling error of s is below 1e-3 here."""
    for s in (0.3, 0.8):
        d = d_for_sparsity(gaussian, s)
        assert math.sqrt(d / (d + 2)) == pytest.approx(s, abs=1e-3)


def test_zeros_count_towards_the_sparsity(gaussian):
    weights = {"w": gaussian["w"][:100] * (torch.arange(1000) % 2)}  # half of them are zero
    d = d_for_sparsity(weights, 0.8)
    assert expected_sparsity(weights, d) == pytest.approx(0.8, abs=1e-8)
    mask = bernoulli_mask(weights, d)["w"]
    assert not mask[weights["w"] == 0].any()
    assert abs(float((~mask).double().mean()) - 0.8) < 5 * 0.5 / math.sqrt(weights["w"].numel())
    assert d_for_sparsity(weights, 0.5) == 0
    with pytest.raises(InputError, match=r"0\.4"):
        d_for_sparsity(weights, 0.4)


def test_kept_diagonals_limit_the_sparsity():
    weights = {"w": torch.randn(2, 2, generator=torch.Generator().manual_seed(0))}
    with pytest.raises(InputError, match="out of reach"):
        d_for_sparsity(weights, 0.6, keep_diagonal=True)


@pytest.mark.parametrize("seed", [0, 7])
def test_masks_do_not_depend_on_weights_drawn_at_the_same_seed(seed):
    """Initialisation and pruning at one seed are two streams: the mask is independent given W.

    Once they were one stream, and a mask of expected sparsity 0.9 had 0.872.
    """
    weights = {
        name: tensor
        for name, tensor in load_model("lenet-300-100", seed).module.state_dict().items()
        if tensor.ndim == 2
    }
    total = sum(w.numel() for w in weights.values())
    d = d_for_sparsity(weights, 0.9)
    kept = sum(int(mask.sum()) for mask in bernoulli_mask(weights, d, seed).values())
    assert abs(kept / total - 0.1) <= 5 * 0.5 / total**0.5


def test_survivors_pruned_again_at_one_seed_are_drawn_anew():
    """A ladder has one seed. Once its rungs shared their uniforms and kept twice the share."""
    weights = {"w": load_model("lenet-300-100", 0).module.get_parameter("fc1.weight").detach()}
    for sparsity in (0.9, 0.98):
        mask = bernoulli_mask(weights, d_for_sparsity(weights, sparsity), 3)
        weights = {"w": weights["w"] * mask["w"]}
    total = weights["w"].numel()
    kept = int((weights["w"] != 0).sum()) / total
    assert abs(kept - 0.02) <= 5 * (0.02 / total) ** 0.5


def test_rare_drops_are_as_rare_as_their_probability():
    """With uniforms of 24 bits a probability of 1e-11 was one of 6e-8: of four million weights
    one in four draws dropped some."""
    weights = {"w": torch.ones(1000, 1000)}
    weights["w"][::2] = -1.0
    assert float(drop_probability(weights["w"], 0.04).max()) < 2e-11
    dropped = sum(int((~bernoulli_mask(weights, 0.04, seed)["w"]).sum()) for seed in range(60))
    assert dropped == 0  # expected 60e6 · 1.4e-11 = 8e-4; with 24 bits 3.6
