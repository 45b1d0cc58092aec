"""What a sweep runs: `[run]` of a TOML file times every combination of its `[grid]`."""

from __future__ import annotations

import difflib
import itertools
import json
import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from prunecert.api.ladder import check_rungs
from prunecert.pruning import METHODS as ONE_SHOT
from prunecert.pruning.scopes import scope_named
from prunecert.training import LEARNING_RATES, SCHEDULES, Steps
from prunecert.types import InputError

IMP = "imp"
METHODS = (*ONE_SHOT, IMP)
SHAPED = ("mlp", "conv")  # models that depth and width make
TABLES = ("out", "run", "grid")


@dataclass(frozen=True)
class RunConfig:
    """One run: a network trained, then pruned up a ladder; everything that decides its rows."""

    model: str
    data: str
    depth: int | None = None  # hidden layers of "mlp", convolutions of "conv"
    width: int | None = None
    sample: str = "train"
    n: int | None = None  # instead: the first n training rows
    test_rows: int | None = None  # the first of them; all by default
    label_noise: float = 0.0
    noise_seed: int = 0
    epochs: int | None = None  # 20 where neither this nor steps is given
    steps: str | None = None
    batch_size: int = 128
    lr: float | None = None
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    seed: int = 0
    method: str = "magnitude"
    scope: str = "global"
    sparsities: tuple[float, ...] = ()
    retrain_epochs: int = 0
    levels: int | None = None  # method "imp"
    rewind: str | None = None  # method "imp"
    fraction: float | None = None  # method "imp": removed per level
    measure: bool = False  # evidence of every kind and every statement on it
    flatness: bool = False
    flatness_rows: int = 1000
    curve_points: int = 20
    cushion_rows: int = 0  # that noise cushions are measured on
    delta: float = 0.05
    device: str = "cpu"

    def canonical(self) -> str:
        """The configuration as JSON, which `config_of` reads: the same for equal ones."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps(given, sort_keys=True)

    @property
    def length(self) -> str:
        """How long the dense network is trained."""
        return self.steps or f"{20 if self.epochs is None else self.epochs}ep"


@dataclass(frozen=True)
class Sweep:
    """A file read: where it writes, its runs in grid order, the keys of its grid."""

    out: Path | None
    configs: tuple[RunConfig, ...]
    varied: tuple[str, ...]


def read_config(path: str | Path) -> Sweep:
    """The sweep that a TOML file describes; InputError, in one line, for anything wrong in it."""
    file = Path(path)
    try:
        content = tomllib.loads(file.read_text())
    except OSError as error:
        raise InputError(f"{file}: cannot read it: {error.strerror}") from None
    except ValueError as error:  # not TOML, or not text
        raise InputError(f"{file}: not TOML: {' '.join(str(error).split())}") from None
    _refuse_unknown(file, content, TABLES, "")
    run, grid = (_table(file, content, name) for name in ("run", "grid"))
    out = content.get("out")
    if out is not None and not (isinstance(out, str) and out):
        raise InputError(f"{file}: out: expected the name of a folder, found {out!r}")
    for name, table in (("run", run), ("grid", grid)):
        _refuse_unknown(file, table, [f.name for f in fields(RunConfig)], f"[{name}] ")
    for key, values in grid.items():
        if key in run:
            raise InputError(f"{file}: {key}: stands in both [run] and [grid]: expected one")
        if not isinstance(values, list) or not values:
            raise InputError(f"{file}: [grid] {key}: expected a list of values, found {values!r}")
    missing = [key for key in ("model", "data") if key not in {*run, *grid}]
    if missing:
        raise InputError(f"{file}: [run] {missing[0]}: missing; expected it here or in [grid]")
    configs = tuple(
        config_of(run | dict(zip(grid, values)), f"{file}: ")
        for values in itertools.product(*grid.values())
    )
    twice = next((c for i, c in enumerate(configs) if c in configs[:i]), None)
    if twice is not None:
        raise InputError(f"{file}: [grid]: makes a run twice: {differing(twice, tuple(grid))}")
    return Sweep(None if out is None else Path(out), configs, tuple(grid))


def config_of(values: Mapping[str, Any], where: str = "") -> RunConfig:
    """One configuration from plain values; InputError that starts with `where` and the key."""
    hints = get_type_hints(RunConfig)
    given = {key: _typed(value, hints[key], f"{where}{key}") for key, value in values.items()}
    config = RunConfig(**given)
    for key, (fine, expected) in _RULES.items():
        value = getattr(config, key)
        if value is not None and not fine(value):
            raise InputError(f"{where}{key}: expected {expected}, found {value!r}")
    _check_together(config, where)
    return config


def differing(config: RunConfig, varied: tuple[str, ...]) -> str:
    """`depth=2 seed=1`: what tells a run from the others of its sweep."""
    named = [f"{key}={_plain(getattr(config, key))}" for key in varied]
    return " ".join(named) or f"model={config.model}"


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _table(file: Path, content: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name, {})
    if not isinstance(found, dict):
        raise InputError(f"{file}: {name}: expected a table [{name}], found {found!r}")
    return found


def _refuse_unknown(file: Path, table: Mapping[str, Any], known: Any, where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise InputError(f"{file}: {where}{key}: no such key; {hint}")


def _typed(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type says: integers serve as numbers, lists as tuples, truth as neither."""
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    wanted = next(choice for choice in choices if choice is not type(None))
    whole = isinstance(value, int) and not isinstance(value, bool)
    if get_origin(wanted) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_typed(item, get_args(wanted)[0], where) for item in value)
        raise InputError(f"{where}: expected a list of numbers, found {value!r}")
    if wanted is float and (whole or isinstance(value, float)) and math.isfinite(value):
        return float(value)
    if (wanted is int and whole) or (wanted in (str, bool) and isinstance(value, wanted)):
        return value
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    raise InputError(f"{where}: expected {words[wanted]}, found {value!r}")


