"""A sweep's file: what it makes, and that everything wrong in it is one line that names it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
from sweeping import tiny

from prunecert.sweep.config import RunConfig, config_of, differing, read_config
from prunecert.sweep.subjects import subject_of
from prunecert.types import InputError

GOOD = """
out = "here"
[run]
model = "mlp"
data = "digits"
lr = 1
sparsities = [0.5, 0.9]
[grid]
depth = [1, 2]
width = [8]
method = ["magnitude", "random"]
"""


def read(tmp_path: Path, text: str):
    file = tmp_path / "c.toml"
    file.write_text(text)
    return read_config(file)


def test_every_combination_is_a_run_the_last_key_fastest(tmp_path):
    found = read(tmp_path, GOOD)
    assert found.out == Path("here")
    assert [(c.depth, c.width, c.method) for c in found.configs] == [
        (1, 8, "magnitude"),
        (1, 8, "random"),
        (2, 8, "magnitude"),
        (2, 8, "random"),
    ]
    assert found.varied == ("depth", "width", "method")
    assert differing(found.configs[2], found.varied) == "depth=2 width=8 method=magnitude"


def test_whole_numbers_serve_as_numbers_and_lists_as_ladders(tmp_path):
    config = read(tmp_path, GOOD).configs[0]
    assert type(config.lr) is float and config.lr == 1.0
    assert config.sparsities == (0.5, 0.9)
    assert config_of(json.loads(config.canonical())) == config


def test_a_list_of_ladders_may_be_varied(tmp_path):
    text = GOOD.replace("sparsities = [0.5, 0.9]\n", "") + "sparsities = [[0.5], [0.9, 0.95]]\n"
    ladders = {c.sparsities for c in read(tmp_path, text).configs}
    assert ladders == {(0.5,), (0.9, 0.95)}


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("lr = 1", "learn = 1", "[run] learn: no such key"),
        ("lr = 1", "optimiser = 1", "did you mean optimizer?"),
        ("width = [8]", "widht = [8]", "[grid] widht: no such key; did you mean width?"),
        ('out = "here"', "outt = 1", "outt: no such key; did you mean out?"),
        ('out = "here"', "out = 3", "out: expected the name of a folder, found 3"),
        ("lr = 1", 'lr = "fast"', "lr: expected a number, found 'fast'"),
        ("lr = 1", "lr = nan", "lr: expected a number, found nan"),
        ("lr = 1", "lr = -1", "lr: expected at least 0, found -1.0"),
        ("lr = 1", "measure = 1", "measure: expected true or false, found 1"),
        ("lr = 1", "epochs = true", "epochs: expected a whole number, found True"),
        ("lr = 1", "epochs = 2.5", "epochs: expected a whole number, found 2.5"),
        ("lr = 1", "data2 = 1", "data2: no such key; did you mean data?"),
        ("lr = 1", 'epochs = 3\nsteps = "5it"', "steps: given beside epochs"),
        ("lr = 1", 'steps = "5 it"', "steps '5 it': expected iterations"),
        ("lr = 1", 'rewind = "x"', "steps 'x': expected iterations"),
        ("lr = 1", 'sample = "test"', "sample: expected train or a slice"),
        ("lr = 1", 'sample = "train[:9]"\nn = 9', "n: given beside sample"),
        ("lr = 1", "label_noise = 1.5", "label_noise: expected a probability from 0 to 1"),
        ("lr = 1", "delta = 0", "delta: expected a number strictly between 0 and 1"),
        ("lr = 1", 'optimizer = "adam"', "optimizer: expected one of sgd, adamw, found 'adam'"),
        ("[0.5, 0.9]", "0.5", "sparsities: expected a list of numbers, found 0.5"),
        ("[0.5, 0.9]", "[0.9, 0.5]", "sparsity: expected rising values"),
        ("[0.5, 0.9]", "[1.5]", "sparsity 1.5: expected a number in [0, 1)"),
        ("width = [8]", "width = []", "[grid] width: expected a list of values, found []"),
        ("width = [8]", "width = 8", "[grid] width: expected a list of values, found 8"),
        ("width = [8]", "lr = [1]", "lr: stands in both [run] and [grid]"),
        ("width = [8]", "width = [8, 8]", "makes a run twice: depth=1 width=8 method=magnitude"),
        ("width = [8]\n", "", "width: missing; model mlp is made of it"),
        ('"mlp"', '"lenet-5"', "depth: goes with model mlp or conv, not lenet-5"),
        ('model = "mlp"\n', "", "[run] model: missing"),
        ('data = "digits"\n', "", "[run] data: missing"),
        ('"random"', '"rigl"', "method: expected one of magnitude"),
        ("[run]", "[run", "not TOML"),
        ("[run]", "run = 3\n[rnu]", "rnu: no such key; did you mean run?"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, old, new, said):
    assert GOOD.count(old) == 1
    with pytest.raises(InputError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    line = str(caught.value)
    assert said in line and "\n" not in line
    assert line.startswith(str(tmp_path / "c.toml"))


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="nowhere.toml: cannot read it"):
        read_config(tmp_path / "nowhere.toml")


def test_every_key_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    told = page.partition("| key |")[2]
    assert [field.name for field in fields(RunConfig) if f"`{field.name}`" not in told] == []


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"scope": "globl"}, "did you mean 'global'"),
        ({"method": "imp", "rewind": "500ep"}, "rewind 500ep: is step"),
    ],
)
def test_what_only_pruning_would_find_is_said_before_training(wrong, said):
    with pytest.raises(InputError, match=said) as error:
        subject_of(tiny(**wrong))
    assert "--" not in str(error.value)
