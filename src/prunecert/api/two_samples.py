"""Certify from two samples: training and hold-out in one number, and transfers between a dense and
a pruned network by inputs without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prunecert.api import coded
from prunecert.api.certification import equal_to_trained, is_exact, located, sizes_of
from prunecert.api.claims import METHODS, Terms, check_terms
from prunecert.api.counting import Options, Question, count
from prunecert.api.issuing import Issued, dense_file, issue
from prunecert.api.networks import Network, refuse_trained_on
from prunecert.api.records import object_of
from prunecert.coding import CodedNetwork
from prunecert.data import Sample, refuse_shared
from prunecert.results import evidence_bytes
from prunecert.types import Counts, Disagreements, InputError


def certify_from_two(
    network: Network,
    method: str,
    sample: Sample,
    second: Sample,
    *,
    delta: float,
    tried: int = 1,
    target: float | None = None,
    dense: Network | None = None,
    trained: Sample | None = None,
    options: Options = Options(),
) -> Issued:
    """A statement from two disjoint samples (THEORY 2.5, 2.14).

    `train-and-holdout`, `code-or-holdout`: errors of the network that the code decodes to on both
    samples, in one event or in two. With `dense`:
    `transfer-to-dense` carries the code certificate of the pruned network over to it,
    `transfer-to-pruned` its own hold-out over to the pruned one; `second` has no labels.
    """
    check_terms(delta, tried, target)
    known = METHODS[method]
    if known.compared != (dense is not None):
        raise InputError(f"{method}: expected {'a' if known.compared else 'no'} dense network")
    if known.second == "holdout":
        equal_to_trained(sample, second)
    refuse_shared(sample, second)
    held_out = [second] if known.coded else [sample, second]
    for one in held_out:
        refuse_trained_on([network] if dense is None else [network, dense], located(one))
    if known.coded:
        subject, code, notes = _smallest(network, sample, delta, options)
        exact = dense is None and is_exact(subject, sample) and is_exact(subject, second)
        subject = replace(subject, double=exact)
    else:
        code = network.architecture.encode(network.tensors)
        subject, notes = network, network.notes
    terms = Terms(delta, code.code.bits if known.coded else None, tried, target)
    counts = count(Question(method, subject, sample, dense, second), options)
    details: dict[str, Any] = {
        "second": described(second),
        "equal_rows": sum(equal_to_trained(trained, one) for one in held_out),
    }
    if known.coded:
        details |= {"bits": dict(code.code.parts), "bytes": sizes_of(subject, code.data)}
    extra, named = dense_file(dense)
    details |= named
    parts = _evidence(method, counts, sample, second) | {"code": code.code}
    return issue(
        known.claim(counts, terms),
        terms,
        subject,
        code.data,
        sample,
        object_text=object_of(method, subject.double),
        evidence=evidence_bytes(parts, {}),
        details=details,
        notes=notes,
        extra_files=extra,
    )


def _smallest(
    network: Network, sample: Sample, delta: float, options: Options
) -> tuple[Network, CodedNetwork, tuple[str, ...]]:
    """The network that the smallest code found decodes to, the code, and what was done."""
    best = coded.smallest_code(
        network, sample, delta, options.batch_size, options.device, options.stage
    )
    tensors = network.architecture.decode(best.network.data).tensors
    return replace(network, tensors=tensors), best.network, (*network.notes, *best.notes)


def described(second: Sample) -> dict[str, Any]:
    """The second sample as a certificate names it."""
    return {"role": second.role, "sample": second.name, "n": second.n, "sha256": second.sha256}


def _evidence(
    method: str, counts: Mapping[str, Any], sample: Sample, second: Sample
) -> dict[str, Any]:
    """What was counted, named so that no other statement can take it for its own."""
    errors = Counts(counts["errors"], counts["n"], sample.name)
    if "holdout_errors" in counts:
        more = Counts(counts["holdout_errors"], counts["holdout_n"], second.name)
        return {"counts": errors, "counts@holdout": more}
    differ = Disagreements(counts["count"], counts["inputs"], second.name)
    name = "counts" if METHODS[method].coded else "counts@dense-holdout"
    return {name: errors, "disagreements": differ}
