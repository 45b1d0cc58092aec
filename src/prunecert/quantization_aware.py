"""Training for the certificate: weights that are few small integers while they are being trained.

A certificate pays for bits, so training minimises what the certificate depends on: the loss of the
quantised network plus a price per nonzero. Every weight is step · k with k in −levels … levels; the
trained latent value is rounded on the way forward and the gradient passes straight through
(Bengio, Leonard, Courville 2013, arXiv 1308.3432; ternary weights: Li, Zhang, Liu 2016, arXiv
1605.04711). Rounding to zero is the pruning. Whatever is chosen here only decides which codeword is
reached (THEORY 2.1a i); steps are powers of two, so that the outcome can be evaluated exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from prunecert.models.layers import layer_view
from prunecert.models.loading import outputs as network_outputs
from prunecert.models.loading import plain
from prunecert.models.narrowing import embedded, kept_units, narrow
from prunecert.training import mean_cross_entropy
from prunecert.types import InputError

KINDS = ("linear", "conv")  # layers whose weight has its output units first
NONZERO_BITS = 6.0  # about what one more nonzero costs: its place and its sign
BIAS_LEVELS = 7
BIAS_STEPS = 4  # grid steps of a bias in one standard deviation of what it is added to
FIRST_LATENT, FIRST_LATENTS = 0.7, 1.0  # standard deviations of latent values: of one level, more


@dataclass(frozen=True)
class Precisions:
    """How a network is quantised while it is trained.

    `levels`: largest |k| of a weight. `price`: nats of loss per nat of code length; 1 is what the
    kl form of the Occam bound charges at zero loss, larger is sparser. `units`: the most hidden
    units (channels) that any layer keeps, None for all; `seed` draws the first latent values.
    """

    levels: int = 1
    price: float = 4.0
    units: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= 127:
            raise InputError(f"levels {self.levels}: expected an integer from 1 to 127")
        if not 0 <= self.price < math.inf:
            raise InputError(f"price {self.price}: expected a number of at least 0")
        if self.units is not None and self.units < 1:
            raise InputError(f"units {self.units}: expected at least 1")


class QuantizationAware(nn.Module):
    """A copy of `module` with at most `precisions.units` units per layer, whose weights and biases
    are quantised in every forward pass: train it with `rate_objective`, then read `tensors()`.

    `start` are weights to begin with (by the names and in the shapes of `module`); without it the
    latent values are random and the weights that `module` holds do not matter. `inputs`, shape
    (b, …), sets the steps: every layer's outputs on it begin at about unit variance. `n` is the
    size of the sample that the certificate will be about. Tensors that are neither weights nor
    biases of linear layers and convolutions (a normalisation, say) are trained as they are.

    Raises InputError where there is nothing to quantise.
    """

    def __init__(
        self,
        module: nn.Module,
        precisions: Precisions,
        inputs: Any,
        n: int,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.precisions, self.n = precisions, n
        self.network = plain(module)
        if start is not None:
            self.network.load_state_dict(dict(start))
        self._shapes = {name: (t.shape, t.dtype) for name, t in self.network.state_dict().items()}
        view = layer_view(self.network)
        layers = [layer for layer in view.layers if layer.kind in KINDS]
        if not layers:
            raise InputError("expected a network with linear or convolutional layers to quantise")
        self._kept = kept_units(
            view, self.network.state_dict(), precisions.units, by_size=start is not None
        )
        narrow(self.network, self._kept)
        # scales the logits while training: no argmax depends on it, and it is not written
        self.log_temperature = nn.Parameter(torch.zeros(()))
        generator = torch.Generator().manual_seed(precisions.seed)
        self._levels: list[tuple[nn.Module, _Levels]] = []
        spread = FIRST_LATENT if precisions.levels == 1 else FIRST_LATENTS
        for layer in layers:
            owner = self.network.get_submodule(layer.module)
            weight = owner.weight.detach()
            if start is None:
                step, latent = 1.0, spread * torch.randn(weight.shape, generator=generator)
                if owner.bias is not None:
                    owner.bias.data.zero_()
            else:
                step = _best_step(weight, precisions.levels)
                latent = weight / step
            self._levels.append((owner, _quantised(owner, "weight", latent, step, precisions)))
        self._calibrate(inputs, fresh=start is None)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        outputs = self.network(*inputs, **named)
        return outputs * self.log_temperature.exp() if isinstance(outputs, Tensor) else outputs

    def penalty(self) -> Tensor:
        """The price of the code in nats per sample; Σ|latent| stands for the nonzeros."""
        sizes = torch.stack([latent.abs().sum() for latent in self.latents()]).sum()
        return self.precisions.price * NONZERO_BITS * math.log(2) / self.n * sizes

    def latents(self) -> list[Tensor]:
        """The trained values of all weights and biases, in units of their steps."""
        return [p for name, p in self.network.named_parameters() if name.endswith(".original")]

    def tensors(self) -> dict[str, Tensor]:
        """The quantised network by the names and in the shapes of `module`; the rest is zero."""
        out = {}
        for name, (shape, dtype) in self._shapes.items():
            path, _, local = name.rpartition(".")
            value = getattr(self.network.get_submodule(path), local).detach().cpu()
            out[name] = embedded(value, torch.zeros(shape, dtype=dtype), self._kept.get(name, {}))
        return out

    @torch.no_grad()
    def _calibrate(self, inputs: Any, fresh: bool) -> None:
        """Steps such that each layer's outputs have about unit variance (fresh weights only:
        Mishkin and Matas 2016, arXiv 1511.06422), and biases on a grid that fits their size."""
        seen: list[float] = []
        self.network.eval()
        for owner, levels in self._levels:
            hook = owner.register_forward_hook(
                lambda m, i, output: seen.append(float(output.std()))
            )
            network_outputs(self.network, inputs)
            hook.remove()
            spread = seen[-1] if seen and 0 < seen[-1] < math.inf else 1.0
            if fresh:
                levels.step = levels.step * 2.0 ** -round(math.log2(spread))
                spread = 1.0
            if owner.bias is not None:
                step = 2.0 ** round(math.log2(spread / BIAS_STEPS))
                start = torch.zeros_like(owner.bias) if fresh else owner.bias.detach() / step
                _quantised(owner, "bias", start, step, Precisions(BIAS_LEVELS))


def rate_objective(outputs: Tensor, labels: Tensor, module: nn.Module) -> Tensor:
    """The loss and the price of the code: what `train` minimises for a QuantizationAware module."""
    assert isinstance(module, QuantizationAware)
    return mean_cross_entropy(outputs, labels, module) + module.penalty()


# --------------------------------------------------------------------------- quantisers


class _Levels(nn.Module):
    """step · round(latent) within ±levels; the gradient is that of step · latent."""

    def __init__(self, levels: int, step: float) -> None:
        super().__init__()
        self.levels, self.step = levels, step

    def forward(self, latent: Tensor) -> Tensor:
        rounded = latent.round().clamp(-self.levels, self.levels) + 0.0  # no −0.0
        return self.step * (latent + (rounded - latent).detach())


def _quantised(
    owner: nn.Module, local: str, latent: Tensor, step: float, precisions: Precisions
) -> _Levels:
    """Make `owner.local` the rounded value of a trained latent one."""
    tensor = getattr(owner, local)
    levels = _Levels(precisions.levels, step)
    parametrize.register_parametrization(owner, local, levels)
    original = getattr(owner.parametrizations, local).original
    with torch.no_grad():
        original.copy_(latent.to(tensor.dtype))
    original.requires_grad_()
    return levels


def _best_step(weight: Tensor, levels: int) -> float:
    """The power of two whose multiples up to ±levels are nearest to the weights (least squares)."""
    largest = float(weight.abs().max())
    if not largest:
        return 1.0
    top = math.floor(math.log2(largest))
    steps = [2.0**exponent for exponent in range(top - 8, top + 2)]

    def error(step: float) -> float:
        return float(
            (weight - step * (weight / step).round().clamp(-levels, levels)).square().sum()
        )

    return min(steps, key=error)
