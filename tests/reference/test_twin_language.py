"""Bits-per-token twins: ends of the loss range, closed forms, exact failure probabilities."""

from math import comb

import pytest
from mpmath import exp, log, mpf, sqrt, workdps

from prunecert.reference import TWINS
from prunecert.reference.language import loss_range
from prunecert.types import InputError

TINY = mpf("1e-30")

subsampled_bits = TWINS["subsampled-bits"]
KL_FORMS = ["language-sampled", "language-documents"]
FORMS = [*KL_FORMS, "language-tokens"]
EIGHTHS = {"vocabulary": 8, "mixing": 0.125}


@workdps(50)
@pytest.mark.parametrize(("vocabulary", "mixing"), [(1, 0.5), (2, 0.5), (50257, 0.1), (8, 1e-9)])
def test_the_range_is_that_of_the_mixed_probability(vocabulary, mixing):
    """p = 1 and p = 0 are the least and the greatest loss."""
    least, width = loss_range(vocabulary, mixing)
    a = mpf(mixing)
    assert abs(mpf(2) ** -least - ((1 - a) + a / vocabulary)) < TINY
    assert abs(mpf(2) ** -(least + width) * vocabulary / a - 1) < TINY


@workdps(50)
def test_the_range_in_closed_form():
    """a = 1/8, V = 8: p' from 1/64 to 57/64."""
    least, width = loss_range(**EIGHTHS)
    assert abs(least - (6 - log(57) / log(2))) < TINY
    assert abs(width - log(57) / log(2)) < TINY


@workdps(50)
@pytest.mark.parametrize("name", KL_FORMS)
def test_kl_forms_at_both_ends_of_the_range(name):
    """17 bits, 8 mixings and delta 2^-5 are 25 ln 2 nats, ¼ ln 2 for each of 100 units."""
    least, width = loss_range(**EIGHTHS)
    question = {"n": 100, "bits": 17, "mixings": 8, "delta": 2.0**-5, **EIGHTHS}
    value = TWINS[name](mean_bits=least, **question)
    assert abs(value - (least + width * (1 - mpf(2) ** (-mpf(1) / 4)))) < TINY
    assert abs(TWINS[name](mean_bits=6, **question) - 6) < TINY
    half = TWINS[name](mean_bits=least + width / 2, **question)
    root = (1 + sqrt(1 - sqrt(mpf(1) / 2))) / 2  # kl(1/2‖p) = -ln(4p(1-p))/2
    assert abs(half - (least + width * root)) < TINY


@workdps(50)
def test_tokens_in_closed_form():
    least, width = loss_range(**EIGHTHS)
    question = {"n": 100, "bits": 17, "mixings": 8, "delta": 2.0**-5, **EIGHTHS}
    value = TWINS["language-tokens"](mean_bits=2, **question)
    assert abs(value - (2 + width * sqrt(log(2) / 8))) < TINY
    assert TWINS["language-tokens"](mean_bits=5, **question) == least + width


@workdps(50)
def test_tokens_are_never_better_than_documents():
    """Pinsker's inequality, on the scale of the losses."""
    least, width = loss_range(**EIGHTHS)
    for tenths in range(11):
        question = {"mean_bits": least + width * tenths / 10, "n": 60, "bits": 3, **EIGHTHS}
        question |= {"mixings": 4, "delta": 0.05}
        documents, tokens = (TWINS[name](**question) for name in FORMS[1:])
        assert tokens >= documents * (1 - TINY)


@workdps(50)
@pytest.mark.parametrize("name", FORMS)
def test_a_mixing_out_of_a_list_costs_its_logarithm(name):
    question = {"mean_bits": 2.5, "n": 300, **EIGHTHS}
    listed = TWINS[name](mixings=16, bits=3, delta=0.05, **question)
    coded = TWINS[name](mixings=1, bits=7, delta=0.05, **question)
    assert abs(listed - coded) < TINY


@workdps(50)
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("bits", [0, 1])
def test_losses_at_the_two_ends_fail_no_more_often_than_delta(name, bits):
    """The model with fewer bad units of 2^bits of them, p just above the one each bound allows."""
    n, delta = 7, 0.3
    least, width = loss_range(**EIGHTHS)
    bounds = [
        TWINS[name](least + width * k / n, n, bits, **EIGHTHS, mixings=1, delta=delta)
        for k in range(n + 1)
    ]

    def at_least(k: int, p: mpf) -> mpf:
        return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)) ** 2**bits

    worst = mpf(0)
    for bound in bounds:
        p = (bound - least) / width * (1 + mpf("1e-9"))
        if p < 1:
            failed = (k for k in range(n + 1) if bounds[k] < least + width * p)
            worst = max(worst, sum(at_least(k, p) - at_least(k + 1, p) for k in failed))
    assert delta / 20 < worst <= delta


@workdps(50)
def test_subsampled_in_closed_form():
    """ln(8 · 32) = 8 ln 2, over twice 64 units ln 2/16."""
    least, width = loss_range(**EIGHTHS)
    question = {"evaluated": 64, "mixings": 8, "delta": 2.0**-5, **EIGHTHS}
    value = subsampled_bits(mean_bits=2, **question)
    assert abs(value - (2 + width * sqrt(log(2)) / 4)) < TINY
    assert subsampled_bits(mean_bits=5, **question) == least + width
    assert subsampled_bits(mean_bits=2, **{**question, "evaluated": 0}) == least + width


@workdps(50)
def test_a_subsample_can_be_put_in_place_of_the_mean():
    """Also where it is the end of the range, which the bound then is."""
    least, width = loss_range(**EIGHTHS)
    mean = subsampled_bits(mean_bits=5, evaluated=64, mixings=8, delta=0.02, **EIGHTHS)
    for name in FORMS:
        value = TWINS[name](mean, n=100, bits=17, mixings=8, delta=0.03, **EIGHTHS)
        assert value == least + width


@pytest.mark.parametrize("name", FORMS)
def test_nothing_seen_is_the_end_of_the_range(name):
    value = TWINS[name](mean_bits=2, n=0, bits=0, mixings=1, delta=0.05, **EIGHTHS)
    assert abs(value - 6) < TINY


@workdps(50)
def test_rounding_below_the_range_is_forgiven():
    least, width = loss_range(**EIGHTHS)
    question = {"n": 100, "bits": 0, "mixings": 1, "delta": 0.05, **EIGHTHS}
    value = TWINS["language-documents"](mean_bits=float(least) - 1e-12, **question)
    nats = log(1 / mpf(0.05)) / 100
    assert abs(value - (least + width * (1 - exp(-nats)))) < TINY


def test_bad_numbers_are_refused():
    good = {"mean_bits": 2, "n": 10, "bits": 3, "mixings": 4, "delta": 0.05, **EIGHTHS}
    for name, bad in [
        ("mean_bits", 0.1),
        ("mean_bits", 6.1),
        ("n", -1),
        ("bits", -1),
        ("vocabulary", 0),
        ("mixing", 0),
        ("mixing", 1),
        ("mixings", 0),
        ("delta", 1),
    ]:
        for form in FORMS:
            with pytest.raises(InputError, match=f"^{name}: expected"):
                TWINS[form](**{**good, name: bad})
    with pytest.raises(InputError, match="^evaluated: expected"):
        subsampled_bits(mean_bits=2, evaluated=-1, mixings=1, delta=0.05, **EIGHTHS)
