"""A sweep's folder: its files are known by their hash, and what is damaged is found out."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prunecert.api.runs import load_state
from prunecert.files import write_bytes
from prunecert.models.weights import load_tensors
from prunecert.results import read_evidence
from prunecert.types import InputError

RUNS, DENSE, LOCKS = "runs", "dense", "locks"
FILES = "sha256_of_files"  # in a record: path from the sweep's folder → sha256
OWN = "sha256_of_this"  # and the hash of all else in it
Say = Callable[[str], None]


class Damaged(Exception):
    """What a folder holds is not what was written there."""


def sha256_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_record(root: Path, file: Path, content: Mapping[str, Any], files: list[Path]) -> None:
    """JSON that names the files it speaks of with their hashes, and carries its own; written
    after them."""
    whole = {**content, FILES: {str(f.relative_to(root)): sha256_of(f) for f in files}}
    text = json.dumps({**whole, OWN: _own_hash(whole)}, indent=1, sort_keys=True, allow_nan=False)
    write_bytes(file, (text + "\n").encode())


def read_record(root: Path, file: Path) -> dict[str, Any] | None:
    """What `write_record` wrote, None where there is no such file; Damaged where the file, or one
    that it speaks of, is not whole."""
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        whole = found.pop(OWN) == _own_hash(found)
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError, OSError):
        whole = False
    if not whole:
        raise Damaged(f"{file.name} is not what was written")
    for name, expected in found[FILES].items():
        try:
            same = sha256_of(root / name) == expected
        except OSError:
            raise Damaged(f"{name} is not there") from None
        if not same:
            raise Damaged(f"{name} is not what was written")
    return found


def _own_hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_begun(root: Path, place: Path) -> None:
    """Damaged where a file of an unfinished run cannot be read."""
    for file in sorted(place.rglob("*")):
        if file.is_file() and not _readable(root, file):
            raise Damaged(f"{file.relative_to(place)} cannot be read")


def remove_leftovers(place: Path) -> None:
    """What a killed process left half-written, under a hidden name."""
    for file in place.rglob(".*.*"):  # as `write_bytes` calls them
        if file.is_file():
            file.unlink()


def _readable(root: Path, file: Path) -> bool:
    try:
        if file.suffix == ".json":
            if FILES in json.loads(file.read_text()):
                read_record(root, file)
        elif file.suffix == ".safetensors":
            load_tensors(file)
        elif file.suffix == ".npz":
            read_evidence(file)
        elif file.suffix == ".pt":
            return load_state(file) is not None
    except (InputError, ValueError, TypeError, OSError):
        return False
    return True


def whole_or_cleared(root: Path, place: Path, record: Path, say: Say) -> dict[str, Any] | None:
    """The record of a finished folder; None where there is work to do. A damaged folder is
    emptied, which is said, and made again."""
    remove_leftovers(place)
    try:
        found = read_record(root, record)
        if found is None:
            check_begun(root, place)
        return found
    except Damaged as reason:
        say(f"{place}: damaged ({reason}): done again")
        shutil.rmtree(place)
        return None


def is_disk_full(error: BaseException | None) -> bool:
    """Whether there was no space left behind this error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False
