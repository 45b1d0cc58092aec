"""Weights, masks and tensors in files. Reading never runs code from a file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from prunecert.files import write_bytes
from prunecert.models.loading import TensorSpec, copy_of, plain, tensor_specs
from prunecert.types import InputError
from prunecert.user_code import in_one_line

_PICKLED = (".pt", ".pth", ".bin")
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_UNUSED_IN_EVAL = "num_batches_tracked"

_DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Weights:
    """Tensors by the model's names, in its order and in the dtypes of the file.

    `notes` says in words what was done to make them fit; `sha256` is of the file's bytes;
    `metadata` is the text metadata of a safetensors file. Tied names hold the same tensor.
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...]
    sha256: str
    metadata: dict[str, str]


# --------------------------------------------------------------------------- reading


def load_weights(path: str | Path, module: nn.Module) -> Weights:
    """The weights in `path` for `module`: `.safetensors`, or a state dict in .pt, .pth or .bin.

    Keys may differ from the model's by one prefix; `X_orig` and `X_mask` of torch.nn.utils.prune
    become X; keys of parametrizations are read where the module has them, and applied.

    Raises InputError naming the file and the first key, in the model's order, that is missing,
    has another shape or holds NaN or infinity; or the first that the model does not have.
    """
    path = Path(path)
    file = _read(path)
    parametrized = any("parametrizations." in name for name in file.tensors)
    target = copy_of(module) if parametrized else plain(module)
    stored, renamed = _with_names_of(target, file.tensors)
    tensors, kept = _matched(path, stored, target)
    if parametrized:
        _write(target, tensors)
        tensors = dict(plain(target).state_dict())
        kept += ("weights were computed from their parametrizations",)
    wide = _check_finite(path, tensors)
    return replace(file, tensors=tensors, notes=file.notes + renamed + kept + wide)


def load_tensors(path: str | Path) -> Weights:
    """The tensors of a file without a model: under its own names, X_orig · X_mask merged into X.

    Raises InputError as `load_weights` does for files it cannot read and for NaN or infinity.
    """
    path = Path(path)
    file = _read(path)
    merged: dict[str, Tensor] = {}
    for name, tensor in file.tensors.items():
        if (
            name.endswith("_orig")
            and (mask := name.removesuffix("_orig") + "_mask") in file.tensors
        ):
            kept = _as_mask(path, mask, file.tensors[mask])
            merged[name.removesuffix("_orig")] = torch.where(kept, tensor, 0)
        elif not (name.endswith("_mask") and name.removesuffix("_mask") + "_orig" in file.tensors):
            merged[name] = tensor
    return replace(file, tensors=merged, notes=file.notes + _check_finite(path, merged))


def read_mask(path: str | Path) -> dict[str, Tensor]:
    """Masks {name: bool tensor, True = kept} from a file of zeros and ones; `X_mask` means X.

    Raises InputError when any value is neither 0 nor 1.
    """
    return {
        name.removesuffix("_mask"): _as_mask(Path(path), name, tensor)
        for name, tensor in _read(Path(path)).tensors.items()
    }


