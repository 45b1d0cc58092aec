"""One sentence per assumption: near for Gaussians, and each planted violation names its own."""

import doctest
import inspect
import re

import numpy as np
import pytest

import prunecert.diagnostics as diagnostics
from prunecert.bounds.step_table import GAUSSIAN
from prunecert.bounds.table import STATEMENTS
from prunecert.diagnostics import RESTS_ON, TERM_OF, gaussianity, independence, prediction, verdicts

GAUSSIAN_WEIGHTS = {"zero mean", "gaussian", "independent"}


def judged(weight, kept=None, d=1.0):
    """Verdicts by property. Bernoulli's mask unless one is given; bounds fail once in 10⁶."""
    if kept is None:
        drop = np.exp(-(weight**2) / (d * weight.var()))
        kept = np.random.default_rng(99).random(weight.shape) >= drop
    pruned = prediction(weight, d, kept, delta=1e-6)
    found = verdicts("fc1", gaussianity(weight), independence(weight), pruned)
    return {verdict.property: verdict for verdict in found}


def far(found):
    return {which for which, verdict in found.items() if not verdict.near}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# --------------------------------------------------------------------------- the verdicts


@pytest.mark.parametrize("shape", [(10, 100), (100, 10), (30, 40), (120, 300), (1, 500), (6, 25)])
def test_gaussian_layers_are_near_whatever_their_size(shape):
    for seed in range(100, 108):
        assert far(judged(normal(*shape, seed=seed))) == set()


@pytest.mark.parametrize("size", [1.0, 1e-3])
@pytest.mark.parametrize(
    "plant, seen",
    [
        (lambda w: np.random.default_rng(1).standard_t(5, w.shape), {"gaussian"}),
        (lambda w: np.random.default_rng(1).uniform(-1, 1, w.shape), {"gaussian"}),
        (lambda w: w + 0.02, set()),
        (lambda w: w * np.resize([0.97, 1.03], 300), set()),
        (lambda w: np.random.default_rng(1).standard_t(50, w.shape), set()),
        (
            lambda w: w + np.resize([0.3, -0.3], (1, 300)) * np.resize([1, -1], (200, 1)),
            {"independent"},
        ),
        (lambda w: w * np.resize([0.9, 1.1], 300), {"independent"}),
        (lambda w: w * np.resize([0.9, 1.1], (200, 1)), {"independent"}),
        (lambda w: np.linalg.qr(w.T)[0].T, {"independent"}),
    ],
    ids=[
        "heavy",
        "light",
        "tiny mean",
        "even columns",
        "nearly Gaussian",
        "spike",
        "columns",
        "rows",
        "orthogonal",
    ],
)
def test_each_violation_is_seen_as_itself(plant, seen, size):
    found = judged(size * plant(normal(200, 300)))
    assert far(found) - {"spread out"} == seen


def test_a_mean_that_moves_the_norm_is_seen():
    """0.3 deviations beside (200·300)^(−1/4) = 0.064: it is also a direction of the matrix."""
    found = judged(0.3 + normal(200, 300))
    assert {"zero mean", "independent"} <= far(found)
    assert found["zero mean"].sentence.startswith("fc1: mean +0.3 standard deviations from 0 (+74 ")


def test_dead_and_full_lines_are_seen():
    weight = normal(200, 300)
    kept = np.random.default_rng(99).random(weight.shape) >= np.exp(-(weight**2))
    for rows, columns in [(np.s_[:5], np.s_[:]), (np.s_[:], np.s_[:5])]:
        for state in (False, True):
            spoilt = kept.copy()
            spoilt[rows, columns] = state
            assert far(judged(weight, spoilt)) == {"spread out"}
    assert far(judged(weight, kept)) == set()


# --------------------------------------------------------------------------- the sentences


