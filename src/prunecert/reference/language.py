"""Bits per token of a language model mixed with the uniform one (THEORY 2.12)."""

from __future__ import annotations

from operator import index

from mpmath import log, mpf, mpmathify, sqrt, workdps

from prunecert.reference.binomial import DIGITS, demand, demand_delta, kl_inverse
from prunecert.reference.losses import demand_size
from prunecert.reference.occam import demand_bits

SLIP = mpf("1e-9")  # in bits, how far the rounding of a mean may carry it out of its range


def log2(value: mpf) -> mpf:
    return log(value) / log(2)


def loss_range(vocabulary: int, mixing: float) -> tuple[mpf, mpf]:
    """ℓ_min = -log₂(1 - a + a/V) and Δ_a = log₂(1 + (1-a) V/a), V = vocabulary, a = mixing.

    The mixed probability is (1-a) p + a/V with p from 0 to 1, so that the loss is between ℓ_min
    and -log₂(a/V) = ℓ_min + Δ_a.
    """
    demand(index(vocabulary) >= 1, "vocabulary", f"a count of 1 or more, got {vocabulary}")
    demand(0 < mixing < 1, "mixing", f"a number above 0 and below 1, got {mixing}")
    size, a = index(vocabulary), mpmathify(mixing)
    return -log2(1 - a + a / size), log2(1 + (1 - a) * size / a)


def demand_mean(mean_bits: float, least: mpf, width: mpf) -> mpf:
    """The mean loss, moved to the nearest end of its range if rounding put it outside."""
    mean = mpmathify(mean_bits)
    demand(
        least - SLIP <= mean <= least + width + SLIP,
        "mean_bits",
        f"a mean of losses from {float(least)} to {float(least + width)}, got {mean_bits}",
    )
    return min(max(mean, least), least + width)


def grid_nats(mixings: int, delta: float) -> mpf:
    """ln(mixings/delta)."""
    demand(index(mixings) >= 1, "mixings", f"a count of 1 or more, got {mixings}")
    demand_delta(delta)
    return log(index(mixings) / mpf(delta))


def nats_per_unit(n: int, bits: float, mixings: int, delta: float) -> mpf:
    """c(n) = (bits ln 2 + ln(mixings/delta))/n."""
    demand_bits(bits)
    return (mpmathify(bits) * log(2) + grid_nats(mixings, delta)) / n


@workdps(DIGITS)
def language_documents(
    mean_bits: float,
    n: int,
    bits: float,
    vocabulary: int,
    mixing: float,
    mixings: int,
    delta: float,
) -> mpf:
    """ℓ_min + Δ_a kl⁻¹((mean_bits - ℓ_min)/Δ_a, c(n)) for n i.i.d. documents."""
    least, width = loss_range(vocabulary, mixing)
    mean = demand_mean(mean_bits, least, width)
    n = demand_size(n, "n")
    if n == 0 or mean == least + width:
        return least + width
    nats = nats_per_unit(n, bits, mixings, delta)
    return least + width * kl_inverse((mean - least) / width, nats)


@workdps(DIGITS)
def language_sampled(
    mean_bits: float,
    n: int,
    bits: float,
    vocabulary: int,
    mixing: float,
    mixings: int,
    delta: float,
) -> mpf:
    """The form of `language_documents` for n draws with replacement from a finite corpus."""
    return language_documents(mean_bits, n, bits, vocabulary, mixing, mixings, delta)


@workdps(DIGITS)
def language_tokens(
    mean_bits: float,
    n: int,
    bits: float,
    vocabulary: int,
    mixing: float,
    mixings: int,
    delta: float,
) -> mpf:
    """min(ℓ_min + Δ_a, mean_bits + Δ_a √(c(n)/2)): the average conditional loss of n tokens."""
    least, width = loss_range(vocabulary, mixing)
    mean = demand_mean(mean_bits, least, width)
    n = demand_size(n, "n")
    if n == 0:
        return least + width
    nats = nats_per_unit(n, bits, mixings, delta)
    return min(least + width, mean + width * sqrt(nats / 2))


@workdps(DIGITS)
def subsampled_bits(
    mean_bits: float, evaluated: int, vocabulary: int, mixing: float, mixings: int, delta: float
) -> mpf:
    """min(ℓ_min + Δ_a, mean_bits + Δ_a √(ln(mixings/delta)/(2 evaluated))).

    From the mean over `evaluated` units drawn from the sample to the mean over the whole of it.
    """
    least, width = loss_range(vocabulary, mixing)
    mean = demand_mean(mean_bits, least, width)
    evaluated = demand_size(evaluated, "evaluated")
    nats = grid_nats(mixings, delta)
    if evaluated == 0:
        return least + width
    return min(least + width, mean + width * sqrt(nats / (2 * evaluated)))
