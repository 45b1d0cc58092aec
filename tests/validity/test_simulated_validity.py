"""Certificates on a world with known risk: they must not fail more often than they say.

One rule judges honest and dishonest procedures alike: a one-sided binomial test at 1e-6 rejects
"fails with probability at most delta". The dishonest ones are the negative controls that the rule
must reject, or it could not see a fault in the honest ones either.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import mean

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom
from torch import nn

from prunecert.api import Issued, architecture, certify
from prunecert.api.selection import Criterion, selection_claim
from prunecert.bounds.holdout import cost_of_pruning_upper, holdout_upper
from prunecert.bounds.occam import occam_upper
from prunecert.data import FiniteWorld

DRAWS = 3000
WORLD = FiniteWorld()  # 16 symbols, 4 classes, labels wrong with probability 0.1
Ints = NDArray[np.int64]


def rejected(failures: int, draws: int, delta: float) -> bool:
    """The observed number of failures is too large for a failure probability of at most delta."""
    assert draws >= 2000
    return bool(binom.sf(failures - 1, draws, delta) < 1e-6)


def test_the_rule_itself():
    """Allows the expected number and what chance adds to it; rejects half as much again."""
    assert not rejected(150, 3000, 0.05)
    assert rejected(225, 3000, 0.05)


# --------------------------------------------------------------------------- tables of classifiers


def risk_of(table: Ints) -> float:
    """Exact risk of the classifier that predicts `table[s]` for symbol s."""
    return WORLD.exact_risk(lambda x: torch.from_numpy(table)[x.argmax(dim=1)])


def errors_of(tables: Ints, n: int, seed: int) -> Ints:
    """Errors of every table (T, symbols) on one sample of n, shape (T,)."""
    x, y = WORLD.draw(n, seed)
    return (tables[:, x.argmax(axis=1)] != y).sum(axis=1)


def some_tables(count: int, wrong: int, seed: int) -> Ints:
    """Classifiers that are right on all symbols but up to `wrong`, risks between 0.1 and more."""
    rng = np.random.default_rng(seed)
    tables = np.tile(np.arange(WORLD.symbols) % WORLD.classes, (count, 1))
    for table in tables:
        spoilt = rng.choice(WORLD.symbols, rng.integers(0, wrong + 1), replace=False)
        table[spoilt] = rng.integers(WORLD.classes, size=len(spoilt))
    return tables


def failures(trial: Callable[[int], bool]) -> int:
    """How often `trial(seed)` ended in a false certificate."""
    return sum(trial(seed) for seed in range(DRAWS))


# --------------------------------------------------------------------------- hold-out


@pytest.mark.parametrize(("n", "wrong", "delta"), [(25, 0, 0.1), (60, 2, 0.05), (200, 8, 0.2)])
def test_holdout(n, wrong, delta):
    table = np.arange(WORLD.symbols) % WORLD.classes
    table[:wrong] = (table[:wrong] + 1) % WORLD.classes
    risk = risk_of(table)

    def trial(seed: int) -> bool:
        return holdout_upper(int(errors_of(table[None], n, seed)[0]), n, delta) < risk

    failed = failures(trial)
    assert not rejected(failed, DRAWS, delta)
    assert failed > 0  # sharp enough to be seen failing at all


def test_the_best_of_a_list_pays_for_the_list():
    """T networks fixed beforehand, the best on the hold-out reported: delta/T holds, delta not."""
    delta, n = 0.2, 40
    rng = np.random.default_rng(0)
    tables = np.tile(np.arange(16) % 4, (64, 1))
    for table in tables:  # each wrong on eight symbols of its own
        table[rng.permutation(16)[:8]] += 1
    tables %= 4
    risks = np.array([risk_of(table) for table in tables])

    def trial(seed: int, share: float) -> bool:
        errors = errors_of(tables, n, seed)
        best = int(errors.argmin())
        return holdout_upper(int(errors[best]), n, share) < risks[best]

    assert not rejected(failures(lambda s: trial(s, delta / len(tables))), DRAWS, delta)
    assert rejected(failures(lambda s: trial(s, delta)), DRAWS, delta)


def test_a_vote_of_those_that_beat_a_half_is_not_on_the_list():
    """THEORY 2.1a (iv): T guessers, and the majority of those that the hold-out happened to favour,
    charged delta/(T+1). The true risk of every one of them, and of the vote, is a half."""
    guessers, n, delta = 301, 100, 0.05

    def outcomes(seed: int) -> tuple[int, int, int]:
        """Errors of the best guesser, of the vote, and of the vote on a new hold-out."""
        rng = np.random.default_rng(seed)
        right = rng.random((guessers, n)) < 0.5  # labels are fair coins: so is being right
        favoured = right.mean(axis=1) > 0.5
        fresh = rng.random((int(favoured.sum()), n)) < 0.5
        votes = (right[favoured], fresh)
        lost = [int((vote.mean(axis=0) <= 0.5).sum()) for vote in votes]
        return int((~right).sum(axis=1).min()), *lost

    found = [outcomes(seed) for seed in range(DRAWS)]
    honest, dishonest, renewed = (
        sum(holdout_upper(errors, n, share) < 0.5 for errors in column)
        for column, share in zip(
            zip(*found), (delta / guessers, delta / (guessers + 1), delta), strict=True
        )
    )
    assert not rejected(honest, DRAWS, delta)
    assert rejected(dishonest, DRAWS, delta)
    assert not rejected(renewed, DRAWS, delta)  # a vote fixed first, judged on a new hold-out


# --------------------------------------------------------------------------- selection


def _rows(errors: Ints, order: Ints) -> list[dict[str, object]]:
    return [
        {"sequence": "s", "sha256": f"{t:064x}", "sparsity": float(i), "errors": int(errors[t])}
        for i, t in enumerate(order)
    ]


def test_a_fixed_sequence_and_one_sorted_by_its_outcome():
    """Every network is just above the target: any acceptance is false. Order is all that differs,
    and `verify` refuses an order that sparsity does not give."""
    delta, n = 0.1, 60
    tables = np.tile(np.arange(16) % 4, (8, 1))
    for t, table in enumerate(tables):  # each wrong on two symbols of its own
        table[[2 * t, 2 * t + 1]] += 1
    tables %= 4
    risk = min(risk_of(table) for table in tables)
    limit = Criterion(target_error=risk * 0.999)

    def accepts(seed: int, cheating: bool) -> bool:
        errors = errors_of(tables, n, seed)
        order = errors.argsort() if cheating else np.arange(len(tables))
        return selection_claim(_rows(errors, order), n, limit, delta, "sequence") is not None

    assert not rejected(failures(lambda s: accepts(s, cheating=False)), DRAWS, delta)
    assert rejected(failures(lambda s: accepts(s, cheating=True)), DRAWS, delta)


def test_two_limits_at_once_share_no_delta():
    """Intersection–union: a network that misses either limit is accepted with probability delta at
    most, though each limit is tested at the full delta."""
    delta, n = 0.1, 150
    dense = np.arange(16) % 4
    pruned = dense.copy()
    pruned[:2] = (pruned[:2] + 1) % 4
    drop = risk_of(pruned) - risk_of(dense)
    limit = Criterion(target_error=0.9, max_drop=drop * 0.999)  # the second limit is missed

    def accepts(seed: int) -> bool:
        x, y = WORLD.draw(n, seed)
        wrong = [table[x.argmax(axis=1)] != y for table in (pruned, dense)]
        row = _rows(np.array([wrong[0].sum()]), np.array([0]))[0]
        row |= {
            "worse": int((wrong[0] & ~wrong[1]).sum()),
            "better": int((~wrong[0] & wrong[1]).sum()),
        }
        return selection_claim([row], n, limit, delta, "sequence") is not None

    assert not rejected(failures(accepts), DRAWS, delta)


def test_cost_of_pruning_and_the_same_without_its_second_half():
    """The gain has a bound of its own: subtracting the observed gain instead is not valid."""
    delta, n = 0.2, 60
    dense, pruned = (np.arange(16) % 4 for _ in range(2))
    pruned[:3], dense[3:6] = (pruned[:3] + 1) % 4, (dense[3:6] + 1) % 4
    drop = risk_of(pruned) - risk_of(dense)

    def fails(seed: int, cheating: bool) -> bool:
        x, y = WORLD.draw(n, seed)
        wrong = [table[x.argmax(axis=1)] != y for table in (pruned, dense)]
        worse, better = int((wrong[0] & ~wrong[1]).sum()), int((~wrong[0] & wrong[1]).sum())
        observed = (worse - better) / n
        return (observed if cheating else cost_of_pruning_upper(worse, better, n, delta)) < drop

    assert not rejected(failures(lambda s: fails(s, cheating=False)), DRAWS, delta)
    assert rejected(failures(lambda s: fails(s, cheating=True)), DRAWS, delta)


# --------------------------------------------------------------------------- code certificates


@pytest.mark.parametrize("n", [30, 100])
def test_the_best_codeword_pays_for_its_bits(n):
    """1,024 codewords of 10 bits; the sample picks one. Without its bits the bound fails."""
    delta = 0.1
    tables = some_tables(1024, 16, seed=1)
    risks = np.array([risk_of(table) for table in tables])

    def trial(seed: int, bits: int) -> bool:
        errors = errors_of(tables, n, seed)
        best = int(errors.argmin())
        return occam_upper(int(errors[best]), n, bits, delta) < risks[best]

    assert not rejected(failures(lambda s: trial(s, 10)), DRAWS, delta)
    if n == 30:
        assert rejected(failures(lambda s: trial(s, 0)), DRAWS, delta)


def test_real_codes_of_networks_that_memorise():
    """Each network is made of its sample alone: the majority label of every symbol. What its bytes
    cost covers that; a bound that forgot them (bits 0) would be false far too often."""
    delta, n = 0.2, 24
    built = architecture(nn.Sequential(nn.Linear(WORLD.symbols, WORLD.classes, bias=False)))

    def outcome(seed: int) -> tuple[bool, bool]:
        x, y = WORLD.draw(n, seed)
        counts = np.zeros((WORLD.classes, WORLD.symbols), np.float32)
        np.add.at(counts, (y, x.argmax(axis=1)), 1)
        weight = torch.from_numpy((counts == counts.max(axis=0)) & (counts > 0)).float()
        code = built.encode({"0.weight": weight}).code
        predicted = _first_alone(weight)
        errors = int((predicted[x.argmax(axis=1)] != y).sum())
        risk = risk_of(predicted)
        return tuple(occam_upper(errors, n, bits, delta) < risk for bits in (code.bits, 0))

    honest, forgetful = (sum(column) for column in zip(*map(outcome, range(DRAWS))))
    assert not rejected(honest, DRAWS, delta)
    assert rejected(forgetful, DRAWS, delta)


def _first_alone(weight: torch.Tensor) -> Ints:
    """The class of each symbol's only nonzero; −1, an error, where there is none or a tie."""
    alone = (weight != 0).sum(dim=0) == 1
    return torch.where(alone, weight.argmax(dim=0), -1).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["holdout", "occam"])
