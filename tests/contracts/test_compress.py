"""`prunecert compress`: what it leaves, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_interruption import interrupted, started, wait_for

from prunecert.api import architecture, compressing, sample_of, verify
from prunecert.api.attempts import Attempt, Settings, best_of, read_attempts
from prunecert.api.compressing import compress_network
from prunecert.api.counting import Options
from prunecert.progress import Stage, Tick, quiet
from workshop import certificate, fits, tree

DIGITS = "prunecert compress --model mlp:64-16-10 --data digits"
SMALL = "prunecert compress --model net:1x6x6,bytes,linear-5,relu,linear-4 --data small.npz"


def write_small(place: Path) -> None:
    """Images of bytes: which quarter of them is bright is the label."""
    rng, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 400), ("test", 100)):
        y = rng.integers(0, 4, n)
        x = rng.integers(0, 90, (n, 1, 6, 6), dtype=np.uint8)
        for i, k in enumerate(y):
            x[i, 0, 3 * (k // 2) :, 3 * (k % 2) :][:3, :3] += 60
        arrays |= {f"x_{split}": x, f"y_{split}": y}
    np.savez(place / "small.npz", **arrays)


@pytest.fixture
def shop(desk: Path) -> Path:
    write_small(desk)
    return desk


def attempts_of(folder: str) -> list[Attempt]:
    return read_attempts(Path(folder, "attempts.csv"))


def candidates(work: str) -> dict[str, tuple[int, bytes]]:
    """Every candidate's weights with the time at which they were written."""
    files = sorted(Path(work).glob("*/model.safetensors"))
    return {str(f): (f.stat().st_mtime_ns, f.read_bytes()) for f in files}


def the_best_is_certified(folder: str) -> None:
    best, record = best_of(attempts_of(folder)), certificate(folder)
    assert (record["risk_bound"], record["code_bits"]) == (best.risk_bound, best.code_bits)
    assert record["n"] == best.n


# --------------------------------------------------------------------------- what it leaves


def test_digits_within_seconds(say):
    answer = say(f"{DIGITS} --out DIR --budget 3s --seed 0")
    assert answer.code == 0 and fits(answer.out)
    assert verify("DIR").valid
    attempts = attempts_of("DIR")
    assert (
        attempts
        and Path("DIR.search/attempts.csv").read_bytes() == Path("DIR/attempts.csv").read_bytes()
    )
    assert len(candidates("DIR.search")) == len(attempts) == len({a.settings for a in attempts})
    assert f"{len(attempts)} attempts" in answer.out
    for number, attempt in enumerate(attempts, 1):  # in the table: what was better than all before
        words = [str(number), attempt.settings.origin, f"{attempt.code_bits:,}"]
        shown = any(all(w in line.split() for w in words) for line in answer.out.splitlines())
        before = [a.risk_bound for a in attempts[: number - 1]]
        assert shown == (attempt.risk_bound < min(before, default=2.0))
        assert attempt.n == 1197 and attempt.delta == 0.05
    the_best_is_certified("DIR")
    assert set(os.listdir("DIR")) == {
        "attempts.csv", "certificate.json", "evidence.npz", "network.bin", "network.safetensors",
    }  # fmt: skip


def test_again_with_more_time_goes_on(say, shop):
    assert say(f"{SMALL} --out DIR --budget 0.3s --quiet").code == 0
    first, before = attempts_of("DIR"), candidates("DIR.search")
    bound = certificate("DIR")["risk_bound"]
    answer = say(f"{SMALL} --out DIR --budget 2s")
    assert answer.code == 0
    second, after = attempts_of("DIR"), candidates("DIR.search")
    assert second[: len(first)] == first and len(second) > len(first)
    assert {name: after[name] for name in before} == before  # not trained again
    assert certificate("DIR")["risk_bound"] <= bound
    the_best_is_certified("DIR")
    assert verify("DIR", data="small.npz").valid
    assert "evaluated in float64, where no sum is rounded" in certificate("DIR")["object"]


