"""What was removed: moments by integration, tails by enumerating every mask."""

from itertools import product

import numpy as np
import pytest
from mpmath import cosh, diff, exp, findroot, log, mpf, nstr, pi, quad, sqrt, workdps

from prunecert.reference import TWINS
from prunecert.reference.removed import moment
from prunecert.types import InputError

TINY = mpf("1e-30")
chi, latala, gaussian = (
    TWINS[name] for name in ("kept-fraction", "removed-norm-latala", "removed-norm-gaussian")
)
bernstein, cumulants = TWINS["removed-norm-bernstein"], TWINS["removed-norm-cumulants"]
redraws, measured = TWINS["removed-norm-redraws"], TWINS["removed-norm-measured"]


def removed_moment(power, psi, d):
    """E[w^power; dropped] for w ~ N(0, psi), dropped with probability e^(-w²/(d psi))."""

    def integrand(w):
        return w**power * exp(-w * w / (d * psi) - w * w / (2 * psi)) / sqrt(2 * pi * psi)

    return 2 * quad(integrand, [0, sqrt(psi), 5 * sqrt(psi), 16 * sqrt(psi)])


# ------------------------------------------------------------ Gaussian weights


@workdps(50)
@pytest.mark.parametrize("d", [0.25, 2.0, 9.0])
def test_kept_fraction_is_what_a_gaussian_keeps(d):
    assert abs(chi(pruning_d=d) - (1 - removed_moment(0, mpf(1), mpf(d)))) < TINY


@workdps(50)
def test_kept_fraction_by_hand():
    assert chi(pruning_d=0.0) == 1
    assert abs(chi(pruning_d=0.25) - mpf(2) / 3) < TINY  # √(1/9)
    assert abs(chi(pruning_d=2) - (1 - sqrt(mpf(1) / 2))) < TINY


@workdps(50)
def test_latala_from_the_moments_of_what_is_removed():
    values = latala(fan_out=[4, 3], fan_in=[9, 4], pruning_d=2.0, variance=[0.25, 1.5])
    for value, (rows, columns, psi) in zip(values, [(4, 9, 0.25), (3, 4, 1.5)], strict=True):
        second, fourth = (removed_moment(power, mpf(psi), mpf(2)) for power in (2, 4))
        expected = sqrt(second) * (sqrt(mpf(rows)) + sqrt(mpf(columns)))
        expected += (fourth * rows * columns) ** (mpf(1) / 4)
        assert abs(value - expected) < TINY


@workdps(50)
def test_gaussian_by_hand():
    """d/(d+2) = 1/4; √Ψ is 2 and 3; delta is shared by two layers."""
    values = gaussian(
        fan_out=[4, 9], fan_in=[25, 4], pruning_d=mpf(2) / 3, variance=[4.0, 9.0], delta=0.125
    )
    tail = sqrt(2 * log(mpf(16)))
    assert abs(values[0] - (7 + tail)) < TINY
    assert abs(values[1] - mpf("1.5") * (5 + tail)) < TINY
    alone = gaussian(fan_out=[4], fan_in=[25], pruning_d=mpf(2) / 3, variance=[4.0], delta=0.125)
    assert abs(alone[0] - (7 + sqrt(6 * log(mpf(2))))) < TINY


@workdps(50)
def test_gaussian_holds_on_a_sheet_of_the_theory():
    """784 x 784 at d = 3, unit variance (THEORY 1.3): 45.7 where Γ with C = 1 is 65.0."""
    question = {"fan_out": [784], "fan_in": [784], "pruning_d": 3.0, "variance": [1.0]}
    assert nstr(latala(**question)[0], 3) == "65.0"
    assert nstr(gaussian(**question, delta=0.01)[0], 3) == "45.7"


def test_nothing_is_removed_at_d_0():
    question = {"fan_out": [4], "fan_in": [9], "pruning_d": 0.0, "variance": [2.0]}
    assert latala(**question) == [0]
    assert gaussian(**question, delta=0.05) == [0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pruning_d", -0.1),
        ("pruning_d", float("nan")),
        ("pruning_d", float("inf")),
        ("variance", [0.0]),
        ("variance", [1.0, 1.0]),
        ("fan_in", [0]),
        ("fan_in", []),
        ("fan_out", []),
    ],
)
def test_bad_input_of_the_gaussian_sizes(field, value):
    question = {"fan_out": [4], "fan_in": [9], "pruning_d": 1.0, "variance": [1.0], field: value}
    for twin, more in ((latala, {}), (gaussian, {"delta": 0.05})):
        with pytest.raises(InputError, match=f"^{field}: expected"):
            twin(**question, **more)
    if field == "pruning_d":
        with pytest.raises(InputError, match="^pruning_d: expected"):
            chi(pruning_d=value)


@pytest.mark.parametrize("delta", [0.0, 1.0, float("nan")])
def test_every_probability_needs_a_delta_inside_0_and_1(delta):
    one = {"weight": [[1.0]], "drop_probability": [[0.5]]}
    line = {"fan_out": [4], "fan_in": [9], "pruning_d": 1.0, "variance": [1.0]}
    for twin, rest in (
        (gaussian, line),
        (bernstein, one),
        (cumulants, one),
        (redraws, {"redrawn_norms": [1.0] * 50}),
    ):
        with pytest.raises(InputError, match="^delta: expected"):
            twin(**rest, delta=delta)


