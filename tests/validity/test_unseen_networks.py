"""Any network certifies and verifies, and an exact one is coded exactly."""

from __future__ import annotations

from math import comb, log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from unseen_networks import IMAGES, Attending, published_lenet

from prunecert.api import architecture, certify, verify
from prunecert.data import load_source, take


@pytest.fixture(scope="module")
def images() -> Any:
    """(train, test) of digits in memory: 150 rows and 80."""
    found = []
    for which in ("train[:150]", "test[:80]"):
        sample = take(load_source("digits"), which, "bound")
        found.append(
            (torch.cat([x for x, _ in sample.stored(80)]), torch.from_numpy(sample.labels))
        )
    return tuple(found)


class Tokens:
    """Pixels as tokens, made when they are asked for; items are dicts."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> dict[str, Any]:
        ids = (self.x[i].flatten() * 16).long()
        return {"input_ids": ids, "attention_mask": (ids >= 0).long(), "labels": int(self.y[i])}


def _certified_both_ways(module: nn.Module, data: Any, folder: Path) -> None:
    for method in ("occam", "holdout", "per-class"):
        issued = certify(module, data, method=method)
        place = issued.write(folder / method)
        verdict = verify(place, module, data)
        assert verdict.valid, verdict.sentence
        assert issued.record.n == (150 if method == "occam" else 80)
    stored = architecture(module).decode((place / "network.bin").read_bytes()).tensors
    built = architecture(module).module.state_dict()
    assert list(stored) == list(built)
    for name, tensor in built.items():
        assert stored[name].dtype == tensor.dtype
        assert torch.equal(stored[name], tensor)


@pytest.mark.parametrize("make", IMAGES.values(), ids=IMAGES)
def test_every_kind_of_network(make, images, tmp_path):
    torch.manual_seed(0)
    _certified_both_ways(make(), images, tmp_path)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_transformer_with_lazy_dicts(images, tmp_path):
    torch.manual_seed(0)
    data = tuple(Tokens(*part) for part in images)
    _certified_both_ways(Attending(), data, tmp_path)


# --------------------------------------------------------------------------- exact coding


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A LeNet as published pruned ones are, rows it is wrong on, its certificate and its folder."""
    module = published_lenet()
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.integers(0, 256, (80, 1, 28, 28)).astype(np.float32))
    y = module(x).argmax(1)
    data = (x, torch.where(torch.arange(80) < 10, (y + 1) % 10, y))
    issued = certify(module, data)
    return module, data, issued, issued.write(tmp_path_factory.mktemp("published") / "code")


def test_the_published_network_verifies_with_its_errors(published):
    module, data, issued, folder = published
    assert verify(folder, module, data).valid
    assert issued.record.errors >= 10  # the ten labels that were changed
    assert issued.changes["predictions_changed"] == 0


def test_its_values_are_written_exactly(published):
    """Up to the order of hidden units, what was removed and the biases that took constants up."""
    module, _, _, folder = published
    found = architecture(module).decode((folder / "network.bin").read_bytes()).tensors
    for name in ("c1.weight", "c2.weight", "ip1.weight", "ip2.weight"):
        given, kept = (t[t != 0].tolist() for t in (module.state_dict()[name], found[name]))
        assert set(kept) <= set(given)
        assert len(kept) <= len(given)
    first = [module.state_dict()["c1.weight"], found["c1.weight"]]
    alive = {tuple(row.flatten().tolist()) for row in first[0]}
    assert {tuple(row.flatten().tolist()) for row in first[1] if row.any()} <= alive


def test_its_dead_units_are_gone(published):
    module, _, issued, folder = published
    found = architecture(module).decode((folder / "network.bin").read_bytes()).tensors
    given = module.state_dict()
    dead = (given["ip1.weight"] == 0).all(1) | (given["ip2.weight"] == 0).all(0)
    living = (found["ip1.weight"] != 0).any(1) & (found["ip2.weight"] != 0).any(0)
    assert int(dead.sum()) > 300
    assert int(living.sum()) == 500 - int(dead.sum())
    first = int(living.sum())
    assert living[:first].all()  # renumbered: the living come first …
    for part in (
        found["ip1.weight"][first:],
        found["ip1.bias"][first:],
        found["ip2.weight"][:, first:],
    ):
        assert not part.any()  # … and nothing is left of the others
    assert any("hidden units" in note for note in issued.notes)


def test_its_code_is_shorter_than_naming_every_nonzero(published):
    """Places by enumeration, values at log2 of 12 levels, a codebook of floats per layer."""
    module, _, issued, _ = published
    naive = 0.0
    for tensor in module.state_dict().values():
        nonzeros = int((tensor != 0).sum())
        naive += log2(comb(tensor.numel(), nonzeros)) + nonzeros * log2(12) + 12 * 32
    assert issued.record.code_bits < 0.8 * naive


# --------------------------------------------------------------------------- as typed

MODEL_FILE = """
from torch import nn
from parts import width

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
"""
DATA_FILE = """
import torch
from sklearn.datasets import load_digits

class Rows:
    def __init__(self, start, stop):
        self.start, self.stop, self.bunch = start, stop, load_digits()
    def __len__(self):
        return self.stop - self.start
    def __getitem__(self, i):
        x = torch.from_numpy(self.bunch.images[self.start + i] / 16).float()
        return x, self.bunch.target[self.start + i]

def rows():
    return Rows(0, 300), Rows(300, 400)
"""


def test_a_checkpoint_of_another_project_from_the_command_line(tmp_path, monkeypatch, capsys):
    """A model and a lazy data set of their own, a wrapped checkpoint with masks and a prefix."""
    from prunecert.cli.app import run

    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("net.py", MODEL_FILE),
        ("parts.py", "width = 12\n"),
        ("data.py", DATA_FILE),
    ):
        Path(name).write_text(text)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    for layer in (module[1], module[3]):
        torch.nn.utils.prune.l1_unstructured(layer, "weight", 0.5)
    state = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, "checkpoint.pt")
    about = "--model net.py:build --data data.py:rows"
    for mode, folder in (("", "code"), ("--holdout", "holdout")):
        assert run(f"certify checkpoint.pt {about} {mode} --out {folder} --quiet".split()) == 0
        assert run(f"verify {folder} {about}".split()) == 0
    assert capsys.readouterr().out.startswith("valid")
