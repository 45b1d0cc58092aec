"""How far each tensor moves from its initial values, searched for the smallest certificate.

Every weight that is kept becomes initial + step · k, one step a tensor (where all k are zero: the
initial value itself), or is written as trained at some precision; biases and the like are written
as trained. What is tried only chooses a codeword (THEORY 2.1a i).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunecert.api.coded import Trial
from prunecert.api.networks import Architecture
from prunecert.api.seeded.initial import seeded_weights
from prunecert.coding import Choice
from prunecert.coding.choosing import value_cost_bits
from prunecert.coding.difference import code_difference
from prunecert.coding.frame import Frame
from prunecert.coding.patterns import to_patterns
from prunecert.coding.precision import FINE, HOPELESS, MANY_TENSORS, MATRIX_LADDER, VECTOR_LADDER
from prunecert.coding.prng import initial_integers
from prunecert.coding.quantize import Precision, has_small_codebook, quantize
from prunecert.coding.stream import Writer
from prunecert.coding.value_codes import MAX_GRID


@dataclass(frozen=True)
class Near:
    """Initial values plus multiples of `step` of their units; with 0, the initial values."""

    step: int = 0

    def __str__(self) -> str:
        return f"initial + {self.step} k" if self.step else "initial"


Rung: TypeAlias = Near | Precision
Ladder: TypeAlias = tuple[Sequence[str], Sequence[Rung]]
# A step is an odd number times a power of two up to 2^15, where the initial values end.
STEPS = (5 << 15, 3 << 15, *(1 << shift for shift in range(15, 9, -1)))
NEAR_LADDER: tuple[Rung, ...] = (Near(), *map(Near, STEPS))
FINELY = Near(1 << 10)  # what starts the search: small loss, still short
ROUNDS = 2  # of single tensors


@dataclass(frozen=True)
class Written:
    """A tensor as it comes out at some rung, and what its values cost."""

    tensor: Tensor
    choice: Choice
    bits: float


@dataclass(frozen=True)
class Moved:
    """The network found: its tensors, how they are coded, and each one's rung."""

    tensors: dict[str, Tensor]
    choices: dict[str, Choice]
    rungs: dict[str, Rung]
    bound: float


def moved(
    model: Architecture,
    tensors: Mapping[str, Tensor],
    seed: int,
    trial: Trial,
    fixed_bits: float,
    on_step: Callable[[], None],
) -> Moved:
    """The best rungs found: first one for all seeded weights and one for all vectors, then, of few
    tensors, each one's own, as long as the bound falls.

    `tensors` are the trained ones; zeros of seeded weights are pruned. `fixed_bits` pay for all but
    the values. Evaluations: at most 33 where tensors are many, some 220 of lenet-300-100's six.
    """
    search = _Search(model, tensors, seed, trial, fixed_bits, on_step)
    best = search.evaluate(
        {**dict.fromkeys(search.near, FINELY), **dict.fromkeys(search.far, FINE)}
    )
    if trial.bound_of(0, search.fixed_bits) > HOPELESS:
        return best
    vectors = [name for name in search.far if tensors[name].ndim <= 1]
    matrices = [name for name in search.far if name not in vectors]
    ladders: list[Ladder] = [
        (search.near, NEAR_LADDER),
        (vectors, VECTOR_LADDER),
        (matrices, MATRIX_LADDER),
    ]
    few = len(best.rungs) <= MANY_TENSORS
    best = search.together(best, [*ladders, *ladders[: int(few)]])
    for _ in range(ROUNDS if few else 0):
        before = best.bound
        for names, ladder in (*ladders, (search.near, MATRIX_LADDER)):
            best = search.together(best, [([name], ladder) for name in names])
        if best.bound >= before:
            break
    return best


