"""A network becomes a row of the table: counts on both samples, and every statement on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunecert import measuring
from prunecert.api.certification import located
from prunecert.api.counting import Options, outputs_of
from prunecert.api.evidence import evidence_file, measure, measure_weights
from prunecert.api.networks import Network, refuse_trained_on
from prunecert.api.runs import initial, state_of
from prunecert.bounds.table import BOUNDS, VACUOUS, evaluate
from prunecert.progress import Stage
from prunecert.sweep.config import IMP
from prunecert.sweep.subjects import Subject
from prunecert.training import LEARNING_RATES
from prunecert.types import (
    CapacityMeasure,
    Certificate,
    Counts,
    Evidence,
    InputError,
    Margins,
    Outcomes,
)

# the statements that evidence can be asked, each a column
OF_SMALLEST_MARGIN = (
    "golowich-2018", "galanti-2023", "neyshabur-2015", "bartlett-2017", "bartlett-2017-as-coded",
    "bartlett-2017-theorem", "neyshabur-2018", "neyshabur-2018-theorem", "arora-2018",
)  # fmt: skip
WITH_MARGIN_RISK = ("mbp-sketch-as-published", "mbp-sketch-as-in-theorem")
STATEMENTS = (
    *(
        name
        for name, spec in BOUNDS.items()
        if spec.from_evidence is not None and not any("@" in need for need in spec.needs)
    ),
    *(f"{name}-p10" for name in OF_SMALLEST_MARGIN),
    *(f"{name}-capacity" for name in WITH_MARGIN_RISK),
)
SIGN, DROPPED = np.int32(-(1 << 31)), np.int32((1 << 12) - 1)  # of a float32's bits
RISK = "zero-one risk"  # what the training error is subtracted from
AXES = (
    "model", "data", "depth", "width", "n", "label_noise", "epochs", "steps", "batch_size", "lr",
    "optimizer", "momentum", "weight_decay", "schedule", "method", "scope", "retrain_epochs",
    "levels", "rewind", "sparsity", "seed",
)  # fmt: skip


def axes(subject: Subject, sparsity: float) -> dict[str, Any]:
    """The hyper-parameters of a network; `sparsity` is the one that was asked for."""
    config = subject.config
    known = {name: getattr(config, name, None) for name in AXES} | {
        "n": subject.train.n,
        "lr": LEARNING_RATES[config.optimizer] if config.lr is None else config.lr,
        "sparsity": sparsity,
    }
    if config.method != IMP:
        known |= {"levels": None, "rewind": None}
    if config.steps is None and config.epochs is None:
        known["epochs"] = int(config.length.removesuffix("ep"))
    return {f"axis.{name}": known[name] for name in AXES}


def measured(network: Network, subject: Subject, stage: Stage) -> tuple[dict[str, Any], bytes]:
    """What was measured of a network as columns, and its evidence file."""
    parts = _evidence(network, subject, stage)
    train, test = parts["counts"], parts["counts@holdout"]
    row: dict[str, Any] = {
        "network": network.sha256[:16],
        "n": train.n,
        "train_errors": train.errors,
        "test_n": test.n,
        "test_errors": test.errors,
        "gap": test.errors / test.n - train.errors / train.n,
        **_size(network),
        "code_bits": parts["code"].bits if "code" in parts else None,
    }
    if subject.config.measure:
        row |= statements(parts, subject.config.delta)
    return row, evidence_file(network, subject.train, parts)


def _evidence(network: Network, subject: Subject, stage: Stage) -> dict[str, Any]:
    config, options = subject.config, Options(device=subject.config.device, stage=stage)
    refuse_trained_on([network], located(subject.test))
    wrong = outputs_of(network, subject.test, options).wrong(measuring.TOLERANCE)
    held = {
        "counts@holdout": Counts(int(wrong.sum()), len(wrong), subject.test.name),
        "outcomes@holdout": Outcomes(wrong, subject.test.name),
    }
    if not config.measure:
        found = outputs_of(network, subject.train, options)
        counts = Counts(measuring.count_errors(found), found.n, subject.train.name)
        return {"counts": counts, **held}
    parts = measure(
        network,
        subject.train,
        seed=config.seed,
        points=config.curve_points,
        cushion_rows=config.cushion_rows,
        options=options,
    )
    parts["margins"] = Margins(shortened(parts["margins"].values), parts["margins"].sample)
    start = initial(subject.model, config.seed)
    weights = measure_weights(
        network,
        subject.train,
        initial=replace(network, tensors=state_of(start)),
        flatness=config.flatness,
        rows=config.flatness_rows,
        seed=config.seed,
        options=options,
    )
    return {**parts, **weights, **held}


def shortened(margins: NDArray[np.float64]) -> NDArray[Any]:
    """In rising order, at most what they were, and with 12 bits of mantissa: what reads margins
    reads their order statistics, which are now short to store, and a bound can only grow."""
    near = np.sort(margins).astype(np.float32)
    near = np.where(near > np.sort(margins), np.nextafter(near, np.float32(-np.inf)), near)
    bits = near.view(np.int32)
    sign, size = bits & SIGN, bits & ~SIGN
    size = np.where(sign == 0, size, size + DROPPED) & ~DROPPED  # away from 0 below it
    return (sign | size).astype(np.int32).view(np.float32)


def statements(parts: Evidence, delta: float) -> dict[str, float]:
    """Bounds on the risk with the training error subtracted; order-only values as they are;
    nothing where a statement does not apply, is about something else, or is not finite, nor where
    a bound is vacuous: what is left of it then is the training error alone.

    None sees the test sample. What reads the smallest margin stands a second time, under a name
    that ends in `-p10`: at the tenth percentile, as the measures of arXiv 1912.02178 are read,
    which is positive where a few training samples are wrong. The seed paper's bound is on the risk,
    too; `-capacity` is what it has beside the margin risk on the sample.
    """
    margins = parts["margins"].values.astype(np.float64)
    seen = {name: part for name, part in parts.items() if "@" not in name}
    train_error = parts["counts"].errors / parts["counts"].n
    above = margins[max(1, margins.size // 10) - 1 :]  # its smallest is the tenth percentile
    found = {
        f"{name}{end}": value
        for end, values in (("", margins), ("-p10", above))
        for name, value in _evaluated({**seen, "margins": Margins(values)}, delta, train_error)
        if not end or name in OF_SMALLEST_MARGIN
    }
    return {f"measure.{name}": value for name, value in found.items() if math.isfinite(value)}


def _evaluated(parts: Evidence, delta: float, train_error: float) -> Iterator[tuple[str, float]]:
    for spec in BOUNDS.values():
        try:
            result = evaluate(spec, parts, delta)
        except InputError:  # a number that its theorem does not cover, such as a dead layer's norm
            continue
        if isinstance(result, Certificate) and result.quantity == RISK:
            if result.risk_bound < VACUOUS:
                yield result.name, result.risk_bound - train_error
        elif isinstance(result, CapacityMeasure):
            yield result.name, float(result.value)
            if result.name in WITH_MARGIN_RISK:
                yield f"{result.name}-capacity", float(result.details["capacity"])


def _size(network: Network) -> dict[str, Any]:
    names = [name for name, _ in network.architecture.module.named_parameters()]
    return {
        "sparsity": network.sparsity,
        "nonzeros": sum(int((network.tensors[name] != 0).sum()) for name in names),
        "parameters": sum(network.tensors[name].numel() for name in names),
    }
