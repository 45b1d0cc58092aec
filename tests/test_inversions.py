"""Inversions against closed forms, exact rationals, mpmath and scipy; safe ends against all."""

import math
import random
import subprocess
import sys
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy import stats

from prunecert import inversions as inv
from prunecert.types import InputError

mpmath.mp.dps = 50


def mp_log_cdf(k, n, p):
    """ln P[Bin(n, p) <= k]: the smaller tail summed term by term in 50 digits."""
    p = mpmath.mpf(p)
    up = k >= (n + 1) * p
    i, term, total = (k + 1, mpmath.mpf(1), mpmath.mpf(0)) if up else (k, mpmath.mpf(1), 0)
    start = i
    while 0 <= i <= n and term > total * mpmath.mpf(10) ** -30:
        total += term
        term *= (
            mpmath.mpf(n - i) / (i + 1) * p / (1 - p)
            if up
            else mpmath.mpf(i) / (n - i + 1) * (1 - p) / p
        )
        i += 1 if up else -1
    log_pmf = (
        mpmath.loggamma(n + 1)
        - mpmath.loggamma(start + 1)
        - mpmath.loggamma(n - start + 1)
        + start * mpmath.log(p)
        + (n - start) * mpmath.log(1 - p)
    )
    log_tail = log_pmf + mpmath.log(total)
    return mpmath.log1p(-mpmath.exp(log_tail)) if up else log_tail


def exact_cdf(k, n, p):
    p = Fraction(p)
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


def mp_kl(q, p):
    q, p = mpmath.mpf(q), mpmath.mpf(p)
    first = q * mpmath.log(q / p) if q else 0
    return first + ((1 - q) * mpmath.log((1 - q) / (1 - p)) if q < 1 else 0)


# --------------------------------------------------------------------------- log cdf


@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 40])
def test_log_cdf_equals_the_exact_rational_sum(n):
    for k in range(n):
        for p in (1e-6, 0.01, 0.3, 0.5, 0.77, 1 - 1e-9):
            exact = exact_cdf(k, n, p)
            if exact > Fraction(1, 2):  # ln(1−x) of a rational x, without losing x
                rest = 1 - exact
                expected = mpmath.log1p(-mpmath.mpf(rest.numerator) / rest.denominator)
            else:
                expected = mpmath.log(mpmath.mpf(exact.numerator) / exact.denominator)
            got = inv.binomial_log_cdf(k, n, p)
            assert abs(got - expected) <= 3e-13 * abs(expected), (k, n, p)


def test_log_cdf_edges_are_closed_forms():
    assert inv.binomial_log_cdf(7, 7, 0.3) == 0.0
    assert inv.binomial_log_cdf(0, 9, 0.0) == 0.0
    assert inv.binomial_log_cdf(3, 9, 1.0) == -math.inf
    assert inv.binomial_log_cdf(9, 9, 1.0) == 0.0
    assert inv.binomial_log_cdf(0, 10**8, 0.25) == 10**8 * math.log(0.75)


@pytest.mark.parametrize(
    ("k", "n", "p"),
    [
        (1_200, 60_000, 0.9999999),  # −9e5 nats
        (10**6, 10**8, 0.02),  # −3e5 nats
        (1, 10**8, 1 - 2.0**-53),  # −3.7e9 nats
        (99_999_999, 10**8, 1 - 1e-12),
        (10**6, 10**8, 0.010001),  # beside the mode
        (5 * 10**7, 10**8, 0.50012),
        (5 * 10**7, 10**8, 0.4999),  # upper tail, 2 sd
        (1, 10**8, 1e-8),
        (1, 10**8, 1e-18),  # ln(1 − 5e-21)
        (150_025, 170_241, 0.852046517084615),  # ln(1 − 5e-268)
    ],
)
def test_log_cdf_keeps_twelve_digits_of_its_own_value(k, n, p):
    expected = mp_log_cdf(k, n, p)
    assert abs(inv.binomial_log_cdf(k, n, p) - expected) <= 1e-12 * abs(expected)


def test_log_cdf_random_arguments_against_mpmath():
    draw = random.Random(20)
    for _ in range(300):
        n = int(10 ** draw.uniform(0, 6)) + 1
        k = draw.choice([draw.randrange(n), int(n ** draw.random()) - 1])
        sd = math.sqrt((k + 1) * (n - k) / n) / n
        near = (k + 0.5) / n + draw.gauss(0, 1) * sd * draw.choice([1, 5, 30])
        p = draw.choice([draw.random(), near, 10 ** draw.uniform(-12, 0)])
        expected = mp_log_cdf(k, n, p) if 0 < p < 1 else 0
        if expected < -1e-300:  # anything nearer to zero is no normal float
            got = inv.binomial_log_cdf(k, n, p)
            assert abs(got - expected) <= 1e-12 * abs(expected), (k, n, p)


