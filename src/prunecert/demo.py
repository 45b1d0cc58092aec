"""The demonstration: the whole tool on bundled digits, in two minutes.

Train, prune up a ladder by four methods, select the sparsest rung that the hold-out certifies,
certify every rung by its own code, and put the seed paper's bound beside them at its true value.
Everything written under the run folder can be taken up again after an interruption.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from prunecert.api import architecture, measure, open_source, sample_of
from prunecert.api.certification import certify_code
from prunecert.api.counting import Options, outputs_of
from prunecert.api.issuing import Issued
from prunecert.api.ladder import Pruning, ladder
from prunecert.api.networks import Network
from prunecert.api.runs import Recipe, train_run
from prunecert.api.selection import Selection, select
from prunecert.bounds.table import BOUNDS, evaluate
from prunecert.certificate import percent
from prunecert.data import Sample
from prunecert.inversions import round_up
from prunecert.measuring import count_errors
from prunecert.progress import Stage, quiet
from prunecert.report import write_report
from prunecert.results import write_results
from prunecert.types import CapacityMeasure, NotApplicable

MODEL = "mlp:64-24-10"
SPARSITIES = (0.5, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96)
METHODS = {
    "global magnitude": Pruning("magnitude", "global"),
    "layerwise magnitude": Pruning("magnitude", "layerwise"),
    "global bernoulli": Pruning("bernoulli", "global"),
    "global random": Pruning("random", "global"),
}
TARGET, DELTA = 0.08, 0.05
RECIPE = Recipe("30ep", batch_size=32, learning_rate=0.1, weight_decay=1e-3)
PUBLISHED = "mbp-sketch-as-published"


@dataclass(frozen=True)
class Rung:
    """One network of a ladder, with what was found about it."""

    method: str
    network: Network
    holdout_errors: int
    issued: Issued

    @property
    def name(self) -> str:
        return f"{self.method} {self.network.name}"


@dataclass(frozen=True)
class Shown:
    """What the command prints: one table, the verdict, the commands to try next."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    sentences: Sequence[str]
    commands: Sequence[str]


def run_demo(out: Path, *, seed: int = 0, stage: Stage = quiet) -> Shown:
    """Run everything into `out`; return what to print."""
    torch.set_num_threads(1)  # matrices this small are slower on several threads
    source, recipe = open_source("digits"), replace(RECIPE, seed=seed)
    train, bound = sample_of(source, "train", "train"), sample_of(source, "train", "bound")
    holdout = sample_of(source, "test", "holdout")
    dense = train_run(architecture(MODEL), train, recipe, out / "dense", stage)
    ladders = {
        method: ladder(
            dense,
            SPARSITIES,
            out / method.replace(" ", "-"),
            replace(rule, seed=seed),
            sample=train,
            recipe=recipe,
            stage=stage,
        )
        for method, rule in METHODS.items()
    }
    with stage("choosing on the hold-out", 0):
        every = [network for rungs in ladders.values() for network in rungs]
        found = select(every, holdout, delta=DELTA, target_error=TARGET)
    with stage("certifying each rung by its code", len(every)) as tick:
        rungs = []
        for method, networks in ladders.items():
            for network in networks:
                errors = count_errors(outputs_of(network, holdout, Options()))
                issued = certify_code(network, bound, delta=DELTA, holdout=holdout)
                rungs.append(Rung(method, network, errors, issued))
                tick(1)
    best = min(rungs, key=lambda rung: rung.issued.risk_bound)
    if found.issued is not None:
        found.issued.write(out / "certificate")
    best.issued.write(out / "code-certificate")
    with stage("measuring the seed paper's bound", 0):
        published = evaluate(BOUNDS[PUBLISHED], measure(dense, bound, seed=seed), DELTA)
    results = _results(rungs, found, best, published, bound, holdout, out)
    write_results(out / "results.json", results)
    write_report([out], out / "report.html")
    return _shown(rungs, found, best, published, out)


def _accepted(found: Selection) -> set[str]:
    return {row["sha256"] for row in found.accepted}


def _shown(rungs: Sequence[Rung], found: Selection, best: Rung, published: Any, out: Path) -> Shown:
    accepted = _accepted(found)
    by_place = {(r.method, r.network.name): r for r in rungs}
    rows = []
    for sparsity in SPARSITIES:
        row = [f"{sparsity:.2f}"]
        for method in METHODS:
            rung = by_place[method, f"{sparsity:.4f}"]
            passed = "*" if rung.network.sha256 in accepted else " "
            shown = 100 * float(round_up(rung.issued.risk_bound, 3))  # outward, as all bounds are
            row.append(f"{rung.holdout_errors:3d}{passed} {shown:5.1f} %")
        rows.append(row)
    sentences = _sentences(found, best, published)
    return Shown(
        f"errors in 600 hold-out samples (* = certified ≤ {percent(TARGET)}) and code certificate",
        ("sparsity", *METHODS),
        rows,
        [*sentences, f"Figures and tables: {out / 'report.html'}. To check the certificates:"],
        commands(out, found),
    )


def _sentences(found: Selection, best: Rung, published: Any) -> list[str]:
    """The verdict, the best code certificate, and the seed paper's bound at its true value."""
    exact = f"{best.issued.record.errors} errors, {best.issued.record.code_bits:,} bits"
    return [
        found.sentence,
        f"Best certificate from training data alone: {percent(best.issued.risk_bound)} "
        f"({best.name}: {exact}).",
        f"The seed paper's bound for the dense network, as published: {_value_text(published)}.",
    ]


