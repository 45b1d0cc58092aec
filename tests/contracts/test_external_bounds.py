"""Statements from outside: shown, judged, never taken for ours; the page about them is true."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from prunecert.bounds import BOUNDS, external
from prunecert.bounds.external import bounds_of_file, installed_bounds
from prunecert.cli.app import run
from prunecert.cli.statements import lines_of
from prunecert.results import evidence_bytes
from prunecert.testing import check_bound, sample_evidence
from prunecert.types import InputError
from workshop import Answer, fits, flat

DOCS = Path(__file__).parents[2] / "docs" / "adding-a-bound.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOCS.read_text(), re.DOTALL)
EXAMPLE = next(text for language, text in BLOCKS if language == "python")
HEAD = """
from dataclasses import replace
from my_bounds import SPECS as PAIRS
from prunecert.bounds import BOUNDS, holdout_upper
((SPEC, TWIN),) = PAIRS
"""


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """A folder with the page's example and evidence of everything; lines typed there."""
    monkeypatch.chdir(tmp_path)
    Path("my_bounds.py").write_text(EXAMPLE)
    Path("evidence.npz").write_bytes(evidence_bytes(sample_evidence(), {}))

    def say(line: str) -> Answer:
        code = run(shlex.split(line)[1:])
        return Answer(code, *capsys.readouterr())

    return say


def write(text: str, name: str = "mine.py") -> None:
    Path(name).write_text(HEAD + text)


def judged(text: str) -> external.ExternalBound:
    """The one statement of a file that ends with this text."""
    write(text)
    (bound,) = bounds_of_file("mine.py:SPECS", check_bound)
    return bound


# --------------------------------------------------------------------------- the page


@pytest.mark.parametrize("line", next(text for lang, text in BLOCKS if lang == "sh").splitlines())
def test_every_line_of_the_page_works(bench, line):
    answer = bench(line)
    assert answer.code == 0, answer.err
    assert fits(answer.out)
    assert "hoeffding" in answer.out and "external" in answer.out
    assert "not certified" not in answer.out


def test_the_number_of_the_page_is_hoeffdings(bench):
    answer = bench(next(t for lang, t in BLOCKS if lang == "sh").splitlines()[1])
    # 0.04 + √(ln 20/2000) = 0.0787023
    assert answer.out == "zero-one risk ≤ 0.078703 (external, certified, hoeffding)\n"


def test_the_last_block_of_the_page_runs(bench):
    last = [text for language, text in BLOCKS if language == "python"][-1]
    Path("check.py").write_text(last)
    done = subprocess.run([sys.executable, "check.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_entry_point_of_the_page_names_the_group():
    toml = next(text for language, text in BLOCKS if language == "toml")
    assert f'[project.entry-points."{external.GROUP}"]' in toml


# --------------------------------------------------------------------------- what it takes


def test_with_a_twin_and_the_suite_it_is_certified(bench):
    bound = judged("SPECS = PAIRS")
    assert (bound.doubt, bound.standing, bound.origin) == ("", "certified", "mine.py:SPECS")
    assert judged("SPECS = tuple(PAIRS)").standing == "certified"
    assert judged("def SPECS():\n    return PAIRS").standing == "certified"


def test_an_assumed_property_makes_it_conditional(bench):
    text = """
from prunecert.types import Assumption
assumed = (*SPEC.assumptions, Assumption("weights are Gaussian", "assumed"))
SPECS = [(replace(SPEC, assumptions=assumed, kind="conditional"), TWIN)]
"""
    assert judged(text).standing == "conditional"
    assert judged(text.replace(', kind="conditional"', "")).standing.startswith("not certified")


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("SPECS = [SPEC]", "it has no twin"),
        (
            "SPECS = [(replace(SPEC, function=lambda errors, n, delta: 1.0), TWIN)]",
            "hoeffding breaks the contract 'monotone'",
        ),
        (
            "SPECS = [(replace(SPEC, function=lambda errors, n, delta: 1 / 0), TWIN)]",
            "hoeffding breaks the contract 'legal arguments'",
        ),
        (
            "SPECS = [(replace(SPEC, function=lambda errors, n, delta, luck: 1.0), TWIN)]",
            "hoeffding breaks the contract 'known arguments': this suite does not know ['luck']",
        ),
        (
            "SPECS = [(SPEC, lambda errors, n, delta: TWIN(errors, n, delta) - 1e-8)]",
            "hoeffding breaks the contract 'twin'",
        ),
        (
            "SPECS = [(SPEC, lambda errors, n, delta: TWIN(errors, n, delta) + 1e-11)]",
            "hoeffding breaks the contract 'twin'",
        ),
        (
            "SPECS = [(SPEC, lambda errors, n: 0)]",
            "hoeffding breaks the contract 'twin': it raises TypeError",
        ),
        (
            "SPECS = [(replace(SPEC, assumptions=()), TWIN)]",
            "hoeffding breaks the contract 'honest kind'",
        ),
        (
            "SPECS = [(replace(SPEC, needs=('horoscope',)), TWIN)]",
            "hoeffding breaks the contract 'result': this suite has no evidence ['horoscope']",
        ),
    ],
)
def test_what_is_in_doubt_is_not_certified(bench, text, doubt):
    bound = judged(text)
    assert bound.doubt.startswith(doubt) and "\n" not in bound.doubt
    answer = bench("prunecert bounds --bounds mine.py:SPECS")
    assert answer.code == 0 and fits(answer.out)
    assert "(not certified: " in flat(answer.out)


