"""Chains: names and integers say the same; what cannot be is refused in one line, and cheaply."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunecert.api import architecture
from prunecert.api.networks import network_of
from prunecert.coding import decode_network, encode_network
from prunecert.models.chains import EXAMPLE, LARGEST_SIDE, build_chain, chain_code, chain_spec
from prunecert.models.loading import load_model
from prunecert.models.zoo import build, is_zoo_name, zoo_code, zoo_spec
from prunecert.types import CodeError, InputError

MNIST = "net:1x28x28,bytes,deskew,gradients-8-6-3-9-1,conv-12-3,relu,max-2,linear-20,relu,linear-10"
FAMILY = 5  # of chains, in files


# --------------------------------------------------------------------------- names and integers


def test_the_integers_of_a_name():
    """Three sizes, then the number of each part and its arguments; these stand in files."""
    assert chain_code(MNIST) == (
        1, 28, 28, 6, 7, 8, 8, 6, 3, 9, 1, 2, 12, 3, 3, 4, 2, 1, 20, 3, 1, 10,
    )  # fmt: skip
    assert zoo_code(MNIST) == (FAMILY, *chain_code(MNIST))
    assert zoo_spec(zoo_code(MNIST)) == MNIST
    assert is_zoo_name(MNIST) and load_model(MNIST).spec == MNIST
    assert chain_code("net:2x4x4,avg-2,linear-3") == (2, 4, 4, 5, 2, 1, 3)


def test_parts_names_and_shapes():
    network = build(MNIST)
    assert [name for name, _ in network.named_children()] == [
        "bytes1", "deskew1", "gradients1", "conv1", "relu1", "max1", "flatten", "linear1", "relu2",
        "linear2",
    ]  # fmt: skip
    # 28 pixels: 8 places of a cell of 6 every 3; 6 after the convolution; 3 after the pooling
    assert {name: tuple(t.shape) for name, t in network.state_dict().items()} == {
        "conv1.weight": (12, 8, 3, 3),
        "conv1.bias": (12,),
        "linear1.weight": (20, 12 * 3 * 3),
        "linear1.bias": (20,),
        "linear2.weight": (10, 20),
        "linear2.bias": (10,),
    }
    assert network(torch.rand(5, 1, 28, 28)).shape == (5, 10)


def test_the_seed_draws_the_weights():
    one, same, other = (build(EXAMPLE, seed).conv1.weight for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


PARTS = st.sampled_from(
    ["bytes", "deskew", "relu", "max-2", "max-3", "avg-2", "conv-3-2", "conv-1-1", "conv-2-5",
     "gradients-4-3-2-6-1", "gradients-1-2-1-0-1", "linear-3", "linear-1", "linear-70000", "max-0"]
)  # fmt: skip
NAMES = st.builds(
    lambda sizes, parts: f"net:{'x'.join(map(str, sizes))},{','.join(parts)}",
    st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
    st.lists(PARTS, min_size=1, max_size=8),
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(NAMES)
def test_a_name_goes_round_or_is_refused(name):
    try:
        code = chain_code(name)
    except InputError as problem:
        assert str(problem).startswith(f"model '{name}': ") and "\n" not in str(problem)
        return
    assert chain_spec(code) == name
    network, shape = build_chain(code), code[:3]
    outputs = network(torch.rand(2, *shape))  # every part fits what comes before it
    assert len(outputs) == 2 and torch.isfinite(outputs).all()


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 9) | st.integers(0, 2**62), max_size=14))
def test_integers_go_round_or_are_a_code_error(integers):
    try:
        name = zoo_spec((FAMILY, *integers))
    except CodeError as problem:
        assert "\n" not in str(problem)
        return
    assert zoo_code(name) == (FAMILY, *integers)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net:", "C x H x W"),
        ("net:1x28x28", "C x H x W"),
        ("net:1x28,linear-10", "C x H x W"),
        ("net:0x28x28,linear-10", "C x H x W"),
        ("net:01x28x28,linear-10", "C x H x W"),
        ("net:1x28x28,", "C x H x W"),
        ("net:1x28x28,linear-10,", "C x H x W"),
        ("net:1x28x28, linear-10", "C x H x W"),
        ("net:1x28x28,linear--1", "C x H x W"),
        ("net:1x28x28,linear-1000000", "C x H x W"),
        ("net:1x28x28,LINEAR-10", "C x H x W"),
        ("net:1x28x28,linear-10\n", "C x H x W"),
        ("net:1x28x28,linear", "'linear': expected one of linear-UNITS"),
        ("net:1x28x28,linear-10-2", "'linear-10-2'"),
        ("net:1x28x28,dense-10", "'dense-10'"),
        ("net:1x28x28,conv-10", "conv-CHANNELS-KERNEL"),
        ("net:1x28x28,linear-0", "'linear' number 1: has 0 weights"),
        ("net:1x28x28,conv-0-3", "'conv' number 1: has 0 weights"),
        ("net:1x28x28,conv-3-0", "window of 0"),
        ("net:1x28x28,conv-3-29", "window of 29 does not fit into 28"),
        ("net:1x28x28,max-2,max-15", "'max' number 2: a window of 15 does not fit into 14"),
        ("net:1x28x28,avg-0", "window of 0"),
        ("net:3x28x28,deskew,linear-10", "one channel, not 3"),
        ("net:1x28x28,linear-10,conv-3-3", "'conv' number 1: comes after a linear layer"),
        ("net:1x28x28,linear-10,bytes", "comes after a linear layer"),
        ("net:1x28x28,gradients-65-6-3-9-1", "1 to 64 bins"),
        ("net:1x28x28,gradients-0-6-3-9-1", "1 to 64 bins"),
        ("net:1x28x28,gradients-8-6-0-9-1", "stride of at least 1"),
        ("net:1x28x28,gradients-8-6-3-21-1", "shift of at most 20"),
        ("net:1x28x28,gradients-8-28-3-0-1", "1 to 24 bits"),
        ("net:1x28x28,gradients-8-1-1-20-1", "1 to 24 bits"),
        ("net:1x99999x28,linear-10", "16384"),
        ("net:1x16384x16384,relu", "larger"),
        ("net:16384x100x100,conv-9000-1", "weights"),
        ("net:1x100x100,linear-99999", "weights"),
        ("net:1x28x28" + ",relu" * 101, "101 parts"),
        ("net:1x300x300,bytes,deskew,linear-10", "moments"),
    ],
)
def test_bad_names(name, words):
    with pytest.raises(InputError) as problem:
        chain_code(name)
    assert words in str(problem.value)
    assert str(problem.value).startswith(f"model '{name}': ")
    assert "\n" not in str(problem.value).removeprefix(f"model '{name}")


def test_deskew_only_where_its_moments_are_exact():
    """255 everywhere: mass · Σ x y v and mass · Σ y² v below 2^53, by exact integers."""

    def largest(height: int, width: int) -> int:
        mass = 255 * height * width
        x, y = sum(range(width)), sum(range(height))
        squares = width * sum(i * i for i in range(height))
        return mass * 255 * max(x * y, squares)

    for height, width in (
        (28, 28),
        (64, 64),
        (80, 80),
        (90, 90),
        (100, 100),
        (16384, 1),
        (2, 9000),
    ):
        name = f"net:1x{height}x{width},bytes,deskew,linear-2"
        if largest(height, width) < 2**53:
            assert chain_spec(chain_code(name)) == name
        else:
            with pytest.raises(InputError, match="moments"):
                chain_code(name)


# --------------------------------------------------------------------------- hostile files


HOSTILE = [
    (),
    (1,),
    (1, 1, 1),
    (1, 1, 1, 0),
    (1, 1, 1, 99),
    (1, 1, 1, 1),
    (1, 8, 8, 2, 3),
    (0, 8, 8, 1, 10),
    (1, LARGEST_SIDE + 1, 8, 1, 10),
    (LARGEST_SIDE, LARGEST_SIDE, LARGEST_SIDE, 1, 10),
    (1, 8, 8, 1, 2**62),
    (1, 8, 8, 1, 2**26),
    (1, 8, 8, 2, 2**40, 2),
    (1, 8, 8, 2, 2, 2**40),
    (1, 8, 8, 8, 2**40, 2, 1, 0),
    (1, 8, 8, 8, 4, 2**40, 1, 0),
    (1, 8, 8, 8, 4, 2, 2**62, 2**62),
    (1, 8, 8, 4, 2**62),
    (1, 8, 8, *(3,) * 900),
    (1, 8, 8, *(1, 8000) * 60),
    (1, 3000, 3000, *(2, 8, 1) * 100),
]


@pytest.mark.parametrize("integers", HOSTILE, ids=lambda i: f"{len(i)}-{max(i, default=0)}")
def test_hostile_integers_end_soon_and_in_little_memory(integers):
    tracemalloc.start()
    try:
        with pytest.raises(CodeError, match="chain that cannot be"):
            zoo_spec((FAMILY, *integers))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "integers",
    [*HOSTILE, (1, 8, 8, 1, 2**19, 1, 64)],
    ids=lambda i: f"{len(i)}-{max(i, default=0)}",
)
def test_names_and_integers_are_checked_without_any_weight(integers, monkeypatch):
    """The last of them could be built, and would take 256 MB."""

    def refuse(tensor, *more, **named):
        assert tensor.device.type == "meta"
        return tensor

    monkeypatch.setattr(nn.init, "kaiming_uniform_", refuse)
    monkeypatch.setattr(nn.init, "uniform_", refuse)
    with contextlib.suppress(CodeError):
        zoo_spec((FAMILY, *integers))


@pytest.mark.parametrize("integers", HOSTILE, ids=lambda i: f"{len(i)}-{max(i, default=0)}")
def test_a_network_file_with_such_a_header(integers):
    """It is not the architecture that the reader has in hand, whatever it names."""
    network = network_of(build("net:1x4x4,linear-2"))
    described = architecture("net:1x4x4,linear-2")
    data = architecture(build("net:1x4x4,linear-2")).encode(network.tensors).data
    with pytest.raises(CodeError):
        described.decode(data)  # one that names nothing
    forged = encode_network(
        network.tensors, described.specs, described.view.groups, (FAMILY, *integers)
    ).data
    assert decode_network(forged, described.specs, described.view.groups).architecture == (
        FAMILY,
        *integers,
    )
    with pytest.raises(CodeError, match="architecture"):
        described.decode(forged)
