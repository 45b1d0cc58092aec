"""Forgers who know the format: they alter a claim and everything that follows from it.

`tests/certificates` alters one field at a time. Here bound, ledger, statement and hashes are
computed again by our own functions, so only a check of the claim itself can refuse the folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prunecert.api import architecture, certify, verify
from prunecert.api import selection as selecting
from prunecert.api.claims import CLAIMS, Terms, counts_of
from prunecert.api.records import tolerance_assumption
from prunecert.api.selection import Criterion, judged
from prunecert.bounds.holdout import holdout_upper, per_class_upper
from prunecert.certificate import dump, sha256, statement
from prunecert.coding import Choice
from prunecert.data import load_source, take
from prunecert.inversions import round_up
from prunecert.models.weights import safetensors_bytes

Fields = dict[str, Any]
Forge = Callable[[Fields], None]


@pytest.fixture
def forged(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Forge a certificate; the sentence of the refusal, "" where verify accepts."""

    def forge(kind: str, *steps: Forge, data: Any = None) -> str:
        folder = tmp_path / kind
        shutil.copytree(honest / kind, folder)
        fields = json.loads((folder / "certificate.json").read_text())
        with monkeypatch.context() as forger:  # whose own copy of our functions refuses nothing
            forger.setattr(selecting, "_require_densest_first", lambda rows: None)
            for step in steps:
                step(fields)
            fields["statement"] = statement(fields)
            if (folder / "selection.json").exists():
                (folder / "selection.json").write_bytes(dump(_walk(fields)[0].summary))
        (folder / "certificate.json").write_bytes(dump(fields))
        verdict = verify(folder, data=data)
        return "" if verdict.valid else verdict.sentence

    return forge


def _walk(fields: Fields) -> Any:
    details = fields["details"]
    limits = Criterion(details.get("target_error"), details.get("max_drop"))
    correction = {"fixed-sequence": "sequence"}.get(fields["method"], fields["method"])
    return judged(details["sequence"], fields["n"], limits, fields["delta"], correction)


def _selected_again(fields: Fields) -> None:
    """Everything that follows from the rows of a selection."""
    _, claim = _walk(fields)
    assert claim is not None
    fields["errors"], fields["risk_bound"] = claim.errors, claim.risk_bound
    fields["target"] = fields["details"].get("target_error")
    fields["delta_ledger"] = [{"item": item, "delta": delta} for item, delta in claim.ledger]
    fields["details"] |= claim.details


def test_the_forger_starts_from_certificates_that_verify(forged, honest):
    for kind in ("occam", "holdout", "cost-of-pruning", "selection", "drop"):
        assert forged(kind) == ""
    assert forged("predictions", data=str(honest / "P4.npz")) == ""


# --------------------------------------------------------------------------- what was counted


def test_a_tolerance_of_zero_with_its_assumption(forged):
    def forge(fields: Fields) -> None:
        ours = tolerance_assumption(fields["margin_tolerance"]).text
        fields["margin_tolerance"] = 0.0
        for assumption in fields["assumptions"]:
            if assumption["text"] == ours:
                assumption["text"] = tolerance_assumption(0.0).text

    assert "margin_tolerance" in forged("occam", forge)


@pytest.mark.parametrize("role", ["train", "bound", "prior"])
def test_a_holdout_in_another_role(forged, role):
    assert "role" in forged("holdout", lambda fields: fields["data"].update(role=role))


def test_a_larger_sample_than_was_counted(forged):
    assert "data" in forged("holdout", lambda fields: fields["data"].update(n=10**9))


