"""One plain sentence per layer and assumption: effect sizes first, then what rests on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from prunecert.diagnostics.entries import TAIL, Gaussianity, Independence, Lines
from prunecert.diagnostics.predicted import Compared, Prediction

Property = Literal["zero mean", "gaussian", "independent", "spread out"]
PROPERTIES: tuple[Property, ...] = get_args(Property)
GAUSSIAN_WEIGHTS: tuple[Property, ...] = ("zero mean", "gaussian", "independent")

# Which rows of `prunecert.bounds.table` would be false, or off, without which property. Every
# other row takes the weights as they are.
RESTS_ON: Mapping[str, tuple[Property, ...]] = {
    "kept-fraction": ("zero mean", "gaussian"),
    "removed-norm-latala": GAUSSIAN_WEIGHTS,
    "removed-norm-gaussian": GAUSSIAN_WEIGHTS,
    "pattern-as-in-paper": GAUSSIAN_WEIGHTS,
    "pattern-gaussian": GAUSSIAN_WEIGHTS,
    "sketch-rows": ("spread out",),
    "mbp-sketch-as-published": PROPERTIES,
    "mbp-sketch-as-in-theorem": PROPERTIES,
}

# The term of the bound that each verdict compares.
TERM_OF: Mapping[Property, str] = {
    "zero mean": "the mean square of what is removed",
    "gaussian": "chi",
    "independent": "Gamma (C = 1)",
    "spread out": "m",
}

# An effect up to its threshold is small. NOISE standard errors of a Gaussian matrix of the same
# shape are small too: below that there is nothing to see.
NOISE = 4.0
KOLMOGOROV_SMALL = 0.02  # chi is then off by at most 0.04, at any d: twice the distance
KURTOSIS_SMALL = 0.5
TAILS_SMALL = 0.5  # of the Gaussian's share beyond 3 sigma
SPREAD_SMALL = 0.1  # of the mean energy of a row or column
EDGE_SMALL = 0.1  # of the Marchenko–Pastur edge
DEAD_SMALL = 0.01  # of the rows or columns

_NEAR: Mapping[Property, str] = {
    "zero mean": "close to zero mean",
    "gaussian": "close to Gaussian",
    "independent": "close to independent",
    "spread out": "as spread out as Gaussian weights",
}


@dataclass(frozen=True)
class Verdict:
    """What one layer shows of one assumption."""

    layer: str
    property: Property
    near: bool  # every effect is within its threshold: no proof that the assumption holds
    term: Compared  # what rests on it, named in TERM_OF
    sentence: str


@dataclass(frozen=True)
class _Effect:
    words: str
    size: float
    small: float  # the largest size that is called small

    @property
    def relative(self) -> float:
        return self.size / self.small


def verdicts(
    layer: str, entries: Gaussianity, places: Independence, pruned: Prediction
) -> tuple[Verdict, ...]:
    """One verdict per assumption of THEORY 1, of a layer called `layer`.

    entries, places, pruned: what `gaussianity`, `independence` and `prediction` say of one weight
    matrix. Thresholds are the constants above; the effect furthest beyond its own comes first.
    """
    found = {
        "zero mean": (_mean_effects(entries, places), pruned.removed_energy),
        "gaussian": (_gaussian_effects(entries), pruned.kept),
        "independent": (_independence_effects(places), pruned.removed_norm_latala),
        "spread out": (_pattern_effects(places, pruned), pruned.sketch_rows),
    }
    return tuple(_verdict(layer, which, *found[which]) for which in PROPERTIES)


def _verdict(layer: str, which: Property, effects: list[_Effect], term: Compared) -> Verdict:
    near = all(effect.size <= effect.small for effect in effects)
    first = sorted(effects, key=lambda effect: -effect.relative)
    sentence = (
        f"{layer}: {', '.join(effect.words for effect in first)}: "
        f"{'' if near else 'not '}{_NEAR[which]}; {TERM_OF[which]} is predicted "
        f"{_number(term.predicted)}, measured {_number(term.measured)}"
    )
    return Verdict(layer, which, near, term, sentence)


def _mean_effects(entries: Gaussianity, places: Independence) -> list[_Effect]:
    """A mean of (out·in)^{−1/4} deviations begins to move ‖A‖₂: the threshold of a rank-one spike.

    Source: Benaych-Georges and Nadakuditi, J. Multivariate Analysis 111 (2012) (mem).
    """
    size = places.rows.lines * places.rows.length
    words = (
        f"mean {entries.mean_in_deviations:+.2g} standard deviations from 0 "
        f"({entries.mean_in_errors:+.2g} standard errors)"
    )
    small = max(size**-0.25, NOISE / math.sqrt(size))
    return [_Effect(words, abs(entries.mean_in_deviations), small)]


def _gaussian_effects(entries: Gaussianity) -> list[_Effect]:
    n, tail = entries.entries, math.erfc(TAIL / math.sqrt(2.0))
    return [
        _Effect(
            f"tails {_number(entries.tail_ratio)} times the Gaussian's beyond {TAIL:g} sigma",
            abs(entries.tail_ratio - 1.0),
            max(TAILS_SMALL, NOISE / math.sqrt(n * tail)),
        ),
        _Effect(
            f"Kolmogorov distance {_number(entries.kolmogorov)}",
            entries.kolmogorov,
            max(KOLMOGOROV_SMALL, NOISE * 0.5 / math.sqrt(n)),  # of F at the median
        ),
        _Effect(
            f"excess kurtosis {entries.excess_kurtosis:+.2g}",
            abs(entries.excess_kurtosis),
            max(KURTOSIS_SMALL, NOISE * math.sqrt(24.0 / n)),
        ),
    ]


def _independence_effects(places: Independence) -> list[_Effect]:
    edge = math.sqrt(places.rows.lines) + math.sqrt(places.rows.length)
    return [
        _energy_effect("row", places.rows),
        _energy_effect("column", places.columns),
        _Effect(
            f"largest singular value {_number(places.edge_ratio)} times the Marchenko-Pastur edge",
            abs(places.edge_ratio - 1.0),
            max(EDGE_SMALL, NOISE / edge),  # its standard deviation is below √Ψ (Poincaré)
        ),
    ]


def _energy_effect(which: str, lines: Lines) -> _Effect:
    """Noise is of the dispersion, whose excess over 1 grows as the square of the spread."""
    words = (
        f"{which} energies spread by {lines.spread:.0%} beyond chance "
        f"(dispersion {_number(lines.dispersion)})"
    )
    small = SPREAD_SMALL
    if lines.dispersion > 1.0:
        noise = NOISE * math.sqrt(2.0 / (lines.lines - 1))
        small = max(small, lines.spread * math.sqrt(noise / (lines.dispersion - 1.0)))
    return _Effect(words, lines.spread, small)


def _pattern_effects(places: Independence, pruned: Prediction) -> list[_Effect]:
    rows, columns = places.rows, places.columns
    return [
        _full_effect("row", rows, pruned.row_nonzeros),
        _full_effect("column", columns, pruned.column_nonzeros),
        _dead_effect("rows", rows, pruned.dead_rows),
        _dead_effect("columns", columns, pruned.dead_columns),
    ]


def _full_effect(which: str, lines: Lines, most: Compared) -> _Effect:
    words = (
        f"fullest {which} keeps {_number(most.measured)} of {lines.length:,} "
        f"(at most {_number(most.predicted)} predicted)"
    )
    return _Effect(words, most.miss, 1.0)


def _dead_effect(which: str, lines: Lines, dead: Compared) -> _Effect:
    words = (
        f"{_number(dead.measured)} of {lines.lines:,} {which} dead "
        f"({_number(round(dead.predicted, 1))} predicted)"
    )
    small = max(DEAD_SMALL * lines.lines, NOISE * math.sqrt(dead.predicted))
    return _Effect(words, abs(dead.measured - dead.predicted), small)


def _number(value: float) -> str:
    """Three digits, or a whole number as it is."""
    if value == round(value) or abs(value) >= 1000.0:
        return f"{value:,.0f}"
    return f"{value:.3g}"
