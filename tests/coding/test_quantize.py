"""Quantisation: short numbers, zeros kept, nonzeros kept, and as close as the levels allow."""

import numpy as np
import pytest
import torch
from coded_networks import specs_of

from prunecert.coding import decode_network, encode_network
from prunecert.coding.patterns import to_patterns
from prunecert.coding.quantize import Precision, has_small_codebook, quantize, shorten

FLOATS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
MANTISSA = {torch.float16: 10, torch.bfloat16: 7, torch.float32: 23, torch.float64: 52}
PRECISIONS = [Precision("codebook", k) for k in (1, 2, 3, 5, 16)]
PRECISIONS += [Precision("codebook", 4, 1), Precision("codebook", 4, 6)]
PRECISIONS += [Precision("grid", k) for k in (1, 2, 5, 16)]
PRECISIONS += [Precision("grid", 4, 1), Precision("grid", 127, 7)]


def weights(seed, shape=(40, 30), density=0.3, dtype=torch.float32, scale=0.05):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator) * scale
    return torch.where(torch.rand(shape, generator=generator) < density, values, 0).to(dtype)


def has_short_mantissa(tensor, mantissa):
    """All mantissa bits below the first `mantissa` explicit ones are zero (normal numbers)."""
    unused = MANTISSA[tensor.dtype] - mantissa
    low = (1 << max(unused, 0)) - 1
    return bool(((to_patterns(tensor) & np.uint64(low)) == 0).all())


def squared_error(tensor, quantized):
    return float(((tensor.double() - quantized.double()) ** 2).sum())


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: f"{p}-m{p.mantissa}")
def test_levels_zeros_and_exact_coding(dtype, precision):
    tensor = weights(0, dtype=dtype)
    quantized, choice = quantize(tensor, precision)
    assert (quantized.dtype, quantized.shape) == (dtype, tensor.shape)
    assert torch.equal(quantized != 0, tensor != 0)  # zeros stay, nonzeros stay nonzero
    assert not bool(quantized[tensor == 0].signbit().any())
    levels = torch.unique(quantized[quantized != 0])
    if precision.kind == "codebook":
        assert len(levels) <= precision.levels
        assert has_short_mantissa(levels, precision.mantissa)
    else:
        assert len(levels) <= 2 * precision.levels
        assert torch.equal(quantized.sign(), tensor.sign())
    tensors = {"w": quantized}
    coded = encode_network(tensors, specs_of(tensors), [], choices={"w": choice})
    decoded = decode_network(coded.data, specs_of(tensors), [])
    assert torch.equal(decoded.tensors["w"], quantized)
    assert decoded.choices["w"].values == choice.values


@pytest.mark.parametrize("levels", [1, 3, 16])
@pytest.mark.parametrize("mantissa", [0, 1, 3])
def test_grid_values_are_multiples_of_a_short_step(levels, mantissa):
    tensor = weights(1)
    quantized, choice = quantize(tensor, Precision("grid", levels, mantissa))
    step = torch.from_numpy(np.array([choice.step], np.uint32).view(np.float32))
    assert has_short_mantissa(step, mantissa)
    multiples = quantized[quantized != 0].double() / step.double()
    assert torch.equal(multiples, multiples.round())
    assert multiples.abs().min() >= 1
    assert multiples.abs().max() <= levels


def test_each_value_goes_to_its_nearest_level():
    tensor = weights(2, density=1.0)
    for precision in (Precision("codebook", 7), Precision("grid", 9)):
        quantized, choice = quantize(tensor, precision)
        if precision.kind == "codebook":
            levels = torch.unique(quantized).double()
        else:
            step = torch.from_numpy(np.array([choice.step], np.uint32).view(np.float32)).double()
            levels = step * torch.tensor([i for i in range(-9, 10) if i])
        distance = (tensor.double().flatten()[:, None] - levels).abs()
        found = (tensor.double() - quantized.double()).abs().flatten()
        assert torch.equal(found, distance.min(dim=1).values)


