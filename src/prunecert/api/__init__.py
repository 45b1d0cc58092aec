"""The stages, joined: what the commands call, and what `import prunecert` offers.

Each function takes a module (or weights in hand) and data in memory, or what the command line
names; nothing here is reached from a lower layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from prunecert.api.attempts import Attempt
from prunecert.api.certification import certify_code, certify_holdout
from prunecert.api.claims import method_of
from prunecert.api.claims.language import Unit
from prunecert.api.compressing import compress_network
from prunecert.api.counting import Options
from prunecert.api.evidence import measure
from prunecert.api.issuing import Issued
from prunecert.api.ladder import prune
from prunecert.api.language import certify_language
from prunecert.api.networks import Network, architecture, network_of
from prunecert.api.posteriors import DRAWS, certify_draws, prior_rows, unseen_by
from prunecert.api.runs import Recipe, fit
from prunecert.api.samples import (
    compared_with,
    holdout_split,
    open_source,
    sample_of,
    test_sample,
    training_sample,
    two_samples_of,
)
from prunecert.api.selection import Selection
from prunecert.api.selection import select as select_networks
from prunecert.api.two_samples import certify_from_two
from prunecert.api.verification import Verdict, verify
from prunecert.data.text import TextSplit
from prunecert.types import InputError

__all__ = [
    "Attempt",
    "Issued",
    "Options",
    "Recipe",
    "Selection",
    "Verdict",
    "architecture",
    "certify",
    "compress",
    "measure",
    "prune",
    "select",
    "train",
    "verify",
]


def certify(
    network: nn.Module | Network,
    data: Any,
    *,
    delta: float = 0.05,
    method: str = "occam",
    sample: str | None = None,
    dense: nn.Module | Network | None = None,
    second: str | None = None,
    k: int = 1,
    loss: str = "",
    prior: nn.Module | Network | None = None,
    draws: int | None = None,
    unit: Unit | None = None,
    seed: int = 0,
    tried: int = 1,
    target: float | None = None,
    options: Options = Options(),
) -> Issued:
    """A certificate of `network`, not yet on disk (`.write(folder)` puts it there).

    `method` "occam" reads the training sample and is about the network that its own code decodes
    to; "holdout", "top-k", "per-class", "bounded-loss" (of `loss`), "disagreement",
    "cost-of-pruning" read the test sample and are about the weights as given (the last two compare
    with `dense`). "train-and-holdout", "transfer-to-dense" and "transfer-to-pruned" read two
    samples: see `two_samples`. "pac-bayes-kl" and "single-draw" are about networks drawn around
    `network`, against `prior`: see `posteriors`. A text is certified in bits per token, or for the
    top k, by its `unit`: see `language`. `data` is what --data names, a Source, or data in
    memory; arrays given as one pair (x, y) are that sample.
    """
    subject = network if isinstance(network, Network) else network_of(network)
    source = open_source(data)
    if isinstance(source.train, TextSplit):
        if method not in ("occam", "top-k"):
            raise InputError(f"{source.spec}: {method} is not a statement about a text")
        return certify_language(
            subject,
            sample_of(source, sample or "train", "bound"),
            delta=delta,
            unit=unit or "documents",
            k=k if method == "top-k" else None,
            draws=draws,
            seed=seed,
            tried=tried,
            target=target,
            options=options,
        ).issue()
    if unit is not None:
        raise InputError(f"--unit {unit}: {source.spec} is not a text")
    if method == "occam":
        chosen = sample_of(source, sample or "train", "bound")
        return certify_code(
            subject,
            chosen,
            delta=delta,
            tried=tried,
            target=target,
            holdout=test_sample(source) if chosen.split == "train" else None,
            trained=training_sample(source) if chosen.split == "train" else None,
            options=options,
        )
    other = network_of(dense) if isinstance(dense, nn.Module) else dense
    known = method_of(method)
    if known.drawn:
        against = network_of(prior) if isinstance(prior, nn.Module) else prior
        if against is None:
            raise InputError(f"{method}: expected the weights of the prior")
        return certify_draws(
            subject,
            against,
            sample_of(source, sample or unseen_by(against, source), known.role),
            method,
            delta=delta,
            draws=draws or DRAWS,
            prior_sample=prior_rows(against, source),
            tried=tried,
            target=target,
            options=options,
        )
    if known.second:
        first_half, other_half = two_samples_of(source, known.coded)
        return certify_from_two(
            subject,
            method,
            sample_of(source, sample or first_half, known.role),
            sample_of(source, second or other_half, known.second),
            delta=delta,
            tried=tried,
            target=target,
            dense=other,
            trained=training_sample(source),
            options=options,
        )
    chosen = sample_of(source, sample or holdout_split(source), known.role)
    return certify_holdout(
        subject,
        chosen,
        method,
        delta=delta,
        tried=tried,
        target=target,
        dense=other,
        k=k,
        loss=loss,
        trained=compared_with(source, chosen),
        options=options,
    )


def select(
    networks: list[nn.Module] | list[Network],
    data: Any,
    *,
    target_error: float | None = None,
    delta: float = 0.05,
    sample: str | None = None,
    dense: nn.Module | Network | None = None,
    max_drop: float | None = None,
    correction: str = "sequence",
    options: Options = Options(),
) -> Selection:
    """The sparsest of `networks` that the hold-out certifies (THEORY 2.4); see `Selection`."""
    subjects = [n if isinstance(n, Network) else network_of(n) for n in networks]
    source = open_source(data)
    which = sample or holdout_split(source)
    chosen = sample_of(source, which, "holdout")
    return select_networks(
        subjects,
        chosen,
        delta=delta,
        target_error=target_error,
        max_drop=max_drop,
        dense=network_of(dense) if isinstance(dense, nn.Module) else dense,
        correction=correction,
        trained=compared_with(source, chosen),
        options=options,
    )


def compress(
    model: nn.Module | str,
    data: Any,
    folder: str | Path,
    *,
    budget: float,
    delta: float = 0.05,
    start: nn.Module | Network | None = None,
    sample: str | None = None,
    tried: int = 1,
    target: float | None = None,
    levels: int = 1,
    seed: int = 0,
    options: Options = Options(),
) -> tuple[Issued, list[Attempt]]:
    """The smallest certificate found in `budget` seconds, not yet on disk, and all attempts.

    `model` is a module (its weights do not matter) or what --model names; `start` are weights to
    begin with. Work lies in `FOLDER.search`; see `compressing.compress_network`.
    """
    source = open_source(data)
    chosen = sample_of(source, sample or "train", "bound")
    of_train = chosen.split == "train"
    return compress_network(
        architecture(model),
        chosen,
        folder,
        budget=budget,
        delta=delta,
        start=network_of(start) if isinstance(start, nn.Module) else start,
        holdout=test_sample(source) if of_train else None,
        trained=training_sample(source) if of_train else None,
        tried=tried,
        target=target,
        levels=levels,
        seed=seed,
        options=options,
    )


def train(module: nn.Module, data: Any, recipe: Recipe = Recipe(), **how: Any) -> nn.Module:
    """Train `module` in place on the training sample of `data`; `how` as in `fit`."""
    fit(module, sample_of(data, "train", "train"), recipe, **how)
    return module.eval()
