"""What a network file says first: its dialect, then the integers that name its architecture.

The format `prunecert/1` began as one dialect, whose first integer counts the architecture's
integers and is at most MAX_ARCHITECTURE. A larger one, which readers of that dialect refuse, names
a later dialect: MAX_ARCHITECTURE + d is dialect d. What the dialect needs follows, then the header
as ever, beginning with the count itself. A file of the first dialect therefore reads as it always
did, and a new dialect takes the next number.

    dialect 0   nothing more
    dialect 1   the seed of `prng`; the value code "seeded" (see `value_codes`)
    dialect 2   one bit, 1 where the file names a seed; that seed; all mask and value codes
"""

from __future__ import annotations

from dataclasses import dataclass

from prunecert.coding.mask_codes import EXTENDED_MASK_MODES, MASK_MODES, MaskMode
from prunecert.coding.prng import SEEDS
from prunecert.coding.stream import SCALE, Stream, positive, uniform
from prunecert.coding.value_codes import (
    EXTENDED_VALUE_MODES,
    SEEDED_VALUE_MODES,
    VALUE_MODES,
    ValueMode,
)
from prunecert.types import CodeError

MAX_ARCHITECTURE = 1023  # integers that name a zoo architecture, at most
LAST_DIALECT = 2
FROM_A_SEED = ("seeded", "initial", "subspace", "difference")  # codes of masks and values


@dataclass(frozen=True)
class Header:
    """The zoo's integers, none for a declared architecture; a seed from dialect 1 on."""

    architecture: tuple[int, ...] = ()
    seed: int | None = None
    dialect: int = 0

    @property
    def mask_modes(self) -> tuple[MaskMode, ...]:
        """The alphabet of mask codes, whose size and order belong to the dialect."""
        return MASK_MODES if self.dialect < 2 else EXTENDED_MASK_MODES

    @property
    def value_modes(self) -> tuple[ValueMode, ...]:
        """The alphabet of value codes, likewise."""
        return (VALUE_MODES, SEEDED_VALUE_MODES, EXTENDED_VALUE_MODES)[self.dialect]

    def allows_mask(self, mode: MaskMode | None) -> bool:
        """True where a tensor's places may be coded in this mode."""
        return self._has_seed_for(mode) and (mode is None or mode in self.mask_modes)

    def allows_values(self, mode: ValueMode | None) -> bool:
        """True where a tensor's values may be coded in this mode."""
        return self._has_seed_for(mode) and (mode is None or mode in self.value_modes)

    def _has_seed_for(self, mode: MaskMode | ValueMode | None) -> bool:
        return self.seed is not None or mode not in FROM_A_SEED


def code_header(stream: Stream, header: Header) -> Header:
    """Write `header`, or read one; CodeError for a dialect that this version does not know."""
    seed, architecture, dialect = None, header.architecture, header.dialect
    count = _count(stream, MAX_ARCHITECTURE + dialect if dialect else len(architecture))
    dialect = max(count - MAX_ARCHITECTURE, 0)
    if dialect > LAST_DIALECT:
        raise CodeError(
            f"the header announces dialect {dialect} of the format: this version of prunecert "
            f"reads up to {LAST_DIALECT}"
        )
    if dialect == 1 or dialect == 2 and stream.bit(SCALE // 2, int(header.seed is not None)):
        seed = uniform(stream, SEEDS, header.seed or 0)
    if dialect:
        count = _count(stream, len(architecture))
        if count > MAX_ARCHITECTURE:
            raise CodeError(f"the header announces {count} integers to name an architecture")
    given = architecture or (0,) * count
    return Header(tuple(positive(stream, number + 1) - 1 for number in given), seed, dialect)


def _count(stream: Stream, value: int) -> int:
    return positive(stream, value + 1) - 1
