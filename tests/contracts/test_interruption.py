"""Ctrl-C and kill leave no broken output; the same command again goes on to the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prunecert.api import Recipe, architecture, sample_of
from prunecert.api.ladder import Pruning, ladder, to_prune
from prunecert.api.runs import train_run
from prunecert.progress import Stage, Tick, quiet
from workshop import tree

PRUNECERT = [sys.executable, "-c", "from prunecert.cli import main; main()"]
LIMIT = 60  # seconds until a test gives up waiting


def started(line: str, **how: object) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*PRUNECERT, *line.split()], env=environment, **pipes | how)


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LIMIT
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def interrupted(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()  # one that does not listen would outlive the test
    assert (process.returncode, out) == (130, "")
    assert err == "prunecert: interrupted: nothing half-written is left behind\n"


def test_ctrl_c_during_train(desk):
    line = "train --model mlp:64-16-10 --data digits --batch-size 8 --epochs 100000 --out RUN"
    process = started(line)
    wait_for(Path("RUN/checkpoints/latest.pt"), process)
    interrupted(process)
    assert set(tree(Path("RUN"))) == {"config.json", "checkpoints/latest.pt"}


SLOW_DATA = """
import time
from pathlib import Path

import torch

class Rows:
    def __len__(self):
        return 1000

    def __getitem__(self, index):
        if index == 3:
            Path("reading").touch()
            time.sleep(60)
        return torch.zeros(1, 8, 8), index % 10

def data():
    return Rows(), Rows()
"""


@pytest.mark.parametrize(
    "command", ["certify W.safetensors", "select W.safetensors --target-error .5"]
)
def test_ctrl_c_while_counting(desk, command):
    Path("slow.py").write_text(SLOW_DATA)
    before = set(tree(desk))
    process = started(f"{command} --model mlp:64-16-10 --data slow.py:data --out DIR")
    wait_for(Path("reading"), process)
    interrupted(process)
    assert set(tree(desk)) - before == {"reading"}


def test_ctrl_c_while_writing_keeps_the_earlier_certificate(say, monkeypatch):
    line = "prunecert certify W.safetensors --model mlp:64-16-10 --data digits --out DIR --holdout"
    assert say(line).code == 0
    before = tree(Path())
    monkeypatch.setattr(Path, "write_bytes", stopping(Path.write_bytes, after=2))
    answer = say(f"{line} --delta 0.01")
    assert (answer.code, answer.out) == (130, "")
    assert answer.err == "prunecert: interrupted: nothing half-written is left behind\n"
    assert tree(Path()) == before


def stopping(work: Callable[..., object], after: int) -> Callable[..., object]:
    """`work`, interrupted at the call that follows the first `after` ones."""
    calls = iter(range(after))

    def instead(*arguments: object) -> object:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return work(*arguments)

    return instead


def stops_after(steps: int) -> Stage:
    """A stage whose user presses Ctrl-C at this step of training."""

    @contextmanager
    def stage(name: str, total: int) -> Iterator[Tick]:
        yield stopping(lambda done: None, after=steps)

    return stage


MODEL, RECIPE = "mlp:64-16-10", Recipe("1200it", batch_size=8, optimizer="adamw", seed=5)


def trained(folder: Path, stage: Stage = quiet) -> None:
    train_run(architecture(MODEL), sample_of("digits", "train", "train"), RECIPE, folder, stage)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("run") / "b"
    trained(folder)
    return tree(folder)


def test_an_interrupted_run_ends_in_the_same_bytes(tmp_path, uninterrupted):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", stops_after(700))
    assert set(tree(tmp_path / "a")) == {"config.json", "checkpoints/latest.pt"}
    taken_up: list[int] = []

    @contextmanager
    def counted(name: str, total: int) -> Iterator[Tick]:
        yield taken_up.append

    trained(tmp_path / "a", counted)
    assert sum(taken_up) == 1200 - 500  # from the last checkpoint, not from the start
    assert tree(tmp_path / "a") == uninterrupted


@pytest.mark.parametrize(
    "damage", [lambda data: data[:100], lambda data: b"", lambda data: b"x" * 99]
)
def test_a_damaged_checkpoint_only_costs_time(tmp_path, uninterrupted, damage):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", stops_after(700))
    checkpoint = tmp_path / "a" / "checkpoints" / "latest.pt"
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    trained(tmp_path / "a")
    assert tree(tmp_path / "a") == uninterrupted


def test_an_interrupted_ladder_goes_on(workshop, tmp_path):
    network = to_prune(workshop / "dense" / "model.safetensors", MODEL)
    sample = sample_of("digits", "train", "train")

    def climbed(folder: Path, stage: Stage = quiet) -> None:
        recipe = Recipe("20it")
        ladder(
            network, [0.5, 0.7, 0.9], folder, Pruning(), sample=sample, recipe=recipe, stage=stage
        )

    stages: list[str] = []

    @contextmanager
    def second_rung_stops(name: str, total: int) -> Iterator[Tick]:
        stages.append(name)
        yield stopping(lambda done: None, after=20 if len(stages) == 1 else 5)

    with pytest.raises(KeyboardInterrupt):
        climbed(tmp_path / "a", second_rung_stops)
    assert set(tree(tmp_path / "a")) == {"config.json", "0.5000.safetensors"}
    first = (tmp_path / "a" / "0.5000.safetensors").stat()
    climbed(tmp_path / "a")
    assert (tmp_path / "a" / "0.5000.safetensors").stat() == first
    climbed(tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_reader_that_goes_away_is_no_error():
    process = started("bounds")
    assert process.stdout and process.stderr
    process.stdout.close()  # as `| head` does
    assert process.stderr.read() == ""
    assert process.wait(LIMIT) == 0


@pytest.mark.slow
def test_kill_9_then_the_same_command_ends_in_the_same_bytes(desk):
    line = "train --model mlp:64-16-10 --data digits --batch-size 8 --steps 8000it --out"
    process = started(f"{line} A")
    wait_for(Path("A/checkpoints/latest.pt"), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not Path("A/model.safetensors").exists()
    for folder in ("A", "B"):
        process = started(f"{line} {folder} --quiet")
        assert process.communicate() == ("", "") and process.returncode == 0
    a, b = (Path(folder, "model.safetensors").read_bytes() for folder in "AB")
    assert a == b
