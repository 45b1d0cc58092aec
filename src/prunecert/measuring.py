"""Measuring: a network and a sample become plain numbers, once. Nothing here is a statement.

One pass over a sample yields `Outputs`; every count a bound needs is read off it. A sample counts
as an error when its margin is at most τ(x) = tolerance · max|logit|: that 0-1 loss dominates the
error of every execution whose logits stay within τ(x)/2 (THEORY 3.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunecert.data import Inputs, map_inputs
from prunecert.models.layers import LayerView
from prunecert.models.loading import outputs as network_outputs
from prunecert.progress import Tick, silent
from prunecert.pruning.bernoulli import bernoulli_mask
from prunecert.types import (
    ClassCounts,
    Disagreements,
    InputError,
    Layers,
    Margins,
    PairedOutcomes,
    PruningCurve,
)

TOLERANCE = 1e-4  # declared: no execution moves a margin by more than this share of max|logit|
DEFAULT_BATCH = 1000
COMPANY = 2  # rows that are evaluated once more without the rest of their batch
CURVE_POINTS = 100
CURVE_END = 10.0


class Batches(Protocol):
    """What a pass needs of a sample."""

    @property
    def name(self) -> str: ...

    def batches(self, batch_size: int, device: str = ...) -> Iterator[tuple[Inputs, Tensor]]: ...


@dataclass(frozen=True)
class Outputs:
    """What one pass over n samples yields; all arrays have shape (n,)."""

    margins: NDArray[np.float64]  # f_y − (k-th largest other logit)
    scale: NDArray[np.float64]  # max|logit|
    prediction: NDArray[np.int64]
    lead: NDArray[np.float64]  # largest minus second largest logit
    labels: NDArray[np.int64]
    sample: str
    classes: int
    input_norm: float  # largest l2 norm of an input (0 where inputs are not one tensor)

    @property
    def n(self) -> int:
        return len(self.margins)

    def wrong(self, tolerance: float) -> NDArray[np.bool_]:
        """Not surely right: margin ≤ τ(x); logits that are not numbers are wrong too."""
        return ~(self.margins > tolerance * self.scale)

    def surely_wrong(self, tolerance: float) -> NDArray[np.bool_]:
        """Wrong in every execution: margin ≤ −τ(x)."""
        return self.margins <= -tolerance * self.scale

    def abstains(self, tolerance: float) -> NDArray[np.bool_]:
        """The top margin does not exceed τ(x): the prediction is ⊥."""
        return ~(self.lead > tolerance * self.scale)


@torch.no_grad()
def run(
    module: nn.Module,
    sample: Batches,
    *,
    k: int = 1,
    batch_size: int = DEFAULT_BATCH,
    device: str = "cpu",
    double: bool = False,
    tick: Tick = silent,
) -> Outputs:
    """One pass of `module` (eval mode) over `sample`; `k` for top-k margins; `double`: weights and
    inputs go in as float64."""
    columns: list[tuple[NDArray[np.float64], ...]] = []
    classes, norm = 0, 0.0
    module = module.to(device).eval()
    module = module.double() if double else module
    with steady(module):
        for inputs, labels in sample.batches(batch_size, device=device):
            if double:
                inputs = map_inputs(_as_double, inputs)
            scores = logits(module, inputs, sample.name).double()
            if not columns:
                refuse_mixing(module, inputs, scores, sample.name)
            classes = scores.shape[1]
            refuse_labels_beyond(classes, labels, sample.name)
            if not 1 <= k < classes:
                raise InputError(f"--top-k {k}: expected less than the {classes} classes")
            if isinstance(inputs, Tensor):
                norm = max(norm, float(inputs.flatten(1).double().norm(dim=1).max()))
            columns.append(_columns(scores, labels, k))
            tick(len(labels))
    margins, scale, prediction, lead, truth = (
        np.concatenate(c) for c in zip(*columns, strict=True)
    )
    return Outputs(
        margins,
        scale,
        prediction.astype(np.int64),
        lead,
        truth.astype(np.int64),
        sample.name,
        classes,
        norm,
    )


def _as_double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def refuse_labels_beyond(classes: int, labels: Tensor, name: str) -> None:
    """InputError for a label that the network has no output for."""
    if (largest := int(labels.max())) >= classes:
        raise InputError(
            f"{name}: label {largest} but the network has {classes} outputs, expected labels 0 … "
            f"{classes - 1}"
        )


@contextmanager
def steady(module: nn.Module) -> Iterator[None]:
    """InputError where evaluation changes a buffer: what a row is given then depends on the rows
    before it."""
    state = {name: value.clone() for name, value in _persistent_buffers(module).items()}
    yield
    for name, value in _persistent_buffers(module).items():
        if not torch.equal(value, state[name]):
            raise InputError(f"evaluation changes the model's '{name}': expected it to stay")


def _persistent_buffers(module: nn.Module) -> dict[str, Tensor]:
    stored = module.state_dict()
    return {name: stored[name] for name, _ in module.named_buffers() if name in stored}


def moved(again: Tensor, scores: Tensor) -> bool:
    """Whether any score is further from what it was than the tolerance at its own place: a large
    score elsewhere excuses nothing."""
    size = scores.nan_to_num(0, 0, 0).abs().amax(dim=-1, keepdim=True)
    same = torch.isclose(again, scores, rtol=0, atol=0, equal_nan=True)
    return not bool((same | ((again - scores).abs() <= TOLERANCE * size)).all())


def refuse_mixing(module: nn.Module, inputs: Inputs, scores: Tensor, name: str) -> None:
    """InputError where the scores of a row depend on the rest of its batch (batch statistics, say)
    or on chance: its loss is then no function of the row, and no statement covers it."""
    alone = logits(module, map_inputs(lambda t: t[:COMPANY], inputs), name).double()
    together = scores[: len(alone)]
    if moved(alone, together):
        raise InputError(
            f"the model's scores of a row of {name} change with the rest of its batch, or by "
            "chance: expected a function of each row alone"
        )


@torch.no_grad()
def logits(module: nn.Module, inputs: Inputs, name: str) -> Tensor:
    """Logits (b, K) of one batch; InputError where the model does not take such inputs."""
    return network_outputs(module, inputs, name)


def _columns(logits: Tensor, labels: Tensor, k: int) -> tuple[NDArray[np.float64], ...]:
    known = labels.clamp(min=0)[:, None]
    own = logits.gather(1, known)[:, 0]
    others = logits.scatter(1, known, -torch.inf)
    rival = others.topk(k, dim=1).values[:, -1]
    top = logits.topk(2, dim=1).values
    parts = (
        torch.where(labels >= 0, own - rival, torch.nan),  # no label, no margin
        logits.abs().amax(dim=1),
        logits.argmax(dim=1),
        top[:, 0] - top[:, 1],
        labels,
    )
    return tuple(p.cpu().double().numpy() for p in parts)


def count_errors(outputs: Outputs, tolerance: float = TOLERANCE) -> int:
    """Samples that are not surely right."""
    return int(outputs.wrong(tolerance).sum())


def margins(outputs: Outputs) -> Margins:
    """The margins as an evidence part."""
    return Margins(outputs.margins, outputs.sample)


def class_counts(outputs: Outputs, tolerance: float = TOLERANCE) -> ClassCounts:
    """Errors and sizes per true class."""
    wrong = outputs.wrong(tolerance)
    sizes = np.bincount(outputs.labels, minlength=outputs.classes)
    errors = np.bincount(outputs.labels[wrong], minlength=outputs.classes)
    return ClassCounts(errors, sizes, outputs.sample)


def disagreements(a: Outputs, b: Outputs, tolerance: float = TOLERANCE) -> Disagreements:
    """Inputs where the predictions differ or either network abstains (THEORY 2.5)."""
    differ = (a.prediction != b.prediction) | a.abstains(tolerance) | b.abstains(tolerance)
    return Disagreements(int(differ.sum()), a.n, a.sample)


def paired_outcomes(
    pruned: Outputs, dense: Outputs, tolerance: float = TOLERANCE
) -> PairedOutcomes:
    """`worse` counted from above, `better` from below, so that every execution is covered."""
    worse = pruned.wrong(tolerance) & ~dense.surely_wrong(tolerance)
    better = ~pruned.wrong(tolerance) & dense.surely_wrong(tolerance)
    return PairedOutcomes(int(worse.sum()), int(better.sum()), pruned.n, pruned.sample)


# ----------------------------------------------------------------------------- of the weights


def weight_matrices(
    view: LayerView, tensors: Mapping[str, Tensor]
) -> dict[str, NDArray[np.float64]]:
    """Every layer's weight as a float64 matrix (out, in · kernel), in execution order."""
    return {
        layer.name: tensors[layer.name].detach().double().flatten(1).cpu().numpy()
        for layer in view.layers
    }


