"""Errors planted in lotteries, sweeps and the study, each of which the named tests must find."""

from __future__ import annotations

from planted_errors import Mutant

LEVELS = "api/lottery/levels.py"
TESTS = "api/test_lottery.py"
SEEDED = "api/test_seeded.py"

PLANTED_IN_RESEARCH = (
    Mutant(
        "a level's masks forget the level before",
        "pruning/lottery.py",
        "scope, previous=masks)",
        "scope, previous={})",
        "pruning/test_lottery_masks.py",
    ),
    Mutant(
        "random masks keep what should go",
        "pruning/lottery.py",
        "order[: int(mask.sum())]",
        "order[int(mask.sum()) :]",
        "pruning/test_lottery_masks.py",
    ),
    Mutant(
        "levels do not rewind",
        LEVELS,
        "return (last.network.tensors if keeps_weights else checkpoint), masks",
        "return last.network.tensors, masks",
        TESTS,
    ),
    Mutant(
        "a rewound level begins its schedule again",
        LEVELS,
        "    course = Course(lengths.rewind, lengths.total, seed)\n    if",
        "    course = Course(0, lengths.total, seed)\n    if",
        TESTS,
    ),
    Mutant(
        "the re-initialised control has the lottery's own initial weights",
        LEVELS,
        "own_seed = _other_seed(seed) if control == REINIT else seed",
        "own_seed = seed",
        TESTS,
    ),
    Mutant(
        "the hash of a level does not speak of the one before",
        LEVELS,
        '        "parent": last.hash,\n',
        "",
        TESTS,
    ),
    Mutant(
        "a damaged file of a level is used",
        LEVELS,
        "hexdigest() != digest:",
        "hexdigest() == '':",
        TESTS,
    ),
    Mutant(
        "pruned weights that a user's training moved are not seen",
        "api/lottery/trainers.py",
        "        self._check_zeros(tensors, masks)\n",
        "",
        TESTS,
    ),
    Mutant(
        "initial values ignore the slot",
        "api/seeded/initial.py",
        "initial_values(seed, index, ",
        "initial_values(seed, 0, ",
        SEEDED,
    ),
    Mutant(
        "the initial range without its root",
        "api/seeded/initial.py",
        "/ 2 - math.log2(LARGEST)",
        "/ 1 - math.log2(LARGEST)",
        SEEDED,
    ),
    Mutant(
        "normalisations keep what they held",
        "api/seeded/initial.py",
        "        part.reset_parameters()",
        "        part.eval()",
        SEEDED,
    ),
    Mutant(
        "differences count from the first tensor",
        "api/seeded/near.py",
        "Frame(self.index[name], ",
        "Frame(0, ",
        SEEDED,
    ),
    Mutant(
        "the worse of the two forms is certified",
        "api/seeded/__init__.py",
        "found = min(mask_alone",
        "found = max(mask_alone",
        SEEDED,
    ),
)
