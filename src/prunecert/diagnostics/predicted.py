"""What the Gaussian argument predicts of a pruned layer, against what its mask did (THEORY 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prunecert.bounds.layerwise import floats
from prunecert.bounds.pattern import pattern_as_in_paper, pattern_gaussian, sketch_rows
from prunecert.bounds.pruning_error import (
    drop_share,
    removed_norm_gaussian,
    removed_norm_latala,
    removed_norm_measured,
    removed_second_moment,
)
from prunecert.diagnostics.entries import in_deviations

DELTA = 0.05  # failure probability of the Gaussian forms, each
LAMBDA = 20.0  # the paper's lambda_l: its pattern fails with probability 1/lambda_l and more


@dataclass(frozen=True)
class Compared:
    """A predicted and a measured number in one unit."""

    predicted: float
    measured: float

    @property
    def miss(self) -> float:
        """measured/predicted; 1 where both are 0, infinite where only the prediction is."""
        if self.predicted == 0.0:
            return 1.0 if self.measured == 0.0 else math.inf
        return self.measured / self.predicted


@dataclass(frozen=True)
class Prediction:
    """Predicted and measured, for one layer and the mask in use."""

    kept: Compared  # fraction of the weights: chi
    removed_energy: Compared  # mean of Δ² over the entries: Ψ(d/(d+2))^{3/2}
    removed_norm_latala: Compared  # ‖Δ‖₂: Gamma with C = 1, a size and no bound
    removed_norm_gaussian: Compared  # ‖Δ‖₂: upper bound
    pattern_as_in_paper: Compared  # max(j_r, j_c): 3·lambda·chi·max(out, in)
    row_nonzeros: Compared  # j_r: upper bound for Gaussian weights
    column_nonzeros: Compared  # j_c: upper bound for Gaussian weights
    dead_rows: Compared  # rows without a kept weight: expected for Gaussian weights
    dead_columns: Compared  # columns likewise
    sketch_rows: Compared  # m from the predicted (j_r, j_c) and from the measured ones


def prediction(
    weight: ArrayLike,
    pruning_d: float,
    kept: ArrayLike,
    delta: float = DELTA,
    lambda_l: float = LAMBDA,
) -> Prediction:
    """The quantities of THEORY 1.2, 1.3, 1.6 and 1.7 for one layer, predicted and measured.

    weight: (out, in), finite, not all equal, before pruning · kept: the mask in use, same shape,
    True = kept · pruning_d: d of the prediction, >= 0; beside a sorted mask of sparsity s, which
    has none, d = 2s²/(1 − s²) predicts as many kept weights · 0 < delta < 1, for each of the two
    Gaussian bounds · lambda_l >= 1, of the paper's pattern.

    Ψ is the variance that Bernoulli pruning takes. The measured norm is rounded up by 1e-9.

    Raises InputError where a shape or a number is wrong, or the weights have no variance.

    >>> prediction([[1.0, -1.0]], 2 / 3, [[True, False]]).kept
    Compared(predicted=0.5, measured=0.5)
    """
    values, deviation = in_deviations(weight)
    mask = floats("kept", kept)
    norm = removed_norm_measured(weight, mask)  # refuses what is no mask of this shape
    out, into = values.shape
    psi, dropped = deviation**2, drop_share(pruning_d)
    in_rows, in_columns = mask.sum(axis=1), mask.sum(axis=0)
    most = (int(in_rows.max()), int(in_columns.max()))
    bound = pattern_gaussian([out], [into], pruning_d, delta)[0].tolist()

    return Prediction(
        kept=Compared(1.0 - dropped, float(mask.mean())),
        removed_energy=Compared(
            _one(removed_second_moment(pruning_d, [psi])),
            psi * float((values**2 * (1.0 - mask)).mean()),
        ),
        removed_norm_latala=Compared(
            _one(removed_norm_latala([out], [into], pruning_d, [psi])), norm
        ),
        removed_norm_gaussian=Compared(
            _one(removed_norm_gaussian([out], [into], pruning_d, [psi], delta)), norm
        ),
        pattern_as_in_paper=Compared(
            _one(pattern_as_in_paper([out], [into], pruning_d, [lambda_l])), max(most)
        ),
        row_nonzeros=Compared(bound[0], most[0]),
        column_nonzeros=Compared(bound[1], most[1]),
        dead_rows=Compared(out * dropped**into, int((in_rows == 0).sum())),
        dead_columns=Compared(into * dropped**out, int((in_columns == 0).sum())),
        sketch_rows=Compared(
            _one(sketch_rows([out], [into], [bound[0]], [bound[1]])),
            _one(sketch_rows([out], [into], [most[0]], [most[1]])),
        ),
    )


def _one(layers: ArrayLike) -> float:
    """The entry of a list of one layer."""
    return float(np.asarray(layers).item())
