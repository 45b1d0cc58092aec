"""Bounds from two samples, losses, posteriors, compressed samples and text against their twins.

As in test_twins_agree.py: outward of the fifty-digit twin, and within 1e-9 of it. Divergences, and
what a posterior is charged, are sums without a cap: outward, and within 1e-9 of themselves.
"""

from __future__ import annotations

import math
import random
from itertools import combinations, product

import numpy as np
import pytest
import torch
from mpmath import log, mpf, workdps

from prunecert.bounds import pac_bayes
from prunecert.bounds.language import loss_range, subsampled_bits_upper
from prunecert.bounds.table import STATEMENTS, STEPS
from prunecert.posterior import Posterior, draw_noise, kl_nats, log_ratio_nats
from prunecert.reference import TWINS
from prunecert.reference.pac_bayes import (
    gaussian_kl,
    independent_spike_and_slab_kl,
    spike_and_slab_kl,
    xi,
)
from prunecert.reference.posterior import choices_nats, gaussian_nats
from prunecert.reference.posterior import log_ratio_nats as log_ratio_twin
from test_twins_agree import (
    EDGES,
    FAST_WITHOUT_A_ROW,
    OCCAM,
    QUESTIONS,
    TIGHT,
    with_counts,
)

DEEP = 1e-300
KEPT = [(0, 1), (1, 1), (0, 2), (1, 2), (2, 2), (0, 50), (1, 50), (49, 50), (50, 50), (17, 400)]


