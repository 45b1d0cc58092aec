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
    "7072756e65636572742f310a322cc73726c6bc273e063da4015a182410b7b8ccffa26abb0900140075c0c603"
    "140055f59595e574b69b60755b84726b62935ab9a5b9471af4f9391279ee5d32e9777be827eb10b20e13d61b"
    "1f6d446852530908000200005300535302bf800100000080d6c84e4ed612a142c0793dd9e7a8d18196872991"
    "48f41d15bc88d6f5fa8a52b6327047d8b1042fffb7bda8c73617819900cd2318edfe22eeeb0818744ec79342"
    "2bc96d5ac171283e7cd7984d90ae56dadadcab642354559b113aae46fe500a47016ed7587d"
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
