"""Where statements that share a source, or are about pruning, were published."""

from __future__ import annotations

from dataclasses import replace

from prunecert.types import Source

GUHA_THEOREM = Source(
    key="guha2023",
    authors="Etash Kumar Guha, Prasanjit Dubey and Xiaoming Huo",
    year=2023,
    title="Generalization Bounds for Magnitude-Based Pruning via Sparse Matrix Sketching",
    theorem="the generalization bound",
    version="v2",
    identifier="arXiv:2305.18789",
    deviation="constants that the source leaves open are 1; rounding is a second removed part",
)
GUHA_CODE = replace(
    GUHA_THEOREM, theorem="", version="v2, experiment code", deviation="none: as coded"
)
GUHA_MOMENTS = replace(
    GUHA_THEOREM, theorem="moments of Bernoulli pruning", deviation="none: an expectation"
)
GUHA_LATALA = replace(
    GUHA_THEOREM,
    theorem="bound on the removed part, by Latała's inequality and Markov's",
    deviation="the unknown constant is 1 and the factor epsilon is left out",
)
GUHA_PATTERN = replace(
    GUHA_THEOREM,
    theorem="bound on the nonzeros of rows and columns",
    deviation="order-only: false as printed where the kept fraction times the width is far below 1",
)
GUHA_PROPAGATION = replace(
    GUHA_THEOREM,
    theorem="error propagation, after Neyshabur et al. 2018, Lemma 2",
    deviation="also where the removed norms sum to at most 1.75 of the layers' norms",
)
DAVIDSON = Source(
    key="davidson2001",
    authors="Kenneth R. Davidson and Stanislaw J. Szarek",
    year=2001,
    title="Local Operator Theory, Random Matrices and Banach Spaces",
    theorem="Theorem II.13",
    version="Handbook of the Geometry of Banach Spaces, volume 1, 317-366",
    deviation="dropped entries only, by Jensen's inequality; a union bound over the layers",
)
TROPP_BERNSTEIN = Source(
    key="tropp2012",
    authors="Joel A. Tropp",
    year=2012,
    title="User-Friendly Tail Bounds for Sums of Random Matrices",
    theorem="Theorem 1.6",
    version="Foundations of Computational Mathematics 12, 389-434",
    identifier="arXiv:1004.4389",
    deviation="solved for the deviation; the largest entry is taken over the random ones only",
)
TROPP_MASTER = replace(
    TROPP_BERNSTEIN,
    theorem="Theorem 3.6",
    deviation="exact cumulants of each entry; theta searched for, from the weights only",
)
RANKS = Source(
    key="vovk2005",
    authors="Vladimir Vovk, Alexander Gammerman and Glenn Shafer",
    year=2005,
    title="Algorithmic Learning in a Random World",
    deviation="ranks of exchangeable norms instead of nonconformity scores",
)
ONE_LAYER_AT_A_TIME = Source(
    key="prunecert2026",
    authors="prunecert",
    year=2026,
    title="Changing one layer at a time",
    deviation="sharper than Guha et al. 2023 and Neyshabur et al. 2018, Lemma 2",
)
MEASURED = Source(
    key="golub2013",
    authors="Gene H. Golub and Charles F. Van Loan",
    year=2013,
    title="Matrix Computations",
    theorem="8.6",
    version="4th edition",
    deviation="times 1 + 1e-9 for the rounding of the decomposition",
)
ROUNDED = Source(
    key="prunecert2026",
    authors="prunecert",
    year=2026,
    title="The norm of a matrix of small entries with few in each row and column",
    deviation="the seed paper names rounding and gives its norm no bound",
)
DASARATHY = Source(
    key="dasarathy2015",
    authors="Gautam Dasarathy, Parikshit Shah, Badri Narayan Bhaskar and Robert D. Nowak",
    year=2015,
    title="Sketching Sparse Matrices, Covariances, and Graphs via Tensor Products",
    version="IEEE Transactions on Information Theory 61(3)",
    identifier="arXiv:1303.6544",
    deviation="constant 1; the rectangular form is ours",
)
COUNTING = Source(
    key="prunecert2026",
    authors="prunecert",
    year=2026,
    title="Nonzeros of rows and columns by exact tails and a union bound",
    deviation="replaces the Markov form of Guha et al. 2023",
)
MALACH = Source(
    key="malach2020",
    authors="Eran Malach, Gilad Yehudai, Shai Shalev-Shwartz and Ohad Shamir",
    year=2020,
    title="Proving the Lottery Ticket Hypothesis: Pruning is All You Need",
    theorem="Theorem 2.1, inside the bound of Guha et al. 2023",
    identifier="arXiv:2002.00585",
    deviation="constants dropped; the active weights are counted with kept fraction 1",
)
NEYSHABUR_2015 = Source(
    key="neyshabur2015",
    authors="Behnam Neyshabur, Ryota Tomioka and Nathan Srebro",
    year=2015,
    title="Norm-Based Capacity Control in Neural Networks",
    identifier="arXiv:1503.00036",
    deviation="n and a factor exponential in depth are left out",
)
BARTLETT = Source(
    key="bartlett2017",
    authors="Peter L. Bartlett, Dylan J. Foster and Matus Telgarsky",
    year=2017,
    title="Spectrally-normalized margin bounds for neural networks",
    identifier="arXiv:1706.08498",
    deviation="as plotted by Guha et al. 2023 (exponents 2), with the right norm; n left out",
)
BARTLETT_CODED = replace(
    BARTLETT, deviation="as coded by Guha et al. 2023: the Frobenius norm in place of the 2,1 norm"
)
BARTLETT_THEOREM = replace(
    BARTLETT,
    theorem="Theorem 1.1",
    deviation="spectral complexity over margin, squared; n and logarithms left out",
)
NEYSHABUR_2018 = Source(
    key="neyshabur2018",
    authors="Behnam Neyshabur, Srinadh Bhojanapalli and Nathan Srebro",
    year=2018,
    title="A PAC-Bayesian Approach to Spectrally-Normalized Margin Bounds for Neural Networks",
    identifier="arXiv:1707.09564",
    deviation="as coded by Guha et al. 2023: fan-in in place of depth, width and input norm",
)
NEYSHABUR_2018_THEOREM = replace(
    NEYSHABUR_2018, theorem="Theorem 1", deviation="n, the root and the confidence are left out"
)
ARORA = Source(
    key="arora2018",
    authors="Sanjeev Arora, Rong Ge, Behnam Neyshabur and Yi Zhang",
    year=2018,
    title="Stronger Generalization Bounds for Deep Nets via a Compression Approach",
    theorem="Theorem 4.1",
    identifier="arXiv:1802.05296",
    deviation="n and logarithms left out; extrema over the sample",
)
LANGFORD = Source(
    key="langford2005",
    authors="John Langford",
    year=2005,
    title="Tutorial on Practical Prediction Theory for Classification",
    theorem="Occam's razor bound",
    version="Journal of Machine Learning Research 6, 273-306",
    deviation="a code length in place of a prior: P(f) = 2^-bits, by Kraft's inequality",
)
LANGFORD_KL = replace(
    LANGFORD,
    theorem="Occam's razor bound, relative entropy form",
    deviation="a code length in place of a prior; the kl is inverted, not relaxed to a square root",
)


def clopper_pearson(deviation: str) -> Source:
    """The binomial tail, read as this statement reads it."""
    return Source(
        key="clopper1934",
        authors="Charles J. Clopper and Egon S. Pearson",
        year=1934,
        title="The use of confidence or fiducial limits illustrated in the case of the binomial",
        version="Biometrika 26(4), 404-413",
        identifier="doi:10.1093/biomet/26.4.404",
        deviation=deviation,
    )
