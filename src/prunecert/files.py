"""Files appear whole or not at all."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prunecert.types import InputError


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a file under a temporary name beside it, then give it its own: never half of it.

    Missing folders are made. Raises InputError where nothing can be written.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{target}: is a folder: expected the name of a file to write")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise InputError(f"{target}: cannot write it: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):  # a full disk, say
            raise InputError(f"{target}: cannot write it: {error.strerror}") from None
        raise
    return target


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time in `folder`; the lock goes with its process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(f"{folder}: cannot write there: {error.strerror}") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
