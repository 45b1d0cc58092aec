"""The paper's network, trained and kept after every epoch that is measured.

Plain SGD at a constant rate has no state but the weights, so training from one kept network to the
next is a run of its own: an interrupted experiment goes on from the last network on disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prunecert.api import architecture, open_source, sample_of
from prunecert.api.certification import equal_to_trained, located
from prunecert.api.networks import Network, open_network, with_log
from prunecert.api.runs import initial, open_run, state_of
from prunecert.data import Sample, Source, in_memory, take
from prunecert.models.weights import safetensors_bytes
from prunecert.paper.settings import Setting
from prunecert.progress import Stage, quiet
from prunecert.training import EpochBatches, train
from prunecert.types import InputError

IMAGE = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
PADDING = 4  # pixels around an image before a random crop


@dataclass(frozen=True)
class PaperData:
    """The data as the user named it, and in memory with inputs in [−1, 1], shape (n, C, H, W).

    `train` is what the network is trained on and what every bound reads; `unit_train` are the same
    rows with inputs in [0, 1], as everybody else's commands read them.
    """

    source: Source
    train: Sample
    test: Sample
    unit_train: Sample
    unit_test: Sample


def read_data(data: str, setting: Setting) -> PaperData:
    """Read and scale; InputError where the images are not those of the experiment."""
    source = open_source(data)
    whole, test = sample_of(source, "train", "train"), sample_of(source, "test", "holdout")
    if whole.input_shape != IMAGE[setting.name]:
        raise InputError(
            f"--data {data}: inputs of shape {whole.input_shape}, expected "
            f"{IMAGE[setting.name]} for `paper {setting.name}`"
        )
    equal_to_trained(take(source, "train", "unlabeled"), test)  # a hold-out must not be trained on
    kept = f"train[:{round(whole.n * (1 - setting.held_back))}]"
    scaled = in_memory((_scaled(whole), _scaled(test)))
    return PaperData(
        source,
        take(scaled, kept, "train"),
        take(scaled, "test", "holdout"),
        sample_of(source, kept, "bound"),
        test,
    )


def _scaled(sample: Sample) -> tuple[Tensor, Tensor]:
    batches = list(sample.batches(5000))
    inputs = torch.cat([x for x, _ in batches if isinstance(x, Tensor)])
    return inputs.mul_(2).sub_(1), torch.cat([y for _, y in batches])


def train_snapshots(
    setting: Setting, data: PaperData, folder: Path, seed: int = 0, stage: Stage = quiet
) -> Iterator[tuple[int, Network]]:
    """(epoch, network) for every measured epoch; networks already in `folder` are read.

    They take inputs in [−1, 1]; `on_unit_inputs` gives the same function of inputs in [0, 1].
    """
    model = architecture(setting.model)
    config = {
        "setting": {k: v for k, v in asdict(setting).items() if k in _DECIDES},
        "seed": seed,
        "data": located(data.unit_train),
    }
    run = open_run(folder, config)
    log = {"trained_on": [located(data.unit_train)], "inputs": "2x - 1"}
    network = Network(model, state_of(initial(model, seed)), _file(0), log=log)
    run.write(_file(0), safetensors_bytes(network.tensors, with_log(log)))
    yield 0, network
    for before, epoch in pairwise(setting.epochs):
        file = folder / _file(epoch)
        if not file.exists():
            trained = _continued(network, setting, data, before, epoch, seed, stage)
            run.write(_file(epoch), safetensors_bytes(trained, with_log(log)))
        network = replace(open_network(file, model), name=_file(epoch))
        yield epoch, network


_DECIDES = ("model", "batch_size", "learning_rate", "augmented", "weight_decay", "held_back")


def _file(epoch: int) -> str:
    return f"epoch-{epoch:04d}.safetensors"


def _continued(
    network: Network,
    setting: Setting,
    data: PaperData,
    before: int,
    epoch: int,
    seed: int,
    stage: Stage,
) -> dict[str, Tensor]:
    """The weights after the epochs from `before` to `epoch`, each with an order of its own."""
    module = network.module()
    ((inputs, labels),) = data.train.batches(data.train.n)
    assert isinstance(inputs, Tensor)
    per_epoch = -(-data.train.n // setting.batch_size)
    with stage(f"training, epochs {before} to {epoch}", (epoch - before) * per_epoch) as tick:
        for number in range(before, epoch):
            own_seed = seed * 10_000 + number
            cropped = _augmented(inputs, labels, setting.batch_size, own_seed)
            train(
                module,
                cropped if setting.augmented else inputs,
                None if setting.augmented else labels,
                steps=f"{per_epoch}it",
                batch_size=setting.batch_size,
                learning_rate=setting.learning_rate,
                momentum=0.0,
                weight_decay=setting.weight_decay,
                schedule="constant",
                seed=own_seed,
                on_step=lambda step, of, loss: tick(1),
            )
    return state_of(module)


def _augmented(inputs: Tensor, labels: Tensor, batch_size: int, seed: int) -> EpochBatches:
    """Batches of seeded permutations, each image cropped and flipped anew."""

    def epoch_batches(_: int) -> Iterator[tuple[Tensor, Tensor]]:
        random = np.random.default_rng(seed)
        order = torch.from_numpy(random.permutation(len(inputs)))
        for chosen in order.split(batch_size):
            yield augment(inputs[chosen], random), labels[chosen]

    return epoch_batches


def augment(images: Tensor, random: np.random.Generator) -> Tensor:
    """Each image (n, C, H, W) shifted by up to `PADDING` pixels (black comes in), half mirrored."""
    n, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (PADDING,) * 4, value=-1.0)
    top, left = (torch.from_numpy(random.integers(0, 2 * PADDING + 1, n)) for _ in range(2))
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    mirrored = torch.from_numpy(random.random(n) < 0.5)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    which = torch.arange(n)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


def on_unit_inputs(network: Network) -> Network:
    """The same function of inputs in [0, 1]: A(2x − 1) + b = (2A)x + (b − A·1)."""
    first = network.architecture.view.layers[0]
    assert first.bias is not None
    weight, bias = network.tensors[first.name], network.tensors[first.bias]
    moved = (bias.double() - weight.double().sum(1)).float()
    tensors = network.tensors | {first.name: 2 * weight, first.bias: moved}
    return replace(network, tensors=tensors, name="dense")
