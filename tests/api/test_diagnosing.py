"""`prunecert diagnose`, in-process: what it writes, what it prints, what it refuses."""

from __future__ import annotations

import json
import math
import shlex

import numpy as np
import pytest
import torch
from torch import nn

from prunecert.api import architecture, pruning_steps, sample_of
from prunecert.api.diagnosed import DRAWN, rests_on, results
from prunecert.api.diagnosing import diagnose
from prunecert.api.networks import open_network
from prunecert.api.pruning_steps import drawn_mask
from prunecert.bounds.table import STEPS
from prunecert.cli.app import run
from prunecert.diagnostics import RESTS_ON
from prunecert.models.weights import load_tensors, save_tensors
from prunecert.report.contents import Figure, Run, read_run
from workshop import fits, flat, tree

MLP = "mlp:64-12-10"
LAYER = (
    "kept-fraction",
    *(f"removed-norm-{n}" for n in ("latala", "gaussian", "bernstein", "cumulants", "redraws")),
    "removed-norm-measured",
    "rounding-norm",
    *(f"pattern-{n}" for n in ("as-in-paper", "gaussian", "poisson-binomial")),
    "sketch-rows",
)
CHANGES = tuple(name for name in STEPS if name.startswith("output-change"))
BIASED = ("output-change-at-input", "output-change-with-biases")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights as initialised: a chain, a chain with constant or broken layers, a convolution."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name, model in (("mlp", MLP), ("lenet", "lenet-5")):
        save_tensors(folder / f"{name}.safetensors", dict(architecture(model).module.state_dict()))
    tensors = dict(architecture(MLP).module.state_dict())
    save_tensors(folder / "zero.safetensors", tensors | {"fc2.weight": torch.zeros(10, 12)})
    torch.save(tensors | {"fc1.weight": torch.full((12, 64), torch.nan)}, folder / "nan.pt")
    wide = {"x_train": np.ones((9, 65), np.float32), "y_train": np.arange(9)}
    np.savez(folder / "wide.npz", **wide)
    return folder


@pytest.fixture(scope="module")
def digits(files, tmp_path_factory):
    """The run folder of the chain on digits."""
    out = tmp_path_factory.mktemp("digits")
    line = f"diagnose {files / 'mlp.safetensors'} --model {MLP} --data digits --d 0.5 --out {out}"
    assert run([*shlex.split(line), "-q"]) == 0
    return out


@pytest.fixture
def typed(files, tmp_path, monkeypatch, capsys):
    """Type a line in the folder of the weights: (exit code, standard output, standard error)."""
    monkeypatch.chdir(files)

    def type_line(line):
        code = run(["diagnose", *shlex.split(line.replace("OUT", str(tmp_path / "out")))])
        return code, *capsys.readouterr()

    return type_line


def written(folder):
    return json.loads((folder / "results.json").read_text())


def rows_by_name(found, layer):
    """Of the pruned network, its weights not rounded."""
    rows = [row for row in found["bounds"] if "also rounded to" not in row["details"]]
    return {row["name"]: row for row in rows if row["layer"] == layer}


# --------------------------------------------------------------------------- what is written


def test_one_row_for_each_layer_and_statement(digits):
    found = written(digits)
    for layer in ("fc1.weight", "fc2.weight"):
        assert set(rows_by_name(found, layer)) == {*LAYER, *BIASED}
    assert set(rows_by_name(found, None)) == {"kept-fraction", *CHANGES}
    # the change of the output is also stated with the kept weights rounded
    together = 1 + len(CHANGES) + len(BIASED)
    assert len(found["bounds"]) == 2 * (len(LAYER) + len(BIASED)) + together
    for row in found["bounds"]:
        spec = STEPS[row["name"]]
        assert row["unit"] == spec.unit
        assert row["kind"] == (spec.kind if row["value"] is not None else "not-applicable")
        assert row["details"].get("rests on", "") == ", ".join(RESTS_ON.get(row["name"], ()))
    read_run(digits)


