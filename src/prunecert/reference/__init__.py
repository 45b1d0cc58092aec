"""Independent fifty-digit twins of the bounds: what `prunecert verify` computes with.

`TWINS[name]` takes the plain keyword numbers of the statement `name` and returns an mpf (a list
of them, or a dict), written literally from the theory and sharing no code with
`prunecert.bounds`. A twin returns the value itself to 30 digits or more, not an outward rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prunecert.reference.comparators import (
    arora_2018,
    bartlett_2017,
    bartlett_2017_as_coded,
    bartlett_2017_theorem,
    neyshabur_2015,
    neyshabur_2018,
    neyshabur_2018_theorem,
)
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
from prunecert.reference.theorem import mbp_sketch_as_in_theorem

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
    "mbp-sketch-as-in-theorem": mbp_sketch_as_in_theorem,
    "neyshabur-2015": neyshabur_2015,
    "bartlett-2017": bartlett_2017,
    "bartlett-2017-theorem": bartlett_2017_theorem,
    "bartlett-2017-as-coded": bartlett_2017_as_coded,
    "neyshabur-2018": neyshabur_2018,
    "neyshabur-2018-theorem": neyshabur_2018_theorem,
    "arora-2018": arora_2018,
}
