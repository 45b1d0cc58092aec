"""A sweep whose driver is killed at any moment: nothing is lost, done twice or left running."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from sweeping import gone, results, rows_of, start, toml, workers_of

from prunecert.sweep.config import read_config
from prunecert.sweep.runs import run_one
from prunecert.sweep.table import assemble

KILLS = 24
LONGEST = 5.0  # seconds after its start that a driver is killed: loading takes two or three


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_in_the_same_table(tmp_path):
    file = tmp_path / "c.toml"
    grid = {"seed": list(range(12)), "method": ["magnitude", "random"]}
    file.write_text(toml(grid, epochs=60, retrain_epochs=30, measure=True, curve_points=3))
    whole, out = tmp_path / "whole", tmp_path / "out"
    rows = [row for config in read_config(file).configs for row in run_one(config, whole)]
    assemble(whole, rows, "")
    moments, killed = random.Random(6), 0
    while killed < KILLS:
        driver = start(file, "--out", out, "--workers", 2)
        try:
            driver.wait(timeout=moments.uniform(0.5, LONGEST))
        except subprocess.TimeoutExpired:
            before = results(out)
            driver.kill()
            killed += 1
        driver.communicate()
        assert gone(out), "a worker outlives its driver"
        if driver.returncode == 0:  # done before its moment came: the next kills need a new sweep
            assert rows_of(out) == rows_of(whole)
            shutil.rmtree(out)
            continue
        now = results(out)
        assert {name: now[name] for name in before} == before, "a finished run was done again"
    finish(file, out)
    assert rows_of(out) == rows_of(whole)
    assert (out / "evidence.tar.xz").read_bytes() == (whole / "evidence.tar.xz").read_bytes()
    assert not list(out.glob("runs/**/.*.*")), "something half-written is left"


def finish(file: Path, out: Path) -> None:
    before = results(out)
    driver = start(file, "--out", out, "--workers", 2)
    _, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err
    assert "damaged" not in err
    now = results(out)
    assert len(now) == 24 and {name: now[name] for name in before} == before


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_a_run_costs_nothing(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(toml({"seed": [0, 1, 2]}, epochs=200))
    whole, out = tmp_path / "whole", tmp_path / "out"
    rows = [row for config in read_config(file).configs for row in run_one(config, whole)]
    assemble(whole, rows, "")
    driver = start(file, "--out", out, "--workers", 1)
    while not list(out.glob("runs/*/config.json")):
        assert driver.poll() is None
        time.sleep(0.01)
    (worker,) = workers_of(out)
    os.kill(worker, signal.SIGKILL)
    _, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err
    assert rows_of(out) == rows_of(whole) and gone(out)
