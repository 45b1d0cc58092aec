"""Claims about the network that a code decodes to."""

from __future__ import annotations

import math

from prunecert.api.claims.terms import BOUNDED, FIXED, IID, Claim, Counts, Terms
from prunecert.bounds.occam import occam_upper
from prunecert.inversions import round_up
from prunecert.types import Assumption

CODE = Assumption(
    "the code is prefix-free, and its length is that of the bytes that the decoder reads",
    "by construction",
)
CODE_FIXED = Assumption(
    "the constants of the code were fixed before the sample was looked at", "declared"
)


def occam(counts: Counts, terms: Terms) -> Claim:
    """Code certificate (THEORY 2.1): a list of T alternatives costs log2 T bits."""
    assert terms.code_bits is not None
    selection_bits = round_up(math.log2(terms.tried))
    bits = terms.code_bits + selection_bits
    bound = occam_upper(counts["errors"], counts["n"], bits, terms.delta)
    return Claim(
        "occam",
        "zero-one risk",
        round_up(bound),
        counts["n"],
        counts["errors"],
        (("Occam bound, all codewords at once", terms.delta),),
        (IID, BOUNDED, CODE, CODE_FIXED, FIXED, *alternatives(terms.tried)),
        selection_bits=selection_bits,
    )


def alternatives(tried: int) -> tuple[Assumption, ...]:
    text = f"what the file does not tell was one of {tried} alternatives listed before the sample"
    return (Assumption(text, "declared"),) if tried > 1 else ()
