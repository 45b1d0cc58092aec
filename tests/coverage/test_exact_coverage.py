"""Coverage by enumeration: sum over every outcome of a small sample; failures <= delta, everywhere.

No sampling, no tolerance beyond the rounding of the sums. Each statement has a negative control:
the same enumeration must reject the version that does not pay.
"""

import itertools
import math

import numpy as np
import pytest

from prunecert.bounds import (
    cost_of_pruning_upper,
    disagreement_upper,
    fixed_sequence_drop_accepted,
    fixed_sequence_upper,
    holdout_upper,
    labelled_transfer_upper,
    occam_kl_upper,
    occam_upper,
    per_class_upper,
    simultaneous_upper,
)

GRID = np.linspace(0.0, 1.0, 41)
ROUNDING = 1e-12


def pmf(n, p):
    """P[Bin(n, p) = k], k = 0…n; p a float."""
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def edges(values):
    """The truths that matter: a grid, and points just above each value the bound takes."""
    above = np.nextafter(np.unique(values), 2.0)
    return np.unique(np.concatenate([GRID, above[above <= 1.0]]))


def worst_failure(bounds, n):
    """Largest P[bounds[k] < p], k ~ Bin(n, p), over the truths p that matter."""
    return max(pmf(n, p)[bounds < p].sum() for p in edges(bounds))


