"""PAC-Bayes bounds on a world with known risk: posteriors fitted to the sample must not fail more
often than delta, and a prior that has seen the sample must be caught.

The classifier is linear on one-hot inputs, so the risk of one network and of the whole posterior
(and its mean error on the sample) have closed forms: only the bounds' own luck is simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom, norm

from prunecert.bounds.pac_bayes import pac_bayes_kl_upper, single_draw_upper
from prunecert.posterior import (
    Posterior,
    best_prior_exponent,
    draw_noise,
    kl_nats,
    kl_parts,
    log_ratio_nats,
    network_at,
)

TRIALS, DELTA = 2000, 0.1
Table = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Symbols are alike likely; symbol s has label s mod 2, wrong with probability `noise`."""

    symbols: int
    noise: float
    n: int  # rows of a sample

    @property
    def truth(self) -> Table:
        """P[symbol, label], shape (symbols, 2)."""
        right = np.arange(self.symbols)[:, None] % 2 == np.arange(2)
        return np.where(right, 1 - self.noise, self.noise) / self.symbols

    def sample(self, seed: int) -> Table:
        """How many of n rows have each symbol and label, shape (symbols, 2)."""
        rows = np.random.default_rng(seed).multinomial(self.n, self.truth.ravel())
        return rows.reshape(self.symbols, 2).astype(float)

    @property
    def start(self) -> dict[str, torch.Tensor]:
        """The prior's network: seeded, dense, and blind to every sample."""
        g = torch.Generator().manual_seed(0)
        sizes = {"weight": self.symbols, "bias": 1}
        return {name: torch.randn(k, generator=g) / 4 for name, k in sizes.items()}


LEARNABLE = World(symbols=8, noise=0.1, n=150)
COINS = World(symbols=150, noise=0.5, n=150)  # nothing to learn: every risk is a half


def fitted(world: World, sample: Table, centred: bool = False) -> Posterior:
    """The posterior of the smallest bound among several: weights move towards the majority of the
    labels, symbols without one are pruned. `centred`: the dishonest prior, at the fitted mean."""
    lead = torch.from_numpy(sample[:, 0] - sample[:, 1]).float()
    found = []
    for size, exponent in ((0.0, 2), (0.5, 0), (1.0, 2), (2.0, 4)):
        kept = lead.abs() >= (1 if size else 0)
        weight = (world.start["weight"] + size * lead.sign()) * kept
        mean = {"weight": weight, "bias": world.start["bias"]}
        q = posterior(mean, mean if centred else world.start, exponent)
        found.append((bound(q, sample), len(found), q))
    return min(found)[2]


def fitted_mask(world: World, sample: Table) -> Posterior:
    """Nothing is trained but which weights stay: a kept one predicts 0, a pruned one 1."""
    prior = {"weight": torch.full((world.symbols,), 4.0), "bias": torch.tensor([-2.0])}
    kept = torch.from_numpy(sample[:, 0] >= sample[:, 1])
    return posterior(prior | {"weight": prior["weight"] * kept}, prior, 4)


def posterior(
    mean: dict[str, torch.Tensor], prior: dict[str, torch.Tensor], exponent: int
) -> Posterior:
    """One variance for weights and bias, and the prior variance that suits it best."""
    exponents = {"weight": exponent, "bias": exponent}
    free = Posterior(mean, prior, exponents, 0, ("weight",))
    return Posterior(mean, prior, exponents, best_prior_exponent(free), ("weight",))


def chance_of_zero(q: Posterior) -> Table:
    """P[prediction is 0] of every symbol under Q: the score weight + bias is Gaussian."""
    w, b = q.mean["weight"].double().numpy(), float(q.mean["bias"])
    variance = {name: 2.0 ** -int(exponent) for name, exponent in q.exponents.items()}
    return norm.cdf((w + b) / np.sqrt(variance["weight"] * (w != 0) + variance["bias"]))


def error(table: Table, chance: Table) -> float:
    """Probability of a wrong prediction where symbol s and label y weigh table[s, y]."""
    return float((table[:, 0] * (1 - chance) + table[:, 1] * chance).sum() / table.sum())


def bound(q: Posterior, sample: Table, unpaid: float = 0.0) -> float:
    """The certificate for the risk of Q, of its exact mean error on the sample."""
    risk, n = error(sample, chance_of_zero(q)), int(sample.sum())
    return float(pac_bayes_kl_upper(risk, kl_nats(q) - unpaid, n, DELTA))


Fit = Callable[[World, Table], Posterior]


def failures(
    world: World, fit: Fit, unpaid: Callable[[Posterior], float] = lambda q: 0.0
) -> tuple[int, int, int]:
    """Of TRIALS samples: how often the bound for Q fell below its risk, how often that for one
    network drawn from Q did, and how often Q was not the prior's network. `unpaid` nats are left
    out of the price."""
    gibbs = single = moved = 0
    for seed in range(TRIALS):
        sample = world.sample(seed)
        q = fit(world, sample)
        moved += not torch.equal(q.mean["weight"], world.start["weight"])
        gibbs += bound(q, sample, unpaid(q)) < error(world.truth, chance_of_zero(q))
        noise = draw_noise(q, "validity", seed)
        drawn = network_at(q, noise)
        chance = (drawn["weight"] + drawn["bias"] > 0).double().numpy()
        errors, ratio = round(error(sample, chance) * world.n), log_ratio_nats(q, noise)
        claimed = single_draw_upper(errors, world.n, ratio - unpaid(q), DELTA)
        single += claimed < error(world.truth, chance)
    return gibbs, single, moved


def rejected(failed: int) -> bool:
    """As in test_simulated_validity: too many failures for a probability of at most DELTA."""
    assert TRIALS >= 2000
    return bool(binom.sf(failed - 1, TRIALS, DELTA) < 1e-6)


@pytest.mark.slow
def test_posteriors_fitted_to_the_sample():
    gibbs, single, moved = failures(LEARNABLE, fitted)
    assert moved > TRIALS / 2  # or the price of moving was never put to the test
    assert not rejected(gibbs)
    assert not rejected(single)


@pytest.mark.slow
def test_posteriors_fitted_to_coin_flips():
    gibbs, single, _ = failures(COINS, fitted)
    assert not rejected(gibbs)
    assert not rejected(single)


@pytest.mark.slow
def test_a_prior_centred_on_what_the_sample_taught_is_rejected():
    gibbs, single, _ = failures(COINS, partial(fitted, centred=True))
    assert rejected(gibbs)
    assert rejected(single)


@pytest.mark.slow
def test_masks_that_are_charged():
    gibbs, single, _ = failures(COINS, fitted_mask)
    assert not rejected(gibbs)
    assert not rejected(single)


@pytest.mark.slow
def test_masks_that_are_never_charged_are_rejected():
    gibbs, single, _ = failures(COINS, fitted_mask, unpaid=lambda q: kl_parts(q)["mask"])
    assert rejected(gibbs)
    assert rejected(single)