def test_the_summary_counts_what_this_draw_exceeds(digits):
    found = written(digits)
    rows = [row for row in found["bounds"] if row["delta"] == 0.05]
    for row in rows:
        if row["measured"] > row["value"] or row["unit"] == "norm":
            assert ("exceeded" in row["details"]) == (row["measured"] > row["value"])
    counts = {
        kind: (sum("exceeded" in row["details"] for row in mine), len(mine))
        for kind in ("certified", "conditional")
        for mine in [[row for row in rows if row["kind"] == kind]]
    }
    assert [n for _, n in counts.values()] == [2 * 4, 2 * 2]
    (certified, _), (conditional, _) = counts.values()
    words = f"This draw exceeds {certified} of 8 certified and {conditional} of 4 conditional "
    assert any(sentence.startswith(words) for sentence in found["summary"])


def test_measured_numbers_are_those_of_the_masks_that_are_drawn(files, digits):
    found = written(digits)
    tensors = load_tensors(files / "mlp.safetensors").tensors
    kept = {}
    for place, layer in enumerate(("fc1.weight", "fc2.weight")):
        weight = tensors[layer].double().numpy()
        mask = kept[layer] = drawn_mask(weight, 0.5, (0, place))
        rows = rows_by_name(found, layer)
        norm = np.linalg.svd(weight * ~mask)[1][0]
        most = max(mask.sum(0).max(), mask.sum(1).max())
        assert rows["kept-fraction"]["measured"] == mask.mean()
        assert rows["removed-norm-measured"]["value"] == pytest.approx(norm, rel=3e-9)
        assert rows["pattern-gaussian"]["measured"] == most
        drawn = found["figures"]["pattern"]["series"]
        fewest = next(s for s in drawn if s["name"] == "fewest, measured")
        shares = dict(zip(fewest["x"], fewest["y"]))
        assert shares[f"{layer}: rows"] == mask.mean(1).min()
        assert shares[f"{layer}: columns"] == mask.mean(0).min()
    total = sum(mask.sum() for mask in kept.values()) / (64 * 12 + 12 * 10)
    row = rows_by_name(found, None)["kept-fraction"]
    assert (row["value"], row["measured"]) == (1 - math.sqrt(0.2), total)


def whole_network(found, rounded):
    """The rows of BIASED about all layers together, with or without rounding."""
    rows = [row for row in found["bounds"] if row["layer"] is None and row["name"] in BIASED]
    return [row for row in rows if ("also rounded to" in row["details"]) == rounded]


def test_the_output_moves_by_all_layers_and_by_each_alone(files, digits):
    """Networks with the pruned weights in place, in float32."""
    found = written(digits)
    tensors = load_tensors(files / "mlp.safetensors").tensors
    dense = architecture(MLP)
    x = torch.cat([x for x, _ in sample_of("digits", "train", "bound").batches(500)])
    for layers in (("fc1.weight", "fc2.weight"), ("fc1.weight",), ("fc2.weight",)):
        pruned = {
            name: t * torch.from_numpy(drawn_mask(t.double().numpy(), 0.5, (0, place)))
            for place, (name, t) in enumerate((n, tensors[n]) for n in ("fc1.weight", "fc2.weight"))
            if name in layers
        }
        with torch.no_grad():
            moved = dense.build(tensors)(x) - dense.build(tensors | pruned)(x)
        rows = rows_by_name(found, layers[0] if len(layers) == 1 else None)
        for name in BIASED:
            assert rows[name]["measured"] == pytest.approx(float(moved.norm(dim=1).max()), rel=1e-4)
            assert rows[name]["value"] >= rows[name]["measured"] > 0
            assert rows[name]["sample"] == "train[0:1197]"
    for pruned_only, rounded in zip(*(whole_network(found, also) for also in (False, True))):
        assert 0 < abs(rounded["measured"] - pruned_only["measured"]) < pruned_only["measured"]
        assert rounded["value"] >= rounded["measured"]
        assert rounded["details"]["also rounded to"] == pruning_steps.ROUNDING_STEP
    assert rows_by_name(found, None)["output-change"]["details"]["reason"].startswith(
        "it covers ch"
    )


def test_figures_state_no_risk_and_have_every_layer(digits):
    figures = {name: Figure.model_validate(f) for name, f in written(digits)["figures"].items()}
    assert list(figures) == ["entries", "removed-norm", "singular-values", "pattern"]
    assert not any(figure.is_risk for figure in figures.values())
    for name in ("entries", "singular-values"):
        line, *layers = figures[name].series
        assert [s.name for s in layers] == ["fc1.weight", "fc2.weight"]
        assert line.y == (line.x if name == "entries" else [1.0] * len(line.x))
    norms = {s.name: s for s in figures["removed-norm"].series}
    for name, series in norms.items():
        assert series.x == ["fc1.weight", "fc2.weight"]
        assert series.kind == (STEPS[name].kind if name in STEPS else "measured")
    singular = figures["singular-values"].series[2]
    assert len(singular.x) == 10 and singular.y == sorted(singular.y, reverse=True)


