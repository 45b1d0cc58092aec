"""Sketching a pruned matrix (`operator`), getting it back (`recover`), and how many rows that takes
(`phases`)."""

from prunecert.sketch.operator import SketchOperator, default_weight
from prunecert.sketch.phases import (
    Pattern,
    distributed_sparse,
    fewest_rows,
    pattern,
    recovered,
    smallest_rows,
    success_probability,
    uniform_phases,
)
from prunecert.sketch.recover import Recovery, checked_matrix, recover, sketch

__all__ = [
    "Pattern",
    "Recovery",
    "SketchOperator",
    "checked_matrix",
    "default_weight",
    "distributed_sparse",
    "fewest_rows",
    "pattern",
    "recover",
    "recovered",
    "sketch",
    "smallest_rows",
    "success_probability",
    "uniform_phases",
]
