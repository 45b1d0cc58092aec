"""Texts as documents of bytes: rows, labels, split, hashes, refusals; the text made for tests."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from prunecert.data import load_source, take
from prunecert.data.text import END, LONGEST, seeded_text
from prunecert.types import InputError

LINES = [b"ab", b"", b"c", b"defg", b"", b"hi", b"jkl", b"\xff\x00", b"m"]  # seven documents


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.txt"
    path.write_bytes(b"\n".join(LINES))
    return path


def test_a_row_says_what_comes_next(file):
    sample = take(load_source(str(file)), "train", "bound")
    inputs, labels = next(iter(sample.batches(10)))
    assert isinstance(inputs, torch.Tensor)
    rows = [b"\nab\n\n", b"\nc\n\n\n", b"\ndefg", b"\nhi\n\n", b"\njkl\n"]
    assert inputs.tolist() == [list(row) for row in rows]
    assert labels.tolist() == [
        [*b"ab\n", -1, -1],
        [*b"c\n", -1, -1, -1],
        [*b"defg\n"],
        [*b"hi\n", -1, -1],
        [*b"jkl\n", -1],
    ]
    assert inputs.dtype == labels.dtype == torch.int64


def test_the_first_five_sixths_are_train(file, tmp_path):
    source = load_source(str(file))
    assert source.train is not None and source.test is not None
    assert (len(source.train), len(source.test)) == (5, 2)  # 7 · 5 // 6
    (tmp_path / "many.txt").write_bytes(b"x\n" * 600)
    many = load_source(str(tmp_path / "many.txt"))
    assert many.train is not None and many.test is not None
    assert (len(many.train), len(many.test)) == (500, 100)


def test_any_byte_but_the_newline_is_a_token(file):
    sample = take(load_source(str(file)), "test", "holdout")
    assert sample.labels.tolist() == [[255, 0, END, -1, -1], [ord("m"), END, -1, -1, -1]]
    assert sample.classes == 256


def test_long_documents_are_cut(tmp_path):
    path = tmp_path / "long.txt"
    path.write_bytes(b"\n".join([b"y" * (LONGEST + 5), *[b"z"] * 5]))
    sample = take(load_source(str(path)), "train", "bound")
    assert sample.labels.shape == (5, LONGEST)
    assert set(sample.labels[0]) == {ord("y")}  # its end is not reached
    assert sample.labels[1, :3].tolist() == [ord("z"), END, -1]


def test_batches_and_slices_read_the_same_rows(file):
    source = load_source(str(file))
    whole = take(source, "train", "bound")
    inputs, labels = (torch.cat(part) for part in zip(*whole.batches(10)))
    for size in (1, 2, 3):
        again = [torch.cat(part) for part in zip(*whole.batches(size))]
        assert torch.equal(again[0], inputs) and torch.equal(again[1], labels)
    part = next(iter(take(source, "train[1:3]", "bound").batches(10)))
    assert torch.equal(part[0], inputs[1:3]) and torch.equal(part[1], labels[1:3])


def test_hashes_tell_texts_apart_and_forget_paths(file, tmp_path):
    sample = take(load_source(str(file)), "train", "bound")
    copy = tmp_path / "copy.txt"
    copy.write_bytes(file.read_bytes())
    same = take(load_source(str(copy)), "train", "bound")
    assert (same.sha256, same.origin) == (sample.sha256, sample.origin)
    copy.write_bytes(file.read_bytes().replace(b"defg", b"deff"))
    other = take(load_source(str(copy)), "train", "bound")
    assert other.sha256 != sample.sha256 and other.origin != sample.origin
    assert len(set(sample.row_digests())) == 5  # no two documents have the same inputs


def test_without_labels_nothing_is_known(file):
    sample = take(load_source(str(file)), "test", "unlabeled")
    assert set(sample.labels.flatten()) == {-1}


@pytest.mark.parametrize("content", [b"", b"\n\n\n", b"a\nb\nc\nd\ne"])
def test_too_few_documents_are_refused(tmp_path, content):
    path = tmp_path / "few.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"few\.txt: has [0-5] lines .* at least 6"):
        load_source(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt: cannot read it"):
        load_source(str(tmp_path / "none.txt"))


# --------------------------------------------------------------------------- seeded text


def test_seeded_text_is_spelt_from_the_stream():
    """Byte by byte as its words say, for the first three documents of seed 7."""
    stream = hashlib.shake_128(b"prunecert text 7").digest(12)
    people = ["ann", "ben", "cleo", "dan"]
    for line, (w, d, t, o) in zip(
        seeded_text(7, 3).decode().splitlines(), np.frombuffer(stream, np.uint8).reshape(3, 4)
    ):
        who = people[w % 4]
        other = people[(w % 4 + 1 + o % 3) % 4]
        does = ["has", "saw", "got", "ate"][d % 4]
        what = ["a pie", "a nut", "ham", "tea"][t % 4]
        assert line == f"{who} {does} {what}, {other} not"


def test_fewer_documents_are_a_prefix_and_seeds_differ():
    assert seeded_text(0, 50).startswith(seeded_text(0, 20))
    assert seeded_text(0, 20) != seeded_text(1, 20)
    assert seeded_text(0, 20).count(b"\n") == 20


def test_the_second_person_is_never_the_first():
    lines = seeded_text(3, 2000).decode().splitlines()
    pairs = Counter((line.split()[0], line.split(", ")[1].split()[0]) for line in lines)
    assert len(pairs) == 12 and all(first != second for first, second in pairs)
    assert min(pairs.values()) > 100  # of about 167 each
