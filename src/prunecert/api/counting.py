"""What a statement counts: the same passes for certify, cautiously, and for verify, strictly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunecert import measuring, measuring_losses
from prunecert.api.claims import METHODS
from prunecert.api.networks import Network
from prunecert.bounds.sampling import mean_log_right_of
from prunecert.data import Sample
from prunecert.inversions import round_down, round_up
from prunecert.measuring import TOLERANCE, Outputs
from prunecert.posterior import Posterior, draw_errors, draw_noise, kl_nats, log_ratio_nats
from prunecert.progress import Stage, quiet


@dataclass(frozen=True)
class Options:
    """How the work is done; nothing here changes what is claimed."""

    batch_size: int = measuring.DEFAULT_BATCH
    device: str = "cpu"
    stage: Stage = quiet


@dataclass(frozen=True)
class Question:
    """Who is counted on what. `dense` and `second` are there where the method reads them."""

    method: str
    network: Network
    sample: Sample
    dense: Network | None = None
    second: Sample | None = None
    k: int = 1
    loss: str = ""
    posterior: Posterior | None = None  # that `network` is the mean of, or was drawn from
    draws: int = 1
    seed_text: str = ""  # what the draws are seeded with


def outputs_of(network: Network, sample: Sample, options: Options, k: int = 1) -> Outputs:
    """One pass of a network over a sample, with progress."""
    with options.stage(f"evaluating on {sample.name}", sample.n) as tick:
        return measuring.run(
            network.module(),
            sample,
            k=k,
            batch_size=options.batch_size,
            device=options.device,
            double=network.double,
            tick=tick,
        )


def losses_of(
    network: Network, sample: Sample, loss: str, options: Options
) -> measuring_losses.MeasuredLosses:
    """One pass of a network over a sample, for its losses."""
    with options.stage(f"evaluating on {sample.name}", sample.n) as tick:
        return measuring_losses.run(
            network.module(),
            sample,
            loss,
            batch_size=options.batch_size,
            device=options.device,
            tick=tick,
        )


def count(question: Question, options: Options, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """The counts that the claim of this method is made from; `tolerance` 0 counts strictly."""
    method, network, sample = question.method, question.network, question.sample
    if method == "bounded-loss":
        return losses_of(network, sample, question.loss, options).counts(tolerance > 0)
    if METHODS[method].drawn:
        return counts_of_draws(question, errors_by_draw(question, options, tolerance))
    if METHODS[method].second:
        return _on_two_samples(question, options, tolerance)
    found = outputs_of(network, sample, options, question.k)
    other = None if question.dense is None else outputs_of(question.dense, sample, options)
    return counts_for(method, found, other, tolerance)


def counts_for(
    method: str, found: Outputs, other: Outputs | None, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """What a method counts in one pass (or two) over a sample."""
    if method == "per-class":
        classes = measuring.class_counts(found, tolerance)
        return {
            "n": found.n,
            "class_errors": classes.errors.tolist(),
            "class_sizes": classes.n.tolist(),
        }
    if method == "disagreement":
        assert other is not None
        return {"n": found.n, "errors": measuring.disagreements(found, other, tolerance).count}
    if method == "cost-of-pruning":
        assert other is not None
        pairs = measuring.paired_outcomes(found, other, tolerance)
        return {"n": found.n, "worse": pairs.worse, "better": pairs.better}
    return {"n": found.n, "errors": measuring.count_errors(found, tolerance)}


def _on_two_samples(question: Question, options: Options, tolerance: float) -> dict[str, Any]:
    """Errors on the first sample; on the second errors too, or disagreements."""
    network, dense, second = question.network, question.dense, question.second
    assert second is not None
    if dense is None:
        errors, more = (
            measuring.count_errors(outputs_of(network, sample, options), tolerance)
            for sample in (question.sample, second)
        )
        on_second = {"holdout_errors": more, "holdout_n": second.n}
    else:
        judged = dense if question.method == "transfer-to-pruned" else network
        errors = measuring.count_errors(outputs_of(judged, question.sample, options), tolerance)
        passes = (outputs_of(one, second, options) for one in (network, dense))
        differ = measuring.disagreements(*passes, tolerance)
        on_second = {"count": differ.count, "inputs": second.n}
    return {"n": question.sample.n, "errors": errors, **on_second}


def errors_by_draw(
    question: Question, options: Options, tolerance: float = TOLERANCE
) -> NDArray[np.int64]:
    """Errors of each network drawn, over the whole sample, shape (draws,)."""
    assert question.posterior is not None
    architecture, sample = question.network.architecture, question.sample
    held = list(sample.batches(options.batch_size, options.device))
    with options.stage(f"drawing weights, evaluating on {sample.name}", question.draws) as tick:
        return draw_errors(
            question.posterior,
            lambda tensors: architecture.build(architecture.with_second_names(tensors)),
            held,
            question.draws,
            question.seed_text,
            tolerance,
            tick,
            device=options.device,
        )


def counts_of_draws(question: Question, by_draw: NDArray[np.int64]) -> dict[str, Any]:
    """Errors of all draws together, and the nats that posterior or draw are charged; of many draws
    also the mean logarithm of their rates of right answers."""
    posterior = question.posterior
    assert posterior is not None
    counts = {"n": question.sample.n, "errors": int(by_draw.sum())}
    if question.method == "single-draw":
        noise = draw_noise(posterior, question.seed_text, 0)
        return counts | {"log_ratio_nats": round_up(log_ratio_nats(posterior, noise))}
    return counts | {
        "draws": question.draws,
        "kl_nats": round_up(kl_nats(posterior)),
        "mean_log_right": round_down(mean_log_right_of(by_draw, question.sample.n), 9),
    }