def test_a_doubtful_number_says_so(bench):
    write("SPECS = [SPEC]")
    answer = bench("prunecert bound hoeffding --bounds mine.py:SPECS --errors 40 --n 1000")
    assert answer.code == 0
    words = "zero-one risk ≤ 0.078703 (external, not certified: it has no twin, hoeffding)"
    assert flat(answer.out).strip() == words


def test_a_measure_from_outside_bounds_nothing(bench):
    write(
        """
from prunecert.bounds.comparators import neyshabur_2015
row = BOUNDS["neyshabur-2015"]
SPECS = [replace(row, name="my-measure")]
"""
    )
    answer = bench("prunecert bounds evidence.npz --bounds mine.py:SPECS --json")
    lines = {line["name"]: line for line in json.loads(answer.out)["statements"]}
    assert lines["my-measure"]["kind"] == "external, order-only"
    assert lines["my-measure"]["value"] == lines["neyshabur-2015"]["value"]


# --------------------------------------------------------------------------- on evidence


def test_on_evidence_it_stands_among_its_quantity_and_the_doubtful_apart(bench):
    write("SPECS = [(SPEC, TWIN), replace(SPEC, name='doubtful')]")
    bounds = bounds_of_file("mine.py:SPECS", check_bound)
    lines = lines_of(sample_evidence(), 0.05, bounds)
    risks = [line for line in lines if line.quantity == "zero-one risk" and line.value is not None]
    proven = [line for line in risks if line.kind != "external, not certified"]
    assert proven == sorted(proven, key=lambda line: line.value)
    (mine,) = (line for line in lines if line.name == "hoeffding")
    assert (mine.kind, mine.note, mine.origin) == ("external", "certified", "mine.py:SPECS")
    (doubtful,) = (line for line in lines if line.name == "doubtful")
    assert (doubtful.kind, doubtful.note) == ("external, not certified", "it has no twin")
    assert doubtful.value == mine.value
    assert lines.index(doubtful) > max(lines.index(line) for line in proven)


def test_quantities_are_not_mixed(bench):
    """Each is one run of lines, tightest first; nothing proven stands below a measure."""
    lines = lines_of(sample_evidence(), 0.05)
    assert {line.name for line in lines} == set(BOUNDS)
    proven = [line for line in lines if line.kind in ("certified", "conditional")]
    assert proven == lines[: len(proven)]
    seen = list(dict.fromkeys(line.quantity for line in proven))
    assert [q for q, before in zip(_of(proven), ["", *_of(proven)]) if q != before] == seen
    for quantity in seen:
        values = [line.value for line in proven if line.quantity == quantity]
        assert values == sorted(values)
        assert len({line.unit for line in proven if line.quantity == quantity}) == 1
    rest = [line.kind for line in lines[len(proven) :]]
    assert rest == sorted(rest, key=["order-only", "not applicable"].index)


def _of(lines):
    return [line.quantity for line in lines]


def test_the_table_of_evidence_says_what_choosing_costs(bench):
    answer = bench("prunecert bounds evidence.npz --delta 0.01")
    assert answer.code == 0 and fits(answer.out)
    words = flat(answer.out)
    assert "at delta 0.01. Picking the smallest afterwards is one more" in words
    risks = [
        line
        for line in lines_of(sample_evidence(), 0.01)
        if line.quantity == "zero-one risk" and line.kind == "certified"
    ]
    assert (
        f"The smallest of the {len(risks)} on zero-one risk: delta {len(risks) / 100:g}." in words
    )


