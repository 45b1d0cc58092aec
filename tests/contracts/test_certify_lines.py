"""certify, verify and select, typed literally: exit codes, statements, folders (DESIGN)."""

from __future__ import annotations

import json
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import torch
from mpmath import mpf
from safetensors.torch import load_file
from scipy.stats import binom

from prunecert.reference import TWINS
from workshop import certificate, fits, flat

WEIGHTS = 64 * 16 + 16 * 10
FULL = {"certificate.json", "network.bin", "network.safetensors", "evidence.npz"}
DENSE = "dense/model.safetensors"

CERTIFY = (
    "prunecert certify W.safetensors --model mlp:64-16-10 --data digits --delta 0.05 --out DIR"
)
MODES = {
    "occam": "",
    "holdout": "--holdout",
    "disagreement": f"--disagreement {DENSE}",
    "cost-of-pruning": f"--max-drop {DENSE}",
    "per-class": "--per-class",
    "top-k": "--top-k 2",
}


@pytest.mark.parametrize("method", MODES)
def test_certify_then_verify(say, method):
    answer = say(f"{CERTIFY} {MODES[method]}")
    assert answer.code == 0 and fits(answer.out)
    record = certificate("DIR")
    compared = {"dense.bin"} if method in ("disagreement", "cost-of-pruning") else set()
    assert {p.name for p in Path("DIR").iterdir()} == FULL | compared
    assert (record["method"], record["delta"], record["status"]) == (method, 0.05, "certified")
    assert record["statement"] in flat(answer.out)
    assert record["data"]["sample"] == ("train[0:1197]" if method == "occam" else "test[0:600]")
    assert record["data"]["role"] == {"occam": "bound", "disagreement": "unlabeled"}.get(
        method, "holdout"
    )
    if method != "occam":  # about the weights exactly as given
        given, certified = load_file("W.safetensors"), load_file("DIR/network.safetensors")
        assert all(torch.equal(given[name], certified[name]) for name in given)
        assert record["code_bits"] is None

    for line in ("prunecert verify DIR", "prunecert verify DIR --model mlp:64-16-10 --data digits"):
        checked = say(line)
        assert checked.code == 0 and fits(checked.out)
        assert checked.out.startswith("valid\n") and record["statement"] in flat(checked.out)
        declared = [a["text"] for a in record["assumptions"] if a["status"] == "declared"]
        after = flat(checked.out.split("What verify cannot check:")[1])
        assert declared and all(f"- {text}" in after for text in declared)


@pytest.mark.parametrize(
    "data", [b"", b"prunecert/1\n", b"noise" * 50], ids=["empty", "magic", "noise"]
)
def test_verify_says_no_in_one_sentence(say, data):
    say(CERTIFY)
    Path("DIR/network.bin").write_bytes(data)
    answer = say("prunecert verify DIR")
    assert (answer.code, answer.err) == (1, "")
    assert answer.out.startswith("not valid: network.bin: ") and answer.out.count("\n") == 1
    other = say("prunecert verify DIR --model mlp:64-17-10")
    assert other.code == 1 and flat(other.out).startswith("not valid: model: mlp:64-17-10 is not")


def test_certify_prints_two_statements_and_advice(say):
    answer = say(CERTIFY)
    record = certificate("DIR")
    line = record["baselines"]["holdout"]
    assert line["errors"] <= line["n"] == 600
    exact = TWINS["holdout"](errors=line["errors"], n=600, delta=0.05)
    assert exact <= line["risk_bound"] <= exact + mpf("1.001e-6")
    said = flat(answer.out)
    assert f"{line['errors']} errors in 600 of test[0:600]" in said
    assert "bytes dense 4,840" in said and "not computed faster" in said
    assert record["risk_bound"] > 0.5
    bits = {name: int(record["details"]["bits"][name]) for name in record["details"]["bits"]}
    assert (
        sum(bits.values())
        == record["code_bits"]
        == 8 * (Path("DIR/network.bin").stat().st_size - len(b"prunecert/1\n"))
    )
    assert "at these errors" in said and "Use --holdout (here ≤" in said


def test_the_errors_of_a_holdout_are_those_of_stock_torch(say):
    from sklearn.datasets import load_digits

    say(f"{CERTIFY} --holdout")
    bunch = load_digits()
    rows = np.random.RandomState(0).permutation(len(bunch.target))[1197:]
    x = torch.tensor(bunch.data[rows] / 16, dtype=torch.float32)
    w = load_file("DIR/network.safetensors")
    hidden = (x @ w["fc1.weight"].T + w["fc1.bias"]).relu()
    found = (hidden @ w["fc2.weight"].T + w["fc2.bias"]).argmax(1).numpy()
    assert certificate("DIR")["errors"] == int((found != bunch.target[rows]).sum())


