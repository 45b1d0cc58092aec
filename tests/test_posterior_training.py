"""Training a posterior: the objective in closed forms, and what training may not touch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from prunecert.data import FiniteWorld
from prunecert.inversions import kl_inverse_upper
from prunecert.posterior import (
    MAX_EXPONENT,
    Posterior,
    Randomized,
    best_prior_exponent,
    fit_posterior,
    kl_nats,
    kl_parts,
    pac_bayes_objective,
)
from prunecert.posterior.fitting import P_MIN, bounded_cross_entropy
from prunecert.training import train
from prunecert.types import InputError

PRUNABLE = ("0.weight", "3.weight")
X, Y = (torch.from_numpy(a) for a in FiniteWorld().draw(400, 0))


def pruned_network(seed: int = 0) -> nn.Module:
    """About half of the weights are zero; the normalisation has statistics of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 4), nn.Dropout(0.5)
        )
        module(X)  # moves the statistics
    with torch.no_grad():
        for name in PRUNABLE:
            weight = module.get_parameter(name)
            weight *= weight.abs() > weight.abs().median()
    return module


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in module.state_dict().items()}


def another_prior() -> dict[str, torch.Tensor]:
    """Other weights and other zeros, the same statistics."""
    statistics = {k: v for k, v in tensors(pruned_network()).items() if k.startswith("1.")}
    return tensors(pruned_network(1)) | statistics


def randomized(module: nn.Module, prior: dict[str, torch.Tensor], **options) -> Randomized:
    return Randomized(module, prior, PRUNABLE, n=400, delta=0.05, **options)


def fitted(prior: dict[str, torch.Tensor], steps: str = "40it", **options) -> Posterior:
    return fit_posterior(
        pruned_network(), prior, PRUNABLE, X, Y, n_bound=400, delta=0.05, steps=steps, **options
    )


# --------------------------------------------------------------------------- the objective


def test_the_loss_is_bounded_and_scaled():
    same, sure = torch.zeros(3, 4), torch.tensor([[1e4, 0.0, 0.0, 0.0]])
    labels = torch.tensor([0, 1, 3])
    assert float(bounded_cross_entropy(same, labels)) == pytest.approx(math.log(4) / math.log(1e5))
    assert P_MIN == 1e-5
    assert float(bounded_cross_entropy(sure, labels[:1])) == 0
    assert float(bounded_cross_entropy(sure, labels[1:2])) == 1


def test_the_objective_is_the_quadratic_form_and_above_the_kl_inverse():
    """Prior = mean: KL is the fixed costs alone, and the bound has a closed form."""
    module = pruned_network()
    random = randomized(module, tensors(module))
    n_masks = 2 * math.log(4)  # both sets of kept weights are the prior's
    radius = (math.log(41) + n_masks + math.log(2 * 20 / 0.05)) / 400
    assert random.complexity().item() == pytest.approx(radius, rel=1e-5)
    scores = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    loss = float(bounded_cross_entropy(scores, Y[:50]))
    found = pac_bayes_objective(scores, Y[:50], random).item()
    expected = (math.sqrt(loss + radius / 2) + math.sqrt(radius / 2)) ** 2
    assert found == pytest.approx(expected, rel=1e-5)
    assert found >= kl_inverse_upper(loss, radius)
    assert found < 0.5


@pytest.mark.parametrize("variances", ["tensor", "weight"])
def test_the_gaussian_kl_is_the_one_that_is_charged(variances):
    """Every kept value 3 · 2^−10 (squared) off, variances 2^−10: v = 2^−8, KL = count · ln 2."""
    module = pruned_network()
    prior = tensors(module)
    for name, _ in module.named_parameters():
        kept = prior[name] != 0 if name in PRUNABLE else torch.ones_like(prior[name]).bool()
        prior[name] = prior[name] - math.sqrt(3 * 2**-10) * kept
    random = randomized(module, prior, variances=variances, first_exponent=10)
    q = random.posterior(prior)
    count = 12 * 16 // 2 + 12 * 4 // 2 + 12 + 12 + 12 + 4
    assert q.dimension == count
    assert q.prior_exponent == 8
    assert random.gaussian_kl().item() == pytest.approx(count * math.log(2), rel=1e-5)
    assert kl_parts(q)["gaussian"] == pytest.approx(count * math.log(2), rel=1e-5)


def test_the_gaussian_kl_of_unequal_variances():
    """Against the sum over single values, at the best prior variance found by a fine search."""
    module = pruned_network()
    prior = another_prior()
    random = randomized(module, prior, variances="weight")
    with torch.no_grad():
        for rate in random._rates:
            rate += 0.1 * torch.randn(rate.shape, generator=torch.Generator().manual_seed(3))
    variance, shift = [], []
    for _, mean, log_variance, kept, before in random._random():
        variance.append(log_variance.exp()[kept].detach().double().numpy())
        shift.append(((mean - before) ** 2)[kept].detach().double().numpy())
    s, d = np.concatenate(variance), np.concatenate(shift)
    scales = np.exp(np.linspace(-8, 2, 20_001))
    costs = [((s + d) / v - 1 + np.log(v / s)).sum() / 2 for v in scales]
    assert random.gaussian_kl().item() == pytest.approx(min(costs), rel=1e-5)


def test_the_exponent_of_the_prior_is_the_best_one():
    """The cheapest of all 41, found by trying them."""
    prior = another_prior()
    q = fitted(prior, "5it")
    costs = [
        kl_nats(Posterior(q.mean, q.prior, q.exponents, e, q.prunable))
        for e in range(MAX_EXPONENT + 1)
    ]
    assert q.prior_exponent == best_prior_exponent(q) == int(np.argmin(costs))
    assert kl_nats(q) == min(costs)


