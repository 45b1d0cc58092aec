"""What a measure of `measures` may be given, and how its formula gets into the table."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from prunecert.bounds.layerwise import Floats, floats
from prunecert.inversions import require_number
from prunecert.types import InputError

Formula = Callable[..., Any]  # of float64 numbers and arrays
Measure = Callable[..., float]
EQUATIONS: dict[str, str] = {}  # function name → where arXiv:1912.02178 has it
MEASURES: dict[str, Measure] = {}  # function name → function, in the order of `measures`

_COUNTS = {
    "n": "samples, an integer >= 1",
    "parameters": "omega, weights in all, an integer >= 1",
}
_NUMBERS = {
    "margin": ("gamma > 0", math.ulp(0.0)),
    "sigma": ("standard deviation > 0 of noise that costs a tenth of the accuracy", math.ulp(0.0)),
    "magnitude_sigma": ("sigma > 0 of noise of variance epsilon² + sigma²w²", math.ulp(0.0)),
    "path_norm": ("Σ over paths of ∏ w², >= 0", 0.0),
    "magnitude_log_sum": ("Σ_i ln(epsilon² + sigma²(w_i − w_i⁰)²), finite", -1e300),
}
_LISTS = {
    "frobenius_norm": "‖W_l‖_F > 0, one per layer",
    "spectral_norm": "‖W_l‖₂ > 0, one per layer",
    "distance_frobenius_norm": "‖W_l − W_l⁰‖_F >= 0, one per layer",
    "distance_spectral_norm": "‖W_l − W_l⁰‖₂ >= 0, one per layer",
}
_WORDS = _COUNTS | {name: words for name, (words, _) in _NUMBERS.items()} | _LISTS


def _legal(name: str, value: Any) -> Any:
    """`value` in float64, so that an overflow is infinite, once it keeps the rule of its name."""
    if name in _LISTS:
        return _norms(name, value)
    if name in _COUNTS:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} must be an integer >= 1, not {value!r}")
    else:
        words, low = _NUMBERS[name]
        require_number(name, value, low, 1e300, words)
    return np.float64(value)


def _norms(name: str, values: Any) -> Floats:
    array = np.atleast_1d(floats(name, values))
    legal = array >= 0 if name.startswith("distance") else array > 0
    if array.ndim != 1 or array.size == 0 or not legal.all():
        raise InputError(f"{name} must be a list of {_LISTS[name]}")
    return array


def measure(equation: str) -> Callable[[Formula], Measure]:
    """Put a formula into the table: arguments are checked by name and explained in its docstring,
    and a value that is not a finite number is refused."""

    def enter(formula: Formula) -> Measure:
        signature = inspect.signature(formula)

        @functools.wraps(formula)
        def checked(*args: Any, **kwargs: Any) -> float:
            given = signature.bind(*args, **kwargs).arguments
            legal = {name: _legal(name, value) for name, value in given.items()}
            lists = [name for name in legal if name in _LISTS]
            if len({legal[name].shape for name in lists}) > 1:
                raise InputError(f"{', '.join(lists)} must be of one length, one entry per layer")
            with np.errstate(all="ignore"):
                value = float(formula(**legal))
            if not math.isfinite(value):
                raise InputError(f"{', '.join(legal)} give no finite {formula.__name__}")
            return value

        words, _, example = inspect.cleandoc(formula.__doc__ or "").partition("\n\n")
        line, _, statement = words.partition(": ")
        symbols = " · ".join(f"{name}: {_WORDS[name]}" for name in signature.parameters)
        checked.__doc__ = (
            f"Order-only: {line}.\n\n**Statement.** {statement}\n\n"
            f"**Symbols → arguments.** {symbols}.\n\n**Returns** a number, not rounded.\n\n"
            f"**Source.** Jiang et al. 2020, arXiv:1912.02178, {equation}, as coded by Dziugaite "
            f"et al. 2020, arXiv:2010.11924.\n\n**Example.**\n{example}\n"
        )
        EQUATIONS[formula.__name__] = equation
        MEASURES[formula.__name__] = checked
        return checked

    return enter
