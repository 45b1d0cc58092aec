"""Prune: one sparsity, or a ladder of them with retraining, as weights files anyone can load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunecert.api.certification import located
from prunecert.api.networks import Network, architecture, open_network, read_log, with_log
from prunecert.api.runs import Recipe, batches_of, fit, open_run
from prunecert.data import Sample
from prunecert.models.weights import load_tensors, safetensors_bytes
from prunecert.progress import Stage, quiet
from prunecert.pruning import mask_of, prunable_names, prune_module
from prunecert.types import InputError

NEEDS_DATA = ("snip", "taylor")
SALIENCY_BATCHES = 20
NOT_WEIGHTS = ("embed", "wte", "wpe", "norm", "lm_head", "ln_")


@dataclass(frozen=True)
class Pruning:
    """What is pruned and by which rule."""

    method: str = "magnitude"
    scope: str = "global"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    keep_diagonal: bool = False
    seed: int = 0


def prune(
    module: nn.Module,
    sparsity: float | None = None,
    method: str = "magnitude",
    scope: str = "global",
    *,
    data: Sample | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    keep_diagonal: bool = False,
    seed: int = 0,
) -> nn.Module:
    """A pruned copy of `module`; the module itself is untouched.

    `sparsity` is the fraction of zeros among the prunable weights, met to the weight (ties: the
    earlier weight is kept). `data` is read by the criteria that need gradients (snip, taylor).
    """
    rule = Pruning(method, scope, tuple(include), tuple(exclude), keep_diagonal, seed)
    return _pruned(module, sparsity, rule, data)


def _pruned(
    module: nn.Module, sparsity: float | None, rule: Pruning, sample: Sample | None
) -> nn.Module:
    batches = None
    if rule.method in NEEDS_DATA:
        if sample is None:
            raise InputError(f"--method {rule.method} reads gradients: expected --model and --data")
        batches = _some_batches(sample, rule.seed)
    pruned, _ = prune_module(module, sparsity, batches=batches, **asdict(rule))
    return pruned


def _some_batches(sample: Sample, seed: int) -> list[tuple[Any, Tensor]]:
    """The first SALIENCY_BATCHES batches of an epoch that `seed` shuffles."""
    inputs, labels = batches_of(sample, 128, seed)
    if isinstance(inputs, Tensor):
        assert labels is not None
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
        chosen = order[: 128 * SALIENCY_BATCHES].split(128)
        scale = 255 if inputs.dtype == torch.uint8 else 1
        return [(inputs[i].float() / scale, labels[i]) for i in chosen]
    return [batch for batch, _ in zip(inputs(0), range(SALIENCY_BATCHES))]


def ladder(
    network: Network,
    sparsities: Sequence[float | None],
    folder: str | Path,
    rule: Pruning,
    *,
    sample: Sample | None = None,
    recipe: Recipe | None = None,
    stage: Stage = quiet,
) -> list[Network]:
    """Rungs of rising sparsity, each pruned from the last and retrained where a recipe is given.

    Rungs already in `folder` are read, not made again, so an interrupted ladder goes on.
    """
    check_rungs(sparsities)
    place = Path(folder)
    config = {
        "weights_sha256": network.sha256,
        "model": network.architecture.spec,
        "rule": asdict(rule),
        "recipe": None if recipe is None else asdict(recipe),
        "data": None if sample is None else located(sample),
        "sparsities": list(sparsities),
    }
    run = open_run(place, config)
    rungs = []
    for sparsity in sparsities:
        file = rung_name(sparsity, rule.scope)
        if (place / file).exists():
            read = open_network(place / file, network.architecture)
            network = replace(read, name=rung_label(sparsity, rule.scope))
        else:
            network = rung(network, sparsity, rule, sample=sample, recipe=recipe, stage=stage)
            run.write(file, network_file(network))
        rungs.append(network)
    return rungs


def check_rungs(sparsities: Sequence[float | None]) -> None:
    """InputError unless the sparsities are in [0, 1), rise, and make files of different names."""
    for sparsity in sparsities:
        if sparsity is not None and not 0 <= sparsity < 1:
            raise InputError(f"--sparsity {sparsity:g}: expected a number in [0, 1)")
    labels = [rung_label(sparsity, "") for sparsity in sparsities]
    if any(a >= b for a, b in zip(labels, labels[1:])):
        raise InputError(
            "--sparsity: expected rising values, densest first, at least 0.0001 apart, as in "
            "0.5,0.8,0.9"
        )


def rung(
    network: Network,
    sparsity: float | None,
    rule: Pruning,
    *,
    sample: Sample | None = None,
    recipe: Recipe | None = None,
    stage: Stage = quiet,
) -> Network:
    """One pruned network, retrained with its zeros held where a recipe is given."""
    if _is_bare(network):
        rule = replace(rule, include=pruned_names(network, rule), exclude=())
    pruned = _pruned(network.module(), sparsity, rule, sample)
    log = {name: entry for name, entry in network.log.items() if name != "supermask"} | {
        "method": f"{rule.scope} {rule.method}",
        "parent": network.sha256,
        "sparsity": sparsity,
    }
    if recipe is not None:
        if sample is None:
            raise InputError("retraining: expected --model and --data beside --epochs")
        masks = mask_of(pruned, prunable_names(pruned, rule.include, rule.exclude))
        name = f"retraining at {rung_label(sparsity, rule.scope)}"
        fit(pruned, sample, recipe, masks=masks, stage=stage, name=name)
        log["recipe"] = asdict(recipe)
    if sample is not None and (recipe is not None or rule.method in NEEDS_DATA):
        log["trained_on"] = _once([*network.log.get("trained_on", []), located(sample)])
    tensors = {
        name: tensor.detach().cpu().to(network.tensors[name].dtype)
        for name, tensor in pruned.state_dict().items()
    }
    return replace(network, tensors=tensors, name=rung_label(sparsity, rule.scope), log=log)


def _once(places: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [place for i, place in enumerate(places) if place not in places[:i]]


def rung_label(sparsity: float | None, scope: str) -> str:
    return f"{scope}" if sparsity is None else f"{sparsity:.4f}"


def rung_name(sparsity: float | None, scope: str) -> str:
    """`0.9500.safetensors`, or the pattern's name."""
    return f"{rung_label(sparsity, scope).replace(':', 'of')}.safetensors"


