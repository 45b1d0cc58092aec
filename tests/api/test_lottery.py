"""Lottery tickets: what is rewound, held, kept by hash, resumed, certified, and refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prunecert.api import verify
from prunecert.api.lottery import Lottery, UserLoop, draw_tickets, run_lottery
from prunecert.api.lottery.levels import MASK, REWIND, START, WHOLE
from prunecert.api.runs import CHECKPOINT, MODEL, Recipe
from prunecert.api.samples import open_source, sample_of
from prunecert.models.weights import load_tensors, read_mask
from prunecert.types import InputError

SPEC = "mlp:64-16-10"
RECIPE = Recipe("40it", batch_size=64, learning_rate=0.1)
SETTINGS = Lottery(levels=3, rewind="7it")


@pytest.fixture(scope="module")
def digits():
    return sample_of(open_source("digits"), "train", "train")


def drawn(digits, out, settings=SETTINGS, recipe=RECIPE, **how):
    return list(draw_tickets(SPEC, digits, out, settings, recipe, **how))


@pytest.fixture(scope="module")
def lottery(digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("lottery")
    settings = replace(SETTINGS, controls=("random-mask", "reinit", "no-rewinding"))
    return out, drawn(digits, out, settings)


def main_line(levels):
    return [level for level in levels if not level.control]


def file(level, name):
    return load_tensors(level.folder / name).tensors


# --------------------------------------------------------------------------- what a level is


def test_folders_are_where_they_are_promised(lottery):
    out, _ = lottery
    found = sorted(p.name for p in out.glob("seed-*/level-*"))
    assert found == [f"level-{number}" for number in range(4)]
    for place in out.glob("seed-*/level-*"):
        assert (place / "mask.safetensors").is_file() and (place / "model.safetensors").is_file()
        assert place.resolve().parent == (out / "levels").resolve()
    assert (out / "seed-0" / "reinit" / "level-3" / MODEL).is_file()


def test_rewound_weights_equal_the_checkpoint_bit_for_bit(lottery):
    _, levels = lottery
    checkpoint = file(levels[0], REWIND)
    assert not torch.equal(checkpoint["fc1.weight"], file(levels[0], START)["fc1.weight"])
    for level in main_line(levels)[1:]:
        start = file(level, START)
        for name, tensor in checkpoint.items():
            mask = level.masks.get(name, torch.ones_like(tensor, dtype=torch.bool))
            assert torch.equal(start[name][mask], tensor[mask])
            assert bool((start[name][~mask] == 0).all())


def test_the_checkpoint_is_the_dense_network_after_k_steps(digits, lottery, tmp_path):
    """Trained with the rate schedule of the whole run: a run that stops at step 7 is another."""
    _, levels = lottery
    whole = drawn(digits, tmp_path, Lottery(levels=0, rewind="40it"))[0]
    assert torch.equal(file(whole, REWIND)["fc1.weight"], whole.network.tensors["fc1.weight"])
    assert torch.equal(whole.network.tensors["fc1.weight"], levels[0].network.tensors["fc1.weight"])
    initial = drawn(digits, tmp_path, Lottery(levels=0, rewind="0it"))[0]
    assert torch.equal(file(initial, REWIND)["fc1.weight"], file(initial, START)["fc1.weight"])


def test_masks_are_nested_and_zeros_stay_zero(lottery):
    _, levels = lottery
    line = main_line(levels)
    total = 64 * 16 + 16 * 10
    for number, level in enumerate(line):
        assert sum(int(m.sum()) for m in level.masks.values()) == round(total * 0.8**number)
        assert read_mask(level.folder / MASK).keys() == level.masks.keys()
        for name, mask in level.masks.items():
            assert bool((level.network.tensors[name][~mask] == 0).all())
            if number:
                assert not bool((mask & ~line[number - 1].masks[name]).any())


def test_levels_follow_the_schedule_behind_the_checkpoint(digits, lottery):
    """Without momentum and pruning, a level that rewinds is the dense network again."""
    recipe = replace(RECIPE, momentum=0.0)
    out, _ = lottery
    settings = Lottery(levels=1, rewind="7it", fraction=1e-9)
    dense, level = drawn(digits, out / "no-momentum", settings, recipe)
    assert all(bool(mask.all()) for mask in level.masks.values())
    for name, tensor in dense.network.tensors.items():
        assert torch.equal(tensor, level.network.tensors[name])


def test_controls_are_what_they_say(lottery):
    _, levels = lottery
    line = main_line(levels)
    for control in (level for level in levels if level.control):
        level, last = line[control.number], line[control.number - 1]
        start, masks = file(control, START), level.masks
        if control.control == "random-mask":
            assert any(not torch.equal(control.masks[n], masks[n]) for n in masks)
            assert {n: int(m.sum()) for n, m in control.masks.items()} == {
                n: int(m.sum()) for n, m in masks.items()
            }
            origin = file(levels[0], REWIND)
        else:
            assert all(torch.equal(control.masks[n], masks[n]) for n in masks)
            origin = last.network.tensors
        kept = control.masks["fc1.weight"]
        same = torch.equal(start["fc1.weight"][kept], origin["fc1.weight"][kept])
        assert same == (control.control != "reinit")
        if control.control == "reinit":
            first = file(levels[0], START)["fc1.weight"]
            assert not bool((start["fc1.weight"][kept] == first[kept]).any())
    assert {level.control for level in levels} == {"", "random-mask", "reinit", "no-rewinding"}


def test_rate_rewinding_and_fine_tuning_keep_the_weights(digits, tmp_path):
    for rewinding in ("lr", "fine-tune"):
        dense, level = drawn(digits, tmp_path, Lottery(levels=1, rewind="7it", rewinding=rewinding))
        start = file(level, START)
        for name, mask in level.masks.items():
            assert torch.equal(start[name][mask], dense.network.tensors[name][mask])
        losses = json.loads((level.folder / "log.json").read_text())["losses"]
        assert len(losses) == 33


def test_fine_tuning_moves_less_than_rate_rewinding(digits, tmp_path):
    def way(rewinding):
        settings = Lottery(levels=1, rewind="7it", rewinding=rewinding)
        level = drawn(digits, tmp_path, settings)[1]
        start = file(level, START)["fc1.weight"]
        return float((level.network.tensors["fc1.weight"] - start).norm())

    assert 0 < way("fine-tune") < 0.1 * way("lr")


# --------------------------------------------------------------------------- nothing twice


class Stopped(BaseException):
    """As good as a kill."""


@pytest.fixture
def counted(monkeypatch):
    """How many levels are trained."""
    from prunecert.api.lottery.trainers import OwnLoop

    calls = []
    train = OwnLoop.train

    def counting(self, module, *rest):
        calls.append(rest[-1])
        return train(self, module, *rest)

    monkeypatch.setattr(OwnLoop, "train", counting)
    return calls


def test_a_level_is_not_trained_twice(digits, tmp_path, counted):
    drawn(digits, tmp_path)
    assert len(counted) == 4
    again = drawn(digits, tmp_path, replace(SETTINGS, levels=4, controls=("reinit",)))
    assert [name.split(": ")[1] for name in counted[4:]] == [
        "reinit 1", "reinit 2", "reinit 3", "level 4", "reinit 4",
    ]  # fmt: skip
    assert len(again) == 9


def test_another_configuration_stands_beside_the_first(digits, tmp_path, counted):
    first = drawn(digits, tmp_path)
    other = drawn(digits, tmp_path, replace(SETTINGS, scope="lamp"))
    assert other[0].folder == first[0].folder and other[1].folder != first[1].folder
    assert (tmp_path / "seed-0" / "level-1").resolve() == other[1].folder.resolve()
    assert (first[1].folder / WHOLE).exists()
    drawn(digits, tmp_path)
    assert len(counted) == 4 + 3
    assert (tmp_path / "seed-0" / "level-1").resolve() == first[1].folder.resolve()


def test_a_level_has_the_hash_of_all_that_came_before_it(digits, tmp_path):
    longer = replace(RECIPE, steps="41it")
    runs = [
        drawn(digits, tmp_path),
        drawn(digits, tmp_path, seeds=(1,)),
        drawn(digits, tmp_path, recipe=longer),
        drawn(digits, tmp_path, replace(SETTINGS, rewind="8it")),
    ]
    assert len({level.hash for levels in runs for level in levels}) == 4 * 4


def test_other_labels_are_another_configuration(tmp_path):
    x = torch.rand(100, 64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(100) % 10
    one, other = (sample_of((x, labels), "train", "train") for labels in (y, 9 - y))
    twice = drawn(one, tmp_path) + drawn(other, tmp_path)
    assert len({level.hash for level in twice}) == 8


def test_a_killed_level_goes_on_in_the_middle(digits, tmp_path, monkeypatch):
    from prunecert.api import runs
    from prunecert.api.lottery import levels as module

    whole = drawn(digits, tmp_path / "whole")
    monkeypatch.setattr(runs, "CHECKPOINT_EVERY", 10)
    write, written = module.write_bytes, []

    def dying(path, data):
        write(path, data)
        if Path(path).name == Path(CHECKPOINT).name:
            written.append(path)
            if len(written) in (2, 5):
                raise Stopped

    monkeypatch.setattr(module, "write_bytes", dying)
    for _ in range(2):
        with pytest.raises(Stopped):
            drawn(digits, tmp_path / "killed")
    killed = drawn(digits, tmp_path / "killed")
    assert written[0].parent.parent == written[1].parent.parent == written[2].parent.parent
    for a, b in zip(whole, killed, strict=True):
        assert a.hash == b.hash
        assert (a.folder / MODEL).read_bytes() == (b.folder / MODEL).read_bytes()
        assert (a.folder / "log.json").read_bytes() == (b.folder / "log.json").read_bytes()
        assert not (b.folder / CHECKPOINT).exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-7]),
        lambda folder: (folder / MODEL).write_bytes((folder / START).read_bytes()),
        lambda folder: (folder / MASK).unlink(),
        lambda folder: (folder / WHOLE).write_text('{"files": {'),
        lambda folder: (folder / WHOLE).write_text("[]"),
    ],
)
def test_a_damaged_level_is_trained_again_and_said(digits, tmp_path, counted, damage):
    first = drawn(digits, tmp_path)
    before = (first[2].folder / MODEL).read_bytes()
    damage(first[2].folder)
    said = []
    again = drawn(digits, tmp_path, say=said.append)
    assert len(said) == 1 and str(first[2].folder) in said[0] and "trained again" in said[0]
    assert len(counted) == 5
    assert (again[2].folder / MODEL).read_bytes() == before


def test_a_damaged_checkpoint_is_said(digits, tmp_path):
    first = drawn(digits, tmp_path)
    (first[1].folder / WHOLE).unlink()
    (first[1].folder / CHECKPOINT).parent.mkdir(exist_ok=True)
    (first[1].folder / CHECKPOINT).write_bytes(b"PK\x03\x04 nothing")
    said = []
    drawn(digits, tmp_path, say=said.append)
    assert len(said) == 1 and "begins again" in said[0]


def test_a_full_disk_is_one_clear_line_and_loses_nothing(digits, tmp_path, monkeypatch, counted):
    import os

    replace_file = os.replace

    def full(source, target):
        if Path(target).name == MODEL and len(counted) == 3:
            raise OSError(28, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="model.safetensors: cannot write it: No space left"):
        drawn(digits, tmp_path)
    monkeypatch.setattr(os, "replace", replace_file)
    assert len(drawn(digits, tmp_path)) == 4
    assert len(counted) == 3 + 2


# --------------------------------------------------------------------------- the user's training


TRAIN = """
import torch
from torch.utils.data import DataLoader

