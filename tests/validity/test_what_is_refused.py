"""What certify must not certify, and what no other statement may take for its own evidence."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunecert.api import architecture, certify, select
from prunecert.api.certification import certify_holdout
from prunecert.api.claims import METHODS
from prunecert.api.networks import Network, open_network
from prunecert.bounds.table import evaluate_all
from prunecert.data import FiniteWorld, load_source, take
from prunecert.results import read_evidence
from prunecert.types import Certificate, InputError

WORLD = FiniteWorld()


class FromBatch(nn.Module):
    """Normalised by the batch it meets: a row's score depends on its company."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 4)
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))


class Noisy(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.rand_like(x))


class Remembering(nn.Linear):
    """Its state after a sample is not the state that was certified."""

    def __init__(self) -> None:
        super().__init__(16, 4)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return super().forward(x)


class Doubling(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([x, x]))


@pytest.mark.parametrize("method", ["occam", "holdout"])
@pytest.mark.parametrize(
    ("module", "said"),
    [
        (FromBatch(), "rest of its batch"),
        (Noisy(16, 4), "by chance"),
        (Remembering(), "changes the model's 'seen'"),
        (Doubling(16, 4), "200 rows for 100"),
    ],
)
def test_only_a_function_of_each_row_alone(module, said, method):
    """The losses of a sample are independent draws only then."""
    with pytest.raises(InputError, match=said):
        certify(module, WORLD.draw(100, 0), method=method)


def test_batch_normalisation_with_statistics_of_its_own_is_such_a_function():
    module = nn.Sequential(nn.Linear(16, 4), nn.BatchNorm1d(4))
    assert certify(module, WORLD.draw(100, 0), method="holdout").record.n == 100


@pytest.mark.parametrize("delta", [0.0, 1.0, 1e-13, 1 - 1e-13, float("nan"), -0.05])
def test_a_delta_that_a_certificate_cannot_say(ladder, delta):
    with pytest.raises(InputError, match="--delta"):
        certify(ladder[0], "digits", method="holdout", delta=delta)


@pytest.mark.parametrize("delta", [1e-9, 1e-7, 0.0123456789012345])
def test_the_statement_claims_no_more_confidence_than_delta_leaves(ladder, delta):
    record = certify(ladder[0], "digits", method="holdout", delta=delta).record
    said = Decimal(record.statement.removeprefix("With confidence ").partition(" %")[0])
    assert said == 100 * (1 - Decimal(repr(delta)))


def test_a_sample_in_the_training_role_is_no_holdout(ladder):
    trained_on = take(load_source("digits"), "train", "train")
    with pytest.raises(InputError, match="role holdout, not train"):
        certify_holdout(ladder[0], trained_on, delta=0.05)


