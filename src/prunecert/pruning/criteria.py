"""Pruning criteria: how much a network needs each weight.

A criterion is one function and one line in `SCORES`. It gets the module, the names of the tensors
to score, batches of (inputs, labels) on the module's device, a loss(outputs, labels) that is a mean
over the batch, and a seed; it returns one score per weight, ranked by absolute value (the lowest go
first). It changes neither the module nor any random state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prunecert.models.loading import outputs
from prunecert.pruning.draws import own_generator
from prunecert.types import InputError

Batches = Iterable[tuple[Any, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]
Scores = dict[str, Tensor]
Criterion = Callable[[nn.Module, Sequence[str], Batches | None, Loss, int], Scores]


def magnitude(
    module: nn.Module, names: Sequence[str], batches: Batches | None, loss: Loss, seed: int
) -> Scores:
    """|w|: the weights themselves, not copied, since scores rank by absolute value."""
    return {name: module.get_parameter(name).detach() for name in names}


def random(
    module: nn.Module, names: Sequence[str], batches: Batches | None, loss: Loss, seed: int
) -> Scores:
    """Uniform draws from their own seeded generator, so every order of the weights is as likely."""
    generator = own_generator("random scores", seed)
    scores = {}
    for name in names:
        weight = module.get_parameter(name)
        draws = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
        scores[name] = draws.to(weight.device)
    return scores


def snip(
    module: nn.Module, names: Sequence[str], batches: Batches | None, loss: Loss, seed: int
) -> Scores:
    """|w·g|, g the gradient of the mean loss over all samples given, at these weights
    (Lee, Ajanthan, Torr 2019, arXiv 1810.02340, equation 6, without its normalisation)."""
    scores: Scores = {}
    for saliency, samples in _saliencies(module, names, batches, loss):
        for name, value in saliency.items():
            scores[name] = scores.get(name, 0) + samples * value
    return scores  # w·Σg: the division by the number of samples changes no rank


def taylor(
    module: nn.Module, names: Sequence[str], batches: Batches | None, loss: Loss, seed: int
) -> Scores:
    """√Σ_b (w·g_b)², g_b the gradient of batch b's mean loss: the first-order Taylor criterion of
    Molchanov et al. 2019 (arXiv 1906.10771, equation 8) per weight and batch; the root keeps the
    order and cannot underflow."""
    scores: Scores = {}
    for saliency, _ in _saliencies(module, names, batches, loss):
        for name, value in saliency.items():
            scores[name] = torch.hypot(scores.get(name, torch.zeros_like(value)), value)
    return scores


SCORES: dict[str, Criterion] = {
    "magnitude": magnitude,
    "random": random,
    "snip": snip,
    "taylor": taylor,
}


def _saliencies(
    module: nn.Module, names: Sequence[str], batches: Batches | None, loss: Loss
) -> Iterator[tuple[Scores, int]]:
    """w·g for every batch, and the batch's size; in evaluation mode, frozen weights included."""
    weights = {name: module.get_parameter(name) for name in names}
    training = {part: part.training for part in module.modules()}
    trainable = {weight: weight.requires_grad for weight in weights.values()}
    module.eval()
    empty = True
    try:
        for weight in trainable:
            weight.requires_grad_(True)
        for inputs, labels in batches or ():
            empty = False
            value = loss(outputs(module, inputs), labels)
            gradients = torch.autograd.grad(value, list(weights.values()), materialize_grads=True)
            products = (w.detach() * g for w, g in zip(weights.values(), gradients, strict=True))
            yield dict(zip(names, products, strict=True)), len(labels)
    finally:
        for weight, flag in trainable.items():
            weight.requires_grad_(flag)
        for part, mode in training.items():
            part.training = mode
    if empty:
        raise InputError("this pruning method reads gradients: give it batches of labelled data")