def test_a_class_without_samples_is_not_dropped(ladder, tmp_path):
    """It has no bound but 1, so a forger would rather not have it in the list."""
    sample = take(load_source("digits"), "test", "holdout")
    rows = torch.cat([x for x, _ in sample.stored(100)]), torch.from_numpy(sample.labels)
    data = tuple(part[rows[1] != 9] for part in rows)
    issued = certify(ladder[0], data, method="per-class")
    assert issued.risk_bound == 1.0
    folder = issued.write(tmp_path / "dropped")
    fields = json.loads((folder / "certificate.json").read_text())
    classes = fields["details"]["per_class"]
    assert classes.pop()["n"] == 0
    bounds = per_class_upper([c["errors"] for c in classes], [c["n"] for c in classes], 0.05)
    for row, bound in zip(classes, bounds):
        row["risk_bound"] = round_up(float(bound))
    fields["risk_bound"] = max(row["risk_bound"] for row in classes)
    fields["delta_ledger"][0]["item"] = fields["delta_ledger"][0]["item"].replace("10", "9")
    fields["statement"] = statement(fields)
    (folder / "certificate.json").write_bytes(dump(fields))
    assert "recount: class" in verify(folder, "mlp:64-16-10", data).sentence


@pytest.mark.parametrize(("factor", "refused"), [(0.99, True), (1.0, False), (1.01, False)])
def test_draws_that_were_right_more_often_than_they_are(tmp_path, factor, refused):
    """The mean logarithm decides, not the sum of the errors, which the forger leaves as it is."""
    folder = tmp_path / "forged"
    shutil.copytree(Path(__file__).parents[1] / "golden" / "0.1.0" / "pac-bayes-kl", folder)
    fields = json.loads((folder / "certificate.json").read_text())
    fields["details"]["mean_log_right"] *= factor
    claim = CLAIMS["pac-bayes-kl"](counts_of(fields), Terms(fields["delta"]))
    fields["risk_bound"] = claim.risk_bound
    fields["details"] |= claim.details
    fields["statement"] = statement(fields)
    (folder / "certificate.json").write_bytes(dump(fields))
    verdict = verify(folder)
    assert verdict.valid is not refused
    assert verdict.sentence.startswith("recount: mean_log_right is") is refused


# --------------------------------------------------------------------------- the hold-out line


def _line(fields: Fields, **changed: Any) -> None:
    line = fields["baselines"]["holdout"]
    line |= changed
    line["risk_bound"] = round_up(holdout_upper(line["errors"], line["n"], line["delta"]))


def test_a_holdout_line_at_a_delta_of_its_own(forged):
    assert "baselines" in forged("occam", lambda fields: _line(fields, delta=0.999999))


def test_a_holdout_line_from_the_training_sample(forged):
    trained = take(load_source("digits"), "train", "holdout")

    def forge(fields: Fields) -> None:
        same = {"sample": trained.name, "sha256": trained.sha256, "n": trained.n}
        _line(fields, errors=fields["errors"], **same)

    assert "baselines" in forged("occam", forge)


def test_a_holdout_line_beside_a_holdout(forged, honest):
    line = json.loads((honest / "occam" / "certificate.json").read_text())["baselines"]
    assert "baselines" in forged("holdout", lambda fields: fields.update(baselines=line))


# --------------------------------------------------------------------------- selections


def test_a_sparser_network_that_does_not_exist(forged):
    def forge(fields: Fields) -> None:
        rows = fields["details"]["sequence"]
        rows.append({**rows[-1], "sha256": "ab" * 32, "sparsity": 0.999})

    assert "selected" in forged("selection", forge, _selected_again)


def test_the_network_called_sparser_than_it_is(forged):
    def forge(fields: Fields) -> None:
        fields["details"]["sequence"][-1]["sparsity"] = 0.9999

    assert "sparsity" in forged("selection", forge, _selected_again)


def test_the_network_listed_twice_once_without_errors(forged):
    def forge(fields: Fields) -> None:
        last = fields["details"]["sequence"][-1]
        bad, good = {**last, "sequence": "a", "errors": 600}, {**last, "sequence": "b", "errors": 0}
        fields["details"] |= {"sequence": [bad, good], "target_error": 0.01}

    assert "errors" in forged("selection", forge, _selected_again)


def test_an_order_that_suits_the_outcome(forged):
    def forge(fields: Fields) -> None:
        fields["details"]["sequence"].reverse()

    assert "densest first" in forged("selection", forge, _selected_again)


