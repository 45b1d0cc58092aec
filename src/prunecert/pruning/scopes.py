"""Which weights go, given a score for each of them: how a sparsity is shared out over the tensors.

Scores rank by absolute value, so magnitude pruning hands over the weights themselves and copies
nothing. Every scope removes an exact number of weights: asked to prune k of N, it prunes k, ties or
not. **Tie rule**: among equal scores the earlier weight (order of the mapping, then row-major) is
kept. Masks are True where a weight is kept.

Rank selection never sorts or concatenates a whole network: a non-negative float and its bit pattern
are ordered alike, so the k-th smallest is found 16 bits at a time from streamed histograms (two
reads for float32), and one more read writes the masks.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunecert.types import InputError

Masks = dict[str, Tensor]
Scope = Callable[[Mapping[str, Tensor], float, Mapping[str, Tensor]], Masks]

CHUNK = 1 << 18  # weights looked at together: their keys stay in the processor's cache


def masks_from_scores(
    scores: Mapping[str, Tensor],
    sparsity: float | None,
    scope: str = "global",
    *,
    previous: Mapping[str, Tensor] | None = None,
) -> Masks:
    """The masks, True = kept, that remove the lowest scores at `sparsity` within `scope`.

    `scores` maps tensor names to scores in the tensors' own shapes (out, in, …), ranked by absolute
    value. `sparsity` is the fraction removed of all weights named in `scores`, in [0, 1): exactly
    ⌊sparsity·N + ½⌋ weights in total for global, uniform+, erk and lamp, of each tensor for
    layerwise, of each output row for per-output. For a pattern such as "2:4" it is 1 − 2/4 or None.
    Weights that `previous` already removed are removed first, so the result is a subset of it.

    Raises InputError for a sparsity out of range or below what `previous` has already reached, an
    unknown scope, a score that is not finite, or shapes that the scope cannot serve.
    """
    if not scores:
        raise InputError("no tensor to prune: expected at least one score")
    for name, score in scores.items():
        if score.numel() and not all(math.isfinite(end) for end in torch.aminmax(score.detach())):
            raise InputError(f"tensor '{name}': a pruning score is nan or infinite")
    prune = scope_named(scope)
    if pattern := nm_pattern(scope):
        target = 1 - pattern[0] / pattern[1]
        if sparsity is not None and not math.isclose(sparsity, target, abs_tol=1e-9):
            raise InputError(f"sparsity {sparsity:g}: scope '{scope}' means {target:g}; omit it")
        sparsity = target
    if sparsity is None or not 0 <= sparsity < 1:
        raise InputError(f"sparsity {sparsity}: expected a number in [0, 1)")
    return prune(scores, sparsity, previous or {})


def removal_count(sparsity: float, total: int) -> int:
    """How many of `total` weights a sparsity removes: ⌊sparsity·total + ½⌋."""
    return math.floor(sparsity * total + 0.5)


def nm_pattern(scope: str) -> tuple[int, int] | None:
    """(N, M) when the scope reads "N:M" with 0 < N < M (N nonzeros in every M inputs)."""
    match = re.fullmatch(r"(\d+):(\d+)", scope)
    n, m = (int(match[1]), int(match[2])) if match else (0, 0)
    return (n, m) if 0 < n < m else None


def scope_named(scope: str) -> Scope:
    """The scope of that name, or an InputError that suggests the nearest one."""
    if pattern := nm_pattern(scope):
        return _n_of_m(*pattern)
    if scope not in SCOPES:
        raise unknown("scope", scope, (*SCOPES, "2:4"))
    return SCOPES[scope]


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a table: the nearest entry, then all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return InputError(f"unknown {what} '{name}': {hint}expected one of {', '.join(known)}")


# --------------------------------------------------------------------------- the scopes


def _global(scores: Mapping[str, Tensor], sparsity: float, previous: Mapping[str, Tensor]) -> Masks:
    """One ranking over all tensors."""
    return _drop_lowest(scores, removal_count(sparsity, sum(_sizes(scores))), previous)


def _layerwise(
    scores: Mapping[str, Tensor], sparsity: float, previous: Mapping[str, Tensor]
) -> Masks:
    """The same sparsity in every tensor."""
    removed = [removal_count(sparsity, size) for size in _sizes(scores)]
    return _drop_lowest_by_layer(scores, removed, previous)


def _uniform_plus(
    scores: Mapping[str, Tensor], sparsity: float, previous: Mapping[str, Tensor]
) -> Masks:
    """Uniform, but the first convolution stays dense and the last fully connected layer keeps at
    least 20 % (Gale, Elsen, Hooker 2019, arXiv 1902.09574)."""
    sizes = _sizes(scores)
    floor = [0] * len(sizes)
    convolutions = [i for i, s in enumerate(scores.values()) if s.dim() > 2]
    matrices = [i for i, s in enumerate(scores.values()) if s.dim() == 2]
    if matrices:
        floor[matrices[-1]] = sizes[matrices[-1]] - math.floor(0.8 * sizes[matrices[-1]])
    if convolutions:
        floor[convolutions[0]] = sizes[convolutions[0]]
    return _share_out(scores, sizes, floor, sparsity, previous)


def _erk(scores: Mapping[str, Tensor], sparsity: float, previous: Mapping[str, Tensor]) -> Masks:
    """Erdős–Rényi-kernel: weights kept in proportion to n_in + n_out + kernel sides, at most all
    (Evci et al. 2020, arXiv 1911.11134, section 3)."""
    shares = [sum(score.shape) for score in scores.values()]
    return _share_out(scores, shares, [0] * len(shares), sparsity, previous)


def _lamp(scores: Mapping[str, Tensor], sparsity: float, previous: Mapping[str, Tensor]) -> Masks:
    """One global ranking of the LAMP scores (Lee et al. 2021, arXiv 2010.07611, equation 6)."""
    adapted = {name: lamp_score(score, previous.get(name)) for name, score in scores.items()}
    return _global(adapted, sparsity, previous)


def lamp_score(score: Tensor, kept: Tensor | None = None) -> Tensor:
    """s_u² / Σ_{v ranked at or above u} s_v² within one tensor, in float64 and the tensor's shape.

    Of equal scores the earlier ranks higher (the paper breaks ties by an index map), so the highest
    score is exactly 1 and no tensor vanishes before all others are down to one weight.
    """
    flat = score.detach().reshape(-1).double()
    squares, order = (
        (flat if kept is None else flat * kept.reshape(-1))
        .square()
        .sort(descending=True, stable=True)
    )
    ratios = torch.where(squares > 0, squares / squares.cumsum(0), 0.0)
    return torch.empty_like(flat).index_copy_(0, order, ratios).view(score.shape)


def _per_output(
    scores: Mapping[str, Tensor], sparsity: float, previous: Mapping[str, Tensor]
) -> Masks:
    """The same sparsity in every output row (out, in·kh·kw) of every tensor."""
    masks = {}
    for name, score in scores.items():
        keys = _keys(score.reshape(len(score), -1), _rows(previous.get(name)))
        keep = keys.shape[1] - removal_count(sparsity, keys.shape[1])
        if bool(((keys > 0).sum(1) < keep).any()):
            raise InputError(
                f"sparsity {sparsity:g}: a row of '{name}' already has fewer than {keep} of "
                f"{keys.shape[1]} weights"
            )
        masks[name] = _top_of_each_row(keys, keep).view(score.shape)
    return masks


def _n_of_m(n: int, m: int) -> Scope:
    """At most n nonzeros in every m consecutive input channels, at each kernel position: the layout
    that sparse matrix hardware reads."""

    def scope(
        scores: Mapping[str, Tensor], sparsity: float, previous: Mapping[str, Tensor]
    ) -> Masks:
        if ragged := [f"'{name}' ({s.shape[1]})" for name, s in scores.items() if s.shape[1] % m]:
            raise InputError(
                f"scope '{n}:{m}': exclude the tensors whose inputs are not a multiple of {m}: "
                + ", ".join(ragged)
            )
        masks = {}
        for name, score in scores.items():
            inputs_last = _keys(score, previous.get(name)).movedim(1, -1)
            groups = _top_of_each_row(inputs_last.reshape(-1, m), n)
            masks[name] = groups.view(inputs_last.shape).movedim(-1, 1).contiguous()
        return masks

    return scope


SCOPES: dict[str, Scope] = {
    "global": _global,
    "layerwise": _layerwise,
    "uniform+": _uniform_plus,
    "erk": _erk,
    "lamp": _lamp,
    "per-output": _per_output,
}


# --------------------------------------------------------------------------- counts per tensor


def _sizes(scores: Mapping[str, Tensor]) -> list[int]:
    return [score.numel() for score in scores.values()]


def _share_out(
    scores: Mapping[str, Tensor],
    shares: Sequence[int],
    floor: Sequence[int],
    sparsity: float,
    previous: Mapping[str, Tensor],
) -> Masks:
    """Keep weights in proportion to `shares`, at least `floor` and at most what is left of each."""
    sizes = _sizes(scores)
    left = [
        int(previous[name].sum()) if name in previous else score.numel()
        for name, score in scores.items()
    ]
    total = sum(sizes) - removal_count(sparsity, sum(sizes))
    low = [min(f, most) for f, most in zip(floor, left, strict=True)]
    kept = allocate(total, shares, low, left)
    return _drop_lowest_by_layer(
        scores, [s - k for s, k in zip(sizes, kept, strict=True)], previous
    )


def allocate(
    total: int, shares: Sequence[int], low: Sequence[int], high: Sequence[int]
) -> list[int]:
    """Whole numbers that sum to `total`, in proportion to `shares` but within [low, high].

    The factor t with Σ clip(t·shares, low, high) = total is exact: the sum is piecewise linear in
    t. The units lost by rounding down go to the largest remainders, earlier entries first.
    """
    share, lowest, highest = (np.asarray(x, dtype=np.float64) for x in (shares, low, high))
    if not lowest.sum() <= total <= highest.sum():
        raise InputError(
            f"sparsity asks to keep {total} weights, but this scope can keep "
            f"{int(lowest.sum())} to {int(highest.sum())} here"
        )

    def shared(t: float) -> NDArray[np.float64]:
        return np.clip(t * share, lowest, highest)

    corners = np.sort(np.concatenate([lowest / share, highest / share]))
    exact = shared(float(np.interp(total, [shared(t).sum() for t in corners], corners)))
    counts = np.floor(exact).astype(np.int64)
    largest_remainders = np.argsort(counts - exact, kind="stable")
    counts[largest_remainders[: total - int(counts.sum())]] += 1
    return [int(c) for c in counts]


def _drop_lowest_by_layer(
    scores: Mapping[str, Tensor], removed: Sequence[int], previous: Mapping[str, Tensor]
) -> Masks:
    masks: Masks = {}
    for (name, score), count in zip(scores.items(), removed, strict=True):
        masks |= _drop_lowest({name: score}, count, previous)
    return masks


# --------------------------------------------------------------------------- exact ranks, streamed


def _drop_lowest(
    scores: Mapping[str, Tensor], removed: int, previous: Mapping[str, Tensor]
) -> Masks:
    """Masks without the `removed` lowest-ranked weights of all tensors together."""
    gone = sum(int((~previous[name]).sum()) for name in scores if name in previous)
    if gone > removed:
        where = f"'{next(iter(scores))}'" if len(scores) == 1 else "the network"
        raise InputError(
            f"sparsity asks for {removed} pruned weights in {where}, which already has {gone} of "
            f"{sum(_sizes(scores))} pruned: a ladder cannot go back"
        )
    threshold, spared = _rank(scores, removed, previous)
    masks = {}
    for name, score in scores.items():
        mask = torch.empty(score.numel(), dtype=torch.bool, device=score.device)
        chunks = _key_chunks(score, previous.get(name), _float_type(scores))
        for piece, keys in zip(mask.split(CHUNK), chunks, strict=True):
            torch.gt(keys, threshold, out=piece)
            if spared:
                ties = (keys == threshold).nonzero()[:spared, 0]
                piece[ties] = True
                spared -= len(ties)
        masks[name] = mask.view(score.shape)
    return masks


def _rank(scores: Mapping[str, Tensor], k: int, previous: Mapping[str, Tensor]) -> tuple[int, int]:
    """The k-th smallest key, and how many of the weights that share it rank above place k."""
    if k == 0:
        return -1, 0
    float_type = _float_type(scores)
    key, width = 0, 8 * float_type.itemsize
    for shift in range(width - 16, -1, -16):
        counts = torch.zeros(1 << 16, dtype=torch.int64)
        for name, score in scores.items():
            for keys in _key_chunks(score, previous.get(name), float_type):
                if shift < width - 16:
                    keys = keys[(keys >> (shift + 16)) == key]
                digits = (keys >> shift).bitwise_and_(0xFFFF)
                counts += torch.bincount(digits, minlength=1 << 16).cpu()
        up_to = counts.cumsum(0)
        digit = int(torch.searchsorted(up_to, k))  # the first bin that reaches place k
        k -= int(up_to[digit] - counts[digit])
        key = key << 16 | digit
    return key, int(counts[digit]) - k


def _float_type(scores: Mapping[str, Tensor]) -> torch.dtype:
    """The narrowest type that holds every score exactly: float32 also serves the half types."""
    wide = any(score.dtype == torch.float64 for score in scores.values())
    return torch.float64 if wide else torch.float32


def _key_chunks(score: Tensor, kept: Tensor | None, float_type: torch.dtype) -> Iterator[Tensor]:
    """The keys of one tensor in row-major order, a chunk at a time."""
    pieces = score.detach().reshape(-1).split(CHUNK)
    for i, piece in enumerate(pieces):
        chunk_kept = kept.reshape(-1)[i * CHUNK : (i + 1) * CHUNK] if kept is not None else None
        yield _keys(piece, chunk_kept, float_type)


def _keys(score: Tensor, kept: Tensor | None, float_type: torch.dtype | None = None) -> Tensor:
    """Integers in the order of |score|: its bits without the sign, plus one; 0 where pruned."""
    exact = score.detach().to(float_type or _float_type({"": score}))
    integer_type = torch.int64 if exact.dtype == torch.float64 else torch.int32
    keys = (exact.view(integer_type) & torch.iinfo(integer_type).max).add_(1)
    return keys if kept is None else keys.mul_(kept)


def _top_of_each_row(keys: Tensor, keep: int) -> Tensor:
    """The mask, shape (rows, width), of the `keep` largest keys in each row; never a pruned one."""
    best = keys.argsort(dim=1, descending=True, stable=True)[:, :keep]
    return torch.zeros_like(keys, dtype=torch.bool).scatter_(1, best, True) & (keys > 0)


def _rows(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.reshape(len(mask), -1)
