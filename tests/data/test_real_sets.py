"""The full MNIST and CIFAR-10, where they stand beside the repository."""

import sys
from pathlib import Path

import numpy as np
import pytest

from prunecert.data import load_source, take

pytest.importorskip("datasets", reason="needs the extra: pip install 'prunecert[hf]'")

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNECERT_CACHE", str(tmp_path))


def shared(name):
    """A data set beside the repository, where there is one."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"no {SHARED / name}: the full data sets are not on this machine")
    return str(SHARED / name)


# Images per class in the MNIST test file, from the documentation of the data set.
MNIST_TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_mnist_test_split(monkeypatch):
    folder = shared("mnist")
    sample = take(load_source(folder), "test", "holdout")
    assert (sample.n, sample.input_shape, sample.classes) == (10000, (1, 28, 28), 10)
    assert np.bincount(sample.labels).tolist() == MNIST_TEST_COUNTS
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert take(load_source(folder), "test", "holdout").sha256 == sample.sha256


# The mean and standard deviation of training pixels that everybody normalises with.
MOMENTS = {
    "mnist": (60000, [0.1307], [0.3081], 1e-4),
    # Our copy is JPEG-encoded, so its moments differ a little from the original's.
    "cifar10": (50000, [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616], 5e-3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MOMENTS)
def test_training_pixels_have_the_known_moments(name):
    n, mean, deviation, tolerance = MOMENTS[name]
    sample = take(load_source(shared(name)), "train", "train")
    assert sample.n == n
    totals, squares, count = 0.0, 0.0, 0
    for x, _ in sample.batches(1000):
        totals = totals + x.double().sum(dim=(0, 2, 3))
        squares = squares + x.double().square().sum(dim=(0, 2, 3))
        count += x[:, 0].numel()
    found = totals / count
    assert found.tolist() == pytest.approx(mean, abs=tolerance)
    assert (squares / count - found**2).sqrt().tolist() == pytest.approx(deviation, abs=tolerance)


@pytest.mark.slow
def test_cifar10_test_split():
    sample = take(load_source(shared("cifar10")), "test", "holdout")
    assert (sample.n, sample.input_shape, sample.classes) == (10000, (3, 32, 32), 10)
    assert np.bincount(sample.labels).tolist() == [1000] * 10
