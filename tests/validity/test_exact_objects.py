"""Certificates about exact evaluation: who may claim it, what is counted, who is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunecert.api import architecture, certify, verify
from prunecert.api.networks import Network, network_of
from prunecert.api.records import AS_CODED, AS_EXACT, EXACT, tolerance_assumption
from prunecert.certificate import dump, statement
from prunecert.measuring import TOLERANCE
from prunecert.models.zoo import build

CHAIN = "net:1x6x6,bytes,conv-3-3,relu,avg-2,linear-6,relu,linear-3"
IN_WORDS = "evaluated in float64, where no sum is rounded"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images of bytes with a bright row that is the label, as uint8 and as float32."""
    rng, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 300), ("test", 80)):
        y = rng.integers(0, 3, n)
        x = rng.integers(0, 80, (n, 1, 6, 6), dtype=np.uint8)
        for i, label in enumerate(y):
            x[i, 0, 2 * label] += 100
        arrays |= {f"x_{split}": x, f"y_{split}": y}
    place = tmp_path_factory.mktemp("bytes")
    np.savez(place / "bytes.npz", **arrays)
    for split in ("train", "test"):
        arrays[f"x_{split}"] = (arrays[f"x_{split}"] / np.float32(255)).astype(np.float32)
    np.savez(place / "floats.npz", **arrays)
    return str(place / "bytes.npz")


def network(spec: str) -> Network:
    """Weights of few levels."""
    described = architecture(spec)
    generator = torch.Generator().manual_seed(1)
    tensors = {
        name: torch.randint(-2, 3, t.shape, generator=generator) * 0.5
        for name, t in build(spec).state_dict().items()
    }
    return Network(described, tensors, spec)


@pytest.fixture(scope="module")
def exact(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certify(network(CHAIN), data).write(tmp_path_factory.mktemp("exact") / "DIR")


def fields_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "certificate.json").read_text())


def forged(folder: Path, place: Path, **changes: Any) -> Path:
    """Another object with the assumption that belongs to it, statement and all."""
    shutil.copytree(folder, place)
    fields = fields_of(folder) | changes
    wanted = EXACT if fields["object"] == AS_EXACT else tolerance_assumption(TOLERANCE)
    ours = {EXACT.text, tolerance_assumption(TOLERANCE).text}
    for assumption in fields["assumptions"]:
        if assumption["text"] in ours:
            assumption |= {"text": wanted.text, "status": wanted.status}
    fields["statement"] = statement(fields)
    (place / "certificate.json").write_bytes(dump(fields))
    return place


def test_an_exact_network_says_so_and_is_verified(exact, data):
    fields = fields_of(exact)
    assert fields["object"] == AS_EXACT and AS_EXACT.endswith(IN_WORDS)
    assert {"text": EXACT.text, "status": "checked"} in fields["assumptions"]
    assert "float32" not in json.dumps(fields["assumptions"])
    verdict = verify(exact, data=data)
    assert verdict.valid, verdict.sentence
    assert not any("float32" in item for item in verdict.unchecked)


def test_it_counts_what_integers_give(exact, data):
    """Recount with Python integers scaled by hand: no tolerance is met by whole logits."""
    fields = fields_of(exact)
    tensors = architecture(CHAIN).decode((exact / "network.bin").read_bytes()).tensors
    module = architecture(CHAIN).build(tensors).double()
    arrays = np.load(data)
    logits = module(torch.from_numpy(arrays["x_train"]).double() / 255).detach().numpy()
    own = logits[np.arange(300), arrays["y_train"]]
    others = logits.copy()
    others[np.arange(300), arrays["y_train"]] = -np.inf
    margins = own - others.max(1)
    assert fields["errors"] == int((margins <= TOLERANCE * np.abs(logits).max(1)).sum())


def test_the_command_line_says_it(say, exact, data, monkeypatch):
    weights = exact / "network.safetensors"
    answer = say(f"prunecert certify {weights} --model {CHAIN} --data {data} --out NEW")
    assert answer.code == 0 and IN_WORDS in " ".join(answer.out.split())
    assert json.loads(Path("NEW/certificate.json").read_text())["object"] == AS_EXACT
    answer = say(f"prunecert verify NEW --data {data}")
    assert (answer.code, answer.out.splitlines()[0]) == (0, "valid")


@pytest.mark.parametrize(
    ("spec", "file", "is_exact"),
    [
        (CHAIN, "bytes.npz", True),
        (CHAIN, "floats.npz", True),  # `bytes` makes any numbers integers
        ("mlp:36-6-3", "bytes.npz", True),
        ("mlp:36-6-3", "floats.npz", False),
        ("net:1x6x6,conv-3-3,relu,linear-3", "floats.npz", False),
        ("net:1x6x6,bytes,avg-3,linear-3", "bytes.npz", False),
    ],
)
def test_who_may_claim_it(spec, file, is_exact, data, tmp_path):
    source = str(Path(data).with_name(file))
    folder = certify(network(spec), source).write(tmp_path / "DIR")
    assert fields_of(folder)["object"] == (AS_EXACT if is_exact else AS_CODED)
    assert verify(folder, data=source).valid
    other = AS_CODED if is_exact else AS_EXACT
    verdict = verify(forged(folder, tmp_path / "forged", object=other), data=source)
    if is_exact:  # the weaker claim is true as well: certificates of earlier versions make it
        assert verdict.valid, verdict.sentence
    else:
        assert not verdict.valid
        assert verdict.sentence.startswith("object: a float64 evaluation of network.bin may be")


def test_a_user_network_that_only_looks_exact(data, tmp_path):
    """A batch normalisation divides by square roots."""
    module = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(36, 3), torch.nn.BatchNorm1d(3)
    ).eval()
    folder = certify(network_of(module), data).write(tmp_path / "DIR")
    assert fields_of(folder)["object"] == AS_CODED
    place = forged(folder, tmp_path / "forged", object=AS_EXACT)
    assert "may be rounded" in verify(place, module, data).sentence


def test_statements_about_given_weights_do_not_claim_it(data, tmp_path):
    made = certify(network(CHAIN), data, method="holdout")
    folder = made.write(tmp_path / "DIR")
    assert "float32" in fields_of(folder)["object"] and verify(folder, data=data).valid
    verdict = verify(forged(folder, tmp_path / "forged", object=AS_EXACT), data=data)
    assert verdict.sentence.startswith(("assumptions: ", "object: "))


def test_exactness_without_its_assumption_and_the_other_way_round(exact, data, tmp_path):
    fields = fields_of(exact)
    declared = tolerance_assumption(TOLERANCE)
    for assumption in fields["assumptions"]:
        if assumption["text"] == EXACT.text:
            assumption |= {"text": declared.text, "status": declared.status}
    place = Path(shutil.copytree(exact, tmp_path / "one"))
    (place / "certificate.json").write_bytes(dump(fields | {"statement": statement(fields)}))
    assert verify(place, data=data).sentence.startswith("assumptions: ")


def test_a_changed_object_is_no_certificate(exact, data, tmp_path):
    text = AS_EXACT.replace("float64", "float16")
    assert "object" in verify(forged(exact, tmp_path / "F", object=text), data=data).sentence


def test_fixed_parts_in_a_network_of_ones_own_are_not_called_exact(data):
    """Their promises were checked for the sizes of a `net:` name only."""
    torch.manual_seed(0)
    module = build(CHAIN)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.sign() / 4)
    named = Network(architecture(CHAIN), module.state_dict(), CHAIN)
    assert certify(named, data).record.object == AS_EXACT
    assert certify(network_of(module), data).record.object == AS_CODED
