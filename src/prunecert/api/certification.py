"""Certify: count, claim, write. Code certificates of what decodes; others of what is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from prunecert import measuring
from prunecert.api.claims import CLAIMS, METHODS, Claim, Terms, check_terms, counts_of
from prunecert.api.coded import BestCode, smallest_code
from prunecert.api.counting import Options, Question, counts_for, losses_of, outputs_of
from prunecert.api.issuing import Issued, dense_file, issue
from prunecert.api.networks import Network, refuse_trained_on
from prunecert.api.records import AS_CODED, AS_EXACT, AS_GIVEN
from prunecert.bounds.holdout import holdout_upper
from prunecert.certificate import Baselines, HoldoutBaseline
from prunecert.data import Sample, equal_rows, refuse_shared
from prunecert.inversions import round_up
from prunecert.measuring import Outputs
from prunecert.models.exactness import why_inexact
from prunecert.models.fixed_parts import FixedPart
from prunecert.results import evidence_bytes
from prunecert.types import ClassCounts, Counts, Disagreements, InputError, PairedOutcomes

EQUAL_SHARE = 0.5  # a hold-out most of whose rows stand in the training sample is refused


def certify_code(
    network: Network,
    sample: Sample,
    *,
    delta: float,
    tried: int = 1,
    target: float | None = None,
    holdout: Sample | None = None,
    trained: Sample | None = None,
    given: Network | None = None,
    code: BestCode | None = None,
    options: Options = Options(),
) -> Issued:
    """A code certificate (Occam) from the training sample, of the network that its bytes decode to.

    `tried` = T alternatives that the file does not tell apart (log2 T bits). `holdout`, where there
    is one, yields the hold-out line beside it: another statement, with its own delta. It is left
    out, with a note, where it overlaps what the network was trained on, or `trained`. Changes are
    told against `given`, where that is another network than the one to code. `code` is the code to
    certify, where it is not the smallest found for the network as it is.
    """
    check_terms(delta, tried, target)
    best = code or smallest_code(
        network, sample, delta, options.batch_size, options.device, options.stage
    )
    decoded = replace(network, tensors=network.architecture.decode(best.network.data).tensors)
    decoded = replace(decoded, double=is_exact(decoded, sample))
    found = outputs_of(decoded, sample, options)
    terms = Terms(delta, best.network.code.bits, tried, target)
    claim = CLAIMS["occam"]({"errors": measuring.count_errors(found), "n": found.n}, terms)
    changes = _changes(given or network, decoded, found, sample, options)
    parts = {
        "counts": Counts(claim.errors, claim.n, sample.name),
        "margins": measuring.margins(found),
        "layers": measuring.layers(
            network.architecture.view, decoded.tensors, found.input_norm, sample.name
        ),
        "code": best.network.code,
    }
    details = {
        "bits": dict(best.network.code.parts),
        "bytes": sizes_of(decoded, best.network.data),
    }
    baselines, left_out = _baselines(decoded, holdout, trained, delta, options)
    return issue(
        claim,
        terms,
        decoded,
        best.network.data,
        sample,
        object_text=AS_EXACT if decoded.double else AS_CODED,
        evidence=evidence_bytes(parts, {"changes": changes, "precisions": best.precisions}),
        details=details,
        baselines=baselines,
        notes=(*network.notes, *best.notes, *left_out),
        changes=changes,
    )


def certify_holdout(
    network: Network,
    sample: Sample,
    method: str = "holdout",
    *,
    delta: float,
    tried: int = 1,
    target: float | None = None,
    dense: Network | None = None,
    k: int = 1,
    loss: str = "",
    trained: Sample | None = None,
    options: Options = Options(),
) -> Issued:
    """A statement from a hold-out sample about the weights exactly as given.

    `dense` is the other network of `disagreement` and `cost-of-pruning`; `trained` is the sample
    of the same source that rows of the hold-out may stand in (counted, reported, mostly refused).
    """
    check_terms(delta, tried, target)
    check_method(method, sample, dense)
    involved = [network] if dense is None else [network, dense]
    refuse_trained_on(involved, located(sample))
    terms = Terms(delta, None, tried, target, k)
    counts, parts = _counted(Question(method, network, sample, dense, None, k, loss), options)
    claim = CLAIMS[method](counts, terms)
    code = network.architecture.encode(network.tensors)
    parts |= {**_evidence_of(method, claim, sample.name), "code": code.code}
    details: dict[str, Any] = {"equal_rows": equal_to_trained(trained, sample)}
    extra, named = dense_file(dense)
    details |= named
    return issue(
        claim,
        terms,
        network,
        code.data,
        sample,
        object_text=AS_GIVEN,
        evidence=evidence_bytes(parts, {}),
        details=details,
        notes=network.notes,
        extra_files=extra,
    )


def is_exact(network: Network, sample: Sample) -> bool:
    """True where no sum of evaluating it on such inputs in float64 can be rounded.

    Fixed parts keep their promises for the sizes that a `net:` name was checked for, so a network
    that a user built of them is not called exact.
    """
    module = network.module()
    if network.architecture.declared and any(isinstance(m, FixedPart) for m in module.modules()):
        return False
    return why_inexact(module, bool(getattr(sample.rows, "scaled", False))) is None


def check_method(method: str, sample: Sample, dense: Network | None) -> None:
    """InputError unless the method is one, reads a sample in this role, and has its networks."""
    if method not in METHODS or METHODS[method].coded:
        given = [name for name, known in METHODS.items() if not known.coded]
        raise InputError(f"method {method!r}: expected one of {', '.join(given)}")
    known = METHODS[method]
    if sample.role != known.role:
        raise InputError(f"{method}: expected a sample in the role {known.role}, not {sample.role}")
    if known.compared != (dense is not None):
        expected = "a second network" if known.compared else "no other network"
        raise InputError(f"{method}: expected {expected} to compare with")


def _counted(question: Question, options: Options) -> tuple[dict[str, Any], dict[str, Any]]:
    """Counts, and what else the passes found as evidence."""
    network, sample, method = question.network, question.sample, question.method
    if method == "bounded-loss":
        losses = losses_of(network, sample, question.loss, options)
        return losses.counts(), {"losses@holdout": losses.part()}
    found = outputs_of(network, sample, options, question.k)
    other = None if question.dense is None else outputs_of(question.dense, sample, options)
    view, norm = network.architecture.view, found.input_norm
    parts: dict[str, Any] = {"layers": measuring.layers(view, network.tensors, norm, sample.name)}
    if method == "cost-of-pruning":
        assert other is not None
        alone = measuring.paired_outcomes(other, found).worse  # the two change places
        parts["counts@dense-alone"] = Counts(alone, sample.n, sample.name)
    return counts_for(method, found, other), parts


def _evidence_of(method: str, claim: Claim, sample: str) -> dict[str, Any]:
    """What was counted on a hold-out, named so that no other statement can take it for its own."""
    counts = counts_of(claim)
    if method == "per-class":
        sizes, errors = np.array(counts["class_sizes"]), np.array(counts["class_errors"])
        return {"classcounts": ClassCounts(errors, sizes, sample)}
    if method == "disagreement":
        return {"disagreements": Disagreements(claim.errors, claim.n, sample)}
    if method == "cost-of-pruning":
        worse, better = counts["worse"], counts["better"]
        return {"pairedoutcomes": PairedOutcomes(worse, better, claim.n, sample)}
    if method == "bounded-loss":
        return {}
    return {f"counts@{method}": Counts(claim.errors, claim.n, sample)}


def located(sample: Sample) -> dict[str, Any]:
    """Where the rows of a sample are stored: what a run log records of a training sample."""
    return {
        "origin": sample.origin,
        "split": sample.split,
        "start": sample.start,
        "stop": sample.stop,
        "sample": sample.name,
        "inputs_sha256": sample.inputs_sha256,
    }


def equal_to_trained(trained: Sample | None, sample: Sample) -> int:
    """Hold-out rows equal to a training row: counted; refused where they are the same rows."""
    if trained is None:
        return 0
    refuse_shared(trained, sample)
    equal = equal_rows(trained, sample)
    if equal > EQUAL_SHARE * sample.n:
        raise InputError(
            f"{sample.source}: {equal} of the {sample.n} rows of {sample.name} equal rows of "
            f"{trained.name}: expected a hold-out that overlaps no training sample"
        )
    return equal


def _baselines(
    network: Network,
    holdout: Sample | None,
    trained: Sample | None,
    delta: float,
    options: Options,
) -> tuple[Baselines, tuple[str, ...]]:
    """The hold-out line, or a note why there is none."""
    if holdout is None:
        return Baselines(), ()
    try:
        refuse_trained_on([network], located(holdout))
        equal_to_trained(trained, holdout)
    except InputError as reason:
        return Baselines(), (f"no hold-out line: {reason}",)
    errors = measuring.count_errors(outputs_of(network, holdout, options))
    return Baselines(holdout=holdout_line(holdout, errors, delta)), ()


def holdout_line(holdout: Sample, errors: int, delta: float) -> HoldoutBaseline:
    """The statement of a hold-out beside a code certificate."""
    return HoldoutBaseline(
        sample=holdout.name,
        sha256=holdout.sha256,
        n=holdout.n,
        errors=errors,
        risk_bound=round_up(holdout_upper(errors, holdout.n, delta)),
        delta=delta,
    )


def _changes(
    given: Network, certified: Network, found: Outputs, sample: Sample, options: Options
) -> dict[str, Any]:
    """How far the certified network is from the weights given."""
    before = outputs_of(given, sample, options)
    weights = sum(
        int((given.tensors[name].double() != tensor.double()).sum())
        for name, tensor in certified.tensors.items()
    )
    return {
        "weights_changed": weights,
        "weights": sum(t.numel() for t in given.tensors.values()),
        "largest_logit_difference": _logit_difference(given, certified, sample, options),
        "predictions_changed": int((before.prediction != found.prediction).sum()),
        "errors_of_the_given_weights": measuring.count_errors(before),
        "n": found.n,
    }


@torch.no_grad()
def _logit_difference(a: Network, b: Network, sample: Sample, options: Options) -> float:
    """Largest change of any logit on the first batch of the sample."""
    inputs, _ = next(iter(sample.batches(options.batch_size, options.device)))
    first, second = (
        measuring.logits(n.module().to(options.device), inputs, sample.name) for n in (a, b)
    )
    largest = torch.finfo(first.dtype).max  # where a logit is no number
    return float((first - second).abs().nan_to_num(largest, largest).max())


def sizes_of(network: Network, data: bytes) -> dict[str, int]:
    """Bytes of the tensors as they are, and of the network's code."""
    dense = sum(t.numel() * t.element_size() for t in network.tensors.values())
    return {"dense": dense, "coded": len(data)}
