"""`prunecert study TABLE` as typed: files, pages, evidence, bounds from outside, bad input."""

from __future__ import annotations

import csv
import gzip
import json
import shlex
from pathlib import Path

import numpy as np
import pandas
import pytest
from small_tables import naive_psi, noisy, rows_of

from prunecert.cli.app import run
from prunecert.report import write_report
from prunecert.report.contents import read_run
from prunecert.results import archive_bytes, archive_members, evidence_bytes
from prunecert.types import Counts, Margins, Outcomes
from workshop import Answer, fits, flat, tree

GRIDS = {
    "axis.lr": [0.1, 1.0],
    "axis.method": ["magnitude", "random"],
    "axis.sparsity": [0.0, 0.5],
    "axis.seed": [0, 1],
}
SPECS = """
import numpy as np
from prunecert.types import BoundSpec, InputError, Source

def largest_margin(margin):
    return 1.0 * margin

def from_margins(evidence, delta):
    value = float(evidence["margins"].values.max())
    if value > 1:
        raise InputError("the margin is above 1")
    return {"margin": value}

def hold_out_rate(errors, n, delta):
    return 1.0 - (1.0 - errors / (n + 1.0)) * 0.5

def from_counts(evidence, delta):
    counts = evidence["counts"]
    return {"errors": counts.errors, "n": counts.n, "delta": delta}

SOURCE = Source(key="x", authors="A. Nobody", year=2026, title="None")
SPECS = [
    BoundSpec("mine", largest_margin, "order-only", "capacity", "a margin", SOURCE, ("margins",),
              from_margins, unit="none"),
    BoundSpec("halved", hold_out_rate, "certified", "zero-one risk", "no bound", SOURCE,
              ("counts",), from_counts),
]
"""


@pytest.fixture
def drawn():
    """Figures are drawn."""


def measures(row, generator):
    return noisy(row, generator) | {
        "measure.mbp-sketch-as-published": row["gap"] + 0.01 * generator.normal(),
        "measure.neyshabur-2015": generator.normal(),
    }


def write_archive(path: str, members: dict[str, bytes]) -> None:
    Path(path).write_bytes(archive_bytes(members.items()))


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys, request):
    """A folder with table.csv and evidence.tar.xz of its networks; lines typed there.

    Figures take seconds: they are drawn only for tests marked with the fixture `drawn`.
    """
    monkeypatch.chdir(tmp_path)
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("prunecert.study.write_figures", lambda run, folder: [])
    rows = rows_of(measures, GRIDS)
    for row in rows:
        row["run"] = "0" + row["network"][1:]
        row["network"] = row["network"][:-4] + "e" + row["network"][-3:]  # like 0…0e005
    pandas.DataFrame(rows).to_csv("table.csv", index=False)
    once = {row["network"]: row for row in rows}
    write_archive("evidence.tar.xz", {name: evidence(row) for name, row in once.items()})
    Path("mine.py").write_text(SPECS)

    def say(line: str) -> Answer:
        capsys.readouterr()
        code = run(shlex.split(line)[1:])
        return Answer(code, *capsys.readouterr())

    say.rows = rows
    return say


def margin(row) -> float:
    """Exact in single precision, and different for every network."""
    return int(row["network"].replace("e", ""), 16) / 8


def evidence(row) -> bytes:
    generator = np.random.default_rng(int(row["network"].replace("e", ""), 16))
    wrong = np.zeros(row["test_n"], bool)
    wrong[generator.choice(row["test_n"], row["test_errors"], replace=False)] = True
    parts = {
        "outcomes@holdout": Outcomes(wrong, "test"),
        "counts": Counts(row["train_errors"], row["n"], "train"),
        "margins": Margins(np.array([0.0, margin(row)], np.float32), "train"),
    }
    return evidence_bytes(parts, {})


def refused(answer: Answer) -> str:
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("prunecert: ") and answer.err.count("\n") == 1
    assert not Path("study").exists() and not Path("out").exists()
    return answer.err


# --------------------------------------------------------------------------- what is written


