"""One plain training loop. It reads tensors or a stream of batches and writes no files.

Deterministic for a seed, a machine and a thread count; the global random state is put back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prunecert.data.splits import UNKNOWN
from prunecert.models.loading import outputs as network_outputs
from prunecert.models.tokens import token_outputs
from prunecert.pruning.masks import hold_masks
from prunecert.types import InputError

Batch = tuple[Any, Tensor]
EpochBatches = Callable[[int], Iterable[Batch]]  # epoch number (from 0) → its batches
Objective = Callable[[Tensor, Tensor, nn.Module], Tensor]  # (outputs, labels, module) → loss
StateDict = dict[str, Tensor]

LEARNING_RATES = {"sgd": 0.05, "adamw": 1e-3}
SCHEDULES: dict[
    str, Callable[[float], float]
] = {  # fraction of the steps done → factor on the rate
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "constant": lambda done: 1.0,
}


@dataclass(frozen=True)
class Steps:
    """A length of training: "500it" is iterations, "10ep" (or "10") is passes over the sample."""

    count: int
    unit: Literal["it", "ep"] = "ep"

    @classmethod
    def parse(cls, text: str | Steps) -> Steps:
        """Read "500it", "10ep" or "10"; InputError for anything else."""
        if isinstance(text, Steps):
            return text
        match = re.fullmatch(r"(\d+)(it|ep)?", text)
        if not match:
            raise InputError(f"steps '{text}': expected iterations as '500it' or epochs as '10ep'")
        return cls(int(match[1]), "it" if match[2] == "it" else "ep")

    def iterations(self, n: int, batch_size: int) -> int:
        """Optimizer steps on n samples; an epoch's last batch may be smaller than the others."""
        return self.count * (math.ceil(n / batch_size) if self.unit == "ep" else 1)

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


@dataclass(frozen=True)
class TrainState:
    """Everything a later `train(resume=…)` needs to continue as if it had never stopped."""

    step: int  # steps done, with those before `begin`
    module: StateDict
    optimizer: dict[str, Any]
    rng: list[Tensor]  # of the CPU, then of the training device if that is another
    losses: list[float]
    checkpoints: dict[int, StateDict]


@dataclass(frozen=True)
class TrainLog:
    """What happened: the loss of every step, shape (steps − begin,), and the tensors at
    `checkpoint_at`."""

    losses: list[float]
    checkpoints: dict[int, StateDict]  # by steps done; `begin` is before training


def mean_cross_entropy(outputs: Tensor, labels: Tensor, module: nn.Module) -> Tensor:
    """The default objective, over samples or tokens; InputError for a label that the network has no
    output for."""
    if (largest := int(labels.max())) >= outputs.shape[-1]:
        raise InputError(
            f"the training sample: label {largest} but the network has {outputs.shape[-1]} outputs"
        )
    if outputs.ndim == 3:  # documents: only places that the model reads and that have a next token
        read = labels[:, : outputs.shape[1]]
        return cross_entropy(outputs.flatten(0, 1), read.flatten(), ignore_index=UNKNOWN)
    return cross_entropy(outputs, labels)


