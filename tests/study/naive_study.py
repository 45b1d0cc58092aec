"""The study's statistics once more: naive, exact, from THEORY's words and the docstrings alone.

A table is a list of rows; every number is a fraction.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

TRAIN_ROWS, TEST_ROWS = 30, 40
SEED, METHOD, SPARSITY = "seed", "method", "sparsity"


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    place: dict[str, object]
    network: str
    training_errors: int
    wrong: tuple[bool, ...]
    measure: Fraction

    @property
    def test(self) -> Fraction:
        """The test error."""
        return Fraction(sum(self.wrong), TEST_ROWS)

    @property
    def gap(self) -> Fraction:
        """Test minus training error."""
        return self.test - Fraction(self.training_errors, TRAIN_ROWS)


def sign(x: Fraction) -> int:
    """1, 0 or −1."""
    return (x > 0) - (x < 0)


def agreement(a: Row, b: Row) -> int:
    """The sign product sgn(ΔC)·sgn(ΔG) of two rows."""
    return sign(a.measure - b.measure) * sign(a.gap - b.gap)


def mean(values: Iterable[Fraction | int]) -> Fraction | None:
    """The exact mean; None of nothing."""
    listed = list(values)
    return Fraction(sum(listed)) / len(listed) if listed else None


def compared(rows: Sequence[Row]) -> list[str]:
    """The axes other than the seed."""
    return [axis for axis in rows[0].place if axis != SEED]


def twin_tau(rows: Sequence[Row]) -> Fraction | None:
    """tau_a over all unordered pairs, ties 0; a network that stands twice stands once."""
    once = list({row.network: row for row in rows}.values())
    return mean(agreement(a, b) for a, b in itertools.combinations(once, 2))


def settings_of(
    rows: Sequence[Row], axis: str, free: str = ""
) -> dict[tuple[object, ...], list[Row]]:
    """The rows by the setting of all axes but `axis` and `free`."""
    found: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(v for k, v in row.place.items() if k not in (axis, free))].append(row)
    return found


def twin_psi(rows: Sequence[Row], axis: str) -> tuple[Fraction | None, int, int]:
    """The mean of tau_a over settings of the others, the seed one of them; how many; missing ones.

    A pair of networks counts once: the dense networks of a second method make no new setting.
    """
    settings = settings_of(rows, axis)
    seen: set[frozenset[str]] = set()
    taus = []
    missing = 0
    for group in settings.values():
        missing += len({row.place[axis] for row in group}) < 2
        products = []
        for a, b in itertools.combinations(group, 2):
            names = frozenset((a.network, b.network))
            if a.place[axis] != b.place[axis] and len(names) == 2 and names not in seen:
                seen.add(names)
                products.append(agreement(a, b))
        tau = mean(products)
        if tau is not None:
            taus.append(tau)
    return mean(taus), len(settings), missing


def twin_whole(rows: Sequence[Row]) -> Fraction | None:
    """Psi: the mean of psi over the axes other than the seed that have one."""
    return mean(psi for axis in compared(rows) if (psi := twin_psi(rows, axis)[0]) is not None)


def exceeds_paired_error(a: Row, b: Row, difference: Fraction) -> bool:
    """|difference| > sqrt((b + c) − (b − c)²/m)/m, as squares."""
    worse = sum(x and not y for x, y in zip(a.wrong, b.wrong, strict=True))
    better = sum(y and not x for x, y in zip(a.wrong, b.wrong, strict=True))
    m = len(a.wrong)
    return difference**2 > (worse + better - Fraction((worse - better) ** 2, m)) / m**2


def exceeds_unpaired_error(a: Row, b: Row) -> bool:
    """The test difference against sqrt(p(1 − p)/m + q(1 − q)/m), as squares."""
    variances = (row.test * (1 - row.test) / TEST_ROWS for row in (a, b))
    return (a.test - b.test) ** 2 > sum(variances)


RULES: dict[str, Callable[[Row, Row], bool]] = {
    "test": lambda a, b: exceeds_paired_error(a, b, a.test - b.test),
    "gap": lambda a, b: exceeds_paired_error(a, b, a.gap - b.gap),
    "none": lambda a, b: True,
    "unpaired": exceeds_unpaired_error,
}

NamePair = frozenset[str]
Environment = dict[NamePair, tuple[Row, Row]]


def dense(row: Row) -> bool:
    """Whether the row is one of a dense network: the same at every method."""
    return METHOD in row.place and row.place.get(SPARSITY) == 0.0


def twin_environments(rows: Sequence[Row], axis: str) -> list[Environment]:
    """The pairs of each (two values of axis, setting of all others but the seed).

    A network is never compared with itself, a dense one never along the methods, and two
    networks along one axis once.
    """
    seen: set[NamePair] = set()
    found = []
    for group in settings_of(rows, axis, SEED).values():
        if axis == METHOD:
            group = [row for row in group if not dense(row)]
        for low, high in itertools.combinations(sorted({row.place[axis] for row in group}), 2):  # type: ignore[type-var]
            pairs = {
                frozenset((a.network, b.network)): (a, b)
                for a in group
                for b in group
                if (a.place[axis], b.place[axis]) == (low, high) and a.network != b.network
            }
            fresh = {names: pair for names, pair in pairs.items() if names not in seen}
            seen.update(fresh)
            if fresh:
                found.append(fresh)
    return found


def twin_sign_error(environment: Environment, rule: str = "test") -> tuple[Fraction | None, int]:
    """½·mean(1 − sgn(ΔC)·sgn(ΔG)) over the pairs that count, and how many do."""
    counted = [(a, b) for a, b in environment.values() if RULES[rule](a, b)]
    return mean(Fraction(1 - agreement(a, b), 2) for a, b in counted), len(counted)
