"""The smallest code found for a network as it is: simplify, renumber, quantise, write.

Whatever is decided here only chooses a codeword (THEORY 2.1a i), so it may look at the sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from prunecert import measuring
from prunecert.api.networks import Network
from prunecert.bounds.occam import occam_kl_upper
from prunecert.coding import CodedNetwork, has_groups
from prunecert.coding.precision import search_precision
from prunecert.data import Inputs, Sample
from prunecert.models.simplify import remove_dead_units, renumber
from prunecert.progress import Stage

PROBE_BLOCKS, PROBE_BLOCK = 20, 100  # evenly spread rows that precisions are compared on
SAME_FUNCTION = 1e-3  # simplification must leave logits within this share of the largest one


@dataclass(frozen=True)
class Probe:
    """A part of a sample held in memory, small enough to be evaluated many times."""

    name: str
    held: tuple[tuple[Inputs, torch.Tensor], ...]

    @property
    def n(self) -> int:
        return sum(len(labels) for _, labels in self.held)

    def batches(
        self, batch_size: int, device: str = "cpu"
    ) -> Iterator[tuple[Inputs, torch.Tensor]]:
        yield from self.held


@dataclass(frozen=True)
class BestCode:
    """The code chosen, the precision of each quantised tensor in words, and what was done."""

    network: CodedNetwork
    precisions: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """What ways to code a network are compared on: the errors on a part of the sample."""

    network: Network
    sample: Sample
    delta: float
    batch_size: int
    device: str

    @cached_property
    def probe(self) -> Probe:
        return take_probe(self.sample, self.batch_size, self.device)

    def count_errors(self, candidate: dict[str, torch.Tensor]) -> int:
        """Errors to expect on the whole sample."""
        module = self.network.architecture.build(candidate)
        found = measuring.run(module, self.probe, device=self.device)
        return round(measuring.count_errors(found) * self.sample.n / self.probe.n)

    def bound_of(self, errors: int, bits: float) -> float:
        n = self.sample.n
        bound = float(occam_kl_upper(errors, n, bits, self.delta))
        return bound if bound < 0.999 else 1 + errors / n  # still a direction when vacuous

    def bound_with(self, found: tuple[dict[str, torch.Tensor], BestCode]) -> float:
        """The bound to expect of these tensors in this code."""
        tensors, best = found
        return self.bound_of(self.count_errors(tensors), best.network.code.bits)


def smallest_code(
    network: Network, sample: Sample, delta: float, batch_size: int, device: str, stage: Stage
) -> BestCode:
    """The bytes with the smallest certificate found on this sample."""
    architecture, trial = network.architecture, Trial(network, sample, delta, batch_size, device)
    grouped = any(has_groups(tensor) for tensor in network.tensors.values())

    def searched() -> tuple[dict[str, torch.Tensor], BestCode]:
        tensors, notes = simplified(network, trial.probe, device, in_place=grouped)
        if grouped:
            notes = ("N:M groups of weights: hidden units keep their places", *notes)
        with stage("searching the precision", 0) as tick:
            best = search_precision(
                tensors,
                architecture.specs,
                architecture.view.groups,
                trial.count_errors,
                trial.bound_of,
                on_step=lambda: tick(1),
            )
        words = {name: str(precision) for name, precision in best.precisions.items()}
        return best.tensors, BestCode(architecture.encode(best.tensors, best.choices), words, notes)

    def seeded(seed: int) -> tuple[dict[str, torch.Tensor], BestCode]:
        tensors, notes = simplified(network, trial.probe, device, in_place=True)
        said = f"signs drawn from seed {seed}: hidden units keep their places"
        return tensors, BestCode(architecture.encode(tensors, seed=seed), {}, (said, *notes))

    if network.sign_seed is None:
        return searched()[1]
    return min(searched(), seeded(network.sign_seed), key=trial.bound_with)[1]


def simplified(
    network: Network, probe: Probe, device: str, *, in_place: bool = False
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Dead units removed, hidden units renumbered, unread buffers zeroed: the same function.

    `in_place`: the units keep their numbers, since seeded signs belong to places. The layer view
    proves it; one batch checks it, and on a difference the weights stay as given.
    """
    view = network.architecture.view
    given = {
        name: torch.zeros_like(t) if name in view.unread_buffers else _without_signed_zeros(t)
        for name, t in network.tensors.items()
    }
    smaller, removed = remove_dead_units(view, given)
    smaller = smaller if in_place else renumber(view, smaller)
    before, after = (
        measuring.logits(network.architecture.build(t).to(device), probe.held[0][0], probe.name)
        for t in (network.tensors, smaller)
    )
    if not (before - after).abs().max() <= SAME_FUNCTION * before.abs().max():
        return given, ("removing dead units changed the function here: kept all units",)
    if view.opaque_reason:
        return smaller, (f"hidden units not renumbered: {view.opaque_reason}",)
    gone, folded = sum(removed.no_outgoing), sum(removed.constant)
    said = f"removed {gone} hidden units that nothing reads and {folded} that were constant"
    return smaller, ((said,) if gone + folded else ())


def _without_signed_zeros(tensor: torch.Tensor) -> torch.Tensor:
    """−0.0, which multiplying by a mask leaves behind, becomes a zero that costs nothing."""
    return tensor + 0 if tensor.is_floating_point() else tensor


def take_probe(sample: Sample, batch_size: int, device: str) -> Probe:
    """About PROBE_BLOCKS · PROBE_BLOCK rows, evenly spread over the sample."""
    size = min(PROBE_BLOCK, max(sample.n // PROBE_BLOCKS, 1))
    if sample.n <= PROBE_BLOCKS * PROBE_BLOCK:
        return Probe(sample.name, tuple(sample.batches(batch_size, device)))
    stride = sample.n // PROBE_BLOCKS
    held = []
    for start in range(sample.start, sample.start + stride * PROBE_BLOCKS, stride):
        block = replace(sample, start=start, stop=start + size)
        held += list(block.batches(size, device))
    return Probe(f"{len(held)} blocks of {sample.name}", tuple(held))
