"""Certificate against sparsity, per pruning method and per IMP level: bits by part, errors.

    python benchmarks/curves.py --data ../shared/data/mnist --work runs/curves --out docs/curves

lenet-300-100 on MNIST, 20 epochs dense; ladders of sparsities with 3 epochs of retraining per rung;
IMP takes 20 % of what is left per level, rewinds to step 500 and trains 4 epochs. Every network
is certified (Occam, delta 0.05, 60,000 training samples). What is done is not done again.
"""

from __future__ import annotations

import argparse
import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunecert.api import Recipe, architecture, certify, sample_of
from prunecert.api.ladder import Pruning, ladder
from prunecert.api.networks import Architecture, Network, open_network, with_log
from prunecert.api.runs import batches_of, initial, state_of, train_run
from prunecert.data import Sample
from prunecert.files import write_bytes
from prunecert.models.weights import safetensors_bytes
from prunecert.report.files import write_figures
from prunecert.results import write_results
from prunecert.training import train

MODEL, DELTA = "lenet-300-100", 0.05
SPARSITIES = (0.8, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
METHODS = (
    ("magnitude, global", Pruning("magnitude", "global")),
    ("magnitude, lamp", Pruning("magnitude", "lamp")),
    ("taylor", Pruning("taylor", "global")),
    ("snip", Pruning("snip", "global")),
    ("bernoulli", Pruning("bernoulli", "global")),
    ("random", Pruning("random", "global")),
)
DENSE = "not pruned"
IMP_LEVELS, IMP_EPOCHS, REWIND, IMP = 22, "4ep", "500it", "IMP, rewound to step 500"
COLUMNS = (
    "method", "sparsity", "nonzeros", "errors", "n", "code_bits", "header", "positions", "values",
    "container", "risk_bound", "holdout_errors", "holdout_bound",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    model: Architecture
    sample: Sample
    data: str
    work: Path


def certified(study: Study, method: str, network: Network) -> dict[str, Any]:
    """One row of the table."""
    record = certify(network, study.data, delta=DELTA).record
    line = record.baselines.holdout
    assert record.network is not None and line is not None
    return {
        "method": method,
        "sparsity": round(network.sparsity, 6),
        "nonzeros": record.network.nonzeros,
        "errors": record.errors,
        "n": record.n,
        "code_bits": record.code_bits,
        **record.details["bits"],
        "risk_bound": record.risk_bound,
        "holdout_errors": line.errors,
        "holdout_bound": line.risk_bound,
    }


def imp_levels(study: Study) -> list[Network]:
    """Iterative magnitude pruning with late rewinding (Frankle et al. 2020, arXiv 1912.05671)."""
    module = initial(study.model, 0)
    inputs, labels = batches_of(study.sample, 128, 0)
    start = study.work / "imp" / "rewind.safetensors"
    if not start.exists():
        train(module, inputs, labels, steps=REWIND, schedule="constant", seed=0)
        write_bytes(start, safetensors_bytes(state_of(module), {}))
    levels: list[Network] = []
    masks: dict[str, Tensor] = {}
    for level in range(IMP_LEVELS + 1):
        file = study.work / "imp" / f"level-{level}.safetensors"
        if not file.exists():
            module.load_state_dict(open_network(start, study.model).tensors)
            train(module, inputs, labels, steps=IMP_EPOCHS, seed=level, masks=masks or None)
            write_bytes(file, safetensors_bytes(state_of(module), with_log({})))
        levels.append(open_network(file, study.model))
        masks = smaller(levels[-1], masks)
    return levels


def smaller(network: Network, masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """The largest 80 % in size of what is kept, over all prunable weights."""
    weights = {name: network.tensors[name] for name in network.architecture.prunable()}
    kept = {
        name: masks.get(name, torch.ones_like(w, dtype=torch.bool)) for name, w in weights.items()
    }
    sizes = torch.cat([w[kept[name]].abs() for name, w in weights.items()])
    threshold = sizes.sort().values[int(0.2 * len(sizes))]
    return {name: kept[name] & (w.abs() >= threshold) for name, w in weights.items()}


def rows(study: Study) -> list[dict[str, Any]]:
    """Every network of the study, made and certified, from what is there on."""
    table = study.work / "rows.csv"
    found = list(csv.DictReader(io.StringIO(table.read_text()))) if table.exists() else []
    done = {(row["method"], row["sparsity"]) for row in found}

    def add(method: str, network: Network) -> None:
        key = (method, str(round(network.sparsity, 6)))
        if key not in done:
            row = certified(study, method, network)
            found.append({name: str(value) for name, value in row.items()})
            write_bytes(table, as_csv(found))
            print(method, *key[1:], row["risk_bound"], flush=True)

    dense = train_run(study.model, study.sample, Recipe("20ep"), study.work / "dense")
    add(DENSE, dense)
    for method, rule in METHODS:
        rungs = ladder(
            dense, SPARSITIES, study.work / method.replace(", ", "-"), rule,
            sample=study.sample, recipe=Recipe("3ep"),
        )  # fmt: skip
        for network in rungs:
            add(method, network)
    for network in imp_levels(study):
        add(IMP, network)
    return found


def as_csv(found: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue().encode()


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    density = {"label": "density: fraction of weights kept", "scale": "log"}
    names = list(dict.fromkeys(row["method"] for row in found))

    def series(value: str, kind: str, scale: float = 1.0) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "kind": kind,
                "x": [round(1 - float(r["sparsity"]), 6) for r in found if r["method"] == name],
                "y": [float(r[value]) * scale for r in found if r["method"] == name],
            }
            for name in names
        ]

    parts = [
        {"name": part, "x": [round(1 - float(r["sparsity"]), 6) for r in chosen],
         "y": [float(r[part]) for r in chosen]}
        for chosen in [[r for r in found if r["method"] == METHODS[0][0]]]
        for part in ("positions", "values", "header")
    ]  # fmt: skip
    return {
        "certificate": {
            "title": "Certified error against density, lenet-300-100 on MNIST",
            "x": density,
            "y": {"label": "certified error, at most"},
            "series": series("risk_bound", "certified"),
            "note": "From the 60,000 training samples alone, delta 0.05 each.",
        },
        "training-error": {
            "title": "Training error of the certified networks",
            "x": density,
            "y": {"label": "errors in 60,000", "scale": "log", "risk": False},
            "series": series("errors", "measured"),
        },
        "bits": {
            "title": f"What the bits are spent on: {METHODS[0][0]}",
            "x": density,
            "y": {"label": "bits", "scale": "log", "risk": False},
            "series": parts,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--data", "--work", "--out"):
        parser.add_argument(option, required=True, type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    sample = sample_of(str(given.data), "train", "train")
    study = Study(architecture(MODEL), sample, str(given.data), given.work)
    found = rows(study)
    write_bytes(given.out / "curves.csv", as_csv(found))
    results = {
        "title": "Certificates against sparsity",
        "figures": figures(found),
        "commands": [
            {
                "what": "everything here",
                "command": "python benchmarks/curves.py --data ../shared/data/mnist "
                "--work runs/curves --out docs/curves",
            }
        ],
    }
    write_results(given.out / "results.json", results)
    write_figures(given.out / "results.json", given.out)


if __name__ == "__main__":
    main()
