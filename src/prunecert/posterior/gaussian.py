"""Gaussian posteriors on pruned networks: what they cost against a prior, and how they are drawn.

The prior P is fixed by the tensors `prior` (made without the sample S that the statement is about)
and by which of them are random and which prunable (the architecture says, never S). It draws a
network in three steps:

1. one exponent e for all tensors, uniform on 0 … MAX_EXPONENT;
2. per prunable tensor the set of kept weights: by one of four rules, 1/4 each: all that are nonzero
   in `prior` | any of those | any of all entries | some rows, some columns (all indices but the
   first as one), and any of the entries where they cross; "any of" and "some" mean a number,
   uniform from 0 to how many there are, and then that many, every choice alike;
3. kept weights, and all entries of the other random tensors, N(value in `prior`, 2^−e) each;
   what is not kept is exactly zero, and what is not random is as in `prior`.

Nothing here reads S, so P is a fixed distribution. Proof of what is charged for Q: let P' be step 3
with the exponent and the sets of Q; steps 1 and 2 choose those with a probability p. Then P >= p·P'
on every event, so dQ/dP <= (dQ/dP')/p almost surely under Q, and KL(Q‖P) <= ln(1/p) + KL(Q‖P').
ln(1/p) is "grid" plus "mask" below (the cheapest rule that can give the set), and KL(Q‖P') is the
Gaussian KL over what is kept, since both are zero elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunecert.bounds.pac_bayes import gaussian_kl_nats
from prunecert.inversions import LN2, SLACK
from prunecert.posterior.normals import seeded_normals
from prunecert.types import InputError

Floats = NDArray[np.float64]

MAX_EXPONENT = 40  # variances are 2^0 … 2^−40
MASK_RULES = 4


@dataclass(frozen=True)
class Posterior:
    """Q: every kept value is drawn independently from N(mean, 2^−exponent).

    `mean` and `prior` are state dicts without the second names of tied tensors. The tensors that
    `exponents` names are random: an integer 0 … MAX_EXPONENT for the whole tensor, or an integer
    tensor of its very shape (another shape is refused: it could only be stretched along an axis).
    In those of them that are `prunable`, a zero mean is a pruned weight and stays zero; elsewhere
    zeros are random like all values. Every other tensor (normalisation statistics, integers) must
    equal the prior's byte for byte. `prior_exponent` names the variance of P and may be chosen
    after seeing the data: the grid is paid for.

    Raises InputError, naming the tensor, where any of this does not hold.
    """

    mean: Mapping[str, Tensor]
    prior: Mapping[str, Tensor]
    exponents: Mapping[str, int | Tensor]
    prior_exponent: int
    prunable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mean.keys() != self.prior.keys():
            odd = sorted(self.mean.keys() ^ self.prior.keys())[0]
            raise InputError(f"'{odd}': expected in the mean and in the prior, found in one")
        for name in {*self.exponents, *self.prunable}:
            if name not in self.mean:
                raise InputError(f"'{name}': the network has no tensor of that name")
        for name, mean in self.mean.items():
            if mean.shape != self.prior[name].shape:
                raise InputError(
                    f"'{name}': shape {tuple(mean.shape)}, the prior has "
                    f"{tuple(self.prior[name].shape)}"
                )
            if name in self.exponents:
                self._check_random(name)
            elif not _same_bytes(mean, self.prior[name]):
                raise InputError(f"'{name}': not random, so expected exactly as in the prior")
            elif name in self.prunable:
                raise InputError(f"'{name}': prunable, so expected an exponent for it")
        _check_exponent("prior_exponent", self.prior_exponent)

    def _check_random(self, name: str) -> None:
        for tensor in (self.mean[name], self.prior[name]):
            if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
                raise InputError(f"'{name}': random, so expected finite real numbers")
        exponent = self.exponents[name]
        if isinstance(exponent, Tensor) and exponent.shape != self.mean[name].shape:
            raise InputError(
                f"exponents '{name}': shape {tuple(exponent.shape)}, expected one integer or "
                f"{tuple(self.mean[name].shape)}"
            )
        _check_exponent(f"exponents '{name}'", exponent)

    @property
    def random(self) -> tuple[str, ...]:
        """Names of the random tensors, sorted: draws do not depend on the order of a dict."""
        return tuple(sorted(self.exponents))

    @cached_property
    def kept(self) -> dict[str, NDArray[np.bool_]]:
        """Which entries of every random tensor are random, in its shape."""
        return {
            name: _array(self.mean[name]) != 0
            if name in self.prunable
            else np.ones(self.mean[name].shape, np.bool_)
            for name in self.random
        }

    @property
    def dimension(self) -> int:
        """Number of random values."""
        return len(self.values.mean)

    @cached_property
    def values(self) -> Values:
        """All random values in one line: tensors as in `random`, each in row-major order."""

        def line(parts: Mapping[str, int | Tensor], dtype: type) -> NDArray[np.float64]:
            stretched = (np.broadcast_to(_array(parts[n]), self.kept[n].shape) for n in self.random)
            chosen = [a[self.kept[n]] for n, a in zip(self.random, stretched, strict=True)]
            return np.concatenate([np.empty(0, dtype), *chosen]).astype(dtype)

        exponents = line(self.exponents, np.float64)
        return Values(line(self.mean, np.float64), line(self.prior, np.float64), exponents)


@dataclass(frozen=True)
class Values:
    """What Q and P say of every random value; arrays of shape (dimension,)."""

    mean: Floats
    prior: Floats
    exponents: Floats

    @cached_property
    def deviation(self) -> Floats:
        """2^(−exponent/2): a power of two, or one times √½, which every machine rounds alike."""
        halves, odd = np.divmod(self.exponents, 2)
        return np.ldexp(np.where(odd, math.sqrt(0.5), 1.0), -halves.astype(np.int64))


# --------------------------------------------------------------------------- what Q costs


def kl_parts(posterior: Posterior) -> dict[str, float]:
    """KL(Q‖P) in nats by what it pays for: "grid", "mask" and "gaussian", each rounded up."""
    values = posterior.values
    gaussian = gaussian_kl_nats(
        values.mean,
        np.ldexp(1.0, -values.exponents.astype(np.int64)),
        values.prior,
        2.0**-posterior.prior_exponent,
    )
    return choice_nats(posterior) | {"gaussian": float(gaussian)}


def choice_nats(posterior: Posterior) -> dict[str, float]:
    """What the choice of P's variance ("grid") and of the kept weights ("mask") costs in nats, each
    rounded up; values do not enter."""
    nats = {"grid": math.log(MAX_EXPONENT + 1), "mask": _mask_nats(posterior)}
    return {name: cost * (1 + SLACK) for name, cost in nats.items()}


def kl_nats(posterior: Posterior) -> float:
    """An upper bound on KL(Q‖P) in nats, rounded up: see the top of this file."""
    return math.fsum(kl_parts(posterior).values()) * (1 + SLACK)


def log_ratio_nats(posterior: Posterior, noise: Floats) -> float:
    """An upper bound on ln(dQ/dP)(w) in nats, rounded up, at w = mean + deviation · noise.

    `noise` has shape (dimension,), as `draw_noise` returns it. With q and p the exponents of Q and
    P a kept value adds ½[(q − p)·ln 2 + (w − prior)²·2^p − noise²]. Its mean over the noise is
    `kl_nats`; one draw may well be below zero.
    """
    values, scale = posterior.values, 2.0**posterior.prior_exponent
    if noise.shape != values.mean.shape:
        raise InputError(f"noise: shape {noise.shape}, expected {values.mean.shape}")
    shift, moved = values.mean - values.prior, values.deviation * noise
    exponents = math.fsum((values.exponents - posterior.prior_exponent).tolist())
    squares = (scale * (shift + moved) ** 2, -(noise**2))
    gaussian = 0.5 * (exponents * LN2 + math.fsum(np.concatenate(squares).tolist()))
    # rounding is relative to the parts, not to their sum: shift and moved may cancel
    size = scale * (np.abs(shift) + np.abs(moved)) ** 2 + noise**2
    slack = SLACK * (math.fsum(size.tolist()) + abs(exponents))
    return math.fsum((*choice_nats(posterior).values(), gaussian, slack))


def _mask_nats(posterior: Posterior) -> float:
    """ln(1/probability) of the sets of kept weights under P, by the best rule for each tensor."""
    return math.fsum(
        math.log(MASK_RULES)
        + min(_rule_nats(posterior.kept[name], _array(posterior.prior[name]) != 0))
        for name in posterior.prunable
    )


def _rule_nats(kept: NDArray[np.bool_], support: NDArray[np.bool_]) -> Iterator[float]:
    """ln(1/probability) of a set by every rule that can give it."""
    count = int(kept.sum())
    if np.array_equal(kept, support):
        yield 0.0
    if not (kept & ~support).any():
        yield _log_choices(int(support.sum()), count)
    yield _log_choices(kept.size, count)
    matrix = kept.reshape(*(kept.shape[:1] or (1,)), math.prod(kept.shape[1:]))
    sides = [int(matrix.any(axis=axis).sum()) for axis in (1, 0)]  # rows, columns
    chosen = (_log_choices(n, k) for n, k in zip(matrix.shape, sides, strict=True))
    yield math.fsum((*chosen, _log_choices(math.prod(sides), count)))


def _log_choices(n: int, k: int) -> float:
    """ln((n + 1)·C(n, k)): which k of n, where k was not known; rounded up."""
    terms = math.lgamma(n + 1), math.lgamma(k + 1), math.lgamma(n - k + 1)
    return math.log(n + 1) + terms[0] - terms[1] - terms[2] + SLACK * terms[0]


# --------------------------------------------------------------------------- draws from Q


def draw_noise(posterior: Posterior, seed_text: str, index: int) -> Floats:
    """The standard normal numbers of draw `index`, shape (dimension,), the same on every machine.

    `seed_text` must be fixed before the draws are looked at; draws of different indices or texts
    are unrelated, since SHAKE-128 reads "prunecert posterior {seed_text} {index}".
    """
    if index < 0:
        raise InputError(f"index must be an integer >= 0, not {index!r}")
    label = f"prunecert posterior {seed_text} {int(index)}"
    return seeded_normals(label, posterior.dimension)


def network_at(posterior: Posterior, noise: Floats) -> dict[str, Tensor]:
    """The network with values mean + deviation · noise, rounded to float32 (so the loss is a fixed
    function of the exact values that Q draws); pruned weights are +0, fixed tensors as they are.

    Bit for bit the same on every machine. The margins that are counted allow for what summing the
    network's products in another order changes (THEORY 3.5).
    """
    values = posterior.values
    drawn = (values.mean + values.deviation * noise).astype(np.float32)
    network, start = dict(posterior.mean), 0
    for name in posterior.random:
        kept = posterior.kept[name]
        tensor, stop = np.zeros(kept.shape, np.float32), start + int(kept.sum())
        tensor[kept] = drawn[start:stop]
        network[name], start = torch.from_numpy(tensor), stop
    return network


def draw(posterior: Posterior, seed_text: str, index: int) -> dict[str, Tensor]:
    """Draw `index` of the networks that `seed_text` names: tensors by name, random ones float32."""
    return network_at(posterior, draw_noise(posterior, seed_text, index))


# --------------------------------------------------------------------------- checks


def _check_exponent(name: str, exponent: int | Tensor) -> None:
    whole = (
        not (exponent.is_floating_point() or exponent.is_complex() or exponent.dtype == torch.bool)
        if isinstance(exponent, Tensor)
        else isinstance(exponent, int) and not isinstance(exponent, bool)
    )
    if not whole or not ((_array(exponent) >= 0) & (_array(exponent) <= MAX_EXPONENT)).all():
        raise InputError(f"{name}: expected integers from 0 to {MAX_EXPONENT}")


def _array(values: int | Tensor) -> NDArray[Any]:
    """As numpy; half precision is exact in float32."""
    if not isinstance(values, Tensor):
        return np.asarray(values)
    held = values.detach().cpu()
    return (held.float() if held.dtype in (torch.float16, torch.bfloat16) else held).numpy()


def _same_bytes(a: Tensor, b: Tensor) -> bool:
    bits = (t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return a.dtype == b.dtype and torch.equal(*bits)
