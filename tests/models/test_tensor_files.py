"""Masks in, and files out whose bytes depend on content only."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from prunecert.models.weights import load_weights, read_mask, safetensors_bytes, save_tensors
from prunecert.models.zoo import build
from prunecert.types import InputError

MLP = "mlp:4-6-3"


def same(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return list(given) == list(wanted) and all(
        given[k].dtype == wanted[k].dtype and torch.equal(given[k], wanted[k]) for k in wanted
    )


def in_both_formats(
    folder: Path, tensors: dict[str, Tensor]
) -> list[tuple[Path, dict[str, Tensor]]]:
    pickled, plain_file = folder / "w.pt", folder / "w.safetensors"
    torch.save(tensors, pickled)
    safetensors.torch.save_file(tensors, plain_file)
    return [(pickled, tensors), (plain_file, tensors)]


def written(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


# --------------------------------------------------------------------------- masks


def test_masks_are_read_from_both_formats_and_every_dtype(tmp_path: Path) -> None:
    want = {"fc1.weight": torch.tensor([[True, False], [False, True]])}
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float32):
        for name in ("fc1.weight", "fc1.weight_mask"):
            stored = {name: want["fc1.weight"].to(dtype)}
            for path, _ in in_both_formats(tmp_path, stored):
                assert same(read_mask(path), want)


@pytest.mark.parametrize("value", [0.5, 2.0, -1.0, float("nan")])
def test_masks_hold_zeros_and_ones_only(tmp_path: Path, value: float) -> None:
    path = written(tmp_path / "m.pt", {"fc1.weight": torch.tensor([0.0, 1.0, value])})
    with pytest.raises(InputError, match="m.pt: mask 'fc1.weight' holds values other than"):
        read_mask(path)


# --------------------------------------------------------------------------- writing

EVERY_DTYPE = {
    "half": torch.tensor([1.5, -0.0], dtype=torch.float16),
    "brain": torch.tensor([[3.0]], dtype=torch.bfloat16),
    "double": torch.tensor(1 / 3, dtype=torch.float64),
    "single": torch.randn(3, 5, generator=torch.Generator().manual_seed(1)),
    "long": torch.tensor(2**62),
    "int": torch.tensor([-(2**31)], dtype=torch.int32),
    "short": torch.tensor([-7], dtype=torch.int16),
    "byte": torch.tensor([[255]], dtype=torch.uint8),
    "char": torch.tensor([-128], dtype=torch.int8),
    "bool": torch.tensor([True, False, True]),
    "empty": torch.empty(0, 4),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
}


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_tensors(path, EVERY_DTYPE, {"é": "line\nbreak"})
    read = safetensors.torch.load_file(path)
    assert read.keys() == EVERY_DTYPE.keys()
    for name, tensor in EVERY_DTYPE.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
    assert torch.signbit(read["half"][1])
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"é": "line\nbreak"}
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    for name, tensor in EVERY_DTYPE.items():  # aligned, so that it can be mapped into memory
        assert (8 + size + header[name]["data_offsets"][0]) % tensor.itemsize == 0


def test_shared_memory_is_written_under_every_name(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    tensors = {"whole": whole, "same": whole, "part": whole[2:4], "many": whole[:1].expand(3)}
    save_tensors(tmp_path / "w.safetensors", tensors)
    read = safetensors.torch.load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_bytes_depend_on_content_only() -> None:
    """The library itself fails this: it writes the entries of metadata in a random order."""
    metadata = {f"key {i}": str(i) for i in range(8)}
    want = safetensors_bytes(EVERY_DTYPE, metadata)
    shuffle = random.Random(0)
    for _ in range(20):
        tensors, entries = list(EVERY_DTYPE.items()), list(metadata.items())
        shuffle.shuffle(tensors)
        shuffle.shuffle(entries)
        assert safetensors_bytes(dict(tensors), dict(entries)) == want


def test_one_file_byte_by_byte() -> None:
    """Typed from the format's description: length, JSON header, padding, data."""
    header = (
        b'{"__metadata__":{"a":"1","b":"2"},'
        b'"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"m":{"dtype":"BOOL","shape":[1,1],"data_offsets":[8,9]}}'
    )
    padded = header + b" " * (-len(header) % 8)
    want = len(padded).to_bytes(8, "little") + padded + b"\0\0\x80\x3f\0\0\0\xc0" + b"\x01"
    tensors = {"m": torch.tensor([[True]]), "w": torch.tensor([1.0, -2.0])}
    assert safetensors_bytes(tensors, {"b": "2", "a": "1"}) == want


def test_saved_weights_load_again(tmp_path: Path) -> None:
    tensors = build("lenet-5", seed=1).state_dict()
    save_tensors(tmp_path / "w.safetensors", tensors, {"who": "us"})
    weights = load_weights(tmp_path / "w.safetensors", build("lenet-5"))
    assert same(weights.tensors, tensors)
    assert weights.metadata == {"who": "us"}


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    save_tensors(path, {"w": torch.ones(2)})
    before = path.read_bytes()

    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="w.safetensors: cannot write it: No space left"):
        save_tensors(path, {"w": torch.zeros(2)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'c' is torch.complex64"):
        save_tensors(tmp_path / "w.safetensors", {"c": torch.ones(1, dtype=torch.complex64)})
    assert list(tmp_path.iterdir()) == []
