"""What the driver does with runs and answers, whoever does the work."""

from __future__ import annotations

import pytest
from sweeping import tiny

from prunecert.sweep import drive
from prunecert.sweep.answers import Answer
from prunecert.sweep.drive import Collected, queued, run_all
from prunecert.sweep.runs import run_one
from prunecert.types import InputError

CONFIGS = [tiny(seed=s, method=m) for s in (0, 1) for m in ("magnitude", "random")]


@pytest.fixture
def engine(monkeypatch):
    """An engine that gives the answers it is told to, and what it was handed."""
    script: dict[int, list[tuple[str, object]]] = {}
    handed: list = []
    ended: list[bool] = []

    def pretended(configs, root, workers):
        handed.extend(configs)
        try:
            for index in range(len(configs)):
                for kind, content in script.get(index, [("rows", [{"row": index}])]):
                    yield Answer(index, kind, content)
        finally:
            ended.append(True)

    monkeypatch.setattr(drive, "run_local", pretended)
    return script, handed, ended


def test_other_dense_networks_come_first():
    assert queued({0: "a", 1: "a", 2: "b", 3: "a", 4: "c", 5: "b"}) == [0, 2, 4, 1, 3, 5]


def test_answers_find_their_runs_and_rows_stand_in_grid_order(tmp_path, engine):
    found = run_all(CONFIGS, tmp_path)
    assert engine[1] == [CONFIGS[0], CONFIGS[2], CONFIGS[1], CONFIGS[3]]
    assert found.in_order() == [{"row": 0}, {"row": 2}, {"row": 1}, {"row": 3}]
    assert found.done_now == 4 and not found.failed


def test_finished_runs_are_not_handed_out(tmp_path, engine):
    rows = run_one(CONFIGS[1], tmp_path)
    found = run_all(CONFIGS, tmp_path)
    assert engine[1] == [CONFIGS[0], CONFIGS[2], CONFIGS[3]]
    assert found.rows[1] == rows and found.done_now == 3


def test_a_refused_run_is_said_and_the_others_go_on(tmp_path, engine):
    engine[0][1] = [("said", "a line"), ("refused", "no good")]
    said, ticks = [], []

    from contextlib import contextmanager

    @contextmanager
    def stage(name, total):
        assert total == 4
        yield ticks.append

    configs = [*CONFIGS[:3], tiny(data="nowhere.npz")]
    found = run_all(configs, tmp_path, stage=stage, say=said.append, varied=("seed", "data"))
    assert sorted(found.rows) == [0, 1] and sorted(found.failed) == [2, 3]
    assert found.failed[2] == "seed=1 data=digits: no good"
    assert found.failed[3].startswith("seed=0 data=nowhere.npz: nowhere.npz")
    assert sorted(said) == sorted(["a line", *found.failed.values()])
    assert sum(ticks) == 4


def test_a_full_disk_stops_everything_and_keeps_what_there_is(tmp_path, engine):
    engine[0][1] = [("full", "x: No space left on device")]
    kept = Collected()
    with pytest.raises(InputError, match="No space left on device; the sweep stops") as caught:
        run_all(CONFIGS, tmp_path, collected=kept)
    assert "\n" not in str(caught.value)
    assert sorted(kept.rows) == [0] and engine[2] == [True]


def test_an_interrupt_ends_the_workers_and_keeps_what_there_is(tmp_path, engine):
    def said(line):
        raise KeyboardInterrupt

    engine[0][2] = [("said", "now")]
    kept = Collected()
    with pytest.raises(KeyboardInterrupt):
        run_all(CONFIGS, tmp_path, say=said, collected=kept)
    assert sorted(kept.rows) == [0, 2] and engine[2] == [True]


@pytest.mark.parametrize(
    "given, said",
    [
        ({"engine": "slurm"}, "--engine slurm: expected local or ray"),
        ({"address": "auto"}, "--address: goes with --engine ray"),
    ],
)
def test_an_engine_that_is_none(tmp_path, given, said):
    with pytest.raises(InputError, match=said):
        run_all(CONFIGS, tmp_path, **given)


def test_a_folder_that_cannot_be_written_in(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot write there"):
        run_all(CONFIGS, tmp_path / "file")


def test_ray_that_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'prunecert\[ray\]'"):
        run_all(CONFIGS, tmp_path, engine="ray")
