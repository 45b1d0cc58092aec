"""Add golden certificates: one per method and per way of coding, never regenerated.

    python tests/golden/add.py VERSION

in the project's root writes the folders of `cases` that are not there yet under
tests/golden/VERSION. A certificate once released verifies for ever; a folder that exists is left
alone, whatever this script has become.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from prunecert.api import architecture, certify, open_source, sample_of, select
from prunecert.api.claims.language import UNITS
from prunecert.api.issuing import Issued
from prunecert.api.ladder import Pruning, rung
from prunecert.api.lottery import Lottery, draw_tickets
from prunecert.api.networks import Network
from prunecert.api.posteriors import fitted
from prunecert.api.predicted import certify_predictions
from prunecert.api.runs import Recipe, fit, initial
from prunecert.api.seeded import certify_seeded
from prunecert.api.supermasks import supermask_run
from prunecert.data import predictions
from prunecert.data.text import seeded_text
from prunecert.supermask import Ticket

HERE = Path(__file__).parent
MODEL = "mlp:64-12-10"


def networks() -> tuple[Network, Network, Network]:
    """A dense network and two rungs of digits."""
    built, train = architecture(MODEL), sample_of(open_source("digits"), "train", "train")
    module = initial(built, 0)
    recipe = Recipe("10ep", batch_size=32, learning_rate=0.1)
    fit(module, train, recipe)
    dense = Network(built, {k: v.clone() for k, v in module.state_dict().items()}, "dense")
    middle = rung(dense, 0.5, Pruning(), sample=train, recipe=recipe)
    return dense, middle, rung(middle, 0.8, Pruning(), sample=train, recipe=recipe)


def table(folder: Path) -> Path:
    """Predictions made elsewhere."""
    generator = np.random.RandomState(0)
    labels = generator.randint(0, 5, 300)
    wrong = generator.rand(300) < 0.04
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "P.npz", predictions=np.where(wrong, (labels + 1) % 5, labels), labels=labels)
    return (folder / "P.npz").relative_to(Path.cwd())  # the certificate records what was typed


def small_codebook(network: Network) -> Network:
    """Values that already form a codebook, in half precision."""
    tensors = {
        name: (t.sign() * (t.abs() > 0) * (0.5 + 0.5 * (t.abs() > t.abs().mean()))).half()
        for name, t in network.tensors.items()
    }
    return Network(network.architecture, tensors, "codebook")


def ticket() -> Network:
    """A mask over seeded signs: the second dialect of `network.bin`."""
    with TemporaryDirectory() as place:
        return supermask_run(
            architecture(MODEL),
            sample_of(open_source("digits"), "train", "train"),
            Ticket(density=0.3, seed=5),
            Recipe("10ep", batch_size=32),
            place,
        )


def of_a_lottery(form: str) -> Issued:
    """A level of a lottery: its mask over seeded initial weights, or differences from them."""
    source = open_source("digits")
    settings = Lottery(levels=3, fraction=0.5, rewind="20it")
    train, recipe = sample_of(source, "train", "train"), Recipe("10ep", batch_size=32)
    with TemporaryDirectory() as place:
        *_, level = draw_tickets(MODEL, train, place, settings, recipe, seeds=(5,))
        bound = sample_of(source, "train", "bound")
        return certify_seeded(level.network, level.masks, bound, form=form, delta=0.05)


def in_groups(dense: Network) -> Network:
    """2:4 sparse: the third dialect of `network.bin`."""
    return rung(dense, None, Pruning(scope="2:4"))


def exact() -> Network:
    """Small integers over a front end: evaluated in float64, where no sum is rounded."""
    built = architecture("net:1x8x8,bytes,gradients-4-2-2-3-1,conv-3-2,relu,avg-2,linear-10")
    generator = torch.Generator().manual_seed(3)
    tensors = {
        spec.name: torch.randint(-1, 2, spec.shape, generator=generator) / 8 for spec in built.specs
    }
    return Network(built, tensors, "exact")


def drawn(mean: Network, prior: Network, method: str) -> Issued:
    """Both were trained on the training sample, so that the statement is from the other one."""
    source = open_source("digits")
    recipe = Recipe("2ep", learning_rate=0.0005)
    train = sample_of(source, "train", "train")
    posterior, _ = fitted(mean, prior, train, len(source.test), 0.05, recipe)
    return certify(posterior, source, method=method, prior=prior, sample="test", draws=20)


def text(folder: Path) -> str:
    """Documents of a small grammar; the certificate records what was typed."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "text.txt"
    file.write_bytes(seeded_text(1, 360))
    return str(file.relative_to(Path.cwd()))


