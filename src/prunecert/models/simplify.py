"""Smaller networks that compute the same function: dead units removed, the others in order.

Only where the layer view proves it (THEORY 3.3). States are dictionaries of tensors by state-dict
name; a new dictionary is returned and the given one stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from prunecert.models.groups import Path, Slot, Step, UnitGroup
from prunecert.models.layers import LayerView

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Removed:
    """Units set to zero per group of the view, in its order."""

    no_outgoing: tuple[int, ...]  # nothing read them
    constant: tuple[int, ...]  # their value did not depend on the input


def remove_dead_units(view: LayerView, state: State) -> tuple[dict[str, Tensor], Removed]:
    """Set to zero every unit that is not needed, until nothing changes.

    A unit that no consumer reads is not needed. A constant one (no incoming weights, or a batch
    normalisation that multiplies it by zero) is not needed once its constant is added to the
    biases of the layers that read it: exact but for the rounding of those biases to their dtype,
    and possible where no zero padding comes between. A constant zero needs no bias.
    """
    new = dict(state)
    groups = view.groups
    before = [_alive(group, new) for group in groups]
    folded = [torch.zeros_like(alive) for alive in before]
    changed = True
    while changed:
        changed = False
        for group, constant in zip(groups, folded, strict=True):
            if group.renumberable:
                constant |= (now := _fold_constants(group, new))
                changed |= bool(now.any()) | _clear_unread(group, new)
    dead = [was & ~_alive(group, new) for group, was in zip(groups, before, strict=True)]
    pairs = list(zip(dead, folded, strict=True))
    return new, Removed(
        no_outgoing=tuple(int((gone & ~constant).sum()) for gone, constant in pairs),
        constant=tuple(int((gone & constant).sum()) for gone, constant in pairs),
    )


def renumber(view: LayerView, state: State) -> dict[str, Tensor]:
    """Sort the units of each renumberable group: those that touch most nonzeros first.

    Ties: larger l1 norm first, then the order given. Units whose slots are all zero come last.
    The order depends on each unit alone, so doing it twice changes nothing.
    """
    new = dict(state)
    for group in view.groups:
        if group.renumberable:
            order = _order(group, new)
            for slot in _slots(group):
                new[slot.tensor] = _permuted(new[slot.tensor], slot, order)
    return new


def active_units(view: LayerView, state: State) -> tuple[int, ...]:
    """Per group, 1 + the last unit with a nonzero in any of its slots (0 where all are zero)."""
    counts = []
    for group in view.groups:
        alive = _alive(group, state).nonzero()
        counts.append(int(alive[-1]) + 1 if len(alive) else 0)
    return tuple(counts)


# --------------------------------------------------------------------------- units in tensors


def _slots(group: UnitGroup) -> tuple[Slot, ...]:
    return (*group.producers, *group.companions, *group.consumers)


def _by_unit(tensor: Tensor, slot: Slot, size: int) -> Tensor:
    """What each unit owns of `tensor`, shape (size, everything else)."""
    return tensor.movedim(slot.axis, 0).reshape(size, -1)


def _touched(group: UnitGroup, slots: tuple[Slot, ...], state: State) -> Tensor:
    """Which units have a nonzero in any of `slots`, shape (size,)."""
    touched = [(_by_unit(state[s.tensor], s, group.size) != 0).any(dim=1).cpu() for s in slots]
    return torch.stack(touched).any(dim=0) if touched else torch.zeros(group.size, dtype=torch.bool)


def _alive(group: UnitGroup, state: State) -> Tensor:
    return _touched(group, _slots(group), state)


def _indices(units: Tensor, slot: Slot) -> Tensor:
    """Indices along the slot's axis that `units` (unit numbers) own, in their order."""
    return (units[:, None] * slot.repeat + torch.arange(slot.repeat)).flatten()


def _cleared(tensor: Tensor, slot: Slot, units: Tensor) -> Tensor:
    """`tensor` with zeros where the units of a boolean mask own it."""
    indices = _indices(units.nonzero().flatten(), slot).to(tensor.device)
    return tensor.index_fill(slot.axis, indices, 0)


