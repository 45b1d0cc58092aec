"""Random draws of their own: a user has one seed, and its streams must not be one stream.

A network initialised at seed 0 and a mask drawn at seed 0 from the same generator would use the
same uniforms: the mask would depend on the weights, which every statement about it forbids.
"""

from __future__ import annotations

import hashlib

import torch


def own_generator(purpose: str, seed: int) -> torch.Generator:
    """A CPU generator for one purpose ("bernoulli mask", …), different from every other's."""
    digest = hashlib.sha256(f"prunecert {purpose} {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
