"""What a lottery is told beforehand; the same for every seed."""

from __future__ import annotations

from dataclasses import dataclass

from prunecert.api.runs import Recipe
from prunecert.data import Sample
from prunecert.pruning.lottery import FRACTION, LOTTERY_SCOPES
from prunecert.pruning.scopes import unknown
from prunecert.training import Steps
from prunecert.types import InputError

WEIGHTS, RATE, FINE_TUNE = "weights", "lr", "fine-tune"
REWINDINGS = (WEIGHTS, RATE, FINE_TUNE)
RANDOM_MASK, REINIT, NO_REWINDING = "random-mask", "reinit", "no-rewinding"
CONTROLS = (RANDOM_MASK, REINIT, NO_REWINDING)
SEEDED, OWN = "seeded", "model"
INITIAL = (SEEDED, OWN)
LEVELS, MOST_LEVELS = 8, 100
FINE_TUNING = 0.01  # of the learning rate: where a step schedule ends (Renda et al. 2020)
DEFAULT_EPOCHS, DEFAULT_STEPS = 20, 2000  # of a level, whichever is longer


@dataclass(frozen=True)
class Lottery:
    """Iterative magnitude pruning: level 0 is dense, each level removes `fraction` of what is left.

    `rewind` is the step k whose weights the levels return to ("0it": the initial ones).
    `rewinding`: "weights" trains the weights of step k for the steps after k (Frankle et al. 2020,
    arXiv 1912.05671); "lr" keeps the trained weights and takes only the learning rate back to step
    k, "fine-tune" goes on for as many steps at FINE_TUNING of it (Renda et al. 2020, arXiv
    2003.02389). `controls` are trained beside every level but the dense one: "random-mask" (as many
    weights per layer, at random places), "reinit" (the same mask, other initial weights, all
    steps), "no-rewinding" (the same mask, the weights it was read off, the steps after k).
    `initial`: "seeded" weights can be drawn again by a decoder, so that masks and differences can
    be certified; "model" takes what the model's own code draws.
    """

    levels: int = LEVELS
    fraction: float = FRACTION
    rewind: str = "0it"
    rewinding: str = WEIGHTS
    scope: str = "global"
    controls: tuple[str, ...] = ()
    initial: str = SEEDED
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.levels <= MOST_LEVELS:
            raise InputError(f"--levels {self.levels}: expected 0 to {MOST_LEVELS}")
        if not 0 < self.fraction < 1:
            raise InputError(f"--fraction {self.fraction}: expected a number between 0 and 1")
        Steps.parse(self.rewind)
        for what, value, known in (
            ("rewinding", self.rewinding, REWINDINGS),
            ("scope", self.scope, LOTTERY_SCOPES),
            ("kind of initial weights", self.initial, INITIAL),
            *(("control", control, CONTROLS) for control in self.controls),
        ):
            if value not in known:
                raise unknown(what, value, known)
        if NO_REWINDING in self.controls and self.rewinding == RATE:
            raise InputError(f"--controls {NO_REWINDING}: is what --rewinding {RATE} does")


@dataclass(frozen=True)
class Lengths:
    """Optimizer steps: `total` of the dense network, `rewind` of them before the checkpoint."""

    total: int
    rewind: int


def lengths(lottery: Lottery, recipe: Recipe, sample: Sample) -> Lengths:
    """InputError where the checkpoint would lie beyond the end of training."""
    total = Steps.parse(recipe.steps).iterations(sample.n, recipe.batch_size)
    rewind = Steps.parse(lottery.rewind).iterations(sample.n, recipe.batch_size)
    if rewind > total:
        raise InputError(
            f"--rewind {lottery.rewind}: is step {rewind}, but training has only {total} steps on "
            f"{sample.n} samples: expected an earlier one, or a longer training"
        )
    return Lengths(total, rewind)


def default_steps(sample: Sample, batch_size: int) -> str:
    """DEFAULT_EPOCHS, or DEFAULT_STEPS where that is longer."""
    epochs = Steps(DEFAULT_EPOCHS, "ep")
    if epochs.iterations(sample.n, batch_size) >= DEFAULT_STEPS:
        return str(epochs)
    return str(Steps(DEFAULT_STEPS, "it"))
