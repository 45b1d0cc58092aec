"""Whatever a user gets wrong: exit 2, one clear line on standard error, nothing half-written."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from workshop import tree

ON_DIGITS = "--model mlp:64-16-10 --data digits --out NEW"
CERTIFY = f"prunecert certify W.safetensors {ON_DIGITS}"


def refused(say, line: str, *words: str) -> None:
    before = tree(Path())
    answer = say(line)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("prunecert: ") and answer.err.count("\n") == 1, answer.err
    assert not [word for word in words if word not in answer.err], answer.err
    assert tree(Path()) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prunecert certfy W.safetensors", "No such command 'certfy' 'certify'"),
        ("prunecert certify W.safetensors --modle x", "No such option: --modle --model"),
        ("prunecert certify W.safetensors --model mlp:64-16-10 --data digits", "--out"),
        ("prunecert certify W.safetensors --data digits --out NEW", "--model --data"),
        (f"prunecert certify {ON_DIGITS}", "weights W --predictions"),
        (f"{CERTIFY} --predictions P.npz", "W --predictions not both"),
        ("prunecert certify --predictions P.npz --data digits --out NEW", "--predictions --data"),
        (f"{CERTIFY} --holdout --per-class", "one statement at a time holdout per-class"),
        (f"{CERTIFY} --delta 0", "--delta 0"),
        (f"{CERTIFY} --delta 1", "--delta 1"),
        (f"{CERTIFY} --delta 5", "--delta 5"),
        (f"{CERTIFY} --delta -0.05", "--delta -0.05"),
        (f"{CERTIFY} --delta nan", "--delta nan"),
        (f"{CERTIFY} --delta 5%", "'--delta' number"),
        (f"{CERTIFY} --target-error 2", "--target-error 2"),
        (f"{CERTIFY} --holdout --target-error -1", "--target-error -1"),
        (f"{CERTIFY} --tried 0", "'--tried' 1"),
        (f"{CERTIFY} --top-k 1", "'--top-k' 2"),
        (f"{CERTIFY} --top-k 10", "--top-k 10: 10 classes"),
        (f"{CERTIFY} --batch-size 0", "'--batch-size' 1"),
        (f"{CERTIFY} --device quantum", "--device quantum: not usable"),
        (f"{CERTIFY} --device meta", "--device meta: not usable"),
        (f"{CERTIFY} --sample valid", "valid train test"),
        (f"{CERTIFY} --sample train[5:5]", "train[5:5] empty"),
        (f"{CERTIFY} --sample train[:30000]", "train[:30000] 1197 rows"),
        (f"{CERTIFY} --holdout --sample train[1000:]", "run log trained on train[0:1197]"),
        (f"{CERTIFY} --disagreement nowhere.safetensors", "nowhere.safetensors No such file"),
        (f"{CERTIFY} --max-drop 0.01", "0.01: expected *.safetensors"),
        (CERTIFY.replace("NEW", "dense"), "dense: holds 'c"),
        (CERTIFY.replace("NEW", "P.npz"), "P.npz: is a file"),
        (CERTIFY.replace("NEW", "P.npz/sub"), "P.npz/sub: cannot write"),
        (CERTIFY.replace("digits", "digit"), "digit: no such data; digits FILE.npz"),
        (CERTIFY.replace("mlp:64-16-10", "lenet5"), "'lenet5': no such model; 'lenet-5'"),
        (CERTIFY.replace("mlp:64-16-10", "mlp:64-0-10"), "'mlp:64-0-10': positive integers"),
        (CERTIFY.replace("mlp:64-16-10", "models.py"), "name its function models.py:build"),
        (CERTIFY.replace("mlp:64-16-10", "models.py:bild"), "models.py has no function 'bild'"),
        (CERTIFY.replace("mlp:64-16-10", "nowhere.py:build"), "nowhere.py: no such file"),
        (CERTIFY.replace("mlp:64-16-10", "mlp:64-17-10"), "'fc1.weight' (16, 64) (17, 64)"),
        (CERTIFY.replace("mlp:64-16-10", "models.py:build"), "'1.weight' (16, 64) missing"),
        (CERTIFY.replace("W.safetensors", "nowhere.safetensors"), "nowhere.safetensors No such"),
        (CERTIFY.replace("W.safetensors", "ladder"), "ladder: expected a file named *.safetensors"),
        (CERTIFY.replace("W.safetensors", "P.npz"), "P.npz: expected a file named *.safetensors"),
        ("prunecert certify --predictions nowhere.npz --out NEW", "nowhere.npz: no such file"),
        ("prunecert certify --predictions P.npz --top-k 2 --out NEW", "P.npz top-k"),
        ("prunecert certify --predictions P.npz --max-drop W.safetensors --out NEW", "W.saf"),
        ("prunecert verify", "DIR"),
        ("prunecert verify nowhere", "nowhere: no such folder"),
        ("prunecert verify W.safetensors", "W.safetensors: is a file"),
        ("prunecert train --model mlp:64-16-10 --data digits", "--out"),
        (f"prunecert train {ON_DIGITS} --epochs 3 --steps 5it", "--epochs --steps one"),
        (f"prunecert train {ON_DIGITS} --steps five", "'five' '500it'"),
        (f"prunecert train {ON_DIGITS} --epochs -1", "'--epochs' 0"),
        (f"prunecert train {ON_DIGITS} --optimizer adam", "'adam' sgd, adamw"),
        (f"prunecert train {ON_DIGITS} --device quantum", "--device quantum: not usable"),
        (f"prunecert train {ON_DIGITS} --lr 1e38 --epochs 1", "loss learning rate"),
        ("prunecert train --model mlp:63-10 --data digits --out NEW", "(1, 8, 8) does not take"),
        ("prunecert train --model mlp:64-5 --data digits --out NEW", "label 5 outputs"),
        (f"prunecert train {ON_DIGITS}".replace("NEW", "dense"), "dense/config.json configuration"),
        (f"prunecert train {ON_DIGITS}".replace("NEW", "P.npz"), "P.npz: is a file"),
        (f"prunecert train {ON_DIGITS} --epochs 0".replace("NEW", "P.npz/x"), "P.npz/x cannot"),
        ("prunecert prune W.safetensors --out NEW.safetensors", "--sparsity [0, 1)"),
        ("prunecert prune W.safetensors --sparsity abc --out NEW.safetensors", "--sparsity 'abc'"),
        ("prunecert prune W.safetensors --sparsity 1 --out NEW.safetensors", "1 [0, 1)"),
        ("prunecert prune W.safetensors --sparsity 90 --out NEW.safetensors", "90 [0, 1)"),
        ("prunecert prune W.safetensors --sparsity -0.1 --out NEW.safetensors", "-0.1 [0, 1)"),
        ("prunecert prune W.safetensors --sparsity nan --out NEW.safetensors", "nan [0, 1)"),
        ("prunecert prune W.safetensors --sparsity 0.9,0.5 --out NEW", "rising 0.5,0.8,0.9"),
        ("prunecert prune W.safetensors --sparsity 0.91,0.91 --out NEW", "rising"),
        ("prunecert prune W.safetensors --sparsity 0.91,0.91001 --out NEW", "0.0001 apart"),
        ("prunecert prune W.safetensors --sparsity 0.95,1.5 --out NEW", "1.5 [0, 1)"),
        ("prunecert prune W.safetensors --sparsity 0.95 --out NEW", "--out NEW .safetensors"),
        ("prunecert prune W.safetensors --sparsity 0.91,0.95 --out N.safetensors", "a folder"),
        ("prunecert prune W.safetensors --sparsity 0.95 --out W.safetensors", "another name"),
        ("prunecert prune W.safetensors --sparsity 0.5 --out NEW.safetensors", "already cannot"),
        (
            "prunecert prune W.safetensors --sparsity 0.95 --out N.safetensors "
            "--mask-out N.safetensors",
            "--mask-out N.safetensors another name",
        ),
        ("prunecert select P.npz --data digits --target-error .1 --out NEW", "predictions --data"),
        ("prunecert bound per-class --errors 1,2;3 --n 4", "--errors one length"),
        ("prunecert prune W.safetensors --sparsity 0.95 --out dense", "dense/config.json"),
        ("prunecert prune W.safetensors --sparsity 0.91,0.95 --out P.npz", "P.npz: is a file"),
        ("prunecert prune nowhere.pt --sparsity 0.9 --out NEW.safetensors", "nowhere.pt"),
        ("prunecert prune W.safetensors --scope 2:4 --sparsity 0.6 --out N.safetensors", "0.5"),
        ("prunecert prune W.safetensors --scope 3:5 --out N.safetensors", "multiple of 5"),
        ("prunecert prune W.safetensors --scope 4:2 --out N.safetensors", "'4:2' global 2:4"),
        ("prunecert select --target-error 0.1 --out NEW", "W"),
        (f"prunecert select W.safetensors {ON_DIGITS}", "--target-error --dense --max-drop"),
        (f"prunecert select W.safetensors {ON_DIGITS} --max-drop 0.1", "--dense belong together"),
        (f"prunecert select W.safetensors {ON_DIGITS} --target-error 5", "--target-error 5"),
        (f"prunecert select W.safetensors {ON_DIGITS} --target-error 0", "--target-error 0"),
        (f"prunecert select W.safetensors {ON_DIGITS} --target-error .1 --delta 2", "--delta 2"),
        (
            f"prunecert select W.safetensors {ON_DIGITS} --target-error .1 --correction none",
            "--correction none sequence simultaneous",
        ),
        (
            f"prunecert select W.safetensors {ON_DIGITS} --target-error .1 --sample train",
            "W.safetensors run log train[0:1197]",
        ),
        ("prunecert select W.safetensors P.npz --target-error .1 --out NEW", "--model --data"),
        ("prunecert select W.safetensors --data digits --target-error .1 --out NEW", "--model"),
        (f"prunecert measure W.safetensors {ON_DIGITS}".replace("NEW", "dense"), "dense: a folder"),
        (
            f"prunecert measure W.safetensors {ON_DIGITS}".replace("NEW", "P.npz/e"),
            "P.npz/e cannot",
        ),
        ("prunecert bounds nowhere.npz", "nowhere.npz: no such file"),
        ("prunecert bounds P.npz", "P.npz: not an evidence file"),
        ("prunecert bounds dense", "dense"),
        ("prunecert bounds --delta 7", "delta 7"),
        ("prunecert bound ocam --errors 1", "'ocam' did you mean occam?"),
        ("prunecert bound occam --errors 1", "missing --n: --errors --n --bits --delta"),
        ("prunecert bound occam --errors 1 --n", "'--n'"),
        ("prunecert bound occam 1 2 3", "'1': expected --errors"),
        ("prunecert bound occam --errors x --n 10 --bits 3", "--errors 'x' number"),
        ("prunecert bound occam --errors 50 --n 10 --bits 3", "errors n = 10, not 50"),
        ("prunecert bound occam --errors 1 --n 10 --bits nan", "bits not nan"),
        ("prunecert bound occam --errors 1 --n 10 --bits 3 --delta 2", "delta not 2"),
        ("prunecert bound holdout --errors 1,2 --n 3,4,5", "lengths"),
        ("prunecert explain holdot", "'holdot' did you mean holdout?"),
        ("prunecert plan --target-error 0.03 --expected-error 0.05", "expected_error below"),
        ("prunecert plan --target-error 0.05 --expected-error 0.049999999", "100,000,000 samples"),
        ("prunecert plan --target-error 2 --expected-error 0.1", "target_error not 2"),
        ("prunecert report nowhere", "nowhere: no such file"),
        ("prunecert report dense", "dense/results.json: no such file"),
        ("prunecert report dense/config.json", "dense/config.json: networks, bounds or figures"),
        ("prunecert report P.npz", "P.npz: not readable as JSON"),
    ],
)
def test_one_line_and_exit_2(say, line, words):
    refused(say, line, *words.split(" "))


@pytest.mark.parametrize("method", ["snip", "taylor"])
@pytest.mark.parametrize("given", ["", "--data digits", "--model mlp:64-16-10"])
def test_gradients_need_a_model_and_data(say, method, given):
    line = "prunecert prune W.safetensors --sparsity 0.95 --out NEW.safetensors"
    refused(say, f"{line} --method {method} {given}", "--model")


@pytest.mark.parametrize("given", ["", "--data digits", "--model mlp:64-16-10"])
def test_retraining_needs_a_model_and_data(say, given):
    line = "prunecert prune W.safetensors --sparsity 0.95 --out NEW.safetensors --epochs 2"
    refused(say, f"{line} {given}", "--model")


# --------------------------------------------------------------------------- weights


class Runs:
    """A pickle of this makes a file when it is loaded without care."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


