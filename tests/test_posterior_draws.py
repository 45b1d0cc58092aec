"""What is drawn from a posterior, and how the errors of the drawn networks count."""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import nn

from prunecert import measuring
from prunecert.data import FiniteWorld
from prunecert.posterior import Posterior, draw, draw_errors, draw_noise, kl_nats, network_at
from prunecert.posterior.errors import _wrong
from prunecert.posterior.normals import normal_quantile, seeded_normals
from prunecert.types import InputError
from test_posterior import GRID, some_posterior

# --------------------------------------------------------------------------- draws


def test_normals_are_the_documented_ones():
    """Another reading of the docstring: hashlib's bytes and the standard library's quantiles."""
    found = seeded_normals("prunecert posterior abc 7", 2000)
    raw = hashlib.shake_128(b"prunecert posterior abc 7").digest(16000)
    quantile = NormalDist().inv_cdf
    expected = [
        quantile(((int.from_bytes(raw[i : i + 8], "little") >> 12) + 0.5) / 2**52)
        for i in range(0, 16000, 8)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    q = some_posterior()
    assert np.array_equal(draw_noise(q, "abc", 7), found[: q.dimension])


def test_quantiles_far_out_and_in_the_middle():
    tails = np.concatenate([2.0 ** -np.arange(1.0, 54), np.linspace(0.001, 0.5, 999)])
    expected = [NormalDist().inv_cdf(u) for u in tails]
    np.testing.assert_allclose(normal_quantile(tails), expected, rtol=1e-14)
    assert np.array_equal(normal_quantile(1 - tails[:53]), -normal_quantile(tails[:53]))


def test_normals_are_normal():
    """Kolmogorov–Smirnov distance of 200,000 below its 0.999 quantile 1.95/√n; moments too."""
    n = 200_000
    found = seeded_normals("distance", n)
    assert kstest(found, "norm").statistic < 1.95 / math.sqrt(n)
    assert abs(np.mean(found)) < 4 / math.sqrt(n)
    assert abs(np.mean(found**2) - 1) < 4 * math.sqrt(2 / n)
    assert abs(np.mean(found**4) - 3) < 4 * math.sqrt(96 / n)
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 4 / math.sqrt(n)


def test_draws_are_reproducible_whatever_the_order_of_names():
    q = some_posterior()
    names = list(reversed(q.mean))
    turned = Posterior(
        {n: q.mean[n] for n in names},
        {n: q.prior[n] for n in names},
        dict(reversed(q.exponents.items())),
        q.prior_exponent,
        q.prunable,
    )
    for index in (0, 1, 12):
        first, again = draw(q, "seed", index), draw(turned, "seed", index)
        assert all(torch.equal(first[n], again[n]) for n in names)


def test_draws_of_other_indices_and_texts_are_unrelated():
    """No draw repeats, starts or continues another: their numbers are uncorrelated."""
    wide = Posterior({"b": torch.zeros(5000)}, {"b": torch.zeros(5000)}, {"b": 0}, 0)
    labels = [("s", 1), ("s", 11), ("s", 2), ("s 1", 1), ("", 1), ("S", 1)]
    noise = np.array([draw_noise(wide, *label) for label in labels])
    related = np.corrcoef(noise) - np.eye(len(labels))
    assert np.abs(related).max() < 5 / math.sqrt(5000)
    shifted = np.corrcoef(noise[:, 1:], noise[:, :-1])[: len(labels), len(labels) :]
    assert np.abs(shifted).max() < 5 / math.sqrt(5000)


def test_a_draw_moves_what_is_kept_and_nothing_else():
    q = some_posterior()
    noise = draw_noise(q, "moves", 0)
    drawn = network_at(q, noise)
    pruned = q.mean["a.weight"] == 0
    assert drawn["a.weight"][pruned].view(torch.int32).eq(0).all()  # +0, every bit
    assert (drawn["a.weight"][~pruned] != q.mean["a.weight"][~pruned]).all()
    assert (drawn["a.bias"] != q.mean["a.bias"]).all()  # also where the mean is zero
    assert drawn["a.weight"].dtype == torch.float32
    for name in ("n.running_mean", "n.num_batches_tracked"):
        assert torch.equal(drawn[name], q.mean[name])
    bias = q.mean["a.bias"].double().numpy() + 2**-1.5 * noise[:5]
    np.testing.assert_allclose(drawn["a.bias"].numpy(), bias, rtol=1e-7)
    assert drawn.keys() == q.mean.keys()


def test_a_network_without_random_values():
    same = {"w": torch.zeros(3)}
    q = Posterior(same, same, {"w": 1}, 0, ("w",))
    assert q.dimension == 0
    assert kl_nats(q) == pytest.approx(GRID + math.log(4), rel=1e-11)
    assert torch.equal(draw(q, "s", 0)["w"], torch.zeros(3))


# --------------------------------------------------------------------------- errors


def small_network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 4))


