"""The faults found in public code of this field, one test each: ours must not have them.

The names are those of ANCHORS, "Faults in public code that ours must not have".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunecert.api import architecture
from prunecert.api.claims import CLAIMS, Terms
from prunecert.bounds.golowich_mohri import golowich_mohri_upper
from prunecert.bounds.holdout import disagreement_upper, holdout_upper
from prunecert.bounds.losses import (
    empirical_bernstein_upper,
    hoeffding_bentkus_upper,
)
from prunecert.bounds.norms import (
    convolution_norm_upper,
    spectral_norm_certified,
    spectral_norm_interpolated,
    spectral_norm_upper,
)
from prunecert.bounds.occam import occam_upper
from prunecert.bounds.pac_bayes import (
    gaussian_kl_nats,
    pac_bayes_catoni_upper,
    pac_bayes_kl_upper,
    spike_and_slab_kl_nats,
)
from prunecert.bounds.pac_bayes_rows import BETAS
from prunecert.bounds.sampling import gibbs_product_upper, gibbs_sampled_upper
from prunecert.bounds.table import BOUNDS, evaluate
from prunecert.coding import MAGIC
from prunecert.inversions import binomial_tail_upper, kl_inverse_upper, log_failure
from prunecert.measuring_losses import MeasuredLosses
from prunecert.posterior import MAX_EXPONENT, Posterior, kl_nats, kl_parts
from prunecert.pruning import mask_of, masks_from_scores, prune_module
from prunecert.training import train
from prunecert.types import (
    Certificate,
    Code,
    Counts,
    Gibbs,
    InputError,
    Losses,
    NotApplicable,
)


def coded(tensors: dict[str, Tensor], module: nn.Module) -> tuple[bytes, int]:
    """The file of a network and the bits charged for it, after checking that it decodes to it."""
    built = architecture(module)
    found = built.encode(tensors)
    decoded = built.decode(found.data).tensors
    assert all(torch.equal(decoded[name], tensor) for name, tensor in tensors.items())
    return found.data, found.code.bits


def one_layer(weight: Tensor) -> tuple[bytes, int]:
    shape = weight.shape
    return coded({"weight": weight}, nn.Linear(shape[1], shape[0], bias=False))


# --------------------------------------------------------------------------- masks and codes


def test_fault_mask_never_charged():
    """Only the values of the kept weights were paid. Of C(4000, 400) masks no code can give more
    than one in 2^30 a length 30 bits below log2 C, and this mask was drawn at random."""
    kept = np.random.default_rng(0).permutation(4000).reshape(40, 100) < 400
    weight = torch.from_numpy(kept).float()  # all values alike: the mask is all there is
    mask_bits = math.log2(math.comb(4000, 400))
    assert one_layer(weight)[1] > mask_bits - 30
    prior = torch.ones(40, 100)
    q = Posterior({"w": weight}, {"w": prior}, {"w": 4}, 4, ("w",))
    assert kl_nats(q) > mask_bits * math.log(2)
    assert spike_and_slab_kl_nats(mask_bits, 1.0, 0.5, 1.0, 0.5) >= mask_bits * math.log(2)


def test_fault_permutation_credit_for_identical_units():
    """log2 500! = 3,767 bits were taken off a network whose 500 units coincide, so that all its
    orderings are one and the same file. We charge the bytes of the file and take nothing off."""
    module = nn.Sequential(nn.Linear(8, 500), nn.ReLU(), nn.Linear(500, 4))
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    data, bits = coded({name: torch.full(shape, 0.25) for name, shape in shapes.items()}, module)
    assert bits == 8 * (len(data) - len(MAGIC))
    assert 0 < bits < math.log2(math.factorial(500))  # the credit would leave less than nothing


def test_fault_entropy_estimate_used_as_a_code_length_above_10000_symbols():
    """Long lists were charged n·H of their own frequencies, which no decoder can read."""
    for count in (9_900, 10_100, 40_000):
        symbols = np.random.default_rng(count).choice([0.5, 1.0, 2.0, -1.0], count)
        _, seen = np.unique(symbols, return_counts=True)
        entropy = float(-(seen * np.log2(seen / count)).sum())
        data, bits = one_layer(torch.from_numpy(symbols).float().reshape(-1, 100))
        assert bits == 8 * (len(data) - len(MAGIC))
        assert bits > entropy


@pytest.mark.parametrize("levels", [1, 2, 10, 11, 12, 16, 17, 40])
def test_fault_huffman_coder_crashing_at_11_levels(levels):
    """Frequencies halve, so that a Huffman code is as deep as there are levels."""
    values = [level / 8 for level in range(1, levels + 1) for _ in range(2 ** max(0, 9 - level))]
    weight = torch.tensor(values)[
        torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    ]
    data, bits = one_layer(weight[None])  # decodes to it, or fails
    assert bits == 8 * (len(data) - len(MAGIC))


# --------------------------------------------------------------------------- delta and n


def test_fault_prior_scale_optimised_without_a_union_bound():
    """The prior's variance that fits best is chosen afterwards; it costs ln of the grid's size."""
    mean = {"b": torch.tensor([0.3, -0.2, 0.9])}
    prior = {"b": torch.zeros(3)}
    fits = [Posterior(mean, prior, {"b": 5}, e) for e in range(MAX_EXPONENT + 1)]
    best = min(fits, key=kl_nats)
    assert 0 < best.prior_exponent < MAX_EXPONENT
    unpaid = gaussian_kl_nats(mean["b"].double().numpy(), 2.0**-5, 0.0, 2.0**-best.prior_exponent)
    assert kl_nats(best) >= unpaid + math.log(len(fits))
    assert math.fsum(math.exp(-kl_parts(q)["grid"]) for q in fits) <= 1


def test_fault_lambda_optimised_without_union():
    """Catoni's beta that turns out best is one of a list, and the list is paid for."""
    part = Gibbs(np.full(2000, 30), 1000, 40.0)
    arguments = BOUNDS["pac-bayes-catoni"].from_evidence({"gibbs": part}, 0.05)
    assert arguments["betas"] == len(BETAS) > 1
    assert arguments["beta"] in BETAS
    paid = pac_bayes_catoni_upper(**arguments)
    unpaid = pac_bayes_catoni_upper(**arguments | {"beta": np.array(BETAS), "betas": 1})
    assert unpaid.min() < paid
    exactly = pac_bayes_catoni_upper(
        **arguments | {"betas": 1, "delta": arguments["delta"] / len(BETAS)}
    )
    assert paid == pytest.approx(exactly, rel=1e-11)


