"""The two files that a sweep ends in: `table.csv` and `evidence.zip`, the same bytes each time."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prunecert.files import write_bytes
from prunecert.sweep.rows import AXES, STATEMENTS
from prunecert.types import InputError

TABLE, EVIDENCE = "table.csv", "evidence.zip"
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
    *(f"measure.{name}" for name in STATEMENTS),
    "seconds",
    "commit",
    "command",
)


def assemble(root: Path, rows: Sequence[Mapping[str, Any]], command: str) -> tuple[Path, Path]:
    """Write both files from the rows, in their order."""
    evidence = write_bytes(root / EVIDENCE, evidence_zip(root, rows))
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


def evidence_zip(root: Path, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """`<network>.npz` once for each network, as it was first measured."""
    buffer = io.BytesIO()
    told: set[str] = set()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # members are compressed
        for row in rows:
            if row["network"] in told:
                continue
            told.add(row["network"])
            file = root / row["evidence"]
            try:
                data = file.read_bytes()
            except OSError as error:
                raise InputError(f"{file}: cannot read it: {error.strerror}") from None
            archive.writestr(zipfile.ZipInfo(f"{row['network']}.npz", (1980, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()