def build(tensors: dict[str, torch.Tensor]) -> nn.Module:
    module = small_network()
    module.load_state_dict(tensors)
    return module.eval()


def around(module: nn.Module, exponent: int = 4) -> Posterior:
    tensors = {k: v.clone() for k, v in module.state_dict().items()}
    tensors["0.weight"][torch.rand(12, 16, generator=torch.Generator().manual_seed(1)) < 0.4] = 0
    random = {name: exponent for name, _ in module.named_parameters()}
    return Posterior(tensors, dict(tensors), random, exponent, ("0.weight", "3.weight"))


def rows(n: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    x, y = (torch.from_numpy(a) for a in FiniteWorld().draw(n, seed))
    return [(x[i : i + 64], y[i : i + 64]) for i in range(0, n, 64)]


class Held:
    """Batches as `measuring` reads them."""

    name = "rows"

    def __init__(self, held):
        self.held = held

    def batches(self, batch_size, device="cpu"):
        return iter(self.held)


@pytest.mark.parametrize("tolerance", [1e-4, 0.3])
def test_errors_of_draws_are_counted_as_measuring_counts_them(tolerance):
    q, held = around(small_network()), rows(300, 0)
    ticks: list[int] = []
    found = draw_errors(q, build, held, 5, "count", tolerance, ticks.append)
    expected = [
        measuring.count_errors(
            measuring.run(build(draw(q, "count", i)), Held(held)), tolerance=tolerance
        )
        for i in range(5)
    ]
    assert found.tolist() == expected
    assert len(set(expected)) > 1
    assert ticks == [1] * 5
    later = draw_errors(q, build, held, 2, "count", tolerance, first=3)
    assert later.tolist() == expected[3:]


def test_ties_and_scores_that_are_not_numbers_are_errors():
    """Right, tie, wrong, within the tolerance, just outside it, NaN, infinities."""
    scores = torch.tensor(
        [
            [2.0, 1.0, 0.0],
            [1.0, 1.0, 0.0],
            [0.0, 1.0, 0.0],
            [1.0, 1.0 - 0.9e-4, 0.0],
            [1.0, 1.0 - 1.2e-4, -1.0],
            [1.0, 0.0, math.nan],
            [math.inf, 0.0, 0.0],
            [1.0, -math.inf, 0.0],
            [0.0, 0.0, 0.0],
        ]
    )
    labels = torch.zeros(9, dtype=torch.int64)
    found = _wrong(scores, labels, 1e-4)[:, 0].numpy()
    by_measuring = measuring.run(nn.Identity(), Held([(scores, labels)])).wrong(1e-4)
    assert found.tolist() == by_measuring.tolist()
    assert found.tolist() == [False, True, True, True, False, True, True, True, True]


def test_labels_and_batch_statistics_are_refused():
    q = around(small_network())
    x, _ = rows(64, 0)[0]
    with pytest.raises(InputError, match="label 4"):
        draw_errors(q, build, [(x, torch.full((64,), 4))], 1, "s")

    def mixing(tensors: dict[str, torch.Tensor]) -> nn.Module:
        return nn.Sequential(build(tensors), nn.BatchNorm1d(4, track_running_stats=False))

    with pytest.raises(InputError, match="batch"):
        draw_errors(q, mixing, rows(64, 0), 1, "s")
