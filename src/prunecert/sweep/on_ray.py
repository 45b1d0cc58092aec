"""The engine for more than one machine: one Ray task for each run, all on one shared folder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from prunecert.sweep.answers import ATTEMPTS, Answer, attempt
from prunecert.sweep.config import RunConfig, config_of
from prunecert.sweep.local import ONE_THREAD, cpus
from prunecert.types import InputError


def run_on_ray(
    configs: Sequence[RunConfig],
    root: Path,
    workers: int | None = None,
    address: str | None = None,
) -> Generator[Answer, None, None]:
    """The answers of all runs as they come. `address` is of a running cluster, whose machines see
    `root` and the data under the same paths; without it Ray starts one here, of `workers` CPUs."""
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray: needs Ray: pip install 'prunecert[ray]'") from None
    if not configs:
        return
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address, workers)
    task = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_attempt_there)
    here = os.getcwd()
    pending = {
        task.remote(index, config.canonical(), str(root), here): index
        for index, config in enumerate(configs)
    }
    try:
        while pending:
            (ready, *_), _ = ray.wait(list(pending), num_returns=1)
            index = pending.pop(ready)
            try:
                said, kind, content = ray.get(ready)
            except ray.exceptions.RayError as error:
                why = str(error).strip().splitlines()[0]
                said, kind, content = [], "refused", f"its worker died {ATTEMPTS} times ({why})"
            yield from (Answer(index, "said", line) for line in said)
            yield Answer(index, kind, content)
    finally:
        for left in pending:
            ray.cancel(left, force=True)
        if ours:
            ray.shutdown()


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": workers or cpus(), "include_dashboard": False}
    else:
        options |= {"address": address}
    try:
        ray.init(runtime_env={"env_vars": ONE_THREAD}, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"--address {address}: no Ray cluster to be reached: {first}") from None


def _attempt_there(index: int, config: str, root: str, folder: str) -> tuple[list[str], str, Any]:
    """A run in a Ray worker, from the driver's folder: paths in a configuration start there."""
    import torch

    torch.set_num_threads(1)
    os.chdir(folder)
    said: list[str] = []
    answer = attempt(index, config_of(json.loads(config)), Path(root), said.append)
    return said, answer.kind, answer.content