def _permuted(tensor: Tensor, slot: Slot, order: Tensor) -> Tensor:
    return tensor.index_select(slot.axis, _indices(order, slot).to(tensor.device))


# --------------------------------------------------------------------------- removing


def _clear_unread(group: UnitGroup, state: dict[str, Tensor]) -> bool:
    """Zero what belongs to units that no consumer reads; whether that changed anything."""
    unread = ~_touched(group, group.consumers, state)
    changed = bool((unread & _alive(group, state)).any())
    if unread.any():
        for slot in _slots(group):  # consumers too: a weight may hold −0.0
            state[slot.tensor] = _cleared(state[slot.tensor], slot, unread)
    return changed


def _fold_constants(group: UnitGroup, state: dict[str, Tensor]) -> Tensor:
    """Stop reading constant units, their constants moved into biases; which units, (size,)."""
    stopped = torch.zeros(group.size, dtype=torch.bool)
    for consumer, path in zip(group.consumers, group.paths, strict=False):
        read = _touched(group, (consumer,), state)
        constants = _constants(group, path, state)
        fixed = constants.isfinite().all(dim=1)
        zero = (constants == 0).all(dim=1)
        bias = None if path.padded else path.bias
        units = read & (zero if bias is None else fixed)
        if units.any():
            weight = state[consumer.tensor]
            if bias is not None:
                moved = _response(weight, consumer, units, constants).to(weight.device)
                state[bias] = (state[bias].double() + moved).to(state[bias].dtype)
            state[consumer.tensor] = _cleared(weight, consumer, units)
            stopped |= units
    return stopped


def _response(weight: Tensor, slot: Slot, units: Tensor, constants: Tensor) -> Tensor:
    """What the chosen units at their constants add to each output, float64, shape (out,)."""
    per_value = weight.double().cpu().reshape(len(weight), len(units), slot.repeat, -1).sum(dim=-1)
    values = torch.where(units[:, None], constants, 0.0).expand(-1, slot.repeat)
    return torch.einsum("our,ur->o", per_value, values)


def _constants(group: UnitGroup, path: Path, state: State) -> Tensor:
    """The value of each unit at the end of `path`, nan where it depends on the input.

    float64, shape (size, 1), or (size, repeat) after a normalisation of flattened values.
    """
    incoming = _touched(group, group.producers, state)
    values = torch.where(incoming, math.nan, 0.0).double()[:, None]
    for step in path.steps:
        values = _after(step, values, state)
    return values


def _after(step: Step, values: Tensor, state: State) -> Tensor:
    tensors = [state[name].double().cpu() if name else None for name in step.tensors]
    if step.kind == "bias":
        return values + _column(tensors[0], values, 0.0)
    if step.kind == "batch_norm":
        weight, bias = _column(tensors[0], values, 1.0), _column(tensors[1], values, 0.0)
        mean, variance = _column(tensors[2], values, 0.0), _column(tensors[3], values, 1.0)
        scaled = (values - mean) / (variance + step.eps).sqrt() * weight
        return torch.where(weight == 0, 0.0, scaled) + bias
    if step.padded:
        return torch.where(values == 0, 0.0, math.nan)
    if step.function is None:
        return values
    return torch.where(values.isnan(), values, step.function(values))


def _column(vector: Tensor | None, values: Tensor, default: float) -> Tensor:
    """A per-unit vector as (size, repeat)."""
    return torch.full_like(values, default) if vector is None else vector.reshape(len(values), -1)


# --------------------------------------------------------------------------- ordering


def _order(group: UnitGroup, state: State) -> Tensor:
    """Unit numbers, first place first."""
    weights = (*group.producers, *group.consumers)
    parts = [_by_unit(state[slot.tensor], slot, group.size).cpu() for slot in weights]
    nonzeros = torch.stack([(part != 0).sum(dim=1) for part in parts]).sum(dim=0)
    alive = _alive(group, state)

    def key(unit: int) -> tuple[bool, int, float, int]:
        sizes = chain.from_iterable(part[unit].double().abs().tolist() for part in parts)
        # fsum rounds once: the norm does not depend on the order of the other units
        return not alive[unit], -int(nonzeros[unit]), -math.fsum(sizes), unit

    return torch.tensor(sorted(range(group.size), key=key))
