"""Code certificates of lottery tickets whose initial weights a decoder draws again from a seed.

A level of a lottery is certified in three forms: mask and values (`certify_code`, as any network),
the supermask form (mask, seed, one exponent a tensor: Zhou, Lan, Liu, Yosinski 2019, arXiv
1905.01067) and the difference form (mask, seed, and trained − initial in multiples of a step). The
statement is the same in all of them; only the network that is coded is chosen by another route.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from prunecert.api.certification import certify_code
from prunecert.api.claims import check_terms
from prunecert.api.coded import BestCode, Trial, simplified
from prunecert.api.counting import Options
from prunecert.api.issuing import Issued
from prunecert.api.networks import Network
from prunecert.api.seeded.initial import (
    seed_of,
    seeded_initial,
    seeded_weights,
    ticket,
    unseeded,
)
from prunecert.api.seeded.near import moved
from prunecert.coding import Choice
from prunecert.data import Sample
from prunecert.types import InputError

__all__ = ["DIFFERENCE", "SUPERMASK", "certify_seeded", "seeded_initial", "ticket", "unseeded"]

SUPERMASK, DIFFERENCE = "supermask", "difference"
Found = tuple[dict[str, Tensor], BestCode]


def certify_seeded(
    network: Network,
    masks: Mapping[str, Tensor],
    sample: Sample,
    *,
    form: str,
    delta: float,
    tried: int = 1,
    target: float | None = None,
    holdout: Sample | None = None,
    trained: Sample | None = None,
    options: Options = Options(),
) -> Issued:
    """The code certificate of a trained network in a form that its initial weights make short.

    "supermask": of `ticket(network, masks)`. "difference": of the network whose weights are the
    initial ones and multiples of a step, or the trained ones in few bits, or the supermask, as is
    smallest on a part of the sample. The rest is as in `certify_code`. InputError where the run
    log names no seed, or where the form would need initial values that no seed decides.
    """
    check_terms(delta, tried, target)
    _check(network, masks, form)
    trial = Trial(network, sample, delta, options.batch_size, options.device)
    mask_alone = _supermask(network, masks, trial)
    found = mask_alone
    if form == DIFFERENCE:
        moved_too = _difference(network, trial, mask_alone[1], options)
        found = min(mask_alone, moved_too, key=trial.bound_with)
    return certify_code(
        network,
        sample,
        delta=delta,
        tried=tried,
        target=target,
        holdout=holdout,
        trained=trained,
        code=found[1],
        options=options,
    )


def _check(network: Network, masks: Mapping[str, Tensor], form: str) -> None:
    seed_of(network)
    if form not in (SUPERMASK, DIFFERENCE):
        raise InputError(f"form {form!r}: expected {SUPERMASK} or {DIFFERENCE}")
    if own := unseeded(network.architecture):
        raise InputError(
            f"{network.name}: the {form} form is not available: '{own[0]}' starts from the model's "
            "own initial values, which no seed of a network file decides"
        )
    for name, mask in masks.items():
        weights = network.tensors.get(name)
        if weights is None or mask.shape != weights.shape:
            shape = "no such tensor" if weights is None else f"shape {tuple(weights.shape)}"
            raise InputError(
                f"masks: '{name}' of shape {tuple(mask.shape)}: the network has {shape}"
            )
        if bool((weights[~mask.cpu()] != 0).any()):
            raise InputError(f"masks: '{name}': expected no weights where the mask keeps none")


def _supermask(network: Network, masks: Mapping[str, Tensor], trial: Trial) -> Found:
    """Masks and seed."""
    seed, start = seed_of(network), ticket(network, masks)
    tensors, notes = simplified(start, trial.probe, trial.device, in_place=True)
    said = f"initial weights drawn from seed {seed}: hidden units keep their places"
    choices = {
        name: Choice(values="difference", exponent=exponent)
        for name, exponent in seeded_weights(network.architecture).items()
    }
    code = network.architecture.encode(tensors, choices, seed)
    return tensors, BestCode(code, {}, (said, *notes))


def _difference(network: Network, trial: Trial, mask_alone: BestCode, options: Options) -> Found:
    """Masks, seed and how far the weights have moved."""
    seed, model = seed_of(network), network.architecture
    tensors, notes = simplified(network, trial.probe, trial.device, in_place=True)
    code = mask_alone.network.code
    fixed_bits = float(code.bits - code.parts["values"])  # of almost the same masks
    with options.stage("searching the steps", 0) as tick:
        best = moved(model, tensors, seed, trial, fixed_bits, lambda: tick(1))
    words = {name: str(rung) for name, rung in best.rungs.items()}
    said = f"differences from initial weights of seed {seed}: hidden units keep their places"
    moved_code = model.encode(best.tensors, best.choices, seed)
    return best.tensors, BestCode(moved_code, words, (said, *notes))
