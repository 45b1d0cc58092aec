"""Posteriors: what they cost against the prior, and what is refused."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from prunecert.posterior import (
    MAX_EXPONENT,
    Posterior,
    draw,
    draw_noise,
    kl_nats,
    kl_parts,
    log_ratio_nats,
    network_at,
)
from prunecert.types import InputError

LN2 = math.log(2)
GRID = math.log(MAX_EXPONENT + 1)


def two_weights() -> Posterior:
    """One weight kept at 1 (prior 1/2), one pruned (prior 1/4); variances 1/4 and 1."""
    return Posterior(
        {"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.5, 0.25])}, {"w": 2}, 0, ("w",)
    )


def some_posterior(seed: int = 0) -> Posterior:
    """A pruned 5 x 4 matrix inside the prior's support, a bias with a zero, fixed tensors."""
    g = torch.Generator().manual_seed(seed)
    support = torch.rand(5, 4, generator=g) < 0.7
    kept = support & (torch.rand(5, 4, generator=g) < 0.7)
    prior = {
        "a.weight": torch.randn(5, 4, generator=g) * support,
        "a.bias": torch.randn(5, generator=g) * (torch.arange(5) != 2),
        "n.running_mean": torch.randn(5, generator=g),
        "n.num_batches_tracked": torch.tensor(7),
    }
    mean = dict(prior)
    mean["a.weight"] = (prior["a.weight"] + 0.2 * torch.randn(5, 4, generator=g)) * kept
    mean["a.bias"] = prior["a.bias"] + 0.1 * (torch.arange(5) != 2)
    return Posterior(mean, prior, {"a.weight": 5, "a.bias": 3}, 4, ("a.weight",))


# --------------------------------------------------------------------------- what Q costs


def test_a_posterior_equal_to_its_prior_pays_for_its_choices_only():
    same = {"w": torch.tensor([1.0, 0.0, -2.0]), "b": torch.tensor([0.0, 3.0])}
    q = Posterior(same, dict(same), {"w": 6, "b": 6}, 6, ("w",))
    assert kl_nats(q) == pytest.approx(GRID + math.log(4), rel=1e-11)
    assert kl_nats(q) > GRID + math.log(4)  # rounded up
    assert log_ratio_nats(q, draw_noise(q, "", 0)) == pytest.approx(GRID + math.log(4), abs=1e-9)


def test_two_weights_by_hand():
    """ln 41 for the grid; ln 4 · 3 · 2 for which one of two was kept; ½(¼ + ¼ − 1 + ln 4)."""
    parts = kl_parts(two_weights())
    assert parts["grid"] == pytest.approx(math.log(41), rel=1e-11)
    assert parts["mask"] == pytest.approx(math.log(24), rel=1e-10)
    assert parts["gaussian"] == pytest.approx((0.5 - 1 + math.log(4)) / 2, rel=1e-10)
    assert kl_nats(two_weights()) == pytest.approx(sum(parts.values()), rel=1e-11)
    # at noise 2 the weight is 2: ½(ln 4 + 1.5² − 2²)
    ratio = log_ratio_nats(two_weights(), np.array([2.0]))
    expected = math.log(41) + math.log(24) + (math.log(4) + 2.25 - 4) / 2
    assert ratio == pytest.approx(expected, rel=1e-10)


def test_a_prior_scale_optimised_without_a_union_bound():
    """The fault: the variance of P is chosen after seeing S, and nobody pays. Here every exponent
    costs the same, and together they weigh no more than 1."""
    same = {"b": torch.ones(3)}
    costs = [kl_nats(Posterior(same, same, {"b": e}, e)) for e in range(MAX_EXPONENT + 1)]
    assert math.fsum(math.exp(-cost) for cost in costs) <= 1
    assert costs == pytest.approx([math.log(41)] * 41, rel=1e-10)
    with pytest.raises(InputError, match="prior_exponent"):
        Posterior(same, same, {"b": 0}, MAX_EXPONENT + 1)


