"""Every line that DESIGN promises, typed literally: exit code, what is printed, what is written.

`say` types a line at a desk that holds W.safetensors (90 % zeros), dense/model.safetensors,
ladder/, random/, P.npz and P-dense.npz (see tests/workshop.py). `demo` has tests of its
own; certify, verify and select are in test_certify_lines.py.
"""

from __future__ import annotations

import json
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest
import torch
from mpmath import mpf
from safetensors.torch import load_file
from scipy.stats import binom
from torch import nn

from prunecert.reference import TWINS
from workshop import fits, flat

WEIGHTS = 64 * 16 + 16 * 10
DENSE = "dense/model.safetensors"


def zeros(file: str | Path, *names: str) -> int:
    tensors = load_file(file)
    return sum(int((tensors[n] == 0).sum()) for n in names or ("fc1.weight", "fc2.weight"))


# --------------------------------------------------------------------------- train


def test_train(say):
    line = "prunecert train --model mlp:64-16-10 --data digits --out RUN --epochs 20"
    answer = say(line)
    assert answer.code == 0 and fits(answer.out)
    assert {p.name for p in Path("RUN").iterdir()} >= {"model.safetensors", "config.json"}
    losses = json.loads(Path("RUN/log.json").read_text())["losses"]
    assert len(losses) == 20 * ceil(1197 / 128)
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    stock = nn.Sequential()
    for name, size in (("fc1", (64, 16)), ("fc2", (16, 10))):
        stock.add_module(name, nn.Linear(*size))
    stock.load_state_dict(load_file("RUN/model.safetensors"))  # strict

    first = Path("RUN/model.safetensors").stat()
    assert say(line) == answer
    assert Path("RUN/model.safetensors").stat() == first  # read, not trained again


def test_train_with_every_option(say):
    line = (
        "prunecert train --model models.py:build --data digits --out RUN --steps 30it "
        "--batch-size 16 --lr 0.01 --optimizer adamw --weight-decay 0.1 --sample train[:100] "
        "--device cpu --seed 3 --quiet"
    )
    answer = say(line)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    assert len(json.loads(Path("RUN/log.json").read_text())["losses"]) == 30
    say(line.replace("RUN", "AGAIN"))
    say(line.replace("RUN", "OTHER").replace("--seed 3", "--seed 4"))
    first, again, other = (Path(f, "model.safetensors").read_bytes() for f in FOLDERS)
    assert first == again != other


FOLDERS = ("RUN", "AGAIN", "OTHER")


# --------------------------------------------------------------------------- prune


def test_prune_one_value_makes_a_file(say):
    answer = say(f"prunecert prune {DENSE} --sparsity 0.9 --out FILE.safetensors")
    assert answer.code == 0 and fits(answer.out)
    assert zeros("FILE.safetensors") == round(0.9 * WEIGHTS)
    dense, pruned = load_file(DENSE), load_file("FILE.safetensors")
    assert all(torch.equal(dense[n], pruned[n]) for n in ("fc1.bias", "fc2.bias"))
    assert f"{round(0.9 * WEIGHTS):,}" in answer.out and f"{WEIGHTS:,}" in answer.out


def test_prune_a_list_makes_a_ladder(say):
    line = (
        f"prunecert prune {DENSE} --sparsity 0.5,0.8,0.9,0.95 --out DIR "
        "--model mlp:64-16-10 --data digits --epochs 3"
    )
    answer = say(line)
    assert answer.code == 0 and fits(answer.out)
    kept_before = None
    for value in ("0.5000", "0.8000", "0.9000", "0.9500"):
        tensors = load_file(f"DIR/{value}.safetensors")
        kept = torch.cat([tensors[n].flatten() != 0 for n in ("fc1.weight", "fc2.weight")])
        assert int((~kept).sum()) == int(Fraction(value) * WEIGHTS + Fraction(1, 2))
        if kept_before is not None:
            assert bool((kept <= kept_before).all())
        kept_before = kept
        assert not torch.equal(tensors["fc1.bias"], load_file(DENSE)["fc1.bias"])  # retrained
    assert say(line) == answer  # the rungs that are there are read


@pytest.mark.parametrize("method", ["magnitude", "bernoulli", "random", "snip", "taylor"])
def test_prune_method(say, method):
    answer = say(
        f"prunecert prune {DENSE} --sparsity 0.9 --out FILE.safetensors --method {method} "
        "--model mlp:64-16-10 --data digits"
    )
    assert answer.code == 0 and fits(answer.out)
    found = zeros("FILE.safetensors")
    if method == "bernoulli":  # in expectation only: a sum of WEIGHTS independent draws
        assert abs(found - 0.9 * WEIGHTS) < 6 * (WEIGHTS / 4) ** 0.5
    else:
        assert found == round(0.9 * WEIGHTS)


@pytest.mark.parametrize(
    "scope", ["global", "layerwise", "uniform+", "erk", "lamp", "per-output", "2:4"]
)
def test_prune_scope(say, scope):
    answer = say(f"prunecert prune {DENSE} --sparsity 0.5 --out FILE.safetensors --scope {scope}")
    assert answer.code == 0 and fits(answer.out)
    assert zeros("FILE.safetensors") == WEIGHTS // 2
    tensors = load_file("FILE.safetensors")
    if scope in ("layerwise", "per-output", "2:4"):
        assert zeros("FILE.safetensors", "fc2.weight") == 80
    if scope in ("per-output", "2:4"):
        assert {int(row.count_nonzero()) for row in tensors["fc1.weight"]} == {32}
    if scope == "2:4":
        groups = tensors["fc1.weight"].reshape(-1, 4)
        assert {int(group.count_nonzero()) for group in groups} == {2}