def test_a_lost_table_costs_no_training(say, shop):
    assert say(f"{SMALL} --out DIR --budget 0.3s --quiet").code == 0
    before = candidates("DIR.search")
    Path("DIR.search/attempts.csv").write_text("nonsense")
    assert say(f"{SMALL} --out DIR --budget 0.3s --quiet").code == 0
    trained = [name for name in before if b'origin\\": \\"trained' in before[name][1][:2000]]
    assert trained
    assert all(candidates("DIR.search")[name] == before[name] for name in trained)


def test_from_given_weights(say):
    weights = "ladder/0.8000.safetensors"
    line = f"--model mlp:64-16-10 --data digits --from {weights}"
    assert say(f"prunecert compress {line} --out DIR --budget 1s --quiet").code == 0
    given, *others = attempts_of("DIR")
    assert given.settings.origin == "as given"
    assert {a.settings.origin for a in others} <= {"fine-tuned", "refined"}
    the_best_is_certified("DIR")
    alone = f"prunecert certify {weights} --model mlp:64-16-10 --data digits --out C --quiet"
    assert say(alone).code == 0
    assert given.code_bits == certificate("C")["code_bits"]
    assert certificate("DIR")["risk_bound"] <= certificate("C")["risk_bound"] == given.risk_bound
    assert verify("DIR").valid


def test_json_is_the_written_file_and_quiet_is_quiet(say, shop):
    answer = say(f"{SMALL} --out DIR --budget 0.3s --json")
    assert answer.code == 0
    assert answer.out.encode() == Path("DIR/certificate.json").read_bytes()
    answer = say(f"{SMALL} --out DIR --budget 0.3s --quiet")
    assert answer == replace(answer, code=0, out="", err="")


def test_a_target_that_is_not_met(say, shop):
    answer = say(f"{SMALL} --out DIR --budget 0.3s --target-error 0")
    assert answer.code == 1 and "--target-error 0" in answer.out
    assert verify("DIR", data="small.npz").valid and certificate("DIR")["target"] == 0


# --------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--out NEW --budget 10", "--budget '10' 90s"),
        ("--out NEW --budget -1m", "--budget '-1m'"),
        ("--out NEW --budget abc", "--budget 'abc'"),
        ("--out NEW --budget 0s", "--budget '0s'"),
        ("--out NEW --budget nanm", "--budget 'nanm'"),
        ("--out NEW --budget 1h30m", "--budget '1h30m'"),
        ("--out NEW --from nowhere.safetensors", "nowhere.safetensors"),
        ("--out NEW --from P.npz", "P.npz"),
        ("--out NEW --from models.py", "models.py"),
        ("--out W.safetensors", "W.safetensors: is a file"),
        ("--out ladder", "ladder: holds"),
        ("--out .", "holds"),
        ("--out strange", "strange.search: is not empty"),
        ("--out filed", "filed.search: is a file"),
        ("--out NEW --delta 2", "--delta 2"),
        ("--out NEW --tried 0", "'--tried'"),
        ("--out NEW --target-error 7", "--target-error 7"),
        ("--out NEW --sample valid", "valid"),
        ("--out NEW --device quantum", "--device quantum"),
        ("--out NEW --model net:8x8,linear-10", "net:8x8,linear-10 C x H x W"),
        ("", "--out"),
    ],
)
def test_bad_lines(say, more, words):
    Path("strange.search").mkdir()
    Path("strange.search", "thesis.txt").write_text("dear to somebody")
    Path("filed.search").touch()
    before = tree(Path())
    answer = say(f"{DIGITS} {more}")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("prunecert: ") and answer.err.count("\n") == 1, answer.err
    assert not [word for word in words.split() if word not in answer.err], answer.err
    assert tree(Path()) == before and not Path("NEW.search").exists()


