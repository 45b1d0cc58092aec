"""Words every other module speaks: evidence, statements, results, errors.

Layer 0: standard library and numpy only. Nothing here measures, proves or prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

# --------------------------------------------------------------------------- errors


class InputError(Exception):
    """What the user gave cannot be used: one line naming the file, the field and what was expected.

    The command line prints the line and exits with 2.
    """


class CodeError(Exception):
    """A byte string is not a network: `verify` answers no (exit 1) and says this sentence."""


# --------------------------------------------------------------------------- kinds and status

Kind = Literal["certified", "conditional", "order-only"]
Status = Literal["standing", "by construction", "checked", "declared", "assumed"]
Role = Literal["prior", "train", "bound", "holdout", "unlabeled"]

KINDS: tuple[Kind, ...] = get_args(Kind)
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Assumption:
    """One hypothesis of a statement and how it is known to hold (THEORY 0, DESIGN "Results")."""

    text: str
    status: Status


def kind_of(assumptions: tuple[Assumption, ...] | list[Assumption]) -> Kind:
    """`conditional` as soon as one property of weights or data is assumed, else `certified`."""
    return "conditional" if any(a.status == "assumed" for a in assumptions) else "certified"


# --------------------------------------------------------------------------- evidence


@dataclass(frozen=True)
class Counts:
    """`errors` of `n` samples are wrong (counts, not rates)."""

    errors: int
    n: int
    sample: str = ""


@dataclass(frozen=True)
class Margins:
    """Margins f(x)_y − max_{j≠y} f(x)_j of every sample, shape (n,)."""

    values: NDArray[np.float64]
    sample: str = ""


@dataclass(frozen=True)
class Layers:
    """One entry per weight matrix, input side first; a convolution counts as (out, in·kh·kw).

    All arrays have shape (L,). Norms are of the trained weights: `spectral_norm` by float64 SVD,
    `frobenius_norm`, `norm_2_1` = sum over output units of the l2 norm of their incoming weights.
    """

    names: tuple[str, ...]
    fan_out: NDArray[np.int64]
    fan_in: NDArray[np.int64]
    nonzeros: NDArray[np.int64]
    spectral_norm: NDArray[np.float64]
    frobenius_norm: NDArray[np.float64]
    norm_2_1: NDArray[np.float64]
    relu_chain: bool  # the network is Linear (ReLU Linear)*, the class most norm bounds cover
    input_norm: float  # largest l2 norm of an input of `sample`
    sample: str = ""


@dataclass(frozen=True)
class Code:
    """Length of the code of a network in bits, by part; `bits` is what the statement pays."""

    bits: int
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Disagreements:
    """`count` of `n` unlabelled inputs where the two networks differ (or either abstains)."""

    count: int
    n: int
    sample: str = ""


@dataclass(frozen=True)
class PairedOutcomes:
    """`worse`: pruned wrong and dense right; `better`: the reverse; of `n` labelled samples."""

    worse: int
    better: int
    n: int
    sample: str = ""


@dataclass(frozen=True)
class ClassCounts:
    """Errors and sizes per true class, both of shape (K,)."""

    errors: NDArray[np.int64]
    n: NDArray[np.int64]
    sample: str = ""


@dataclass(frozen=True)
class PruningCurve:
    """Bernoulli magnitude-based pruning measured over a grid of d (THEORY 1.1, 1.8).

    `d` has shape (G,); `kept` (G,) is the fraction kept over all layers by the drawn masks;
    `removed_norm` (G, L) is the measured ‖A − Â‖₂ of each layer. d = 0 prunes nothing.
    """

    d: NDArray[np.float64]
    kept: NDArray[np.float64]
    removed_norm: NDArray[np.float64]
    seed: int = 0


@dataclass(frozen=True)
class Cushions:
    """Noise cushions of a bias-free chain of L linear layers and ReLU over `sample` (THEORY 1.10).

    `layer` (L,): mu_l, the smallest ‖A^l φ(x^{l−1})‖/(‖A^l‖_F‖φ(x^{l−1})‖). `interlayer` (L,):
    mu_{l→}, the smallest over l <= j <= L and over inputs of ‖J^{l,j}x^l‖/(‖J^{l,j}‖_F‖x^l‖);
    mu_{l,l} = 1/√d_l takes part. `contraction`: largest ‖x^l‖/‖φ(x^l)‖. `output_norm`: largest
    ‖f(x)‖₂. `smoothness`: rho_delta, at failure probability `noise_delta` over the noise draws;
    finite (an upper limit stands for a network that is linear around its inputs).
    """

    layer: NDArray[np.float64]
    interlayer: NDArray[np.float64]
    contraction: float
    output_norm: float
    smoothness: float
    noise_delta: float
    sample: str = ""


@dataclass(frozen=True)
class Chain:
    """A chain of L linear layers and ReLU as matrices alone (THEORY 2.13); norms rounded up.

    Biases are lifted into the matrices: [[A, b], [0, 1]], [A, b] at the last layer that has one,
    input (x, 1). `frobenius_norm` (L − 1,) is of the hidden matrices, `last_row_norm` the largest
    l2 norm of a row of the last. `input_bound`: ‖x‖₂ (lifted) of every x in [0, 1]^p, sqrt(p) or
    sqrt(p + 1), never the largest of the sample; all inputs of `sample` were seen to be in it.
    """

    frobenius_norm: NDArray[np.float64]
    last_row_norm: float
    input_bound: float
    classes: int
    sample: str = ""


@dataclass(frozen=True)
class WeightMeasures:
    """What the measures of arXiv:2010.11924 read of a network, batch normalisation folded in.

    Arrays have shape (L,), one entry per weight matrix, input side first. `spectral_norm` is of
    the kernel as a matrix (out, in·kh·kw); `operator_norm` an upper bound on the norm of the
    layer's linear map. `distance_…`: the same of w − w⁰, w⁰ the initial weights. `degrees`: inputs
    (pixels with all their channels) that one output of the layer reads; `pixel_norm`: the largest
    root mean square norm of such an input over `sample`. `sigma_estimate`: Gaussian noise on all
    parameters that costs a tenth of the accuracy; `magnitude_sigma_estimate`: noise of variance
    sigma²w² + 1e-6; both by seeded search over a subsample. `magnitude_log_sum`: the sum over
    weights of ln(1e-6 + sigma²(w − w⁰)²) for the latter. None: not known or not defined here.
    """

    names: tuple[str, ...]
    parameters: int  # entries of the weight matrices
    frobenius_norm: NDArray[np.float64]
    spectral_norm: NDArray[np.float64]
    operator_norm: NDArray[np.float64] | None = None
    distance_frobenius_norm: NDArray[np.float64] | None = None
    distance_spectral_norm: NDArray[np.float64] | None = None
    distance_operator_norm: NDArray[np.float64] | None = None
    degrees: NDArray[np.int64] | None = None
    pixel_norm: float | None = None
    path_norm: float | None = None  # sum over paths of the product of squared weights
    sigma_estimate: float | None = None
    magnitude_sigma_estimate: float | None = None
    magnitude_log_sum: float | None = None
    sample: str = ""


@dataclass(frozen=True)
class Losses:
    """A loss of every sample, shape (n,), each in [low, high]; `loss` is its name."""

    values: NDArray[np.float64]
    low: float
    high: float
    loss: str = ""
    sample: str = ""


@dataclass(frozen=True)
class Outcomes:
    """Whether each sample is answered wrongly, shape (n,): for comparing networks row by row."""

    wrong: NDArray[np.bool_]
    sample: str = ""


@dataclass(frozen=True)
class Gibbs:
    """Errors (N,) of N independent weight draws from a posterior, each over all `n` samples, and
    KL(posterior ‖ prior) in nats."""

    errors: NDArray[np.int64]
    n: int
    kl_nats: float
    sample: str = ""


@dataclass(frozen=True)
class SingleDraw:
    """Errors of one network drawn from a posterior, and ln(dQ/dP) of its weights in nats."""

    errors: int
    n: int
    log_ratio_nats: float
    sample: str = ""


@dataclass(frozen=True)
class Compressed:
    """A network rebuilt from `size` of n samples and a message of `message_bits` bits; `errors`
    are among the n − size others."""

    size: int
    errors: int
    n: int
    message_bits: float = 0.0
    sample: str = ""


@dataclass(frozen=True)
class LanguageLosses:
    """Mean loss in bits per token over n units, of p' = (1 − mixing)·p + mixing/vocabulary.

    `mixing` is one of `mixings` values fixed beforehand; `unit` says what the n units are.
    """

    mean_bits: float
    mixing: float
    mixings: int
    vocabulary: int
    n: int
    unit: str
    sample: str = ""


Evidence = Mapping[str, Any]  # part name (lower-case class name) → part

PARTS: dict[str, type] = {
    cls.__name__.lower(): cls
    for cls in (
        Counts,
        Margins,
        Layers,
        Code,
        Disagreements,
        PairedOutcomes,
        ClassCounts,
        PruningCurve,
        Cushions,
        Chain,
        WeightMeasures,
        Losses,
        Outcomes,
        Gibbs,
        SingleDraw,
        Compressed,
        LanguageLosses,
    )
}


def part_fields(part: Any) -> dict[str, Any]:
    """The fields of one evidence part by name (for writing it down)."""
    return {f.name: getattr(part, f.name) for f in fields(part)}


# --------------------------------------------------------------------------- statements


@dataclass(frozen=True)
class Source:
    """Where a statement was published; `deviation` says where ours differs from print."""

    key: str
    authors: str
    year: int
    title: str
    theorem: str = ""
    equation: str = ""
    version: str = ""
    identifier: str = ""  # doi:… or arXiv:…
    deviation: str = ""


@dataclass(frozen=True)
class BoundSpec:
    """One row of the table of statements (`prunecert bounds`).

    `function` takes plain numbers (or arrays) by keyword and returns a number; `needs` names the
    evidence parts it can be computed from; `from_evidence(parts, delta)` picks the numbers out.
    """

    name: str
    function: Callable[..., Any]
    kind: Kind
    quantity: str  # what the number bounds: "zero-one risk", "disagreement", …
    summary: str  # one line for the table
    source: Source
    needs: tuple[str, ...] = ()
    from_evidence: Callable[[Evidence, float], dict[str, Any]] | None = None
    assumptions: tuple[Assumption, ...] = ()
    unit: str = "fraction"


# --------------------------------------------------------------------------- results


@dataclass(frozen=True)
class Certificate:
    """A proven upper bound. Its `kind` follows from its assumptions and is never set by hand."""

    name: str
    quantity: str
    risk_bound: float
    delta: float
    assumptions: tuple[Assumption, ...]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return kind_of(self.assumptions)


@dataclass(frozen=True)
class CapacityMeasure:
    """An order-only value: it ranks networks and bounds nothing, so it has no `risk_bound`."""

    name: str
    value: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NotApplicable:
    """Why a statement says nothing about this evidence."""

    name: str
    reason: str


Result = Certificate | CapacityMeasure | NotApplicable
