"""Training runs on disk: a folder that can be killed at any moment and taken up again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from prunecert.api.certification import located
from prunecert.api.networks import Architecture, Network, open_network, with_log
from prunecert.data import Sample
from prunecert.files import write_bytes
from prunecert.models.loading import load_model
from prunecert.models.weights import safetensors_bytes
from prunecert.progress import Stage, quiet
from prunecert.training import EpochBatches, Steps, TrainLog, TrainState, train
from prunecert.types import InputError

CONFIG, MODEL, LOG, CHECKPOINT = (
    "config.json",
    "model.safetensors",
    "log.json",
    "checkpoints/latest.pt",
)
IN_MEMORY_BYTES = 4 << 30
CHECKPOINT_EVERY = 500

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; everything that decides the outcome."""

    steps: str = "20ep"
    batch_size: int = 128
    learning_rate: float | None = None
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    seed: int = 0
    device: str = "cpu"


def fit(
    module: nn.Module,
    sample: Sample,
    recipe: Recipe,
    *,
    masks: Mapping[str, Tensor] | None = None,
    begin: int = 0,
    checkpoint_at: Iterable[Steps | str] = (),
    stage: Stage = quiet,
    name: str = "training",
    on_checkpoint: Any = None,
    resume: TrainState | None = None,
) -> TrainLog:
    """Train `module` in place on a sample, in memory where it fits; see `training.train`."""
    inputs, labels = batches_of(sample, recipe.batch_size, recipe.seed)
    with stage(name, 0) as tick:
        log = train(
            module,
            inputs,
            labels,
            **asdict(recipe),
            masks=masks,
            begin=begin,
            checkpoint_at=checkpoint_at,
            on_step=lambda step, total, loss: tick(1),
            on_checkpoint=on_checkpoint,
            checkpoint_every=CHECKPOINT_EVERY,
            resume=resume,
        )
    if not all(torch.isfinite(parameter).all() for parameter in module.parameters()):
        raise InputError("training ended in weights that are not finite; lower the learning rate")
    return log


def batches_of(
    sample: Sample, batch_size: int, seed: int
) -> tuple[Tensor | EpochBatches, Tensor | None]:
    """Tensors for a sample of arrays (bytes stay bytes), else a stream of shuffled batches."""
    scaled = getattr(sample.rows, "scaled", None)
    first, _ = sample.rows.read(sample.start, sample.start + 1, labeled=True)
    if (
        scaled is not None
        and isinstance(first, Tensor)
        and (scaled or first.dtype != torch.uint8)
        and first.nbytes * sample.n <= IN_MEMORY_BYTES
    ):
        held = list(sample.stored(1 << 14))
        return torch.cat([x for x, _ in held]), torch.cat([y for _, y in held])  # type: ignore[misc]
    return (lambda epoch: _Epoch(sample, batch_size, (seed, epoch))), None


@dataclass(frozen=True)
class _Epoch:
    """The batches of one epoch, rows read one by one in a seeded order."""

    sample: Sample
    batch_size: int
    seed: tuple[int, int]

    def __len__(self) -> int:
        return -(-self.sample.n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        order = np.random.default_rng(self.seed).permutation(self.sample.n) + self.sample.start
        rows = self.sample.rows
        for i in range(0, len(order), self.batch_size):
            read = [
                rows.read(int(r), int(r) + 1, labeled=True) for r in order[i : i + self.batch_size]
            ]
            inputs = [rows.deliver(x) for x, _ in read]
            yield _concatenated(inputs), torch.cat([y for _, y in read])


def _concatenated(inputs: list[Any]) -> Any:
    if isinstance(inputs[0], dict):
        return {key: torch.cat([x[key] for x in inputs]) for key in inputs[0]}
    return torch.cat(inputs)


def train_run(
    model: Architecture, sample: Sample, recipe: Recipe, folder: str | Path, stage: Stage = quiet
) -> Network:
    """Train a model from its seeded initialisation into `folder`; see `run_in`."""
    return run_in(
        folder, model, sample, recipe, lambda: initial(model, recipe.seed), state_of, stage
    )


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module, on their own."""
    return {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}


def run_in(
    folder: str | Path,
    model: Architecture,
    sample: Sample,
    recipe: Recipe,
    start: Callable[[], M],
    tensors_of: Callable[[M], dict[str, Tensor]],
    stage: Stage = quiet,
    said: Mapping[str, Any] = MappingProxyType({}),
) -> Network:
    """Train what `start` builds and keep the tensors that are found in it afterwards.

    A finished run is read, not repeated; an interrupted one goes on from its last checkpoint. A
    folder that holds a run with another configuration is refused. `said` belongs to the
    configuration and to the run log in the weights.
    """
    place = Path(folder)
    config = {
        "model": model.spec,
        "model_sha256": model.sha256,
        "data": located(sample),
        **asdict(recipe),
        **said,
    }
    run = open_run(place, config)
    if (place / MODEL).exists():
        return open_network(place / MODEL, model)
    module = start()
    state = load_state(place / CHECKPOINT)
    log = fit(
        module,
        sample,
        recipe,
        stage=stage,
        on_checkpoint=lambda s: run.write(CHECKPOINT, dump_state(s)),
        resume=state,
    )
    tensors = tensors_of(module)
    run_log = {"trained_on": [located(sample)], "recipe": asdict(recipe), **said}
    run.write(LOG, (json.dumps({"losses": log.losses}) + "\n").encode())
    run.write(MODEL, safetensors_bytes(tensors, with_log(run_log)))
    (place / CHECKPOINT).unlink(missing_ok=True)
    return Network(model, tensors, str(place / MODEL), log=run_log)


def initial(model: Architecture, seed: int) -> nn.Module:
    """The module with the weights that `seed` draws."""
    if model.spec.startswith("module:"):
        return model.module
    return load_model(model.spec, seed).module


@dataclass(frozen=True)
class RunFolder:
    """A folder with one configuration. It stands there once the run has something to keep, so a
    run that is refused leaves nothing behind."""

    place: Path
    config: bytes

    def write(self, name: str, data: bytes) -> None:
        """A file of the run; the first one comes after its configuration."""
        if not (self.place / CONFIG).exists():
            write_bytes(self.place / CONFIG, self.config)
        write_bytes(self.place / name, data)


def open_run(place: Path, config: Mapping[str, Any]) -> RunFolder:
    """A new folder, or one that holds a run of this very configuration."""
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    file = place / CONFIG
    if file.is_file():
        if file.read_bytes() != text.encode():
            raise InputError(
                f"{file}: holds a run with another configuration: expected a new --out"
            )
    elif place.is_file():
        raise InputError(f"{place}: is a file: expected a new folder")
    elif place.is_dir() and any(place.iterdir()):
        raise InputError(f"{place}: is not empty and holds no run: expected a new folder")
    return RunFolder(place, text.encode())


def dump_state(state: TrainState) -> bytes:
    """A checkpoint as bytes."""
    buffer = io.BytesIO()
    torch.save(vars(state), buffer)
    return buffer.getvalue()


def load_state(path: Path) -> TrainState | None:
    """The checkpoint of an interrupted run; one that cannot be read is as good as none."""
    try:
        return TrainState(**torch.load(path, weights_only=True))
    except FileNotFoundError:
        return None
    except Exception:  # a damaged file fails in many ways; the run then starts again
        return None
