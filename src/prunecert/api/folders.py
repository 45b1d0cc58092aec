"""Files of a stranger's folder: read only where they are plain files of a size they may have."""

from __future__ import annotations

from pathlib import Path

from prunecert.types import CodeError

LARGEST_TEXT = 1 << 24  # a certificate, a selection
LARGEST_EVIDENCE = 1 << 29  # margins of sixty million samples


def read(folder: Path, name: str, largest: int) -> bytes:
    """The bytes of a file in the folder; CodeError where there is no such file, or a larger one.

    Pipes and devices are not opened, and no more is read than the size announced: what has no end
    would be read for ever.
    """
    path = folder / name
    try:
        if not path.is_file():
            raise CodeError(f"{name}: no such file in {folder}")
        if (size := path.stat().st_size) > largest:
            raise CodeError(f"{name}: {size} bytes, expected at most {largest}")
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise CodeError(f"{name}: cannot be read ({error.strerror})") from None
