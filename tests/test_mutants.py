"""The planted errors of `mutants.py`, each a slow test with its control: unplanted, it passes."""

from __future__ import annotations

import pytest

from mutants import MUTANTS, ROOT, copied, killed, run


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("mutants"))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_each_planted_error_has_one_place_and_its_tests(mutant):
    source = (ROOT / "src" / "prunecert" / mutant.file).read_text()
    assert source.count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert all((ROOT / "tests" / test).exists() for test in mutant.tests.split())


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_planted_error_is_killed(mutant, copy):
    assert run(copy, mutant.tests.split()) == 0, "the tests fail without it"
    assert killed(mutant, copy)
