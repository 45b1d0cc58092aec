"""Which hidden units of a network move together, proven from its operations alone.

Abstract interpretation: every operation's result is described by what its axis of units is. A
`Linear` or `Conv` starts a group of units; element-wise operations, pooling, batch normalisation
and flattening carry it along; sums join groups; whatever is not understood freezes the groups
that it touches (THEORY 3.3).

The proof rests on one contract: `forward` maps n samples, whatever n, to n rows (n, K) of scores,
row i being about sample i. It settles what a spelling leaves open, such as `x.view(-1, 400)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from prunecert.models.groups import Draft, Path, Slot, Step, UnitGroup
from prunecert.models.trace import BATCH_NORMS, CONVOLUTIONS, Operation

# --------------------------------------------------------------------------- abstract values


@dataclass(frozen=True)
class _Plain:
    """A tensor without movable units. `rows`: names the length of axis 0; equal names, equal."""

    rows: str
    rank: int | None = None


@dataclass(frozen=True)
class _Units:
    """A tensor with the units of `group` on axis 1 (`spatial`, rank ≥ 3) or on its last axis."""

    group: int
    rows: str
    rank: int | None
    spatial: bool
    repeat: int | None = 1  # None: the number of pixels that a flatten met, not known yet
    pending: frozenset[int] = frozenset()  # groups proven only if the output obeys the contract
    steps: tuple[Step, ...] | None = ()  # None: several routes have met

    def after(self, step: Step) -> _Units:
        return replace(self, steps=None if self.steps is None else (*self.steps, step))


@dataclass(frozen=True)
class _Constant:
    """A parameter or buffer, or what was computed from such alone."""


@dataclass(frozen=True)
class _Shape:
    rows: str


@dataclass(frozen=True)
class _Length:
    """A number that the input's size determines; `rows` where it is the length of an axis 0."""

    rows: str = ""


_Value = _Plain | _Units | _Constant | _Shape | _Length
_ASKS_SIZE = ("shape", "rows", "length")  # kinds that read no values
_SAMPLES = "samples"  # the axis 0 that has one row per sample


class _Freeze(Exception):
    """The operation is not proven to keep its inputs' units apart and alike; says why."""


# --------------------------------------------------------------------------- interpretation


def unit_groups(
    operations: Sequence[Operation], module: nn.Module, frozen_tensors: Mapping[str, str]
) -> tuple[UnitGroup, ...]:
    """All groups of units, in order of the execution of their first layer.

    `frozen_tensors` maps names of tensors that may not move (tied, used twice) to the reason.
    """
    interpreter = _Interpreter(dict(module.named_modules()))
    for operation in operations:
        interpreter.run(operation)
    return interpreter.finish(operations, frozen_tensors)


