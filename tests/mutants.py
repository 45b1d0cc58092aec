"""Plant each error in a copy of the sources and show the suite failing (`make mutants`).

A mutant is one wrong line (`planted_errors.py`, `planted_in_….py`). It is killed when the tests
named beside it fail. A mutant that survives, or whose place in the code is gone, makes this script
fail.

    python tests/mutants.py            all of them
    python tests/mutants.py tail       those whose name contains "tail"
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from planted_errors import PLANTED, Mutant
from planted_in_guarantees import PLANTED_IN_GUARANTEES
from planted_in_research import PLANTED_IN_RESEARCH

ROOT = Path(__file__).resolve().parents[1]


MUTANTS = (*PLANTED, *PLANTED_IN_GUARANTEES, *PLANTED_IN_RESEARCH)


def main(words: list[str]) -> int:
    chosen = [m for m in MUTANTS if all(word in m.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        every = sorted({test for mutant in chosen for test in mutant.tests.split()})
        if run(copy, every) != 0:
            sys.exit("the suite fails with no error planted: nothing can be concluded")
        alive = [mutant.name for mutant in chosen if not killed(mutant, copy)]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} planted errors killed")
    for name in alive:
        print(f"alive: {name}")
    return 1 if alive else 0


def copied(folder: Path) -> Path:
    """The sources and the tests, to be damaged at will."""
    for name in ("src", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def killed(mutant: Mutant, copy: Path) -> bool:
    """Plant the error, run its tests, take it out again."""
    file = copy / "src" / "prunecert" / mutant.file
    text = file.read_text()
    if text.count(mutant.old) != 1:
        sys.exit(f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {file}")
    file.write_text(text.replace(mutant.old, mutant.new))
    try:
        code = run(copy, mutant.tests.split())
    finally:
        file.write_text(text)
    verdict = {0: "ALIVE", 1: "killed"}.get(code, f"pytest exit {code}")
    print(f"{verdict:8} {mutant.name}", flush=True)
    return code == 1


def run(copy: Path, tests: list[str]) -> int:
    """pytest's exit code on these tests of the copy; it stops at the first failure."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PRUNECERT_SLOW_PART", None)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow and not ui"]
    return subprocess.run(
        [*command, *(f"tests/{test}" for test in tests)],
        cwd=copy,
        env=environment,
        capture_output=True,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
