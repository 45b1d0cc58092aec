"""Claims from counts: closed forms, ledgers that sum, selection that is paid."""

from __future__ import annotations

import math

import pytest

from prunecert.api.claims import CLAIMS, METHODS, Terms, counts_of
from prunecert.api.selection import Criterion, selection_claim, walk
from prunecert.inversions import round_up
from prunecert.types import InputError

TEXT = {"n": 300, "mean_bits": 1.5, "mixing": 0.5, "mixings": 10, "vocabulary": 256, "places": 24}
COUNTS = {
    "occam": {"errors": 30, "n": 1000},
    "holdout": {"errors": 30, "n": 1000},
    "top-k": {"errors": 30, "n": 1000},
    "per-class": {"class_errors": [1, 0, 3], "class_sizes": [40, 0, 60]},
    "disagreement": {"errors": 12, "n": 500},
    "cost-of-pruning": {"worse": 9, "better": 4, "n": 500},
    "bounded-loss": {"n": 500, "loss": "brier", "mean": 0.08, "variance": 0.01},
    "train-and-holdout": {"errors": 30, "n": 1000, "holdout_errors": 5, "holdout_n": 200},
    "code-or-holdout": {"errors": 30, "n": 1000, "holdout_errors": 5, "holdout_n": 200},
    "transfer-to-dense": {"errors": 30, "n": 1000, "count": 7, "inputs": 400},
    "transfer-to-pruned": {"errors": 9, "n": 300, "count": 7, "inputs": 400},
    "pac-bayes-kl": {
        "errors": 900,
        "n": 300,
        "draws": 100,
        "kl_nats": 7.5,
        "mean_log_right": -0.0305,
    },
    "single-draw": {"errors": 9, "n": 300, "log_ratio_nats": 7.5},
    "language-documents": TEXT,
    "language-sampled": {**TEXT, "documents": 250, "seed": 3},
    "language-tokens": {**TEXT, "documents": 250},
    "language-top-k": {"n": 300, "beyond": 0.125, "k": 3, "vocabulary": 256, "places": 24},
}


def terms(method: str, delta: float = 0.05, tried: int = 1) -> Terms:
    bits = 800 if METHODS[method].coded else None
    return Terms(delta, bits, tried, k=2 if method == "top-k" else 1)


@pytest.mark.parametrize("tried", [1, 2, 7])
@pytest.mark.parametrize("method", CLAIMS)
def test_the_ledger_spends_delta_and_no_more(method, tried):
    claim = CLAIMS[method](COUNTS[method], terms(method, 0.03, tried))
    assert math.fsum(delta for _, delta in claim.ledger) == pytest.approx(0.03, abs=1e-15)


@pytest.mark.parametrize("method", CLAIMS)
def test_counts_come_back_out_of_a_claim(method):
    claim = CLAIMS[method](COUNTS[method], terms(method))
    again = CLAIMS[method](counts_of(claim), terms(method))
    assert again == claim


@pytest.mark.parametrize("tried", [1, 3, 1000])
def test_no_error_in_n_samples_in_closed_form(tried):
    """Hold-out: 1 − (δ/T)^(1/n). Code: 1 − (δ 2^−(bits + log2 T))^(1/n), log2 T rounded up."""
    n, delta = 200, 0.05
    holdout = CLAIMS["holdout"]({"errors": 0, "n": n}, Terms(delta, tried=tried))
    assert holdout.risk_bound == round_up(1 - (delta / tried) ** (1 / n))
    code = CLAIMS["occam"]({"errors": 0, "n": n}, Terms(delta, 40, tried))
    bits = 40 + round_up(math.log2(tried))
    assert code.risk_bound == round_up(1 - (delta * 2.0**-bits) ** (1 / n))
    assert code.selection_bits == round_up(math.log2(tried))


def test_per_class_splits_delta_and_claims_nothing_of_an_empty_class():
    claim = CLAIMS["per-class"]({"class_errors": [0, 0], "class_sizes": [10, 0]}, Terms(0.05))
    bounds = [row["risk_bound"] for row in claim.details["per_class"]]
    assert bounds == [round_up(1 - 0.025 ** (1 / 10)), 1.0]
    assert claim.risk_bound == 1.0


def test_cost_of_pruning_splits_delta_over_both_sides():
    """No sample lost, none won: B̄(0, n, δ/2) − 0."""
    claim = CLAIMS["cost-of-pruning"]({"worse": 0, "better": 0, "n": 100}, Terms(0.05))
    assert claim.risk_bound == round_up(1 - 0.025 ** (1 / 100))