Cells = frozenset[tuple[int, int]]
SHAPE = (2, 3)
CELLS: Cells = frozenset(itertools.product(range(2), range(3)))


def subsets(cells):
    return [frozenset(c) for k in range(len(cells) + 1) for c in itertools.combinations(cells, k)]


def any_of(chosen: frozenset, among: frozenset) -> Fraction:
    """P[chosen]: how many of `among`, then which."""
    if not chosen <= among:
        return Fraction(0)
    return Fraction(1, (len(among) + 1) * math.comb(len(among), len(chosen)))


def rules(kept: Cells, support: Cells) -> tuple[list[Fraction], Fraction]:
    """P[kept] by each rule in the words of the module (of the last one its best way alone), and in
    all, in exact arithmetic."""

    def crossing(rows: frozenset, columns: frozenset) -> Fraction:
        where = frozenset(itertools.product(rows, columns))
        sides = any_of(rows, frozenset(range(2))) * any_of(columns, frozenset(range(3)))
        return sides * any_of(kept, where)

    simple = [Fraction(int(kept == support)), any_of(kept, support), any_of(kept, CELLS)]
    used = frozenset(i for i, _ in kept), frozenset(j for _, j in kept)
    everywhere = sum(crossing(r, c) for r in subsets(range(2)) for c in subsets(range(3)))
    return [p / 4 for p in (*simple, crossing(*used))], (sum(simple) + everywhere) / 4


def matrix(cells: Cells) -> torch.Tensor:
    return torch.tensor([[float((i, j) in cells) for j in range(3)] for i in range(2)])


@pytest.mark.parametrize(
    "support", [(), ((0, 1),), ((0, 0), (0, 2), (1, 1)), tuple(CELLS)], ids=len
)
def test_sets_of_kept_weights_cost_what_the_prior_gives_them(support):
    """All 64 sets of six weights: P's probabilities sum to one, and none is overstated."""
    total, charged = Fraction(0), 0.0
    for kept in subsets(CELLS):
        q = Posterior({"w": matrix(kept)}, {"w": matrix(support)}, {"w": 0}, 0, ("w",))
        cost = kl_parts(q)["mask"]
        by_rule, exact = rules(kept, frozenset(support))
        assert cost >= -math.log(exact)
        assert cost == pytest.approx(-math.log(max(by_rule)), rel=1e-10)
        total += exact
        charged += math.exp(-cost)
    assert total == 1
    assert charged <= 1


