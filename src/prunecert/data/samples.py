"""Samples: the slice of a split that a statement is about, its role and its hash."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.data.sources import SPLITS, Source
from prunecert.data.splits import Inputs, Split, fields, layout, map_inputs
from prunecert.types import InputError, Role

ROWS_PER_SCAN = 256
SLICE = re.compile(r"(train|test)(?:\[([0-9]{0,15}):([0-9]{0,15})\])?")


@dataclass(frozen=True)
class Scan:
    """What one pass over a sample establishes."""

    labels: NDArray[np.int64]  # (n,)
    sha256: str
    row_digests: list[bytes]  # n digests of 16 bytes


@dataclass(frozen=True)
class Sample:
    """Rows start … stop−1 of one split, in one role.

    In the role `unlabeled` labels are neither read nor checked, and stand as −1 everywhere.
    """

    source: str
    split: str
    start: int
    stop: int
    role: Role
    origin: str = field(repr=False)  # as in Source: the same for the same stored rows
    classes: int | None = field(repr=False)  # K where the source declares it
    rows: Split = field(repr=False, compare=False)

    @property
    def n(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        """`train[0:30000]`: what `take` would accept again."""
        return f"{self.split}[{self.start}:{self.stop}]"

    @property
    def input_shape(self) -> tuple[int, ...] | dict[str, tuple[int, ...]]:
        """Shape of one input, or of each tensor of one input."""
        inputs, _ = self.rows.read(self.start, self.start + 1, labeled=False)
        if isinstance(inputs, dict):
            return {name: tuple(tensor.shape[1:]) for name, tensor in inputs.items()}
        return tuple(inputs.shape[1:])

    @property
    def labels(self) -> NDArray[np.int64]:
        """True classes, shape (n,); of documents the token after each place, (n, T)."""
        return self._scanned.labels

    @property
    def sha256(self) -> str:
        """Hash of types and shapes, then the stored inputs row by row, then the labels (int64).

        Rows are hashed as stored (bytes where the source holds bytes), fields of a dict in the
        order of their names, numbers little-endian.
        """
        return self._scanned.sha256

    @property
    def inputs_sha256(self) -> str:
        """Hash of the stored inputs in order, labels left out."""
        return hashlib.sha256(b"".join(self._scanned.row_digests)).hexdigest()

    def row_digests(self) -> list[bytes]:
        """16-byte blake2b of the stored input of every row, labels left out."""
        return self._scanned.row_digests

    @cached_property
    def _scanned(self) -> Scan:
        return scan(self)

    def batches(
        self, batch_size: int, device: str | torch.device = "cpu"
    ) -> Iterator[tuple[Inputs, torch.Tensor]]:
        """Inputs as the model takes them, and int64 labels (b,), in order; of documents the token
        after each place, (b, T), UNKNOWN behind their end.

        Raises InputError, naming the row, at an input that is not finite, a label outside
        0 … K−1, or a row of another shape or type than the first.
        """
        for stored, labels in self.stored(batch_size):
            yield map_inputs(lambda t: t.to(device), self.rows.deliver(stored)), labels.to(device)

    def stored(self, batch_size: int) -> Iterator[tuple[Inputs, torch.Tensor]]:
        """Checked rows as the source holds them; every reading of a sample goes through here."""
        if batch_size < 1:
            raise InputError(f"batch size {batch_size}: expected at least 1")
        first = None
        for start in range(self.start, self.stop, batch_size):
            stop = min(start + batch_size, self.stop)
            inputs, labels = self.rows.read(start, stop, labeled=self.role != "unlabeled")
            first = first or layout(inputs)
            if layout(inputs) != first:
                raise InputError(
                    f"{self.rows.inputs_name} row {start}: expected {first}, found {layout(inputs)}"
                )
            self._check_finite(inputs, start)
            if self.role != "unlabeled" and labels.ndim == 1:  # a text has no illegal labels
                self._check_labels(labels, start)
            yield inputs, labels

    def describe(self) -> dict[str, str | int]:
        """What a certificate records about its sample."""
        return {
            "source": self.source,
            "split": self.split,
            "role": self.role,
            "sample": self.name,
            "n": self.n,
            "sha256": self.sha256,
        }

    def _check_finite(self, inputs: Inputs, start: int) -> None:
        for name, tensor in fields(inputs):
            if not (tensor.is_floating_point() or tensor.is_complex()):
                continue
            finite = torch.isfinite(tensor).reshape(len(tensor), -1).all(dim=1)
            if not finite.all():
                row = start + int(torch.nonzero(~finite)[0])
                of_field = f": {name}" if name else ""
                raise InputError(
                    f"{self.rows.inputs_name} row {row}{of_field}: expected finite numbers, "
                    "found NaN or infinity"
                )

    def _check_labels(self, labels: torch.Tensor, start: int) -> None:
        last = math.inf if self.classes is None else self.classes - 1
        wrong = (labels < 0) | (labels > last)
        if wrong.any():
            index = int(torch.nonzero(wrong)[0])
            expected = "at least 0" if self.classes is None else f"0 to {last}"
            raise InputError(
                f"{self.rows.labels_name} row {start + index}: expected a label {expected}, "
                f"found {int(labels[index])}"
            )


def take(source: Source, which: str, role: Role) -> Sample:
    """The sample `which` of a source: `train`, `test`, or a slice such as `train[:30000]`.

    Reads that split and not the other. Raises InputError when the split is not there, or the
    slice is empty or goes past its end.
    """
    if role not in get_args(Role):
        raise InputError(f"role {role}: expected one of {', '.join(get_args(Role))}")
    match = SLICE.fullmatch(which)
    if match is None:
        raise InputError(f"sample {which}: expected train, test, or a slice such as train[:30000]")
    split, low, high = match.groups()
    rows = source.train if split == SPLITS[0] else source.test
    if rows is None:
        raise InputError(f"{source.spec}: has no {split} sample")
    length = len(rows)
    start, stop = int(low or 0), int(high) if high else length
    if stop > length:
        raise InputError(f"{source.spec}: sample {which}: {split} has only {length} rows")
    if start >= stop:
        raise InputError(
            f"{source.spec}: sample {which} is empty: expected at least one of {length} rows"
        )
    return Sample(source.spec, split, start, stop, role, source.origin, rows.classes, rows)


def scan(sample: Sample, batch_size: int = ROWS_PER_SCAN) -> Scan:
    """Labels, hash and row digests in one pass; the batch size does not change them."""
    whole = hashlib.sha256()
    digests: list[bytes] = []
    labels: list[NDArray[np.int64]] = []
    for inputs, batch_labels in sample.stored(batch_size):
        if not digests:
            whole.update(json.dumps([sample.n, layout(inputs)], sort_keys=True).encode())
        block = _row_bytes(inputs)
        digests += [hashlib.blake2b(row.data, digest_size=16).digest() for row in block]
        whole.update(block.data)
        labels.append(batch_labels.numpy())
    all_labels = np.concatenate(labels)
    whole.update(all_labels.astype("<i8").tobytes())
    return Scan(all_labels, whole.hexdigest(), digests)


def _row_bytes(inputs: Inputs) -> NDArray[np.uint8]:
    """Bytes of every row, shape (b, bytes of one row), C-contiguous."""
    flat = [
        tensor.reshape(len(tensor), math.prod(tensor.shape[1:])).contiguous().view(torch.uint8)
        for _, tensor in fields(inputs)
    ]
    return torch.cat(flat, dim=1).numpy()


# --------------------------------------------------------------------------- rows in two samples


def equal_rows(a: Sample, b: Sample) -> int:
    """How many rows of `b` have the stored input of some row of `a`, wherever they come from."""
    seen = set(a.row_digests())
    return sum(digest in seen for digest in b.row_digests())


def shared_rows(a: Sample, b: Sample) -> int:
    """How many stored rows are in both samples: same source, same split, overlapping slices."""
    if (a.origin, a.split) != (b.origin, b.split):
        return 0
    return max(0, min(a.stop, b.stop) - max(a.start, b.start))


def refuse_shared(a: Sample, b: Sample) -> None:
    """Raises InputError when a stored row is in both samples."""
    count = shared_rows(a, b)
    if count:
        raise InputError(
            f"{a.source}: {count} rows are in both the {a.role} sample {a.name} and the {b.role} "
            f"sample {b.name}; expected disjoint samples"
        )
