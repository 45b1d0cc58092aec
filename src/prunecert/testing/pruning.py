"""What the contract suite (`prunecert.testing`) knows about magnitude-based pruning.

Legal and illegal arguments, evidence, and exact coverage: every mask of a small matrix is drawn,
every rank of the redraws, and chains of one unit per layer are computed outright.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunecert.types import BoundSpec, Cushions

NAN, INF = math.nan, math.inf
Case = dict[str, Any]
Broken = Iterator[str]

_BAD_FLOATS = ([NAN], [[1.0, 2.0, 3.0]], "long", None)
_BAD_SIZES = ([1.0], [-1.0, 1.0], *_BAD_FLOATS)
_BAD_NORMS = ([2.0], [0.0, 1.5], [-2.0, 1.5], *_BAD_FLOATS)
_BAD_FACTORS = ([2.0], [0.5, 2.0], *_BAD_FLOATS)
_BAD_CUSHIONS = ([0.5], [0.0, 0.5], [1.5, 0.5], *_BAD_FLOATS)
_BAD_COUNTS = ([1], [-1, 2], [1.5, 2], *_BAD_FLOATS)
_BAD_NUMBER = (-1.0, NAN, INF, "big", None)
WEIGHT = [[0.9, -0.2, 0.05], [-1.5, 0.4, 0.0]]
KEPT = [[True, False, True], [False, True, False]]
DROP = [[0.4, 0.97, 1.0], [0.1, 0.8, 1.0]]

# argument: (value in the base case, illegal values), as `cases.ARGUMENTS`
PRUNING_ARGUMENTS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "frobenius_norm": ([3.0, 2.0], _BAD_NORMS[1:]),
    "norm_2_1": ([6.0, 4.0], _BAD_NORMS),
    "variance": ([0.2, 0.1], _BAD_NORMS),
    "margin": (0.5, (0.0, *_BAD_NUMBER)),
    "margins": ([0.5, 2.0, -1.0], ([], *_BAD_FLOATS)),
    "pruning_d": (1.0, _BAD_NUMBER),
    "lambda_l": ([2.0, 4.0], _BAD_FACTORS),
    "epsilon_l": ([2.0, 4.0], _BAD_FACTORS),
    "rho_l": ([0.01, 0.1], ([0.1], [0.0, 0.1], [1.0, 0.1], *_BAD_FLOATS)),
    "layer_cushion": ([0.5, 0.25], _BAD_CUSHIONS),
    "interlayer_cushion": ([0.5, 1.0], _BAD_CUSHIONS),
    "contraction": (2.0, (0.5, *_BAD_NUMBER)),
    "output_norm": (3.0, _BAD_NUMBER),
    "smoothness": (7.0, (5.9, *_BAD_NUMBER)),
    "pruned_norm": ([1.5, 1.0], _BAD_SIZES),
    "layer_change": ([0.5, 1.0], _BAD_SIZES),
    "bias_norm": ([0.5, 0.1], _BAD_SIZES),
    "removed_bias_norm": ([0.0, 0.1], _BAD_SIZES),
    "weight": (WEIGHT, ([WEIGHT[0]], WEIGHT[0], [[NAN]], "long", None)),
    "drop_probability": (DROP, ([DROP[0], [0.1, 1.2, 0.0]], DROP[0], [[NAN]], "long", None)),
    "kept": (KEPT, ([KEPT[0]], KEPT[0], [[0.5, 1, 0], [1, 0, 1]], "long", None)),
    "rounding_norm": ([0.1, 0.0], _BAD_SIZES),
    "rounding_step": ([0.5, 0.25], _BAD_SIZES),
    "nonzeros": ([6, 5], _BAD_COUNTS),
    "row_nonzeros": ([3, 2], _BAD_COUNTS),
    "column_nonzeros": ([2, 2], _BAD_COUNTS),
    "redrawn_norms": (
        [float(k) for k in range(39)],
        ([1.0, 2.0], [-1.0] * 39, [], [NAN], [[1.0, 2.0, 3.0]], "long", None),
    ),
}


def cushions() -> Cushions:
    """A part whose smoothness lets the theorem speak."""
    return Cushions(
        layer=np.array([0.5, 0.25]),
        interlayer=np.array([0.5, 0.5]),
        contraction=1.5,
        output_norm=4.0,
        smoothness=7.0,
        noise_delta=0.05,
        sample="train",
    )


# --------------------------------------------------------------------------- exact coverage


def step_coverage(spec: BoundSpec, base: Case) -> Broken:
    """For statements about a mask: over every outcome of a small case it fails with <= delta."""
    certain = {  # statements without chance
        "removed_norm": _chain_coverage,
        "layer_change": _chain_coverage,
        "rounding_step": _rounding_coverage,
        "kept": _known_mask_coverage,
    }
    for argument, coverage in certain.items():
        if argument in base:
            yield from coverage(spec, base)
            return
    for delta in (0.05, 0.3):
        case = base | {"delta": delta}
        if "redrawn_norms" in base:
            yield from _rank_coverage(spec, case)
        elif "variance" in base:
            yield from _gaussian_coverage(spec, case)
        elif "drop_probability" in base or "pruning_d" in base:
            yield from _mask_coverage(spec, case)
        else:
            yield f"this suite cannot enumerate the outcomes of {list(base)}"


def _rank_coverage(spec: BoundSpec, base: Case) -> Broken:
    """N + 1 different norms, each of them equally often the one in use."""
    for redraws in (39, 40, 99):
        norms = [float(k) for k in range(redraws + 1)]
        failing = [norm for norm in norms if norm > spec.function(**base | _others(norms, norm))]
        if len(failing) > base["delta"] * (redraws + 1) * (1 + 1e-12):
            yield f"with {redraws} redraws it fails for {len(failing)} ranks of {redraws + 1}"


def _known_mask_coverage(spec: BoundSpec, base: Case) -> Broken:
    """Every mask of one small matrix."""
    weight = np.array(base["weight"])
    for kept in _masks(weight.shape):
        bound, norm = (
            float(spec.function(**base | {"kept": kept})),
            np.linalg.norm(weight * ~kept, 2),
        )
        if norm > bound:
            yield f"of the mask {kept.tolist()} it says {bound}, its norm is {norm}"


def _rounding_coverage(spec: BoundSpec, base: Case) -> Broken:
    """The worst that rounding can do to each pattern of a small matrix: half a step everywhere."""
    for kept in _masks((2, 3)):
        counts = {"nonzeros": kept.sum(), "row_nonzeros": kept.sum(1).max()}
        counts |= {"column_nonzeros": kept.sum(0).max(), "rounding_step": 0.5}
        bound = spec.function(**base | {name: [value] for name, value in counts.items()})
        norm = np.linalg.norm(0.25 * kept, 2)
        if norm > float(bound[0]):
            yield f"of the pattern {kept.tolist()} it says {bound}, rounding can move {norm}"


def _others(norms: list[float], used: float) -> Case:
    return {"redrawn_norms": [norm for norm in norms if norm != used]}


def _mask_coverage(spec: BoundSpec, base: Case) -> Broken:
    """All 2^(out·in) masks of one small matrix; given drops, also where nothing is random."""
    if "drop_probability" in base:
        drop = np.array(base["drop_probability"])
        cases = [(drop, base), (np.ceil(drop), base | {"drop_probability": np.ceil(drop)})]
    else:  # Gaussian weights: every entry is dropped with the same probability
        share = math.sqrt(base["pruning_d"] / (base["pruning_d"] + 2.0))
        cases = [(np.full((2, 3), share), base | {"fan_out": [2], "fan_in": [3]})]
    for drop, case in cases:
        bound = np.ravel(np.asarray(spec.function(**case), np.float64))
        failure = 0.0
        for kept in _masks(drop.shape):
            if "weight" in case:
                fails = np.linalg.norm(np.array(case["weight"]) * ~kept, 2) > bound[0]
            else:
                fails = kept.sum(1).max() > bound[0] or kept.sum(0).max() > bound[1]
            failure += float(np.where(kept, 1.0 - drop, drop).prod()) * fails
        if failure > base["delta"] * (1 + 1e-12):
            yield f"over all masks at {case} it fails with probability {failure}"


def _masks(shape: tuple[int, ...]) -> Iterator[NDArray[np.bool_]]:
    for bits in itertools.product((False, True), repeat=math.prod(shape)):
        yield np.array(bits).reshape(shape)


def _gaussian_coverage(spec: BoundSpec, base: Case) -> Broken:
    """One weight: P[|Δ| > t] = P(drop)·P[|N(0, Ψd/(d+2))| > t]; t moves with the variance only."""
    share = math.sqrt(base["pruning_d"] / (base["pruning_d"] + 2.0))
    case = base | {"fan_out": [1], "fan_in": [1], "variance": [0.2]}
    bound = float(np.ravel(spec.function(**case))[0])
    failure = share * math.erfc(bound / (math.sqrt(0.2) * share * math.sqrt(2.0)))
    if failure > base["delta"]:
        yield f"for one weight it fails with probability {failure}"


def _chain_coverage(spec: BoundSpec, base: Case) -> Broken:
    """Chains of two layers of one unit, positive throughout: f is a product, computed outright."""
    norms = np.array([2.0, 1.5])
    bias = np.array(base.get("bias_norm", [0.0, 0.0]))
    lost_bias = np.array(base.get("removed_bias_norm", [0.0, 0.0]))
    for removed in itertools.product((-0.7, -0.1, 0.0, 0.1, 0.7), repeat=2):
        pruned = norms - np.array(removed)
        x = 3.0
        after = norms[0] * x + bias[0]
        first = pruned[0] * x + bias[0] - lost_bias[0]
        change = norms[1] * after + bias[1] - (pruned[1] * first + bias[1] - lost_bias[1])
        given = {
            "spectral_norm": norms,
            "pruned_norm": pruned,
            "removed_norm": np.abs(removed),
            "layer_change": np.abs(removed) * np.array([x, after]),
            "input_norm": x,
        }
        bound = float(spec.function(**base | {k: v for k, v in given.items() if k in base}))
        if abs(change) > bound:
            yield f"the output moves by {abs(change)} at removed {removed}, it says {bound}"
