"""The world whose risks are known."""

from itertools import product

import numpy as np
import pytest
import torch

from prunecert.data import FiniteWorld, load_source, take


def table(classes_of_symbols):
    """The classifier that looks the symbol up."""
    chosen = torch.tensor(classes_of_symbols)
    return lambda x: chosen[x.argmax(dim=1)]


def test_closed_forms():
    world = FiniteWorld(symbols=12, classes=4, noise=0.3)
    clean = [s % 4 for s in range(12)]
    assert world.exact_risk(table(clean)) == pytest.approx(0.3, abs=1e-15)
    assert world.exact_risk(table([(c + 1) % 4 for c in clean])) == pytest.approx(0.9, abs=1e-15)
    assert world.exact_risk(table([2] * 12)) == pytest.approx(0.75, abs=1e-15)
    assert world.exact_risk(table([-1] * 12)) == 1.0
    assert world.exact_risk(table(clean[:6] + [-1] * 6)) == pytest.approx(0.65, abs=1e-15)


def test_risks_of_all_tables_average_to_guessing():
    world = FiniteWorld(symbols=4, classes=3, noise=0.2)
    risks = [world.exact_risk(table(list(t))) for t in product(range(3), repeat=4)]
    assert np.mean(risks) == pytest.approx(2 / 3, abs=1e-12)
    assert min(risks) == pytest.approx(0.2, abs=1e-12)
    assert max(risks) == pytest.approx(0.9, abs=1e-12)


def test_draws_follow_the_declared_probabilities():
    world = FiniteWorld(symbols=5, classes=3, noise=0.25)
    n = 200_000
    x, y = world.draw(n, seed=3)
    assert x.shape == (n, 5) and x.dtype == np.float32 and y.dtype == np.int64
    assert (x.sum(axis=1) == 1).all() and set(np.unique(x)) == {0, 1}
    counts = np.zeros((5, 3))
    np.add.at(counts, (x.argmax(axis=1), y), 1)
    p = world.label_probabilities() / 5
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert (np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p))).all()


def test_draws_repeat_with_the_seed_and_differ_without():
    world = FiniteWorld()
    (a, b), (c, d), (e, _) = world.draw(50, 1), world.draw(50, 1), world.draw(50, 2)
    assert (a == c).all() and (b == d).all() and (a != e).any()


def test_it_is_a_source():
    source = load_source("prunecert.data:synthetic")
    train, test = take(source, "train", "train"), take(source, "test", "holdout")
    assert (train.n, test.n, train.input_shape) == (2000, 1000, (16,))
    assert set(train.labels.tolist()) == {0, 1, 2, 3}
    assert train.sha256 != test.sha256
