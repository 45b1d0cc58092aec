"""The English sentence of a certificate, generated from its other fields, so that it can be
regenerated and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prunecert.certificate.folder import NETWORK
from prunecert.certificate.language_statements import LANGUAGE_CLAIMED, language_samples
from prunecert.certificate.numbers import percent, rounded_up
from prunecert.inversions import round_up
from prunecert.types import CodeError, InputError

DENSE_ONE = "the dense network that it is compared with"


def named(text: str) -> str:
    """`text`, if a certificate can hold it as a name; else InputError."""
    if not 0 < len(text) <= 1000 or not text.isprintable() or '"' in text:
        raise InputError(f"{text!r}: expected a name of printable characters without double quotes")
    return text


Record = Mapping[str, Any]


def statement(record: Record) -> str:
    """The English sentence of a certificate, from its other fields and nothing else."""
    if record["method"] not in CLAIMED:
        raise CodeError(f"certificate.json: method: {record['method']!r} has no statement")
    data, second = record["data"], record["details"].get("second")
    samples = f"the {record['n']:,} samples {data['sample']}"
    if record["method"] in LANGUAGE_CLAIMED:
        samples = language_samples(record)
    if second is not None:
        what = "inputs" if second["role"] == "unlabeled" else "samples"
        samples += f" and the {second['n']:,} {what} {second['sample']}"
    joint = " " if record["method"] in DRAWN else ", "
    return (
        f"With confidence {percent(record['confidence'])} over the draw of {samples} of "
        f'"{data["source"]}"{joint}{CLAIMED[record["method"]](record)}.'
    )


def _risk(record: Record) -> str:
    return f"errs on at most {percent(record['risk_bound'])} of new data drawn alike"


def _increase(record: Record) -> str:
    bound = percent(record["risk_bound"])
    return f"the network errs on at most {bound} more of new data drawn alike than {DENSE_ONE}"


def _occam(record: Record) -> str:
    counted = f"{record['errors']:,} errors counted, a code of {record['code_bits']:,} bits"
    return f"the network in {NETWORK} {_risk(record)} ({counted})"


def _holdout(record: Record) -> str:
    return f"the network {_risk(record)} ({record['errors']:,} errors counted)"


def _top_k(record: Record) -> str:
    return (
        f"the network has the right class missing from its first {record['details']['k']} on at "
        f"most {percent(record['risk_bound'])} of new data drawn alike "
        f"({record['errors']:,} misses counted)"
    )


def _per_class(record: Record) -> str:
    return (
        f"the network errs on at most {percent(record['risk_bound'])} of new data of each of the "
        f"{len(record['details']['per_class'])} classes "
        f"({record['errors']:,} errors counted over all of them)"
    )


def _disagreement(record: Record) -> str:
    return (
        f"the network and {DENSE_ONE} predict differently on at most "
        f"{percent(record['risk_bound'])} of new inputs drawn alike "
        f"({record['errors']:,} disagreements counted)"
    )


def _cost_of_pruning(record: Record) -> str:
    worse, better = record["details"]["worse"], record["details"]["better"]
    return f"{_increase(record)} ({worse:,} samples lost, {better:,} won)"


def _bounded_loss(record: Record) -> str:
    details = record["details"]
    return (
        f"the network has a mean {details['loss']} loss, scaled to lie between 0 and 1, of at most "
        f"{record['risk_bound']:g} on new data drawn alike ({rounded_up(details['mean'])} measured)"
    )


def _train_and_holdout(record: Record) -> str:
    return (
        f"the network in {NETWORK} {_risk(record)} ({record['errors']:,} errors counted in the "
        f"first sample and {record['details']['holdout_errors']:,} in the second, joined in one "
        f"bound; a code of {record['code_bits']:,} bits)"
    )


def _code_or_holdout(record: Record) -> str:
    return (
        f"the network in {NETWORK} {_risk(record)} (the smaller of two bounds at half of the "
        f"failure probability each: {record['errors']:,} errors counted in the first sample with a "
        f"code of {record['code_bits']:,} bits, {record['details']['holdout_errors']:,} in the "
        "second)"
    )


def _transfer_to_dense(record: Record) -> str:
    return (
        f"{DENSE_ONE} {_risk(record)} (it and the network in {NETWORK}, with "
        f"{record['errors']:,} errors counted and a code of {record['code_bits']:,} bits, predict "
        f"differently on {record['details']['count']:,} of the inputs)"
    )


def _transfer_to_pruned(record: Record) -> str:
    return (
        f"the network {_risk(record)} ({record['errors']:,} errors counted of {DENSE_ONE}, "
        f"different predictions on {record['details']['count']:,} of the inputs)"
    )


def _pac_bayes_kl(record: Record) -> str:
    details = record["details"]
    return (
        f"and of {details['draws']:,} networks, the randomised network around {NETWORK}, which "
        f"draws its weights afresh for each prediction, {_risk(record)} ({record['errors']:,} "
        f"errors counted in {details['draws'] * record['n']:,} predictions, a divergence of "
        f"{round_up(details['kl_nats'], 1):,.1f} nats from a prior made without the samples)"
    )


def _single_draw(record: Record) -> str:
    ratio = rounded_up(record["details"]["log_ratio_nats"])
    return (
        f"and of one network from a posterior, that network, in {NETWORK}, {_risk(record)} "
        f"({record['errors']:,} errors counted, a log-density ratio of {ratio} nats to a prior "
        "made without the samples)"
    )


def _selected(record: Record) -> str:
    details = record["details"]
    risk = f"the network {_risk(record)}" if "target_error" in details else _increase(record)
    return f"{risk}{_chosen(details)}"


DRAWN = ("pac-bayes-kl", "single-draw")  # over the draw of samples "and of" networks
# one sentence for each method; what comes before it is the same for all
CLAIMED: dict[str, Callable[[Record], str]] = {
    "occam": _occam,
    "holdout": _holdout,
    "top-k": _top_k,
    "per-class": _per_class,
    "disagreement": _disagreement,
    "cost-of-pruning": _cost_of_pruning,
    "bounded-loss": _bounded_loss,
    "train-and-holdout": _train_and_holdout,
    "code-or-holdout": _code_or_holdout,
    "transfer-to-dense": _transfer_to_dense,
    "transfer-to-pruned": _transfer_to_pruned,
    "pac-bayes-kl": _pac_bayes_kl,
    "single-draw": _single_draw,
    "fixed-sequence": _selected,
    "simultaneous": _selected,
    **LANGUAGE_CLAIMED,
}


def _chosen(details: Mapping[str, Any]) -> str:
    """The second limit, where there are two, and where the network stands in its list."""
    both = "target_error" in details and "max_drop" in details
    drop = f", and on at most {percent(details['max_drop'])} more than {DENSE_ONE}" if both else ""
    place = "the last"
    if details["sparsity"] is not None:
        place = f"with {percent(details['sparsity'])} zeros the sparsest"
    return f"{drop} ({place} of {details['accepted']} accepted of {details['networks']} networks)"
