"""What the suite knows about arguments: legal and illegal values, and the cases made of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunecert.testing.pruning import PRUNING_ARGUMENTS
from prunecert.types import BoundSpec, InputError

NAN, INF = math.nan, math.inf

Case = dict[str, Any]  # one value per argument
Broken = Iterator[str]  # sentences, one per broken promise; none when the contract is kept
Known = dict[str, tuple[Any, tuple[Any, ...]]]

COUNTS = ("errors", "count", "worse", "better", "holdout_errors")
SIZES = ("n", "holdout_n", "inputs", "draws")
_BAD_COUNT = (-1, 1001, 1.5, NAN, "many", True, None)
_BAD_SIZE = (0, -1, 10.5, NAN, "many", None)
_BAD_UNIT = (0.0, 1.0, -0.1, 1.5, NAN, INF, "small", None)
_BAD_NUMBER = (-1.0, NAN, INF, "few", None)
_BAD_FLOATS = ([NAN], [[1.0, 2.0, 3.0]], "long", None)

# argument: (value in the base case, illegal values)
ARGUMENTS: Known = {
    "errors": (30, _BAD_COUNT),
    "count": (30, _BAD_COUNT),
    "worse": (30, _BAD_COUNT),
    "better": (20, _BAD_COUNT),
    "holdout_errors": (40, _BAD_COUNT),
    "size": (5, _BAD_COUNT),
    "n": (1000, _BAD_SIZE),
    "holdout_n": (1000, _BAD_SIZE),
    "inputs": (1000, _BAD_SIZE),
    "draws": (1000, _BAD_SIZE),
    "bits": (50.0, _BAD_NUMBER),
    "kl_nats": (50.0, _BAD_NUMBER),
    "log_ratio_nats": (50.0, (NAN, INF, "few", None)),
    "delta": (0.05, _BAD_UNIT),
    "empirical_risk": (0.3, (-0.1, 1.1, NAN, INF, "low", None)),
    "mean_log_right": (-0.35, (0.1, -INF, NAN, INF, "few", None)),
    "beta": (1.0, (0.0, *_BAD_NUMBER)),
    "betas": (10, _BAD_SIZE),
    "mean_bits": (5.0, (1e6, *_BAD_NUMBER)),
    "vocabulary": (1000, _BAD_SIZE),
    "mixing": (0.1, _BAD_UNIT),
    "mixings": (10, _BAD_SIZE),
    "target_error": (0.05, _BAD_UNIT),
    "smallest_margin": (-0.5, (NAN, INF, "wide", None)),
    "fan_out": ([8, 4], ([8], [0, 4], [8.5, 4], [], *_BAD_FLOATS)),
    "fan_in": ([16, 8], ([16], [0, 8], [16.5, 8], [], *_BAD_FLOATS)),
    "spectral_norm": ([2.0, 1.5], ([2.0], [0.0, 1.5], [-2.0, 1.5], *_BAD_FLOATS)),
    "input_norm": (3.0, (-1.0, NAN, INF, "big", None)),
    "classes": (10, _BAD_SIZE),
    "input_bound": (3.0, _BAD_NUMBER),
    "last_row_norm": (2.0, _BAD_NUMBER),
    "parameters": (5000, _BAD_SIZE),
    "degrees": ([9, 4], ([9], [0, 4], [8.5, 4], [], *_BAD_FLOATS)),
    "pixel_norm": (1.5, _BAD_NUMBER),
    "path_norm": (7.0, _BAD_NUMBER),
    "sigma": (0.05, (0.0, *_BAD_NUMBER)),
    "magnitude_sigma": (0.05, (0.0, *_BAD_NUMBER)),
    "magnitude_log_sum": (-6.5e4, (NAN, INF, "few", None)),
    "distance_frobenius_norm": ([2.0, 1.0], ([2.0], [-2.0, 1.5], *_BAD_FLOATS)),
    "distance_spectral_norm": ([1.0, 0.5], ([1.0], [-2.0, 1.5], *_BAD_FLOATS)),
    "d": ([0.0, 1.0, 10.0], ([0.0, 2.0, 1.0], [1.0, 2.0, 3.0], *_BAD_FLOATS)),
    "removed_norm": (
        [[0.0, 0.0], [0.5, 0.4], [1.5, 1.2]],
        ([[0.0]], [[-1.0, 0.0]] * 3, *_BAD_FLOATS),
    ),
    **PRUNING_ARGUMENTS,
}
# A word with another meaning beside a certain other argument.
BESIDE: dict[str, Known] = {
    # the sample variance of one loss, not a list with one entry per layer
    "empirical_risk": {"variance": (0.02, (-0.1, NAN, INF, "wide", None))},
    # so wide that 2^-j, not the norms, is what the statement pays
    "last_row_norm": {"margin": (1e6, (0.0, *_BAD_NUMBER))},
}
# a statement about a list of networks or classes: every count becomes one list, n too
LISTS: dict[str, Any] = {"errors": [30, 31, 40], "n": [1000, 1000, 1000]}

# Values along which a bound never falls, in this order, and rises from the first to the last.
SWEEPS: dict[str, tuple[Any, ...]] = {
    "bits": (0.0, 1, 2.5, 50, 51, 1e3, 1e4, 1e6, 1e9),
    "kl_nats": (0.0, 0.5, 1, 2.5, 50, 51, 1e3, 1e4, 1e6, 1e9),
    "log_ratio_nats": (-1e3, -5.0, -1.0, 0.0, 1, 50, 51, 1e3, 1e6, 1e9),
    "size": (0, 1, 2, 5, 6, 50, 500, 900, 970),
    "empirical_risk": (0.0, 1e-3, 0.3, 0.301, 0.5, 0.999, 1.0),
    "mean_log_right": (0.0, -1e-9, -0.35, -0.351, -0.7, -7.0, -1e3, -1e300),
    "mean_bits": (0.2, 1.0, 5.0, 5.1, 10.0, 13.0),
    "betas": (1, 2, 10, 1000, 10**6),
    "mixings": (1, 2, 10, 1000, 10**6),
    "delta": (0.9, 0.3, 0.1, 0.05, 0.01, 1e-3, 1e-9, 1e-300),
}
SWEEPS_BESIDE: dict[str, dict[str, tuple[Any, ...]]] = {
    # rates and variances that some sample has: V̂ <= R̂(1 − R̂)·n/(n − 1)
    "variance": {"empirical_risk": (0.03, 0.3, 0.301, 0.5, 0.9, 0.97)},
    "empirical_risk": {"variance": (0.0, 1e-6, 1e-3, 0.02, 0.021, 0.1, 0.2)},
    "last_row_norm": {
        "margin": (1e12, 1e9, 1e6, 1e3, 1.0, 1e-3),
        "classes": (2, 3, 10, 100, 10**4, 10**7),
        "input_bound": (0.0, 1.0, 3.0, 3.1, 1e4, 1e9),
        "last_row_norm": (0.0, 1.0, 2.0, 2.1, 1e4, 1e9),
        "frobenius_norm": ([0.1, 0.1], [3.0, 2.0], [3.0, 2.1], [30.0, 200.0], [1e5, 1e5]),
    },
    # the few redraws of the base case say nothing at a smaller delta
    "redrawn_norms": {"delta": (0.9, 0.3, 0.1, 0.05)},
}


def known_arguments(names: list[str]) -> Known:
    """What is known about arguments that stand together in one signature."""
    known = dict(ARGUMENTS)
    for companion, meanings in BESIDE.items():
        if companion in names:
            known |= meanings
    return known


def broken(spec: BoundSpec, contract: str, sentence: str) -> AssertionError:
    """The one sentence a failing statement gets."""
    return AssertionError(f"{spec.name} breaks the contract '{contract}': {sentence}")


def base_case(spec: BoundSpec) -> Case:
    """One legal value per argument; lists where the function refuses single numbers."""
    names = list(inspect.signature(spec.function).parameters)
    known = known_arguments(names)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise broken(spec, "known arguments", f"this suite does not know {unknown}")
    case = {name: known[name][0] for name in names}
    try:
        spec.function(**case)
    except InputError:  # it wants lists
        case |= {name: LISTS[name] for name in names if name in LISTS}
    except Exception as error:
        raise broken(spec, "legal arguments", f"{case} raises {error!r}") from error
    return case


def values(spec: BoundSpec, case: Case) -> NDArray[np.float64]:
    """The bound as an array, whatever it is about; legal arguments must give finite numbers."""
    try:
        found = np.asarray(spec.function(**case), dtype=np.float64)
    except Exception as error:
        raise broken(spec, "legal arguments", f"{case} raises {error!r}") from error
    if not np.isfinite(found).all():
        raise broken(spec, "finite", f"{case} gives {found}")
    return found


def is_list_bound(case: Case) -> bool:
    return isinstance(case.get("errors"), list)


def counts(case: Case) -> list[str]:
    return [name for name in COUNTS if name in case]


def size_of(name: str, case: Case) -> str:
    """Which argument says how many samples this count is of."""
    if name == "count" and "inputs" in case:
        return "inputs"
    return "holdout_n" if name == "holdout_errors" else "n"


def bits_per_token(case: Case) -> tuple[float, float]:
    """The least and the largest loss of p' = (1 − a)p + a/V, in bits."""
    mixing, vocabulary = case["mixing"], case["vocabulary"]
    return (-math.log2(1.0 - mixing + mixing / vocabulary), -math.log2(mixing / vocabulary))


