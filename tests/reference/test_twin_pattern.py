"""Sparsity pattern by enumerating every mask, and the sketch's size by hand."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from exact_tail import exact_cdf
from mpmath import floor, log, mpf, sqrt, workdps

from prunecert.reference import TWINS
from prunecert.reference.pattern import sketch_rows
from prunecert.types import InputError

TINY = mpf("1e-30")
in_paper, gaussian = TWINS["pattern-as-in-paper"], TWINS["pattern-gaussian"]
poisson = TWINS["pattern-poisson-binomial"]


@workdps(50)
def test_the_paper_by_hand():
    """d = 1/4 keeps 2/3: 3 λ · 2/3 · the larger side."""
    values = in_paper(fan_out=[4, 7], fan_in=[9, 4], pruning_d=0.25, lambda_l=[5.0, 0.5])
    assert abs(values[0] - 90) < TINY
    assert abs(values[1] - 7) < TINY
    assert in_paper(fan_out=[4], fan_in=[9], pruning_d=0.0, lambda_l=[5.0]) == [135]


def smallest(lines, entries, chi, allowed):
    """min{j : lines P[Bin(entries, chi) > j] <= allowed}, in fractions."""
    return next(
        j for j in range(entries + 1) if lines * (1 - exact_cdf(j, entries, chi)) <= allowed
    )


@pytest.mark.parametrize("delta", [0.05, 0.9, 1e-12])
def test_gaussian_by_exact_fractions(delta):
    """d = 1/4 keeps 2/3 and d = 16/9 keeps 1 − √(8/17): one rational, one to 1e-17."""
    for d, chi in ((0.25, Fraction(2, 3)), (16 / 9, Fraction(1 - (8 / 17) ** 0.5))):
        fan_out, fan_in = [10, 3, 1], [25, 10, 3]
        expected = [
            (
                smallest(rows, columns, chi, Fraction(delta) / 6),
                smallest(columns, rows, chi, Fraction(delta) / 6),
            )
            for rows, columns in zip(fan_out, fan_in, strict=True)
        ]
        assert gaussian(fan_out=fan_out, fan_in=fan_in, pruning_d=d, delta=delta) == expected


def test_gaussian_by_hand():
    """1 x 2 at chi = 2/3, delta' / 2 = 1/4: P[2 kept] = 4/9 and P[> 0] of 1 is 2/3 (twice)."""
    question = {"fan_out": [1], "fan_in": [2], "pruning_d": 0.25}
    assert gaussian(**question, delta=0.5) == [(2, 1)]
    assert gaussian(**question, delta=0.89) == [(1, 1)]  # 4/9 <= 0.445
    assert gaussian(**question, delta=0.88) == [(2, 1)]


def test_unpruned_layers_are_full():
    assert gaussian(fan_out=[4], fan_in=[9], pruning_d=0.0, delta=0.05) == [(9, 4)]


def by_enumeration(drop, delta):
    """Row and column counts of every mask, probabilities in fractions."""
    drop = np.asarray(drop)
    shape = drop.shape
    exact = [Fraction(float(p)) for p in drop.ravel()]
    tails = [[Fraction(0)] * (size + 1) for size in (shape[1], shape[0])]
    for mask in product((0, 1), repeat=drop.size):
        probability = Fraction(1)
        for kept, p in zip(mask, exact):
            probability *= 1 - p if kept else p
        for axis, tail in zip((1, 0), tails):
            for count in np.reshape(mask, shape).sum(axis=axis):
                for j in range(count):
                    tail[j] += probability
    half = Fraction(delta) / 2
    return tuple(next(j for j, t in enumerate(tail) if t <= half) for tail in tails)


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 4)])
def test_poisson_binomial_by_every_mask(shape):
    source = np.random.default_rng(7)
    seen = set()
    for _ in range(5):
        drop = source.random(shape) ** 0.3
        for delta in (0.9, 0.3, 0.02):
            answer = poisson(drop_probability=drop, delta=delta)
            assert answer == by_enumeration(drop, delta)
            assert poisson(drop_probability=drop.tolist(), delta=delta) == answer
            seen.add(answer)
    assert len(seen) > 2


