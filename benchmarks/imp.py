"""Seconds of one level of iterative magnitude pruning: our loop against the usual PyTorch loop.

    python benchmarks/imp.py --data ../shared/data/mnist

lenet-300-100 on MNIST. A level prunes 20 % of the weights by global magnitude, rewinds to step 100,
trains with the masks held and counts the errors on the test sample. The usual loop is a map-style
dataset behind a `DataLoader`: of pictures, each made a PIL image and then a tensor, which is what
torchvision's MNIST with ToTensor does (and open_lth); and a leaner one, of tensors alone; with
worker processes and without. Its data lies in memory too, and reading the files is in nobody's
time. Every seed is one go; the ways take turns. The last line is a floor for every way: forward and
backward passes over one batch alone.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from prunecert.api.runs import batches_of
from prunecert.api.samples import sample_of
from prunecert.models.loading import load_model
from prunecert.pruning.criteria import magnitude
from prunecert.pruning.masks import prunable_names
from prunecert.pruning.scopes import masks_from_scores
from prunecert.training import StateDict, train

MODEL, BATCH, RATE, MOMENTUM = "lenet-300-100", 128, 0.05, 0.9
PRUNED = 0.2
DENSE, REWIND = "1ep", 100  # the network that is pruned; the step whose weights it gets back
WORKERS = 2
GOAL = 3.0
OURS, FLOOR = "prunecert", "passes alone"


class Images(Dataset[tuple[Tensor, Tensor]]):
    """Bytes in memory; one image at a time as floats, and its label."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index].float().div(255), self.labels[index]


class Pictures(Images):
    """The same by way of a PIL image, as torchvision's MNIST gives it to its ToTensor."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture = Image.fromarray(self.images[index, 0].numpy(), mode="L")
        pixels = torch.from_numpy(np.array(picture, np.uint8, copy=True))
        return pixels.view(1, *picture.size[::-1]).to(torch.float32).div(255), self.labels[index]


KINDS = {Pictures: "DataLoader of pictures", Images: "DataLoader of tensors"}


@dataclass(frozen=True)
class Case:
    """What both ways start from."""

    train: Images
    test: Images
    dense: StateDict
    rewound: StateDict
    epochs: int

    @property
    def steps(self) -> int:
        return self.epochs * math.ceil(len(self.train) / BATCH)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--data", required=True)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--seeds", type=int, default=3)
    chosen = options.parse_args()
    case = prepared(chosen.data, chosen.epochs)
    ways: dict[str, Callable[[Case, int], float]] = {OURS: ours}
    for kind, name in KINDS.items():
        for workers in (0, WORKERS):
            ways[f"{name}, {workers} workers"] = partial(usual, kind=kind, workers=workers)
    goes = [
        {name: timed(way, case, seed) for name, way in [*ways.items(), (FLOOR, passes)]}
        for seed in range(chosen.seeds)
    ]
    fewest = {name: min(go[name][0] for go in goes) for name in goes[0]}
    print(f"one level of {case.steps} steps, {torch.get_num_threads()} threads, {len(goes)} seeds")
    for name in ways:
        print(f"{name:32}  {fewest[name]:6.2f} s  accuracy {said([go[name][1] for go in goes])}")
    for kind, goal in zip(KINDS.values(), (f" (goal {GOAL:g})", "")):
        peer = min((name for name in ways if name.startswith(kind)), key=lambda name: fewest[name])
        print(f"    faster than {peer} by a factor {fewest[peer] / fewest[OURS]:.2f}{goal}")
        apart = [go[OURS][1] - go[peer][1] for go in goes]
        print(f"    its accuracy less that of {peer}, seed by seed: {said(apart)}")
    print(f"{FLOOR:32}  {fewest[FLOOR]:6.2f} s")


def prepared(data: str, epochs: int) -> Case:
    drawn = (sample_of(data, "train", "train"), sample_of(data, "test", "holdout"))
    samples = [Images(*batches_of(sample, BATCH, 0)) for sample in drawn]
    module = load_model(MODEL, 0).module
    log = train(
        module, samples[0].images, samples[0].labels, steps=DENSE, checkpoint_at=[f"{REWIND}it"]
    )
    masks, others = our_masks(module), usual_masks(module)
    assert all(torch.equal(masks[name], others[name] != 0) for name in others)
    return Case(*samples, module.state_dict(), log.checkpoints[REWIND], epochs)


# --------------------------------------------------------------------------- the two ways


def ours(case: Case, seed: int) -> float:
    module = load_model(MODEL).module
    module.load_state_dict(case.dense)
    masks = our_masks(module)
    module.load_state_dict(case.rewound)
    train(
        module, case.train.images, case.train.labels, steps=f"{case.steps}it", batch_size=BATCH,
        learning_rate=RATE, momentum=MOMENTUM, seed=seed, masks=masks,
    )  # fmt: skip
    return accuracy(module, [(case.test.images.float() / 255, case.test.labels)])


def usual(case: Case, seed: int, kind: type[Images], workers: int) -> float:
    torch.manual_seed(seed)
    module = load_model(MODEL).module
    module.load_state_dict(case.dense)
    masks = usual_masks(module)
    module.load_state_dict(case.rewound)
    apply_masks(module, masks)
    train_set, test_set = (kind(part.images, part.labels) for part in (case.train, case.test))
    loader = DataLoader(
        train_set, batch_size=BATCH, shuffle=True, num_workers=workers,
        persistent_workers=workers > 0,
    )  # fmt: skip
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=case.steps)
    module.train()
    for _ in range(case.epochs):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = cross_entropy(module(inputs), labels)
            loss.backward()
            optimizer.step()
            apply_masks(module, masks)
            scheduler.step()
    return accuracy(module, DataLoader(test_set, batch_size=1000, num_workers=workers))


def our_masks(module: nn.Module) -> dict[str, Tensor]:
    scores = magnitude(module, prunable_names(module), None, cross_entropy, 0)
    return masks_from_scores(scores, PRUNED)


def usual_masks(module: nn.Module) -> dict[str, Tensor]:
    sizes = {n: p.detach().abs() for n, p in module.named_parameters() if n.endswith("weight")}
    ranked = torch.cat([size.flatten() for size in sizes.values()]).sort().values
    threshold = ranked[int(PRUNED * len(ranked) + 0.5)]
    return {name: (size >= threshold).float() for name, size in sizes.items()}


def apply_masks(module: nn.Module, masks: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])


def passes(case: Case, seed: int) -> float:
    """As many forward and backward passes as a level has steps, without data, masks or updates."""
    module = load_model(MODEL, seed).module.train()
    inputs, labels = case.train.images[:BATCH].float() / 255, case.train.labels[:BATCH]
    for _ in range(case.steps):
        module.zero_grad()
        cross_entropy(module(inputs), labels).backward()
    return math.nan


def accuracy(module: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    module.eval()
    right = n = 0
    with torch.no_grad():
        for inputs, labels in batches:
            right += int((module(inputs).argmax(1) == labels).sum())
            n += len(labels)
    return right / n


# --------------------------------------------------------------------------- what is printed


def timed(way: Callable[[Case, int], float], case: Case, seed: int) -> tuple[float, float]:
    start = time.perf_counter()
    found = way(case, seed)
    return time.perf_counter() - start, found


def said(values: list[float]) -> str:
    """The mean, and its standard error where there are several values."""
    mean = f"{statistics.fmean(values):.4f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(values) / math.sqrt(len(values)):.4f}"


if __name__ == "__main__":
    main()
