"""The rows of the 34 measures: what each reads of the evidence, or why it says nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from prunecert.bounds.measure_arguments import Measure
from prunecert.bounds.measures import EQUATIONS, MEASURES
from prunecert.types import BoundSpec, Evidence, InputError, Source

_DISTANCE = "the initial weights are not known"
_LINEAR_MAP = "a layer is neither linear nor a convolution with zero padding"
_SIGMA = "no noise was found that costs a tenth of the accuracy"

_DEVIATIONS = {
    "margin": "nothing is said where the margin is not positive, where the code drops its sign",
    "sigma": "noise of standard deviation sigma, where the code has sigma²",
    "magnitude_sigma": "noise of variance sigma²w² + epsilon², where the code has its square",
}
_NORMS_OF_KERNELS = "norms are of the kernel as a matrix, not of the convolution"
_NORMS_OF_MAPS = "an upper bound at the layer's own input size, where the code has the image's"

# argument → field of `WeightMeasures`, and what it means that the field is None
_FIELDS = {
    "parameters": ("parameters", ""),
    "frobenius_norm": ("frobenius_norm", ""),
    "spectral_norm": ("spectral_norm", ""),
    "distance_frobenius_norm": ("distance_frobenius_norm", _DISTANCE),
    "distance_spectral_norm": ("distance_spectral_norm", _DISTANCE),
    "path_norm": ("path_norm", "a path norm is not defined for this network"),
    "sigma": ("sigma_estimate", _SIGMA),
    "magnitude_sigma": ("magnitude_sigma_estimate", _SIGMA),
    "magnitude_log_sum": ("magnitude_log_sum", f"{_DISTANCE}, or {_SIGMA}"),
}
_OF_LINEAR_MAPS = {
    "spectral_norm": ("operator_norm", _LINEAR_MAP),
    "distance_spectral_norm": ("distance_operator_norm", f"{_DISTANCE}, or {_LINEAR_MAP}"),
}


def tenth_percentile(margins: Any) -> float:
    """The ⌊n/10⌋-th smallest margin (the smallest where n < 10), as the study has it."""
    values = np.asarray(margins, np.float64)
    values = np.sort(np.where(np.isnan(values), -np.inf, values))  # no number: as wrong as can be
    return float(values[max(1, values.size // 10) - 1])


def _argument(name: str, evidence: Evidence, fields: Mapping[str, tuple[str, str]]) -> Any:
    margins = evidence["margins"].values
    if name == "n":
        return len(margins)
    if name == "margin":
        margin = tenth_percentile(margins)
        if margin <= 0.0:
            raise InputError(f"the 10th percentile of the margins is {margin:g}: expected above 0")
        return margin
    field, reason = fields[name]
    value = getattr(evidence["weightmeasures"], field)
    if value is None:
        raise InputError(reason)
    return value


def _arguments(
    function: Measure, fields: Mapping[str, tuple[str, str]]
) -> Callable[[Evidence, float], dict[str, Any]]:
    def arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
        names = inspect.signature(function).parameters
        found = {name: _argument(name, evidence, fields) for name in names}
        function(**found)  # raises where it is not finite: a dead layer, a distance of 0
        return found

    return arguments


def _source(name: str, arguments: tuple[str, ...], of_maps: bool) -> Source:
    found = [_DEVIATIONS[argument] for argument in arguments if argument in _DEVIATIONS]
    if _OF_LINEAR_MAPS.keys() & set(arguments):
        found.append(_NORMS_OF_MAPS if of_maps else _NORMS_OF_KERNELS)
    return Source(
        key="dziugaite2020",
        authors="Gintare Karolina Dziugaite, Alexandre Drouin, Brady Neal, Nitarshan Rajkumar, "
        "Ethan Caballero, Linbo Wang, Ioannis Mitliagkas and Daniel M. Roy",
        year=2020,
        title="In Search of Robust Measures of Generalization",
        equation=f"{EQUATIONS[name]} of Jiang et al. 2020, arXiv:1912.02178",
        version="as in its published code",
        identifier="arXiv:2010.11924",
        deviation="; ".join(found) or "none: as coded",
    )


def _row(name: str, function: Measure, of_maps: bool) -> BoundSpec:
    arguments = tuple(inspect.signature(function).parameters)
    summary = (function.__doc__ or "").partition("\n")[0].removeprefix("Order-only: ")
    reads_weights = any(argument in _FIELDS for argument in arguments)
    return BoundSpec(
        name=f"measure-{name.replace('_', '-')}" + "-fft" * of_maps,
        function=function,
        kind="order-only",
        quantity="capacity",
        summary=summary.rstrip(".") + ", of the layers as linear maps" * of_maps,
        source=_source(name, arguments, of_maps),
        needs=("margins", "weightmeasures") if reads_weights else ("margins",),
        from_evidence=_arguments(function, _FIELDS | _OF_LINEAR_MAPS if of_maps else _FIELDS),
        unit="natural log" if name.startswith("log_") else "a score",
    )


def _rows() -> Iterator[BoundSpec]:
    """One row per measure; a second one where a spectral norm can be that of a convolution."""
    for name, function in MEASURES.items():
        yield _row(name, function, of_maps=False)
        if _OF_LINEAR_MAPS.keys() & inspect.signature(function).parameters.keys():
            yield _row(name, function, of_maps=True)


MEASURE_ROWS = tuple(_rows())
