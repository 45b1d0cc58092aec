"""Every statement as a pure function of plain numbers, and the table that lists them.

A bound never sees a network, a data set, a random generator or a file. Imports no torch.
"""

from prunecert.bounds.holdout import (
    cost_of_pruning_upper,
    disagreement_upper,
    holdout_upper,
    labelled_transfer_upper,
    per_class_upper,
    samples_needed,
)
from prunecert.bounds.occam import bits_allowed, occam_kl_upper, occam_upper
from prunecert.bounds.selection import (
    binomial_p_value,
    errors_that_pass,
    fixed_sequence_accepted,
    fixed_sequence_drop_accepted,
    fixed_sequence_upper,
    simultaneous_upper,
)
from prunecert.bounds.sketching import mbp_sketch_as_published, mbp_sketch_terms
from prunecert.bounds.table import BOUNDS, evaluate, evaluate_all

__all__ = [
    "BOUNDS",
    "binomial_p_value",
    "bits_allowed",
    "cost_of_pruning_upper",
    "disagreement_upper",
    "errors_that_pass",
    "evaluate",
    "evaluate_all",
    "fixed_sequence_accepted",
    "fixed_sequence_drop_accepted",
    "fixed_sequence_upper",
    "holdout_upper",
    "labelled_transfer_upper",
    "mbp_sketch_as_published",
    "mbp_sketch_terms",
    "occam_kl_upper",
    "occam_upper",
    "per_class_upper",
    "samples_needed",
    "simultaneous_upper",
]