def test_the_line_of_the_design_writes_everything(bench, drawn):
    answer = bench("prunecert study table.csv --draws 20")
    assert answer.code == 0, answer.err
    assert fits(answer.out)
    assert "mbp-sketch-as-published" in answer.out and "baseline.random" in answer.out
    names = set(tree(Path("study")))
    assert names >= {"rankings.csv", "environments.csv.gz", "results.json", "study.md"}
    assert {n for n in names if n.endswith(".svg")} == {
        f"figures/{n}.svg"
        for n in (
            "tau-overall", "granulated-overall", "sign-error-overall", "tau-fixed-sparsity",
            "granulated-fixed-sparsity", "sign-error-fixed-sparsity", "pruning",
        )
    }  # fmt: skip
    page = Path("study/study.md").read_text()
    pictures = [line.split("(")[-1].rstrip(")") for line in page.splitlines() if "![" in line]
    assert len(pictures) == 7
    assert all((Path("study") / name).is_file() for name in pictures)
    rankings = list(csv.DictReader(Path("study/rankings.csv").read_text().splitlines()))
    near = next(r for r in rankings if (r["measure"], r["scope"]) == ("near", "overall"))
    expected = naive_psi(bench.rows, "axis.lr", "measure.near")
    assert float(near["psi.lr"]) == pytest.approx(expected, abs=1e-12)
    assert {r["scope"] for r in rankings} == {
        "overall", "sparsity 0", "sparsity 0.5", "fixed sparsity",
    }  # fmt: skip
    environments = gzip.decompress(Path("study/environments.csv.gz").read_bytes()).decode()
    axes = [row["axis"] for row in csv.DictReader(environments.splitlines())]
    assert axes.count("lr") == axes.count("method") == axes.count("sparsity") == len(axes) / 3


def test_the_page_answers_in_computed_sentences(bench):
    bench("prunecert study table.csv --draws 20 --out out")
    page = Path("out/study.md").read_text()
    found = json.loads(Path("out/results.json").read_text())
    for sentence in found["summary"]:
        assert f"- {sentence}" in page
    assert "Only 2 dense configurations" in found["summary"][0]
    assert "track the effect of pruning better than norm bounds?" in found["summary"][1]
    assert "    prunecert study table.csv --draws 20 --out out\n" in page
    rankings = {r["measure"]: r for r in found["study"]["rankings"]}
    best = max(
        (r for r in rankings.values() if r["role"] == "measure"), key=lambda r: r["granulated"]
    )
    assert f"{best['measure']} orders networks best" in page


@pytest.mark.slow
def test_a_report_can_be_made_of_it(bench):
    bench("prunecert study table.csv --draws 20")
    assert read_run("study").title == "Which measures track generalization in table.csv"
    write_report(["study"], "report.html")
    assert "psi along the sparsity" in Path("report.html").read_text()


@pytest.mark.slow
def test_figures_have_the_same_bytes_too(bench, drawn):
    bench("prunecert study table.csv --draws 10")
    first = tree(Path("study"))
    bench("prunecert study table.csv --draws 10")
    assert tree(Path("study")) == first


def test_same_table_and_seed_same_bytes(bench):
    bench("prunecert study table.csv --draws 10 --seed 3")
    first = tree(Path("study"))
    bench("prunecert study table.csv --draws 10 --seed 3")
    assert tree(Path("study")) == first
    bench("prunecert study table.csv --draws 10 --seed 4")
    assert tree(Path("study"))["rankings.csv"] != first["rankings.csv"]


def test_quiet_prints_nothing(bench):
    answer = bench("prunecert study table.csv --draws 2 --quiet")
    assert (answer.code, answer.out, answer.err) == (0, "", "")


# --------------------------------------------------------------------------- evidence


def test_evidence_pairs_the_networks(bench):
    plain = bench("prunecert study table.csv --draws 0 --out plain")
    paired = bench("prunecert study table.csv --draws 0 --out paired --evidence evidence.tar.xz")
    assert (plain.code, paired.code) == (0, 0)
    said = {n: flat(Path(n, "study.md").read_text()) for n in ("plain", "paired")}
    pairs = len({row["network"] for row in bench.rows})
    assert f"evidence.tar.xz has evidence of {pairs} of {pairs} networks." in said["paired"]
    assert "standard error: unpaired for" in said["plain"]
    assert "standard error: paired for" in said["paired"]
    assert "unpaired" not in said["paired"].split("standard error: paired for")[1][:40]


