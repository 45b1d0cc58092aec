"""What the caller calls data, as sources and samples with roles."""

from __future__ import annotations

from typing import Any

from prunecert.data import Sample, Source, in_memory, load_source, take
from prunecert.types import Role


def open_source(data: Any) -> Source:
    """What --data names, or data in memory: arrays (x, y), a data set, a loader, or
    ((x, y), (x, y)) for train and test."""
    if isinstance(data, Source):
        return data
    return load_source(data) if isinstance(data, str) else in_memory(data)


def sample_of(data: Any, which: str, role: Role) -> Sample:
    """The sample `which` of what the caller calls data; a Sample is taken as it is."""
    if isinstance(data, Sample):
        return data
    return take(open_source(data), which, role)


def training_sample(source: Source) -> Sample | None:
    """All training rows, for comparing hold-out rows with (labels are not read)."""
    return None if source.train is None else take(source, "train", "unlabeled")


def test_sample(source: Source, role: Role = "holdout") -> Sample | None:
    """The whole test sample, where there is one."""
    return None if source.test is None else take(source, "test", role)
