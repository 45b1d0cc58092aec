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
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, with_config
from typing_extensions import TypedDict

from prunecert.inversions import round_up
from prunecert.types import CodeError, InputError, Role, Status

FORMAT: Literal["prunecert/1"] = "prunecert/1"
CERTIFICATE, NETWORK, WEIGHTS = "certificate.json", "network.bin", "network.safetensors"
EVIDENCE, SELECTION, DENSE = "evidence.npz", "selection.json", "dense.bin"
ATTEMPTS = "attempts.csv"  # every certificate that a search computed on the way
DIALECT = "https://json-schema.org/draft/2020-12/schema"
DENSE_ONE = "the dense network that it is compared with"
FILES = (CERTIFICATE, NETWORK, WEIGHTS, EVIDENCE, SELECTION, DENSE, ATTEMPTS)

SMALLEST_DELTA = 1e-9  # so that `confidence` keeps the digits of delta and is never 1
MOST = 2**53  # what a JSON reader that knows only doubles still counts exactly
LONGEST_LIST = 1000  # networks of one selection

Fraction = Annotated[float, Field(ge=0, le=1)]
Delta = Annotated[float, Field(ge=SMALLEST_DELTA, le=1 - SMALLEST_DELTA)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[int, Field(ge=1, le=MOST)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# What a stranger calls a thing: one printable line, which a sentence can put into quotes.
# The shipped schema says what every reader's regular expressions can say of it.
Name = Annotated[
    str,
    Field(min_length=1, max_length=1000, pattern=r'^[^"\p{C}\p{Zl}\p{Zp}]*$'),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": 1000,
            "pattern": r'^[^"\u0000-\u001f\u007f-\u009f\u2028\u2029]*$',
        }
    ),
]
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z.+!-]{1,60}$")]

STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Part(BaseModel):
    model_config = STRICT


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

    spec: Name
    sha256: Sha256


class DataField(_Part):
    """The sample the statement was computed on."""

    source: Name
    role: Role
    sample: Name
    n: Positive
    sha256: Sha256


class NetworkField(_Part):
    """The certified network: hashes and sizes; sparsity is over all parameters, and over the
    prunable weights."""

    sha256: Sha256
    safetensors_sha256: Sha256
    parameters: Count
    nonzeros: Count
    sparsity: Fraction
    prunable: Count
    prunable_sparsity: Fraction


class HoldoutBaseline(_Part):
    """The hold-out line beside a certificate: a statement of its own, with its own delta."""

    sample: Name
    sha256: Sha256
    n: Positive
    errors: Count
    risk_bound: Fraction
    delta: Delta


class Baselines(_Part):
    """Statements shown for comparison; each stands alone."""

    holdout: HoldoutBaseline | None = None


class Software(_Part):
    """What issued the certificate."""

    prunecert: Version
    torch: Version
    constriction: Version


@with_config(STRICT)
class DenseNetwork(TypedDict):
    """What a network is compared with: dense.bin and its weights, or other predictions."""

    sha256: Sha256
    weights_sha256: NotRequired[Sha256]


@with_config(STRICT)
class ListedNetwork(TypedDict):
    """One network of a selection, in the order of the walk."""

    sequence: Name
    sha256: Sha256
    sparsity: Fraction | None
    errors: Count
    worse: NotRequired[Count]
    better: NotRequired[Count]
    p_value: Fraction | None
    accepted: bool


ClassRow = TypedDict(
    "ClassRow", {"class": Count, "errors": Count, "n": Count, "risk_bound": Fraction}
)
with_config(STRICT)(ClassRow)


@with_config(STRICT)
class Details(TypedDict, total=False):
    """What only some methods have; verify computes every one again."""

    bits: Annotated[dict[Name, int], Field(max_length=20)]
    bytes: Annotated[dict[Name, Count], Field(max_length=20)]
    equal_rows: Count
    k: Positive
    per_class: list[ClassRow]
    worse: Count
    better: Count
    dense: DenseNetwork
    target_error: Fraction
    max_drop: Fraction
    networks: Count
    accepted: Count
    selected: Sha256
    sparsity: Fraction | None
    sequence: Annotated[list[ListedNetwork], Field(max_length=LONGEST_LIST)]


class CertificateRecord(_Part):
    """The whole of `certificate.json`."""

    format: Literal["prunecert/1"]
    statement: str
    quantity: str
    unit: str
    status: Literal["certified", "conditional"]
    method: str
    source: str
    risk_bound: Fraction
    delta: Delta
    confidence: float = Field(gt=0, lt=1)
    n: Positive
    errors: Count
    margin_tolerance: float = Field(ge=0)
    code_bits: Count | None = None
    selection_bits: float = Field(default=0.0, ge=0)
    tried: Positive = 1
    target: Fraction | None = None
    delta_ledger: tuple[LedgerItem, ...]
    assumptions: tuple[StatedAssumption, ...]
    object: str
    model: ModelField
    data: DataField
    network: NetworkField | None = None
    evidence_sha256: Sha256 | None = None
    details: Details = Details()
    baselines: Baselines = Baselines()
    software: Software


