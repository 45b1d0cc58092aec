"""Coordinate search: change one weight at a time as long as the certificate itself gets smaller.

Training minimises a smooth stand-in for errors and bits; here both are counted. A move sets one
weight (or bias) of a network on grids to another multiple of its step, mostly to zero, and stays
if the bound falls. Which codeword is reached may depend on the sample in any way (THEORY 2.1a i).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunecert.progress import Tick, silent

HARD_SHARE, HARD_LEAST = 0.2, 5000  # rows nearest to the boundary: only these change sides
BATCH = 4000
RELOCATIONS = 3  # other places tried for every nonzero in a sweep
IDLE_SWEEPS = 3  # without a move that helps, in a row: each looks at other zeros


@dataclass(frozen=True)
class Grid:
    """A tensor's values are step · k, |k| ≤ levels."""

    step: float
    levels: int


def grid_of(tensor: Tensor) -> Grid | None:
    """The coarsest power of two that every value is a multiple of, if few levels are enough."""
    values = tensor[tensor != 0].double().abs()
    if not len(values):
        return None
    step = 2.0 ** math.floor(math.log2(float(values.min())))
    for _ in range(3):
        if torch.equal((values / step).round() * step, values):
            levels = round(float(values.max()) / step)
            return Grid(step, levels) if levels <= 127 else None
        step /= 2
    return None


@torch.no_grad()
def coordinate_search(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    bound_of: Callable[[int, float], float],
    bits: float,
    seconds: float,
    seed: int = 0,
    tick: Tick = silent,
) -> int:
    """Improve the tensors of `network` in place; the number of moves that stayed.

    `bound_of(errors, bits)` is to be made small; `bits` is the length of the network's code now,
    and moves change it by an estimate. Stops after `seconds`, or when no move helps any more.
    """
    search = _Search(network, bits, bound_of, torch.Generator().manual_seed(seed))
    until, stayed, idle = time.monotonic() + seconds, 0, 0
    while idle < IDLE_SWEEPS:
        search.look(inputs, labels)
        before = stayed
        for move in search.moves():
            stayed += search.tried(move)
            tick(1)
            if time.monotonic() > until:
                return stayed
        idle = 0 if stayed > before else idle + 1
    return stayed


@dataclass(frozen=True)
class Move:
    """New levels of some places of one tensor."""

    name: str
    levels: tuple[tuple[int, int], ...]  # (flat place, k)


class _Search:
    """The network under search; only the hard rows are evaluated, from the changed part on."""

    def __init__(
        self,
        network: nn.Module,
        bits: float,
        bound_of: Callable[[int, float], float],
        generator: torch.Generator,
    ) -> None:
        self.bits, self.bound_of, self.generator = bits, bound_of, generator
        chain = type(network) is nn.Sequential
        self.parts = list(network.children()) if chain else [network]
        self.tensors: dict[str, Tensor] = {}
        self.part_of: dict[str, int] = {}
        self.grids: dict[str, Grid] = {}
        for index, (prefix, part) in enumerate(
            network.named_children() if chain else [("", network)]
        ):
            for local, tensor in part.named_parameters():
                name = f"{prefix}.{local}" if prefix else local
                if grid := grid_of(tensor):
                    self.tensors[name], self.part_of[name] = tensor.data, index
                    self.grids[name] = grid

    def look(self, inputs: Tensor, labels: Tensor) -> None:
        """Evaluate everything, and keep the rows whose margins are smallest in size."""
        rows = [
            _margins(self._from(0, x), y)
            for x, y in zip(inputs.split(BATCH), labels.split(BATCH), strict=True)
        ]
        margins = torch.cat(rows)
        hard = min(max(int(HARD_SHARE * len(margins)), HARD_LEAST), len(margins))
        chosen = margins.abs().argsort()[:hard]
        self.easy_errors = int((margins <= 0).sum()) - int((margins[chosen] <= 0).sum())
        self.labels = labels[chosen]
        self.activations = [inputs[chosen]]
        for part in self.parts:
            self.activations.append(part(self.activations[-1]))
        self.scale = float(margins.abs().mean()) or 1.0
        self.bound, self.loss = self._judged(self.activations[-1], self.bits)

    def moves(self) -> Iterator[Move]:
        """In random order: every nonzero to zero, to its neighbours and its opposite, and to
        RELOCATIONS other places; and as many zeros to ±1."""
        found = []
        for name, tensor in self.tensors.items():
            levels = (tensor.flatten() / self.grids[name].step).round().long()
            most = self.grids[name].levels
            nonzeros, zeros = (where.nonzero()[:, 0] for where in (levels != 0, levels == 0))
            for place in nonzeros.tolist():
                now = int(levels[place])
                others = {0, -now, now - 1, now + 1} - {now}
                found += [Move(name, ((place, k),)) for k in sorted(others) if abs(k) <= most]
            some = self._drawn(zeros, len(nonzeros))
            found += [Move(name, ((place, sign),)) for place, sign in some]
            for place in nonzeros.tolist():
                for other, sign in self._drawn(zeros, RELOCATIONS):
                    moved = sign * abs(int(levels[place]))
                    found.append(Move(name, ((place, 0), (other, moved))))
        for index in torch.randperm(len(found), generator=self.generator).tolist():
            yield found[index]

    def _drawn(self, places: Tensor, count: int) -> list[tuple[int, int]]:
        """Some of the places (with replacement), each with a random sign."""
        if not len(places):
            return []
        chosen = torch.randint(len(places), (count,), generator=self.generator)
        signs = 2 * torch.randint(2, (count,), generator=self.generator) - 1
        return list(zip(places[chosen].tolist(), signs.tolist(), strict=True))

    def tried(self, move: Move) -> bool:
        """Make a move; keep it if the bound falls, or if the loss does at the same bound."""
        tensor, step = self.tensors[move.name].view(-1), self.grids[move.name].step
        before = [(place, float(tensor[place])) for place, _ in move.levels]
        if all(value == level * step for (_, value), (_, level) in zip(before, move.levels)):
            return False
        more = sum(bool(level) for _, level in move.levels) - sum(bool(v) for _, v in before)
        bits = self.bits + self._place_bits(move.name) * more
        for place, level in move.levels:
            tensor[place] = level * step
        index = self.part_of[move.name]
        bound, loss = self._judged(self._from(index, self.activations[index]), bits)
        if (bound, loss) < (self.bound, self.loss):
            self.bits, self.bound, self.loss = bits, bound, loss
            for later in range(index, len(self.parts)):
                self.activations[later + 1] = self.parts[later](self.activations[later])
            return True
        for place, value in before:
            tensor[place] = value
        return False

    def _place_bits(self, name: str) -> float:
        """What one more nonzero costs in this tensor: its place and its level."""
        tensor = self.tensors[name]
        density = min(max(int((tensor != 0).sum()), 1) / tensor.numel(), 0.5)
        return math.log2((1 - density) / density) + math.log2(2 * self.grids[name].levels)

    def _from(self, index: int, values: Tensor) -> Tensor:
        for part in self.parts[index:]:
            values = part(values)
        return values

    def _judged(self, outputs: Tensor, bits: float) -> tuple[float, float]:
        """The bound, and the mean logistic loss of the hard rows."""
        margins = _margins(outputs, self.labels)
        errors = self.easy_errors + int((margins <= 0).sum())
        return self.bound_of(errors, bits), float(functional.softplus(-margins / self.scale).mean())


def _margins(outputs: Tensor, labels: Tensor) -> Tensor:
    own = outputs.gather(1, labels[:, None])[:, 0]
    return own - outputs.scatter(1, labels[:, None], -torch.inf).amax(1)
