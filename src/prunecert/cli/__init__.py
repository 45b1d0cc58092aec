"""The command line: parse, call `api`, print. Commands import what they need when they run, so
that `--help`, `bounds`, `bound` and `explain` answer without torch."""

from prunecert.cli.app import main

__all__ = ["main"]