def torch_pickle(path: Path) -> None:
    torch.save({"fc1.weight": Runs()}, path)


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"fc1.weight": Runs()}))


def changed(**tensors: torch.Tensor | None) -> Callable[[Path], None]:
    """W.safetensors with some tensors replaced, or left out where None."""

    def write(path: Path) -> None:
        given = {name.replace("_", "."): tensor for name, tensor in tensors.items()}
        merged = load_file("W.safetensors") | given
        save_file({name: t for name, t in merged.items() if t is not None}, path)

    return write


def noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(300))


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("evil.pt", torch_pickle, "refused: it wants to run posix.mkdir"),
        ("evil.pt", plain_pickle, "not a file of torch.save"),
        ("evil.bin", torch_pickle, "refused: it wants to run posix.mkdir"),
        ("noise.pt", noise, "not a file of torch.save"),
        ("noise.safetensors", noise, "not a safetensors file"),
        ("empty.safetensors", Path.touch, "not a safetensors file"),
        ("nan.safetensors", changed(fc2_bias=torch.full((10,), torch.nan)), "'fc2.bias' 10 NaN"),
        ("inf.safetensors", changed(fc1_bias=torch.full((16,), torch.inf)), "'fc1.bias' 16 NaN"),
        ("less.safetensors", changed(fc1_bias=None), "'fc1.bias' (16,) missing"),
        ("more.safetensors", changed(fc3_bias=torch.zeros(2)), "'fc3.bias' (2,) not in the model"),
        ("shape.safetensors", changed(fc1_bias=torch.zeros(3)), "'fc1.bias' (3,) (16,)"),
    ],
)
@pytest.mark.parametrize("mode", ["", "--holdout"])
def test_weights_that_cannot_be_used(say, desk, name, write, words, mode):
    write(desk / name)
    refused(say, f"prunecert certify {name} {ON_DIGITS} {mode}", f"{name}: ", *words.split(" "))
    assert not Path("pwned").exists()


