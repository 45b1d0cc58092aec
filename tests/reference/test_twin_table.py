"""Every twin is deterministic, leaves mpmath's precision alone and shares no code with a bound."""

import ast
from pathlib import Path

import mpmath
import numpy as np
import pytest

import prunecert.reference
from prunecert.reference import TWINS

LAYERS = {"fan_out": [3, 2], "fan_in": [4, 3], "pruning_d": 1.3}
ENTRIES = {"weight": [[0.3, -1.1], [0.7, 0.2]], "drop_probability": [[0.9, 0.3], [0.6, 0.8]]}
CHANGE = {"spectral_norm": [1.7, 0.9], "removed_norm": [0.7, 0.4], "input_norm": 1.1}
LANGUAGE = {
    "mean_bits": 3.7,
    "n": 300,
    "bits": 40,
    "vocabulary": 50,
    "mixing": 0.1,
    "mixings": 10,
    "delta": 0.05,
}

EXAMPLES = {
    "occam": {"errors": 12, "n": 300, "bits": 40, "delta": 0.05},
    "occam-kl": {"errors": 12, "n": 300, "bits": 40, "delta": 0.05},
    "occam-split": {"errors": 12, "n": 300, "bits": 40, "delta": 0.05},
    "compression-theorem": {"errors": 12, "n": 300, "bits": 40, "delta": 0.05},
    "train-and-holdout": {
        "errors": 12,
        "n": 300,
        "bits": 40,
        "holdout_errors": 7,
        "holdout_n": 100,
        "delta": 0.05,
    },
    "code-or-holdout": {
        "errors": 12,
        "n": 300,
        "bits": 40,
        "holdout_errors": 7,
        "holdout_n": 100,
        "delta": 0.05,
    },
    "transfer-to-dense": {
        "errors": 12,
        "n": 300,
        "bits": 40,
        "count": 5,
        "inputs": 200,
        "delta": 0.05,
    },
    "transfer-to-pruned": {"errors": 12, "n": 300, "count": 5, "inputs": 200, "delta": 0.05},
    "hoeffding-bentkus": {"empirical_risk": 0.07, "n": 300, "bits": 40, "delta": 0.05},
    "empirical-bernstein": {
        "empirical_risk": 0.07,
        "variance": 0.03,
        "n": 300,
        "bits": 4,
        "delta": 0.05,
    },
    "bounded-loss": {
        "empirical_risk": 0.07,
        "variance": 0.03,
        "n": 300,
        "bits": 4,
        "delta": 0.05,
    },
    "pac-bayes-kl": {"empirical_risk": 0.07, "kl_nats": 7.3, "n": 300, "delta": 0.05},
    "pac-bayes-catoni": {
        "empirical_risk": 0.07,
        "kl_nats": 7.3,
        "n": 300,
        "beta": 1.3,
        "betas": 10,
        "delta": 0.05,
    },
    "gibbs-sampled": {"empirical_risk": 0.07, "draws": 150, "delta": 0.05},
    "gibbs-product": {"mean_log_right": -0.07, "draws": 150, "delta": 0.05},
    "single-draw": {"errors": 12, "n": 300, "log_ratio_nats": 7.3, "delta": 0.05},
    "majority-vote": {"empirical_risk": 0.07, "kl_nats": 7.3, "n": 300, "delta": 0.05},
    "sample-compression": {"errors": 12, "size": 9, "n": 300, "bits": 4, "delta": 0.05},
    "pick-to-learn": {"size": 9, "n": 300, "delta": 0.05},
    "golowich-mohri": {
        "errors": 12,
        "n": 300,
        "margin": 0.3,
        "classes": 3,
        "input_bound": 1.1,
        "frobenius_norm": [0.1, 0.2],
        "last_row_norm": 0.1,
        "delta": 0.05,
    },
    "language-sampled": LANGUAGE,
    "language-documents": LANGUAGE,
    "language-tokens": LANGUAGE,
    "language-top-k": {"empirical_risk": 0.07, "n": 300, "bits": 40, "delta": 0.05},
    "subsampled-bits": {
        "mean_bits": 3.7,
        "evaluated": 300,
        "vocabulary": 50,
        "mixing": 0.1,
        "mixings": 10,
        "delta": 0.05,
    },
    "holdout": {"errors": 12, "n": 300, "delta": 0.05},
    "top-k": {"errors": 12, "n": 300, "delta": 0.05},
    "per-class": {"errors": [3, 0, 7], "n": [30, 0, 70], "delta": 0.05},
    "disagreement": {"count": 12, "n": 300, "delta": 0.05},
    "cost-of-pruning": {"worse": 6, "better": 4, "n": 300, "delta": 0.05},
    "labelled-transfer": {"risk_bound": 0.1, "better": 4, "n": 300, "delta": 0.05},
    "fixed-sequence": {"errors": [5, 6, 40], "n": 300, "target_error": 0.1, "delta": 0.05},
    "simultaneous": {"errors": [5, 6, 40], "n": 300, "delta": 0.05},
    "p-value": {"errors": 5, "n": 300, "target_error": 0.1},
    "samples-needed": {"target_error": 0.1, "expected_error": 0.03, "delta": 0.05},
    "kept-fraction": {"pruning_d": 1.3},
    "removed-norm-latala": {**LAYERS, "variance": [0.3, 0.2]},
    "removed-norm-gaussian": {**LAYERS, "variance": [0.3, 0.2], "delta": 0.05},
    "removed-norm-bernstein": {**ENTRIES, "delta": 0.05},
    "removed-norm-cumulants": {**ENTRIES, "delta": 0.05},
    "removed-norm-redraws": {"redrawn_norms": [0.3, 0.9, 0.7, 0.4], "delta": 0.4},
    "removed-norm-measured": {"weight": ENTRIES["weight"], "kept": [[0, 1], [0, 0]]},
    "output-change": {**CHANGE, "pruned_norm": [1.3, 0.8]},
    "output-change-at-input": {"layer_change": [0.3, 0.2], "pruned_norm": [1.3, 0.8]},
    "output-change-telescoped": CHANGE,
    "output-change-as-in-paper": CHANGE,
    "output-change-with-biases": {
        **CHANGE,
        "pruned_norm": [1.3, 0.8],
        "bias_norm": [0.3, 0.2],
        "removed_bias_norm": [0.1, 0.0],
    },
    "rounding-norm": {
        "rounding_step": [0.1],
        "nonzeros": [9],
        "row_nonzeros": [2],
        "column_nonzeros": [3],
    },
    "pattern-as-in-paper": {**LAYERS, "lambda_l": [2.0, 3.0]},
    "pattern-gaussian": {**LAYERS, "delta": 0.05},
    "pattern-poisson-binomial": {"drop_probability": [[0.9, 0.3], [0.6, 0.8]], "delta": 0.05},
    "sketch-rows": {"fan_out": [30], "fan_in": [40], "row_nonzeros": [3], "column_nonzeros": [2]},
    "mbp-sketch-as-published": {
        "margins": [0.7, 1.3],
        "fan_out": [3, 2],
        "fan_in": [4, 3],
        "spectral_norm": [1.7, 0.9],
        "input_norm": 1.1,
        "d": [0.0, 5.0, 10.0],
        "removed_norm": [[0.0, 0.0], [0.3, 0.2], [0.9, 0.8]],
        "n": 300,
    },
    "mbp-sketch-as-in-theorem": {
        "margins": [0.7, 1e9],
        "fan_out": [3, 2],
        "fan_in": [4, 3],
        "spectral_norm": [1.7, 0.9],
        "variance": [0.3, 0.2],
        "input_norm": 1.1,
        "pruning_d": 1.3,
        "lambda_l": [2.0, 3.0],
        "epsilon_l": [4.0, 5.0],
        "rho_l": [0.01, 0.02],
        "rounding_norm": [0.3, 0.2],
    },
    "strong-ticket": {
        "errors": 12,
        "n": 300,
        "fan_out": [3, 2],
        "fan_in": [4, 3],
        "spectral_norm": [1.7, 0.9],
    },
    "neyshabur-2015": {"frobenius_norm": [1.9, 1.1], "margin": 0.3},
    "bartlett-2017": {"spectral_norm": [1.7, 0.9], "norm_2_1": [2.9, 1.4], "margin": 0.3},
    "bartlett-2017-theorem": {"spectral_norm": [1.7, 0.9], "norm_2_1": [2.9, 1.4], "margin": 0.3},
    "bartlett-2017-as-coded": {
        "spectral_norm": [1.7, 0.9],
        "frobenius_norm": [1.9, 1.1],
        "margin": 0.3,
    },
    "neyshabur-2018": {
        "fan_in": [4, 3],
        "spectral_norm": [1.7, 0.9],
        "frobenius_norm": [1.9, 1.1],
        "margin": 0.3,
    },
    "neyshabur-2018-theorem": {
        "fan_out": [3, 2],
        "spectral_norm": [1.7, 0.9],
        "frobenius_norm": [1.9, 1.1],
        "input_norm": 1.1,
        "margin": 0.3,
    },
    "arora-2018": {
        "layer_cushion": [0.3, 0.7],
        "interlayer_cushion": [0.2, 0.6],
        "contraction": 1.3,
        "output_norm": 5.1,
        "smoothness": 7.3,
        "margin": 0.3,
    },
}


def test_every_twin_has_an_example():
    assert set(EXAMPLES) == set(TWINS)


@pytest.mark.parametrize("name", sorted(TWINS))
def test_same_question_same_answer_at_any_global_precision(name):
    first = TWINS[name](**EXAMPLES[name])
    for digits in (5, 80):
        with mpmath.workdps(digits):
            assert TWINS[name](**EXAMPLES[name]) == first
            assert mpmath.mp.dps == digits


@pytest.mark.parametrize("name", sorted(TWINS))
def test_numpy_numbers_are_plain_numbers(name):
    arrays = {key: np.asarray(value)[()] for key, value in EXAMPLES[name].items()}
    assert TWINS[name](**arrays) == TWINS[name](**EXAMPLES[name])


def test_no_code_is_shared_with_a_fast_path():
    imported = set()
    for file in Path(prunecert.reference.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
    ours = {module for module in imported if module.startswith("prunecert")}
    assert all(m == "prunecert.types" or m.startswith("prunecert.reference.") for m in ours)
    standard = {"__future__", "collections.abc", "fractions", "math", "operator", "typing"}
    assert imported - ours == standard | {"mpmath"}
