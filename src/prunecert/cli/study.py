"""The command that asks which measures track generalization."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from prunecert.cli.app import RESEARCH, app
from prunecert.cli.options import Delta, Quiet, Seed
from prunecert.cli.terminal import Terminal

if TYPE_CHECKING:
    from prunecert.study import Studied

SHOWN = 6  # measures from the top and from the bottom


def _column(option: str, help: str, metavar: str = "NAME") -> Any:
    return typer.Option(option, metavar=metavar, help=help, rich_help_panel="Columns")


@app.command(rich_help_panel=RESEARCH)
def study(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV (.gz, .xz) or parquet.")],
    out: Annotated[
        Optional[Path], typer.Option("--out", help="Where to write (else study/ beside TABLE).")
    ] = None,
    measures: Annotated[
        Optional[str], _column("--measures", "The measures (else measure.*).", "GLOBS")
    ] = None,
    axes: Annotated[
        Optional[str], _column("--axes", "The hyper-parameters (else axis.*).", "GLOBS")
    ] = None,
    gap: Annotated[Optional[str], _column("--gap", "Test less training error (else gap).")] = None,
    seed_axis: Annotated[
        Optional[str], _column("--seed-axis", "The replicates (else axis.seed).")
    ] = None,
    strata: Annotated[
        Optional[str], _column("--strata", "Never compared across (else axis.data).")
    ] = None,
    sparsity_axis: Annotated[
        Optional[str], _column("--sparsity-axis", "The sparsity (else axis.sparsity).")
    ] = None,
    method_axis: Annotated[
        Optional[str], _column("--method-axis", "The pruning method (else axis.method).")
    ] = None,
    rule: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="test|gap|none",
            help="What must exceed the standard error of the test difference for a pair to count "
            "in sign errors: the test difference, the gap's, or nothing.",
        ),
    ] = "test",
    evidence: Annotated[
        Optional[Path],
        typer.Option("--evidence", metavar="ARCHIVE", help="A sweep's evidence.tar.xz."),
    ] = None,
    bounds: Annotated[
        Optional[str],
        typer.Option("--bounds", help="Rank yours too, from --evidence: file.py:NAME."),
    ] = None,
    delta: Delta = 0.05,
    draws: Annotated[int, typer.Option("--draws", min=0, help="Bootstrap resamples.")] = 300,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Which measures track the generalization gap in a table of networks?"""
    from prunecert.bounds.external import bounds_of_file
    from prunecert.inversions import require_open_unit
    from prunecert.study import Columns, run_study
    from prunecert.testing import check_bound

    require_open_unit("delta", delta)
    chosen = Columns(measures, axes, gap, seed_axis, strata, sparsity_axis, method_axis)
    folder = table.parent / "study" if out is None else out
    options = {
        "--measures": measures,
        "--axes": axes,
        "--gap": gap,
        "--seed-axis": seed_axis,
        "--strata": strata,
        "--sparsity-axis": sparsity_axis,
        "--method-axis": method_axis,
        "--filter": None if rule == "test" else rule,
        "--evidence": evidence,
        "--bounds": bounds,
        "--delta": None if bounds is None else delta,
        "--draws": None if draws == 300 else draws,
        "--seed": seed or None,
        "--out": out,
    }
    words = [(option, str(value)) for option, value in options.items() if value is not None]
    command = shlex.join(["prunecert", "study", str(table), *(w for pair in words for w in pair)])
    external = [] if bounds is None else bounds_of_file(bounds, check_bound)
    terminal = Terminal(quiet=quiet)
    with terminal.progress() as stage:
        found = run_study(
            table,
            folder,
            chosen,
            rule=rule,  # type: ignore[arg-type]  # refused there if it is none of the three
            draws=draws,
            seed=seed,
            evidence=evidence,
            bounds=external,
            delta=delta,
            command=command,
            stage=stage,
        )
    _show(terminal, found)
    terminal.copyable(f"{folder / 'study.md'}, {folder / 'rankings.csv'}, {folder / 'figures'}")


def _show(terminal: Terminal, found: Studied) -> None:
    from prunecert.study.page import ends
    from prunecert.study.scopes import FIXED
    from prunecert.study.sentences import number, with_interval

    overall = found.study.summary_rows()
    fixed = {row["measure"]: row for row in found.study.summary_rows(FIXED)}
    columns = ["measure", "Psi"] + ["fixed"] * bool(fixed) + ["max"]
    rows = []
    for row in ends(overall, SHOWN):
        within = [number(fixed[row["measure"]]["granulated"])] if fixed else []
        worst = number(row["sign_error.coarse_max"])
        name = row["measure"] + "*" * (row["role"] == "reads test")
        rows.append([name, with_interval(row, "granulated"), *within, worst])
    terminal.table(columns, rows)
    words = ["Psi: agreement with the gap, from −1 to 1"]
    words += ["fixed: within fixed sparsity"] if fixed else []
    words += ["max: largest sign error over axes and pairs of values"]
    words += ["*: reads the test sample"] if "reads test" in found.study.table.roles else []
    terminal.line("; ".join(words) + ".")
    terminal.line()
    for sentence in found.summary:
        terminal.line(sentence)