def _read(path: Path) -> Weights:
    """The file as it is, under its own names. Bytes are read once: what is hashed is parsed."""
    if path.suffix not in (".safetensors", *_PICKLED):
        raise InputError(f"{path}: expected a file named *.safetensors, {', '.join(_PICKLED)}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from None
    metadata: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    if path.suffix == ".safetensors":
        tensors, metadata = _parse_safetensors(path, content)
    else:
        tensors, notes = _unwrapped(path, _unpickled(path, content))
    for name, tensor in tensors.items():
        if not (isinstance(name, str) and _is_ordinary(tensor)):
            raise InputError(f"{path}: {name!r} is not an ordinary dense tensor")
    return Weights(tensors, notes, hashlib.sha256(content).hexdigest(), metadata)


def _parse_safetensors(path: Path, content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        tensors = safetensors.torch.load(content)
    except Exception as error:  # a damaged file fails in many ways
        raise InputError(f"{path}: not a safetensors file: {in_one_line(error)}") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.pop("__metadata__", {})
    return {name: tensors[name] for name in header}, metadata  # the library's order is random


def _unpickled(path: Path, content: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to torch's own developers
            return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged or hostile pickle fails in many ways
        if wanted := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise InputError(
                f"{path}: refused: it wants to run {wanted[1]}, which weights do not need; "
                "save module.state_dict(), best as .safetensors"
            ) from error
        raise InputError(
            f"{path}: not a file of torch.save, or with more than tensors in it; "
            "save module.state_dict(), best as .safetensors"
        ) from error


def _unwrapped(path: Path, checkpoint: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    if not isinstance(checkpoint, Mapping):
        kind = type(checkpoint).__name__
        raise InputError(f"{path}: holds a {kind}, expected a state dict (names to tensors)")
    inner = [key for key in _WRAPPERS if isinstance(checkpoint.get(key), Mapping)]
    if not inner:
        return dict(checkpoint), ()
    if len(inner) > 1:
        raise InputError(f"{path}: holds several networks ({', '.join(inner)}), expected one")
    return dict(checkpoint[inner[0]]), (f"read from the entry '{inner[0]}' of the checkpoint",)


def _is_ordinary(tensor: Any) -> bool:
    return (
        isinstance(tensor, Tensor)
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
    )


# --------------------------------------------------------------------------- matching names


def _with_names_of(
    target: nn.Module, stored: dict[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """`stored` with one prefix removed or added, where nothing fits as it stands."""
    expected = set(target.state_dict())

    def fits(names: Iterable[str]) -> bool:
        return any(n in expected or n.removesuffix("_orig") in expected for n in names)

    theirs, ours = _common_prefix(stored), _common_prefix(expected)
    renamed = {ours + name.removeprefix(theirs): tensor for name, tensor in stored.items()}
    if fits(stored) or not fits(renamed):
        return stored, ()
    if theirs.endswith(ours):
        return renamed, (f"prefix {theirs.removesuffix(ours)!r} removed from every key",)
    if ours.endswith(theirs):
        return renamed, (f"prefix '{ours.removesuffix(theirs)}' added to every key",)
    return stored, ()


def _common_prefix(names: Iterable[str]) -> str:
    """The longest prefix of whole dotted parts, with its last dot."""
    before, dot, _ = os.path.commonprefix(list(names)).rpartition(".")
    return before + dot


def _matched(
    path: Path, stored: dict[str, Tensor], target: nn.Module
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """`stored` in the order of `target`, every key and shape checked, and what was filled in."""
    specs, own = tensor_specs(target), target.state_dict()
    tied: dict[str, list[str]] = {}
    for spec in specs:
        tied.setdefault(spec.alias_of or spec.name, []).append(spec.name)
    tensors: dict[str, Tensor] = {}
    unused, kept = dict.fromkeys(stored), 0
    for spec in specs:
        names = [spec.name, *tied[spec.alias_of or spec.name]]  # any tied name will do
        name = next((n for n in names if n in stored or f"{n}_orig" in stored), None)
        if name is not None:
            tensors[spec.name] = _checked(path, stored, name, spec)
            for key in (name,) if name in stored else (f"{name}_orig", f"{name}_mask"):
                unused.pop(key, None)
        elif spec.name.endswith(_UNUSED_IN_EVAL):
            tensors[spec.name] = own[spec.name].clone()
            kept += 1
        else:
            other = next((key for key in stored if key not in own), None)
            hint = f" (it has {other!r})" if other else ""
            raise InputError(f"{path}: '{spec.name}' {spec.shape} of the model is missing{hint}")
        if spec.alias_of is not None:
            if not torch.equal(tensors[spec.name], tensors[spec.alias_of]):
                raise InputError(
                    f"{path}: '{spec.name}' and '{spec.alias_of}' are one tensor in the model "
                    "but differ here"
                )
            tensors[spec.name] = tensors[spec.alias_of]
    if unused:
        extra = next(iter(unused))
        raise InputError(f"{path}: {extra!r} {tuple(stored[extra].shape)} is not in the model")
    note = f"{kept} missing {_UNUSED_IN_EVAL} kept at the model's value (not used in evaluation)"
    return tensors, (note,) if kept else ()


def _checked(path: Path, stored: dict[str, Tensor], name: str, spec: TensorSpec) -> Tensor:
    """The tensor called `name`, or `name_orig` where `name_mask` is 1; shapes are compared first,
    since a hostile file can hold a tiny tensor of gigantic shape."""
    keys = (name,) if name in stored else (f"{name}_orig", f"{name}_mask")
    for key in keys:
        if key not in stored:
            raise InputError(f"{path}: '{keys[0]}' has no '{key}' beside it")
        if (shape := tuple(stored[key].shape)) != spec.shape:
            raise InputError(f"{path}: '{key}' has shape {shape}, the model has {spec.shape}")
    tensor = stored[keys[0]].detach()
    if tensor.is_floating_point() != spec.dtype.is_floating_point or tensor.is_complex():
        raise InputError(f"{path}: '{keys[0]}' is {tensor.dtype}, the model has {spec.dtype}")
    if len(keys) == 2:  # not a product, which would leave −0 where a negative weight was pruned
        tensor = torch.where(_as_mask(path, keys[1], stored[keys[1]]), tensor, 0)
    return tensor.contiguous()


def _as_mask(path: Path, name: str, tensor: Tensor) -> Tensor:
    kept = tensor == 1
    if not torch.all(kept | (tensor == 0)):
        raise InputError(f"{path}: mask {name!r} holds values other than 0 and 1")
    return kept


def _check_finite(path: Path, tensors: dict[str, Tensor]) -> tuple[str, ...]:
    """Refuse NaN and infinity; say so where evaluation in float32 will round."""
    wide = 0
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            wrong = int((~torch.isfinite(tensor.float())).sum())
            if wrong:
                raise InputError(f"{path}: '{name}' holds {wrong} NaN or infinite values")
            wide += tensor.dtype is torch.float64
    note = f"{wide} float64 tensors are rounded to float32 for evaluation"
    return (note,) if wide else ()


# --------------------------------------------------------------------------- using


def apply_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A plain copy of `module` with `tensors`, in eval mode and in float32 (half is exact in it).

    Tied weights stay tied. Raises InputError for a missing name or another shape.
    """
    result = plain(module).float()
    _write(result, tensors)
    return result


def _write(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = module.state_dict()  # shares memory with the module
    for spec in tensor_specs(module):
        if spec.alias_of is None:
            tensor = tensors.get(spec.name)
            if tensor is None or tuple(tensor.shape) != spec.shape:
                found = "nothing" if tensor is None else f"shape {tuple(tensor.shape)}"
                raise InputError(f"'{spec.name}': the model has {spec.shape}, given {found}")
            own[spec.name].copy_(tensor)


# --------------------------------------------------------------------------- writing


def safetensors_bytes(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> bytes:
    """A safetensors file. Equal tensors and metadata give equal bytes, whatever their order.

    Written here because the library orders metadata by a random hash, and the layout of tensors
    is its own to change. Format: huggingface/safetensors README; tensors are laid out widest
    dtype first (so all are aligned), then by name.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    blobs, end = [], 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
        if tensor.dtype not in _DTYPE_NAMES:
            raise InputError(f"'{name}' is {tensor.dtype}, which is not written to files")
        blob = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": _DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + len(blob)],
        }
        blobs.append(blob)
        end += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *blobs])


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `safetensors_bytes` to `path`, whole or not at all. Raises InputError."""
    write_bytes(path, safetensors_bytes(tensors, metadata))
