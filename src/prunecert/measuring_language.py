"""Measuring a language model: every document becomes one loss in bits per token, and one share.

The loss is of p' = (1 − a)·p + a/V, for every a of a fixed list; p is the softmax of the scores, in
float64. It is measured conservatively: scores within τ/2 of these, τ = tolerance · max|score| at a
place, change ln p by at most τ, so p is taken as p·exp(−τ), and a token is among the k best only
where it leads by more than τ. A score that is no number counts as p = 0. All three are then at
least what any execution within that distance finds (THEORY 3.5).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunecert.data.text import BYTES, LONGEST
from prunecert.measuring import DEFAULT_BATCH, TOLERANCE, Batches, moved, steady
from prunecert.models.tokens import token_outputs
from prunecert.progress import Tick, silent
from prunecert.types import InputError

MIXINGS = tuple(2.0**-i for i in range(1, 11))  # the list of a, fixed here: a power of two each
ROUNDING = 1e-12  # relative: what sums in float64 can lose (τ is far above what logarithms do)
PLACES_AT_ONCE = 1 << 12  # scores of so many tokens stay in a processor's cache
COMPANY = 2  # documents that are evaluated once more
CUTS = (
    1,
    2,
    3,
    5,
    8,
    13,
    21,
    34,
    55,
    89,
    144,
    233,
    377,
    610,
    987,
)  # places before which a change of later tokens must not be seen


@dataclass(frozen=True)
class DocumentLosses:
    """What one pass over n documents yields, each document's number a mean over its tokens."""

    bits: NDArray[np.float64]  # (n, len(MIXINGS)): −log2 p'
    beyond: NDArray[np.float64]  # (n,): share of tokens that are not surely among the k best
    tokens: NDArray[np.int64]  # (n,): tokens of each document that the model scored
    vocabulary: int
    places: int  # of any document so many tokens are scored at most, seen or not
    k: int
    sample: str

    @property
    def n(self) -> int:
        return len(self.tokens)

    def of(self, documents: NDArray[np.int64]) -> DocumentLosses:
        """The same of these documents; one that is named twice counts twice."""
        return DocumentLosses(
            self.bits[documents],
            self.beyond[documents],
            self.tokens[documents],
            self.vocabulary,
            self.places,
            self.k,
            self.sample,
        )

    def mean_bits(self) -> list[float]:
        """For every a the mean over documents of the loss in bits per token, rounded up."""
        return [_mean(column, np.ones(self.n)) for column in self.bits.T]

    def token_mean_bits(self) -> list[float]:
        """For every a the mean over all tokens of the text, rounded up."""
        return [_mean(column, self.tokens) for column in self.bits.T]

    def mean_beyond(self) -> float:
        """The mean over documents of the share of tokens beyond the k best, rounded up."""
        return min(1.0, _mean(self.beyond, np.ones(self.n)))


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64] | NDArray[np.int64]) -> float:
    return math.fsum(values * weights) / math.fsum(weights) * (1 + ROUNDING)


@torch.no_grad()
def run(
    module: nn.Module,
    sample: Batches,
    *,
    k: int = 1,
    tolerance: float = TOLERANCE,
    batch_size: int = DEFAULT_BATCH,
    device: str = "cpu",
    tick: Tick = silent,
) -> DocumentLosses:
    """One pass of `module` (eval mode) over the documents of `sample`.

    InputError where scores of a token depend on later tokens or on other documents: −log2 p would
    then be no code length of the text. It is tried on the first documents.
    """
    module = module.to(device).eval()
    columns: list[tuple[NDArray[np.float64], ...]] = []
    shape = (0, 0)
    with steady(module):
        for tokens, labels in _documents(sample, batch_size, device):
            scores = token_outputs(module, tokens, sample.name).double()
            if not columns:
                _refuse_looking_ahead(module, tokens, scores, sample.name)
                if scores.shape[2] < BYTES:
                    raise InputError(
                        f"the model has {scores.shape[2]} scores, expected at least {BYTES}: one "
                        "for every byte that a new document may hold"
                    )
                shape = (_places(module, tokens, scores, sample.name), scores.shape[2])
                if not 1 <= k < shape[1]:
                    raise InputError(
                        f"--top-k {k}: expected less than the vocabulary of {shape[1]}"
                    )
            columns.append(_columns(scores, labels[:, : scores.shape[1]], k, tolerance))
            tick(len(labels))
    bits, beyond, counted = (np.concatenate(part) for part in zip(*columns, strict=True))
    return DocumentLosses(
        bits, beyond, counted.astype(np.int64), shape[1], shape[0], k, sample.name
    )


