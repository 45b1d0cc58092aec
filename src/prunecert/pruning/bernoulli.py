"""Bernoulli magnitude-based pruning: the random pruning that the sketching argument is about.

A weight w of a layer with empirical variance Ψ is dropped with probability exp(−w²/(d·Ψ)), each
independently (THEORY 1.1; Guha, Dubey, Huo, arXiv 2305.18789). Ψ is the population variance of the
layer's weights as they stand, zeros included, as in the authors' code. A zero is always dropped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from scipy.optimize import brentq
from torch import Tensor

from prunecert.pruning.draws import own_generator
from prunecert.types import InputError


def drop_probability(weight: Tensor, d: float, keep_diagonal: bool = False) -> Tensor:
    """exp(−w²/(d·Ψ)) for every weight; at d = 0 its limit, which drops zeros and nothing else.

    `weight` has shape (out, in, …); the result is float32 or wider, in the same shape.
    `keep_diagonal` keeps entries (i, i) of the matrix (out, in·kh·kw), as the paper's text does and
    its code does not.
    """
    exact = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    spread = d * float(exact.double().var(correction=0)) if exact.numel() else 0.0
    drop = (exact.square() / -spread).exp_() if spread > 0 else (exact == 0).to(exact.dtype)
    if keep_diagonal:
        drop.view(len(drop), -1).fill_diagonal_(0)
    return drop


def bernoulli_mask(
    weights: Mapping[str, Tensor], d: float, seed: int = 0, keep_diagonal: bool = False
) -> dict[str, Tensor]:
    """One seeded draw of the masks, True = kept, in the shapes of `weights`.

    Each d has draws of its own: pruning the survivors of one draw again at the same seed but a
    larger d is independent of it.
    """
    generator = own_generator(f"bernoulli mask at d = {float(d)!r}", seed)
    masks = {}
    for name, weight in weights.items():
        # 53 bits: with the 24 of float32, probabilities below 6e-8 would all be 0 or 6e-8
        uniform = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
        uniform = uniform.to(weight.device)
        masks[name] = uniform >= drop_probability(weight, d, keep_diagonal)
    return masks


def expected_sparsity(
    weights: Mapping[str, Tensor], d: float, keep_diagonal: bool = False
) -> float:
    """Expected fraction of all the weights that a draw at d drops (zeros count as dropped)."""
    drops = [drop_probability(w, d, keep_diagonal) for w in weights.values()]
    total = sum(float(p.sum(dtype=torch.float64)) for p in drops)
    return total / sum(p.numel() for p in drops)


def d_for_sparsity(
    weights: Mapping[str, Tensor], sparsity: float, keep_diagonal: bool = False
) -> float:
    """The d, one for all layers, whose expected sparsity over all the weights is `sparsity`.

    Only the expectation is met; a draw's own sparsity is random, with standard deviation below
    1/(2√N). Weights that are zero already count towards it, so the rungs of a ladder draw among
    the survivors. The search starts at 2s²/(1 − s²), the answer for Gaussian weights (THEORY 1.2).

    Raises InputError if the weights are already sparser, or kept diagonals make it unreachable.
    """

    def excess(log_d: float) -> float:
        return expected_sparsity(weights, math.exp(log_d), keep_diagonal) - sparsity

    zeros = expected_sparsity(weights, 0.0, keep_diagonal)
    if sparsity < zeros:
        raise InputError(f"sparsity {sparsity:g}: the weights already have {zeros:g}")
    if sparsity == zeros:
        return 0.0
    low = high = math.log(2 * sparsity**2 / (1 - sparsity**2))
    while excess(low) > 0:
        low -= 2
    while excess(high) < 0:
        high += 2
        if high > 100:
            raise InputError(f"sparsity {sparsity:g}: out of reach of Bernoulli pruning here")
    return math.exp(float(brentq(excess, low, high, xtol=1e-9)))
