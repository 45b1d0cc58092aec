"""What a network file says first: its dialect, then the integers that name its architecture.

The format `prunecert/1` began as one dialect, whose first integer counts the architecture's
integers and is at most MAX_ARCHITECTURE. A larger one, which readers of that dialect refuse, names
a later dialect: MAX_ARCHITECTURE + d is dialect d. What the dialect needs follows, then the header
as ever, beginning with the count itself. A file of the first dialect therefore reads as it always
did, and a new dialect takes the next number.

    dialect 0   nothing more
    dialect 1   the seed of `prng.seeded_signs`; the value code "seeded" (see `value_codes`)
"""

from __future__ import annotations

from dataclasses import dataclass

from prunecert.coding.prng import SEEDS
from prunecert.coding.stream import Stream, positive, uniform
from prunecert.coding.value_codes import SEEDED_VALUE_MODES, VALUE_MODES, ValueMode
from prunecert.types import CodeError

MAX_ARCHITECTURE = 1023  # integers that name a zoo architecture, at most
LAST_DIALECT = 1


@dataclass(frozen=True)
class Header:
    """The zoo's integers, none for a declared architecture; a seed asks for dialect 1."""

    architecture: tuple[int, ...] = ()
    seed: int | None = None

    @property
    def dialect(self) -> int:
        return 0 if self.seed is None else 1

    @property
    def value_modes(self) -> tuple[ValueMode, ...]:
        """The alphabet of value codes, whose size and order belong to the dialect."""
        return VALUE_MODES if self.dialect == 0 else SEEDED_VALUE_MODES


def code_header(stream: Stream, header: Header) -> Header:
    """Write `header`, or read one; CodeError for a dialect that this version does not know."""
    seed, architecture = None, header.architecture
    count = _count(
        stream, MAX_ARCHITECTURE + header.dialect if header.dialect else len(architecture)
    )
    if count > MAX_ARCHITECTURE:
        dialect = count - MAX_ARCHITECTURE
        if dialect > LAST_DIALECT:
            raise CodeError(
                f"the header announces dialect {dialect} of the format: this version of prunecert "
                f"reads up to {LAST_DIALECT}"
            )
        seed = uniform(stream, SEEDS, header.seed or 0)
        count = _count(stream, len(architecture))
        if count > MAX_ARCHITECTURE:
            raise CodeError(f"the header announces {count} integers to name an architecture")
    given = architecture or (0,) * count
    return Header(tuple(positive(stream, number + 1) - 1 for number in given), seed)


def _count(stream: Stream, value: int) -> int:
    return positive(stream, value + 1) - 1
