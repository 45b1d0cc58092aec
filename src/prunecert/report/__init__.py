"""One static page from the `results.json` of one or more runs; it reads nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prunecert.files import write_bytes
from prunecert.report.contents import read_run
from prunecert.report.page import page_html
from prunecert.types import InputError

__all__ = ["write_report"]


def write_report(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Write one self-contained page (no scripts, no network) about `runs`, in the order given.

    Each run is a folder with a `results.json`, or that file. The same files give the same bytes.
    Raises InputError, naming file and field, when one of them is missing or malformed.
    """
    if not runs:
        raise InputError("report: no run given: expected at least one folder with results.json")
    return write_bytes(out, page_html([read_run(run) for run in runs]).encode())
