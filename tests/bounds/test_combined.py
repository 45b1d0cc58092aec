"""Two pieces of evidence in one number: closed forms, inverses, exact coverage, evidence read."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy import stats

from prunecert.bounds import holdout_upper, occam_kl_upper, occam_upper
from prunecert.bounds.combined import (
    code_or_holdout_upper,
    compression_theorem_upper,
    train_and_holdout_upper,
    transfer_to_dense_upper,
    transfer_to_pruned_upper,
)
from prunecert.bounds.combined_rows import COMBINED_ROWS
from prunecert.bounds.table import evaluate
from prunecert.types import (
    Certificate,
    Code,
    Counts,
    Disagreements,
    InputError,
    Margins,
    NotApplicable,
    kind_of,
)

mpmath.mp.dps = 50
ROWS = {row.name: row for row in COMBINED_ROWS}
ROUNDING = 1e-12


def pmf(n, p):
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def truths(*bounds):
    """A grid of risks, and points just above each value that a bound takes."""
    above = np.nextafter(np.unique(np.concatenate([np.ravel(b) for b in bounds])), 2.0)
    return np.concatenate([np.linspace(0, 1, 41), above[above <= 1]])


# --------------------------------------------------------------------------- compression theorem


def test_compression_theorem_closed_forms():
    for errors, n, bits, delta in (
        (0, 2, 0, 0.5),
        (30, 1000, 50, 0.05),
        (600, 60_000, 6_626, 0.05),
    ):
        nats = bits * mpmath.log(2) - mpmath.log(mpmath.mpf(delta))
        expected = mpmath.mpf(errors) / n + mpmath.sqrt(nats / (2 * n))
        upper = compression_theorem_upper(errors, n, bits, delta)
        assert expected <= upper <= expected * (1 + mpmath.mpf(2e-12))
    # q = 3 parameters of r = 16 values are 12 bits: q ln r = 12 ln 2
    expected = 0.1 + math.sqrt((3 * math.log(16) + math.log(20)) / 2000)
    assert compression_theorem_upper(100, 1000, 12, 0.05) == pytest.approx(expected, rel=2e-12)
    assert compression_theorem_upper(0, 100, 1e9, 0.05) == 1.0
    assert compression_theorem_upper(100, 100, 0, 0.05) == 1.0


def test_compression_theorem_is_never_better_than_occam():
    """THEORY 2.2; by Pinsker's inequality the kl form lies between."""
    for errors, bits in itertools.product((0, 1, 40, 300, 999), (0, 3, 50, 700)):
        upper = compression_theorem_upper(errors, 1000, bits, 0.05)
        assert upper >= occam_kl_upper(errors, 1000, bits, 0.05) * (1 - 3e-12)
        assert upper >= occam_upper(errors, 1000, bits, 0.05) * (1 - 3e-12)


# --------------------------------------------------------------------------- training and hold-out


def literal_log_tail(k, n, p):
    if k == n:
        return mpmath.mpf(0)
    term = total = mpmath.mpf(1)
    for i in range(k, 0, -1):
        term *= mpmath.mpf(i) / (n - i + 1) * (1 - p) / p
        total += term
        if term < total * mpmath.mpf(1e-45):  # terms shrink from here on
            break
    log_binomial = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
    return log_binomial + k * mpmath.log(p) + (n - k) * mpmath.log(1 - p) + mpmath.log(total)


def fisher(p, errors, n, bits, holdout_errors, holdout_n):
    """P₁P₂(1 − ln(P₁P₂)), THEORY 2.14 word for word."""
    p = mpmath.mpf(p)
    train = mpmath.mpf(2) ** bits * mpmath.exp(literal_log_tail(errors, n, p))
    product = min(1, train) * mpmath.exp(literal_log_tail(holdout_errors, holdout_n, p))
    return product * (1 - mpmath.log(product))


@pytest.mark.parametrize(
    ("counts", "delta"),
    [
        ((0, 1, 0, 0, 1), 0.05),
        ((30, 1000, 50, 12, 300), 0.05),
        ((30, 1000, 50.5, 0, 300), 1e-12),
        ((1_200, 60_000, 400, 30, 1000), 0.05),
        ((600, 60_000, 55_565, 90, 10_000), 0.05),  # 2^-55565 is no float
        ((3, 1_000, 20_000, 970, 1_000), 0.3),
        ((10**3, 10**6, 10**6, 999, 1_000), 0.05),  # here P₁ decides, at 10⁶ bits
        ((5, 5, 0, 2, 9), 0.05),
        ((2, 9, 3, 5, 5), 0.9),
        ((7, 30, 1, 6, 20), 0.999),
    ],
)
def test_train_and_holdout_inverts_fisher(counts, delta):
    upper = train_and_holdout_upper(*counts, delta)
    assert upper < 1.0
    assert fisher(upper, *counts) < delta
    assert fisher(mpmath.mpf(upper) * (1 - mpmath.mpf(1e-11)), *counts) > delta


