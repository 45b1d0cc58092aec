"""The archive of a sweep: which test rows each network gets wrong, and bounds added afterwards."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prunecert.bounds.external import ExternalBound
from prunecert.bounds.table import VACUOUS, evaluate
from prunecert.progress import Stage, quiet
from prunecert.results import archive_members, read_evidence
from prunecert.study.environments import Testing
from prunecert.study.statistics import Flags, Floats
from prunecert.study.tables import MEASURE, Table
from prunecert.types import (
    CapacityMeasure,
    Certificate,
    Evidence,
    InputError,
    Margins,
    NotApplicable,
    Outcomes,
    Result,
)
from prunecert.user_code import in_one_line

OUTCOMES = "outcomes@holdout"


@dataclass(frozen=True)
class Read:
    """What an archive adds to a table."""

    testing: Testing
    added: dict[str, Floats]  # values (R,) of each bound, NaN where it does not apply
    notes: tuple[str, ...]


def members(archive: Path, networks: tuple[str, ...]) -> Iterator[tuple[str, Evidence]]:
    """(network, its evidence) for every member that the table has a row of, in order.

    One at a time, since an archive may be larger than memory. InputError names a damaged member.
    """
    wanted = set(networks)
    for network, data in archive_members(archive):
        if network in wanted:
            yield network, _evidence(f"{archive}: member {network}", data)


def _evidence(where: str, data: bytes) -> Evidence:
    try:
        parts = read_evidence(io.BytesIO(data))[0]
    except InputError:
        raise InputError(f"{where}: not an evidence file written by prunecert") from None
    except Exception as error:  # a flipped byte may fail in any layer of the format
        raise InputError(f"{where}: damaged ({in_one_line(error)})") from None
    if isinstance(margins := parts.get("margins"), Margins):  # kept in single precision
        parts["margins"] = replace(margins, values=margins.values.astype(np.float64))
    return parts


def read_archive(
    archive: Path,
    table: Table,
    bounds: list[ExternalBound],
    delta: float = 0.05,
    stage: Stage = quiet,
) -> Read:
    """Outcomes on the test sample, and what each bound from outside says of every network.

    A certified or conditional bound on the zero-one risk becomes one on the gap: the training
    error of the table is subtracted; a vacuous one says nothing. Everything else stands as it is.
    """
    if not table.networks:
        raise InputError(f"{table.path}: no column 'network', which --evidence is looked up by")
    for bound in bounds:
        if bound.spec.name in table.measures:
            raise InputError(
                f"{bound.origin}: {table.path} has a column {MEASURE + bound.spec.name} already: "
                "expected a name of its own"
            )
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(table.networks):
        rows.setdefault(name, []).append(row)
    wrong: list[Flags | None] = [None] * len(table.networks)
    sample = [""] * len(table.networks)
    values = {bound.spec.name: np.full(len(table.networks), np.nan) for bound in bounds}
    reasons: dict[str, str] = {}
    found = 0
    with stage("reading evidence", len(rows)) as tick:
        for network, parts in members(archive, table.networks):
            at = rows[network]
            found += 1
            outcomes = parts.get(OUTCOMES)
            if isinstance(outcomes, Outcomes):
                flags = _checked(archive, network, outcomes, table, at[0])
                for row in at:
                    wrong[row], sample[row] = flags, outcomes.sample
            for bound in bounds:
                result = _said(bound, parts, delta)
                if isinstance(result, NotApplicable):
                    reasons.setdefault(bound.spec.name, result.reason)
                    continue
                for row in at:
                    values[bound.spec.name][row] = _as_measure(bound, result, table, row)
            tick(1)
    notes = [f"{archive} has evidence of {found:,} of {len(rows):,} networks."]
    for bound in bounds:
        known = int((~np.isnan(values[bound.spec.name])).sum())
        why = f" ({reasons[bound.spec.name]})" if bound.spec.name in reasons else ""
        notes.append(
            f"{bound.spec.name} is external ({bound.standing}); it speaks about {known:,} of "
            f"{len(table.networks):,} rows{why}."
        )
    return Read(
        replace(table.testing, wrong=tuple(wrong), sample=tuple(sample)), values, tuple(notes)
    )


def _said(bound: ExternalBound, parts: Evidence, delta: float) -> Result:
    try:
        return evaluate(bound.spec, parts, delta)
    except InputError as error:  # a number out of its range: of this network, not of all
        return NotApplicable(bound.spec.name, str(error))


def _checked(archive: Path, network: str, outcomes: Outcomes, table: Table, row: int) -> Flags:
    """The outcomes, once they are of as many errors and samples as the table says."""
    flags = np.asarray(outcomes.wrong, bool)
    errors, n = table.testing.errors[row], table.testing.n[row]
    for what, here, there in (("errors", flags.sum(), errors), ("samples", flags.size, n)):
        if not np.isnan(there) and here != there:
            raise InputError(
                f"{archive}: member {network}.npz: {OUTCOMES} has {here:,} {what}, "
                f"row {row + 1} of {table.path} has {there:,.0f}: expected its evidence"
            )
    return flags


def _as_measure(bound: ExternalBound, result: Result, table: Table, row: int) -> float:
    if isinstance(result, CapacityMeasure):
        return result.value
    assert isinstance(result, Certificate)
    if result.quantity != "zero-one risk":
        return result.risk_bound
    columns = ("train_errors", "n")
    if any(name not in table.frame for name in columns):
        raise InputError(
            f"{table.path}: no columns {' and '.join(columns)}: {bound.spec.name} bounds the risk, "
            "and only less the training error does it bound the gap"
        )
    if result.risk_bound >= VACUOUS:
        return math.nan  # what is left of it is the training error alone
    errors, n = (float(table.frame[name].iloc[row]) for name in columns)
    return result.risk_bound - errors / n
