"""The steps of the seed paper's argument on a real network: each predicted, and measured.

One draw of Bernoulli pruning at d: what every statement says of the norm of the removed part, of
the nonzeros of rows and columns and of the change of the output, beside what that draw shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunecert.api.certification import Options
from prunecert.api.networks import Network
from prunecert.bounds import pattern, propagation, pruning_error
from prunecert.bounds.norms import spectral_norm_upper
from prunecert.data import Sample
from prunecert.pruning.bernoulli import bernoulli_mask, drop_probability
from prunecert.types import InputError

REDRAWS = 19  # the largest of 19 holds with probability 19/20
ROUNDING_STEP = 2.0**-8

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Chain:
    """A network x ↦ A^L φ(… φ(A^1 x + b^1) …) + b^L; matrices (out, in), biases (out,), float64."""

    names: tuple[str, ...]
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def with_masks(self, masks: Mapping[str, Tensor]) -> Chain:
        """The same with every weight zero that its mask (True = kept) removes."""
        kept = (w * masks[name] for name, w in zip(self.names, self.weights))
        return Chain(self.names, tuple(kept), self.biases)

    def rounded(self, step: float) -> Chain:
        """The same with every weight at the nearest multiple of `step`."""
        rounded = ((w / step).round() * step for w in self.weights)
        return Chain(self.names, tuple(rounded), self.biases)

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

    `most_kept` is the larger of the most nonzeros in a row and in a column. "measured" is the mask
    in use; "sorted" is magnitude pruning that keeps as many weights.
    """

    name: str
    shape: tuple[int, int]
    kept_fraction: dict[str, float]
    removed_norm: dict[str, float]
    most_kept: dict[str, float]
    sketch_rows: dict[str, int]
    dead_rows: dict[str, int]


def layer_steps(
    name: str,
    weight: Matrix,
    d: float,
    *,
    seed: int = 0,
    delta: float = 0.05,
    redraws: int = REDRAWS,
) -> LayerSteps:
    """Every statement about one matrix (out, in), each with failure probability `delta`.

    The mask in use is the draw at `seed`; the redraws have seeds of their own.
    """
    tensor = torch.from_numpy(weight)
    drop = drop_probability(tensor, d).numpy()
    kept, *others = (_draw(tensor, d, (seed, draw)) for draw in range(redraws + 1))
    by_size = _largest(weight, int(kept.sum()))
    out, into = weight.shape
    variance = max(float(weight.var()), 5e-324)
    gaussian = pattern.pattern_gaussian([out], [into], d, delta)[0]
    exact = pattern.pattern_poisson_binomial(drop, delta)
    counts = {"measured": _most(kept), "sorted": _most(by_size)}
    return LayerSteps(
        name,
        (out, into),
        {
            "kept-fraction": pruning_error.kept_fraction_expected(d),
            "expected of these weights": float(1.0 - drop.mean()),
            "measured": float(kept.mean()),
        },
        {
            "removed-norm-latala": _only(pruning_error.removed_norm_latala(out, into, d, variance)),
            "removed-norm-gaussian": _only(
                pruning_error.removed_norm_gaussian(out, into, d, variance, delta)
            ),
            "removed-norm-bernstein": pruning_error.removed_norm_bernstein(weight, drop, delta),
            "removed-norm-cumulants": pruning_error.removed_norm_cumulants(weight, drop, delta),
            "removed-norm-redraws": pruning_error.removed_norm_redraws(
                [pruning_error.removed_norm_measured(weight, other) for other in others], delta
            ),
            "measured": pruning_error.removed_norm_measured(weight, kept),
            "sorted": pruning_error.removed_norm_measured(weight, by_size),
        },
        {
            "pattern-as-in-paper": _only(pattern.pattern_as_in_paper(out, into, d, 1.0 / delta)),
            "pattern-gaussian": float(gaussian.max()),
            "pattern-poisson-binomial": float(exact.max()),
            **{mask: float(max(most)) for mask, most in counts.items()},
        },
        {
            "pattern-gaussian": _only(pattern.sketch_rows(out, into, *gaussian)),
            **{mask: _only(pattern.sketch_rows(out, into, *most)) for mask, most in counts.items()},
        },
        {"measured": int((~kept.any(1)).sum()), "sorted": int((~by_size.any(1)).sum())},
    )


def _draw(weight: Tensor, d: float, seed: tuple[int, int]) -> NDArray[np.bool_]:
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    return bernoulli_mask({"": weight}, d, number)[""].numpy()


def _largest(weight: Matrix, count: int) -> NDArray[np.bool_]:
    """The mask of the `count` largest entries by size."""
    kept = np.zeros(weight.size, bool)
    kept[np.argsort(-np.abs(weight), axis=None, kind="stable")[:count]] = True
    return kept.reshape(weight.shape)


def _most(kept: NDArray[np.bool_]) -> tuple[int, int]:
    return int(kept.sum(1).max()), int(kept.sum(0).max())


def _only(values: NDArray[np.generic]) -> float:
    (value,) = np.ravel(values).tolist()
    return value


# --------------------------------------------------------------------------- the output


@dataclass(frozen=True)
class OutputChange:
    """How far the output of a chain moves on a sample when it is pruned.

    `measured`: largest ‖f(x) − f̂(x)‖₂ · `true_class`: largest |f_y − f̂_y|, what the seed paper
    plots · `statements`: upper bounds by statement; `reasons`: why the others say nothing.
    """

    measured: float
    true_class: float
    statements: dict[str, float]
    reasons: dict[str, str]


@torch.no_grad()
def output_change(
    dense: Chain, pruned: Chain, sample: Sample, options: Options = Options()
) -> OutputChange:
    """The change on every row of `sample`, and what each statement says of it (THEORY 1.4)."""
    norms = np.array([spectral_norm_upper(w.numpy()) for w in dense.weights])
    pruned_norms = np.array([spectral_norm_upper(w.numpy()) for w in pruned.weights])
    removed = np.array(
        [spectral_norm_upper((a - b).numpy()) for a, b in zip(dense.weights, pruned.weights)]
    )
    measured = true_class = at_input = largest = 0.0
    with options.stage(f"comparing outputs on {sample.name}", sample.n) as tick:
        for inputs, labels in sample.batches(options.batch_size):
            assert isinstance(inputs, Tensor)
            x = inputs.flatten(1).double()
            moved, changes = _moved(dense, pruned, x)
            measured = max(measured, float(moved.norm(dim=1).max()))
            true_class = max(true_class, float(moved.gather(1, labels[:, None]).abs().max()))
            bound = propagation.output_change_at_input(changes, pruned_norms)
            at_input, largest = max(at_input, float(bound.max())), max(largest, _norm(x))
            tick(len(labels))
    biases = np.array([float(b.norm()) for b in dense.biases])
    no_change = np.zeros(len(biases))
    statements = {
        "output-change-at-input": at_input,
        "output-change-with-biases": float(
            propagation.output_change_with_biases(
                norms, pruned_norms, removed, biases, no_change, largest
            )
        ),
    }
    without, reasons = _without_biases(norms, pruned_norms, removed, largest, bool(biases.any()))
    return OutputChange(measured, true_class, statements | without, reasons)


def _without_biases(
    norms: Matrix, pruned_norms: Matrix, removed: Matrix, largest: float, has_biases: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """The statements about chains without biases, or why they say nothing."""
    forms = {
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
            if has_biases:
                raise InputError("it covers chains without biases, and this one has some")
            statements[name] = float(form())
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
