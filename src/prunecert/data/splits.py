"""Rows in a fixed order that can be read again: what a source's `train` and `test` are."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from prunecert.types import InputError
from prunecert.user_code import in_one_line, on_path

Inputs = torch.Tensor | dict[str, torch.Tensor]
Array = NDArray[Any] | torch.Tensor

UNKNOWN = -1  # the label of a row whose label was not read: no class, so never counted as correct
LABEL_KEYS = ("labels", "label")


class Split(Protocol):
    """Rows 0 … len−1; `classes` is K where the source declares it."""

    @property
    def inputs_name(self) -> str:
        """How errors call the inputs: "data.npz: x_test"."""

    @property
    def labels_name(self) -> str:
        """How errors call the labels."""

    @property
    def classes(self) -> int | None:
        """K, or None."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int, labeled: bool) -> tuple[Inputs, torch.Tensor]:
        """Stored inputs (b, …) and int64 labels (b,), which are UNKNOWN unless `labeled`."""

    def deliver(self, stored: Inputs) -> Inputs:
        """What the model is given for these stored inputs."""


@dataclass(frozen=True)
class ArraySplit:
    """Rows of arrays: `x` (n, …), `y` (n,) or None where there are no labels.

    `scaled`: stored uint8, delivered as float32 x/255.
    """

    x: Array
    y: Array | None
    inputs_name: str
    labels_name: str
    classes: int | None = None
    scaled: bool = False

    def __len__(self) -> int:
        return len(self.x)

    def read(self, start: int, stop: int, labeled: bool) -> tuple[Inputs, torch.Tensor]:
        inputs = _tensor(self.x[start:stop], self.inputs_name)
        if not labeled:
            return inputs, torch.full((stop - start,), UNKNOWN)
        if self.y is None:
            raise InputError(f"{self.labels_name}: missing; expected integer labels")
        labels = _tensor(self.y[start:stop], self.labels_name)
        if labels.is_floating_point() or labels.is_complex():
            raise InputError(f"{self.labels_name}: expected integer labels, found {labels.dtype}")
        return inputs, labels.to(torch.int64)

    def deliver(self, stored: Inputs) -> Inputs:
        # Divided on the CPU: some devices multiply by a rounded 1/255 instead.
        return stored.to(torch.float32).div_(255) if self.scaled else stored  # type: ignore[union-attr]


@dataclass(frozen=True)
class DatasetSplit:
    """Rows of a user's map-style data set, read one by one and given to the model untouched.

    An item is `(x, y)`, or a dict of tensors with a `labels` or `label` key; where labels are not
    asked for it may also be `x` alone. `folder` is on `sys.path` while the data set is at work.
    """

    dataset: Any
    inputs_name: str
    labels_name: str
    folder: Path
    classes: int | None = None

    def __len__(self) -> int:
        return int(self._call(partial(len, self.dataset), "its length"))

    def read(self, start: int, stop: int, labeled: bool) -> tuple[Inputs, torch.Tensor]:
        rows, labels = [], []
        for index in range(start, stop):
            where = f"{self.inputs_name} row {index}"
            item = self._call(partial(operator.getitem, self.dataset, index), f"row {index}")
            inputs, label = _parted(item)
            rows.append(_row(inputs, where))
            labels.append(_label(label, where) if labeled else UNKNOWN)
        for index, row in enumerate(rows):
            if layout(row, batched=False) != layout(rows[0], batched=False):
                raise InputError(
                    f"{self.inputs_name} row {start + index}: expected the fields, types and "
                    f"shapes of row {start}, {layout(rows[0], batched=False)}, "
                    f"found {layout(row, batched=False)}"
                )
        return _stack(rows), torch.tensor(labels, dtype=torch.int64)

    def deliver(self, stored: Inputs) -> Inputs:
        return stored

    def _call(self, ask: Callable[[], Any], what: str) -> Any:
        try:
            with on_path(self.folder):
                return ask()
        except Exception as error:  # the user's code may raise anything
            raise InputError(
                f"{self.inputs_name}: cannot read {what}: {in_one_line(error)}"
            ) from error


def fields(inputs: Inputs) -> list[tuple[str, torch.Tensor]]:
    """Tensors by name in a fixed order; a plain tensor is the field with the empty name."""
    return sorted(inputs.items()) if isinstance(inputs, dict) else [("", inputs)]


def layout(inputs: Inputs, batched: bool = True) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of one row, by field."""
    first = 1 if batched else 0
    return {name: (str(t.dtype), tuple(t.shape[first:])) for name, t in fields(inputs)}


def map_inputs(function: Callable[[torch.Tensor], torch.Tensor], inputs: Inputs) -> Inputs:
    """`function` of the tensor, or of every tensor of the dict."""
    if isinstance(inputs, dict):
        return {name: function(tensor) for name, tensor in inputs.items()}
    return function(inputs)


def _tensor(value: Any, where: str) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if not isinstance(value, np.ndarray | np.generic):
        raise InputError(f"{where}: expected a tensor or an array, found {type(value).__name__}")
    try:
        return torch.from_numpy(np.array(value))  # a copy: torch cannot hold a read-only array
    except TypeError as error:
        raise InputError(f"{where}: expected numbers, found {value.dtype}") from error


def _parted(item: Any) -> tuple[Any, Any]:
    """Inputs and label of one item; the label is None when it has none."""
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    if isinstance(item, dict):
        label = next((item[key] for key in LABEL_KEYS if key in item), None)
        return {key: value for key, value in item.items() if key not in LABEL_KEYS}, label
    return item, None


def _row(inputs: Any, where: str) -> Inputs:
    if not isinstance(inputs, dict):
        return _tensor(inputs, where)
    if not inputs:
        raise InputError(f"{where}: expected at least one tensor besides the label")
    return {str(key): _tensor(value, f"{where}: {key}") for key, value in inputs.items()}


def _label(label: Any, where: str) -> int:
    if label is None:
        raise InputError(f"{where}: expected (x, y), or a dict with a 'labels' key; found no label")
    try:
        return operator.index(label)
    except TypeError:
        raise InputError(
            f"{where}: expected one integer as label, found {type(label).__name__}"
        ) from None


def _stack(rows: list[Inputs]) -> Inputs:
    if isinstance(rows[0], dict):
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}  # type: ignore[index]
    return torch.stack(rows)  # type: ignore[arg-type]
