"""The code of a network: real bytes, exact round trip, a length that a bound may pay (THEORY 3)."""

from prunecert.coding.container import MAGIC, pack, unpack
from prunecert.coding.network_codes import (
    CodedNetwork,
    DecodedNetwork,
    decode_network,
    encode_network,
)
from prunecert.coding.structured_masks import has_groups
from prunecert.coding.tensor_codes import Choice

__all__ = [
    "MAGIC",
    "Choice",
    "CodedNetwork",
    "DecodedNetwork",
    "decode_network",
    "encode_network",
    "has_groups",
    "pack",
    "unpack",
]
