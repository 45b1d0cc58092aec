"""Errors of networks drawn from a posterior, counted as `measuring` counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunecert.data import Inputs
from prunecert.measuring import TOLERANCE, logits, run, steady
from prunecert.posterior.gaussian import Posterior, draw
from prunecert.progress import Tick, silent

Build = Callable[[Mapping[str, Tensor]], nn.Module]  # tensors by name → the network


@torch.no_grad()
def draw_errors(
    posterior: Posterior,
    build: Build,
    held: Sequence[tuple[Inputs, Tensor]],
    draws: int,
    seed_text: str,
    tolerance: float = TOLERANCE,
    tick: Tick = silent,
    *,
    first: int = 0,
    device: str = "cpu",
) -> NDArray[np.int64]:
    """Errors of draws `first` … `first + draws − 1`, each over all of `held`, shape (draws,).

    `held` are batches kept in memory, as `list(sample.batches(1000, device))` returns them on the
    device of the evaluation; `build` makes the network once, then its tensors are overwritten. A
    row counts as an error when its margin is at most tolerance · max|logit| (THEORY 3.5).
    `tick(1)` follows every draw.

    Raises InputError for what `measuring.run` refuses: labels without an output, scores that depend
    on the batch.
    """
    network = build(draw(posterior, seed_text, first))  # at the mean a gate may be shut
    run(network, _Held(held), batch_size=0, device=device)  # refuses what no draw could mend
    own = network.state_dict()  # shares memory with the network
    errors = np.zeros(draws, np.int64)
    with steady(network):
        for i in range(draws):
            drawn = draw(posterior, seed_text, first + i)
            for name in posterior.random:
                own[name].copy_(drawn[name])
            errors[i] = sum(
                int(_wrong(logits(network, inputs, _Held.name), labels, tolerance).sum())
                for inputs, labels in held
            )
            tick(1)
    return errors


@dataclass(frozen=True)
class _Held:
    """Batches in memory as a sample that `measuring.run` reads."""

    held: Sequence[tuple[Inputs, Tensor]]
    name = "the sample"

    def batches(self, batch_size: int, device: str = "") -> Iterator[tuple[Inputs, Tensor]]:
        return iter(self.held)


def _wrong(scores: Tensor, labels: Tensor, tolerance: float) -> Tensor:
    """Not surely right, as `measuring.Outputs.wrong`: also where a score is not a number."""
    scores, known = scores.double(), labels[:, None]
    margin = scores.gather(1, known) - scores.scatter(1, known, -torch.inf).amax(1, keepdim=True)
    return ~(margin > tolerance * scores.abs().amax(1, keepdim=True))
