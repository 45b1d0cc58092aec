"""The fields of `certificate.json`: strict (no unknown fields, no NaN), and a schema of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, with_config
from typing_extensions import TypedDict

from prunecert.certificate.folder import CERTIFICATE
from prunecert.types import CodeError, Role, Status

FORMAT: Literal["prunecert/1"] = "prunecert/1"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SMALLEST_DELTA = 1e-9  # so that `confidence` keeps the digits of delta and is never 1
MOST = 2**53  # what a JSON reader that knows only doubles still counts exactly
LONGEST_LIST = 1000  # networks of one selection
MOST_TENSORS = 100_000
MOST_DRAWS = 1_000_000  # networks that verify would have to draw again

Fraction = Annotated[float, Field(ge=0, le=1)]
Bits = Annotated[float, Field(ge=0, le=64)]  # per token
Delta = Annotated[float, Field(ge=SMALLEST_DELTA, le=1 - SMALLEST_DELTA)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[int, Field(ge=1, le=MOST)]
Exponent = Annotated[int, Field(ge=0, le=40)]  # of a variance 2^-exponent
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
class OtherNetwork(TypedDict):
    """Another network of the statement: its file and its weights, or other predictions."""

    sha256: Sha256
    weights_sha256: NotRequired[Sha256]


@with_config(STRICT)
class SecondSample(TypedDict):
    """The other sample of a statement that reads two."""

    role: Role
    sample: Name
    n: Positive
    sha256: Sha256


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
    dense: OtherNetwork
    second: SecondSample
    holdout_errors: Count
    holdout_n: Positive
    count: Count
    inputs: Positive
    draws: Annotated[int, Field(ge=1, le=MOST_DRAWS)]
    kl_nats: Annotated[float, Field(ge=0)]
    mean_log_right: Annotated[float, Field(le=0)]
    gibbs_risk: Fraction
    log_ratio_nats: float
    prior: OtherNetwork
    prior_sample: SecondSample
    posterior: OtherNetwork
    exponents: Annotated[dict[Name, Exponent], Field(max_length=MOST_TENSORS)]
    prior_exponent: Exponent
    loss: Name
    mean: Fraction
    variance: Fraction
    hoeffding_bentkus: Fraction
    empirical_bernstein: Fraction
    mean_bits: Bits
    mixing: Annotated[float, Field(gt=0, lt=1)]
    mixings: Positive
    vocabulary: Annotated[int, Field(ge=2, le=MOST)]
    places: Positive
    documents: Positive
    seed: Annotated[int, Field(ge=0, lt=1 << 16)]
    beyond: Fraction
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
    risk_bound: Bits  # above 1 only where it is bits per token
    delta: Delta
    confidence: float = Field(gt=0, lt=1)
    n: Positive
    errors: Count
    margin_tolerance: float = Field(ge=0)
    code_bits: Count | None = None
    selection_bits: float = Field(default=0.0, ge=0)
    tried: Positive = 1
    target: Bits | None = None
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
