"""`prunecert paper` with wrong arguments: one line, exit 2, nothing left behind."""

from __future__ import annotations

import pytest
from small_paper import write_stripes

from prunecert.cli.app import run


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("svhn", "stripes", "paper 'svhn': expected one of mnist, cifar10"),
        ("mnist", "nowhere.npz", "nowhere.npz"),
        ("cifar10", "stripes", "inputs of shape (1, 28, 28), expected (3, 32, 32)"),
    ],
)
def test_bad_input_is_one_line(name, data, says, tmp_path, capsys):
    stripes = write_stripes(tmp_path / "stripes.npz")
    out = tmp_path / "new"
    given = stripes if data == "stripes" else str(tmp_path / data)
    assert run(["paper", name, "--data", given, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not out.exists()
