"""The 34 measures: each against a twin of one line, on a network whose norms are whole numbers."""

import doctest
import inspect
import math
from dataclasses import replace

import numpy as np
import pytest

from prunecert.bounds import measures
from prunecert.bounds.measure_rows import MEASURE_ROWS, tenth_percentile
from prunecert.bounds.table import evaluate
from prunecert.types import CapacityMeasure, InputError, Margins, NotApplicable, WeightMeasures

ROWS = {row.name: row for row in MEASURE_ROWS}

# W = diag(3, 4), (4 4; 0 0) and W⁰ = diag(1, 4), (4 3; 0 0): the second layer as a convolution
# whose operator norm is twice that of its kernel
FIRST, SECOND = np.diag([3.0, 4.0]), np.array([[4.0, 4.0], [0.0, 0.0]])
START = np.diag([1.0, 4.0]), np.array([[4.0, 3.0], [0.0, 0.0]])
F = [5.0, math.sqrt(32)]
S = [4.0, math.sqrt(32)]
O = [4.0, 2 * math.sqrt(32)]  # noqa: E741
DF, DS, DO = [2.0, 1.0], [2.0, 1.0], [2.0, 3.0]
MOVED = np.array([2.0, 0, 0, 0, 0, 1.0, 0, 0])
SIGMA, BY_SIZE, PATHS, OMEGA, N = 0.25, 0.5, 9.0, 8, 40
GAMMA = 1.5
MARGINS = np.r_[[-2.0, 0.5, 1.0, GAMMA], np.linspace(2.0, 9.0, N - 4)][::-1]  # 4th of 40

PART = WeightMeasures(
    names=("a", "b"),
    parameters=OMEGA,
    frobenius_norm=np.array(F),
    spectral_norm=np.array(S),
    operator_norm=np.array(O),
    distance_frobenius_norm=np.array(DF),
    distance_spectral_norm=np.array(DS),
    distance_operator_norm=np.array(DO),
    path_norm=PATHS,
    sigma_estimate=SIGMA,
    magnitude_sigma_estimate=BY_SIZE,
    magnitude_log_sum=float(np.log(1e-6 + 0.25 * MOVED**2).sum()),
    sample="train",
)
EVIDENCE = {"weightmeasures": PART, "margins": Margins(MARGINS, "train")}


def log(x):
    return math.log(x / N) / 2


def root(x):
    return math.sqrt(x / N)


def by_magnitude(squares):
    top = 1e-6 + (0.25 + 1) * squares / OMEGA
    logs = [math.log(top / (1e-6 + 0.25 * m * m)) for m in MOVED]
    return root(math.fsum(logs) / 4 + math.log(N / 0.5) + 10)


FF = 25.0 + 32.0  # ‖w‖²
TWINS = {
    "params": root(8),
    "inverse-margin": root(4 / 9),
    "log-spec-init-main": log(16 * 32 * (4 / 16 + 1 / 32) / 2.25),
    "log-spec-init-main-fft": log(16 * 128 * (4 / 16 + 1 / 128) / 2.25),
    "log-spec-orig-main": log(16 * 32 * (25 / 16 + 1) / 2.25),
    "log-spec-orig-main-fft": log(16 * 128 * (25 / 16 + 1 / 4) / 2.25),
    "log-prod-of-spec-over-margin": log(16 * 32 / 2.25),
    "log-prod-of-spec-over-margin-fft": log(16 * 128 / 2.25),
    "log-prod-of-spec": log(16 * 32),
    "log-prod-of-spec-fft": log(16 * 128),
    "fro-over-spec": root(25 / 16 + 1),
    "fro-over-spec-fft": root(25 / 16 + 1 / 4),
    "log-sum-of-spec-over-margin": log(2 * math.sqrt(16 * 32 / 2.25)),
    "log-sum-of-spec-over-margin-fft": log(2 * math.sqrt(16 * 128 / 2.25)),
    "log-sum-of-spec": log(2 * math.sqrt(16 * 32)),
    "log-sum-of-spec-fft": log(2 * math.sqrt(16 * 128)),
    "log-prod-of-fro-over-margin": log(25 * 32 / 2.25),
    "log-prod-of-fro": log(25 * 32),
    "log-sum-of-fro-over-margin": log(2 * math.sqrt(25 * 32 / 2.25)),
    "log-sum-of-fro": log(2 * math.sqrt(25 * 32)),
    "fro-dist": root(5),
    "dist-spec-init": root(5),
    "dist-spec-init-fft": root(13),
    "param-norm": root(FF),
    "path-norm-over-margin": root(9 / 2.25),
    "path-norm": root(9),
    "pacbayes-init": root(5 / (4 / 16) + math.log(N / 0.25) + 10),
    "pacbayes-orig": root(FF / (4 / 16) + math.log(N / 0.25) + 10),
    "pacbayes-flatness": root(16),
    "pacbayes-mag-init": by_magnitude(5.0),
    "pacbayes-mag-orig": by_magnitude(FF),
    "pacbayes-mag-flatness": root(4),
    "l2": root(math.sqrt(FF)),
    "l2-dist": root(math.sqrt(5)),
}


