"""FORMAT FREEZE of dialect 2: this file decodes to these tensors for ever.

Like `test_format_freeze`: written once, when the dialect was fixed, and never again. What the seed
decides is computed by the slow twins in `seeded_twins`.
"""

from coded_networks import assert_identical
from frozen_extended import ARCHITECTURE, CHOICES, GROUPS, SEED, SLOTS, network

from prunecert.coding import MAGIC, decode_network, encode_network
from prunecert.coding.mask_codes import EXTENDED_MASK_MODES, MASK_MODES
from prunecert.coding.value_codes import EXTENDED_VALUE_MODES, VALUE_MODES

FROZEN = bytes.fromhex(
    "7072756e65636572742f310a550114c0ff99846231831cb0d34fe65e2204d89fdcdfe11bef484a45ccfb5124"
    "744367583f62500cc8a0b01388d06b493080c0731cb0770b59fa5878e18769af3ccde63d02ef8dea7435468d"
    "4d9f2ca811b125617257d2df54963bdd00afdd585e8a4caf4aee619943be3490a2033b014504cb0252003d7b"
    "890311c0ecb9618f5704eb2404a2867a8902ed5130bef1174b8910bee0a83f01d2270c3f9532e2728547b4c6"
    "8b774c2794a28e57de05f151304aaf01f41e69bf3073ff03a8ffd1899e12a3b3ed58cb3b1af2caff9571c7ce"
    "a1ed3227524ca0b9308ab5fe0d1de736b1cfe3df1eafa9bfc61134628cee8501a39a11c12f76818d65600e6a"
    "f219b85663ff26067dd25eecb4a55cb29675cd9b7841046521341f3b91eae3fdacdd1be48dcd70daa9c053ca"
    "8ca352ada84b309fa7c49276b052c9fc1493a726812e74a4e60be994781c6ed7e54674dabc3dd3f4ee000000"
    "00"
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


def test_every_new_code_is_in_the_frozen_file():
    assert {c.mask for c in CHOICES.values()} >= {*EXTENDED_MASK_MODES} - {*MASK_MODES}
    assert {c.values for c in CHOICES.values()} >= {*EXTENDED_VALUE_MODES} - {*VALUE_MODES}