def test_log_cdf_agrees_with_scipy_where_scipy_does_not_underflow():
    k, n = np.arange(0, 120, 7), 1000
    ours = inv.binomial_log_cdf(k, n, 0.1)
    assert np.allclose(ours, stats.binom.logcdf(k, n, 0.1), rtol=1e-8, atol=0)


# --------------------------------------------------------------------------- binomial inverses


def test_underflow_trap():
    """THEORY 2.1: 2**-bits is 0.0 here, and a naive search then claims far too little."""
    errors, n, bits = 1_200, 60_000, 40_000
    assert 0.05 * 2.0**-bits == 0.0
    upper = inv.binomial_tail_upper(errors, n, inv.log_failure(0.05, bits))
    log_delta = mpmath.log(mpmath.mpf("0.05")) - bits * mpmath.log(2)
    assert upper > 0.36
    assert mp_log_cdf(errors, n, upper) <= log_delta
    assert mp_log_cdf(errors, n, upper * (1 - 2e-12)) > log_delta


def test_tail_upper_never_underflows_at_a_billion_bits():
    assert inv.binomial_tail_upper(5, 10, inv.log_failure(0.05, 1e9)) == 1.0
    upper = inv.binomial_tail_upper(0, 10**8, inv.log_failure(0.05, 1e8))
    expected = -mpmath.expm1((mpmath.log(mpmath.mpf(0.05)) - 1e8 * mpmath.log(2)) / 10**8)
    assert expected <= upper <= expected * (1 + mpmath.mpf(2e-12))


def test_tail_upper_closed_forms():
    for n in (1, 2, 17, 60_000):
        assert inv.binomial_tail_upper(n, n, math.log(0.05)) == 1.0
        expected = 1 - mpmath.mpf(0.05) ** (mpmath.mpf(1) / n)  # 1 − delta^(1/n)
        got = inv.binomial_tail_upper(0, n, math.log(0.05))
        assert expected <= got <= expected * (1 + mpmath.mpf(2e-12))
    # n = 2, one error: 1 − p² = delta
    expected = mpmath.sqrt(1 - mpmath.mpf(0.05))
    got = inv.binomial_tail_upper(1, 2, math.log(0.05))
    assert expected <= got <= expected * (1 + mpmath.mpf(2e-12))


def test_tail_upper_is_safe_in_exact_arithmetic():
    """At the returned end the exact tail is at most delta; 2e-12 below it, above."""
    for n in (1, 2, 5, 12, 30):
        for k in range(n):
            for delta in (1e-6, 0.05, 0.5, 0.9):
                upper = inv.binomial_tail_upper(k, n, math.log(delta))
                assert exact_cdf(k, n, upper) <= Fraction(delta), (k, n, delta)
                assert exact_cdf(k, n, upper * (1 - 2e-12)) > Fraction(delta), (k, n, delta)


def test_tail_upper_is_safe_and_tight_on_random_arguments():
    draw = random.Random(21)
    for _ in range(300):
        n = int(10 ** draw.uniform(0, 6)) + 1
        k = draw.choice([draw.randrange(n), int(n ** draw.random()) - 1, n - 1])
        delta = draw.choice([0.05, 0.5, 0.999, 1 - 1e-12])
        log_delta = draw.choice([math.log(delta), math.log(0.05) - 10 ** draw.uniform(0, 7)])
        upper = inv.binomial_tail_upper(k, n, log_delta)
        if upper < 1.0:
            assert mp_log_cdf(k, n, upper) <= log_delta, (k, n, log_delta)
            assert mp_log_cdf(k, n, upper * (1 - 2e-12)) > log_delta, (k, n, log_delta)


def test_tail_upper_agrees_with_the_beta_quantile():
    k, n = np.array([1, 30, 500, 999]), 1000
    expected = stats.beta.ppf(0.95, k + 1, n - k)
    assert np.allclose(inv.binomial_tail_upper(k, n, math.log(0.05)), expected, rtol=1e-9, atol=0)