def test_code_certificate_with_alternatives_paid_for(say):
    assert say(f"{CERTIFY} --tried 3 --target-error 0.99").code == 0
    record = certificate("DIR")
    assert (record["tried"], record["target"]) == (3, 0.99)
    assert record["selection_bits"] == pytest.approx(np.log2(3), abs=2e-6)
    assert record["selection_bits"] >= np.log2(3)
    say(CERTIFY.replace("DIR", "ONE"))
    assert record["risk_bound"] > certificate("ONE")["risk_bound"]


def test_a_holdout_for_one_of_three_networks_spends_a_third(say):
    say(f"{CERTIFY} --holdout --tried 3")
    record = certificate("DIR")
    exact = TWINS["holdout"](errors=record["errors"], n=600, delta=mpf("0.05") / 3)
    assert exact <= record["risk_bound"] <= exact + mpf("1.001e-6")
    assert record["delta_ledger"][0]["delta"] == pytest.approx(0.05 / 3, rel=1e-12)


def test_target_not_met_exits_1_with_the_files_written(say):
    answer = say(f"{CERTIFY} --holdout --target-error 0.01")
    assert answer.code == 1 and "not met" in answer.out
    assert {p.name for p in Path("DIR").iterdir()} == FULL
    assert say("prunecert verify DIR").code == 0


def test_a_vacuous_certificate_is_valid(say):
    vacuous = CERTIFY.replace("W.safetensors", DENSE).replace(
        "--delta", "--sample train[:20] --delta"
    )
    assert say(vacuous).code == 0
    assert certificate("DIR")["risk_bound"] > 0.9
    assert say("prunecert verify DIR").code == 0


@pytest.mark.parametrize("sample", ["train[:500]", "train[100:700]"])
def test_certify_a_slice(say, sample):
    assert say(f"{CERTIFY} --sample {sample}").code == 0
    low, high = sample[6:-1].split(":")
    record = certificate("DIR")
    assert (record["data"]["sample"], record["n"]) == (
        f"train[{low or 0}:{high}]",
        int(high) - int(low or 0),
    )
    assert say("prunecert verify DIR").code == 0


@pytest.mark.parametrize("mode", ["", "--holdout"])
def test_json_is_exactly_the_written_file(say, mode):
    answer = say(f"{CERTIFY} --json {mode}")
    assert answer.code == 0
    assert answer.out == Path("DIR/certificate.json").read_text()
    assert json.loads(answer.out)["statement"] in flat(answer.err)


def test_quiet_prints_nothing(say):
    for line in (f"{CERTIFY} --quiet", "prunecert verify DIR --quiet"):
        answer = say(line)
        assert (answer.code, answer.out, answer.err) == (0, "", "")


def test_an_earlier_certificate_is_replaced(say):
    assert say(f"{CERTIFY} --max-drop {DENSE}").code == 0
    assert say(f"{CERTIFY} --holdout").code == 0
    assert {p.name for p in Path("DIR").iterdir()} == FULL
    assert certificate("DIR")["method"] == "holdout"


@pytest.mark.parametrize(
    ("mode", "errors", "files"),
    [
        ("", 6, "P.npz"),
        ("--disagreement P-dense.npz", 3, "P.npz --data P-dense.npz"),
        ("--max-drop P-dense.npz", 3, "P.npz --data P-dense.npz"),
        ("--per-class", 6, "P.npz"),
    ],
)
def test_certify_predictions(say, mode, errors, files):
    answer = say(f"prunecert certify --predictions P.npz --delta 0.05 --out DIR {mode}")
    assert answer.code == 0 and fits(answer.out)
    assert [p.name for p in Path("DIR").iterdir()] == ["certificate.json"]
    record = certificate("DIR")
    assert (record["errors"], record["n"], record["network"]) == (errors, 600, None)
    assert say(f"prunecert verify DIR --data {files}").code == 0
    np.savez("P.npz", predictions=np.zeros(600, int), labels=np.arange(600) % 10)
    assert say(f"prunecert verify DIR --data {files}").code == 1


# --------------------------------------------------------------------------- select


def holdout_errors(say, weights: str) -> int:
    say(CERTIFY.replace("W.safetensors", weights).replace("DIR", "H") + " --holdout")
    return certificate("H")["errors"]


LADDER = "ladder/0.5000.safetensors ladder/0.8000.safetensors ladder/0.9500.safetensors"
SELECT = f"prunecert select {LADDER} --model mlp:64-16-10 --data digits"


