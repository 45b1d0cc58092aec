"""Effect sizes: naive formulas, sampling error on Gaussian matrices, planted violations."""

import itertools
import math
import statistics

import numpy as np
import pytest
import torch
from scipy import stats

from prunecert.bounds.pruning_error import drop_share
from prunecert.diagnostics import gaussianity, independence
from prunecert.pruning.bernoulli import drop_probability
from prunecert.types import InputError

ERRORS = 4.0  # standard errors; one in 16,000 beyond
DKW = 1.95  # √n·Kolmogorov distance exceeds it once in 1,000 draws
TAIL = 2 * stats.norm.sf(3)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# --------------------------------------------------------------------------- entries


@pytest.mark.parametrize("shape", [(200, 300), (10, 100), (1, 5000)])
def test_gaussian_entries_give_effects_within_sampling_error(shape):
    found = gaussianity(0.02 * normal(*shape))
    n = math.prod(shape)
    assert found.entries == n
    assert found.standard_deviation == pytest.approx(0.02, rel=ERRORS / math.sqrt(2 * n))
    assert abs(found.mean_in_errors) < ERRORS
    assert abs(found.excess_kurtosis) < ERRORS * math.sqrt(24 / n)
    assert abs(found.tail_ratio - 1) < ERRORS * math.sqrt((1 - TAIL) / (TAIL * n))
    assert found.kolmogorov < DKW / math.sqrt(n)


def test_every_number_by_hand():
    """−1, 1, 1, 3: mean 1, variance 2, fourth moment 8; F jumps to 1/4, 3/4, 1."""
    found = gaussianity([[3.0, 1.0], [-1.0, 1.0]])
    below = stats.norm.cdf(np.array([-1, 1, 3]) / math.sqrt(2))
    gaps = [below[0], 1 / 4 - below[0], below[1] - 1 / 4, 3 / 4 - below[1], below[2] - 3 / 4]
    assert found.standard_deviation == pytest.approx(math.sqrt(2), rel=1e-12)
    assert found.mean_in_deviations == pytest.approx(1 / math.sqrt(2), rel=1e-12)
    assert found.mean_in_errors == pytest.approx(math.sqrt(2), rel=1e-12)
    assert found.excess_kurtosis == pytest.approx(8 / 4 - 3, rel=1e-12)
    assert found.kolmogorov == pytest.approx(max(gaps), rel=1e-12)
    assert found.tail_ratio == 0.0
    assert [q for q, _ in found.quantiles] == pytest.approx([-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6])


def test_the_tail_counts_both_sides_beyond_three_deviations():
    weight = np.concatenate([np.resize([1.0, -1.0], 2000), [4.0, -4.0, -4.0, 2.5]])[None]
    assert weight.std() == pytest.approx(1, abs=0.02)
    assert gaussianity(weight).tail_ratio == pytest.approx(3 / 2004 / TAIL, rel=1e-12)


def test_the_variance_is_the_one_that_bernoulli_pruning_divides_by():
    weight = 0.5 + normal(30, 40)
    drop = drop_probability(torch.from_numpy(weight), 2.0).numpy()
    psi = gaussianity(weight).standard_deviation ** 2
    assert drop == pytest.approx(np.exp(-(weight**2) / (2.0 * psi)), rel=1e-12)


@pytest.mark.parametrize("n", [50, 2000, 2001, 9000])
def test_kolmogorov_distance_and_p_value_are_scipys(n):
    weight = stats.t(5).rvs((1, n), random_state=n)
    found, scaled = gaussianity(weight), (weight / weight.std())[0]
    assert found.kolmogorov == pytest.approx(stats.kstest(scaled, "norm").statistic, rel=1e-12)
    assert found.p_value_entries == min(n, 2000)
    if n <= 2000:
        expected = stats.kstest(scaled, "norm", method="exact").pvalue
        assert found.p_value == pytest.approx(expected, rel=1e-9)


def test_the_p_value_is_uniform_for_gaussians_however_many_entries():
    """Places chosen among the sorted entries would fail here: their ranks would be fixed."""
    values = [gaussianity(normal(60, 200, seed=seed)).p_value for seed in range(100)]
    assert stats.kstest(values, "uniform").pvalue > 1e-3