# --------------------------------------------------------------------------- the run log


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained on the training rows of a file, and that file under other names."""
    from prunecert.cli.app import run

    place = tmp_path_factory.mktemp("logged")
    rng = np.random.default_rng(0)  # no two rows alike, unlike in a finite world
    x, x_test = (rng.normal(size=(n, 16)).astype(np.float32) for n in (120, 60))
    y, y_test = (rows.argmax(axis=1) % 4 for rows in (x, x_test))
    np.savez(place / "data.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    np.savez_compressed(place / "packed.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    np.savez(place / "swapped.npz", x_train=x_test, y_train=y_test, x_test=x, y_test=y)
    (place / "linked.npz").symlink_to("data.npz")
    shutil.copy(place / "data.npz", place / "copied.npz")
    words = f"train --model mlp:16-4 --data {place}/data.npz --epochs 1 --out {place}/run --quiet"
    assert run(words.split()) == 0
    return place


@pytest.mark.parametrize(
    ("file", "sample"),
    [
        ("data.npz", "train"),
        ("data.npz", "train[10:20]"),
        ("linked.npz", "train[10:20]"),
        ("copied.npz", "train[10:20]"),
        ("packed.npz", "train"),
        ("swapped.npz", "test"),
    ],
)
@pytest.mark.parametrize("method", ["holdout", "disagreement", "select"])
def test_rows_that_were_trained_on_are_no_holdout_by_any_path(logged, file, sample, method):
    network = open_network(logged / "run" / "model.safetensors", architecture("mlp:16-4"))
    with pytest.raises(InputError, match="trained on train"):
        if method == "select":
            select([network], str(logged / file), target_error=0.9, sample=sample)
        else:
            dense = network if method == "disagreement" else None
            certify(network, str(logged / file), method=method, sample=sample, dense=dense)


def test_a_damaged_run_log_is_no_run_log(logged):
    from prunecert.api.networks import LOG_KEY, read_log

    for text in ("", "[", "5", "[]", '{"trained_on": 5}', '{"trained_on": ["x"]}', "[" * 10**5):
        assert read_log({LOG_KEY: text}) == {}
    for text in (
        '{"trained_on": [{"sample": "a", "start": "0", "stop": 1}]}',
        '{"method": "a\\n"}',
    ):
        assert read_log({LOG_KEY: text}) == {}


def test_no_holdout_line_where_the_holdout_was_trained_on(logged):
    network = open_network(logged / "run" / "model.safetensors", architecture("mlp:16-4"))
    honest = certify(network, str(logged / "data.npz"))
    assert honest.record.baselines.holdout is not None
    swapped = certify(network, str(logged / "swapped.npz"))
    assert swapped.record.baselines.holdout is None
    assert any("trained on train" in note for note in swapped.notes)


def test_no_holdout_line_from_rows_that_stand_in_the_training_sample(ladder):
    x, y = (part.numpy() for part in _digits())
    issued = certify(ladder[0], ((x, y), (x[:200], y[:200])))
    assert issued.record.baselines.holdout is None
    assert any("200 of the 200 rows" in note for note in issued.notes)


def _digits() -> tuple[Tensor, Tensor]:
    sample = take(load_source("digits"), "train", "bound")
    return torch.cat([x for x, _ in sample.stored(500)]), torch.from_numpy(sample.labels)


# --------------------------------------------------------------------------- evidence


TWO_SAMPLES = {"train-and-holdout", "code-or-holdout", "occam", "occam-kl", "holdout"}


@pytest.mark.parametrize(
    ("method", "stated"),
    [
        ("occam", {"occam", "occam-kl", "compression-theorem"}),
        ("holdout", {"holdout"}),
        ("top-k", {"top-k"}),
        ("per-class", {"per-class"}),
        ("disagreement", {"disagreement"}),
        ("cost-of-pruning", {"cost-of-pruning", "labelled-transfer"}),
        ("bounded-loss", {"bounded-loss", "hoeffding-bentkus", "empirical-bernstein"}),
        ("train-and-holdout", TWO_SAMPLES),
        ("code-or-holdout", TWO_SAMPLES),
        ("transfer-to-dense", {"transfer-to-dense", "occam", "occam-kl", "disagreement"}),
        ("transfer-to-pruned", {"transfer-to-pruned", "disagreement"}),
        ("select", set()),
    ],
)
def test_evidence_supports_its_own_statement_and_no_other(ladder, tmp_path, method, stated):
    """Misses of the top k, disagreements and lost samples are no errors; and a plain hold-out bound
    of a network chosen on that hold-out does not hold."""
    if method == "select":
        issued = select(ladder, "digits", target_error=0.5).issued
    else:
        dense, k = (
            (ladder[0] if METHODS[method].compared else None),
            (2 if method == "top-k" else 1),
        )
        loss = "brier" if method == "bounded-loss" else ""
        issued = certify(ladder[-1], "digits", method=method, dense=dense, k=k, loss=loss)
    parts, _ = read_evidence(issued.write(tmp_path / method) / "evidence.npz")
    found = evaluate_all(parts, 0.05)
    assert {result.name for result in found if isinstance(result, Certificate)} == stated


def test_the_bound_carried_over_to_the_dense_network_counts_from_above(ladder, tmp_path):
    """A dense network whose margins lie within the tolerance may be wrong everywhere or nowhere:
    each sample that the pruned one gets right may be one that only the dense one gets wrong."""
    right = 600 - certify(ladder[0], "digits", method="holdout").record.errors
    undecided = _undecided(ladder[0])
    issued = certify(ladder[0], "digits", method="cost-of-pruning", dense=undecided)
    parts, _ = read_evidence(issued.write(tmp_path / "cost") / "evidence.npz")
    assert parts["pairedoutcomes"].better == 0
    assert parts["counts@dense-alone"].errors >= right


def _undecided(network: Network) -> Network:
    """All scores within a millionth of each other."""
    tensors = {name: tensor * 1e-3 for name, tensor in network.tensors.items()}
    tensors["fc2.bias"] += 1000.0
    return Network(network.architecture, tensors, "undecided")
