"""Samples: slices, roles, hashes, rows in common."""

import hashlib
import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from prunecert.data import (
    ArraySplit,
    DatasetSplit,
    Source,
    equal_rows,
    load_source,
    refuse_shared,
    shared_rows,
    take,
)
from prunecert.data.samples import scan
from prunecert.types import InputError

DIGITS = load_source("digits")


def of_arrays(x, y, classes=None):
    """The whole train sample of two arrays."""
    split = ArraySplit(x, y, "inputs", "labels", classes)
    return take(Source("arrays", "arrays", lambda name: split), "train", "bound")


def of_rows(rows, tmp_path):
    split = DatasetSplit(rows, "rows", "rows", tmp_path)
    return take(Source("rows", "rows", lambda name: split), "train", "bound")


def pixels(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 1, 3, 3), dtype=np.uint8), rng.integers(0, 5, n)


# --------------------------------------------------------------------------- slices


@pytest.mark.parametrize(
    ("which", "start", "stop"),
    [
        ("train", 0, 1197),
        ("train[:]", 0, 1197),
        ("train[:300]", 0, 300),
        ("train[300:]", 300, 1197),
        ("train[100:200]", 100, 200),
        ("test", 0, 600),
        ("test[599:600]", 599, 600),
    ],
)
def test_slices(which, start, stop):
    sample = take(DIGITS, which, "bound")
    assert (sample.start, sample.stop, sample.n) == (start, stop, stop - start)
    assert sample.name == f"{which[: which.find('[')] if '[' in which else which}[{start}:{stop}]"
    assert take(DIGITS, sample.name, "bound") == sample
    whole = take(DIGITS, sample.split, "bound")
    assert sample.labels.tolist() == whole.labels[start:stop].tolist()
    assert sample.row_digests() == whole.row_digests()[start:stop]


@pytest.mark.parametrize(
    ("which", "part"),
    [
        ("train[5:5]", "empty"),
        ("train[7:5]", "empty"),
        ("train[:0]", "empty"),
        ("train[1197:]", "empty"),
        ("train[:1198]", "only 1197 rows"),
        ("train[1198:]", "empty"),
        ("train[-5:]", "slice such as"),
        ("train[:50%]", "slice such as"),
        ("train[5]", "slice such as"),
        ("train[::2]", "slice such as"),
        ("validation", "slice such as"),
        ("train ", "slice such as"),
        ("", "slice such as"),
    ],
)
def test_bad_slices(which, part):
    with pytest.raises(InputError, match=part) as caught:
        take(DIGITS, which, "bound")
    assert which in str(caught.value)


def test_bad_role_and_batch_size():
    with pytest.raises(InputError, match="role judge"):
        take(DIGITS, "train", "judge")
    for size in (0, -1):
        with pytest.raises(InputError, match="batch size"):
            next(take(DIGITS, "train", "bound").batches(size))


# --------------------------------------------------------------------------- batches


def test_batches_cover_the_sample_once_in_order():
    sample = take(DIGITS, "train[10:33]", "bound")
    batches = list(sample.batches(10))
    assert [len(y) for _, y in batches] == [10, 10, 3]
    (everything, labels), *rest = sample.batches(1000)
    assert not rest
    assert torch.equal(torch.cat([x for x, _ in batches]), everything)
    assert labels.tolist() == sample.labels.tolist()
    assert sample.input_shape == (1, 8, 8)


def test_delivered_batches_do_not_expose_the_stored_rows():
    sample = take(DIGITS, "train[:8]", "bound")
    before = next(sample.batches(8))[0].clone()
    next(sample.batches(8))[0].zero_()
    assert torch.equal(next(sample.batches(8))[0], before)


def test_labels_are_checked_against_declared_classes():
    x, _ = pixels(4)
    with pytest.raises(InputError, match="labels row 2: expected a label 0 to 2, found 3"):
        list(of_arrays(x, np.array([0, 2, 3, 9]), classes=3).batches(2))
    with pytest.raises(InputError, match="labels row 1: expected a label at least 0, found -2"):
        list(of_arrays(x, np.array([0, -2, 3, 9])).batches(1))
    assert of_arrays(x, np.array([0, 2, 1, 0]), classes=3).labels.tolist() == [0, 2, 1, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_row_that_is_not_finite_is_named(value):
    x = np.zeros((9, 2, 2))
    x[7, 1, 0] = value
    sample = of_arrays(x, np.zeros(9, int))
    with pytest.raises(InputError, match="inputs row 7: expected finite"):
        list(sample.batches(4))
    with pytest.raises(InputError, match="inputs row 7: expected finite"):
        _ = sample.sha256


def test_unlabeled_sample_never_reads_labels(tmp_path):
    class Untouchable:
        def __index__(self):
            raise AssertionError("label read")

    rows = [(torch.tensor([float(i)]), Untouchable()) for i in range(5)]
    split = DatasetSplit(rows, "rows", "rows", tmp_path)
    sample = take(Source("rows", "rows", lambda name: split), "train[1:]", "unlabeled")
    inputs, labels = next(sample.batches(10))
    assert inputs.flatten().tolist() == [1, 2, 3, 4]
    assert labels.tolist() == [-1] * 4 and sample.labels.tolist() == [-1] * 4

    x, y = pixels(6)
    hashes = set()
    for labels in (y, y - 100, None):
        split = ArraySplit(x, labels, "inputs", "labels")
        source = Source("arrays", "arrays", lambda name, split=split: split)
        hashes.add(take(source, "train", "unlabeled").sha256)
    assert len(hashes) == 1


# --------------------------------------------------------------------------- hashes


def test_hash_is_the_documented_one():
    x, y = pixels(7)
    digest = hashlib.sha256(json.dumps([7, {"": ["torch.uint8", [1, 3, 3]]}]).encode())
    digest.update(x.tobytes())
    digest.update(y.astype("<i8").tobytes())
    sample = of_arrays(x, y)
    assert sample.sha256 == digest.hexdigest()
    rows = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in x]
    assert sample.row_digests() == rows


