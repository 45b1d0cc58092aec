"""`supermask` on the command line: what is written, certified, verified, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from workshop import certificate, fits, flat, tree

LINE = "prunecert supermask --model mlp:64-60-10 --data digits --out RUN"
NORMALISED = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
"""


def test_supermask_certify_verify(say):
    line = f"{LINE} --density 0.25 --epochs 5 --seed 11"
    answer = say(line)
    assert answer.code == 0 and fits(answer.out)
    assert "kept 25.00% of the frozen weights" in flat(answer.out)
    assert set(tree(Path("RUN"))) == {"config.json", "log.json", "model.safetensors"}
    stock = nn.Sequential()
    stock.add_module("fc1", nn.Linear(64, 60))
    stock.add_module("fc2", nn.Linear(60, 10))
    stock.load_state_dict(load_file("RUN/model.safetensors"))  # strict
    kept = [w for w in stock.parameters() if w.dim() == 2]
    assert sum(int((w != 0).sum()) for w in kept) == 0.25 * 60 * 74
    assert all(len(torch.unique(w.detach().abs())) == 2 for w in kept)  # zero and one size

    where = "--model mlp:64-60-10 --data digits"
    answer = say(f"prunecert certify RUN/model.safetensors {where} --out CERT")
    assert answer.code == 0 and "signs drawn from seed 11" in flat(answer.out)
    assert certificate("CERT")["code_bits"] < 60 * 74  # a bit for every place would be more
    assert say("prunecert verify CERT").code == 0

    first = Path("RUN/model.safetensors").stat()
    assert say(line).code == 0
    assert Path("RUN/model.safetensors").stat() == first  # read, not trained again


def test_every_option(say):
    line = (
        "prunecert supermask --model models.py:build --data digits --density 0.5 --out A "
        "--scope layerwise --epochs 1 --batch-size 50 --lr 0.5 --optimizer adamw "
        "--weight-decay 0.1 --sample train[:200] --device cpu --seed 3 --quiet"
    )
    answer = say(line)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    say(line.replace("--out A", "--out B"))
    say(line.replace("--out A", "--out C").replace("--seed 3", "--seed 4"))
    a, b, c = (Path(folder, "model.safetensors").read_bytes() for folder in "ABC")
    assert a == b != c


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--density 0", "density 0.0: expected a number above 0"),
        ("--density 1.5", "density 1.5: expected a number above 0"),
        ("--density nan", "density nan"),
        ("--density 0.1 --seed 65536", "seed 65536: expected an integer from 0 to 65535"),
        ("--density 0.1 --scope globl", "did you mean 'global'?"),
        ("--density 0.1 --scope 2:4", "scope '2:4' means 0.5"),
        ("--density 0.1 --optimizer lion", "optimizer 'lion'"),
        ("--density 0.1 --sample nowhere", "nowhere"),
    ],
)
def test_bad_values_are_one_line(say, options, message):
    answer = say(f"{LINE} {options}")
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err and answer.err.count("\n") == 1
    assert not Path("RUN").exists()


def test_models_with_other_tensors_are_one_line(say):
    Path("normalised.py").write_text(NORMALISED)
    line = LINE.replace("mlp:64-60-10", "normalised.py:build")
    answer = say(f"{line} --density 0.1")
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert "'2.weight' is part of a normalisation" in answer.err
    assert not Path("RUN").exists()


@pytest.mark.parametrize("options", ["", "--density", "--density x", "--density 0.1 --nosuch 3"])
def test_bad_usage(say, options):
    assert say(f"{LINE} {options}").code == 2
    assert not Path("RUN").exists()


def test_another_density_needs_another_folder(say):
    line = f"{LINE} --epochs 0 --density"
    assert say(f"{line} 0.25").code == 0
    answer = say(f"{line} 0.5")
    assert answer.code == 2 and "another configuration" in answer.err
