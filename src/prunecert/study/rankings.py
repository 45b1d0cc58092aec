"""Every statistic of every measure: overall, at each sparsity, and within fixed sparsity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prunecert.progress import Stage, quiet
from prunecert.study.bootstrap import Ratios, Resampling, interval, ratios, resampled
from prunecert.study.environments import (
    Counted,
    Filter,
    Pairs,
    counted_pairs,
    mean_by_group,
    pairs_along,
)
from prunecert.study.scopes import (
    AVERAGE,
    OVERALL,
    Statistic,
    mean_known,
    most_known,
    over_scopes,
    sparsity_levels,
)
from prunecert.study.statistics import (
    Exceptions,
    Flags,
    Floats,
    Ints,
    both_known,
    equal_shares,
    numbered,
    pairs_within,
    ranks,
    sign_products,
    tau_at_weights,
)
from prunecert.study.tables import Table

_PAIRS = 4096  # weighed at once


@dataclass(frozen=True)
class Along:
    """What is found along one axis. The ratios have shape (strata, sparsities + 1, M, 1 + B), at
    the last sparsity what is compared across sparsities."""

    pairs: Pairs
    counted: Counted
    psi: Ratios
    wrong: Ratios
    environments: Environments
    coarse: Environments  # pooled over all other settings
    coarse_at_sparsity: Environments  # pooled over all other settings but the sparsity


@dataclass(frozen=True)
class Environments:
    """Sign errors (E, M) of environments, on `sizes` (E, M) pairs; `example` (E,) is one pair."""

    axis: int
    errors: Floats
    sizes: Ints
    pairs: Ints  # (E,) pairs before any is discarded
    example: Ints
    stratum: Ints
    at_sparsity: Ints


@dataclass(frozen=True)
class Study:
    """All that a table says; `rows` are those of rankings.csv, in order."""

    table: Table
    resampling: Resampling
    rule: Filter
    draws: int
    along: tuple[Along, ...]
    rows: tuple[dict[str, Any], ...]

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row["scope"] for row in self.rows))

    def summary_rows(self, scope: str = OVERALL) -> list[dict[str, Any]]:
        """One row for each measure, averaged over strata."""
        stratum = AVERAGE if len(self.table.strata) > 1 else self.table.strata[0]
        return [r for r in self.rows if r["scope"] == scope and r["stratum"] == stratum]


def ranked(
    table: Table, rule: Filter = "test", draws: int = 300, seed: int = 0, stage: Stage = quiet
) -> Study:
    """Compare all networks of a table along every axis; intervals from `draws` resamples."""
    places, gap = ranks(table.values), ranks(table.gap)
    resampling = resampled(table.design, draws, seed)
    axes = table.design.compared
    with stage("comparing networks", len(axes) + len(table.strata)) as tick:
        along = []
        for axis in axes:
            along.append(_along(table, axis, places, gap, rule, resampling))
            tick(1)
        taus = []
        for stratum in range(len(table.strata)):
            taus.append(_taus(table, stratum, places, gap, resampling))
            tick(1)
    study = Study(table, resampling, rule, draws, tuple(along), ())
    return replace(study, rows=tuple(_rows(study, np.stack(taus))))


# --------------------------------------------------------------------------- along one axis


def _along(
    table: Table, axis: int, places: Ints, gap: Ints, rule: Filter, resampling: Resampling
) -> Along:
    pairs = pairs_along(table.design, axis)
    counted = counted_pairs(pairs, table.testing, table.gap, rule)
    known = both_known(places, pairs.first, pairs.second)
    tested = known & counted.flags[:, None]
    products = sign_products(places, gap, pairs.first, pairs.second)
    errors: Floats = (1.0 - products.astype(np.float64)) / 2.0
    psi_shares = equal_shares(pairs.column, known)
    wrong_shares = equal_shares(pairs.environment, tested)

    def sums(values: Floats, shares: Floats) -> Ratios:
        found = []
        for stratum in range(len(table.strata)):
            for level in sparsity_levels(table):
                of = np.flatnonzero((pairs.stratum == stratum) & (pairs.at_sparsity == level))
                found.append(_summed(values, shares, pairs, of, resampling))
        shape = (len(table.strata), len(sparsity_levels(table)), *found[0].total.shape)
        total = np.stack([r.total for r in found]).reshape(shape)
        return Ratios(total, np.stack([r.weight for r in found]).reshape(shape))

    at_sparsity = numbered(np.stack([pairs.coarse, pairs.at_sparsity], axis=1))
    return Along(
        pairs,
        counted,
        sums(products.astype(np.float64), psi_shares),
        sums(errors, wrong_shares),
        *(
            _environments(pairs, group, errors, tested)
            for group in (pairs.environment, pairs.coarse, at_sparsity)
        ),
    )


def _summed(
    values: Floats, shares: Floats, pairs: Pairs, of: Ints, resampling: Resampling
) -> Ratios:
    """Over these pairs; some at a time, since each has a weight in every resample."""
    parts = []
    for part in np.array_split(of, len(of) // _PAIRS + 1):
        comparisons = resampling.comparisons(pairs.first[part], pairs.second[part])
        parts.append(ratios(values[part], shares[part], comparisons))
    total = np.sum([part.total for part in parts], axis=0)
    return Ratios(total, np.sum([part.weight for part in parts], axis=0))


def _environments(pairs: Pairs, group: Ints, errors: Floats, counted: Flags) -> Environments:
    _, example, sizes = np.unique(group, return_index=True, return_counts=True)
    means, used = mean_by_group(errors, counted, group, len(example))
    stratum, level = pairs.stratum[example], pairs.at_sparsity[example]
    return Environments(pairs.axis, means, used, sizes, example, stratum, level)


def _taus(table: Table, stratum: int, places: Ints, gap: Ints, resampling: Resampling) -> Floats:
    """tau_a over all networks of a stratum, each once: at every sparsity, then of all of them."""
    design = table.design
    found = []
    for level in sparsity_levels(table):
        inside = (design.stratum == stratum) & ((design.at_sparsity == level) | (level == -1))
        rows = np.flatnonzero(inside)
        rows = rows[np.sort(np.unique(design.network[rows], return_index=True)[1])]
        inside_cells = _pairs_of_one(resampling.cell[rows])
        weights = resampling.comparisons(*(rows[end] for end in inside_cells))
        found.append(
            tau_at_weights(
                places[rows],
                gap[rows],
                resampling.rows[rows],
                resampling.apart(rows),
                Exceptions(*inside_cells, weights),
            )
        )
    return np.stack(found)


def _pairs_of_one(group: Ints) -> tuple[Ints, Ints]:
    """All pairs of rows of one group."""
    return pairs_within(group, np.arange(len(group)))


# --------------------------------------------------------------------------- putting together


def _rows(study: Study, taus: Floats) -> list[dict[str, Any]]:
    table = study.table

    def tau(stratum: int, levels: list[int]) -> Floats:
        return np.asarray(taus[stratum, levels[-1]])

    def psi(along: Along) -> Statistic:
        return lambda stratum, levels: along.psi.over(stratum, levels).mean

    def granulated(stratum: int, levels: list[int]) -> Floats:
        return mean_known([psi(along)(stratum, levels) for along in study.along])

    def wrong(stratum: int, levels: list[int]) -> Floats:
        parts = [along.wrong.over(stratum, levels) for along in study.along]
        total = np.sum([part.total for part in parts], axis=0)
        return Ratios(total, np.sum([part.weight for part in parts], axis=0)).mean

    drawn = {
        "tau": over_scopes(tau, table),
        "granulated": over_scopes(granulated, table),
        "sign_error": over_scopes(wrong, table),
    }
    drawn |= {
        f"psi.{table.design.axes[a.pairs.axis]}": over_scopes(psi(a), table) for a in study.along
    }
    bounds = {name: {key: interval(v) for key, v in found.items()} for name, found in drawn.items()}
    robust = _robustness(study)
    known = ~np.isnan(table.values)
    rows = []
    for m, measure in enumerate(table.measures):
        for key in drawn["tau"]:
            row: dict[str, Any] = {
                "measure": measure,
                "role": table.roles[m],
                "stratum": key[0],
                "scope": key[1],
                "applies_to": int(known[:, m].sum()),
            }
            for name, found in drawn.items():
                low, high = bounds[name][key]
                row[name] = found[key][m, 0]
                row |= {f"{name}.low": low[m], f"{name}.high": high[m]}
            row |= {name: found[key][m] for name, found in robust.items()}
            rows.append({name: plain(value) for name, value in row.items()})
    return rows


def plain(value: Any) -> Any:
    """A Python number to twelve digits (the others are rounding), None where it is NaN."""
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(f"{value:.12g}")
    return value.item() if isinstance(value, np.generic) else value


def _robustness(study: Study) -> dict[str, dict[tuple[str, str], Floats]]:
    """What is said of single environments; no interval: a bootstrap of a maximum says nothing."""
    table, along = study.table, study.along

    def of(statistic: Callable[[Floats], Floats], coarse: bool = False) -> Statistic:
        def one(stratum: int, levels: list[int]) -> Floats:
            chosen = []
            for a in along:
                pooled = a.coarse if len(levels) > 1 else a.coarse_at_sparsity
                e = pooled if coarse else a.environments
                inside = e.stratum == stratum
                if len(levels) == 1:
                    inside &= e.at_sparsity == levels[0]
                chosen.append(e.errors[inside])
            return statistic(np.concatenate(chosen))

        return one

    return {
        "sign_error.p90": over_scopes(of(_ninth_decile), table),
        "sign_error.max": over_scopes(of(most_known), table, most_known),
        "sign_error.coarse_max": over_scopes(of(most_known, coarse=True), table, most_known),
        "environments": over_scopes(
            of(lambda errors: (~np.isnan(errors)).sum(axis=0)), table, _sum
        ),
        "environments.discarded": over_scopes(
            of(lambda errors: np.isnan(errors).sum(axis=0)), table, _sum
        ),
    }


def _sum(values: Sequence[Floats]) -> Floats:
    return np.asarray(np.sum(values, axis=0))


def _ninth_decile(errors: Floats) -> Floats:
    """The 90th percentile of what is known in each column."""
    found = np.full(errors.shape[1], np.nan)
    known = ~np.isnan(errors).all(axis=0) if len(errors) else np.zeros(errors.shape[1], bool)
    if known.any():
        found[known] = np.nanquantile(errors[:, known], 0.9, axis=0)
    return found


# --------------------------------------------------------------------------- environments by name


@dataclass(frozen=True)
class Worst:
    """The environment in which a measure errs most; of several, the one with most pairs."""

    axis: str
    values: tuple[str, str]
    setting: str
    error: float
    pairs: int


def worst_environment(study: Study, measure: int, coarse: bool = False) -> Worst | None:
    """The environment (or the coarse one) of largest sign error, None where there is none."""
    found: list[tuple[float, int, Along, Environments, int]] = []
    for along in study.along:
        e = along.coarse if coarse else along.environments
        errors, sizes = e.errors[:, measure], e.sizes[:, measure]
        if np.isnan(errors).all():
            continue
        order = np.lexsort((-sizes, np.where(np.isnan(errors), np.inf, -errors)))
        best = int(order[0])
        found.append((float(errors[best]), int(sizes[best]), along, e, best))
    if not found:
        return None
    error, size, along, e, index = max(found, key=lambda one: (one[0], one[1]))
    table, pair = study.table, int(e.example[index])
    first, second = int(along.pairs.first[pair]), int(along.pairs.second[pair])
    axis = along.pairs.axis
    others = [a for a in table.design.compared if a != axis and not coarse]
    setting = [f"{table.design.axes[a]} {_called(table, first, a)}" for a in others]
    stratum = table.strata[table.design.stratum[first]]
    return Worst(
        table.design.axes[axis],
        (_called(table, first, axis), _called(table, second, axis)),
        ", ".join([stratum] * bool(stratum) + setting),
        error,
        size,
    )


def _called(table: Table, row: int, axis: int) -> str:
    return table.level_names[axis][int(table.design.levels[row, axis])]


def environment_rows(study: Study) -> list[dict[str, Any]]:
    """One row for each measure and coarse environment: an axis and two of its values."""
    table = study.table
    rows = []
    for along in study.along:
        e, pairs = along.coarse, along.pairs
        for index, pair in enumerate(e.example):
            first, second = int(pairs.first[pair]), int(pairs.second[pair])
            inside = np.unique(pairs.environment[pairs.coarse == pairs.coarse[pair]])
            used = ~np.isnan(along.environments.errors[inside])
            for m, measure in enumerate(table.measures):
                row = {
                    "measure": measure,
                    "stratum": table.strata[e.stratum[index]],
                    "axis": table.design.axes[pairs.axis],
                    "lower": _called(table, first, pairs.axis),
                    "higher": _called(table, second, pairs.axis),
                    "sign_error": e.errors[index, m],
                    "pairs": e.sizes[index, m],
                    "pairs.discarded": e.pairs[index] - e.sizes[index, m],
                    "environments": used[:, m].sum(),
                    "environments.discarded": (~used[:, m]).sum(),
                }
                rows.append({name: plain(value) for name, value in row.items()})
    return sorted(rows, key=lambda row: (table.measures.index(row["measure"]), row["stratum"]))
