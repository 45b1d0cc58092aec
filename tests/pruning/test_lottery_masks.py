"""Masks of a lottery: exact counts, nested, and random ones of equal layer sparsities."""

from __future__ import annotations

import math

import pytest
import torch

from prunecert.pruning.lottery import (
    LOTTERY_SCOPES,
    level_sparsity,
    next_masks,
    random_masks_like,
)
from prunecert.types import InputError

SHAPES = {"a": (30, 20), "b": (40, 30), "c": (5, 40)}


def weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def all_kept() -> dict[str, torch.Tensor]:
    return {name: torch.ones(shape, dtype=torch.bool) for name, shape in SHAPES.items()}


def kept(masks: dict[str, torch.Tensor]) -> int:
    return sum(int(mask.sum()) for mask in masks.values())


def test_a_fifth_of_what_is_left_goes_at_each_level():
    assert level_sparsity(0) == 0
    assert level_sparsity(1) == pytest.approx(0.2, abs=1e-15)
    assert level_sparsity(3) == pytest.approx(1 - 0.512, abs=1e-15)
    assert level_sparsity(2, fraction=0.5) == 0.75


@pytest.mark.parametrize("scope", LOTTERY_SCOPES)
def test_masks_are_nested_and_met_to_the_weight(scope):
    total = sum(math.prod(shape) for shape in SHAPES.values())
    masks = all_kept()
    for level in range(1, 9):
        found = next_masks(weights(level), masks, level, scope=scope)
        assert all(not bool((found[name] & ~masks[name]).any()) for name in SHAPES)
        if scope == "layerwise":
            for name, shape in SHAPES.items():
                removed = math.floor((1 - 0.8**level) * math.prod(shape) + 0.5)
                assert int((~found[name]).sum()) == removed
        else:
            assert kept(found) == total - math.floor((1 - 0.8**level) * total + 0.5)
        masks = found


def test_the_smallest_of_what_is_left_go():
    last = next_masks(weights(0), all_kept(), 1)
    other = weights(1)
    masks = next_masks(other, last, 2)
    sizes = torch.cat([other[name][last[name]].abs() for name in SHAPES])
    spared = torch.cat([other[name][masks[name]].abs() for name in SHAPES])
    assert torch.equal(spared.sort().values, sizes.sort().values[-len(spared) :])


def test_other_scopes_are_refused():
    with pytest.raises(InputError, match="2:4"):
        next_masks(weights(0), all_kept(), 1, scope="2:4")


def test_random_masks_keep_as_many_of_each_tensor():
    masks = next_masks(weights(0), all_kept(), 4)
    drawn = random_masks_like(masks, seed=3)
    assert {n: int(m.sum()) for n, m in drawn.items()} == {
        n: int(m.sum()) for n, m in masks.items()
    }
    assert any(not torch.equal(drawn[name], masks[name]) for name in SHAPES)
    assert all(
        torch.equal(a, b) for a, b in zip(drawn.values(), random_masks_like(masks, 3).values())
    )


def test_random_masks_do_not_lean_on_the_mask_they_are_like():
    """Overlap with the mask is hypergeometric: within five sds of its mean over all tensors."""
    masks = next_masks(weights(0), all_kept(), 4)
    for seed in range(20):
        drawn = random_masks_like(masks, seed)
        mean = variance = 0.0
        for mask in masks.values():
            n, k = mask.numel(), int(mask.sum())
            mean += k * k / n
            variance += k * k / n * (1 - k / n) ** 2 * n / (n - 1)
        overlap = sum(int((drawn[name] & masks[name]).sum()) for name in SHAPES)
        assert abs(overlap - mean) < 5 * variance**0.5
