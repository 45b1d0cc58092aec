"""Binomial tails and the Bernoulli kl, with their inverses, in logarithms and with a safe end.

Why by hand: at 2**-bits of a code the usual binomial cdf underflows, a root search on it then
stops far too early, and the "bound" is false (THEORY 2.1, numerical trap). Here every tail is a
logarithm, every inverse takes ln(delta), and every inverse returns the safe end of its bracket.

Layer 1: numpy and the standard library only. Every function takes numbers or arrays (lists count
as arrays) and broadcasts: numbers in, a float out; arrays in, an array of that shape out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunecert.types import InputError

# Relative slack by which every inverse is pushed outward. Measured rounding error of
# `binomial_log_cdf` is below 5e-13 of the value up to n = 1e8 and below 1e-14 for short sums.
SLACK = 1e-12
STEP = 1e-13  # Newton's method stops when it moves less than this, relatively
LN2 = math.log(2.0)

Elementwise = Callable[..., Any]  # numbers to a float, arrays to an array


def elementwise(function: Callable[..., float]) -> Elementwise:
    """Let a function of plain numbers take arrays too, element by element, by broadcasting."""

    @functools.wraps(function)
    def broadcasting(*args: Any, **kwargs: Any) -> Any:
        try:
            arrays = np.broadcast_arrays(*args, *kwargs.values())
        except ValueError as error:
            raise InputError(f"{function.__name__}: lists of lengths that do not fit") from error

        def at(values: tuple[Any, ...]) -> float:
            return function(*values[: len(args)], **dict(zip(kwargs, values[len(args) :])))

        if all(array.ndim == 0 for array in arrays):
            return at(tuple(array.item() for array in arrays))
        results = [at(values) for values in zip(*(array.ravel().tolist() for array in arrays))]
        return np.array(results).reshape(arrays[0].shape)

    return broadcasting


# --------------------------------------------------------------------------- legal arguments


def _refuse(name: str, expected: str, value: Any) -> InputError:
    return InputError(f"{name} must be {expected}, not {value!r}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def require_count(name: str, count: Any, n: Any) -> None:
    """Refuse anything but integers 0 <= count <= n with n >= 1."""
    if not _is_integer(n) or n < 1:
        raise _refuse("n", "an integer >= 1", n)
    if not _is_integer(count) or not 0 <= count <= n:
        raise _refuse(name, f"an integer with 0 <= {name} <= n = {n}", count)


def require_number(name: str, value: Any, low: float, high: float, legal: str) -> None:
    """Refuse anything but a number in [low, high] (NaN and text are refused); `legal` says it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise _refuse(name, f"a number with {legal}", value)


def require_open_unit(name: str, value: Any) -> None:
    """Refuse anything but a number strictly between 0 and 1."""
    require_number(name, value, math.ulp(0.0), 1.0 - 2.0**-53, f"0 < {name} < 1")


def as_list(name: str, values: ArrayLike) -> NDArray[Any]:
    """`values` as a one-dimensional array, or InputError where it is a single number or empty."""
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"{name} must be a list with at least one entry, not {values!r}")
    return array


@elementwise
def log_failure(delta: float, bits: float = 0.0) -> float:
    """ln(delta · 2**-bits), the failure probability left to one codeword; never underflows.

    `delta` in (0, 1); `bits` >= 0 and finite (1e9 is fine).

    >>> round(log_failure(0.5, 3), 12) == round(-4 * LN2, 12)
    True
    """
    require_open_unit("delta", delta)
    require_number("bits", bits, 0.0, 1e300, "0 <= bits < infinity")
    return math.log(delta) - bits * LN2


def _require_log_delta(log_delta: Any) -> None:
    require_number("log_delta", log_delta, -1e305, -math.ulp(0.0), "-infinity < log_delta < 0")


# --------------------------------------------------------------------------- deviance and pmf


def _deviance(x: float, mean: float, difference: float) -> float:
    """x ln(x/mean) + mean − x for x, mean > 0, without cancellation; difference = x − mean.

    Loader's saddle-point deviance. Near x = mean it is summed from its series in
    v = (x − mean)/(x + mean), so its digits are those of `difference`, which is given exactly.
    """
    v = difference / (x + mean)
    if v > 0.3:
        return x * math.log(x / mean) - difference
    if v < -0.1:  # from `difference` too: the rounding of `mean` would cost digits here
        return -x * math.log1p(-difference / x) - difference
    total = difference * v
    power = 2.0 * x * v
    for odd in range(3, 99, 2):
        power *= v * v
        previous, total = total, total + power / odd
        if total == previous:
            break
    return total


def _stirling_error(n: int) -> float:
    """ln n! − ln(√(2πn)(n/e)^n) for n >= 1."""
    if n < 16:
        return math.log(math.factorial(n)) - 0.5 * math.log(2 * math.pi * n) - n * math.log(n) + n
    s = 1.0 / (n * n)
    return (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s / 1188)))) / n


