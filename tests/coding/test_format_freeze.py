"""FORMAT FREEZE: this file decodes to these tensors for ever (DESIGN, tests 9).

The one expected value in this suite that is our own output: it was written once, when the format
was fixed, and pins the meaning of bytes already issued. A change that fails here breaks every
certificate in the world: give the format another magic instead.
"""

import torch
from coded_networks import assert_identical
from frozen_network import ARCHITECTURE, CHOICES, GROUPS, SLOTS, network

from prunecert.coding import decode_network, encode_network

FROZEN = bytes.fromhex(
    "7072756e65636572742f310a312cc737ce18c3073d49fa0b79d21841a779caaa233e8ed5b43e6c3e42a25942"
    "6c9d76ada4d216d04e987f0293ec81f7fa46d1cd2148d858a01782f12b96d327e52fe553ffb34ccf4a85a106"
    "a2218bdfe2d183b9002e00009f009fd160a6b12200130080b0baa81257fdece5bb8a6e7ad0fa31b5b739c403"
    "d5c43d67c3806b6bd7f3eac53b0155264f9cc26d6aadce9d189875bc8998a6fa377fe3ee2f829bcba2fde1c5"
    "73474994fb6f5f921f98af96744dc80fb0be81919a55afe0f8b9cbd4c7f3d765d1"
)


def test_the_frozen_file_decodes_to_the_frozen_network():
    decoded = decode_network(FROZEN, SLOTS, GROUPS)
    assert_identical(decoded.tensors, network())
    assert decoded.architecture == ARCHITECTURE
    assert decoded.choices == CHOICES
    assert decoded.tensors["double"].tolist() == [[1 / 3, 0.0], [0.0, 5e-324]]
    assert bool(decoded.tensors["double"].signbit()[0, 1])
    assert decoded.tensors["brain"].dtype == torch.bfloat16  # written over the slot's float32


def test_the_frozen_network_encodes_to_the_frozen_file():
    coded = encode_network(network(), SLOTS, GROUPS, ARCHITECTURE, CHOICES)
    assert coded.data == FROZEN
    assert coded.code.bits == 8 * (len(FROZEN) - len(b"prunecert/1\n"))
