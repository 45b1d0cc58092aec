"""Lottery tickets: iterative magnitude pruning with rewinding, every level certified.

DIR/levels/HASH/             every level ever trained here, by the hash of its configuration
DIR/seed-S/level-L           the levels of this lottery: links to them
DIR/seed-S/CONTROL/level-L   and of its controls
DIR/curve.csv                one line for each
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from prunecert.api.certification import EQUAL_SHARE
from prunecert.api.counting import Options
from prunecert.api.lottery.curve import as_csv
from prunecert.api.lottery.levels import Experiment, Level, Say, grow
from prunecert.api.lottery.measured import Asked, measure_level
from prunecert.api.lottery.settings import (
    OWN,
    REINIT,
    Lottery,
    default_steps,
    lengths,
)
from prunecert.api.lottery.trainers import OwnLoop, Trainer, UserLoop
from prunecert.api.networks import Architecture, architecture
from prunecert.api.runs import Recipe
from prunecert.api.samples import open_source, sample_of, test_sample, training_sample
from prunecert.data import Sample, Source, equal_rows, shared_rows
from prunecert.files import write_bytes
from prunecert.progress import Stage, quiet
from prunecert.pruning import prunable_names
from prunecert.pruning.lottery import level_sparsity
from prunecert.pruning.scopes import removal_count
from prunecert.types import InputError

__all__ = [
    "CURVE",
    "Level",
    "Lottery",
    "UserLoop",
    "default_steps",
    "draw_tickets",
    "run_lottery",
]

CURVE = "curve.csv"


def draw_tickets(
    model: nn.Module | str,
    sample: Sample,
    out: str | Path,
    settings: Lottery = Lottery(),
    recipe: Recipe = Recipe(),
    *,
    seeds: Sequence[int] = (0,),
    trainer: Trainer | None = None,
    stage: Stage = quiet,
    say: Say = print,
) -> Iterator[Level]:
    """The levels of every seed and their controls, as they are trained or read from `out`.

    `trainer` is a `UserLoop` of the caller's function, or none for ours. `say` is told what is
    damaged and trained again. InputError where the checkpoint lies beyond the training.
    """
    place = Path(out)
    if place.is_file():
        raise InputError(f"{place}: is a file: expected a folder")
    described = architecture(model)
    _require_some_left(settings, described)
    experiment = Experiment(
        settings,
        described,
        sample,
        trainer or OwnLoop(recipe),
        lengths(settings, recipe, sample),
        place,
        stage,
        say,
    )
    if settings.initial == OWN and REINIT in settings.controls and isinstance(model, nn.Module):
        raise InputError(f"control {REINIT}: a module in memory has no other initial weights")
    for seed in seeds:
        for level in grow(experiment, seed):
            _link(place / f"seed-{seed}" / level.control / f"level-{level.number}", level.folder)
            yield level


def run_lottery(
    model: nn.Module | str,
    data: Any,
    out: str | Path,
    settings: Lottery = Lottery(),
    recipe: Recipe = Recipe(),
    *,
    seeds: Sequence[int] = (0,),
    trainer: Trainer | None = None,
    delta: float = 0.05,
    certificates: bool = True,
    which: str = "train",
    options: Options = Options(),
    say: Say = print,
) -> list[dict[str, Any]]:
    """Train, measure and certify every level; `DIR/curve.csv` grows row by row.

    The rows are returned: see `curve.COLUMNS`. Interrupted, it goes on where it stopped.
    """
    source = open_source(data)
    sample = sample_of(source, which, "train")
    asked = Asked(
        bound=sample_of(source, which, "bound"),
        holdout=_holdout_apart(source, sample, say),
        trained=training_sample(source),
        delta=delta,
        certificates=certificates,
        options=options,
    )
    rows = []
    drawn = draw_tickets(
        model, sample, out, settings, recipe,
        seeds=seeds, trainer=trainer, stage=options.stage, say=say,
    )  # fmt: skip
    for level in drawn:
        rows.append(measure_level(level, asked, say))
        write_bytes(Path(out) / CURVE, as_csv(rows))
    return rows


def _require_some_left(settings: Lottery, model: Architecture) -> None:
    """InputError where the last level would have no weight."""
    names = prunable_names(model.module, settings.include, settings.exclude)
    total = sum(model.module.get_parameter(name).numel() for name in names)
    if removal_count(level_sparsity(settings.levels, settings.fraction), total) >= total:
        raise InputError(
            f"--levels {settings.levels} at --fraction {settings.fraction:g}: leave none of the "
            f"{total} prunable weights: expected fewer levels"
        )


def _holdout_apart(source: Source, sample: Sample, say: Say) -> Sample | None:
    """The test sample, where there is one that the levels are not trained on."""
    holdout = test_sample(source)
    if holdout is None:
        return None
    shared, equal = shared_rows(sample, holdout), equal_rows(sample, holdout)
    if shared or equal > EQUAL_SHARE * holdout.n:
        say(f"no hold-out: {max(shared, equal)} rows of {holdout.name} were trained on")
        return None
    return holdout


def _link(link: Path, folder: Path) -> None:
    """`link` leads to `folder` from now on; the folder it led to before stays where it is."""
    if link.exists() and not link.is_symlink():
        raise InputError(f"{link}: is not one of our links: expected a new --out")
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(folder, link.parent))
    os.replace(fresh, link)
