"""Does a measure track generalization? A table of networks in, rankings and answers out.

THEORY 5: Kendall's tau, granulated coefficients, sign errors of environments, bootstrap over whole
configurations, overall and within fixed sparsity. It reads tables and evidence, never a network.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prunecert.bounds.external import ExternalBound
from prunecert.files import write_bytes
from prunecert.progress import Stage, quiet
from prunecert.report.files import write_figures
from prunecert.results import write_results
from prunecert.study.claim import Claim, claim_of
from prunecert.study.environments import FILTERS, Filter
from prunecert.study.evidence import read_archive
from prunecert.study.figures import figures
from prunecert.study.page import page
from prunecert.study.rankings import Study, environment_rows, ranked
from prunecert.study.sentences import counts, summary
from prunecert.study.statistics import Floats
from prunecert.study.tables import Columns, copied_with, read_table, with_measures
from prunecert.types import InputError

__all__ = ["FILTERS", "Columns", "Filter", "Studied", "run_study"]


@dataclass(frozen=True)
class Studied:
    """What was found and where it was written."""

    study: Study
    claim: Claim
    files: tuple[Path, ...]

    @property
    def summary(self) -> list[str]:
        return summary(self.study, self.claim)


def run_study(
    path: Path,
    out: Path,
    columns: Columns | None = None,
    *,
    rule: Filter = "test",
    draws: int = 300,
    seed: int = 0,
    evidence: Path | None = None,
    bounds: Sequence[ExternalBound] = (),
    delta: float = 0.05,
    command: str = "",
    stage: Stage = quiet,
) -> Studied:
    """Rank every measure of the table at `path` and write the study into the folder `out`.

    rankings.csv (a row for each measure, stratum and scope), environments.csv.gz (for each measure
    and coarse environment), results.json, figures/, study.md; table.csv where `bounds` added
    columns. The same table and seed give the same bytes. Raises InputError in one line where the
    table, the archive or an option cannot be used, and then nothing is written.
    """
    if bounds and evidence is None:
        raise InputError("--bounds: expected --evidence too, which new bounds are computed from")
    if rule not in FILTERS:
        raise InputError(f"--filter {rule!r}: expected one of {', '.join(FILTERS)}")
    if draws < 0:
        raise InputError(f"--draws {draws}: expected 0 or more resamples")
    table = read_table(path, columns or Columns(), seed)
    added: dict[str, Floats] = {}
    if evidence is not None:
        read = read_archive(evidence, table, list(bounds), delta, stage)
        added = read.added
        table = with_measures(table, added, [bound.spec for bound in bounds])
        table = replace(table, testing=read.testing, notes=(*table.notes, *read.notes))
    study = ranked(table, rule, draws, seed, stage)
    claim = claim_of(study)
    files = []
    if added:
        files.append(write_bytes(out / "table.csv", copied_with(table, added)))
    files.append(write_bytes(out / "rankings.csv", _csv(study.rows)))
    packed = gzip.compress(_csv(environment_rows(study)), mtime=0)
    files.append(write_bytes(out / "environments.csv.gz", packed))
    files.append(write_results(out / "results.json", _results(study, claim, command)))
    drawn = write_figures(out, out / "figures")
    shown = [(f"figures/{file.name}", title) for file, title in drawn]
    files.append(write_bytes(out / "study.md", page(study, claim, command, shown).encode()))
    return Studied(study, claim, tuple(files))


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _results(study: Study, claim: Claim, command: str) -> dict[str, Any]:
    """`results.json`: title, sentences, figures, and the numbers that other tools may want."""
    return {
        "title": f"Which measures track generalization in {study.table.path.name}",
        "summary": summary(study, claim),
        "figures": figures(study),
        "commands": [{"what": "the study", "command": command}],
        "study": {
            "counts": counts(study),
            "claim": claim.document(),
            "rankings": study.summary_rows(),
        },
    }
