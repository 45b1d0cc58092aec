"""What is said about every level: counts, the seed paper's bound, a certificate in each form."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import Any, Literal, get_args

from prunecert import measuring
from prunecert.api.certification import certify_code
from prunecert.api.counting import Options, outputs_of
from prunecert.api.lottery.levels import Level, Say
from prunecert.api.networks import Network
from prunecert.api.seeded import certify_seeded
from prunecert.api.seeded.initial import unseeded
from prunecert.bounds.holdout import holdout_upper
from prunecert.bounds.table import BOUNDS, evaluate
from prunecert.data import Sample
from prunecert.files import locked, write_bytes
from prunecert.inversions import round_up
from prunecert.types import CapacityMeasure

MEASURED = "measured.json"
SEED_BOUND = "mbp-sketch-as-published"
Form = Literal["values", "supermask", "difference"]
FORMS: tuple[Form, ...] = get_args(Form)
FOLDERS = {form: "certificate" if form == "values" else f"certificate-{form}" for form in FORMS}


@dataclass(frozen=True)
class Asked:
    """What is to be said, and from which samples."""

    bound: Sample  # the training rows, in the role of a bound
    holdout: Sample | None
    trained: Sample | None  # all training rows: a hold-out must not equal them
    delta: float = 0.05
    certificates: bool = True
    options: Options = Options()

    @property
    def described(self) -> dict[str, Any]:
        holdout = None if self.holdout is None else self.holdout.inputs_sha256
        return {"delta": self.delta, "certificates": self.certificates, "holdout": holdout}


def measure_level(level: Level, asked: Asked, say: Say = print) -> dict[str, Any]:
    """One row of the curve, from the level's folder where these questions were answered before; a
    certificate there that is damaged is made again, and `say` is told."""
    file = level.folder / MEASURED
    question = {**asked.described, "of": _digest(level)}
    with locked(level.folder):
        try:
            found = json.loads(file.read_text())
            if found["question"] == question:
                if _certificates(level) == found["certificates"]:
                    return dict(found["row"])
                say(f"{level.folder}: a certificate is damaged: all are made again")
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not asked before, or not readable: it is found out again
        row = _row(level, asked)
        noted = {"question": question, "row": row, "certificates": _certificates(level)}
        write_bytes(file, (json.dumps(noted, indent=2, sort_keys=True) + "\n").encode())
    return row


def _digest(level: Level) -> str:
    return hashlib.sha256(level.network.weight_bytes).hexdigest()


def _certificates(level: Level) -> dict[str, str]:
    """The sha256 of every file of the level's certificates."""
    files = [path for name in FOLDERS.values() for path in (level.folder / name).glob("*")]
    return {
        str(path.relative_to(level.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def _row(level: Level, asked: Asked) -> dict[str, Any]:
    on_train = outputs_of(level.network, asked.bound, asked.options)
    row: dict[str, Any] = {
        "seed": level.seed,
        "level": level.number,
        "control": level.control,
        "density": round(level.density, 9),
        "kept": sum(int(mask.sum()) for mask in level.masks.values()),
        "errors": measuring.count_errors(on_train),
        "n": on_train.n,
        "test_errors": None,
        "test_n": None,
        "holdout_bound": None,
        "seed_bound": None,
    }
    if asked.holdout is not None:
        on_test = outputs_of(level.network, asked.holdout, asked.options)
        errors = measuring.count_errors(on_test)
        bound = float(round_up(holdout_upper(errors, on_test.n, asked.delta)))
        row |= {"test_errors": errors, "test_n": on_test.n, "holdout_bound": bound}
    if not level.control:
        row["seed_bound"] = _seed_bound(level, on_train, asked)
        for form in FORMS:
            row |= _certified(level, asked, form)
    return {**row, "seconds": level.seconds, "folder": level.hash}


def _seed_bound(level: Level, on_train: measuring.Outputs, asked: Asked) -> float | None:
    """The seed paper's bound as published (order-only); None where it does not apply."""
    view, tensors = level.network.architecture.view, level.network.tensors
    if not view.relu_chain:
        return None
    with asked.options.stage("the seed paper's bound", measuring.CURVE_POINTS) as tick:
        parts = {
            "margins": measuring.margins(on_train),
            "layers": measuring.layers(view, tensors, on_train.input_norm, on_train.sample),
            "pruningcurve": measuring.pruning_curve(view, tensors, seed=level.seed, tick=tick),
        }
    found = evaluate(BOUNDS[SEED_BOUND], parts, asked.delta)
    return found.value if isinstance(found, CapacityMeasure) else None


def _certified(level: Level, asked: Asked, form: Form) -> dict[str, int | float | str | None]:
    """The certificate of one form, written beside the level; the reason where there is none."""
    if not asked.certificates:
        return {}
    if reason := _unavailable(level.network, form):
        return {f"{form}_reason": reason}
    given: dict[str, Any] = {
        "delta": asked.delta,
        "holdout": asked.holdout,
        "trained": asked.trained,
        "options": asked.options,
    }
    if form == "values":
        issued = certify_code(level.network, asked.bound, **given)
    else:
        issued = certify_seeded(level.network, level.masks, asked.bound, form=form, **given)
    shutil.rmtree(level.folder / FOLDERS[form], ignore_errors=True)  # what is there may be damaged
    issued.write(level.folder / FOLDERS[form])
    return {
        f"{form}_bits": issued.record.code_bits,
        f"{form}_errors": issued.record.errors,
        f"{form}_bound": issued.record.risk_bound,
    }


def _unavailable(network: Network, form: Form) -> str:
    """Why the network cannot be certified in this form, in words."""
    if form == "values":
        return ""
    if network.initial_seed is None:
        return "the initial weights are the model's own, which no seed in a file decides"
    if own := unseeded(network.architecture):
        return f"'{own[0]}' starts from the model's own values, which no seed in a file decides"
    return ""
