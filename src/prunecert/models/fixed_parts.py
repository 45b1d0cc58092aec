"""Parts without parameters that stand between layers, exact in integers: scale, slopes, fold.

Where inputs are integer multiples of one power of two, so are outputs; the only division is of two
exact numbers, rounded as IEEE 754 says and floored, the same on every machine: below 2^53 units
that is the floor of the exact quotient. Gradients pass through it as if it were not there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class FixedPart(nn.Module):
    """One operation of a network, and one that the layer view knows nothing about."""


class Scale(FixedPart):
    """Every row to a mean size of 2^bits: floor(x · N · 2^bits / Σ|x|) over the N = `values` of a
    row; a row of zeros stays zero. Any shape (n, …), in the dtype of x: exact in float64.

    `over` 1 does so for each channel of a picture (N is H · W), 2 for each place (N is C).
    """

    def __init__(self, bits: int, values: int, over: int = 0) -> None:
        super().__init__()
        self.bits, self.values, self.over = bits, values, over

    def forward(self, x: Tensor) -> Tensor:
        axes = (tuple(range(1, x.ndim)), (2, 3), (1,))[self.over]
        sizes = x.abs().sum(axes, keepdim=True)
        exact = x * (self.values * 2**self.bits) / torch.where(sizes > 0, sizes, 1.0)
        return exact + (exact.floor() - exact).detach()


class Slopes(FixedPart):
    """Each channel and its half-rectified differences to the right, left, below and above.

    (n, C, H, W) → (n, 5 C, H, W), channel major. Central differences with zeros outside; the rows
    are `halves` pictures on top of each other, and no difference crosses from one to the next.
    """

    def __init__(self, halves: int) -> None:
        super().__init__()
        self.halves = halves

    def forward(self, x: Tensor) -> Tensor:
        pictures = x.unflatten(2, (self.halves, -1))  # type: ignore[no-untyped-call]
        padded = functional.pad(pictures, (1, 1, 1, 1))
        across = padded[:, :, :, 1:-1, 2:] - padded[:, :, :, 1:-1, :-2]
        down = padded[:, :, :, 2:, 1:-1] - padded[:, :, :, :-2, 1:-1]
        parts = (pictures, across.relu(), (-across).relu(), down.relu(), (-down).relu())
        return torch.stack(parts, 2).flatten(1, 2).flatten(2, 3)


class Fold(FixedPart):
    """The sum of `halves` pictures on top of each other: (n, C, halves · H, W) → (n, C, H, W)."""

    def __init__(self, halves: int) -> None:
        super().__init__()
        self.halves = halves

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = x.unflatten(2, (self.halves, -1)).sum(2)  # type: ignore[no-untyped-call]
        return summed
