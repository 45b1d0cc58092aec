"""Procedures that must break, and what must not: each cheats in one way, beside its honest twin.

The rule, the world and the classifiers are those of `test_simulated_validity`, which holds the
majority vote of those guessers that the hold-out favoured (THEORY 2.1a iv) and others. Tokens read
as documents are judged in `test_language_validity`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from test_simulated_validity import DRAWS, WORLD, errors_of, failures, rejected, risk_of
from torch import Tensor, nn

from prunecert import measuring
from prunecert.api.claims import CLAIMS, Terms
from prunecert.bounds.holdout import disagreement_upper
from prunecert.measuring import Outputs

TRUTH = np.arange(WORLD.symbols) % WORLD.classes

# --------------------------------------------------------------------------- lists that grow


def claimed(method: str, errors: int, n: int, delta: float, tried: int) -> float:
    """What is certified of the network chosen from a list of `tried`; its file has 0 bits."""
    return CLAIMS[method]({"errors": errors, "n": n}, Terms(delta, 0, tried)).risk_bound


@cache
def grown(n: int, seed: int) -> tuple[float, int, int]:
    """Begin with the wrong label everywhere. Look at S, give the symbol with the most avoidable
    errors the label that S has most often, and look again, until nothing helps. The risk of the
    classifier it ends with, its errors on S, and how many were looked at."""
    x, y = WORLD.draw(n, seed)
    seen = np.zeros((WORLD.symbols, WORLD.classes), int)
    np.add.at(seen, (x.argmax(axis=1), y), 1)
    table, tried = (TRUTH + 1) % WORLD.classes, 1
    while True:
        right = seen[np.arange(WORLD.symbols), table]
        gain = seen.max(axis=1) - right
        if not gain.any():
            return risk_of(table), n - int(right.sum()), tried
        symbol = int(gain.argmax())
        table[symbol], tried = int(seen[symbol].argmax()), tried + 1


@pytest.mark.parametrize("method", ["occam", "holdout"])
def test_a_list_that_grew_in_response_to_the_sample(method):
    """THEORY 2.1a (iii): --tried is the length of the list from which the choice could have come.
    About a dozen were looked at, but any of 4^16 classifiers could have been the next."""
    delta, n = 0.2, 24

    def fails(seed: int, could_have_been: bool) -> bool:
        risk, errors, tried = grown(n, seed)
        tried = WORLD.classes**WORLD.symbols if could_have_been else tried
        return claimed(method, errors, n, delta, tried) < risk

    looked_at = [grown(n, seed)[2] for seed in range(100)]
    assert 5 < min(looked_at) <= max(looked_at) <= 1 + WORLD.symbols
    assert rejected(failures(lambda s: fails(s, could_have_been=False)), DRAWS, delta)
    assert not rejected(failures(lambda s: fails(s, could_have_been=True)), DRAWS, delta)


@pytest.mark.parametrize("method", ["occam", "holdout"])
def test_a_list_as_long_that_was_fixed_beforehand(method):
    """The best of 17, each wrong on eight symbols of its own, holds at what the list costs, and
    does not without it."""
    delta, n = 0.2, 24
    rng = np.random.default_rng(0)
    tables = np.tile(TRUTH, (17, 1))
    for table in tables:
        table[rng.permutation(WORLD.symbols)[:8]] += 1
    tables %= WORLD.classes
    risks = [risk_of(table) for table in tables]

    def fails(seed: int) -> tuple[bool, bool]:
        errors = errors_of(tables, n, seed)
        best = int(errors.argmin())
        bounds = (claimed(method, int(errors[best]), n, delta, t) for t in (len(tables), 1))
        return tuple(bound < risks[best] for bound in bounds)

    paid, unpaid = (sum(column) for column in zip(*map(fails, range(DRAWS))))
    assert not rejected(paid, DRAWS, delta)
    assert rejected(unpaid, DRAWS, delta)


# --------------------------------------------------------------------------- ties in disagreement


@dataclass(frozen=True)
class EverySymbol:
    """The 16 inputs of the world, once each; labels are not looked at."""

    name: str = "every symbol"

    def batches(self, batch_size: int, device: str = "cpu") -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.from_numpy(WORLD.inputs()), torch.zeros(WORLD.symbols, dtype=torch.int64)


def always_first(tied: tuple[int, ...]) -> Outputs:
    """A network with the scores (1, 0, 0, 0), but (0, 0, 0, 0) for the tied symbols."""
    module = nn.Linear(WORLD.symbols, WORLD.classes, bias=False)
    nn.init.zeros_(module.weight)
    with torch.no_grad():
        module.weight[0] = 1.0
        module.weight[0, list(tied)] = 0.0
    return measuring.run(module, EverySymbol())


def at(found: Outputs, symbol: int) -> Outputs:
    """The outputs for one symbol."""
    fields = ("margins", "scale", "prediction", "lead", "labels")
    return replace(found, **{name: getattr(found, name)[[symbol]] for name in fields})


@pytest.mark.parametrize("tied", [tuple(range(16)), (0, 4, 8, 12)], ids=["all", "a class"])
@pytest.mark.parametrize("order", ["dense ties", "pruned ties"])
def test_ties_in_disagreement(tied, order):
    """THEORY 2.5: f ≡ (0, 0) has the same argmax as a network that always says the first class, and
    is always wrong, a tie being an error. |R(f) − R(f̂)| is the share of the first class among the
    tied symbols; compared by argmax alone, the two never differ."""
    delta, inputs = 0.1, 60
    difference = WORLD.label_probabilities()[list(tied), 0].sum() / WORLD.symbols
    a, b = always_first(tied), always_first(())
    a, b = (a, b) if order == "dense ties" else (b, a)
    by_argmax = (a.prediction != b.prediction).astype(int)
    ours = np.array([measuring.disagreements(at(a, s), at(b, s)).count for s in range(16)])

    def fails(seed: int) -> tuple[bool, bool]:
        symbols = WORLD.draw(inputs, seed)[0].argmax(axis=1)
        counts = (int(differ[symbols].sum()) for differ in (ours, by_argmax))
        return tuple(disagreement_upper(count, inputs, delta) < difference for count in counts)

    honest, dishonest = (sum(column) for column in zip(*map(fails, range(DRAWS))))
    assert not rejected(honest, DRAWS, delta)
    assert rejected(dishonest, DRAWS, delta)
