"""A text as documents of bytes: `--data file.txt`, one document on each line.

A document is what stands between two newlines; empty lines are none. Its tokens are its bytes and
one END. A model reads END first, then each byte, and says what comes next: a row of inputs is
END b1 b2 …, its labels b1 b2 … END, and behind the end inputs are END, labels UNKNOWN. Of longer
documents the first LONGEST bytes are read. Train are the first 5/6 of the documents, test the rest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from prunecert.data.splits import UNKNOWN, Inputs
from prunecert.types import InputError

END = 10  # the newline: the one byte that no document holds
BYTES = 256
LONGEST = 1024
PARTS = 6  # of which the last one is the test sample


@dataclass(frozen=True)
class TextSplit:
    """Documents 0 … len−1 as rows of `width` tokens; labels are the token after each place."""

    documents: list[bytes] = field(repr=False)
    width: int
    inputs_name: str
    labels_name: str
    classes: int | None = BYTES
    scaled: bool = False

    def __len__(self) -> int:
        return len(self.documents)

    def read(self, start: int, stop: int, labeled: bool) -> tuple[Inputs, torch.Tensor]:
        """Token numbers (b, width) and labels of the same shape."""
        read = self.documents[start:stop]
        padded = b"".join(d[: self.width].ljust(self.width, bytes([END])) for d in read)
        following = np.frombuffer(padded, np.uint8).reshape(-1, self.width).astype(np.int64)
        inputs = np.full_like(following, END)
        inputs[:, 1:] = following[:, :-1]
        lengths = np.array([len(d) for d in read])[:, None]
        known = (np.arange(self.width) <= lengths) & labeled  # the END of a document is one too
        labels = np.where(known, following, UNKNOWN)
        return torch.from_numpy(inputs), torch.from_numpy(labels)

    def deliver(self, stored: Inputs) -> Inputs:
        return stored


def read_text(path: Path) -> tuple[TextSplit, TextSplit, str]:
    """(train, test, SHA-256 of the file). InputError where there are fewer than six documents."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from None
    documents = [line for line in content.split(bytes([END])) if line]
    if len(documents) < PARTS:
        raise InputError(
            f"{path}: has {len(documents)} lines that are not empty, expected at least {PARTS}: "
            "one document on each line"
        )
    width = min(max(len(d) for d in documents) + 1, LONGEST)
    last = len(documents) * (PARTS - 1) // PARTS
    train, test = (
        TextSplit(part, width, f"{path} {name}", f"{path} {name}")
        for name, part in (("train", documents[:last]), ("test", documents[last:]))
    )
    return train, test, hashlib.sha256(content).hexdigest()


# --------------------------------------------------------------------------- a text made for tests

WHO = ("ann", "ben", "cleo", "dan")
DOES = ("has", "saw", "got", "ate")
WHAT = ("a pie", "a nut", "ham", "tea")


def seeded_text(seed: int, documents: int) -> bytes:
    """Independent documents of a small grammar, on a line each: who does what, and who does not.

    "ann saw tea, ben not": the second clause names another person than the first. Document i is
    spelt by byte 4i … 4i + 3 of SHAKE-128("prunecert text {seed}"), so fewer documents are a prefix
    of more, on every machine.
    """
    stream = hashlib.shake_128(f"prunecert text {seed}".encode()).digest(4 * documents)
    lines = (_spelt(*stream[i : i + 4]) for i in range(0, len(stream), 4))
    return "".join(lines).encode()


def _spelt(who: int, does: int, what: int, other: int) -> str:
    first = who % len(WHO)
    second = (first + 1 + other % (len(WHO) - 1)) % len(WHO)
    return f"{WHO[first]} {DOES[does % len(DOES)]} {WHAT[what % len(WHAT)]}, {WHO[second]} not\n"
