"""Pruning: a score for every weight (`criteria`), an exact count removed (`scopes`), zeros that
stay (`masks`), and the random pruning of the sketching argument (`bernoulli`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prunecert.models.loading import plain
from prunecert.pruning.bernoulli import bernoulli_mask, d_for_sparsity, drop_probability
from prunecert.pruning.criteria import SCORES, Batches, Loss
from prunecert.pruning.masks import (
    apply_mask,
    hold_masks,
    mask_of,
    prunable_names,
    sparsity,
    to_torch_prune,
)
from prunecert.pruning.scopes import SCOPES, Masks, masks_from_scores, scope_named, unknown
from prunecert.types import InputError

METHODS = (*SCORES, "bernoulli")

__all__ = [
    "METHODS",
    "SCOPES",
    "SCORES",
    "apply_mask",
    "bernoulli_mask",
    "d_for_sparsity",
    "drop_probability",
    "hold_masks",
    "mask_of",
    "masks_from_scores",
    "prunable_names",
    "prune_module",
    "sparsity",
    "to_torch_prune",
]


def prune_module(
    module: nn.Module,
    sparsity: float | None,
    method: str = "magnitude",
    scope: str = "global",
    *,
    previous: Mapping[str, Tensor] | None = None,
    batches: Batches | None = None,
    loss: Loss = cross_entropy,
    seed: int = 0,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    keep_diagonal: bool = False,
) -> tuple[nn.Module, Masks]:
    """A pruned copy of `module` and its masks (True = kept); the module itself is untouched.

    The copy is in eval mode, with ordinary parameters (see `models.loading.plain`).

    `sparsity` is the fraction of zeros among the prunable weights (`prunable_names`), in [0, 1); it
    may be None when `scope` is a pattern such as "2:4". `method` is one of `METHODS`, `scope` one
    of `SCOPES` or N:M. Weights that are zero already, or that `previous` removes, count as pruned
    and stay so: feed each rung's network or masks to the next and the ladder nests. `batches` and
    `loss` are read by snip and taylor (see `criteria`), `seed` by random and bernoulli.
    bernoulli meets the sparsity in expectation only; every other method meets it to the weight.

    Raises InputError for an unknown method or scope, a sparsity out of range or below the present
    one, a glob that matches nothing, missing batches.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if keep_diagonal and method != "bernoulli":
        raise InputError(f"keep_diagonal belongs to method 'bernoulli', not '{method}'")
    scope_named(scope)  # a wrong name is said before gradients are computed
    pruned = plain(module)
    apply_mask(pruned, previous or {})
    names = prunable_names(pruned, include, exclude)
    kept = mask_of(pruned, names)
    if method == "bernoulli":
        weights = {name: pruned.get_parameter(name).detach() for name in names}
        masks = _bernoulli(weights, sparsity, scope, seed, keep_diagonal)
        masks = {name: mask & kept[name] for name, mask in masks.items()}
    else:
        scores = SCORES[method](pruned, names, batches, loss, seed)
        masks = masks_from_scores(scores, sparsity, scope, previous=kept)
    apply_mask(pruned, masks)
    return pruned, masks


def _bernoulli(
    weights: Mapping[str, Tensor], sparsity: float | None, scope: str, seed: int, diagonal: bool
) -> Masks:
    if scope != "global":
        raise InputError("method 'bernoulli' has one d for all layers: its scope is 'global'")
    if sparsity is None or not 0 <= sparsity < 1:
        raise InputError(f"sparsity {sparsity}: expected a number in [0, 1)")
    return bernoulli_mask(weights, d_for_sparsity(weights, sparsity, diagonal), seed, diagonal)
