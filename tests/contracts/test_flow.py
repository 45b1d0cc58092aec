"""The flow is one-way: a module imports only what lies below it; light commands load no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import prunecert

ROOT = Path(prunecert.__file__).parent

# Where a module stands; packages stand as one. A module may import what has a smaller number, and
# its own package.
LAYERS = {
    "types": 0,
    "progress": 0,
    "files": 1,
    "inversions": 1,
    "reference": 1,
    "user_code": 1,
    "data": 2,
    "models": 2,
    "pruning": 3,
    "coding": 3,
    "sketch": 3,
    "training": 4,
    "supermask": 4,
    "measuring": 4,
    "coordinate_search": 4,
    "measuring_language": 5,
    "measuring_losses": 5,
    "quantization_aware": 5,
    "cushions": 5,
    "bounds": 5,
    "measuring_norms": 6,
    "diagnostics": 6,
    "testing": 6,
    "certificate": 6,
    "results": 6,
    "posterior": 6,
    "api": 7,
    "report": 8,
    "sweep": 8,
    "study": 9,
    "demo": 9,
    "paper": 9,
    "cli": 10,
    "__init__": 11,
}
HEAVY = {("import", "torch"), ("from", "torch")}
LIGHT = {"types", "progress", "files", "inversions", "reference", "bounds"}


def home(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Homes of all prunecert modules that this file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
            if node.module == "prunecert":
                names = [f"prunecert.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("prunecert.")}
    return found - {"__version__"}  # a constant of the package itself


SOURCES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    own = home(path)
    assert own in LAYERS, f"{own} has no place among the layers: give it one"
    for other in imported(path) - {own}:
        assert LAYERS[other] < LAYERS[own], f"{own} imports {other}, which is not below it"


@pytest.mark.parametrize("path", [p for p in SOURCES if home(p) in LIGHT], ids=lambda p: p.name)
def test_light_modules_do_not_name_torch(path):
    words = path.read_text().split()
    assert not [line for line in zip(words, words[1:]) if line in HEAVY]


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "bounds",
        "bound holdout --errors 0 --n 9",
        "explain occam",
        "explain holdout --bibtex",
    ],
)
def test_light_commands_load_no_torch(line):
    script = (
        "import sys\n"
        "from prunecert.cli.app import run\n"
        f"code = run({line.split()!r})\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_stay_readable():
    """About 400 lines, as CONTRIBUTING says."""
    long = {p.name: n for p in SOURCES if (n := len(p.read_text().splitlines())) > 400}
    assert not long
