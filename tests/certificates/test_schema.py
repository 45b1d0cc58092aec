"""certificate.schema.json: what is shipped is what is checked, and it is tested both ways."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from json_leaves import leaves, nodes, replaced, without
from json_schema import accepts
from kinds import KINDS

from prunecert.certificate import parse, schema
from prunecert.types import CodeError


@pytest.fixture(scope="session")
def shipped() -> dict[str, Any]:
    return json.loads(resources.files("prunecert").joinpath("certificate.schema.json").read_text())


@pytest.fixture(params=KINDS)
def document(request, shelf) -> dict[str, Any]:
    return json.loads((shelf / request.param / "certificate.json").read_text())


FREE = [("details", name) for name in ("bits", "bytes", "exponents")]  # tables with any names


def refused(shipped: dict[str, Any], document: Any) -> None:
    """By the schema and by the reader; the reader names the file."""
    assert not accepts(shipped, document), document
    with pytest.raises(CodeError, match=r"^certificate\.json: "):
        parse(json.dumps(document))


def test_the_shipped_schema_is_the_generated_one(shipped):
    assert shipped == json.loads(json.dumps(schema()))


def test_real_certificates_are_accepted(shipped, document):
    assert accepts(shipped, document)
    assert parse(json.dumps(document)).model_dump(mode="json") == document


def test_a_value_of_another_type_is_refused(shipped, document):
    for path, value in leaves(document):
        wrong = 7 if isinstance(value, str) else "7"
        refused(shipped, replaced(document, path, [] if value is None else wrong))
    for path, value in nodes(document):
        if isinstance(value, dict | list):
            refused(shipped, replaced(document, path, "text"))
            refused(shipped, replaced(document, path, {} if isinstance(value, list) else []))


def test_an_unknown_field_is_refused(shipped, document):
    for path, value in nodes(document):
        if isinstance(value, dict) and path not in FREE:
            refused(shipped, replaced(document, path, {**value, "extra": 1}))


OPTIONAL = {"code_bits", "selection_bits", "tried", "target", "network", "evidence_sha256"}
OPTIONAL |= {"details", "baselines", "holdout", "worse", "better", "weights_sha256"}


def test_a_missing_field_is_refused(shipped, document):
    for path, _ in leaves(document):
        if isinstance(path[-1], str) and path[-1] not in OPTIONAL and path[0] != "details":
            refused(shipped, without(document, path))


SHA = "0" * 64


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "prunecert/2"),
        ("status", "order-only"),
        ("status", "valid"),
        ("risk_bound", -0.1),
        ("risk_bound", 64.000001),
        ("delta", 0),
        ("delta", 1),
        ("delta", -0.05),
        ("confidence", 1),
        ("confidence", 0),
        ("n", 0),
        ("n", 60.5),
        ("n", 2**60),
        ("n", True),
        ("errors", -1),
        ("errors", 0.5),
        ("margin_tolerance", -1e-4),
        ("code_bits", -8),
        ("selection_bits", -1.0),
        ("tried", 0),
        ("target", 64.5),
        ("delta_ledger.0.delta", 0.0),
        ("delta_ledger.0.delta", 1.0),
        ("assumptions.0.status", "hoped"),
        ("model.spec", ""),
        ("model.spec", "two\nlines"),
        ("model.spec", 'a "quoted" name'),
        ("model.sha256", SHA[1:]),
        ("model.sha256", SHA.replace("0", "G")),
        ("model.sha256", SHA + "\n"),
        ("data.role", "test"),
        ("data.n", 0),
        ("data.source", "x" * 1001),
        ("network.parameters", -1),
        ("network.sparsity", 1.1),
        ("network.sha256", SHA.replace("0", "A")),
        ("evidence_sha256", "none"),
        ("details.bits", {"header": 1.5}),
        ("details.bytes", {"dense": -1}),
        ("baselines.holdout.risk_bound", 2),
        ("baselines.holdout.n", 0),
        ("software.torch", "<script>"),
        ("software.torch", ""),
    ],
)
def test_a_value_out_of_range_is_refused(shipped, shelf, path, value):
    document = json.loads((shelf / "occam" / "certificate.json").read_text())
    keys = tuple(int(key) if key.isdigit() else key for key in path.split("."))
    refused(shipped, replaced(document, keys, value))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["risk_bound", "delta", "margin_tolerance", "selection_bits"])
def test_only_finite_numbers(shelf, field, number):
    text = (shelf / "occam" / "certificate.json").read_text()
    value = json.loads(text)[field]
    changed = text.replace(f'"{field}": {json.dumps(value)}', f'"{field}": {number}', 1)
    assert changed != text
    with pytest.raises(CodeError, match=r"^certificate\.json: "):
        parse(changed)


def test_a_field_written_twice_is_refused(shelf):
    text = (shelf / "occam" / "certificate.json").read_text()
    with pytest.raises(CodeError, match="twice"):
        parse(text.replace('"n": 1197,', '"n": 1197, "n": 1197,', 1))


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"{" * 5000, b"[" * 100_000, b"1" * 10_000]
)
def test_anything_else_is_one_sentence(text):
    with pytest.raises(CodeError) as info:
        parse(text)
    assert "\n" not in str(info.value)