def test_tail_lower_is_safe_and_agrees_with_the_beta_quantile():
    assert inv.binomial_tail_lower(0, 9, math.log(0.05)) == 0.0
    expected = mpmath.mpf(0.05) ** (mpmath.mpf(1) / 9)  # all nine: p^9 = delta
    assert expected - mpmath.mpf(2e-12) <= inv.binomial_tail_lower(9, 9, math.log(0.05)) <= expected
    for k, n in [(1, 10), (40, 10_000), (999, 1000)]:
        got = inv.binomial_tail_lower(k, n, math.log(0.025))
        assert got == pytest.approx(stats.beta.ppf(0.025, k, n - k + 1), abs=2e-12)
    # P[Bin >= k] <= delta at the returned end, exactly
    for k in range(1, 12):
        lower = inv.binomial_tail_lower(k, 12, math.log(0.05))
        assert 1 - exact_cdf(k - 1, 12, lower) <= Fraction(0.05)


def test_tail_is_below_decides_like_the_inverse():
    for k in range(20):
        upper = inv.binomial_tail_upper(k, 20, math.log(0.05))
        for target in (0.1, 0.3, 0.6, 0.9, upper * (1 + 1e-9), upper * (1 - 1e-9)):
            if target < 1:
                below = inv.binomial_tail_is_below(k, 20, target, math.log(0.05))
                assert below == (upper <= target)


# --------------------------------------------------------------------------- kl


def test_kl_closed_forms():
    assert inv.kl_bernoulli(0.3, 0.3) == 0.0
    assert inv.kl_bernoulli(0.0, 0.25) == -math.log1p(-0.25)
    assert inv.kl_bernoulli(1.0, 0.25) == math.log(4.0)
    assert inv.kl_bernoulli(0.5, 0.0) == math.inf
    assert inv.kl_bernoulli(0.5, 1.0) == math.inf


@pytest.mark.parametrize(
    ("q", "p"),
    [(0.02, 0.3), (0.3, 0.02), (1e-9, 1e-9 * 1.001), (0.5, 0.5 + 1e-9), (1e-12, 0.999)],
)
def test_kl_keeps_its_digits(q, p):
    expected = mp_kl(q, p)
    assert abs(inv.kl_bernoulli(q, p) - expected) <= 1e-13 * expected


def test_kl_inverse_closed_forms():
    assert inv.kl_inverse_upper(1.0, 0.3) == 1.0
    assert inv.kl_inverse_upper(0.2, 0.0) == 0.2
    assert inv.kl_inverse_lower(0.2, 0.0) == 0.2
    assert inv.kl_inverse_lower(0.0, 0.3) == 0.0
    assert inv.kl_inverse_upper(0.5, math.inf) == 1.0
    expected = 1 - mpmath.exp(-mpmath.mpf(0.3))  # q = 0: kl = −ln(1−p)
    assert expected <= inv.kl_inverse_upper(0.0, 0.3) <= expected * (1 + mpmath.mpf(2e-12))


def test_kl_inverse_is_not_zero_near_one():
    """A fault of public code (ANCHORS): the inverse returned 0 at risk >= 1 − 1e-5."""
    assert 1 - 1e-6 < inv.kl_inverse_upper(1 - 1e-6, 0.01) <= 1.0


def test_kl_inverse_does_not_return_the_middle_of_its_bracket():
    """A fault of public code (STYLE B): .0269130 where the truth is above .0269131."""
    upper = inv.kl_inverse_upper(0.02, 0.001)
    assert mp_kl(0.02, upper) >= mpmath.mpf(0.001)
    assert mp_kl(0.02, upper * (1 - 2e-12)) < mpmath.mpf(0.001)


def test_kl_inverses_are_safe_and_tight_on_random_arguments():
    draw = random.Random(22)
    for _ in range(500):
        q, c = draw.choice([draw.random(), 10 ** draw.uniform(-12, 0)]), 10 ** draw.uniform(-12, 2)
        upper, lower = inv.kl_inverse_upper(q, c), inv.kl_inverse_lower(q, c)
        if upper < 1.0:
            assert mp_kl(q, upper) >= c
            assert upper * (1 - 2e-12) <= q or mp_kl(q, upper * (1 - 2e-12)) < c
        if lower > 0.0:
            assert mp_kl(q, lower) >= c
            assert lower + 2e-12 >= q or mp_kl(q, lower + 2e-12) < c


# --------------------------------------------------------------------------- rounding


