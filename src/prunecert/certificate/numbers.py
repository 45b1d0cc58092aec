"""Numbers as a certificate's sentences write them: never better than they are."""

from __future__ import annotations

from decimal import Decimal

from prunecert.inversions import round_up


def confidence_of(delta: float) -> float:
    """1 − delta, of the decimal that delta is written as: no digit of it is rounded away."""
    return float(1 - Decimal(repr(float(delta))))


def rounded_up(value: float, digits: int = 4) -> str:
    """A number to so many significant digits, never below it.

    >>> rounded_up(0.123411)
    '0.1235'
    """
    exact = Decimal(repr(float(value)))
    if not exact or not exact.is_finite():
        return str(value)
    return f"{round_up(value, digits - 1 - exact.adjusted()):.{digits}g}"


def percent(fraction: float) -> str:
    """A fraction as a percentage, every digit of it: neither a bound nor a confidence may gain."""
    return f"{(Decimal(repr(float(fraction))) * 100).normalize():f} %"
