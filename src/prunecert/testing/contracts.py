"""The promises, one function each: they yield a sentence where a statement breaks one."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from prunecert.bounds.table import evaluate
from prunecert.testing.cases import (
    LISTS,
    SIZES,
    Broken,
    Case,
    base_case,
    bits_per_token,
    broken,
    is_list_bound,
    known_arguments,
    moves,
    shown_by_the_sample,
    values,
)
from prunecert.testing.coverage import coverage
from prunecert.testing.evidence import sample_evidence
from prunecert.types import (
    KINDS,
    Assumption,
    BoundSpec,
    CapacityMeasure,
    Certificate,
    InputError,
    NotApplicable,
    kind_of,
)

NOISE = 1e-11  # rounding a safe end outward may undo a monotone step of this relative size
TIGHT = 1e-9  # how far above its twin a certified value may lie
TOKENS = "bits per token"

Contract = Callable[[BoundSpec, Case], Broken]


def check_bound(spec: BoundSpec, twin: Callable[..., Any] | None = None) -> None:
    """Raise AssertionError, naming the contract, unless `spec` keeps every one of them.

    `twin` takes the same keyword numbers and returns the exact value (mpmath, or a list of them).
    """
    contracts: dict[str, Contract] = {
        "honest kind": _honest_kind,
        "deterministic": _deterministic,
        "range": _in_range,
        "monotone": _monotone,
        "arrays agree with numbers": _arrays,
        "refusals": _refusals,
        "coverage": coverage,
        "result": _result,
    }
    if twin is not None:
        contracts["twin"] = lambda spec, base: _twin_agrees(spec, base, twin)
    base = base_case(spec)
    for name, contract in contracts.items():
        try:
            sentence = next(contract(spec, base), None)
        except AssertionError:
            raise
        except Exception as error:
            raise broken(spec, name, f"it raises {error!r}") from error
        if sentence:
            raise broken(spec, name, sentence)


def _honest_kind(spec: BoundSpec, base: Case) -> Broken:
    if spec.kind not in KINDS:
        yield f"{spec.kind!r} is not one of {KINDS}"
    elif spec.kind != "order-only" and not spec.assumptions:
        yield "it is proven under no assumption at all"
    elif spec.kind not in ("order-only", kind_of(spec.assumptions)):
        yield f"it calls itself {spec.kind}; its assumptions make it {kind_of(spec.assumptions)}"
    elif ("mean_bits" in base) != (spec.unit == TOKENS):
        yield f"a bound is in {TOKENS} where it takes mean_bits and nowhere else, not {spec.unit!r}"


def _deterministic(spec: BoundSpec, base: Case) -> Broken:
    first, second = values(spec, base), values(spec, base)
    if first.tobytes() != second.tobytes():
        yield f"{first}, and {second} when asked again"


def _limits(spec: BoundSpec, case: Case) -> tuple[float, float]:
    """The least and the largest value the quantity can have."""
    if spec.unit == TOKENS:
        low, high = bits_per_token(case)
        return low, high * (1.0 + 1e-9)  # rounded outward
    if spec.unit == "natural log":
        return -math.inf, math.inf
    if "risk" not in spec.unit and spec.unit != "fraction":
        return 0.0, math.inf
    return -1.0 if "worse" in case and "better" in case else 0.0, 1.0


def _in_range(spec: BoundSpec, base: Case) -> Broken:
    """Legal values, and never below what the sample itself shows."""
    for case in itertools.chain([base], *(cases for _, cases in moves(base))):
        found, (low, high) = values(spec, case), _limits(spec, case)
        if not ((low <= found) & (found <= high)).all():
            yield f"{found} at {case} is not within [{low:g}, {high:g}]"
        shown = shown_by_the_sample(case)
        if case.get("delta", 0.0) <= 0.3 and not (found >= shown).all():
            yield f"{found} at {case} is below the empirical risk {shown}"


def _monotone(spec: BoundSpec, base: Case) -> Broken:
    for name, cases in moves(base):
        rows = [values(spec, case) for case in cases]
        for before, after, case in zip(rows, rows[1:], cases[1:]):
            if not (after >= before - NOISE * np.maximum(1.0, np.abs(before))).all():
                yield f"moving {name}, it goes the wrong way from {before} to {after} at {case}"
        if not (rows[-1] > rows[0] + 1e-6).any():
            yield f"it does not depend on {name} ({rows[0]} everywhere)"


def _arrays(spec: BoundSpec, base: Case) -> Broken:
    if is_list_bound(base):
        arrays = {k: np.asarray(v) if isinstance(v, list) else v for k, v in base.items()}
        found, again = values(spec, base), values(spec, arrays)
        if found.shape != (3,) or not np.array_equal(found, again):
            yield f"three entries give {found}, and {again} as arrays"
    elif spec.kind != "order-only" and not any(isinstance(v, list) for v in base.values()):
        for name, cases in moves(base):
            if name in base:
                singles = [float(values(spec, case)) for case in cases]
                together = values(spec, base | {name: np.array([case[name] for case in cases])})
                if not np.array_equal(together, singles):
                    yield f"an array of {name} gives {together}, its numbers {singles}"


def _refusals(spec: BoundSpec, base: Case) -> Broken:
    known, lists = known_arguments(list(base)), [n for n, v in base.items() if isinstance(v, list)]
    for name in base:
        illegal = known[name][1]
        if lists == [name]:  # no other list has a length it must have too
            illegal = tuple(value for value in illegal if value != base[name][:1])
        if is_list_bound(base) and name in LISTS:  # numpy reads True in a list as 1
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


def _twin_agrees(spec: BoundSpec, base: Case, twin: Callable[..., Any]) -> Broken:
    """The value lies on the safe side of the twin's, and close; at the base case's sample sizes,
    since twins are naive."""
    sizes = {name: base[name] for name in SIZES if name in base}
    for case in itertools.chain([base], *(cases for _, cases in moves(base))):
        if any(case[name] != size for name, size in sizes.items()):
            continue
        exact = twin(**case)
        truths = list(exact) if hasattr(exact, "__len__") else [exact]
        found = np.ravel(values(spec, case)).tolist()
        if len(found) != len(truths):
            yield f"at {case} it gives {len(found)} numbers, its twin {len(truths)}"
        elif not all(t <= v <= t + TIGHT * max(1, abs(t)) for v, t in zip(found, truths)):
            yield f"at {case} it gives {found}, its twin {[str(t) for t in truths]}"