# --------------------------------------------------------------------------- noise


@pytest.mark.parametrize("variances", ["tensor", "weight"])
def test_noise_has_the_variance_that_is_charged_and_spares_what_is_pruned(variances):
    """Outputs of a linear layer on one-hot inputs are its weights: 4,000 forward passes."""
    module = nn.Sequential(nn.Linear(2, 3, bias=False))
    weight = torch.tensor([[1.0, 0.0], [0.0, -2.0], [0.5, 3.0]])
    module[0].weight.data.copy_(weight)
    random = Randomized(
        module,
        tensors(module),
        ("0.weight",),
        n=10,
        delta=0.1,
        variances=variances,
        first_exponent=6,
    )
    with torch.no_grad():
        if variances == "weight":  # one weight alone gets another variance
            random._rates[0][2, 0] = -2 * math.log(2) / 10
        with torch.random.fork_rng():
            torch.manual_seed(0)
            seen = torch.stack([random(torch.eye(2)).T for _ in range(4000)])
    exponents = torch.full((3, 2), 6.0)
    if variances == "weight":
        exponents[2, 0] = 2
    found = random.posterior(tensors(module)).exponents["0.weight"]
    assert torch.equal(torch.as_tensor(found).expand(3, 2).float(), exponents)
    kept = weight != 0
    assert (seen[:, ~kept] == 0).all()
    assert seen.mean(0) == pytest.approx(weight, abs=5 * 0.5 / math.sqrt(4000))
    assert seen.var(0)[kept] == pytest.approx(2.0 ** -exponents[kept], rel=5 * math.sqrt(2 / 4000))


# --------------------------------------------------------------------------- training


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_masked_weights_stay_exactly_zero_through_training(optimizer):
    module = pruned_network()
    random = randomized(module, tensors(module))
    pruned = {name: module.get_parameter(name) == 0 for name in PRUNABLE}

    def check(_: nn.Module, step: int) -> None:
        for name, mask in pruned.items():
            assert (random.network.get_parameter(name)[mask] == 0).all(), step

    train(
        random,
        X,
        Y,
        steps="30it",
        batch_size=50,
        optimizer=optimizer,
        weight_decay=0.01,
        objective=pac_bayes_objective,
        after_step=check,
    )
    q = random.posterior(tensors(module))
    for name, mask in pruned.items():
        assert (q.mean[name][mask] == 0).all()
        assert (q.mean[name][~mask] != module.get_parameter(name)[~mask]).all()


def test_what_is_not_random_is_as_in_the_prior():
    """Statistics of the normalisation do not move, though `train` puts modules in training mode."""
    prior = tensors(pruned_network())
    q = fitted(prior)
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(q.mean[name], prior[name])
    assert q.exponents.keys() == dict(pruned_network().named_parameters()).keys()


def test_the_given_module_and_the_global_random_state_are_left_alone():
    module = pruned_network()
    before, state = tensors(module), torch.get_rng_state()
    first = fit_posterior(
        module, before, PRUNABLE, X, Y, n_bound=400, delta=0.05, steps="10it", seed=3
    )
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    again = fitted(before, "10it", seed=3)
    assert all(torch.equal(first.mean[k], again.mean[k]) for k in before)
    assert first.exponents == again.exponents
    other = fitted(before, "10it", seed=4)
    assert not torch.equal(first.mean["0.weight"], other.mean["0.weight"])


@pytest.mark.parametrize("variances", ["tensor", "weight"])
def test_training_lowers_the_bound_on_the_loss(variances):
    """From an untrained network, against its own weights as prior: loss falls more than KL costs.

    The objective is estimated anew at both ends, over many draws of the noise.
    """
    module = pruned_network()
    prior = tensors(module)

    def objective(random: Randomized) -> float:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(1)
            return float(
                np.mean([pac_bayes_objective(random(X), Y, random).item() for _ in range(20)])
            )

    random = Randomized(
        module, prior, PRUNABLE, n=60_000, delta=0.05, variances=variances, first_exponent=6
    )
    random.eval()
    start = objective(random)
    train(
        random,
        X,
        Y,
        steps="150it",
        batch_size=100,
        optimizer="adamw",
        learning_rate=0.03,
        objective=pac_bayes_objective,
    )
    assert objective(random) < 0.8 * start


def test_log_variances_are_snapped_to_the_grid_and_its_ends():
    module = pruned_network()
    random = randomized(module, tensors(module))
    with torch.no_grad():
        for rate, exponent in zip(random._rates, (3.4, 3.6, -2.0, 55.0, 7.0, 0.0)):
            rate.fill_(-exponent * math.log(2) / 10)
    found = list(random.posterior(tensors(module)).exponents.values())
    assert found == [3, 4, 0, 40, 7, 0]


def test_tied_weights_are_one_random_tensor():
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    module[1].weight = module[0].weight
    random = Randomized(module, tensors(module), ("0.weight",), n=10, delta=0.1)
    q = random.posterior(tensors(module))
    assert q.dimension == 16
    assert q.mean.keys() == {"0.weight"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        product = random(torch.eye(4)).T
        torch.manual_seed(0)
        noisy = module[0].weight + 2.0**-6 * torch.randn(4, 4)
    assert torch.allclose(product, noisy @ noisy, atol=1e-6)


def test_a_prior_without_a_tensor_is_refused():
    prior = tensors(pruned_network())
    del prior["3.bias"]
    with pytest.raises(InputError, match=r"'3.bias'"):
        fitted(prior)
