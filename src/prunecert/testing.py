"""The contract suite every statement must pass, ours and those from outside.

    from prunecert.testing import check_bound
    check_bound(my_spec)          # AssertionError with one sentence on the first broken contract

What is checked: known arguments · honest kind · legal range · monotone in errors, n, bits and
delta · never below the empirical risk · failure probability at most delta, by exact enumeration
of small samples · deterministic · arrays agree with numbers · illegal arguments refused with
InputError · the result holds what its kind allows and survives JSON. A function that refuses
single numbers is judged as a statement about a list, whose entries must hold all at once. A
statement with an argument this suite does not know fails: add the argument to ARGUMENTS.
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunecert.bounds.table import evaluate
from prunecert.testing_pruning import PRUNING_ARGUMENTS, cushions, step_coverage
from prunecert.types import (
    KINDS,
    Assumption,
    BoundSpec,
    CapacityMeasure,
    Certificate,
    ClassCounts,
    Code,
    Counts,
    Disagreements,
    Evidence,
    InputError,
    Layers,
    Margins,
    NotApplicable,
    PairedOutcomes,
    PruningCurve,
    kind_of,
)

NAN, INF = math.nan, math.inf
NOISE = 1e-11  # rounding a safe end outward may undo a monotone step of this relative size

COUNTS = ("errors", "count", "worse", "better")
_BAD_COUNT = (-1, 1001, 1.5, NAN, "many", True, None)
_BAD_UNIT = (0.0, 1.0, -0.1, 1.5, NAN, INF, "small", None)
_BAD_FLOATS = ([NAN], [[1.0, 2.0, 3.0]], "long", None)

# argument: (value in the base case, illegal values)
ARGUMENTS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "errors": (30, _BAD_COUNT),
    "count": (30, _BAD_COUNT),
    "worse": (30, _BAD_COUNT),
    "better": (20, _BAD_COUNT),
    "n": (1000, (0, -1, 10.5, NAN, "many", None)),
    "bits": (50.0, (-1.0, NAN, INF, "few", None)),
    "delta": (0.05, _BAD_UNIT),
    "target_error": (0.05, _BAD_UNIT),
    "smallest_margin": (-0.5, (NAN, INF, "wide", None)),
    "fan_out": ([8, 4], ([8], [0, 4], [8.5, 4], [], *_BAD_FLOATS)),
    "fan_in": ([16, 8], ([16], [0, 8], [16.5, 8], [], *_BAD_FLOATS)),
    "spectral_norm": ([2.0, 1.5], ([2.0], [0.0, 1.5], [-2.0, 1.5], *_BAD_FLOATS)),
    "input_norm": (3.0, (-1.0, NAN, INF, "big", None)),
    "d": ([0.0, 1.0, 10.0], ([0.0, 2.0, 1.0], [1.0, 2.0, 3.0], *_BAD_FLOATS)),
    "removed_norm": (
        [[0.0, 0.0], [0.5, 0.4], [1.5, 1.2]],
        ([[0.0]], [[-1.0, 0.0]] * 3, *_BAD_FLOATS),
    ),
    **PRUNING_ARGUMENTS,
}
# a statement about a list of networks or classes: every count becomes one list, n too
LISTS: dict[str, Any] = {"errors": [30, 31, 40], "n": [1000, 1000, 1000]}


def sample_evidence() -> Evidence:
    """One small, consistent set of every part a statement of the table may need."""
    return {
        "counts": Counts(30, 1000, "train"),
        "counts@holdout": Counts(40, 1000, "test"),
        "counts@top-k": Counts(5, 1000, "test"),
        "counts@dense-alone": Counts(8, 1000, "test"),
        "code": Code(50, {"mask": 30, "values": 20}),
        "disagreements": Disagreements(12, 1000, "test"),
        "pairedoutcomes": PairedOutcomes(9, 7, 1000, "test"),
        "classcounts": ClassCounts(np.array([3, 0, 7]), np.array([300, 0, 700]), "test"),
        "margins": Margins(np.linspace(0.5, 2.0, 1000), "train"),
        "layers": Layers(
            names=("0", "2"),
            fan_out=np.array([8, 4]),
            fan_in=np.array([16, 8]),
            nonzeros=np.array([100, 20]),
            spectral_norm=np.array([2.0, 1.5]),
            frobenius_norm=np.array([3.0, 2.0]),
            norm_2_1=np.array([6.0, 4.0]),
            relu_chain=True,
            input_norm=3.0,
            sample="train",
        ),
        "pruningcurve": PruningCurve(
            d=np.array([0.0, 1.0, 10.0]),
            kept=np.array([1.0, 0.42, 0.09]),
            removed_norm=np.array([[0.0, 0.0], [0.5, 0.4], [1.5, 1.2]]),
        ),
        "cushions": cushions(),
    }


Case = dict[str, Any]  # one value per argument
Broken = Iterator[str]  # sentences, one per broken promise; none when the contract is kept


def check_bound(spec: BoundSpec) -> None:
    """Raise AssertionError, naming the contract, unless `spec` keeps every one of them."""
    contracts = {
        "honest kind": _honest_kind,
        "deterministic": _deterministic,
        "range": _in_range,
        "monotone": _monotone,
        "arrays agree with numbers": _arrays,
        "refusals": _refusals,
        "coverage": _coverage,
        "result": _result,
    }
    base = _base_case(spec)
    for name, contract in contracts.items():
        try:
            sentence = next(contract(spec, base), None)
        except AssertionError:
            raise
        except Exception as error:
            raise _broken(spec, name, f"it raises {error!r}") from error
        if sentence:
            raise _broken(spec, name, sentence)


# --------------------------------------------------------------------------- cases


def _broken(spec: BoundSpec, contract: str, sentence: str) -> AssertionError:
    return AssertionError(f"{spec.name} breaks the contract '{contract}': {sentence}")


def _base_case(spec: BoundSpec) -> Case:
    names = list(inspect.signature(spec.function).parameters)
    unknown = [name for name in names if name not in ARGUMENTS]
    if unknown:
        raise _broken(spec, "known arguments", f"this suite does not know {unknown}")
    case = {name: ARGUMENTS[name][0] for name in names}
    try:
        spec.function(**case)
    except InputError:  # it wants lists
        case |= {name: LISTS[name] for name in names if name in LISTS}
    except Exception as error:
        raise _broken(spec, "legal arguments", f"{case} raises {error!r}") from error
    return case


def _values(spec: BoundSpec, case: Case) -> NDArray[np.float64]:
    """The bound as an array, whatever it is about; legal arguments must give finite numbers."""
    try:
        values = np.asarray(spec.function(**case), dtype=np.float64)
    except Exception as error:
        raise _broken(spec, "legal arguments", f"{case} raises {error!r}") from error
    if not np.isfinite(values).all():
        raise _broken(spec, "finite", f"{case} gives {values}")
    return values


def _is_list_bound(case: Case) -> bool:
    return isinstance(case.get("errors"), list)


def _counts(case: Case) -> list[str]:
    return [name for name in COUNTS if name in case]


def _moves(base: Case) -> Iterator[tuple[str, list[Case]]]:
    """(argument, cases along which the bound must never fall, and must rise over the whole)."""
    for name in _counts(base):
        if _is_list_bound(base):
            steps = (0, 20, 30, 36, 40, 45, 60, 999, 1000)
            yield name, [base | {name: [k] * 3} for k in steps]
            yield f"the last of {name}", [base | {name: [30, 31, k]} for k in (0, 31, 40, 1000)]
        else:
            top = 1000 - sum(base[other] for other in _counts(base) if other != name)
            cases = [base | {name: k} for k in (0, 1, 2, 30, 31, 400, top - 1, top)]
            yield name, cases[::-1] if name == "better" and "worse" in base else cases
    if _counts(base):
        scaled = [*_counts(base), "n"]
        yield (
            "n at a fixed rate",
            [
                base | {name: (np.asarray(base[name]) * factor).tolist() for name in scaled}
                for factor in (1000, 100, 10, 2, 1)
            ],
        )
    sweeps = {
        "bits": (0.0, 1, 2.5, 50, 51, 1e3, 1e4, 1e6, 1e9),
        "delta": (0.9, 0.3, 0.1, 0.05, 0.01, 1e-3, 1e-9, 1e-300),
    }
    if "redrawn_norms" in base:  # its few redraws say nothing at a smaller delta
        sweeps["delta"] = sweeps["delta"][:4]
    for name, values in sweeps.items():
        if name in base:
            yield name, [base | {name: value} for value in values]


# --------------------------------------------------------------------------- contracts


def _honest_kind(spec: BoundSpec, base: Case) -> Broken:
    if spec.kind not in KINDS:
        yield f"{spec.kind!r} is not one of {KINDS}"
    elif spec.kind != "order-only" and not spec.assumptions:
        yield "it is proven under no assumption at all"
    elif spec.kind not in ("order-only", kind_of(spec.assumptions)):
        yield f"it calls itself {spec.kind}; its assumptions make it {kind_of(spec.assumptions)}"


def _deterministic(spec: BoundSpec, base: Case) -> Broken:
    first, second = _values(spec, base), _values(spec, base)
    if first.tobytes() != second.tobytes():
        yield f"{first}, and {second} when asked again"


def _in_range(spec: BoundSpec, base: Case) -> Broken:
    """Legal values, and never below what the sample itself shows."""
    low, high = 0.0, 1.0 if "risk" in spec.unit or spec.unit == "fraction" else math.inf
    for case in itertools.chain([base], *(cases for _, cases in _moves(base))):
        values = _values(spec, case)
        rate: Any = 0.0
        if _counts(case):
            rate = np.asarray(case[_counts(case)[0]]) / np.asarray(case["n"])
        if "worse" in case and "better" in case:
            low, rate = -1.0, rate - case["better"] / case["n"]
        if not ((low <= values) & (values <= high)).all():
            yield f"{values} at {case} is not within [{low:g}, {high:g}]"
        if case.get("delta", 0.0) <= 0.3 and not (values >= rate).all():
            yield f"{values} at {case} is below the empirical risk {rate}"


def _monotone(spec: BoundSpec, base: Case) -> Broken:
    for name, cases in _moves(base):
        rows = [_values(spec, case) for case in cases]
        for before, after, case in zip(rows, rows[1:], cases[1:]):
            if not (after >= before - NOISE).all():
                yield f"moving {name}, it goes the wrong way from {before} to {after} at {case}"
        if not (rows[-1] > rows[0] + 1e-6).any():
            yield f"it does not depend on {name} ({rows[0]} everywhere)"


def _arrays(spec: BoundSpec, base: Case) -> Broken:
    if _is_list_bound(base):
        arrays = {k: np.asarray(v) if isinstance(v, list) else v for k, v in base.items()}
        values, again = _values(spec, base), _values(spec, arrays)
        if values.shape != (3,) or not np.array_equal(values, again):
            yield f"three entries give {values}, and {again} as arrays"
    elif spec.kind != "order-only" and not any(isinstance(v, list) for v in base.values()):
        for name, cases in _moves(base):
            if name in base:
                singles = [float(_values(spec, case)) for case in cases]
                together = _values(spec, base | {name: np.array([case[name] for case in cases])})
                if not np.array_equal(together, singles):
                    yield f"an array of {name} gives {together}, its numbers {singles}"


def _refusals(spec: BoundSpec, base: Case) -> Broken:
    for name in base:
        illegal = ARGUMENTS[name][1]
        if _is_list_bound(base) and name in LISTS:  # numpy reads True in a list as 1
            entries = [value for value in illegal if value is not True and value != 0]
            illegal = (*([value, *base[name][1:]] for value in entries), [])
        for value in illegal:
            try:
                answer = spec.function(**base | {name: value})
            except InputError as refusal:
                if name not in str(refusal) or "\n" in str(refusal):
                    yield f"{name} = {value!r} is refused without its name: {refusal}"
            except Exception as error:
                yield f"{name} = {value!r} raises {error!r} instead of InputError"
            else:
                yield f"{name} = {value!r} is not refused, it gives {answer}"


def _result(spec: BoundSpec, base: Case) -> Broken:
    """Evidence in, a result of the right class out, and the result survives JSON unchanged."""
    evidence = sample_evidence()
    unknown = [need for need in spec.needs if need not in evidence]
    if unknown:
        yield f"this suite has no evidence {unknown}"
        return
    result = evaluate(spec, evidence, 0.05)
    if spec.from_evidence is None:
        if not isinstance(result, NotApplicable):
            yield f"it reads no evidence and still gives {result}"
        return
    expected = CapacityMeasure if spec.kind == "order-only" else Certificate
    if type(result) is not expected:
        yield f"a {spec.kind} statement gives {result}"
        return
    written = json.loads(json.dumps(asdict(result), allow_nan=False))
    if isinstance(result, Certificate):
        exact = float(np.max(spec.function(**spec.from_evidence(evidence, 0.05))))
        if not exact <= result.risk_bound <= exact + 1e-6:
            yield f"{exact} is written as {result.risk_bound}, not rounded up at 6 digits"
        written["assumptions"] = tuple(Assumption(**item) for item in written["assumptions"])
    if expected(**written) != result:
        yield f"{result} comes back from JSON as {written}"


# --------------------------------------------------------------------------- exact coverage


def _coverage(spec: BoundSpec, base: Case) -> Broken:
    """Summed over every outcome of a small sample, the failure probability is at most delta."""
    if spec.kind == "order-only":
        return
    names = _counts(base)
    if not names:  # no sample: a statement about a mask, or about every input
        yield from step_coverage(spec, base)
        return
    for delta in (0.05, 0.3):
        if _is_list_bound(base):
            yield from _list_coverage(spec, base | {"delta": delta})
        elif names == ["worse", "better"]:
            yield from _paired_coverage(spec, base | {"delta": delta})
        elif len(names) == 1:
            yield from _binomial_coverage(spec, base | {"delta": delta})
        else:
            yield f"this suite cannot enumerate the outcomes of {names}"


def _binomial_pmf(n: int, p: Fraction, last: int | None = None) -> list[Fraction]:
    """P[Bin(n, p) = k] for k from 0 to `last` (n), exactly."""
    count = n if last is None else last
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(count + 1)]


def _binomial_coverage(spec: BoundSpec, base: Case) -> Broken:
    """In exact arithmetic. The worst p lies just above one of the bound's own values."""
    (name,) = _counts(base)
    for n, bits in itertools.product((1, 2, 7, 20), (0, 1, 5) if "bits" in base else (0,)):
        case = base | {"n": n} | ({"bits": bits} if "bits" in base else {})
        bounds = [float(_values(spec, case | {name: k})) for k in range(n + 1)]
        for edge in (bound for bound in bounds if bound < 1.0):
            pmf = _binomial_pmf(n, Fraction(edge))
            failure = sum(mass for mass, bound in zip(pmf, bounds) if bound <= edge)
            if failure > Fraction(base["delta"]) / 2**bits:
                yield f"at risk {edge}, {case}, it fails with probability {float(failure):.9g}"
    if "bits" in base:  # where 2^-bits is no float any more
        case = base | {"n": 1000, name: 30, "bits": 5000}
        edge = float(_values(spec, case))
        if sum(_binomial_pmf(1000, Fraction(edge), 30)) > Fraction(base["delta"]) / 2**5000:
            yield f"at risk {edge}, {case}, it fails with probability above delta·2^-5000"


