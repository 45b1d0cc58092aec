"""The levels of a lottery on disk: each in a folder by its configuration's hash, trained once.

A level's configuration holds its parent's hash, so the hash speaks of everything before it. What
is whole is read, what was interrupted goes on, what is damaged is trained again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunecert.api.certification import located
from prunecert.api.lottery.settings import (
    FINE_TUNE,
    FINE_TUNING,
    NO_REWINDING,
    RANDOM_MASK,
    RATE,
    REINIT,
    SEEDED,
    Lengths,
    Lottery,
)
from prunecert.api.lottery.trainers import Course, Saving, Trainer
from prunecert.api.networks import Architecture, Network, open_network, with_log
from prunecert.api.runs import (
    CHECKPOINT,
    CONFIG,
    LOG,
    MODEL,
    dump_state,
    initial,
    load_state,
    state_of,
)
from prunecert.api.seeded import seeded_initial
from prunecert.coding.prng import SEEDS
from prunecert.data import Sample
from prunecert.files import locked, write_bytes
from prunecert.models.weights import load_tensors, read_mask, safetensors_bytes
from prunecert.progress import Stage, quiet
from prunecert.pruning import apply_mask, prunable_names
from prunecert.pruning.lottery import next_masks, random_masks_like
from prunecert.pruning.scopes import Masks
from prunecert.types import InputError

Tensors = dict[str, Tensor]
Say = Callable[[str], None]

MASK, START, REWIND = "mask.safetensors", "start.safetensors", "rewind.safetensors"
WHOLE = "level.json"  # written last: the hashes of the others
LEVELS = "levels"  # the folder of all levels, by hash


@dataclass(frozen=True)
class Experiment:
    """A lottery on one model and sample; everything but the seed."""

    lottery: Lottery
    model: Architecture
    sample: Sample
    trainer: Trainer
    lengths: Lengths
    place: Path
    stage: Stage = quiet
    say: Say = print

    def prunable(self) -> tuple[str, ...]:
        return prunable_names(self.model.module, self.lottery.include, self.lottery.exclude)


@dataclass(frozen=True)
class Level:
    """One trained network of a lottery: its masks (True = kept) and where it lies."""

    seed: int
    number: int
    control: str  # "" for the lottery itself
    folder: Path
    network: Network = field(repr=False)
    masks: Masks = field(repr=False)
    seconds: float  # of training, since its last interruption

    @property
    def hash(self) -> str:
        return self.folder.name

    @property
    def density(self) -> float:
        """Fraction of the prunable weights that the masks keep."""
        total = sum(mask.numel() for mask in self.masks.values())
        return sum(int(mask.sum()) for mask in self.masks.values()) / total


@dataclass(frozen=True)
class Task:
    """A level to be trained: which it is, what decides it, and what it starts from."""

    seed: int
    number: int
    control: str
    config: Mapping[str, Any]
    course: Course
    initial_seed: int
    begin_with: Callable[[], tuple[Tensors, Masks]]  # weights as they are before masking


def grow(experiment: Experiment, seed: int) -> Iterator[Level]:
    """Level 0, then each level followed by its controls; trained where they are not on disk."""
    if experiment.lottery.initial == SEEDED and not 0 <= seed < SEEDS:
        raise InputError(
            f"--seed {seed}: seeded initial weights have seeds 0 to {SEEDS - 1}; "
            "--init model has more"
        )
    dense = trained(experiment, _dense(experiment, seed))
    yield dense
    checkpoint = load_tensors(dense.folder / REWIND).tensors
    last = dense
    for number in range(1, experiment.lottery.levels + 1):
        level = trained(experiment, _pruned(experiment, seed, number, last, checkpoint))
        yield level
        for control in experiment.lottery.controls:
            yield trained(experiment, _control(experiment, control, level, last, checkpoint))
        last = level


# --------------------------------------------------------------------------- what each level is


def _dense(experiment: Experiment, seed: int) -> Task:
    lottery, lengths = experiment.lottery, experiment.lengths
    config = {
        "level": 0,
        "model": experiment.model.spec,
        "model_sha256": experiment.model.sha256,
        "data": located(experiment.sample),
        "data_sha256": experiment.sample.sha256,  # of the labels too
        "training": experiment.trainer.described,
        "steps": lengths.total,
        "rewind": lengths.rewind,
        "initial": lottery.initial,
        "seed": seed,
    }

    def begin_with() -> tuple[Tensors, Masks]:
        start = initial_tensors(experiment, seed)
        return start, {name: torch.ones_like(start[name]).bool() for name in experiment.prunable()}

    course = Course(0, lengths.total, seed, lengths.rewind)
    return Task(seed, 0, "", config, course, seed, begin_with)


def _pruned(
    experiment: Experiment, seed: int, number: int, last: Level, checkpoint: Tensors
) -> Task:
    lottery, lengths = experiment.lottery, experiment.lengths
    config = {
        "level": number,
        "parent": last.hash,
        "fraction": lottery.fraction,
        "scope": lottery.scope,
        "rewinding": lottery.rewinding,
        "pruned": list(experiment.prunable()),
    }
    course = Course(lengths.rewind, lengths.total, seed)
    if lottery.rewinding == FINE_TUNE:
        course = Course(0, lengths.total - lengths.rewind, seed, slow=FINE_TUNING)

    def begin_with() -> tuple[Tensors, Masks]:
        weights = {name: last.network.tensors[name] for name in experiment.prunable()}
        masks = next_masks(weights, last.masks, number, lottery.fraction, lottery.scope)
        keeps_weights = lottery.rewinding in (RATE, FINE_TUNE)
        return (last.network.tensors if keeps_weights else checkpoint), masks

    return Task(seed, number, "", config, course, seed, begin_with)


def _control(
    experiment: Experiment, control: str, level: Level, last: Level, checkpoint: Tensors
) -> Task:
    lengths, seed = experiment.lengths, level.seed
    own_seed = _other_seed(seed) if control == REINIT else seed
    config = {"control": control, "mask_of": level.hash, "level": level.number}
    begin_with: dict[str, Callable[[], tuple[Tensors, Masks]]] = {
        RANDOM_MASK: lambda: (checkpoint, random_masks_like(level.masks, seed)),
        REINIT: lambda: (initial_tensors(experiment, own_seed), level.masks),
        NO_REWINDING: lambda: (last.network.tensors, level.masks),
    }
    course = Course(0 if control == REINIT else lengths.rewind, lengths.total, seed)
    return Task(seed, level.number, control, config, course, own_seed, begin_with[control])


def initial_tensors(experiment: Experiment, seed: int) -> Tensors:
    """The weights that `seed` draws."""
    if experiment.lottery.initial == SEEDED:
        return seeded_initial(experiment.model, seed)
    return {k: v.detach().clone() for k, v in initial(experiment.model, seed).state_dict().items()}


def _other_seed(seed: int) -> int:
    """Of the re-initialised control: drawn from the seed, and never the seed itself."""
    digest = hashlib.sha256(f"prunecert reinit {seed}".encode()).digest()
    drawn = int.from_bytes(digest[:2], "little")
    return drawn if drawn != seed else (drawn + 1) % SEEDS


# --------------------------------------------------------------------------- on disk


def trained(experiment: Experiment, task: Task) -> Level:
    """The level of this task, from its folder where it is whole."""
    text = json.dumps(task.config, indent=2, sort_keys=True) + "\n"
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = experiment.place / LEVELS / key
    with locked(folder):
        found = _read(experiment, task, folder)
        if isinstance(found, Level):
            return found
        if found:
            experiment.say(f"{folder}: {found}: level {task.number} is trained again")
        write_bytes(folder / CONFIG, text.encode())
        return _train(experiment, task, folder, afresh=bool(found))


def _read(experiment: Experiment, task: Task, folder: Path) -> Level | str:
    """A whole level, or in words what is damaged; no words where it was never finished."""
    whole = folder / WHOLE
    if not whole.exists():
        return ""
    try:
        noted = json.loads(whole.read_text())
        for name, digest in noted["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                return f"{name} is not what was written"
        network = open_network(folder / MODEL, experiment.model)
        masks = read_mask(folder / MASK)
        seconds = float(noted["seconds"])
    except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"is damaged ({error})"
    return Level(task.seed, task.number, task.control, folder, network, masks, seconds)


def _train(experiment: Experiment, task: Task, folder: Path, afresh: bool) -> Level:
    start, masks = task.begin_with()
    module = experiment.model.build(start)
    apply_mask(module, masks)
    state = None if afresh else load_state(folder / CHECKPOINT)
    if state is None and (folder / CHECKPOINT).exists():
        (folder / CHECKPOINT).unlink()
        if not afresh:
            experiment.say(f"{folder / CHECKPOINT}: is damaged: level {task.number} begins again")
    before, begun = state_of(module), time.monotonic()
    result = experiment.trainer.train(
        module,
        experiment.sample,
        masks,
        task.course,
        Saving(state, lambda s: write_bytes(folder / CHECKPOINT, dump_state(s))),
        experiment.stage,
        f"seed {task.seed}: {task.control or 'level'} {task.number}",
    )
    seconds = round(time.monotonic() - begun, 3)
    log = {
        "trained_on": [located(experiment.sample)],
        "method": f"{experiment.lottery.scope} {task.control or 'lottery'}",
        "level": task.number,
    }
    if experiment.lottery.initial == SEEDED:
        log["initial"] = {"seed": task.initial_seed}
    files = {
        MASK: safetensors_bytes({name: mask.to(torch.uint8) for name, mask in masks.items()}),
        START: safetensors_bytes(before),
        MODEL: safetensors_bytes(result.tensors, with_log(log)),
        LOG: (json.dumps({"losses": result.losses}) + "\n").encode(),
    }
    if result.marked is not None:
        files[REWIND] = safetensors_bytes(result.marked)
    _write(folder, files, seconds)
    network = open_network(folder / MODEL, experiment.model)
    return Level(task.seed, task.number, task.control, folder, network, masks, seconds)


def _write(folder: Path, files: Mapping[str, bytes], seconds: float) -> None:
    """All files of a level; the list of their hashes comes last and makes it whole."""
    (folder / WHOLE).unlink(missing_ok=True)
    for name, data in files.items():
        write_bytes(folder / name, data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    noted = {"files": digests, "seconds": seconds}
    write_bytes(folder / WHOLE, (json.dumps(noted, indent=2, sort_keys=True) + "\n").encode())
    (folder / CHECKPOINT).unlink(missing_ok=True)
