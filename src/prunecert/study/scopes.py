"""Where a statistic is taken: overall, at each sparsity, within fixed sparsity; by stratum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from prunecert.study.statistics import Floats
from prunecert.study.tables import Table

OVERALL, FIXED, AVERAGE = "overall", "fixed sparsity", "average"

Statistic = Callable[[int, list[int]], Floats]  # of a stratum, at these sparsities
Together = Callable[[Sequence[Floats]], Floats]


def sparsity_levels(table: Table) -> list[int]:
    """The numbers of all sparsities, then −1: compared across sparsities."""
    axis = table.design.sparsity
    return [*range(1 if axis is None else len(table.level_names[axis])), -1]


def mean_known(values: Sequence[Floats] | Floats) -> Floats:
    """The mean over the first axis of what is known; NaN where nothing is."""
    array = np.asarray(values)
    known = ~np.isnan(array)
    found = np.full(array.shape[1:], np.nan)
    total = np.where(known, array, 0.0).sum(axis=0)
    np.divide(total, known.sum(axis=0), out=found, where=known.any(axis=0))
    return found


def most_known(values: Sequence[Floats] | Floats) -> Floats:
    """The largest over the first axis of what is known; NaN where nothing is."""
    array = np.asarray(values)
    largest = np.where(np.isnan(array), -np.inf, array).max(axis=0, initial=-np.inf)
    return np.where(np.isneginf(largest), np.nan, largest)


def over_scopes(
    statistic: Statistic, table: Table, together: Together = mean_known
) -> dict[tuple[str, str], Floats]:
    """A statistic by (stratum, scope), with its means within fixed sparsity and over strata."""
    levels = sparsity_levels(table)
    has_sparsity = table.design.sparsity is not None
    found: dict[tuple[str, str], Floats] = {}
    for stratum, name in enumerate(table.strata):
        found[name, OVERALL] = statistic(stratum, levels)
        if has_sparsity:
            scopes = sparsity_scopes(table)
            for scope, level in zip(scopes, levels):
                found[name, scope] = statistic(stratum, [level])
            found[name, FIXED] = together([found[name, scope] for scope in scopes])
    if len(table.strata) > 1:
        for scope in dict.fromkeys(scope for _, scope in found):
            found[AVERAGE, scope] = together([found[name, scope] for name in table.strata])
    return found


def sparsity_scopes(table: Table) -> list[str]:
    axis = table.design.sparsity
    return [] if axis is None else [f"sparsity {name}" for name in table.level_names[axis]]
