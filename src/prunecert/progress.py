"""How long work reports itself: a stage has a name, a size, and a tick."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Tick = Callable[[int], None]  # told how many units of the stage were just done
Stage = Callable[[str, int], AbstractContextManager[Tick]]


def silent(_: int) -> None:
    """A tick that nobody hears."""


@contextmanager
def quiet(name: str, total: int) -> Iterator[Tick]:
    """A stage that nobody sees."""
    yield silent
