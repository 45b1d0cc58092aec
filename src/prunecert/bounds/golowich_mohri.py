"""A norm bound with every constant, and order-only norm forms to stand beside it (THEORY 2.13).

`golowich_mohri_upper` is proven and honest about what norms can say: for networks in use it is 1.
The two order-only forms suppress constants, logarithms and n, as `comparators` does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prunecert.bounds.assumptions import IID
from prunecert.bounds.layerwise import Floats, floats, per_layer
from prunecert.inversions import SLACK, require_count, require_number, require_open_unit
from prunecert.types import Assumption, BoundSpec, Evidence, InputError, Source

QUANTILES = 100  # of the positive margins, from which gamma is chosen
OUTWARD = 1.0 + SLACK  # far above the rounding of the few products here


def golowich_mohri_upper(
    errors: int,
    n: int,
    margin: float,
    classes: int,
    input_bound: float,
    frobenius_norm: ArrayLike,
    last_row_norm: float,
    delta: float,
) -> float:
    """Upper bound on the zero-one risk of a chain of linear layers and ReLU, from its norms.

    **Statement.** Let every input have ‖x‖₂ <= B. With probability >= 1 − delta over n i.i.d.
    samples, for L fixed before, all weights of L matrices and all gamma > 0 at once:
    R(f) <= R̂_gamma(f) + 2^−j + √(ln((J + 1)/delta)/(2n)), where
    T = B·max_k‖A^L_k‖₂·∏_{l<L}‖A^l‖_F/gamma, c = 4K(√(2L ln 2) + 1)/√n, J = ⌈½log2 n⌉ and j is
    the largest of 0 … J with 2^−j >= c·T; without such a j the bound is 1.

    **Symbols → arguments.** errors: samples with margin at most gamma, 0 <= errors <= n · n >= 1 ·
    margin: gamma > 0 · classes: K >= 2 · input_bound: B >= 0 · frobenius_norm: ‖A^l‖_F > 0 of the
    L − 1 hidden matrices · last_row_norm: max_k‖A^L_k‖₂ >= 0 · delta: 0 < delta < 1. Biases are
    part of the matrices, [[A, b], [0, 1]] with input (x, 1): see `Chain`.

    **Shapes.** frobenius_norm: (L − 1,), empty for a linear classifier; the others numbers.

    **Returns** a fraction in [0, 1], rounded up. 1 for networks in use: norms of trained layers
    multiply to millions.

    **Certified.** Standing: i.i.d. draws. Checked: errors and norms (from above). Declared: every
    input obeys B, by its construction and not only in the sample; L and delta fixed before it.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Golowich, Rakhlin and Shamir, COLT 2018, Theorem 1 (mem), in the multi-class margin
    bound of Mohri, Rostamizadeh and Talwalkar, Foundations of Machine Learning, 2nd edition, 2018
    (mem). THEORY 2.13. Deviation: one grid over T makes norms and gamma free.

    **Example.** A constant network has T = 0: 2^−J remains, and the confidence term.

    >>> golowich_mohri_upper(0, 4**10, 1.0, 2, 0.0, [1.0], 1.0, 0.05) > 2.0**-10
    True
    >>> golowich_mohri_upper(0, 60_000, 1.0, 10, 28.0, [20.0, 15.0], 4.0, 0.05)
    1.0
    """
    require_count("errors", errors, n)
    _require_positive("margin", margin)
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 2:
        raise InputError(f"classes must be an integer >= 2, not {classes!r}")
    _require_size("input_bound", input_bound)
    _require_size("last_row_norm", last_row_norm)
    require_open_unit("delta", delta)
    hidden = _positive_list("frobenius_norm", frobenius_norm)
    factor = 4.0 * classes * (math.sqrt(2.0 * (hidden.size + 1) * math.log(2.0)) + 1.0)
    size = factor / math.sqrt(n) * input_bound * last_row_norm / margin
    for norm in hidden.tolist():
        size *= norm
    grid = _half_log2_rounded_up(n)
    reached = [j for j in range(grid + 1) if 2.0**-j >= size * OUTWARD]
    if not reached:
        return 1.0
    confidence = math.sqrt((math.log(grid + 1) - math.log(delta)) / (2.0 * n))
    return min(1.0, (errors / n + 2.0 ** -reached[-1] + confidence) * OUTWARD)


def _half_log2_rounded_up(n: int) -> int:
    """⌈½·log2 n⌉, in integers: the smallest J with 4^J >= n."""
    return ((n - 1).bit_length() + 1) // 2


def golowich_2018(frobenius_norm: ArrayLike, input_norm: float, margin: float) -> float:
    """Order-only: product of Frobenius norms with the root of the depth, not its exponential.

    **Statement.** L·B²·∏‖A^l‖_F²/gamma². **Symbols → arguments.** ‖A^l‖_F of all L matrices;
    input_norm: B >= 0; margin: gamma > 0. **Returns** a number >= 0, not rounded.

    **Source.** Golowich, Rakhlin and Shamir 2018, arXiv:1712.06541, Theorem 1. Deviation: squared,
    as the comparators; n and constants are suppressed, biases left out.

    **Example.** 2·1²·2²·3²/2²:

    >>> golowich_2018([2.0, 3.0], 1.0, 2.0)
    18.0
    """
    (norms,) = per_layer(frobenius_norm=frobenius_norm)
    _require_size("input_norm", input_norm)
    _require_positive("margin", margin)
    return norms.size * float((input_norm * norms.prod() / margin) ** 2)


def galanti_2023(
    degrees: ArrayLike, frobenius_norm: ArrayLike, pixel_norm: float, margin: float
) -> float:
    """Order-only: norms of the kernels, not of the matrices they stand for.

    **Statement.** L·P²·∏ k_l·‖W^l‖_F²/gamma², k_l the number of inputs (pixels with all their
    channels) that one output of layer l reads: kernel positions of a convolution, pixels for a
    linear layer after one, else 1. **Symbols → arguments.** degrees: k_l, integers >= 1;
    frobenius_norm: ‖W^l‖_F > 0 of the kernel; pixel_norm: P >= 0, the largest over pixels of the
    root mean square norm; margin: gamma > 0. **Returns** a number >= 0, not rounded.

    **Source.** Galanti, Xu, Galanti and Poggio 2023, arXiv:2301.12033, and its published code.
    Deviation: squared; n, constants and the logarithms of degrees and classes are suppressed;
    smallest margin in place of margin 1.

    **Example.** 1·2²·9·3²/1²:

    >>> galanti_2023([9], [3.0], 2.0, 1.0)
    324.0
    """
    (norms,) = per_layer(frobenius_norm=frobenius_norm)
    counts = _positive_list("degrees", degrees)
    if counts.shape != norms.shape or (counts < 1).any() or (counts % 1 != 0).any():
        raise InputError("degrees must be integers >= 1, one for each entry of frobenius_norm")
    _require_size("pixel_norm", pixel_norm)
    _require_positive("margin", margin)
    reach = float(np.sqrt(counts).prod() * norms.prod())
    return norms.size * float(np.square(pixel_norm * reach / margin))


# --------------------------------------------------------------------------- legal arguments


def _require_positive(name: str, value: float) -> None:
    require_number(name, value, math.ulp(0.0), 1e300, f"{name} > 0, finite")


def _require_size(name: str, value: float) -> None:
    require_number(name, value, 0.0, 1e300, f"{name} >= 0, finite")


def _positive_list(name: str, values: ArrayLike) -> Floats:
    array = floats(name, values)
    if array.ndim != 1 or not (array > 0).all():
        raise InputError(f"{name} must be a list of numbers > 0")
    return array


# --------------------------------------------------------------------------- evidence to arguments


def _best_gamma_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    """At the quantile of the positive margins that gives the smallest bound: free, as the
    statement is about all gamma at once."""
    chain, margins = evidence["chain"], np.asarray(evidence["margins"].values)
    positive = margins[(margins > 0) & np.isfinite(margins)]
    if positive.size == 0:
        raise InputError("no margin of the sample is above 0")
    levels = np.arange(1, QUANTILES + 1) / QUANTILES
    candidates = np.unique(np.quantile(positive, levels, method="inverted_cdf"))
    cases = [
        {
            "errors": int((~(margins > gamma)).sum()),  # a margin that is no number is an error
            "n": margins.size,
            "margin": float(gamma),
            "classes": chain.classes,
            "input_bound": chain.input_bound,
            "frobenius_norm": chain.frobenius_norm,
            "last_row_norm": chain.last_row_norm,
            "delta": delta,
        }
        for gamma in candidates
    ]
    return min(cases, key=lambda case: golowich_mohri_upper(**case))


def _smallest_margin(evidence: Evidence) -> float:
    margin = float(np.min(evidence["margins"].values))
    if not 0.0 < margin < math.inf:
        raise InputError(f"the smallest margin is {margin:g}, expected a number above 0")
    return margin


def _golowich_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    layers = evidence["layers"]
    if not layers.relu_chain:
        raise InputError("the network is not a chain of linear layers and ReLU, which it covers")
    return {
        "frobenius_norm": layers.frobenius_norm,
        "input_norm": layers.input_norm,
        "margin": _smallest_margin(evidence),
    }


def _galanti_arguments(evidence: Evidence, delta: float) -> dict[str, Any]:
    found = evidence["weightmeasures"]
    if found.degrees is None or found.pixel_norm is None:
        raise InputError("the network is not a chain of convolutions, linear layers and ReLU")
    return {
        "degrees": found.degrees,
        "frobenius_norm": found.frobenius_norm,
        "pixel_norm": found.pixel_norm,
        "margin": _smallest_margin(evidence),
    }


# --------------------------------------------------------------------------- the rows

GOLOWICH = Source(
    key="golowich2018",
    authors="Noah Golowich, Alexander Rakhlin and Ohad Shamir",
    year=2018,
    title="Size-Independent Sample Complexity of Neural Networks",
    theorem="Theorem 1",
    identifier="arXiv:1712.06541",
    deviation="squared over the margin; n and constants left out, and biases",
)
GOLOWICH_MOHRI = Source(
    key="golowich2018",
    authors="Noah Golowich, Alexander Rakhlin and Ohad Shamir",
    year=2018,
    title="Size-Independent Sample Complexity of Neural Networks",
    theorem="Theorem 1, in the multi-class margin bound of Mohri et al. 2018",
    identifier="arXiv:1712.06541",
    deviation="biases lifted into the matrices; one grid makes norms and gamma free",
)
GALANTI = Source(
    key="galanti2023",
    authors="Tomer Galanti, Mengjia Xu, Liane Galanti and Tomaso Poggio",
    year=2023,
    title="Norm-based Generalization Bounds for Compositionally Sparse Neural Networks",
    identifier="arXiv:2301.12033",
    deviation="squared over the margin; n, constants and logarithms left out, and biases",
)
CHAIN_ASSUMPTIONS = (
    IID,
    Assumption("the network is a chain of linear layers and ReLU", "by construction"),
    Assumption(
        "every input, not only those of the sample, lies in [0, 1] in each feature", "declared"
    ),
    Assumption("the margins and the norms are those of the network on the sample", "checked"),
    Assumption("depth and delta were fixed before the sample was looked at", "declared"),
)

NORM_ROWS = (
    BoundSpec(
        name="golowich-mohri",
        function=golowich_mohri_upper,
        kind="certified",
        quantity="zero-one risk",
        summary="product of norms over the margin, every constant in it; vacuous in practice",
        source=GOLOWICH_MOHRI,
        needs=("margins", "chain"),
        from_evidence=_best_gamma_arguments,
        assumptions=CHAIN_ASSUMPTIONS,
    ),
    BoundSpec(
        name="golowich-2018",
        function=golowich_2018,
        kind="order-only",
        quantity="capacity",
        summary="product of Frobenius norms and the input norm, with the root of the depth",
        source=GOLOWICH,
        needs=("margins", "layers"),
        from_evidence=_golowich_arguments,
        unit="none",
    ),
    BoundSpec(
        name="galanti-2023",
        function=galanti_2023,
        kind="order-only",
        quantity="capacity",
        summary="norms of the kernels and how many inputs one output reads",
        source=GALANTI,
        needs=("margins", "weightmeasures"),
        from_evidence=_galanti_arguments,
        unit="none",
    ),
)
