"""The page of a study in Markdown: answers, tables, counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prunecert.study.claim import Claim
from prunecert.study.rankings import Study, worst_environment
from prunecert.study.scopes import FIXED, OVERALL, sparsity_scopes
from prunecert.study.sentences import (
    by_size,
    counts,
    failing_axes,
    number,
    summary,
    with_interval,
)

ENDS = 12  # measures shown from the top and from the bottom

HOW = (
    "tau: Kendall's tau_a between measure and gap over all networks, each once; ties count 0.",
    "Psi: the mean over axes of psi, which is the mean over all settings of the other axes of tau "
    "along one axis (Jiang et al. 2019, arXiv:1912.02178). The seed is a replicate, not an axis.",
    "Sign error of an environment (an axis, two of its values, a setting of all others but the "
    "seed): how often measure and gap disagree about which of two networks is the higher, ties "
    "counting half, over all pairs of seeds that count (Dziugaite et al. 2020, arXiv:2010.11924). "
    "A coarse environment pools the other settings. Mean and 90th percentile are over "
    "environments; a maximum has no interval and, over few pairs, is high by chance.",
    "Used, discarded: environments with a pair that counts, and those with none.",
    "Within fixed sparsity: each statistic on the networks of one sparsity, then averaged "
    "(a maximum stays a maximum).",
    "Intervals are not corrected for how many measures are compared.",
)


def page(study: Study, claim: Claim, command: str, files: Sequence[tuple[str, str]]) -> str:
    """The whole page; `files` are (path, title) of its figures."""
    parts = [
        f"# Which measures track generalization in {study.table.path.name}",
        f"Every number on this page was printed by\n\n    {command}",
        "## In short\n\n" + listed(summary(study, claim)),
        "## Best and worst, overall\n\n" + _ranking(study, OVERALL),
    ]
    if FIXED in study.scopes:
        parts.append("## Best and worst, within fixed sparsity\n\n" + _ranking(study, FIXED))
        parts.append("## Psi at each sparsity\n\n" + _at_each_sparsity(study))
    parts.append("## Pruning: the seed paper's bound against each measure\n\n" + _claim(claim))
    parts += [
        "## Where each measure fails\n\n" + _failures(study),
        "## What was compared\n\n" + listed(counts(study)) + "\n\n" + _axes(study),
        "## What the words mean\n\n" + listed(HOW),
        "## Figures\n\n" + "\n\n".join(f"![{title}]({path})" for path, title in files),
    ]
    return "\n\n".join(parts) + "\n"


def ends(rows: Sequence[dict[str, Any]], many: int = ENDS) -> list[dict[str, Any]]:
    """The best and the worst measures by Psi, and all that are set apart from them, in order."""
    ranked = by_size(rows, "granulated")
    measures = [row["measure"] for row in ranked if row["role"] == "measure"]
    shown = {*measures[:many], *measures[-many:]}
    return [row for row in ranked if row["role"] != "measure" or row["measure"] in shown]


def _ranking(study: Study, scope: str) -> str:
    rows = study.summary_rows(scope)
    shown = ends(rows)
    cells = [
        (
            called(row),
            with_interval(row, "granulated"),
            with_interval(row, "tau"),
            with_interval(row, "sign_error"),
            number(row["sign_error.p90"]),
            number(row["sign_error.max"]),
            number(row["sign_error.coarse_max"]),
            f"{row['environments']:,.0f}",
            f"{row['environments.discarded']:,.0f}",
        )
        for row in shown
    ]
    head = ("measure", "Psi", "tau", "sign error", "90 %", "max", "coarse max", "used", "discarded")
    measured = [row for row in rows if row["role"] == "measure"]
    ranked = sum(row["granulated"] is not None for row in measured)
    said = f"{ranked} of {len(measured)} measures have a Psi here"
    said += f"; the first and last {ENDS} are shown" if ranked > 2 * ENDS else ""
    return f"{said}. All are in `rankings.csv`.\n\n" + table(head, cells)


def called(row: dict[str, Any]) -> str:
    name = row["measure"]
    if row["role"] == "baseline":
        return f"*{name.removeprefix('baseline.')}* (baseline)"
    return f"*{name}* (reads the test sample)" if row["role"] == "reads test" else name


def _at_each_sparsity(study: Study) -> str:
    scopes = sparsity_scopes(study.table)
    found = {scope: {row["measure"]: row for row in study.summary_rows(scope)} for scope in scopes}
    shown = ends(study.summary_rows(FIXED))
    cells = [
        (called(row), *(number(found[scope][row["measure"]]["granulated"]) for scope in scopes))
        for row in shown
    ]
    return table(("measure", *(scope.removeprefix("sparsity ") for scope in scopes)), cells)


def _claim(claim: Claim) -> str:
    if claim.reason:
        return listed(claim.sentences())
    said = (
        "Pairs that differ in sparsity only. Psi advantage: psi of the sparsity axis, the form's "
        "less the rival's; error advantage: mean sign error, the rival's less the form's; both on "
        "the pairs where both speak. Better: yes where both intervals lie above 0, no where one "
        "lies below and the other not above.\n\n"
    )
    cells = [
        (
            c.form,
            c.rival + (" (norm bound)" if c.norm_bound else ""),
            f"{c.pairs:,}",
            f"{number(c.psi_advantage)} [{number(c.psi_low)}, {number(c.psi_high)}]",
            f"{number(c.error_advantage)} [{number(c.error_low)}, {number(c.error_high)}]",
            claim.told(c),
        )
        for c in claim.comparisons
    ]
    head = ("form", "rival", "pairs", "Psi advantage", "error advantage", "better")
    return listed(claim.sentences()) + "\n\n" + said + table(head, cells)


def _failures(study: Study) -> str:
    said = (
        "Axes along which psi is not above 0; with an exclamation mark where its whole interval "
        "lies below. Then the coarse environment of largest sign error.\n\n"
    )
    cells = []
    for row in by_size(study.summary_rows(), "granulated"):
        fails, surely = failing_axes(study, row)
        axes = ", ".join(f"{a}!" if a in surely else a for a in fails) or "none"
        worst = worst_environment(study, study.table.measures.index(row["measure"]), coarse=True)
        at = "—"
        if worst is not None:
            where = f"{worst.axis} {worst.values[0]} against {worst.values[1]}"
            at = f"{number(worst.error)}: {where}, {worst.pairs:,} pairs"
        cells.append((called(row), axes, at))
    return said + table(("measure", "fails along", "largest coarse sign error"), cells)


def _axes(study: Study) -> str:
    table_, design = study.table, study.table.design
    cells = []
    for along in study.along:
        p, axis = along.pairs, along.pairs.axis
        used = int((along.environments.sizes.max(axis=1, initial=0) > 0).sum())
        cells.append(
            (
                design.axes[axis],
                ", ".join(table_.level_names[axis]),
                f"{len(p):,}",
                f"{int(along.counted.flags.sum()):,}",
                f"{used:,} of {len(along.environments.pairs):,}",
                f"{p.settings:,}",
                f"{p.missing:,}",
                f"{p.in_several:,}",
                f"{p.repeated:,}",
            )
        )
    if design.seed is not None:
        names = ", ".join(table_.level_names[design.seed])
        cells.append((f"{design.axes[design.seed]} (seed)", names, *("",) * 7))
    head = ("axis", "values", "pairs", "counted", "environments", "settings", "missing cells")
    said = (
        "Missing cells: settings of the other axes with fewer than two values along this one. "
        "Left out: pairs with a network that stands at several values of the axis (a dense one, "
        "along the methods), and pairs of networks that are paired already.\n\n"
    )
    return said + table((*head, "several values", "repeated"), cells)


# --------------------------------------------------------------------------- Markdown


def listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
