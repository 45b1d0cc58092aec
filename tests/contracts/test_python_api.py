"""The same in Python: three lines on a module and arrays or loaders; inputs stay untouched."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import prunecert
from prunecert.types import InputError

N_TRAIN, N_TEST = 300, 200


def rows(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three Gaussian clouds in eight dimensions, far enough apart to be learnt."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 8)).astype(np.float32)
    x[np.arange(n), labels] += 3.0
    return torch.from_numpy(x), torch.from_numpy(labels)


@pytest.fixture(scope="module")
def train_rows():
    return rows(N_TRAIN, 1)


@pytest.fixture(scope="module")
def test_rows():
    return rows(N_TEST, 2)


@pytest.fixture(scope="module")
def network(train_rows):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
    return prunecert.train(module, train_rows)


def wrong(module: nn.Module, sample: tuple[torch.Tensor, torch.Tensor]) -> int:
    x, y = sample
    with torch.no_grad():
        return int((module(x).argmax(1) != y).sum())


def test_train_prune_certify_write_verify(network, train_rows, tmp_path):
    pruned = prunecert.prune(network, sparsity=0.5)
    issued = prunecert.certify(pruned, train_rows, delta=0.05)
    place = issued.write(tmp_path / "certificate")
    verdict = prunecert.verify(place, pruned, train_rows)
    assert verdict.valid and verdict.sentence == issued.statement
    assert not prunecert.verify(place, pruned, rows(N_TRAIN, 9)).valid
    other = nn.Sequential(nn.Linear(8, 13), nn.ReLU(), nn.Linear(13, 3))
    assert not prunecert.verify(place, other, train_rows).valid


def test_the_module_learnt_something(network, train_rows, test_rows):
    assert wrong(network, train_rows) < 0.1 * N_TRAIN
    assert wrong(network, test_rows) < 0.1 * N_TEST


def as_arrays(train, test):
    return tuple(p.numpy() for p in train), tuple(p.numpy() for p in test)


def as_tensors(train, test):
    return train, test


def as_data_sets(train, test):
    return TensorDataset(*train), TensorDataset(*test)


def as_loaders(train, test):
    pair = as_data_sets(train, test)
    return tuple(DataLoader(part, batch_size=7, shuffle=True) for part in pair)


def as_subsets(train, test):
    both = TensorDataset(*(torch.cat(parts) for parts in zip(train, test, strict=True)))
    return Subset(both, range(N_TRAIN)), Subset(both, range(N_TRAIN, N_TRAIN + N_TEST))


FORMS = [as_arrays, as_tensors, as_data_sets, as_loaders, as_subsets]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_gives_the_same_certificates(network, train_rows, test_rows, form):
    data = form(train_rows, test_rows)
    code = prunecert.certify(network, data).record
    assert (code.data.sample, code.n) == (f"train[0:{N_TRAIN}]", N_TRAIN)
    assert code.baselines.holdout.n == N_TEST
    record = prunecert.certify(network, data, method="holdout").record
    assert (record.errors, record.n) == (wrong(network, test_rows), N_TEST)
    plain = prunecert.certify(network, as_tensors(train_rows, test_rows), method="holdout").record
    assert record.data.sha256 == plain.data.sha256
    assert record.risk_bound == plain.risk_bound


def test_one_pair_of_arrays_is_the_sample_that_the_method_reads(network, test_rows):
    issued = prunecert.certify(network, test_rows, method="holdout")
    assert (issued.record.errors, issued.record.n) == (wrong(network, test_rows), N_TEST)
    chosen = prunecert.select([network], test_rows, target_error=0.2)
    assert chosen.rows[0]["errors"] == wrong(network, test_rows)


def test_prune_returns_a_new_module_and_leaves_its_input_untouched(network):
    network.train()
    before = deepcopy(network.state_dict())
    pruned = prunecert.prune(network, sparsity=0.75)
    assert pruned is not network and network.training
    network.eval()
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    shared = {p.data_ptr() for p in network.parameters()} & {
        p.data_ptr() for p in pruned.parameters()
    }
    assert not shared
    weights = torch.cat([pruned[i].weight.flatten() for i in (0, 2)])
    assert int((weights == 0).sum()) == 99  # of 132
    kept = weights.abs()[weights != 0]
    given = torch.cat([network[i].weight.flatten() for i in (0, 2)]).abs()
    assert kept.min() >= given.sort().values[98]


@pytest.mark.parametrize("method", ["occam", "holdout", "per-class", "top-k"])
def test_certify_leaves_the_module_untouched(network, train_rows, test_rows, method):
    before = deepcopy(network.state_dict())
    network.train()
    prunecert.certify(
        network, (train_rows, test_rows), method=method, k=2 if method == "top-k" else 1
    )
    assert network.training
    network.eval()
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_statements_about_two_modules(network, train_rows, test_rows):
    pruned = prunecert.prune(network, sparsity=0.8)
    data = (train_rows, test_rows)
    record = prunecert.certify(pruned, data, method="disagreement", dense=network).record
    with torch.no_grad():
        differ = pruned(test_rows[0]).argmax(1) != network(test_rows[0]).argmax(1)
    assert record.errors == int(differ.sum())
    record = prunecert.certify(pruned, data, method="cost-of-pruning", dense=network).record
    lost = record.details["worse"] - record.details["better"]
    assert lost == wrong(pruned, test_rows) - wrong(network, test_rows)


def test_measure_then_bounds(network, train_rows):
    from prunecert.bounds.table import BOUNDS, evaluate
    from prunecert.types import Certificate

    parts = prunecert.measure(network, train_rows)
    assert parts["counts"].errors == wrong(network, train_rows)
    found = evaluate(BOUNDS["occam"], parts, 0.05)
    assert isinstance(found, Certificate) and found.risk_bound <= 1


OPTIMIZERS = {
    "momentum and decay": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_hold_masks_keeps_zeros_zero_in_a_loop_of_ones_own(network, train_rows, make):
    model = prunecert.prune(network, sparsity=0.75)
    mask = {name: p.detach() != 0 for name, p in model.named_parameters() if p.dim() == 2}
    optimizer = make(model.parameters())
    x, y = train_rows

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    start = deepcopy(model.state_dict())
    with prunecert.hold_masks(model, optimizer):
        for _ in range(20):
            step()
            for name, kept in mask.items():
                weight = model.get_parameter(name)
                assert not weight[~kept].any() and not torch.signbit(weight[~kept]).any()
    assert all((model.get_parameter(n)[k] != start[n][k]).all() for n, k in mask.items())
    step()
    assert any(model.get_parameter(name)[~kept].any() for name, kept in mask.items())  # let go


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, d: prunecert.prune(m, 1.0), r"sparsity 1\.0"),
        (lambda m, d: prunecert.prune(m, 0.5, method="magnitud"), "magnitude"),
        (lambda m, d: prunecert.certify(m, d, delta=1.0), "delta 1.0"),
        (lambda m, d: prunecert.certify(m, d, target=2.0), "2.0"),
        (lambda m, d: prunecert.certify(m, d, tried=0), "tried 0"),
        (lambda m, d: prunecert.certify(m, d, method="luck"), "expected one of"),
        (lambda m, d: prunecert.certify(m, d, method="disagreement"), "second network"),
        (lambda m, d: prunecert.select([m], d), "target"),
        (lambda m, d: prunecert.certify(m, (d[0], d[1][:5])), "expected arrays"),
        (lambda m, d: prunecert.certify(m, (d[0][:, :5], d[1])), "does not take the inputs"),
        (lambda m, d: prunecert.certify(m, (d[0], d[1] + 1)), "label 3"),
        (lambda m, d: prunecert.certify(m, (d[0] / 0, d[1])), "row 0: expected finite"),
        (lambda m, d: prunecert.certify(m, (d[0][:0], d[1][:0])), "empty"),
        (lambda m, d: prunecert.train(deepcopy(m), (d[0], d[1] + 1)), "label 3"),
    ],
)
def test_mistakes_are_one_line(network, train_rows, call, words):
    with pytest.raises(InputError, match=words) as info:
        call(network, train_rows)
    assert "\n" not in str(info.value)


def test_weights_that_are_not_finite(network, train_rows):
    broken = deepcopy(network)
    with torch.no_grad():
        broken[2].bias[1] = float("nan")
    with pytest.raises(InputError, match=r"2\.bias: expected finite weights"):
        prunecert.certify(broken, train_rows)
