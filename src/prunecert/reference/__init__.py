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
from prunecert.reference.pattern import (
    pattern_as_in_paper,
    pattern_gaussian,
    pattern_poisson_binomial,
    sketch_rows,
)
from prunecert.reference.propagation import (
    output_change,
    output_change_as_in_paper,
    output_change_at_input,
    output_change_telescoped,
    output_change_with_biases,
    rounding_norm,
)
from prunecert.reference.removed import (
    kept_fraction,
    removed_norm_bernstein,
    removed_norm_cumulants,
    removed_norm_gaussian,
    removed_norm_latala,
    removed_norm_measured,
    removed_norm_redraws,
)
from prunecert.reference.selection import fixed_sequence, p_value, samples_needed, simultaneous
from prunecert.reference.sketching import mbp_sketch_as_published
from prunecert.reference.theorem import mbp_sketch_as_in_theorem, strong_ticket


def each_layer(twin: Callable[..., Any]) -> Callable[..., list[Any]]:
    """The twin of one layer, for arguments that are lists with one entry per layer."""

    def of_lists(**arguments: Any) -> list[Any]:
        entries = zip(*arguments.values(), strict=True)
        return [twin(**dict(zip(arguments, entry, strict=True))) for entry in entries]

    return of_lists


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
    "kept-fraction": kept_fraction,
    "removed-norm-latala": removed_norm_latala,
    "removed-norm-gaussian": removed_norm_gaussian,
    "removed-norm-bernstein": removed_norm_bernstein,
    "removed-norm-cumulants": removed_norm_cumulants,
    "removed-norm-redraws": removed_norm_redraws,
    "removed-norm-measured": removed_norm_measured,
    "output-change": output_change,
    "output-change-at-input": output_change_at_input,
    "output-change-telescoped": output_change_telescoped,
    "output-change-as-in-paper": output_change_as_in_paper,
    "output-change-with-biases": output_change_with_biases,
    "rounding-norm": each_layer(rounding_norm),
    "pattern-as-in-paper": pattern_as_in_paper,
    "pattern-gaussian": pattern_gaussian,
    "pattern-poisson-binomial": pattern_poisson_binomial,
    "sketch-rows": each_layer(sketch_rows),
    "mbp-sketch-as-published": mbp_sketch_as_published,
    "mbp-sketch-as-in-theorem": mbp_sketch_as_in_theorem,
    "strong-ticket": strong_ticket,
    "neyshabur-2015": neyshabur_2015,
    "bartlett-2017": bartlett_2017,
    "bartlett-2017-theorem": bartlett_2017_theorem,
    "bartlett-2017-as-coded": bartlett_2017_as_coded,
    "neyshabur-2018": neyshabur_2018,
    "neyshabur-2018-theorem": neyshabur_2018_theorem,
    "arora-2018": arora_2018,
}