Joined = Callable[[float, float, float], float]  # (one share of delta, the other, bits) → bound
COUNTED: dict[str, tuple[dict[str, Any], Joined]] = {
    "code-or-holdout": (
        {"errors": 9, "n": 900, "holdout_errors": 5, "holdout_n": 200},
        lambda a, b, bits: min(occam_upper(9, 900, bits, a), holdout_upper(5, 200, b)),
    ),
    "transfer-to-dense": (
        {"errors": 9, "n": 900, "count": 5, "inputs": 400},
        lambda a, b, bits: occam_upper(9, 900, bits, a) + disagreement_upper(5, 400, b),
    ),
    "transfer-to-pruned": (
        {"errors": 9, "n": 900, "count": 5, "inputs": 400},
        lambda a, b, bits: holdout_upper(9, 900, a) + disagreement_upper(5, 400, b),
    ),
    "bounded-loss": (
        {"errors": 27, "n": 900, "loss": "brier", "mean": 0.03, "variance": 0.001},
        lambda a, b, bits: min(
            hoeffding_bentkus_upper(0.03, 900, 0, a),
            empirical_bernstein_upper(0.03, 0.001, 900, 0, b),
        ),
    ),
    "pac-bayes-kl": (
        {"errors": 300, "n": 900, "draws": 30, "kl_nats": 9.0, "mean_log_right": -0.012},
        lambda a, b, bits: pac_bayes_kl_upper(gibbs_product_upper(-0.012, 30, a), 9.0, 900, b),
    ),
}


@pytest.mark.parametrize("method", COUNTED)
@pytest.mark.parametrize("tried", [1, 7])
def test_fault_one_delta_spent_twice(method, tried):
    """Two events, each at the full delta, hold together with 1 − 2 delta only. The bound is the one
    at the shares of the ledger, and these do not exceed delta."""
    counts, bound = COUNTED[method]
    claim = CLAIMS[method](counts, Terms(0.05, 40, tried))
    assert math.fsum(share for _, share in claim.ledger) <= 0.05 * (1 + 1e-12)
    own = [share for item, share in claim.ledger if not item.startswith("the other")]
    bits = 40 + claim.selection_bits
    assert claim.risk_bound == pytest.approx(bound(*own, bits), abs=5e-6)
    assert claim.risk_bound > bound(0.05, 0.05, bits) + 1e-4


