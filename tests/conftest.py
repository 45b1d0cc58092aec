"""One thread per test process, and the slow suite in parts.

Small tensors are slower on two contended threads. `PRUNECERT_SLOW_PART=2/12` runs every twelfth
slow test, starting with the third: what `.ci/run` does with a part chosen by the commit.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from workshop import Answer, furnish

torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = os.environ.get("PRUNECERT_SLOW_PART")
    if not wanted:
        return
    part, parts = (int(number) for number in wanted.split("/"))
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = {id(item) for i, item in enumerate(slow) if i % parts != part}
    config.hook.pytest_deselected(items=[item for item in items if id(item) in others])
    items[:] = [item for item in items if id(item) not in others]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny trained and pruned network; nobody writes into it."""
    return furnish(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def desk(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workshop as the current folder."""
    place = tmp_path / "desk"
    shutil.copytree(workshop, place)
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def say(desk: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Answer]:
    """Type a line that starts with `prunecert` at the desk; what it printed and returned."""
    from prunecert.cli.app import run

    def typed(line: str) -> Answer:
        capsys.readouterr()
        program, *arguments = shlex.split(line)
        assert program == "prunecert"
        code = run(arguments)
        return Answer(code, *capsys.readouterr())

    return typed
