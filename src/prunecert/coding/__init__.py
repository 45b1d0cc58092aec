"""The code of a network: real bytes, exact round trip, a length that a bound may pay (THEORY 3)."""

from prunecert.coding.container import MAGIC, pack, unpack
from prunecert.coding.network_codes import (
    Choice,
    CodedNetwork,
    DecodedNetwork,
    decode_network,
    encode_network,
)

__all__ = [
    "MAGIC",
    "Choice",
    "CodedNetwork",
    "DecodedNetwork",
    "decode_network",
    "encode_network",
    "pack",
    "unpack",
]
