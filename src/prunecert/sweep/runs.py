"""One run: idempotent, killed at any moment and taken up again, never done twice."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from prunecert.api.ladder import Pruning, ladder, rung_label
from prunecert.api.lottery import draw_tickets
from prunecert.api.networks import Network, open_network
from prunecert.api.runs import CONFIG, MODEL, Recipe, train_run
from prunecert.files import locked, write_bytes
from prunecert.progress import Stage, Tick, quiet
from prunecert.pruning.lottery import level_sparsity
from prunecert.sweep.config import IMP, RunConfig
from prunecert.sweep.folders import (
    DENSE,
    FILES,
    LOCKS,
    RUNS,
    Damaged,
    Say,
    read_record,
    whole_or_cleared,
    write_record,
)
from prunecert.sweep.rows import axes, measured
from prunecert.sweep.subjects import Subject, subject_of

RESULT, TRAINED = "result.json", "trained.json"
NETWORKS = "networks"  # the ladder's folder, in a run's


def result_of(subject: Subject, root: Path) -> list[dict[str, Any]] | None:
    """The rows of a run that is finished and whole; None of any other."""
    try:
        found = read_record(root, root / RUNS / subject.run_id / RESULT)
    except Damaged:
        return None
    return None if found is None else list(found["rows"])


def unheard(line: str) -> None:
    """Where nobody listens to what a run says."""


@dataclass(frozen=True)
class Made:
    """A network that a run made, the sparsity that was asked for, the seconds it took to make."""

    network: Network
    sparsity: float
    seconds: float


def run_one(
    config: RunConfig, root: str | Path, stage: Stage = quiet, say: Say = unheard
) -> list[dict[str, Any]]:
    """The rows of one run, densest first; done now, or read where it was done before.

    The run's folder is locked while it is at work. What is left of a killed run is used; what is
    damaged is made again, and `say` is told.
    """
    place = Path(root).resolve()
    subject = subject_of(config)
    folder = place / RUNS / subject.run_id
    with locked(place / LOCKS / f"run-{subject.run_id}"):
        found = whole_or_cleared(place, folder, folder / RESULT, say)
        if found is None:
            write_bytes(folder / CONFIG, (config.canonical() + "\n").encode())
            found = _done(subject, place, folder, stage, say)
    return list(found["rows"])


def _done(subject: Subject, root: Path, folder: Path, stage: Stage, say: Say) -> dict[str, Any]:
    """Do the run and record it."""
    with locked(root / LOCKS / f"dense-{subject.dense_id}"):
        network, record = _dense(subject, root, stage, say)
    records, files = [(0.0, record)], [folder / CONFIG]
    make = _imp_networks if subject.config.method == IMP else _rungs
    for made in make(subject, network, folder / NETWORKS, stage):
        name = folder / made.network.sha256[:16]
        files.append(Path(made.network.name))
        records.append((made.sparsity, _measured(made, subject, root, name, stage)))
    common = {"run": subject.run_id, "commit": commit()}
    rows = [common | axes(subject, sparsity) | record["row"] for sparsity, record in records]
    files += [root / name for _, record in records for name in record[FILES]]
    write_record(root, folder / RESULT, {"rows": rows, "config": asdict(subject.config)}, files)
    return {"rows": rows}


def _dense(subject: Subject, root: Path, stage: Stage, say: Say) -> tuple[Network, dict[str, Any]]:
    """The dense network and its record: trained once for all runs that start from it, measured
    once for all that measure the same of it."""
    folder = root / DENSE / subject.dense_id
    record = folder / f"measured-{subject.measuring_id}.json"

    trained = whole_or_cleared(root, folder, folder / TRAINED, say)
    started = time.monotonic()
    network = train_run(subject.model, subject.train, subject.recipe, folder, stage)
    if trained is None:
        trained = {"seconds": time.monotonic() - started}
        write_record(root, folder / TRAINED, trained, [folder / MODEL])
    made = Made(network, 0.0, trained["seconds"])
    try:
        return network, _measured(made, subject, root, record.with_suffix(""), stage)
    except Damaged as reason:
        say(f"{folder}: damaged ({reason}): measured again")
        record.unlink()
        return network, _measured(made, subject, root, record.with_suffix(""), stage)


def _rungs(subject: Subject, network: Network, place: Path, stage: Stage) -> Iterator[Made]:
    """The dense network pruned in one step after the other, retrained where that is asked for."""
    config = subject.config
    if not config.sparsities:
        return
    rule = Pruning(config.method, config.scope, seed=config.seed)
    recipe = None
    if config.retrain_epochs:
        recipe = Recipe(**asdict(subject.recipe) | {"steps": f"{config.retrain_epochs}ep"})
    clock = Stopwatch(stage)
    ladder(
        network, config.sparsities, place, rule, sample=subject.train, recipe=recipe, stage=clock
    )
    for sparsity in config.sparsities:
        label = rung_label(sparsity, "")
        network = open_network(place / f"{label}.safetensors", subject.model)
        yield Made(network, sparsity, clock.seconds.get(f"retraining at {label}", 0.0))


def _imp_networks(subject: Subject, network: Network, place: Path, stage: Stage) -> Iterator[Made]:
    """The levels of a lottery above its dense one, which is `network` again with a checkpoint."""
    config, settings = subject.config, subject.lottery
    drawn = draw_tickets(
        subject.model.spec, subject.train, place, settings, subject.recipe,
        seeds=(config.seed,), stage=stage, say=unheard,
    )  # fmt: skip
    for level in drawn:
        if level.number:
            sparsity = round(level_sparsity(level.number, settings.fraction), 6)
            yield Made(level.network, sparsity, level.seconds)


def _measured(made: Made, subject: Subject, root: Path, name: Path, stage: Stage) -> dict[str, Any]:
    """The record of a network at NAME.json, its evidence at NAME.npz; read where it stands."""
    record, evidence = name.with_suffix(".json"), name.with_suffix(".npz")
    found = read_record(root, record)
    if found is None:
        started = time.monotonic()
        row, data = measured(made.network, subject, stage)
        write_bytes(evidence, data)
        row["evidence"] = str(evidence.relative_to(root))
        row["seconds"] = round(made.seconds + time.monotonic() - started, 3)
        write_record(root, record, {"row": row}, [Path(made.network.name), evidence])
        found = read_record(root, record)
    assert found is not None
    return found


@dataclass
class Stopwatch:
    """A stage that also notes how long each piece of work took."""

    stage: Stage
    seconds: dict[str, float] = field(default_factory=dict)

    def __call__(self, name: str, total: int) -> AbstractContextManager[Tick]:
        return self._timed(name, total)

    @contextmanager
    def _timed(self, name: str, total: int) -> Iterator[Tick]:
        started = time.monotonic()
        with self.stage(name, total) as tick:
            yield tick
        self.seconds[name] = time.monotonic() - started


@cache
def commit() -> str:
    """The git commit of these sources, with -dirty where they were changed since; empty where
    they are not under git."""
    here = Path(__file__).parents[1]
    ask = ("git", "-C", str(here))
    try:
        subprocess.run([*ask, "ls-files", "--error-unmatch", "__init__.py"], check=True,
                       capture_output=True)  # fmt: skip
        described = [*ask, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(described, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