def test_all_risks_below_are_possible_and_none_above():
    counts, delta = (2, 12, 2, 1, 9), 0.1
    upper = train_and_holdout_upper(*counts, delta)
    for step in range(1, 400):
        assert (fisher(step / 400, *counts) >= delta) == (step / 400 <= upper)


def test_train_and_holdout_closed_forms():
    for t in (0.01, 1, 3, 30):  # x = e^-t solves x(1 − ln x) = (1 + t) e^-t
        x, delta = mpmath.exp(-t), (1 + t) * math.exp(-t)
        for n, m, bits in ((1, 1, 0), (40, 7, 0), (40, 7, 2), (900, 100, 1)):
            together = 1 - (x / 2**bits) ** (mpmath.mpf(1) / (n + m))
            alone = 1 - x ** (mpmath.mpf(1) / m)
            paid = 2**bits * (1 - together) ** n <= 1  # else P₁ = 1 there
            upper = train_and_holdout_upper(0, n, bits, 0, m, delta)
            expected = together if paid else alone
            assert upper == pytest.approx(float(expected), rel=1e-9 if t == 0.01 else 2e-11)
            assert train_and_holdout_upper(n, n, bits, m, m, delta) == 1.0
            nothing = train_and_holdout_upper(n, n, bits, 0, m, delta)
            assert nothing == pytest.approx(float(alone), rel=1e-9 if t == 0.01 else 2e-11)


def test_without_bits_the_two_samples_can_be_exchanged():
    first = train_and_holdout_upper(3, 50, 0, 7, 80, 0.05)
    assert first == pytest.approx(train_and_holdout_upper(7, 80, 0, 3, 50, 0.05), rel=1e-11)


def test_it_beats_both_single_bounds_in_a_plausible_case():
    """Digits: 10 of 1,347 wrong at 20 bits, 7 of 450 held out: two certificates about as good."""
    combined = train_and_holdout_upper(10, 1_347, 20, 7, 450, 0.05)
    singles = (occam_upper(10, 1_347, 20, 0.05), holdout_upper(7, 450, 0.05))
    assert 7 / 450 < combined < min(singles) - 0.0005


def test_a_code_too_long_leaves_the_holdout_at_a_smaller_delta():
    """P₁ = 1 throughout: what is left is P₂ = x < delta, also at 10⁹ bits."""
    alone = stats.beta.ppf(1 - math.exp(-3), 21, 980)  # delta = 4e⁻³, x = e⁻³
    for bits in (1e5, 1e6, 1e9):
        upper = train_and_holdout_upper(1_200, 60_000, bits, 20, 1_000, 4 * math.exp(-3))
        assert upper == pytest.approx(alone, rel=1e-9)
    assert alone > holdout_upper(20, 1_000, 4 * math.exp(-3))


def table_of(n, m, bits, delta):
    """The bound at every (errors, holdout_errors), shape (n + 1, m + 1)."""
    errors, holdout_errors = np.mgrid[: n + 1, : m + 1]
    return train_and_holdout_upper(errors, n, bits, holdout_errors, m, delta)


@pytest.mark.parametrize("delta", [0.05, 0.3])
@pytest.mark.parametrize("bits", [0, 1, 2, 3])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (6, 4), (3, 9)])
def test_coverage_of_one_codeword(n, m, bits, delta):
    """Over every pair of counts; one network that pays `bits` fails at most delta of the time."""
    bounds = table_of(n, m, bits, delta)
    for p in truths(bounds):
        law = np.outer(pmf(n, p), pmf(m, p))
        assert law[bounds < p].sum() <= delta + ROUNDING


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_the_product_is_not_itself_a_p_value(delta, n=6, m=6):
    """Negative control: excluding where P₁P₂ < delta, without 1 − ln, fails too often."""
    tails = [[np.cumsum(pmf(size, p)) for p in np.linspace(0, 1, 2001)] for size in (n, m)]
    product = np.array([np.outer(a, b) for a, b in zip(*tails)])
    naive = np.linspace(0, 1, 2001)[(product >= delta).sum(axis=0) - 1]  # products fall in p
    worst = max(np.outer(pmf(n, p), pmf(m, p))[naive < p].sum() for p in truths(naive))
    assert worst > 1.3 * delta


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_coverage_of_the_best_of_eight_codewords(delta, n=9, m=5):
    """Eight networks of 3 bits and equal risk; the one with fewest errors on S is taken."""
    worst = {}
    for bits in (3, 0):
        bounds, worst[bits] = table_of(n, m, bits, delta), 0.0
        for p in truths(bounds):
            at_least = np.append(pmf(n, p)[::-1].cumsum()[::-1], 0.0) ** 8
            law = np.outer(at_least[:-1] - at_least[1:], pmf(m, p))
            worst[bits] = max(worst[bits], law[bounds < p].sum())
    assert worst[3] <= delta + ROUNDING
    assert worst[0] > 1.3 * delta  # negative control: the choice was not paid for


