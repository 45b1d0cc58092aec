"""Predictions made elsewhere, in place of a network: `--predictions P.npz`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunecert.data.archives import array_names, read_array, read_integers
from prunecert.types import InputError

ABSTAINS = -1  # the prediction ⊥: no class, so always an error
MOST_CLASSES = 100_000  # counts per class are kept in memory


@dataclass(frozen=True)
class Predictions:
    """Predicted classes (n,), −1 where none was decided; true labels (n,) or None; file hash."""

    source: str
    predicted: NDArray[np.int64] = field(repr=False)
    labels: NDArray[np.int64] | None = field(repr=False)
    sha256: str

    @property
    def n(self) -> int:
        return len(self.predicted)

    def errors_mask(self) -> NDArray[np.bool_]:
        """True where the prediction is wrong, shape (n,).

        With logits this is "margin ≤ 0": a tie at the top predicts ⊥, which no label equals.
        Raises InputError when the file has no labels.
        """
        if self.labels is None:
            raise InputError(f"{self.source}: labels: missing; errors can only be counted with it")
        return np.not_equal(self.predicted, self.labels)


def predictions(path: str | Path) -> Predictions:
    """Reads `predictions` (n,) integers or `logits` (n, K), and `labels` (n,) where they exist.

    A prediction is a class ≥ 0, or −1 for none. Raises InputError naming the file and the array.
    """
    path = Path(path)
    names = array_names(path)
    given = {"predictions", "logits"} & set(names)
    if len(given) != 1:
        raise InputError(
            f"{path}: expected an array 'predictions' or 'logits', and not both; "
            f"found {', '.join(names) or 'none'}"
        )
    if given == {"logits"}:
        logits = _read_logits(path)
        predicted, classes = _decided(logits), logits.shape[1]
    else:
        predicted, classes = read_integers(path, "predictions"), MOST_CLASSES
        _refuse_outside(predicted, ABSTAINS, MOST_CLASSES, f"{path}: predictions")
    if not len(predicted):
        raise InputError(f"{path}: {given.pop()}: expected at least one row, found none")
    labels = None
    if "labels" in names:
        labels = read_integers(path, "labels", len(predicted))
        _refuse_outside(labels, 0, classes, f"{path}: labels")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Predictions(str(path), predicted, labels, digest)


def _read_logits(path: Path) -> NDArray[np.generic]:
    logits = read_array(path, "logits")
    if logits.dtype.kind not in "iuf" or logits.ndim != 2 or logits.shape[1] < 2:
        raise InputError(
            f"{path}: logits: expected numbers of shape (n, K) with K of at least 2, "
            f"found {logits.dtype} of shape {logits.shape}"
        )
    wrong = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(wrong):
        raise InputError(f"{path}: logits: row {wrong[0]}: expected finite numbers")
    return logits


def _decided(logits: NDArray[np.generic]) -> NDArray[np.int64]:
    """The class with the largest logit, ⊥ when another one is as large."""
    largest = logits.max(axis=1, keepdims=True)
    tied = (logits == largest).sum(axis=1) > 1
    return np.where(tied, ABSTAINS, logits.argmax(axis=1)).astype(np.int64)


def _refuse_outside(values: NDArray[np.int64], low: int, classes: int, where: str) -> None:
    wrong = np.flatnonzero((values < low) | (values >= classes))
    if len(wrong):
        raise InputError(
            f"{where}: row {wrong[0]}: expected {low} to {classes - 1}, found {values[wrong[0]]}"
        )
