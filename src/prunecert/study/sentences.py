"""What a study found, in words and numbers that are computed, never typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prunecert.study.claim import FEW_CELLS, Claim
from prunecert.study.rankings import Study, worst_environment
from prunecert.study.scopes import FIXED, OVERALL

COIN = 0.5  # the sign error of tossing a coin
COVERING = 0.9  # of the rows: what applies to fewer is named apart


def number(value: float | None, digits: int = 2) -> str:
    """0.25 → "0.25", nothing known → "—"; what rounds to zero has no sign."""
    return "—" if value is None else f"{value:z.{digits}f}"


def with_interval(row: dict[str, Any], name: str) -> str:
    """`0.53 [0.41, 0.62]`, or the number alone where no interval is known."""
    value, low, high = row[name], row[f"{name}.low"], row[f"{name}.high"]
    return number(value) if low is None else f"{number(value)} [{number(low)}, {number(high)}]"


def by_size(rows: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The rows where the statistic is known, the largest first; ties by the measure's name."""
    known = [row for row in rows if row[name] is not None]
    return sorted(known, key=lambda row: (-row[name], row["measure"]))


def summary(study: Study, claim: Claim) -> list[str]:
    """What a reader should take away; also what the command prints."""
    sentences = [*_few(study), *claim.sentences(), *_best(study, OVERALL)]
    sentences += _best(study, FIXED) if FIXED in study.scopes else []
    return [*sentences, *_robust(study), *_failing(study)]


def _few(study: Study) -> list[str]:
    """A warning where hardly any dense configuration was trained."""
    cells = len(np.unique(study.table.design.cell))
    if cells >= FEW_CELLS:
        return []
    return [f"Only {cells} dense configurations: what follows may be of these networks alone."]


def _covers(study: Study) -> dict[str, float]:
    """The fraction of rows that each measure applies to."""
    known = 1 - np.isnan(study.table.values).mean(axis=0)
    return dict(zip(study.table.measures, known.tolist()))


def _best(study: Study, scope: str) -> list[str]:
    ranked, covers = by_size(study.summary_rows(scope), "granulated"), _covers(study)
    measures = [row for row in ranked if row["role"] == "measure"]
    covering = [row for row in measures if covers[row["measure"]] >= COVERING]
    rivals = [row for row in ranked if row["role"] == "baseline"]
    where = "Within fixed sparsity" if scope == FIXED else "Overall"
    if not measures:
        return [f"{where}: no measure has a granulated coefficient."]
    said = []
    if covering and rivals and covering[0]["granulated"] <= rivals[0]["granulated"]:
        said.append(
            f"{where}, no measure that applies to nearly all rows orders networks better than a "
            f"baseline: {rivals[0]['measure'].removeprefix('baseline.')} has Psi "
            f"{with_interval(rivals[0], 'granulated')}, {covering[0]['measure']} "
            f"{with_interval(covering[0], 'granulated')}."
        )
    elif covering:
        said.append(f"{where}, {_praised(covering[0])}{_against(covering, rivals)}.")
    first = measures[0]
    if first not in covering[:1]:
        share = f"{100 * covers[first['measure']]:.0f} %"
        said.append(
            f"{where}, of measures that apply to fewer rows, {_praised(first)}; to {share}."
        )
    return said


def _praised(row: dict[str, Any]) -> str:
    return (
        f"{row['measure']} orders networks best: Psi {with_interval(row, 'granulated')}, "
        f"tau {with_interval(row, 'tau')}, mean sign error {number(row['sign_error'])}"
    )


def _against(measures: Sequence[dict[str, Any]], rivals: Sequence[dict[str, Any]]) -> str:
    if not rivals:
        return ""
    rival = rivals[0]
    beats = sum(row["granulated"] > rival["granulated"] for row in measures)
    return (
        f"; the best baseline is {rival['measure'].removeprefix('baseline.')} (Psi "
        f"{with_interval(rival, 'granulated')}), which {beats} of the {len(measures)} measures "
        "that apply to nearly all rows exceed"
    )


def _robust(study: Study) -> list[str]:
    covers = _covers(study)
    rows = [row for row in study.summary_rows() if row["role"] == "measure"]
    rows = [row for row in rows if covers[row["measure"]] >= COVERING] or rows
    known = [row for row in rows if row["sign_error.coarse_max"] is not None]
    if not known:
        return ["No pair of networks counts in any environment, so no sign error is known."]
    best = min(known, key=lambda row: (row["sign_error.coarse_max"], row["sign_error"]))
    worse = sum(row["sign_error.coarse_max"] > COIN for row in known)
    worst = worst_environment(study, study.table.measures.index(best["measure"]), coarse=True)
    at = "" if worst is None else f", at {worst.axis} {worst.values[0]} against {worst.values[1]}"
    return [
        f"Most robust: {best['measure']}, whose largest sign error over axes and pairs of values "
        f"is {number(best['sign_error.coarse_max'])}{at}. {worse} of {len(known)} measures are "
        f"wrong more often than a coin on at least one of them."
    ]