# ------------------------------------------------------------ trained weights


@workdps(50)
def test_bernstein_by_hand():
    """p = 1/2 but for a dropped and a kept entry, which are large and not random.

    W∘p = diag(8, 1, 1/2, 0): norm 8. M = 1 from the weight 2; v = 1 from the same entry.
    """
    weight = np.diag([8.0, 2.0, 1.0, 100.0])
    drop = np.diag([1.0, 0.5, 0.5, 0.0])
    ell = log(mpf(8) / mpf("0.125"))
    value = bernstein(weight=weight, drop_probability=drop, delta=0.125)
    assert abs(value - (8 + ell / 3 + sqrt(ell**2 / 9 + 2 * ell))) < TINY


@workdps(50)
def test_bernstein_takes_the_worse_of_rows_and_columns():
    """One row (3, 4) at p = 1/4: M = 3, v = 25 · 3/16 from the row, although columns have less."""
    ell = log(mpf(3) / mpf("0.5"))
    expected = mpf(5) / 4 + ell + sqrt(ell**2 + 2 * 25 * mpf(3) / 16 * ell)
    row = bernstein(weight=[[3.0, 4.0]], drop_probability=[[0.25, 0.25]], delta=0.5)
    column = bernstein(weight=[[3.0], [-4.0]], drop_probability=[[0.25], [0.25]], delta=0.5)
    assert abs(row - expected) < TINY
    assert abs(column - expected) < TINY


@workdps(50)
def test_cumulants_are_those_of_the_entry():
    """Slope 0 and curvature w² p (1−p) at theta = 0; p = 1/2 gives cosh(theta w / 2)."""
    for w, p in ((mpf(3), mpf("0.25")), (mpf(-2), mpf("0.75"))):
        small = mpf("1e-12")
        curvature = 2 * log(moment(w, p, small)) / small**2
        assert abs(curvature - w**2 * p * (1 - p)) < mpf("1e-10")
    assert abs(moment(mpf(3), mpf("0.5"), mpf(2)) - cosh(mpf(3))) < TINY
    assert moment(mpf(3), mpf(1), mpf(2)) == moment(mpf(3), mpf(0), mpf(2)) == 1


@workdps(50)
def test_cumulants_take_the_heavier_tail():
    """With p < 1/2 the drop is the rare, large step, whatever the sign of the weight."""
    heavy = (1 - mpf("0.25") + mpf("0.25") * exp(6)) * exp(mpf("-1.5"))
    for w, p in ((3, 0.25), (-3, 0.25), (3, 0.75), (-3, 0.75)):
        assert abs(moment(mpf(w), mpf(p), mpf(2)) / heavy - 1) < TINY


def stationary_value(top, start):
    """top(theta)/theta where theta top' = top."""
    theta = findroot(lambda x: x * diff(top, x) - top(x), start)
    return top(theta) / theta


@workdps(50)
def test_cumulant_bound_of_one_entry_at_its_stationary_point():
    """w = 2, p = 1/4: one row and one column; ln 2p < ln delta, so that there is a minimum."""

    def top(theta):
        return log(2 * (3 + exp(2 * theta)) / 4) - theta / 2 - log(mpf("0.75"))

    value = cumulants(weight=[[2.0]], drop_probability=[[0.25]], delta=0.75)
    assert abs(value - mpf("0.5") - stationary_value(top, mpf(1))) < mpf("1e-28")


@workdps(50)
def test_cumulant_bound_adds_rows_and_columns():
    """(2, 2, 2) at p = 1/2: a row of cosh³, three columns of cosh, a dead row and a kept column."""

    def top(theta):
        return log(cosh(theta) ** 3 + 3 * cosh(theta) + 2) - log(mpf("0.75"))

    expected = sqrt(mpf(3)) + stationary_value(top, mpf(1))
    weight = [[2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]]
    drop = [[0.5, 0.5, 0.5, 0.0], [0.5, 0.5, 1.0, 1.0]]
    assert abs(cumulants(weight=weight, drop_probability=drop, delta=0.75) - expected) < mpf(
        "1e-28"
    )
    turned = {"weight": np.transpose(weight), "drop_probability": np.transpose(drop)}
    assert abs(cumulants(**turned, delta=0.75) - expected) < mpf("1e-28")


@workdps(50)
def test_cumulant_bound_without_a_minimum_is_the_largest_that_can_happen():
    """1 x 1: ln 2p >= ln delta, so that it falls to |w| max(p, 1−p) as theta grows."""
    value = cumulants(weight=[[-3.0]], drop_probability=[[0.25]], delta=0.125)
    assert abs(value - (mpf("0.75") + mpf("2.25"))) < TINY


