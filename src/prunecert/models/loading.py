"""From what the user typed after --model to an `nn.Module`, and what a module looks like plainly.

Loading a `file.py:function` runs that file: it is the user's own code, unlike a weights file.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune

from prunecert.models.zoo import build, is_zoo_name, local_seed
from prunecert.types import InputError
from prunecert.user_code import in_one_line, load_function, on_path

Origin = Literal["zoo", "python", "huggingface"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class LoadedModel:
    """`module` is in eval mode; `sha256` is of what defines its architecture (see `load_model`)."""

    spec: str
    module: nn.Module
    sha256: str
    origin: Origin


@dataclass(frozen=True)
class TensorSpec:
    """One entry of a state dict; `alias_of` is the first name of the same tensor (tied weights)."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    alias_of: str | None = None


# --------------------------------------------------------------------------- loading


def load_model(spec: str, seed: int = 0) -> LoadedModel:
    """The model named by `spec`, with initial weights drawn from `seed`, in eval mode.

    `spec`                                          `sha256` is of
    a zoo name                                      the name
    `file.py:function`, `package.module:function`   the file's bytes, then `:function`
    a Hugging Face folder, or `org/name` in cache   its config.json

    Raises InputError. Nothing is downloaded and no code from a Hugging Face folder is run.
    """
    source, _, function = spec.rpartition(":")
    origin: Origin = "zoo"
    if source not in ("", "mlp", "net") and function.isidentifier():
        origin, (module, sha256) = "python", _from_function(spec, seed)
    elif spec.endswith(".py"):
        raise InputError(f"model '{spec}': name its function too, as in {spec}:build")
    elif not is_zoo_name(spec) and _is_hugging_face(spec):
        origin, (module, sha256) = "huggingface", _from_hugging_face(spec, seed)
    else:
        module, sha256 = build(spec, seed), hashlib.sha256(spec.encode()).hexdigest()
    tensor_specs(module)  # refuses what could be trained but never be written
    return LoadedModel(spec, module.eval(), sha256, origin)