def test_json_is_the_table(bench):
    answer = bench("prunecert bounds evidence.npz --json --delta 0.01")
    document = json.loads(answer.out)
    assert document["delta"] == 0.01 and fits(answer.err) and "holdout" in answer.err
    assert [line["name"] for line in document["statements"]] == [
        line.name for line in lines_of(sample_evidence(), 0.01)
    ]
    keys = {"name", "kind", "quantity", "unit", "value", "note", "origin"}
    assert all(set(line) == keys for line in document["statements"])


def test_json_of_the_statements(bench):
    write("SPECS = [SPEC]")
    answer = bench("prunecert bounds --json --bounds mine.py:SPECS")
    rows = {row["name"]: row for row in json.loads(answer.out)["statements"]}
    assert set(BOUNDS) < set(rows)
    assert rows["occam"]["origin"] == "prunecert"
    assert rows["hoeffding"]["origin"] == "mine.py:SPECS"
    assert rows["hoeffding"]["standing"] == "not certified: it has no twin"


def test_what_raises_on_this_evidence_does_not_apply(bench):
    write(
        """
def read(evidence, delta):
    return {"errors": evidence["counts"].errors // 0}
SPECS = [replace(SPEC, from_evidence=read)]
"""
    )
    answer = bench("prunecert bounds evidence.npz --bounds mine.py:SPECS")
    assert answer.code == 0
    assert "mine.py:SPECS: hoeffding: ZeroDivisionError" in flat(answer.out)


# --------------------------------------------------------------------------- malformed


@pytest.mark.parametrize("line", ["bounds", "bound hoeffding --errors 1 --n 9", "explain occam"])
@pytest.mark.parametrize(
    ("text", "source", "words"),
    [
        ("", "nowhere.py:SPECS", "nowhere.py: no such file"),
        ("", "mine.py", "'mine.py': expected file.py:NAME"),
        ("", "no_such_module:SPECS", "cannot import no_such_module"),
        ("SPECS = []", "mine.py:ROWS", "mine.py has no 'ROWS'"),
        ("SPECS = []", "mine.py:SPECS", "expected a list of BoundSpec"),
        ("SPECS = SPEC", "mine.py:SPECS", "expected a list of BoundSpec"),
        ("SPECS = 3", "mine.py:SPECS", "mine.py:SPECS: expected a list of BoundSpec"),
        ("SPECS = [SPEC, 'occam']", "mine.py:SPECS", "entry 2 is 'occam': expected a list"),
        ("SPECS = [(SPEC, 7)]", "mine.py:SPECS", "entry 1 is (BoundSpec("),
        ("SPECS = [(TWIN, SPEC)]", "mine.py:SPECS", "entry 1 is (<function"),
        (
            "def SPECS():\n    raise ValueError('first\\nsecond')",
            "mine.py:SPECS",
            "mine.py:SPECS: the function failed: ValueError: first",
        ),
        ("def SPECS(n):\n    return PAIRS", "mine.py:SPECS", "the function failed: TypeError"),
        ("def SPECS():\n    pass", "mine.py:SPECS", "expected a list of BoundSpec"),
        ("SPECS = 1 / 0", "mine.py:SPECS", "cannot import mine.py: ZeroDivisionError"),
        (
            "SPECS = [replace(SPEC, name='occam')]",
            "mine.py:SPECS",
            "'occam' is a statement of prunecert",
        ),
        ("SPECS = [SPEC, SPEC]", "mine.py:SPECS", "'hoeffding' is a statement of mine.py:SPECS"),
        ("SPECS = [replace(SPEC, name='my bound')]", "mine.py:SPECS", "name is 'my bound'"),
        ("SPECS = [replace(SPEC, name=None)]", "mine.py:SPECS", "name is None: expected one word"),
        ("SPECS = [replace(SPEC, kind='proven')]", "mine.py:SPECS", "kind is 'proven': expected"),
        ("SPECS = [replace(SPEC, kind=[])]", "mine.py:SPECS", "kind is []: expected"),
        ("SPECS = [replace(SPEC, function=3)]", "mine.py:SPECS", "function is 3: expected"),
        ("SPECS = [replace(SPEC, function=print)]", "mine.py:SPECS", "function is <built-in"),
        ("SPECS = [replace(SPEC, summary='a\\nb')]", "mine.py:SPECS", "summary is 'a\\nb'"),
        ("SPECS = [replace(SPEC, source='me')]", "mine.py:SPECS", "source is 'me': expected"),
        ("SPECS = [replace(SPEC, needs='counts')]", "mine.py:SPECS", "needs is 'counts'"),
        ("SPECS = [replace(SPEC, assumptions=('iid',))]", "mine.py:SPECS", "assumptions is"),
        ("SPECS = [replace(SPEC, from_evidence=0)]", "mine.py:SPECS", "from_evidence is 0"),
    ],
)
def test_malformed_files_are_refused_in_one_line(bench, line, text, source, words):
    write(text)
    answer = bench(f"prunecert {line} --bounds {source}")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("prunecert: ") and answer.err.count("\n") == 1
    assert words in answer.err


