"""Groups of hidden units: what the layer view tells, and a group in the making."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Slot:
    """One axis of one state-dict tensor runs over the units of a group.

    Unit u owns the indices u·repeat … (u+1)·repeat − 1 of that axis (after flattening c×h×w,
    repeat = h·w; 1 elsewhere).
    """

    tensor: str
    axis: int
    repeat: int = 1


@dataclass(frozen=True)
class Step:
    """What happens to a unit's values between its incoming weights and a consumer.

    `kind` is bias | relu | elementwise | batch_norm | pool; `tensors` are the state-dict names
    of the bias, or of weight, bias ("" where absent), running_mean and running_var.
    """

    kind: str
    function: Callable[[Tensor], Tensor] | None = field(default=None, compare=False, repr=False)
    tensors: tuple[str, ...] = ()
    eps: float = 0.0
    padded: bool = False  # zeros enter at the border: only the constant 0 stays constant


@dataclass(frozen=True)
class Path:
    """From a unit's incoming weights to one consumer: `steps` in order, then its weight."""

    steps: tuple[Step, ...]
    bias: str | None  # the consumer's bias, where it has one of its own
    padded: bool = False  # the consumer is a convolution that pads with zeros


@dataclass(frozen=True)
class UnitGroup:
    """Hidden units (channels) that move together, in a network whose function is f.

    `renumberable`: permuting the units in all slots at once leaves f unchanged, and a unit that
    no consumer reads may be set to zero. `foldable`: a unit that is constant can be replaced by
    a change of every consumer's bias. `reason` says why not, for the first of the two that fails.
    """

    size: int
    producers: tuple[Slot, ...]  # weights whose axis 0 yields these units
    companions: tuple[Slot, ...]  # per-unit vectors: biases, norm weight, bias, mean, variance
    consumers: tuple[Slot, ...]  # weights whose axis 1 reads these units
    renumberable: bool
    foldable: bool
    paths: tuple[Path, ...] = ()  # one per consumer; empty where constants cannot be followed
    reason: str = ""


@dataclass
class Draft:
    """A group in the making."""

    size: int
    producers: list[Slot] = field(default_factory=list)
    companions: list[Slot] = field(default_factory=list)
    consumers: list[Slot] = field(default_factory=list)
    paths: list[Path | None] = field(default_factory=list)
    frozen: str = ""  # the first reason why its units may not move
    written: bool = False  # some operation writes in place
    shared: bool = False  # some tensor that carries it has several readers

    def absorb(self, other: Draft) -> None:
        for name in ("producers", "companions", "consumers", "paths"):
            getattr(self, name).extend(getattr(other, name))
        self.freeze(other.frozen)

    def freeze(self, reason: str) -> None:
        self.frozen = self.frozen or reason

    def finished(self) -> UnitGroup:
        paths = [path for path in self.paths if path is not None]
        lost = self._constants_lost(paths)
        fixed = "" if lost else _why_not_foldable(paths)
        return UnitGroup(
            self.size,
            tuple(self.producers),
            tuple(self.companions),
            tuple(self.consumers),
            renumberable=not self.frozen,
            foldable=not (self.frozen or lost or fixed),
            paths=() if lost else tuple(paths),
            reason=self.frozen or lost or fixed,
        )

    def _constants_lost(self, paths: Sequence[Path]) -> str:
        if len(self.producers) > 1:
            return "a sum of several layers"
        if len(paths) < len(self.paths):
            return "several routes from one layer meet"
        if self.written and self.shared:
            return "a value with several readers may be written in place"
        return ""


def _why_not_foldable(paths: Sequence[Path]) -> str:
    if any(path.padded or any(step.padded for step in path.steps) for path in paths):
        return "zero padding on the way: a constant is not constant at the border"
    if any(path.bias is None for path in paths):
        return "a layer that reads it has no bias of its own"
    return ""