def test_whole_certificates(method):
    """From module and arrays to the record, 2,000 times: training, search, code, count, bound."""
    delta, n, draws = 0.3, 60, 2000
    failed, bounds = 0, []
    for seed in range(draws):
        x, y = WORLD.draw(n, 2 * seed)
        module = _trained(x, y)
        sample = (x, y) if method == "occam" else WORLD.draw(n, 2 * seed + 1)
        issued = certify(module, sample, method=method, delta=delta)
        failed += issued.risk_bound < WORLD.exact_risk(
            partial(_decided, _certified(issued, module))
        )
        bounds.append(issued.risk_bound)
    assert not rejected(failed, draws, delta)
    assert method == "occam" or failed > 0
    assert mean(bounds) < 1.0


def _trained(x: NDArray[np.float32], y: Ints) -> nn.Module:
    """The counts of symbol and label as weights, to be rounded by whoever codes them."""
    counts = np.zeros((WORLD.classes, WORLD.symbols), np.float32)
    np.add.at(counts, (y, x.argmax(axis=1)), 1)
    module = nn.Sequential(nn.Linear(WORLD.symbols, WORLD.classes, bias=False))
    module[0].weight.data = torch.from_numpy(counts) + 0.01
    return module


def _certified(issued: Issued, module: nn.Module) -> nn.Module:
    """The network that the bytes decode to."""
    built = architecture(module)
    return built.build(built.decode(issued.files["network.bin"]).tensors)


@torch.no_grad()
def _decided(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The class with the largest score, −1 where two are as large."""
    top = module(x).topk(2, dim=1)
    return torch.where(top.values[:, 0] > top.values[:, 1], top.indices[:, 0], -1)