# --------------------------------------------------------------------------- data

ROWS = np.random.default_rng(0).random((60, 1, 8, 8), dtype=np.float32)
LABELS = np.arange(60) % 10


def altered(values: np.ndarray, row: int, value: float) -> np.ndarray:
    values = values.copy()
    values[row] = value
    return values


@pytest.mark.parametrize(
    ("arrays", "mode", "words"),
    [
        ({"x_train": None, "x_test": None}, "", "x_train, y_train, x_test, y_test; found"),
        ({"y_train": None}, "", "y_train: missing"),
        ({"y_test": None}, "--holdout", "y_test: missing"),
        ({"x_test": None}, "--holdout", "no test sample"),
        ({"x_train": None}, "", "no train sample"),
        ({"y_train": LABELS[:39]}, "", "y_train: expected 40 found 39"),
        ({"y_train": LABELS[:40] / 1}, "", "y_train: integers float64"),
        ({"y_train": np.eye(10)[LABELS[:40]].astype(int)}, "", "y_train: (n,), (40, 10)"),
        ({"y_train": altered(LABELS[:40], 5, 12)}, "", "label 12 10 outputs"),
        ({"y_test": altered(LABELS[40:], 5, 10)}, "--holdout", "y_test row 5: 0 to 9 found 10"),
        ({"y_test": altered(LABELS[40:], 5, -1)}, "--per-class", "y_test row 5: found -1"),
        ({"x_train": altered(ROWS[:40], 3, np.nan)}, "", "x_train row 3: finite NaN"),
        ({"x_train": altered(ROWS[:40], 3, np.inf)}, "", "x_train row 3: finite"),
        ({"x_test": altered(ROWS[40:], 4, np.nan)}, "--holdout", "x_test row 4: finite"),
        ({"x_train": ROWS[:0], "y_train": LABELS[:0]}, "", "train empty"),
        ({"x_test": ROWS[:0], "y_test": LABELS[:0]}, "--holdout", "test empty"),
        ({"x_train": ROWS[:40, :, :7]}, "", "(1, 7, 8) train[0:40] does not take"),
        ({"x_train": np.array([{}] * 40)}, "", "x_train: Object"),
        ({"x_test": ROWS[:20]}, "--holdout", "20 of the 20 rows overlaps"),
    ],
)
def test_data_that_cannot_be_used(say, arrays, mode, words):
    given = {
        "x_train": ROWS[:40],
        "y_train": LABELS[:40],
        "x_test": ROWS[40:],
        "y_test": LABELS[40:],
    }
    kept = {name: array for name, array in (given | arrays).items() if array is not None}
    np.savez("data.npz", other=np.zeros(1), **kept)
    line = f"prunecert certify W.safetensors --model mlp:64-16-10 --data data.npz --out NEW {mode}"
    named = "" if "outputs" in words or "does not take" in words else "data.npz: "
    refused(say, line, named, *words.split(" "))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"labels": LABELS}, "'predictions' or 'logits'"),
        ({"predictions": LABELS, "logits": np.eye(10)[LABELS], "labels": LABELS}, "not both"),
        ({"predictions": LABELS}, "labels: missing"),
        ({"predictions": LABELS, "labels": LABELS[:50]}, "labels: expected 60 found 50"),
        ({"predictions": LABELS / 1, "labels": LABELS}, "predictions: integers float64"),
        ({"predictions": altered(LABELS, 7, -2), "labels": LABELS}, "predictions: row 7: -2"),
        ({"predictions": LABELS[:0], "labels": LABELS[:0]}, "predictions: at least one row"),
        ({"logits": np.full((60, 10), np.nan), "labels": LABELS}, "logits: row 0: finite"),
        ({"logits": np.eye(10)[LABELS], "labels": altered(LABELS, 9, 10)}, "labels: row 9: 0 to 9"),
        ({"logits": np.zeros((60, 1)), "labels": LABELS}, "logits: K at least 2 (60, 1)"),
    ],
)
def test_predictions_that_cannot_be_used(say, arrays, words):
    np.savez("bad.npz", **arrays)
    line = "prunecert certify --predictions bad.npz --out NEW"
    refused(say, line, "bad.npz: ", *words.split(" "))
    np.savez("good.npz", predictions=LABELS, labels=LABELS)
    if "labels" in arrays:  # a file without them is still good for disagreement
        line = "prunecert select good.npz bad.npz --target-error 0.5 --out NEW"
        refused(say, line, "bad.npz: ", *words.split(" "))


