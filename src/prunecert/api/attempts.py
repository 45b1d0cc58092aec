"""What a search has tried, as a table, and what it tries next."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

# where the weights of a candidate come from
GIVEN, FINE_TUNED, TRAINED, REFINED = "as given", "fine-tuned", "trained", "refined"

ROUNDS = ((0.4, 0.04, 20), (0.6, 0.08, 50), (0.85, 0.2, 120))
# (until this share of the budget, share of one candidate, most epochs by those of the first)
LEAST_REFINING = 0.03  # share of the budget that makes a coordinate search worth while
NEAR = 1.25  # times the best certificate: farther ones are not searched
LEAST_EPOCHS = 10  # of a round, but for the last
WIDTH = 16  # hidden units per layer to begin with
WIDE, NARROW = 2.0, 1.4  # factors between neighbouring prices: first round, later ones


@dataclass(frozen=True)
class Settings:
    """How one candidate is made; everything that decides the outcome. `units` 0: all of them."""

    origin: str
    levels: int = 1
    price: float = 6.0
    units: int = 0
    epochs: int = 0
    learning_rate: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        """Of its folder."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Attempt:
    """A candidate and its certificate: what it was certified with, and how long it took."""

    settings: Settings
    nonzeros: int
    errors: int
    n: int
    code_bits: int
    delta: float
    risk_bound: float
    training_seconds: float
    seconds: float  # with coding and counting
    network_sha256: str


_SETTINGS = tuple(f.name for f in fields(Settings))
_OUTCOME = tuple(f.name for f in fields(Attempt))[1:]


def table(attempts: Sequence[Attempt]) -> bytes:
    """`attempts.csv`: one row per attempt, in order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_SETTINGS, *_OUTCOME))
    for attempt in attempts:
        row = [getattr(attempt.settings, name) for name in _SETTINGS]
        writer.writerow(row + [getattr(attempt, name) for name in _OUTCOME])
    return text.getvalue().encode()


def read_attempts(path: Path) -> list[Attempt]:
    """The table of an earlier search; none where there is no file, or a damaged one: candidates
    that are done have their own folders and are counted again."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        return [_attempt(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return []


def _attempt(row: dict[str, str]) -> Attempt:
    kinds: dict[str, Any] = {"int": int, "float": float, "str": str}
    values = {f.name: kinds[str(f.type)](row[f.name]) for f in fields(Settings)}
    others = {f.name: kinds[str(f.type)](row[f.name]) for f in fields(Attempt)[1:]}
    return Attempt(Settings(**values), **others)


def best_of(attempts: Sequence[Attempt]) -> Attempt:
    """The smallest certificate; where all are vacuous, the fewest bits at the fewest errors."""
    return min(attempts, key=lambda a: (a.risk_bound, a.errors / a.n, a.code_bits))


def next_settings(
    attempts: Sequence[Attempt], first: Settings, budget: float, widest: int
) -> Settings | None:
    """What to try next within `budget` seconds, or None.

    Three rounds of hill climbing, each with fewer and longer candidates, started from the best of
    the round before; `first` says how the first candidate is trained, which tells how long an epoch
    takes. `widest` is the size of the largest group of hidden units, 0 without any.
    """
    trained = [a for a in attempts if a.settings.origin == first.origin]
    if not trained:
        return replace(first, units=WIDTH if widest > WIDTH else 0)
    spent = sum(a.seconds for a in attempts)
    epoch = max(trained[0].training_seconds / first.epochs, 1e-6)
    other = trained[0].seconds - trained[0].training_seconds
    for number, (until, share, most) in enumerate(ROUNDS):
        epochs = max(first.epochs, min(most * first.epochs, int((share * budget - other) / epoch)))
        here = [a for a in trained if a.settings.epochs == epochs]
        if spent + other + epochs * epoch > until * budget:
            continue
        if epochs < LEAST_EPOCHS and number + 1 < len(ROUNDS):
            continue  # too short to tell one from another
        best = best_of(here or trained).settings
        tried = {a.settings for a in here}
        for settings in _neighbours(replace(best, epochs=epochs), number, widest):
            if settings not in tried:
                return settings
    return None


def next_refined(attempts: Sequence[Attempt], budget: float) -> tuple[Attempt, float] | None:
    """The next candidate for a coordinate search and the seconds left for it: the best one not yet
    searched, as long as there is time and it is near the best of all."""
    left = budget - sum(a.seconds for a in attempts)
    done = {replace(a.settings, origin="") for a in attempts if a.settings.origin == REFINED}
    open_ones = [
        a
        for a in attempts
        if a.settings.origin not in (GIVEN, REFINED) and replace(a.settings, origin="") not in done
    ]
    if not open_ones or left < LEAST_REFINING * budget:
        return None
    best = best_of(open_ones)
    near = best.risk_bound <= NEAR * best_of(attempts).risk_bound
    return (best, left) if near else None


def _neighbours(best: Settings, round_number: int, widest: int) -> Iterator[Settings]:
    """The settings themselves, then one step away from them in each direction; at last new seeds,
    without end."""
    yield best
    factor = NARROW if round_number else WIDE
    for price in (best.price * factor, best.price / factor):
        yield replace(best, price=float(f"{price:.3g}"))
    if round_number < 2:
        yield replace(best, levels=best.levels + 1 if best.levels < 3 else 1)
    if widest > 1 and not round_number:
        units = best.units or widest
        yield replace(best, units=max(units // 2, 1))
        yield replace(best, units=units * 2 if units * 2 < widest else 0)
    if round_number < 2:
        for rate in (best.learning_rate * 2, best.learning_rate / 2):
            yield replace(best, learning_rate=rate)
    for seed in range(1, 1000):
        yield replace(best, seed=best.seed + seed)
