"""From a claim and its subject to the record that `certificate.json` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from prunecert.api.claims import Claim, Terms, method_of
from prunecert.api.claims.language import LANGUAGE_CLAIMS, language_unit
from prunecert.certificate import (
    FORMAT,
    Baselines,
    CertificateRecord,
    DataField,
    LedgerItem,
    ModelField,
    NetworkField,
    StatedAssumption,
    confidence_of,
    named,
    statement,
)
from prunecert.data import Sample
from prunecert.types import Assumption, Source, kind_of

AS_CODED = "the network that network.bin decodes to, evaluated in float32"
AS_GIVEN = "the weights exactly as given, evaluated in float32"
AS_DENSE = (
    "the weights exactly as given of the dense network, by way of the network that network.bin "
    "decodes to; both evaluated in float32"
)
AS_RANDOMISED = (
    "the randomised network, its weights drawn around those of network.bin for every prediction, "
    "evaluated in float32"
)
AS_EXACT = "the network that network.bin decodes to, evaluated in float64, where no sum is rounded"
PREDICTIONS = "predictions made elsewhere"

ARCHITECTURE_DECLARED = Assumption(
    "the model file holds no constant that came from the sample", "declared"
)


def tolerance_assumption(tolerance: float) -> Assumption:
    """What lets another machine count fewer errors and never more."""
    return Assumption(
        f"every execution keeps each logit within {tolerance / 2:g} of the largest one's size "
        "(float32, any summation order)",
        "declared",
    )


EXACT = Assumption(
    "for every image of bytes, each product and partial sum in float64 is an integer below 2^53 of "
    "one power of two: all machines agree",
    "checked",
)


@dataclass(frozen=True)
class Subject:
    """What a claim is about, in the certificate's own words."""

    model: ModelField
    data: DataField
    object: str
    network: NetworkField | None = None
    tolerance: float = 0.0
    assumptions: tuple[Assumption, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    evidence_sha256: str | None = None
    baselines: Baselines = Baselines()


def make_record(claim: Claim, terms: Terms, subject: Subject) -> CertificateRecord:
    """The certificate of a claim about a subject; its statement and status follow from the rest."""
    assumptions = (*claim.assumptions, *subject.assumptions)
    fields: dict[str, Any] = {
        "format": FORMAT,
        "statement": "",
        "quantity": claim.quantity,
        "unit": unit_of(claim.method, claim.quantity),
        "status": kind_of(assumptions),
        "method": claim.method,
        "source": source_text(claim.method),
        "risk_bound": claim.risk_bound,
        "delta": terms.delta,
        "confidence": confidence_of(terms.delta),
        "n": claim.n,
        "errors": claim.errors,
        "margin_tolerance": subject.tolerance,
        "code_bits": terms.code_bits,
        "selection_bits": claim.selection_bits,
        "tried": terms.tried,
        "target": terms.target,
        "delta_ledger": [LedgerItem(item=item, delta=delta) for item, delta in claim.ledger],
        "assumptions": [StatedAssumption(text=a.text, status=a.status) for a in assumptions],
        "object": subject.object,
        "model": subject.model,
        "data": subject.data,
        "network": subject.network,
        "evidence_sha256": subject.evidence_sha256,
        "details": {**claim.details, **subject.details},
        "baselines": subject.baselines,
        "software": {name: version(name) for name in ("prunecert", "torch", "constriction")},
    }
    record = CertificateRecord.model_validate(fields)
    return record.model_copy(update={"statement": statement(record.model_dump(mode="json"))})


def unit_of(method: str, quantity: str) -> str:
    """What a number of this quantity is measured in."""
    if method in LANGUAGE_CLAIMS:
        return language_unit(method)
    return "mean over new data" if quantity.endswith(" loss") else "fraction of new data"


def object_of(method: str, exact: bool = False) -> str:
    """Which network a statement is about, and how it was evaluated."""
    if method == "transfer-to-dense":
        return AS_DENSE
    if method == "pac-bayes-kl":
        return AS_RANDOMISED
    if method_of(method).coded:
        return AS_EXACT if exact else AS_CODED
    return AS_GIVEN


def source_text(method: str) -> str:
    """Author, year and place of a method, as one line."""
    from prunecert.bounds.table import BOUNDS

    source: Source = BOUNDS[method].source
    place = ", ".join(part for part in (source.theorem, source.identifier) if part)
    return f"{source.authors} ({source.year}), {source.title}" + (f", {place}" if place else "")


def data_field(sample: Sample) -> DataField:
    """The sample as a certificate names it."""
    return DataField(
        source=named(sample.source),
        role=sample.role,
        sample=sample.name,
        n=sample.n,
        sha256=sample.sha256,
    )
