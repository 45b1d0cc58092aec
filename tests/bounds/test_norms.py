"""Norms from above: never below the truth, and close to it."""

import math

import mpmath
import numpy as np
import pytest

from prunecert.bounds.norms import (
    convolution_norm_upper,
    spectral_norm_certified,
    spectral_norm_interpolated,
    spectral_norm_upper,
)
from prunecert.types import InputError

UPPER = [spectral_norm_upper, spectral_norm_certified]
ALL = [*UPPER, spectral_norm_interpolated]


def exact_norm(matrix):
    """‖A‖₂ to forty digits."""
    with mpmath.workdps(40):
        return max(mpmath.svd_r(mpmath.matrix(matrix.tolist()), compute_uv=False))


def matrices():
    source = np.random.default_rng(1)
    graded = source.normal(size=(6, 6)) * 10.0 ** np.arange(-8, 4, 2)
    low_rank = source.normal(size=(9, 2)) @ source.normal(size=(2, 5))
    return [source.normal(size=(3, 7)), graded, low_rank, low_rank.T, 1e-150 * graded, np.eye(4)]


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("matrix", matrices(), ids=range(6))
def test_never_below_the_norm(function, matrix):
    assert mpmath.mpf(function(matrix)) >= exact_norm(matrix)


@pytest.mark.parametrize("function", UPPER)
@pytest.mark.parametrize("matrix", matrices(), ids=range(6))
def test_close_to_the_norm(function, matrix):
    assert mpmath.mpf(function(matrix)) <= exact_norm(matrix) * (1 + mpmath.mpf("1.1e-9"))


@pytest.mark.parametrize("function", UPPER)
def test_norms_known_in_closed_form(function):
    hadamard = np.array([[1.0]])
    for _ in range(5):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    assert 0 <= function(hadamard) / math.sqrt(32) - 1 < 2e-9
    assert 0 <= function(np.outer([3.0, 4.0], [5.0, 12.0])) / 65 - 1 < 2e-9
    assert function(np.zeros((3, 2))) == 0.0


def test_interpolated_by_hand():
    # columns sum to 4 and 6 in absolute value, rows to 3 and 7
    value = spectral_norm_interpolated([[1.0, -2.0], [-3.0, 4.0]])
    assert value == pytest.approx(math.sqrt(6 * 7), rel=2e-9)


def power_iteration(matrix, steps, seed):
    """What much of the field's code multiplies into its bounds."""
    x = np.random.default_rng(seed).normal(size=matrix.shape[1])
    for _ in range(steps):
        x = matrix.T @ (matrix @ x)
        x /= np.linalg.norm(x)
    return np.linalg.norm(matrix @ x)


@pytest.mark.parametrize("seed", range(5))
def test_power_iteration_is_below(seed):
    matrix = np.random.default_rng(seed).normal(size=(25, 25))
    estimate = power_iteration(matrix, 4, seed)
    truth = exact_norm(matrix)
    assert estimate < truth * (1 - mpmath.mpf("1e-4"))  # not a rounding: it really is too small
    for function in ALL:
        assert function(matrix) > estimate


@pytest.mark.parametrize("factor", [0.5, 0.999999, 0.0])
def test_a_wrong_start_does_not_make_a_wrong_certificate(monkeypatch, factor):
    matrix = np.diag([3.0, -4.0, 1.0])
    true_eigenvalues = np.linalg.eigvalsh
    monkeypatch.setattr(np.linalg, "eigvalsh", lambda gram: factor * true_eigenvalues(gram))
    assert spectral_norm_certified(matrix) >= 4.0


def convolution_matrix(kernel, height, width, stride, padding):
    """The linear map, column by column, from the definition."""
    outputs, inputs, rows, columns = kernel.shape
    out_height = (height + 2 * padding - rows) // stride + 1
    out_width = (width + 2 * padding - columns) // stride + 1
    matrix = np.zeros((outputs, out_height, out_width, inputs, height, width))
    for i in range(out_height):
        for j in range(out_width):
            for r in range(rows):
                for c in range(columns):
                    y, x = i * stride + r - padding, j * stride + c - padding
                    if 0 <= y < height and 0 <= x < width:
                        matrix[:, i, j, :, y, x] += kernel[:, :, r, c]
    return matrix.reshape(outputs * out_height * out_width, inputs * height * width)


@pytest.mark.parametrize("size", [(3, 3), (4, 5), (5, 6)])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (1, 2), (2, 1), (3, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_convolution_norm_is_above(size, stride, padding, seed):
    kernel = np.random.default_rng(seed).normal(size=(3, 2, 3, 3))
    truth = np.linalg.norm(convolution_matrix(kernel, *size, stride, padding), 2)
    assert convolution_norm_upper(kernel, *size) >= truth


def test_convolution_norm_comes_close_on_a_large_image():
    kernel = np.random.default_rng(0).normal(size=(1, 1, 3, 3))
    truth = np.linalg.norm(convolution_matrix(kernel, 16, 16, 1, 1), 2)
    assert truth <= convolution_norm_upper(kernel, 16, 16) < 1.1 * truth


def test_the_input_sized_grid_is_no_upper_bound():
    """A difference filter on three pixels: its loudest frequency, π, is not on a grid of three."""
    kernel = np.array([[[[1.0, -1.0]]]])
    truth = np.linalg.norm(convolution_matrix(kernel, 1, 3, 1, 1), 2)
    assert truth == pytest.approx(2 * math.cos(math.pi / 8), rel=1e-12)
    naive = np.abs(np.fft.fft2(kernel[0, 0], s=(1, 3))).max()
    assert naive == pytest.approx(math.sqrt(3), rel=1e-12)
    assert naive < truth
    assert convolution_norm_upper(kernel, 1, 3) == pytest.approx(2.0, rel=2e-9)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("weight", [[1.0, 2.0], [[]], [[math.nan]], [[math.inf]], "big", None])
def test_what_is_no_matrix_is_refused(function, weight):
    with pytest.raises(InputError, match="weight must be"):
        function(weight)


def test_what_is_no_kernel_is_refused():
    for kernel in ([[1.0]], np.zeros((1, 1, 0, 3)), "wide"):
        with pytest.raises(InputError, match="kernel must"):
            convolution_norm_upper(kernel, 3, 3)
    for size in (0, 2.5, math.nan, "large"):
        with pytest.raises(InputError, match="height must be"):
            convolution_norm_upper(np.ones((1, 1, 2, 2)), size, 3)
