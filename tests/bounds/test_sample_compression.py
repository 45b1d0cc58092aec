"""Sample compression and pick-to-learn: closed forms, exact sums, exact coverage."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from prunecert.bounds.holdout import holdout_upper
from prunecert.bounds.sample_compression import (
    COMPRESSION_ROWS,
    pick_to_learn_upper,
    sample_compression_upper,
)
from prunecert.bounds.table import evaluate
from prunecert.inversions import binomial_log_cdf
from prunecert.types import Certificate, Compressed, InputError, NotApplicable

mpmath.mp.dps = 50
ROWS = {row.name: row for row in COMPRESSION_ROWS}


# --------------------------------------------------------------------------- sample compression


def share_of_delta(size, n, bits):
    """ln of 2^−bits · (6/π²)/((k+1)² C(n, k)), in fifty digits; C(n, k) as an integer."""
    subsets = mpmath.log(math.comb(n, size))
    return -mpmath.log(mpmath.zeta(2)) - 2 * mpmath.log(size + 1) - subsets - bits * mpmath.log(2)


@pytest.mark.parametrize(
    ("size", "n", "bits"),
    [
        (0, 1, 0),
        (1, 2, 0),
        (3, 10, 0),
        (7, 10, 5),
        (9, 10, 1),
        (500, 60_000, 0),
        (40_000, 60_000, 9),
    ],
)
def test_without_errors_it_is_closed(size, n, bits):
    """1 − (delta · share)^(1/(n − k))."""
    log_delta = mpmath.log(mpf(0.05)) + share_of_delta(size, n, bits)
    exact = -mpmath.expm1(log_delta / (n - size))
    upper = mpf(sample_compression_upper(0, size, n, bits, 0.05))
    assert exact <= upper <= exact * (1 + mpf(3e-12))


@pytest.mark.parametrize(
    ("errors", "size", "n", "bits"), [(1, 1, 4, 0), (3, 4, 15, 2), (2, 9, 12, 0)]
)
def test_at_the_bound_the_tail_is_the_share_of_delta(errors, size, n, bits):
    """The tail over the n − k samples outside, as a sum of fractions."""

    def log_tail(p):
        p, outside = Fraction(p), n - size
        terms = (math.comb(outside, i) * p**i * (1 - p) ** (outside - i) for i in range(errors + 1))
        total = sum(terms)
        return mpmath.log(mpf(total.numerator)) - mpmath.log(mpf(total.denominator))

    upper = sample_compression_upper(errors, size, n, bits, 0.3)
    log_delta = mpmath.log(mpf(0.3)) + share_of_delta(size, n, bits)
    assert log_tail(upper) <= log_delta
    assert log_tail(upper * (1 - 3e-12)) > log_delta


def test_the_shares_of_all_subsets_and_messages_sum_to_at_most_1():
    """The union bound itself: every size, every subset, every codeword of a complete code."""
    n = 12
    total = sum(math.comb(n, k) * mpmath.exp(share_of_delta(k, n, 0)) for k in range(n + 1))
    assert 0.9 < total <= 1
    assert all(sample_compression_upper(0, n, n, bits, 0.5) == 1.0 for bits in (0, 3))


def test_everything_kept_or_everything_wrong_is_1():
    assert sample_compression_upper(0, 5, 5, 0, 0.9) == 1.0
    assert sample_compression_upper(3, 2, 5, 0, 0.9) == 1.0


def test_a_bit_of_message_halves_delta():
    assert sample_compression_upper(2, 3, 50, 4, 0.08) == pytest.approx(
        sample_compression_upper(2, 3, 50, 0, 0.005), rel=1e-11
    )


@pytest.mark.parametrize("delta", [0.1, 0.9])
def test_exact_coverage_of_a_constant_taken_from_one_sample(delta):
    """Fair or unfair labels; the network says the label of the sample kept. All outcomes."""
    n = 9
    kept_1 = [sample_compression_upper(n - ones, 1, n, 0, delta) for ones in range(1, n + 1)]
    kept_0 = [sample_compression_upper(ones, 1, n, 0, delta) for ones in range(n)]
    edges = {bound for bound in (*kept_0, *kept_1) if bound < 1.0}
    for risk_of_1 in {*np.linspace(0.0, 1.0, 41), *edges, *(1.0 - edge for edge in edges)}:
        p = 1.0 - risk_of_1  # P[label 1]
        failure = 0.0
        for ones in range(n + 1):
            mass = math.comb(n, ones) * p**ones * (1 - p) ** (n - ones)
            bounds = []  # (bound, risk) of what can be said; the smaller bound is reported
            if ones > 0:
                bounds.append((kept_1[ones - 1], 1 - p))
            if ones < n:
                bounds.append((kept_0[ones], p))
            bound, risk = min(bounds)
            failure += mass * (bound < risk)
        assert failure <= delta


# --------------------------------------------------------------------------- pick to learn


def log_of_the_sum(epsilon, size, n, delta):
    """ln of (delta/n) Σ C(m,k)/C(n,k) (1 − epsilon)^−(n−m), term by term."""
    terms = (
        mpf(math.comb(m, size)) / math.comb(n, size) / (1 - epsilon) ** (n - m)
        for m in range(size, n)
    )
    return mpmath.log(mpf(delta) / n * sum(terms))


@pytest.mark.parametrize("delta", [0.05, 0.9, 1e-12])
@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_all_but_one_kept_is_closed(n, delta):
    """One term is left: 1 − delta/n²; and 1 where all are kept."""
    exact = 1 - mpf(delta) / n**2
    assert exact <= mpf(pick_to_learn_upper(n - 1, n, delta)) <= min(1, exact * (1 + mpf(4e-12)))
    assert pick_to_learn_upper(n, n, delta) == 1.0


@pytest.mark.parametrize(
    ("size", "n", "delta"),
    [
        *itertools.product((0, 1, 3, 6), (8,), (0.05, 0.7)),
        *((size, 60, 1e-9) for size in (0, 1, 30, 58)),
        *((size, 2000, 0.05) for size in (0, 10, 1000, 1990)),
        (2, 5, 1e-200),
    ],
)
def test_the_sum_is_1_at_the_bound(size, n, delta):
    """Above the root, and not above it by more than 1e-11: the sum rises with epsilon."""
    epsilon = mpf(pick_to_learn_upper(size, n, delta))
    if epsilon == 1:
        assert log_of_the_sum(1 - mpf(2) ** -52, size, n, delta) <= 0
        return
    assert log_of_the_sum(epsilon, size, n, delta) >= 0
    assert log_of_the_sum(epsilon * (1 - mpf(1e-11)), size, n, delta) < 0


def test_a_long_sample():
    """20,000 samples, 400 kept: the sum once more, by mpmath with a recurrence."""
    size, n, delta = 400, 20_000, 0.05
    epsilon = pick_to_learn_upper(size, n, delta)

    def log_sum(epsilon):
        term = total = mpf(n - size) / n / (1 - epsilon)  # m = n − 1
        for m in range(n - 1, size, -1):
            term *= mpf(m - size) / m / (1 - epsilon)
            total += term
        return mpmath.log(total * mpf(delta) / n)

    with mpmath.workdps(30):
        assert log_sum(mpf(epsilon)) >= 0
        assert log_sum(mpf(epsilon) * (1 - mpf(1e-10))) < 0


@pytest.mark.parametrize("delta", [0.01, 0.3])
@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_exact_coverage_where_every_kept_sample_is_needed(n, delta):
    """Keep the k largest of n uniform numbers; a new one changes that with probability 1 − (the
    k-th largest), above epsilon with probability P[Bin(n, epsilon) <= k − 1]. For every k at once
    (scenario theory: the worst case at each k)."""
    for size in range(1, n):
        epsilon = pick_to_learn_upper(size, n, delta)
        assert binomial_log_cdf(size - 1, n, epsilon) <= math.log(delta)
        # and no more than what its n + 1 sizes and the equation's slack explain
        assert epsilon <= holdout_upper(size, n, delta / (n + 1) ** 3)


def test_the_bound_rises_with_the_number_kept_up_to_1():
    bounds = pick_to_learn_upper(np.arange(31), 30, 0.05)
    assert (np.diff(bounds) > 0).all()
    assert bounds[-1] == 1.0


# --------------------------------------------------------------------------- evidence, refusals


def test_both_rows_read_one_part():
    evidence = {"compressed": Compressed(10, 0, 1000, 0.0, "train")}
    for name, bound in (
        ("sample-compression", sample_compression_upper(0, 10, 1000, 0.0, 0.05)),
        ("pick-to-learn", pick_to_learn_upper(10, 1000, 0.05)),
    ):
        result = evaluate(ROWS[name], evidence, 0.05)
        assert isinstance(result, Certificate)
        assert 0 <= result.risk_bound - bound <= 1e-6


@pytest.mark.parametrize(
    ("part", "reason"),
    [(Compressed(10, 3, 1000), "are 3, expected 0"), (Compressed(10, 0, 1000, 8.0), "8 bits")],
)
def test_pick_to_learn_says_nothing_about_errors_and_messages(part, reason):
    result = evaluate(ROWS["pick-to-learn"], {"compressed": part}, 0.05)
    assert isinstance(result, NotApplicable)
    assert reason in result.reason
    assert isinstance(evaluate(ROWS["sample-compression"], {"compressed": part}, 0.05), Certificate)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("errors", value) for value in (-1, 8, 1.5, True, None)),
        *(("size", value) for value in (-1, 11, 2.5, "all")),
        *(("n", value) for value in (0, 10.5, None)),
        *(("bits", value) for value in (-1.0, math.nan, math.inf)),
        *(("delta", value) for value in (0.0, 1.0, math.nan, None)),
    ],
)
def test_refusals(name, value):
    case = {"errors": 1, "size": 3, "n": 10, "bits": 2.0, "delta": 0.05}
    calls = [(sample_compression_upper, case)]
    if name in ("size", "n", "delta"):
        calls.append((pick_to_learn_upper, {key: case[key] for key in ("size", "n", "delta")}))
    for function, legal in calls:
        function(**legal)
        with pytest.raises(InputError) as refusal:
            function(**legal | {name: value})
        assert name in str(refusal.value)
        assert "\n" not in str(refusal.value)
