"""The paper's data and networks: scaled, kept, taken up again, certified on the original inputs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_paper import TINY, write_stripes

from prunecert.paper.over_training import Augmented
from prunecert.paper.settings import CIFAR10, MNIST, setting
from prunecert.paper.training import augment, on_unit_inputs, read_data, train_snapshots
from prunecert.types import InputError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read_data(write_stripes(tmp_path_factory.mktemp("data") / "s.npz"), TINY)


def same(a, b):
    return all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)


def test_the_settings_are_those_of_the_paper():
    """THEORY 1.11."""
    assert MNIST.model == "mlp:784-784-784-784-784-10"
    assert (MNIST.batch_size, MNIST.learning_rate, MNIST.epochs[-1]) == (256, 0.02, 300)
    assert CIFAR10.model == "mlp:3072-2000-2000-2000-2000-10"
    assert (CIFAR10.batch_size, CIFAR10.learning_rate, CIFAR10.augmented) == (64, 0.01, True)
    assert MNIST.grid == 100
    for chosen in (MNIST, CIFAR10):
        assert (chosen.weight_decay, chosen.held_back, chosen.epochs[0]) == (1e-4, 0.2, 0)


def test_quick_keeps_what_decides_but_the_length():
    quick = setting("mnist", True)
    assert quick.quick and quick.epochs[-1] < 20
    assert replace(quick, epochs=MNIST.epochs).model == MNIST.model
    with pytest.raises(InputError, match="paper 'svhn': expected one of mnist, cifar10"):
        setting("svhn", True)


def test_inputs_are_scaled_and_a_fifth_is_held_back(data):
    ((inputs, labels),) = data.train.batches(1000)
    ((unit, same_labels),) = data.unit_train.batches(1000)
    assert data.train.n == data.unit_train.n == 320
    assert inputs.shape == (320, 1, 28, 28)
    assert float(inputs.min()) >= -1 and float(inputs.max()) > 0.9
    assert torch.equal(inputs, 2 * unit - 1)
    assert torch.equal(labels, same_labels)
    assert data.test.n == data.unit_test.n == 100


def test_other_images_are_refused(tmp_path):
    other = write_stripes(tmp_path / "o.npz", shape=(3, 28, 28))
    with pytest.raises(InputError, match=r"inputs of shape \(3, 28, 28\), expected \(1, 28, 28\)"):
        read_data(other, TINY)


def test_training_goes_on_from_the_last_network_kept(data, tmp_path):
    """Interrupted after one epoch, or measured at other epochs: the same networks."""
    whole = dict(train_snapshots(TINY, data, tmp_path / "whole", seed=3))
    assert list(whole) == [0, 1, 3]
    first = list(itertools.islice(train_snapshots(TINY, data, tmp_path / "cut", seed=3), 2))
    assert [epoch for epoch, _ in first] == [0, 1]
    again = dict(train_snapshots(TINY, data, tmp_path / "cut", seed=3))
    every = replace(TINY, epochs=(0, 1, 2, 3))
    finer = dict(train_snapshots(every, data, tmp_path / "fine", seed=3))
    for epoch in whole:
        assert same(whole[epoch], again[epoch]) and same(whole[epoch], finer[epoch])
    assert not same(whole[1], whole[3])
    other = dict(train_snapshots(TINY, data, tmp_path / "other", seed=4))
    assert not same(whole[0], other[0])


def test_another_configuration_is_refused(data, tmp_path):
    list(train_snapshots(TINY, data, tmp_path / "run"))
    changed = replace(TINY, learning_rate=0.2)
    with pytest.raises(InputError, match="holds a run with another configuration"):
        next(train_snapshots(changed, data, tmp_path / "run"))


def test_the_same_function_of_the_original_inputs(data, tmp_path):
    _, network = list(train_snapshots(TINY, data, tmp_path / "run"))[-1]
    ((inputs, _),) = data.train.batches(1000)
    ((unit, _),) = data.unit_train.batches(1000)
    with torch.no_grad():
        scaled, moved = network.module()(inputs), on_unit_inputs(network).module()(unit)
    assert torch.allclose(scaled, moved, atol=1e-4)
    assert network.log["trained_on"][0]["inputs_sha256"] == data.unit_train.inputs_sha256


def test_augmented_images_are_crops_of_the_padded_one():
    """Each is one of 81 shifts, mirrored or not; black comes in."""
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.random((40, 3, 6, 6), dtype=np.float32))
    found = augment(images, np.random.default_rng(1))
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4), value=-1.0)
    seen = set()
    for image, changed in zip(padded, found):
        matches = [
            (top, left, mirrored)
            for top, left, mirrored in itertools.product(range(9), range(9), (False, True))
            if torch.equal(
                changed,
                (lambda crop: crop.flip(2) if mirrored else crop)(
                    image[:, top : top + 6, left : left + 6]
                ),
            )
        ]
        assert len(matches) == 1
        seen |= set(matches)
    assert {mirrored for *_, mirrored in seen} == {False, True}
    assert len({top for top, *_ in seen}) > 4


def test_an_augmented_sample_is_the_same_at_every_pass(data):
    changed = Augmented(data.train, seed=4)
    first, second = ([batch for batch, _ in changed.batches(100)] for _ in range(2))
    plain = list(data.train.batches(100))
    assert [len(batch) for batch in first] == [100, 100, 100, 20]
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    assert not any(torch.equal(a, b) for a, (b, _) in zip(first, plain))
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(changed.batches(100), plain))
    (other, _), *_ = Augmented(data.train, seed=5).batches(100)
    assert not torch.equal(first[0], other)
