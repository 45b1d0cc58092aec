"""How many rows: counts, formulas, the experiment and the search."""

from __future__ import annotations

import numpy as np
import pytest

from prunecert.sketch import (
    SketchOperator,
    distributed_sparse,
    fewest_rows,
    pattern,
    recovered,
    smallest_rows,
    success_probability,
    uniform_phases,
)
from prunecert.types import InputError


def test_pattern_counts():
    x = np.zeros((4, 6))
    x[0, :5] = 1
    x[2, 0] = -1
    where = pattern(x)
    assert (where.shape, where.nonzeros) == ((4, 6), 6)
    assert (where.largest_row, where.largest_column) == (5, 2)
    assert (where.dead_rows, where.dead_columns) == (2, 1)
    assert where.list_bits(32) == 6 * (32 + 5)  # 24 positions: 5 bits
    assert fewest_rows(where) == 5  # the fullest row; √6 alone would need 3


@pytest.mark.parametrize("count", [1, 3, 10])
def test_distributed_sparse_has_exactly_j_everywhere(count):
    kept = distributed_sparse(10, count, np.random.default_rng(0)) != 0
    assert (kept.sum(axis=0) == count).all() and (kept.sum(axis=1) == count).all()


def test_below_the_floor_nothing_is_recovered():
    """A full column of 30 needs 30 rows, however few nonzeros there are."""
    x = np.zeros((30, 30))
    x[:, 4] = np.random.default_rng(0).standard_normal(30)
    assert fewest_rows(pattern(x)) == 30
    assert not any(recovered(x, m, seed=s)[0] for m in (12, 20, 28) for s in range(3))


def test_a_matrix_that_turns_up_without_proof_does_not_count():
    x = distributed_sparse(50, 2, np.random.default_rng(1))
    good, found = recovered(x, 22, seed=1, max_iterations=30)
    assert np.allclose(found.x, x, rtol=0, atol=1e-9), "the sparse solver finds it"
    assert found.gap > 1e-3 and not good, "but l1 minimisation is not shown to"


def test_success_rises_with_rows_and_falls_with_nonzeros():
    rows = [8, 20, 40]
    table = uniform_phases(40, [1, 3], rows, 4, seed=0)
    assert table.shape == (2, 3)
    assert table[0].tolist() == sorted(table[0]) and table[1].tolist() == sorted(table[1])
    assert (table[0] >= table[1]).all()
    assert table[1, 0] == 0 and table[0, 2] == 1
    again = uniform_phases(40, [1, 3], rows, 4, seed=0)
    assert (table == again).all()


def test_a_fixed_matrix_and_its_smallest_sketch():
    x = distributed_sparse(50, 1, np.random.default_rng(1))
    m = smallest_rows(x, seed=3)
    good, found = recovered(x, m, seed=3)
    assert good and np.allclose(found.x, x, rtol=0, atol=1e-9)
    assert not recovered(x, m - 1, seed=3)[0]
    assert fewest_rows(pattern(x)) <= m <= 28  # the theory's m: √50 ln 50 = 27.7
    assert success_probability(lambda _: x, [50], 2).tolist() == [1.0]
    coarse = smallest_rows(x, seed=3, resolution=5)
    assert recovered(x, coarse, seed=3)[0]


def test_rows_that_no_sketch_tells_apart_have_no_smallest():
    """With one 1 per column, two of the 12 rows fall together up to m = 12 for this seed."""
    x = np.random.default_rng(0).standard_normal((12, 12))
    operator = SketchOperator.draw(x.shape, 12, 1, seed=0)
    assert len(np.unique(operator.left)) < 12
    assert smallest_rows(x, weight=1, seed=0) is None


def test_refusals():
    with pytest.raises(InputError, match="trials 0: expected at least 1"):
        success_probability(lambda _: np.eye(3), [2], 0)
    with pytest.raises(InputError, match="4 nonzeros per row: expected 1 to 3"):
        distributed_sparse(3, 4, np.random.default_rng(0))
    with pytest.raises(InputError, match="expected a matrix"):
        smallest_rows(np.ones((2, 2, 2)))
