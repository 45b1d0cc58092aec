"""What comes back from whoever does a run, the same from every engine."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prunecert.sweep.config import RunConfig
from prunecert.sweep.folders import Say, is_disk_full
from prunecert.sweep.runs import run_one
from prunecert.types import InputError
from prunecert.user_code import in_one_line

ATTEMPTS = 3  # a run whose worker dies is handed out again twice

Kind = Literal["rows", "said", "refused", "full"]


@dataclass(frozen=True)
class Answer:
    """`content`: the rows of run `index`; or one line: said on the way, why it was refused, or
    that nothing more can be written."""

    index: int
    kind: Kind
    content: Any


Engine = Callable[[Sequence[RunConfig], Path, int | None], Generator[Answer, None, None]]


def attempt(index: int, config: RunConfig, root: Path, say: Say) -> Answer:
    """Do a run; whatever goes wrong in it is an answer too."""
    try:
        return Answer(index, "rows", run_one(config, root, say=say))
    except InputError as error:
        return Answer(index, "full" if is_disk_full(error) else "refused", str(error))
    except Exception as error:
        if is_disk_full(error):
            return Answer(index, "full", in_one_line(error))
        traceback.print_exc()  # a fault of ours, or of the user's code: the other runs go on
        return Answer(index, "refused", in_one_line(error))
