"""`prunecert sweep`, typed; workers that die, a disk that is full, an interrupt."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from sweeping import gone, results, rows_of, start, toml

from prunecert.cli.app import run
from prunecert.results import read_evidence
from prunecert.sweep.config import read_config
from prunecert.sweep.runs import run_one

GRID = {"seed": [0, 1], "method": ["magnitude", "random"]}

# A network whose building in a worker goes wrong, as the seed says.
MODEL = """
import os, pathlib, signal, sys
import torch
from torch import nn

def build():
    if "prunecert.sweep.worker" in sys.orig_argv:
        seed, once = torch.initial_seed(), pathlib.Path("died-once")
        if seed == 5:
            raise ValueError("five")
        if seed == 7 or (seed == 1 and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""

# Python runs this file first: the disk is full once `after` runs are finished.
FULL_DISK = """
import os, pathlib, sys
if "prunecert.sweep.worker" in sys.orig_argv:
    replace = os.replace
    def full(source, target):
        done = list(pathlib.Path("out").glob("runs/*/result.json"))
        if len(done) >= 2:
            raise OSError(28, "No space left on device")
        replace(source, target)
    os.replace = full
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> Path:
    file = Path("c.toml")
    file.write_text(text)
    return file


def test_the_line_makes_the_table_and_the_second_time_runs_nothing(here, capsys):
    write('out = "out"\n' + toml(GRID))
    assert run(["sweep", "c.toml", "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert "4 runs (4 done now), 10 networks, 12 rows" in printed.out
    assert all(len(line) <= 80 for line in printed.out.splitlines()[:5])
    assert str(here / "out" / "table.csv") in printed.out
    table, archive = (Path("out") / name for name in ("table.csv", "evidence.tar.xz"))
    before, first = results(Path("out")), (table.read_bytes(), archive.read_bytes())
    assert len(before) == 4
    assert b",prunecert sweep c.toml\n" in first[0]
    assert run(["sweep", "c.toml", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert results(Path("out")) == before
    assert (table.read_bytes(), archive.read_bytes()) == first
    # the same rows, made by this process one after the other
    alone = [row for c in read_config("c.toml").configs for row in run_one(c, here / "alone")]
    told = rows_of(Path("out"))
    assert [row["network"] for row in told] == [row["network"] for row in alone]
    assert [row["test_errors"] for row in told] == [str(row["test_errors"]) for row in alone]
    parts, _ = read_evidence(Path("out") / alone[0]["evidence"])
    assert parts["counts@holdout"].errors == alone[0]["test_errors"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere.toml"], "nowhere.toml: cannot read it"),
        (["c.toml"], "c.toml: out: missing; expected a folder here or as --out"),
        (["c.toml", "--out", "o", "--engine", "slurm"], "--engine slurm: expected local or ray"),
        (["c.toml", "--out", "c.toml"], "c.toml: cannot write there"),
    ],
)
def test_what_cannot_be_is_one_line(here, capsys, arguments, said):
    write(toml(GRID))
    assert run(["sweep", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert [file.name for file in here.iterdir()] == ["c.toml"]


@pytest.mark.slow
def test_the_table_does_not_depend_on_the_number_of_workers(here):
    write(toml(GRID, measure=True, flatness=True, curve_points=3))
    for workers in (1, 2):
        assert run(["sweep", "c.toml", "--out", f"w{workers}", "--workers", str(workers)]) == 0
    assert rows_of(Path("w1")) == rows_of(Path("w2"))
    one, two = ((Path(w) / "evidence.tar.xz").read_bytes() for w in ("w1", "w2"))
    assert one == two


@pytest.mark.slow
def test_dying_workers_and_failing_runs_are_told_and_the_rest_is_done(here, capsys):
    Path("net.py").write_text(MODEL)
    text = toml({"seed": [0, 1, 7, 5, 2]}, model="net.py:build")
    write(text.replace("depth = 1\n", "").replace("width = 8\n", ""))
    assert run(["sweep", "c.toml", "--out", "out", "--workers", "1"]) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("prunecert:")]
    assert lines == [
        "prunecert: seed=7: its worker died 3 times (SIGKILL: out of memory?)",
        "prunecert: seed=5: net.py:build: calling it failed: ValueError: five",
        f"prunecert: c.toml: 2 of 5 runs failed, the first: {lines[0].removeprefix('prunecert: ')}",
    ]
    assert [row["axis.seed"] for row in rows_of(Path("out"))] == ["0"] * 3 + ["1"] * 3 + ["2"] * 3
    assert gone(here / "out")


@pytest.mark.slow
def test_a_full_disk_ends_the_sweep_in_one_line_and_loses_nothing(here):
    file = write(toml({"seed": [0, 1, 2, 3]}))
    (here / "site").mkdir()
    (here / "site" / "sitecustomize.py").write_text(FULL_DISK)
    line = [file, "--out", "out", "--workers", 1]
    stopped = start(*line, PYTHONPATH=str(here / "site"))
    _, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 2
    (said,) = [x for x in err.splitlines() if x.startswith("prunecert:")]
    assert "No space left on device; the sweep stops" in said
    kept = results(Path("out"))
    assert len(kept) == 2 and gone(here / "out")
    again = start(*line)
    out, _ = again.communicate(timeout=120)
    assert again.returncode == 0 and "(2 done now)" in out
    assert {name: results(Path("out"))[name] for name in kept} == kept


@pytest.mark.slow
def test_an_interrupt_leaves_a_table_of_what_is_done(here):
    file = write(toml({"seed": list(range(40))}, epochs=40))
    process = start(file, "--out", "out", "--workers", 2)
    while not results(Path("out")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in err
    assert gone(here / "out")
    rows = rows_of(Path("out"))
    assert 3 <= len(rows) < 120 and {row["run"] for row in rows} <= set(results(Path("out")))


@pytest.mark.slow
def test_two_drivers_on_one_folder_never_do_a_run_twice(here):
    file = write(toml({"seed": list(range(6)), "method": ["magnitude", "random"]}))
    drivers = [start(file, "--out", "out", "--workers", 2) for _ in range(2)]
    for driver in drivers:
        _, err = driver.communicate(timeout=300)
        assert driver.returncode == 0, err
    first = results(Path("out"))
    assert len(first) == 12
    # a run's seconds would be another's in the second table, had it been done twice
    assert run(["sweep", "c.toml", "--out", "out"]) == 0 and results(Path("out")) == first
    assert len(list(Path("out").glob("dense/*"))) == 6
