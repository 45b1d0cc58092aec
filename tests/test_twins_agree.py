"""Every bound against its independent fifty-digit twin: outward, and within 1e-9 of it.

The steps stand in test_step_twins_agree.py. Bounds from two samples, from losses, from posteriors,
from compressed samples and from text stand in test_new_twins_agree.py, which also checks that no
row of the table is without a twin and questions.
"""

from __future__ import annotations

import random
from itertools import product

import pytest
from mpmath import mpf, workdps

from prunecert.bounds.table import STATEMENTS
from prunecert.reference import TWINS

TIGHT = mpf("1e-9")
RELATIVE = mpf("2e-9")  # of an order-only capacity, which has no side to be rounded to
DELTAS = (0.05, 0.9, 1e-12)
BITS = (0, 1, 40, 4000, 10**6, 10**9)


def draw_counts(seed: int, largest: int, how_many: int) -> list[tuple[int, int]]:
    """Seeded (errors, n), n log-uniform up to `largest`, error rates mostly small."""
    source = random.Random(seed)
    drawn = []
    for _ in range(how_many):
        n = round(largest ** source.random())
        drawn.append((round(n * source.random() ** 3), n))
    return drawn


EDGES = [(0, 1), (1, 1), (0, 2), (1, 2), (2, 2), (0, 100), (1, 100), (99, 100), (100, 100)]
SMALL = EDGES + draw_counts(seed=1, largest=500, how_many=10)
LARGE = [(0, 60000), (1, 60000), (600, 60000), (60000, 60000), (3, 10**6)]


def with_counts(counts, **grid):
    """One question per (errors, n) and per combination of the other arguments."""
    return [
        {"errors": errors, "n": n, **dict(zip(grid, values, strict=True))}
        for (errors, n), values in product(counts, list(product(*grid.values())))
    ]


OCCAM = [
    *with_counts(SMALL, bits=BITS, delta=(0.05, 1e-12)),
    *with_counts(LARGE, bits=(4000, 10**6), delta=(0.05,)),
    *with_counts([(1200, 60000), (59999, 60000)], bits=(0,), delta=(0.05,)),
    *with_counts([(470, 60000)], bits=(33024, 55565), delta=(0.05, 1e-12)),
]
SMALL_HOLDOUT = with_counts(SMALL, delta=(0.05, 1e-300))
HOLDOUT = [*with_counts(SMALL, delta=DELTAS), *with_counts(LARGE, delta=(0.05,))]
TARGETS = (0.01, 0.05, 0.5, 0.99)


def outcomes(seed: int) -> list[dict]:
    """Edges and seeded (worse, better, n) for the paired statements."""
    source = random.Random(seed)
    triples = [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 50), (50, 0, 50), (0, 50, 50), (25, 25, 50)]
    triples += [(6, 4, 1000), (0, 90, 1000)]
    for _ in range(8):
        n = source.randint(2, 200)
        worse = source.randint(0, n)
        triples.append((worse, source.randint(0, n - worse), n))
    return [
        {"worse": worse, "better": better, "n": n, "delta": delta}
        for (worse, better, n), delta in product(triples, (0.05, 1e-12))
    ]


def curves(seed: int) -> list[dict]:
    """Random chains that widen or narrow, each with an increasing pruning curve."""
    source = random.Random(seed)
    questions = []
    smallest_margins = (-0.5, 0.0, 0.01, 0.2, 10.0**6)
    for layers, widening, smallest in product((1, 2, 4), (True, False), smallest_margins):
        widths = sorted((source.randint(2, 900) for _ in range(layers + 1)), reverse=not widening)
        grid = [10 * g / 9 for g in range(10)]
        margins = [smallest + source.random() * i for i in range(source.randint(50, 500))]
        slopes = [0.05 * source.random() for _ in range(layers)]
        questions.append(
            {
                "margins": margins,
                "fan_out": widths[1:],
                "fan_in": widths[:-1],
                "spectral_norm": [0.2 + 2 * source.random() for _ in range(layers)],
                "input_norm": 1 + 27 * source.random(),
                "d": grid,
                "removed_norm": [[slope * d**1.5 for slope in slopes] for d in grid],
                "n": len(margins),
            }
        )
    return questions


