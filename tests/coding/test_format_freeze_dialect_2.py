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
    "7072756e65636572742f310a96010114c0ff99846231831cb0d34fe65e2204d89fdcdfe11bef484a45ccfb51"
    "24744367583f62500cc8a0b01388d06b493080c0731cb0770b59fa5878e18769af3ccde63d02ef8dea743546"
    "8d4d9f2ca811b125617257d2df547c36dd0071c9445e264ba1251f9000df328bc0f447d13379cf66017c3309"
    "a713016e01aa4aea55adcf26ef39afada61334a93c690070d0590b6a51d5c52fc371d94cee3c25fd6a2f72fc"
    "7a77df98a91daf1d01fe38ab3c69b783990cc119016296010230c2710b2e23762d86248d4c2657f36a131564"
    "4450d34bf07d824fb92f21835b53ea3ef74ac394cb4eb368bb7e64828c5252fe5b1428a63b4a16c6213e0bfc"
    "0f74e7470622dad9dd8dc3e9d09dadcdb3f9957ba8557bfd8c1374f777334f3d59bb494d4c89407347113a5d"
    "3ffb2bcf3083c4a029f5e29d7948af823c02041e81faa99daa3e791472ea784930a76f799a66c6b7484cbc07"
    "fa004e050645c59c3600f3ff13f9bd356ee6607e0d034345727d963d05e432734de8d14d3e83da423d37d169"
    "c08c3adc9e8f46ac50e533f2de05d46cea113619f38510bbc05324d233f4f1930fec93e3150fb32ff4a24a20"
    "019711f450cae71afed183b1df31c5bed54815c9d1a161da7072c28b468986346778ef31a3b1b9a2cba32b64"
    "1c2c805354fac5f88a1813abf546ff5d612307aa82fc4ad7760d562616c125800fd70a56e64610fa2def89b2"
    "b8f30d5eecaed408d48640d564e0be458a45ba17cc8d302a1f77d4286d5de8ebf0a255e10d032b357d51b2a0"
    "7b57e15d7bc354f5c822db17aecc66b6e5e393c625b7d2413151aaa1f6024243c2d7d326791ea43e2c1b"
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
