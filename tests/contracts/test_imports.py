"""What must answer at once imports no torch (see test_flow.py too); public names are there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import prunecert

PROBE = """
import contextlib, io, sys
from prunecert.cli.app import run
with contextlib.redirect_stdout(io.StringIO()) as out:
    code = run(sys.argv[1:])
heavy = {name.partition(".")[0] for name in sys.modules} & {"torch", "scipy", "sklearn", "datasets"}
print(code, len(out.getvalue()) > 0, sorted(heavy))
"""


def python(*arguments: str) -> str:
    command = [sys.executable, "-c", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "line",
    [
        "certify --help",
        "plan --target-error 0.05 --expected-error 0.03",
    ],
)
def test_answers_without_torch(line):
    assert python(PROBE, *line.split()) == "0 True []"


def test_importing_the_package_imports_no_torch():
    assert (
        python("import sys, prunecert, prunecert.bounds; print('torch' in sys.modules)") == "False"
    )


@pytest.mark.parametrize("name", prunecert.__all__)
def test_public_names_are_there_and_documented(name):
    assert getattr(prunecert, name).__doc__


def test_help_lists_the_commands_in_groups(capsys):
    from prunecert.cli.app import run

    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    places = [text.index(f"─ {group} ─") for group in ("Prune", "Certify", "Understand")]
    assert places == sorted(places)
    commands = "demo train prune measure certify verify select plan bounds bound explain report"
    assert all(f"\n│ {command} " in text for command in commands.split())
    assert run(["-h"]) == 0 and capsys.readouterr().out == text
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"prunecert {prunecert.__version__}\n"


def test_no_command_at_all_shows_the_help(capsys):
    from prunecert.cli.app import run

    assert run([]) == 2
    answer = capsys.readouterr()
    assert "Usage: prunecert" in answer.out + answer.err
