"""Networks as the stages need them: an architecture that a decoder can rebuild, and weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunecert.certificate import ModelField, NetworkField, named, sha256
from prunecert.coding import Choice, CodedNetwork, DecodedNetwork, decode_network, encode_network
from prunecert.coding.prng import SEEDS
from prunecert.models.layers import LayerView, layer_view
from prunecert.models.loading import LoadedModel, TensorSpec, load_model, plain, tensor_specs
from prunecert.models.weights import apply_weights, load_weights, safetensors_bytes
from prunecert.models.zoo import zoo_code
from prunecert.types import CodeError, InputError

LOG_KEY = "prunecert"  # the run log inside a weights file: what it was made from


@dataclass(frozen=True)
class Architecture:
    """What the decoder knows beforehand: names, shapes, dtypes and unit groups of a model."""

    spec: str
    sha256: str
    module: nn.Module = field(repr=False)
    code: tuple[int, ...] = ()  # the zoo's integers for the header; empty: declared
    given: nn.Module | None = field(default=None, repr=False)  # with its parametrizations, if any

    @cached_property
    def specs(self) -> tuple[TensorSpec, ...]:
        return tensor_specs(self.module)

    @cached_property
    def view(self) -> LayerView:
        return layer_view(self.module)

    @property
    def declared(self) -> bool:
        """True where the model comes from the user's file and not from the zoo."""
        return not self.code

    def describe(self) -> ModelField:
        return ModelField(spec=named(self.spec), sha256=self.sha256)

    def build(self, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
        """The module with these weights, evaluated in float32."""
        return apply_weights(self.module, tensors)

    def encode(
        self,
        tensors: Mapping[str, torch.Tensor],
        choices: Mapping[str, Choice] | None = None,
        seed: int | None = None,
    ) -> CodedNetwork:
        return encode_network(tensors, self.specs, self.view.groups, self.code, choices, seed)

    def decode(self, data: bytes) -> DecodedNetwork:
        """The network in `data`; CodeError where it names another architecture."""
        decoded = decode_network(data, self.specs, self.view.groups)
        if decoded.architecture != self.code:
            raise CodeError(f"network.bin: its architecture is not that of {self.spec}")
        return decoded

    def with_second_names(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """`tensors` under all names: tied ones are given under one."""
        return {s.name: tensors[s.alias_of or s.name] for s in self.specs}

    def prunable(self) -> tuple[str, ...]:
        """Names of the tensors that pruning may touch by default."""
        return tuple(role.name for role in self.view.tensors if role.prunable)

    def describe_network(
        self, tensors: Mapping[str, torch.Tensor], data: bytes, weights: bytes
    ) -> NetworkField:
        """Hashes, sizes and sparsity (zeros over all parameters, and over the prunable weights)."""
        parameters = {name for name, _ in self.module.named_parameters()}
        prunable = set(self.prunable())
        sizes = {n: (t.numel(), int((t != 0).sum())) for n, t in tensors.items()}
        total, nonzeros = (sum(sizes[n][i] for n in parameters) for i in (0, 1))
        among, kept = (sum(sizes[n][i] for n in prunable) for i in (0, 1))
        return NetworkField(
            sha256=sha256(data),
            safetensors_sha256=sha256(weights),
            parameters=total,
            nonzeros=nonzeros,
            sparsity=round(1 - nonzeros / max(total, 1), 6),
            prunable=among,
            prunable_sparsity=round(1 - kept / max(among, 1), 6),
        )


def architecture(model: str | nn.Module | LoadedModel) -> Architecture:
    """From what --model names, or from a module in memory (named by its class, known
    by its tensors and the classes of its parts)."""
    if isinstance(model, nn.Module):
        module = plain(model)
        tensors = [(s.name, s.shape, str(s.dtype), s.alias_of) for s in tensor_specs(module)]
        parts = [(name, type(part).__qualname__) for name, part in module.named_modules()]
        text = repr((tensors, parts))
        spec = f"module:{type(model).__qualname__}"
        return Architecture(spec, sha256(text.encode()), module)
    loaded = load_model(model) if isinstance(model, str) else model
    code = zoo_code(loaded.spec) if loaded.origin == "zoo" else ()
    return Architecture(loaded.spec, loaded.sha256, plain(loaded.module), code, loaded.module)


@dataclass(frozen=True)
class Network:
    """Weights in hand: tensors by name, as given; `log` is the run log they carry, if any."""

    architecture: Architecture
    tensors: dict[str, torch.Tensor] = field(repr=False)
    name: str
    notes: tuple[str, ...] = ()
    log: Mapping[str, Any] = field(default_factory=dict)
    double: bool = False  # evaluated in float64: weights and inputs are converted

    @property
    def sha256(self) -> str:
        """Of the weights themselves (names, shapes, dtypes, values), without metadata."""
        return sha256(self.weight_bytes)

    @cached_property
    def weight_bytes(self) -> bytes:
        return safetensors_bytes(self.tensors)

    @property
    def sign_seed(self) -> int | None:
        """The seed of the frozen signs that the weights are said to have kept (a supermask)."""
        ticket = self.log.get("supermask")
        return None if ticket is None else int(ticket["seed"])

    @property
    def initial_seed(self) -> int | None:
        """The seed of the initial weights that training is said to have started from."""
        start = self.log.get("initial")
        return None if start is None else int(start["seed"])

    @property
    def sparsity(self) -> float:
        """Fraction of zeros among the prunable weights."""
        names = self.architecture.prunable()
        total = sum(self.tensors[n].numel() for n in names)
        return 1 - sum(int((self.tensors[n] != 0).sum()) for n in names) / max(total, 1)

    def module(self) -> nn.Module:
        return self.architecture.build(self.tensors)


def open_network(weights: str | Path, model: Architecture) -> Network:
    """The weights in a file, for this architecture."""
    found = load_weights(weights, model.given or model.module)
    return Network(model, found.tensors, str(weights), found.notes, read_log(found.metadata))


def network_of(module: nn.Module, name: str = "") -> Network:
    """A module in memory as a network."""
    described = architecture(module)
    tensors = {k: v.detach().cpu().clone() for k, v in plain(module).state_dict().items()}
    for spec in described.specs:
        if not torch.isfinite(tensors[spec.name].float()).all():
            raise InputError(f"{described.spec}: {spec.name}: expected finite weights")
    return Network(described, tensors, name or described.spec)


def read_log(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The run log that our own commands write into a weights file ({} where there is none, or
    what stands there is not one)."""
    try:
        found = json.loads(metadata.get(LOG_KEY, "{}"))
        named(found.get("method", "as listed"))
        for used in found.get("trained_on", []):
            named(used["sample"])
            range(used["start"], used["stop"])
        for seeded in ("supermask", "initial"):
            if seeded in found:
                range(SEEDS).index(found[seeded]["seed"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, InputError):
        return {}
    return dict(found)


def with_log(log: Mapping[str, Any]) -> dict[str, str]:
    """Metadata for a weights file."""
    return {LOG_KEY: json.dumps(log, sort_keys=True)}


def refuse_trained_on(networks: Sequence[Network], sample: Mapping[str, Any]) -> None:
    """A sample that a network's run log says was trained on is no hold-out for it (InputError):
    rows of the same place, or the very same inputs from any place."""
    for network in networks:
        for used in network.log.get("trained_on", []):
            place = (used.get("origin"), used.get("split")) == (sample["origin"], sample["split"])
            rows = used["start"] < sample["stop"] and sample["start"] < used["stop"]
            if (place and rows) or used.get("inputs_sha256") == sample["inputs_sha256"]:
                raise InputError(
                    f"{network.name}: its run log says it was trained on {used['sample']}: "
                    f"expected a hold-out sample that does not overlap {sample['sample']}"
                )
