"""A paper small enough for a test: two kinds of striped images, networks of two hidden layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from prunecert.paper.settings import MNIST

TINY = replace(
    MNIST,
    model="mlp:784-12-12-10",
    batch_size=32,
    learning_rate=0.1,
    epochs=(0, 1, 3),
    grid=5,
    coarse_grid=3,
    rows=50,
    cushion_rows=4,
    criteria_model="mlp:784-12-10",
    criteria_training="2ep",
    sparsities=(0.5, 0.9),
    retraining="1ep",
    quick=True,
)


def stripes(n, seed, shape=(1, 28, 28)):
    """Images whose label is the place of a bright stripe."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, n)
    images = random.integers(0, 60, (n, *shape), dtype=np.uint8)
    for image, label in zip(images, labels):
        image[:, :, 2 * label + 2 : 2 * label + 4] = 250
    return images, labels


def write_stripes(path, shape=(1, 28, 28)):
    """An .npz of 400 training and 100 test images."""
    x_train, y_train = stripes(400, 1, shape)
    x_test, y_test = stripes(100, 2, shape)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return str(path)
