"""P X Qᵀ without its matrices, against the matrices."""

from __future__ import annotations

import numpy as np
import pytest

from prunecert.sketch import SketchOperator, default_weight, sketch
from prunecert.types import InputError

SHAPES = [(9, 9), (5, 13), (12, 4)]


def dense(rows, places):
    """The incidence matrix by its definition."""
    matrix = np.zeros((rows, len(places)))
    for column, ones in enumerate(places):
        for row in ones:
            matrix[row, column] = 1.0
    return matrix


def drawn(shape, seed=3):
    operator = SketchOperator.draw(shape, 4, 3, seed)
    return operator, dense(4, operator.left), dense(4, operator.right)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_equals_the_dense_products(shape, lead):
    operator, p, q = drawn(shape)
    random = np.random.default_rng(0)
    x, z = random.standard_normal((*lead, *shape)), random.standard_normal((*lead, 4, 4))
    np.testing.assert_allclose(operator.forward(x), p @ x @ q.T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(operator.adjoint(z), p.T @ z @ q, rtol=0, atol=1e-12)
    inner = float((operator.forward(x) * z).sum())
    assert inner == pytest.approx(float((x * operator.adjoint(z)).sum()), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_row_major_vec_is_the_kronecker_product(shape):
    operator, p, q = drawn(shape)
    x = np.random.default_rng(1).standard_normal(shape)
    y = np.kron(p, q) @ x.ravel()
    np.testing.assert_allclose(operator.forward(x).ravel(), y, rtol=0, atol=1e-12)
    i, j = np.array([0, 3, 3]), np.array([1, 0, 2])
    columns = np.kron(p, q)[:, i * shape[1] + j]
    assert (operator.restricted(i, j).toarray() == columns).all()


def test_columns_hold_at_most_delta_ones_and_some_fewer():
    operator = SketchOperator.draw((400, 300), 10, 4, seed=0)
    for side, size in ((operator.P, 400), (operator.Q, 300)):
        assert set(side.data) == {1.0}
        weights = side.toarray().sum(axis=0)
        assert weights.max() == 4 and weights.min() < 4  # with replacement: a place drawn twice
        # distinct places: 10·(1 − 0.9⁴) = 3.439 on average, each of variance below 1/2
        assert abs(weights.mean() - 3.439) < 5 * np.sqrt(0.5 / size)
        assert (side.toarray().sum(axis=1) > 0).all()


def test_seeded():
    one, same, other = (SketchOperator.draw((30, 20), 8, seed=s) for s in (1, 1, 2))
    assert (one.left == same.left).all() and (one.right == same.right).all()
    assert (one.left != other.left).any()
    assert not (one.left[:20] == one.right).all(), "P and Q are drawn apart"
    x = np.eye(30, 20)
    assert (sketch(x, 8, seed=1) == one.forward(x)).all()
    assert default_weight((784, 784)) == 7  # ln 784 = 6.66
    assert one.left.shape == (30, 4)  # ln 30 = 3.4


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (lambda: SketchOperator.draw((6, 8), 9), "rows 9: expected 1 to 8"),
        (lambda: SketchOperator.draw((6, 8), 0, 1), "rows 0: expected 1 to 8"),
        (lambda: SketchOperator.draw((6, 8), 4, 5), "column weight 5: expected 1 to 4"),
        (lambda: SketchOperator.draw((6, 0), 4), "shape (6, 0): expected at least one"),
        (lambda: SketchOperator(4, np.array([[4]]), np.array([[0]])), "left: expected integers"),
        (lambda: SketchOperator(4, np.array([[0]]), np.array([0.5])), "right: expected integers"),
        (lambda: SketchOperator.draw((6, 8), 4, 2).forward(np.ones((8, 6))), "shape (8, 6)"),
        (lambda: sketch(np.ones(8), 4), "matrix: has shape (8,), expected a matrix"),
        (lambda: sketch(np.full((3, 3), np.nan), 2), "matrix: holds 9 NaN or infinite"),
    ],
)
def test_refusals(wrong, line):
    with pytest.raises(InputError) as error:
        wrong()
    assert line in str(error.value) and "\n" not in str(error.value)
