"""A table of networks as arrays: measures, axes and gaps, by whatever names it has them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prunecert.bounds.table import STATEMENTS
from prunecert.study.environments import Design, Testing
from prunecert.study.statistics import Floats, Ints
from prunecert.types import BoundSpec, InputError

try:
    import pandas
except ModuleNotFoundError:  # the extra is not installed: said when a table is read
    pandas = None

READ = (".csv", ".csv.gz", ".csv.xz", ".parquet")
MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "<na>"})
MEASURE, AXIS, BASELINE = "measure.", "axis.", "baseline."
Role = Literal["measure", "baseline", "reads test"]
# what evidence knows of labelled test samples
TEST_PARTS = {
    "counts@holdout",
    "counts@dense-holdout",
    "counts@top-k",
    "counts@dense-alone",
    "classcounts",
    "losses@holdout",
    "outcomes@holdout",
    "pairedoutcomes",
}


@dataclass(frozen=True)
class Columns:
    """Which columns are what. None: ours, where the table has them."""

    measures: str | None = None  # names or globs, separated by commas
    axes: str | None = None
    gap: str | None = None
    seed_axis: str | None = None
    strata: str | None = None
    sparsity_axis: str | None = None
    method_axis: str | None = None


@dataclass(frozen=True)
class Table:
    """R networks, M measures, baselines among them."""

    path: Path
    frame: Any = field(repr=False)
    measures: tuple[str, ...]
    roles: tuple[Role, ...]  # of each measure
    values: Floats  # (R, M), NaN where a measure does not apply
    gap: Floats
    design: Design
    level_names: tuple[tuple[str, ...], ...]  # of each axis
    strata: tuple[str, ...]
    networks: tuple[str, ...]  # of each row: what the evidence calls it
    testing: Testing
    notes: tuple[str, ...]


def read_table(path: Path, columns: Columns, seed: int = 0) -> Table:
    """The table at `path`; InputError in one line that names file, column and row.

    Missing values of measures are allowed. `seed` is of the random baseline.
    """
    frame = read_frame(path)
    if len(frame.columns) == 1 and any(mark in str(frame.columns[0]) for mark in ";\t|"):
        raise InputError(
            f"{path}: one column, {frame.columns[0]!r}: expected commas between columns"
        )
    if len(frame) < 2:
        raise InputError(f"{path}: {len(frame)} rows: expected at least two networks")
    return table_of(path, frame, columns, seed)


def table_of(path: Path, frame: Any, columns: Columns, seed: int = 0) -> Table:
    """The same for rows already read."""
    reader = _Reader(path, frame)
    gap_name = reader.one("--gap", columns.gap or "gap")
    gap = reader.numbers(gap_name)
    reader.refuse_unknown(gap_name, gap)
    if np.ptp(gap) == 0:
        raise InputError(f"{path}: {gap_name} is {gap[0]:g} in every row: nothing can be ranked")
    strata = reader.role("--strata", columns.strata, "axis.data")
    axes = [name for name in reader.several("--axes", columns.axes, AXIS) if name != strata]
    roles = {
        "seed": reader.role("--seed-axis", columns.seed_axis, "axis.seed"),
        "sparsity": reader.role("--sparsity-axis", columns.sparsity_axis, "axis.sparsity"),
        "method": reader.role("--method-axis", columns.method_axis, "axis.method"),
    }
    axes += [name for name in roles.values() if name and name not in axes and name != strata]
    axes = [name for name in axes if name != gap_name]
    taken = {gap_name, strata, *axes}
    names = [n for n in reader.several("--measures", columns.measures, MEASURE) if n not in taken]
    if not names or not axes:
        raise InputError(f"{path}: no column is left for {'--axes' if names else '--measures'}")
    axes = reader.without_parts(axes, roles["method"])
    levels, level_names = zip(*(reader.levels(name) for name in axes))
    varying = [i for i, found in enumerate(level_names) if len(found) > 1]
    reader.note_constant([axes[i] for i in range(len(axes)) if i not in varying])
    if not varying:
        raise InputError(f"{path}: every axis is constant: expected networks that differ in one")
    kept = [axes[i] for i in varying]
    stratum, stratum_names = reader.levels(strata) if strata else (np.zeros(len(gap), int), ("",))
    network, networks = reader.networks()
    design = Design(
        axes=tuple(name.removeprefix(AXIS) for name in kept),
        levels=np.stack([levels[i] for i in varying], axis=1),
        stratum=stratum,
        network=network,
        **{role: kept.index(name) for role, name in roles.items() if name in kept},
    )
    if design.compared == ():
        raise InputError(f"{path}: only the seed varies: expected another axis that does")
    measured = {name.removeprefix(MEASURE): reader.numbers(name) for name in names}
    roles_of = {name: role_of(STATEMENTS.get(name)) for name in measured}
    measured = reader.without_empty(measured)
    known = reader.counts()
    zeros = reader.values(roles["sparsity"]) if roles["sparsity"] else None
    trivial = baselines(known, zeros, network, seed)
    measured |= trivial
    nothing = np.full(len(gap), np.nan)
    return Table(
        path=path,
        frame=frame,
        measures=tuple(measured),
        roles=tuple("baseline" if name in trivial else roles_of[name] for name in measured),
        values=np.stack(list(measured.values()), axis=1),
        gap=gap,
        design=design,
        level_names=tuple(level_names[i] for i in varying),
        strata=stratum_names,
        networks=networks,
        testing=Testing(known.get("test_errors", nothing), known.get("test_n", nothing)),
        notes=tuple(reader.notes),
    )


def with_measures(table: Table, added: dict[str, Floats], specs: Iterable[BoundSpec]) -> Table:
    """The table with further measures, those of `specs`."""
    roles = {spec.name: role_of(spec) for spec in specs}
    return replace(
        table,
        measures=(*table.measures, *added),
        roles=(*table.roles, *(roles[name] for name in added)),
        values=np.column_stack([table.values, *added.values()]),
    )


def role_of(spec: BoundSpec | None) -> Role:
    """Whether a statement reads the test sample: then it knows half of the gap beforehand."""
    return "reads test" if spec and TEST_PARTS.intersection(spec.needs) else "measure"


def baselines(
    known: dict[str, Floats], sparsity: Floats | None, network: Ints, seed: int
) -> dict[str, Floats]:
    """What any measure should beat: numbers that nobody would call a theory.

    The random one has one value for each network, drawn with `seed`.
    """
    found: dict[str, Floats] = {}
    if "train_errors" in known and "n" in known:
        found["training-error"] = known["train_errors"] / known["n"]
    if "nonzeros" in known:
        found["nonzeros"] = known["nonzeros"]
    zeros = known.get("sparsity", sparsity)
    if zeros is not None and not np.isnan(zeros).all():
        found["sparsity"] = zeros
    if "n" in known:
        found["one-over-n"] = 1.0 / known["n"]
    if "n" in known and "code_bits" in known:
        found["code-length"] = np.sqrt(known["code_bits"] / known["n"])
    draws = np.random.default_rng([seed, 1]).random(int(network.max()) + 1)
    found["random"] = draws[network]
    return {BASELINE + name: values for name, values in found.items()}


# --------------------------------------------------------------------------- files


def copied_with(table: Table, added: dict[str, Floats]) -> bytes:
    """The table as CSV with further columns; everything else in it as it was written."""
    frame = table.frame
    if not table.path.name.lower().endswith(".parquet"):
        frame = pandas.read_csv(table.path, dtype=str, keep_default_na=False)
    frame = frame.assign(**{MEASURE + name: values for name, values in added.items()})
    return str(frame.to_csv(index=False, lineterminator="\n")).encode()


def read_frame(path: Path) -> Any:
    """The rows of a CSV (plain, .gz, .xz) or parquet file as a pandas frame."""
    if pandas is None:
        raise InputError(f"{path}: reading tables needs pandas: pip install 'prunecert[study]'")
    if not path.is_file():
        raise InputError(f"{path}: no such file: expected a table ({', '.join(READ)})")
    if not path.name.lower().endswith(READ):
        raise InputError(f"{path}: not a table: expected one of {', '.join(READ)}")
    try:
        if path.name.lower().endswith(".parquet"):
            return pandas.read_parquet(path)
        return pandas.read_csv(
            path,
            keep_default_na=False,  # a level may be called "None"
            na_values=[""],
            dtype={"network": str},  # a hash of digits alone is no number
            float_precision="round_trip",
            low_memory=False,
        )
    except ImportError as error:  # pyarrow
        raise InputError(f"{path}: {error}: pip install 'prunecert[study]'") from None
    except Exception as error:  # whatever a parser raises on bytes that are no table
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: cannot be read as a table: {lines[0]}") from None


# --------------------------------------------------------------------------- columns


class _Reader:
    """Columns of one frame, refused in words that name the file."""

    def __init__(self, path: Path, frame: Any) -> None:
        self.path, self.frame, self.notes = path, frame, list[str]()
        self.names = [str(name) for name in frame.columns]
        self.frame = frame.set_axis(self.names, axis=1)

    def one(self, option: str, name: str) -> str:
        if name in self.names:
            return name
        near = difflib.get_close_matches(name, self.names, 1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        listed = ", ".join(self.names[:6]) + (", …" if len(self.names) > 6 else "")
        raise InputError(
            f"{self.path}: {option}: no column {name!r}: {hint}expected one of {listed}"
        )

    def role(self, option: str, name: str | None, ours: str) -> str | None:
        """The column the user named, or ours where there is one."""
        if name is not None:
            return self.one(option, name)
        return ours if ours in self.names else None

    def several(self, option: str, patterns: str | None, prefix: str) -> list[str]:
        """All columns that names or globs choose, in the order of the table."""
        if patterns is None:
            found = [name for name in self.names if name.startswith(prefix)]
            if not found:
                raise InputError(
                    f"{self.path}: no column starts with {prefix!r}: name them with {option}"
                )
            return found
        chosen: set[str] = set()
        for pattern in (part.strip() for part in patterns.split(",")):
            found = [name for name in self.names if fnmatchcase(name, pattern)]
            chosen |= set(found or [self.one(option, pattern)])
        return [name for name in self.names if name in chosen]

    def numbers(self, name: str) -> Floats:
        """A column of numbers, NaN where missing."""
        column = self.frame[name]
        numbers = pandas.to_numeric(column, errors="coerce")
        for row in np.flatnonzero((numbers.isna() & ~column.isna()).to_numpy()):
            if str(column.iloc[row]).strip().lower() not in MISSING:
                raise InputError(
                    f"{self.path}: row {row + 1}, {name} is {column.iloc[row]!r}: expected a number"
                )
        return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))

    def values(self, name: str) -> Floats | None:
        """A column of numbers, or None where it holds words."""
        try:
            return self.numbers(name)
        except InputError:
            return None

    def refuse_unknown(self, name: str, numbers: Floats) -> None:
        for row in np.flatnonzero(~np.isfinite(numbers)):
            what = "missing" if np.isnan(numbers[row]) else "infinite"
            raise InputError(f"{self.path}: row {row + 1}, {name} is {what}: expected a number")

    def levels(self, name: str) -> tuple[Ints, tuple[str, ...]]:
        """The number of each row's value among the column's, in order, and what they are called."""
        column = self.frame[name]
        absent = column.isna() | (column.astype(str).str.strip() == "")
        for row in np.flatnonzero(absent.to_numpy()):
            raise InputError(f"{self.path}: row {row + 1}, {name} is missing: expected a value")
        numbers = self.values(name) if column.dtype != bool else None
        if numbers is None or np.isnan(numbers).any():
            words, codes = np.unique(column.astype(str).to_numpy(dtype=str), return_inverse=True)
            return codes.reshape(-1), tuple(words.tolist())
        self.refuse_unknown(name, numbers)
        found, codes = np.unique(numbers, return_inverse=True)
        return codes.reshape(-1), tuple(f"{value:.12g}" for value in found)

    def note_constant(self, names: Sequence[str]) -> None:
        if names:
            self.notes.append(f"No axis, being constant: {', '.join(names)}.")

    def without_empty(self, measured: dict[str, Floats]) -> dict[str, Floats]:
        """Without measures that no row has a value of."""
        empty = [name for name, values in measured.items() if np.isnan(values).all()]
        if empty:
            self.notes.append(f"Measures that apply to no row: {', '.join(empty)}.")
        if len(empty) == len(measured):
            raise InputError(f"{self.path}: --measures: none of them has a value in any row")
        return {name: values for name, values in measured.items() if name not in empty}

    def without_parts(self, axes: list[str], method: str | None) -> list[str]:
        """Without axes that are empty, or empty but for one pruning method, which then has one
        value of it: they are a part of the method and no axis of their own."""
        kept = []
        for name in axes:
            column = self.frame[name]
            if column.isna().all():
                self.notes.append(f"{name} is empty.")
            elif method and column.isna().any() and self._is_of(name, method):
                self.notes.append(f"{name} is a part of {method}.")
            else:
                kept.append(name)
        return kept

    def _is_of(self, name: str, method: str) -> bool:
        """The method decides the value of this column, or that it has none."""
        values = self.frame.groupby(method)[name].nunique(dropna=False)
        return bool((values <= 1).all())

    def networks(self) -> tuple[Ints, tuple[str, ...]]:
        """Which rows are of one network; without a column `network` every row is its own."""
        if "network" not in self.names:
            return np.arange(len(self.frame)), ()
        names = self.frame["network"].astype(str)
        return np.unique(names.to_numpy(dtype=str), return_inverse=True)[1].reshape(-1), tuple(
            names
        )

    def counts(self) -> dict[str, Floats]:
        """The counts that a table may have under our names."""
        wanted: Iterable[str] = (
            "n",
            "train_errors",
            "test_n",
            "test_errors",
            "nonzeros",
            "code_bits",
            "sparsity",
        )
        found = {name: self.values(name) for name in wanted if name in self.names}
        return {name: values for name, values in found.items() if values is not None}
