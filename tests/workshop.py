"""A tiny trained and pruned network on disk, made once, and the command line called in-process."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import combining

import numpy as np

from prunecert.cli.app import run

M, D = "mlp:64-16-10", "digits"
RUNGS = ("0.5000", "0.8000", "0.9000", "0.9500")
RETRAINED = "--model mlp:64-16-10 --data digits --epochs 10 --lr 0.2"

MODELS_FILE = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
"""


@dataclass(frozen=True)
class Answer:
    """What one command line did."""

    code: int
    out: str
    err: str


def furnish(folder: Path) -> Path:
    """dense/model.safetensors, W.safetensors and ladder/ (magnitude), random/ (a second method),
    P.npz and P-dense.npz (predictions on the test sample), models.py (the same architecture)."""
    train = "train --model mlp:64-16-10 --data digits --epochs 20 --batch-size 32 --lr 0.1 --quiet"
    dense = folder / "dense" / "model.safetensors"
    lines = [
        f"{train} --out {dense.parent}",
        f"prune {dense} --sparsity 0.5,0.8,0.9,0.95 --out {folder / 'ladder'} {RETRAINED} --quiet",
        f"prune {dense} --sparsity 0.5,0.8 --method random --out {folder / 'random'} {RETRAINED}"
        " --quiet",
    ]
    for line in lines:
        assert run(shlex.split(line)) == 0, line
    shutil.copy(folder / "ladder" / "0.9000.safetensors", folder / "W.safetensors")
    (folder / "models.py").write_text(MODELS_FILE)
    _write_predictions(folder)
    return folder


def _write_predictions(folder: Path) -> None:
    """Tables with a known number of errors: 6 of 600, and 3 of them for the dense network."""
    labels = np.arange(600) % 10
    for name, errors in (("P", 6), ("P-dense", 3)):
        predicted = np.where(np.arange(600) < errors, (labels + 1) % 10, labels)
        np.savez(folder / f"{name}.npz", predictions=predicted, labels=labels)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def certificate(folder: str) -> dict[str, Any]:
    return json.loads(Path(folder, "certificate.json").read_text())


def fits(text: str) -> bool:
    """At most 80 columns; an accent stands over the letter before it."""
    return all(sum(not combining(c) for c in line) <= 80 for line in text.splitlines())


def flat(text: str) -> str:
    """Without the line breaks that 80 columns ask for."""
    return " ".join(text.split())
