"""The figures of a study as `results.json` describes them: a row for each measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prunecert.study.claim import NORM_BOUNDS, SEED_FORMS
from prunecert.study.rankings import Study
from prunecert.study.scopes import FIXED, OVERALL
from prunecert.study.sentences import by_size

SHOWN = 16  # measures from the top; baselines, the seed paper's forms and norm bounds always


def figures(study: Study) -> dict[str, Any]:
    """tau and Psi with intervals, sign errors, and psi along the sparsity."""
    found = {}
    scopes = {"overall": OVERALL}
    if FIXED in study.scopes:
        scopes["fixed-sparsity"] = FIXED
    for name, scope in scopes.items():
        rows = _shown(study.summary_rows(scope), "granulated")
        if not rows:
            continue
        where = scope if scope == OVERALL else f"within {scope}"
        found[f"tau-{name}"] = _intervals(rows, "tau", f"Kendall's tau, {where}", "tau")
        title = f"Granulated coefficient, {where}"
        found[f"granulated-{name}"] = _intervals(rows, "granulated", title, "Psi")
        found[f"sign-error-{name}"] = _sign_errors(rows, f"Sign error, {where}")
    sparsity = study.table.design.sparsity
    if sparsity is not None:
        statistic = f"psi.{study.table.design.axes[sparsity]}"
        rows = _shown(study.summary_rows(), statistic)
        title = "Does a measure track the effect of pruning? psi along the sparsity"
        if rows:
            found["pruning"] = _intervals(rows, statistic, title, "psi")
    return found


def _shown(rows: Sequence[dict[str, Any]], statistic: str) -> list[dict[str, Any]]:
    ranked = by_size(rows, statistic)
    first = [row["measure"] for row in ranked if row["role"] == "measure"][:SHOWN]
    kept = {*first, *SEED_FORMS, *NORM_BOUNDS}
    return [row for row in ranked if row["role"] != "measure" or row["measure"] in kept]


def _figure(title: str, label: str, series: list[dict[str, Any]], note: str) -> dict[str, Any]:
    return {
        "title": title,
        "x": {"label": "measure"},
        "y": {"label": label, "risk": False},
        "series": series,
        "note": note,
    }


def _series(rows: Sequence[dict[str, Any]], name: str, key: str, style: str) -> dict[str, Any]:
    names = [row["measure"] for row in rows]
    found = {"name": name, "x": names, "y": [row[key] for row in rows], "style": style}
    if f"{key}.low" in rows[0]:
        found |= {end: [row[f"{key}.{end}"] for row in rows] for end in ("low", "high")}
    return found


def _intervals(rows: list[dict[str, Any]], name: str, title: str, label: str) -> dict[str, Any]:
    note = (
        "1: ordered as the gap is; 0: no better than chance. Lines: 95 % bootstrap intervals. Best "
        "measures and all baselines."
    )
    return _figure(title, label, [_series(rows, label, name, "points")], note)


def _sign_errors(rows: list[dict[str, Any]], title: str) -> dict[str, Any]:
    series = [
        _series(rows, "mean over environments", "sign_error", "bars"),
        _series(rows, "largest coarse environment", "sign_error.coarse_max", "points"),
        _series(rows, "largest environment", "sign_error.max", "points"),
    ]
    note = "0: never wrong about which of two networks has the larger gap; 0.5: a coin."
    return _figure(title, "sign error", series, note)