def _from_function(spec: str, seed: int) -> tuple[nn.Module, str]:
    found = load_function(spec)
    try:
        with local_seed(seed), on_path(found.folder):
            module = found.function()
    except Exception as error:  # the user's code may raise anything
        raise InputError(f"{spec}: calling it failed: {in_one_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"{spec} returned a {type(module).__name__}, expected an nn.Module")
    return module, found.sha256


def _is_hugging_face(spec: str) -> bool:
    """A folder, or what could be an id of the hub."""
    return os.path.isdir(spec) or bool(_HUB_ID.fullmatch(spec) and not os.path.exists(spec))


def _from_hugging_face(spec: str, seed: int) -> tuple[nn.Module, str]:
    try:
        import transformers
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise InputError(
            f"model '{spec}' needs Hugging Face transformers: pip install 'prunecert[hf]'"
        ) from None
    config_file = Path(spec) / "config.json"
    if Path(spec).is_dir() and not config_file.is_file():
        raise InputError(f"{config_file}: no such file; a model folder holds config.json")
    try:
        if not config_file.is_file():
            config_file = Path(hf_hub_download(spec, "config.json", local_files_only=True))
        text = config_file.read_bytes()
        config = transformers.AutoConfig.from_pretrained(
            config_file.parent, local_files_only=True, trust_remote_code=False
        )
        names = json.loads(text).get("architectures") or [None]
        network = getattr(transformers, str(names[0]), None)
        if not (isinstance(network, type) and issubclass(network, transformers.PreTrainedModel)):
            raise InputError(
                f"{config_file}: architectures[0] is {names[0]!r}, "
                "expected the name of a model class of transformers"
            )
        with local_seed(seed):
            return network(config), hashlib.sha256(text).hexdigest()
    except InputError:
        raise
    except Exception as error:  # transformers raises many kinds for a bad folder
        raise InputError(
            f"model '{spec}': not a usable Hugging Face folder, nor a model in the local cache: "
            f"{in_one_line(error)}"
        ) from error


# --------------------------------------------------------------------------- using


def outputs(
    module: nn.Module, inputs: Tensor | Mapping[str, Tensor], name: str = "the sample"
) -> Tensor:
    """Logits of shape (n, K), K ≥ 2: what the module returns, or its `.logits`.

    A dict goes in as keyword arguments where `forward` takes them, else as it is.
    Raises InputError when the module does not take the inputs of `name`, or returns anything else.
    """
    try:
        if isinstance(inputs, Mapping) and _takes_keywords(module, inputs):
            result = module(**inputs)
        else:
            result = module(inputs)
    except Exception as error:  # the user's forward may raise anything
        shape = tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else sorted(inputs)
        raise InputError(
            f"the model does not take the inputs of {name} ({shape} each): {in_one_line(error)}"
        ) from error
    logits = getattr(result, "logits", result)
    if not isinstance(logits, Tensor):
        raise InputError(
            f"the model returned a {type(result).__name__}, expected a tensor or its .logits"
        )
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise InputError(
            f"the model returned shape {tuple(logits.shape)}, expected (samples, classes) "
            "with at least two classes"
        )
    rows = len(inputs if isinstance(inputs, Tensor) else next(iter(inputs.values())))
    if len(logits) != rows:
        raise InputError(f"the model returned {len(logits)} rows for {rows} samples of {name}")
    return logits


def _takes_keywords(module: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    try:
        inspect.signature(module.forward).bind(**inputs)
    except TypeError:
        return False
    return True


# --------------------------------------------------------------------------- the plain view


def copy_of(module: nn.Module) -> nn.Module:
    """A deep copy; also of modules that keep a computed tensor (a pruned weight) as attribute."""
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, computed)


def plain(module: nn.Module) -> nn.Module:
    """A copy in eval mode whose weights are ordinary parameters: parametrizations and the masks
    of torch.nn.utils.prune are applied and removed."""
    result = copy_of(module).eval()  # eval: spectral_norm moves its vectors when read in training
    for part in list(result.modules()):
        pruned = [
            hook._tensor_name
            for hook in part._forward_pre_hooks.values()
            if isinstance(hook, prune.BasePruningMethod)
        ]
        parametrized = list(getattr(part, "parametrizations", {}))
        for name in pruned:
            prune.remove(part, name)  # type: ignore[no-untyped-call]
        if parametrized:
            # The copy shares its generated class with the original, and removal edits that class.
            shared = type(part)
            part.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))
        for name in parametrized:
            parametrize.remove_parametrizations(part, name, leave_parametrized=True)
        if (pruned or parametrized) and "bias" in part._parameters:
            # Removal appends the tensor. Bias goes last again, as in torch's layers, so that the
            # order of tensors does not tell how a network was pruned.
            part._parameters["bias"] = part._parameters.pop("bias")
    return result


def tensor_specs(module: nn.Module) -> tuple[TensorSpec, ...]:
    """The entries of `module.state_dict()` as they are, in its order.

    Raises InputError for an entry that a weights file cannot hold.
    """
    first: dict[Any, str] = {}
    specs = []
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, Tensor) or is_lazy(tensor) or tensor.is_complex():
            raise InputError(
                f"the model's '{name}' is of type {type(tensor).__name__}, expected real numbers "
                "of a known shape: no extra state, lazy parameters or complex values"
            )
        memory = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        alias_of = first.setdefault(memory, name) if tensor.numel() else name
        specs.append(
            TensorSpec(
                name, tuple(tensor.shape), tensor.dtype, None if alias_of == name else alias_of
            )
        )
    return tuple(specs)


def skeleton(module: nn.Module) -> tuple[TensorSpec, ...]:
    """Names, shapes, dtypes and ties of `plain(module)`: what a decoder must know of it."""
    return tensor_specs(plain(module))
