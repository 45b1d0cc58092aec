"""A certificate about predictions made elsewhere: the file is read and counted again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from prunecert.api.claims import method_of
from prunecert.api.comparing import named_as, only_the_certificate_is_left, refuse_differences
from prunecert.api.counting import counts_for
from prunecert.api.predicted import (
    ABOUT_PREDICTIONS,
    predicted_outputs,
    require_labels,
    subject_of,
)
from prunecert.api.recounting import (
    SELECTIONS,
    ask_twins,
    claim_again,
    refuse_better_than,
    require_selected,
)
from prunecert.certificate import CertificateRecord
from prunecert.data import predictions
from prunecert.measuring import Outputs
from prunecert.types import CodeError, InputError


def check_predictions(folder: Path, record: CertificateRecord, data: Any) -> None:
    """A certificate about predictions made elsewhere: the file is read and counted again."""
    if record.method not in (*ABOUT_PREDICTIONS, *SELECTIONS):
        raise CodeError(f"method: {record.method!r} is not a statement about predictions")
    if data is None:
        raise InputError(
            f"--data: expected the predictions that the certificate is about ({record.data.source})"
        )
    files = data if isinstance(data, list | tuple) else [data]
    found = predictions(str(files[0]))
    if found.sha256 != record.data.sha256:
        raise CodeError("data: these are not the predictions of the certificate (sha256)")
    dense = None
    if method_of(record.method).compared or "max_drop" in record.details:
        if len(files) < 2:
            raise InputError("--data: expected two files: the predictions, then the dense ones")
        dense = predictions(str(files[1]))
    other = None if dense is None else predicted_outputs(dense)
    with only_the_certificate_is_left():
        require_labels(found, record.method, dense)
        strict = strict_predicted(record.method, predicted_outputs(found), other)
        refuse_better_than(strict, record, found.sha256)
        terms, claim = claim_again(record, None)
        require_selected(claim, found.sha256, None)
        ask_twins(claim, terms)
    subject = subject_of(found, record.method, dense)
    subject = replace(subject, data=named_as(record, subject.data))
    refuse_differences(folder, record, claim, terms, subject)


def strict_predicted(method: str, found: Outputs, other: Outputs | None) -> dict[str, Any]:
    """The same of predictions."""
    if method not in SELECTIONS:
        return counts_for(method, found, other, 0.0)
    counts = counts_for("holdout", found, None, 0.0)
    return counts if other is None else counts | counts_for("cost-of-pruning", found, other, 0.0)
