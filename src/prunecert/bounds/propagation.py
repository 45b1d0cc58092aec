"""How far the output moves when every matrix is changed: A^l to Â^l = A^l − Δ^l (THEORY 1.4, 1.5).

For chains x ↦ A^L φ(A^{L−1} … φ(A^1 x)) with φ 1-Lipschitz and φ(0) = 0 (ReLU). Inequalities
that always hold, without chance, once every norm given is an upper bound (`bounds.norms`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prunecert.bounds.layerwise import Floats, floats, over_layers, per_layer
from prunecert.inversions import SLACK, require_number
from prunecert.types import InputError

ENOUGH = 1.75  # (e^s − 1)/s <= e for s up to here (up to 1.7511…)
INPUT_LEGAL = (0.0, 1e300, "input_norm >= 0, finite")


def output_change_upper(
    spectral_norm: ArrayLike, pruned_norm: ArrayLike, removed_norm: ArrayLike, input_norm: float
) -> Floats:
    """Upper bound on the change ‖f(x) − f̂(x)‖₂ of the output, layer by layer; no condition.

    **Statement.** For every x with ‖x‖₂ <= input_norm: ‖f(x) − f̂(x)‖₂ <= ‖x‖·Σ_l
    (∏_{k<l}‖A^k‖)·‖Δ^l‖·(∏_{k>l}‖Â^k‖). Never above the telescoped form where ‖Â^k‖ <= ‖A^k‖ +
    ‖Δ^k‖ is what is given, nor above the paper's where that one's condition holds.

    **Symbols → arguments.** spectral_norm: ‖A^l‖₂ > 0 · pruned_norm: ‖Â^l‖₂ >= 0 · removed_norm:
    ‖Δ^l‖₂ >= 0 · input_norm: >= 0. All upper bounds; Δ^l may include rounding (1.5).

    **Shapes.** L layers: (L,), (…, L), (…, L), a number; the result has the leading shape (…).

    **Returns** a length in the unit of the outputs, rounded up.

    **Certified.** Checked: the network is such a chain without biases, the norms are upper
    bounds. Nothing is said about the sample.

    **Fails loudly.** InputError where shapes do not fit or a number is out of its range.

    **Source.** THEORY 1.4 (one line: change one layer at a time). Sharper than the e-form of
    Guha, Dubey and Huo, arXiv:2305.18789v2, which goes back to Neyshabur et al. 2018, Lemma 2.

    **Example.** Two layers of norm 2, half of the second removed: 2·1.

    >>> round(float(output_change_upper([2, 2], [2, 1], [0, 1], 1.0)), 9)
    2.0
    """
    norms, removed = _checked(spectral_norm, removed_norm, input_norm)
    pruned = over_layers("pruned_norm", pruned_norm, "spectral_norm", norms.size)
    before = np.concatenate([[1.0], np.cumprod(norms)[:-1]])
    total = (before * removed * _product_above(pruned)).sum(axis=-1)
    return np.asarray(input_norm * total * (1.0 + SLACK))


def output_change_at_input(layer_change: ArrayLike, pruned_norm: ArrayLike) -> Floats:
    """Upper bound on ‖f(x) − f̂(x)‖₂ on given inputs, from what each removed part does to them.

    **Statement.** For every x, with x^l the dense network's activations (x^0 = x):
    ‖f(x) − f̂(x)‖₂ <= Σ_l ‖Δ^l x^{l−1}‖·∏_{k>l}‖Â^k‖. Never above `output_change_upper`.

    **Symbols → arguments.** layer_change: ‖Δ^l x^{l−1}‖₂ >= 0, measured · pruned_norm: ‖Â^l‖₂ >=
    0, an upper bound.

    **Shapes.** (…, L) with any leading shape (inputs), (L,); the result has the leading shape.

    **Returns** a length in the unit of the outputs, rounded up.

    **Certified.** Checked: as `output_change_upper`; it speaks about the inputs measured only.

    **Fails loudly.** InputError where shapes do not fit or a number is out of its range.

    **Source.** THEORY 1.4.

    **Example.** The first layer loses 3 and the second doubles it, then loses 1 more:

    >>> round(float(output_change_at_input([3, 1], [5, 2])), 9)
    7.0
    """
    pruned = floats("pruned_norm", pruned_norm)
    layers = pruned.shape[-1] if pruned.ndim else 0
    pruned = over_layers("pruned_norm", pruned, "layer_change", layers)
    changes = over_layers("layer_change", layer_change, "pruned_norm", layers)
    return np.asarray((changes * _product_above(pruned)).sum(axis=-1) * (1.0 + SLACK))


def output_change_telescoped(
    spectral_norm: ArrayLike, removed_norm: ArrayLike, input_norm: float
) -> Floats:
    """Upper bound on ‖f(x) − f̂(x)‖₂ from the norms of A and Δ alone; no condition.

    **Statement.** For every x with ‖x‖₂ <= input_norm: ‖f(x) − f̂(x)‖₂ <=
    ‖x‖·[∏(‖A^l‖ + ‖Δ^l‖) − ∏‖A^l‖]. It is `output_change_upper` at ‖Â^l‖ <= ‖A^l‖ + ‖Δ^l‖.

    **Symbols → arguments, Shapes, Returns, Certified, Fails loudly.** As `output_change_upper`.

    **Source.** THEORY 1.4; the middle step of Neyshabur et al., arXiv:1707.09564, Lemma 2.

    **Example.** (2+1)(2+1) − 2·2:

    >>> round(float(output_change_telescoped([2, 2], [1, 1], 1.0)), 9)
    5.0
    """
    norms, removed = _checked(spectral_norm, removed_norm, input_norm)
    return output_change_upper(norms, norms + removed, removed, input_norm)


def output_change_terms(
    spectral_norm: ArrayLike, removed_norm: ArrayLike, input_norm: float
) -> dict[str, Any]:
    """The paper's value with or without its condition, for one setting: what a report shows.

    `value`: e·‖x‖·∏‖A^l‖·Σ‖Δ^l‖/‖A^l‖ (not rounded) · `relative_sum`: Σ‖Δ^l‖/‖A^l‖ · `strict`:
    every ‖Δ^l‖ <= ‖A^l‖/L · `sufficient`: the sum is at most 1.75 · `holds`: either of the two;
    without it the value is no bound. (L,), (L,), a number; errors as `output_change_upper`.

    >>> output_change_terms([1.0, 1.0], [0.0, 1.0], 1.0)["strict"]
    False
    """
    norms, removed = _checked(spectral_norm, removed_norm, input_norm)
    if removed.ndim != 1:
        raise InputError("removed_norm must be one list, one entry per layer")
    relative = removed / norms
    strict = bool((relative * norms.size <= 1.0).all())
    sufficient = bool(relative.sum() <= ENOUGH)
    return {
        "value": float(_paper_value(norms, removed, input_norm)),
        "relative_sum": float(relative.sum()),
        "strict": strict,
        "sufficient": sufficient,
        "holds": strict or sufficient,
    }


def output_change_as_in_paper(
    spectral_norm: ArrayLike, removed_norm: ArrayLike, input_norm: float
) -> Floats:
    """Upper bound on ‖f(x) − f̂(x)‖₂ in the seed paper's form, where its condition holds.

    **Statement.** If every ‖Δ^l‖ <= ‖A^l‖/L, or if Σ_l ‖Δ^l‖/‖A^l‖ <= 1.75: for every x with
    ‖x‖₂ <= input_norm, ‖f(x) − f̂(x)‖₂ <= e·‖x‖·∏‖A^l‖·Σ_l ‖Δ^l‖/‖A^l‖.

    **Symbols → arguments, Shapes, Returns.** As `output_change_upper`.

    **Certified.** Checked: the condition too; the rest as `output_change_upper`.

    **Fails loudly.** InputError also where neither condition holds; `output_change_terms` gives
    the value even then, with what holds and what does not.

    **Source.** Guha, Dubey and Huo, arXiv:2305.18789v2, from Neyshabur et al. 2018, Lemma 2.
    THEORY 1.4. Deviation: the second condition, from (e^s − 1)/s <= e.

    **Example.** One layer of norm 2, 1 removed: e·1.

    >>> round(float(output_change_as_in_paper([2.0], [1.0], 1.0)), 6)
    2.718282
    """
    norms, removed = _checked(spectral_norm, removed_norm, input_norm)
    relative = removed / norms
    strict = (relative * norms.size <= 1.0).all(axis=-1)
    if not (strict | (relative.sum(axis=-1) <= ENOUGH)).all():
        raise InputError(
            "removed_norm: the paper's condition does not hold: expected every removed norm at "
            "most the layer's norm over L, or their ratios to sum to at most 1.75"
        )
    return np.asarray(_paper_value(norms, removed, input_norm) * (1.0 + SLACK))


def output_change_with_biases(
    spectral_norm: ArrayLike,
    pruned_norm: ArrayLike,
    removed_norm: ArrayLike,
    bias_norm: ArrayLike,
    removed_bias_norm: ArrayLike,
    input_norm: float,
) -> Floats:
    """Upper bound on ‖f(x) − f̂(x)‖₂ of a chain with biases, by recursion; no condition.

    **Statement.** For every x with ‖x‖₂ <= input_norm: ‖f(x) − f̂(x)‖₂ <= e_L where a_0 = ‖x‖,
    a_l = ‖A^l‖a_{l−1} + ‖b^l‖; e_0 = 0, e_l = ‖Â^l‖e_{l−1} + ‖Δ^l‖a_{l−1} + ‖Δb^l‖. Without
    biases it is `output_change_upper`.

    **Symbols → arguments.** bias_norm: ‖b^l‖₂ >= 0 · removed_bias_norm: ‖b^l − b̂^l‖₂ >= 0 · the
    rest as `output_change_upper`.

    **Shapes.** (L,), (…, L), (…, L), (L,), (L,), a number. **Returns, Certified, Fails loudly.**
    As `output_change_upper`, biases allowed.

    **Source.** THEORY 1.4.

    **Example.** Two layers of norm 1 and bias 1, the second loses 1: (1 + 1)·1.

    >>> change = output_change_with_biases([1, 1], [1, 1], [0, 1], [1, 1], [0, 0], 1.0)
    >>> round(float(change), 9)
    2.0
    """
    norms, removed = _checked(spectral_norm, removed_norm, input_norm)
    pruned = over_layers("pruned_norm", pruned_norm, "spectral_norm", norms.size)
    _, biases, removed_biases = per_layer(
        spectral_norm=norms, bias_norm=bias_norm, removed_bias_norm=removed_bias_norm
    )
    size, change = float(input_norm), np.zeros(())
    for layer, (norm, bias, removed_bias) in enumerate(zip(norms, biases, removed_biases)):
        change = pruned[..., layer] * change + removed[..., layer] * size + removed_bias
        size = norm * size + bias
    return np.asarray(change * (1.0 + SLACK))


def rounding_norm_upper(
    rounding_step: ArrayLike,
    nonzeros: ArrayLike,
    row_nonzeros: ArrayLike,
    column_nonzeros: ArrayLike,
) -> Floats:
    """Upper bounds on the spectral norms of what rounding the kept weights changes, per layer.

    **Statement.** Kept weights rounded to the nearest multiple of rho, zeros left alone, change
    the matrix by D with entries at most rho/2, so ‖D‖₂ <= (rho/2)·√min(nonzeros, j_r·j_c):
    ‖D‖₂ <= ‖D‖_F, and ‖D‖₂² <= ‖D‖₁‖D‖_∞. Add it to ‖Δ^l‖ in any form of 1.4.

    **Symbols → arguments.** rounding_step: rho_l >= 0 · nonzeros: of the matrix · row_nonzeros,
    column_nonzeros: j_r, j_c, the most in a row, in a column. Integers >= 0.

    **Shapes.** Lists (L,); the result is (L,). **Returns** norms in the unit of the weights,
    rounded up.

    **Certified.** By construction: rounding to nearest. No chance.

    **Fails loudly.** InputError where lists differ in length or a number is out of its range.

    **Source.** THEORY 1.5, 2.13.

    **Example.**

    >>> rounding_norm_upper([0.5], [4], [2], [2]).round(9).tolist()
    [0.5]
    """
    step, total, in_row, in_column = per_layer(
        rounding_step=rounding_step,
        nonzeros=nonzeros,
        row_nonzeros=row_nonzeros,
        column_nonzeros=column_nonzeros,
    )
    entries = np.minimum(total, in_row * in_column)
    return np.asarray(step / 2.0 * np.sqrt(entries) * (1.0 + SLACK))


def _checked(
    spectral_norm: ArrayLike, removed_norm: ArrayLike, input_norm: float
) -> tuple[Floats, Floats]:
    (norms,) = per_layer(spectral_norm=spectral_norm)
    require_number("input_norm", input_norm, *INPUT_LEGAL)
    return norms, over_layers("removed_norm", removed_norm, "spectral_norm", norms.size)


def _product_above(norms: Floats) -> Floats:
    """∏_{k>l} of the last axis, at every l."""
    ones = np.ones((*norms.shape[:-1], 1))
    above = np.concatenate([norms[..., 1:], ones], axis=-1)
    return np.asarray(np.cumprod(above[..., ::-1], axis=-1)[..., ::-1])


def _paper_value(norms: Floats, removed: Floats, input_norm: float) -> Floats:
    return np.asarray(math.e * input_norm * norms.prod() * (removed / norms).sum(axis=-1))