def _log_pmf(k: int, n: int, p: float) -> float:
    """ln P[Bin(n,p) = k] for 0 < p < 1 (Loader 2000, "Fast and accurate computation …")."""
    if k == 0:
        return n * math.log1p(-p)
    if k == n:
        return n * math.log(p)
    top, bottom = p.as_integer_ratio()
    difference = (k * bottom - n * top) / bottom  # k − np, rounded once
    return (
        _stirling_error(n)
        - _stirling_error(k)
        - _stirling_error(n - k)
        - _deviance(k, n * p, difference)
        - _deviance(n - k, n * (1.0 - p), -difference)
        - 0.5 * math.log(2 * math.pi * k * ((n - k) / n))
    )


def _sum_downwards(k: int, n: int, odds: float) -> float:
    """P[Bin <= k] / P[Bin = k], odds = (1−p)/p, where terms shrink from i = k downwards.

    The ratio of neighbours itself shrinks, so what is left out is below a geometric series.
    """
    total, term, start, size = 1.0, 1.0, 0, 64
    while start < k:
        i = np.arange(start, min(start + size, k), dtype=np.float64)
        ratios = (k - i) / (n - k + 1.0 + i) * odds
        terms = term * np.cumprod(ratios)
        total += float(terms.sum())
        term, ratio = float(terms[-1]), float(ratios[-1])
        if term * ratio <= 1e-17 * total * (1.0 - ratio):
            break
        start, size = start + size, 2 * size
    return total


def _log_cdf_and_slope(k: int, n: int, p: float) -> tuple[float, float]:
    """ln P[Bin(n,p) <= k] and its derivative in p, for 0 <= k < n and 0 < p < 1."""
    if k < (n + 1) * p:  # the mode is above k: the sum from k downwards is the whole truth
        total = _sum_downwards(k, n, (1.0 - p) / p)
        log_pmf, log_cdf = _log_pmf(k, n, p), 0.0
        log_cdf = log_pmf + math.log(total)
    else:
        total = _sum_downwards(n - k - 1, n, p / (1.0 - p))
        log_cdf = math.log1p(-math.exp(_log_pmf(k + 1, n, p) + math.log(total)))
        log_pmf = _log_pmf(k, n, p)
    return log_cdf, -(n - k) / (1.0 - p) * math.exp(log_pmf - log_cdf)


# --------------------------------------------------------------------------- public: binomial


@elementwise
def binomial_log_cdf(k: int, n: int, p: float) -> float:
    """ln P[Bin(n, p) <= k], to about 1e-13 of its own value, however deep in the tail.

    Integers 0 <= k <= n, n >= 1 (n = 1e8 takes milliseconds); 0 <= p <= 1.
    Where k is below the mode, terms are summed from i = k downwards (THEORY 2.1); elsewhere the
    upper tail is summed instead, so values near zero keep their digits.

    >>> binomial_log_cdf(0, 1, 0.5) == math.log(0.5)
    True
    """
    require_count("k", k, n)
    require_number("p", p, 0.0, 1.0, "0 <= p <= 1")
    if k == n or p == 0.0:
        return 0.0
    if p == 1.0:
        return -math.inf
    return _log_cdf_and_slope(k, n, float(p))[0]


@elementwise
def binomial_tail_upper(errors: int, n: int, log_delta: float) -> float:
    """max{p : P[Bin(n, p) <= errors] >= delta}, given ln(delta); rounded up, tight to 1e-12.

    Integers 0 <= errors <= n, n >= 1; log_delta < 0, finite. Written B̄(errors, n, delta) in
    THEORY 0; Clopper and Pearson 1934. Closed forms first: errors = n gives 1, errors = 0 gives
    1 − delta**(1/n).

    The log cdf is concave in p and Chernoff's bound lies above the root, so Newton's method
    started there comes down to it from the safe side.

    >>> round(binomial_tail_upper(0, 1, math.log(0.05)), 11)
    0.95
    """
    require_count("errors", errors, n)
    _require_log_delta(log_delta)
    target = log_delta * (1.0 + SLACK)
    if errors == n:
        return 1.0
    if errors == 0:
        return min(1.0, -math.expm1(target / n) * (1.0 + STEP))
    p = _kl_inverse_upper(errors / n, -target / n)
    while p < 1.0:
        log_cdf, slope = _log_cdf_and_slope(errors, n, p)
        step = (log_cdf - target) / slope
        if step <= STEP * p:
            break
        p -= step
    return min(1.0, p * (1.0 + STEP))


