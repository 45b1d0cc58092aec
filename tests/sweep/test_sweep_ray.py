"""The same sweep on a real Ray cluster of this machine, one of whose workers is killed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from sweeping import rows_of, toml

from prunecert.sweep.config import read_config
from prunecert.sweep.drive import run_all
from prunecert.sweep.runs import run_one
from prunecert.sweep.table import assemble

# Tells who builds it, so that the test can kill that process in the middle of a run.
MODEL = """
import os, pathlib, time
from torch import nn

def build():
    folder = pathlib.Path("builders")
    driver = folder / "driver"
    if driver.exists() and str(os.getpid()) != driver.read_text():
        (folder / str(os.getpid())).touch()
        while not (folder / "go").exists():
            time.sleep(0.02)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.mark.slow
def test_a_killed_ray_worker_changes_nothing(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL)
    text = toml({"seed": [0, 1, 2, 3]}, model="net.py:build")
    (tmp_path / "c.toml").write_text(text.replace("depth = 1\n", "").replace("width = 8\n", ""))
    configs = read_config("c.toml").configs
    builders, whole, out = (tmp_path / name for name in ("builders", "whole", "out"))
    rows = [row for config in configs for row in run_one(config, whole)]
    assemble(whole, rows, "")
    builders.mkdir()
    (builders / "driver").write_text(str(os.getpid()))
    seen: list[int] = []

    def kill_one():
        while len(seen) < 2:
            seen[:] = [int(file.name) for file in builders.iterdir() if file.name.isdigit()]
            time.sleep(0.02)
        os.kill(seen[0], signal.SIGKILL)
        (builders / "go").touch()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    found = run_all(configs, out, engine="ray", workers=2)
    killer.join(timeout=5)
    assert not killer.is_alive() and not found.failed
    assert not ray.is_initialized()
    assemble(out, found.in_order(), "")
    assert rows_of(out) == rows_of(whole)
    assert (out / "evidence.tar.xz").read_bytes() == (whole / "evidence.tar.xz").read_bytes()
    used = {int(file.name) for file in builders.iterdir() if file.name.isdigit()}
    assert len(used) >= 3, "two workers, and the one in the place of the killed"
