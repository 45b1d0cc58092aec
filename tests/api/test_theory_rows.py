"""The theory's m of a matrix, from where its nonzeros are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prunecert.api.sketching import theory_rows
from prunecert.sketch import pattern


@pytest.mark.parametrize("turned", [False, True])
def test_theory_rows_read_shape_and_fullest_row_and_column(turned):
    x = np.zeros((4, 6))
    x[0, :5] = 1
    x[2, 0] = -1
    expected = math.ceil(math.sqrt(max(2 * 4, 5 * 6)) * math.log(6))  # 9.8
    assert theory_rows(pattern(x.T if turned else x)) == expected == 10


def test_theory_rows_of_a_full_column():
    x = np.zeros((9, 4))
    x[:, 1] = 1
    assert theory_rows(pattern(x)) == math.ceil(math.sqrt(9 * 9) * math.log(9)) == 20  # 19.8
