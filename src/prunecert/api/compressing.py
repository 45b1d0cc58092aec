"""Compress: search sparsity, precision and width for the smallest certificate, within a budget.

Every candidate is trained, coded and counted; the search is free (THEORY 2.1a i), because each of
them is a codeword of one code. Work lives in a folder beside the certificate, one candidate a
folder, so that an interrupted search goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from prunecert import measuring
from prunecert.api import coded
from prunecert.api.attempts import (
    FINE_TUNED,
    GIVEN,
    REFINED,
    TRAINED,
    Attempt,
    Settings,
    best_of,
    next_refined,
    next_settings,
    read_attempts,
    table,
)
from prunecert.api.certification import certify_code, located
from prunecert.api.claims import check_terms
from prunecert.api.counting import Options
from prunecert.api.issuing import Issued
from prunecert.api.networks import Architecture, Network, architecture, open_network, with_log
from prunecert.api.runs import (
    CHECKPOINT,
    CHECKPOINT_EVERY,
    MODEL,
    RunFolder,
    batches_of,
    dump_state,
    load_state,
    open_run,
)
from prunecert.bounds.occam import occam_kl_upper, occam_upper
from prunecert.certificate import ATTEMPTS, check_folder, sha256
from prunecert.coordinate_search import coordinate_search
from prunecert.data import Inputs, Sample
from prunecert.inversions import round_up
from prunecert.models.front_ends import without_front_end
from prunecert.models.narrowing import active_units, embedded, narrow
from prunecert.models.weights import safetensors_bytes
from prunecert.quantization_aware import Precisions, QuantizationAware, rate_objective
from prunecert.training import TrainState, train
from prunecert.types import InputError

LEARNING_RATE = 0.03
PRICE, PRICED_AT = 6.0, 60_000  # where the search of prices begins, for samples of this size
FINE_TUNING_RATE = 0.01  # where the weights start from given ones
FIRST_EPOCHS, FIRST_STEPS = 2, 200  # of the candidate that tells how long an epoch takes
CALIBRATION_ROWS = 512
FEATURE_BATCH = 1000
MAX_BATCH, BATCHES_PER_EPOCH, MIN_BATCH = 200, 20, 16
SEARCH = ".search"  # what is added to the name of the folder


@dataclass(frozen=True)
class Held:
    """A sample after the front end, which no candidate changes: computed once, held in memory."""

    name: str
    inputs: Tensor
    labels: Tensor

    def batches(self, batch_size: int, device: str = "cpu") -> Iterator[tuple[Inputs, Tensor]]:
        for start in range(0, len(self.labels), batch_size):
            rows = slice(start, start + batch_size)
            yield _scaled(self.inputs[rows]).to(device), self.labels[rows].to(device)


@dataclass(frozen=True)
class Search:
    """What all candidates share."""

    model: Architecture
    trunk: Architecture  # what is trained and counted: the model without its front end
    sample: Sample
    held: Held | None  # None where the sample does not fit into memory
    start: Network | None
    delta: float
    options: Options

    def network(self, tensors: dict[str, Tensor]) -> Network:
        before = self.start.log.get("trained_on", []) if self.start else []
        log = {"trained_on": [*before, located(self.sample)], "method": "compress"}
        return Network(self.model, tensors, self.model.spec, log=log)


def compress_network(
    model: Architecture,
    sample: Sample,
    folder: str | Path,
    *,
    delta: float,
    budget: float,
    start: Network | None = None,
    holdout: Sample | None = None,
    trained: Sample | None = None,
    tried: int = 1,
    target: float | None = None,
    levels: int = 1,
    seed: int = 0,
    options: Options = Options(),
) -> tuple[Issued, list[Attempt]]:
    """The smallest certificate found within `budget` seconds of search, not yet written, and every
    attempt on the way.

    The search works in `FOLDER.search`, beside `folder`; called again with the same arguments (the
    budget may differ) it continues there. `start` are weights to begin with. The budget counts what
    earlier calls have used; a candidate under way is finished.
    """
    check_terms(delta, tried, target)
    place = check_folder(folder)
    if not place.name:  # the current folder
        raise InputError(f"{place}: expected a folder with a name, as another one lies beside it")
    work = place.with_name(place.name + SEARCH)
    config = {
        "model": model.spec,
        "model_sha256": model.sha256,
        "data": located(sample),
        "delta": delta,
        "seed": seed,
        "start": None if start is None else start.sha256,
    }
    run = open_run(work, config)
    search = _search(model, sample, start, delta, options)
    attempts = read_attempts(work / ATTEMPTS)
    if start is not None and not attempts:
        given = Settings(GIVEN, levels=0, price=0.0, seed=seed)
        attempts.append(_attempt(search, given, dict(start.tensors), 0.0))
    epochs = max(FIRST_EPOCHS, round(FIRST_STEPS * _batch_size(sample) / sample.n))
    price = float(f"{PRICE * (sample.n / PRICED_AT) ** (1 / 3):.3g}")
    first = Settings(TRAINED, levels, price, 0, epochs, LEARNING_RATE, seed)
    if start is not None:
        first = replace(first, origin=FINE_TUNED, learning_rate=FINE_TUNING_RATE)
    while settings := next_settings(attempts, first, budget, _widest(model)):
        tensors, seconds = _candidate(search, settings, run, len(attempts) + 1)
        attempts.append(_attempt(search, settings, tensors, seconds))
        run.write(ATTEMPTS, table(attempts))
    while search.held and (chosen := next_refined(attempts, budget)):
        settings, tensors, seconds = _refined(search, *chosen, run)
        attempts.append(_attempt(search, settings, tensors, seconds))
        run.write(ATTEMPTS, table(attempts))
    best = best_of(attempts).settings
    if start is not None and best.origin == GIVEN:
        tensors = dict(start.tensors)
    else:
        tensors, _ = _candidate(search, best, run, 0)
    issued = certify_code(
        search.network(tensors),
        sample,
        delta=delta,
        tried=tried,
        target=target,
        holdout=holdout,
        trained=trained,
        given=start,
        options=options,
    )
    return replace(issued, files={**issued.files, ATTEMPTS: table(attempts)}), attempts


def _search(
    model: Architecture, sample: Sample, start: Network | None, delta: float, options: Options
) -> Search:
    """The sample in memory, after the front end where there is one."""
    inputs, labels = batches_of(sample, MAX_BATCH, 0)
    front, trunk = without_front_end(model.module)
    if labels is None:
        return Search(model, model, sample, None, start, delta, options)
    assert isinstance(inputs, Tensor)
    if front is not None:
        inputs = _features(front, inputs, sample, options)
    held = Held(sample.name, inputs, labels)
    return Search(model, architecture(trunk), sample, held, start, delta, options)


@torch.no_grad()
def _features(front: nn.Module, inputs: Tensor, sample: Sample, options: Options) -> Tensor:
    found = []
    with options.stage(f"features of {sample.name}", sample.n) as tick:
        for batch in inputs.split(FEATURE_BATCH):
            found.append(front(_scaled(batch).to(options.device)).cpu())
            tick(len(batch))
    return torch.cat(found)


def _scaled(inputs: Tensor) -> Tensor:
    """Bytes as the models take them."""
    return inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs


def _widest(model: Architecture) -> int:
    """Units of the largest group that may be cut."""
    if model.view.sizes_written:
        return 0
    return max((g.size for g in model.view.groups if g.renumberable), default=0)


def _batch_size(sample: Sample) -> int:
    return max(MIN_BATCH, min(MAX_BATCH, sample.n // BATCHES_PER_EPOCH))


def _candidate(
    search: Search, settings: Settings, run: RunFolder, number: int
) -> tuple[dict[str, Tensor], float]:
    """The tensors of one candidate and the seconds it took; read where it is done already."""
    folder = Path(settings.name)
    done = run.place / folder / MODEL
    if done.exists():
        network = open_network(done, search.model)
        return dict(network.tensors), float(network.log.get("seconds", 0.0))
    checkpoint = run.place / folder / CHECKPOINT
    state, before = load_state(checkpoint), time.monotonic()
    sample = search.sample
    batch_size = _batch_size(sample)
    inputs, labels = (
        (search.held.inputs, search.held.labels)
        if search.held
        else batches_of(sample, batch_size, settings.seed)
    )
    module = QuantizationAware(
        search.trunk.module,
        Precisions(settings.levels, settings.price, settings.units or None, settings.seed),
        next(iter((search.held or sample).batches(CALIBRATION_ROWS)))[0],
        sample.n,
        search.start.tensors if search.start else None,
    )

    def keep(state: TrainState) -> None:
        run.write(str(folder / CHECKPOINT), dump_state(state))

    words = f"candidate {number} (price {settings.price:g})"
    with search.options.stage(words, settings.epochs * -(-sample.n // batch_size)) as tick:
        train(
            module,
            inputs,
            labels,
            steps=f"{settings.epochs}ep",
            batch_size=batch_size,
            learning_rate=settings.learning_rate,
            optimizer="adamw",
            seed=settings.seed,
            objective=rate_objective,
            on_step=lambda step, total, loss: tick(1),
            on_checkpoint=keep,
            checkpoint_every=CHECKPOINT_EVERY,
            resume=state,
            device=search.options.device,
        )
    tensors, seconds = module.tensors(), time.monotonic() - before
    _write(search, settings, tensors, seconds, run)
    checkpoint.unlink(missing_ok=True)
    return tensors, seconds


def _write(
    search: Search, settings: Settings, tensors: dict[str, Tensor], seconds: float, run: RunFolder
) -> None:
    log = {
        **search.network(tensors).log,
        "settings": asdict(settings),
        "seconds": round(seconds, 3),
    }
    run.write(f"{settings.name}/{MODEL}", safetensors_bytes(tensors, with_log(log)))


def _refined(
    search: Search, best: Attempt, seconds: float, run: RunFolder
) -> tuple[Settings, dict[str, Tensor], float]:
    """A candidate after a coordinate search of its active units."""
    assert search.held is not None
    before, settings = time.monotonic(), replace(best.settings, origin=REFINED)
    tensors, _ = _candidate(search, best.settings, run, 0)
    kept = active_units(search.model.view, tensors)
    network = search.trunk.build(tensors)
    narrow(network, kept)
    with search.options.stage("changing single weights", 0) as tick:
        coordinate_search(
            network,
            _scaled(search.held.inputs),
            search.held.labels,
            lambda errors, bits: float(occam_kl_upper(errors, best.n, bits, search.delta)),
            best.code_bits,
            seconds,
            seed=settings.seed,
            tick=tick,
        )
    small = network.state_dict()
    tensors = {
        name: embedded(small[name], torch.zeros_like(tensor), kept.get(name, {}))
        for name, tensor in tensors.items()
    }
    taken = time.monotonic() - before
    _write(search, settings, tensors, taken, run)
    return settings, tensors, taken


def _attempt(
    search: Search, settings: Settings, tensors: dict[str, Tensor], seconds: float
) -> Attempt:
    """The certificate of a candidate: of what its smallest code decodes to, on the whole sample."""
    options, model = search.options, search.model
    before = time.monotonic()
    network = search.network(tensors)
    best = coded.smallest_code(
        network, search.sample, search.delta, options.batch_size, options.device, options.stage
    )
    decoded = model.decode(best.network.data).tensors
    counting = search.trunk.build(decoded)
    narrow(counting, active_units(model.view, decoded))  # the same function, faster
    found = measuring.run(
        counting,
        search.held or search.sample,
        batch_size=options.batch_size,
        device=options.device,
    )
    errors, bits = measuring.count_errors(found), best.network.code.bits
    return Attempt(
        settings,
        nonzeros=sum(int((t != 0).sum()) for t in decoded.values()),
        errors=errors,
        n=found.n,
        code_bits=bits,
        delta=search.delta,
        risk_bound=round_up(float(occam_upper(errors, found.n, bits, search.delta))),
        training_seconds=round(seconds, 3),
        seconds=round(seconds + time.monotonic() - before, 3),
        network_sha256=sha256(best.network.data),
    )
