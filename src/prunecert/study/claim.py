"""Does the seed paper's bound track the effect of pruning better than norm bounds?

Guha, Dubey and Huo (arXiv:2305.18789v2) claim so. Here: on pairs of networks that differ in
sparsity only, by the granulated coefficient of the sparsity axis and by the mean sign error of its
environments, each against each rival on the pairs where both speak.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from prunecert.study.bootstrap import interval, ratios
from prunecert.study.rankings import Along, Study, plain
from prunecert.study.scopes import mean_known
from prunecert.study.statistics import (
    Flags,
    Floats,
    Ints,
    both_known,
    equal_shares,
    ranks,
    sign_products,
)

SEED_FORMS = (  # as bounds on the risk, and what they have beside the margin risk
    "mbp-sketch-as-published",
    "mbp-sketch-as-published-capacity",
    "mbp-sketch-as-in-theorem",
    "mbp-sketch-as-in-theorem-capacity",
)
NORM_BOUNDS = (
    "neyshabur-2015",
    "bartlett-2017",
    "neyshabur-2018",
    "golowich-2018",
    "arora-2018",
    "golowich-mohri",
)
# and those that read the smallest margin, at the tenth percentile of the margins
NORM_BOUNDS += tuple(f"{name}-p10" for name in NORM_BOUNDS[:-1])
NONZEROS = "baseline.nonzeros"
FEW_CELLS = 5  # of fewer, a resample says next to nothing about another experiment
Answer = Literal["yes", "no", "undecided"]


@dataclass(frozen=True)
class Comparison:
    """One form of the seed paper's bound against one rival, along the sparsity axis.

    Both advantages are positive where the form is better: psi of the form less psi of the rival,
    sign error of the rival less that of the form; each with its 95 % bootstrap interval, of the
    difference itself. None where there is nothing to compare.
    """

    form: str
    rival: str
    norm_bound: bool
    pairs: int
    psi_advantage: float | None
    psi_low: float | None
    psi_high: float | None
    error_advantage: float | None
    error_low: float | None
    error_high: float | None

    @property
    def better(self) -> Answer:
        """yes: both intervals lie above 0. no: one lies below 0, the other not above."""
        above = [low is not None and low > 0 for low in (self.psi_low, self.error_low)]
        below = [high is not None and high < 0 for high in (self.psi_high, self.error_high)]
        if all(above):
            return "yes"
        return "no" if any(below) and not any(above) else "undecided"


@dataclass(frozen=True)
class Claim:
    """All comparisons, and why there are none where there are none."""

    comparisons: tuple[Comparison, ...]
    reason: str = ""
    cells: int = 0  # dense configurations that are pruned

    def against_norms(self, form: str) -> list[Comparison]:
        """Those of one form with the norm bounds, where there are pairs."""
        return [c for c in self.comparisons if c.form == form and c.norm_bound and c.pairs]

    def answer(self, form: str) -> Answer:
        """yes: better than every norm bound here. no: one of them is better. Else undecided, as it
        is where fewer than FEW_CELLS configurations are pruned."""
        if self.cells < FEW_CELLS:
            return "undecided"
        answers = [comparison.better for comparison in self.against_norms(form)]
        if answers and all(answer == "yes" for answer in answers):
            return "yes"
        return "no" if "no" in answers else "undecided"

    def told(self, comparison: Comparison) -> Answer:
        """What is said of one comparison: nothing where too few configurations are pruned."""
        return comparison.better if self.cells >= FEW_CELLS else "undecided"

    @property
    def forms(self) -> list[str]:
        return list(dict.fromkeys(comparison.form for comparison in self.comparisons))

    def sentences(self) -> list[str]:
        """The answer for each form, in words."""
        if self.reason:
            return [f"Whether the seed paper's bound tracks pruning better: {self.reason}."]
        return [self._sentence(form) for form in self.forms]

    def _sentence(self, form: str) -> str:
        against = self.against_norms(form)
        head = f"Does {form} track the effect of pruning better than norm bounds?"
        if not against:
            return f"{head} Undecided: no norm bound of this table speaks about the same pairs."
        if self.cells < FEW_CELLS:
            return f"{head} Undecided: too few dense configurations are pruned ({self.cells})."
        said = {"yes": "Yes", "no": "No", "undecided": "Undecided"}[self.answer(form)]
        words = {"yes": "better than", "no": "worse than", "undecided": "not told apart from"}
        rivals = {a: [c.rival for c in against if c.better == a] for a in words}
        parts = [f"{words[a]} {', '.join(names)}" for a, names in rivals.items() if names]
        return f"{head} {said}: along sparsity it is {'; '.join(parts)}.{self._trivial(form)}"

    def _trivial(self, form: str) -> str:
        """Where merely counting weights does as well, a reader must hear it here."""
        rivals = [c for c in self.comparisons if (c.form, c.rival) == (form, NONZEROS)]
        words = {
            "yes": "It is better than the number of nonzeros alone, too.",
            "no": "The number of nonzeros alone is better.",
            "undecided": "It is not told apart from the number of nonzeros alone.",
        }
        return "".join(f" {words[c.better]}" for c in rivals if c.pairs)

    def document(self) -> dict[str, Any]:
        return {
            "reason": self.reason,
            "cells": self.cells,
            "answers": {form: self.answer(form) for form in self.forms},
            "comparisons": [asdict(c) | {"better": self.told(c)} for c in self.comparisons],
        }


def claim_of(study: Study) -> Claim:
    """The claim put to this table: the forms against every measure and baseline."""
    table = study.table
    along = next((a for a in study.along if a.pairs.axis == table.design.sparsity), None)
    forms = [name for name in SEED_FORMS if name in table.measures]
    if not forms:
        return Claim((), f"no answer, the table has neither {' nor '.join(SEED_FORMS[::2])}")
    if along is None or not len(along.pairs):
        return Claim((), "no answer, no two networks differ in sparsity only")
    rivals = [name for name in NORM_BOUNDS if name in table.measures]
    apart = {name for name, role in zip(table.measures, table.roles) if role == "reads test"}
    rivals += [name for name in table.measures if name not in {*rivals, *SEED_FORMS, *apart}]
    duel = _Duels(study, along)
    cells = len(np.unique(study.resampling.cell[along.pairs.first]))
    fought = tuple(duel.fought(form, rival) for form in forms for rival in rivals)
    return Claim(fought, cells=cells)


class _Duels:
    """What all comparisons along the sparsity axis share."""

    def __init__(self, study: Study, along: Along) -> None:
        table, pairs = study.table, along.pairs
        places = ranks(table.values)
        self.names, self.along = table.measures, along
        self.known = both_known(places, pairs.first, pairs.second)
        gap = ranks(table.gap)
        self.products = sign_products(places, gap, pairs.first, pairs.second).astype(np.float64)
        self.strata = [np.flatnonzero(pairs.stratum == s) for s in range(len(table.strata))]
        self.weights = [
            study.resampling.comparisons(pairs.first[of], pairs.second[of]) for of in self.strata
        ]

    def fought(self, form: str, rival: str) -> Comparison:
        both = [self.names.index(form), self.names.index(rival)]
        known = np.asarray(self.known[:, both].all(axis=1))
        counted = known & self.along.counted.flags
        products, pairs = self.products[:, both], self.along.pairs
        psi = self._means(products, known, pairs.column)
        errors = self._means((1 - products) / 2, counted, pairs.environment)
        gained, spared = psi[0] - psi[1], errors[1] - errors[0]
        values = (gained[0], *interval(gained), spared[0], *interval(spared))
        numbers = [plain(np.float64(value)) for value in values]
        return Comparison(form, rival, rival in NORM_BOUNDS, int(known.sum()), *numbers)

    def _means(self, values: Floats, counted: Flags, group: Ints) -> Floats:
        """(2, 1 + B): psi or mean sign error of both, averaged over strata."""
        shares = equal_shares(group, counted[:, None])
        found: list[Floats] = []
        for of, weights in zip(self.strata, self.weights):
            found.append(ratios(values[of], shares[of], weights).mean)
        return mean_known(found)