def norms_of_a_matrix(source: random.Random, spectral: float, fan_out: int, fan_in: int) -> dict:
    """Norms that some matrix of this shape has: ‖A‖₂ <= ‖A‖_F <= ‖Aᵀ‖_{2,1} <= √rows ‖A‖_F."""
    frobenius = spectral * min(fan_out, fan_in) ** (source.random() / 2)
    return {
        "spectral_norm": spectral,
        "frobenius_norm": frobenius,
        "norm_2_1": frobenius * fan_out ** (source.random() / 2),
    }


def networks(seed: int) -> list[dict]:
    """Chains of random shapes, with every number that an order-only capacity asks of them."""
    source = random.Random(seed)
    drawn = []
    for layers, margin in product((1, 2, 3, 5, 8), (1e-6, 0.03, 0.5, 7.0, 1e6)):
        widths = [source.randint(2, 3000) for _ in range(layers + 1)]
        per_layer = [
            {
                **norms_of_a_matrix(source, 10 ** source.uniform(-2, 2), widths[i + 1], widths[i]),
                "fan_out": widths[i + 1],
                "fan_in": widths[i],
                "variance": 10 ** source.uniform(-5, 1),
                "lambda_l": 1 + 20 * source.random(),
                "epsilon_l": 1 + 20 * source.random(),
                "rho_l": 10 ** source.uniform(-9, -0.1),
                "rounding_norm": source.choice((0.0, 10 ** source.uniform(-3, 1))),
                "layer_cushion": 10 ** source.uniform(-4, 0),
                "interlayer_cushion": 10 ** source.uniform(-4, 0),
            }
            for i in range(layers)
        ]
        drawn.append(
            {
                **{key: [layer[key] for layer in per_layer] for key in per_layer[0]},
                "margin": margin,
                "input_norm": 10 ** source.uniform(-1, 2),
                "output_norm": 10 ** source.uniform(-1, 3),
                "contraction": 1 + source.random(),
                "smoothness": 3 * layers * (1 + source.randint(0, 3)),
                "pruning_d": source.choice((0.0, 0.01, 1.0, 10.0)),
            }
        )
    return drawn


def about(drawn: list[dict], *fields: str) -> list[dict]:
    return [{field: network[field] for field in fields} for network in drawn]


NETWORKS = networks(seed=5)
THEOREM_FIELDS = ("fan_out", "fan_in", "spectral_norm", "variance", "input_norm", "pruning_d")
THEOREM_FIELDS += ("lambda_l", "epsilon_l", "rho_l", "rounding_norm")
NORMS = ("spectral_norm", "frobenius_norm", "margin")
ROWS = ("spectral_norm", "norm_2_1", "margin")
CUSHIONS = ("layer_cushion", "interlayer_cushion", "contraction", "output_norm", "smoothness")

CAPACITY_QUESTIONS: dict[str, list[dict]] = {
    "neyshabur-2015": about(NETWORKS, "frobenius_norm", "margin"),
    "bartlett-2017": about(NETWORKS, *ROWS),
    "bartlett-2017-theorem": about(NETWORKS, *ROWS),
    "bartlett-2017-as-coded": about(NETWORKS, *NORMS),
    "neyshabur-2018": about(NETWORKS, "fan_in", *NORMS),
    "neyshabur-2018-theorem": about(NETWORKS, "fan_out", "input_norm", *NORMS),
    "arora-2018": about(NETWORKS, *CUSHIONS, "margin"),
}

