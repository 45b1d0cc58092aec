"""How a number is written on the page. A proven upper bound is only ever rounded up."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_DIGITS = 4  # significant digits of a number that is not an integer


def percent(value: float, up: bool) -> str:
    """A fraction as a percentage, to two decimals and at least three significant digits."""
    exact = _exact(value) * 100
    if not exact:
        return "0 %"
    return f"{_written(_rounded(exact, min(-2, exact.adjusted() - 2), up))} %"


def plain(value: float, up: bool = False) -> str:
    """Integers whole; other numbers to four digits, as m × 10ⁿ outside [0.001, 1,000,000)."""
    exact = _exact(value)
    if exact == exact.to_integral_value() and abs(exact) < 10**15:
        return _written(exact.to_integral_value())
    lowest = exact.adjusted() - _DIGITS + 1
    if -3 <= exact.adjusted() < 6:
        return _written(_rounded(exact, min(lowest, 0), up).normalize())
    rounded = _rounded(exact, lowest, up).normalize()
    power = rounded.adjusted()
    return f"{_written(rounded.scaleb(-power))} × {power_of_ten(power)}"


def power_of_ten(exponent: int) -> str:
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def _exact(value: float) -> Decimal:
    """The number as results.json writes it, not its binary neighbour."""
    return Decimal(repr(value))


def _rounded(exact: Decimal, exponent: int, up: bool) -> Decimal:
    rounding = ROUND_CEILING if up else ROUND_HALF_EVEN
    return exact.quantize(Decimal(1).scaleb(exponent), rounding)


def _written(number: Decimal) -> str:
    return f"{number:,f}".replace("-", "−")


def stated(value: float, kind: str, is_fraction: bool) -> str:
    """A value as tables and figures show it: proven ones up, a fraction that can be one in %."""
    proven = kind in ("certified", "conditional")
    if is_fraction and value <= 1 and kind != "order-only":
        return percent(value, up=proven)
    return plain(value, up=proven)