@pytest.mark.parametrize("delta", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("n", [1, 2, 5, 13, 40])
@pytest.mark.parametrize(
    "bound",
    [holdout_upper, disagreement_upper, labelled_transfer_upper],
)
def test_binomial_statements(bound, n, delta):
    bounds = bound(np.arange(n + 1), n, delta)
    assert worst_failure(bounds, n) <= delta + ROUNDING
    # sharp: the failure probability comes up to delta, so nothing smaller would do
    assert worst_failure(bounds, n) > delta * (1 - 1e-9)
    assert worst_failure(bounds * (1 - 1e-6), n) > delta + ROUNDING


@pytest.mark.parametrize("delta", [0.05, 0.3])
@pytest.mark.parametrize("bound", [occam_upper, occam_kl_upper])
def test_occam_over_two_codewords(bound, delta, n=9):
    """Codewords of 1 and 2 bits, both networks on one sample, any dependence between them.

    A sample is one of four kinds (neither, only the first, only the second, both wrong); the
    better-looking network is picked afterwards, which is exactly what the statement allows.
    """
    tables = [bound(np.arange(n + 1), n, bits, delta) for bits in (1, 2)]
    grid = np.linspace(0, 1, 6)
    worst = 0.0
    for p, q in itertools.product(grid, grid):
        for both in {max(0.0, p + q - 1), p * q, min(p, q)}:  # exclusive, independent, nested
            joint = joint_counts(n, p - both, q - both, both)
            first, second = tables[0][:, None] < p, tables[1][None, :] < q
            worst = max(worst, joint[first | second].sum())
    assert worst <= delta + ROUNDING
    # the union bound itself, at the truths where each codeword fails most
    total = sum(worst_failure(table, n) for table in tables)
    assert total <= delta * (1 / 2 + 1 / 4) + ROUNDING
    if bound is occam_upper:
        assert total > delta * (1 / 2 + 1 / 4) * (1 - 1e-9)


def joint_counts(n, only_first, only_second, both):
    """P[(wrong of the first, wrong of the second) = (i, j)] after n samples, by convolution."""
    joint = np.zeros((n + 1, n + 1))
    joint[0, 0] = 1.0
    neither = max(0.0, 1 - only_first - only_second - both)
    for _ in range(n):
        step = joint * neither
        step[1:, :] += joint[:-1, :] * only_first
        step[:, 1:] += joint[:, :-1] * only_second
        step[1:, 1:] += joint[:-1, :-1] * both
        joint = step
    return joint


def list_failure(bound_of, n, truths):
    """P[some entry's bound is below its truth], entries independent."""
    masses = [pmf(n, p) for p in truths]
    total = 0.0
    for outcome in itertools.product(range(n + 1), repeat=len(truths)):
        if (bound_of(outcome) < np.array(truths)).any():
            total += math.prod(mass[k] for mass, k in zip(masses, outcome))
    return total


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_simultaneous_over_three_networks(delta, n=5):
    table = {k: simultaneous_upper([k, 0, 0], n, delta)[0] for k in range(n + 1)}
    alone = {k: holdout_upper(k, n, delta) for k in range(n + 1)}
    points = [np.nextafter(v, 2) for v in table.values() if v < 1]

    def paid(outcome):
        return np.array([table[k] for k in outcome])

    def unpaid(outcome):
        return np.array([alone[k] for k in outcome])

    assert simultaneous_upper([1, 2, 3], n, delta).tolist() == paid((1, 2, 3)).tolist()
    for truths in itertools.combinations_with_replacement([0.3, *points], 3):
        assert list_failure(paid, n, truths) <= delta + ROUNDING
    worst = np.nextafter(alone[0], 2)
    assert list_failure(unpaid, n, [worst] * 3) > 2 * delta  # negative control


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_fixed_sequence_over_three_networks(delta, n=6, target=0.6):
    table = {
        outcome: fixed_sequence_upper(outcome, n, target, delta)
        for outcome in itertools.product(range(n + 1), repeat=3)
    }
    each = {k: fixed_sequence_upper([k], n, target, delta)[0] for k in range(n + 1)}
    bad = np.nextafter(target, 2)
    truths = list(itertools.product([0.1, 0.55, target, bad, 0.8], repeat=3))
    failures = [list_failure(lambda o: table[o], n, t) for t in truths]
    assert max(failures) <= delta + ROUNDING
    assert max(failures) > 0.01  # the walk does accept bad networks, just rarely enough
    # negative control: going on after a failure
    on = list_failure(lambda o: np.array([each[k] for k in o]), n, [bad] * 3)
    once = pmf(n, bad)[[each[k] == target for k in range(n + 1)]].sum()
    assert on == pytest.approx(1 - (1 - once) ** 3, rel=1e-9)
    assert on > list_failure(lambda o: table[o], n, [bad] * 3) * 2


@pytest.mark.parametrize("delta", [0.05, 0.3])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_per_class_with_random_class_sizes(delta, share, n=8):
    """Sizes are drawn too: class 0 with probability `share`; the statement holds all the same."""
    bounds = {
        (k, m, j): per_class_upper([k, j], [m, n - m], delta)
        for m in range(n + 1)
        for k in range(m + 1)
        for j in range(n - m + 1)
    }
    for p, q in itertools.product([0.05, 0.3, 0.6, 0.9, 0.999], repeat=2):
        failure = sum(
            pmf(n, share)[m] * pmf(m, p)[k] * pmf(n - m, q)[j]
            for (k, m, j), (first, second) in bounds.items()
            if first < p or second < q
        )
        assert failure <= delta + ROUNDING


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_per_class_is_sharp_within_a_class(delta, n=4):
    values = np.array([per_class_upper([k, 0], [n, n], delta)[0] for k in range(n + 1)])
    assert delta / 2 * (1 - 1e-9) < worst_failure(values, n) <= delta / 2 + ROUNDING


def trinomial(n, p, q):
    """(worse, better) → probability, for n samples with rates p and q."""
    rest = max(0.0, 1 - p - q)
    return {
        (w, b): math.comb(n, w) * math.comb(n - w, b) * p**w * q**b * rest ** (n - w - b)
        for w in range(n + 1)
        for b in range(n + 1 - w)
    }


RATES = [(i / 12, j / 12) for i in range(13) for j in range(13 - i)]


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_cost_of_pruning_over_trinomials(delta, n=9):
    bounds = {o: cost_of_pruning_upper(*o, n, delta) for o in trinomial(n, 0.1, 0.1)}
    # rates just above each bound with no `better` at all: there the upper side alone decides
    sharp = [(np.nextafter(bounds[w, 0], 2), 0.0) for w in range(n) if bounds[w, 0] < 1]
    for p, q in [*RATES, *sharp]:
        failure = sum(
            mass for o, mass in trinomial(n, p, q).items() if bounds[o] < p - q - ROUNDING
        )
        assert failure <= delta + ROUNDING, (p, q)
    # negative control: rates taken at face value
    naive = sum(mass for (w, b), mass in trinomial(n, 0.1, 0.1).items() if (w - b) / n < 0)
    assert naive > delta


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_disagreement_bounds_the_risk_difference(delta, n=9):
    """Some disagreements are worse, some better, and some wrong both ways: all are counted."""
    bounds = disagreement_upper(np.arange(n + 1), n, delta)
    for p, q in RATES:
        both_wrong = (1 - p - q) / 3
        masses = pmf(n, min(1.0, p + q + both_wrong))
        assert masses[bounds < abs(p - q) - ROUNDING].sum() <= delta + ROUNDING
        assert masses[bounds < p + q - ROUNDING].sum() <= delta + ROUNDING


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_drop_walk_over_two_networks(delta, n=5, max_drop=0.3):
    """Both networks cost just more than allowed: accepting either is a failure."""
    outcomes = list(trinomial(n, 0.1, 0.1))
    accepted = {
        (first, second): fixed_sequence_drop_accepted(
            [first[0], second[0]], [first[1], second[1]], n, max_drop, delta
        )
        for first, second in itertools.product(outcomes, repeat=2)
    }
    for better in (0.0, 0.1, 0.3):
        law = trinomial(n, max_drop + better + 1e-9, better)
        failure = sum(law[a] * law[b] for (a, b), count in accepted.items() if count >= 1)
        assert failure <= delta + ROUNDING
    # a good first network does not lend its place to a bad second
    good, bad = trinomial(n, 0.0, 0.9), trinomial(n, max_drop + 1e-9, 0.0)
    failure = sum(good[a] * bad[b] for (a, b), count in accepted.items() if count == 2)
    assert failure <= delta + ROUNDING


def test_majority_of_lucky_guessers_is_not_a_list_member():
    """THEORY 2.1a (iv), the control that must break: a vote formed after looking, charged δ/(T+1).

    T guessers, each right on a coin's toss; those above 1/2 on the hold-out vote, and the vote is
    wrong half the time on new data. Seeded, and far beyond delta.
    """
    draw = np.random.default_rng(7)
    guessers, n, delta, failures = 401, 100, 0.05, 0
    for _ in range(100):
        wrong = draw.random((guessers, n)) < 0.5
        voters = wrong[wrong.sum(axis=1) < n / 2]
        errors = int((voters.mean(axis=0) >= 0.5).sum())
        failures += holdout_upper(errors, n, delta / (guessers + 1)) < 0.5
    assert failures > 90