@elementwise
def binomial_tail_lower(errors: int, n: int, log_delta: float) -> float:
    """min{p : P[Bin(n, p) >= errors] >= delta}, given ln(delta); rounded down, tight to 1e-12.

    B̲(errors, n, delta) = 1 − B̄(n − errors, n, delta) of THEORY 0. Same arguments as
    `binomial_tail_upper`.

    >>> binomial_tail_lower(0, 10, math.log(0.05))
    0.0
    """
    require_count("errors", errors, n)
    return max(0.0, 1.0 - float(binomial_tail_upper(n - errors, n, log_delta)))


@elementwise
def binomial_tail_is_below(errors: int, n: int, p: float, log_delta: float) -> bool:
    """Whether P[Bin(n, p) <= errors] <= delta; a tie within rounding counts as no.

    The test behind every "accept": it agrees with `binomial_tail_upper(...) <= p`.

    >>> bool(binomial_tail_is_below(0, 2, 0.8, math.log(0.05)))
    True
    """
    require_count("errors", errors, n)
    _require_log_delta(log_delta)
    return bool(binomial_log_cdf(errors, n, p) <= log_delta * (1.0 + SLACK))


# --------------------------------------------------------------------------- public: Bernoulli kl


@elementwise
def kl_bernoulli(q: float, p: float) -> float:
    """kl(q‖p) = q ln(q/p) + (1−q) ln((1−q)/(1−p)) in nats, for q and p in [0, 1].

    >>> kl_bernoulli(0.0, 0.5) == LN2
    True
    """
    require_number("q", q, 0.0, 1.0, "0 <= q <= 1")
    require_number("p", p, 0.0, 1.0, "0 <= p <= 1")
    return _kl(q, p)


def _kl(q: float, p: float) -> float:
    if q == p:
        return 0.0
    if (p == 0.0) or (p == 1.0):
        return math.inf
    if q == 0.0:
        return -math.log1p(-p)
    if q == 1.0:
        return -math.log(p)
    return _deviance(q, p, q - p) + _deviance(1.0 - q, 1.0 - p, p - q)


@elementwise
def kl_inverse_upper(q: float, c: float) -> float:
    """max{p : kl(q‖p) <= c}, rounded up, tight to 1e-12; q in [0, 1], c >= 0 nats.

    >>> round(kl_inverse_upper(0.0, LN2), 11)
    0.5
    """
    require_number("q", q, 0.0, 1.0, "0 <= q <= 1")
    require_number("c", c, 0.0, math.inf, "c >= 0")
    return _kl_inverse_upper(q, c)


def _kl_inverse_upper(q: float, c: float) -> float:
    if c == 0.0 or q == 1.0:
        return q
    c *= 1.0 + SLACK
    if q == 0.0:
        return min(1.0, -math.expm1(-c) * (1.0 + STEP))
    # Two bounds that hold at every c, one good near q and one good near 1 (h is the entropy):
    # kl >= 2(p−q)² and kl >= −h(q) − (1−q) ln(1−p). kl is convex in p, so Newton's method comes
    # down from them without passing the root.
    h = -q * math.log(q) - (1.0 - q) * math.log1p(-q)
    p = min(q + math.sqrt(c / 2.0), -math.expm1(-(c + h) / (1.0 - q)))
    while p < 1.0:
        step = (_kl(q, p) - c) * p * (1.0 - p) / (p - q)
        if step <= STEP * p:
            break
        p -= step
    return min(1.0, p * (1.0 + STEP))


@elementwise
def kl_inverse_lower(q: float, c: float) -> float:
    """min{p : kl(q‖p) <= c}, rounded down, tight to 1e-12; q in [0, 1], c >= 0 nats.

    >>> round(kl_inverse_lower(1.0, LN2), 11)
    0.5
    """
    require_number("q", q, 0.0, 1.0, "0 <= q <= 1")
    if c == 0.0:
        return q
    return max(0.0, 1.0 - float(kl_inverse_upper(1.0 - q, c)))


# --------------------------------------------------------------------------- public: rounding


def _round(x: float, digits: int, direction: str) -> float:
    if not math.isfinite(x):
        raise _refuse("x", "finite", x)
    exact = Decimal(repr(float(x)))
    places = Decimal(1).scaleb(-digits)
    # −0.0 + 0.0 is 0.0: no minus sign on a zero
    return float(exact.quantize(places, rounding=direction, context=Context(prec=800))) + 0.0


@elementwise
def round_up(x: float, digits: int = 6) -> float:
    """The smallest decimal number of `digits` places whose float is not below x.

    x is read as the decimal it prints as, so 0.1 stays 0.1 and rounding twice changes nothing.

    >>> round_up(0.1), round_up(0.1000000001)
    (0.1, 0.100001)
    """
    return _round(x, digits, ROUND_CEILING)


@elementwise
def round_down(x: float, digits: int = 6) -> float:
    """The largest decimal number of `digits` places whose float is not above x.

    >>> round_down(0.1), round_down(-0.1000000001)
    (0.1, -0.100001)
    """
    return _round(x, digits, ROUND_FLOOR)