QUESTIONS: dict[str, list[dict]] = {
    **CAPACITY_QUESTIONS,
    # Margins that every gamma exceeds, that none reaches, and half of each.
    "mbp-sketch-as-in-theorem": [
        {"margins": margins, **network}
        for margins, network in product(
            ([-1.0] * 7, [1e300] * 100, [-1.0, 1e300] * 300), about(NETWORKS, *THEOREM_FIELDS)
        )
    ],
    "strong-ticket": [
        {"errors": errors, "n": n, **network}
        for (errors, n), network in product(
            [(0, 1), (3, 100), (60000, 60000)],
            about(NETWORKS, "fan_out", "fan_in", "spectral_norm"),
        )
    ],
    "occam": OCCAM,
    "occam-kl": OCCAM,
    "holdout": HOLDOUT,
    "top-k": SMALL_HOLDOUT,
    "per-class": [
        {"errors": errors, "n": n, "delta": delta}
        for (errors, n), delta in product(
            [
                ([0], [1]),
                ([1], [1]),
                ([0, 0], [0, 5]),
                ([3, 0, 50, 7], [40, 0, 50, 1000]),
                ([980, 0, 3, 12, 5, 6, 7, 8, 9, 10], [980, 1135, 1032, 1010, 982] + [900] * 5),
            ],
            DELTAS,
        )
    ],
    "disagreement": [
        {"count": q["errors"], "n": q["n"], "delta": q["delta"]} for q in SMALL_HOLDOUT
    ],
    "cost-of-pruning": outcomes(seed=2),
    "labelled-transfer": [
        {"risk_bound": risk, "better": q["better"], "n": q["n"], "delta": q["delta"]}
        for risk, q in [
            *product((0.0, 0.1, 1.0), outcomes(seed=3)[:14]),
            (0.1, outcomes(seed=3)[-1]),
        ]
    ],
    "fixed-sequence": [
        {"errors": errors, "n": n, "target_error": target, "delta": delta}
        for (errors, n), target, delta in product(
            [([0], 1), ([1, 0], 1), ([0, 1, 2, 0], 100), ([300, 450, 460, 470, 300], 10000)],
            TARGETS,
            DELTAS,
        )
    ]
    + [{"errors": [0, 1, 0], "n": 3, "target_error": 0.5, "delta": 0.125}],  # p-value = delta
    "simultaneous": [
        {"errors": errors, "n": n, "delta": delta}
        for (errors, n), delta in product(
            [([0], 1), ([1, 0], 1), ([0, 1, 50, 100], 100), ([30, 45, 47], 500)], DELTAS
        )
    ],
    "p-value": [
        *with_counts(SMALL, target_error=TARGETS),
        *with_counts(
            [(0, 60000), (500, 60000), (3100, 60000), (60000, 60000)], target_error=(0.05,)
        ),
    ],
    "samples-needed": [
        {"target_error": target, "expected_error": expected, "delta": delta}
        for (target, expected), delta in product(
            [(0.05, 0.03), (0.05, 0.0), (0.02, 0.015), (0.5, 0.3), (0.99, 0.5), (0.1, 0.07)],
            (0.05, 0.5, 1e-12),
        )
    ],
    "mbp-sketch-as-published": curves(seed=4),
}


# Not rows of BOUNDS, but numbers that `select` and `plan` print.
FAST_WITHOUT_A_ROW = {"p-value": "binomial_p_value", "samples-needed": "samples_needed"}


def values_of(answer) -> list:
    """The numbers of an answer, whether it is one or several."""
    return list(answer) if hasattr(answer, "__len__") else [answer]


def fast_function(name):
    import prunecert.bounds

    if name in FAST_WITHOUT_A_ROW:
        return getattr(prunecert.bounds, FAST_WITHOUT_A_ROW[name])
    return STATEMENTS[name].function


DECISIONS = ["fixed-sequence", "samples-needed"]
ORDER_ONLY = {*CAPACITY_QUESTIONS, "mbp-sketch-as-in-theorem", "strong-ticket"}
SPECIAL = {*DECISIONS, *ORDER_ONLY, "labelled-transfer", "mbp-sketch-as-published"}