def test_the_sum_of_losses_is_a_count_rounded_up():
    for mean, errors in ((0.03, 30), (0.0301, 31), (0.0, 0), (1.0, 1000)):
        counts = {"n": 1000, "loss": "brier", "mean": mean, "variance": 0.01}
        assert CLAIMS["bounded-loss"](counts, Terms(0.05)).errors == errors


def test_a_transfer_without_disagreement_adds_what_no_disagreement_leaves():
    """Two closed forms at half of delta: 1 − (δ/2)^(1/m) and 1 − (δ/2 · 2^−bits)^(1/n)."""
    counts = {"errors": 0, "n": 200, "count": 0, "inputs": 300}
    inputs = 1 - 0.025 ** (1 / 300)
    to_dense = CLAIMS["transfer-to-dense"](counts, Terms(0.05, 8))
    assert to_dense.risk_bound == round_up(1 - (0.025 / 256) ** (1 / 200) + inputs)
    to_pruned = CLAIMS["transfer-to-pruned"](counts, Terms(0.05))
    assert to_pruned.risk_bound == round_up(1 - 0.025 ** (1 / 200) + inputs)


# ----------------------------------------------------------------------------- selection


def row(sequence: str, sparsity: float, errors: int, **more) -> dict:
    mark = f"{sequence}{sparsity}".encode().hex().ljust(64, "0")[:64]
    return {"sequence": sequence, "sha256": mark, "sparsity": sparsity, "errors": errors, **more}


# One error-free sample has p = 1 − target: with n = 1 and target 0.9, p = 0.1 exactly below.
ONE = Criterion(target_error=0.9)


def test_a_walk_stops_at_its_first_failure_and_the_other_goes_on():
    rows = [
        row("a", 0.1, 0),
        row("b", 0.1, 0),
        row("a", 0.5, 1),
        row("b", 0.5, 0),
        row("a", 0.9, 0),
    ]
    walked = walk(rows, 1, ONE, 0.5, "sequence")
    assert [r["accepted"] for r in walked] == [True, True, False, True, False]


def test_delta_is_split_over_sequences_or_over_networks():
    """p = 0.1: passes at 0.2/1 and 0.2/2 + slack, fails at 0.2/3."""
    for names, accepted in (("a", True), ("abc", False)):
        walked = walk([row(name, 0.5, 0) for name in names], 1, ONE, 0.2, "sequence")
        assert [r["accepted"] for r in walked] == [accepted] * len(names)
    three = [row("a", s, 0) for s in (0.1, 0.5, 0.9)]
    assert all(r["accepted"] for r in walk(three, 1, ONE, 0.2, "sequence"))
    assert not any(r["accepted"] for r in walk(three, 1, ONE, 0.2, "simultaneous"))


def test_simultaneous_does_not_stop():
    rows = [row("a", 0.1, 1), row("a", 0.5, 0)]
    walked = walk(rows, 1, ONE, 0.5, "simultaneous")
    assert [r["accepted"] for r in walked] == [False, True]


def test_the_claim_names_the_sparsest_accepted_and_its_ledger_sums():
    rows = [row("a", 0.5, 0), row("b", 0.7, 0), row("b", 0.9, 1)]
    claim = selection_claim(rows, 1, ONE, 0.3, "sequence")
    assert claim is not None
    assert claim.risk_bound == 0.9
    assert claim.details["sparsity"] == 0.7
    assert claim.details["accepted"] == 2
    assert math.fsum(delta for _, delta in claim.ledger) == pytest.approx(0.3, abs=1e-15)


def test_nothing_accepted_is_no_claim():
    assert selection_claim([row("a", 0.5, 1)], 1, ONE, 0.5, "sequence") is None


def test_a_drop_must_be_shown_as_well_where_both_are_asked():
    both = Criterion(target_error=0.9, max_drop=0.5)
    small = row("a", 0.5, 0, worse=0, better=0)
    large = row("a", 0.5, 0, worse=9, better=0)
    # B̄(0, 10, δ/2) = 1 − 0.05^(1/10) = 0.26 ≤ 0.5, but 9 of 10 lost cannot be shown harmless
    assert walk([small], 10, both, 0.1, "sequence")[0]["accepted"]
    assert not walk([large], 10, both, 0.1, "sequence")[0]["accepted"]


@pytest.mark.parametrize("limits", [{}, {"target_error": 0.0}, {"max_drop": 1.0}])
def test_a_criterion_needs_a_limit_inside_the_unit_interval(limits):
    with pytest.raises(InputError):
        Criterion(**limits)