@pytest.mark.parametrize("twin", [bernstein, cumulants])
def test_where_nothing_is_random_the_norm_is_known(twin):
    weight = [[3.0, 4.0, 5.0], [0.0, 0.0, 7.0]]
    value = twin(weight=weight, drop_probability=[[1, 1, 0], [0.5, 0.5, 0]], delta=0.05)
    # The weights at p = 1/2 are 0: for Bernstein they are random entries of size 0.
    assert abs(value - 5) < TINY


@workdps(50)
@pytest.mark.parametrize("twin", [bernstein, cumulants])
def test_bounds_scale_with_the_weights(twin):
    weight = np.array([[0.3, -1.2, 0.1], [0.7, 0.2, -0.4]])
    drop = np.exp(-(weight**2))
    once, small = (twin(weight=c * weight, drop_probability=drop, delta=0.1) for c in (1, 2**-40))
    assert abs(small * 2**40 / once - 1) < mpf("1e-28")


def tail(weight, drop, threshold):
    """P[‖Δ‖₂ > threshold] over every mask."""
    total = 0.0
    for dropped in product((0, 1), repeat=weight.size):
        mask = np.reshape(dropped, weight.shape)
        if np.linalg.norm(weight * mask, 2) > threshold:
            total += np.prod(np.where(mask == 1, drop, 1 - drop))
    return total


@pytest.mark.parametrize("seed", range(6))
def test_bounds_hold_over_every_mask_and_cumulants_are_tighter(seed):
    source = np.random.default_rng(seed)
    weight = source.normal(size=[(2, 2), (2, 3), (4, 2)][seed % 3])
    drop = np.exp(-(weight**2) / source.uniform(0.2, 4))
    for delta in (0.9, 0.3, 0.01):
        question = {"weight": weight, "drop_probability": drop, "delta": delta}
        assert cumulants(**question) < bernstein(**question)
        assert tail(weight, drop, float(cumulants(**question))) <= delta
    lists = {key: np.asarray(value).tolist() for key, value in question.items()}
    assert cumulants(**lists) == cumulants(**question)


def test_bad_matrices_are_refused():
    good = {"weight": [[1.0, 2.0]], "drop_probability": [[0.5, 0.5]]}
    for twin in (bernstein, cumulants):
        for field, value in [
            ("weight", []),
            ("weight", [[]]),
            ("weight", [[1.0, float("nan")]]),
            ("weight", [[1.0, float("inf")]]),
            ("weight", [[1.0, 2.0], [3.0]]),
            ("drop_probability", [[0.5, 1.1]]),
            ("drop_probability", [[0.5, -0.1]]),
            ("drop_probability", [[0.5, float("nan")]]),
            ("drop_probability", [[0.5], [0.5]]),
            ("drop_probability", []),
        ]:
            with pytest.raises(InputError, match=f"^{field}: expected"):
                twin(**{**good, field: value}, delta=0.05)


# ------------------------------------------------------------ redraws and the mask in use


def test_redraws_by_sorting():
    norms = [float(i * 7 % 19) for i in range(19)]  # 0 to 18, shuffled
    assert sorted(norms) == list(range(19)) != norms
    for delta, value in ((0.05, 18), (0.1, 17), (0.149, 17), (0.15, 16), (0.95, 0)):
        assert redraws(redrawn_norms=norms, delta=delta) == value


def test_delta_is_the_decimal_it_prints():
    """0.3 as a float is below 3/10: read so, the rank would be 2."""
    assert redraws(redrawn_norms=[float(i) for i in range(1, 10)], delta=0.3) == 7


def test_redraws_need_enough_of_them():
    assert redraws(redrawn_norms=[1.0] * 18 + [2.0], delta=0.05) == 2
    for norms in ([1.0] * 18, []):
        with pytest.raises(InputError, match="^redrawn_norms: expected at least 1/delta - 1, got"):
            redraws(redrawn_norms=norms, delta=0.05)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="^redrawn_norms: expected numbers"):
            redraws(redrawn_norms=[1.0] * 18 + [wrong], delta=0.05)


@workdps(50)
def test_measured_by_hand():
    """What is left out of the mask is (3, 4) of the first row."""
    weight = [[3.0, 100.0, -4.0], [50.0, 60.0, 70.0]]
    kept = [[0, 1, 0], [1, 1, 1]]
    assert abs(measured(weight=weight, kept=kept) - 5) < TINY
    assert measured(weight=weight, kept=np.ones((2, 3), dtype=bool)) == 0


def test_measured_is_the_largest_singular_value():
    source = np.random.default_rng(3)
    weight, kept = source.normal(size=(5, 8)), source.random((5, 8)) < 0.4
    expected = np.linalg.svd(weight * ~kept, compute_uv=False)[0]
    assert abs(measured(weight=weight, kept=kept) / expected - 1) < 1e-14
    assert measured(weight=weight.tolist(), kept=kept.astype(int).tolist()) == measured(
        weight=weight, kept=kept
    )


def test_a_mask_is_0_or_1_and_as_large_as_the_weights():
    for kept in ([[1, 0.5]], [[1, 2]], [[1]], [[1, 1], [1, 1]], []):
        with pytest.raises(InputError, match="^kept: expected"):
            measured(weight=[[1.0, 2.0]], kept=kept)
