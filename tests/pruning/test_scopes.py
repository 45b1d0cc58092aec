"""Masks from scores: exact counts, exact ranks, ties, nesting; every scope on hand-made cases."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from prunecert.pruning import scopes
from prunecert.pruning.scopes import SCOPES, allocate, lamp_score, masks_from_scores
from prunecert.types import InputError


def naive_global(scores: Mapping[str, Tensor], removed: int) -> dict[str, Tensor]:
    """One full sort of everything: by score, and among equal scores the later is removed first."""
    everything = torch.cat([s.double().abs().reshape(-1) for s in scores.values()]).numpy()
    order = np.lexsort((-np.arange(len(everything)), everything))
    kept = np.ones(len(everything), dtype=bool)
    kept[order[:removed]] = False
    parts = torch.from_numpy(kept).split([s.numel() for s in scores.values()])
    return {n: p.view(s.shape) for (n, s), p in zip(scores.items(), parts, strict=True)}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def network(seed: int = 0) -> dict[str, Tensor]:
    """Scores of a small network: two convolutions and two matrices, 2:4-compatible."""
    g = torch.Generator().manual_seed(seed)
    shapes = {"conv1": (6, 4, 3, 3), "conv2": (8, 12, 3, 3), "fc1": (20, 48), "fc2": (10, 20)}
    return {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}


def removed(masks: Mapping[str, Tensor]) -> int:
    return sum(int((~mask).sum()) for mask in masks.values())


def gaussian(g: torch.Generator) -> Tensor:
    return torch.randn(50, generator=g, dtype=torch.float64)


KINDS = {
    "gaussian": gaussian,
    "ties": lambda g: torch.randint(-3, 4, (50,), generator=g).double() / 4,
    "all equal": lambda g: torch.full((50,), -0.5, dtype=torch.float64),
    "zeros": lambda g: gaussian(g) * torch.randint(0, 2, (50,), generator=g),  # with −0 among them
    "denormal": lambda g: torch.randint(-9, 10, (50,), generator=g) * 2.0**-149,
    "one octave": lambda g: 1 + torch.rand(50, generator=g, dtype=torch.float64) / 256,
    "wide": lambda g: 10 ** torch.empty(50, dtype=torch.float64).uniform_(-37, 37, generator=g),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_global_equals_a_full_sort(kind, dtype, monkeypatch):
    monkeypatch.setattr(scopes, "CHUNK", 7)
    g = torch.Generator().manual_seed(1)
    flat = KINDS[kind](g).clamp(-6e4, 6e4) if dtype == torch.float16 else KINDS[kind](g)
    flat = flat.to(dtype)
    scores = {"a": flat[:12].view(3, 4), "b": flat[12:20].view(2, 2, 2), "c": flat[20:].view(5, 6)}
    for k in (0, 1, 2, 13, 25, 26, 49):
        assert same(masks_from_scores(scores, k / 50), naive_global(scores, k)), k
    assert removed(masks_from_scores(scores, 0.99)) == 50  # 49.5 rounds up: nothing is left


def test_global_equals_a_full_sort_across_chunks():
    g = torch.Generator().manual_seed(2)
    flat = (torch.randn(600_000, generator=g) * 50).round() / 50  # about a thousand ties each
    scores = {"a": flat[:1000].view(10, 100), "b": flat[1000:].view(-1, 100)}
    assert same(masks_from_scores(scores, 0.625), naive_global(scores, 375_000))


def test_float64_differences_below_float32_are_seen():
    scores = {"a": torch.tensor([[1 + 2e-16 * 2, 1.0, 1 + 2.3e-16]], dtype=torch.float64)}
    assert masks_from_scores(scores, 1 / 3)["a"].tolist() == [[True, False, True]]


def test_a_transposed_score_is_ranked_row_major():
    score = torch.ones(4, 6).t()
    assert (
        masks_from_scores({"a": score}, 0.25)["a"].flatten().tolist() == [True] * 18 + [False] * 6
    )


@pytest.mark.parametrize("values", [[5, 1, 4, 2, 3], [1, 1, 1, 1, 1], [2, 1, 1, 1, 2]])
def test_asked_two_prunes_two(values):
    """open_lth compares with `>` at the k-th sorted weight: asked 2 it prunes 3, with ties 5."""
    mask = masks_from_scores({"w": torch.tensor([values], dtype=torch.float32)}, 2 / 5)["w"]
    assert int((~mask).sum()) == 2


def test_among_equal_scores_the_earlier_is_kept():
    scores = {"a": torch.full((1, 3), 2.0), "b": torch.tensor([[1.0, 2.0]])}
    masks = masks_from_scores(scores, 3 / 5)
    assert masks["a"].tolist() == [[True, True, False]]
    assert masks["b"].tolist() == [[False, False]]


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.333, 0.5, 0.75])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("tied", [False, True])
def test_counts_are_exact(scope, sparsity, tied):
    scores = {n: s.round() if tied else s for n, s in network().items()}
    masks = masks_from_scores(scores, sparsity, scope)
    if scope == "layerwise":
        for name, score in scores.items():
            assert removed({name: masks[name]}) == math.floor(sparsity * score.numel() + 0.5)
    elif scope == "per-output":
        for name, score in scores.items():
            per_row = (~masks[name]).flatten(1).sum(1)
            expected = math.floor(sparsity * score[0].numel() + 0.5)
            assert per_row.tolist() == [expected] * len(score)
    else:
        total = sum(s.numel() for s in scores.values())
        assert removed(masks) == math.floor(sparsity * total + 0.5)


@pytest.mark.parametrize("scope", ["layerwise", "uniform+", "erk", "lamp"])
def test_within_a_tensor_the_largest_pruned_is_below_the_smallest_kept(scope):
    scores = network()
    for name, mask in masks_from_scores(scores, 0.7, scope).items():
        size = scores[name].abs()
        assert mask.all() or size[~mask].max() < size[mask].min(), name


def test_globally_the_largest_pruned_is_below_the_smallest_kept():
    scores = network()
    masks = masks_from_scores(scores, 0.7)
    pruned = max(float(scores[n].abs()[~m].max()) for n, m in masks.items())
    assert pruned < min(float(scores[n].abs()[m].min()) for n, m in masks.items())


@pytest.mark.parametrize("scope", SCOPES)
def test_ladders_nest_even_when_scores_change(scope):
    masks = None
    for rung, sparsity in enumerate([0.2, 0.37, 0.371, 0.5, 0.7]):
        lower = masks
        masks = masks_from_scores(network(seed=rung), sparsity, scope, previous=lower)
        if scope in ("global", "uniform+", "erk", "lamp"):
            total = sum(m.numel() for m in masks.values())
            assert removed(masks) == math.floor(sparsity * total + 0.5)
        if lower:
            assert all(bool((lower[n] | ~masks[n]).all()) for n in masks)


@pytest.mark.parametrize("scope", ["global", "layerwise", "uniform+", "erk", "lamp", "per-output"])
def test_a_ladder_cannot_go_back(scope):
    dense_to_half = masks_from_scores(network(), 0.5, scope)
    with pytest.raises(InputError):
        masks_from_scores(network(), 0.4, scope, previous=dense_to_half)


def test_pruned_weights_go_before_lower_scores():
    previous = {"w": torch.tensor([[True, False, True, True]])}
    masks = masks_from_scores({"w": torch.tensor([[0.0, 9.0, 1.0, 2.0]])}, 0.5, previous=previous)
    assert masks["w"].tolist() == [[False, False, True, True]]


# --------------------------------------------------------------------------- scopes by hand


def kept_counts(shapes: dict[str, tuple[int, ...]], removed: int, scope: str) -> list[int]:
    scores = {name: torch.rand(shape) + 1 for name, shape in shapes.items()}
    total = sum(s.numel() for s in scores.values())
    masks = masks_from_scores(scores, removed / total, scope)
    return [int(m.sum()) for m in masks.values()]


def test_erk_keeps_in_proportion_to_the_sum_of_the_sides():
    shapes = {"conv": (3, 2, 5, 5), "fc": (10, 10)}  # sides sum to 15 and 20, sizes 150 and 100
    assert kept_counts(shapes, 250 - 35, "erk") == [15, 20]
    assert kept_counts(shapes, 250 - 70, "erk") == [30, 40]


def test_erk_saturates_small_tensors():
    """4 + 40t = 48 once the (2, 2) tensor, share 4t ≥ 4, is dense."""
    assert kept_counts({"a": (2, 2), "b": (20, 20)}, 404 - 48, "erk") == [4, 44]


@pytest.mark.parametrize("scope", ["erk", "uniform+"])
def test_a_tensor_that_is_too_sparse_already_stays_so(scope):
    scores = {"a": torch.ones(10, 10), "b": torch.ones(10, 10), "c": torch.ones(10, 10)}
    previous = {name: torch.ones(10, 10, dtype=torch.bool) for name in scores}
    previous["a"][1:] = False  # 10 left, where an even share of the 150 kept would be 50
    masks = masks_from_scores(scores, 0.5, scope, previous=previous)
    assert [int(mask.sum()) for mask in masks.values()] == [10, 70, 70]
    assert torch.equal(masks["a"], previous["a"])


def test_uniform_plus_keeps_the_first_convolution_and_a_fifth_of_the_last_matrix():
    shapes = {"conv1": (4, 1, 3, 3), "conv2": (10, 5, 2, 2), "fc": (5, 10)}  # 36, 200, 50
    assert kept_counts(shapes, 286 - 186, "uniform+") == [36, 120, 30]  # t = 0.6
    assert kept_counts(shapes, 286 - 56, "uniform+") == [36, 10, 10]  # the last at 80 %
    with pytest.raises(InputError, match="46"):
        kept_counts(shapes, 286 - 45, "uniform+")


def test_uniform_plus_without_convolutions():
    assert kept_counts({"a": (10, 10), "b": (5, 10)}, 150 - 20, "uniform+") == [10, 10]


def test_lamp_score_is_the_square_over_the_squares_not_smaller():
    score = lamp_score(torch.tensor([[2.0, -3.0, 1.0]]))
    assert score.tolist() == [[4 / 13, 9 / 9, 1 / 14]]
    assert lamp_score(torch.tensor([5.0, 5.0, 0.0, 5.0])).tolist() == [1, 1 / 2, 0, 1 / 3]
    assert lamp_score(torch.zeros(2)).tolist() == [0, 0]


def test_lamp_compares_within_tensors_first():
    """4 is larger than 1, 2, 3, but beside 40 it matters least: 16/1616 < 1/14 < 4/13 < 1."""
    scores = {"a": torch.tensor([[1.0, 2.0, 3.0]]), "b": torch.tensor([[4.0, 40.0]])}
    masks = masks_from_scores(scores, 2 / 5, "lamp")
    assert masks["a"].tolist() == [[False, True, True]]
    assert masks["b"].tolist() == [[False, True]]


def test_lamp_forgets_pruned_weights():
    """1² / (1² + 2²) once 9 is gone, not 1/86, so 36/1636 is the lowest."""
    scores = {"a": torch.tensor([[1.0, 2.0, 9.0]]), "b": torch.tensor([[6.0, 40.0]])}
    previous = {"a": torch.tensor([[True, True, False]]), "b": torch.tensor([[True, True]])}
    masks = masks_from_scores(scores, 2 / 5, "lamp", previous=previous)
    assert masks["a"].tolist() == [[True, True, False]]
    assert masks["b"].tolist() == [[False, True]]


def test_per_output_prunes_every_row_by_itself():
    score = torch.tensor([[1.0, 2, 3, 4], [40, 30, 20, 10]])
    mask = masks_from_scores({"w": score}, 0.5, "per-output")["w"]
    assert mask.tolist() == [[False, False, True, True], [True, True, False, False]]


def test_two_of_four_keeps_two_in_every_four_inputs():
    score = torch.tensor([[1.0, -5, 3, 2, 7, 7, 7, 7]])
    mask = masks_from_scores({"w": score}, None, "2:4")["w"]
    assert mask.tolist() == [[False, True, True, False, True, True, False, False]]


def test_n_of_m_groups_input_channels_of_a_convolution():
    scores = network()
    masks = masks_from_scores(scores, 0.75, "1:4")
    for name, score in scores.items():
        out, inputs = score.shape[:2]
        groups = masks[name].reshape(out, inputs // 4, 4, -1)
        assert bool((groups.sum(2) == 1).all())
        best = score.abs().reshape(out, inputs // 4, 4, -1).argmax(2, keepdim=True)
        assert bool(groups.gather(2, best).all())


def test_n_of_m_never_revives_a_pruned_weight():
    previous = {"w": torch.tensor([[False, False, False, True]])}
    mask = masks_from_scores({"w": torch.ones(1, 4)}, None, "2:4", previous=previous)["w"]
    assert mask.tolist() == [[False, False, False, True]]


# --------------------------------------------------------------------------- counts


def test_allocate_gives_the_largest_remainders_the_rest():
    # t = 1/2: exact quotas 0.5, 1.5, 3.0 → 0, 1, 3 and one more for the earlier of two equal halves
    assert allocate(5, [1, 3, 6], [0, 0, 0], [9, 9, 9]) == [1, 1, 3]
    assert allocate(7, [1, 1, 1], [0, 4, 0], [1, 9, 9]) == [1, 4, 2]


def test_allocate_stays_within_its_limits():
    g = np.random.default_rng(0)
    for _ in range(300):
        high = g.integers(0, 50, 6)
        low = np.minimum(high, g.integers(0, 20, 6))
        total = int(g.integers(low.sum(), high.sum() + 1))
        counts = np.array(allocate(total, g.integers(1, 30, 6), low, high))
        assert counts.sum() == total
        assert (low <= counts).all() and (counts <= high).all()


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, math.nan, None])
def test_sparsity_out_of_range(sparsity):
    with pytest.raises(InputError, match="sparsity"):
        masks_from_scores(network(), sparsity)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_scores_must_be_finite(bad, dtype):
    with pytest.raises(InputError, match="'fc.weight'"):
        masks_from_scores({"fc.weight": torch.tensor([[1.0, bad]], dtype=dtype)}, 0.5)


def test_unknown_scopes_name_the_nearest():
    with pytest.raises(InputError, match="did you mean 'layerwise'"):
        masks_from_scores(network(), 0.5, "layer-wise")
    for nonsense in ("4:2", "0:4", "4:4"):
        with pytest.raises(InputError, match="unknown scope"):
            masks_from_scores(network(), 0.5, nonsense)


def test_n_of_m_sparsity_and_shape_must_fit():
    with pytest.raises(InputError, match=r"0\.5"):
        masks_from_scores(network(), 0.6, "2:4")
    with pytest.raises(InputError, match=r"'b' \(6\)"):
        masks_from_scores({"a": torch.ones(2, 8), "b": torch.ones(2, 6)}, None, "2:4")
