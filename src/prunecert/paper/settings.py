"""The seed paper's experiments as its code runs them, and what --quick shortens (THEORY 1.11)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from prunecert.types import InputError

DELTA = 0.05  # failure probability of each statement
MEASURED_AT = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 250, 300)


@dataclass(frozen=True)
class Setting:
    """Five linear layers with biases and ReLU, plain SGD at a constant rate, inputs in [−1, 1].

    `epochs` are those after which the network is measured, the first is 0. `rows` of the training
    sample measure the change of the output; `grid` is the number of d in [0, 10] at the end,
    `coarse_grid` along the way; at `diagnosed_d` every statement about a mask is evaluated.
    """

    name: str
    model: str
    batch_size: int
    learning_rate: float
    epochs: tuple[int, ...]
    augmented: bool = False  # random crops and flips, as the code has on CIFAR-10
    weight_decay: float = 1e-4
    held_back: float = 0.2  # of the training rows, for validation: they take no part in the bound
    grid: int = 100
    coarse_grid: int = 11
    rows: int = 2000
    diagnosed_d: float = 1.0
    cushion_rows: int = 512
    criteria_model: str = "lenet-300-100"  # of the comparison of pruning criteria
    criteria_training: str = "10ep"
    sparsities: tuple[float, ...] = (0.9, 0.98, 0.99, 0.995)
    retraining: str = "3ep"  # after each rung
    quick: bool = False


MNIST = Setting(
    name="mnist",
    model="mlp:784-784-784-784-784-10",
    batch_size=256,
    learning_rate=0.02,
    epochs=MEASURED_AT,
)
CIFAR10 = Setting(
    name="cifar10",
    model="mlp:3072-2000-2000-2000-2000-10",
    batch_size=64,
    learning_rate=0.01,
    epochs=MEASURED_AT,
    augmented=True,
    criteria_model="mlp:3072-300-100-10",
    grid=41,  # a decomposition of 2000 × 2000 takes seconds
    coarse_grid=6,
    rows=2000,
)
_QUICK = {
    "epochs": (0, 1, 2, 4, 7, 10),
    "grid": 21,
    "coarse_grid": 6,
    "rows": 1000,
    "cushion_rows": 64,
    "criteria_training": "3ep",
    "sparsities": (0.98, 0.99),
    "retraining": "1ep",
    "quick": True,
}


def setting(name: str, quick: bool) -> Setting:
    """The experiment `name`; InputError for any other than mnist and cifar10.

    `quick` shortens training and measures less; CIFAR-10 is also a quarter as wide.
    """
    known = {"mnist": MNIST, "cifar10": CIFAR10}
    if name not in known:
        raise InputError(f"paper {name!r}: expected one of {', '.join(known)}")
    chosen = known[name]
    if not quick:
        return chosen
    narrow = {"model": "mlp:3072-500-500-500-500-10"} if chosen is CIFAR10 else {}
    return replace(chosen, **_QUICK, **narrow)
