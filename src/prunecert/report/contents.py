"""What a `results.json` must look like to be reported (DESIGN "Results")."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from prunecert.results import read_results
from prunecert.types import InputError

Look = Literal["certified", "conditional", "order-only", "measured"]


class _Entry(BaseModel):
    """Numbers are finite JSON numbers, never strings; keys we do not know belong to others."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True)


class _Drawn(_Entry):
    """A misspelt key could put a value on the wrong axis, so here unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Network(_Entry):
    """One network; keys beyond these become further columns."""

    model_config = ConfigDict(extra="allow")
    name: str
    method: str | None = None
    sparsity: float | None = None  # fraction of the parameters that are zero
    parameters: int | None = None
    nonzeros: int | None = None
    sha256: str | None = None


class Bound(_Entry):
    """What one statement says about one network, or about one of its layers.

    `value` is null where it does not apply; `measured` is what it is about, where that is known.
    """

    network: str
    layer: str | None = None
    name: str
    kind: Literal["certified", "conditional", "order-only", "not-applicable"]
    value: float | None = None
    measured: float | None = None
    unit: str = "fraction"
    sample: str | None = None
    delta: float | None = None
    details: dict[str, Any] = {}

    @model_validator(mode="after")
    def _says_something(self) -> Bound:
        if self.kind != "not-applicable" and self.value is None:
            raise ValueError(f"value: expected a number for a row of kind {self.kind}")
        if self.kind == "not-applicable" and self.value is not None:
            raise ValueError("value: expected null for a row of kind not-applicable")
        if self.kind == "not-applicable" and not isinstance(self.details.get("reason"), str):
            raise ValueError("details.reason: expected a sentence that says why")
        return self


class Diagnostic(_Entry):
    """One measured number about one network, or about one of its layers, with a remark."""

    network: str
    layer: str | None = None
    name: str
    value: float | None
    note: str | None = None


class Axis(_Drawn):
    label: str
    scale: Literal["linear", "log"] = "linear"
    risk: bool = True  # of y: false where values of any kind are no risks (norms, counts, lengths)


class Series(_Drawn):
    """Marks (x, y) that share a look. Series of one name share a colour, whatever their kind.

    `low` and `high` draw an interval through each mark: a confidence interval, mean ± sd.
    """

    name: str
    x: list[Any]
    y: list[float | None]  # null: nothing to draw at this x
    low: list[float | None] | None = None
    high: list[float | None] | None = None
    kind: Look = "measured"
    style: Literal["line", "points", "bars"] = "line"

    @field_validator("x")
    @classmethod
    def _numbers_or_names(cls, values: list[Any]) -> list[Any]:
        are_numbers = all(type(x) in (int, float) and math.isfinite(x) for x in values)
        if not are_numbers and not all(isinstance(x, str) for x in values):
            raise ValueError("expected finite numbers only, or names only")
        return values

    @model_validator(mode="after")
    def _same_length(self) -> Series:
        if len(self.x) != len(self.y):
            raise ValueError(f"y: expected {len(self.x)} values, one for each x, not {len(self.y)}")
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high: expected both or neither")
        for name, ends in (("low", self.low), ("high", self.high)):
            if ends is not None and len(ends) != len(self.x):
                raise ValueError(f"{name}: expected {len(self.x)} values, not {len(ends)}")
        return self

    @property
    def intervals(self) -> list[tuple[Any, float, float]]:
        """(x, low, high) wherever both ends are known."""
        ends = zip(self.x, self.low or [], self.high or [])
        return [(x, low, high) for x, low, high in ends if low is not None and high is not None]


class Figure(_Drawn):
    title: str
    x: Axis
    y: Axis
    series: list[Series]
    note: str | None = None

    @property
    def is_risk(self) -> bool:
        """Some series states a risk (or merely ranks), so y is the risk axis [0, 1]."""
        return self.y.risk and self.has_kinds

    @property
    def has_kinds(self) -> bool:
        """Some series is more than measured, so marks look as their kinds."""
        return any(series.kind != "measured" for series in self.series)

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(series.name for series in self.series))


class Command(_Entry):
    what: str
    command: str


class Run(_Entry):
    """One `results.json`."""

    title: str
    summary: list[str] = []
    networks: list[Network] = []
    bounds: list[Bound] = []
    diagnostics: list[Diagnostic] = []
    figures: dict[str, Figure] = {}
    commands: list[Command] = []


def read_run(path: str | Path) -> Run:
    """The run at `path`, a folder or its `results.json`; InputError names file and field.

    A run without a title goes by the name of its folder.
    """
    found = read_results(path)
    file = Path(path) / "results.json" if Path(path).is_dir() else Path(path)
    try:
        return Run.model_validate({"title": file.resolve().parent.name, **found})
    except ValidationError as error:
        first = error.errors()[0]
        problem = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{file}: {_field(first['loc'])}: {problem}") from None


def _field(location: tuple[int | str, ...]) -> str:
    """`figures.risk.series[0].y[3]`"""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in location)[1:]