def shown_by_the_sample(case: Case) -> Any:
    """What no upper bound at a delta up to 0.3 may fall below; −infinity without a sample."""
    rates = {
        name: np.asarray(case[name]) / np.asarray(case[size_of(name, case)])
        for name in counts(case)
    }
    if "worse" in rates and "better" in rates:
        return rates["worse"] - rates["better"]
    if "errors" in rates and "count" in rates:  # errors of one network, and where another differs
        return np.minimum(1.0, rates["errors"] + rates["count"])
    if rates:  # two samples of one risk: the bound may rest on either
        return np.minimum.reduce(list(rates.values()))
    if "mean_log_right" in case:  # the geometric mean of right answers, not above their mean
        return -np.expm1(case["mean_log_right"])
    return case.get("empirical_risk", case.get("mean_bits", -math.inf))


def moves(base: Case) -> Iterator[tuple[str, list[Case]]]:
    """(argument, cases along which the bound must never fall, and must rise over the whole)."""
    for name in counts(base):
        if is_list_bound(base):
            steps = (0, 20, 30, 36, 40, 45, 60, 999, 1000)
            yield name, [base | {name: [k] * 3} for k in steps]
            yield f"the last of {name}", [base | {name: [30, 31, k]} for k in (0, 31, 40, 1000)]
        else:
            cases = [base | {name: k} for k in (0, 1, 2, 30, 31, 400, *_top(name, base))]
            yield name, cases[::-1] if name == "better" and "worse" in base else cases
    for size in SIZES:
        if size in base:
            scaled = [size, *(name for name in counts(base) if size_of(name, base) == size)]
            yield (
                f"{size} at a fixed rate",
                [
                    base | {name: (np.asarray(base[name]) * factor).tolist() for name in scaled}
                    for factor in (1000, 100, 10, 2, 1)
                ],
            )
    if not is_list_bound(base):
        sweeps = dict(SWEEPS)
        for companion, others in SWEEPS_BESIDE.items():
            if companion in base:
                sweeps |= others
    else:
        sweeps = {name: SWEEPS[name] for name in ("bits", "delta")}
    for name, steps in sweeps.items():
        if name in base:
            yield name, [base | {name: value} for value in steps]


def _top(name: str, base: Case) -> tuple[int, int]:
    """The largest legal values of a count: counts of one sample exclude one another."""
    size = size_of(name, base)
    others = [o for o in counts(base) if o != name and size_of(o, base) == size]
    if size == "n" and "size" in base:
        others.append("size")
    top = base[size] - sum(base[other] for other in others)
    return top - 1, top
