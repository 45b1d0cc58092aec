"""Mixing several adaptive predictions of one bit in integer arithmetic.

Each context votes with how far its own count-based log-odds lie from a common base rate; the base
plus a weighted sum of the votes, whose weights follow the gradient of the code length, is the
prediction (logistic mixing; M. Mahoney, "Adaptive weighing of context models for lossless data
compression", 2005). Everything is integer: logarithms come from correctly rounded decimal
arithmetic, never from the machine's libm, so writer and reader agree anywhere (THEORY 3.2).
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import cache
from operator import add, mul

from prunecert.coding.stream import SCALE, Stream

NAT = 256  # log-odds are integers in units of 1 / NAT nats
LIMIT = 2816  # … and stay within ± 11 nats, just inside what 1 / SCALE can say
COUNT = 64  # one observation in the tables of counts
PRIOR = 24  # a fresh context has seen PRIOR / COUNT ones at the base rate
FADE = 1023 * COUNT  # counts are halved beyond it, so that old evidence fades
WEIGHT_ONE = 1 << 16  # a mixing weight of 1
FIRST_WEIGHT = WEIGHT_ONE * 3 // 10
RATE_SHIFT = 14  # the learning rate of the weights
MANTISSA = 10  # leading bits of an integer that its logarithm looks at
EXACT = Context(prec=20, rounding=ROUND_HALF_EVEN)  # never the caller's own decimal context


@cache
def _log_table() -> list[int]:
    """round(NAT · ln(i)) for i = 1 … 2^MANTISSA (index 0 unused)."""
    with localcontext(EXACT):
        exact = [NAT * Decimal(i).ln() for i in range(1, (1 << MANTISSA) + 1)]
        return [0] + [int(value.to_integral_value()) for value in exact]


LOG_TWO = 177  # round(NAT · ln 2)


def log(i: int) -> int:
    """NAT · ln(i) for an integer i ≥ 1, to the leading bits: the same on every machine."""
    shift = i.bit_length() - MANTISSA
    if shift <= 0:
        return _log_table()[i]
    return _log_table()[i >> shift] + shift * LOG_TWO


@cache
def _long_log_table() -> list[int]:
    """`log` of every count up to FADE, to be looked up."""
    return [0] + [log(i) for i in range(1, FADE + 1)]


@cache
def _squash_table() -> list[int]:
    """SCALE / (1 + e^(−s / NAT)) for s = −LIMIT … LIMIT, kept inside 1 … SCALE − 1."""
    with localcontext(EXACT):
        odds = [(Decimal(-s) / NAT).exp() for s in range(-LIMIT, LIMIT + 1)]
        exact = [(SCALE / (1 + o)).to_integral_value() for o in odds]
    return [min(max(int(value), 1), SCALE - 1) for value in exact]


class Mixer:
    """`sizes[i]` contexts in table i; their votes around the base rate, mixed by learnt weights.

    All tables lie one behind the other in flat lists: row c of table i is `self._first[i] + c`.
    """

    def __init__(self, sizes: list[int], ones: int, places: int) -> None:
        """`ones` of `places` bits are 1 overall: where every context starts from."""
        zeros = max(places - ones, 1) * PRIOR // max(ones, 1) + 1
        self._first = [sum(sizes[:i]) for i in range(len(sizes))]
        self._ones = [PRIOR] * sum(sizes)
        self._zeros = [zeros] * sum(sizes)
        self._start = log(PRIOR) - log(zeros)
        self._votes = [0] * sum(sizes)
        self._weights = [FIRST_WEIGHT] * len(sizes)
        self._squash = _squash_table()

    def code(self, stream: Stream, base: int, contexts: list[int], value: int = 0) -> int:
        """One bit; `base` is its log-odds before any context, `contexts[i]` its row of table i."""
        rows = list(map(add, self._first, contexts))
        votes = [self._votes[row] for row in rows]
        weights = self._weights
        dot = base + (sum(map(mul, weights, votes)) >> 16)
        probability = self._squash[min(max(dot, -LIMIT), LIMIT) + LIMIT]
        value = stream.bit(probability, value)
        error = (SCALE if value else 0) - probability
        self._weights = [w + (vote * error >> RATE_SHIFT) for w, vote in zip(weights, votes)]
        self._learn(rows, value)
        return value

    def _learn(self, rows: list[int], value: int) -> None:
        ones, zeros, votes, start = self._ones, self._zeros, self._votes, self._start
        seen = ones if value else zeros
        logs = _long_log_table()
        for row in rows:
            seen[row] += COUNT
            if seen[row] > FADE:
                ones[row], zeros[row] = ones[row] // 2 + 1, zeros[row] // 2 + 1
            z = zeros[row]  # above FADE only at first, in a mask with next to no ones
            votes[row] = logs[ones[row]] - (logs[z] if z <= FADE else log(z)) - start
