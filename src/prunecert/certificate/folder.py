"""The folder of a certificate: which files it may hold, written all or none."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from prunecert.types import InputError

CERTIFICATE, NETWORK, WEIGHTS = "certificate.json", "network.bin", "network.safetensors"
EVIDENCE, SELECTION, DENSE = "evidence.npz", "selection.json", "dense.bin"
PRIOR, POSTERIOR = "prior.bin", "posterior.bin"
ATTEMPTS = "attempts.csv"  # every certificate that a search computed on the way
FILES = (CERTIFICATE, NETWORK, WEIGHTS, EVIDENCE, SELECTION, DENSE, PRIOR, POSTERIOR, ATTEMPTS)


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def write_folder(folder: str | Path, files: Mapping[str, bytes]) -> Path:
    """All files or none: a sibling folder is filled, then takes the place of `folder`.

    Raises InputError where `check_folder` does, or nothing can be written.
    """
    target = check_folder(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(f"{target}: cannot write it: {error.strerror}") from None
    try:
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        os.chmod(fresh, 0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(fresh, target)
    except BaseException as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if isinstance(error, OSError):  # a full disk, say
            raise InputError(f"{target}: cannot write it: {error.strerror}") from None
        raise
    return target


def check_folder(folder: str | Path) -> Path:
    """InputError unless the folder is new, or holds nothing but an earlier certificate."""
    target = Path(folder)
    strangers: list[str] = []
    if target.is_dir():
        strangers = sorted({path.name for path in target.iterdir()} - set(FILES))
    if strangers or target.is_file():
        what = f"holds {strangers[0]!r}" if strangers else "is a file"
        raise InputError(f"{target}: {what}: expected a new folder or an earlier certificate")
    return target
