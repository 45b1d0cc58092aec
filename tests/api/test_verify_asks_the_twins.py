"""`verify` believes no bound that its second, independent computation puts higher."""

from __future__ import annotations

from pathlib import Path

import pytest
from mpmath import mpf

from prunecert.api import recounting, verify

GOLDEN = Path(__file__).parents[1] / "golden" / "0.1.0"
ASKED = {
    "occam": "occam",
    "holdout": "holdout",
    "per-class": "holdout",
    "disagreement": "disagreement",
    "cost-of-pruning": "cost-of-pruning",
    "pac-bayes-kl": "gibbs-product",
    "fixed-sequence": "holdout",
    "fixed-sequence-drop": "cost-of-pruning",
    "simultaneous": "holdout",
}


@pytest.mark.parametrize("folder", ASKED)
def test_a_twin_that_says_more_is_believed(folder, monkeypatch):
    assert verify(GOLDEN / folder).valid
    doubled = {**recounting.TWINS, ASKED[folder]: lambda **numbers: mpf("0.999999999")}
    monkeypatch.setattr(recounting, "TWINS", doubled)
    verdict = verify(GOLDEN / folder)
    assert not verdict.valid
    assert verdict.sentence.startswith("risk_bound: ")
