"""Every certificate ever released verifies for ever; each codec, method and format version is here.

Folders are added by `add.py` with a release and never regenerated: if one of these tests fails, the
code is wrong, not the folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prunecert.api import architecture, verify
from prunecert.api.claims import CLAIMS
from prunecert.api.records import AS_EXACT
from prunecert.coding.mask_codes import MASK_MODES
from prunecert.coding.value_codes import SEEDED_VALUE_MODES

HERE = Path(__file__).parent
FOLDERS = sorted(path.parent for path in HERE.glob("*/*/certificate.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_released_certificate_verifies(folder):
    record = json.loads((folder / "certificate.json").read_text())
    data = str(folder.parent / "P.npz") if record["network"] is None else None
    if record["method"].startswith("language"):
        data = str(folder.parent / "text.txt")
    verdict = verify(folder, data=data)
    assert verdict.valid, verdict.sentence
    assert verdict.sentence == record["statement"]


def test_every_method_has_a_golden_certificate():
    methods = {json.loads((f / "certificate.json").read_text())["method"] for f in FOLDERS}
    assert methods >= {*CLAIMS, "fixed-sequence", "simultaneous"}


def test_every_way_of_coding_has_a_golden_certificate():
    """All but "rows", which is for matrices too large to ship, and what only a library call asks
    for; the freeze tests of `coding` hold the bytes of those."""
    choices = [
        choice
        for folder in FOLDERS
        if (folder / "network.bin").exists()
        for choice in decoded(folder).choices.values()
    ]
    assert {c.mask for c in choices} == {*MASK_MODES, "n:m", "initial"} - {"rows"}
    assert {c.values for c in choices} - {None} == {*SEEDED_VALUE_MODES, "difference"}


def decoded(folder):
    spec = json.loads((folder / "certificate.json").read_text())["model"]["spec"]
    return architecture(spec).decode((folder / "network.bin").read_bytes())


def test_an_exact_evaluation_has_a_golden_certificate():
    objects = {json.loads((f / "certificate.json").read_text())["object"] for f in FOLDERS}
    assert AS_EXACT in objects
