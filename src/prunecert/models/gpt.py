"""A small causal language model of the GPT-2 architecture: `gpt:2-32-2-64`.

Learned positions, normalisation before each part of a block, GELU, the output head tied to the
token embedding (Radford et al. 2019). No dropout: its networks are small and pruned. Inputs are
token numbers (n, T), outputs scores (n, min(T, context), vocabulary); those at place t read the
tokens up to t and score the next one. To the layer view such a network is opaque: its scores have
an axis of places, which nothing is proven for, so no unit is renumbered.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

PREFIX = "gpt:"
EXAMPLE = "gpt:2-32-2-64"
BYTES = 256  # the vocabulary, unless the name says another
MOST_BLOCKS, LARGEST_SIZE = 100, 1 << 16  # what a stranger's file can make us build
MOST_WEIGHTS = 1 << 26
FORM = re.compile(r"gpt:[1-9][0-9]{0,8}(-[1-9][0-9]{0,8}){3,4}")
NAMES = ("blocks", "width", "heads", "context", "vocabulary")
INITIAL_SPREAD = 0.02  # standard deviation of the initial weights, as in GPT-2


class Attention(nn.Module):
    """Causal self-attention; every head sees its own slice of the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # (n, T, width) → the same
        q, k, v = (self._by_head(part) for part in self.qkv(x).chunk(3, dim=2))
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True)
        result: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return result

    def _by_head(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(width, 4 * width), gelu=nn.GELU(), fc2=nn.Linear(4 * width, width)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        result: Tensor = x + self.feed(self.norm2(x))
        return result


class GPT(nn.Module):
    """Scores of the next token at every place; tokens beyond the context are not read."""

    def __init__(self, blocks: int, width: int, heads: int, context: int, vocabulary: int) -> None:
        super().__init__()
        self.context = context
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=INITIAL_SPREAD)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:  # (n, T) → (n, min(T, context), vocabulary)
        tokens = tokens[:, : self.context]
        place = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.blocks(self.wte(tokens) + self.wpe(place))
        return linear(self.norm(x), self.wte.weight)


@torch.no_grad()
def centre_tokens(module: GPT) -> None:
    """The same function with a token embedding whose columns have median zero, in place.

    A vector added to every row of the embedding changes all scores of a place alike, which no
    probability sees; taken out of every place, it leaves the sums of token and place as they were.
    Training moves the rows of tokens that never occur together: afterwards they are near zero, and
    pruning them costs nothing.
    """
    middle = module.wte.weight.median(dim=0).values
    module.wte.weight -= middle
    module.wpe.weight += middle


def problem_with(sizes: Sequence[int]) -> str | None:
    """What is wrong with the sizes of a gpt, in words, or None. They may come from a file."""
    if len(sizes) != len(NAMES) or min(sizes) < 1:
        return f"expected four or five positive integers, as in {EXAMPLE}"
    blocks, width, heads, context, vocabulary = sizes
    if blocks > MOST_BLOCKS or max(sizes) > LARGEST_SIZE:
        return f"the zoo builds at most {MOST_BLOCKS} blocks, no size above {LARGEST_SIZE}"
    if width % heads:
        return f"{heads} heads do not divide a width of {width}"
    if vocabulary < 2:
        return "expected a vocabulary of at least 2"
    if 12 * blocks * width**2 + (context + vocabulary) * width > MOST_WEIGHTS:
        return f"the zoo builds at most {MOST_WEIGHTS} weights; give file.py:function instead"
    return None


def gpt_sizes(spec: str) -> tuple[int, ...]:
    """(blocks, width, heads, context, vocabulary) of `gpt:2-32-2-64` (bytes) or
    `gpt:2-32-2-64-128`; ValueError, in words, for anything else."""
    if not FORM.fullmatch(spec):
        raise ValueError(f"expected blocks-width-heads-context, as in {EXAMPLE}")
    sizes = tuple(int(size) for size in spec.removeprefix(PREFIX).split("-"))
    sizes = sizes if len(sizes) == len(NAMES) else (*sizes, BYTES)
    if problem := problem_with(sizes):
        raise ValueError(problem)
    if spec != gpt_spec(sizes):
        raise ValueError(f"a vocabulary of {BYTES} is left out: expected {gpt_spec(sizes)}")
    return sizes


def gpt_spec(sizes: Sequence[int]) -> str:
    """The one name of these sizes."""
    named = sizes[:-1] if sizes[-1] == BYTES else sizes
    return PREFIX + "-".join(str(size) for size in named)
