"""The sentence, the ledger, the rounding and the bytes of every kind of certificate."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from json_leaves import leaves, replaced
from kinds import KINDS
from mpmath import mp, mpf

from prunecert.certificate import dump, parse, rounded_up, statement
from prunecert.reference import TWINS
from workshop import tree


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def text(kind, shelf) -> str:
    return (shelf / kind / "certificate.json").read_text()


@pytest.fixture
def document(text) -> dict[str, Any]:
    return json.loads(text)


# --------------------------------------------------------------------------- the sentence


def test_the_statement_is_generated_from_the_other_fields(document):
    assert statement({**document, "statement": "anything"}) == document["statement"]


def test_the_statement_is_one_sentence_with_its_numbers_in_full(document):
    said = document["statement"]
    assert said.endswith(").") and "\n" not in said and said.count(". ") == 0
    shares = [Decimal(word) / 100 for word in re.findall(r"([\d.]+) %", said)]
    if document["quantity"].endswith(" loss"):
        shares.append(Decimal(re.findall(r"of at most ([\d.]+) on", said)[0]))
    assert shares[:2] == [Decimal(str(document[name])) for name in ("confidence", "risk_bound")]
    samples = f"the {document['n']:,} samples {document['data']['sample']} "
    second = document["details"].get("second")
    if second is None:
        assert f"{samples}of " in said
    else:
        what = "inputs" if second["role"] == "unlabeled" else "samples"
        assert f"{samples}and the {second['n']:,} {what} {second['sample']} of " in said
    assert f'"{document["data"]["source"]}"' in said


NAMED = {
    "confidence": 0.5,
    "risk_bound": 0.123456,
    "n": 1_234_567,
    "data.sample": "test[7:9]",
    "data.source": "elsewhere",
    "method": "holdout",
}
NAMED_BY = {
    "occam": {"errors": 4321, "code_bits": 77},
    "holdout": {"errors": 4321, "method": "disagreement"},
    "top-k": {"errors": 4321, "details.k": 5},
    "per-class": {"errors": 4321},
    "disagreement": {"errors": 4321},
    "cost-of-pruning": {"details.worse": 99, "details.better": 98},
    "bounded-loss": {"details.mean": 0.25, "details.loss": "other"},
    "train-and-holdout": {
        "errors": 4321,
        "code_bits": 77,
        "details.holdout_errors": 99,
        "details.second.n": 98,
        "details.second.sample": "train[7:9]",
    },
    "code-or-holdout": {"errors": 4321, "code_bits": 77, "details.holdout_errors": 99},
    "transfer-to-dense": {"errors": 4321, "code_bits": 77, "details.count": 99},
    "transfer-to-pruned": {"errors": 4321, "details.count": 99, "details.second.role": "holdout"},
    "pac-bayes-kl": {"errors": 4321, "details.draws": 99, "details.kl_nats": 7.25},
    "single-draw": {"errors": 4321, "details.log_ratio_nats": -7.25},
    "fixed-sequence": {"details.accepted": 9, "details.networks": 99},
    "simultaneous": {"details.accepted": 9, "details.networks": 99},
}


def test_the_statement_changes_with_every_field_it_names(document):
    for path, value in {**NAMED, **NAMED_BY[document["method"]]}.items():
        assert statement(replaced(document, tuple(path.split(".")), value)) != document["statement"]


def test_the_status_follows_from_the_assumptions(document):
    statuses = {item["status"] for item in document["assumptions"]}
    assert statuses <= {"standing", "by construction", "checked", "declared"}
    assert document["status"] == "certified" and "declared" in statuses


# --------------------------------------------------------------------------- the ledger


def test_the_ledger_sums_to_delta(document):
    shares = [item["delta"] for item in document["delta_ledger"]]
    assert all(share > 0 for share in shares)
    assert math.fsum(shares) == pytest.approx(document["delta"], rel=1e-15)
    assert Decimal(str(document["confidence"])) + Decimal(str(document["delta"])) == 1


# --------------------------------------------------------------------------- the rounding


def exact_bound(document: dict[str, Any]) -> mpf:
    """The bound by the slow twin, typed out from THEORY 2."""
    details, n, errors = document["details"], document["n"], document["errors"]
    share = mpf(document["delta"]) / document["tried"]
    match document["method"]:
        case "occam":
            bits = document["code_bits"] + document["selection_bits"]
            return TWINS["occam"](errors=errors, n=n, bits=bits, delta=document["delta"])
        case "holdout" | "top-k":
            return TWINS["holdout"](errors=errors, n=n, delta=share)
        case "disagreement":
            return TWINS["disagreement"](count=errors, n=n, delta=share)
        case "cost-of-pruning":
            counts = {name: details[name] for name in ("worse", "better")}
            return TWINS["cost-of-pruning"](**counts, n=n, delta=share)
        case "per-class":
            rows = details["per_class"]
            return max(
                TWINS["holdout"](errors=row["errors"], n=row["n"], delta=share / len(rows))
                for row in rows
            )
        case "bounded-loss":
            mean, variance = details["mean"], details["variance"]
            return TWINS["bounded-loss"](
                empirical_risk=mean, variance=variance, n=n, bits=0, delta=share
            )
        case "train-and-holdout":
            more = {name: details[name] for name in ("holdout_errors", "holdout_n")}
            bits = document["code_bits"]
            return TWINS["train-and-holdout"](errors=errors, n=n, bits=bits, delta=share, **more)
        case "code-or-holdout":
            more = {"errors": details["holdout_errors"], "n": details["holdout_n"]}
            bits = document["code_bits"]
            code = TWINS["occam"](errors=errors, n=n, bits=bits, delta=share / 2)
            return min(code, TWINS["holdout"](**more, delta=share / 2))
        case "transfer-to-dense":
            bits = document["code_bits"]
            first = TWINS["occam"](errors=errors, n=n, bits=bits, delta=share / 2)
            return first + TWINS["disagreement"](
                count=details["count"], n=details["inputs"], delta=share / 2
            )
        case "transfer-to-pruned":
            first = TWINS["holdout"](errors=errors, n=n, delta=share / 2)
            return first + TWINS["disagreement"](
                count=details["count"], n=details["inputs"], delta=share / 2
            )
        case "pac-bayes-kl":
            draws, nats = details["draws"], details["kl_nats"]
            sampling = mpf(document["delta_ledger"][0]["delta"])
            right = details["mean_log_right"]
            assert right <= mp.log1p(-mpf(errors) / (n * draws))  # ln is concave
            gibbs = TWINS["gibbs-product"](mean_log_right=right, draws=draws, delta=sampling)
            assert 0 <= details["gibbs_risk"] - gibbs < mpf("1.01e-9")
            return TWINS["pac-bayes-kl"](
                empirical_risk=details["gibbs_risk"], kl_nats=nats, n=n, delta=share - sampling
            )
        case "single-draw":
            ratio = details["log_ratio_nats"]
            return TWINS["single-draw"](errors=errors, n=n, log_ratio_nats=ratio, delta=share)
    raise AssertionError(document["method"])


def test_the_bound_is_rounded_outward_at_six_digits(document):
    if document["method"] in ("fixed-sequence", "simultaneous"):
        assert document["risk_bound"] == document["details"].get(
            "target_error", document["details"].get("max_drop")
        )
        return
    exact = exact_bound(document)
    assert exact <= document["risk_bound"] <= exact + mpf("1.001e-6")
    line = document["baselines"]["holdout"]
    if line is not None:
        exact = TWINS["holdout"](errors=line["errors"], n=line["n"], delta=line["delta"])
        assert exact <= line["risk_bound"] <= exact + mpf("1.001e-6")


def test_bounds_and_p_values_have_at_most_six_digits(document):
    for path, value in leaves(document):
        if (
            path[-1] in ("risk_bound", "p_value", "sparsity", "selection_bits")
            and value is not None
        ):
            assert Decimal(str(value)).as_tuple().exponent >= -6, path


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (0.123411, 4, "0.1235"),
        (0.1234, 4, "0.1234"),  # a number of four digits stays
        (math.nextafter(0.1234, 1), 4, "0.1235"),
        (math.nextafter(0.1234, 0), 4, "0.1234"),
        (9999.1, 4, "1e+04"),
        (123456, 4, "1.235e+05"),
        (1e-9 / 3, 3, "3.34e-10"),
        (2.0, 1, "2"),
        (-0.123489, 4, "-0.1234"),  # up is towards zero
        (-9999.9, 4, "-9999"),
        (0.0, 4, "0.0"),
        (math.inf, 4, "inf"),
    ],
)
def test_a_number_in_a_text_is_never_below_it(value, digits, said):
    assert rounded_up(value, digits) == said
    assert float(said) >= value


# --------------------------------------------------------------------------- the bytes


def test_json_round_trip(text):
    assert dump(parse(text)) == text.encode()


def test_nothing_in_it_depends_on_the_day(document, text):
    assert "NaN" not in text and "Infinity" not in text
    assert not re.search(r"20\d\d-\d\d|\d\d:\d\d:\d\d", text)
    assert set(document["software"]) == {"prunecert", "torch", "constriction"}


def test_same_inputs_same_bytes(kind, shelf, workshop, tmp_path, monkeypatch):
    from prunecert.cli.app import run

    monkeypatch.chdir(shelf)
    words = shlex.split(KINDS[kind].format(shop=workshop))
    assert run([*words, "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert tree(tmp_path / "again") == tree(shelf / kind)


def test_same_bytes_in_another_process_with_other_hashes(shelf, workshop, tmp_path):
    program = "from prunecert.cli import main; main()"
    words = shlex.split(KINDS["occam"].format(shop=workshop))
    subprocess.run(
        [sys.executable, "-c", program, *words, "--out", str(tmp_path / "again"), "--quiet"],
        env=os.environ | {"PYTHONHASHSEED": "4242", "OMP_NUM_THREADS": "1"},
        cwd=shelf,
        check=True,
    )
    assert tree(tmp_path / "again") == tree(shelf / "occam")


def test_the_recorded_hashes_are_those_of_the_files(kind, shelf, document):
    import hashlib

    recorded = {
        "network.bin": (document["network"] or {}).get("sha256"),
        "network.safetensors": (document["network"] or {}).get("safetensors_sha256"),
        "evidence.npz": document["evidence_sha256"],
    }
    found = {
        name: hashlib.sha256(Path(shelf / kind / name).read_bytes()).hexdigest()
        for name in recorded
        if recorded[name] is not None
    }
    assert found == {name: digest for name, digest in recorded.items() if digest is not None}
