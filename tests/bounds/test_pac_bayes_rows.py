"""How drawn networks and their divergence become the arguments of a PAC-Bayes statement."""

import math

import numpy as np
import pytest

from prunecert.bounds import pac_bayes_rows as rows
from prunecert.bounds.pac_bayes import pac_bayes_catoni_upper, single_draw_upper
from prunecert.bounds.sampling import gibbs_product_upper, gibbs_sampled_upper
from prunecert.bounds.table import evaluate
from prunecert.types import Certificate, Gibbs, NotApplicable, SingleDraw

ROWS = {row.name: row for row in rows.PAC_BAYES_ROWS}


def gibbs(errors, n=1000, nats=12.5):
    return {"gibbs": Gibbs(np.array(errors), n, nats, "train")}


def test_delta_is_split_once_between_draws_and_sample():
    evidence = gibbs([10, 30, 20])
    given = rows._gibbs_arguments(evidence, 0.05)
    right = math.log(0.99 * 0.97 * 0.98) / 3
    product = gibbs_product_upper(right, 3, 0.2 * 0.05)
    assert given["empirical_risk"] == pytest.approx(product, rel=1e-11)
    assert given["delta"] == pytest.approx(0.8 * 0.05, rel=1e-15)
    assert (given["kl_nats"], given["n"]) == (12.5, 1000)
    for name in ("pac-bayes-kl", "majority-vote"):
        bound = ROWS[name].function(given["empirical_risk"], 12.5, 1000, 0.04)
        assert evaluate(ROWS[name], evidence, 0.05).risk_bound == pytest.approx(bound, abs=1.1e-6)


def test_draws_are_networks_not_predictions():
    given = rows._sampled_arguments(gibbs([10, 30, 20]), 0.05)
    assert given == {"empirical_risk": 0.02, "draws": 3, "delta": 0.05}
    given = rows._product_arguments(gibbs([0, 500, 750]), 0.05)
    assert given.pop("mean_log_right") == pytest.approx(-math.log(2), rel=1e-11)
    assert given == {"draws": 3, "delta": 0.05}


def test_both_forms_of_what_the_draws_show():
    evidence = gibbs([10, 30, 20])
    right = math.log(0.99 * 0.97 * 0.98) / 3
    for name, bound in (
        ("gibbs-sampled", gibbs_sampled_upper(0.02, 3, 0.05)),
        ("gibbs-product", gibbs_product_upper(right, 3, 0.05)),
    ):
        result = evaluate(ROWS[name], evidence, 0.05)
        assert result.quantity == "training error of the randomised network"
        assert 0 <= result.risk_bound - bound < 1.1e-6


def test_a_draw_that_is_wrong_everywhere_is_no_error_but_says_nothing():
    assert evaluate(ROWS["gibbs-product"], gibbs([0, 1000]), 0.05).risk_bound == 1.0
    assert evaluate(ROWS["pac-bayes-kl"], gibbs([0, 1000]), 0.05).risk_bound == 1.0


def test_the_best_beta_of_a_paid_grid():
    assert len(rows.BETAS) == len(set(rows.BETAS)) == 19
    given = rows._catoni_arguments(gibbs([40] * 100, nats=100.0), 0.05)
    assert given["betas"] == 19
    assert given["beta"] in rows.BETAS
    bounds = [pac_bayes_catoni_upper(**given | {"beta": beta}) for beta in rows.BETAS]
    assert pac_bayes_catoni_upper(**given) == min(bounds)


def test_single_draw_evidence():
    evidence = {"singledraw": SingleDraw(20, 1000, 3.0, "train")}
    result = evaluate(ROWS["single-draw"], evidence, 0.05)
    assert isinstance(result, Certificate)
    assert result.risk_bound == pytest.approx(single_draw_upper(20, 1000, 3.0, 0.05), abs=1.1e-6)
    assert result.details["log_ratio_nats"] == 3.0


@pytest.mark.parametrize("errors", [[], [[1]], [-1], [1001]])
def test_impossible_draws_are_no_certificate(errors):
    for name in ("pac-bayes-kl", "gibbs-sampled", "gibbs-product"):
        result = evaluate(ROWS[name], gibbs(errors), 0.05)
        assert isinstance(result, NotApplicable)
        assert "gibbs.errors" in result.reason


def test_a_share_of_an_illegal_delta_is_not_legal():
    assert not isinstance(evaluate(ROWS["pac-bayes-kl"], gibbs([10]), 1.2), Certificate)
