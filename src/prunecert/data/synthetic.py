"""A distribution small enough to enumerate, so that the risk of any classifier is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class FiniteWorld:
    """x uniform on `symbols` one-hot vectors; the clean label of symbol s is s mod `classes`.

    With probability `noise` the label is instead one of the other classes, uniformly.
    """

    symbols: int = 16
    classes: int = 4
    noise: float = 0.1

    def inputs(self) -> NDArray[np.float32]:
        """Every possible input once, shape (symbols, symbols)."""
        return np.eye(self.symbols, dtype=np.float32)

    def label_probabilities(self) -> NDArray[np.float64]:
        """P[y | symbol], shape (symbols, classes)."""
        table = np.full((self.symbols, self.classes), self.noise / (self.classes - 1))
        table[np.arange(self.symbols), np.arange(self.symbols) % self.classes] = 1 - self.noise
        return table

    def draw(self, n: int, seed: int) -> Arrays:
        """n independent pairs: inputs (n, symbols) and labels (n,)."""
        rng = np.random.default_rng(seed)
        symbol = rng.integers(self.symbols, size=n)
        shift = np.where(rng.random(n) < self.noise, rng.integers(1, self.classes, size=n), 0)
        return self.inputs()[symbol], (symbol + shift) % self.classes

    def exact_risk(self, predict: Callable[[torch.Tensor], torch.Tensor]) -> float:
        """P[predict(x) ≠ y]. `predict` maps inputs (b, symbols) to classes (b,).

        A prediction that is no class, such as −1, is always an error.
        """
        predicted = predict(torch.from_numpy(self.inputs())).numpy()
        correct = self.label_probabilities() * (predicted[:, None] == np.arange(self.classes))
        return float(1 - correct.sum() / self.symbols)


def synthetic() -> tuple[Arrays, Arrays]:
    """`--data prunecert.data:synthetic`: 2,000 train and 1,000 test rows of the default world."""
    world = FiniteWorld()
    return world.draw(2000, seed=0), world.draw(1000, seed=1)