def test_fault_n_of_the_full_set_with_a_bound_set_of_half():
    """A prior made from half of the sample: errors and n are those of the other half."""
    split = BOUNDS["occam-split"]
    whole, bound = Counts(5, 1000), Counts(4, 500)
    parts = {"counts": whole, "counts@bound": bound, "code@prior": Code(50), "code": Code(90)}
    found = evaluate(split, parts, 0.05)
    assert isinstance(found, Certificate)
    assert found.details == {"errors": 4, "n": 500, "bits": 50, "delta": 0.05}
    assert found.risk_bound == pytest.approx(occam_upper(4, 500, 50, 0.05), abs=1e-6)
    without = {name: part for name, part in parts.items() if name != "counts@bound"}
    assert isinstance(evaluate(split, without, 0.05), NotApplicable)


# --------------------------------------------------------------------------- inversions


@pytest.mark.parametrize("gap", [1e-4, 1e-5, 1e-6, 1e-9, 1e-12, 2.0**-53, 0.0])
def test_fault_kl_inverse_zero_at_risk_near_one(gap):
    """0 was returned from a risk of 1 − 1e-5 upwards."""
    risk = 1.0 - gap
    for nats in (0.0, 1e-9, 0.01, 5.0):
        assert risk <= kl_inverse_upper(risk, nats) <= 1.0
    assert risk <= pac_bayes_kl_upper(risk, 1.0, 1000, 0.05) <= 1.0
    assert risk <= gibbs_sampled_upper(risk, 1000, 0.05) <= 1.0


def test_fault_binomial_tail_underflow():
    """A cdf that is 0.0 in floats ended the search at once: 4.3 % where the truth is above 36 %."""
    assert 0.05 * 2.0**-40_000 == 0.0
    bounds = occam_upper(1200, 60_000, np.array([2_000, 4_000, 40_000]), 0.05)
    assert bounds[2] > 0.36
    assert (np.diff(bounds) > 0).all()
    # Chernoff's exponent at 36 % leaves the tail above delta: no bound may be lower
    rate, claimed = 0.02, 0.36
    divergence = rate * math.log(rate / claimed) + 0.98 * math.log(0.98 / (1 - claimed))
    assert -60_000 * divergence - math.log(60_001) > log_failure(0.05, 40_000)


def exact_tail(errors: int, n: int, p: float) -> Fraction:
    chance = Fraction(p)
    terms = (math.comb(n, i) * chance**i * (1 - chance) ** (n - i) for i in range(errors + 1))
    return sum(terms, Fraction(0))


@pytest.mark.parametrize("delta", [0.05, 0.5, 1e-9])
def test_fault_bisection_that_returns_the_middle_of_its_bracket(delta):
    """In half of all cases the middle is below the root, and the bound is false. In exact
    arithmetic ours is never below it, and hardly above."""
    for errors, n in [(0, 3), (1, 3), (2, 3), (1, 20), (7, 20), (19, 20), (3, 61), (40, 61)]:
        upper = float(binomial_tail_upper(errors, n, math.log(delta)))
        assert exact_tail(errors, n, upper) <= Fraction(delta)
        assert exact_tail(errors, n, upper * (1 - 1e-11)) > Fraction(delta)


# --------------------------------------------------------------------------- variances and norms


def test_fault_variance_taken_over_the_wrong_axis():
    """The variance is over samples. Repeated draws or classes are no samples: two axes are refused,
    and a variance that could be stretched along either side of a square matrix is too."""
    values = np.array([0.0, 0.5, 0.5, 1.0])
    counts = MeasuredLosses("brier", values, np.zeros(4), "S").counts()
    arguments = BOUNDS["empirical-bernstein"].from_evidence(
        {"losses@holdout": Losses(values, 0.0, 1.0)}, 0.05
    )
    for found in (counts, arguments):
        assert found["n"] == 4
        assert 1 / 6 <= found["variance"] <= 1 / 6 + 1e-11  # ½ over 3
    for shape in ((4, 1), (1, 4), (2, 2)):
        two_axes = {"losses@holdout": Losses(values.reshape(shape), 0.0, 1.0)}
        assert isinstance(evaluate(BOUNDS["empirical-bernstein"], two_axes, 0.05), NotApplicable)
        draws = {"gibbs": Gibbs(np.ones(shape, np.int64), 10, 1.0)}
        assert isinstance(evaluate(BOUNDS["gibbs-sampled"], draws, 0.05), NotApplicable)
    weight = {"w": torch.ones(3, 3)}
    with pytest.raises(InputError, match="exponents"):
        Posterior(weight, weight, {"w": torch.tensor([1, 2, 3])}, 4)
    with pytest.raises(InputError, match="one shape"):
        gaussian_kl_nats(np.ones((3, 3)), np.ones(3), 0.0, 1.0)