def test_the_current_folder(say, desk, monkeypatch):
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    answer = say(f"{DIGITS} --out . --budget 0.3s")
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert not list(Path().iterdir()) and not Path("../empty.search").exists()


def test_a_search_with_another_configuration(say, shop):
    line = f"{SMALL} --out DIR --budget 0.3s"
    assert say(f"{line} --quiet").code == 0
    Path("G.safetensors").write_bytes(Path("DIR/network.safetensors").read_bytes())
    before = tree(Path())
    others = ("--delta 0.01", "--seed 1", "--sample train[:300]", "--from G.safetensors")
    for other in others:
        answer = say(f"{line} {other}")
        assert (answer.code, answer.out) == (2, "")
        assert "DIR.search/config.json: holds a run with another configuration" in answer.err
        assert tree(Path()) == before


# --------------------------------------------------------------------------- interruptions


def stops_in(number: int, after: int) -> tuple[Stage, list[int]]:
    """A stage whose user presses Ctrl-C at this step of this candidate (0: never); its steps."""
    steps: list[int] = []

    @contextmanager
    def stage(name: str, total: int) -> Iterator[Tick]:
        def tick(done: int) -> None:
            if name.startswith("candidate 2 "):
                steps.append(done)
                if number == 2 and len(steps) > after:
                    raise KeyboardInterrupt

        yield tick

    return stage, steps


@pytest.fixture
def searches(shop, monkeypatch) -> Callable[..., None]:
    """Two candidates: 200 steps, then 700 of another price; no coordinate search."""

    def plan(attempts: list[Attempt], first: Settings, *rest: object) -> Settings | None:
        both = (replace(first, price=1.0), replace(first, price=0.5, epochs=35))
        return both[len(attempts)] if len(attempts) < 2 else None

    monkeypatch.setattr(compressing, "next_settings", plan)
    monkeypatch.setattr(compressing, "next_refined", lambda *arguments: None)

    def search(folder: str, stage: Stage = quiet) -> None:
        model = architecture("net:1x6x6,bytes,linear-5,relu,linear-4")
        sample = sample_of("small.npz", "train", "bound")
        issued, _ = compress_network(
            model, sample, folder, delta=0.05, budget=100.0, options=Options(stage=stage)
        )
        issued.write(folder)

    return search


def test_an_interrupted_search_ends_in_the_same_certificate(searches):
    stage, _ = stops_in(2, after=600)
    with pytest.raises(KeyboardInterrupt):
        searches("A", stage)
    assert not Path("A").exists()
    before = candidates("A.search")
    assert len(before) == 1 and len(attempts_of("A.search")) == 1
    stage, steps = stops_in(0, after=0)
    searches("A", stage)
    assert len(steps) == 35 * 20 - 500  # from the checkpoint, not from the start
    assert {name: candidates("A.search")[name] for name in before} == before
    assert not list(Path("A.search").glob("*/checkpoints/*"))
    searches("B")
    for name in ("certificate.json", "network.bin", "network.safetensors"):
        assert Path("A", name).read_bytes() == Path("B", name).read_bytes()


LONG = f"{DIGITS.removeprefix('prunecert ')} --out DIR --budget"


@pytest.mark.parametrize("how", ["Ctrl-C", pytest.param("kill -9", marks=pytest.mark.slow)])
def test_stopped_from_outside_then_the_same_line(desk, say, how):
    process = started(f"{LONG} 1h")
    wait_for(Path("DIR.search/attempts.csv"), process)  # now the second candidate is trained
    if how == "Ctrl-C":
        interrupted(process)
    else:
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert not Path("DIR").exists()
    done, before = attempts_of("DIR.search"), candidates("DIR.search")
    assert done and len(before) == len(done)
    assert say(f"prunecert {LONG} 1s --quiet").code == 0  # no time left: what there is
    assert attempts_of("DIR") == done and candidates("DIR.search") == before
    assert verify("DIR").valid
    assert json.loads(Path("DIR.search/config.json").read_text())["model"] == "mlp:64-16-10"