def _documents(sample: Batches, batch_size: int, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Token numbers and labels of a few documents at a time."""
    for inputs, labels in sample.batches(batch_size, device=device):
        if labels.ndim != 2 or not isinstance(inputs, Tensor):
            raise InputError(f"{sample.name}: expected documents, as a FILE.txt has them")
        few = max(1, PLACES_AT_ONCE // labels.shape[1])
        for i in range(0, len(labels), few):
            yield inputs[i : i + few], labels[i : i + few]


def _places(module: nn.Module, tokens: Tensor, scores: Tensor, name: str) -> int:
    """How many tokens of a document the model scores, however long it is. The longest document of
    the sample must not decide it: the loss is to be fixed before the sample."""
    few = tokens[:COMPANY]
    filled = torch.cat((few, few[:, -1:].expand(-1, LONGEST - few.shape[1])), dim=1)
    longer = token_outputs(module, filled, f"{name}, filled up to {LONGEST} tokens").double()
    width = min(tokens.shape[1], longer.shape[1])
    if scores.shape[1] != width or moved(longer[:, :width], scores[:COMPANY]):
        raise InputError(
            f"the model's scores of a token of {name} change with the length of the rows: expected "
            "a function of the earlier tokens alone"
        )
    return longer.shape[1]


def _columns(
    scores: Tensor, labels: Tensor, k: int, tolerance: float
) -> tuple[NDArray[np.float64], ...]:
    """Loss (b, A), share beyond the k best (b,) and number of tokens (b,) of a batch."""
    known = labels >= 0
    count = known.sum(dim=1).double()
    truth = labels.clamp(min=0)[..., None]
    slack = tolerance * scores.abs().amax(dim=2)
    own = scores.gather(2, truth)[..., 0]
    p = (own - scores.logsumexp(dim=2) - slack).exp().nan_to_num(0.0).clamp(0.0, 1.0)
    a = torch.tensor(MIXINGS, dtype=torch.float64, device=scores.device)
    loss = -torch.log2((1 - a) * p[..., None] + a / scores.shape[2])
    rivals = (~(scores < (own - slack)[..., None])).sum(dim=2) - 1  # it is none of its own
    missed = rivals >= k
    bits = (loss * known[..., None]).sum(dim=1) / count[:, None]
    beyond = (missed & known).sum(dim=1) / count
    return tuple(part.cpu().double().numpy() for part in (bits, beyond, count))


def _refuse_looking_ahead(module: nn.Module, tokens: Tensor, scores: Tensor, name: str) -> None:
    """Scores of the first documents, in other company and with later tokens changed, must stay."""
    few, expected = tokens[:COMPANY], scores[:COMPANY]
    cuts = [cut for cut in CUTS if cut < few.shape[1]] + [few.shape[1]]
    changed = [torch.cat((few[:, :cut], (few[:, cut:] + 1) % scores.shape[2]), 1) for cut in cuts]
    again = token_outputs(module, torch.cat(changed), name).double()
    for cut, found in zip(cuts, again.reshape(len(cuts), *expected.shape), strict=True):
        if moved(found[:, :cut], expected[:, :cut]):
            raise InputError(
                f"the model's scores of a token of {name} change with later tokens, with other "
                "documents or by chance: expected a function of the earlier tokens alone"
            )


def seeded_draws(seed: int, documents: int, count: int) -> NDArray[np.int64]:
    """`count` document numbers, uniform on 0 … documents − 1, with replacement, shape (count,).

    From words of 64 bits, little end first, of SHAKE-128("prunecert documents {seed}"), the same
    on every machine: words beyond the last multiple of `documents` are passed over, the others
    taken modulo `documents`.
    """
    limit, words = (1 << 64) - (1 << 64) % documents, count + 64
    while True:
        stream = hashlib.shake_128(f"prunecert documents {seed}".encode()).digest(8 * words)
        drawn = np.frombuffer(stream, "<u8")
        drawn = drawn[drawn <= limit - 1]
        if len(drawn) >= count:
            return (drawn[:count] % np.uint64(documents)).astype(np.int64)
        words *= 2