def {name}(model, train_set, *, steps, hold_masks, seed, on_step):
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    done = 0
    with hold_masks(model, optimizer):
        while done < steps:
            for x, y in DataLoader(train_set, batch_size=64, shuffle=True):
                loss = torch.nn.functional.cross_entropy(model(x), y)
                optimizer.zero_grad(); loss.backward(); optimizer.step()
                done += 1
                on_step(done, loss.item())
                if done == steps:
                    break
    {end}
"""


def user_file(tmp_path, end="", change=lambda text: text):
    path = tmp_path / "mine.py"
    path.write_text(change(TRAIN.format(name="train", end=end)))
    return UserLoop(f"{path}:train")


def test_the_users_training_is_rewound_and_held(digits, tmp_path):
    levels = drawn(digits, tmp_path / "out", trainer=user_file(tmp_path))
    checkpoint = file(levels[0], REWIND)
    for level in levels[1:]:
        start = file(level, START)
        for name, mask in level.masks.items():
            assert torch.equal(start[name][mask], checkpoint[name][mask])
            assert bool((level.network.tensors[name][~mask] == 0).all())
        losses = json.loads((level.folder / "log.json").read_text())["losses"]
        assert len(losses) == 33 and losses[-1] < losses[0] + 1
    again = drawn(digits, tmp_path / "again", trainer=user_file(tmp_path))
    assert (again[3].folder / MODEL).read_bytes() == (levels[3].folder / MODEL).read_bytes()


@pytest.mark.parametrize("call", ["on_step(done - 1)", "on_step()", "on_step(done, steps, 0.5)"])
def test_steps_may_be_told_in_other_ways(digits, tmp_path, call):
    def changed(text):
        return text.replace("on_step(done, loss.item())", call)

    usual = drawn(digits, tmp_path / "usual", trainer=user_file(tmp_path))
    other = drawn(digits, tmp_path / "other", trainer=user_file(tmp_path, change=changed))
    for name, tensor in file(usual[0], REWIND).items():
        assert torch.equal(file(other[0], REWIND)[name], tensor)


def test_another_text_of_the_users_function_is_another_configuration(digits, tmp_path):
    first = drawn(digits, tmp_path / "out", trainer=user_file(tmp_path))
    changed = user_file(tmp_path, change=lambda text: text.replace("0.1,", "0.2,"))
    other = drawn(digits, tmp_path / "out", trainer=changed)
    assert first[0].hash != other[0].hash


@pytest.mark.parametrize(
    "end, words",
    [
        ("return torch.nn.Linear(64, 10)", "returned no 'fc1.weight': expected shape"),
        ("return {'fc1.weight': torch.zeros(3, 3)}", r"returned 'fc1.weight' \(3, 3\)"),
        ("return 3", "returned a int: expected None"),
        ("return {**model.state_dict(), 'more': torch.zeros(1)}", "returned 'more'"),
        ("model.fc1.weight.data[:] = float('nan')", "'fc1.weight' is not finite"),
        ("raise KeyError('lost')", "the function failed \\(line \\d+\\): KeyError: 'lost'"),
    ],
)
def test_what_the_users_function_may_not_do(digits, tmp_path, end, words):
    with pytest.raises(InputError, match=words) as error:
        drawn(digits, tmp_path / "out", trainer=user_file(tmp_path, end))
    assert "mine.py:train" in str(error.value) and "\n" not in str(error.value)


def test_a_function_that_returns_the_trained_network_is_as_good(digits, tmp_path):
    returned = user_file(tmp_path, "return model.state_dict()")
    assert len(drawn(digits, tmp_path / "out", trainer=returned)) == 4


def test_pruned_weights_that_come_back_are_refused(digits, tmp_path):
    forgetful = user_file(
        tmp_path, change=lambda text: text.replace("with hold_masks(model, optimizer):", "if True:")
    )
    with pytest.raises(InputError, match=r"pruned weights of 'fc1.weight' are not zero"):
        drawn(digits, tmp_path / "out", trainer=forgetful)


def test_a_step_that_is_never_told_cannot_be_rewound_to(digits, tmp_path):
    silent = user_file(
        tmp_path, change=lambda text: text.replace("on_step(done, loss.item())", "pass")
    )
    with pytest.raises(InputError, match="on_step was never called with step 7"):
        drawn(digits, tmp_path / "out", trainer=silent)


# --------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"levels": -1}, "--levels -1"),
        ({"fraction": 1.0}, "--fraction 1.0"),
        ({"rewinding": "wieghts"}, "did you mean 'weights'"),
        ({"scope": "uniform+"}, "unknown scope 'uniform\\+'"),
        ({"controls": ("random",)}, "did you mean 'random-mask'"),
        ({"rewinding": "lr", "controls": ("no-rewinding",)}, "is what --rewinding lr does"),
        ({"rewind": "soon"}, "steps 'soon'"),
        ({"initial": "zero"}, "unknown kind of initial weights"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        Lottery(**wrong)


def test_a_checkpoint_beyond_the_training_is_refused(digits, tmp_path):
    with pytest.raises(InputError, match="--rewind 3ep: is step 57, but training has only 40"):
        drawn(digits, tmp_path, replace(SETTINGS, rewind="3ep"))
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------- what is said


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    out = tmp_path_factory.mktemp("said")
    settings = Lottery(levels=9, fraction=0.4, rewind="20it")
    recipe = Recipe("400it", batch_size=64, learning_rate=0.1)
    rows = run_lottery(SPEC, "digits", out, settings, recipe, seeds=(3,))
    return out, rows


def test_every_level_has_its_three_certificates_and_verify_accepts_them(said):
    out, rows = said
    assert len(rows) == 10
    for row in rows[7:]:
        place = out / "seed-3" / f"level-{row['level']}"
        for form, folder in (
            ("values", "certificate"),
            ("supermask", "certificate-supermask"),
            ("difference", "certificate-difference"),
        ):
            record = json.loads((place / folder / "certificate.json").read_text())
            assert record["risk_bound"] == row[f"{form}_bound"]
            assert record["code_bits"] == row[f"{form}_bits"]
            verdict = verify(place / folder)
            assert verdict.valid, verdict


def test_the_curve_is_a_table_of_all_levels(said):
    out, rows = said
    found = list(csv.DictReader((out / "curve.csv").open()))
    assert [int(line["level"]) for line in found] == list(range(10))
    assert [float(line["density"]) for line in found] == [row["density"] for row in rows]
    sparse = rows[8]
    assert sparse["test_n"] == 600 and sparse["holdout_bound"] > sparse["test_errors"] / 600
    assert sparse["seed_bound"] is not None
    assert sparse["values_bound"] < 1


def test_the_mask_alone_costs_less_than_mask_and_values(said):
    _, rows = said
    for row in rows[7:]:
        assert row["supermask_bits"] < row["values_bits"]
        assert row["supermask_errors"] >= row["difference_errors"]


def test_measured_levels_are_read_again(said, monkeypatch):
    out, rows = said
    settings = Lottery(levels=9, fraction=0.4, rewind="20it")
    recipe = Recipe("400it", batch_size=64, learning_rate=0.1)
    from prunecert.api.lottery import measured as module

    monkeypatch.setattr(module, "certify_code", None)
    assert run_lottery(SPEC, "digits", out, settings, recipe, seeds=(3,)) == rows


def test_what_was_trained_on_is_no_hold_out(tmp_path):
    told = []
    settings = Lottery(levels=0)
    (row,) = run_lottery(
        SPEC, "digits", tmp_path, settings, RECIPE, which="test[:300]", say=told.append
    )
    assert row["test_n"] is None and row["holdout_bound"] is None
    assert len(told) == 1 and "no hold-out: 300 rows" in told[0]


def test_own_initial_weights_have_only_the_first_form(tmp_path):
    settings = Lottery(levels=1, initial="model")
    row = run_lottery(SPEC, "digits", tmp_path, settings, RECIPE)[1]
    assert row["values_bound"] is not None and "supermask_bound" not in row
    assert "no seed in a file decides" in row["difference_reason"]
