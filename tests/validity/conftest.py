"""Networks and honest certificates for attackers to start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prunecert.api import architecture, certify, select
from prunecert.api.networks import Network, open_network
from prunecert.api.predicted import select_predictions

DELTA = 0.05


@pytest.fixture(scope="session")
def ladder(workshop: Path) -> list[Network]:
    """Densest first: the dense network and two of its rungs, their run logs lost."""
    built = architecture("mlp:64-16-10")
    names = ("dense/model", "ladder/0.5000", "ladder/0.8000")
    found = [open_network(workshop / f"{name}.safetensors", built) for name in names]
    return [Network(built, network.tensors, network.name) for network in found]


@pytest.fixture(scope="session")
def honest(ladder: list[Network], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of honest certificates about digits, by method; and tables of predictions."""
    place = tmp_path_factory.mktemp("honest")
    dense, middle, sparse = ladder
    made = {
        "occam": certify(sparse, "digits"),
        "holdout": certify(sparse, "digits", method="holdout"),
        "cost-of-pruning": certify(sparse, "digits", method="cost-of-pruning", dense=dense),
        "selection": select(ladder, "digits", target_error=0.3).issued,
        "drop": select(ladder[1:], "digits", dense=dense, max_drop=0.3).issued,
    }
    for name, issued in made.items():
        assert issued is not None, name
        issued.write(place / name)
    tables = _tables(place)
    chosen = select_predictions(tables, delta=DELTA, target_error=0.3).issued
    assert chosen is not None
    chosen.write(place / "predictions")
    return place


def _tables(place: Path) -> list[str]:
    """200 predictions each, with 2 and with 4 errors."""
    labels = np.arange(200) % 5
    files = [str(place / f"P{errors}.npz") for errors in (2, 4)]
    for file, errors in zip(files, (2, 4)):
        np.savez(file, predictions=np.where(np.arange(200) < errors, 9, labels), labels=labels)
    return files