def _at_least(low: float) -> tuple[Any, str]:
    return (lambda value: value >= low), f"at least {low:g}"


def _one_of(names: Any) -> tuple[Any, str]:
    return (lambda value: value in names), f"one of {', '.join(names)}"


_RULES: dict[str, tuple[Any, str]] = {
    "depth": _at_least(1),
    "width": _at_least(1),
    "sample": ((lambda value: value.startswith("train")), "train or a slice such as train[:1000]"),
    "n": _at_least(1),
    "test_rows": _at_least(1),
    "label_noise": ((lambda value: 0 <= value <= 1), "a probability from 0 to 1"),
    "noise_seed": _at_least(0),
    "epochs": _at_least(0),
    "batch_size": _at_least(1),
    "lr": _at_least(0),
    "optimizer": _one_of(LEARNING_RATES),
    "momentum": ((lambda value: 0 <= value < 1), "a number in [0, 1)"),
    "weight_decay": _at_least(0),
    "schedule": _one_of(SCHEDULES),
    "seed": ((lambda value: 0 <= value < 2**32), "0 to 2^32 - 1"),
    "method": _one_of(METHODS),
    "retrain_epochs": _at_least(0),
    "levels": _at_least(1),
    "fraction": ((lambda value: 0 < value < 1), "a number strictly between 0 and 1"),
    "flatness_rows": _at_least(1),
    "curve_points": _at_least(1),
    "cushion_rows": _at_least(0),
    "delta": ((lambda value: 0 < value < 1), "a number strictly between 0 and 1"),
}


def _check_together(config: RunConfig, where: str) -> None:
    if config.epochs is not None and config.steps is not None:
        raise InputError(f"{where}steps: given beside epochs: expected one of them")
    if config.n is not None and config.sample != "train":
        raise InputError(f"{where}n: given beside sample: expected one of them")
    shaped = config.model in SHAPED
    for key in ("depth", "width"):
        if shaped and getattr(config, key) is None:
            raise InputError(f"{where}{key}: missing; model {config.model} is made of it")
        if not shaped and getattr(config, key) is not None:
            raise InputError(
                f"{where}{key}: goes with model {' or '.join(SHAPED)}, not {config.model}"
            )
    try:
        scope_named(config.scope)
        Steps.parse(config.length)
        if config.rewind is not None:
            Steps.parse(config.rewind)
        check_rungs(config.sparsities)
    except InputError as error:
        raise InputError(f"{where}{str(error).removeprefix('--').replace('--', '')}") from None
