"""`lottery` on the command line: DESIGN's line, what lies where, what is said, kill and refusal."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from prunecert.models.weights import load_tensors, read_mask
from workshop import fits, flat, tree

SHORT = "--model mlp:64-16-10 --data digits --steps 60it --seeds 1 --quiet"
TRAIN = """
import torch

def train(model, train_set, *, steps, hold_masks, seed, on_step):
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    x, y = train_set[:]
    with hold_masks(model, optimizer):
        for step in range(1, steps + 1):
            loss = torch.nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            on_step(step)

def reshaped(model, train_set, *, steps, hold_masks, seed, on_step):
    return torch.nn.Linear(3, 3)
"""


@pytest.mark.slow
def test_the_line_as_it_is_promised(say):
    answer = say(
        "prunecert lottery --model mlp:64-16-10 --data digits --levels 8 --rewind 500it --out DIR"
    )
    assert answer.code == 0 and fits(answer.out)
    assert len(list(Path("DIR").glob("seed-*/level-*/mask.safetensors"))) == 3 * 9
    assert len(list(Path("DIR").glob("seed-*/level-*/model.safetensors"))) == 3 * 9
    for seed in range(3):
        checkpoint = load_tensors(f"DIR/seed-{seed}/level-0/rewind.safetensors").tensors
        for level in range(1, 9):
            place = Path(f"DIR/seed-{seed}/level-{level}")
            start, masks = (
                load_tensors(place / "start.safetensors").tensors,
                read_mask(place / "mask.safetensors"),
            )
            for name, mask in masks.items():
                assert torch.equal(start[name][mask], checkpoint[name][mask])


def test_what_is_written_and_said(say):
    line = f"prunecert lottery {SHORT.replace(' --quiet', '')} --levels 2 --rewind 9it --out DIR"
    answer = say(line)
    assert answer.code == 0 and fits(answer.out)
    assert "supermask" in answer.out and "DIR/curve.csv" in answer.out
    for name in ("results.json", "curve.csv", "accuracy.svg", "certificates.png", "report.html"):
        assert Path("DIR", name).is_file()
    assert json.loads(Path("DIR/results.json").read_text())["commands"][0]["command"]
    rows = list(csv.DictReader(Path("DIR/curve.csv").read_text().splitlines()))
    assert [row["level"] for row in rows] == ["0", "1", "2"]
    assert say("prunecert verify DIR/seed-0/level-2/certificate-difference").code == 0
    before = tree(Path("DIR"))
    assert say(line).out == answer.out and tree(Path("DIR")) == before


def test_certificates_can_wait(say):
    line = f"prunecert lottery {SHORT} --levels 1 --out DIR"
    assert say(f"{line} --no-certificates").code == 0
    assert not Path("DIR/seed-0/level-1/certificate").exists()
    before = Path("DIR/seed-0/level-1/model.safetensors").stat().st_mtime_ns
    assert say(line).code == 0
    assert Path("DIR/seed-0/level-1/certificate/certificate.json").is_file()
    assert Path("DIR/seed-0/level-1/model.safetensors").stat().st_mtime_ns == before


def test_a_damaged_certificate_is_made_again_and_said(say):
    line = f"prunecert lottery {SHORT.replace(' --quiet', '')} --levels 1 --out DIR"
    assert say(line).code == 0
    before = tree(Path("DIR"))
    Path("DIR/seed-0/level-0/certificate/network.bin").unlink()
    Path("DIR/seed-0/level-1/certificate-supermask/certificate.json").write_text("bad")
    answer = say(line)
    assert answer.code == 0 and flat(answer.out).count("a certificate is damaged") == 2
    assert tree(Path("DIR")) == before


def test_the_users_own_training(say):
    Path("mine.py").write_text(TRAIN)
    assert (
        say(
            f"prunecert lottery {SHORT} --levels 1 --rewind 5it --train mine.py:train --out DIR"
        ).code
        == 0
    )
    answer = say(f"prunecert lottery {SHORT} --levels 1 --train mine.py:reshaped --out OTHER")
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert "mine.py:reshaped: returned no 'fc1.weight': expected shape (16, 64)" in flat(answer.err)


@pytest.mark.parametrize(
    "options, words",
    [
        ("--levels -1", "--levels -1: expected 0 to 100"),
        ("--rewind 61it", "--rewind 61it: is step 61, but training has only 60 steps"),
        ("--rewind late", "steps 'late'"),
        ("--controls reinits", "did you mean 'reinit'"),
        ("--scope 2:4", "unknown scope '2:4'"),
        ("--rewinding weight", "did you mean 'weights'"),
        ("--train mine.py", "--train mine.py: expected file.py:function"),
        ("--train mine.py:other", "expected train(model, train_set, *, steps, hold_masks, seed"),
        ("--train mine.py:train --lr 0.1", "mine.py:train trains in its own way"),
        ("--fraction 0.999 --levels 3", "leave none of the 1184 prunable weights"),
        ("--out mine.py/x", "cannot write there"),
        ("--train nowhere.py:train", "nowhere.py: no such file"),
        ("--epochs 3", "--epochs and --steps: give one of them"),
        ("--seed 65536", "seeded initial weights have seeds 0 to 65535"),
        ("--delta 1", "delta"),
        ("--fraction 0", "--fraction 0.0"),
    ],
)
def test_wrong_arguments_are_one_line_and_write_nothing(say, options, words):
    Path("mine.py").write_text(TRAIN + "\n\ndef other(model):\n    pass\n")
    answer = say(f"prunecert lottery {SHORT} --out DIR {options}")
    assert answer.code == 2 and answer.out == ""
    assert answer.err.count("\n") == 1 and words in flat(answer.err)
    assert not Path("DIR").exists() or not [p for p in Path("DIR").rglob("*") if p.is_file()]


def test_a_file_in_the_way(say):
    Path("DIR").write_text("mine")
    answer = say(f"prunecert lottery {SHORT} --out DIR")
    assert answer.code == 2 and "DIR: is a file: expected a folder" in answer.err
    assert Path("DIR").read_text() == "mine"


@pytest.mark.slow
def test_killed_at_any_moment_it_comes_to_the_same(desk):
    """Kill -9 at 12 random moments; levels done are never trained again."""
    program = [sys.executable, "-c", "from prunecert.cli import main; main()"]
    line = (
        "lottery --model mlp:64-16-10 --data digits --steps 3000it --levels 3 --rewind 100it "
        "--seeds 1 --controls reinit --no-certificates --quiet --out"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole = [*program, *line.split(), "WHOLE"]
    subprocess.run(whole, env=environment, check=True)
    moments = random.Random(0)
    done: dict[Path, int] = {}
    for _ in range(12):
        process = subprocess.Popen([*program, *line.split(), "KILLED"], env=environment)
        time.sleep(moments.uniform(2, 6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path, moment in done.items():
            assert path.stat().st_mtime_ns == moment
        done = {
            path: path.stat().st_mtime_ns for path in Path("KILLED").glob("levels/*/level.json")
        }
    subprocess.run([*program, *line.split(), "KILLED"], env=environment, check=True)
    for name in ("model.safetensors", "mask.safetensors", "start.safetensors", "log.json"):
        for path in Path("WHOLE").glob(f"levels/*/{name}"):
            assert path.read_bytes() == Path("KILLED", *path.parts[1:]).read_bytes()
