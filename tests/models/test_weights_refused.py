"""Weights files that do not fit, are damaged or hostile: one line each, and nothing is run."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from prunecert.models.weights import load_weights, read_mask
from prunecert.models.zoo import build
from prunecert.types import InputError

MLP = "mlp:4-6-3"


def written(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def refusal(path: Path, module: nn.Module | None = None) -> str:
    with pytest.raises(InputError) as info:
        load_weights(path, module or build(MLP))
    message = str(info.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def changed(change: Callable[[dict[str, Tensor]], Any]) -> dict[str, Tensor]:
    tensors = dict(build(MLP, seed=1).state_dict())
    change(tensors)
    return tensors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Two things wrong each time: the first in the model's order is the one named.
        (
            lambda t: [t.pop("fc2.bias"), t.pop("fc1.bias")],
            "'fc1.bias' (6,) of the model is missing",
        ),
        (
            lambda t: t.update({"fc2.bias": torch.ones(9), "fc1.weight": torch.ones(4, 6)}),
            "'fc1.weight' has shape (4, 6), the model has (6, 4)",
        ),
        (
            lambda t: [t.pop("fc1.weight"), t.update({"fc1.bias": torch.ones(9)})],
            "'fc1.weight' (6, 4) of the model is missing",
        ),
        (
            lambda t: [t.pop("fc2.weight"), t.update({"fc1.bias": torch.ones(1)})],
            "'fc1.bias' has shape (1,), the model has (6,)",
        ),
        (
            lambda t: t.update({"fc3.bias": torch.ones(2, 5)}),
            "'fc3.bias' (2, 5) is not in the model",
        ),
        (
            lambda t: t["fc2.weight"][0, :2].fill_(float("nan")),
            "'fc2.weight' holds 2 NaN or infinite values",
        ),
        (lambda t: t["fc1.bias"][3].fill_(float("-inf")), "'fc1.bias' holds 1 NaN or infinite"),
        (
            lambda t: t.update({"fc1.bias": torch.full((6,), 1e300, dtype=torch.float64)}),
            "'fc1.bias' holds 6 NaN or infinite",  # infinite in float32
        ),
        (
            lambda t: t.update({"fc1.bias": torch.ones(6, dtype=torch.int8)}),
            "'fc1.bias' is torch.int8, the model has torch.float32",
        ),
        (
            lambda t: t.update({"fc1.bias": torch.ones(6, dtype=torch.complex64)}),
            "'fc1.bias' is torch.complex64",
        ),
        (lambda t: t.update({7: torch.ones(6)}), "7 is not an ordinary dense tensor"),
        (lambda t: t.update({"a\n\x1b": torch.ones(6)}), r"'a\n\x1b' (6,) is not in the model"),
        (lambda t: t.update({"fc1.bias": [1.0] * 6}), "'fc1.bias' is not an ordinary dense"),
        (
            lambda t: t.update({"fc1.bias": torch.ones(6).to_sparse()}),
            "'fc1.bias' is not an ordinary dense",
        ),
        (
            lambda t: t.update({"fc1.bias": torch.empty(6, device="meta")}),
            "'fc1.bias' is not an ordinary dense",
        ),
        (
            lambda t: t.update({"fc1.weight": torch.zeros(1).expand(10**6, 10**6)}),
            "'fc1.weight' has shape (1000000, 1000000)",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    assert message in refusal(written(tmp_path / "w.pt", changed(change)))


def test_gigantic_shapes_of_pruned_weights_are_refused_unread(tmp_path: Path) -> None:
    tensors = changed(lambda t: t.pop("fc1.weight"))
    tensors |= {f"fc1.weight_{k}": torch.zeros(1).expand(10**6, 10**6) for k in ("orig", "mask")}
    message = refusal(written(tmp_path / "w.pt", tensors))
    assert "'fc1.weight_orig' has shape (1000000, 1000000), the model has (6, 4)" in message


class Runs:
    """A pickle of this calls os.mkdir when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    hostile = {**build(MLP).state_dict(), "fc1.weight": Runs(trace)}
    zipped, bare = written(tmp_path / "zipped.pt", hostile), tmp_path / "bare.bin"
    bare.write_bytes(pickle.dumps(Runs(trace), protocol=2))
    assert "refused: it wants to run" in refusal(zipped)
    assert "mkdir" in refusal(zipped)
    refusal(bare)
    with pytest.raises(InputError):
        read_mask(zipped)
    assert not trace.exists()
    pickle.loads(bare.read_bytes())  # the trap itself works
    assert trace.exists()


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    assert "save module.state_dict()" in refusal(written(tmp_path / "w.pt", build(MLP)))


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    good = safetensors.torch.save(build(MLP).state_dict())
    (tmp_path / "cut.safetensors").write_bytes(good[:-1])
    assert "not a safetensors file" in refusal(tmp_path / "cut.safetensors")
    for name in ("empty.safetensors", "empty.pt"):
        (tmp_path / name).write_bytes(b"")
        refusal(tmp_path / name)
    (tmp_path / "noise.pt").write_bytes(random.Random(0).randbytes(500))
    assert "not a file of torch.save" in refusal(tmp_path / "noise.pt")
    assert "holds a Tensor" in refusal(written(tmp_path / "t.pt", torch.ones(3)))
    assert "No such file" in refusal(tmp_path / "absent.pt")
    (tmp_path / "folder.pt").mkdir()
    assert "cannot read it" in refusal(tmp_path / "folder.pt")
    (tmp_path / "w.txt").write_text("")
    assert "*.safetensors, .pt, .pth, .bin" in refusal(tmp_path / "w.txt")


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch.load wonders at damaged headers
@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "w.safetensors"])
def test_every_damaged_file_is_read_or_refused(tmp_path: Path, name: str) -> None:
    tensors, path, draw = build(MLP).state_dict(), tmp_path / name, random.Random(1)
    if name == "w.safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=name == "zip.pt")
    good, refused = path.read_bytes(), 0
    for _ in range(200):
        at = draw.randrange(len(good))
        path.write_bytes(good[:at] + draw.randbytes(draw.choice((0, 1, 9))) + good[at + 1 :])
        try:
            load_weights(path, build(MLP))
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 100  # the others changed a value, or bytes that mean nothing
