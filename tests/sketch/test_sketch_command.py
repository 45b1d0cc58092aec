"""`prunecert sketch`, in-process."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prunecert.cli.app import run
from prunecert.models.weights import save_tensors
from prunecert.sketch import distributed_sparse


@pytest.fixture
def weights(tmp_path):
    random = np.random.default_rng(0)
    layer = torch.as_tensor(distributed_sparse(48, 1, random)).float()
    kernels = layer.reshape(48, 12, 2, 2).contiguous()
    path = tmp_path / "w.safetensors"
    save_tensors(path, {"fc.weight": layer, "conv.weight": kernels, "fc.bias": torch.ones(48)})
    return path


def said(capfd, *arguments):
    code = run(["sketch", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert all(len(line) <= 80 for line in out.splitlines())
    return code, " ".join(out.split()), err


def test_with_rows(weights, capfd):
    code, out, _ = said(capfd, weights, "--layer", "fc.weight", "--rows", 40)
    assert code == 0
    assert "48 (2.08%)" in out and "gives the layer back" in out
    # 40² · 32 bits against 48 · (32 + 12) bits: 51,200 / 2,112 = 24.2
    assert (
        "1,600 numbers against 48 nonzeros: listing them is smaller by a factor 24.2 "
        "(positions counted)."
    ) in out


def test_smallest_and_flattened(weights, capfd):
    code, out, _ = said(capfd, weights, "--layer", "conv.weight", "--seed", 1)
    assert code == 0
    assert "kernels (48, 12, 2, 2) are read as (48, 48)" in out
    assert "(smallest, to within 1)" in out and "gives the layer back" in out


def test_the_column_weight_is_the_one_asked_for(weights, capfd):
    """With one 1 per column and m = 16, some of the 48 columns coincide: nothing can tell them."""
    heavy = said(capfd, weights, "--layer", "fc.weight", "--rows", 30, "--weight", 4)[1]
    light = said(capfd, weights, "--layer", "fc.weight", "--rows", 16, "--weight", 1)[1]
    assert "ones per column 4 or fewer" in heavy and " gives the layer back" in heavy
    assert "ones per column 1 or fewer" in light and "does NOT give the layer back" in light
    assert said(capfd, weights, "--layer", "fc.weight", "--rows", 30)[1] == heavy  # ⌈ln 48⌉ = 4


def test_a_layer_of_zeros(tmp_path, capfd):
    path = tmp_path / "zeros.safetensors"
    save_tensors(path, {"w": torch.zeros(5, 7)})
    code, out, _ = said(capfd, path, "--layer", "w")
    assert code == 0 and out.endswith("nothing to sketch, and nothing to list.")


def test_too_small_is_said(weights, capfd):
    code, out, _ = said(capfd, weights, "--layer", "fc.weight", "--rows", 5)
    assert code == 0
    assert "25 numbers do not give the layer back: its 48 nonzeros, listed, do." in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--layer", "fc.wieght"], "no tensor 'fc.wieght': did you mean fc.weight?"),
        (["--layer", "zzz"], "expected one of "),
        (["--layer", "fc.bias"], "'fc.bias' has shape (48,), expected a matrix or kernels"),
        (["--layer", "fc.weight", "--rows", "49"], "rows 49: expected 1 to 48"),
        (["--layer", "fc.weight", "--rows", "3"], "column weight 4: expected 1 to 3"),
        (["--layer", "fc.weight", "--rows", "0"], "rows 0: expected 1 to 48"),
        (["--layer", "fc.weight", "--rows", "-3"], "rows -3: expected 1 to 48"),
        (["--layer", "fc.weight", "--rows", "2.5"], "'--rows': Input should be a valid integer"),
        (["--layer", "fc.weight", "--rows", "9", "--weight", "10"], "weight 10: expected 1 to 9,"),
        (["--layer", "fc.weight", "--weight", "49"], "column weight 49: expected 1 to 48,"),
        (["--layer", "fc.weight", "--weight", "0"], "'--weight': Input should be greater than or "),
    ],
)
def test_refusals(weights, capfd, arguments, line):
    code, _, err = said(capfd, weights, *arguments, "-q")
    assert code == 2 and line in err and len(err.splitlines()) == 1


def test_nan_is_refused(tmp_path, capfd):
    path = tmp_path / "nan.safetensors"
    save_tensors(path, {"w": torch.tensor([[1.0, float("nan")]])})
    code, _, err = said(capfd, path, "--layer", "w", "-q")
    assert code == 2 and "'w' holds 1 NaN or infinite values" in err


def test_complex_numbers_are_refused_and_many_names_cut_short(tmp_path, capfd):
    path = tmp_path / "w.pt"
    tensors = {f"block{k}.weight": torch.eye(2) for k in range(30)}
    torch.save(tensors | {"z": torch.eye(2, dtype=torch.complex64)}, path)
    code, _, err = said(capfd, path, "--layer", "z", "-q")
    assert code == 2 and err == f"prunecert: {path}: 'z' is complex, expected real numbers\n"
    code, _, err = said(capfd, path, "--layer", "?", "-q")
    assert code == 2 and err.count("block") == 10 and err.endswith("… (31 in all)\n")
