"""One run: its rows, done once, whatever happens to its folder."""

from __future__ import annotations

import inspect
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from sweeping import results, tiny

from prunecert.api.networks import architecture, open_network
from prunecert.bounds.measures import MEASURES
from prunecert.bounds.occam import occam_upper
from prunecert.bounds.table import evaluate_all
from prunecert.data import load_source, take
from prunecert.inversions import round_up
from prunecert.results import archive_members, read_evidence
from prunecert.sweep import runs
from prunecert.sweep.answers import attempt
from prunecert.sweep.rows import AXES, OF_SMALLEST_MARGIN, STATEMENTS, shortened, statements
from prunecert.sweep.runs import run_one
from prunecert.sweep.subjects import conv_spec, subject_of
from prunecert.sweep.table import COLUMNS, assemble, evidence_archive, table_csv
from prunecert.types import CapacityMeasure, Code, Counts, Margins

TRAINED = {"epochs": 20, "batch_size": 20, "lr": 0.1}  # to few errors, so that measures apply


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with everything measured, and its folder."""
    root = tmp_path_factory.mktemp("made")
    config = tiny(measure=True, flatness=True, curve_points=3, **TRAINED)
    return config, root, run_one(config, root)


@pytest.fixture
def trained(monkeypatch):
    """The networks that are trained or measured, one entry each."""
    done: list[str] = []
    for name in ("train_run", "measured", "ladder"):
        real = getattr(runs, name)

        def counted(*given, _name=name, _real=real, **more):
            done.append(_name)
            return _real(*given, **more)

        monkeypatch.setattr(runs, name, counted)
    return done


def test_one_row_for_each_network_densest_first(made):
    config, root, rows = made
    assert [row["axis.sparsity"] for row in rows] == [0.0, 0.5, 0.9]
    assert len({row["network"] for row in rows}) == 3
    for row in rows:
        assert set(row) - {"evidence"} <= set(COLUMNS)
        assert row["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
        assert row["nonzeros"] == row["parameters"] - round(592 * row["sparsity"])
        assert abs(row["sparsity"] - row["axis.sparsity"]) < 1 / 592
        assert (row["n"], row["test_n"], row["axis.n"]) == (200, 100, 200)
        assert row["gap"] == row["test_errors"] / 100 - row["train_errors"] / 200


def test_the_counts_are_those_of_the_weights_in_the_folder(made):
    config, root, rows = made
    spec = "mlp:64-8-10"
    source = load_source("digits")
    weights = sorted((root / "runs").glob("*/networks/*.safetensors"))
    for row, file in zip(rows[1:], weights, strict=True):
        module = open_network(file, architecture(spec)).module().eval()
        for which, column in (("train[:200]", "train_errors"), ("test[:100]", "test_errors")):
            ((inputs, labels),) = take(source, which, "bound").batches(200)
            scores = module(inputs)
            own = scores.gather(1, labels[:, None])[:, 0]
            rival = scores.scatter(1, labels[:, None], -np.inf).amax(1)
            wrong = ~(own - rival > 1e-4 * scores.abs().amax(1))
            assert row[column] == int(wrong.sum())


def test_the_measures_are_what_the_statements_say_of_the_evidence(made):
    config, root, rows = made
    for row in rows:
        parts, _ = read_evidence(root / row["evidence"])
        assert parts["margins"].values.dtype == np.float32
        assert parts["outcomes@holdout"].wrong.sum() == row["test_errors"]
        found = {result.name: result for result in evaluate_all(parts, 0.05)}
        orders = [n for n, r in found.items() if isinstance(r, CapacityMeasure)]
        assert len(orders) > 20
        for name in orders:
            assert row[f"measure.{name}"] == pytest.approx(found[name].value, rel=1e-6)
        assert row["code_bits"] == parts["code"].bits


def test_a_bound_on_the_risk_is_less_the_training_error_and_nothing_when_vacuous():
    parts = {"counts": Counts(50, 1000), "margins": Margins(np.ones(1000, np.float32))}
    found = statements({**parts, "code": Code(40)}, 0.05)
    assert found["measure.occam"] == round_up(occam_upper(50, 1000, 40, 0.05)) - 0.05
    assert "measure.occam" not in statements({**parts, "code": Code(40_000)}, 0.05)


def test_no_measure_sees_the_test_sample(made, tmp_path):
    config, root, rows = made
    other = run_one(replace(config, test_rows=600), tmp_path)
    assert other[0]["test_errors"] != rows[0]["test_errors"]
    for one, two in zip(rows, other, strict=True):
        measures = {name for name in one if name.startswith("measure.")}
        assert len(measures) > 20
        assert {n: one[n] for n in measures} == {n: two[n] for n in measures}


def test_what_reads_the_smallest_margin_is_read_at_the_tenth_percentile_too(made):
    config, root, rows = made
    row = rows[0]
    parts, _ = read_evidence(root / row["evidence"])
    values = np.sort(parts["margins"].values.astype(float))
    assert row["train_errors"] > 0 and values[0] <= 0 < values[19]
    assert not [name for name in row if name.removeprefix("measure.") in OF_SMALLEST_MARGIN]
    cut = {"counts": parts["counts"], "layers": parts["layers"], "margins": Margins(values[19:])}
    for result in evaluate_all(cut, 0.05):
        if result.name in OF_SMALLEST_MARGIN and isinstance(result, CapacityMeasure):
            assert row[f"measure.{result.name}-p10"] == pytest.approx(result.value, rel=1e-12)
    assert "measure.bartlett-2017-p10" in row


def test_flatness_is_measured_where_it_is_asked_for(made, tmp_path):
    config, root, rows = made
    (plain, *_) = run_one(tiny(measure=True, curve_points=3, sparsities=[], **TRAINED), tmp_path)
    assert plain["network"] == rows[0]["network"]
    flat = {name.removeprefix("measure.") for name in rows[0].keys() - plain.keys()}
    reads_noise = {
        f"measure-{name}".replace("_", "-")
        for name, measure in MEASURES.items()
        if any("sigma" in argument for argument in inspect.signature(measure).parameters)
    }
    assert flat == reads_noise != set()


def test_the_levels_of_a_lottery_are_rows_too(tmp_path):
    config = tiny(method="imp", levels=2, rewind="2it")
    rows = run_one(config, tmp_path)
    assert [row["axis.sparsity"] for row in rows] == [0.0, 0.2, 0.36]
    assert rows[0]["network"] == run_one(tiny(), tmp_path)[0]["network"]
    assert run_one(config, tmp_path) == rows


def test_initial_weights_are_those_the_network_was_trained_from(tmp_path):
    (row,) = run_one(tiny(measure=True, curve_points=2, epochs=0, sparsities=[]), tmp_path)
    parts, _ = read_evidence(tmp_path / row["evidence"])
    assert (parts["weightmeasures"].distance_frobenius_norm == 0).all()


def test_margins_shrink_a_little_and_never_grow():
    values = np.random.default_rng(0).normal(size=1001)
    values[0] = 0.0
    short = shortened(values)
    assert short.dtype == np.float32
    loss = np.sort(values) - short
    assert (loss >= 0).all() and (loss <= 2.0**-10 * np.abs(np.sort(values))).all()
    assert not (short.view(np.int32) & 0xFFF).any()


def test_a_run_is_done_once(made, trained):
    config, root, rows = made
    before = results(root)
    assert run_one(config, root) == rows
    assert trained == [] and results(root) == before


def test_runs_that_differ_in_pruning_share_their_dense_network(tmp_path, trained):
    first = run_one(tiny(), tmp_path)
    second = run_one(tiny(method="random"), tmp_path)
    assert trained.count("measured") == 5  # one dense, two rungs each
    assert len(list((tmp_path / "dense").iterdir())) == 1
    own = {"run", "axis.method"}
    assert {k: v for k, v in first[0].items() if k not in own} == {
        k: v for k, v in second[0].items() if k not in own
    }
    assert first[1]["network"] != second[1]["network"]
    assert run_one(tiny(seed=1), tmp_path)[0]["network"] != first[0]["network"]
    assert len(list((tmp_path / "dense").iterdir())) == 2


@pytest.mark.parametrize("key, value", [("lr", 0.2), ("label_noise", 0.5), ("n", 100)])
def test_what_decides_the_dense_network_is_in_its_name(key, value):
    assert subject_of(tiny()).dense_id != subject_of(tiny(**{key: value})).dense_id


@pytest.mark.parametrize("key, value", [("method", "random"), ("test_rows", 50), ("delta", 0.1)])
def test_what_does_not_is_not(key, value):
    one, other = subject_of(tiny()), subject_of(tiny(**{key: value}))
    assert one.dense_id == other.dense_id and one.run_id != other.run_id


def test_other_rows_under_the_same_name_are_another_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    ids = []
    for name in ("a", "b"):
        x = rng.random((60, 4), dtype=np.float32)
        y = np.arange(60) % 2
        np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=y, x_test=x + 2, y_test=y)
        ids.append(subject_of(tiny(data=f"{name}.npz", n=40, test_rows=20)).dense_id)
    assert ids[0] != ids[1]


def test_noisy_labels_are_trained_on_and_tested_on(tmp_path):
    clean, hidden = (
        tiny(sparsities=[], test_rows=600, label_noise=rate, **TRAINED) for rate in (0.0, 0.5)
    )
    assert run_one(clean, tmp_path)[0]["test_errors"] / 600 < 0.25
    assert run_one(hidden, tmp_path)[0]["test_errors"] / 600 > 0.45


# --------------------------------------------------------------------------- damage


def halve(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def remove(file):
    file.unlink()


def empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize(
    "what, harm",
    [
        ("runs/*/result.json", halve),
        ("runs/*/result.json", flip),
        ("runs/*/config.json", empty),
        ("runs/*/SPARSEST.npz", flip),
        ("runs/*/networks/0.5000.safetensors", flip),
        ("runs/*/networks/0.9000.safetensors", remove),
        ("dense/*/model.safetensors", halve),
        ("dense/*/measured-*.npz", remove),
    ],
)
def test_a_damaged_run_is_done_again_and_this_is_said(tmp_path, what, harm):
    config = tiny()
    rows = run_one(config, tmp_path)
    (file,) = tmp_path.glob(what.replace("SPARSEST", rows[-1]["network"]))
    harm(file)
    said = []
    again = run_one(config, tmp_path, say=said.append)
    assert [without_seconds(row) for row in again] == [without_seconds(row) for row in rows]
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder) in said[0] and "\n" not in said[0]
    said.clear()
    assert run_one(config, tmp_path, say=said.append) == again and said == []


def without_seconds(row):
    return {name: value for name, value in row.items() if name != "seconds"}


@pytest.mark.parametrize("harm", [halve, empty])
@pytest.mark.parametrize("what", ["networks/0.5000.safetensors", "SPARSEST.npz", "SPARSEST.json"])
def test_damage_to_an_unfinished_run_is_found_too(tmp_path, what, harm):
    rows = run_one(tiny(), tmp_path)
    (result,) = tmp_path.glob("runs/*/result.json")
    result.unlink()
    file = result.parent / what.replace("SPARSEST", rows[-1]["network"])
    harm(file)
    said = []
    again = run_one(tiny(), tmp_path, say=said.append)
    assert [without_seconds(row) for row in again] == [without_seconds(row) for row in rows]
    assert str(result.parent) in said[0]


def test_a_checkpoint_that_cannot_be_read_is_said(tmp_path):
    config = tiny(sparsities=[])
    rows = run_one(config, tmp_path)
    (dense,) = (tmp_path / "dense").iterdir()
    for name in ("trained.json", "model.safetensors"):
        (dense / name).unlink()
    (result,) = tmp_path.glob("runs/*/result.json")
    result.unlink()
    (dense / "checkpoints").mkdir(exist_ok=True)
    (dense / "checkpoints" / "latest.pt").write_bytes(b"half of it")
    said = []
    again = run_one(config, tmp_path, say=said.append)
    assert str(dense) in said[0] and "latest.pt" in said[0]
    assert [without_seconds(row) for row in again] == [without_seconds(row) for row in rows]


def test_an_unfinished_run_goes_on_where_it_stopped(tmp_path, trained):
    rows = run_one(tiny(), tmp_path)
    (result,) = tmp_path.glob("runs/*/result.json")
    result.unlink()
    (result.parent / f"{rows[-1]['network']}.json").unlink()
    (result.parent / ".result.json.k1ll3d").write_bytes(b"half")
    trained.clear()
    again = run_one(tiny(), tmp_path)
    assert trained.count("measured") == 1
    assert [without_seconds(row) for row in again] == [without_seconds(row) for row in rows]
    assert not list(tmp_path.rglob(".*.k1ll3d"))


# --------------------------------------------------------------------------- what is refused


def test_a_full_disk_is_told_from_a_bad_run(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    assert attempt(3, tiny(), tmp_path, print).kind == "rows"
    monkeypatch.setattr(os, "replace", full)
    answer = attempt(3, tiny(seed=1), tmp_path, print)
    assert (answer.index, answer.kind) == (3, "full")
    assert "No space left on device" in answer.content and "\n" not in answer.content
    assert attempt(3, tiny(), tmp_path, print).kind == "rows"  # what is finished is still read
    monkeypatch.undo()
    assert attempt(3, tiny(seed=1), tmp_path, print).kind == "rows"


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"data": "nowhere.npz"}, "nowhere.npz"),
        ({"n": 99_999}, "train has only 1197 rows"),
        ({"model": "resnet-21", "depth": None, "width": None}, "no such model"),
        ({"model": "conv", "depth": 9}, "does not fit"),
    ],
)
def test_a_run_that_cannot_be_is_refused(tmp_path, changed, said):
    given = {key: value for key, value in changed.items() if value is not None}
    config = tiny(**given) if "model" not in given or "depth" in given else None
    if config is None:
        from prunecert.sweep.config import config_of

        config = config_of(given | {"data": "digits", "sparsities": [0.5]})
    answer = attempt(0, config, tmp_path, print)
    assert answer.kind == "refused" and said in answer.content


def test_a_dead_layer_leaves_its_statements_empty(tmp_path):
    rows = run_one(tiny(measure=True, curve_points=2, width=2, sparsities=[0.998]), tmp_path)
    assert rows[1]["nonzeros"] < 20
    assert "measure.mbp-sketch-as-published" in rows[0]
    assert "measure.mbp-sketch-as-published" not in rows[1]


# --------------------------------------------------------------------------- models, tables


@pytest.mark.parametrize(
    "shape, depth, spec",
    [
        ((1, 28, 28), 1, "net:1x28x28,conv-4-3,relu,max-2,linear-10"),
        ((1, 8, 8), 2, "net:1x8x8,conv-4-3,relu,max-2,conv-4-3,relu,linear-10"),
        ((1, 8, 8), 3, "net:1x8x8,conv-4-3,relu,conv-4-3,relu,conv-4-3,relu,max-2,linear-10"),
    ],
)
def test_convolutions_pool_where_what_follows_still_fits(shape, depth, spec):
    assert conv_spec(shape, depth, 4, 10) == spec
    architecture(spec)


def test_a_small_convolutional_network_runs(tmp_path):
    rows = run_one(tiny(model="conv", depth=2, width=4), tmp_path)
    assert rows[0]["parameters"] == 4 * 9 + 4 + 4 * 4 * 9 + 4 + 4 * 10 + 10


def test_the_table_and_the_archive_are_the_same_bytes_each_time(made, tmp_path):
    config, root, rows = made
    table = table_csv(rows, "prunecert sweep c.toml")
    lines = table.decode().splitlines()
    assert lines[0] == ",".join(COLUMNS) and len(lines) == 4
    assert all(line.endswith(",prunecert sweep c.toml") for line in lines[1:])
    assert {f"axis.{name}" for name in AXES} | {f"measure.{n}" for n in STATEMENTS} < set(COLUMNS)
    assert evidence_archive(root, rows) == evidence_archive(root, [*rows, *rows])
    csv_file, archive = assemble(root, rows, "prunecert sweep c.toml")
    assert csv_file.read_bytes() == table
    members = dict(archive_members(archive))
    assert list(members) == [row["network"] for row in rows]
    (tmp_path / "e.npz").write_bytes(members[rows[1]["network"]])
    parts, header = read_evidence(tmp_path / "e.npz")
    assert header["weights_sha256"].startswith(rows[1]["network"])
    assert parts["counts"].errors == rows[1]["train_errors"]


def test_rows_survive_json(made):
    assert json.loads(json.dumps(made[2])) == made[2]