def test_equal_probabilities_are_the_binomial():
    """Keep probability 1/4 in fractions, 7 rows of 12."""
    for delta in (0.5, 0.05, 1e-9):
        half = Fraction(delta) / 2
        chi = Fraction(1, 4)
        expected = (smallest(7, 12, chi, half), smallest(12, 7, chi, half))
        assert poisson(drop_probability=np.full((7, 12), 0.75), delta=delta) == expected


def test_certain_masks_are_counted():
    drop = [[0, 1, 0, 1], [1, 1, 0, 1], [1, 1, 0, 1]]
    assert poisson(drop_probability=drop, delta=1e-300) == (2, 3)
    assert poisson(drop_probability=np.ones((2, 2)), delta=1e-300) == (0, 0)


def test_a_tail_equal_to_its_share_is_allowed():
    """P[the one entry is kept] = 1/4 = delta/2."""
    assert poisson(drop_probability=[[0.75]], delta=0.5) == (0, 0)
    assert poisson(drop_probability=[[0.75]], delta=0.4999) == (1, 1)


@workdps(50)
def test_sketch_rows_by_hand():
    """√(max(j_c p1, j_r p2)) ln p: √900 ln 100 = 138.2, √1600 ln 100 = 184.2."""
    assert sketch_rows(fan_out=100, fan_in=25, row_nonzeros=4, column_nonzeros=9) == 139
    assert sketch_rows(fan_out=25, fan_in=100, row_nonzeros=16, column_nonzeros=9) == 185
    assert sketch_rows(fan_out=100, fan_in=25, row_nonzeros=64, column_nonzeros=9) == 185
    assert sketch_rows(fan_out=2, fan_in=2, row_nonzeros=1, column_nonzeros=1) == 1  # 0.98


@workdps(50)
def test_a_square_sketch_beats_the_dense_matrix_below_j_17():
    """p = 784 (THEORY 1.7): m = √(j p) ln p, smaller than p up to j = p / ln² p = 17.65."""
    assert floor(784 / log(mpf(784)) ** 2) == 17
    for j, smaller in ((17, True), (18, False)):
        m = sketch_rows(fan_out=784, fan_in=784, row_nonzeros=j, column_nonzeros=j)
        assert (m < 784) == smaller
        assert m - 1 < sqrt(mpf(784 * j)) * log(784) <= m


@pytest.mark.parametrize("field", ["fan_out", "fan_in", "row_nonzeros", "column_nonzeros"])
def test_bad_sketches_are_refused(field):
    good = {"fan_out": 4, "fan_in": 4, "row_nonzeros": 1, "column_nonzeros": 1}
    for wrong in (0, -1):
        with pytest.raises(InputError, match=f"^{field}: expected a count of 1 or more"):
            sketch_rows(**{**good, field: wrong})


def test_bad_patterns_are_refused():
    line = {"fan_out": [4], "fan_in": [9], "pruning_d": 1.0}
    for field, wrong in [("fan_out", [0]), ("fan_in", [9, 9]), ("fan_out", []), ("pruning_d", -1)]:
        for twin, more in ((in_paper, {"lambda_l": [1.0]}), (gaussian, {"delta": 0.05})):
            with pytest.raises(InputError, match=r"^(fan_out|fan_in|pruning_d): expected"):
                twin(**{**line, field: wrong}, **more)
    with pytest.raises(InputError, match="^lambda_l: expected a number above 0"):
        in_paper(**line, lambda_l=[0.0])
    for wrong in ([], [[]], [[0.5, 0.5], [0.5]], [[1.5]], [[float("nan")]]):
        with pytest.raises(InputError, match="^drop_probability: expected"):
            poisson(drop_probability=wrong, delta=0.05)
    for delta in (0.0, 1.0):
        with pytest.raises(InputError, match="^delta: expected"):
            poisson(drop_probability=[[0.5]], delta=delta)
        with pytest.raises(InputError, match="^delta: expected"):
            gaussian(**line, delta=delta)