@pytest.mark.parametrize("correction", ["sequence", "simultaneous"])
@pytest.mark.parametrize(
    "drop", ["", f"--dense {DENSE} --max-drop 0.05"], ids=["error", "error and drop"]
)
def test_select_then_verify(say, correction, drop):
    answer = say(
        f"{SELECT} --target-error 0.06 --delta 0.05 --out DIR --correction {correction} {drop}"
    )
    assert answer.code == 0 and fits(answer.out)
    assert {p.name for p in Path("DIR").iterdir()} >= FULL | {"selection.json"}
    record = certificate("DIR")
    assert record["risk_bound"] == record["target"] == 0.06
    rows = record["details"]["sequence"]
    assert rows == json.loads(Path("DIR/selection.json").read_text())["sequence"]
    share = 0.05 if correction == "sequence" else 0.05 / 3
    p_values = [binom.cdf(row["errors"], 600, 0.06) for row in rows]
    assert (
        [row["accepted"] for row in rows] == [p <= share for p in p_values] == [True, True, False]
    )
    for row, p_value, sparsity in zip(rows, p_values, ("0.5", "0.8", "0.95"), strict=True):
        assert p_value <= row["p_value"] <= p_value + 1.001e-6
        assert row["sparsity"] == round(
            int(Fraction(sparsity) * WEIGHTS + Fraction(1, 2)) / WEIGHTS, 6
        )
    chosen, certified = load_file("ladder/0.8000.safetensors"), load_file("DIR/network.safetensors")
    assert all(torch.equal(chosen[name], certified[name]) for name in chosen)
    checked = say("prunecert verify DIR")
    assert checked.code == 0 and record["statement"] in flat(checked.out)


def test_select_by_the_drop_alone(say):
    answer = say(f"{SELECT} --dense {DENSE} --max-drop 0.05 --delta 0.05 --out DIR")
    assert answer.code == 0 and fits(answer.out)
    record = certificate("DIR")
    assert (record["quantity"], record["risk_bound"]) == ("risk increase", 0.05)
    assert say("prunecert verify DIR").code == 0


def test_two_methods_are_two_sequences_at_half_of_delta(say):
    assert (
        say(
            f"{SELECT} --target-error 0.06 --out DIR".replace(
                "--model", "random/0.5000.safetensors random/0.8000.safetensors --model"
            )
        ).code
        == 0
    )
    record = certificate("DIR")
    assert [item["delta"] for item in record["delta_ledger"]] == [0.025, 0.025]
    assert len(record["details"]["sequence"]) == 5
    assert say("prunecert verify DIR").code == 0


def test_select_accepts_nothing(say):
    errors = holdout_errors(say, "ladder/0.5000.safetensors")
    target = round((errors + 2) / 600, 6)  # above the rate, too near to be shown
    answer = say(f"{SELECT} --target-error {target} --delta 0.05 --out DIR")
    assert answer.code == 1 and fits(answer.out)
    assert [p.name for p in Path("DIR").iterdir()] == ["selection.json"]
    said = flat(answer.out)
    passing = max(k for k in range(600) if binom.cdf(k, 600, target) <= 0.05)
    assert f"{errors} errors on 600 samples, {passing} would have passed" in said
    needed = int(said.split("rate ")[1].split(" hold-out")[0].replace(",", ""))
    assert binom.cdf(ceil(Fraction(errors, 600) * needed), needed, target) <= 0.05 * (1 + 1e-9)
    assert say("prunecert verify DIR").code == 1


def test_what_would_have_passed_is_said_at_the_share_of_delta(say):
    target = round((holdout_errors(say, "ladder/0.5000.safetensors") + 2) / 600, 6)
    answer = say(f"{SELECT} --target-error {target} --correction simultaneous --out DIR")
    passing = max(k for k in range(600) if binom.cdf(k, 600, target) <= 0.05 / 3)
    assert answer.code == 1 and f", {passing} would have passed" in flat(answer.out)


def test_select_json(say):
    answer = say(f"{SELECT} --target-error 0.06 --out DIR --json")
    assert answer.out == Path("DIR/certificate.json").read_text()
    answer = say(f"{SELECT} --target-error 0.01 --out NONE --json")
    assert (answer.code, answer.out) == (1, Path("NONE/selection.json").read_text())
    assert "Nothing accepted" in answer.err
    answer = say(f"{SELECT} --target-error 0.06 --out DIR --quiet")
    assert (answer.code, answer.out, answer.err) == (0, "", "")


def test_select_predictions(say):
    answer = say("prunecert select P-dense.npz P.npz --target-error 0.05 --delta 0.05 --out DIR")
    assert answer.code == 0 and fits(answer.out)
    record = certificate("DIR")
    assert [row["errors"] for row in record["details"]["sequence"]] == [3, 6]
    assert say("prunecert verify DIR --data P.npz").code == 0
    assert say("prunecert verify DIR --data P-dense.npz").code == 1