class _Search:
    """Tensors written once per rung; bits added up from parts."""

    def __init__(
        self,
        model: Architecture,
        tensors: Mapping[str, Tensor],
        seed: int,
        trial: Trial,
        fixed_bits: float,
        on_step: Callable[[], None],
    ) -> None:
        self.model, self.tensors, self.seed = model, dict(tensors), seed
        self.trial, self.on_step = trial, on_step
        self.index = {spec.name: i for i, spec in enumerate(model.specs) if spec.alias_of is None}
        self.exponents = seeded_weights(model)
        self._memory: dict[tuple[str, Rung], Written] = {}
        self.near = [n for n in self.index if n in self.exponents and bool(tensors[n].any())]
        others = [n for n in self.index if n not in self.near]
        self.far = [n for n in others if _is_free(tensors[n])]
        exact = [tensors[n] for n in others if n not in self.far]
        self.fixed_bits = fixed_bits + sum(value_cost_bits(t, Choice()) for t in exact)

    def together(self, best: Moved, ladders: Iterable[Ladder]) -> Moved:
        """The best rung for the tensors of each ladder together, one ladder after the other."""
        for names, ladder in ladders:
            for rung in ladder if names else ():
                if any(best.rungs[name] != rung for name in names):
                    tried = self.evaluate({**best.rungs, **dict.fromkeys(names, rung)})
                    best = min(best, tried, key=_bound)
        return best

    def evaluate(self, rungs: dict[str, Rung]) -> Moved:
        self.on_step()
        written = {name: self.written(name, rung) for name, rung in rungs.items()}
        found = {name: one.tensor for name, one in written.items()}
        tensors = self.model.with_second_names(self.tensors | found)
        bits = self.fixed_bits + sum(one.bits for one in written.values())
        bound = self.trial.bound_of(self.trial.count_errors(tensors), bits)
        return Moved(tensors, {n: one.choice for n, one in written.items()}, rungs, bound)

    def written(self, name: str, rung: Rung) -> Written:
        key = (name, rung)
        if key not in self._memory:
            self._memory[key] = (
                self._near(name, rung) if isinstance(rung, Near) else self._as_trained(name, rung)
            )
        return self._memory[key]

    def _as_trained(self, name: str, precision: Precision) -> Written:
        tensor, choice = quantize(self.tensors[name], precision)
        return Written(tensor, choice, value_cost_bits(tensor, choice))

    def _near(self, name: str, near: Near) -> Written:
        trained, exponent = self.tensors[name], self.exponents[name]
        shape, dtype = tuple(trained.shape), trained.dtype
        frame = Frame(self.index[name], shape, shape, 1, dtype, self.seed)
        places = trained.flatten().nonzero().flatten().numpy()
        start = initial_integers(self.seed, frame.index, frame.size)[places]
        k = np.zeros(len(places), np.int64)
        if near.step:
            away = np.ldexp(trained.double().numpy().ravel()[places], -exponent) - start
            k = np.rint(away / near.step).clip(-MAX_GRID, MAX_GRID).astype(np.int64)
        values = _floats(start + near.step * k, exponent, dtype)
        step = _floats(np.array([near.step]), exponent, dtype)
        pattern = int(to_patterns(step)[0]) if k.any() else 0
        stream = Writer()
        code_difference(stream, frame, exponent, pattern, places, to_patterns(values))
        out = torch.zeros_like(trained).flatten()
        out[torch.from_numpy(places)] = values
        choice = Choice(values="difference", step=pattern, exponent=exponent)
        return Written(out.reshape(shape), choice, stream.cost_bits)


def _bound(found: Moved) -> float:
    return found.bound


def _floats(integers: NDArray[np.int64], exponent: int, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.ldexp(integers.astype(np.float64), exponent)).to(dtype)


def _is_free(tensor: Tensor) -> bool:
    """Worth quantising: floating point, not all zero, not already a small codebook."""
    filled = tensor.dtype.is_floating_point and bool((tensor != 0).any())
    return filled and not has_small_codebook(tensor)
