"""Which networks are compared, and the sign error of an environment (THEORY 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from prunecert.study.statistics import Flags, Floats, Ints, numbered, pairs_within
from prunecert.types import InputError

Filter = Literal["test", "gap", "none"]
FILTERS: tuple[Filter, ...] = ("test", "gap", "none")
EQUAL = 1e-12  # relative: a difference that is its standard error, but for rounding


@dataclass(frozen=True)
class Design:
    """Where each of R rows stands: which may be compared, and what is resampled together.

    `levels` (R, A): value numbers on each axis, in the order of the values. `stratum` (R,): rows
    of different strata are never compared. `network` (R,): rows of one network are
    never compared with each other. `seed`, `sparsity`, `method`: indices of axes with a role,
    where there are any.
    """

    axes: tuple[str, ...]
    levels: Ints
    stratum: Ints
    network: Ints
    seed: int | None = None
    sparsity: int | None = None
    method: int | None = None

    @property
    def compared(self) -> tuple[int, ...]:
        """The axes along which networks are compared: all but the seed."""
        return tuple(axis for axis in range(len(self.axes)) if axis != self.seed)

    @property
    def cell(self) -> Ints:
        """A number for each dense configuration: the setting of all axes but the three roles."""
        return self._setting({self.seed, self.sparsity, self.method})

    @property
    def at_sparsity(self) -> Ints:
        """The number of each row's sparsity; 0 where there is no such axis."""
        if self.sparsity is None:
            return np.zeros(len(self.levels), np.int64)
        return self.levels[:, self.sparsity]

    def _setting(self, without: set[int | None]) -> Ints:
        kept = [axis for axis in range(len(self.axes)) if axis not in without]
        return numbered(np.column_stack([self.stratum, self.levels[:, kept]]))


@dataclass(frozen=True)
class Pairs:
    """Pairs (P,) of rows that differ along one axis, the lower value first.

    All other axes but the seed agree: `environment` numbers (the two values, the setting of the
    others), `coarse` the (stratum, two values). Where the seed agrees too, `column` numbers the
    setting of all other axes with the seed, else −1. `settings` of all others with the seed occur;
    `missing` of them have fewer than two values along the axis.
    """

    axis: int
    first: Ints
    second: Ints
    environment: Ints
    coarse: Ints
    column: Ints
    stratum: Ints
    at_sparsity: Ints  # −1 along the sparsity axis itself
    settings: int
    missing: int
    in_several: int  # pairs left out: one of the networks stands at several values of this axis
    repeated: int  # pairs left out: these two networks stand here already

    def __len__(self) -> int:
        return len(self.first)


def pairs_along(design: Design, axis: int) -> Pairs:
    """All pairs that differ along `axis` (and, freely, in the seed).

    A dense network stands in one row for every pruning method. Along the methods it is left out:
    two dense networks that differ in the seed do not differ in the method. Along other axes a pair
    of networks counts once, however many rows they have.
    """
    value = design.levels[:, axis]
    without_seed = design._setting({axis, design.seed})
    with_seed = design._setting({axis})
    first, second = pairs_within(without_seed, value)
    places = np.unique(np.stack([design.network, value], axis=1), axis=0)[:, 0]
    in_one = (np.bincount(places) == 1)[design.network]
    distinct = in_one[first] & in_one[second]
    in_several = int((~distinct).sum())
    first, second = first[distinct], second[distinct]
    names = np.sort(np.stack([design.network[first], design.network[second]], axis=1), axis=1)
    values = np.stack([value[first], value[second]], axis=1)
    seen = np.unique(np.column_stack([values, names]), axis=0, return_index=True)[1]
    kept = np.sort(seen)
    repeated = len(first) - len(kept)
    first, second, values = first[kept], second[kept], values[kept]
    same_seed = with_seed[first] == with_seed[second]
    stratum = design.stratum[first]
    along_sparsity = axis == design.sparsity
    lengths = np.unique(np.stack([with_seed, value], axis=1), axis=0)[:, 0]
    several = np.bincount(lengths) >= 2
    return Pairs(
        axis=axis,
        first=first,
        second=second,
        environment=numbered(np.column_stack([values, without_seed[first]])),
        coarse=numbered(np.column_stack([stratum, values])),
        column=np.where(same_seed, with_seed[first], -1),
        stratum=stratum,
        at_sparsity=np.full(len(first), -1) if along_sparsity else design.at_sparsity[first],
        settings=len(several),
        missing=int((~several).sum()),
        in_several=in_several,
        repeated=repeated,
    )


