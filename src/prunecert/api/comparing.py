"""What was recomputed against what a certificate says: every field must come out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prunecert.api.claims import Claim, Terms
from prunecert.api.folders import LARGEST_TEXT, read
from prunecert.api.records import Subject, make_record
from prunecert.api.recounting import SELECTIONS, selection_again
from prunecert.certificate import CERTIFICATE, SELECTION, CertificateRecord, DataField, dump
from prunecert.types import CodeError, InputError

NOT_COMPARED = ("software",)  # versions may differ: what they compute may not


@contextmanager
def only_the_certificate_is_left() -> Iterator[None]:
    """Model and data are the ones meant: what cannot be used now is the certificate's fault."""
    try:
        yield
    except InputError as error:
        raise CodeError(f"{CERTIFICATE}: {error}") from error


def named_as(record: CertificateRecord, field: DataField) -> DataField:
    """Data are known by their hash; their name is the one under which they were certified."""
    return field.model_copy(update={"source": record.data.source})


def refuse_differences(
    folder: Path, record: CertificateRecord, claim: Claim, terms: Terms, subject: Subject
) -> None:
    """Every field but versions must come out again, the statement last."""
    fresh, recorded = make_record(claim, terms, subject).model_dump(), record.model_dump()
    for name, value in fresh.items():
        if name not in NOT_COMPARED and value != recorded[name]:
            raise CodeError(f"{name}: recomputed as {_short(value)}, not {_short(recorded[name])}")
    if record.method in SELECTIONS:
        found, _ = selection_again(record)
        if read(folder, SELECTION, LARGEST_TEXT) != dump(found.summary):
            raise CodeError(f"{SELECTION}: differs from the certificate's own sequence")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
