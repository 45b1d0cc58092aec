"""Our records against what is published: `python benchmarks/tightness.py`.

Ours are read from `certificates/` (each is checked by `make verify-certificates`). Of the others
the mark says where a figure comes from: (r) read in the authors' repository or text, (c) computed
from their released files, (u) recalled from the paper and not checked again.
"""

from __future__ import annotations

from pathlib import Path

from prunecert.certificate import CERTIFICATE, CertificateRecord, parse
from prunecert.cli.terminal import percent

RECORDS = Path(__file__).parent.parent / "certificates"
ANCHORS = {
    "mnist": (
        ("any network", 0.116, "(r) Lotfi et al. 2022, LeNet-5 in a random subspace"),
        ("pruned LeNet-5", 0.344, "(c) Zhou et al. 2019's network, recoded without dead units"),
        ("pruned LeNet-5", 0.46, "(u) Zhou et al. 2019"),
        ("Gibbs classifier", 0.316, "(r) Perez-Ortiz et al. 2021"),
        ("the seed paper's MLP", 12.0, "(c) Guha et al. 2023, as coded, order-only"),
    ),
    "cifar10": (
        ("any network", 0.5597, "(r) Lotfi et al. 2022, best of its sweep of widths"),
        ("any network", 0.582, "(r) Lotfi et al. 2022, headline"),
        ("Gibbs classifier", 0.741, "(r) Garcia-Perez 2026"),
    ),
    "digits": (),
}


def ours() -> dict[str, list[CertificateRecord]]:
    """Our records by the name of their data."""
    found: dict[str, list[CertificateRecord]] = {}
    for file in sorted(RECORDS.glob(f"*/{CERTIFICATE}")):
        record = parse(file.read_bytes())
        found.setdefault(Path(record.data.source).name, []).append(record)
    return found


def name_of(record: CertificateRecord) -> str:
    """The zoo's name; of a `net:` model, the folder of the record says more."""
    spec = record.model.spec
    return "any network (net:)" if spec.startswith("net:") else f"pruned {spec}"


def row(name: str, bound: float, rest: str) -> str:
    return f"  {percent(bound):>11}  {name:<22}{rest}"


def main() -> None:
    """One block per data set, tightest first; delta 0.05, code fixed before the sample."""
    for data, records in ours().items():
        print(f"{data}: certified error, data-independent, delta 0.05")
        lines = [(bound, row(name, bound, source)) for name, bound, source in ANCHORS[data]]
        for record in records:
            assert record.network is not None and record.delta == 0.05
            hidden = record.baselines.holdout
            said = (
                f"ours: {record.errors:,} errors, {record.code_bits:,} bits, "
                f"{record.network.nonzeros:,} of {record.network.parameters:,} weights"
            )
            if hidden is not None:
                said += f"; test error {hidden.errors / hidden.n:.2%}"
                said += f", hold-out at most {percent(hidden.risk_bound)}"
            name = name_of(record)
            lines.append((record.risk_bound, row(name, record.risk_bound, said)))
        print("\n".join(text for _, text in sorted(lines)))


if __name__ == "__main__":
    main()