def train(
    module: nn.Module,
    inputs: Tensor | EpochBatches,
    labels: Tensor | None = None,
    *,
    steps: Steps | str,
    begin: int = 0,
    batch_size: int = 128,
    learning_rate: float | None = None,  # default: LEARNING_RATES
    optimizer: str = "sgd",
    momentum: float = 0.9,  # sgd only
    weight_decay: float = 0.0,
    schedule: str = "cosine",
    seed: int = 0,
    objective: Objective = mean_cross_entropy,
    after_step: Callable[[nn.Module, int], None] | None = None,  # (module, steps done)
    on_step: Callable[[int, int, float], None] | None = None,  # (steps done, of, loss)
    masks: Mapping[str, Tensor] | None = None,
    checkpoint_at: Iterable[Steps | str] = (),
    on_checkpoint: Callable[[TrainState], None] | None = None,
    checkpoint_every: int = 1000,
    resume: TrainState | None = None,
    device: str = "cpu",
) -> TrainLog:
    """Train `module` in place and return the log.

    `inputs` is a tensor (n, …) with int64 `labels` (n,), shuffled anew each epoch; uint8 inputs are
    scaled to x/255 batch by batch. Or it is a function of the epoch number that yields batches
    (inputs, labels), handed to the module untouched; then `labels` and `batch_size` are unused, and
    `steps` counts iterations unless an epoch's batches have a length. Labels (n, T) are of the
    tokens of documents, UNKNOWN behind their end, and go with scores (n, T, vocabulary).
    `begin` starts training as if so many of the `steps` were done: rates and the order of samples
    are those of the steps behind it (rewinding), the optimizer is new. Steps are always numbered
    from 0, in callbacks, checkpoints and states.
    `masks` (True = kept) are held by `hold_masks`: what they remove stays exactly zero. Gradients
    are not masked; here only the optimizer reads them.
    `on_checkpoint` gets a `TrainState` of its own every `checkpoint_every` steps; with it as
    `resume` and the same other arguments, the run continues bit for bit.

    Raises InputError for unreadable steps, unknown names, inputs and labels of different lengths,
    or a loss that is not finite. KeyboardInterrupt passes through, with masks' hooks and the global
    random state cleaned up.
    """
    if optimizer not in LEARNING_RATES:
        raise InputError(f"optimizer '{optimizer}': expected one of {', '.join(LEARNING_RATES)}")
    if schedule not in SCHEDULES:
        raise InputError(f"schedule '{schedule}': expected one of {', '.join(SCHEDULES)}")
    if isinstance(inputs, Tensor):
        epoch_batches = _in_memory(inputs, labels, batch_size, seed)
        per_epoch: int | None = math.ceil(len(inputs) / batch_size)
    else:
        epoch_batches = inputs
        first = inputs(0)
        per_epoch = len(first) if isinstance(first, Sized) else None
    total = _iterations(steps, per_epoch)
    if not 0 <= begin <= total:
        raise InputError(f"begin: {begin} steps, expected 0 to {total}, the length of training")
    marks = {_iterations(mark, per_epoch) for mark in checkpoint_at}
    if max(marks, default=0) > total:
        raise InputError(f"checkpoint_at: {max(marks)} steps, but training has only {total}")
    if min(marks, default=begin) < begin:
        raise InputError(f"checkpoint_at: {min(marks)} steps, but training begins after {begin}")
    if resume and resume.step - len(resume.losses) != begin:
        raise InputError(f"begin: {begin}, but the state to resume is of a run with another one")

    module.to(device)
    rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
    parameters = module.parameters()
    updates: torch.optim.Optimizer = (
        torch.optim.SGD(parameters, rate, momentum, weight_decay=weight_decay, fused=True)
        if optimizer == "sgd"
        else torch.optim.AdamW(parameters, rate, weight_decay=weight_decay, fused=True)
    )
    losses: list[float] = []
    checkpoints: dict[int, StateDict] = {}
    with ExitStack() as clean_up:
        clean_up.callback(module.train, module.training)
        clean_up.enter_context(torch.random.fork_rng(_cuda(device)))
        if masks is not None:
            clean_up.enter_context(hold_masks(module, updates, masks, gradients=False))
        module.train()
        _seed(seed, device)
        stream = _stream(epoch_batches, resume.step if resume else begin, per_epoch)
        if resume:
            _restore(resume, module, updates, device)
            losses, checkpoints = list(resume.losses), dict(resume.checkpoints)
        elif begin in marks:
            checkpoints[begin] = _tensors(module)

        for step in range(begin + len(losses) + 1, total + 1):
            batch, targets = (_on(device, part) for part in next(stream))
            for group in updates.param_groups:
                group["lr"] = rate * SCHEDULES[schedule]((step - 1) / total)
            scored = network_outputs if targets.ndim == 1 else token_outputs
            loss = objective(scored(module, batch, "the training sample"), targets, module)
            updates.zero_grad()
            loss.backward()
            updates.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise InputError(f"step {step}: the loss is {losses[-1]}; lower the learning rate")
            if after_step:
                after_step(module, step)
            if step in marks:
                checkpoints[step] = _tensors(module)
            if on_checkpoint and step % checkpoint_every == 0:
                on_checkpoint(_state(step, module, updates, device, losses, checkpoints))
            if on_step:
                on_step(step, total, losses[-1])
    return TrainLog(losses, checkpoints)


