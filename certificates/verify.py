"""Check every record in this folder from its bytes: `make verify-certificates`.

Usage: python certificates/verify.py [DATA], DATA being the folder with `mnist` and `cifar10`
(default: ../shared/data beside the checkout). Exit 0 where all are valid.
"""

from __future__ import annotations

import sys
from pathlib import Path

from prunecert.api.verification import verify
from prunecert.certificate import CERTIFICATE, parse

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared" / "data"


def records() -> list[Path]:
    """The folders that hold a certificate, by name."""
    return sorted(path.parent for path in HERE.glob(f"*/{CERTIFICATE}"))


def data_of(folder: Path, shared: Path) -> str:
    """The data that a record is about: bundled ones by name, others by the folder's last name."""
    source = parse((folder / CERTIFICATE).read_bytes()).data.source
    return source if source == "digits" else str(shared / Path(source).name)


def main(arguments: list[str]) -> int:
    shared = Path(arguments[0]) if arguments else SHARED
    refused = 0
    for folder in records():
        verdict = verify(folder, data=data_of(folder, shared))
        refused += not verdict.valid
        print(f"{'valid  ' if verdict.valid else 'REFUSED'} {folder.name}: {verdict.sentence}")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
