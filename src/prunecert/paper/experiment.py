"""The whole experiment, one part after the other; what is trained is kept and not trained again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunecert.api import architecture
from prunecert.api.certification import certify_code
from prunecert.api.counting import Options
from prunecert.api.diagnosing import Diagnosis, diagnose
from prunecert.api.issuing import Issued
from prunecert.api.networks import Network
from prunecert.api.runs import Recipe
from prunecert.api.supermasks import supermask_run
from prunecert.paper import criteria, over_d, over_training
from prunecert.paper.criteria import Pruned, compare_criteria
from prunecert.paper.over_d import OverD, measure_over_d
from prunecert.paper.over_training import PUBLISHED, AtEpoch, measure_over_training
from prunecert.paper.phases import FULL, QUICK, phases
from prunecert.paper.settings import DELTA, Setting, setting
from prunecert.paper.training import PaperData, on_unit_inputs, read_data, train_snapshots
from prunecert.progress import Stage, quiet
from prunecert.pruning.bernoulli import bernoulli_mask
from prunecert.supermask import Ticket
from prunecert.types import CapacityMeasure

TICKET_DENSITY = 0.01
SKETCHED = "magnitude, global"  # the criterion whose pruned layers are sketched
SKETCHED_SPARSITY = 0.98


@dataclass(frozen=True)
class Paper:
    """Everything that was measured, and the settings and data it was measured with.

    `explicit` is the third form of the bound: the paper's network pruned at the published d, coded,
    and certified from its bytes. `ticket` is the certified version of the extension to tickets: a
    mask over seeded weights. `recovery` has figures and tables of the sketching experiment.
    """

    setting: Setting
    data: PaperData
    epochs: Sequence[AtEpoch]
    over_d: OverD
    diagnosis: Diagnosis
    explicit: Issued
    ticket: Issued
    pruned: Sequence[Pruned]
    recovery: dict[str, Any]

    @property
    def last(self) -> AtEpoch:
        return self.epochs[-1]

    @property
    def best(self) -> tuple[str, Issued]:
        """The smallest certificate from training data alone, and of which network. Which one was
        smallest costs nothing: all are codewords of one code (THEORY 2.1a i)."""
        every = [(pruned.name, pruned.issued) for pruned in self.pruned]
        every += [("the paper's network", self.explicit), ("supermask", self.ticket)]
        return min(every, key=lambda pair: pair[1].risk_bound)


def run_experiment(
    name: str, data: str, out: Path, *, quick: bool, seed: int = 0, stage: Stage = quiet
) -> Paper:
    """Train, measure, prune and certify as `setting(name, quick)` says, keeping networks in `out`.

    Raises InputError for another name, other data, and a folder of another configuration.
    """
    chosen = setting(name, quick)
    mask = Ticket(TICKET_DENSITY, seed)
    loaded = read_data(data, chosen)
    snapshots = train_snapshots(chosen, loaded, out / "networks", seed, stage)
    epochs = measure_over_training(chosen, snapshots, loaded, seed, stage)
    last = epochs[-1]
    input_norm = last.evidence["layers"].input_norm
    curves = measure_over_d(chosen, last.network, loaded, input_norm, seed, stage)
    part = replace(loaded.train, stop=min(chosen.rows, loaded.train.stop), role="bound")
    options = Options(stage=stage)
    found = diagnose(
        last.network, part, d=chosen.diagnosed_d, delta=DELTA, seed=seed, options=options
    )
    explicit = certify_code(
        pruned_at(last.network, published_d(last), seed),
        loaded.unit_train,
        delta=DELTA,
        holdout=loaded.unit_test,
        options=options,
    )
    ticket = certify_code(
        trained_ticket(chosen, mask, loaded, out / "supermask", stage),
        loaded.unit_train,
        delta=DELTA,
        holdout=loaded.unit_test,
        options=options,
    )
    pruned = compare_criteria(chosen, loaded, out / "criteria", seed, stage)
    recovery = phases(sketched(pruned), QUICK if quick else FULL, seed=seed, stage=stage)
    return Paper(chosen, loaded, epochs, curves, found, explicit, ticket, pruned, recovery)


def trained_ticket(
    setting: Setting, ticket: Ticket, data: PaperData, folder: Path, stage: Stage
) -> Network:
    """Scores trained over frozen seeded weights of the model that criteria are compared on."""
    return supermask_run(
        architecture(setting.criteria_model),
        replace(data.unit_train, role="train"),
        ticket,
        Recipe(setting.criteria_training, seed=ticket.seed),
        folder,
        stage,
    )


def published_d(at: AtEpoch) -> float:
    """The d that the published code prunes at: 0 where the smallest margin is not positive."""
    result = at.as_coded[PUBLISHED]
    assert isinstance(result, CapacityMeasure)
    return float(result.details["d"])


def pruned_at(network: Network, d: float, seed: int) -> Network:
    """The network on inputs in [0, 1], Bernoulli-pruned at d (of the weights as trained)."""
    names = [layer.name for layer in network.architecture.view.layers]
    masks = bernoulli_mask({name: network.tensors[name] for name in names}, d, seed)
    kept = {name: network.tensors[name] * masks[name] for name in names}
    unit = on_unit_inputs(replace(network, tensors={**network.tensors, **kept}))
    log = {name: entry for name, entry in network.log.items() if name != "inputs"}
    return replace(unit, name=f"the paper's network, pruned at d = {d:g}", log=log)


def sketched(pruned: Sequence[Pruned]) -> dict[str, NDArray[np.float64]]:
    """The first two layers of a really pruned network."""
    chosen = min(
        (p for p in pruned if p.criterion == SKETCHED),
        key=lambda p: abs(p.network.sparsity - SKETCHED_SPARSITY),
    ).network
    names = [layer.name for layer in chosen.architecture.view.layers][:2]
    return {name: chosen.tensors[name].double().numpy() for name in names}


def results(found: Paper, diagnosed: dict[str, Any], command: str) -> dict[str, Any]:
    """`results.json`; `diagnosed` is the diagnosis in that form, `summary` comes from the page."""
    last = found.last
    return {
        "title": f"The seed paper on {found.setting.name.upper()}, reproduced",
        "networks": [*diagnosed["networks"], *criteria.network_rows(found.pruned)],
        "bounds": [
            *over_training.bound_rows(found.epochs),
            {
                "network": f"epoch {last.epoch}",
                "name": "holdout",
                "kind": "certified",
                "value": over_training.holdout_bound(last, found.data.test.n),
                "sample": found.data.unit_test.name,
                "delta": DELTA,
                "details": {"errors": last.test_errors, "n": found.data.test.n},
            },
            _coded(
                f"epoch {last.epoch} pruned at d = {published_d(last):g}", found.explicit, found
            ),
            _coded(f"supermask {1 - TICKET_DENSITY:.4f}", found.ticket, found),
            *criteria.bound_rows(found.pruned, found.data),
            *diagnosed["bounds"],
        ],
        "diagnostics": diagnosed["diagnostics"],
        "figures": {
            **over_d.figures(found.over_d),
            **over_training.figures(found.epochs, found.data),
            **criteria.figures(found.pruned),
            **found.recovery["figures"],
            **{f"diagnosis-{name}": figure for name, figure in diagnosed["figures"].items()},
        },
        "commands": [{"what": "everything on this page", "command": command}],
    }


def _coded(network: str, issued: Issued, found: Paper) -> dict[str, Any]:
    """A code certificate as a row."""
    return {
        "network": network,
        "name": "occam",
        "kind": "certified",
        "value": issued.risk_bound,
        "sample": found.data.unit_train.name,
        "delta": DELTA,
        "details": {"errors": issued.record.errors, "bits": issued.record.code_bits},
    }