def failing_axes(study: Study, row: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(axes whose psi is not above 0, those of them whose whole interval lies below 0)."""
    axes = [study.table.design.axes[a] for a in study.table.design.compared]
    fails = [a for a in axes if row[f"psi.{a}"] is not None and row[f"psi.{a}"] <= 0]
    surely = [a for a in fails if row[f"psi.{a}.high"] is not None and row[f"psi.{a}.high"] < 0]
    return fails, surely


def _failing(study: Study) -> list[str]:
    rows = [row for row in study.summary_rows() if row["role"] == "measure"]
    axes = [study.table.design.axes[a] for a in study.table.design.compared]
    axes = [a for a in axes if any(row[f"psi.{a}"] is not None for row in rows)]
    failed = {row["measure"]: failing_axes(study, row)[0] for row in rows}
    everywhere = sorted(
        row["measure"]
        for row in rows
        if not failed[row["measure"]] and all(row[f"psi.{a}"] is not None for a in axes)
    )
    counts = [f"{a} {sum(a in fails for fails in failed.values())}" for a in axes]
    some = ", ".join(everywhere[:5]) + (", …" if len(everywhere) > 5 else "")
    return [
        f"Measures of {len(rows)} that order networks no better than chance along an axis: "
        f"{', '.join(counts)}. "
        + (f"Above chance along every axis: {some}." if everywhere else "None is above on all.")
    ]


def counts(study: Study) -> list[str]:
    """How much was compared, and what was left out."""
    table, design = study.table, study.table.design
    networks = len(np.unique(design.network))
    sentences = [
        f"{len(table.gap):,} rows of {networks:,} networks; {len(table.measures):,} measures, "
        f"{table.roles.count('baseline')} of them baselines.",
        *table.notes,
    ]
    if "reads test" in table.roles:
        readers = [n for n, role in zip(table.measures, table.roles) if role == "reads test"]
        sentences.append(
            f"Set apart, since what they read is half of the gap, the test sample: "
            f"{', '.join(readers)}."
        )
    if len(table.strata) > 1:
        sentences.append(
            f"Networks are compared within each of {len(table.strata)} strata "
            f"({', '.join(table.strata)}), and the results averaged."
        )
    if design.seed is None:
        sentences.append("No axis is known as the seed (--seed-axis): all are hyper-parameters.")
    places = np.column_stack([design.stratum, design.levels])
    if again := len(places) - len(np.unique(places, axis=0)):
        sentences.append(f"{again:,} rows agree with an earlier one on every axis.")
    if design.sparsity is None:
        sentences.append("No axis is known as the sparsity, so nothing is said within fixed ones.")
    partial = [
        f"{name} ({int(np.isnan(column).sum()):,})"
        for name, column in zip(table.measures, table.values.T)
        if np.isnan(column).any()
    ]
    if partial:
        sentences.append(f"Rows to which a measure does not apply: {', '.join(partial)}.")
    return [*sentences, _tested(study), _intervals(study)]


def _intervals(study: Study) -> str:
    cells = len(np.unique(study.table.design.cell))
    if not study.draws:
        return "No intervals: no resamples were asked for (--draws 0)."
    if study.resampling.cells.shape[1] == 1:
        return "No intervals: one dense configuration of one seed can only be drawn as it is."
    few = ""
    if cells < FEW_CELLS:
        few = f" They are fewer than {FEW_CELLS}, so intervals mean little."
    return (
        f"Intervals: 95 % percentiles of {study.draws:,} resamples of {cells:,} cells (a dense "
        f"configuration and everything pruned from it) and of the seeds within them.{few}"
    )


def _tested(study: Study) -> str:
    found = [along.counted for along in study.along]
    pairs = sum(len(along.pairs) for along in study.along)
    kept = sum(int(c.flags.sum()) for c in found)
    how = {
        "paired": sum(c.paired for c in found),
        "unpaired": sum(c.unpaired for c in found),
        "unknown": sum(c.unknown for c in found),
    }
    errors = ", ".join(f"{name} for {n:,}" for name, n in how.items() if n)
    if study.rule == "none":
        return f"Sign errors: all {pairs:,} pairs count (--filter none)."
    what = "test errors" if study.rule == "test" else "gaps"
    return (
        f"Sign errors: {kept:,} of {pairs:,} pairs count, those whose {what} differ by more than "
        f"the standard error of their test difference (--filter {study.rule}); "
        f"standard error: {errors}; where it is unknown, the pair counts."
    )
