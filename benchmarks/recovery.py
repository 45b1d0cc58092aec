"""Seconds to recover a matrix from its sketch: `recover`, against two textbook ways.

Plain Douglas-Rachford takes the problem of THEORY 1.7 (p = 784, j = 3, m = 200) and stops at the
relative error 1e-5, which it could not know without the answer; its step is the best of those
tried. HiGHS solves the same l1 minimum as a linear program, on a case small enough for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog
from threadpoolctl import threadpool_limits

from prunecert.sketch import Recovery, SketchOperator, distributed_sparse, recover

LARGE, SMALL = (784, 3, 200), (70, 2, 36)  # p, nonzeros per row and column, m
ERROR = 1e-5
STEP = 0.05  # of the largest entry of the least-squares solution; 0.03, 0.07, 0.1 take longer
MOST_STEPS = 2000
REPEATS = 3


def main() -> None:
    with threadpool_limits(1):
        x, operator, y = problem(*LARGE)
        seconds, found = timed(lambda: recover(operator, y))
        say("recover", LARGE, seconds, error(found.x, x), certified(found))
        plain_seconds, (plain, steps) = timed(lambda: plain_douglas_rachford(operator, y, x))
        said = f"{steps} steps, proves nothing"
        say("plain Douglas-Rachford", LARGE, plain_seconds, error(plain, x), said)
        print(f"    recover is faster by a factor {plain_seconds / seconds:.1f}")

        x, operator, y = problem(*SMALL)
        seconds, found = timed(lambda: recover(operator, y))
        say("recover", SMALL, seconds, error(found.x, x), certified(found))
        program_seconds, (solution, least) = timed(lambda: linear_program(operator, y), 1)
        apart = abs(found.objective - least) / least
        said = f"l1 norms differ by {apart:.1e}"
        say("HiGHS linear program", SMALL, program_seconds, error(solution, x), said)
        print(f"    recover is faster by a factor {program_seconds / seconds:.0f}")


def problem(p: int, count: int, rows: int) -> tuple[Any, SketchOperator, Any]:
    x = distributed_sparse(p, count, np.random.default_rng(0))
    operator = SketchOperator.draw(x.shape, rows, seed=0)
    return x, operator, operator.forward(x)


def plain_douglas_rachford(operator: SketchOperator, y: Any, x: Any) -> tuple[Any, int]:
    """A projection onto {X : P X Q' = Y} and a soft threshold in turn, until X is close to x."""
    p, q = operator.P, operator.Q
    from_left, from_right = p.T.tocsr(), q.T.tocsr()
    left, right = (np.linalg.inv((side @ side.T).toarray()) for side in (p, q))

    def projected(u: Any) -> Any:
        multiplier = left @ ((q @ (p @ u).T).T - y) @ right
        return u - (from_right @ (from_left @ multiplier).T).T

    u = np.zeros(operator.shape)
    threshold = STEP * np.abs(projected(u)).max()
    for step in range(1, MOST_STEPS + 1):
        feasible = projected(u)
        if error(feasible, x) <= ERROR:
            return feasible, step
        reflected = 2 * feasible - u
        u += reflected - np.clip(reflected, -threshold, threshold) - feasible
    raise SystemExit(f"no error below {ERROR} in {MOST_STEPS} steps")


def linear_program(operator: SketchOperator, y: Any) -> tuple[Any, float]:
    """X as the difference of two nonnegative matrices of the smallest sum."""
    entries = sp.kron(operator.P, operator.Q)
    both = sp.hstack([entries, -entries]).tocsr()
    solved = linprog(np.ones(both.shape[1]), A_eq=both, b_eq=y.ravel(), method="highs")
    positive, negative = solved.x.reshape(2, *operator.shape)
    return positive - negative, float(solved.fun)


def timed(work: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, Any]:
    """The fewest seconds of some runs, and what the work returns."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def error(found: Any, x: Any) -> float:
    return float(np.linalg.norm(found - x) / np.linalg.norm(x))


def certified(found: Recovery) -> str:
    return f"{found.iterations} steps, duality gap {abs(found.gap):.1e}"


def say(name: str, case: tuple[int, int, int], seconds: float, off: float, rest: str) -> None:
    p, count, rows = case
    where = f"p = {p}, j = {count}, m = {rows}"
    print(f"{name:22}  {where:24} {seconds:8.3f} s  error {off:.1e}, {rest}", flush=True)


if __name__ == "__main__":
    main()