@pytest.mark.parametrize("name", sorted(set(QUESTIONS) - SPECIAL))
@workdps(50)
def test_certified_value_is_outward_of_its_twin_and_tight(name):
    for question in QUESTIONS[name]:
        fast = values_of(fast_function(name)(**question))
        twin = values_of(TWINS[name](**question))
        assert len(fast) == len(twin), question
        for value, truth in zip(fast, twin, strict=True):
            assert truth <= mpf(float(value)) <= truth + TIGHT, question


@workdps(50)
def test_labelled_transfer_adds_its_twins_term():
    """The fast function returns the term alone; the twin adds it to a risk bound."""
    for question in QUESTIONS["labelled-transfer"]:
        term = {name: question[name] for name in ("better", "n", "delta")}
        value = mpf(float(fast_function("labelled-transfer")(**term)))
        sum_of_bounds = min(mpf(1), mpf(question["risk_bound"]) + value)
        truth = TWINS["labelled-transfer"](**question)
        assert truth <= sum_of_bounds <= truth + TIGHT, question


@pytest.mark.parametrize("name", DECISIONS)
def test_decision_is_conservative_and_tight(name):
    """Rounding outward may refuse a tie, but nothing that passes at delta (1 - 1e-9)."""
    for question in QUESTIONS[name]:
        fast = values_of(fast_function(name)(**question))
        twin = values_of(TWINS[name](**question))
        stricter = values_of(TWINS[name](**{**question, "delta": question["delta"] * (1 - 1e-9)}))
        for value, truth, loose in zip(fast, twin, stricter, strict=True):
            assert truth <= float(value) <= loose, question


@pytest.mark.parametrize("term", ["d", "gamma", "chi", "margin_risk", "capacity", "value"])
@pytest.mark.parametrize("chain", ["widening", "narrowing"])
def test_published_sketch_bound_agrees_term_by_term(chain, term):
    """The fast function is given the smallest margin and the errors instead of all margins."""
    from prunecert.bounds import mbp_sketch_terms

    for question in QUESTIONS["mbp-sketch-as-published"]:
        widths = zip(question["fan_out"], question["fan_in"], strict=True)
        if (chain == "narrowing") != any(outputs < inputs for outputs, inputs in widths):
            continue
        truth = TWINS["mbp-sketch-as-published"](**question)[term]
        given = {name: question[name] for name in question if name != "margins"}
        margins = question["margins"]
        fast = mbp_sketch_terms(
            errors=sum(margin <= 0 for margin in margins), smallest_margin=min(margins), **given
        )
        assert abs(mpf(float(fast[term])) - truth) <= TIGHT * (1 + abs(truth)), question


@pytest.mark.parametrize("name", sorted(ORDER_ONLY))
@workdps(50)
def test_order_only_capacity_agrees_with_its_twin(name):
    for question in QUESTIONS[name]:
        value, truth = mpf(fast_function(name)(**question)), TWINS[name](**question)
        assert truth > 0
        assert abs(value - truth) <= RELATIVE * truth, question


@workdps(50)
def test_the_theorems_gamma_agrees_with_its_twin():
    """A margin between gamma (107.3) and what it would be without rounding (103.2)."""
    question = {
        "margins": [105.0],
        "fan_out": [4],
        "fan_in": [9],
        "spectral_norm": [2.0],
        "variance": [0.25],
        "input_norm": 3.0,
        "pruning_d": 2.0,
        "lambda_l": [2.0],
        "epsilon_l": [5.0],
        "rho_l": [0.1],
        "rounding_norm": [0.5],
    }
    name = "mbp-sketch-as-in-theorem"
    value, truth = mpf(fast_function(name)(**question)), TWINS[name](**question)
    assert abs(value - truth) <= RELATIVE * truth, (value, truth)