def test_kernels_are_rows_of_all_their_inputs():
    """A 4-dimensional weight costs what the matrix of its output channels costs."""
    kept = (torch.rand(6, 4, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    kept[2:] = 0
    kept[:, 1:] = 0
    flat = kept.flatten(1)
    ones = torch.ones_like(kept), torch.ones_like(flat)
    costs = [
        kl_parts(Posterior({"w": m}, {"w": p}, {"w": 0}, 0, ("w",)))["mask"]
        for m, p in zip((kept, flat), ones)
    ]
    assert costs[0] == costs[1]
    used, k = int(flat.any(0).sum()), int(flat.sum())
    exact = 4 * 7 * math.comb(6, 2) * 37 * math.comb(36, used) * (2 * used + 1)
    assert costs[0] == pytest.approx(math.log(exact * math.comb(2 * used, k)), rel=1e-10)


def test_zeros_of_tensors_that_are_not_prunable_are_random():
    mean, prior = {"b": torch.tensor([0.0, 1.0])}, {"b": torch.tensor([0.0, 1.0])}
    assert Posterior(mean, prior, {"b": 3}, 3).dimension == 2
    assert Posterior(mean, prior, {"b": 3}, 3, ("b",)).dimension == 1


def test_what_is_charged_is_at_least_the_divergence_from_the_whole_mixture():
    """One value: KL from the mixture over all 41 variances, by numerical integration."""
    q = Posterior({"b": torch.tensor([0.75])}, {"b": torch.tensor([0.5])}, {"b": 4}, 3)
    deviations = 2.0 ** (-np.arange(41) / 2)

    def integrand(w: float) -> float:
        density = norm.pdf(w, 0.75, 0.25)
        return density * (
            norm.logpdf(w, 0.75, 0.25) - math.log(norm.pdf(w, 0.5, deviations).mean())
        )

    exact = quad(integrand, -2.0, 3.5, points=[0.5, 0.75], epsabs=1e-10)[0]
    assert exact <= kl_nats(q) <= exact + GRID
    density_ratio = integrand(1.0) / norm.pdf(1.0, 0.75, 0.25)
    assert density_ratio <= log_ratio_nats(q, np.array([1.0])) <= density_ratio + GRID


def test_log_ratio_of_a_draw_is_that_of_the_densities():
    q = some_posterior()
    noise = draw_noise(q, "ratio", 3)
    # line up by hand: "a.bias" comes before "a.weight", entries row by row
    kept = q.mean["a.weight"] != 0
    mean = torch.cat([q.mean["a.bias"], q.mean["a.weight"][kept]]).double().numpy()
    prior = torch.cat([q.prior["a.bias"], q.prior["a.weight"][kept]]).double().numpy()
    deviation = np.array([2**-1.5] * 5 + [2**-2.5] * int(kept.sum()))
    w = mean + deviation * noise
    gaussian = (norm.logpdf(w, mean, deviation) - norm.logpdf(w, prior, 2.0**-2)).sum()
    n, k = int((q.prior["a.weight"] != 0).sum()), int(kept.sum())
    assert 0 < k < n < 20
    mask = math.log(4 * (n + 1) * math.comb(n, k))
    assert log_ratio_nats(q, noise) == pytest.approx(GRID + mask + gaussian, rel=1e-10)
    kl = (2 * np.log(2.0**-2 / deviation) + (deviation**2 + (mean - prior) ** 2) * 16 - 1).sum() / 2
    assert kl_nats(q) == pytest.approx(GRID + mask + kl, rel=1e-10)


def test_log_ratios_average_to_the_divergence():
    """Over 1,500 draws, within five standard errors; a lost term or factor would be far outside."""
    q, draws = some_posterior(), 1500
    ratios = [log_ratio_nats(q, draw_noise(q, "average", i)) for i in range(draws)]
    assert np.std(ratios) > 0.5
    assert abs(np.mean(ratios) - kl_nats(q)) < 5 * np.std(ratios) / math.sqrt(draws)


def test_cancelling_shifts_are_still_rounded_up():
    """w falls near the prior's value, 1,400 standard deviations out: digits of the square are lost
    in rounding, whichever way. Against 50 digits, at 40 noises."""
    q = Posterior({"b": torch.tensor([1000.0])}, {"b": torch.tensor([-0.1])}, {"b": 1}, 40)
    below_without_slack = 0
    with mpmath.workdps(50):
        shift = 1000 + mpmath.mpf(float(torch.tensor(0.1)))
        for i in range(-20, 20):
            noise = -float(shift) * math.sqrt(2) * (1 + 1e-6 * (i + 0.5))
            square = (shift + mpmath.mpf(noise) / mpmath.sqrt(2)) ** 2 * 2**40
            exact = (-39 * mpmath.log(2) + square - mpmath.mpf(noise) ** 2) / 2
            assert log_ratio_nats(q, np.array([noise])) >= exact + mpmath.log(41)
            moved = float(shift) + math.sqrt(0.5) * noise
            below_without_slack += moved**2 * 2**40 < square * (1 - 2e-12)
    assert below_without_slack > 5  # or the slack was not needed here


# --------------------------------------------------------------------------- variances and shapes


def test_variance_taken_over_the_wrong_axis():
    """The fault: variances of outputs stretched along inputs. In a square matrix no shape gives it
    away, so every entry is checked; anything but one number or the very shape is refused."""
    mean = torch.zeros(3, 3) + torch.arange(1.0, 10.0).reshape(3, 3)
    exponents = torch.tensor([[2, 4, 6], [8, 10, 12], [14, 16, 18]])
    q = Posterior({"w": mean}, {"w": mean}, {"w": exponents}, 4, ("w",))
    noise = np.arange(1.0, 10.0)
    moved = (network_at(q, noise)["w"] - mean).double().flatten().numpy()
    expected = noise * 2.0 ** -np.arange(1.0, 10.0)
    assert moved == pytest.approx(expected, abs=1e-6)
    half = 2.0 ** (4 - np.arange(2.0, 20.0, 2.0))
    assert kl_parts(q)["gaussian"] == pytest.approx((half - 1 - np.log(half)).sum() / 2, rel=1e-10)
    for shape in [(3,), (3, 1), (1, 3), (9,)]:
        with pytest.raises(InputError, match="'w'"):
            Posterior({"w": mean}, {"w": mean}, {"w": torch.full(shape, 3)}, 4, ("w",))


def test_one_exponent_is_that_of_every_entry():
    q = some_posterior()
    spread = {n: torch.full(q.mean[n].shape, e) for n, e in q.exponents.items()}
    each = Posterior(q.mean, q.prior, spread, q.prior_exponent, q.prunable)
    assert kl_nats(each) == kl_nats(q)
    assert torch.equal(draw(each, "s", 0)["a.weight"], draw(q, "s", 0)["a.weight"])


def test_half_precision_means_are_exact():
    mean = torch.tensor([1.5, 0.0, -2.25])
    exact = Posterior({"w": mean}, {"w": mean / 2}, {"w": 3}, 3, ("w",))
    half = Posterior({"w": mean.bfloat16()}, {"w": (mean / 2).half()}, {"w": 3}, 3, ("w",))
    assert kl_nats(half) == kl_nats(exact)
    assert torch.equal(draw(half, "s", 0)["w"], draw(exact, "s", 0)["w"])


# --------------------------------------------------------------------------- what is refused

ONE = {"w": torch.ones(2), "c": torch.tensor([0.0, 1.0])}


@pytest.mark.parametrize(
    ("mean", "exponents", "prior_exponent", "prunable", "named"),
    [
        ({**ONE, "c": torch.tensor([-0.0, 1.0])}, {"w": 1}, 1, (), "'c'"),  # a bit is a bit
        ({**ONE, "c": torch.tensor([0.0, 1.0]).double()}, {"w": 1}, 1, (), "'c'"),
        ({**ONE, "c": torch.tensor([0, 1])}, {"w": 1}, 1, (), "'c'"),
        ({"w": ONE["w"]}, {"w": 1}, 1, (), "'c'"),
        ({**ONE, "w": torch.ones(3)}, {"w": 1}, 1, (), "'w'"),
        ({**ONE, "w": torch.tensor([1.0, math.nan])}, {"w": 1}, 1, (), "'w'"),
        ({**ONE, "w": torch.tensor([1, 1])}, {"w": 1}, 1, (), "'w'"),
        (ONE, {"w": -1}, 1, (), "'w'"),
        (ONE, {"w": 41}, 1, (), "'w'"),
        (ONE, {"w": 1.5}, 1, (), "'w'"),
        (ONE, {"w": torch.tensor([1.0, 2.0])}, 1, (), "'w'"),
        (ONE, {"w": torch.tensor([1, 41])}, 1, (), "'w'"),
        (ONE, {"w": 1}, -1, (), "prior_exponent"),
        (ONE, {"w": 1}, 1, ("c",), "'c'"),
        (ONE, {"w": 1}, 1, ("x",), "'x'"),
        (ONE, {"x": 1}, 1, (), "'x'"),
    ],
)
def test_refused_with_the_tensor_named(mean, exponents, prior_exponent, prunable, named):
    with pytest.raises(InputError, match=named):
        Posterior(mean, dict(ONE), exponents, prior_exponent, prunable)


def test_noise_of_another_shape_is_refused():
    with pytest.raises(InputError, match="noise"):
        log_ratio_nats(two_weights(), np.zeros(2))
    with pytest.raises(InputError, match="index"):
        draw_noise(two_weights(), "", -1)