# --------------------------------------------------------------------------- standard errors


def paired_standard_error(worse: ArrayLike, better: ArrayLike, m: int) -> Floats:
    """√(b + c − (b − c)²/m)/m of the difference (b − c)/m of two error rates on the same m rows;
    b and c count the rows that only the one, only the other gets wrong."""
    b, c = np.asarray(worse, np.float64), np.asarray(better, np.float64)
    return np.asarray(np.sqrt(b + c - (b - c) ** 2 / m) / m)


def unpaired_standard_error(errors: Floats, n: Floats, others: Floats, m: Floats) -> Floats:
    """√(p(1−p)/n + q(1−q)/m) of the difference of two error rates on separate samples."""
    p, q = errors / n, others / m
    return np.asarray(np.sqrt(p * (1 - p) / n + q * (1 - q) / m))


@dataclass(frozen=True)
class Testing:
    """What is known of each row's errors on test data; any of it may be missing.

    `wrong[i]`: which test samples the network of row i gets wrong, None where not known; rows are
    paired where `sample` agrees. `errors`, `n` (R,): counts, NaN where not known.
    """

    __test__ = False  # no class of tests, whatever its name

    errors: Floats
    n: Floats
    wrong: tuple[Flags | None, ...] = ()
    sample: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counted:
    """Which of P pairs count in sign errors, and how that was told of how many of them."""

    flags: Flags
    paired: int
    unpaired: int
    unknown: int


def counted_pairs(pairs: Pairs, testing: Testing, gap: Floats, rule: Filter) -> Counted:
    """The pairs whose difference exceeds the standard error of their test difference.

    rule "test": the difference of the test errors must exceed it, as THEORY 5 has it: then chance
    in the test sample is unlikely to have made the difference. "gap": the difference of the gaps
    must. The two differ where the training errors differ, since a gap is test minus training
    error: under "test" a pair counts although its gaps are nearly equal, and the sign asked about
    is then decided by the training errors; under "gap" a pair counts although the tests agree and
    only the training errors differ. "none": all pairs count.

    The standard error is the paired one where both networks' outcomes on one sample are known,
    else the unpaired one from error counts; where neither is known, the pair counts.
    """
    if rule not in FILTERS:
        raise InputError(f"--filter {rule!r}: expected one of {', '.join(FILTERS)}")
    i, j = pairs.first, pairs.second
    known = ~np.isnan(testing.errors + testing.n)
    unpaired = known[i] & known[j]
    difference, error = np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
    a, b = i[unpaired], j[unpaired]
    rates = testing.errors / testing.n
    difference[unpaired] = rates[b] - rates[a]
    error[unpaired] = unpaired_standard_error(
        testing.errors[a], testing.n[a], testing.errors[b], testing.n[b]
    )
    paired = np.zeros(len(pairs), bool)
    for p, (one, other) in enumerate(zip(i.tolist(), j.tolist())) if testing.wrong else ():
        w, v = testing.wrong[one], testing.wrong[other]
        if w is None or v is None or len(w) != len(v):
            continue
        if testing.sample[one] != testing.sample[other]:
            continue
        worse, better = int(np.count_nonzero(v & ~w)), int(np.count_nonzero(w & ~v))
        difference[p] = (worse - better) / len(w)
        error[p] = paired_standard_error(worse, better, len(w))
        paired[p] = True
    if rule == "gap":
        difference = gap[j] - gap[i]
    unknown = np.isnan(error)
    flags = unknown | (np.abs(difference) > error * (1 + EQUAL))  # not where they are equal
    if rule == "none":
        flags = np.ones(len(pairs), bool)
    return Counted(
        flags, int(paired.sum()), int((unpaired & ~paired).sum()), int((unknown & ~paired).sum())
    )


# --------------------------------------------------------------------------- sign errors


def mean_by_group(values: Floats, counted: Flags, group: Ints, groups: int) -> tuple[Floats, Ints]:
    """The mean of values (P, M) over the counted pairs of each group, (groups, M), and how many.

    NaN where none is counted. Of ½(1 − sign product) it is the sign error of an environment.
    """
    means = np.full((groups, values.shape[1]), np.nan)
    sizes = np.zeros((groups, values.shape[1]), np.int64)
    for m in range(values.shape[1]):
        used = counted[:, m]
        sizes[:, m] = np.bincount(group[used], minlength=groups)
        totals = np.bincount(group[used], weights=values[used, m], minlength=groups)
        np.divide(totals, sizes[:, m], out=means[:, m], where=sizes[:, m] > 0)
    return means, sizes
