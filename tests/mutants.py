"""Plant each error in a copy of the sources and show the suite failing (`make mutants`).

A mutant is one wrong line of a kind that has been seen in the field's own code or that would make
a certificate false. It is killed when the tests named beside it fail. A mutant that survives, or
whose place in the code is gone, makes this script fail.

    python tests/mutants.py            all of them
    python tests/mutants.py tail       those whose name contains "tail"
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutant:
    """`old` stands exactly once in `file` (under src/prunecert) and becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    tests: str  # what must fail, relative to tests/


MUTANTS = (
    Mutant(
        "ln(1/delta) dropped",
        "inversions.py",
        "return math.log(delta) - bits * LN2",
        "return -bits * LN2",
        "bounds",
    ),
    Mutant(
        "bits taken as nats",
        "inversions.py",
        "return math.log(delta) - bits * LN2",
        "return math.log(delta) - bits",
        "bounds/test_occam.py",
    ),
    Mutant(
        "delta spent on every class in full",
        "bounds/holdout.py",
        "delta / classes",
        "delta",
        "bounds coverage test_twins_agree.py",
    ),
    Mutant(
        "rounding inward",
        "inversions.py",
        "ROUND_CEILING)",
        "ROUND_FLOOR)",
        "test_inversions.py",
    ),
)


def main(words: list[str]) -> int:
    chosen = [m for m in MUTANTS if all(word in m.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("src", "tests", "pyproject.toml", "docs", "README.md"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        alive = [mutant.name for mutant in chosen if not killed(mutant, copy)]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} planted errors killed")
    for name in alive:
        print(f"alive: {name}")
    return 1 if alive else 0


def killed(mutant: Mutant, copy: Path) -> bool:
    """Plant the error, run its tests, take it out again."""
    file = copy / "src" / "prunecert" / mutant.file
    text = file.read_text()
    if text.count(mutant.old) != 1:
        sys.exit(f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {file}")
    file.write_text(text.replace(mutant.old, mutant.new))
    try:
        tests = [f"tests/{test}" for test in mutant.tests.split()]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not ui", *tests],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
        )
    finally:
        file.write_text(text)
    verdict = {0: "ALIVE", 1: "killed"}.get(done.returncode, f"pytest exit {done.returncode}")
    print(f"{verdict:8} {mutant.name}", flush=True)
    return done.returncode == 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
