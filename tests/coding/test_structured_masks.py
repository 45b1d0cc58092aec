"""N:M and block masks: exact, found by the encoder, and at the price of their structure."""

import itertools
import math

import numpy as np
import pytest
import torch
from coded_networks import specs_of
from hypothesis import given, settings
from hypothesis import strategies as st

from prunecert.coding import Choice, encode_network
from prunecert.coding.stream import Reader, Writer, positive, uniform
from prunecert.coding.structured_masks import (
    GROUP_SIZES,
    code_blocks,
    code_groups,
    find_blocks,
    find_groups,
)
from prunecert.pruning.scopes import _n_of_m
from prunecert.types import CodeError


def n_of_m(seed, rows, inputs, kernel, n, m):
    """N random nonzeros in every M consecutive inputs at each kernel place, built by loops."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((rows, inputs, kernel), bool)
    for r, place in itertools.product(range(rows), range(kernel)):
        for start in range(0, inputs, m):
            length = min(m, inputs - start)
            mask[r, start + rng.permutation(length)[: min(n, length)], place] = True
    return mask.reshape(rows, inputs * kernel)


def in_blocks(seed, shape, size, density):
    rng = np.random.default_rng(seed)
    blocks = rng.random((-(-shape[0] // size[0]), -(-shape[1] // size[1]))) < density
    mask = [[blocks[r // size[0], c // size[1]] for c in range(shape[1])] for r in range(shape[0])]
    return np.array(mask, bool)


def cost(code, mask):
    """The bits of a mask, which must come back from its words."""
    writer = Writer()
    code(writer, mask)
    assert np.array_equal(code(Reader(writer.finish()), None), mask)
    return writer.cost_bits


def groups_code(shape, kernel):
    return lambda stream, mask: code_groups(stream, shape, kernel, mask)


def blocks_code(shape, repeat=1):
    return lambda stream, mask: code_blocks(stream, shape, repeat, mask)


# ------------------------------------------------------------------------------------- N:M


@pytest.mark.parametrize(("n", "m"), [(1, 2), (1, 4), (2, 4), (3, 4), (4, 8), (2, 16), (31, 32)])
@pytest.mark.parametrize(("inputs", "kernel"), [(64, 1), (67, 1), (33, 9), (70, 2)])
def test_groups_cost_the_logarithm_of_their_number(n, m, inputs, kernel):
    mask = n_of_m(0, 30, inputs, kernel, n, m)
    whole, rest = divmod(inputs, m)
    each = whole * math.log2(math.comb(m, n)) + math.log2(math.comb(rest, min(n, rest)))
    ideal = 30 * kernel * each + 3 + math.ceil(math.log2(m - 1))
    assert ideal * 0.999 - 2 <= cost(groups_code(mask.shape, kernel), mask) <= ideal * 1.001 + 2


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.integers(0, 10**6),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(1, 5),
    st.sampled_from(GROUP_SIZES),
    st.data(),
)
def test_any_n_of_m_mask_is_found_and_comes_back(seed, rows, inputs, kernel, m, data):
    n = data.draw(st.integers(1, m - 1))
    mask = n_of_m(seed, rows, inputs, kernel, n, m)
    found = find_groups(mask, kernel)
    assert found is not None and found[0] <= m
    cost(groups_code(mask.shape, kernel), mask)


def test_one_place_more_or_less_is_no_n_of_m_mask():
    mask = n_of_m(3, 20, 64, 1, 2, 4)
    assert find_groups(mask, 1) == (4, 2)
    for row, column in ((0, 0), (19, 63), (7, 30)):
        changed = mask.copy()
        changed[row, column] ^= True
        assert find_groups(changed, 1) is None
        with pytest.raises(CodeError, match="N:M"):
            code_groups(Writer(), mask.shape, 1, changed)


def test_the_smallest_m_is_written():
    """A 1:2 mask is a 2:4 and a 4:8 mask too, at more bits."""
    assert find_groups(n_of_m(0, 20, 64, 1, 1, 2), 1) == (2, 1)
    assert find_groups(n_of_m(0, 20, 64, 9, 3, 8), 9) == (8, 3)


@pytest.mark.parametrize("shape", [(24, 40), (6, 16, 3, 3)])
def test_what_pruning_makes_is_found(shape):
    """The layout of scope "2:4": groups of input channels, also of convolutions."""
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    masks = _n_of_m(2, 4)({"w": weights.abs()}, 0.5, {})
    kept = {"w": torch.where(masks["w"], weights, 0)}
    coded = encode_network(kept, specs_of(kept), ())
    groups = weights.numel() // 4
    assert coded.code.parts["positions"] == pytest.approx(groups * math.log2(6) + 3 + 2, abs=1.5)


def test_hostile_group_sizes_are_refused():
    for m in (5, 6, 7):
        writer = Writer()
        uniform(writer, 8, m)
        with pytest.raises(CodeError):
            code_groups(Reader(writer.finish()), (4, 8), 1, None)
    writer = Writer()
    uniform(writer, 5, 1)  # M = 4: N − 1 is at most 2
    uniform(writer, 4, 3)
    with pytest.raises(CodeError):
        code_groups(Reader(writer.finish()), (4, 8), 1, None)


@pytest.mark.parametrize("shape", [(0, 0), (0, 6), (6, 0)])
def test_masks_without_entries(shape):
    for word in (0, 0x12345678, 0x02000000):
        for code in (groups_code(shape, 1), groups_code(shape, 3), blocks_code(shape)):
            try:
                assert code(Reader(np.array([word, word], np.uint32)), None).shape == shape
            except CodeError:
                continue


# ------------------------------------------------------------------------------------- blocks

SHAPES = [(32, 48), (30, 50), (1, 64), (64, 1), (17, 31)]
SIZES = [(1, 2), (1, 16), (2, 1), (8, 1), (4, 4), (16, 16)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_blocks_cost_the_logarithm_of_their_number(shape, size):
    if size[0] > shape[0] or size[1] > shape[1]:
        return
    mask = in_blocks(1, shape, size, 0.3)
    blocks = mask[:: size[0], :: size[1]]
    choose = math.log2(math.comb(blocks.size, int(blocks.sum())))
    assert cost(blocks_code(shape), mask) <= 1.01 * (choose + math.log2(blocks.size + 1)) + 22


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.integers(0, 10**6),
    st.integers(1, 20),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.data(),
)
def test_any_mask_of_blocks_is_found_and_comes_back(seed, rows, columns, density, data):
    sizes = [s for s in SIZES if s[0] <= rows and s[1] <= columns]
    if not sizes:
        return
    mask = in_blocks(seed, (rows, columns), data.draw(st.sampled_from(sizes)), density)
    assert find_blocks(mask, 1) is not None
    cost(blocks_code(mask.shape), mask)


def test_whole_rows_columns_and_input_units():
    rows, columns, units = np.zeros((3, 50, 60), bool)
    rows[[3, 9, 20, 41]] = True
    columns[:, [0, 7, 30, 31, 52]] = True
    for row, unit in ((0, 3), (0, 5), (7, 1), (30, 0), (49, 5)):
        units[row, 10 * unit : 10 * unit + 10] = True  # ten columns belong to one input unit
    assert find_blocks(rows, 1) == (1, 60)
    assert find_blocks(columns, 1) == (50, 1)
    assert find_blocks(units, 10) == (1, 10)
    assert find_blocks(units, 1) == (1, 2)
    for mask, repeat, many, kept in ((rows, 1, 50, 4), (columns, 1, 60, 5), (units, 10, 300, 5)):
        ideal = math.log2(math.comb(many, kept)) + math.log2(many + 1)
        assert cost(blocks_code(mask.shape, repeat), mask) <= 1.01 * ideal + 16


def test_one_place_less_is_no_block_mask():
    mask = in_blocks(5, (32, 32), (4, 4), 0.4)
    assert find_blocks(mask, 1) is not None
    row, column = np.argwhere(mask)[7]
    mask[row, column] = False
    assert find_blocks(mask, 1) is None
    with pytest.raises(CodeError, match="blocks"):
        code_blocks(Writer(), mask.shape, 1, mask)


@pytest.mark.parametrize("size", [(9, 1), (1, 13), (2**40, 1)])
def test_hostile_block_sizes_are_refused(size):
    writer = Writer()
    positive(writer, size[0])
    positive(writer, size[1])
    with pytest.raises(CodeError, match="larger"):
        code_blocks(Reader(writer.finish()), (8, 12), 1, None)


def test_too_many_blocks_are_refused_before_any_work():
    writer = Writer()
    positive(writer, 1)
    positive(writer, 1)
    with pytest.raises(CodeError, match="at most"):
        code_blocks(Reader(writer.finish()), (3000, 3000), 1, None)


# ------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("mode", ["n:m", "blocks"])
def test_a_network_asks_for_them_by_name(mode):
    mask = n_of_m(0, 16, 32, 1, 2, 4) if mode == "n:m" else in_blocks(0, (16, 32), (4, 4), 0.5)
    good = {"w": torch.from_numpy(mask).float()}
    encode_network(good, specs_of(good), (), choices={"w": Choice(mode)})
    bad = {"w": torch.ones(16, 32).tril()}
    with pytest.raises(CodeError):
        encode_network(bad, specs_of(bad), (), choices={"w": Choice(mode)})