def confidence_of(delta: float) -> float:
    """1 − delta, of the decimal that delta is written as: no digit of it is rounded away."""
    return float(1 - Decimal(repr(float(delta))))


def named(text: str) -> str:
    """`text`, if a certificate can hold it as a name; else InputError."""
    if not 0 < len(text) <= 1000 or not text.isprintable() or '"' in text:
        raise InputError(f"{text!r}: expected a name of printable characters without double quotes")
    return text


def rounded_up(value: float, digits: int = 4) -> str:
    """A number to so many significant digits, never below it.

    >>> rounded_up(0.123411)
    '0.1235'
    """
    exact = Decimal(repr(float(value)))
    if not exact or not exact.is_finite():
        return str(value)
    return f"{round_up(value, digits - 1 - exact.adjusted()):.{digits}g}"


def percent(fraction: float) -> str:
    """A fraction as a percentage, every digit of it: neither a bound nor a confidence may gain."""
    return f"{(Decimal(repr(float(fraction))) * 100).normalize():f} %"


def statement(record: Mapping[str, Any]) -> str:
    """The English sentence of a certificate, from its other fields and nothing else."""
    data, errors, n = record["data"], record["errors"], record["n"]
    head = (
        f"With confidence {percent(record['confidence'])} over the draw of the {n:,} samples "
        f'{data["sample"]} of "{data["source"]}", the network '
    )
    bound, details = percent(record["risk_bound"]), record["details"]
    risk = f"errs on at most {bound} of new data drawn alike"
    increase = f"errs on at most {bound} more of new data drawn alike than {DENSE_ONE}"
    match record["method"]:
        case "occam":
            claim = (
                f"in {NETWORK} {risk} "
                f"({errors:,} errors counted, a code of {record['code_bits']:,} bits)."
            )
        case "holdout":
            claim = f"{risk} ({errors:,} errors counted)."
        case "top-k":
            claim = (
                f"has the right class missing from its first {details['k']} on at most {bound} of "
                f"new data drawn alike ({errors:,} misses counted)."
            )
        case "per-class":
            claim = (
                f"errs on at most {bound} of new data of each of the {len(details['per_class'])} "
                f"classes ({errors:,} errors counted over all of them)."
            )
        case "disagreement":
            claim = (
                f"and {DENSE_ONE} predict differently on at most {bound} of new inputs drawn alike "
                f"({errors:,} disagreements counted)."
            )
        case "cost-of-pruning":
            claim = f"{increase} ({details['worse']:,} samples lost, {details['better']:,} won)."
        case "fixed-sequence" | "simultaneous":
            claim = f"{risk if 'target_error' in details else increase}{_chosen(details)}."
        case other:
            raise CodeError(f"certificate.json: method: {other!r} has no statement")
    return head + claim


def _chosen(details: Mapping[str, Any]) -> str:
    """The second limit, where there are two, and where the network stands in its list."""
    both = "target_error" in details and "max_drop" in details
    drop = f", and on at most {percent(details['max_drop'])} more than {DENSE_ONE}" if both else ""
    place = "the last"
    if details["sparsity"] is not None:
        place = f"with {percent(details['sparsity'])} zeros the sparsest"
    return f"{drop} ({place} of {details['accepted']} accepted of {details['networks']} networks)"


def parse(text: str | bytes, where: str = CERTIFICATE) -> CertificateRecord:
    """A record from JSON text; CodeError naming the first field that is not as it must be."""
    try:
        record = CertificateRecord.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CodeError(f"{where}: {field}: {first['msg'].lower()}") from error
    json.loads(text, object_pairs_hook=_each_once)
    return record


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    """CodeError for a field written twice: readers differ on which one they believe."""
    if len(dict(pairs)) < len(pairs):
        raise CodeError(f"{CERTIFICATE}: a field is written twice")


def dump(record: BaseModel | Mapping[str, Any]) -> bytes:
    """JSON bytes: fields in their order, two spaces, no NaN."""
    fields = record.model_dump(mode="json") if isinstance(record, BaseModel) else record
    return (json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def schema() -> dict[str, Any]:
    """The JSON schema of `certificate.json`, as shipped in `certificate.schema.json`."""
    return {"$schema": DIALECT, **CertificateRecord.model_json_schema()}


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def write_folder(folder: str | Path, files: Mapping[str, bytes]) -> Path:
    """All files or none: a sibling folder is filled, then takes the place of `folder`.

    Raises InputError where `check_folder` does, or nothing can be written.
    """
    target = check_folder(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(f"{target}: cannot write it: {error.strerror}") from None
    try:
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        os.chmod(fresh, 0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(fresh, target)
    except BaseException as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if isinstance(error, OSError):  # a full disk, say
            raise InputError(f"{target}: cannot write it: {error.strerror}") from None
        raise
    return target


def check_folder(folder: str | Path) -> Path:
    """InputError unless the folder is new, or holds nothing but an earlier certificate."""
    target = Path(folder)
    strangers: list[str] = []
    if target.is_dir():
        strangers = sorted({path.name for path in target.iterdir()} - set(FILES))
    if strangers or target.is_file():
        what = f"holds {strangers[0]!r}" if strangers else "is a file"
        raise InputError(f"{target}: {what}: expected a new folder or an earlier certificate")
    return target
