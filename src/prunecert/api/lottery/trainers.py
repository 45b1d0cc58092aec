"""How a level is trained: by our loop, or by a function of the user's."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from prunecert.api.runs import Recipe, batches_of, fit, state_of
from prunecert.data import Sample
from prunecert.progress import Stage, Tick
from prunecert.pruning import hold_masks
from prunecert.training import LEARNING_RATES, Steps, TrainState
from prunecert.types import InputError
from prunecert.user_code import UserFunction, in_one_line, is_function, load_function, on_path

Tensors = dict[str, Tensor]

SIGNATURE = "train(model, train_set, *, steps, hold_masks, seed, on_step)"


@dataclass(frozen=True)
class Course:
    """A training: from step `begin` to step `total`, tensors kept at step `mark` (None: nowhere).

    `slow`: at a constant rate of so much of the learning rate (fine-tuning).
    """

    begin: int
    total: int
    seed: int
    mark: int | None = None
    slow: float | None = None


@dataclass(frozen=True)
class Saving:
    """Where an interrupted training left its state, and who keeps the next one."""

    resume: TrainState | None
    keep: Callable[[TrainState], Any]


@dataclass(frozen=True)
class Trained:
    """Final tensors, those at the mark, and the losses that were told."""

    tensors: Tensors
    marked: Tensors | None
    losses: list[float]


class Trainer(Protocol):
    @property
    def described(self) -> dict[str, Any]:
        """All that decides the outcome, for the configuration of a level."""

    def train(
        self,
        module: nn.Module,
        sample: Sample,
        masks: Mapping[str, Tensor],
        course: Course,
        saving: Saving,
        stage: Stage,
        name: str,
    ) -> Trained: ...


@dataclass(frozen=True)
class OwnLoop:
    """Our training loop; it goes on in the middle of a level after a kill."""

    recipe: Recipe

    @property
    def described(self) -> dict[str, Any]:
        plain = asdict(self.recipe)
        return {name: value for name, value in plain.items() if name not in ("seed", "steps")}

    def train(
        self,
        module: nn.Module,
        sample: Sample,
        masks: Mapping[str, Tensor],
        course: Course,
        saving: Saving,
        stage: Stage,
        name: str,
    ) -> Trained:
        recipe = replace(self.recipe, steps=f"{course.total}it", seed=course.seed)
        if course.slow is not None:
            rate = recipe.learning_rate or LEARNING_RATES[recipe.optimizer]
            recipe = replace(recipe, learning_rate=course.slow * rate, schedule="constant")
        log = fit(
            module,
            sample,
            recipe,
            masks=masks,
            begin=course.begin,
            checkpoint_at=[] if course.mark is None else [Steps(course.mark, "it")],
            stage=stage,
            name=name,
            on_checkpoint=saving.keep,
            resume=saving.resume,
        )
        marked = None if course.mark is None else log.checkpoints[course.mark]
        return Trained(state_of(module), marked, log.losses)


@dataclass(frozen=True)
class UserLoop:
    """`train(model, train_set, *, steps, hold_masks, seed, on_step)` of the user's file.

    `steps` is the number of optimizer steps to do; `with hold_masks(model, optimizer):` keeps what
    is pruned at zero; `on_step(step)` is to be called after each step. The model is
    trained in place, or a module or a state dict with the same tensors is returned. A level that
    was interrupted begins again.
    """

    spec: str

    def __post_init__(self) -> None:
        if not is_function(self.spec):
            raise InputError(f"--train {self.spec}: expected file.py:function")

    @cached_property
    def _found(self) -> UserFunction:
        found = load_function(self.spec)
        named = dict.fromkeys(("steps", "hold_masks", "seed", "on_step"))
        try:
            inspect.signature(found.function).bind(None, None, **named)
        except TypeError as error:
            raise InputError(f"{self.spec}: {error}: expected {SIGNATURE}") from None
        return found

    @property
    def described(self) -> dict[str, Any]:
        return {"function": self._found.sha256}

    def train(
        self,
        module: nn.Module,
        sample: Sample,
        masks: Mapping[str, Tensor],
        course: Course,
        saving: Saving,
        stage: Stage,
        name: str,
    ) -> Trained:
        if course.slow is not None:
            raise InputError(
                f"{self.spec}: sets its own learning rate: --rewinding fine-tune does not"
            )
        shapes = {key: tensor.shape for key, tensor in module.state_dict().items()}
        steps = course.total - course.begin
        with stage(name, steps) as tick, self._at_work(course.seed):
            notes = _Notes(module, course.mark, tick)
            returned = self._found.function(
                module,
                train_set(sample),
                steps=steps,
                hold_masks=partial(hold_masks, masks=masks),
                seed=course.seed,
                on_step=notes.on_step,
            )
        tensors = self._returned(module if returned is None else returned, shapes)
        self._check_zeros(tensors, masks)
        if course.mark is not None and notes.marked is None:
            raise InputError(
                f"{self.spec}: on_step was never called with step {course.mark}, the one to rewind "
                "to: expected on_step(step) after every step"
            )
        return Trained(tensors, notes.marked, notes.losses)

    @contextmanager
    def _at_work(self, seed: int) -> Iterator[None]:
        """The user's code, with torch's random state its own; it may raise anything."""
        try:
            with on_path(self._found.folder), torch.random.fork_rng():
                torch.manual_seed(seed)
                yield
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            frames = traceback.extract_tb(error.__traceback__)
            lines = [f.lineno for f in frames if Path(f.filename).parent == self._found.folder]
            at = f" (line {lines[-1]})" if lines else ""
            what = in_one_line(error)
            raise InputError(f"{self.spec}: the function failed{at}: {what}") from error

    def _returned(self, returned: Any, shapes: Mapping[str, torch.Size]) -> Tensors:
        tensors = returned.state_dict() if isinstance(returned, nn.Module) else returned
        if not isinstance(tensors, Mapping):
            raise InputError(
                f"{self.spec}: returned a {type(returned).__name__}: expected None (trained in "
                "place), a module or a state dict"
            )
        for key, shape in shapes.items():
            found = tensors.get(key)
            if not isinstance(found, Tensor) or found.shape != shape:
                what = (
                    f"'{key}' {tuple(found.shape)}" if isinstance(found, Tensor) else f"no '{key}'"
                )
                raise InputError(f"{self.spec}: returned {what}: expected shape {tuple(shape)}")
            if not bool(torch.isfinite(found.float()).all()):
                raise InputError(f"{self.spec}: '{key}' is not finite after training")
        if extra := [key for key in tensors if key not in shapes]:
            raise InputError(f"{self.spec}: returned '{extra[0]}', which the model does not have")
        return {key: tensors[key].detach().cpu().clone() for key in shapes}

    def _check_zeros(self, tensors: Tensors, masks: Mapping[str, Tensor]) -> None:
        for key, mask in masks.items():
            if moved := int((tensors[key][~mask] != 0).sum()):
                raise InputError(
                    f"{self.spec}: {moved} pruned weights of '{key}' are not zero after training: "
                    "expected the steps inside `with hold_masks(model, optimizer):`"
                )


class _Notes:
    """What `on_step` is told, and the tensors at the mark."""

    def __init__(self, module: nn.Module, mark: int | None, tick: Tick) -> None:
        self.module, self.mark, self.tick = module, mark, tick
        self.done, self.losses = 0, list[float]()
        self.marked = state_of(module) if mark == 0 else None

    def on_step(self, step: int = 0, *told: float, loss: float | None = None) -> None:
        """Counts its calls, so that steps may be numbered from 0, from 1, or not at all; a number
        beyond them is believed. The last thing told beside it is the loss."""
        self.done = max(self.done + 1, step)
        self.tick(1)
        for value in (*told[-1:], *([] if loss is None else [loss])):
            self.losses.append(float(value))
        if self.done == self.mark:
            self.marked = state_of(self.module)


def train_set(sample: Sample) -> Dataset[Any]:
    """What the user's function trains on: (input, label) as the model takes them, by index."""
    inputs, labels = batches_of(sample, 1, 0)
    if isinstance(inputs, Tensor) and labels is not None:
        scaled = inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs
        return TensorDataset(scaled, labels)
    return _Rows(sample)


@dataclass(frozen=True)
class _Rows(Dataset[Any]):
    """Rows read one by one."""

    sample: Sample

    def __len__(self) -> int:
        return self.sample.n

    def __getitem__(self, index: int) -> tuple[Any, Tensor]:
        if not 0 <= index < self.sample.n:
            raise IndexError(index)
        place = self.sample.start + index
        stored, label = self.sample.rows.read(place, place + 1, labeled=True)
        given = self.sample.rows.deliver(stored)
        if isinstance(given, dict):
            return {name: tensor[0] for name, tensor in given.items()}, label[0]
        return given[0], label[0]
