"""What a sweep ends in: `table.csv` and `evidence.tar.xz`, the same bytes each time."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prunecert.files import write_bytes
from prunecert.results import archive_bytes
from prunecert.sweep.rows import AXES, STATEMENTS
from prunecert.types import InputError

TABLE, EVIDENCE = "table.csv", "evidence.tar.xz"
COLUMNS = (
    "run",
    "network",
    *(f"axis.{name}" for name in AXES),
    "n",
    "train_errors",
    "test_n",
    "test_errors",
    "gap",
    "sparsity",
    "nonzeros",
    "parameters",
    "code_bits",
    *(f"measure.{name}" for name in STATEMENTS),
    "seconds",
    "commit",
    "command",
)


def assemble(root: Path, rows: Sequence[Mapping[str, Any]], command: str) -> tuple[Path, Path]:
    """Write both files from the rows, in their order."""
    evidence = write_bytes(root / EVIDENCE, evidence_archive(root, rows))
    return write_bytes(root / TABLE, table_csv(rows, command)), evidence


def table_csv(rows: Sequence[Mapping[str, Any]], command: str) -> bytes:
    """One line for each network; empty where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        told = {**row, "command": command}
        writer.writerow(["" if (v := told.get(name)) is None else v for name in COLUMNS])
    return text.getvalue().encode()


def evidence_archive(root: Path, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """`<network>.npz` once for each network, as it was first measured."""
    files = {row["network"]: root / row["evidence"] for row in reversed(rows)}
    order = dict.fromkeys(row["network"] for row in rows)
    return archive_bytes((network, _read(files[network])) for network in order)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot read it: {error.strerror}") from None
