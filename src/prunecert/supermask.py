"""Strong tickets: which of the frozen random weights to keep is all that is learnt.

Edge-popup (Ramanujan, Wortsman, Kembhavi, Farhadi, Rastegari 2020, arXiv 1911.13299): every weight
is c_l or −c_l, its sign drawn from a seed; each has a trained score, and the weights of the highest
scores are kept. The gradient reaches the scores as if all were kept (straight through). A network
made so is its masks, one seed and one magnitude per tensor (THEORY 1.9): its code pays no signs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from prunecert.coding.prng import SEEDS, seeded_signs
from prunecert.models.layers import layer_view
from prunecert.models.loading import plain
from prunecert.pruning.scopes import masks_from_scores
from prunecert.types import InputError

KINDS = ("linear", "conv")  # layers whose weight has its output units first
SGD_RATE = 10.0
FIRST_SCORE = 0.1  # the mean of the exponential distribution that scores start from


@dataclass(frozen=True)
class Ticket:
    """What decides the frozen weights and how many of them are kept.

    `density` is the fraction kept of all weights of linear and convolutional layers; `scope` shares
    it out as in `prune` (global: one ranking of all scores; layerwise: the same in every layer).
    """

    density: float
    seed: int = 0
    scope: str = "global"

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:
            raise InputError(f"density {self.density}: expected a number above 0, at most 1")
        if not 0 <= self.seed < SEEDS:
            raise InputError(f"seed {self.seed}: expected an integer from 0 to {SEEDS - 1}")


def default_learning_rate(optimizer: str, density: float) -> float | None:
    """Steps that exchange about the same share of the kept weights at every density.

    Exponential scores are equally thin above any threshold, while the gradient of a kept weight
    grows as fewer are kept: sgd takes SGD_RATE · density, found on MNIST (densities 0.01 to 0.5)
    and digits; three times as much breaks lenet-300-100 at 0.01. None for an optimizer unknown
    here.
    """
    return {"sgd": SGD_RATE * density, "adamw": 1e-3}.get(optimizer)


class Supermask(nn.Module):
    """A copy of `module` whose trained parameters are scores: train it, then read `tensors()`.

    Biases are zero and stay so. Raises InputError where the module holds other tensors than weights
    of linear and convolutional layers and their biases (a normalisation, say), or where the scope
    cannot keep that fraction.
    """

    def __init__(self, module: nn.Module, ticket: Ticket) -> None:
        super().__init__()
        self.ticket = ticket
        self.network = plain(module)
        matrices = (p for p in self.network.parameters() if p.ndim > 1)
        weights = sum(matrix.numel() for matrix in matrices)
        if ticket.density * weights < 1:
            raise InputError(
                f"density {ticket.density:g}: keeps none of {weights:,} weights: expected at least "
                f"{1 / max(weights, 1):.2g}"
            )
        self._zeros = {name: torch.zeros_like(t) for name, t in self.network.state_dict().items()}
        self._chosen: dict[str, _Chosen] = {}
        names = _weights(self.network)
        for parameter in self.network.parameters():
            parameter.requires_grad_(False).zero_()
        generator = torch.Generator().manual_seed(ticket.seed)
        for index, (name, zeros) in enumerate(self._zeros.items()):
            if name in names:
                chosen = _Chosen(_frozen(zeros, index, ticket))
                path, _, local = name.rpartition(".")
                layer = self.network.get_submodule(path)
                parametrize.register_parametrization(layer, local, chosen)
                scores = self.network.get_parameter(_parametrized(name))
                scores.exponential_(generator=generator).mul_(FIRST_SCORE).requires_grad_()
                self._chosen[name] = chosen
        self.masks()  # an impossible scope says so now

    def scores(self) -> dict[str, Tensor]:
        """The score of every weight, by the names and in the shapes of `module`."""
        return {name: self.network.get_parameter(_parametrized(name)) for name in self._chosen}

    def masks(self) -> dict[str, Tensor]:
        """True where a weight is kept: the largest scores in size; of equal ones the earlier."""
        return masks_from_scores(self.scores(), 1 - self.ticket.density, self.ticket.scope)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        for name, mask in self.masks().items():
            self._chosen[name].mask = mask
        return self.network(*inputs, **named)

    def tensors(self) -> dict[str, Tensor]:
        """The network by its own names: ±c where kept, zero everywhere else."""
        kept = {
            name: (self._chosen[name].weights * mask + 0.0).cpu()
            for name, mask in self.masks().items()
        }
        return self._zeros | kept


class _Chosen(nn.Module):
    """From scores to weights: the frozen weight where `mask`, zero elsewhere, and a gradient as if
    every frozen weight were multiplied by the size of its score."""

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)  # the seed has them
        self.mask = torch.ones_like(weights, dtype=torch.bool)

    def forward(self, scores: Tensor) -> Tensor:
        sizes = scores.abs()
        return self.weights * (self.mask + (sizes - sizes.detach()))


def _parametrized(name: str) -> str:
    """Where `torch.nn.utils.parametrize` keeps what a tensor is computed from."""
    path, _, local = name.rpartition(".")
    return f"{path}.parametrizations.{local}.original".removeprefix(".")


def _weights(module: nn.Module) -> frozenset[str]:
    """Names of the weights to choose from; InputError where the module holds anything else."""
    view = layer_view(module)
    kinds = {layer.name: layer.kind for layer in view.layers}
    for tensor in view.tensors:
        if tensor.role != "bias" and kinds.get(tensor.name) not in KINDS:
            reason = tensor.reason or f"the weight of a layer of kind {kinds[tensor.name]}"
            raise InputError(
                f"supermask: '{tensor.name}' is {reason}: expected a network of linear layers, "
                "convolutions and their biases, nothing else"
            )
    return frozenset(kinds)


def _frozen(zeros: Tensor, index: int, ticket: Ticket) -> Tensor:
    """±c with the seed's signs; c is √(2 / (fan-in · density)), the Kaiming constant for the
    fraction that is kept, at the nearest power of two: few bits name it."""
    fan_in = zeros[0].numel()
    c = 2.0 ** round(math.log2(2 / (fan_in * ticket.density)) / 2)
    negative = torch.from_numpy(seeded_signs(ticket.seed, index, zeros.numel()))
    return torch.where(negative.reshape(zeros.shape), -c, c).to(zeros.dtype)
