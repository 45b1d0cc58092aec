"""Independent fifty-digit twins of the bounds: what `prunecert verify` computes with.

`TWINS[name]` takes the plain keyword numbers of the statement `name` and returns an mpf (a list
of them, or a dict), written literally from the theory and sharing no code with
`prunecert.bounds`. A twin returns the value itself to 30 digits or more, not an outward rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prunecert.reference.holdout import (
    cost_of_pruning,
    disagreement,
    holdout,
    labelled_transfer,
    per_class,
)
from prunecert.reference.occam import occam, occam_kl
from prunecert.reference.selection import fixed_sequence, p_value, samples_needed, simultaneous
from prunecert.reference.sketching import mbp_sketch_as_published

TWINS: dict[str, Callable[..., Any]] = {
    "occam": occam,
    "occam-kl": occam_kl,
    "holdout": holdout,
    "top-k": holdout,
    "per-class": per_class,
    "disagreement": disagreement,
    "cost-of-pruning": cost_of_pruning,
    "labelled-transfer": labelled_transfer,
    "fixed-sequence": fixed_sequence,
    "simultaneous": simultaneous,
    "p-value": p_value,
    "samples-needed": samples_needed,
    "mbp-sketch-as-published": mbp_sketch_as_published,
}