def test_the_p_value_does_not_shrink_as_the_layer_grows():
    """Student t with 10 degrees of freedom: 200,000 entries reject, 2,000 of them hardly."""
    weight = stats.t(10).rvs((400, 500), random_state=0)
    everything = stats.kstest((weight / weight.std()).ravel(), "norm").pvalue
    assert everything < 1e-20 < 1e-4 < gaussianity(weight).p_value


def test_heavy_tails_are_measured_at_their_true_size():
    law, n = stats.t(5), 300_000
    scale = law.std()
    found = gaussianity(law.rvs((300, 1000), random_state=1))
    ratio = 2 * law.sf(3 * scale) / TAIL
    assert ratio > 4
    of_scale = math.sqrt(8 / n) / 2  # relative error of √Ψ, kurtosis 9
    error = math.sqrt(1 / (n * ratio * TAIL)) + 4 * of_scale
    assert found.tail_ratio == pytest.approx(ratio, rel=ERRORS * error)
    grid = np.linspace(-8, 8, 100_001)
    distance = np.abs(law.cdf(grid * scale) - stats.norm.cdf(grid)).max()
    assert found.kolmogorov == pytest.approx(distance, abs=DKW / math.sqrt(n) + of_scale / 4)
    assert found.excess_kurtosis > 3


def test_a_shifted_mean_is_measured_at_its_true_size():
    weight = 0.3 + normal(200, 300)
    found = gaussianity(weight)
    assert found.mean_in_deviations == pytest.approx(0.3, abs=ERRORS * math.sqrt(1.05 / 60_000))
    assert found.mean_in_errors == pytest.approx(0.3 * math.sqrt(60_000), abs=ERRORS * 1.05)
    assert abs(found.excess_kurtosis) < ERRORS * math.sqrt(24 / 60_000)


def test_quantiles_of_a_known_law():
    """Entries spread evenly over (−1, 1), whose quantile at level p is (2p − 1)·√3."""
    weight = (np.arange(100_000)[None] + 0.5) / 50_000 - 1
    found = gaussianity(weight)
    assert (
        len(found.quantiles) == 41 and found.quantiles[0][0] == -4 and found.quantiles[-1][0] == 4
    )
    for q, seen in found.quantiles:
        assert seen == pytest.approx((2 * stats.norm.cdf(q) - 1) * math.sqrt(3), abs=1e-4)
    assert found.excess_kurtosis == pytest.approx(-1.2, abs=1e-6)
    few = gaussianity(weight[:, ::1000])
    assert min(q for q, _ in few.quantiles) == pytest.approx(-2.2)  # P[N < −2.4] < 1/100


@pytest.mark.parametrize("law", ["uniform", "laplace", "t", "sparse", "shifted"])
@pytest.mark.parametrize("d", [0.1, 1.0, 10.0])
def test_chi_is_off_by_at_most_twice_the_kolmogorov_distance(law, d):
    """What KOLMOGOROV_SMALL is about: 1 − e^{−w²/dΨ} rises by at most 1 on each side of 0."""
    rng = np.random.default_rng(3)
    weight = {
        "uniform": rng.uniform(-1, 1, (40, 50)),
        "laplace": rng.laplace(size=(40, 50)),
        "t": rng.standard_t(3, (40, 50)),
        "sparse": rng.standard_normal((40, 50)) * (rng.random((40, 50)) < 0.2),
        "shifted": 1 + rng.standard_normal((40, 50)),
    }[law]
    kept = 1 - drop_probability(torch.from_numpy(weight), d).numpy().mean()
    assert abs(kept - (1 - drop_share(d))) <= 2 * gaussianity(weight).kolmogorov


# --------------------------------------------------------------------------- places


def test_dispersion_is_one_on_average_over_all_orders_of_the_entries():
    """Exactly, whatever the entries: all 720 orders of six numbers in two rows."""
    entries = [0.0, 1.0, -2.0, 3.5, 7.0, 7.0]
    found = [independence(np.reshape(order, (2, 3))) for order in itertools.permutations(entries)]
    assert statistics.fmean(f.rows.dispersion for f in found) == pytest.approx(1, abs=1e-12)
    assert statistics.fmean(f.columns.dispersion for f in found) == pytest.approx(1, abs=1e-12)
    assert max(f.rows.dispersion for f in found) > 1.5