def questions(**grid) -> list[dict]:
    """One question per combination of the arguments."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def second_sample(counts, count: str, size: str) -> list[dict]:
    return [{count: found, size: n} for found, n in counts]


def joined(first: list[dict], second: list[dict]) -> list[dict]:
    return [{**a, **b} for a, b in product(first, second)]


# --------------------------------------------------------------------------- two samples

FEW = [(0, 1), (1, 1), (29, 30), (0, 400), (9, 500)]
CODED = with_counts([*FEW, (3, 60000)], bits=(0, 40), delta=(0.05,))
UNLABELLED = second_sample([(0, 1), (0, 300), (7, 300), (300, 300), (60, 900)], "count", "inputs")
HELD = second_sample([(0, 1), (1, 1), (0, 80), (5, 80), (9, 10000)], "holdout_errors", "holdout_n")

TWO_SAMPLES = {
    "compression-theorem": OCCAM,
    "occam-split": OCCAM[::3],
    "train-and-holdout": joined(with_counts(FEW, bits=(0, 40), delta=(0.05,)), HELD[::2])
    + joined(with_counts([(12, 300)], bits=(4.5, 10**6), delta=(0.05, DEEP)), HELD[1:]),
    "code-or-holdout": joined(CODED[2:], HELD[1:]),
    "transfer-to-dense": joined(CODED[5:], UNLABELLED[1:]),
    "transfer-to-pruned": joined(with_counts(FEW[2:], delta=(0.05, 1e-12)), UNLABELLED[1:]),
}

# --------------------------------------------------------------------------- losses

# 0.07 · 100 and 0.29 · 100 are a little off 7 and 29 in floats; 1/3 is no decimal at all.
RATES = (0.0, 1e-9, 0.07, 0.29, 1 / 3, 0.5, 1 - 1e-6, 1.0)
LOSSES = {
    "hoeffding-bentkus": [
        *questions(empirical_risk=RATES, n=(1, 100), bits=(0, 7.5), delta=(0.05,)),
        *questions(empirical_risk=(0.0, 0.29), n=(2, 1000), bits=(400, 10**9), delta=(DEEP,)),
        {"empirical_risk": 0.01, "n": 9000, "bits": 40, "delta": 0.05},
    ],
    "empirical-bernstein": questions(
        empirical_risk=RATES,
        variance=(0.0, 1e-12, 0.01, 0.25, 0.5),
        n=(2, 100, 60000, 10**7),
        bits=(0, 40, 10**6),
        delta=(0.05, 1e-12),
    ),
    "bounded-loss": questions(
        empirical_risk=(0.0, 0.07, 1 / 3, 1.0),
        variance=(0.0, 1e-4, 0.25),
        n=(2, 300),
        bits=(0, 5),
        delta=(0.05,),
    ),
}  # fmt: skip

# --------------------------------------------------------------------------- posteriors

DRAWN = questions(
    empirical_risk=(0.0, 1e-9, 0.07, 1 / 3, 1 - 1e-6, 1.0),
    kl_nats=(0.0, 1e-9, 7.3, 5000.0, 1e9),
    n=(1, 300, 3000),
    delta=(0.05, 1e-12),
)
POSTERIORS = {
    "pac-bayes-kl": DRAWN[::2],
    "majority-vote": [q for q in DRAWN[1::2] if q["empirical_risk"] < 0.4 and q["n"] >= 300],
    "pac-bayes-catoni": questions(
        empirical_risk=(0.0, 0.07, 1.0),
        kl_nats=(0.0, 7.3, 5000.0),
        n=(1, 300, 60000),
        beta=(1e-6, 0.1, 1.3, 40.0),
        betas=(1, 20),
        delta=(0.05, DEEP),
    ),
    "gibbs-sampled": questions(
        empirical_risk=RATES, draws=(1, 150, 10**6), delta=(0.05, 0.999, DEEP)
    ),
    "gibbs-product": questions(
        mean_log_right=(0.0, -1e-9, -0.07, -1 / 3, -30.0, -1e300),
        draws=(1, 150, 10**6),
        delta=(0.05, 0.999, DEEP),
    ),
    "single-draw": with_counts(
        [*EDGES, (600, 60000)],
        log_ratio_nats=(-1e9, -7.3, -math.log(2.0), 0.0, 7.3, 5000.0),
        delta=(0.05, 0.999, DEEP),
    ),
}

# --------------------------------------------------------------------------- compressed samples

COMPRESSED = {
    "sample-compression": [
        {"errors": errors, "size": size, "n": n, "bits": bits, "delta": delta}
        for (size, n), bits, delta in product([*KEPT, (90, 3000)], (0, 4.5), (0.05, DEEP))
        for errors in sorted({0, min(1, n - size), (n - size) // 7, n - size})
    ],
    "pick-to-learn": [
        {"size": size, "n": n, "delta": delta}
        for (size, n), delta in product([*KEPT, (30, 300)], (0.05, DEEP))
    ],
}

# --------------------------------------------------------------------------- norms


def chains(seed: int) -> list[dict]:
    """Chains whose 2^-j is any of the grid, none of it, or (last norm 0) its smallest."""
    source = random.Random(seed)
    drawn = []
    for layers, (errors, n), exponent in product(
        (1, 2, 5),
        [(0, 1), (3, 4**11), (10**6, 4**12 - 1), (0, 4**14), (60000, 60000)],
        range(-9, 1),
    ):
        drawn.append(
            {
                "errors": errors,
                "n": n,
                "margin": 10 ** source.uniform(-1, 1),
                "classes": source.choice((2, 10)),
                "input_bound": 10 ** source.uniform(-1, 1),
                "frobenius_norm": [10 ** source.uniform(-1, 1) for _ in range(layers - 1)],
                "last_row_norm": source.choice((0.0, 10**exponent)),
                "delta": source.choice((0.05, 1e-12)),
            }
        )
    return drawn


# --------------------------------------------------------------------------- text


def text(units: str, sizes, **more) -> list[dict]:
    """Means that are any share of the range of the loss, its two ends among them."""
    drawn = []
    for vocabulary, mixing, share in product((2, 50257), (1e-6, 0.1, 0.999), (0.0, 1e-9, 0.3, 1.0)):
        least, width = loss_range(vocabulary, mixing)
        fixed = {"mean_bits": least + share * width, "vocabulary": vocabulary, "mixing": mixing}
        drawn += [fixed | q for q in questions(**{units: sizes}, **more)]
    return drawn


CORPUS = text("n", (1, 10**5), bits=(0, 4000), mixings=(1, 10), delta=(0.05, DEEP))
LANGUAGE = {
    "language-sampled": CORPUS[::3],
    "language-documents": CORPUS[1::3],
    "language-tokens": CORPUS,
    "subsampled-bits": text("evaluated", (1, 300, 10**6), mixings=(1, 10), delta=(0.05, DEEP)),
}

NEW_QUESTIONS: dict[str, list[dict]] = {
    **TWO_SAMPLES,
    **LOSSES,
    **POSTERIORS,
    **COMPRESSED,
    **LANGUAGE,
    "language-top-k": LOSSES["hoeffding-bentkus"][::2],  # its loss is a share of a document
    "golowich-mohri": chains(seed=12),
}

# --------------------------------------------------------------------------- the table

HELPERS = {"subsampled-bits": subsampled_bits_upper}  # goes into the bounds on bits, is no row
# Order-only, and judged by independent code or by hand where they are tested:
TWINS_ELSEWHERE = {
    "measure-": "tests/bounds/test_measures.py has a twin of each",
    "golowich-2018": "tests/bounds/test_golowich_mohri.py computes it by hand",
    "galanti-2023": "tests/bounds/test_golowich_mohri.py computes it by hand",
}


def test_every_bound_has_a_twin_and_questions():
    """Those of the steps stand in test_step_twins_agree.py."""
    asked = {name for name in STATEMENTS if not name.startswith(tuple(TWINS_ELSEWHERE))}
    assert asked <= set(TWINS)
    assert set(TWINS) - asked == {*FAST_WITHOUT_A_ROW, *HELPERS}
    assert not set(QUESTIONS) & set(NEW_QUESTIONS)
    assert {*QUESTIONS, *NEW_QUESTIONS} == set(TWINS) - set(STEPS)
    order_only = STATEMENTS.keys() - asked
    assert {STATEMENTS[name].kind for name in order_only} <= {"order-only"}


def fast_function(name):
    return HELPERS[name] if name in HELPERS else STATEMENTS[name].function


@pytest.mark.parametrize("name", sorted(NEW_QUESTIONS.keys() & {*STATEMENTS, *HELPERS}))
@workdps(50)
def test_certified_value_is_outward_of_its_twin_and_tight(name):
    truths = set()
    for question in NEW_QUESTIONS[name]:
        value, truth = mpf(fast_function(name)(**question)), TWINS[name](**question)
        assert truth <= value <= truth + TIGHT, (question, value, truth)
        truths.add(truth)
    assert len(truths) > 10  # or one that is always 1 would agree


# --------------------------------------------------------------------------- divergences


def outward_and_tight(value: float, truth: mpf) -> bool:
    return bool(truth <= mpf(value) <= truth * (1 + TIGHT))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100, 999, 60000, 10**6])
@workdps(50)
def test_log_xi(n):
    assert outward_and_tight(pac_bayes.log_xi(n), log(xi(n)))


def some_weights(seed: int, count: int) -> dict[str, list[float]]:
    """Variances that agree with the prior's to 14 digits, or differ by thirty orders."""
    r = np.random.default_rng(seed)
    prior_variance = 10.0 ** r.integers(-9, 3, count)
    factor = r.choice([1.0, 1 + 1e-14, 1 - 1e-7, 1.2, 0.7, 1e-30, 1e20], count)
    mean = r.standard_normal(count)
    shift = r.choice([0.0, 1e-12, 1e-3, 2.0], count)
    return {
        "mean": (mean + shift).tolist(),
        "variance": (prior_variance * factor).tolist(),
        "prior_mean": mean.tolist(),
        "prior_variance": prior_variance.tolist(),
    }


