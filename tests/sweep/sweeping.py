"""A sweep of tiny networks, the lines that start it, and what is left when it is killed."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prunecert.sweep.config import RunConfig, config_of

TINY: dict[str, Any] = {
    "model": "mlp",
    "depth": 1,
    "width": 8,
    "data": "digits",
    "n": 200,
    "test_rows": 100,
    "epochs": 2,
    "sparsities": [0.5, 0.9],
    "retrain_epochs": 1,
}
RUN = "import sys; from prunecert.cli.app import main; main()"


def tiny(**changed: Any) -> RunConfig:
    return config_of(TINY | changed)


def toml(grid: dict[str, Any], **changed: Any) -> str:
    """The file of a sweep of tiny networks."""
    run = {key: value for key, value in (TINY | changed).items() if key not in grid}

    def lines(table: dict[str, Any]) -> str:
        return "".join(f"{key} = {_literal(value)}\n" for key, value in table.items())

    return f"[run]\n{lines(run)}\n[grid]\n{lines(grid)}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def start(*arguments: Any, **environment: str) -> subprocess.Popen[str]:
    """`prunecert sweep …` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, "sweep", *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows_of(out: Path) -> list[dict[str, str]]:
    """`table.csv` without what may differ between two makings of it."""
    with (out / "table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        assert float(row.pop("seconds")) >= 0
        del row["commit"], row["command"]
    return rows


def results(out: Path) -> dict[str, tuple[int, int]]:
    """Every finished run and the very file that says so: written again, it would be another."""
    found = {}
    for file in out.glob("runs/*/result.json"):
        facts = file.stat()
        found[file.parent.name] = (facts.st_ino, facts.st_mtime_ns)
    return found


def workers_of(out: Path) -> list[int]:
    """Processes that work for this sweep."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"prunecert.sweep.worker" in line and os.fsencode(out) in line:
            found.append(int(entry.name))
    return found


def gone(out: Path, seconds: float = 10.0) -> bool:
    """Whether no worker of this sweep is left, soon."""
    end = time.monotonic() + seconds
    while workers_of(out):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