@pytest.mark.parametrize("law", [stats.norm(), stats.t(5), stats.uniform(-1, 2)])
def test_dispersion_is_one_on_average_over_small_matrices(law):
    draws = law.rvs((1000, 6, 9), random_state=0)
    for lines in ("rows", "columns"):
        values = [getattr(independence(weight), lines).dispersion for weight in draws]
        error = statistics.stdev(values) / math.sqrt(len(values))
        assert error < 0.03
        assert statistics.fmean(values) == pytest.approx(1, abs=ERRORS * error)


def test_dispersion_spread_and_share_by_naive_loops():
    weight = normal(130, 7) * np.linspace(1, 3, 7)
    found = independence(weight)
    squares = weight**2 / weight.std() ** 2
    for lines, rows in ((found.rows, squares), (found.columns, squares.T)):
        energies = [sum(row) for row in rows]
        chance = rows.shape[1] * statistics.variance(rows.ravel().tolist())
        excess = max(statistics.variance(energies) - chance, 0)
        top = sorted(energies)[-math.ceil(len(energies) / 100) :]
        assert (lines.lines, lines.length) == rows.shape
        assert lines.dispersion == pytest.approx(statistics.variance(energies) / chance, rel=1e-9)
        assert lines.spread == pytest.approx(
            math.sqrt(excess) / statistics.fmean(energies), rel=1e-9
        )
        assert lines.top_share == pytest.approx(sum(top) / sum(energies), rel=1e-9)
    assert found.columns.spread > 0.5 and found.rows.spread < 0.2
    assert math.ceil(found.rows.lines / 100) == 2


def test_unequal_columns_spread_by_the_coefficient_of_variation_of_their_variances():
    """Half the columns of variance 1, half of 4: standard deviation 1.5, mean 2.5."""
    found = [
        independence(normal(200, 150, seed=s) * np.repeat([1, 2], 75)).columns.spread
        for s in range(8)
    ]
    expected = 0.6 * math.sqrt((1 - 1 / 200) * 150 / 149)
    error = statistics.stdev(found) / math.sqrt(8)
    assert error < 0.004
    assert statistics.fmean(found) == pytest.approx(expected, abs=ERRORS * error)


def test_hot_and_empty_columns_are_seen():
    weight = normal(50, 200)
    weight[:, [3, 17]] *= 20
    weight[:, 100:140] = 0
    weight[7] = 0
    found = independence(weight)
    hot = (weight[:, [3, 17]] ** 2).sum() / (weight**2).sum()
    assert found.columns.top_share == pytest.approx(hot, rel=1e-9) and hot > 0.7
    assert (found.columns.zero_lines, found.rows.zero_lines) == (40, 1)
    assert found.columns.dispersion > 5 and found.columns.spread > 5


@pytest.mark.parametrize("shape", [(300, 784), (100, 300), (1, 4000)])
def test_gaussian_matrices_end_at_the_edge(shape):
    """E‖A‖₂ is below the edge, by little, and ‖A‖₂ deviates by at most √Ψ (Poincaré)."""
    edge = sum(map(math.sqrt, shape))
    off = edge * (independence(normal(*shape)).edge_ratio - 1)
    low = -ERRORS if min(shape) > 1 else -1 - ERRORS  # one row: √out + √in − 1
    assert low < off < ERRORS


def test_the_edge_is_of_the_variance_and_the_norm_is_the_largest_singular_value():
    weight = 1.0 + normal(20, 50)
    edge = math.sqrt(weight.var()) * (math.sqrt(20) + math.sqrt(50))
    largest = math.sqrt(np.linalg.eigvalsh(weight @ weight.T)[-1])
    assert independence(weight).edge_ratio == pytest.approx(largest / edge, rel=1e-9)


def test_a_rank_one_spike_moves_the_edge_as_theory_says():
    """A = G + θ√n·uvᵀ, c = out/in = ½: ‖A‖/√n → √((1+θ²)(c+θ²))/θ above θ = c^¼, else the edge."""
    out, into, c = 200, 400, 0.5
    u, v = np.full((out, 1), out**-0.5), np.resize([1.0, -1.0], (1, into)) * into**-0.5

    def norm(theta):
        spike = theta * math.sqrt(into) * u @ v
        weights = [normal(out, into, seed=s) + spike for s in range(10)]
        edges = [w.std() * (math.sqrt(out) + math.sqrt(into)) for w in weights]
        found = [independence(w).edge_ratio * e for w, e in zip(weights, edges)]
        return statistics.fmean(found) / math.sqrt(into)

    allowed = ERRORS / math.sqrt(10) / math.sqrt(into)
    assert norm(2.0) == pytest.approx(math.sqrt(5 * 4.5) / 2, abs=allowed)
    assert norm(0.5 * c**0.25) == pytest.approx(1 + math.sqrt(c), abs=allowed)


