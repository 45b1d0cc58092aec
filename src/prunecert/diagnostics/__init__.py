"""Do trained weights look as the seed paper assumes, and what does its argument lose if not?

Effect sizes first, p-values on a fixed subsample only; none of it proves an assumption
(THEORY 4). A convolution is its matrix (out, in·kh·kw). Imports no torch.
"""

from prunecert.diagnostics.entries import (
    Gaussianity,
    Independence,
    Lines,
    gaussianity,
    independence,
)
from prunecert.diagnostics.predicted import Compared, Prediction, prediction
from prunecert.diagnostics.sentences import RESTS_ON, TERM_OF, Verdict, verdicts

__all__ = [
    "RESTS_ON",
    "TERM_OF",
    "Compared",
    "Gaussianity",
    "Independence",
    "Lines",
    "Prediction",
    "Verdict",
    "gaussianity",
    "independence",
    "prediction",
    "verdicts",
]
