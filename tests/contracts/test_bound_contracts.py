"""Every statement keeps every contract, and the suite rejects statements that do not."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from prunecert.bounds import (
    BOUNDS,
    cost_of_pruning_upper,
    fixed_sequence_upper,
    holdout_upper,
    occam_upper,
    per_class_upper,
)
from prunecert.bounds.holdout import disagreement_upper
from prunecert.inversions import (
    as_list,
    binomial_tail_upper,
    log_failure,
    round_down,
)
from prunecert.testing import check_bound
from prunecert.types import Assumption, InputError


@pytest.mark.parametrize("name", BOUNDS)
def test_every_statement_keeps_every_contract(name):
    check_bound(BOUNDS[name])


# --------------------------------------------------------------------------- planted errors


def delta_dropped(errors, n, bits, delta):
    log_failure(delta)
    return occam_upper(errors, n, bits, 0.05)


def bits_not_charged(errors, n, bits, delta):
    log_failure(delta, bits)
    return holdout_upper(errors, n, delta)


def bits_taken_as_nats_twice(errors, n, bits, delta):
    log_failure(delta, bits)
    return binomial_tail_upper(errors, n, log_failure(delta, bits * math.log(2)))


def bits_underflow(errors, n, bits, delta):
    log_failure(delta, bits)
    return occam_upper(errors, n, np.minimum(bits, 1074), delta)


def rounded_inward(errors, n, bits, delta):
    return round_down(occam_upper(errors, n, bits, delta), 9)


def one_sample_too_few(errors, n, bits, delta):
    return occam_upper(errors, n - 1, bits, delta)


def one_sample_too_many(errors, n, bits, delta):
    occam_upper(errors, n, bits, delta)
    return occam_upper(errors, n + 1, bits, delta)


def one_error_too_few(errors, n, bits, delta):
    occam_upper(errors, n, bits, delta)
    return np.where(
        np.equal(errors, n), 1.0, occam_upper(np.maximum(errors, 1) - 1, n, bits, delta)
    )


def middle_of_a_bracket(errors, n, bits, delta):
    return np.minimum(1.0, occam_upper(errors, n, bits, delta) * (1 - 1e-10))


def odd_errors_dearer(errors, n, bits, delta):
    bound = occam_upper(errors, n, bits, delta)
    return np.minimum(1.0, bound + 0.01 * (np.asarray(errors) % 2))


def percent(errors, n, bits, delta):
    return 100.0 * occam_upper(errors, n, bits, delta)


def not_a_number_when_all_wrong(errors, n, bits, delta):
    bound = occam_upper(errors, n, bits, delta)
    return np.where(bound == 1.0, math.nan, bound)


def largest_of_an_array(errors, n, bits, delta):
    bound = occam_upper(errors, n, bits, delta)
    return np.full_like(bound, np.max(bound))


def raises_value_error(errors, n, bits, delta):
    try:
        return occam_upper(errors, n, bits, delta)
    except InputError as refusal:
        raise ValueError(str(refusal)) from refusal


def refuses_nothing(errors, n, bits, delta):
    try:
        return occam_upper(errors, n, bits, delta)
    except InputError:
        return 1.0


def crashes(errors, n, bits, delta):
    return 1 / 0


def unhelpful_refusal(errors, n, bits, delta):
    try:
        return occam_upper(errors, n, bits, delta)
    except InputError:
        raise InputError("bad input") from None


def unknown_argument(errors, n, bits, delta, temperature):
    return occam_upper(errors, n, bits, delta)


calls = itertools.count()


def another_answer_each_time(errors, n, bits, delta):
    return np.minimum(1.0, occam_upper(errors, n, bits, delta) + 1e-9 * (next(calls) % 7))


@pytest.mark.parametrize(
    ("function", "contract"),
    [
        (delta_dropped, "monotone"),
        (bits_not_charged, "monotone"),
        (bits_taken_as_nats_twice, "coverage"),
        (bits_underflow, "coverage"),
        (rounded_inward, "coverage"),
        (one_sample_too_few, "legal arguments"),
        (one_sample_too_many, "coverage"),
        (one_error_too_few, "coverage"),
        (middle_of_a_bracket, "range"),
        (odd_errors_dearer, "monotone"),
        (percent, "range"),
        (not_a_number_when_all_wrong, "finite"),
        (largest_of_an_array, "arrays agree with numbers"),
        (raises_value_error, "refusals"),
        (refuses_nothing, "refusals"),
        (unhelpful_refusal, "refusals"),
        (crashes, "legal arguments"),
        (unknown_argument, "known arguments"),
        (another_answer_each_time, "deterministic"),
    ],
)
def test_a_broken_occam_is_rejected(function, contract):
    with pytest.raises(AssertionError, match=f"occam breaks the contract '({contract})': .+"):
        check_bound(replace(BOUNDS["occam"], function=function))


def better_taken_at_face_value(worse, better, n, delta):
    cost_of_pruning_upper(worse, better, n, delta)
    return binomial_tail_upper(worse, n, log_failure(delta)) - np.asarray(better) / np.asarray(n)


def worse_and_better_swapped(worse, better, n, delta):
    return cost_of_pruning_upper(better, worse, n, delta)


def classes_share_nothing(errors, n, delta):
    honest = per_class_upper(errors, n, delta)
    each = [per_class_upper([k], [m], delta)[0] for k, m in zip(errors, n)]
    return np.minimum(honest, each)


def list_not_paid(errors, n, delta):
    return holdout_upper(as_list("errors", errors), n, delta)


def sequence_goes_on_after_a_failure(errors, n, target_error, delta):
    fixed_sequence_upper(errors, n, target_error, delta)
    sizes = np.broadcast_to(n, np.shape(errors))
    each = [fixed_sequence_upper([k], int(m), target_error, delta) for k, m in zip(errors, sizes)]
    return np.concatenate(each)


def sequence_accepts_the_first_failure(errors, n, target_error, delta):
    honest = fixed_sequence_upper(errors, n, target_error, delta)
    return np.concatenate([[target_error], honest[:-1]])


@pytest.mark.parametrize(
    ("name", "function", "contract"),
    [
        ("cost-of-pruning", better_taken_at_face_value, "coverage"),
        ("cost-of-pruning", worse_and_better_swapped, "range"),
        ("per-class", classes_share_nothing, "coverage"),
        ("simultaneous", list_not_paid, "coverage"),
        ("fixed-sequence", sequence_goes_on_after_a_failure, "coverage"),
        ("fixed-sequence", sequence_accepts_the_first_failure, "range"),
    ],
)
def test_a_broken_statement_is_rejected(name, function, contract):
    with pytest.raises(AssertionError, match=f"{name} breaks the contract '({contract})"):
        check_bound(replace(BOUNDS[name], function=function))


def test_a_certificate_on_an_assumed_property_is_rejected():
    gaussian = Assumption("the weights are Gaussian", "assumed")
    spec = replace(BOUNDS["occam"], assumptions=(*BOUNDS["occam"].assumptions, gaussian))
    with pytest.raises(AssertionError, match="honest kind.*its assumptions make it conditional"):
        check_bound(spec)
    check_bound(replace(spec, kind="conditional"))


@pytest.mark.parametrize(
    ("changes", "contract"),
    [
        ({"assumptions": ()}, "honest kind"),
        ({"kind": "proven"}, "honest kind"),
        ({"needs": ("horoscope",)}, "result"),
        ({"from_evidence": lambda evidence, delta: _refuse()}, "result"),
        ({"function": disagreement_upper}, "result"),
    ],
)
def test_a_broken_row_is_rejected(changes, contract):
    with pytest.raises(AssertionError, match=f"holdout breaks the contract '{contract}'"):
        check_bound(replace(BOUNDS["holdout"], **changes))


def _refuse():
    raise InputError("not this network")