def power_iteration(matrix: np.ndarray, steps: int) -> float:
    vector = np.ones(matrix.shape[1])
    for _ in range(steps):
        vector = matrix.T @ (matrix @ vector)
        vector /= np.linalg.norm(vector)
    return float(np.linalg.norm(matrix @ vector))


def test_fault_matrix_norms_from_power_iteration_inside_upper_bounds():
    """‖A‖₂ = 3 along (1, −1)/√2, which a start of ones never sees; and a spectrum so flat that a
    hundred steps are not enough."""
    hidden = np.array([[2.0, -1.0], [-1.0, 2.0]])
    flat = np.diag(1.0 - 1e-4 * np.arange(30))
    assert power_iteration(hidden, 100) < 1.1
    assert power_iteration(flat, 100) < 1 - 1e-5
    for matrix, norm in ((hidden, 3.0), (flat, 1.0)):
        for upper in (spectral_norm_upper, spectral_norm_certified, spectral_norm_interpolated):
            assert norm <= upper(matrix) <= norm * (1 + 1e-8)
    assert 3.0 <= convolution_norm_upper(hidden[:, :, None, None], 4, 4) <= 3.0 + 1e-8
    given = {"margin": 1.0, "classes": 2, "input_bound": 1.0, "last_row_norm": 1.0}
    frobenius = [float(np.linalg.norm(hidden))]  # what the bound multiplies needs no iteration
    assert golowich_mohri_upper(0, 4**12, frobenius_norm=frobenius, delta=0.05, **given) < 1


# --------------------------------------------------------------------------- lottery tickets


def blobs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    return torch.randn(60, 5, generator=generator) + 2 * labels[:, None], labels


@pytest.mark.parametrize("rewound_to", [0, 3])
def test_fault_lth_callbacks_that_do_not_rewind(rewound_to):
    """The callback kept references, so that "rewound" weights were the trained ones; or its mask
    was gone after the rewind. The checkpoint is that of a run which stops there, whatever follows
    it, and the ticket starts from it with the mask held."""
    inputs, labels = blobs()
    how = {"batch_size": 20, "learning_rate": 0.1, "schedule": "constant"}
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    started = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    kept = train(module, inputs, labels, steps="9it", checkpoint_at=[f"{rewound_to}it"], **how)
    early = kept.checkpoints[rewound_to]
    assert all(not torch.equal(early[name], t) for name, t in module.state_dict().items())

    stopped = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    stopped.load_state_dict(started)
    train(stopped, inputs, labels, steps=f"{rewound_to}it", **how)
    assert all(torch.equal(early[name], t) for name, t in stopped.state_dict().items())

    _, masks = prune_module(module, 0.5)
    module.load_state_dict(early)
    ticket, _ = prune_module(module, 0.5, previous=masks)
    for name, mask in masks.items():
        assert torch.equal(ticket.get_parameter(name), early[name] * mask)
    train(ticket, inputs, labels, steps="9it", masks=masks, weight_decay=0.1, **how)
    assert all(torch.equal(mask_of(ticket)[name], mask) for name, mask in masks.items())


# --------------------------------------------------------------------------- counts of pruning

SCOPES_BY_COUNT = ("global", "layerwise")


@pytest.mark.parametrize("scope", SCOPES_BY_COUNT)
@pytest.mark.parametrize("asked", [0, 1, 2, 5, 19])
def test_fault_pruning_that_removes_one_more_weight_than_asked(scope, asked):
    """Weights above the k-th smallest were kept: that one went, too."""
    scores = torch.randperm(20, generator=torch.Generator().manual_seed(0)).float() + 1
    mask = masks_from_scores({"w": scores.reshape(4, 5)}, asked / 20, scope)["w"]
    assert int((~mask).sum()) == asked
    assert set(scores[~mask.flatten()].tolist()) == set(range(1, asked + 1))


@pytest.mark.parametrize("scope", SCOPES_BY_COUNT)
@pytest.mark.parametrize("asked", [0, 1, 2, 5, 19])
def test_fault_several_more_with_ties(scope, asked):
    """All weights as large as the k-th smallest went together."""
    for scores in (torch.ones(4, 5), torch.tensor([1.0, 2.0, 2.0, 2.0, 3.0]).repeat(4, 1)):
        mask = masks_from_scores({"w": scores}, asked / 20, scope)["w"]
        assert int((~mask).sum()) == asked
    module = nn.Linear(5, 4)
    nn.init.constant_(module.weight, -0.5)
    pruned, _ = prune_module(module, asked / 20, scope=scope)
    assert int((pruned.weight == 0).sum()) == asked
