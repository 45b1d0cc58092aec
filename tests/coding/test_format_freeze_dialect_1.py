"""FORMAT FREEZE of dialect 1: this file decodes to these tensors for ever.

Like `test_format_freeze`: written once, when the dialect was fixed, and never again. The signs are
those of the seed at the full positions, written out in `frozen_ticket`.
"""

import hashlib

from coded_networks import assert_identical
from frozen_ticket import ARCHITECTURE, CHOICES, GROUPS, SEED, SIGNS, SLOTS, network

from prunecert.coding import MAGIC, decode_network, encode_network

FROZEN = bytes.fromhex(
    "7072756e65636572742f310a0cf10cc0ff6b46d3b8c73a081903aa168788add9d22ae57e952eeaf0f5130a88"
    "02f9bd516103f0cae8000000c200000000"
)


def test_the_frozen_file_decodes_to_the_frozen_network():
    decoded = decode_network(FROZEN, SLOTS, GROUPS)
    assert_identical(decoded.tensors, network())
    assert (decoded.architecture, decoded.seed) == (ARCHITECTURE, SEED)
    assert decoded.choices == CHOICES


def test_the_frozen_network_encodes_to_the_frozen_file():
    coded = encode_network(network(), SLOTS, GROUPS, ARCHITECTURE, CHOICES, SEED)
    assert coded.data == FROZEN
    assert coded.code.bits == 8 * (len(FROZEN) - len(MAGIC))


def test_the_signs_written_out_are_those_of_the_standard():
    names = [slot.name for slot in SLOTS]
    for name, signs in SIGNS.items():
        label = f"prunecert signs {SEED} {names.index(name)}".encode()
        number = int.from_bytes(hashlib.shake_128(label).digest(len(signs)), "little")
        assert "".join("-" if number >> i & 1 else "+" for i in range(len(signs))) == signs
