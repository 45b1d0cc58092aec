"""Initial weights that a decoder can draw again, and the network that pruning alone makes of them.

The ends of the uniform distribution are the powers of two times 32767 nearest to He's √(6 / fan-in)
(2015, arXiv 1502.01852). PyTorch's own 1 / √fan-in trains worse: a 300-100 network makes 475 to 489
errors on MNIST's test set in place of 391 to 400 (three seeds, four epochs on 20,000 rows).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from prunecert.api.networks import Architecture, Network
from prunecert.api.runs import initial
from prunecert.coding.difference import initial_values
from prunecert.coding.prng import INITIAL_BITS, SEEDS
from prunecert.models.loading import plain
from prunecert.types import InputError

KINDS = ("linear", "conv")  # layers whose weight has its output units first
HE = 6.0
LARGEST = (1 << INITIAL_BITS) - 1  # of the integers that initial values are multiples of


def seeded_initial(model: Architecture, seed: int) -> dict[str, Tensor]:
    """Initial tensors by the model's names, in its shapes and dtypes.

    Weights of linear and convolutional layers are drawn as a decoder draws them
    (`coding.difference`), biases are zero, normalisations as their constructors leave them. What is
    left (`unseeded`) is the module's own initialisation from the same seed. InputError for a seed
    that a network file cannot name.
    """
    if seed not in range(SEEDS):
        raise InputError(f"seed {seed}: expected an integer from 0 to {SEEDS - 1}")
    module, exponents, biases = plain(initial(model, seed)), seeded_weights(model), _biases(model)
    for part in _normalisations(model, module):
        part.reset_parameters()  # type: ignore[operator]
    tensors = {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}
    for index, spec in enumerate(model.specs):
        if spec.name in exponents:
            exponent = exponents[spec.name]
            tensors[spec.name] = initial_values(seed, index, spec.shape, exponent, spec.dtype)
        elif spec.name in biases:
            tensors[spec.name] = torch.zeros(spec.shape, dtype=spec.dtype)
    return model.with_second_names(tensors)


def seeded_weights(model: Architecture) -> dict[str, int]:
    """The weights that the seed decides, each with the exponent of its unit: a power of two."""
    layers = [layer for layer in model.view.layers if layer.kind in KINDS]
    return {layer.name: _exponent(layer.shape) for layer in layers if 0 not in layer.shape}


def unseeded(model: Architecture) -> tuple[str, ...]:
    """The tensors whose initial values neither the seed nor a rule decides: embeddings, say."""
    ruled = {*seeded_weights(model), *_biases(model), *model.view.unread_buffers}
    parts = dict(model.module.named_modules())
    for path in _normalisation_paths(model):
        own = parts[path].state_dict()
        ruled |= {f"{path}.{name}".removeprefix(".") for name in own}
    return tuple(s.name for s in model.specs if s.alias_of is None and s.name not in ruled)


def ticket(network: Network, masks: Mapping[str, Tensor]) -> Network:
    """The initial weights of a trained network's run log where `masks` keep them: nothing but the
    masks is trained. A tensor without a mask is kept whole.

    Its log says what the masks have seen: what the network was trained on.
    """
    seed = seed_of(network)
    start = seeded_initial(network.architecture, seed)
    kept = {name: torch.where(mask.cpu(), start[name], 0) for name, mask in masks.items()}
    log = {name: network.log[name] for name in ("trained_on", "initial") if name in network.log}
    tensors = network.architecture.with_second_names(start | kept)
    return Network(network.architecture, tensors, f"{network.name}, initial weights", log=log)


def seed_of(network: Network) -> int:
    """The seed that the run log names; InputError where it names none."""
    if network.initial_seed is None:
        raise InputError(
            f"{network.name}: its run log names no seed of its initial weights: expected a network "
            "trained from seeded initial weights"
        )
    return network.initial_seed


def _exponent(shape: tuple[int, ...]) -> int:
    return round(math.log2(HE / math.prod(shape[1:])) / 2 - math.log2(LARGEST))


def _biases(model: Architecture) -> set[str]:
    return {tensor.name for tensor in model.view.tensors if tensor.role == "bias"}


def _normalisation_paths(model: Architecture) -> set[str]:
    """Paths of the parts with normalisation parameters or running statistics."""
    named = {t.name.rpartition(".")[0] for t in model.view.tensors if t.role == "norm"}
    parts = model.module.named_modules()
    return named | {path for path, part in parts if isinstance(part, _NormBase)}


def _normalisations(model: Architecture, module: nn.Module) -> list[nn.Module]:
    parts = dict(module.named_modules())
    return [parts[path] for path in sorted(_normalisation_paths(model))]