def network_file(network: Network) -> bytes:
    """Weights with plain zeros and their run log, as a safetensors file."""
    return safetensors_bytes(network.tensors, with_log(network.log))


def mask_bytes(network: Network, names: Sequence[str]) -> bytes:
    """{name: 0/1} of the named tensors, as a safetensors file."""
    return safetensors_bytes({n: (network.tensors[n] != 0).to(torch.uint8) for n in names})


def bare_module(tensors: Mapping[str, Tensor]) -> nn.Module:
    """Weights without a model: a module that holds tensors by name and computes nothing."""
    root = nn.Module()
    for name, tensor in tensors.items():
        *path, leaf = name.split(".")
        owner = root
        for part in path:
            if part not in dict(owner.named_children()):
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        if tensor.is_floating_point():
            owner.register_parameter(leaf, nn.Parameter(tensor.clone(), requires_grad=False))
        else:
            owner.register_buffer(leaf, tensor.clone())
    return root


def to_prune(weights: str | Path, model: str | None) -> Network:
    """Weights to prune: of a model, or with no model as tensors under their own names."""
    if model is not None:
        return open_network(weights, architecture(model))
    found = load_tensors(weights)
    bare = architecture(bare_module(found.tensors))
    return Network(bare, found.tensors, str(weights), found.notes, read_log(found.metadata))


def pruned_names(network: Network, rule: Pruning) -> tuple[str, ...]:
    """The tensors that the rule prunes."""
    module = network.architecture.module
    if _is_bare(network):
        include = rule.include or tuple(_weights_by_name(network.tensors))
        return prunable_names(module, include, rule.exclude)
    return prunable_names(module, rule.include, rule.exclude)


def summary(network: Network, rule: Pruning) -> tuple[str, str, str, str]:
    """One row of the table that `prune` prints."""
    names = pruned_names(network, rule)
    total = sum(network.tensors[n].numel() for n in names)
    zeros = total - sum(int((network.tensors[n] != 0).sum()) for n in names)
    return network.name, f"{zeros:,}", f"{total:,}", f"{zeros / max(total, 1):.4f}"


def skipped(network: Network, rule: Pruning) -> list[str]:
    """Every tensor that is not pruned, with the reason in brackets."""
    names = set(pruned_names(network, rule))
    if _is_bare(network):
        return [f"{n} (not a weight matrix by name)" for n in network.tensors if n not in names]
    roles = network.architecture.view.tensors
    return [f"{r.name} ({r.reason or 'excluded'})" for r in roles if r.name not in names]


def _is_bare(network: Network) -> bool:
    return type(network.architecture.module) is nn.Module


def _weights_by_name(tensors: Mapping[str, Tensor]) -> list[str]:
    """Without a model: matrices and kernels whose name does not say embedding, norm or head."""
    return [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
        and tensor.dim() >= 2
        and not any(word in name.lower() for word in NOT_WEIGHTS)
    ]
