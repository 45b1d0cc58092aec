"""Where rows come from: `--data`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader

from prunecert.data.archives import array_names, read_inputs, read_integers
from prunecert.data.images import Progress, folder_digest, read_images
from prunecert.data.splits import ArraySplit, DatasetSplit, Split
from prunecert.data.text import read_text
from prunecert.types import InputError
from prunecert.user_code import in_one_line, is_function, load_function, on_path

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "test")
IN_MEMORY = "in memory"
DIGITS_TRAIN = 1197  # of 1,797, after a fixed permutation
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Source:
    """A data set with a `train` and a `test` split, either of which may be None.

    `origin` tells sources with the same stored rows from others, whatever path was typed. A split
    is read when it is first asked for, and the other one is then left alone.
    """

    spec: str
    origin: str
    read: Callable[[SplitName], Split | None] = field(repr=False, compare=False)

    @cached_property
    def train(self) -> Split | None:
        return self.read("train")

    @cached_property
    def test(self) -> Split | None:
        return self.read("test")

    @property
    def classes(self) -> int | None:
        """K where the source declares it; reads `train`, or `test` when there is no train."""
        split = self.test if self.train is None else self.train
        return None if split is None else split.classes


def load_source(spec: str, progress: Progress | None = None) -> Source:
    """The source that `--data` names.

    `digits` · `file.npz` with `x_train y_train x_test y_test` · `file.txt` with a document on each
    line (see `data.text`) · `file.py:function` or `package.module:function` returning
    `(train, test)` · a folder in the Hugging Face layout · a Hugging Face id `owner/name`, the only
    one that uses the network.

    Built-in sources deliver float32 (images NCHW, bytes divided by 255) and int64 labels. What a
    function's data sets yield goes to the model untouched. `progress(what, rows)` is called while
    images are decoded, which happens once: they are cached in `$PRUNECERT_CACHE`.

    Raises InputError, in one line, when the source is not there or not in its form. Rows
    themselves (finite inputs, labels in range) are checked as a sample reads them.
    """
    if spec == "digits":
        return Source(spec, spec, _read_digits)
    if spec.endswith(".npz"):
        return _npz_source(spec)
    if spec.endswith(".txt"):
        train, test, digest = read_text(Path(spec))
        return Source(spec, f"sha256:{digest}", {"train": train, "test": test}.get)
    if is_function(spec):
        return _function_source(spec)
    if spec and Path(spec).is_dir():
        origin = f"sha256:{folder_digest(Path(spec))}"
        return Source(spec, origin, partial(read_images, spec, origin, True, progress))
    if HUB_ID.fullmatch(spec):
        origin = f"hub:{spec}"
        return Source(spec, origin, partial(read_images, spec, origin, False, progress))
    raise InputError(
        f"{spec}: no such data; expected digits, FILE.npz, FILE.txt, FILE.py:FUNCTION, a folder, "
        "or an owner/name of the Hugging Face hub"
    )


def in_memory(rows: Any) -> Source:
    """Data the caller holds: arrays (x, y), a map-style data set, a loader of one (its data set, in
    its own order), or a pair of such for (train, test). What it yields goes to the model untouched.
    """
    pair = isinstance(rows, tuple | list) and len(rows) == 2 and not _is_array(rows[0])
    parts = dict(zip(SPLITS, rows if pair else (rows, None), strict=True))

    def read(split: SplitName) -> Split | None:
        part = parts[split]
        if isinstance(part, DataLoader):  # not whatever has a `dataset`: a Subset has one too
            part = part.dataset
        return None if part is None else _user_split(part, f"{split} data in memory", Path())

    return Source(IN_MEMORY, f"memory:{id(rows)}", read)


def _read_digits(split: SplitName) -> Split:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.RandomState(0).permutation(len(bunch.target))
    rows = order[:DIGITS_TRAIN] if split == "train" else order[DIGITS_TRAIN:]
    images = (bunch.images[rows] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    where = f"digits {split}"
    return ArraySplit(images, bunch.target[rows].astype(np.int64), where, where, classes=10)


def _npz_source(spec: str) -> Source:
    path = Path(spec)
    names = array_names(path)
    if not {"x_train", "x_test"} & set(names):
        raise InputError(
            f"{spec}: expected arrays x_train, y_train, x_test, y_test; found {', '.join(names)}"
        )
    with path.open("rb") as file:
        origin = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

    # K is what the training labels show: a test label beyond it is refused when it is read.
    shown = next((name for name in ("y_train", "y_test") if name in names), None)

    def read(split: SplitName) -> Split | None:
        x_name, y_name = f"x_{split}", f"y_{split}"
        if x_name not in names:
            return None
        x = read_inputs(path, x_name)
        y = read_integers(path, y_name, len(x)) if y_name in names else None
        classes = None if shown is None else int(read_integers(path, shown).max(initial=-1)) + 1
        scaled = x.dtype == np.uint8
        return ArraySplit(x, y, f"{spec}: {x_name}", f"{spec}: {y_name}", classes, scaled)

    return Source(spec, origin, read)


def _function_source(spec: str) -> Source:
    found = load_function(spec)
    folder = found.folder
    try:
        with on_path(folder):
            pair = found.function()
    except Exception as error:  # the user's code may raise anything
        raise InputError(f"{spec}: the function failed: {in_one_line(error)}") from error
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(
            f"{spec}: expected (train, test) to be returned, found {type(pair).__name__}"
        )

    def read(split: SplitName) -> Split | None:
        rows = pair[SPLITS.index(split)]
        return None if rows is None else _user_split(rows, f"{spec} {split}", folder)

    return Source(spec, str(folder / Path(spec).name), read)


def _user_split(rows: Any, where: str, folder: Path) -> Split:
    """A data set, or a pair of arrays."""
    if isinstance(rows, tuple) and len(rows) == 2 and all(_is_array(part) for part in rows):
        x, y = rows
        if y.ndim != 1 or x.ndim < 1 or len(x) != len(y):
            raise InputError(
                f"{where}: expected arrays x (n, ...) and y (n,), "
                f"found shapes {tuple(x.shape)} and {tuple(y.shape)}"
            )
        return ArraySplit(x, y, where, where)
    if not hasattr(rows, "__getitem__") or not hasattr(rows, "__len__"):
        raise InputError(
            f"{where}: expected a map-style data set (its length and its items by index), "
            f"found {type(rows).__name__}"
        )
    return DatasetSplit(rows, where, where, folder)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | torch.Tensor)
