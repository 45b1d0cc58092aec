"""Independent fifty-digit twins of the bounds: what `prunecert verify` computes with.

`TWINS[name]` takes the plain keyword numbers of the statement `name` and returns an mpf (a list
of them, or a dict), written literally from the theory and sharing no code with
`prunecert.bounds`. A twin returns the value itself to 30 digits or more, not an outward rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prunecert.reference.combined import (
    code_or_holdout,
    compression_theorem,
    train_and_holdout,
    transfer_to_dense,
    transfer_to_pruned,
)
from prunecert.reference.comparators import (
    arora_2018,
    bartlett_2017,
    bartlett_2017_as_coded,
    bartlett_2017_theorem,
    neyshabur_2015,
    neyshabur_2018,
    neyshabur_2018_theorem,
)
from prunecert.reference.golowich_mohri import golowich_mohri
from prunecert.reference.holdout import (
    cost_of_pruning,
    disagreement,
    holdout,
    labelled_transfer,
    per_class,
)
from prunecert.reference.language import (
    language_documents,
    language_sampled,
    language_tokens,
    subsampled_bits,
)
from prunecert.reference.losses import bounded_loss, empirical_bernstein, hoeffding_bentkus
from prunecert.reference.occam import occam, occam_kl
from prunecert.reference.pac_bayes import (
    gibbs_product,
    gibbs_sampled,
    majority_vote,
    pac_bayes_catoni,
    pac_bayes_kl,
    single_draw,
)
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
from prunecert.reference.sample_compression import pick_to_learn, sample_compression
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
    "occam-split": occam,
    "compression-theorem": compression_theorem,
    "train-and-holdout": train_and_holdout,
    "code-or-holdout": code_or_holdout,
    "holdout": holdout,
    "top-k": holdout,
    "per-class": per_class,
    "disagreement": disagreement,
    "cost-of-pruning": cost_of_pruning,
    "labelled-transfer": labelled_transfer,
    "transfer-to-dense": transfer_to_dense,
    "transfer-to-pruned": transfer_to_pruned,
    "fixed-sequence": fixed_sequence,
    "simultaneous": simultaneous,
    "p-value": p_value,
    "samples-needed": samples_needed,
    "hoeffding-bentkus": hoeffding_bentkus,
    "language-top-k": hoeffding_bentkus,
    "empirical-bernstein": empirical_bernstein,
    "bounded-loss": bounded_loss,
    "pac-bayes-kl": pac_bayes_kl,
    "pac-bayes-catoni": pac_bayes_catoni,
    "gibbs-sampled": gibbs_sampled,
    "gibbs-product": gibbs_product,
    "single-draw": single_draw,
    "majority-vote": majority_vote,
    "sample-compression": sample_compression,
    "pick-to-learn": pick_to_learn,
    "language-sampled": language_sampled,
    "language-documents": language_documents,
    "language-tokens": language_tokens,
    "subsampled-bits": subsampled_bits,
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
    "golowich-mohri": golowich_mohri,
    "neyshabur-2015": neyshabur_2015,
    "bartlett-2017": bartlett_2017,
    "bartlett-2017-theorem": bartlett_2017_theorem,
    "bartlett-2017-as-coded": bartlett_2017_as_coded,
    "neyshabur-2018": neyshabur_2018,
    "neyshabur-2018-theorem": neyshabur_2018_theorem,
    "arora-2018": arora_2018,
}