def test_pairs_that_nobody_counted(forged):
    """Without dense.bin in the details the pairs would rest on the forger's word."""

    def forge(fields: Fields) -> None:
        fields["details"].pop("dense")
        fields["details"]["max_drop"] = 1e-4
        for row in fields["details"]["sequence"]:
            row |= {"worse": 0, "better": 300}

    assert "dense" in forged("drop", forge, _selected_again)


def test_pairs_better_than_the_recount(forged):
    def forge(fields: Fields) -> None:
        fields["details"]["max_drop"] = 1e-4
        for row in fields["details"]["sequence"]:
            row |= {"worse": 0, "better": 300}

    assert "recount" in forged("drop", forge, _selected_again)


def test_predictions_called_sparse(forged, honest):
    def forge(fields: Fields) -> None:
        for row in fields["details"]["sequence"]:
            row["sparsity"] = 0.99

    data = str(honest / "P2.npz")
    assert forged("predictions", forge, _selected_again, data=data) != ""


# --------------------------------------------------------------------------- names and files


@pytest.mark.parametrize(
    "name",
    [
        'digits", the network errs on at most 0.01 % of new data. ("',
        "digits\nvalid\n",
        "digits\u202e",
        "digits\x1b[2J",
        "digits\x9b2J",
        "d" * 2000,
        "",
    ],
)
def test_a_name_that_would_speak_for_itself(forged, name):
    sentence = forged("holdout", lambda fields: fields["data"].update(source=name), data="digits")
    assert "data.source" in sentence


def test_a_built_in_model_has_one_name(forged, honest, tmp_path):
    folder = tmp_path / "named"
    shutil.copytree(honest / "holdout", folder)
    fields = json.loads((folder / "certificate.json").read_text())
    fields["model"]["spec"] = "resnet-20"
    (folder / "certificate.json").write_bytes(dump(fields))
    assert "model" in verify(folder, "mlp:64-16-10").sentence


def test_a_field_written_twice(honest, tmp_path):
    """Readers differ on which of the two they show."""
    folder = tmp_path / "twice"
    shutil.copytree(honest / "holdout", folder)
    text = (folder / "certificate.json").read_text()
    text = text.replace('"risk_bound"', '"risk_bound": 0.001,\n  "risk_bound"', 1)
    (folder / "certificate.json").write_text(text)
    assert "twice" in verify(folder).sentence


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("make", [_endless, os.mkfifo, _sparse, Path.mkdir])
@pytest.mark.parametrize("name", ["certificate.json", "network.bin", "evidence.npz", "dense.bin"])
def test_a_file_that_never_ends(honest, tmp_path, make, name):
    folder = tmp_path / "endless"
    shutil.copytree(honest / "cost-of-pruning", folder)
    (folder / name).unlink()
    make(folder / name)
    assert name in verify(folder).sentence


def test_another_code_of_the_same_network_pays_for_its_own_bytes(honest, tmp_path):
    """A longer codeword is a codeword too: its length, not the shortest one, must be recorded."""
    folder = tmp_path / "longer"
    shutil.copytree(honest / "occam", folder)
    built = architecture("mlp:64-16-10")
    decoded = built.decode((folder / "network.bin").read_bytes())
    raw = {name: Choice(c.mask, "raw") for name, c in decoded.choices.items() if c.values}
    longer = built.encode(decoded.tensors, raw)
    assert len(longer.data) > len((folder / "network.bin").read_bytes())
    assert all(
        torch.equal(t, decoded.tensors[n]) for n, t in built.decode(longer.data).tensors.items()
    )
    fields = json.loads((folder / "certificate.json").read_text())
    fields["network"]["sha256"] = sha256(longer.data)
    (folder / "network.bin").write_bytes(longer.data)
    (folder / "certificate.json").write_bytes(dump(fields))
    assert sha256(safetensors_bytes(decoded.tensors)) == fields["network"]["safetensors_sha256"]
    assert not verify(folder).valid
