"""One network, one stream: architecture, active units, then every tensor's places and values.

`network.bin` = container( stream( header · tensors ) ). The decoder needs the bytes and the
architecture (names, shapes, dtypes, unit groups), nothing else. What the encoder could choose
(mask code, value code, step, dtype, dialect) is written, so choosing costs exactly its fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from prunecert.coding import container
from prunecert.coding.choosing import options
from prunecert.coding.frame import Frame
from prunecert.coding.header import FROM_A_SEED, MAX_ARCHITECTURE, Header, code_header
from prunecert.coding.patterns import DTYPE_LIST, from_patterns, to_patterns, width_of
from prunecert.coding.prng import SEEDS
from prunecert.coding.stream import AdaptiveSymbols, Reader, Stream, Writer, uniform
from prunecert.coding.subspace import Subspaces
from prunecert.coding.tensor_codes import Choice, code_places, code_values
from prunecert.models.groups import Slot, UnitGroup
from prunecert.models.loading import TensorSpec
from prunecert.types import Code, CodeError, InputError

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class CodedNetwork:
    """The bytes of a network and what they cost."""

    data: bytes
    code: Code


@dataclass(frozen=True)
class DecodedNetwork:
    """What the bytes say."""

    tensors: dict[str, torch.Tensor]
    architecture: tuple[int, ...]
    choices: dict[str, Choice]
    seed: int | None = None  # that signs, places or values come from, where the file names one


def encode_network(
    tensors: Tensors,
    slots: Sequence[TensorSpec],
    groups: Sequence[UnitGroup],
    architecture: tuple[int, ...] = (),
    choices: Mapping[str, Choice] | None = None,
    seed: int | None = None,
) -> CodedNetwork:
    """Write `tensors` (every slot's name present, in the slot's shape) as `network.bin`.

    `architecture` are the zoo's integers, empty for a declared architecture. With `seed`, signs,
    places and values that this seed gives at their places in the full tensor are found; the file
    names the seed, or takes a later dialect, only where that is smaller or where `choices` need it.
    `Code.bits` is 8 · (bytes after the constant magic); `parts` splits it into header, positions,
    values and container (length field and flush). CodeError where a tensor is not what its choice
    says.
    """
    asked = choices or {}
    _check(architecture, asked, seed)
    touched = _touched(slots, groups, tensors)
    ways = {
        name: options(replace(frame, dtype=tensors[name].dtype), tensors[name], _of(asked, name))
        for name, frame in _frames(slots, groups, touched, seed).items()
    }
    headers = [Header(architecture), Header(architecture, None, 2)]
    if seed is not None:
        headers.insert(1, Header(architecture, seed, 1))
        headers.append(Header(architecture, seed, 2))
    coded = []
    for header in headers:
        plan = {name: way.best(header) for name, way in ways.items()}
        if header == next(h for h in headers if _fits(h, plan)):  # no lesser one would do
            coded.append(_encoded(_Network(slots, groups), header, touched, tensors, plan))
    return min(coded, key=lambda network: network.code.bits)


def decode_network(
    data: bytes, slots: Sequence[TensorSpec], groups: Sequence[UnitGroup]
) -> DecodedNetwork:
    """Read `network.bin`; CodeError for any bytes that are not exactly one such file."""
    words, end = container.unpack(data)
    if end != len(data):
        raise CodeError(f"{len(data) - end} bytes follow the end of the network")
    return _Network(slots, groups).code(Reader(words), Header(), (), None, {})


def _check(architecture: tuple[int, ...], asked: Mapping[str, Choice], seed: int | None) -> None:
    if len(architecture) > MAX_ARCHITECTURE:
        raise InputError(
            f"a network file names an architecture by at most {MAX_ARCHITECTURE} integers, "
            f"this one has {len(architecture)}"
        )
    if seed is not None and not 0 <= seed < SEEDS:
        raise InputError(f"seed {seed}: expected an integer from 0 to {SEEDS - 1}")
    for name, choice in asked.items():
        for mode in (choice.mask, choice.values):
            if seed is None and mode in FROM_A_SEED:
                raise InputError(f"tensor '{name}' is to be coded as {mode}: expected a seed")


def _fits(header: Header, plan: Mapping[str, Choice]) -> bool:
    return all(header.allows_mask(c.mask) and header.allows_values(c.values) for c in plan.values())


def _encoded(
    network: _Network,
    header: Header,
    touched: Sequence[int],
    tensors: Tensors,
    plan: Mapping[str, Choice],
) -> CodedNetwork:
    """The file with this header and these choices."""
    stream = Writer()
    network.code(stream, header, touched, tensors, plan)
    data = container.pack(stream.finish())
    bits = container.code_bits(data)
    parts = {name: round(cost) for name, cost in network.costs.items()}
    return CodedNetwork(data, Code(bits, {**parts, "container": bits - sum(parts.values())}))


class _Network:
    """The format, written once for both directions."""

    def __init__(self, slots: Sequence[TensorSpec], groups: Sequence[UnitGroup]) -> None:
        self.slots, self.groups = slots, groups
        self.costs = {"header": 0.0, "positions": 0.0, "values": 0.0}
        self._spent = 0.0
        self._same_dtype = AdaptiveSymbols(2)
        self._subspaces = Subspaces()

    def code(
        self,
        stream: Stream,
        header: Header,
        touched: Sequence[int],
        tensors: Tensors | None,
        choices: Mapping[str, Choice],
    ) -> DecodedNetwork:
        """Everything is given by a writer; a reader has an empty header and no tensors."""
        self._header = code_header(stream, header)
        self._mask_modes = AdaptiveSymbols(len(self._header.mask_modes))
        self._value_modes = AdaptiveSymbols(len(self._header.value_modes))
        given = touched or [0] * len(self.groups)
        active = [uniform(stream, g.size + 1, units) for g, units in zip(self.groups, given)]
        self._account(stream, "header")
        frames = _frames(self.slots, self.groups, active, self._header.seed)
        out: dict[str, torch.Tensor] = {}
        chosen: dict[str, Choice] = {}
        for slot in self.slots:
            name = slot.name
            if slot.alias_of is not None:
                out[name] = out[slot.alias_of]
                continue
            tensor = None if tensors is None else tensors[name]
            out[name], chosen[name] = self._tensor(stream, frames[name], tensor, _of(choices, name))
        return DecodedNetwork(out, self._header.architecture, chosen, self._header.seed)

    def _tensor(
        self, stream: Stream, frame: Frame, tensor: torch.Tensor | None, choice: Choice
    ) -> tuple[torch.Tensor, Choice]:
        frame = replace(frame, dtype=self._dtype(stream, frame.dtype, tensor))
        patterns = None
        if tensor is not None:
            patterns = to_patterns(tensor)[frame.region].reshape(frame.matrix)
        modes = self._header.mask_modes
        mode = modes[self._mask_modes.code(stream, modes.index(choice.mask or "empty"))]
        self._account(stream, "header")
        mask = code_places(stream, mode, frame, None if patterns is None else patterns != 0)
        self._account(stream, "positions")
        full, chosen = np.zeros(frame.size, np.uint64), Choice(mode)
        if mask.any():
            ways = self._header.value_modes
            way = ways[self._value_modes.code(stream, ways.index(choice.values or "raw"))]
            choice = replace(choice, mask=mode, values=way)
            values = np.zeros(0, np.uint64) if patterns is None else patterns[mask]
            values, chosen = code_values(stream, frame, choice, mask, values, self._subspaces)
            full[frame.positions[mask]] = values
            self._account(stream, "values")
        return from_patterns(full.reshape(frame.shape), frame.dtype), chosen

    def _dtype(
        self, stream: Stream, expected: torch.dtype, tensor: torch.Tensor | None
    ) -> torch.dtype:
        dtype = expected if tensor is None else tensor.dtype
        width_of(dtype)  # refuses what has no pattern
        if self._same_dtype.code(stream, int(dtype != expected)):
            return DTYPE_LIST[uniform(stream, len(DTYPE_LIST), DTYPE_LIST.index(dtype))]
        return expected

    def _account(self, stream: Stream, part: str) -> None:
        if isinstance(stream, Writer):
            self.costs[part] += stream.cost_bits - self._spent
            self._spent = stream.cost_bits


def _of(choices: Mapping[str, Choice], name: str) -> Choice:
    return choices.get(name, Choice())


# ----------------------------------------------------------------------- active units


def _frames(
    slots: Sequence[TensorSpec],
    groups: Sequence[UnitGroup],
    active: Sequence[int],
    seed: int | None,
) -> dict[str, Frame]:
    """Of every tensor that is coded: its box is the leading part that belongs to active units."""
    boxes = {slot.name: list(slot.shape) for slot in slots}
    for group, units in zip(groups, active):
        for s in _group_slots(group):
            if s.tensor in boxes:
                boxes[s.tensor][s.axis] = min(boxes[s.tensor][s.axis], units * s.repeat)
    return {
        slot.name: Frame(
            index, slot.shape, tuple(boxes[slot.name]), _repeat(slot, groups), slot.dtype, seed
        )
        for index, slot in enumerate(slots)
        if slot.alias_of is None
    }


def _touched(
    slots: Sequence[TensorSpec], groups: Sequence[UnitGroup], tensors: Tensors
) -> list[int]:
    """For each group, 1 + the last unit that any of its tensors touches."""
    names = {slot.name for slot in slots}
    return [
        max((_last(s, tensors[s.tensor]) for s in _group_slots(g) if s.tensor in names), default=0)
        for g in groups
    ]


def _last(slot: Slot, tensor: torch.Tensor) -> int:
    """1 + the last unit of the group that this tensor touches with anything but zero bits."""
    others = tuple(axis for axis in range(tensor.ndim) if axis != slot.axis)
    touched = np.flatnonzero((to_patterns(tensor) != 0).any(axis=others))
    return int(touched[-1]) // slot.repeat + 1 if len(touched) else 0


def _group_slots(group: UnitGroup) -> tuple[Slot, ...]:
    return (*group.producers, *group.companions, *group.consumers)


def _repeat(slot: TensorSpec, groups: Sequence[UnitGroup]) -> int:
    """Columns per input unit: kernel places of a convolution, pixels after a flatten."""
    kernel = int(np.prod(slot.shape[2:])) if len(slot.shape) > 2 else 1
    flattened = [s.repeat for g in groups for s in g.consumers if s.tensor == slot.name]
    return kernel * max(flattened, default=1)