def test_a_function_of_the_users_may_raise_anything(bench):
    write(
        """
def mine(errors, n, delta):
    raise OSError("the moon")
SPECS = [replace(SPEC, function=mine)]
"""
    )
    answer = bench("prunecert bound hoeffding --bounds mine.py:SPECS --errors 1 --n 9")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "prunecert: mine.py:SPECS: hoeffding: OSError: the moon\n"


def test_a_name_that_nobody_has(bench):
    answer = bench("prunecert bound hoefding --bounds my_bounds.py:SPECS --errors 1 --n 9")
    assert answer.code == 2 and "did you mean hoeffding?" in answer.err


# --------------------------------------------------------------------------- installed packages


@pytest.fixture
def installed(bench, monkeypatch):
    """Entry points as a package would have them, of modules in this folder."""
    monkeypatch.syspath_prepend(".")

    def install(**entries: str) -> None:
        points = [EntryPoint(name, value, external.GROUP) for name, value in entries.items()]
        monkeypatch.setattr(external, "entry_points", lambda group: points)

    return install


def test_an_entry_point_offers_its_statements(bench, installed):
    installed(mine="my_bounds:SPECS")
    answer = bench("prunecert bound hoeffding --errors 40 --n 1000")
    assert answer.out == "zero-one risk ≤ 0.078703 (external, certified, hoeffding)\n"
    assert "hoeffding" in bench("prunecert bounds").out
    assert "external" in bench("prunecert bounds evidence.npz").out


def test_a_broken_package_stops_nothing_and_is_named(bench, installed):
    write("SPECS = [replace(SPEC, name='occam')]", "taken.py")
    Path("broken.py").write_text("1 / 0")
    installed(a="broken:SPECS", b="taken:SPECS", c="my_bounds:SPECS", d="my_bounds:NOTHING")
    bounds, sentences = installed_bounds(check_bound)
    assert [bound.spec.name for bound in bounds] == ["hoeffding"]
    assert len(sentences) == 3
    answer = bench("prunecert bounds")
    assert answer.code == 0 and fits(answer.out)
    words = flat(answer.out)
    assert "entry point a (broken:SPECS): cannot be imported: ZeroDivisionError" in words
    assert "entry point b (taken:SPECS): 'occam' is a statement of prunecert" in words
    assert bench("prunecert bound occam --errors 0 --n 9 --bits 1").code == 0


def test_two_origins_cannot_share_a_name(bench, installed):
    installed(mine="my_bounds:SPECS", yours="my_bounds:SPECS")
    bounds, sentences = installed_bounds(check_bound)
    assert len(bounds) == 1
    assert sentences == [
        "entry point yours (my_bounds:SPECS): 'hoeffding' is a statement of entry point mine "
        "(my_bounds:SPECS): expected a name of its own"
    ]
    answer = bench("prunecert bounds --bounds my_bounds.py:SPECS")
    assert answer.code == 2 and "is a statement of entry point mine" in answer.err


# --------------------------------------------------------------------------- still light


def test_it_loads_no_torch(bench):
    script = (
        "import sys\n"
        "from prunecert.cli.app import run\n"
        "code = run('bounds --bounds my_bounds.py:SPECS'.split())\n"
        "assert not {'torch', 'scipy'} & set(sys.modules)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ours_are_never_judged_as_external():
    taken = external.ExternalBound(replace(BOUNDS["occam"]), "somewhere", "")
    with pytest.raises(InputError, match="somewhere: 'occam' is a statement of prunecert"):
        external.distinct([taken])