def commands(out: Path, found: Selection) -> list[str]:
    """Lines that work as they are."""
    tool = "prunecert" if shutil.which("prunecert") else sys.argv[0]
    folders = ["code-certificate"] if found.issued is None else ["certificate", "code-certificate"]
    return [f"{tool} verify {out / folder}" for folder in folders]


def _value_text(published: Any) -> str:
    if isinstance(published, NotApplicable):
        return f"not applicable ({published.reason})"
    assert isinstance(published, CapacityMeasure)
    return f"{published.value:.4g}, that is {100 * published.value:.4g} %: vacuous"


# --------------------------------------------------------------------------- results.json


def _results(
    rungs: Sequence[Rung],
    found: Selection,
    best: Rung,
    published: Any,
    bound: Sample,
    holdout: Sample,
    out: Path,
) -> dict[str, Any]:
    return {
        "title": "Pruning a digit classifier, with proof",
        "summary": _sentences(found, best, published),
        "networks": [_network_row(rung, _accepted(found)) for rung in rungs],
        "bounds": _bound_rows(rungs, found, best, published, bound, holdout),
        "diagnostics": [
            {"network": best.name, "name": f"bits: {part}", "value": bits, "note": ""}
            for part, bits in best.issued.record.details["bits"].items()
        ],
        "figures": _figures(rungs, found, best, published, holdout),
        "commands": [
            {"what": "everything on this page", "command": f"prunecert demo --out {out}"},
            *({"what": "check it", "command": line} for line in commands(out, found)),
        ],
    }


def _network_row(rung: Rung, accepted: set[str]) -> dict[str, Any]:
    field = rung.issued.record.network
    assert field is not None
    return {
        "name": rung.name,
        "method": rung.method,
        "sparsity": round(rung.network.sparsity, 6),
        "parameters": field.parameters,
        "nonzeros": sum(int((t != 0).sum()) for t in rung.network.tensors.values()),
        "holdout_errors": rung.holdout_errors,
        "accepted": rung.network.sha256 in accepted,
        "code_bits": rung.issued.record.code_bits,
        "sha256": rung.network.sha256,
    }


def _bound_rows(
    rungs: Sequence[Rung],
    found: Selection,
    best: Rung,
    published: Any,
    bound: Sample,
    holdout: Sample,
) -> list[dict[str, Any]]:
    rows = [
        _row(rung.name, "occam", "certified", rung.issued.risk_bound, bound.name)
        | {"details": {"errors": rung.issued.record.errors, "bits": rung.issued.record.code_bits}}
        for rung in rungs
    ]
    line = best.issued.record.baselines.holdout
    assert line is not None
    rows.append(
        _row(best.name, "holdout", "certified", line.risk_bound, holdout.name)
        | {"details": {"errors": line.errors, "n": line.n}}
    )
    if found.issued is not None:
        record = found.issued.record
        chosen = next(r for r in rungs if r.network.sha256 == record.details["selected"])
        rows.append(
            _row(chosen.name, record.method, "certified", record.risk_bound, holdout.name)
            | {"details": {"errors": record.errors, "n": record.n}}
        )
    if isinstance(published, CapacityMeasure):
        rows.append(
            _row("dense", PUBLISHED, "order-only", published.value, bound.name)
            | {"details": dict(published.details)}
        )
    return rows


def _row(network: str, name: str, kind: str, value: float, sample: str) -> dict[str, Any]:
    return {
        "network": network,
        "name": name,
        "kind": kind,
        "value": value,
        "unit": "fraction",
        "sample": sample,
        "delta": DELTA,
        "details": {},
    }


def _figures(
    rungs: Sequence[Rung], found: Selection, best: Rung, published: Any, holdout: Sample
) -> dict[str, Any]:
    def by_method(value: Any, kind: str) -> list[dict[str, Any]]:
        return [
            {
                "name": method,
                "kind": kind,
                "x": [round(1 - r.network.sparsity, 6) for r in rungs if r.method == method],
                "y": [value(r) for r in rungs if r.method == method],
            }
            for method in METHODS
        ]

    density = {"label": "density: fraction of weights kept", "scale": "log"}
    statements = _statements(found, best, published)
    return {
        "holdout-error": {
            "title": f"Error on {holdout.n} hold-out samples",
            "x": density,
            "y": {"label": "error", "scale": "log"},
            "series": by_method(lambda r: round(r.holdout_errors / holdout.n, 6), "measured"),
        },
        "code-certificate": {
            "title": "Certificate from training data alone",
            "x": density,
            "y": {"label": "certified error, at most"},
            "series": by_method(lambda r: r.issued.risk_bound, "certified"),
            "note": "Smaller networks have shorter codes; too small, they err. Delta 0.05 each.",
        },
        "statements": {
            "title": "Statements side by side",
            "x": {"label": "statement"},
            "y": {"label": "bound on the error"},
            "series": statements,
            "note": "The seed paper's value drops constants: it ranks networks, bounds nothing.",
        },
    }


def _statements(found: Selection, best: Rung, published: Any) -> list[dict[str, Any]]:
    line = best.issued.record.baselines.holdout
    assert line is not None
    bars: list[tuple[str, str, float]] = [
        (f"hold-out, {best.name}", "certified", line.risk_bound),
        (f"code, {best.name}", "certified", best.issued.risk_bound),
    ]
    if found.issued is not None:
        bars.insert(0, ("selected rung", "certified", found.issued.risk_bound))
    if isinstance(published, CapacityMeasure):
        bars.append(("seed paper, dense network", "order-only", published.value))
    return [
        {"name": name, "kind": kind, "style": "bars", "x": [name], "y": [value]}
        for name, kind, value in bars
    ]
