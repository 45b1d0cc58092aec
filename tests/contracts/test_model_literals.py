"""Numbers that took several values while a result was in view stand in the file, not in the code.

Records are certified under a code that was fixed before the sample: what their models compute must
be named by `network.bin`. These are all the numbers that the parts of `net:` models hold.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "src" / "prunecert" / "models"

# Each of these was chosen once, by what it means, and never changed.
ALLOWED = {
    "fixed_parts.py": {
        0, 1, -1,
        2, 3,  # powers of two; axes (and 1.0: what a row of zeros is divided by)
    },
    "front_ends.py": {
        0, 1, -1, 2, 3,  # axes, borders, neighbours
        255, 0.5,  # bytes, and rounding to the nearest
        64, 10, 7,  # subpixels; lengths of integer directions: 10, and 7 · sqrt 2 on the diagonal
        4, 5, 200, 28560, 867000,  # 5 x 5 places of 8 directions are 200 gradients; their bounds
        510, 256,  # the middle of R + 2G + B; the scale of bytes
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ALLOWED)
def test_parts_hold_no_other_number(name: str) -> None:
    tree = ast.parse((MODELS / name).read_text())
    found = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float)
    }
    assert found - ALLOWED[name] == set(), "a new number: name it in the architecture's integers"
