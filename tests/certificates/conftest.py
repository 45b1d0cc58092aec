"""One certificate of every kind, from a data set small enough to be verified in milliseconds."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from kinds import KINDS, POSTERIOR

from prunecert.data import load_source, take


@pytest.fixture(scope="session")
def shelf(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one certificate per kind, each in a folder of that name, small.npz, and the
    posterior that some are about."""
    from prunecert.cli.app import run

    place = tmp_path_factory.mktemp("shelf")
    _write_small(place / "small.npz")
    before = Path.cwd()
    os.chdir(place)
    try:
        for kind, line in {"Q.safetensors": POSTERIOR, **KINDS}.items():
            words = shlex.split(line.format(shop=workshop))
            assert run([*words, "--out", kind, "--quiet"]) == 0, kind
    finally:
        os.chdir(before)
    return place


def _write_small(file: Path) -> None:
    """Rows of digits: all that were trained on, 60 that were not."""
    digits = load_source("digits")
    arrays = {}
    for split, size in (("train", 1197), ("test", 60)):
        sample = take(digits, f"{split}[:{size}]", "bound")
        arrays[f"x_{split}"] = np.concatenate([x.numpy() for x, _ in sample.stored(100)])
        arrays[f"y_{split}"] = sample.labels
    np.savez(file, **arrays)