def layers(
    view: LayerView, tensors: Mapping[str, Tensor], input_norm: float = 0.0, sample: str = ""
) -> Layers:
    """Shapes, nonzeros and norms of every weight matrix."""
    matrices = weight_matrices(view, tensors)
    found = list(matrices.values())
    return Layers(
        names=tuple(matrices),
        fan_out=np.array([m.shape[0] for m in found], np.int64),
        fan_in=np.array([m.shape[1] for m in found], np.int64),
        nonzeros=np.array([np.count_nonzero(m) for m in found], np.int64),
        spectral_norm=np.array([np.linalg.norm(m, 2) for m in found]),
        frobenius_norm=np.array([np.linalg.norm(m) for m in found]),
        norm_2_1=np.array([np.linalg.norm(m, axis=1).sum() for m in found]),
        relu_chain=view.relu_chain,
        input_norm=input_norm,
        sample=sample,
    )


def pruning_curve(
    view: LayerView,
    tensors: Mapping[str, Tensor],
    *,
    seed: int = 0,
    points: int = CURVE_POINTS,
    tick: Tick = silent,
) -> PruningCurve:
    """Bernoulli magnitude-based pruning over d in [0, 10], one drawn mask per d (THEORY 1.8)."""
    weights = {layer.name: tensors[layer.name].detach().double() for layer in view.layers}
    grid = np.linspace(0.0, CURVE_END, points)
    total = sum(w.numel() for w in weights.values())
    kept, removed = [1.0], [[0.0] * len(weights)]
    for point, d in enumerate(grid[1:], start=1):
        masks = bernoulli_mask(weights, float(d), seed * points + point)
        kept.append(sum(int(m.sum()) for m in masks.values()) / total)
        removed.append(
            [
                float(np.linalg.norm((w * ~masks[name]).flatten(1).numpy(), 2))
                for name, w in weights.items()
            ]
        )
        tick(1)
    return PruningCurve(grid, np.array(kept), np.array(removed), seed)