# --------------------------------------------------------------------------- transfer


def test_transfer_closed_forms():
    # no errors: 1 − (delta/2·2^-bits)^(1/n) + 1 − (delta/2)^(1/inputs)
    expected = 2 - (0.025 * 2.0**-20) ** (1 / 500) - 0.025 ** (1 / 300)
    assert transfer_to_dense_upper(0, 500, 20, 0, 300, 0.05) == pytest.approx(expected, rel=4e-12)
    expected = 2 - 0.025 ** (1 / 500) - 0.025 ** (1 / 300)
    assert transfer_to_pruned_upper(0, 500, 0, 300, 0.05) == pytest.approx(expected, rel=4e-12)
    for bound in (
        transfer_to_dense_upper(0, 500, 1e6, 0, 300, 0.05),
        transfer_to_dense_upper(0, 500, 20, 300, 300, 0.05),
        transfer_to_pruned_upper(500, 500, 0, 300, 0.05),
        transfer_to_pruned_upper(0, 500, 300, 300, 0.05),
    ):
        assert bound == 1.0


def test_transfer_is_a_sum_of_two_statements_at_half_of_delta():
    differ = stats.beta.ppf(0.975, 12 + 1, 988)  # 12 of 1000 inputs
    dense = stats.beta.ppf(0.975, 40 + 1, 760)  # 40 of 800 samples
    pruned = stats.beta.ppf(1 - 0.025 / 2**6, 40 + 1, 760)
    assert transfer_to_pruned_upper(40, 800, 12, 1000, 0.05) == pytest.approx(
        dense + differ, rel=1e-9
    )
    assert transfer_to_dense_upper(40, 800, 6, 12, 1000, 0.05) == pytest.approx(
        pruned + differ, rel=1e-9
    )


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_transfer_coverage(delta, n=7, inputs=6):
    """The other network is wrong wherever the two differ, so its risk is the sum of both rates."""
    errors, count = np.mgrid[: n + 1, : inputs + 1]
    to_pruned = transfer_to_pruned_upper(errors, n, count, inputs, delta)
    to_dense = transfer_to_dense_upper(errors, n, 0, count, inputs, delta)
    assert (to_dense == to_pruned).all()
    rates = np.linspace(0, 1, 26)
    sharp = np.nextafter(holdout_upper(np.arange(3), n, delta / 2), 2)
    for p, q in [*itertools.product(rates, repeat=2), *((p, 0.0) for p in sharp)]:
        if p + q <= 1:
            law = np.outer(pmf(n, p), pmf(inputs, q))
            assert law[to_pruned < p + q].sum() <= delta + ROUNDING
    # one sample for both, no input wrong and different at once
    same = {
        (w, d): transfer_to_pruned_upper(w, n, d, n, delta)
        for w in range(n + 1)
        for d in range(n + 1 - w)
    }
    naive = 0.0
    for p, q in itertools.product(rates, repeat=2):
        rest = max(0.0, 1 - p - q)
        law = {
            (w, d): math.comb(n, w) * math.comb(n - w, d) * p**w * q**d * rest ** (n - w - d)
            for w, d in same
        }
        if p + q <= 1:
            assert sum(law[o] for o in same if same[o] < p + q) <= delta + ROUNDING
            naive = max(naive, sum(law[w, d] for w, d in same if (w + d) / n < p + q - 1e-9))
    assert naive > 0.5  # negative control


# --------------------------------------------------------------------------- evidence

EVIDENCE = {
    "counts": Counts(30, 1000, "train"),
    "counts@holdout": Counts(9, 400, "test"),
    "counts@dense-holdout": Counts(5, 350, "test"),
    "counts@bound": Counts(17, 600, "train"),
    "code": Code(50),
    "code@prior": Code(21),
    "disagreements": Disagreements(12, 900, "test"),
    "margins": Margins(np.array([-1.0, 0.0, math.nan, 0.1, 3.0] + [1.0] * 995), "train"),
}
ARGUMENTS = {
    "compression-theorem": {"errors": 3, "n": 1000, "bits": 50},
    "train-and-holdout": {
        "errors": 30,
        "n": 1000,
        "bits": 50,
        "holdout_errors": 9,
        "holdout_n": 400,
    },
    "code-or-holdout": {
        "errors": 30,
        "n": 1000,
        "bits": 50,
        "holdout_errors": 9,
        "holdout_n": 400,
    },
    "transfer-to-dense": {"errors": 30, "n": 1000, "bits": 50, "count": 12, "inputs": 900},
    "transfer-to-pruned": {"errors": 5, "n": 350, "count": 12, "inputs": 900},
    "occam-split": {"errors": 17, "n": 600, "bits": 21},
}


