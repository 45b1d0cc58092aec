"""A claim about a network in hand becomes a certificate with its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunecert.api.claims import Claim, Terms
from prunecert.api.networks import Network
from prunecert.api.records import (
    ARCHITECTURE_DECLARED,
    AS_EXACT,
    EXACT,
    Subject,
    data_field,
    make_record,
    tolerance_assumption,
)
from prunecert.certificate import (
    CERTIFICATE,
    DENSE,
    EVIDENCE,
    NETWORK,
    WEIGHTS,
    Baselines,
    CertificateRecord,
    dump,
    sha256,
    write_folder,
)
from prunecert.data import Sample
from prunecert.measuring import TOLERANCE
from prunecert.types import Assumption


@dataclass(frozen=True)
class Issued:
    """A certificate and the files it comes with, not yet on disk."""

    record: CertificateRecord
    files: Mapping[str, bytes]
    notes: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def risk_bound(self) -> float:
        return self.record.risk_bound

    @property
    def statement(self) -> str:
        return self.record.statement

    def write(self, folder: str | Path) -> Path:
        """All files, or none, in `folder` (new, or holding an earlier certificate)."""
        return write_folder(folder, {**self.files, CERTIFICATE: dump(self.record)})


def issue(
    claim: Claim,
    terms: Terms,
    network: Network,
    data: bytes,
    sample: Sample,
    *,
    object_text: str,
    evidence: bytes,
    details: Mapping[str, Any],
    baselines: Baselines = Baselines(),
    notes: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    extra_files: Mapping[str, bytes] | None = None,
) -> Issued:
    """`data` is the network's code; `extra_files` are further files that verify decodes."""
    subject = Subject(
        model=network.architecture.describe(),
        data=data_field(sample),
        object=object_text,
        network=network.architecture.describe_network(network.tensors, data, network.weight_bytes),
        tolerance=TOLERANCE,
        assumptions=declared_of(network.architecture.declared, TOLERANCE, object_text),
        details=details,
        evidence_sha256=sha256(evidence),
        baselines=baselines,
    )
    files = {
        NETWORK: data,
        WEIGHTS: network.weight_bytes,
        EVIDENCE: evidence,
        **(extra_files or {}),
    }
    return Issued(make_record(claim, terms, subject), files, tuple(notes), changes or {})


def dense_file(dense: Network | None) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The file of the network that is compared with, and the detail that names it; nothing where
    there is none."""
    if dense is None:
        return {}, {}
    data = dense.architecture.encode(dense.tensors).data
    return {DENSE: data}, {"dense": {"sha256": sha256(data), "weights_sha256": dense.sha256}}


def declared_of(declared: bool, tolerance: float, object_text: str) -> tuple[Assumption, ...]:
    """What a network's evaluation and architecture rest on."""
    extra = (ARCHITECTURE_DECLARED,) if declared else ()
    return (EXACT if object_text == AS_EXACT else tolerance_assumption(tolerance), *extra)