def test_the_norms_used_here():
    for kernel, start, frobenius, spectral, df, ds in zip((FIRST, SECOND), START, F, S, DF, DS):
        assert np.linalg.norm(kernel) == pytest.approx(frobenius, rel=1e-14)
        assert np.linalg.norm(kernel, 2) == pytest.approx(spectral, rel=1e-14)
        assert np.linalg.norm(kernel - start) == pytest.approx(df, rel=1e-14)
        assert np.linalg.norm(kernel - start, 2) == pytest.approx(ds, rel=1e-14)


def test_there_are_34():
    assert len(MEASURE_ROWS) == len(ROWS) == 34
    assert set(ROWS) == {f"measure-{name}" for name in TWINS}


@pytest.mark.parametrize("name", TWINS)
def test_against_its_twin(name):
    found = evaluate(ROWS[f"measure-{name}"], EVIDENCE, 0.05)
    assert isinstance(found, CapacityMeasure)
    assert found.value == pytest.approx(TWINS[name], rel=1e-12)


@pytest.mark.parametrize("row", MEASURE_ROWS, ids=lambda row: row.name)
def test_rows_are_complete(row):
    assert row.kind == "order-only"
    assert row.unit == ("natural log" if "-log-" in row.name else "a score")
    assert len(row.summary) < 80 and row.summary[-1] != "."
    assert row.source.equation and row.source.deviation
    documentation = inspect.getdoc(row.function)
    for heading in ("Statement", "Symbols", "Source", "Example"):
        assert f"**{heading}" in documentation
    parameters = inspect.signature(row.function).parameters.values()
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty for p in parameters)


def test_every_example_in_a_docstring_is_true():
    results = doctest.testmod(measures)
    assert (results.failed, results.attempted) == (0, 26)


# --------------------------------------------------------------------------- laws


def value(name, **fields):
    part = replace(PART, **fields)
    return evaluate(ROWS[f"measure-{name}"], EVIDENCE | {"weightmeasures": part}, 0.05).value


@pytest.mark.parametrize(
    "name", ["log-prod-of-spec", "log-sum-of-spec", "log-prod-of-spec-over-margin"]
)
def test_products_do_not_see_which_layer_is_large(name):
    scaled = np.array(S) * [3.0, 1 / 3]
    assert value(name, spectral_norm=scaled) == pytest.approx(TWINS[name], rel=1e-12)


@pytest.mark.parametrize("name", ["fro-over-spec", "fro-over-spec-fft"])
def test_stable_ranks_do_not_see_the_scale_of_a_layer(name):
    scale = np.array([3.0, 0.1])
    scaled = {
        field: getattr(PART, field) * scale
        for field in ("frobenius_norm", "spectral_norm", "operator_norm")
    }
    assert value(name, **scaled) == pytest.approx(TWINS[name], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "factor"),
    [("inverse-margin", 2.0), ("path-norm-over-margin", 2.0), ("pacbayes-flatness", 1.0)],
)
def test_halving_every_margin_doubles_what_divides_by_it(name, factor):
    halved = EVIDENCE | {"margins": Margins(MARGINS / 2)}
    found = evaluate(ROWS[f"measure-{name}"], halved, 0.05).value
    assert found == pytest.approx(factor * TWINS[name], rel=1e-12)


@pytest.mark.parametrize("row", MEASURE_ROWS, ids=lambda row: row.name)
def test_more_samples_make_every_measure_smaller(row):
    four = EVIDENCE | {"margins": Margins(np.repeat(MARGINS, 4))}
    before, after = evaluate(row, EVIDENCE, 0.05).value, evaluate(row, four, 0.05).value
    if row.unit == "natural log":
        assert before - after == pytest.approx(math.log(2), rel=1e-12)
    elif "pacbayes" in row.name and "flatness" not in row.name:
        shift = math.log(4) / (4 * N)  # ln(n/sigma) has n in it
        assert after**2 == pytest.approx(before**2 / 4 + shift, rel=1e-12)
    else:
        assert before / after == pytest.approx(2, rel=1e-12)


