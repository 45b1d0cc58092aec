r"""The study's sweeps as one table and one archive, for `prunecert study`.

    for s in digits mnist cifar10 cifar10-conv; do prunecert sweep docs/study/$s.toml; done
    python benchmarks/study.py --work runs/study --out docs/study
    prunecert study docs/study/networks.csv.xz --evidence docs/study/evidence.tar.xz \
        --out docs/study

The measures and the length of the code are evaluated from the archive, so that it is known to hold
all they need. Columns that are empty in every row are left out, and the settings of one pruning
method that had but one value; nothing else is changed.
"""

from __future__ import annotations

import argparse
import csv
import io
import lzma
from collections.abc import Iterator
from pathlib import Path

from prunecert.files import write_bytes
from prunecert.results import archive_bytes, archive_members, read_evidence
from prunecert.sweep.rows import statements
from prunecert.sweep.table import COLUMNS

SWEEPS = ("digits", "mnist", "cifar10", "cifar10-conv")
DELTA = 0.05
TABLE, EVIDENCE = "networks.csv.xz", "evidence.tar.xz"


def rows(work: Path) -> list[dict[str, str]]:
    """The rows of all sweeps, in their order; a data set goes by its own name wherever it lies."""
    found = []
    for sweep in SWEEPS:
        with (work / sweep / "table.csv").open(newline="") as file:
            found += list(csv.DictReader(file))
    told = {network: read_from(data) for network, data in members(work)}
    for row in found:
        row["axis.data"] = Path(row["axis.data"]).name
        for name in [name for name in row if name.startswith("measure.")]:
            row[name] = ""
        row |= told[row["network"]]
    return found


def read_from(evidence: bytes) -> dict[str, str]:
    """What the table says about a network beyond its training and its errors."""
    parts = read_evidence(io.BytesIO(evidence))[0]
    found = {"code_bits": parts["code"].bits, **statements(parts, DELTA)}
    return {name: str(value) for name, value in found.items()}


def as_csv(found: list[dict[str, str]]) -> bytes:
    names = [name for name in COLUMNS if kept(name, [row.get(name, "") for row in found])]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue().encode()


def kept(name: str, values: list[str]) -> bool:
    """Not an empty column, nor a setting that only some rows have and all of them alike."""
    given = set(values)
    return given != {""} and not (name.startswith("axis.") and "" in given and len(given) == 2)


def members(work: Path) -> Iterator[tuple[str, bytes]]:
    for sweep in SWEEPS:
        yield from archive_members(work / sweep / "evidence.tar.xz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--work", "--out"):
        parser.add_argument(option, required=True, type=Path)
    given = parser.parse_args()
    found = rows(given.work)
    table = write_bytes(given.out / TABLE, lzma.compress(as_csv(found)))
    archive = write_bytes(given.out / EVIDENCE, archive_bytes(members(given.work)))
    networks = len({row["network"] for row in found})
    seconds = sum(float(row["seconds"]) for row in found)
    print(f"{networks} networks, {len(found)} rows, {seconds:.0f} seconds of one thread")
    for file in (table, archive):
        print(f"{file}  {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