def test_a_pattern_needs_no_sparsity(say):
    assert say(f"prunecert prune {DENSE} --scope 1:4 --out FILE.safetensors").code == 0
    assert zeros("FILE.safetensors") == 3 * WEIGHTS // 4


@pytest.mark.parametrize("globs", ["--include fc1*", "--exclude *2.weight"])
def test_prune_some_tensors_and_write_the_mask(say, globs):
    answer = say(
        f"prunecert prune {DENSE} --sparsity 0.5 --out FILE.safetensors {globs} "
        "--mask-out mask.safetensors"
    )
    assert answer.code == 0 and "fc2.weight (" in flat(answer.out)
    pruned, mask = load_file("FILE.safetensors"), load_file("mask.safetensors")
    assert zeros("FILE.safetensors", "fc1.weight") == 512
    assert zeros("FILE.safetensors", "fc2.weight") == 0
    assert list(mask) == ["fc1.weight"]
    assert torch.equal(mask["fc1.weight"], (pruned["fc1.weight"] != 0).to(torch.uint8))


def test_the_seed_decides_random_pruning(say):
    line = f"prunecert prune {DENSE} --sparsity 0.5 --method random --quiet"
    for name, seed in (("A", 1), ("B", 1), ("C", 2)):
        answer = say(f"{line} --seed {seed} --out {name}.safetensors")
        assert (answer.code, answer.out, answer.err) == (0, "", "")
    a, b, c = (Path(f"{name}.safetensors").read_bytes() for name in "ABC")
    assert a == b != c


# --------------------------------------------------------------------------- measure and bounds


def test_measure_then_every_bound_on_it(say):
    line = "prunecert measure W.safetensors --model mlp:64-16-10 --data digits --out evidence.npz"
    answer = say(line)
    assert answer.code == 0 and fits(answer.out)
    answer = say("prunecert bounds evidence.npz")
    assert answer.code == 0 and fits(answer.out)
    rows = [row.split() for row in answer.out.splitlines()]
    kinds = [row[1] for row in rows if len(row) > 3 and row[1] in ("certified", "order-only")]
    risks = [r for r in rows if r[1:2] == ["certified"] and r[4:6] == ["zero-one", "risk"]]
    values = [float(row[2]) for row in risks]
    assert values and values == sorted(values)
    assert {"certified", "order-only"} <= set(kinds)
    assert "it needs what was not measured" in flat(answer.out)


def test_bounds_without_a_file_is_the_table_of_statements(say):
    answer = say("prunecert bounds")
    assert answer.code == 0 and fits(answer.out)
    assert all(
        f"\n{name} " in answer.out for name in ("occam", "holdout", "mbp-sketch-as-published")
    )


def test_bound_from_plain_numbers(say):
    answer = say("prunecert bound occam --errors 1500 --n 60000 --bits 6626 --delta 0.05")
    assert answer.code == 0
    shown = mpf(answer.out.split("≤")[1].split()[0])
    exact = TWINS["occam"](errors=1500, n=60000, bits=6626, delta=0.05)
    assert exact <= shown < exact + mpf("1e-6")
    assert "certified" in answer.out
    assert say("prunecert bound occam --errors=1500 --n=60000 --bits=6626") == answer


def test_bound_from_lists(say):
    answer = say("prunecert bound simultaneous --errors 0,0 --n 1 --delta 0.1")
    shown = [Fraction(word) for word in answer.out.split("≤")[1].split("(")[0].split(",")]
    assert answer.code == 0 and len(shown) == 2
    assert all(0 <= value - Fraction("0.95") <= Fraction("1e-6") for value in shown)


def test_plan(say):
    answer = say("prunecert plan --target-error 0.05 --expected-error 0.03")
    assert answer.code == 0 and fits(answer.out)
    shown = int(answer.out.split()[0].replace(",", ""))
    sizes = range(1, 2 * shown)
    enough = [n for n in sizes if binom.cdf(ceil(Fraction(3 * n, 100)), n, 0.05) <= 0.05]
    assert shown == enough[0]


def test_explain(say):
    answer = say("prunecert explain occam")
    assert answer.code == 0 and fits(answer.out)
    for words in ("**Statement.**", "for every codeword", "by construction: ", "source: "):
        assert words in flat(answer.out)


def test_explain_bibtex(say):
    answer = say("prunecert explain occam --bibtex")
    assert answer.code == 0
    assert answer.out.startswith("@") and answer.out.count("{") == answer.out.count("}")
    assert all(f"  {field} = {{" in answer.out for field in ("author", "title", "year"))


# --------------------------------------------------------------------------- report


def test_report(say):
    Path("RUN").mkdir()
    results = {
        "title": "a run",
        "networks": [{"name": "W", "sparsity": 0.9}],
        "bounds": [{"network": "W", "name": "occam", "kind": "certified", "value": 0.25}],
        "figures": {},
    }
    Path("RUN/results.json").write_text(json.dumps(results))
    answer = say("prunecert report RUN -o report.html")
    assert answer.code == 0
    page = Path("report.html").read_text()
    assert "a run" in page and "25" in page and page.lstrip().lower().startswith("<!doctype html>")
