"""What the caller calls data, as sources and samples with roles."""

from __future__ import annotations

from typing import Any

from prunecert.data import Sample, Source, in_memory, load_source, take
from prunecert.data.sources import IN_MEMORY
from prunecert.types import InputError, Role


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


def holdout_split(source: Source) -> str:
    """What hold-out statements read: `test`; of data in memory without one, all there is."""
    return "train" if source.spec == IN_MEMORY and source.test is None else "test"


def training_sample(source: Source) -> Sample | None:
    """All training rows, for comparing hold-out rows with (labels are not read)."""
    return None if source.train is None else take(source, "train", "unlabeled")


def compared_with(source: Source, sample: Sample) -> Sample | None:
    """The training rows that a hold-out is searched for: of its source, where it is no part of
    them itself."""
    return training_sample(source) if sample.split == "test" else None


def test_sample(source: Source, role: Role = "holdout") -> Sample | None:
    """The whole test sample, where there is one."""
    return None if source.test is None else take(source, "test", role)


def two_samples_of(source: Source, coded: bool) -> tuple[str, str]:
    """What a statement from two samples reads: train and test, or the two halves of test."""
    if coded:
        return "train", "test"
    if source.test is None:
        raise InputError(f"{source.spec}: has no test sample: expected one, to be read in halves")
    half = len(source.test) // 2
    return f"test[:{half}]", f"test[{half}:]"
