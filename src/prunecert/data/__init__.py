"""Sources of labelled rows, and the samples that statements are about.

A *source* is where rows come from (`load_source`), a *split* is its train or test part, and a
*sample* is a slice of a split with a role and a hash (`take`). Nothing is read before it is asked
for, and a sample is streamed: no statement needs the rows in memory.
"""

from prunecert.data.predictions import Predictions, predictions
from prunecert.data.samples import Sample, equal_rows, refuse_shared, shared_rows, take
from prunecert.data.sources import Source, in_memory, load_source
from prunecert.data.splits import ArraySplit, DatasetSplit, Inputs, Split, map_inputs
from prunecert.data.synthetic import FiniteWorld, synthetic

__all__ = [
    "ArraySplit",
    "DatasetSplit",
    "FiniteWorld",
    "Inputs",
    "Predictions",
    "Sample",
    "Source",
    "Split",
    "equal_rows",
    "in_memory",
    "load_source",
    "map_inputs",
    "predictions",
    "refuse_shared",
    "shared_rows",
    "synthetic",
    "take",
]
