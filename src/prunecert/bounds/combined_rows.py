"""The rows of statements that put two pieces of evidence together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from prunecert.bounds.assumptions import (
    COUNTED,
    FIXED_CODE,
    IID,
    MEASURED,
    PREFIX_FREE,
    UNUSED,
)
from prunecert.bounds.combined import (
    code_or_holdout_upper,
    compression_theorem_upper,
    train_and_holdout_upper,
    transfer_to_dense_upper,
    transfer_to_pruned_upper,
)
from prunecert.bounds.occam import occam_upper
from prunecert.bounds.sources import LANGFORD, clopper_pearson
from prunecert.types import Assumption, BoundSpec, Evidence, Source

# --------------------------------------------------------------------------- evidence to arguments


def _margin_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    """At gamma = 0, the margins being those of the network that the code writes."""
    margins = np.asarray(evidence["margins"].values)
    wrong = margins.size - int((margins > 0.0).sum())  # what is no number is wrong
    return {"errors": wrong, "n": margins.size, "bits": evidence["code"].bits, "delta": delta}


def _train_and_holdout_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    train, holdout = evidence["counts"], evidence["counts@holdout"]
    return {
        "errors": train.errors,
        "n": train.n,
        "bits": evidence["code"].bits,
        "holdout_errors": holdout.errors,
        "holdout_n": holdout.n,
        "delta": delta,
    }


def _disagreement_arguments(evidence: Evidence) -> dict[str, Any]:
    different = evidence["disagreements"]
    return {"count": different.count, "inputs": different.n}


def _to_dense_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    counts, bits = evidence["counts"], evidence["code"].bits
    pruned = {"errors": counts.errors, "n": counts.n, "bits": bits}
    return pruned | _disagreement_arguments(evidence) | {"delta": delta}


def _to_pruned_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    counts = evidence["counts@dense-holdout"]
    dense = {"errors": counts.errors, "n": counts.n}
    return dense | _disagreement_arguments(evidence) | {"delta": delta}


def _split_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    counts, bits = evidence["counts@bound"], evidence["code@prior"].bits
    return {"errors": counts.errors, "n": counts.n, "bits": bits, "delta": delta}


# --------------------------------------------------------------------------- the rows

DIFFERENT = Assumption(
    "the count is of inputs on which the two networks differ or either abstains", "checked"
)
SEPARATE = Assumption(
    "the hold-out sample had no part in making or choosing the network", "declared"
)
NEW_INPUTS = Assumption("the inputs had no part in making or choosing either network", "declared")
PRIOR_PART = Assumption(
    "the code depends on the other part of the sample only, delta and the split on neither",
    "declared",
)

ARORA_COMPRESSION = Source(
    key="arora2018",
    authors="Sanjeev Arora, Rong Ge, Behnam Neyshabur and Yi Zhang",
    year=2018,
    title="Stronger Generalization Bounds for Deep Nets via a Compression Approach",
    theorem="Theorem 2.1",
    identifier="arXiv:1802.05296",
    deviation="constants explicit, a code length in place of q ln r, a margin of twice gamma",
)
FISHER = Source(
    key="fisher1932",
    authors="Ronald A. Fisher",
    year=1932,
    title="Statistical Methods for Research Workers",
    theorem="section 21.1",
    version="4th edition",
    deviation="of two p-values: the Occam one (Langford 2005), and the hold-out one given it",
)
LANGFORD_SPLIT = replace(
    LANGFORD,
    deviation="a code length in place of a prior, the code built from another part of the sample",
)

COMBINED_ROWS = (
    BoundSpec(
        name="compression-theorem",
        function=compression_theorem_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="margins and code length, the compression theorem with its constants",
        source=ARORA_COMPRESSION,
        needs=("margins", "code"),
        from_evidence=_margin_arguments,
        assumptions=(
            IID,
            PREFIX_FREE,
            Assumption("margins and code length are those of the network coded", "checked"),
            FIXED_CODE,
        ),
    ),
    BoundSpec(
        name="train-and-holdout",
        function=train_and_holdout_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="training errors, code length and hold-out errors in one number",
        source=FISHER,
        needs=("counts", "code", "counts@holdout"),
        from_evidence=_train_and_holdout_arguments,
        assumptions=(IID, PREFIX_FREE, MEASURED, FIXED_CODE, SEPARATE),
    ),
    BoundSpec(
        name="code-or-holdout",
        function=code_or_holdout_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="the smaller of code and hold-out certificate, bought beforehand",
        source=replace(LANGFORD_SPLIT, deviation="delta/2 for it, delta/2 for the test set bound"),
        needs=("counts", "code", "counts@holdout"),
        from_evidence=_train_and_holdout_arguments,
        assumptions=(IID, PREFIX_FREE, MEASURED, FIXED_CODE, SEPARATE),
    ),
    BoundSpec(
        name="transfer-to-dense",
        function=transfer_to_dense_upper,
        kind="certified",
        quantity="zero-one risk of the dense network",
        summary="code certificate of the pruned network plus how often the dense one differs",
        source=clopper_pearson("added to the Occam bound (Langford 2005), delta/2 each"),
        needs=("counts", "code", "disagreements"),
        from_evidence=_to_dense_arguments,
        assumptions=(IID, PREFIX_FREE, MEASURED, DIFFERENT, FIXED_CODE, NEW_INPUTS),
    ),
    BoundSpec(
        name="transfer-to-pruned",
        function=transfer_to_pruned_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="hold-out errors of the dense network plus how often the pruned one differs",
        source=clopper_pearson("two one-sided bounds added, delta/2 each"),
        needs=("counts@dense-holdout", "disagreements"),
        from_evidence=_to_pruned_arguments,
        assumptions=(IID, COUNTED, DIFFERENT, UNUSED, NEW_INPUTS),
    ),
    BoundSpec(
        name="occam-split",
        function=occam_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="errors on one part of the sample, code built from the other part",
        source=LANGFORD_SPLIT,
        needs=("counts@bound", "code@prior"),
        from_evidence=_split_arguments,
        assumptions=(IID, PREFIX_FREE, MEASURED, PRIOR_PART),
    ),
)