def test_every_row_is_tested():
    assert set(ARGUMENTS) == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_rows_read_the_parts_they_name(name):
    row = ROWS[name]
    parts = {need: EVIDENCE[need] for need in row.needs}
    assert row.from_evidence(parts, 0.05) == ARGUMENTS[name] | {"delta": 0.05}
    result = evaluate(row, parts, 0.05)
    assert isinstance(result, Certificate)
    assert row.kind == kind_of(row.assumptions) == result.kind == "certified"
    exact = row.function(**ARGUMENTS[name], delta=0.05)
    assert exact <= result.risk_bound <= exact + 1e-6
    for need in row.needs:
        rest = {part: value for part, value in parts.items() if part != need}
        assert isinstance(evaluate(row, rest, 0.05), NotApplicable)


def test_the_split_counts_only_what_the_prior_did_not_see():
    result = evaluate(ROWS["occam-split"], EVIDENCE, 0.05)
    assert result.risk_bound == pytest.approx(occam_upper(17, 600, 21, 0.05), abs=1e-6)


BAD_COUNT = (-1, 1001, 1.5, math.nan, "many", True, None)
BAD_SIZE = (0, -1, 10.5, math.nan, "many", None, True)
ILLEGAL = {
    "errors": BAD_COUNT,
    "holdout_errors": BAD_COUNT,
    "count": BAD_COUNT,
    "n": BAD_SIZE,
    "holdout_n": BAD_SIZE,
    "inputs": BAD_SIZE,
    "bits": (-1, -1e-9, math.nan, math.inf, "few", None),
    "delta": (0.0, 1.0, -0.1, math.nan, "small", None),
}


@pytest.mark.parametrize("name", ROWS)
def test_illegal_arguments_are_named(name):
    function, legal = ROWS[name].function, ARGUMENTS[name] | {"delta": 0.05}
    assert 0 < function(**legal) < 1
    for argument in legal:
        for value in ILLEGAL[argument]:
            with pytest.raises(InputError, match=rf"^{argument} must be [^\n]*$"):
                function(**legal | {argument: value})


@pytest.mark.parametrize("name", ROWS)
def test_arrays_agree_with_numbers_and_the_bound_never_falls(name):
    function, legal = ROWS[name].function, ARGUMENTS[name] | {"delta": 0.05}
    sweeps = {
        "errors": np.arange(0, 301, 60),
        "holdout_errors": np.arange(0, 401, 80),
        "count": np.arange(0, 901, 180),
        "bits": np.array([0, 1, 50, 1e3, 1e4, 1e6]),
        "delta": np.array([0.9, 0.3, 0.05, 1e-3, 1e-9, 1e-300]),
    }
    for argument in legal.keys() & sweeps.keys():
        together = function(**legal | {argument: sweeps[argument]})
        singles = [function(**legal | {argument: value}) for value in sweeps[argument].tolist()]
        assert together.tolist() == singles
        assert (np.diff(together) >= -1e-11).all()
        # of the smaller of two, the other may decide all along
        assert together[-1] > together[0] + 1e-3 or name == "code-or-holdout"


# --------------------------------------------------------------------------- the smaller of two


def test_the_smaller_of_code_and_holdout_is_the_smaller_at_half_of_delta():
    """Either may be the smaller one; closed forms where nothing was wrong."""
    half = 0.05 / 2
    of_code, of_holdout = 1 - (half / 2**3) ** (1 / 500), 1 - half ** (1 / 100)
    assert of_code < of_holdout
    assert code_or_holdout_upper(0, 500, 3, 0, 100, 0.05) == pytest.approx(of_code, rel=1e-11)
    assert code_or_holdout_upper(0, 500, 40, 0, 100, 0.05) == pytest.approx(of_holdout, rel=1e-11)


@pytest.mark.parametrize("bits", [0, 2])
def test_the_smaller_of_two_fails_no_more_often_than_delta(bits):
    """Every outcome of two small samples, one codeword of `bits` bits, at risks just above the
    bound's own values."""
    n, m, delta = 6, 5, 0.3
    bound = {
        (k, h): float(code_or_holdout_upper(k, n, bits, h, m, delta))
        for k, h in itertools.product(range(n + 1), range(m + 1))
    }
    for edge in {value for value in bound.values() if value < 1.0}:
        failure = math.fsum(
            stats.binom.pmf(k, n, edge) * stats.binom.pmf(h, m, edge)
            for (k, h), value in bound.items()
            if value <= edge
        )
        assert failure <= delta + 1e-12