# --------------------------------------------------------------------------- what says nothing

READS = {
    "distance_frobenius_norm": {
        "log-spec-init-main", "log-spec-init-main-fft", "fro-dist", "pacbayes-init",
        "pacbayes-mag-init", "l2-dist",
    },
    "distance_spectral_norm": {"dist-spec-init"},
    "distance_operator_norm": {"dist-spec-init-fft"},
    "operator_norm": {name for name in TWINS if "-fft" in name} - {"dist-spec-init-fft"},
    "path_norm": {"path-norm", "path-norm-over-margin"},
    "sigma_estimate": {"pacbayes-init", "pacbayes-orig", "pacbayes-flatness"},
    "magnitude_sigma_estimate": {name for name in TWINS if "mag" in name},
    "magnitude_log_sum": {"pacbayes-mag-init", "pacbayes-mag-orig"},
}  # fmt: skip


@pytest.mark.parametrize("field", READS)
def test_what_was_not_measured_is_not_applicable_with_a_reason(field):
    evidence = EVIDENCE | {"weightmeasures": replace(PART, **{field: None})}
    silent = set()
    for name in TWINS:
        found = evaluate(ROWS[f"measure-{name}"], evidence, 0.05)
        if isinstance(found, NotApplicable):
            silent.add(name)
            assert len(found.reason) > 20
        else:
            assert found.value == pytest.approx(TWINS[name], rel=1e-12)
    assert silent == READS[field]


def test_a_margin_that_is_not_positive_is_said_and_not_made_positive():
    evidence = EVIDENCE | {"margins": Margins(MARGINS - GAMMA)}
    for name in TWINS:
        found = evaluate(ROWS[f"measure-{name}"], evidence, 0.05)
        assert isinstance(found, NotApplicable) == ("margin" in name or "-main" in name), name


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        (("log-prod-of-spec", "fro-over-spec"), {"spectral_norm": np.array([0.0, 1.0])}),
        (("log-prod-of-fro",), {"frobenius_norm": np.array([0.0, 1.0])}),
        (("log-spec-init-main",), {"distance_frobenius_norm": np.zeros(2)}),
        (("pacbayes-mag-orig",), {"magnitude_log_sum": 1e9}),  # the root of a negative number
    ],
)
def test_what_is_no_finite_number_says_nothing(names, fields):
    evidence = EVIDENCE | {"weightmeasures": replace(PART, **fields)}
    for name in names:
        assert isinstance(evaluate(ROWS[f"measure-{name}"], evidence, 0.05), NotApplicable)


def test_a_network_that_never_moved_has_distance_zero():
    assert value("fro-dist", distance_frobenius_norm=np.zeros(2)) == 0.0


@pytest.mark.parametrize(
    ("margins", "expected"),
    [
        (range(100, 0, -1), 10.0),
        (range(1, 20), 1.0),
        (range(1, 21), 2.0),
        ([5.0, 3.0, 4.0], 3.0),
        ([math.nan, 3.0], -math.inf),
    ],
)
def test_the_tenth_percentile_is_a_margin_of_the_sample(margins, expected):
    assert tenth_percentile(list(margins)) == expected


@pytest.mark.parametrize(
    ("function", "given", "name"),
    [
        (measures.params, (0, 4), "parameters"),
        (measures.params, (8, 0), "n"),
        (measures.params, (8, 4.0), "n"),
        (measures.inverse_margin, (0.0, 4), "margin"),
        (measures.inverse_margin, (math.nan, 4), "margin"),
        (measures.path_norm, (-1.0, 4), "path_norm"),
        (measures.log_prod_of_spec, ([1.0, 0.0], 4), "spectral_norm"),
        (measures.log_prod_of_spec, ([], 4), "spectral_norm"),
        (measures.log_prod_of_spec, ([[1.0]], 4), "spectral_norm"),
        (measures.fro_dist, ([-1.0], 4), "distance_frobenius_norm"),
        (measures.fro_over_spec, ([1.0], [1.0, 2.0], 4), "frobenius_norm, spectral_norm"),
        (measures.pacbayes_flatness, (0.0, 4), "sigma"),
        (measures.pacbayes_mag_orig, ([1.0], 1, 1.0, math.nan, 4), "magnitude_log_sum"),
    ],
)
def test_illegal_arguments_are_refused_by_name(function, given, name):
    with pytest.raises(InputError, match=f"^{name} must"):
        function(*given)
