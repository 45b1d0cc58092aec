"""Losses between 0 and 1 of every sample, for statements that do not count errors (THEORY 2.11)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot

from prunecert.measuring import (
    DEFAULT_BATCH,
    TOLERANCE,
    Batches,
    logits,
    refuse_labels_beyond,
    refuse_mixing,
    steady,
)
from prunecert.progress import Tick, silent
from prunecert.types import InputError, Losses


def brier(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance of the probabilities to the truth: 0 … 1."""
    truth = one_hot(labels, probabilities.shape[1])
    return ((probabilities - truth) ** 2).sum(dim=1) / 2


def confidence(probabilities: Tensor, labels: Tensor) -> Tensor:
    """One minus the probability given to the true class: 0 … 1."""
    return 1 - probabilities.gather(1, labels[:, None])[:, 0]


LARGEST_VARIANCE = 0.5  # unbiased, of numbers in [0, 1]: of 0 and 1

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"brier": brier, "confidence": confidence}


@dataclass(frozen=True)
class MeasuredLosses:
    """A loss of every sample, shape (n,), and by how much another execution may exceed it."""

    loss: str
    values: NDArray[np.float64]
    slack: NDArray[np.float64]
    sample: str

    @property
    def n(self) -> int:
        return len(self.values)

    def counts(self, conservative: bool = True) -> dict[str, object]:
        """Mean and unbiased variance, of any execution within the tolerance if `conservative`."""
        slack = self.slack if conservative else np.zeros_like(self.slack)
        total = math.fsum(np.minimum(self.values + slack, 1.0))
        variance = float(np.var(self.values, ddof=1)) if self.n > 1 else 1.0
        widest = float(slack.max())
        return {
            "n": self.n,
            "loss": self.loss,
            "mean": min(1.0, total / self.n * (1 + 1e-12)),
            "variance": min(
                LARGEST_VARIANCE, (math.sqrt(variance) + 2 * widest) ** 2 * (1 + 1e-12)
            ),
        }

    def part(self) -> Losses:
        """As evidence: every loss as large as an execution within the tolerance may find it."""
        return Losses(np.minimum(self.values + self.slack, 1.0), 0.0, 1.0, self.loss, self.sample)


@torch.no_grad()
def run(
    module: nn.Module,
    sample: Batches,
    loss: str,
    *,
    batch_size: int = DEFAULT_BATCH,
    device: str = "cpu",
    tick: Tick = silent,
) -> MeasuredLosses:
    """One pass of `module` (eval mode) over `sample`, probabilities by softmax in float64.

    Logits within e of these (the largest deviation of any) move either loss by at most 2e: a
    probability p_k moves by at most 2e·p_k(1 − p_k), and |p − y| is at most 1.
    """
    if loss not in LOSSES:
        raise InputError(f"--loss {loss}: expected one of {', '.join(LOSSES)}")
    module = module.to(device).eval()
    values, slack = [], []
    with steady(module):
        for inputs, labels in sample.batches(batch_size, device=device):
            scores = logits(module, inputs, sample.name).double()
            if not values:
                refuse_mixing(module, inputs, scores, sample.name)
            refuse_labels_beyond(scores.shape[1], labels, sample.name)
            finite = scores.isfinite().all(dim=1)
            found = LOSSES[loss](scores.softmax(dim=1), labels).clamp(0, 1)
            values.append(torch.where(finite, found, 1.0).cpu().numpy())
            slack.append((TOLERANCE * scores.abs().amax(dim=1)).nan_to_num(1, 1).clamp(max=1).cpu())
            tick(len(labels))
    return MeasuredLosses(loss, np.concatenate(values), np.concatenate(slack), sample.name)
