"""Masks of a lottery: nested ones, level by level, and the random ones they are compared with.

Iterative magnitude pruning (Frankle and Carbin 2019, arXiv 1803.03635): each level removes a
fraction of the weights that the last one kept. Masks are True where a weight is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from prunecert.pruning.draws import own_generator
from prunecert.pruning.scopes import Masks, masks_from_scores
from prunecert.types import InputError

FRACTION = 0.2  # of what is left, removed per level
LOTTERY_SCOPES = ("global", "layerwise", "erk", "lamp")


def level_sparsity(level: int, fraction: float = FRACTION) -> float:
    """Fraction of zeros among the prunable weights at `level`: 1 − (1 − fraction)^level.

    >>> level_sparsity(0), round(level_sparsity(2), 12)
    (0.0, 0.36)
    """
    return 1.0 - (1.0 - fraction) ** level


def next_masks(
    weights: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    level: int,
    fraction: float = FRACTION,
    scope: str = "global",
) -> Masks:
    """The masks of `level` from the trained `weights` of the level before and its `masks`.

    Subsets of `masks`, met to the weight: ⌊level_sparsity·N + ½⌋ of N weights are removed (see
    `scopes` for what that means within each scope). InputError for another scope than the four.
    """
    if scope not in LOTTERY_SCOPES:
        raise InputError(f"scope '{scope}': expected one of {', '.join(LOTTERY_SCOPES)}")
    return masks_from_scores(weights, level_sparsity(level, fraction), scope, previous=masks)


def random_masks_like(masks: Mapping[str, Tensor], seed: int) -> Masks:
    """Masks that keep as many weights of each tensor as `masks`, at uniformly drawn places."""
    generator = own_generator("random masks of equal layer sparsities", seed)
    drawn = {}
    for name, mask in masks.items():
        order = torch.randperm(mask.numel(), generator=generator)
        flat = torch.zeros(mask.numel(), dtype=torch.bool)
        flat[order[: int(mask.sum())]] = True
        drawn[name] = flat.view(mask.shape)
    return drawn