def test_bounds_from_outside_are_ranked_beside_the_others(bench):
    line = "prunecert study table.csv --draws 5 --evidence evidence.tar.xz --bounds mine.py:SPECS"
    answer = bench(line)
    assert answer.code == 0, answer.err
    assert "mine" in answer.out and "halved" in answer.out
    written = list(csv.DictReader(Path("study/table.csv").read_text().splitlines()))
    original = list(csv.DictReader(Path("table.csv").read_text().splitlines()))
    assert len(written) == len(bench.rows)
    for row, old, new in zip(bench.rows, original, written):
        assert {k: new[k] for k in old} == old  # hashes too, which look like numbers
        expected = margin(row)
        assert new["measure.mine"] == ("" if expected > 1 else str(expected))
        bound = 1 - (1 - row["train_errors"] / (row["n"] + 1)) / 2
        gap = float(new["measure.halved"]) + row["train_errors"] / row["n"]
        assert 0 <= gap - bound <= 1e-6 + 1e-12  # certificates are rounded up at six digits
    known = sum(margin(row) <= 1 for row in bench.rows)
    said = flat(Path("study/study.md").read_text())
    assert 0 < known < len(bench.rows)
    assert f"it speaks about {known} of {len(bench.rows)} rows (the margin is above 1)" in said
    assert "halved is external (not certified:" in said
    again = bench("prunecert study study/table.csv --draws 5 --out again")
    assert again.code == 0, again.err
    rankings = [Path(n, "rankings.csv").read_text().splitlines() for n in ("study", "again")]
    mine = [[line for line in lines if line.startswith("mine,")] for lines in rankings]
    assert mine[0] == mine[1] != []


def test_a_damaged_member_is_named(bench):
    name = sorted({row["network"] for row in bench.rows})[3]
    members = dict(archive_members("evidence.tar.xz"))
    members[name] = members[name][:200] + b"?" + members[name][201:]
    write_archive("bad.tar.xz", members)
    said = refused(bench("prunecert study table.csv --evidence bad.tar.xz"))
    assert f"bad.tar.xz: member {name}" in said


def test_an_archive_that_is_cut_short_is_one_line(bench):
    Path("bad.tar.xz").write_bytes(Path("evidence.tar.xz").read_bytes()[:-400])
    said = refused(bench("prunecert study table.csv --evidence bad.tar.xz"))
    assert "bad.tar.xz: not an archive of evidence" in said


def test_a_member_that_is_no_evidence_is_named(bench):
    name = bench.rows[0]["network"]
    write_archive("bad.tar.xz", {name: b"hello"})
    said = refused(bench("prunecert study table.csv --evidence bad.tar.xz"))
    assert f"bad.tar.xz: member {name}: not an evidence file" in said


def test_evidence_of_another_table_is_refused(bench):
    row = bench.rows[0]
    errors = row["test_errors"]
    changed = evidence(row | {"test_errors": errors + 1})
    write_archive("bad.tar.xz", {row["network"]: changed})
    said = refused(bench("prunecert study table.csv --evidence bad.tar.xz"))
    assert f"has {errors + 1} errors, row 1 of table.csv has {errors}" in said


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--gap gapp", "table.csv: --gap: no column 'gapp': did you mean gap?"),
        ("--filter some", "--filter 'some': expected one of test, gap, none"),
        ("--bounds mine.py:SPECS", "--bounds: expected --evidence too"),
        ("--bounds mine.py:NONE --evidence evidence.tar.xz", "mine.py has no 'NONE'"),
        ("--evidence none.tar.xz", "none.tar.xz: no such file"),
        ("--evidence mine.py", "mine.py: not an archive of evidence"),
        ("--delta 2 --evidence evidence.tar.xz", "delta"),
        ("--draws -1", "--draws"),
    ],
)
def test_bad_input_is_one_line(bench, options, line):
    assert line in refused(bench(f"prunecert study table.csv {options} --out out"))


def test_a_missing_table_is_one_line(bench):
    assert "none.csv: no such file" in refused(bench("prunecert study none.csv"))


def test_a_bound_whose_column_is_there_is_refused(bench):
    frame = pandas.read_csv("table.csv").assign(**{"measure.mine": 1.0})
    frame.to_csv("table.csv", index=False)
    line = "prunecert study table.csv --evidence evidence.tar.xz --bounds mine.py:SPECS"
    assert "has a column measure.mine already" in refused(bench(line))


def test_evidence_needs_the_names_of_networks(bench):
    pandas.read_csv("table.csv").drop(columns="network").to_csv("table.csv", index=False)
    said = refused(bench("prunecert study table.csv --evidence evidence.tar.xz"))
    assert "table.csv: no column 'network'" in said