def test_hash_of_dicts_takes_fields_by_name(tmp_path):
    rows = [
        {"b": torch.tensor([i], dtype=torch.int32), "a": torch.tensor(i / 2), "label": i}
        for i in range(5)
    ]
    layout = {"a": ["torch.float32", []], "b": ["torch.int32", [1]]}
    digest = hashlib.sha256(json.dumps([5, layout]).encode())
    for i in range(5):
        digest.update(np.float32(i / 2).tobytes() + np.int32(i).tobytes())
    digest.update(np.arange(5, dtype="<i8").tobytes())
    sample = of_rows(rows, tmp_path)
    assert sample.sha256 == digest.hexdigest()
    turned = [dict(reversed(list(row.items()))) for row in rows]
    assert of_rows(turned, tmp_path).sha256 == sample.sha256


def test_batch_size_does_not_change_hashes():
    sample = of_arrays(*pixels(1000))
    scans = [scan(sample, size) for size in (1, 7, 256, 999, 1000, 5000)]
    assert {s.sha256 for s in scans} == {sample.sha256}
    assert all(s.row_digests == sample.row_digests() for s in scans)
    assert len(set(sample.row_digests())) == 1000


def test_any_change_of_rows_changes_the_hash():
    x, y = pixels(300)
    original = of_arrays(x, y).sha256
    changed_pixel, changed_label = x.copy(), y.copy()
    changed_pixel[299, 0, 2, 2] ^= 1
    changed_label[299] ^= 1
    others = {
        "pixel": of_arrays(changed_pixel, y),
        "label": of_arrays(x, changed_label),
        "order": of_arrays(x[::-1], y[::-1]),
        "labels only moved": of_arrays(x, np.roll(y, 1)),
        "shape": of_arrays(x.reshape(300, 9), y),
        "type": of_arrays(x.view(np.int8), y),
        "fewer": of_arrays(x[:299], y[:299]),
    }
    hashes = {name: sample.sha256 for name, sample in others.items()}
    assert original not in hashes.values()
    assert len(set(hashes.values())) == len(hashes)
    assert of_arrays(x.copy(), y.astype(np.int8)).sha256 == original


def test_label_type_and_container_do_not_change_the_hash(tmp_path):
    x, y = pixels(20)
    rows = [(torch.from_numpy(a), int(b)) for a, b in zip(x, y, strict=True)]
    assert of_rows(rows, tmp_path).sha256 == of_arrays(x, y).sha256
    assert of_arrays(torch.from_numpy(x), torch.from_numpy(y)).sha256 == of_arrays(x, y).sha256


def test_hash_is_computed_once():
    x, y = pixels(5)
    reads = []

    class Counting(ArraySplit):
        def read(self, start, stop, labeled):
            reads.append((start, stop))
            return super().read(start, stop, labeled)

    split = Counting(x, y, "inputs", "labels")
    sample = take(Source("arrays", "arrays", lambda name: split), "train", "bound")
    assert (sample.sha256, sample.sha256) == (sample.sha256, sample.describe()["sha256"])
    assert len(sample.labels) == len(sample.row_digests()) == 5
    assert reads == [(0, 5)]


def test_sample_is_frozen_and_describes_itself():
    sample = take(DIGITS, "test[:100]", "holdout")
    with pytest.raises(FrozenInstanceError):
        sample.stop = 200
    described = json.loads(json.dumps(sample.describe()))
    assert described == {
        "source": "digits",
        "split": "test",
        "role": "holdout",
        "sample": "test[0:100]",
        "n": 100,
        "sha256": sample.sha256,
    }


# --------------------------------------------------------------------------- rows in common


def test_equal_rows_counts_rows_of_the_second_by_input_alone():
    x, y = pixels(30)
    a = of_arrays(x[:20], y[:20])
    b = of_arrays(np.concatenate([x[25:], x[3:5], x[3:4]]), np.zeros(8, int))
    assert equal_rows(a, b) == 3
    assert equal_rows(b, a) == 2
    assert equal_rows(a, a) == 20


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ("train[:100]", "train[100:]", 0),
        ("train[:100]", "train[99:]", 1),
        ("train[99:]", "train[:100]", 1),
        ("train", "train[30:70]", 40),
        ("train", "test", 0),
        ("test[:5]", "test[:5]", 5),
    ],
)
def test_shared_rows(first, second, count):
    a, b = take(DIGITS, first, "train"), take(DIGITS, second, "holdout")
    assert shared_rows(a, b) == count
    if not count:
        refuse_shared(a, b)
        return
    with pytest.raises(InputError) as caught:
        refuse_shared(a, b)
    message = str(caught.value)
    for part in (f"{count} rows", f"train sample {a.name}", f"holdout sample {b.name}"):
        assert part in message


def test_shared_rows_see_through_another_path(tmp_path, monkeypatch):
    x, y = pixels(10)
    np.savez(tmp_path / "one.npz", x_train=x, y_train=y)
    (tmp_path / "copy.npz").write_bytes((tmp_path / "one.npz").read_bytes())
    np.savez(tmp_path / "other.npz", x_train=x[::-1], y_train=y)
    monkeypatch.chdir(tmp_path)
    one, same, copy, other = (
        take(load_source(spec), "train", "bound")
        for spec in (str(tmp_path / "one.npz"), "one.npz", "copy.npz", "other.npz")
    )
    assert shared_rows(one, same) == shared_rows(one, copy) == 10
    assert shared_rows(one, other) == 0
    assert equal_rows(one, other) == 10