def language_model(folder: Path) -> Network:
    """A small causal model of that text, half of its weights pruned."""
    built = architecture("gpt:1-8-2-16")
    train = sample_of(open_source(text(folder)), "train", "train")
    module = initial(built, 0)
    fit(module, train, Recipe("8ep", batch_size=16, optimizer="adamw", learning_rate=0.02))
    dense = Network(built, {k: v.clone() for k, v in module.state_dict().items()}, "dense")
    return rung(dense, 0.5, Pruning())


def cases(folder: Path) -> dict[str, Callable[[], Issued]]:
    dense, middle, sparse = networks()
    every, speaker = [dense, middle, sparse], language_model(folder)
    return {
        "occam": lambda: certify(sparse, "digits"),
        "occam-dense": lambda: certify(dense, "digits"),
        "occam-codebook-fp16": lambda: certify(small_codebook(sparse), "digits", tried=3),
        "holdout": lambda: certify(sparse, "digits", method="holdout"),
        "top-k": lambda: certify(sparse, "digits", method="top-k", k=2),
        "per-class": lambda: certify(sparse, "digits", method="per-class"),
        "disagreement": lambda: certify(sparse, "digits", method="disagreement", dense=dense),
        "cost-of-pruning": lambda: certify(sparse, "digits", method="cost-of-pruning", dense=dense),
        "fixed-sequence": lambda: _issued(select(every, "digits", target_error=0.12)),
        "simultaneous": lambda: _issued(
            select(every, "digits", target_error=0.12, correction="simultaneous")
        ),
        "fixed-sequence-drop": lambda: _issued(
            select(every, "digits", target_error=0.12, dense=dense, max_drop=0.1)
        ),
        "supermask": lambda: certify(ticket(), "digits"),
        "lottery-supermask": lambda: of_a_lottery("supermask"),
        "lottery-difference": lambda: of_a_lottery("difference"),
        "groups": lambda: certify(in_groups(dense), "digits"),
        "exact": lambda: certify(exact(), "digits"),
        "bounded-loss": lambda: certify(sparse, "digits", method="bounded-loss", loss="brier"),
        **{
            method: lambda method=method: certify(sparse, "digits", method=method)
            for method in ("train-and-holdout", "code-or-holdout")
        },
        **{
            method: lambda method=method: certify(sparse, "digits", method=method, dense=dense)
            for method in ("transfer-to-dense", "transfer-to-pruned")
        },
        **{
            method: lambda method=method: drawn(sparse, dense, method)
            for method in ("pac-bayes-kl", "single-draw")
        },
        **{
            f"language-{unit}": lambda unit=unit: certify(
                speaker, text(folder), unit=unit, draws=500
            )
            for unit in UNITS
        },
        "language-top-k": lambda: certify(speaker, text(folder), method="top-k", k=3),
        "predictions": lambda: certify_predictions(predictions(table(folder)), delta=0.05),
    }


def _issued(found) -> Issued:
    assert found.issued is not None, found.sentence
    return found.issued


def main(version: str) -> None:
    torch.set_num_threads(1)
    folder = HERE / version
    for name, make in cases(folder).items():
        if not (folder / name).exists():
            make().write(folder / name)
            print(f"added {folder / name}")


if __name__ == "__main__":
    main(sys.argv[1])
