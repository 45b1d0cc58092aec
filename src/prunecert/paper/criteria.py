"""Pruning criteria compared (the reviewers' question): same network, sparsities, certificates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prunecert.api import architecture
from prunecert.api.certification import certify_code
from prunecert.api.issuing import Issued
from prunecert.api.ladder import Pruning, ladder
from prunecert.api.networks import Network
from prunecert.api.runs import Recipe, train_run
from prunecert.paper.settings import DELTA, Setting
from prunecert.paper.training import PaperData
from prunecert.progress import Stage, quiet

CRITERIA = {
    "random": Pruning("random", "global"),
    "magnitude, global": Pruning("magnitude", "global"),
    "magnitude, layerwise": Pruning("magnitude", "layerwise"),
    "magnitude, ERK": Pruning("magnitude", "erk"),
    "magnitude, LAMP": Pruning("magnitude", "lamp"),
    "Bernoulli": Pruning("bernoulli", "global"),
    "SNIP": Pruning("snip", "global"),
    "Taylor": Pruning("taylor", "global"),
}


@dataclass(frozen=True)
class Pruned:
    """One network of one criterion's ladder, and its certificates."""

    criterion: str
    network: Network
    issued: Issued

    @property
    def name(self) -> str:
        return f"{self.criterion} {self.network.name}"

    @property
    def holdout(self) -> float:
        """The hold-out certificate of the coded network: another statement, another delta."""
        line = self.issued.record.baselines.holdout
        assert line is not None
        return line.risk_bound


def compare_criteria(
    setting: Setting, data: PaperData, folder: Path, seed: int = 0, stage: Stage = quiet
) -> list[Pruned]:
    """One ladder for each criterion from one trained network, each rung retrained alike.

    The network is the one of the pruning literature (`Setting.criteria_model`), whose codes are
    short enough for certificates from training data alone.
    """
    bound = data.unit_train
    train = replace(bound, role="train")
    recipe = Recipe(setting.criteria_training, seed=seed)
    dense = train_run(architecture(setting.criteria_model), train, recipe, folder / "dense", stage)
    ladders = {
        criterion: ladder(
            dense,
            setting.sparsities,
            folder / _place(criterion),
            replace(rule, seed=seed),
            sample=train,
            recipe=replace(recipe, steps=setting.retraining),
            stage=stage,
        )
        for criterion, rule in CRITERIA.items()
    }
    found = []
    with stage("certifying each rung by its code", len(ladders) * len(setting.sparsities)) as tick:
        for criterion, rungs in ladders.items():
            for network in rungs:
                issued = certify_code(network, bound, delta=DELTA, holdout=data.unit_test)
                found.append(Pruned(criterion, network, issued))
                tick(1)
    return found


def _place(criterion: str) -> str:
    return criterion.replace(",", "").replace(" ", "-").lower()


def network_rows(found: Sequence[Pruned]) -> list[dict[str, Any]]:
    """One row per network for results.json."""
    rows = []
    for pruned in found:
        field = pruned.issued.record.network
        assert field is not None
        rows.append(
            {
                "name": pruned.name,
                "method": pruned.criterion,
                "sparsity": round(pruned.network.sparsity, 6),
                "parameters": field.parameters,
                "nonzeros": field.nonzeros,
                "code_bits": pruned.issued.record.code_bits,
                "sha256": pruned.network.sha256,
            }
        )
    return rows


def bound_rows(found: Sequence[Pruned], data: PaperData) -> list[dict[str, Any]]:
    """Both certificates of every network."""
    rows = []
    for pruned in found:
        record, line = pruned.issued.record, pruned.issued.record.baselines.holdout
        assert line is not None
        common = {"network": pruned.name, "kind": "certified", "delta": DELTA}
        code = {"errors": record.errors, "bits": record.code_bits}
        rows.append(
            common
            | {"name": "occam", "value": record.risk_bound, "sample": data.unit_train.name}
            | {"details": code}
        )
        rows.append(
            common
            | {"name": "holdout", "value": line.risk_bound, "sample": data.unit_test.name}
            | {"details": {"errors": line.errors, "n": line.n}}
        )
    return rows


def figures(found: Sequence[Pruned]) -> dict[str, Any]:
    """Both certificates against density, a series for each criterion."""

    def series(value: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": criterion,
                "kind": "certified",
                "x": [round(1 - p.network.sparsity, 6) for p in found if p.criterion == criterion],
                "y": [value(p) for p in found if p.criterion == criterion],
            }
            for criterion in CRITERIA
        ]

    density = {"label": "density: fraction of weights kept", "scale": "log"}
    error = {"label": "certified error, at most", "scale": "log"}
    return {
        "criteria-code": {
            "title": "Pruning criteria: certificate from training data alone",
            "x": density,
            "y": error,
            "series": series(lambda p: p.issued.risk_bound),
            "note": "Each network is coded by itself; delta 0.05 each.",
        },
        "criteria-holdout": {
            "title": "Pruning criteria: hold-out certificate of the same networks",
            "x": density,
            "y": error,
            "series": series(lambda p: p.holdout),
        },
    }
