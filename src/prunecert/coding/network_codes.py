"""One network, one stream: architecture, active units, then every tensor's places and values.

`network.bin` = container( stream( header · tensors ) ). The decoder needs the bytes and the
architecture (names, shapes, dtypes, unit groups), nothing else. What the encoder could choose
(mask code, value code, grid step, dtype, dialect) is written, so choosing costs exactly its fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.coding import container, mask_codes, value_codes
from prunecert.coding.header import MAX_ARCHITECTURE, Header, code_header
from prunecert.coding.mask_codes import MASK_MODES, MaskMode
from prunecert.coding.patterns import DTYPE_LIST, from_patterns, to_patterns, width_of
from prunecert.coding.prng import SEEDS, seeded_signs
from prunecert.coding.stream import AdaptiveSymbols, Reader, Stream, Writer, uniform
from prunecert.coding.value_codes import ValueMode
from prunecert.models.groups import Slot, UnitGroup
from prunecert.models.loading import TensorSpec
from prunecert.types import Code, CodeError, InputError


@dataclass(frozen=True)
class Choice:
    """How one tensor is coded; what is None is chosen by the encoder for the fewest bits."""

    mask: MaskMode | None = None
    values: ValueMode | None = None
    step: int = 0  # bit pattern of the grid's step


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
    seed: int | None = None  # that signs come from, where the file names one


def encode_network(
    tensors: Mapping[str, torch.Tensor],
    slots: Sequence[TensorSpec],
    groups: Sequence[UnitGroup],
    architecture: tuple[int, ...] = (),
    choices: Mapping[str, Choice] | None = None,
    seed: int | None = None,
) -> CodedNetwork:
    """Write `tensors` (every slot's name present, in the slot's shape) as `network.bin`.

    `architecture` are the zoo's integers, empty for a declared architecture. With `seed`, tensors
    whose nonzeros are ±c with that seed's signs at their places in the full tensor may be "seeded";
    where none is, or the seed does not pay, the file names no seed. `Code.bits` is 8 · (bytes after
    the constant magic); `parts` splits it into header, positions, values and container (length
    field and flush).
    """
    given = choices or {}
    asked = any(choice.values == "seeded" for choice in given.values())
    if seed is None:
        if asked:
            raise InputError("seeded values: expected the seed of their signs")
        return _encoded(tensors, slots, groups, Header(architecture), given)[0]
    if not 0 <= seed < SEEDS:
        raise InputError(f"seed {seed}: expected an integer from 0 to {SEEDS - 1}")
    seeded, made = _encoded(tensors, slots, groups, Header(architecture, seed), given)
    uses = any(choice.values == "seeded" for choice in made.values())
    if asked and uses:
        return seeded
    others = {n: replace(c, values=None) if c.values == "seeded" else c for n, c in made.items()}
    plain, _ = _encoded(tensors, slots, groups, Header(architecture), others)
    return seeded if uses and seeded.code.bits < plain.code.bits else plain


def _encoded(
    tensors: Mapping[str, torch.Tensor],
    slots: Sequence[TensorSpec],
    groups: Sequence[UnitGroup],
    header: Header,
    choices: Mapping[str, Choice],
) -> tuple[CodedNetwork, dict[str, Choice]]:
    """The file with this header, and how each of its tensors is coded."""
    if (count := len(header.architecture)) > MAX_ARCHITECTURE:
        raise InputError(
            f"a network file names an architecture by at most {MAX_ARCHITECTURE} integers, "
            f"this one has {count}"
        )
    stream = Writer()
    network = _Network(slots, groups)
    made = network.code(stream, header.architecture, dict(tensors), choices, header.seed)
    data = container.pack(stream.finish())
    bits = container.code_bits(data)
    parts = {name: round(cost) for name, cost in network.costs.items()}
    code = Code(bits, {**parts, "container": bits - sum(parts.values())})
    return CodedNetwork(data, code), made.choices


def decode_network(
    data: bytes, slots: Sequence[TensorSpec], groups: Sequence[UnitGroup]
) -> DecodedNetwork:
    """Read `network.bin`; CodeError for any bytes that are not exactly one such file."""
    words, end = container.unpack(data)
    if end != len(data):
        raise CodeError(f"{len(data) - end} bytes follow the end of the network")
    return _Network(slots, groups).code(Reader(words), (), None, {})


def value_cost_bits(tensor: torch.Tensor, choice: Choice) -> float:
    """What the nonzeros of one tensor cost, without their places."""
    stream = Writer()
    patterns = to_patterns(tensor).ravel()
    nonzeros = patterns[patterns != 0]
    if nonzeros.size:
        choice = _best_values(nonzeros, tensor.dtype, choice, None)
        _code_values(stream, tensor.dtype, choice, nonzeros, len(nonzeros), None)
    return stream.cost_bits


class _Network:
    """The format, written once for both directions."""

    def __init__(self, slots: Sequence[TensorSpec], groups: Sequence[UnitGroup]) -> None:
        self.slots, self.groups = slots, groups
        self.costs = {"header": 0.0, "positions": 0.0, "values": 0.0}
        self._spent = 0.0
        self._same_dtype = AdaptiveSymbols(2)
        self._mask_modes = AdaptiveSymbols(len(MASK_MODES))

    def code(
        self,
        stream: Stream,
        architecture: tuple[int, ...],
        tensors: dict[str, torch.Tensor] | None,
        choices: Mapping[str, Choice],
        seed: int | None = None,
    ) -> DecodedNetwork:
        self._header = code_header(stream, Header(architecture, seed))
        self._value_modes = AdaptiveSymbols(len(self._header.value_modes))
        boxes = self._boxes(stream, tensors)
        out: dict[str, torch.Tensor] = {}
        chosen: dict[str, Choice] = {}
        for index, slot in enumerate(self.slots):
            if slot.alias_of is not None:
                out[slot.name] = out[slot.alias_of]
                continue
            tensor = None if tensors is None else tensors[slot.name]
            choice = choices.get(slot.name, Choice())
            box = boxes.get(slot.name, slot.shape)
            out[slot.name], chosen[slot.name] = self._tensor(stream, index, box, tensor, choice)
        return DecodedNetwork(out, self._header.architecture, chosen, self._header.seed)

    def _boxes(
        self, stream: Stream, tensors: dict[str, torch.Tensor] | None
    ) -> dict[str, tuple[int, ...]]:
        """The leading part of each tensor that belongs to active units; the rest is zero."""
        boxes = {slot.name: list(slot.shape) for slot in self.slots}
        for group in self.groups:
            slots = [s for s in _group_slots(group) if s.tensor in boxes]
            touched = [] if tensors is None else [_active(s, tensors[s.tensor]) for s in slots]
            active = uniform(stream, group.size + 1, max(touched, default=0))
            for s in slots:
                boxes[s.tensor][s.axis] = min(boxes[s.tensor][s.axis], active * s.repeat)
        self._account(stream, "header")
        return {name: tuple(box) for name, box in boxes.items()}

    def _tensor(
        self,
        stream: Stream,
        index: int,
        box: tuple[int, ...],
        tensor: torch.Tensor | None,
        choice: Choice,
    ) -> tuple[torch.Tensor, Choice]:
        slot = self.slots[index]
        dtype = self._dtype(stream, slot, tensor)
        region = tuple(slice(0, size) for size in box)
        shape = _matrix_shape(box)
        patterns = None if tensor is None else to_patterns(tensor)[region].reshape(shape)
        mask = None if patterns is None else patterns != 0
        repeat = self._repeat(slot)
        mode = choice.mask or _best_mask(mask, repeat)
        mode = MASK_MODES[self._mask_modes.code(stream, MASK_MODES.index(mode))]
        self._account(stream, "header")
        mask = mask_codes.code_mask(stream, mode, shape, repeat, mask)
        self._account(stream, "positions")
        full = np.zeros(slot.shape, np.uint64)
        chosen = Choice(mode)
        if mask.any():
            nonzeros = np.zeros(0, np.uint64) if patterns is None else patterns[mask]
            negative = self._signs(index, region, mask)
            choice = _best_values(nonzeros, dtype, choice, negative)
            modes = self._header.value_modes
            code = self._value_modes.code(stream, modes.index(choice.values or "raw"))
            choice = Choice(mode, modes[code], choice.step)
            count = int(mask.sum())
            values, chosen = _code_values(stream, dtype, choice, nonzeros, count, negative)
            compact = np.zeros(shape, np.uint64)
            compact[mask] = values
            full[region] = compact.reshape(box)
            self._account(stream, "values")
        return from_patterns(full, dtype), chosen

    def _signs(
        self, index: int, region: tuple[slice, ...], mask: NDArray[np.bool_]
    ) -> NDArray[np.bool_] | None:
        """The seed's signs of one tensor's nonzeros: each is read at its flat position in the full
        tensor, so that it does not move with the active units."""
        if self._header.seed is None:
            return None
        shape = self.slots[index].shape
        signs = seeded_signs(self._header.seed, index, int(np.prod(shape))).reshape(shape)
        return signs[region].reshape(mask.shape)[mask]

    def _dtype(self, stream: Stream, slot: TensorSpec, tensor: torch.Tensor | None) -> torch.dtype:
        dtype = slot.dtype if tensor is None else tensor.dtype
        width_of(dtype)  # refuses what has no pattern
        if self._same_dtype.code(stream, int(dtype != slot.dtype)):
            return DTYPE_LIST[uniform(stream, len(DTYPE_LIST), DTYPE_LIST.index(dtype))]
        return slot.dtype

    def _repeat(self, slot: TensorSpec) -> int:
        """Columns per input unit: kernel places of a convolution, pixels after a flatten."""
        kernel = int(np.prod(slot.shape[2:])) if len(slot.shape) > 2 else 1
        flattened = [s.repeat for g in self.groups for s in g.consumers if s.tensor == slot.name]
        return kernel * max(flattened, default=1)

    def _account(self, stream: Stream, part: str) -> None:
        if isinstance(stream, Writer):
            self.costs[part] += stream.cost_bits - self._spent
            self._spent = stream.cost_bits


def _group_slots(group: UnitGroup) -> tuple[Slot, ...]:
    return (*group.producers, *group.companions, *group.consumers)


def _active(slot: Slot, tensor: torch.Tensor) -> int:
    """1 + the last unit of the group that this tensor touches with anything but zero bits."""
    others = tuple(axis for axis in range(tensor.ndim) if axis != slot.axis)
    touched = np.flatnonzero((to_patterns(tensor) != 0).any(axis=others))
    return int(touched[-1]) // slot.repeat + 1 if len(touched) else 0


def _matrix_shape(box: tuple[int, ...]) -> tuple[int, int]:
    if len(box) < 2:
        return 1, int(np.prod(box))
    return box[0], int(np.prod(box[1:]))


def _best_mask(mask: NDArray[np.bool_] | None, repeat: int) -> MaskMode:
    """The mode with the fewest bits (a reader, who has no mask, is told it by the stream)."""
    if mask is None:
        return "empty"
    modes = mask_codes.candidates(mask)
    if len(modes) == 1:
        return modes[0]

    def cost(mode: MaskMode) -> float:
        stream = Writer()
        mask_codes.code_mask(stream, mode, mask.shape, repeat, mask)
        return stream.cost_bits

    return min(modes, key=cost)


def _best_values(
    patterns: NDArray[np.uint64],
    dtype: torch.dtype,
    choice: Choice,
    negative: NDArray[np.bool_] | None,
) -> Choice:
    """A codebook where it is smaller than raw bits, and seeded signs where they fit and are smaller
    still, unless a value code was asked for."""
    if choice.values is not None or not patterns.size:  # a reader has no patterns
        return choice
    book = np.unique(patterns)
    width = width_of(dtype)
    small = len(book) <= value_codes.MAX_CODEBOOK
    # entries at full width plus indices at their plain width: adaptive coding only improves on it
    indexed = len(book) * width + len(patterns) * (len(book) - 1).bit_length()
    worth = small and indexed < width * len(patterns)
    best = Choice(choice.mask, "codebook" if worth else "raw")
    if negative is None or not dtype.is_floating_point:
        return best
    if not value_codes.is_seeded(patterns, width, negative):
        return best

    def cost(choice: Choice) -> float:
        stream = Writer()
        _code_values(stream, dtype, choice, patterns, len(patterns), negative)
        return stream.cost_bits

    return min(Choice(choice.mask, "seeded"), best, key=cost)


def _code_values(
    stream: Stream,
    dtype: torch.dtype,
    choice: Choice,
    patterns: NDArray[np.uint64],
    count: int,
    negative: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.uint64], Choice]:
    width = width_of(dtype)
    if choice.values == "codebook":
        return value_codes.code_codebook(stream, width, patterns, count), choice
    if choice.values == "raw":
        return value_codes.code_raw(stream, width, patterns, count), choice
    if not dtype.is_floating_point:
        raise CodeError(f"a tensor of dtype {dtype} is coded as {choice.values}, like fractions")
    if choice.values == "seeded":
        assert negative is not None  # only a file with a seed has this code
        return value_codes.code_seeded(stream, width, patterns, negative), choice
    given = np.array([choice.step], np.uint64)
    integers = _grid_integers(patterns, given, dtype)
    step, integers = value_codes.code_grid(stream, given, width, integers, count)
    values = _grid_patterns(integers, step, dtype)
    return values, Choice(choice.mask, "grid", int(step[0]))


def _grid_integers(
    patterns: NDArray[np.uint64], step: NDArray[np.uint64], dtype: torch.dtype
) -> NDArray[np.int64]:
    """Multiples of the step; a writer's values must lie on the grid exactly."""
    if not patterns.size:
        return np.zeros(0, np.int64)
    exact = from_patterns(patterns, dtype).double() / from_patterns(step, dtype).double()
    integers: NDArray[np.int64] = exact.round().long().numpy()
    if not np.array_equal(_grid_patterns(integers, step, dtype), patterns):
        raise CodeError("values are not multiples of their grid's step")
    return integers


def _grid_patterns(
    integers: NDArray[np.int64], step: NDArray[np.uint64], dtype: torch.dtype
) -> NDArray[np.uint64]:
    """round(step · integer) in the tensor's dtype: one exact product in float64, one rounding.

    Exact also where torch goes through float32: MAX_GRID leaves its products within 24 bits.
    """
    values = (torch.from_numpy(integers) * from_patterns(step, dtype).double()).to(dtype)
    if not bool((values.isfinite() & (values != 0)).all()):  # NaN would differ between machines
        raise CodeError("a grid holds values that are zero or not finite")
    return to_patterns(values)