ONE_WEIGHT = {"mean": [0.5], "variance": 2.0, "prior_mean": 0.5, "prior_variance": 2.0}
NEAR = {"mean": [0.5, 1.0], "variance": 1 + 1e-12, "prior_mean": 1.0, "prior_variance": 1.0}
WEIGHTS = [ONE_WEIGHT, NEAR, *(some_weights(seed, 1 + 7 * seed) for seed in range(20))]


@pytest.mark.parametrize("mask_bits", [0, 7.5, 10**6])
@workdps(50)
def test_gaussians_on_one_mask(mask_bits):
    for weights in WEIGHTS:
        assert outward_and_tight(pac_bayes.gaussian_kl_nats(**weights), gaussian_kl(**weights))
        value = pac_bayes.spike_and_slab_kl_nats(mask_bits, **weights)
        assert outward_and_tight(value, spike_and_slab_kl(mask_bits, **weights))


@pytest.mark.parametrize("prior_keep", [1e-9, 0.05, 0.5, 0.999])
@pytest.mark.parametrize("removed", [0, 1, 30])
@workdps(50)
def test_masks_drawn_weight_by_weight_under_the_prior(prior_keep, removed):
    """The twin's posterior has one mask: kept surely, or removed surely and of no value."""
    for weights in (some_weights(seed, 9) for seed in range(5)):
        kept = len(weights["mean"])
        padded = {name: [*values, *[1.0] * removed] for name, values in weights.items()}
        value = pac_bayes.independent_spike_and_slab_kl_nats(
            keep=[1.0] * kept + [0.0] * removed, prior_keep=prior_keep, **padded
        )
        truth = independent_spike_and_slab_kl(prior_keep, removed, **weights)
        assert outward_and_tight(value, truth)