def test_rounding_is_outward_and_stays_on_decimals():
    assert inv.round_up(0.1) == 0.1
    assert inv.round_up(0.29) == 0.29  # 0.29·10⁶ is 289999.99999999994 in floats
    assert inv.round_down(0.29) == 0.29
    assert inv.round_up(0.137083157) == 0.137084
    assert inv.round_down(0.137083999) == 0.137083
    assert inv.round_up(1e-300) == 1e-6
    assert inv.round_up(-0.0012345) == -0.001234
    assert inv.round_down(-0.0012345) == -0.001235
    assert inv.round_up(0.12345, digits=2) == 0.13
    assert math.copysign(1.0, inv.round_up(-1e-9)) == 1.0
    assert inv.round_up(1e30) == 1e30


def test_rounding_never_goes_inward_and_never_far():
    draw = random.Random(23)
    for _ in range(5_000):
        x = draw.choice([draw.random(), draw.randrange(10**6) / 10**6, draw.uniform(-1, 1)])
        x = draw.choice([x, math.nextafter(x, 2), math.nextafter(x, -2)])
        up, down = inv.round_up(x), inv.round_down(x)
        assert down <= x <= up
        assert up - down < 1.0000001e-6
        assert inv.round_up(up) == up
        assert inv.round_down(down) == down


# --------------------------------------------------------------------------- arrays and refusals


def test_arrays_are_elementwise_and_broadcast():
    k, n = np.array([[0], [3], [9]]), np.array([10, 60_000])
    grid = inv.binomial_tail_upper(k, n, -3.0)
    assert grid.shape == (3, 2)
    assert grid.tolist() == [
        [inv.binomial_tail_upper(int(a), int(b), -3.0) for b in n] for a in k[:, 0]
    ]
    assert inv.kl_inverse_upper([0.0, 0.5], 0.1).shape == (2,)
    assert inv.round_up([0.1, 0.1000001]).tolist() == [0.1, 0.100001]
    assert isinstance(inv.kl_bernoulli(np.float64(0.1), np.float64(0.2)), float)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: inv.binomial_log_cdf(-1, 10, 0.5), "k must be an integer with 0 <= k <= n = 10"),
        (lambda: inv.binomial_log_cdf(11, 10, 0.5), "k must be an integer with 0 <= k <= n = 10"),
        (lambda: inv.binomial_log_cdf(1.0, 10, 0.5), "k must be an integer"),
        (lambda: inv.binomial_log_cdf(True, 10, 0.5), "k must be an integer"),
        (lambda: inv.binomial_log_cdf(0, 0, 0.5), "n must be an integer >= 1"),
        (lambda: inv.binomial_log_cdf(1, 10, math.nan), "p must be a number with 0 <= p <= 1"),
        (lambda: inv.binomial_log_cdf(1, 10, 1.1), "p must be a number with 0 <= p <= 1"),
        (lambda: inv.binomial_tail_upper(11, 10, -3.0), "errors must be an integer"),
        (lambda: inv.binomial_tail_upper(1, 10, 0.0), "log_delta must be a number with -infinity"),
        (lambda: inv.binomial_tail_upper(1, 10, -math.inf), "log_delta must be a number"),
        (lambda: inv.binomial_tail_lower(1, 10, math.nan), "log_delta must be a number"),
        (lambda: inv.log_failure(0.0), "delta must be a number with 0 < delta < 1"),
        (lambda: inv.log_failure(1.0), "delta must be a number with 0 < delta < 1"),
        (lambda: inv.log_failure(math.nan), "delta must be a number with 0 < delta < 1"),
        (lambda: inv.log_failure(0.05, -1), "bits must be a number with 0 <= bits < infinity"),
        (lambda: inv.log_failure(0.05, math.inf), "bits must be a number"),
        (lambda: inv.kl_bernoulli(-0.1, 0.5), "q must be a number with 0 <= q <= 1"),
        (lambda: inv.kl_inverse_upper(0.5, -1.0), "c must be a number with c >= 0"),
        (lambda: inv.kl_inverse_lower(0.5, math.nan), "c must be a number with c >= 0"),
        (lambda: inv.kl_inverse_upper("half", 1.0), "q must be a number"),
        (lambda: inv.round_up(math.nan), "x must be finite"),
        (lambda: inv.kl_bernoulli([0.1, 0.2], [0.1, 0.2, 0.3]), "lengths that do not fit"),
    ],
)
def test_illegal_arguments_are_named(call, says):
    with pytest.raises(InputError) as refusal:
        call()
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_layers_one_and_five_import_neither_torch_nor_scipy():
    code = (
        "import sys, prunecert.inversions, prunecert.bounds, prunecert.testing;"
        "print([m for m in ('torch', 'scipy', 'mpmath') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
