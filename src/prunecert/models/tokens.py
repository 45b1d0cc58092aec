"""What a language model returns: scores at every place of every document."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from prunecert.models.loading import outputs
from prunecert.types import InputError


def token_outputs(module: nn.Module, tokens: Tensor, name: str = "the sample") -> Tensor:
    """Scores (n, T', V), T' <= T, of token numbers (n, T): what the module returns, or `.logits`.

    Those at place t are of the token that follows it. Raises InputError when the module does not
    take the tokens of `name`, or returns anything else.
    """
    rows = _Rows(module)
    return outputs(rows, tokens, name).reshape(len(tokens), *rows.places_and_tokens)


class _Rows(nn.Module):
    """The same scores, those of a document in one row: (n, T'·V)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor) -> Any:
        result = self.module(tokens)
        scores = getattr(result, "logits", result)
        shape = tuple(getattr(scores, "shape", ()))
        if len(shape) != 3 or not 1 <= shape[1] <= tokens.shape[1] or shape[2] < 2:
            raise InputError(f"scores have shape {shape}, expected (documents, places, vocabulary)")
        self.places_and_tokens = shape[1:]
        return scores.flatten(1)