def _paired_coverage(spec: BoundSpec, base: Case, n: int = 6) -> Broken:
    """Over a grid of trinomials."""
    outcomes = [(w, b) for w in range(n + 1) for b in range(n + 1 - w)]
    case = base | {"n": n}
    bound = {(w, b): _values(spec, case | {"worse": w, "better": b}) for w, b in outcomes}
    for worse, better in itertools.product(range(21), repeat=2):
        p, q, r = worse / 20, better / 20, (20 - worse - better) / 20
        failure = sum(
            math.comb(n, w) * math.comb(n - w, b) * p**w * q**b * r ** (n - w - b)
            for w, b in outcomes
            if r >= 0 and bound[w, b] < p - q - 1e-12
        )
        if failure > base["delta"] + 1e-12:
            yield f"at rates {p} worse, {q} better, n = {n} it fails with probability {failure}"


def _list_coverage(spec: BoundSpec, base: Case, n: int = 6) -> Broken:
    """Two independent entries, truths just above the bound's own values: does either fail?"""
    case = base | {"n": [n, n]} | ({"target_error": 0.6} if "target_error" in base else {})
    outcomes = list(itertools.product(range(n + 1), repeat=2))
    bound = {pair: _values(spec, case | {"errors": list(pair)}) for pair in outcomes}
    edges = sorted({float(v) for values in bound.values() for v in values if v < 1.0})
    pmf = {edge: [float(mass) for mass in _binomial_pmf(n, Fraction(edge))] for edge in edges}
    for p, q in itertools.product(edges, repeat=2):
        failing = [pair for pair in outcomes if bound[pair][0] <= p or bound[pair][1] <= q]
        failure = sum(pmf[p][i] * pmf[q][j] for i, j in failing)
        if failure > base["delta"] + 1e-12:
            yield f"at risks {p} and {q}, n = {n}, some bound fails with probability {failure}"
