"""Arguments with one entry per layer: one place that says what is legal and refuses the rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunecert.types import InputError

Floats = NDArray[np.float64]
Rule = tuple[Callable[[Floats], NDArray[np.bool_]], str]

_WIDTH: Rule = (lambda x: (x >= 1) & (x % 1 == 0), "integers >= 1")
_POSITIVE: Rule = (lambda x: x > 0, "numbers > 0")
_SIZE: Rule = (lambda x: x >= 0, "numbers >= 0")
_FACTOR: Rule = (lambda x: x >= 1, "numbers >= 1")
_COUNT: Rule = (lambda x: (x >= 0) & (x % 1 == 0), "integers >= 0")
_CUSHION: Rule = (lambda x: (x > 0) & (x <= 1), "numbers in (0, 1]")

_LEGAL: dict[str, Rule] = {
    "fan_out": _WIDTH,
    "fan_in": _WIDTH,
    "spectral_norm": _POSITIVE,
    "frobenius_norm": _POSITIVE,
    "norm_2_1": _POSITIVE,
    "variance": _POSITIVE,
    "lambda_l": _FACTOR,
    "epsilon_l": _FACTOR,
    "rho_l": (lambda x: (x > 0) & (x < 1), "numbers in (0, 1)"),
    "layer_cushion": _CUSHION,
    "interlayer_cushion": _CUSHION,
    "bias_norm": _SIZE,
    "removed_bias_norm": _SIZE,
    "redrawn_norms": _SIZE,
    "rounding_norm": _SIZE,
    "rounding_step": _SIZE,
    "nonzeros": _COUNT,
    "row_nonzeros": _COUNT,
    "column_nonzeros": _COUNT,
}


def floats(name: str, values: ArrayLike) -> Floats:
    """`values` as a float array; InputError where they are not finite numbers."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers, not {values!r}") from error
    if not np.isfinite(array).all():
        raise InputError(f"{name} must be finite numbers")
    return array


def per_layer(**given: ArrayLike) -> tuple[Floats, ...]:
    """The named lists as arrays of one shape (L,), once each keeps the rule of its name.

    A plain number is a list of one layer.
    """
    arrays = tuple(np.atleast_1d(floats(name, values)) for name, values in given.items())
    if any(a.ndim != 1 or a.size == 0 or a.shape != arrays[0].shape for a in arrays):
        raise InputError(f"{', '.join(given)} must be lists of one length, one entry per layer")
    for name, array in zip(given, arrays):
        legal, words = _LEGAL[name]
        if not legal(array).all():
            raise InputError(f"{name} must be {words}, one per layer")
    return arrays


def over_layers(name: str, values: ArrayLike, like: str, layers: int) -> Floats:
    """Numbers >= 0 of shape (…, L), L = `layers` as in the list `like`; any leading shape."""
    array = floats(name, values)
    if array.ndim == 0 or array.shape[-1] != layers or not (array >= 0).all():
        raise InputError(
            f"{name} must be numbers >= 0, of shape (…, {layers}): one per layer, as {like}"
        )
    return array


def matrix(name: str, values: ArrayLike) -> Floats:
    """A finite matrix with at least one entry."""
    array = floats(name, values)
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"{name} must be a matrix with at least one entry")
    return array


def probabilities(name: str, values: ArrayLike) -> Floats:
    """A matrix of numbers in [0, 1]."""
    array = matrix(name, values)
    if not ((array >= 0) & (array <= 1)).all():
        raise InputError(f"{name} must be probabilities: numbers in [0, 1]")
    return array