def test_predictions_of_other_rows_are_not_compared(say):
    np.savez("short.npz", predictions=LABELS, labels=LABELS)
    for mode in ("--disagreement", "--max-drop"):
        line = f"prunecert certify --predictions P.npz {mode} short.npz --out NEW"
        refused(say, line, "short.npz", "60", "600")


def test_a_users_function_that_fails(say):
    Path("mine.py").write_text(
        "def number(): return 3\n"
        "def fails(): raise RuntimeError('first\\nsecond')\n"
        "def syntax(): pass\n"
    )
    Path("broken.py").write_text("def build(:\n")
    line = "prunecert certify W.safetensors --out NEW"
    for model, words in (
        ("mine.py:number", "expected an nn.Module"),
        ("mine.py:fails", "calling it failed: RuntimeError: first"),
        ("broken.py:build", "cannot import broken.py: SyntaxError"),
    ):
        refused(say, f"{line} --model {model} --data digits", model, words)
    for data, words in (
        ("mine.py:number", "expected (train, test)"),
        ("mine.py:fails", "the function failed: RuntimeError: first"),
    ):
        refused(say, f"{line} --model mlp:64-16-10 --data {data}", data, words)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_folder_that_may_not_be_written(say, desk):
    (desk / "locked").mkdir(mode=0o555)
    refused(say, CERTIFY.replace("NEW", "locked/NEW"), "locked/NEW", "cannot write")
    refused(
        say, "prunecert prune W.safetensors --sparsity .95 --out locked/N.safetensors", "locked"
    )


def test_a_full_disk_leaves_nothing(say, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(os, "replace", full)
    for line in (f"{CERTIFY} --holdout", f"prunecert train {ON_DIGITS} --epochs 1"):
        refused(say, line, "NEW", "No space left")
        shutil.rmtree("NEW", ignore_errors=True)  # an empty folder of a run may stay


def test_a_sample_that_was_trained_on_is_found_in_a_copy_too(say):
    """The run log names the inputs, not only where they stood."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.RandomState(0).permutation(len(bunch.target))
    images = (bunch.images[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = bunch.target[order]
    np.savez(
        "copy.npz",
        x_train=images[1197:],
        y_train=labels[1197:],
        x_test=images[:1197],
        y_test=labels[:1197],
    )
    line = "prunecert certify W.safetensors --model mlp:64-16-10 --data copy.npz --out NEW"
    refused(say, f"{line} --holdout", "run log", "trained on")