def test_the_effect_furthest_beyond_its_threshold_comes_first():
    heavy = judged(np.random.default_rng(1).standard_t(3, (200, 300)))["gaussian"]
    assert re.match(r"fc1: (excess kurtosis|tails) ", heavy.sentence)
    square = judged(
        np.random.default_rng(1).choice([-1.0, 1.0], (200, 300)) + 1e-3 * normal(200, 300)
    )
    assert square["gaussian"].sentence.startswith("fc1: Kolmogorov distance 0.34")


def test_sentences_say_the_numbers_and_what_rests_on_them():
    weight = np.random.default_rng(1).standard_t(3, (200, 300))
    kept = np.ones((200, 300), dtype=bool)
    kept[:, :100] = False
    found = judged(weight, kept, d=2 / 3)
    entries, places = gaussianity(weight), independence(weight)
    of_gaussian = found["gaussian"].sentence
    assert f"tails {entries.tail_ratio:.3g} times the Gaussian's beyond 3 sigma" in of_gaussian
    assert f"Kolmogorov distance {entries.kolmogorov:.3g}" in of_gaussian
    assert of_gaussian.endswith(": not close to Gaussian; chi is predicted 0.5, measured 0.667")
    assert f"value {places.edge_ratio:.3g} times the Marchenko" in found["independent"].sentence
    assert "100 of 300 columns dead (0 predicted)" in found["spread out"].sentence
    assert "fullest row keeps 200 of 300 (at most" in found["spread out"].sentence


def test_every_verdict_compares_the_term_it_names():
    weight, kept = normal(40, 50), np.ones((40, 50), dtype=bool)
    pruned = prediction(weight, 1.0, kept, delta=1e-6)
    terms = {which: verdict.term for which, verdict in judged(weight, kept).items()}
    assert list(terms) == list(TERM_OF) == ["zero mean", "gaussian", "independent", "spread out"]
    assert terms == {
        "zero mean": pruned.removed_energy,
        "gaussian": pruned.kept,
        "independent": pruned.removed_norm_latala,
        "spread out": pruned.sketch_rows,
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "weight", [[[1.0, -1.0]], [[0.0], [1.0]], np.eye(3), np.ones((2, 2)) - np.eye(2)]
)
@pytest.mark.parametrize("d", [0.0, 1.0, 1e12])
@pytest.mark.parametrize("state", [False, True])
def test_small_layers_give_whole_sentences(weight, d, state):
    weight = np.asarray(weight)
    for verdict in judged(weight, np.full(weight.shape, state), d).values():
        assert verdict.sentence.startswith("fc1: ") and "\n" not in verdict.sentence
        assert "nan" not in verdict.sentence


# --------------------------------------------------------------------------- what rests on what


def test_a_row_that_assumes_gaussian_weights_is_listed_and_no_other_proven_one():
    assuming = {name for name, row in STATEMENTS.items() if GAUSSIAN in row.assumptions}
    proven = {name for name, row in STATEMENTS.items() if row.kind != "order-only"}
    assert assuming >= {"removed-norm-gaussian", "pattern-gaussian"}
    assert set(RESTS_ON) & proven == assuming
    assert all(set(RESTS_ON[name]) == GAUSSIAN_WEIGHTS for name in assuming)


def test_a_row_that_predicts_from_d_alone_is_listed():
    """Given d and not the probabilities p, a function can only have taken Gaussian weights."""
    predicting = {
        name
        for name, row in STATEMENTS.items()
        if {"d", "pruning_d"} & set(inspect.signature(row.function).parameters)
    }
    assert {name for name in RESTS_ON if "gaussian" in RESTS_ON[name]} >= predicting
    assert len(predicting) >= 4
    assert set(RESTS_ON) <= set(STATEMENTS)
    assert {which for listed in RESTS_ON.values() for which in listed} == set(TERM_OF)


@pytest.mark.parametrize("module", [diagnostics.entries, diagnostics.predicted])
def test_examples_in_docstrings_are_true(module):
    results = doctest.testmod(module)
    assert (results.failed, results.attempted > 0) == (0, True)
