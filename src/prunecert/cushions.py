"""Measuring how little noise inside a chain of linear layers and ReLU reaches its output.

The quantities of Arora, Ge, Neyshabur and Zhang 2018, arXiv:1802.05296, section 4 (THEORY 1.10).
Their theorem covers chains without biases. A chain with biases is such a chain in homogeneous
coordinates: biases enter as weights from a unit that is always 1,

    x' = (x, 1),    A' = [[A, b], [0, 1]],    at the last layer that has a bias A' = [A, b],

and ReLU keeps the 1. Everything is measured on these matrices: their norms count the biases and
the unit, widths count the unit, and noise falls on it as on any other. Layers after the last bias
stay as they are, and so does a chain that has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunecert.data import Sample
from prunecert.models.layers import LayerView
from prunecert.progress import Tick, silent
from prunecert.pruning.draws import own_generator
from prunecert.types import Cushions, InputError

DRAWS = 19  # of noise: smoothness at failure probability 1/20
ROWS = 512  # of the sample: one row of a 784-784-784-784-784-10 chain takes some 30 ms of one core
BATCH = 64
SMOOTHEST = 1e6  # stands for the smoothness of a network that is linear around its inputs


@dataclass(frozen=True)
class _Extrema:
    """Over the rows of one batch."""

    layer: NDArray[np.float64]  # (L,): smallest
    interlayer: NDArray[np.float64]  # (L,): smallest
    contraction: float  # largest
    output_norm: float  # largest
    bend: float  # largest 1/rho that a draw of the noise asks for


@torch.no_grad()
def network_cushions(
    view: LayerView,
    tensors: Mapping[str, Tensor],
    sample: Sample,
    *,
    rows: int = ROWS,
    batch_size: int = BATCH,
    device: str = "cpu",
    seed: int = 0,
    draws: int = DRAWS,
    projections: int | None = None,
    tick: Tick = silent,
) -> Cushions:
    """The cushions of a network, all over the first `rows` rows of `sample`, which they name.

    Extrema over a part of the training sample are optimistic: more rows never raise a cushion or
    lower `contraction` and `output_norm`. The other arguments as in `measure_cushions`. InputError
    where the network is not a chain of linear layers and ReLU with weights of their own.
    """
    if not view.relu_chain:
        raise InputError(
            "the network is not a chain of linear layers and ReLU, each with its own weight: "
            "its noise cushions are not defined"
        )
    if rows < 1:
        raise InputError(f"rows {rows}: expected at least 1")
    part = replace(sample, stop=min(sample.stop, sample.start + rows))
    return measure_cushions(
        [tensors[layer.name].to(device) for layer in view.layers],
        [None if layer.bias is None else tensors[layer.bias].to(device) for layer in view.layers],
        _tensors(part, batch_size, device),
        seed=seed,
        draws=draws,
        projections=projections,
        sample=part.name,
        tick=tick,
    )


def _tensors(sample: Sample, batch_size: int, device: str) -> Iterator[Tensor]:
    for inputs, _ in sample.batches(batch_size, device=device):
        if not isinstance(inputs, Tensor):
            raise InputError(f"{sample.name}: expected inputs of one tensor, found a dict")
        yield inputs


@torch.no_grad()
def measure_cushions(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    inputs: Iterable[Tensor],
    *,
    seed: int = 0,
    draws: int = DRAWS,
    projections: int | None = None,
    sample: str = "",
    tick: Tick = silent,
) -> Cushions:
    """The cushions of L linear layers with ReLU between them (arXiv:1802.05296, section 4).

    `weights` (out, in) and `biases` (out,) or None, in order; `inputs` are batches (b, …),
    flattened; all on one device. Computed in float64, one pass; `tick` counts rows.

    **Jacobians.** J^{l,j} is a product of matrices without the columns of dead units, made for
    every row: exact, at about width³ operations for every hidden layer between l and j.

    **Smoothness.** Algorithm 1 there keeps `projections` = k random ±1 projections of a matrix A.
    For large k its noise is that of a Gaussian matrix N, entries of variance ‖A‖_F²/k:
    eta = N phi(x^{l-1}). One draw is one N per layer, the same for all rows. Each layer takes noise
    alone; the paper also lets it gather from layers before. By default k = entries of A, beyond
    which keeping A is cheaper. With J at x^l, every draw, l < j and row has

        ‖M^{l,j}(x^l + eta) − J^{l,j}(x^l + eta)‖·‖x^l‖/(‖eta‖·‖x^j‖),

    and 1/rho is the largest. As draws are exchangeable, a further one exceeds it with probability
    at most 1/(draws + 1) = `noise_delta`. `SMOOTHEST` is the largest rho.

    Raises InputError where the shapes do not chain, a number is not finite, or a layer (or the
    input) is dead at some row, all zeros after ReLU: the cushions are ratios to its norm.
    """
    _require(draws >= 1, f"draws {draws}: expected at least 1")
    _require(projections is None or projections >= 1, f"projections {projections}: expected >= 1")
    matrices = homogeneous(weights, biases)
    found = []
    for batch in inputs:
        here = _forward(matrices, _inputs(batch, weights[0], biases))
        bend = [_bend(matrices, here, seed * draws + draw, projections) for draw in range(draws)]
        found.append(_extrema(matrices, here, max(bend)))
        tick(len(batch))
    _require(bool(found), "no inputs: expected at least one batch")
    worst = max(e.bend for e in found)
    return Cushions(
        layer=np.min([e.layer for e in found], axis=0),
        interlayer=np.min([e.interlayer for e in found], axis=0),
        contraction=max(e.contraction for e in found),
        output_norm=max(e.output_norm for e in found),
        smoothness=1.0 / max(worst, 1.0 / SMOOTHEST),
        noise_delta=1.0 / (draws + 1),
        sample=sample,
    )


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise InputError(complaint)


# --------------------------------------------------------------------------- the chain


def homogeneous(weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> list[Tensor]:
    """The matrices of the chain without biases, float64; see the head of this module."""
    _require(0 < len(weights) == len(biases), "expected one bias or None for each weight")
    last = max((at for at, bias in enumerate(biases) if bias is not None), default=-1)
    matrices: list[Tensor] = []
    for at, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        inputs = len(weights[at - 1]) if at else weight.shape[-1]
        if weight.ndim != 2 or weight.shape[1] != inputs:
            raise InputError(
                f"layer {at + 1}: expected a weight (out, {inputs}), found {tuple(weight.shape)}"
            )
        matrix = weight.detach().double()
        if at <= last:
            column = matrix.new_zeros(len(matrix)) if bias is None else bias.detach().double()
            matrix = torch.cat([matrix, column[:, None]], dim=1)
        if at < last:
            unit = matrix.new_zeros(1, matrix.shape[1])
            unit[0, -1] = 1.0
            matrix = torch.cat([matrix, unit])
        matrices.append(matrix)
    return matrices


def _inputs(batch: Tensor, first: Tensor, biases: Sequence[Tensor | None]) -> Tensor:
    """x^0 (b, d_0): rows flattened, with the unit that is always 1 where there are biases."""
    x = batch.flatten(1).double()
    if x.shape[1] != first.shape[1]:
        raise InputError(f"inputs have {x.shape[1]} features, expected {first.shape[1]}")
    if all(bias is None for bias in biases):
        return x
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)


@dataclass(frozen=True)
class _Pass:
    """Of one batch through the chain; each tensor (b, width)."""

    states: list[Tensor]  # x^0 … x^L, before ReLU
    seen: list[Tensor]  # x^0, phi(x^1) … phi(x^{L-1}): what the next layer sees


def _forward(matrices: Sequence[Tensor], x: Tensor) -> _Pass:
    states, seen = [x], [x]
    for matrix in matrices:
        states.append(seen[-1] @ matrix.T)
        seen.append(states[-1].clamp(min=0))
    seen[-1] = states[-1]  # no ReLU after the output
    for at, size in enumerate(outputs.norm(dim=1) for outputs in seen):
        name = f"layer {at}" if at else "the input"
        _require(bool(size.isfinite().all()), f"{name}: expected finite numbers")
        if not bool((size > 0).all()):
            raise InputError(
                f"{name} is all zeros at some row: noise cushions are ratios to its norm"
            )
    return _Pass(states, seen[:-1])


# --------------------------------------------------------------------------- the extrema


def _extrema(matrices: Sequence[Tensor], here: _Pass, bend: float) -> _Extrema:
    norms = torch.stack([x.norm(dim=1) for x in here.states])  # (L + 1, b)
    seen = torch.stack([x.norm(dim=1) for x in here.seen])  # (L, b)
    frobenius = torch.stack([m.norm() for m in matrices])
    layer = (norms[1:] / (frobenius[:, None] * seen)).amin(dim=1)
    onward = np.array([len(m) ** -0.5 for m in matrices])  # mu_{l,l}
    for row in range(norms.shape[1]):
        alive = [x[row] > 0 for x in here.states[1:-1]]
        for at, sizes in enumerate(jacobian_norms(matrices, alive)):
            # J^{l,j} x^l = x^j: without biases the chain is homogeneous
            ratios = norms[at + 2 :, row] / (sizes * norms[at + 1, row])
            onward[at] = min(onward[at], float(ratios.min()))
    return _Extrema(
        layer=layer.clamp(max=1.0).cpu().numpy(),
        interlayer=onward,
        contraction=float((norms[1:-1] / seen[1:]).max()) if len(seen) > 1 else 1.0,
        output_norm=float(norms[-1].max()),
        bend=bend,
    )


def jacobian_norms(matrices: Sequence[Tensor], alive: Sequence[Tensor]) -> list[Tensor]:
    """‖J^{l,j}‖_F at one row: entry l−1 holds those of j = l+1 … L, for l = 1 … L−1.

    `alive[l−1]` (d_l,) says which units of x^l are above 0: J^{l,j} = A^j D^{j−1} … A^{l+1} D^l,
    made from the output back, for all j at once, of the columns and rows of units alive.
    """
    norms: list[Tensor] = []
    onward: list[Tensor] = []  # J^{l,j} for all j > l
    for at in reversed(range(1, len(matrices))):
        step = matrices[at][:, alive[at - 1]]
        onward = [step] + [jacobian @ step[alive[at]] for jacobian in onward]
        norms.insert(0, torch.stack([jacobian.norm() for jacobian in onward]))
    return norms


def compression_noise(
    matrix: Tensor, seen: Tensor, projections: int | None, generator: torch.Generator
) -> Tensor:
    """eta (b, out) where `matrix` (out, in) is compressed and `seen` (b, in) goes in: one draw."""
    normal = torch.randn(matrix.shape, generator=generator, dtype=torch.float32).to(matrix)
    scale = matrix.norm() / math.sqrt(projections or matrix.numel())
    eta: Tensor = scale * (seen @ normal.T)
    return eta


def _bend(matrices: Sequence[Tensor], here: _Pass, seed: int, projections: int | None) -> float:
    """The largest deviation from linear over rows and l < j, for one draw of the noise."""
    generator = own_generator("compression noise", seed)
    norms = [x.norm(dim=1) for x in here.states]
    largest = 0.0
    for at in range(1, len(matrices)):
        eta = compression_noise(matrices[at - 1], here.seen[at - 1], projections, generator)
        moved = linear = here.states[at] + eta
        for onto in range(at + 1, len(norms)):
            matrix = matrices[onto - 1]
            moved = moved.clamp(min=0) @ matrix.T
            linear = (linear * (here.states[onto - 1] > 0)) @ matrix.T
            apart = (moved - linear).norm(dim=1)
            ratio = apart * norms[at] / (eta.norm(dim=1) * norms[onto])
            largest = max(largest, float(ratio.max()))
    return largest
