"""`certificate.json`: its fields, its sentence, its folder. Written once, checked for ever.

The schema is strict and shipped as `certificate.schema.json`.
"""

from prunecert.certificate.fields import (
    FORMAT,
    MOST,
    MOST_DRAWS,
    SMALLEST_DELTA,
    Baselines,
    CertificateRecord,
    DataField,
    HoldoutBaseline,
    LedgerItem,
    ModelField,
    NetworkField,
    StatedAssumption,
    dump,
    parse,
    schema,
)
from prunecert.certificate.folder import (
    ATTEMPTS,
    CERTIFICATE,
    DENSE,
    EVIDENCE,
    NETWORK,
    POSTERIOR,
    PRIOR,
    SELECTION,
    WEIGHTS,
    check_folder,
    sha256,
    write_folder,
)
from prunecert.certificate.numbers import confidence_of, percent, rounded_up
from prunecert.certificate.statements import named, statement

__all__ = [
    "ATTEMPTS",
    "Baselines",
    "CERTIFICATE",
    "CertificateRecord",
    "DENSE",
    "DataField",
    "EVIDENCE",
    "FORMAT",
    "HoldoutBaseline",
    "LedgerItem",
    "MOST",
    "MOST_DRAWS",
    "ModelField",
    "NETWORK",
    "NetworkField",
    "POSTERIOR",
    "PRIOR",
    "SELECTION",
    "SMALLEST_DELTA",
    "StatedAssumption",
    "WEIGHTS",
    "check_folder",
    "confidence_of",
    "dump",
    "named",
    "parse",
    "percent",
    "rounded_up",
    "schema",
    "sha256",
    "statement",
    "write_folder",
]
