"""Bits per token: closed forms, exact enumeration, fifty digits, and what is refused."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy.stats import binom

from prunecert.bounds.language import (
    LANGUAGE_ROWS,
    language_documents_upper,
    language_sampled_upper,
    language_tokens_upper,
    loss_range,
    subsampled_bits_upper,
)
from prunecert.bounds.table import BOUNDS, evaluate
from prunecert.inversions import round_up
from prunecert.types import Certificate, Code, InputError, LanguageLosses, Losses, NotApplicable

KL_FORMS = (language_sampled_upper, language_documents_upper)
NUMBERS = {
    "mean_bits": 2.0,
    "n": 500,
    "bits": 90,
    "vocabulary": 256,
    "mixing": 0.125,
    "mixings": 10,
    "delta": 0.05,
}


def rate(n, bits, mixings, delta):
    return (bits * math.log(2) + math.log(mixings / delta)) / n


@pytest.mark.parametrize("vocabulary", [2, 256, 50257])
@pytest.mark.parametrize("mixing", [0.5, 1 / 3, 2**-10])
def test_the_range_is_that_of_the_mixed_probability(vocabulary, mixing):
    """p = 1 costs −log2(1 − a + a/V), p = 0 costs −log2(a/V), and nothing costs more or less."""
    lowest, width = loss_range(vocabulary, mixing)
    assert lowest == pytest.approx(-math.log2(1 - mixing + mixing / vocabulary), rel=1e-12)
    assert lowest + width == pytest.approx(math.log2(vocabulary / mixing), rel=1e-13)


# --------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("bound", KL_FORMS)
@pytest.mark.parametrize(("n", "bits", "mixings", "delta"), [(1, 0, 1, 0.5), (700, 90, 10, 0.01)])
def test_no_avoidable_loss(bound, n, bits, mixings, delta):
    """kl⁻¹(0, c) = 1 − exp(−c)."""
    lowest, width = loss_range(256, 0.25)
    found = bound(lowest, n, bits, 256, 0.25, mixings, delta)
    expected = lowest + width * -math.expm1(-rate(n, bits, mixings, delta))
    assert expected <= found <= expected * (1 + 1e-10)


@pytest.mark.parametrize("bound", KL_FORMS)
def test_the_largest_loss_stays_the_largest(bound):
    assert bound(math.log2(1024), 10**6, 0, 256, 0.25, 1, 0.5) == pytest.approx(10, rel=1e-11)
    assert bound(2.0, 1, 10**9, 256, 0.25, 1, 0.5) == pytest.approx(10, rel=1e-11)


def test_tokens_add_a_square_root():
    n, bits, mixings, delta = 90_000, 70, 10, 0.05
    _, width = loss_range(256, 0.5)
    expected = 2.5 + width * math.sqrt(rate(n, bits, mixings, delta) / 2)
    found = language_tokens_upper(2.5, n, bits, 256, 0.5, mixings, delta)
    assert expected <= found <= expected * (1 + 1e-11)
    assert language_tokens_upper(2.5, 9, 9000, 256, 0.5, 1, 0.5) == pytest.approx(9, rel=1e-11)


def test_a_subsample_adds_a_square_root_and_no_code():
    _, width = loss_range(256, 0.5)
    expected = 2.5 + width * math.sqrt(math.log(10 / 0.01) / (2 * 4000))
    found = subsampled_bits_upper(2.5, 4000, 256, 0.5, 10, 0.01)
    assert expected <= found <= expected * (1 + 1e-11)
    assert subsampled_bits_upper(2.5, 1, 256, 0.5, 10, 0.01) == pytest.approx(9, rel=1e-11)


@pytest.mark.parametrize("bound", KL_FORMS)
@pytest.mark.parametrize("mean_bits", [0.2, 1.0, 4.0])
def test_fifty_digits(bound, mean_bits):
    """The root of kl(q‖p) = c by bisection: never above what is returned, and next to it."""
    with mpmath.workdps(50):
        a, v = mpmath.mpf(0.125), 256
        lowest, width = -mpmath.log(1 - a + a / v, 2), mpmath.log(1 + (1 - a) * v / a, 2)
        q = (mpmath.mpf(mean_bits) - lowest) / width
        c = (90 * mpmath.log(2) + mpmath.log(10 / mpmath.mpf(0.05))) / 500
        low, high = q, mpmath.mpf(1)
        for _ in range(150):
            p = (low + high) / 2
            kl = q * mpmath.log(q / p) + (1 - q) * mpmath.log((1 - q) / (1 - p))
            low, high = (p, high) if kl <= c else (low, p)
        exact = lowest + width * low
    found = bound(**(NUMBERS | {"mean_bits": mean_bits}))
    assert exact <= found <= exact * (1 + mpmath.mpf(10) ** -10)


# --------------------------------------------------------------------------- coverage


@pytest.mark.parametrize("bound", KL_FORMS)
@pytest.mark.parametrize(("n", "delta"), [(1, 0.1), (9, 0.05), (40, 0.2)])
def test_fails_at_most_delta(bound, n, delta):
    """Units that lose nothing or everything, whose number is binomial: all outcomes summed."""
    lowest, width = loss_range(256, 0.25)
    k = np.arange(n + 1)
    bounds = bound(lowest + width * k / n, n, 0, 256, 0.25, 1, delta)
    for p in np.linspace(0.01, 0.99, 99):
        failed = binom.pmf(k, n, p)[bounds < lowest + width * p].sum()
        assert failed <= delta


def test_a_martingale_fails_at_most_delta():
    """The chance of a loss depends on the last token: every text of ten tokens is gone through."""
    lowest, width = loss_range(2, 0.5)
    n, failed = 10, dict.fromkeys((0.05, 0.6), 0.0)
    for text in itertools.product((0, 1), repeat=n):
        chance, conditional = 1.0, 0.0
        for before, token in zip((0, *text), text):
            p = 0.9 if before else 0.2
            conditional += (lowest + width * p) / n
            chance *= p if token else 1 - p
        mean = lowest + width * sum(text) / n
        for delta in failed:
            bound = language_tokens_upper(mean, n, 0, 2, 0.5, 1, delta)
            failed[delta] += chance * (conditional > bound)
    assert all(found <= delta for delta, found in failed.items())
    assert failed[0.6] > 0  # the test would see a bound that is far too small


# --------------------------------------------------------------------------- behaviour


@pytest.mark.parametrize("bound", [*KL_FORMS, language_tokens_upper])
def test_directions(bound):
    usual = bound(**NUMBERS)
    assert 2.0 < usual < math.log2(256 / 0.125)
    for name, worse in {
        "mean_bits": 2.1,
        "n": 400,
        "bits": 91,
        "mixings": 11,
        "delta": 0.049,
        "vocabulary": 257,
    }.items():
        assert bound(**(NUMBERS | {name: worse})) > usual, name


def test_documents_beat_the_square_root_where_little_is_lost():
    numbers = NUMBERS | {"mean_bits": 0.5}
    assert language_documents_upper(**numbers) < language_tokens_upper(**numbers)


@pytest.mark.parametrize("bound", [*KL_FORMS, language_tokens_upper])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean_bits", 0.1),  # below l_min
        ("mean_bits", 11.001),  # above l_min + Delta_a
        ("mean_bits", math.nan),
        ("n", 0),
        ("n", 2.5),
        ("bits", -1),
        ("vocabulary", 1),
        ("mixing", 0.0),
        ("mixing", 1.0),
        ("mixings", 0),
        ("delta", 0.0),
        ("delta", 1.0),
    ],
)
def test_illegal_arguments_are_named(bound, name, value):
    with pytest.raises(InputError, match=name):
        bound(**(NUMBERS | {name: value}))


def test_illegal_numbers_of_draws_are_named():
    for evaluated in (0, 1.5):
        with pytest.raises(InputError, match="evaluated"):
            subsampled_bits_upper(2.0, evaluated, 256, 0.125, 10, 0.05)


def test_arrays_go_element_by_element():
    found = language_documents_upper(**(NUMBERS | {"mean_bits": np.array([1.0, 2.0])}))
    assert found.tolist() == [
        language_documents_upper(**(NUMBERS | {"mean_bits": mean})) for mean in (1.0, 2.0)
    ]


# --------------------------------------------------------------------------- rows


@pytest.mark.parametrize("row", LANGUAGE_ROWS, ids=lambda row: row.name)
def test_rows_read_their_own_unit_and_no_other(row):
    unit = row.name.removeprefix("language-")
    part = LanguageLosses(2.0, 0.125, 10, 256, 500, unit)
    evidence = {"code": Code(90), f"languagelosses@{unit}": part}
    result = evaluate(row, evidence, 0.05)
    assert isinstance(result, Certificate)
    assert result.risk_bound == round_up(row.function(**NUMBERS))
    others = [other for other in LANGUAGE_ROWS if other is not row]
    assert all(isinstance(evaluate(other, evidence, 0.05), NotApplicable) for other in others)


def test_no_two_units_bound_the_same_quantity():
    assert len({row.quantity for row in LANGUAGE_ROWS}) == 3
    assert {row.unit for row in LANGUAGE_ROWS} == {"bits per token"}


# --------------------------------------------------------------------------- top k


def test_the_top_k_row_pays_for_the_code_and_reads_shares_of_documents():
    """No token beyond the k best: 1 − (delta 2^−bits)^(1/n)."""
    row = BOUNDS["language-top-k"]
    parts = {
        "losses@language-top-k": Losses(np.zeros(400), 0.0, 1.0, "beyond the 3 best", "train"),
        "code": Code(12),
    }
    result = evaluate(row, parts, 0.05)
    assert isinstance(result, Certificate)
    assert result.risk_bound == pytest.approx(1 - (0.05 / 2**12) ** (1 / 400), abs=1.1e-6)
    for left_out in parts:
        rest = {name: part for name, part in parts.items() if name != left_out}
        assert isinstance(evaluate(row, rest, 0.05), NotApplicable)
