"""prunecert: prune a network, get a certificate of how wrong it can be on new data.

    import prunecert
    pruned = prunecert.prune(network, sparsity=0.9)
    issued = prunecert.certify(pruned, (inputs, labels), delta=0.05)
    issued.write("certificate")

Importing the package imports no torch; each name below is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "certify": "prunecert.api",
    "compress": "prunecert.api",
    "hold_masks": "prunecert.pruning",
    "load_model": "prunecert.models.loading",
    "load_source": "prunecert.data",
    "measure": "prunecert.api",
    "prune": "prunecert.api",
    "select": "prunecert.api",
    "train": "prunecert.api",
    "verify": "prunecert.api",
}
__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'prunecert' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
