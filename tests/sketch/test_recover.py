"""L1 recovery: exact where the theory says so, optimal elsewhere, honest where it fails."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from scipy.optimize import linprog

from prunecert.sketch import SketchOperator, distributed_sparse, recover
from prunecert.types import InputError


def smallest_norm(operator, y):
    """The l1 minimum by linear programming, from the dense Kronecker product."""
    matrix = np.kron(operator.P.toarray(), operator.Q.toarray())
    both = np.hstack([matrix, -matrix])
    solved = linprog(np.ones(both.shape[1]), A_eq=both, b_eq=y.ravel(), method="highs")
    assert solved.status == 0
    return solved.fun


def check_certificate(operator, y, found, tolerance):
    """Everything `found` claims, recomputed densely."""
    p, q = operator.P.toarray(), operator.Q.toarray()
    assert np.abs(p.T @ found.dual @ q).max() <= 1 + 1e-12
    assert found.lower_bound == pytest.approx((y * found.dual).sum(), rel=1e-12)
    assert found.objective == pytest.approx(np.abs(found.x).sum(), rel=1e-12)
    misfit = np.linalg.norm(p @ found.x @ q.T - y) / np.linalg.norm(y)
    assert misfit <= 1e-9 and abs(misfit - found.residual) < 1e-9
    assert found.converged and abs(found.gap) <= tolerance


@pytest.mark.parametrize("seed", [0, 2, 3, 4])  # with 1, two columns of Q coincide
@pytest.mark.parametrize("count", [1, 2])
def test_distributed_sparse_matrices_come_back(count, seed):
    x = distributed_sparse(60, count, np.random.default_rng(seed))
    operator = SketchOperator.draw(x.shape, 36, seed=seed)
    y = operator.forward(x)
    found = recover(operator, y)
    check_certificate(operator, y, found, 1e-6)
    assert np.linalg.norm(found.x - x) <= 1e-9 * np.linalg.norm(x)


def test_rectangular_and_permuted():
    random = np.random.default_rng(0)
    x = distributed_sparse(60, 1, random)[:40]
    operator = SketchOperator.draw(x.shape, 30, seed=0)
    order = random.permutation(40)
    moved = SketchOperator(30, operator.left[order], operator.right)
    assert np.allclose(moved.forward(x[order]), operator.forward(x), rtol=0, atol=1e-12)
    for own, matrix in ((operator, x), (moved, x[order])):
        found = recover(own, own.forward(matrix))
        assert found.converged
        np.testing.assert_allclose(found.x, matrix, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_optimum_equals_the_linear_program_where_x_does_not_come_back(seed):
    shape = [(8, 8), (12, 9), (6, 14)][seed % 3]
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) * (random.random(shape) < 0.4)
    operator = SketchOperator.draw(shape, 5 + seed % 2, 2, seed)
    y = operator.forward(x)
    least = smallest_norm(operator, y)
    assert least < 0.95 * np.abs(x).sum(), "a case where the sketched matrix is not the minimiser"
    found = recover(operator, y, tolerance=1e-6, max_iterations=20_000)
    check_certificate(operator, y, found, 1e-6)
    assert found.lower_bound <= least * (1 + 1e-9) <= found.objective * (1 + 2e-9)
    assert found.objective == pytest.approx(least, rel=2e-6)


@pytest.mark.parametrize("iterations", [1, 5, 40])
def test_any_stop_gives_a_feasible_matrix_and_a_true_lower_bound(iterations):
    random = np.random.default_rng(5)
    x = random.standard_normal((9, 11)) * (random.random((9, 11)) < 0.5)
    operator = SketchOperator.draw(x.shape, 6, 2, 5)
    y = operator.forward(x)
    found = recover(operator, y, tolerance=1e-13, max_iterations=iterations)
    least = smallest_norm(operator, y)
    assert found.lower_bound <= least * (1 + 1e-9) <= found.objective * (1 + 2e-9)
    assert found.residual < 1e-9
    assert found.iterations == iterations and not found.converged


def test_too_few_rows_is_said():
    x = distributed_sparse(60, 3, np.random.default_rng(0))
    operator = SketchOperator.draw(x.shape, 16, seed=0)
    y = operator.forward(x)
    short = recover(operator, y, max_iterations=60)
    assert not short.converged and short.gap > 1e-3 and short.residual < 1e-9
    norm = float(np.abs(x).sum())
    beaten = recover(operator, y, give_up_below=norm)
    assert not beaten.converged and beaten.objective < norm and beaten.residual < 1e-9
    assert beaten.iterations < 2000


def test_columns_that_coincide_leave_a_proven_optimum_that_is_not_the_matrix():
    """Places 0, 0, 1 and 0, 1, 1 are one column: the sketch cannot tell columns 0 and 1 of X."""
    left = np.arange(6)[:, None]
    operator = SketchOperator(6, left, np.array([[0, 0, 1], [1, 0, 1], [2, 3, 4]]))
    x = np.zeros((6, 3))
    x[0, 0], x[3, 2] = 2.0, -1.0
    other = x[:, [1, 0, 2]]
    assert (operator.forward(x) == operator.forward(other)).all()
    found = recover(operator, operator.forward(x))
    assert found.converged and found.objective == pytest.approx(3.0, rel=1e-6)
    np.testing.assert_allclose(found.x[0, :2].sum(), 2.0, rtol=0, atol=1e-5)


def test_scale_and_sign_carry_over():
    x = distributed_sparse(40, 1, np.random.default_rng(2))
    operator = SketchOperator.draw(x.shape, 24, seed=2)
    one, other = (recover(operator, operator.forward(s * x)) for s in (1.0, -1e-6))
    assert one.converged and other.converged
    np.testing.assert_allclose(other.x, -1e-6 * one.x, rtol=0, atol=1e-14)


def test_a_sketch_of_zeros_and_an_empty_row():
    operator = SketchOperator(3, np.array([[0], [1]]), np.array([[0], [2], [2]]))
    zero = recover(operator, np.zeros((3, 3)))
    assert zero.converged and zero.gap == 0 and not zero.x.any() and zero.iterations == 0
    # row 2 of P is empty: the Gram matrix is singular; columns 1 and 2 fall on the same row of Q
    y = operator.forward([[2.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
    found = recover(operator, y)
    assert found.converged and found.objective == pytest.approx(3.0, rel=1e-6)


def test_progress_counts_the_iterations():
    told = []

    @contextmanager
    def stage(name, total):
        told.append(total)
        yield told.append

    x = distributed_sparse(40, 1, np.random.default_rng(2))
    operator = SketchOperator.draw(x.shape, 24, seed=2)
    found = recover(operator, operator.forward(x), max_iterations=500, stage=stage)
    assert told[0] == 500 and sum(told[1:]) == found.iterations > 0


@pytest.mark.parametrize(
    ("y", "line"),
    [
        (np.zeros((2, 3)), "sketch: has shape (2, 3), expected (3, 3)"),
        (np.full((3, 3), np.inf), "sketch: holds 9 NaN or infinite values"),
        (np.eye(3), "sketch: no matrix has this sketch under this operator"),
    ],
)
def test_refusals(y, line):
    operator = SketchOperator(3, np.array([[0], [1]]), np.array([[0], [2]]))
    with pytest.raises(InputError) as error:
        recover(operator, y)
    assert str(error.value) == line


@pytest.mark.slow
def test_reference_case():
    """p = 784, j = 3, m = 200 (THEORY 1.7): 6.5 % of the dense size."""
    x = distributed_sparse(784, 3, np.random.default_rng(0))
    operator = SketchOperator.draw(x.shape, 200, seed=0)
    found = recover(operator, operator.forward(x))
    assert found.converged
    assert np.linalg.norm(found.x - x) <= 1e-5 * np.linalg.norm(x)
