"""From configurations to rows: what is done is read, the rest is handed out in a good order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from prunecert.progress import Stage, quiet
from prunecert.sweep.answers import Engine
from prunecert.sweep.config import RunConfig, differing
from prunecert.sweep.folders import LOCKS, Say
from prunecert.sweep.local import run_local
from prunecert.sweep.runs import result_of, unheard
from prunecert.sweep.subjects import subject_of
from prunecert.types import InputError

Rows = list[dict[str, Any]]


@dataclass
class Collected:
    """Where a sweep stands: rows by the index of their run, and why others have none."""

    rows: dict[int, Rows] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    done_now: int = 0

    def in_order(self) -> Rows:
        """All rows, in the order of the runs."""
        return [row for index in sorted(self.rows) for row in self.rows[index]]


def run_all(
    configs: Sequence[RunConfig],
    root: str | Path,
    engine: str = "local",
    workers: int | None = None,
    stage: Stage = quiet,
    *,
    say: Say = unheard,
    varied: tuple[str, ...] = (),
    address: str | None = None,
    collected: Collected | None = None,
) -> Collected:
    """Every run, done once. What goes wrong in one is told and kept, and the others go on; a full
    disk ends the sweep (InputError).

    `say` hears of damage and refusals as they happen; `varied` are the keys that runs are called
    by. `collected` is filled as runs end, so that an interrupted caller has what there is.
    """
    place = Path(root).resolve()
    found = Collected() if collected is None else collected
    run_them = engine_named(engine, address)

    try:
        (place / LOCKS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place}: cannot write there: {error.strerror}") from None

    def refuse(index: int, why: str) -> None:
        found.failed[index] = f"{differing(configs[index], varied)}: {why}"
        say(found.failed[index])

    dense: dict[int, str] = {}
    with stage("runs", len(configs)) as tick:
        for index, config in enumerate(configs):
            try:
                subject = subject_of(config)
                rows = result_of(subject, place)
            except InputError as error:
                refuse(index, str(error))
                tick(1)
                continue
            if rows is None:
                dense[index] = subject.dense_id
            else:
                found.rows[index] = rows
                tick(1)
        order = queued(dense)
        with closing(run_them([configs[index] for index in order], place, workers)) as answers:
            for answer in answers:
                index = order[answer.index]
                if answer.kind == "said":
                    say(answer.content)
                    continue
                if answer.kind == "full":
                    raise InputError(
                        f"{answer.content}; the sweep stops: make space and give the same "
                        "command again, finished runs are kept"
                    )
                if answer.kind == "refused":
                    refuse(index, answer.content)
                else:
                    found.rows[index] = answer.content
                    found.done_now += 1
                tick(1)
    return found


def queued(dense: dict[int, str]) -> list[int]:
    """Runs by index, those first that train another dense network than the ones before them."""
    seen: set[str] = set()
    first = []
    for index, name in dense.items():
        if name not in seen:
            seen.add(name)
            first.append(index)
    chosen = set(first)
    return first + [index for index in dense if index not in chosen]


def engine_named(name: str, address: str | None) -> Engine:
    """The engine; InputError for a name that is none, or an address that it has no use for."""
    if name == "ray":
        from prunecert.sweep.on_ray import run_on_ray

        return partial(run_on_ray, address=address)
    if name != "local":
        raise InputError(f"--engine {name}: expected local or ray")
    if address is not None:
        raise InputError("--address: goes with --engine ray")
    return run_local
