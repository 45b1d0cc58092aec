"""Certificates from two samples: which samples, which network, and what is refused."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load
from torch import nn

from prunecert.api import certify
from prunecert.bounds import disagreement_upper, holdout_upper
from prunecert.bounds.combined import code_or_holdout_upper, train_and_holdout_upper
from prunecert.inversions import round_up
from prunecert.types import InputError


@pytest.fixture(scope="module")
def data():
    """Two classes told apart by one feature; 400 rows to train on, 300 others."""
    x = torch.randn(700, 3, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    return (x[:400], y[:400]), (x[400:], y[400:])


def network(cut: float) -> nn.Module:
    """Class 1 where the first feature exceeds `cut`."""
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
        layer.bias.copy_(torch.tensor([0.0, -cut]))
    return layer


def sideways() -> nn.Module:
    """Class 1 where the first two features sum to more than 0: wrong for every fourth row."""
    layer = network(0.0)
    with torch.no_grad():
        layer.weight[1, 1] = 1.0
    return layer


def coded_errors(issued, x, y) -> int:
    """Of the network that the certificate is about, from its own file."""
    tensors = load(issued.files["network.safetensors"])
    return int(((x @ tensors["weight"].T + tensors["bias"]).argmax(dim=1) != y).sum())


def test_train_and_holdout_read_both_samples(data):
    (x, y), (hx, hy) = data
    issued = certify(sideways(), data, method="train-and-holdout")
    record = issued.record
    errors, wrong = coded_errors(issued, x, y), coded_errors(issued, hx, hy)
    assert record.errors == errors > 0
    assert record.details["holdout_errors"] == wrong
    assert record.details["second"]["sample"] == "test[0:300]"
    numbers = (record.errors, 400, record.code_bits, wrong, 300, 0.05)
    assert record.risk_bound == round_up(train_and_holdout_upper(*numbers))
    smaller = certify(sideways(), data, method="code-or-holdout").record
    assert smaller.risk_bound == round_up(code_or_holdout_upper(*numbers))


def test_a_transfer_to_the_pruned_network_counts_the_dense_ones_errors(data):
    _, (hx, hy) = data
    dense, pruned = network(0.0), network(0.25)
    issued = certify(pruned, data, method="transfer-to-pruned", dense=dense)
    assert issued.record.data.sample == "test[0:150]"
    assert issued.record.errors == int(((hx[:150, 0] > 0) != hy[:150].bool()).sum()) == 0
    differ = int(((hx[150:, 0] > 0) != (hx[150:, 0] > 0.25)).sum())
    assert issued.record.details["count"] == differ
    expected = holdout_upper(0, 150, 0.025) + disagreement_upper(differ, 150, 0.025)
    assert issued.record.risk_bound == pytest.approx(expected, abs=1.1e-6)


def test_a_transfer_to_the_dense_network_is_about_it(data):
    issued = certify(sideways(), data, method="transfer-to-dense", dense=network(0.0))
    assert "dense" in issued.record.object
    assert issued.record.errors > 0  # of the pruned one: the dense one makes none
    assert issued.record.risk_bound > issued.record.details["count"] / 300


@pytest.mark.parametrize("method", ["train-and-holdout", "code-or-holdout"])
def test_two_samples_share_no_row(data, method):
    with pytest.raises(InputError, match="are in both"):
        certify(network(0.1), data, method=method, second="train[399:]")


def test_labels_and_inputs_come_from_two_halves(data):
    with pytest.raises(InputError, match="50 rows are in both"):
        certify(
            network(0.1),
            data,
            method="transfer-to-pruned",
            dense=network(0.0),
            sample="test[:150]",
            second="test[100:]",
        )


def test_a_statement_about_one_network_takes_no_other(data):
    with pytest.raises(InputError, match="expected no dense network"):
        certify(network(0.1), data, method="train-and-holdout", dense=network(0.0))
    with pytest.raises(InputError, match="expected a dense network"):
        certify(network(0.1), data, method="transfer-to-dense")


def test_halves_of_a_test_sample_need_a_test_sample(data):
    with pytest.raises(InputError, match="no test sample"):
        certify(network(0.1), data[0], method="transfer-to-pruned", dense=network(0.0))
