"""Draws of Bernoulli pruning, and the test that a bound fails no more often than it says."""

import numpy as np
from scipy.stats import binom


def drop_probability(weight, d, variance):
    """exp(−w²/(dΨ)), THEORY 1.1."""
    return np.exp(-(weight**2) / (d * variance))


def draws_of_masks(generator, drop, how_many):
    """Masks of shape (how_many, out, in), True = kept."""
    return generator.random((how_many, *drop.shape)) >= drop


def too_often(failures, delta):
    """Whether "the failure rate is at most delta" is rejected at 1e-6 (one-sided, binomial)."""
    return binom.sf(failures.sum() - 1, failures.size, delta) < 1e-6