class _Interpreter:
    def __init__(self, modules: Mapping[str, Any]) -> None:
        self.modules = modules
        self.values: dict[str, _Value] = {}
        self.drafts: list[Draft] = []
        self.root: list[int] = []  # union-find: drafts[find(i)] is the group that i belongs to

    def run(self, operation: Operation) -> None:
        inputs = [self.values[name] for name in operation.inputs]
        try:
            value = getattr(self, f"_{operation.kind}")(operation, *inputs)
        except _Freeze as reason:
            for touched in inputs:
                self.freeze(touched, str(reason))
            value = _Plain(operation.name)
        self.values[operation.name] = value
        if isinstance(value, _Units):
            self.draft(value.group).written |= operation.in_place

    def finish(
        self, operations: Sequence[Operation], frozen_tensors: Mapping[str, str]
    ) -> tuple[UnitGroup, ...]:
        readers = Counter(n for o in operations if o.kind not in _ASKS_SIZE for n in o.inputs)
        for name, value in self.values.items():
            if isinstance(value, _Units) and readers[name] > 1:
                self.draft(value.group).shared = True
        drafts = [draft for i, draft in enumerate(self.drafts) if self.root[i] == i]
        for draft in drafts:
            for slot in (*draft.producers, *draft.companions, *draft.consumers):
                draft.freeze(frozen_tensors.get(slot.tensor, ""))
            draft.paths = [
                replace(path, bias=None) if path and path.bias in frozen_tensors else path
                for path in draft.paths
            ]
        return tuple(draft.finished() for draft in drafts)

    # ---- groups

    def draft(self, group: int) -> Draft:
        return self.drafts[self._find(group)]

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self._find(one), self._find(other)))
        if first != second:
            self.drafts[first].absorb(self.drafts[second])
            self.root[second] = first

    def freeze(self, value: _Value, reason: str) -> None:
        if isinstance(value, _Units):
            for group in (value.group, *sorted(value.pending)):
                self.draft(group).freeze(reason)

    def _find(self, group: int) -> int:
        while self.root[group] != group:
            group = self.root[group]
        return group

    def _repeat(self, x: _Units, features: int) -> int | None:
        """Features per unit if the last axis of `x` has `features` of them; None if it cannot."""
        size = self.draft(x.group).size
        repeat = features // size if x.repeat is None else x.repeat
        return repeat if repeat * size == features else None

    # ---- layers with weights

    def _linear(self, operation: Operation, x: _Value) -> _Units:
        own = self.modules[operation.module]
        repeat = None
        if isinstance(x, _Units) and not x.spatial:
            repeat = self._repeat(x, own.in_features)
        return self._layer(operation, x, own.out_features, repeat)

    def _conv(self, operation: Operation, x: _Value) -> _Units:
        own = self.modules[operation.module]
        rank = CONVOLUTIONS[type(own)] + 2
        repeat = None
        if isinstance(x, _Units) and x.spatial and x.rank == rank and own.groups == 1:
            repeat = self._repeat(x, own.in_channels)
        pads = own.padding != "valid" and any(own.padding)
        padded = pads and own.padding_mode == "zeros"
        y = self._layer(operation, x, own.out_channels, repeat, padded)
        if own.groups != 1:
            self.draft(y.group).freeze(f"{operation.text} has groups")
        return replace(y, rank=rank, spatial=True)

    def _layer(
        self, operation: Operation, x: _Value, size: int, repeat: int | None, padded: bool = False
    ) -> _Units:
        """A weight that starts a group of `size` and reads `x` by units, unless repeat is None."""
        weight, bias = f"{operation.module}.weight", f"{operation.module}.bias"
        biases = (bias,) if self.modules[operation.module].bias is not None else ()
        pending: frozenset[int] = frozenset()
        if isinstance(x, _Units) and repeat is not None:
            steps, pending, draft = x.steps, x.pending, self.draft(x.group)
            draft.consumers.append(Slot(weight, 1, repeat))
            path = None if steps is None else Path(steps, bias if biases else None, padded)
            draft.paths.append(path)
        else:
            self.freeze(x, f"not read unit by unit by {operation.text}")
        group = len(self.drafts)
        self.root.append(group)
        self.drafts.append(Draft(size, [Slot(weight, 0)], [Slot(name, 0) for name in biases]))
        rows = x.rows if isinstance(x, _Units | _Plain) else operation.name
        rank = x.rank if isinstance(x, _Units | _Plain) else None
        first = tuple(Step("bias", tensors=(name,)) for name in biases)
        return _Units(group, rows, rank, spatial=False, pending=pending, steps=first)

    def _batch_norm(self, operation: Operation, x: _Value) -> _Value:
        if not isinstance(x, _Units):
            return x
        own = self.modules[operation.module]
        axes = BATCH_NORMS[type(own)]
        fits = x.rank == axes + 2 if x.spatial else axes == 1 and x.rank in (2, None)
        repeat = self._repeat(x, own.num_features) if fits else None
        if repeat is None:
            raise _Freeze(f"not normalised unit by unit by {operation.text}")
        names = tuple(
            f"{operation.module}.{name}" if getattr(own, name) is not None else ""
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        self.draft(x.group).companions.extend(Slot(name, 0, repeat) for name in names if name)
        pending = x.pending if x.rank else x.pending | {x.group}  # an output (n, K) proves rank 2
        step = Step("batch_norm", tensors=names, eps=own.eps)
        return replace(x, repeat=repeat, pending=pending).after(step)

    # ---- unit by unit

    def _identity(self, operation: Operation, x: _Value, *sizes: _Value) -> _Value:
        return x

    def _elementwise(self, operation: Operation, x: _Value) -> _Value:
        if isinstance(x, _Units):
            return x.after(Step(operation.kind, operation.function))
        return _Length() if isinstance(x, _Length) else x

    _relu = _elementwise

    def _pool(self, operation: Operation, x: _Value, *sizes: _Value) -> _Value:
        if not isinstance(x, _Units):
            return x
        if not x.spatial or x.rank != operation.options["axes"] + 2:
            raise _Freeze(f"pooled over units by {operation.text}")
        return x.after(Step("pool", padded=operation.options["padded"]))

    def _mean(self, operation: Operation, x: _Value, *sizes: _Value) -> _Value:
        if not isinstance(x, _Units):
            return self._unknown(operation, x)
        rank = x.rank if x.spatial and x.rank else 0
        dims = {dim + rank * (dim < 0) for dim in operation.options["dims"]}
        if not dims <= set(range(2, rank)):
            raise _Freeze("averaged over units")
        rank -= 0 if operation.options["keep"] else len(dims)
        return replace(x, rank=rank, spatial=rank > 2).after(Step("pool"))

    def _pair(self, operation: Operation, a: _Value, b: _Value) -> _Value:
        """a + b, a − b or a · b."""
        if not (isinstance(a, _Units) and isinstance(b, _Units)):
            return self._quotient(operation, a, b)
        sizes = self.draft(a.group).size, self.draft(b.group).size
        aligned = a.spatial == b.spatial and (not a.spatial or a.rank == b.rank)
        repeats = {a.repeat, b.repeat} - {None}  # of equal sizes, one known repeat is the other's
        if not aligned or sizes[0] != sizes[1] or len(repeats) > 1:
            raise _Freeze(f"units that do not correspond meet in {operation.text}")
        self.join(a.group, b.group)
        return _Units(
            a.group,
            rows=a.rows if a.rows == b.rows else operation.name,
            rank=a.rank if a.rank == b.rank else None,
            spatial=a.spatial,
            repeat=a.repeat or b.repeat,
            pending=a.pending | b.pending,
            steps=None,
        )

    def _quotient(self, operation: Operation, a: _Value, b: _Value) -> _Value:
        if isinstance(a, _Units) or isinstance(b, _Units):
            raise _Freeze(f"combined with something else by {operation.text}")
        plain = [value for value in (a, b) if isinstance(value, _Plain)]
        if len(plain) == 1 or len(set(plain)) == 1:
            return plain[0]  # a constant fits every number of samples: it has no rows of its own
        if plain:
            return _Plain(operation.name)
        return _Constant() if _Constant() in (a, b) else _Length()

    # ---- shapes

    def _flatten(self, operation: Operation, x: _Value, *sizes: _Value) -> _Value:
        if isinstance(x, _Units):
            return self._flat(x, None)
        return _Plain(x.rows, 2) if isinstance(x, _Plain) else self._unknown(operation, x)

    def _flat(self, x: _Units, width: int | None) -> _Units:
        """`x` as (rows, width), each row all of what one row of `x` holds."""
        repeat = None if x.spatial else x.repeat
        flat = replace(x, rank=2, spatial=False, repeat=repeat)
        if width is None:
            return flat
        repeat = self._repeat(flat, width)
        if repeat is None:
            raise _Freeze(f"cut into rows of {width}")
        return replace(flat, repeat=repeat)

    def _reshape(self, operation: Operation, x: _Value, *lengths: _Value) -> _Value:
        shape = operation.options["shape"]
        head = self.values[shape[0]] if isinstance(shape[0], str) else shape[0]
        if not isinstance(x, _Units | _Plain):
            return self._unknown(operation, x)
        keeps_rows = isinstance(head, _Length) and head.rows == x.rows
        if isinstance(x, _Plain):
            return _Plain(x.rows if keeps_rows else operation.name, len(shape))
        width = shape[1] if len(shape) == 2 and isinstance(shape[1], int) else -1
        if keeps_rows and len(shape) == 2:
            return self._flat(x, width if width > 0 else None)
        if head != -1 or width <= 0:
            raise _Freeze(f"reshaped by {operation.text}")
        flat = self._flat(x, width)
        if not x.spatial and x.repeat is not None:
            return replace(flat, rows=x.rows if x.rank == 2 else operation.name)
        if x.rows != _SAMPLES:
            raise _Freeze(f"cut into rows of {width} by {operation.text}")
        return replace(flat, pending=x.pending | {x.group})  # n rows come out: none was cut

    def _shape(self, operation: Operation, x: _Value, *sizes: _Value) -> _Value:
        return _Shape(x.rows) if isinstance(x, _Units | _Plain) else _Length()

    def _rows(self, operation: Operation, x: _Value, *sizes: _Value) -> _Value:
        return _Length(x.rows) if isinstance(x, _Units | _Plain) else _Length()

    def _length(self, operation: Operation, x: _Value, *sizes: _Value) -> _Value:
        return _Length()

    def _item(self, operation: Operation, x: _Value, *index: _Value) -> _Value:
        if not isinstance(x, _Shape):
            return self._unknown(operation, x)
        return _Length(x.rows if operation.options["index"] == 0 else "")

    # ---- ends and unknowns

    def _input(self, operation: Operation) -> _Value:
        return _Plain(_SAMPLES)

    def _constant(self, operation: Operation) -> _Value:
        return _Constant()

    def _output(self, operation: Operation, *results: _Value) -> _Value:
        for value in results:
            if isinstance(value, _Units):
                self.draft(value.group).freeze("the network's output")
        return _Plain(operation.name)

    def _unknown(self, operation: Operation, *inputs: _Value) -> _Value:
        if any(isinstance(value, _Units) for value in inputs):
            raise _Freeze(f"passes through {operation.text}")
        constant = all(isinstance(value, _Constant) for value in inputs)
        return _Constant() if constant else _Plain(operation.name)
