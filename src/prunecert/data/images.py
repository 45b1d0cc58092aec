"""Hugging Face data sets of images, decoded once and cached as uint8 arrays.

A local folder is read from its files alone; only an `owner/name` goes to the hub.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunecert.data.splits import ArraySplit
from prunecert.files import write_bytes
from prunecert.types import InputError
from prunecert.user_code import in_one_line

Progress = Callable[[str, int], None]  # called with what is being decoded and the rows done so far
ROWS_PER_PROGRESS = 1000
CACHE_FORMAT = "prunecert images 1"
CHANNELS = {"L": 1, "RGB": 3}


def folder_digest(folder: Path) -> str:
    """sha256 over the names, sizes and contents of the folder's files, hidden folders left out."""
    digest = hashlib.sha256()
    names = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    for name in sorted(names, key=Path.as_posix):
        if any(part.startswith(".") for part in name.parts[:-1]):
            continue
        path = folder / name
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{name.as_posix()}\0{path.stat().st_size}\0{content}\n".encode())
    return digest.hexdigest()


def read_images(
    spec: str, origin: str, local: bool, progress: Progress | None, split: str
) -> ArraySplit | None:
    """One split as uint8 NCHW and int64 labels, from the cache when it is there and whole.

    `origin` names the source's content and is the key of the cache. None when the data set has no
    such split. A hub id is cached under its name: delete the cache to follow a change on the hub.
    """
    key = hashlib.sha256(f"{CACHE_FORMAT}\0{origin}".encode()).hexdigest()[:32]
    path = cache_folder() / f"{key}-{split}.npz"
    arrays = _read_cache(path)
    if arrays is None:
        decoded = _decode(spec, split, local, progress)
        if decoded is None:
            return None
        arrays = decoded
        _write_cache(path, arrays)
    where = f"{spec} {split}"
    classes = int(arrays["classes"])
    return ArraySplit(arrays["images"], arrays["labels"], where, where, classes, scaled=True)


# --------------------------------------------------------------------------- decoding


def _decode(
    spec: str, split: str, local: bool, progress: Progress | None
) -> dict[str, NDArray[Any]] | None:
    try:
        import datasets
        import PIL  # noqa: F401  (the images are opened with it)
    except ImportError as error:
        raise InputError(
            f"{spec}: Hugging Face data sets need a missing package: pip install 'prunecert[hf]'"
        ) from error
    try:
        with _offline(Path(spec)) if local else nullcontext() as scratch:
            # Streaming a local folder reads one split and leaves no copy behind.
            splits = datasets.load_dataset(spec, streaming=local, cache_dir=scratch)
            if split not in splits:
                return None
            return _decode_rows(splits[split], f"{spec} {split}", progress)
    except InputError:
        raise
    except Exception as error:  # the library raises many kinds, its readers more
        hint = "" if local else "not a folder here, and not readable from the hub: "
        raise InputError(f"{spec}: {hint}{in_one_line(error)}") from error


def _decode_rows(rows: Any, where: str, progress: Progress | None) -> dict[str, NDArray[Any]]:
    import datasets

    image = _column(rows.features, datasets.Image, where)
    label = _column(rows.features, datasets.ClassLabel, where)
    classes = rows.features[label].num_classes
    rows = rows.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
    pixels, labels, shape = bytearray(), [], None
    for index, row in enumerate(rows):
        array = _decode_image(row[image], f"{where} row {index}")
        shape = shape or array.shape
        if array.shape != shape:
            raise InputError(f"{where} row {index}: expected shape {shape}, found {array.shape}")
        pixels += array.tobytes()
        labels.append(row[label])
        if progress is not None and (index + 1) % ROWS_PER_PROGRESS == 0:
            progress(where, index + 1)
    if shape is None:
        raise InputError(f"{where}: expected at least one row, found none")
    return {
        "images": np.frombuffer(pixels, dtype=np.uint8).reshape(-1, *shape),
        "labels": np.array(labels, dtype=np.int64),
        "classes": np.array(classes),
    }


def _column(features: Any, kind: type, where: str) -> str:
    found = [name for name, feature in (features or {}).items() if isinstance(feature, kind)]
    if len(found) == 1:
        return str(found[0])
    columns = ", ".join(f"{name} ({type(f).__name__})" for name, f in (features or {}).items())
    raise InputError(
        f"{where}: expected exactly one {kind.__name__} column, found {len(found)} in: {columns}"
    )


def _decode_image(stored: Any, where: str) -> NDArray[np.uint8]:
    """Shape (1, h, w) for grey, (3, h, w) for colour."""
    from PIL import Image

    file = io.BytesIO(stored["bytes"]) if stored["bytes"] is not None else stored["path"]
    with Image.open(file) as picture:
        if picture.mode not in CHANNELS:
            raise InputError(f"{where}: expected a grey or RGB image, found mode {picture.mode}")
        pixels = np.asarray(picture, dtype=np.uint8)
        return pixels.reshape(*pixels.shape[:2], CHANNELS[picture.mode]).transpose(2, 0, 1)


@contextmanager
def _offline(folder: Path) -> Iterator[str]:
    """No network for a local folder; yields a scratch folder for the library's lock files."""
    import datasets.config
    import huggingface_hub.constants

    _refuse_remote_files(folder)
    modules: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [module.HF_HUB_OFFLINE for module in modules]
    for module in modules:
        module.HF_HUB_OFFLINE = True
    try:
        with tempfile.TemporaryDirectory() as scratch:
            yield scratch
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def _refuse_remote_files(folder: Path) -> None:
    """A folder's card may point to files elsewhere, which the library would fetch."""
    import yaml

    for name in ("README.md", ".huggingface.yaml"):
        if not (folder / name).is_file():
            continue
        text = (folder / name).read_text(encoding="utf-8")
        if name == "README.md":  # the front matter stands between two lines of dashes
            text = text.split("\n---", 1)[0].removeprefix("---") if text.startswith("---") else ""
        card = yaml.safe_load(text)
        if isinstance(card, dict) and "://" in str(card.get("configs")):
            raise InputError(f"{folder / name}: configs: expected files in the folder, found a URL")


# --------------------------------------------------------------------------- cache


def cache_folder() -> Path:
    """`$PRUNECERT_CACHE`, or `~/.cache/prunecert`."""
    chosen = os.environ.get("PRUNECERT_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "prunecert"


def _read_cache(path: Path) -> dict[str, NDArray[Any]] | None:
    """None when the file is not there or anything is wrong with it: it is then decoded again."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # checks every CRC; numpy alone may stop before
                return None
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("images", "labels", "classes")}
    except Exception:
        return None


def _write_cache(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    try:
        write_bytes(path, file.getvalue())
    except (InputError, OSError) as error:
        raise InputError(f"{in_one_line(error)}; PRUNECERT_CACHE names another folder") from error
