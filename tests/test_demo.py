"""What a newcomer sees first: `prunecert demo`, run for real, once."""

from __future__ import annotations

import json
import re

import pytest

from prunecert.cli.app import run
from prunecert.demo import METHODS, SPARSITIES, TARGET


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "runs"


@pytest.fixture(scope="module")
def printed(demo):
    from _pytest.capture import MultiCapture, SysCapture

    capture = MultiCapture(in_=None, out=SysCapture(1), err=SysCapture(2))
    capture.start_capturing()
    code = run(["demo", "--out", str(demo)])
    out, _ = capture.readouterr()
    capture.stop_capturing()
    assert code == 0
    return out


@pytest.fixture(scope="module")
def results(demo, printed):
    return json.loads((demo / "results.json").read_text())


def test_one_table_of_80_columns_a_verdict_and_the_verify_line(printed, demo):
    lines = printed.splitlines()
    table = [line for line in lines if re.match(r" *(sparsity|0\.\d\d)", line)]
    assert len(table) == 1 + len(SPARSITIES)
    assert max(map(len, table)) <= 80
    assert "of the weights can go" in printed
    assert f"verify {demo / 'certificate'}" in printed


def test_both_certificates_keep_their_promise_and_verify(demo, printed):
    selected = json.loads((demo / "certificate" / "certificate.json").read_text())
    assert selected["method"] == "fixed-sequence"
    assert selected["risk_bound"] == TARGET == 0.08
    assert sum(item["delta"] for item in selected["delta_ledger"]) == pytest.approx(0.05, abs=1e-15)
    assert len(selected["delta_ledger"]) == len(METHODS) == 4
    code = json.loads((demo / "code-certificate" / "certificate.json").read_text())
    assert code["method"] == "occam"
    assert code["risk_bound"] <= 0.60
    assert run(["verify", str(demo / "certificate"), "--quiet"]) == 0
    assert run(["verify", str(demo / "code-certificate"), "--quiet"]) == 0


def test_the_selected_rung_is_the_sparsest_accepted(demo, results):
    selected = json.loads((demo / "certificate" / "certificate.json").read_text())["details"]
    accepted = [n for n in results["networks"] if n["accepted"]]
    assert selected["sparsity"] == max(n["sparsity"] for n in accepted)
    assert len(results["networks"]) == len(METHODS) * len(SPARSITIES)


def test_the_seed_papers_bound_stands_beside_them_at_its_true_value(results):
    (row,) = [r for r in results["bounds"] if r["name"] == "mbp-sketch-as-published"]
    assert row["kind"] == "order-only"
    assert row["value"] > 1


def test_three_figures_and_every_number_of_the_table_are_in_results(results, printed):
    assert len(results["figures"]) == 3
    bounds = [100 * r["value"] for r in results["bounds"]]
    cells = re.findall(r"(\d+\.\d) %", "\n".join(printed.splitlines()[2 : 2 + len(SPARSITIES)]))
    assert len(cells) == len(METHODS) * len(SPARSITIES)
    for cell in map(float, cells):  # rounded outward at one digit
        assert any(cell - 0.1 < bound <= cell for bound in bounds)


def test_run_again_it_reads_what_is_there_and_says_the_same(demo, printed, results):
    page = (demo / "report.html").read_bytes()
    assert run(["demo", "--out", str(demo), "--quiet"]) == 0
    assert json.loads((demo / "results.json").read_text()) == results
    assert (demo / "report.html").read_bytes() == page
