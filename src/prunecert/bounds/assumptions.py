"""Hypotheses that several statements share, and how each is known to hold."""

from __future__ import annotations

from prunecert.types import Assumption

IID = Assumption("the n samples are independent draws from the distribution meant", "standing")
COUNTED = Assumption("the counts are those of the network on the sample", "checked")
UNUSED = Assumption(
    "the sample had no part in making or choosing the network or networks", "declared"
)
PREFIX_FREE = Assumption("the code is prefix-free", "by construction")
MEASURED = Assumption("errors and code length are those of the network on the sample", "checked")
FIXED_CODE = Assumption("the code and delta were fixed before the sample was looked at", "declared")
