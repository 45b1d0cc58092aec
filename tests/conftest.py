"""One thread per test process, and the slow suite in parts.

Small tensors are slower on two contended threads. `PRUNECERT_SLOW_PART=2/6` runs every sixth slow
test, starting with the third: what `.ci/run` does with a part chosen by the commit.
"""

from __future__ import annotations

import os

import pytest
import torch

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
