"""Sentences and rows that commands print, computed from records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunecert.bounds.occam import bits_allowed
from prunecert.cli.terminal import percent

if TYPE_CHECKING:
    from prunecert.api import Attempt, Issued, Selection
    from prunecert.certificate import CertificateRecord

LOOSE = 0.5  # above it, a code certificate comes with advice


def holdout_line(record: CertificateRecord) -> str:
    """The second statement that `certify` always prints, or why there is none."""
    line = record.baselines.holdout
    if line is None:
        return "Hold-out: no statement, as there is no test sample left over to make one from."
    return (
        f"Hold-out, a statement of its own: at most {percent(line.risk_bound)} "
        f"({line.errors:,} errors in {line.n:,} of {line.sample}, delta {line.delta:g})."
    )


def vacuous_line(record: CertificateRecord) -> str | None:
    """What to say of a number that any network has."""
    if record.unit.startswith("bits per token"):
        if record.risk_bound < math.log2(record.details["vocabulary"]):
            return None
        return "This says nothing: a model that knows nothing does as well."
    return "This says nothing: it is true of every network." if record.risk_bound >= 1 else None


def ledger_line(record: CertificateRecord) -> str:
    """How delta was split, where it was."""
    shares = (f"{entry.delta:g} for {entry.item}" for entry in record.delta_ledger)
    return f"delta {record.delta:g}: {'; '.join(shares)}."


def size_rows(issued: Issued, given: bool = True) -> dict[str, str]:
    """What the certified network is, against the weights given (where some were)."""
    record, changes = issued.record, issued.changes
    assert record.network is not None
    size, bits = record.details["bytes"], record.details["bits"]
    nonzeros, zeros = record.network.nonzeros, record.network.parameters - record.network.nonzeros
    bitmask = record.network.parameters // 8 + 4 * nonzeros
    rows = {
        "certified network": f"{nonzeros:,} nonzeros, {zeros:,} zeros ({record.object})",
        "code": f"{record.code_bits:,} bits: "
        + ", ".join(f"{name} {value:,}" for name, value in bits.items()),
        "bytes": f"dense {size['dense']:,}, bitmask + values {bitmask:,}, coded {size['coded']:,}",
        "weights changed": f"{changes['weights_changed']:,} of {changes['weights']:,}",
        "largest logit change": f"{changes['largest_logit_difference']:.3g} on the first batch",
        "predictions changed": f"{changes['predictions_changed']:,} of {changes['n']:,} "
        f"({changes['errors_of_the_given_weights']:,} errors before, {record.errors:,} after)",
        "speed": "unchanged: zeros are stored small, not computed faster",
    }
    about_given = ("weights changed", "largest logit change", "predictions changed")
    return {name: text for name, text in rows.items() if given or name not in about_given}


def attempt_rows(attempts: Sequence[Attempt]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Columns and rows of what `compress` prints: each attempt that was better than all before."""
    columns = ("", "weights", "price", "levels", "units", "epochs", "errors", "bits", "certificate")
    rows, best = [], float("inf")
    for number, attempt in enumerate(attempts, start=1):
        if attempt.risk_bound < best:
            best, settings = attempt.risk_bound, attempt.settings
            rows.append(
                (
                    str(number),
                    settings.origin,
                    f"{settings.price:g}",
                    str(settings.levels or "—"),
                    str(settings.units or "all"),
                    str(settings.epochs),
                    f"{attempt.errors:,}",
                    f"{attempt.code_bits:,}",
                    percent(attempt.risk_bound),
                )
            )
    return columns, rows


def advice(record: CertificateRecord) -> list[str]:
    """One computed sentence when the bound is of little use."""
    if record.risk_bound <= LOOSE or record.code_bits is None:
        return []
    allowed = bits_allowed(LOOSE, record.errors, record.n, record.delta)
    line = record.baselines.holdout
    hint = f" Use --holdout (here ≤ {percent(line.risk_bound)})." if line else " Use --holdout."
    if allowed is None:
        return [f"{bits(record.code_bits)}; at these errors no code gives 50 %.{hint}"]
    return [f"{bits(record.code_bits)}; at these errors 50 % needs ≤ {bits(allowed)}.{hint}"]


def bits(count: int) -> str:
    """`8.6 Mbit`, `26 kbit`, `640 bits`."""
    for unit, name in ((1_000_000, "Mbit"), (1_000, "kbit")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bits"


def selection_rows(found: Selection) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Columns and rows of the table that `select` prints."""
    with_drop = any("worse" in row for row in found.rows)
    columns = (
        "sequence",
        "sparsity",
        "errors",
        *(("worse", "better") if with_drop else ()),
        "p-value",
        "",
    )
    rows = [
        (
            str(row["sequence"]),
            "—" if row["sparsity"] is None else f"{row['sparsity']:.4f}",
            f"{row['errors']:,}",
            *((str(row["worse"]), str(row["better"])) if with_drop else ()),
            "—" if row["p_value"] is None else f"{row['p_value']:.3g}",
            "accepted" if row["accepted"] else "not accepted",
        )
        for row in found.rows
    ]
    return columns, rows