# --------------------------------------------------------------------------- batches


def _in_memory(inputs: Tensor, labels: Tensor | None, batch_size: int, seed: int) -> EpochBatches:
    """Batches of seeded permutations; an epoch's order depends on its number, not on history."""
    n = len(inputs)
    if labels is None or len(labels) != n or not n:
        found = "no labels" if labels is None else f"{len(labels)} labels"
        raise InputError(f"training sample: {n} inputs and {found}; expected as many, at least one")

    def epoch_batches(epoch: int) -> Iterator[Batch]:
        order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(n))
        for chosen in order.to(inputs.device).split(batch_size):
            batch = inputs.index_select(0, chosen)
            if batch.dtype == torch.uint8:
                batch = batch.float().div_(255)
            yield batch, labels.index_select(0, chosen)

    return epoch_batches


def _iterations(steps: Steps | str, per_epoch: int | None) -> int:
    parsed = Steps.parse(steps)
    if parsed.unit == "ep" and per_epoch is None:
        raise InputError(f"steps '{parsed}': these batches have no length; say '500it', not epochs")
    return parsed.iterations(per_epoch or 0, batch_size=1)  # counted in batches, not samples


def _stream(epoch_batches: EpochBatches, skip: int, per_epoch: int | None) -> Iterator[Batch]:
    """Batches without end, after the first `skip` of them."""

    def from_epoch(epoch: int) -> Iterator[Batch]:
        while True:
            batch = None
            for batch in epoch_batches(epoch):
                yield batch
            if batch is None:
                raise InputError(f"training sample: epoch {epoch} has no batches")
            epoch += 1

    first_epoch, skip = divmod(skip, per_epoch) if per_epoch else (0, skip)
    batches = from_epoch(first_epoch)
    for _ in range(skip):
        next(batches)
    return batches


def _on(device: str, part: Any) -> Any:
    if isinstance(part, Mapping):
        return {key: _on(device, value) for key, value in part.items()}
    return part.to(device) if isinstance(part, Tensor) else part


# --------------------------------------------------------------------------- states


def _tensors(module: nn.Module) -> StateDict:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _seed(seed: int, device: str) -> None:
    torch.default_generator.manual_seed(seed)
    for cuda in _cuda(device):
        with torch.cuda.device(cuda):
            torch.cuda.manual_seed(seed)


def _cuda(device: str) -> list[torch.device]:
    return [torch.device(device)] if torch.device(device).type == "cuda" else []


def _state(
    step: int,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: str,
    losses: list[float],
    checkpoints: dict[int, StateDict],
) -> TrainState:
    rng = [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in _cuda(device))]
    return TrainState(
        step,
        _tensors(module),
        deepcopy(optimizer.state_dict()),
        rng,
        list(losses),
        dict(checkpoints),
    )


def _restore(
    state: TrainState, module: nn.Module, optimizer: torch.optim.Optimizer, device: str
) -> None:
    module.load_state_dict(state.module)
    optimizer.load_state_dict(deepcopy(state.optimizer))
    torch.set_rng_state(state.rng[0])
    for cuda, rng in zip(_cuda(device), state.rng[1:], strict=True):
        torch.cuda.set_rng_state(rng, cuda)
