"""Predictions made elsewhere."""

import hashlib

import numpy as np
import pytest

from prunecert.data import predictions
from prunecert.types import InputError


def save(folder, **arrays):
    np.savez(folder / "P.npz", **arrays)
    return folder / "P.npz"


def test_predictions_are_compared_with_labels(tmp_path):
    path = save(tmp_path, predictions=np.int8([0, 1, -1, 3, 2]), labels=np.uint8([0, 2, 1, 3, 2]))
    read = predictions(str(path))
    assert read.n == 5
    assert read.errors_mask().tolist() == [False, True, True, False, False]
    assert read.labels.dtype == np.int64 and read.labels.tolist() == [0, 2, 1, 3, 2]
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int8, np.uint8])
def test_logits_are_wrong_exactly_where_the_margin_is_not_positive(tmp_path, dtype):
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 4, (500, 3)).astype(dtype)  # few values, so many ties
    labels = rng.integers(0, 3, 500)
    read = predictions(save(tmp_path, logits=logits, labels=labels))
    wide = logits.astype(int)
    expected = [
        row[label] - max(value for j, value in enumerate(row) if j != label) <= 0
        for row, label in zip(wide.tolist(), labels.tolist(), strict=True)
    ]
    assert read.errors_mask().tolist() == expected
    for row, predicted in zip(wide.tolist(), read.predicted.tolist(), strict=True):
        top = [j for j, value in enumerate(row) if value == max(row)]
        assert predicted == (top[0] if len(top) == 1 else -1)


def test_extreme_logits_do_not_overflow(tmp_path):
    logits = np.array([[-128, 127], [127, -128], [-128, -128]], dtype=np.int8)
    read = predictions(save(tmp_path, logits=logits, labels=[1, 1, 0]))
    assert read.errors_mask().tolist() == [False, True, True]


def test_labels_are_optional_until_errors_are_counted(tmp_path):
    read = predictions(save(tmp_path, predictions=[0, 1]))
    assert read.labels is None and read.predicted.tolist() == [0, 1]
    with pytest.raises(InputError, match=r"P\.npz: labels: missing"):
        read.errors_mask()


FINE = np.array([[0.5, 1.0], [2.0, 0.0]])

BAD = {
    "neither": ({"labels": [0, 1]}, ["'predictions' or 'logits'", "labels"]),
    "both": ({"predictions": [0, 1], "logits": FINE, "labels": [0, 1]}, ["not both"]),
    "float predictions": ({"predictions": [0.0, 1.0]}, ["predictions", "integers", "float64"]),
    "square predictions": ({"predictions": [[0, 1]]}, ["predictions", "(1, 2)"]),
    "below abstention": ({"predictions": [0, -2]}, ["predictions", "row 1", "found -2"]),
    "no rows": ({"predictions": np.zeros(0, int)}, ["predictions", "at least one row"]),
    "no logit rows": ({"logits": np.zeros((0, 2))}, ["logits", "at least one row"]),
    "flat logits": ({"logits": [0.5, 1.0]}, ["logits", "(n, K)", "(2,)"]),
    "one class": ({"logits": [[0.5], [1.0]]}, ["logits", "(2, 1)"]),
    "text logits": ({"logits": [["a", "b"]]}, ["logits", "numbers"]),
    "NaN logits": ({"logits": [[0, 1], [np.nan, 1]]}, ["logits", "row 1", "finite"]),
    "infinite logits": ({"logits": [[np.inf, 1], [0, 1]]}, ["logits", "row 0", "finite"]),
    "short labels": ({"logits": FINE, "labels": [0]}, ["labels", "2 entries, found 1"]),
    "label beyond K": ({"logits": FINE, "labels": [0, 2]}, ["labels", "row 1", "0 to 1"]),
    "negative label": ({"predictions": [0, 1], "labels": [0, -1]}, ["labels", "row 1"]),
    "float labels": ({"logits": FINE, "labels": [0.0, 1.0]}, ["labels", "integers"]),
    "pickled": ({"predictions": np.array([0, None])}, ["predictions", "cannot be read"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_names_file_and_array(tmp_path, case):
    arrays, parts = BAD[case]
    path = save(tmp_path, **arrays)
    with pytest.raises(InputError) as caught:
        predictions(path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.npz: no such file"):
        predictions(tmp_path / "none.npz")