@pytest.mark.parametrize("levels", [2, 4, 8, 16])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "two clusters", "magnitude pruned"])
def test_a_codebook_is_no_worse_than_a_uniform_grid_of_as_many_levels(kind, levels):
    """Against the best of 200 evenly spaced sets of as many levels, at the same mantissa."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=3000)
    if kind == "heavy tails":
        values = rng.standard_t(3, size=3000)
    elif kind == "two clusters":
        values = np.concatenate([rng.normal(-2, 0.3, 1000), rng.normal(1, 0.3, 2000)])
    elif kind == "magnitude pruned":
        values = values[np.abs(values) > 1]
    tensor = torch.from_numpy(values.astype(np.float32))
    found = squared_error(tensor, quantize(tensor, Precision("codebook", levels, 6))[0])
    half = levels // 2
    multiples = np.array([i for i in range(-half, half + 1) if i])
    best = min(
        float(((values - (grid := step * multiples)[_nearest(values, grid)]) ** 2).sum())
        for step in np.abs(values).max() / half * np.linspace(0.05, 1, 200)
    )
    assert found <= 1.001 * best  # entries keep six bits


def _nearest(values, grid):
    return np.abs(values[:, None] - grid).argmin(axis=1)


def test_as_many_entries_as_values_are_exact():
    """Short values come back as they are, in every dtype: nothing is lost on the way."""
    for dtype in FLOATS:
        tensor = torch.tensor([0.0, 1.5, -0.25, 3.5, 0.0, -0.25], dtype=dtype)
        quantized, _ = quantize(tensor, Precision("codebook", 16, 3))
        assert torch.equal(quantized, tensor)
        quantized, choice = quantize(tensor, Precision("grid", 14, 3))
        assert torch.equal(quantized, tensor)
        step = torch.tensor([0.25], dtype=dtype)
        assert choice.step == int(to_patterns(step)[0])


@pytest.mark.parametrize("mantissa", [0, 1, 3, 7])
def test_shorten_is_the_nearest_short_number(mantissa):
    rng = np.random.default_rng(4)
    values = rng.normal(size=500) * 10.0 ** rng.integers(-20, 20, 500)
    short = shorten(values, mantissa, torch.float64).numpy()
    assert has_short_mantissa(torch.from_numpy(short), mantissa)
    exponents = np.floor(np.log2(np.abs(values)))
    assert (np.abs(short - values) <= 2.0 ** (exponents - mantissa - 1)).all()
    assert np.array_equal(shorten(short, mantissa, torch.float64).numpy(), short)


def test_zero_precision_and_nothing_to_quantise():
    for tensor, precision in (
        (weights(0), Precision("zero")),
        (torch.zeros(3, 4), Precision("codebook", 4)),
        (torch.zeros(3, 4), Precision("grid", 4)),
        (torch.zeros(0, 4), Precision("grid", 4)),
        (torch.tensor([-0.0, 0.0]), Precision("grid", 4)),
    ):
        quantized, choice = quantize(tensor, precision)
        assert not bool((to_patterns(quantized) != 0).any())
        assert quantized.shape == tensor.shape
        assert choice.mask == "empty"


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: f"{p}-m{p.mantissa}")
def test_the_largest_and_smallest_numbers_of_a_dtype(dtype, precision):
    """Never to infinity, never to zero, and always to something that can be coded."""
    info = torch.finfo(dtype)
    for values in (
        [info.max],
        [info.max, -info.max, info.max],
        [info.smallest_normal, -info.smallest_normal],
        [info.smallest_normal * info.eps],  # the smallest subnormal number
        [info.max, info.smallest_normal],
        [1.0, info.smallest_normal * info.eps],
    ):
        tensor = torch.tensor(values, dtype=dtype)
        with np.errstate(over="ignore"):  # squared errors beyond float64
            quantized, choice = quantize(tensor, precision)
        assert bool(quantized.isfinite().all())
        assert bool((quantized != 0).all())
        tensors = {"w": quantized}
        coded = encode_network(tensors, specs_of(tensors), [], choices={"w": choice})
        decoded = decode_network(coded.data, specs_of(tensors), [])
        assert torch.equal(decoded.tensors["w"], quantized)


def test_scalars():
    quantized, _ = quantize(torch.tensor(0.3), Precision("grid", 1, 3))
    assert quantized.shape == ()
    assert 0.28 <= quantized.item() <= 0.32


@pytest.mark.parametrize(
    ("values", "small"),
    [
        ([1.0, 1.0, 1.0, 0.0], True),
        ([1.0, -1.0] * 3, True),
        ([1.0, -1.0] * 2 + [0.0] * 90, False),  # each used twice
        ([float(i % 64 + 1) for i in range(192)], True),
        ([float(i % 65 + 1) for i in range(400)], False),
        ([0.0] * 10, False),
        ([], False),
    ],
)
def test_small_codebooks_are_recognised(values, small):
    assert has_small_codebook(torch.tensor(values)) is small


def test_quantising_is_deterministic_and_leaves_its_argument():
    tensor = weights(5)
    before = tensor.clone()
    for precision in PRECISIONS:
        first, second = quantize(tensor, precision), quantize(tensor, precision)
        assert torch.equal(first[0], second[0])
        assert first[1] == second[1]
    assert torch.equal(tensor, before)


def test_precisions_in_words():
    assert str(Precision("zero")) == "zero"
    assert str(Precision("grid", 4)) == "grid-4"
    assert str(Precision("codebook", 8)) == "codebook-8"
