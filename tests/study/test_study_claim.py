"""The seed paper's claim on tables where the answer is known."""

from __future__ import annotations

import pytest
from small_tables import GRID, rows_of, table

from prunecert.study.claim import claim_of
from prunecert.study.rankings import ranked

FORM = "measure.mbp-sketch-as-published"
GRIDS = {k: v for k, v in GRID.items() if k != "axis.method"} | {"axis.width": [1, 2, 3, 4]}


def claim(folder, rivals, rows=None, grid=GRIDS):
    """The gap shrinks as pruning goes on; `rivals` says how each measure moves with it."""

    def measures(row, generator):
        effect = -row["axis.sparsity"]
        found = {"gap": effect + 1e-4 * generator.normal()}
        return found | {name: move(effect, generator) for name, move in rivals.items()}

    study = ranked(table(folder, rows or rows_of(measures, grid)), rule="none", draws=60)
    return claim_of(study)


def right(effect, _):
    return effect


def wrong(effect, _):
    return -effect


def blind(effect, generator):
    return generator.normal()


def test_yes_where_it_is_right_and_norms_are_wrong(tmp_path):
    found = claim(tmp_path, {FORM: right, "measure.neyshabur-2015": wrong})
    assert found.answer("mbp-sketch-as-published") == "yes"
    (norm,) = found.against_norms("mbp-sketch-as-published")
    assert (norm.rival, norm.norm_bound, norm.better) == ("neyshabur-2015", True, "yes")
    assert (norm.psi_advantage, norm.error_advantage) == pytest.approx((2.0, 1.0), abs=1e-12)
    assert (norm.psi_low, norm.psi_high) == pytest.approx((2.0, 2.0), abs=1e-12)
    (sentence,) = found.sentences()
    assert "Yes: along sparsity it is better than neyshabur-2015." in sentence
    # the number of nonzeros falls with the gap as well, and says so
    assert sentence.endswith("It is not told apart from the number of nonzeros alone.")


def test_no_where_a_norm_is_right_and_it_is_wrong(tmp_path):
    rivals = {FORM: wrong, "measure.neyshabur-2015": right, "measure.bartlett-2017": wrong}
    found = claim(tmp_path, rivals)
    assert found.answer("mbp-sketch-as-published") == "no"
    (sentence,) = found.sentences()
    assert "worse than neyshabur-2015; not told apart from bartlett-2017." in sentence
    assert sentence.endswith("The number of nonzeros alone is better.")


def test_undecided_where_both_are_noise(tmp_path):
    found = claim(tmp_path, {FORM: blind, "measure.neyshabur-2018": blind})
    assert found.answer("mbp-sketch-as-published") == "undecided"
    (norm,) = found.against_norms("mbp-sketch-as-published")
    assert norm.psi_low < 0 < norm.psi_high


def test_one_norm_bound_that_is_not_beaten_leaves_it_undecided(tmp_path):
    rivals = {FORM: right, "measure.neyshabur-2015": wrong, "measure.bartlett-2017": right}
    assert claim(tmp_path, rivals).answer("mbp-sketch-as-published") == "undecided"


def test_only_pairs_where_both_speak_are_compared(tmp_path):
    """The rival is right about densities 0 and 0.5 and silent at 0.9, where the form errs."""

    def form(effect, _):
        return effect if effect > -0.9 else 10.0

    def rival(effect, _):
        return effect if effect > -0.9 else float("nan")

    found = claim(tmp_path, {FORM: form, "measure.arora-2018": rival})
    (norm,) = found.against_norms("mbp-sketch-as-published")
    assert (norm.psi_advantage, norm.error_advantage) == (0.0, 0.0)
    assert norm.pairs == 12 * 9  # configurations; three seeds by three, one pair of sparsities


def test_every_measure_and_baseline_is_compared_but_what_reads_the_test(tmp_path):
    rivals = {FORM: right, "measure.golowich-2018": wrong, "measure.l2": blind}
    rivals |= {"measure.holdout": right, "measure.mbp-sketch-as-in-theorem": blind}
    found = claim(tmp_path, rivals)
    assert found.forms == ["mbp-sketch-as-published", "mbp-sketch-as-in-theorem"]
    names = [c.rival for c in found.comparisons if c.form == "mbp-sketch-as-published"]
    assert names[0] == "golowich-2018"
    assert {"l2", "baseline.nonzeros", "baseline.random"} < set(names)
    assert "holdout" not in names


def test_no_answer_says_why(tmp_path):
    found = claim(tmp_path, {"measure.neyshabur-2015": right})
    assert "the table has neither mbp-sketch-as-published nor" in found.sentences()[0]
    flat = rows_of(lambda row, _: {FORM: row["gap"]}, {"axis.lr": [0.1, 1.0], "axis.seed": [0, 1]})
    found = claim(tmp_path, {}, flat)
    assert "no two networks differ in sparsity only" in found.sentences()[0]


def test_a_few_configurations_decide_nothing(tmp_path):
    grid = GRIDS | {"axis.lr": [0.1], "axis.width": [1, 2, 3, 4]}
    found = claim(tmp_path, {FORM: right, "measure.neyshabur-2015": wrong}, grid=grid)
    assert (found.cells, found.answer("mbp-sketch-as-published")) == (4, "undecided")
    assert "too few dense configurations are pruned (4)" in found.sentences()[0]
    grid["axis.width"] = [1, 2, 3, 4, 5]
    found = claim(tmp_path, {FORM: right, "measure.neyshabur-2015": wrong}, grid=grid)
    assert (found.cells, found.answer("mbp-sketch-as-published")) == (5, "yes")


def test_one_network_and_what_is_pruned_from_it_have_no_interval(tmp_path):
    grid = {"axis.sparsity": [0.0, 0.5, 0.9], "axis.method": ["a", "b"]}
    found = claim(tmp_path, {FORM: right, "measure.neyshabur-2015": wrong}, grid=grid)
    (norm,) = found.against_norms("mbp-sketch-as-published")
    assert (norm.psi_advantage, norm.psi_low, norm.better) == (2.0, None, "undecided")
