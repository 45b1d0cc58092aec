"""Supermasks in a run folder: scores trained over frozen weights, only the kept weights written."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from prunecert.api.networks import Architecture, Network
from prunecert.api.runs import Recipe, run_in
from prunecert.data import Sample
from prunecert.progress import Stage, quiet
from prunecert.supermask import Supermask, Ticket, default_learning_rate


def supermask_run(
    model: Architecture,
    sample: Sample,
    ticket: Ticket,
    recipe: Recipe,
    folder: str | Path,
    stage: Stage = quiet,
) -> Network:
    """Train a mask over the weights of `ticket` into `folder`, which is taken up as `run_in` says.

    The weights carry the ticket in their run log, which is where `certify` finds the seed.
    """
    if recipe.learning_rate is None:
        rate = default_learning_rate(recipe.optimizer, ticket.density)
        recipe = replace(recipe, learning_rate=rate)
    return run_in(
        folder,
        model,
        sample,
        recipe,
        lambda: Supermask(model.module, ticket),
        Supermask.tensors,
        stage,
        {"supermask": asdict(ticket)},
    )
