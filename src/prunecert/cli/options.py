"""Options that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from prunecert.types import InputError

if TYPE_CHECKING:
    from prunecert.api import Options
    from prunecert.progress import Stage

Model = Annotated[
    str, typer.Option("--model", help="Zoo name, file.py:function, or a Hugging Face folder.")
]
MaybeModel = Annotated[
    Optional[str],
    typer.Option("--model", help="Zoo name, file.py:function, or a Hugging Face folder."),
]
Data = Annotated[
    str,
    typer.Option("--data", help="digits, FILE.npz, file.py:function, a data-set folder or hub id."),
]
MaybeData = Annotated[
    Optional[str],
    typer.Option("--data", help="digits, FILE.npz, file.py:function, a folder or hub id."),
]
Delta = Annotated[
    float, typer.Option("--delta", help="Failure probability, strictly between 0 and 1.")
]
Out = Annotated[Path, typer.Option("--out", help="Where to write.")]
SampleName = Annotated[
    Optional[str], typer.Option("--sample", help="train, test, or a slice such as train[:30000].")
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Samples per forward pass.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, mps …")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of everything random here.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the written file; all else on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def evaluation(batch_size: int, device: str, stage: Stage) -> Options:
    """How networks are evaluated."""
    from prunecert.api import Options

    return Options(batch_size, usable(device), stage)


def usable(device: str) -> str:
    """The device, or InputError where this torch or this machine does not have it."""
    import torch

    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"--device {device}: not usable here ({first})") from None
    return device


def numbers(text: str, option: str) -> list[float]:
    """`0.5,0.8,0.9` as numbers."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text!r}: expected numbers separated by commas") from None