def test_an_orthogonal_matrix_lies_below_the_edge():
    """All singular values are 1; Ψ = 1/64 less the squared mean, which is (8/64²)²."""
    hadamard = np.array([[(-1.0) ** (i & j).bit_count() for j in range(64)] for i in range(64)]) / 8
    psi = 1 / 64 - (hadamard.sum() / 4096) ** 2
    found = independence(hadamard)
    assert found.edge_ratio == pytest.approx(1 / (16 * math.sqrt(psi)), rel=1e-9)
    assert (found.rows.dispersion, found.rows.spread) == (1, 0)  # one magnitude: nothing varies


# --------------------------------------------------------------------------- symmetries


def test_gaussianity_does_not_see_where_the_entries_are():
    weight = stats.t(4).rvs((50, 100), random_state=0)
    shuffled = np.random.default_rng(1).permutation(weight.ravel()).reshape(100, 50)
    one, other = vars(gaussianity(weight)), vars(gaussianity(shuffled))
    one.pop("p_value")
    for name, value in one.items():
        assert np.asarray(other[name]) == pytest.approx(np.asarray(value), rel=1e-9, abs=1e-12)


def test_independence_sees_lines_but_not_their_order():
    rng = np.random.default_rng(2)
    weight = normal(30, 80) * rng.uniform(0.5, 2, 80)
    one = independence(weight)
    other = independence(weight[rng.permutation(30)][:, rng.permutation(80)])
    flipped = independence(weight.T)
    for lines, same in ((one.rows, other.rows), (one.columns, other.columns)):
        assert list(vars(same).values()) == pytest.approx(list(vars(lines).values()), rel=1e-9)
    assert (flipped.rows, flipped.columns) == (one.columns, one.rows)
    assert flipped.edge_ratio == pytest.approx(one.edge_ratio, rel=1e-9)
    shuffled = rng.permutation(weight.ravel()).reshape(30, 80)
    assert independence(shuffled).columns.dispersion < one.columns.dispersion / 2


def test_nothing_but_the_standard_deviation_depends_on_the_unit():
    weight = normal(20, 30)
    one, other = gaussianity(weight), gaussianity(weight / 1024)
    assert independence(weight) == independence(weight / 1024)
    assert vars(other) == vars(one) | {"standard_deviation": one.standard_deviation / 1024}


# --------------------------------------------------------------------------- degenerate


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("function", [gaussianity, independence])
@pytest.mark.parametrize(
    "weight",
    [
        np.zeros((3, 4)),
        np.full((7, 9), 0.1),
        [[2.0]],
        [[1.0, math.nan]],
        [[1.0, math.inf]],
        [1.0, 2.0],
        np.zeros((0, 3)),
        [[1e300, -1e300]],
        [[1e-300, -1e-300]],
        "weights",
    ],
)
def test_what_has_no_effect_size_is_refused_in_one_line(function, weight):
    with pytest.raises(InputError, match="^weight must .*$") as caught:
        function(weight)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("weight", [[[1.0, -1.0]], [[0.0], [1.0]], [[0, 0], [0, 1]], np.eye(3)])
def test_small_matrices_give_finite_numbers(weight):
    found = [gaussianity(weight), independence(weight).rows, independence(weight).columns]
    numbers = [v for part in found for v in vars(part).values() if not isinstance(v, tuple)]
    assert np.isfinite([*numbers, independence(weight).edge_ratio]).all()


@pytest.mark.filterwarnings("error")
def test_a_single_line_has_dispersion_one():
    found = independence([[1.0, 2.0, -4.0]])
    assert (found.rows.dispersion, found.rows.spread, found.rows.top_share) == (1, 0, 1)
    assert found.columns.dispersion == pytest.approx(1, rel=1e-12)  # columns of one entry
