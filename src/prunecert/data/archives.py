"""Arrays in `.npz` files: nothing is ever unpickled, and every error names the file and array."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunecert.types import InputError
from prunecert.user_code import in_one_line


def array_names(path: Path) -> list[str]:
    """Names of the arrays in the file, which are not read."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a .npz file")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a readable .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return list(archive.files)
    except Exception as error:  # numpy and zipfile raise a dozen kinds on a broken file
        raise InputError(f"{path}: not a readable .npz file ({in_one_line(error)})") from error


def read_array(path: Path, name: str) -> NDArray[np.generic]:
    """One array of the file; the others are not read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[name])
    except Exception as error:
        raise InputError(f"{path}: {name}: cannot be read ({in_one_line(error)})") from error


def read_inputs(path: Path, name: str) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Inputs (n, …): uint8 as they are, any float as float32."""
    values = read_array(path, name)
    if values.ndim < 2 or values.dtype != np.uint8 and values.dtype.kind != "f":
        raise InputError(
            f"{path}: {name}: expected uint8 or floats of shape (n, ...), "
            f"found {values.dtype} of shape {values.shape}"
        )
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is refused by row
        return values.astype(np.float32, copy=False)


def read_integers(path: Path, name: str, length: int | None = None) -> NDArray[np.int64]:
    """Integers of shape (n,), as int64; n must be `length` when that is given."""
    values = read_array(path, name)
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise InputError(
            f"{path}: {name}: expected integers of shape (n,), "
            f"found {values.dtype} of shape {values.shape}"
        )
    if length is not None and len(values) != length:
        raise InputError(f"{path}: {name}: expected {length} entries, found {len(values)}")
    return values.astype(np.int64)
