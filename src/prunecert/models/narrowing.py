"""Smaller copies of a network: only some units of each hidden layer, and the way back.

A network whose other units are zero computes the same as the copy, faster. Which units may be left
out, the layer view says: those of groups that it can renumber, in a network that names no sizes in
its own code (`x.view(-1, 400)` needs all 400 of them).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunecert.models.groups import UnitGroup
from prunecert.models.layers import LayerView

Kept = dict[str, dict[int, Tensor]]  # tensor → axis → indices that are kept, increasing


def kept_units(
    view: LayerView, tensors: Mapping[str, Tensor], most: int | None, *, by_size: bool
) -> Kept:
    """Where to cut so that no group has more than `most` units: the first ones, or `by_size` those
    with the largest weights (product of the energies of what comes in and goes out)."""
    kept: Kept = {}
    for group in _groups(view):
        if most is not None and group.size > most:
            sizes = _sizes(group, tensors) if by_size else -torch.arange(group.size)
            chosen = sizes.argsort(descending=True, stable=True)[:most].sort().values
            _cut(kept, group, chosen)
    return kept


def active_units(view: LayerView, tensors: Mapping[str, Tensor]) -> Kept:
    """Where to cut so that every unit left has weights that come in and weights that go out, or a
    bias; at least one unit of each group stays."""
    kept: Kept = {}
    for group in _groups(view):
        touched = torch.zeros(group.size, dtype=torch.bool)
        for s in (*group.producers, *group.companions, *group.consumers):
            touched |= _energy(tensors[s.tensor], s.axis, s.repeat) > 0
        touched[0] |= not touched.any()
        _cut(kept, group, touched.nonzero()[:, 0])
    return kept


def narrow(network: nn.Module, kept: Kept) -> None:
    """Cut every tensor of `network`, in place, to the units that are kept."""
    for name, axes in kept.items():
        path, _, local = name.rpartition(".")
        owner = network.get_submodule(path)
        tensor = getattr(owner, local).detach()
        for axis, places in axes.items():
            tensor = tensor.index_select(axis, places)
        if local in owner._parameters:
            owner._parameters[local] = nn.Parameter(tensor)
        else:
            owner._buffers[local] = tensor


def embedded(value: Tensor, full: Tensor, axes: Mapping[int, Tensor]) -> Tensor:
    """`full` with the narrow `value` at its places."""
    if not axes:
        return value.clone()
    places = [axes.get(axis, torch.arange(size)) for axis, size in enumerate(full.shape)]
    full[tuple(torch.meshgrid(*places, indexing="ij"))] = value
    return full


def _groups(view: LayerView) -> list[UnitGroup]:
    """Those that may be cut."""
    return [group for group in view.groups if group.renumberable and not view.sizes_written]


def _cut(kept: Kept, group: UnitGroup, chosen: Tensor) -> None:
    for s in (*group.producers, *group.companions, *group.consumers):
        places = (chosen[:, None] * s.repeat + torch.arange(s.repeat)).flatten()
        kept.setdefault(s.tensor, {})[s.axis] = places


def _sizes(group: UnitGroup, tensors: Mapping[str, Tensor]) -> Tensor:
    sizes = torch.ones(group.size, dtype=torch.float64)
    for slots in (group.producers, group.consumers):
        energies = [_energy(tensors[s.tensor], s.axis, s.repeat) for s in slots]
        sizes *= torch.stack(energies).sum(0) if energies else 1.0
    return sizes


def _energy(tensor: Tensor, axis: int, repeat: int) -> Tensor:
    """Sum of squares per unit along an axis, shape (units,)."""
    squares = tensor.detach().double().square().movedim(axis, 0)
    rows = squares.reshape(len(squares), -1).sum(1)
    return rows.reshape(-1, repeat).sum(1)
