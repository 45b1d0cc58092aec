"""One small, consistent network's evidence: every part that a statement may need."""

from __future__ import annotations

import numpy as np

from prunecert.testing.pruning import cushions
from prunecert.types import (
    Chain,
    ClassCounts,
    Code,
    Compressed,
    Counts,
    Disagreements,
    Evidence,
    Gibbs,
    LanguageLosses,
    Layers,
    Losses,
    Margins,
    Outcomes,
    PairedOutcomes,
    PruningCurve,
    SingleDraw,
    WeightMeasures,
)


def sample_evidence() -> Evidence:
    """Every part under every key, so that every row's `from_evidence` is exercised."""
    return {
        "counts": Counts(30, 1000, "train"),
        "counts@bound": Counts(20, 600, "train"),
        "counts@holdout": Counts(40, 1000, "test"),
        "counts@dense-holdout": Counts(35, 1000, "test"),
        "counts@top-k": Counts(5, 1000, "test"),
        "counts@dense-alone": Counts(8, 1000, "test"),
        "code": Code(50, {"mask": 30, "values": 20}),
        "code@prior": Code(20, {"mask": 15, "values": 5}),
        "disagreements": Disagreements(12, 1000, "test"),
        "pairedoutcomes": PairedOutcomes(9, 7, 1000, "test"),
        "classcounts": ClassCounts(np.array([3, 0, 7]), np.array([300, 0, 700]), "test"),
        "margins": Margins(np.linspace(0.5, 2.0, 1000), "train"),
        "losses@language-top-k": Losses(np.linspace(0.0, 0.5, 1000), 0.0, 1.0, "top 3", "train"),
        "losses@holdout": Losses(np.linspace(0.0, 0.5, 1000), 0.0, 2.0, "brier score", "test"),
        "outcomes@holdout": Outcomes(np.arange(1000) < 40, "test"),
        "gibbs": Gibbs(np.array([30, 33, 28, 41] * 25), 600, 12.5, "train"),
        "singledraw": SingleDraw(31, 600, 11.25, "train"),
        "compressed": Compressed(20, 0, 1000, 0.0, "train"),  # so that pick-to-learn speaks too
        **{
            f"languagelosses@{sampling}": LanguageLosses(4.5, 0.1, 10, 1000, 5000, unit, "text")
            for sampling, unit in (
                ("sampled", "draws"),
                ("documents", "documents"),
                ("tokens", "tokens"),
            )
        },
        "layers": Layers(
            names=("0", "2"),
            fan_out=np.array([8, 4]),
            fan_in=np.array([16, 8]),
            nonzeros=np.array([100, 20]),
            spectral_norm=np.array([2.0, 1.5]),
            frobenius_norm=np.array([3.0, 2.0]),
            norm_2_1=np.array([6.0, 4.0]),
            relu_chain=True,
            input_norm=3.0,
            sample="train",
        ),
        "pruningcurve": PruningCurve(
            d=np.array([0.0, 1.0, 10.0]),
            kept=np.array([1.0, 0.42, 0.09]),
            removed_norm=np.array([[0.0, 0.0], [0.5, 0.4], [1.5, 1.2]]),
        ),
        "cushions": cushions(),
        "chain": Chain(
            frobenius_norm=np.array([3.0]),
            last_row_norm=1.2,
            input_bound=4.0,
            classes=4,
            sample="train",
        ),
        "weightmeasures": WeightMeasures(
            names=("0", "2"),
            parameters=160,
            frobenius_norm=np.array([3.0, 2.0]),
            spectral_norm=np.array([2.0, 1.5]),
            operator_norm=np.array([2.0, 1.5]),
            distance_frobenius_norm=np.array([2.5, 1.0]),
            distance_spectral_norm=np.array([1.5, 0.5]),
            distance_operator_norm=np.array([1.5, 0.5]),
            degrees=np.array([16, 8]),
            pixel_norm=0.75,
            path_norm=40.0,
            sigma_estimate=0.05,
            magnitude_sigma_estimate=0.1,
            magnitude_log_sum=-800.0,
            sample="train",
        ),
    }
