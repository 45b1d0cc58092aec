"""PAC-Bayes certificates: what is drawn, what it costs, whose rows the prior has seen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from prunecert.api import certify, verify
from prunecert.api.networks import network_of
from prunecert.api.posteriors import certify_draws, fitted, unseen_by, variances_of
from prunecert.api.runs import Recipe
from prunecert.api.samples import open_source, sample_of
from prunecert.api.two_samples import described
from prunecert.certificate import dump, statement
from prunecert.data import take
from prunecert.posterior import MAX_EXPONENT
from prunecert.types import InputError

BUILD = nn.Linear(3, 2)


@pytest.fixture(scope="module")
def source():
    x = torch.randn(900, 3, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > 0).long()
    return open_source(((x[:600], y[:600]), (x[600:], y[600:])))


@pytest.fixture(scope="module")
def prior():
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.5]]))
        layer.bias.zero_()
    return network_of(layer)


@pytest.fixture(scope="module")
def mean(source, prior):
    train = sample_of(source, "train", "train")
    return fitted(prior, prior, train, 600, 0.05, Recipe("2ep", learning_rate=0.001))[0]


def test_fitting_keeps_pruned_weights_and_names_its_variances(mean, prior):
    assert torch.equal(mean.tensors["weight"] == 0, prior.tensors["weight"] == 0)
    variances = variances_of(mean)
    assert set(variances.exponents) == {"weight", "bias"}
    assert 0 <= variances.prior_exponent <= MAX_EXPONENT
    assert mean.log["trained_on"][-1]["stop"] == 600


def test_weights_without_variances_are_refused(source, prior):
    with pytest.raises(InputError, match="names no variances"):
        certify(prior, source, method="single-draw", prior=prior, sample="train")


def test_a_prior_that_has_seen_the_sample_is_refused(source, mean, prior):
    sample = sample_of(source, "train[300:]", "bound")
    used = mean.log["trained_on"][-1] | {"start": 100, "stop": 301}
    seen = replace(prior, log={"trained_on": [used]})
    with pytest.raises(InputError, match="was trained on"):
        certify_draws(mean, seen, sample, "single-draw", delta=0.05)
    for rows, left in (((0, 300), "train[300:]"), ((200, 600), "train[:200]")):
        used = used | {"start": rows[0], "stop": rows[1]}
        assert unseen_by(replace(prior, log={"trained_on": [used]}), source) == left
    used = used | {"start": 100, "stop": 200}
    with pytest.raises(InputError, match="first or the last part"):
        unseen_by(replace(prior, log={"trained_on": [used]}), source)
    with pytest.raises(InputError, match="no run log says"):
        unseen_by(prior, source)


def test_more_draws_pay_less_for_sampling(source, mean, prior):
    few, many = (
        certify(
            mean, source, method="pac-bayes-kl", prior=prior, draws=draws, sample="train"
        ).record
        for draws in (10, 200)
    )
    assert many.details["gibbs_risk"] < few.details["gibbs_risk"]
    assert few.details["kl_nats"] == many.details["kl_nats"]
    assert sum(share.delta for share in many.delta_ledger) == pytest.approx(0.05, abs=1e-15)


def test_the_rows_of_the_prior_are_named_and_apart(source, mean, prior, tmp_path):
    used = mean.log["trained_on"][-1] | {"start": 0, "stop": 250}
    half = replace(prior, log={"trained_on": [used]})
    issued = certify(mean, source, method="single-draw", prior=half)
    named = issued.record.details["prior_sample"]
    assert (named["sample"], named["n"], named["role"]) == ("train[0:250]", 250, "prior")
    assert issued.record.data.sample == "train[250:600]"
    place = issued.write(tmp_path / "c")
    assert verify(place, mean.architecture, source).valid
    for details, said in (
        ({"sample": "train[0:251]", "n": 251}, "sha256"),
        ({"sample": "train[1:251]"}, "sha256"),
        ({"n": 249}, "details: recomputed"),
    ):
        forged(place, prior_sample=named | details)
        assert said in verify(place, mean.architecture, source).sentence
    overlapping = take(source, "train[100:300]", "prior")
    forged(place, prior_sample=described(overlapping))
    assert "are in both" in verify(place, mean.architecture, source).sentence


def forged(folder, **details):
    """The certificate with other details, its sentence made to fit."""
    file = folder / "certificate.json"
    document = json.loads(file.read_text())
    document["details"] |= details
    document["statement"] = statement(document)
    file.write_bytes(dump(document))


def test_a_posterior_said_to_be_cheaper_is_found_out(source, mean, prior, tmp_path, monkeypatch):
    """By the recount, and where that is fooled, by the independent computation in fifty digits."""
    issued = certify(mean, source, method="pac-bayes-kl", prior=prior, draws=5, sample="train")
    place = issued.write(tmp_path / "c")
    assert verify(place, mean.architecture, source).valid
    cheaper = issued.record.details["kl_nats"] - 1.0
    forged(place, kl_nats=cheaper)
    assert verify(place, mean.architecture, source).sentence.startswith("recount: kl_nats")
    monkeypatch.setattr("prunecert.api.counting.kl_nats", lambda posterior: cheaper)
    place = certify(
        mean, source, method="pac-bayes-kl", prior=prior, draws=5, sample="train"
    ).write(tmp_path / "d")
    assert verify(place, mean.architecture, source).sentence.startswith("details.kl_nats: ")


def test_the_network_of_a_single_draw_is_the_one_drawn(source, mean, prior, tmp_path, monkeypatch):
    """A draw chosen among several, by its own luck, is not what the hash of the posterior draws."""
    place = certify(mean, source, method="single-draw", prior=prior, sample="train").write(
        tmp_path / "c"
    )
    assert verify(place, mean.architecture, source).valid
    monkeypatch.setattr("prunecert.api.posteriors.seed_text", lambda *_: "another seed")
    chosen = certify(mean, source, method="single-draw", prior=prior, sample="train").write(
        tmp_path / "d"
    )
    verdict = verify(chosen, mean.architecture, source)
    assert not verdict.valid and "is not what its posterior draws" in verdict.sentence
