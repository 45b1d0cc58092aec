"""Measuring what norm bounds and the measures of generalization read of a network.

`chain` is for a proven bound: norms rounded up, inputs bounded by construction. `weight_measures`
is for order-only rows: norms, distances from the initial weights, a path norm, and how much noise
the network bears. Sigmas are estimates: a seeded search over a part of the sample.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunecert.bounds.measures import EPSILON
from prunecert.bounds.norms import OUTWARD, convolution_norm_upper, spectral_norm_upper
from prunecert.data import Sample
from prunecert.models.layers import LayerView, layer_view
from prunecert.models.loading import copy_of, outputs, plain
from prunecert.models.trace import CONVOLUTIONS, Operation, Untraceable, trace
from prunecert.progress import Tick, silent
from prunecert.pruning.draws import own_generator
from prunecert.types import Chain, InputError, WeightMeasures

Floats = NDArray[np.float64]
Batch = tuple[Tensor, Tensor]

BATCH = 1000
ROWS = 1000  # of the sample, for the search
DRAWS = 10  # of noise, per step of the search
STEPS = 15
LARGEST_SIGMA = 2.0
DISPLACEMENT = 0.1  # of the accuracy
TOLERANCE = 0.01

# what a squared network and an input of ones pass through as a sum over paths
_PATH_KINDS = {
    "input", "output", "linear", "conv", "relu", "pool", "mean", "flatten", "reshape", "identity",
    "shape", "rows", "length", "item",
}  # fmt: skip
_PATH_CALLS = {"add", "iadd", "pad"}
_CHAIN_KINDS = {"input", "output", "linear", "conv", "relu", "flatten", "identity"}


# --------------------------------------------------------------------------- chains, from above


def chain(
    view: LayerView,
    tensors: Mapping[str, Tensor],
    sample: Sample,
    *,
    batch_size: int = BATCH,
    tick: Tick = silent,
) -> Chain:
    """The norms of a chain of linear layers and ReLU, its biases lifted into its matrices.

    The input bound is that of every vector in [0, 1]^p. InputError where the network is no such
    chain, or an input of `sample` is not in it. `tick` counts rows.
    """
    if not view.relu_chain:
        raise InputError("the network is not a chain of linear layers and ReLU")
    for inputs, _ in _tensors(sample, batch_size):
        if not bool(((inputs >= 0) & (inputs <= 1)).all()):
            raise InputError(f"{sample.name}: an input is not in [0, 1]: the bound needs all there")
        tick(len(inputs))
    last = max((at for at, layer in enumerate(view.layers) if layer.bias), default=-1)
    rows = [
        _row_squares(tensors[layer.name], tensors[layer.bias] if layer.bias else None)
        for layer in view.layers
    ]
    hidden = [math.sqrt(squares.sum() + (at < last)) for at, squares in enumerate(rows[:-1])]
    features = view.layers[0].shape[1] + (last >= 0)
    return Chain(
        frobenius_norm=np.array([_rounded_up(norm) for norm in hidden]),
        last_row_norm=_rounded_up(math.sqrt(rows[-1].max())),
        input_bound=math.nextafter(math.sqrt(features), math.inf),
        classes=len(rows[-1]),
        sample=sample.name,
    )


def _row_squares(weight: Tensor, bias: Tensor | None) -> Floats:
    """Squared l2 norm of every row of [A, b]."""
    squares = weight.detach().double().square().sum(dim=1)
    if bias is not None:
        squares = squares + bias.detach().double().square()
    return squares.cpu().numpy()


def _rounded_up(norm: float) -> float:
    """Above 0 too: a norm of 0 is at most the smallest number."""
    if not math.isfinite(norm):
        raise InputError("a weight is not a finite number")
    return max(norm * OUTWARD, math.ulp(0.0))


def _tensors(sample: Sample, batch_size: int, device: str = "cpu") -> Iterator[Batch]:
    for inputs, labels in sample.batches(batch_size, device=device):
        if not isinstance(inputs, Tensor):
            raise InputError(f"{sample.name}: expected inputs of one tensor, found a dict")
        yield inputs, labels


# --------------------------------------------------------------------------- all that measures read


@torch.no_grad()
def weight_measures(
    module: nn.Module,
    sample: Sample,
    *,
    initial: nn.Module | None = None,
    flatness: bool = True,
    rows: int = ROWS,
    draws: int = DRAWS,
    batch_size: int = BATCH,
    device: str = "cpu",
    seed: int = 0,
    tick: Tick = silent,
) -> WeightMeasures:
    """Norms, distances, path norm and (unless it is not wanted) flatness of `module`; distances
    where `initial`, the same architecture with its initial weights, is given.

    The first `rows` rows of `sample` serve the search for sigma and the pixel norm, and are named
    by the result. `tick` counts draws of noise, at most 2 · STEPS · draws. InputError where a
    batch normalisation does not follow a layer of its own, or inputs are not one tensor.
    """
    part = replace(sample, stop=min(sample.stop, sample.start + rows))
    batches = list(_tensors(part, batch_size, device))
    network = folded(module).to(device)
    before = None if initial is None else folded(initial).to(device)
    layers = [layer.name for layer in layer_view(network).layers]
    parts = [network.get_submodule(name.rpartition(".")[0]) for name in layers]
    sizes = _input_sizes(network, parts, batches[0][0][:1])
    kernels = _kernels(network, layers)
    away = None
    if before is not None:
        start = _kernels(before, layers)
        away = [kernel - other for kernel, other in zip(kernels, start, strict=True)]
    degrees = _degrees(network, parts)
    sigma = by_magnitude = None
    if flatness:
        search = _Search(network, batches, part.name, seed, draws, tick)
        sigma, by_magnitude = search.sigma(_plain_noise), search.sigma(_noise_by_magnitude)
    return WeightMeasures(
        names=tuple(layers),
        parameters=sum(kernel.size for kernel in kernels),
        frobenius_norm=_frobenius(kernels),
        spectral_norm=_spectral(kernels),
        operator_norm=_operator(parts, kernels, sizes),
        distance_frobenius_norm=None if away is None else _frobenius(away),
        distance_spectral_norm=None if away is None else _spectral(away),
        distance_operator_norm=None if away is None else _operator(parts, away, sizes),
        degrees=degrees,
        pixel_norm=None if degrees is None else _pixel_norm(parts[0], [x for x, _ in batches]),
        path_norm=path_norm(network, tuple(batches[0][0].shape[1:])),
        sigma_estimate=sigma,
        magnitude_sigma_estimate=by_magnitude,
        magnitude_log_sum=(
            None if away is None or by_magnitude is None else _log_sum(away, by_magnitude)
        ),
        sample=part.name,
    )


@torch.no_grad()
def folded(module: nn.Module) -> nn.Module:
    """A plain copy in eval mode in which every batch normalisation has become part of the linear
    layer or convolution before it. InputError where there is no such layer, or others read it."""
    network = plain(module)
    if not any(isinstance(part, _BatchNorm) for part in network.modules()):
        return network
    try:
        operations = {operation.name: operation for operation in trace(network)}
    except Untraceable as reason:
        raise InputError(f"batch normalisation cannot be folded in: {reason}") from reason
    readers = Counter(name for operation in operations.values() for name in operation.inputs)
    calls = Counter(operation.module for operation in operations.values())
    for norm in [o for o in operations.values() if o.kind == "batch_norm"]:
        before = operations[norm.inputs[0]]
        alone = readers[before.name] == calls[before.module] == calls[norm.module] == 1
        if before.kind not in ("linear", "conv") or not alone:
            raise InputError(f"{norm.text} does not follow a layer of its own: expected one")
        _fold(network.get_submodule(before.module), network.get_submodule(norm.module))
        network.set_submodule(norm.module, nn.Identity())
    if any(isinstance(part, _BatchNorm) for part in network.modules()):
        raise InputError("a batch normalisation is not one step of the network: expected one")
    return network


def _fold(layer: Any, norm: Any) -> None:
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale
    shift = shift if norm.bias is None else shift + norm.bias
    if layer.bias is not None:
        shift = shift + scale * layer.bias
    layer.bias = nn.Parameter(shift)
    layer.weight = nn.Parameter(layer.weight * scale.view(-1, *[1] * (layer.weight.dim() - 1)))


# --------------------------------------------------------------------------- norms of the layers


def _kernels(network: nn.Module, names: Sequence[str]) -> list[Floats]:
    found = dict(network.named_parameters())
    return [found[name].detach().double().cpu().numpy() for name in names]


def _matrix(kernel: Floats) -> Floats:
    return kernel.reshape(len(kernel), -1)


def _frobenius(kernels: Sequence[Floats]) -> Floats:
    return np.array([np.linalg.norm(_matrix(kernel)) for kernel in kernels])


def _spectral(kernels: Sequence[Floats]) -> Floats:
    return np.array([np.linalg.norm(_matrix(kernel), 2) for kernel in kernels])


Sizes = list[set[tuple[int, ...]]]  # per layer: its input without samples and channels


def _input_sizes(network: nn.Module, parts: Sequence[nn.Module], inputs: Tensor) -> Sizes:
    """What each layer is given in one pass."""
    sizes: Sizes = [set() for _ in parts]

    def note(at: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, given: sizes[at].add(tuple(given[0].shape[2:])) if given else None

    hooks = [part.register_forward_pre_hook(note(at)) for at, part in enumerate(parts)]
    outputs(network, inputs)
    for hook in hooks:
        hook.remove()
    return sizes


def _operator(parts: Sequence[nn.Module], kernels: Sequence[Floats], sizes: Sizes) -> Floats | None:
    """Upper bounds on the norms of the layers as linear maps; None where one has no such bound."""
    norms = []
    for part, kernel, found in zip(parts, kernels, sizes, strict=True):
        if type(part) is nn.Linear:
            norms.append(spectral_norm_upper(kernel))
        elif type(part) in CONVOLUTIONS and part.padding_mode == "zeros" and found:
            spread = spread_kernel(kernel, part.groups, part.dilation)  # type: ignore[arg-type]
            norms.append(max(convolution_norm_upper(spread, *(1, *s)[-2:]) for s in found))
        else:
            return None
    return np.array(norms)


def spread_kernel(kernel: Floats, groups: int, dilation: Sequence[int]) -> Floats:
    """The kernel (out, in, k_h, k_w) of the same map with one group and no dilation; a kernel of
    one spatial axis has k_h = 1."""
    size = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilation, strict=True)]
    outputs_each, inputs_each = kernel.shape[0] // groups, kernel.shape[1]
    whole = np.zeros((kernel.shape[0], inputs_each * groups, *size))
    steps = tuple(slice(None, None, d) for d in dilation)
    for group in range(groups):
        rows = slice(group * outputs_each, (group + 1) * outputs_each)
        columns = slice(group * inputs_each, (group + 1) * inputs_each)
        whole[(rows, columns, *steps)] = kernel[rows]
    return whole if whole.ndim == 4 else whole[:, :, None, :]


# --------------------------------------------------------------------------- paths and degrees


def _operations(network: nn.Module) -> tuple[Operation, ...]:
    try:
        return trace(network)
    except Untraceable:
        return ()


def path_norm(network: nn.Module, shape: tuple[int, ...]) -> float | None:
    """Σ over paths from an input to an output, or from a bias, of the product of squared weights.

    It is the sum of the outputs for an input of ones once every parameter is squared. None where
    the network has parts other than linear layers, convolutions, ReLU, pooling and sums, or the
    sum is beyond float64.
    """
    operations = _operations(network)
    others = [o for o in operations if o.kind not in _PATH_KINDS and o.text not in _PATH_CALLS]
    if not operations or others:
        return None
    squared = copy_of(network).double()
    with torch.no_grad():
        for parameter in squared.parameters():
            parameter.square_()
        place = next(squared.parameters())
        norm = float(outputs(squared, place.new_ones((1, *shape))).sum())
    return norm if math.isfinite(norm) else None


def _degrees(network: nn.Module, parts: Sequence[nn.Module]) -> NDArray[np.int64] | None:
    """How many inputs, all channels of a pixel being one, an output of each layer reads; None
    where the network is not one chain of linear layers, convolutions and ReLU."""
    operations = _operations(network)
    follows = all(o.inputs == (b.name,) for b, o in zip(operations, operations[1:]))
    layers = sum(o.kind in ("linear", "conv") for o in operations)
    if not follows or layers != len(parts) or any(o.kind not in _CHAIN_KINDS for o in operations):
        return None
    degrees, channels = [], 0
    for part in parts:
        if isinstance(part, nn.Linear):
            degrees.append(part.in_features // channels if channels else 1)
            channels = 0
        elif isinstance(part, nn.Conv1d | nn.Conv2d):
            degrees.append(math.prod(part.kernel_size))
            channels = part.out_channels
    return np.array(degrees, np.int64)


def _pixel_norm(first: nn.Module, inputs: Sequence[Tensor]) -> float:
    """The largest over pixels of √(mean of the squared norm of its channels); a linear layer sees
    one pixel."""
    whole = torch.cat(list(inputs)).double().square()
    squares = whole.flatten(1).sum(1) if isinstance(first, nn.Linear) else whole.sum(1)
    return math.sqrt(float(squares.mean(0).max()))


# --------------------------------------------------------------------------- noise


def _plain_noise(weight: Tensor, sigma: float) -> Tensor:
    return torch.full_like(weight, sigma)


def _noise_by_magnitude(weight: Tensor, sigma: float) -> Tensor:
    return (sigma**2 * weight.square() + EPSILON**2).sqrt()


@dataclass(frozen=True)
class _Search:
    """For the noise that moves the accuracy of `network` on `batches` by DISPLACEMENT.

    The same draws serve every sigma, so that the search is for the root of one function.
    """

    network: nn.Module
    batches: Sequence[Batch]
    sample: str
    seed: int
    draws: int
    tick: Tick

    def sigma(self, noise: Callable[[Tensor, float], Tensor]) -> float | None:
        """By bisection below LARGEST_SIGMA; None where none below it moves enough."""
        accuracy, noisy = self._accuracy(self.network), copy_of(self.network)
        lower, upper = 0.0, LARGEST_SIGMA
        for _ in range(STEPS):
            sigma = (lower + upper) / 2.0
            found = [self._moved(noisy, noise, sigma, draw) for draw in range(self.draws)]
            displacement = abs(sum(found) / self.draws - accuracy)
            if abs(displacement - DISPLACEMENT) < TOLERANCE:
                return sigma
            lower, upper = (lower, sigma) if displacement > DISPLACEMENT else (sigma, upper)
        return sigma if upper < LARGEST_SIGMA else None

    def _moved(
        self, noisy: nn.Module, noise: Callable[[Tensor, float], Tensor], sigma: float, draw: int
    ) -> float:
        """Accuracy after one draw on every parameter."""
        generator = own_generator("flatness", self.seed * self.draws + draw)
        for moved, weight in zip(noisy.parameters(), self.network.parameters(), strict=True):
            normal = torch.randn(weight.shape, generator=generator).to(weight)
            moved.copy_(weight + noise(weight, sigma) * normal)
        self.tick(1)
        return self._accuracy(noisy)

    def _accuracy(self, network: nn.Module) -> float:
        right, rows = 0, 0
        for inputs, labels in self.batches:
            right += int((outputs(network, inputs, self.sample).argmax(1) == labels).sum())
            rows += len(labels)
        return right / rows


def _log_sum(away: Sequence[Floats], sigma: float) -> float:
    return float(sum(np.log(EPSILON**2 + (sigma * kernel) ** 2).sum() for kernel in away))
