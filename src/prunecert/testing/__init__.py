"""The contract suite every statement must pass, ours and those from outside.

    from prunecert.testing import check_bound
    check_bound(my_spec)          # AssertionError with one sentence on the first broken contract
    check_bound(my_spec, my_twin)  # and the slow, independent computation must agree

What is checked: known arguments · honest kind · legal range · monotone in errors, rates, sample
sizes, bits, nats and delta · never below what the sample itself shows · failure probability at
most delta, by exact enumeration of small samples · deterministic · arrays agree with numbers ·
illegal arguments refused with InputError · the result holds what its kind allows and survives
JSON. A function that refuses single numbers is judged as a statement about a list, whose entries
must hold all at once. A statement with an argument this suite does not know fails: give it a
meaning in ARGUMENTS. So does one whose outcomes `coverage` cannot enumerate.

`cases` knows the arguments, `evidence` one small network, `contracts` the promises; `coverage`
(and `selected`, `pruning`) enumerate.
"""

from prunecert.testing.cases import ARGUMENTS
from prunecert.testing.contracts import check_bound
from prunecert.testing.evidence import sample_evidence

__all__ = ["ARGUMENTS", "check_bound", "sample_evidence"]
