"""Certificates about networks drawn from a posterior: PAC-Bayes with everything in the folder.

The folder holds the mean weights, the prior's weights and one variance per tensor, so that `verify`
draws the same weights again, counts them again and computes the divergence again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prunecert.api.certification import equal_to_trained, located
from prunecert.api.claims import METHODS, Terms, check_terms
from prunecert.api.counting import Options, Question, counts_of_draws, errors_by_draw
from prunecert.api.issuing import Issued, issue
from prunecert.api.networks import Network, refuse_trained_on
from prunecert.api.records import object_of
from prunecert.api.runs import Recipe, batches_of
from prunecert.api.two_samples import described
from prunecert.certificate import MOST_DRAWS, POSTERIOR, PRIOR, sha256
from prunecert.data import Sample, Source, take
from prunecert.posterior import (
    FIRST_EXPONENT,
    Posterior,
    draw,
    draw_noise,
    fit_posterior,
    kl_nats,
)
from prunecert.reference.posterior import Rule, choices_nats, gaussian_nats
from prunecert.reference.posterior import log_ratio_nats as log_ratio_twin
from prunecert.results import evidence_bytes
from prunecert.types import CodeError, Gibbs, InputError, SingleDraw

DRAWS = 1000
LOG_FIELD = "posterior"  # of the run log in a weights file: the variances of a posterior


@dataclass(frozen=True)
class Variances:
    """What a posterior is besides its mean and its prior: variances 2^-exponent."""

    exponents: Mapping[str, int]
    prior_exponent: int


def variances_of(mean: Network) -> Variances:
    """The variances that the run log of a weights file names; InputError where it names none."""
    try:
        found = mean.log[LOG_FIELD]
        exponents = {str(name): int(e) for name, e in found["exponents"].items()}
        return Variances(exponents, int(found["prior_exponent"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"{mean.name}: names no variances: expected weights written by `prunecert posterior`"
        ) from None


def prior_rows(prior: Network, source: Source) -> Sample | None:
    """The training rows of this source that the prior's run log names, in one slice; None where it
    names none."""
    if source.train is None:
        return None
    whole = take(source, "train", "prior")
    used = [
        (row["start"], row["stop"])
        for row in prior.log.get("trained_on", [])
        if (row.get("origin"), row.get("split")) == (whole.origin, whole.split)
    ]
    if not used:
        return None
    first, last = min(start for start, _ in used), max(stop for _, stop in used)
    return take(source, f"train[{first}:{last}]", "prior")


def unseen_by(prior: Network, source: Source) -> str:
    """The training rows that the prior's run log does not name; InputError where they are no one
    slice."""
    used = prior_rows(prior, source)
    if used is None:
        raise InputError(
            f"{prior.name}: no run log says which rows of {source.spec} it was made from: expected "
            "--sample with rows that it has not seen, such as train[600:]"
        )
    if used.start == 0 and used.stop < len(used.rows):
        return f"train[{used.stop}:]"
    if used.start > 0 and used.stop == len(used.rows):
        return f"train[:{used.start}]"
    raise InputError(
        f"{prior.name}: its run log says it was trained on {used.name}: expected a prior made from "
        "the first or the last part of the training rows, or --sample with rows it has not seen"
    )


def fitted(
    mean: Network,
    prior: Network,
    sample: Sample,
    n_bound: int,
    delta: float,
    recipe: Recipe,
    first_exponent: int = FIRST_EXPONENT,
    on_step: Callable[[int, int, float], None] | None = None,
) -> tuple[Network, float]:
    """`mean` trained on `sample` for the PAC-Bayes bound on `n_bound` rows that the prior has not
    seen, with its variances (2^-first_exponent to begin with) in its run log; and what it costs in
    nats. Pruned weights stay zero."""
    architecture = mean.architecture
    inputs, labels = batches_of(sample, recipe.batch_size, recipe.seed)
    posterior = fit_posterior(
        mean.module(),
        prior.tensors,
        architecture.prunable(),
        inputs,
        labels,
        n_bound=n_bound,
        delta=delta,
        steps=recipe.steps,
        first_exponent=first_exponent,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        seed=recipe.seed,
        on_step=on_step,
        device=recipe.device,
    )
    exponents = {name: int(e) for name, e in sorted(posterior.exponents.items())}
    log = {
        **mean.log,
        "trained_on": [*mean.log.get("trained_on", []), located(sample)],
        LOG_FIELD: {"exponents": exponents, "prior_exponent": posterior.prior_exponent},
    }
    tensors = architecture.with_second_names(dict(posterior.mean))
    return replace(mean, tensors=tensors, log=log), kl_nats(posterior)


def posterior_of(mean: Network, prior: Network, variances: Variances) -> Posterior:
    """Q and P; tied tensors once."""
    names = [s.name for s in mean.architecture.specs if s.alias_of is None]
    return Posterior(
        {name: mean.tensors[name] for name in names},
        {name: prior.tensors[name] for name in names},
        dict(variances.exponents),
        variances.prior_exponent,
        mean.architecture.prunable(),
    )


def seed_text(mean_code: bytes, prior_code: bytes, variances: Variances) -> str:
    """What the draws are seeded with: nobody can choose it and the posterior both."""
    exponents = json.dumps([sorted(variances.exponents.items()), variances.prior_exponent])
    return sha256(mean_code + prior_code + exponents.encode())


def certify_draws(
    mean: Network,
    prior: Network,
    sample: Sample,
    method: str,
    *,
    delta: float,
    draws: int = DRAWS,
    prior_sample: Sample | None = None,
    tried: int = 1,
    target: float | None = None,
    options: Options = Options(),
) -> Issued:
    """`pac-bayes-kl` of the randomised network around `mean`, or `single-draw` from it.

    `mean` carries its variances (`prunecert posterior`); `prior` was made without the sample, from
    `prior_sample` where that is known.
    """
    check_terms(delta, tried, target)
    if not 1 <= draws <= MOST_DRAWS:
        raise InputError(f"--draws {draws}: expected 1 to {MOST_DRAWS:,}")
    refuse_trained_on([prior], located(sample))
    if prior_sample is not None:
        equal_to_trained(prior_sample, sample)
    variances = variances_of(mean)
    posterior = posterior_of(mean, prior, variances)
    architecture = mean.architecture
    codes = architecture.encode(mean.tensors), architecture.encode(prior.tensors)
    seed = seed_text(codes[0].data, codes[1].data, variances)
    once = method == "single-draw"
    subject = replace(mean, tensors=drawn(mean, posterior, seed)) if once else mean
    code = architecture.encode(subject.tensors) if once else codes[0]
    question = Question(
        method, subject, sample, posterior=posterior, draws=1 if once else draws, seed_text=seed
    )
    by_draw = errors_by_draw(question, options)
    counts = counts_of_draws(question, by_draw)
    terms = Terms(delta, None, tried, target)
    claim = METHODS[method].claim(counts, terms)
    extra = {PRIOR: codes[1].data} | ({POSTERIOR: codes[0].data} if once else {})
    part: Gibbs | SingleDraw = Gibbs(by_draw, sample.n, counts.get("kl_nats", 0.0), sample.name)
    if once:
        part = SingleDraw(claim.errors, sample.n, counts["log_ratio_nats"], sample.name)
    return issue(
        claim,
        terms,
        subject,
        code.data,
        sample,
        object_text=object_of(method),
        evidence=evidence_bytes({"singledraw" if once else "gibbs": part, "code": code.code}, {}),
        details=details_of(mean, prior, variances, extra, prior_sample),
        notes=mean.notes,
        extra_files=extra,
    )


def drawn(mean: Network, posterior: Posterior, seed: str) -> dict[str, Any]:
    """The one network drawn, tied names filled in."""
    return mean.architecture.with_second_names(draw(posterior, seed, 0))


def details_of(
    mean: Network,
    prior: Network,
    variances: Variances,
    files: Mapping[str, bytes],
    prior_sample: Sample | None,
) -> dict[str, Any]:
    """The posterior as a certificate names it: hashes of its files, its variances, and what its
    prior was made from."""
    details: dict[str, Any] = {
        "prior": {"sha256": sha256(files[PRIOR]), "weights_sha256": prior.sha256},
        "exponents": dict(sorted(variances.exponents.items())),
        "prior_exponent": variances.prior_exponent,
    }
    if prior_sample is not None:
        details["prior_sample"] = described(prior_sample)
    if POSTERIOR in files:
        details["posterior"] = {"sha256": sha256(files[POSTERIOR]), "weights_sha256": mean.sha256}
    return details


def ask_the_twin(question: Question, recorded: Mapping[str, float]) -> None:
    """CodeError where the fifty-digit computation finds the posterior dearer than recorded."""
    posterior = question.posterior
    assert posterior is not None
    values, choices = posterior.values, choices_nats(_rules(posterior))
    numbers = (
        values.mean.tolist(),
        values.exponents.astype(int).tolist(),
        values.prior.tolist(),
        posterior.prior_exponent,
    )
    if question.method == "single-draw":
        noise = draw_noise(posterior, question.seed_text, 0)
        name, nats = "log_ratio_nats", choices + log_ratio_twin(*numbers, noise.tolist())
    else:
        name, nats = "kl_nats", choices + gaussian_nats(*numbers)
    if nats > recorded[name]:
        raise CodeError(f"details.{name}: {recorded[name]} is below {float(nats):.8f}")


def _rules(posterior: Posterior) -> list[list[Rule]]:
    """Per prunable tensor, the choices of every rule of the prior that gives its kept weights."""
    tensors: list[list[Rule]] = []
    for name in posterior.prunable:
        kept = posterior.kept[name]
        support = posterior.prior[name].float().cpu().numpy() != 0
        size, columns_of = int(kept.sum()), math.prod(kept.shape[1:])
        matrix = kept.reshape(kept.shape[0] if kept.ndim else 1, columns_of)
        rows, columns = int(matrix.any(axis=1).sum()), int(matrix.any(axis=0).sum())
        crossing = [(matrix.shape[0], rows), (columns_of, columns), (rows * columns, size)]
        rules: list[Rule] = [[(kept.size, size)], crossing]
        rules += [[(int(support.sum()), size)]] if not (kept & ~support).any() else []
        rules += [[]] if (kept == support).all() else []
        tensors.append(rules)
    return tensors