@workdps(50)
def test_masks_drawn_weight_by_weight_under_both():
    """By the chain rule: E over the posterior's 16 masks of ln Q(mask) + what that one costs."""
    weights, keep, prior_keep = some_weights(3, 4), (0.9, 0.25, 0.5, 1e-3), 0.3
    truth = mpf(0)
    for mask in (set(m) for size in range(5) for m in combinations(range(4), size)):
        chance = mpf(1)
        for i, p in enumerate(keep):
            chance *= mpf(p) if i in mask else 1 - mpf(p)
        kept = {name: [values[i] for i in sorted(mask)] for name, values in weights.items()}
        one_mask = independent_spike_and_slab_kl(prior_keep, 4 - len(mask), **kept)
        truth += chance * (log(chance) + one_mask)
    value = pac_bayes.independent_spike_and_slab_kl_nats(
        keep=keep, prior_keep=prior_keep, **weights
    )
    assert outward_and_tight(value, truth)


# --------------------------------------------------------------------------- whole posteriors


def posterior(rule: str, seed: int, prior_exponent: int) -> Posterior:
    """Of a network with a 6 x 5 matrix whose kept weights the named rule gives most cheaply."""
    g = torch.Generator().manual_seed(seed)
    support = torch.rand(6, 5, generator=g) < 0.6
    support[0, 0], support[5, 4], support[5, 0] = True, True, False
    kept = support.clone()
    if rule == "some of the support":
        kept[0, 0] = False
    elif rule == "any entries":
        kept[5, 0] = True
    elif rule == "crossing":
        kept[3:], kept[:, 2:] = False, False
        kept[:3, :2] = True
    prior = {
        "a.weight": torch.randn(6, 5, generator=g) * support,
        "a.bias": torch.randn(6, generator=g),
        "n.running_var": torch.rand(6, generator=g),
    }
    mean = dict(prior)
    mean["a.weight"] = (prior["a.weight"] + 0.1 * torch.rand(6, 5, generator=g) + 1e-3) * kept
    mean["a.bias"] = prior["a.bias"] + 0.1
    exponents = {"a.weight": torch.randint(0, 41, (6, 5), generator=g), "a.bias": 7}
    return Posterior(mean, prior, exponents, prior_exponent, ("a.weight",))


def rules(kept: np.ndarray, support: np.ndarray) -> list[list[tuple[int, int]]]:
    """(of how many, how many) of every choice, for each rule that can give these kept weights."""
    count, rows, columns = (
        int(found.sum()) for found in (kept, kept.any(axis=1), kept.any(axis=0))
    )
    found = [[(kept.size, count)], [(6, rows), (5, columns), (rows * columns, count)]]
    if (support | ~kept).all():
        found.append([(int(support.sum()), count)])
    if (support == kept).all():
        found.append([])
    return found


RULES = ["the support", "some of the support", "any entries", "crossing"]


@pytest.mark.parametrize("prior_exponent", [0, 11, 40])
@pytest.mark.parametrize("rule", RULES)
@workdps(50)
def test_what_a_posterior_is_charged(rule, prior_exponent):
    """`verify` asks this twin: below it a certificate is refused."""
    for seed in range(4):
        q = posterior(rule, seed, prior_exponent)
        numbers = (
            q.values.mean.tolist(),
            q.values.exponents.astype(int).tolist(),
            q.values.prior.tolist(),
            prior_exponent,
        )
        choices = choices_nats([rules(q.kept["a.weight"], q.prior["a.weight"].numpy() != 0)])
        assert outward_and_tight(kl_nats(q), choices + gaussian_nats(*numbers))
        noise = draw_noise(q, "twin", seed)
        truth = choices + log_ratio_twin(*numbers, noise.tolist())
        slack = TIGHT * (1 + abs(truth))
        assert truth <= mpf(log_ratio_nats(q, noise)) <= truth + slack
