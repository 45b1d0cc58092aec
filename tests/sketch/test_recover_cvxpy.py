"""`recover` against cvxpy's interior-point solver, which shares nothing with it."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest

from prunecert.sketch import SketchOperator, recover

SQUARE, WIDE, TALL = (14, 14), (10, 18), (20, 9)
# (shape, density of x, rows of the sketch)
CASES = {
    "comes back": [(SQUARE, 0.05, 11), (WIDE, 0.05, 13), (TALL, 0.05, 14)],
    "does not": [(SQUARE, 0.4, 6), (WIDE, 0.4, 7), (TALL, 0.4, 6)],
}


def minimiser(operator, y):
    """The matrix of smallest l1 norm, stated as THEORY 1.7 states it.

    An interior-point method ends in the middle of the optimal face: at x only if x is alone there.
    """
    x = cvxpy.Variable(operator.shape)
    problem = cvxpy.Problem(
        cvxpy.Minimize(cvxpy.sum(cvxpy.abs(x))),
        [operator.P.toarray() @ x @ operator.Q.toarray().T == y],
    )
    problem.solve(solver=cvxpy.CLARABEL)
    assert problem.status == cvxpy.OPTIMAL
    return x.value, problem.value


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "shape", "density", "m"), [(kind, *case) for kind in CASES for case in CASES[kind]]
)
def test_the_optimum_is_cvxpys(kind, shape, density, m, seed):
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) * (random.random(shape) < density)
    operator = SketchOperator.draw(shape, m, 5, seed)
    y = operator.forward(x)
    theirs, least = minimiser(operator, y)
    comes_back = np.abs(theirs - x).max() < 1e-5
    assert comes_back == (kind == "comes back"), "the case is the one its name says"

    found = recover(operator, y, tolerance=1e-6, max_iterations=50_000)
    assert found.converged
    assert found.objective == pytest.approx(least, rel=1e-6)
    assert found.lower_bound == pytest.approx(least, rel=1e-6)
    p, q = operator.P.toarray(), operator.Q.toarray()
    assert np.linalg.norm(p @ found.x @ q.T - y) <= 1e-8 * np.linalg.norm(y)
    assert np.abs(p.T @ found.dual @ q).max() <= 1 + 1e-12
    if comes_back:
        np.testing.assert_allclose(found.x, x, rtol=0, atol=1e-8)
