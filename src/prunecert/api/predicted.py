"""Certificates about predictions made elsewhere: any framework, int8 on a device, a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from prunecert.api.claims import CLAIMS, Terms, check_terms, method_of
from prunecert.api.counting import counts_for
from prunecert.api.issuing import Issued
from prunecert.api.records import PREDICTIONS, Subject, make_record
from prunecert.api.selection import Criterion, Selection, check_correction, judged
from prunecert.certificate import SELECTION, DataField, ModelField, dump, named, sha256
from prunecert.data import Predictions, predictions
from prunecert.data.predictions import ABSTAINS
from prunecert.measuring import Outputs
from prunecert.types import Assumption, InputError

MADE_ROW_BY_ROW = Assumption(
    "the predictions are those of one fixed network, each made from its own sample alone, in the "
    "same order in every file",
    "declared",
)
ABOUT_PREDICTIONS = ("holdout", "per-class", "disagreement", "cost-of-pruning")


def predicted_outputs(predictions: Predictions) -> Outputs:
    """Predictions in the form of one pass: margin +1 where right, −1 where wrong or undecided."""
    labels = predictions.labels
    if labels is None:
        labels = np.full(predictions.n, ABSTAINS, np.int64)
        wrong = np.ones(predictions.n, np.bool_)
    else:
        wrong = predictions.errors_mask()
    decided = predictions.predicted != ABSTAINS
    return Outputs(
        margins=np.where(wrong, -1.0, 1.0),
        scale=np.ones(predictions.n),
        prediction=predictions.predicted,
        lead=decided.astype(np.float64),
        labels=labels,
        sample=predictions.source,
        classes=int(max(labels.max(), predictions.predicted.max())) + 1,
        input_norm=0.0,
    )


def certify_predictions(
    predictions: Predictions,
    method: str = "holdout",
    *,
    delta: float,
    tried: int = 1,
    target: float | None = None,
    dense: Predictions | None = None,
) -> Issued:
    """A hold-out statement about a table of predictions; `dense` for the two that compare."""
    check_terms(delta, tried, target)
    if method not in ABOUT_PREDICTIONS:
        raise InputError(
            f"{predictions.source}: expected one of {', '.join(ABOUT_PREDICTIONS)}, not {method}"
        )
    if method_of(method).compared and dense is None:
        raise InputError(f"{method}: expected the predictions of the dense network too")
    require_labels(predictions, method, dense)
    terms = Terms(delta, None, tried, target)
    other = None if dense is None else predicted_outputs(dense)
    claim = CLAIMS[method](counts_for(method, predicted_outputs(predictions), other, 0.0), terms)
    return Issued(make_record(claim, terms, subject_of(predictions, method, dense)), {})


def require_labels(predictions: Predictions, method: str, dense: Predictions | None) -> None:
    """InputError unless the tables are about the same rows, with the labels that `method` reads."""
    if method != "disagreement":
        predictions.errors_mask()  # refuses a file without labels
    if dense is None:
        return
    if dense.n != predictions.n:
        raise InputError(f"{dense.source}: {dense.n} rows, expected {predictions.n}")
    if method != "disagreement" and not np.array_equal(dense.labels, predictions.labels):
        raise InputError(
            f"{dense.source}: labels: expected the same labels as {predictions.source}"
        )


def subject_of(predictions: Predictions, method: str, dense: Predictions | None = None) -> Subject:
    """The file is the data; there is no network to decode."""
    details: dict[str, Any] = {} if dense is None else {"dense": {"sha256": dense.sha256}}
    return Subject(
        model=ModelField(spec="predictions", sha256=sha256(b"predictions")),
        data=DataField(
            source=named(predictions.source),
            role=method_of(method).role,
            sample="predictions",
            n=predictions.n,
            sha256=predictions.sha256,
        ),
        object=PREDICTIONS,
        assumptions=(MADE_ROW_BY_ROW,),
        details=details,
    )


def select_predictions(
    files: Sequence[str | Path],
    *,
    delta: float,
    target_error: float | None = None,
    max_drop: float | None = None,
    dense: str | Path | None = None,
    correction: str = "sequence",
) -> Selection:
    """Walk tables of predictions in the order given, densest first, all on the same samples."""
    check_terms(delta, target=target_error)
    criterion = Criterion(target_error, max_drop)
    check_correction(correction, dense is not None, max_drop)
    tables = [predictions(file) for file in files]
    reference = None if dense is None else predictions(dense)
    for table in (*tables, *([reference] if reference else [])):
        require_labels(tables[0], "holdout", table)
    rows = []
    for table in tables:
        found = predicted_outputs(table)
        row = {"sequence": "as listed", "sha256": table.sha256, "sparsity": None}
        row |= counts_for("holdout", found, None, 0.0)
        if reference is not None:
            row |= counts_for("cost-of-pruning", found, predicted_outputs(reference), 0.0)
        del row["n"]
        rows.append(row)
    found_rows, claim = judged(rows, tables[0].n, criterion, delta, correction)
    if claim is None:
        return found_rows
    chosen = next(t for t in tables if t.sha256 == claim.details["selected"])
    record = make_record(
        claim, Terms(delta, target=target_error), subject_of(chosen, "holdout", reference)
    )
    return replace(found_rows, issued=Issued(record, {SELECTION: dump(found_rows.summary)}))
