"""The records in `certificates/`: what can be checked of them without their data.

`make verify-certificates` checks the rest: it counts their errors again.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prunecert.api import architecture
from prunecert.api.attempts import read_attempts
from prunecert.api.records import AS_EXACT
from prunecert.bounds import occam_upper
from prunecert.certificate import ATTEMPTS, CERTIFICATE, NETWORK, WEIGHTS, parse, sha256
from prunecert.models.weights import load_tensors
from prunecert.models.zoo import zoo_spec
from prunecert.reference import TWINS

WORD_BITS = 32
RECORDS = sorted(
    p.parent for p in (Path(__file__).parents[1] / "certificates").glob("*/" + CERTIFICATE)
)


@pytest.fixture(params=RECORDS, ids=lambda path: path.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_are_records() -> None:
    assert len(RECORDS) >= 4


def test_bytes_decode_to_the_weights_beside_them(folder: Path) -> None:
    record = parse((folder / CERTIFICATE).read_bytes())
    data = (folder / NETWORK).read_bytes()
    assert record.network is not None and sha256(data) == record.network.sha256
    model = architecture(record.model.spec)
    decoded = model.decode(data)
    stored = load_tensors(folder / WEIGHTS).tensors
    assert decoded.tensors.keys() == stored.keys()
    assert all(torch.equal(decoded.tensors[name], stored[name]) for name in stored)
    again = model.encode(decoded.tensors, decoded.choices, decoded.seed)
    assert again.data == data and again.code.bits == record.code_bits


def test_every_number_of_the_architecture_is_in_the_file(folder: Path) -> None:
    record = parse((folder / CERTIFICATE).read_bytes())
    model = architecture(record.model.spec)
    decoded = model.decode((folder / NETWORK).read_bytes())
    assert zoo_spec(decoded.architecture) == record.model.spec


def test_the_bound_is_what_its_twin_computes(folder: Path) -> None:
    record = parse((folder / CERTIFICATE).read_bytes())
    bits = record.code_bits + record.selection_bits
    twin = float(TWINS["occam"](errors=record.errors, n=record.n, bits=bits, delta=record.delta))
    assert record.status == "certified" and record.delta == 0.05
    assert twin <= record.risk_bound <= twin + 1e-6


def test_no_rounding_decides_a_record(folder: Path) -> None:
    record = parse((folder / CERTIFICATE).read_bytes())
    if record.data.source != "digits":  # its inputs are no bytes
        assert record.object == AS_EXACT


def test_the_attempts_hold_nothing_better(folder: Path) -> None:
    """The certificate is the best attempt's, up to a word of the coder: fields of the header were
    added after the searches, and `--tried 2` is a bit."""
    record = parse((folder / CERTIFICATE).read_bytes())
    attempts = read_attempts(folder / ATTEMPTS)
    assert len(attempts) > 5
    best = min(attempts, key=lambda attempt: attempt.risk_bound)
    later = float(occam_upper(best.errors, best.n, best.code_bits + WORD_BITS + 1, best.delta))
    assert record.risk_bound <= later
