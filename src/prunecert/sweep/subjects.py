"""What a configuration speaks of: its model, its two samples, and what identifies them."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from prunecert.api.certification import located
from prunecert.api.lottery import Lottery
from prunecert.api.lottery.settings import LEVELS, OWN, lengths
from prunecert.api.networks import Architecture, architecture
from prunecert.api.runs import Recipe
from prunecert.data import Sample, Source, load_source, take
from prunecert.data.label_noise import classes_of, with_label_noise
from prunecert.pruning.lottery import FRACTION
from prunecert.sweep.config import IMP, RunConfig
from prunecert.types import InputError

KERNEL = 3  # of the convolutions of "conv"


@dataclass(frozen=True)
class Subject:
    """A configuration with what it names at hand."""

    config: RunConfig
    model: Architecture
    train: Sample
    test: Sample

    @property
    def recipe(self) -> Recipe:
        """How the dense network is trained."""
        c = self.config
        return Recipe(
            steps=c.length,
            batch_size=c.batch_size,
            learning_rate=c.lr,
            optimizer=c.optimizer,
            momentum=c.momentum,
            weight_decay=c.weight_decay,
            schedule=c.schedule,
            seed=c.seed,
            device=c.device,
        )

    @property
    def lottery(self) -> Lottery:
        """What method "imp" does."""
        c = self.config
        return Lottery(
            levels=LEVELS if c.levels is None else c.levels,
            fraction=FRACTION if c.fraction is None else c.fraction,
            rewind=c.rewind or "0it",
            scope=c.scope,
            initial=OWN,
        )

    @property
    def dense_id(self) -> str:
        """Names the dense network: equal for runs that differ only in pruning and measuring."""
        return hash16(
            {
                "model": self.model.spec,
                "model_sha256": self.model.sha256,
                "data": located(self.train),
                "data_sha256": self.train.sha256,
                "recipe": asdict(self.recipe),
            }
        )

    @property
    def run_id(self) -> str:
        """Names the run: the configuration, the model and the data as they are now."""
        return hash16(
            {
                "config": self.config.canonical(),
                "dense": self.dense_id,
                "test": self.test.name,
                "test_sha256": self.test.sha256,
            }
        )

    @property
    def measuring_id(self) -> str:
        """Names what is measured of the dense network, and on which test sample."""
        c = self.config
        asked = (c.measure, c.flatness, c.flatness_rows, c.curve_points, c.cushion_rows, c.delta)
        return hash16({"asked": asked, "test": self.test.name, "test_sha256": self.test.sha256})


def subject_of(config: RunConfig) -> Subject:
    """The model and the samples of a configuration; InputError where one cannot be had."""
    c = config
    here = os.getcwd()  # what a relative name means
    source = _source(c.data, c.label_noise, c.noise_seed, here)
    rows = c.sample if c.n is None else f"train[:{c.n}]"
    train = _sample(source, rows)
    test = _sample(source, "test" if c.test_rows is None else f"test[:{c.test_rows}]")
    subject = Subject(c, _architecture(model_spec(c, source, train), here), train, test)
    if c.method == IMP:
        try:
            lengths(subject.lottery, subject.recipe, train)
        except InputError as error:  # said before anything is trained, and by the names of keys
            raise InputError(str(error).replace("--", "")) from None
    return subject


def model_spec(config: RunConfig, source: Source, train: Sample) -> str:
    """The model's name; that of `mlp` and `conv` is made from depth, width and the data."""
    if config.model not in ("mlp", "conv"):
        return config.model
    assert config.depth is not None and config.width is not None
    shape, classes = train.input_shape, classes_of(source)
    if isinstance(shape, dict):
        raise InputError(f"model {config.model}: {config.data}: expected inputs of one tensor")
    if config.model == "mlp":
        return "-".join(map(str, ("mlp:" + str(math.prod(shape)), *_hidden(config), classes)))
    if len(shape) != 3:
        raise InputError(f"model conv: {config.data}: expected images, found inputs of {shape}")
    return conv_spec(shape, config.depth, config.width, classes)


def _hidden(config: RunConfig) -> list[int | None]:
    return [config.width] * (config.depth or 0)


def conv_spec(shape: tuple[int, ...], depth: int, width: int, classes: int) -> str:
    """A plain chain: convolutions of 3 x 3 and ReLU, each with max pooling behind it where what
    follows still fits, then one linear layer."""
    parts, side = [], min(shape[1:])
    for after in reversed(range(depth)):
        side -= KERNEL - 1
        parts += [f"conv-{width}-{KERNEL}", "relu"]
        if side // 2 >= 1 + after * (KERNEL - 1):
            parts.append("max-2")
            side //= 2
    return f"net:{'x'.join(map(str, shape))},{','.join(parts)},linear-{classes}"


@lru_cache(maxsize=8)
def _source(data: str, noise: float, seed: int, folder: str) -> Source:
    source = load_source(data)
    return with_label_noise(source, noise, seed) if noise else source


@lru_cache(maxsize=32)
def _sample(source: Source, rows: str) -> Sample:
    return take(source, rows, "bound")


@lru_cache(maxsize=32)
def _architecture(spec: str, folder: str) -> Architecture:
    return architecture(spec)


def hash16(content: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the sha256 of a mapping's canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
