"""The steps of the seed paper's argument on a real network: each predicted, and measured.

One draw of Bernoulli pruning at d: what every statement says of the norm of the removed part, of
the nonzeros of rows and columns and of the change of the output, beside what that draw shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from prunecert.api.counting import Options
from prunecert.api.networks import Network
from prunecert.bounds import pattern, propagation, pruning_error
from prunecert.bounds.norms import spectral_norm_upper
from prunecert.data import Inputs, Sample
from prunecert.progress import Tick, silent
from prunecert.pruning.bernoulli import bernoulli_mask, drop_probability
from prunecert.types import InputError

REDRAWS = 19  # the largest of 19 holds with probability 19/20
FIXED_PRODUCTS = 10**6  # what one redraw takes at least, whatever its size
MOST_PRODUCTS = {  # what takes more is left out, with a reason: a minute or so on one core
    "removed-norm-redraws": 1e11,
    "pattern-poisson-binomial": 2e9,
}
ROUNDING_STEP = 2.0**-8

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Chain:
    """A network x ↦ A^L φ(… φ(A^1 x + b^1) …) + b^L; matrices (out, in), biases (out,), float64."""

    names: tuple[str, ...]
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def with_masks(self, masks: Mapping[str, Tensor]) -> Chain:
        """The same with every weight zero that its mask (True = kept) removes; layers without a
        mask stay."""
        kept = (w * masks[n] if n in masks else w for n, w in zip(self.names, self.weights))
        return Chain(self.names, tuple(kept), self.biases)

    def rounded(self, step: float) -> Chain:
        """The same with every weight at the nearest multiple of `step`."""
        rounded = ((w / step).round() * step for w in self.weights)
        return Chain(self.names, tuple(rounded), self.biases)

    @cached_property
    def norms(self) -> Matrix:
        """Upper bounds on ‖A^l‖₂, shape (L,)."""
        return np.array([spectral_norm_upper(w.numpy()) for w in self.weights])

    @property
    def by_name(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.weights))


def chain_of(network: Network) -> Chain:
    """The matrices and biases of a network; InputError unless it is linear layers and ReLU."""
    view = network.architecture.view
    if not view.relu_chain:
        raise InputError(
            f"{network.name}: not a chain of linear layers and ReLU: how far a change of its "
            "weights reaches is not covered"
        )
    weights = tuple(network.tensors[layer.name].double() for layer in view.layers)
    biases = tuple(
        torch.zeros(len(w), dtype=torch.float64) if bias is None else network.tensors[bias].double()
        for w, bias in zip(weights, (layer.bias for layer in view.layers))
    )
    return Chain(tuple(layer.name for layer in view.layers), weights, biases)


# --------------------------------------------------------------------------- one layer


@dataclass(frozen=True)
class LayerSteps:
    """One layer at one d. `removed_norm` and `most_kept` by the statement that says it.

    `most_kept` is the larger of the most nonzeros in a row and in a column, `most_in` both, where
    the statement tells them apart. "measured" is the mask in use; "sorted" is magnitude pruning
    that keeps as many weights. `rounding`: what rounding the kept weights to ROUNDING_STEP changes.
    `reasons`: why a statement was left out.
    """

    name: str
    shape: tuple[int, int]
    kept_fraction: dict[str, float]
    removed_norm: dict[str, float]
    most_kept: dict[str, float]
    most_in: dict[str, tuple[int, int]]
    sketch_rows: dict[str, int]
    dead_rows: dict[str, int]
    rounding: dict[str, float]
    reasons: dict[str, str]

    def exceeds(self, name: str) -> bool:
        """Whether the mask in use is beyond what a statement says: a norm, or a row or a column."""
        if name in self.most_in:
            return any(m > b for m, b in zip(self.most_in["measured"], self.most_in[name]))
        return self.removed_norm["measured"] > self.removed_norm.get(name, math.inf)


def layer_steps(
    name: str,
    weight: Matrix,
    d: float,
    *,
    seed: int | tuple[int, ...] = 0,
    delta: float = 0.05,
    redraws: int | None = None,
    tick: Tick = silent,
) -> LayerSteps:
    """Every statement about one matrix (out, in), each with failure probability `delta`.

    The mask in use is `drawn_mask` at `seed`; the redraws have seeds of their own, and are as many
    as `delta` takes unless their number is given. `tick` is told of each redraw.
    """
    out, into = weight.shape
    variance = max(float(weight.var()), 5e-324)
    tensor = torch.from_numpy(weight)
    drop = drop_probability(tensor, d).numpy()
    kept = drawn_mask(weight, d, seed)
    by_size = _largest(weight, int(kept.sum()))
    redraws = _enough_redraws(delta) if redraws is None else redraws
    reasons = _too_large(out, into, redraws)
    removed = {
        "removed-norm-latala": _only(pruning_error.removed_norm_latala(out, into, d, variance)),
        "removed-norm-gaussian": _only(
            pruning_error.removed_norm_gaussian(out, into, d, variance, delta)
        ),
        "removed-norm-bernstein": pruning_error.removed_norm_bernstein(weight, drop, delta),
        "removed-norm-cumulants": pruning_error.removed_norm_cumulants(weight, drop, delta),
        "measured": pruning_error.removed_norm_measured(weight, kept),
        "sorted": pruning_error.removed_norm_measured(weight, by_size),
    }
    if "removed-norm-redraws" not in reasons:
        norms = list(_redrawn_norms(weight, d, seed, redraws, tick))
        removed["removed-norm-redraws"] = pruning_error.removed_norm_redraws(norms, delta)
    gaussian = pattern.pattern_gaussian([out], [into], d, delta)[0]
    most = {"pattern-gaussian": _pair(gaussian)}
    if "pattern-poisson-binomial" not in reasons:
        most["pattern-poisson-binomial"] = _pair(pattern.pattern_poisson_binomial(drop, delta))
    most |= {"measured": _most(kept), "sorted": _most(by_size)}
    return LayerSteps(
        name,
        (out, into),
        {
            "kept-fraction": pruning_error.kept_fraction_expected(d),
            "expected of these weights": float(1.0 - drop.mean()),
            "measured": float(kept.mean()),
        },
        removed,
        {
            "pattern-as-in-paper": _only(pattern.pattern_as_in_paper(out, into, d, 1.0 / delta)),
            **{who: float(max(both)) for who, both in most.items()},
        },
        most,
        {
            who: int(_only(pattern.sketch_rows(out, into, *most[who])))
            for who in ("pattern-gaussian", "measured", "sorted")
        },
        {"measured": int((~kept.any(1)).sum()), "sorted": int((~by_size.any(1)).sum())},
        _rounding(weight * kept),
        reasons,
    )


def _rounding(pruned: Matrix) -> dict[str, float]:
    """The spectral norm of what rounding a pruned matrix changes (THEORY 1.5): bound, measured."""
    kept = pruned != 0
    counts = [[kept.sum()], *([most] for most in _most(kept))]
    change = pruned - np.round(pruned / ROUNDING_STEP) * ROUNDING_STEP
    return {
        "rounding-norm": _only(propagation.rounding_norm_upper([ROUNDING_STEP], *counts)),
        "measured": spectral_norm_upper(change),
    }


def drawn_mask(
    weight: Matrix, d: float, seed: int | tuple[int, ...] = 0, draw: int = 0
) -> NDArray[np.bool_]:
    """The mask of one draw of Bernoulli pruning, True = kept; draw 0 is the mask in use."""
    number = int(np.random.SeedSequence(seed, spawn_key=(draw,)).generate_state(1)[0])
    return bernoulli_mask({"": torch.from_numpy(weight)}, d, number)[""].numpy()


def _redrawn_norms(
    weight: Matrix, d: float, seed: int | tuple[int, ...], redraws: int, tick: Tick
) -> Iterator[float]:
    for draw in range(1, redraws + 1):
        yield pruning_error.removed_norm_measured(weight, drawn_mask(weight, d, seed, draw))
        tick(1)


def _enough_redraws(delta: float) -> int:
    """The fewest that say something at `delta`, and no fewer than REDRAWS."""
    return max(REDRAWS, math.ceil(1 / Fraction(repr(float(delta)))) - 1)


def _too_large(out: int, into: int, redraws: int) -> dict[str, str]:
    """Statements that take more than MOST_PRODUCTS for a matrix of this size, and why."""
    products = {
        "removed-norm-redraws": redraws * max(out * into * min(out, into), FIXED_PRODUCTS),
        "pattern-poisson-binomial": out * into * (out + into) // 2,
    }
    return {
        name: f"{out:,} x {into:,}: takes {count:.2g} products, and more than "
        f"{MOST_PRODUCTS[name]:.0e} are not spent on one layer"
        for name, count in products.items()
        if count > MOST_PRODUCTS[name]
    }


def _largest(weight: Matrix, count: int) -> NDArray[np.bool_]:
    """The mask of the `count` largest entries by size."""
    kept = np.zeros(weight.size, bool)
    kept[np.argsort(-np.abs(weight), axis=None, kind="stable")[:count]] = True
    return kept.reshape(weight.shape)


def _most(kept: NDArray[np.bool_]) -> tuple[int, int]:
    return int(kept.sum(1).max()), int(kept.sum(0).max())


def _pair(both: NDArray[np.int64]) -> tuple[int, int]:
    rows, columns = both.tolist()
    return rows, columns


def _only(values: ArrayLike) -> float:
    (value,) = np.ravel(values).tolist()
    return float(value)


# --------------------------------------------------------------------------- the output


@dataclass(frozen=True)
class OutputChange:
    """How far the output of a chain moves on a sample when it is pruned.

    `measured`: largest ‖f(x) − f̂(x)‖₂ · `true_class`: largest |f_y − f̂_y|, what the seed paper
    plots · `removed_norm`: ‖Δ^l‖₂ of every layer, shape (L,) · `input_norm`: the largest ‖x‖ ·
    `statements`: upper bounds by statement; `reasons`: why the others say nothing.
    """

    measured: float
    true_class: float
    removed_norm: Matrix
    input_norm: float
    statements: dict[str, float]
    reasons: dict[str, str]


@torch.no_grad()
def output_change(
    dense: Chain, pruned: Chain, sample: Sample, options: Options = Options()
) -> OutputChange:
    """The change on every row of `sample`, and what each statement says of it (THEORY 1.4).

    Raises InputError where the chain does not take the sample's inputs or lacks its classes.
    """
    pruned_norms = pruned.norms
    removed = np.array(
        [spectral_norm_upper((a - b).numpy()) for a, b in zip(dense.weights, pruned.weights)]
    )
    measured = true_class = at_input = largest = 0.0
    with options.stage(f"comparing outputs on {sample.name}", sample.n) as tick:
        for inputs, labels in sample.batches(options.batch_size):
            x = _rows_of(inputs, labels, dense, sample.name)
            moved, changes = _moved(dense, pruned, x)
            measured = max(measured, float(moved.norm(dim=1).max()))
            true_class = max(true_class, float(moved.gather(1, labels[:, None]).abs().max()))
            bound = propagation.output_change_at_input(changes, pruned_norms)
            at_input, largest = max(at_input, float(bound.max())), max(largest, _norm(x))
            tick(len(labels))
    said, reasons = _from_norms(dense, pruned_norms, removed, largest)
    statements = {"output-change-at-input": at_input} | said
    return OutputChange(measured, true_class, removed, largest, statements, reasons)


def _rows_of(inputs: Inputs, labels: Tensor, chain: Chain, name: str) -> Tensor:
    """Inputs as the chain takes them, (b, in) in float64."""
    expected, classes = chain.weights[0].shape[1], len(chain.weights[-1])
    if not isinstance(inputs, Tensor) or inputs.flatten(1).shape[1] != expected:
        given = tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else sorted(inputs)
        raise InputError(f"{name}: inputs of {given} each: expected {expected} numbers")
    if int(labels.max()) >= classes:
        raise InputError(
            f"{name}: a label {int(labels.max())}: expected 0 to {classes - 1}, "
            "as the network has outputs"
        )
    return inputs.flatten(1).double()


def _from_norms(
    dense: Chain, pruned_norms: Matrix, removed: Matrix, largest: float
) -> tuple[dict[str, float], dict[str, str]]:
    """What the statements that read norms only say, or why they say nothing."""
    norms = dense.norms
    biases = np.array([float(b.norm()) for b in dense.biases])
    with_biases = "output-change-with-biases"
    forms: dict[str, Callable[[], ArrayLike]] = {
        with_biases: lambda: propagation.output_change_with_biases(
            norms, pruned_norms, removed, biases, np.zeros(len(biases)), largest
        ),
        "output-change": lambda: propagation.output_change_upper(
            norms, pruned_norms, removed, largest
        ),
        "output-change-telescoped": lambda: propagation.output_change_telescoped(
            norms, removed, largest
        ),
        "output-change-as-in-paper": lambda: propagation.output_change_as_in_paper(
            norms, removed, largest
        ),
    }
    statements, reasons = {}, {}
    for name, form in forms.items():
        try:
            if biases.any() and name != with_biases:
                raise InputError("it covers chains without biases, and this one has some")
            statements[name] = _only(form())
        except InputError as reason:
            reasons[name] = str(reason)
    return statements, reasons


def _norm(x: Tensor) -> float:
    return float(x.norm(dim=1).max())


def _moved(dense: Chain, pruned: Chain, x: Tensor) -> tuple[Tensor, Matrix]:
    """f − f̂ (b, K), and ‖Δ^l x^{l−1}‖ of every row and layer (b, L), x^l of the dense chain."""
    other, changes = x, []
    layers = list(zip(dense.weights, pruned.weights, dense.biases, pruned.biases))
    for number, (weight, thinned, bias, other_bias) in enumerate(layers, start=1):
        changes.append((x @ (weight - thinned).T).norm(dim=1))
        x, other = x @ weight.T + bias, other @ thinned.T + other_bias
        if number < len(layers):
            x, other = x.relu(), other.relu()
    return x - other, torch.stack(changes, dim=1).numpy()