def test_the_page_calls_no_step_vacuous(digits):
    page = (digits / "report.html").read_text()
    assert "Steps of the argument (nothing about new data)" in page
    assert "Statements about new data" not in page and "vacuous · log scale" not in page


def test_same_inputs_same_bytes(files, digits):
    before = tree(digits)
    assert set(before) == {"results.json", "report.html"}
    (command,) = written(digits)["commands"]
    program, *again = shlex.split(command["command"])
    assert program == "prunecert" and run([*again, "-q"]) == 0
    assert tree(digits) == before


# --------------------------------------------------------------------------- what is printed


def test_the_table_and_the_sentences(typed):
    code, out, _ = typed(f"mlp.safetensors --model {MLP} --data digits --sample test --out OUT")
    lines = out.splitlines()
    assert code == 0 and fits("\n".join(lines[:-1]))  # a path is not wrapped
    assert lines[1].split() == [
        *("layer", "kept", "%", "removed", "Gaussian", "cumulants", "most", "kept")
    ]
    assert [line.split()[0] for line in lines[2:4]] == ["fc1", "fc2"]
    assert lines[2].split()[1] == "42.3"  # 1 − √(1/3)
    words = flat(out)
    assert "fc1.weight: excess kurtosis -1.2" in words and "not close to Gaussian" in words
    assert "of 8 assumptions are near" in words
    assert "On test[0:600] the output moves by at most" in words
    assert all(sentence in words for sentence in rests_on())
    assert lines[-1].startswith("Figures and tables: ") and lines[-1].endswith("report.html")


def test_every_statement_rests_on_something_or_on_nothing():
    words = " ".join(rests_on()).replace(",", " ").replace(".", " ").split()
    free = {"removed-norm-bernstein", "removed-norm-cumulants", "removed-norm-redraws"}
    free |= {"pattern-poisson-binomial"}
    assert all(words.count(name) == 1 for name in {*RESTS_ON, *free})
    assert all(name in rests_on()[-1] for name in free)


# --------------------------------------------------------------------------- other networks


def test_convolutions_without_data(typed, tmp_path, monkeypatch):
    for name in pruning_steps.MOST_PRODUCTS:  # of the largest layer
        monkeypatch.setitem(pruning_steps.MOST_PRODUCTS, name, 1e8)
    code, out, _ = typed("lenet.safetensors --model lenet-5 --d 3 --out OUT")
    assert code == 0 and fits("\n".join(out.splitlines()[:-1]))
    found = written(tmp_path / "out")
    for layer in ("conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"):
        assert set(rows_by_name(found, layer)) == set(LAYER)
    # (50, 20·5·5) and d/(d+2) = 3/5: √Ψ and the sides are all that the Gaussian form reads
    weight = load_tensors("lenet.safetensors").tensors["conv2.weight"].double().numpy()
    sides = math.sqrt(50) + math.sqrt(500) + math.sqrt(2 * math.log(20))
    row = rows_by_name(found, "conv2.weight")["removed-norm-gaussian"]
    assert row["value"] == pytest.approx(weight.std() * math.sqrt(0.6) * sides, rel=1e-6)
    for name in CHANGES:
        row = rows_by_name(found, None)[name]
        assert row["kind"] == "not-applicable" and "not a chain" in row["details"]["reason"]
    assert "not applicable: lenet.safetensors: not a chain of linear layers" in flat(out)


@pytest.fixture
def mlp(files):
    return open_network(files / "mlp.safetensors", architecture(MLP))


def test_a_chain_without_data_asks_for_data(mlp):
    found = diagnose(mlp, d=1.0)
    assert found.change is None and found.no_change == "it needs inputs: give a data set (--data)"
    assert found.alone == {} and found.sample is None


def test_no_chain_with_data_says_why():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.Tanh(), nn.Linear(9, 10))
    found = diagnose(module, "digits")
    assert found.change is None and "not a chain of linear layers and ReLU" in found.no_change
    assert [at.name for at in found.layers] == ["1.weight", "3.weight"]


