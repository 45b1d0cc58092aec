"""What a person sees: tables that fit 80 columns, progress on standard error, JSON on request."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from rich.console import Console
from rich.table import Table

from prunecert.progress import Stage, Tick, quiet

WIDTH = 80
LONGEST_NAME = 48  # of a first column that is never broken: what it says can be pasted


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """The reader has gone; `app.run` knows what to do (the library would exit with 1)."""
        raise BrokenPipeError


@dataclass(frozen=True)
class Terminal:
    """Standard output carries the answer: text, or with `json` exactly the written file."""

    json: bool = False
    quiet: bool = False

    @property
    def _out(self) -> Console:
        return _Console(width=WIDTH, stderr=self.json, highlight=False, soft_wrap=False)

    def line(self, text: str = "") -> None:
        """One sentence, wrapped at 80 columns."""
        if not self.quiet:
            self._out.print(text, markup=False)

    def copyable(self, text: str) -> None:
        """A command or a path, never wrapped."""
        if not self.quiet:
            self._out.print(text, markup=False, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
        """Right-aligned numbers, left-aligned words."""
        if self.quiet:
            return
        table = Table(
            title=title or None,
            title_justify="left",
            box=None,
            pad_edge=False,
            show_header=any(columns),
        )
        for i, name in enumerate(columns):
            numeric = all(_numeric(row[i]) for row in rows) and bool(rows)
            whole = i == 0 and all(
                " " not in row[i] and len(row[i]) <= LONGEST_NAME for row in rows
            )
            table.add_column(
                name, justify="right" if numeric else "left", overflow="fold", no_wrap=whole
            )
        for row in rows:
            table.add_row(*row)
        self._out.print(table)

    def pairs(self, values: Mapping[str, str]) -> None:
        """Names and values, one line each."""
        self.table(("", ""), list(values.items()))

    def document(self, data: bytes) -> None:
        """The written file itself, with --json."""
        if self.json:
            sys.stdout.write(data.decode())
            sys.stdout.flush()

    @contextmanager
    def progress(self) -> Iterator[Stage]:
        """Stages drawn on standard error, with time left; nothing with --quiet."""
        if self.quiet:
            yield quiet
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True, width=WIDTH)
        bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_interactive,  # a file or a pipe would get an empty line
        )

        @contextmanager
        def stage(name: str, total: int) -> Iterator[Tick]:
            task = bars.add_task(name[:38], total=total or None)
            try:
                yield lambda done: bars.advance(task, done)
            finally:
                bars.remove_task(task)

        with bars:
            yield stage


def _numeric(text: str) -> bool:
    return text in ("", "—") or text.lstrip("≤<+-").replace(",", "")[:1].isdigit()


def percent(value: float, digits: int = 2) -> str:
    """A fraction as a percentage, rounded outward (up) at this many digits."""
    exact = Decimal(repr(float(value))) * 100
    return f"{exact.quantize(Decimal(1).scaleb(-digits), ROUND_CEILING)} %"
