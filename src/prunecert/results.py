"""The other files: `evidence.npz` (what was measured), archives of many, and `results.json` (what a
run found)."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from prunecert.files import write_bytes
from prunecert.types import PARTS, Evidence, InputError, part_fields

HEADER = "header.json"
MEMBER = ".npz"  # how the files of an archive end
KEYS = ("title", "summary", "networks", "bounds", "diagnostics", "figures", "commands")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the only date in the archive: same evidence, same bytes


def evidence_bytes(parts: Evidence, header: Mapping[str, Any]) -> bytes:
    """An .npz of all arrays, with a JSON header of everything else."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    plain: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        for field, value in part_fields(part).items():
            if isinstance(value, np.ndarray):
                arrays[f"{name}.{field}"] = value
            else:
                plain.setdefault(name, {})[field] = value
        plain.setdefault(name, {})
    text = json.dumps({**header, "parts": plain}, indent=2, sort_keys=True, allow_nan=False)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(HEADER, _EPOCH), text.encode())
        for name, array in sorted(arrays.items()):
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _EPOCH), "w") as stream:
                np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def read_evidence(path: str | Path | BinaryIO) -> tuple[dict[str, Any], dict[str, Any]]:
    """(parts by name, header) of an evidence file; InputError when it is not one."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(HEADER))
            arrays = {
                name[: -len(".npy")]: np.lib.format.read_array(
                    archive.open(name), allow_pickle=False
                )
                for name in archive.namelist()
                if name.endswith(".npy")
            }
        plain = header.pop("parts")
        return {name: _part(name, plain[name], arrays) for name in plain}, header
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: expected evidence written by prunecert") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(
            f"{path}: not an evidence file ({error}): expected evidence.npz"
        ) from error


def _part(name: str, plain: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
    cls = PARTS[name.partition("@")[0]]
    values = dict(plain)
    for field in fields(cls):
        if f"{name}.{field.name}" in arrays:
            values[field.name] = arrays[f"{name}.{field.name}"]
    if isinstance(values.get("names"), list):
        values["names"] = tuple(values["names"])
    return cls(**values)


def archive_bytes(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Evidence files of many networks as one .tar.xz, by name; same members, same bytes.

    Compressed as a whole: what one network's file has in common with the next costs next to
    nothing.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=6) as archive:
        for name, data in members:
            entry = tarfile.TarInfo(f"{name}{MEMBER}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def archive_members(path: str | Path) -> Iterator[tuple[str, bytes]]:
    """(name, evidence file) of every member, in order and one at a time: an archive may be larger
    than memory. InputError where it is none, or is cut short."""
    try:
        with tarfile.open(path, mode="r|xz") as archive:
            for entry in archive:
                held = archive.extractfile(entry) if entry.name.endswith(MEMBER) else None
                if held is not None:
                    yield entry.name.removesuffix(MEMBER), held.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: expected the evidence of a sweep") from None
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise InputError(f"{path}: not an archive of evidence ({error})") from None


def write_results(path: str | Path, results: Mapping[str, Any]) -> Path:
    """`results.json` of a run: networks, bounds, diagnostics, figures."""
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return write_bytes(path, text.encode())


def read_results(path: str | Path) -> dict[str, Any]:
    """`results.json` of a run folder (or the file itself)."""
    file = Path(path)
    file = file / "results.json" if file.is_dir() else file
    try:
        found = json.loads(file.read_text(), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: expected results.json of a run") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{file}: not readable as JSON ({error})") from error
    if not isinstance(found, dict) or (found and not found.keys() & set(KEYS)):
        raise InputError(f"{file}: expected a JSON object with networks, bounds or figures")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