def test_a_layer_that_does_not_vary_is_left_out_with_the_reason(typed, tmp_path):
    code, out, _ = typed(f"zero.safetensors --model {MLP} --data digits --out OUT")
    assert code == 0 and "fc2.weight: weight must vary" in flat(out)
    rows = rows_by_name(written(tmp_path / "out"), "fc2.weight").values()
    assert {row["kind"] for row in rows} == {"not-applicable"}
    assert all("must vary" in row["details"]["reason"] for row in rows)
    read_run(tmp_path / "out")


def test_what_takes_too_long_is_a_reason_in_the_table(typed, tmp_path, monkeypatch):
    for name in pruning_steps.MOST_PRODUCTS:
        monkeypatch.setitem(pruning_steps.MOST_PRODUCTS, name, 10_000)
    assert typed(f"mlp.safetensors --model {MLP} --out OUT --quiet") == (0, "", "")
    found = written(tmp_path / "out")
    for name in pruning_steps.MOST_PRODUCTS:
        row = rows_by_name(found, "fc1.weight")[name]
        assert row["kind"] == "not-applicable" and "12 x 64: takes" in row["details"]["reason"]
    norms = {s["name"]: s["y"] for s in found["figures"]["removed-norm"]["series"]}
    assert norms["removed-norm-redraws"][0] is None and None not in norms["measured"]
    read_run(tmp_path / "out")


@pytest.mark.parametrize("end", [{"d": 0.0}, {"d": 1e12}, {"delta": 0.02}, {"delta": 0.9}])
def test_the_ends_of_the_ranges(mlp, end):
    found = results(diagnose(mlp, "digits", **end), "")
    Run.model_validate(json.loads(json.dumps(found, allow_nan=False)))
    row = rows_by_name(found, "fc1.weight")
    assert row["removed-norm-redraws"]["value"] is not None
    assert (row["kept-fraction"]["measured"] == 1) == (end == {"d": 0.0})
    assert (row["kept-fraction"]["measured"] == 0) == (end == {"d": 1e12})


def test_only_the_layers_furthest_from_gaussian_are_drawn():
    torch.manual_seed(0)
    layers = [nn.Linear(6, 6) for _ in range(DRAWN + 2)]
    for layer in layers[2:]:  # the first two are Gaussian
        layer.weight.data = layer.weight.data.sign()
        layer.weight.data[0, 0] = 0.5
    for layer in layers[:2]:
        layer.weight.data = torch.from_numpy(
            np.random.default_rng(0).standard_normal((6, 6))
        ).float()
    found = diagnose(nn.Sequential(*layers))
    figures = results(found, "")["figures"]
    drawn = figures["removed-norm"]["series"][0]["x"]
    assert drawn == [f"{place}.weight" for place in range(2, DRAWN + 2)]
    assert all("The 6 of 8 layers furthest" in figure["note"] for figure in figures.values())
    rows = results(found, "")["bounds"]
    assert {row["layer"] for row in rows} == {None, *(f"{p}.weight" for p in range(DRAWN + 2))}


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"mlp.safetensors --model {MLP} --d -1", "d must be a number with 0 <= d <= 1e12"),
        (
            f"mlp.safetensors --model {MLP} --d nan",
            "0 <= d <= 1e12, not nan",
        ),
        (f"mlp.safetensors --model {MLP} --delta 0", "delta"),
        (f"mlp.safetensors --model {MLP} --seed -1", "--seed"),
        (f"nan.pt --model {MLP}", "fc1.weight"),
        (f"none.safetensors --model {MLP}", "none.safetensors"),
        ("mlp.safetensors --model mlp:64-13-10", "mlp.safetensors"),
        (f"mlp.safetensors --model {MLP} --data none.npz", "none.npz"),
        (f"mlp.safetensors --model {MLP} --data wide.npz", "inputs of (65,) each: expected 64"),
        (f"mlp.safetensors --model {MLP} --sample test", "--sample test: expected --data"),
    ],
)
def test_bad_input_is_one_line(typed, tmp_path, line, words):
    code, out, err = typed(f"{line} --out OUT")
    assert (code, out) == (2, "")
    assert err.startswith("prunecert: ") and len(err.splitlines()) == 1 and words in err
    assert not (tmp_path / "out").exists()


def test_a_network_without_layers_is_refused():
    with pytest.raises(Exception, match="no layer to prune"):
        diagnose(nn.Sequential(nn.BatchNorm1d(3)))
