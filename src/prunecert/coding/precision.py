"""The precision of every tensor, searched for the smallest certificate (free: THEORY 2.1a i).

Whatever is tried here only influences which codeword is reached; the precision itself stands in
the file. The search measures errors on whatever `count_errors` uses (a part of the sample, for
speed); the certificate is computed afterwards, on the whole sample, by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from prunecert.coding.choosing import value_cost_bits
from prunecert.coding.network_codes import encode_network
from prunecert.coding.quantize import Precision, has_small_codebook, quantize
from prunecert.coding.tensor_codes import Choice
from prunecert.models.groups import UnitGroup
from prunecert.models.loading import TensorSpec

MATRIX_LADDER = (
    *(Precision("codebook", levels) for levels in (2, 3, 4, 6, 8, 12, 16)),
    *(Precision("grid", levels) for levels in (1, 2, 3, 4, 6, 8, 16, 64)),
)
VECTOR_LADDER = (
    Precision("zero"),
    *(Precision("grid", levels, 2) for levels in (1, 2, 4, 8, 16, 64)),
    Precision("codebook", 2),
    Precision("codebook", 4),
)
FINE = Precision("grid", 127, 7)  # what starts the search: small loss, still short

Tensors = Mapping[str, torch.Tensor]
ErrorCount = Callable[[dict[str, torch.Tensor]], int]
BoundOf = Callable[[int, float], float]  # (errors, bits) → bound, or a score above 1 if vacuous
HOPELESS = 0.95  # no search when even a faultless network of one-bit values would be above this
MANY_TENSORS = 24  # beyond it, precisions are searched for all matrices and all vectors together


@dataclass(frozen=True)
class Candidate:
    """One quantised network of the search."""

    tensors: dict[str, torch.Tensor]
    choices: dict[str, Choice]
    precisions: dict[str, Precision]
    bound: float


class _Search:
    """Values quantised once per (tensor, precision); bits added up from parts."""

    def __init__(
        self,
        tensors: Tensors,
        slots: Sequence[TensorSpec],
        groups: Sequence[UnitGroup],
        count_errors: ErrorCount,
        bound_of: BoundOf,
    ) -> None:
        self.tensors = dict(tensors)
        self.aliases = {s.name: s.alias_of for s in slots if s.alias_of is not None}
        self.count_errors, self.bound_of = count_errors, bound_of
        code = encode_network(tensors, slots, groups).code
        self.fixed_bits = float(code.bits - code.parts["values"])  # all but the values
        self._memory: dict[tuple[str, Precision], tuple[torch.Tensor, Choice, float]] = {}

    def quantized(self, name: str, precision: Precision) -> tuple[torch.Tensor, Choice, float]:
        key = (name, precision)
        if key not in self._memory:
            tensor, choice = quantize(self.tensors[name], precision)
            self._memory[key] = tensor, choice, value_cost_bits(tensor, choice)
        return self._memory[key]

    def evaluate(self, precisions: dict[str, Precision]) -> Candidate:
        tensors, choices, bits = dict(self.tensors), {}, self.fixed_bits
        for name, precision in precisions.items():
            tensors[name], choices[name], cost = self.quantized(name, precision)
            bits += cost
        for name, original in self.aliases.items():
            tensors[name] = tensors[original]
        bound = self.bound_of(self.count_errors(tensors), bits)
        return Candidate(tensors, choices, dict(precisions), bound)


def search_precision(
    tensors: Tensors,
    slots: Sequence[TensorSpec],
    groups: Sequence[UnitGroup],
    count_errors: ErrorCount,
    bound_of: BoundOf,
    *,
    rounds: int = 2,
    on_step: Callable[[], None] = lambda: None,
) -> Candidate:
    """The best precisions found: first one for all matrices and one for all vectors, then each
    tensor's neighbours in its ladder, as long as the bound falls.

    Tensors that already hold a small codebook, and integer tensors, are left exactly as they are.
    """
    search = _Search(tensors, slots, groups, count_errors, bound_of)
    own = [s for s in slots if s.alias_of is None]
    free = [s for s in own if _is_free(tensors[s.name])]
    exact = [tensors[s.name] for s in own if s not in free]
    search.fixed_bits += sum(value_cost_bits(tensor, Choice()) for tensor in exact)
    matrices = [s.name for s in free if len(s.shape) > 1]
    vectors = [s.name for s in free if len(s.shape) <= 1]

    def tried(precisions: dict[str, Precision]) -> Candidate:
        on_step()
        return search.evaluate(precisions)

    one_bit_each = search.fixed_bits + sum(int((tensors[n] != 0).sum()) for n in matrices)
    if bound_of(0, one_bit_each) > HOPELESS:
        return Candidate(dict(tensors), {}, {}, 1.0)  # as it is: nothing to gain
    best = tried(dict.fromkeys(matrices + vectors, FINE))
    together = ((matrices, MATRIX_LADDER), (vectors, VECTOR_LADDER), (matrices, MATRIX_LADDER))
    for names, ladder in together:
        for precision in ladder if names else ():
            candidate = tried({**best.precisions, **dict.fromkeys(names, precision)})
            best = min(best, candidate, key=lambda c: c.bound)
    for _ in range(rounds if len(matrices + vectors) <= MANY_TENSORS else 0):
        before = best.bound
        for precisions in _neighbours(best.precisions, matrices, vectors):
            best = min(best, tried({**best.precisions, **precisions}), key=lambda c: c.bound)
        if best.bound >= before:
            break
    return best


def _is_free(tensor: torch.Tensor) -> bool:
    """Worth quantising: floating point, not all zero, not already a small codebook."""
    filled = tensor.dtype.is_floating_point and bool((tensor != 0).any())
    return filled and not has_small_codebook(tensor)


def _neighbours(
    precisions: dict[str, Precision], matrices: list[str], vectors: list[str]
) -> Iterator[dict[str, Precision]]:
    """Every other rung of its ladder, one tensor at a time."""
    for names, ladder in ((matrices, MATRIX_LADDER), (vectors, VECTOR_LADDER)):
        for name in names:
            for precision in ladder:
                if precision != precisions[name]:
                    yield {name: precision}
