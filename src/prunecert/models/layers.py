"""The layer view: what measuring, theorems and the coder see of a network.

It follows from the architecture alone (never from weight values or data) and is the same on every
machine, so a decoder recomputes it from an untrained module. See `units` for what is proven about
hidden units and the contract that the proofs rest on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from prunecert.models.groups import Path, Slot, Step, UnitGroup
from prunecert.models.trace import Operation, Untraceable, trace
from prunecert.models.units import unit_groups

__all__ = [
    "LayerView",
    "Path",
    "Slot",
    "Step",
    "TensorRole",
    "UnitGroup",
    "WeightLayer",
    "layer_view",
]

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_ATTENTION_WEIGHTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


@dataclass(frozen=True)
class WeightLayer:
    """One weight that is pruned by default.

    `kind`: linear (out, in) | conv (out, in / groups, …) | transposed: stored input first, as in
    ConvTranspose and in the Conv1D of transformers | attention (stacked projections, out first).
    """

    name: str  # of the weight in the state dict
    kind: str
    shape: tuple[int, ...]
    bias: str | None
    module: str


@dataclass(frozen=True)
class TensorRole:
    """What one state-dict tensor is for, and why it is not pruned by default.

    `role`: weight | bias | norm | embedding | head | buffer | tied | other.
    """

    name: str
    role: str
    prunable: bool
    reason: str


@dataclass(frozen=True)
class LayerView:
    """`layers` are in order of execution (of registration where opaque, and for unused ones)."""

    layers: tuple[WeightLayer, ...]
    groups: tuple[UnitGroup, ...]  # in order of the execution of their first producer
    relu_chain: bool  # Flatten? Linear (ReLU Linear)* of exactly `layers`, up to identities
    opaque_reason: str  # why nothing is known about the units; "" where something is
    tensors: tuple[TensorRole, ...]  # every parameter and persistent buffer
    unread_buffers: tuple[str, ...]  # persistent buffers that evaluation never reads
    sizes_written: bool = False  # `forward` names a size, as in `x.view(-1, 400)`


def layer_view(module: nn.Module) -> LayerView:
    """Look at `module`; what cannot be understood gives an opaque view, never an exception."""
    aliases = _aliases(module)
    weights = {layer.name: layer for layer in _weights(module)}
    tensors = tuple(_roles(module, aliases, weights))
    prunable = {tensor.name for tensor in tensors if tensor.prunable}
    layers = [layer for name, layer in weights.items() if name in prunable]
    try:
        operations = trace(module)
    except Untraceable as reason:
        return LayerView(tuple(layers), (), False, str(reason), tensors, ())
    uses = _uses(operations, module, aliases)
    frozen = _used_more_than_once(aliases, uses)
    order = {name: position for position, name in enumerate(uses)}
    layers.sort(key=lambda layer: order.get(layer.name, len(order)))
    return LayerView(
        tuple(layers),
        unit_groups(operations, module, frozen),
        _is_relu_chain(operations, module, layers),
        "",
        tensors,
        tuple(_unread_buffers(operations, module, tensors, uses)),
        any(_names_a_size(operation) for operation in operations),
    )


def _names_a_size(operation: Operation) -> bool:
    shape = operation.options.get("shape", ()) if operation.kind == "reshape" else ()
    return any(isinstance(size, int) and size > 0 for size in shape)


# --------------------------------------------------------------------------- tensors and their use


def _aliases(module: nn.Module) -> dict[str, str]:
    """Every name of a parameter or buffer → the first name of the same tensor."""
    first: dict[int, str] = {}
    parameters = module.named_parameters(remove_duplicate=False)
    buffers = module.named_buffers(remove_duplicate=False)
    return {name: first.setdefault(id(t), name) for name, t in chain(parameters, buffers)}


def _uses(
    operations: Sequence[Operation], module: nn.Module, aliases: Mapping[str, str]
) -> Counter[str]:
    """How many operations read each tensor (by its first name), in order of the first of them."""
    uses: Counter[str] = Counter()
    parts = dict(module.named_modules())
    for operation in operations:
        names = [operation.options["tensor"]] if operation.kind == "constant" else []
        if operation.module:
            own = parts[operation.module]
            inside = chain(own.named_parameters(), own.named_buffers())
            names = [f"{operation.module}.{name}" for name, _ in inside]
        uses.update(dict.fromkeys(aliases.get(name, name) for name in names).keys())
    return uses


def _used_more_than_once(aliases: Mapping[str, str], uses: Mapping[str, int]) -> dict[str, str]:
    names = Counter(aliases.values())
    return {
        name: f"{name} is used more than once"
        for name, first in aliases.items()
        if names[first] > 1 or uses.get(first, 0) > 1
    }


def _unread_buffers(
    operations: Sequence[Operation],
    module: nn.Module,
    tensors: Sequence[TensorRole],
    uses: Mapping[str, int],
) -> Iterator[str]:
    """A counter of batches only matters to training; any other buffer is read where it is used."""
    owners = _owners(module)
    read_directly = {o.options["tensor"] for o in operations if o.kind == "constant"}
    for tensor in tensors:
        if tensor.role != "buffer":
            continue
        path, _, local = tensor.name.rpartition(".")
        counts = isinstance(owners[path], _BatchNorm) and local == "num_batches_tracked"
        if tensor.name not in (read_directly if counts else uses):
            yield tensor.name


def _owners(module: nn.Module) -> dict[str, nn.Module]:
    """Every path in the module → the part it leads to."""
    return dict(module.named_modules(remove_duplicate=False))


# --------------------------------------------------------------------------- roles


def _weights(module: nn.Module) -> Iterator[WeightLayer]:
    """Every weight of a linear map, in order of registration."""
    for path, part in module.named_modules():
        kind = _kind(part)
        names = {"": (), "attention": _ATTENTION_WEIGHTS}.get(kind, ("weight",))
        for local in names:
            weight = part._parameters.get(local)
            if weight is None or is_lazy(weight):
                continue
            prefix = path + "." * bool(path)
            bias = local.replace("weight", "bias")
            own_bias = prefix + bias if part._parameters.get(bias) is not None else None
            yield WeightLayer(prefix + local, kind, tuple(weight.shape), own_bias, path)


def _kind(part: nn.Module) -> str:
    if isinstance(part, nn.Linear):
        return "linear"
    if isinstance(part, _ConvNd):
        return "transposed" if isinstance(part, _ConvTransposeNd) else "conv"
    cls = type(part)
    if (cls.__module__, cls.__name__) == ("transformers.pytorch_utils", "Conv1D"):
        return "transposed"
    return "attention" if isinstance(part, nn.MultiheadAttention) else ""


def _roles(
    module: nn.Module, aliases: Mapping[str, str], weights: Mapping[str, WeightLayer]
) -> Iterator[TensorRole]:
    owners = _owners(module)
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    embedded = {
        first
        for name, first in aliases.items()
        if isinstance(owners[name.rpartition(".")[0]], nn.Embedding | nn.EmbeddingBag)
    }
    heads = _language_heads(module, weights)
    for name in module.state_dict(keep_vars=True):
        if name not in aliases:  # extra state that is not a tensor
            continue
        path, _, local = name.rpartition(".")
        role, reason = "other", "not the weight of a linear layer or convolution"
        if aliases[name] != name:
            role, reason = "tied", f"the same tensor as {aliases[name]}"
        elif name not in parameters:
            role, reason = "buffer", "a buffer"
        elif name in embedded:
            role, reason = "embedding", "an embedding, or tied to one"
        elif name in heads:
            role, reason = "head", "output head of a language model"
        elif name in weights:
            role, reason = "weight", ""
        elif isinstance(owners[path], _NORMS):
            role, reason = "norm", "part of a normalisation"
        elif local.endswith("bias"):
            role, reason = "bias", "a bias"
        yield TensorRole(name, role, role == "weight", reason)


def _language_heads(module: nn.Module, weights: Mapping[str, WeightLayer]) -> set[str]:
    """`lm_head` by name, or the last linear layer when it scores every word of the vocabulary."""
    linear = [layer for layer in weights.values() if layer.kind == "linear"]
    embeddings = (part for part in module.modules() if isinstance(part, nn.Embedding))
    vocabulary = max((part.num_embeddings for part in embeddings), default=0)
    named = {layer.name for layer in linear if layer.module.rpartition(".")[2] == "lm_head"}
    return named | {layer.name for layer in linear[-1:] if layer.shape[0] == vocabulary}


# --------------------------------------------------------------------------- the class of chains


def _is_relu_chain(
    operations: Sequence[Operation], module: nn.Module, layers: Sequence[WeightLayer]
) -> bool:
    """Walk from the output back to the input, one tensor at a time.

    The linear maps met must be `layers`, whose weights and biases stand for the whole network: none
    unused, none left out as a head, no bias that is not a parameter.
    """
    by_name = {operation.name: operation for operation in operations}
    parts = dict(module.named_modules())
    letters = {"input": "I", "flatten": "F", "linear": "L", "relu": "R", "identity": ""}
    met: list[tuple[str, bool]] = []  # module, has a bias
    word, here = "", operations[-1]
    while here.kind != "input":
        tensors = here.inputs[:1] if here.kind == "reshape" else here.inputs
        if len(tensors) != 1:
            return False
        here = by_name[tensors[0]]
        flattens = here.kind == "reshape" and len(here.options["shape"]) == 2
        word += "F" if flattens else letters.get(here.kind, "?")
        if here.kind == "linear":
            met.insert(0, (here.module, parts[here.module].bias is not None))
    expected = [(layer.module, layer.bias is not None) for layer in layers]
    return bool(re.fullmatch("L(RL)*F?I", word)) and met == expected
