"""`certificate.json`: its fields, its sentence, its folder. Written once, checked for ever.

The schema is strict (no unknown fields, no NaN) and shipped as `certificate.schema.json`. The
statement is generated from the other fields, so that it can be regenerated and compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prunecert.types import CodeError, InputError, Role, Status

FORMAT: Literal["prunecert/1"] = "prunecert/1"
CERTIFICATE, NETWORK, WEIGHTS = "certificate.json", "network.bin", "network.safetensors"
EVIDENCE, SELECTION, DENSE = "evidence.npz", "selection.json", "dense.bin"
FILES = (CERTIFICATE, NETWORK, WEIGHTS, EVIDENCE, SELECTION, DENSE)

Fraction = Field(ge=0, le=1)
Count = Field(ge=0)
Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LedgerItem(_Part):
    """A share of delta and the event it was spent on."""

    item: str
    delta: float = Field(gt=0, lt=1)


class StatedAssumption(_Part):
    """One hypothesis and how it is known."""

    text: str
    status: Status


class ModelField(_Part):
    """The architecture that the decoder needs."""

    spec: str
    sha256: str = Sha256


class DataField(_Part):
    """The sample the statement was computed on."""

    source: str
    role: Role
    sample: str
    n: int = Field(ge=1)
    sha256: str = Sha256


class NetworkField(_Part):
    """The certified network: hashes and sizes; sparsity is over all parameters, and over the
    prunable weights."""

    sha256: str = Sha256
    safetensors_sha256: str = Sha256
    parameters: int = Count
    nonzeros: int = Count
    sparsity: float = Fraction
    prunable: int = Count
    prunable_sparsity: float = Fraction


class HoldoutBaseline(_Part):
    """The hold-out line beside a certificate: a statement of its own, with its own delta."""

    sample: str
    sha256: str = Sha256
    n: int = Field(ge=1)
    errors: int = Count
    risk_bound: float = Fraction
    delta: float = Field(gt=0, lt=1)


class Baselines(_Part):
    """Statements shown for comparison; each stands alone."""

    holdout: HoldoutBaseline | None = None


class CertificateRecord(_Part):
    """The whole of `certificate.json`."""

    format: Literal["prunecert/1"]
    statement: str
    quantity: str
    unit: str
    status: Literal["certified", "conditional"]
    method: str
    source: str
    risk_bound: float = Fraction
    delta: float = Field(gt=0, lt=1)
    confidence: float = Field(gt=0, lt=1)
    n: int = Field(ge=1)
    errors: int = Count
    margin_tolerance: float = Field(ge=0)
    code_bits: int | None = Field(default=None, ge=0)
    selection_bits: float = Field(default=0.0, ge=0)
    tried: int = Field(default=1, ge=1)
    target: float | None = Field(default=None, ge=0, le=1)
    delta_ledger: tuple[LedgerItem, ...]
    assumptions: tuple[StatedAssumption, ...]
    object: str
    model: ModelField
    data: DataField
    network: NetworkField | None = None
    evidence_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    details: dict[str, Any] = Field(default_factory=dict)
    baselines: Baselines = Baselines()
    software: dict[str, str] = Field(default_factory=dict)


def percent(fraction: float) -> str:
    """A fraction already rounded outward at 6 digits, as a percentage without loss."""
    return f"{round(100 * fraction, 4):.4f}".rstrip("0").rstrip(".") + " %"


def statement(record: Mapping[str, Any]) -> str:
    """The English sentence of a certificate, from its other fields and nothing else."""
    data, errors, n = record["data"], record["errors"], record["n"]
    head = (
        f"With confidence {percent(record['confidence'])} over the draw of the {n:,} samples "
        f"{data['sample']} of {data['source']}, "
    )
    bound, details = percent(record["risk_bound"]), record["details"]
    match record["method"]:
        case "occam":
            claim = (
                f"the network in {NETWORK} errs on at most {bound} of new data drawn alike "
                f"({errors:,} errors counted, a code of {record['code_bits']:,} bits)."
            )
        case "holdout":
            claim = f"the network errs on at most {bound} of new data drawn alike ({errors:,} errors counted)."
        case "top-k":
            claim = (
                f"the right class is missing from the network's first {details['k']} on at most "
                f"{bound} of new data drawn alike ({errors:,} misses counted)."
            )
        case "per-class":
            claim = (
                f"the network errs on at most {bound} of new data of any one class "
                f"({errors:,} errors counted over {len(details['per_class'])} classes)."
            )
        case "disagreement":
            claim = (
                f"the network and the dense one it came from predict differently on at most {bound} "
                f"of new inputs drawn alike ({errors:,} disagreements counted)."
            )
        case "cost-of-pruning":
            claim = (
                f"the network errs on at most {bound} more of new data drawn alike than the dense "
                f"one it came from ({details['worse']:,} samples lost, {details['better']:,} won)."
            )
        case "fixed-sequence" | "simultaneous":
            sparsity = details["sparsity"]
            more = f"errs on at most {bound} of new data"
            if record["quantity"] == "risk increase":
                more = f"errs on at most {bound} more of new data than the dense one"
            claim = (
                f"each of the {details['accepted']} accepted of {details['networks']} networks {more} "
                "drawn alike"
            ) + (
                "." if sparsity is None else f"; the sparsest of them is {percent(sparsity)} zeros."
            )
        case other:
            raise CodeError(f"certificate.json: method: {other!r} has no statement")
    return head + claim


def parse(text: str | bytes, where: str = CERTIFICATE) -> CertificateRecord:
    """A record from JSON text; CodeError naming the first field that is not as it must be."""
    try:
        return CertificateRecord.model_validate_json(text, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CodeError(f"{where}: {field}: {first['msg'].lower()}") from error


def dump(record: BaseModel | Mapping[str, Any]) -> bytes:
    """JSON bytes: fields in their order, two spaces, no NaN."""
    fields = record.model_dump(mode="json") if isinstance(record, BaseModel) else record
    return (json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def schema() -> dict[str, Any]:
    """The JSON schema of `certificate.json`, as shipped in `certificate.schema.json`."""
    return CertificateRecord.model_json_schema()


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def write_folder(folder: str | Path, files: Mapping[str, bytes]) -> Path:
    """All files or none: a sibling folder is filled, then takes the place of `folder`.

    An existing folder is replaced only if it holds nothing but an earlier certificate.
    """
    target = Path(folder)
    if target.exists():
        strangers = (
            sorted({p.name for p in target.iterdir()} - set(FILES)) if target.is_dir() else []
        )
        if strangers or not target.is_dir():
            what = f"holds {strangers[0]!r}" if strangers else "is a file"
            raise InputError(f"{target}: {what}: expected a new folder or an earlier certificate")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        os.chmod(fresh, 0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(fresh, target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return target
