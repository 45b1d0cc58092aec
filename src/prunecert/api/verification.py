"""Verify: nothing in a certificate folder is believed; everything that can be recomputed is.

Order (DESIGN): schema → hashes → decode → re-encode → weights → model and data → recount → twin →
every other number → statement. Any bytes end in a verdict: valid, or one sentence why not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from prunecert.api.claims import UNTOUCHED
from prunecert.api.counting import Options
from prunecert.api.folders import LARGEST_TEXT, read
from prunecert.api.network_check import NetworkCheck
from prunecert.api.networks import Architecture
from prunecert.api.predictions_check import check_predictions
from prunecert.certificate import CERTIFICATE, CertificateRecord, parse
from prunecert.types import CodeError, InputError

OTHER_BATCH = 257  # verify counts at another batch size than certify


@dataclass(frozen=True)
class Verdict:
    """`valid`, the sentence why (or why not), and what no file can show."""

    valid: bool
    sentence: str
    unchecked: tuple[str, ...] = ()
    record: CertificateRecord | None = None


def verify(
    folder: str | Path,
    model: str | torch.nn.Module | Architecture | None = None,
    data: Any = None,
    options: Options = Options(batch_size=OTHER_BATCH),
) -> Verdict:
    """Check a certificate folder against its bytes, its model and its data.

    `model` and `data` may be left out where the certificate names a built-in one. Raises
    InputError where the folder, the model or the data named by the caller cannot be used at all.
    """
    place = Path(folder)
    if not place.is_dir():
        what = "is a file" if place.is_file() else "no such folder"
        raise InputError(f"{folder}: {what}: expected a certificate folder")
    try:
        record = parse(read(place, CERTIFICATE, LARGEST_TEXT))
        refuse_errata(record)
        if record.network is None:
            check_predictions(place, record, data)
        else:
            NetworkCheck(place, record, options).run(model, data)
    except CodeError as error:
        return Verdict(False, str(error))
    unchecked = [a.text for a in record.assumptions if a.status == "declared"]
    if record.baselines.holdout is not None:
        unchecked.append(f"for the hold-out line beside it: {UNTOUCHED.text}")
    return Verdict(True, record.statement, tuple(unchecked), record)


def refuse_errata(record: CertificateRecord) -> None:
    """CodeError for a certificate that a later found fault makes false."""
    for fault in json.loads(resources.files("prunecert").joinpath("errata.json").read_text()):
        issued_by = record.software.prunecert
        if record.method == fault["method"] and issued_by in fault["versions"]:
            raise CodeError(f"certificates of {record.method} by {issued_by}: {fault['reason']}")
