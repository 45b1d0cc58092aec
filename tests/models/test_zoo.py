"""The zoo: parameter counts of the published architectures, names, codes, errors."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from prunecert.models.zoo import build, zoo_code, zoo_spec
from prunecert.types import CodeError, InputError

SPECS = ["lenet-300-100", "lenet-5", "resnet-20", "mlp:784-300-100-10", "mlp:12-5"]


def parameters(spec: str) -> int:
    return sum(p.numel() for p in build(spec).parameters())


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        # 266,610 and 431,080 are the sizes of Han et al. 2015 (their "267K" and "431K").
        ("lenet-300-100", 784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10),
        ("lenet-5", 20 * 25 + 20 + 50 * 20 * 25 + 50 + 500 * 800 + 500 + 10 * 500 + 10),
        # He et al. 2016, table 6: "0.27M". Convolutions, batch norms (two numbers a channel), fc.
        (
            "resnet-20",
            9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64)
            + 2 * (7 * 16 + 6 * 32 + 6 * 64)
            + 64 * 10
            + 10,
        ),
        ("mlp:784-784-784-784-784-10", 4 * (784 * 784 + 784) + 784 * 10 + 10),
        ("mlp:12-5", 12 * 5 + 5),
    ],
)
def test_parameter_counts_are_those_of_the_architecture(spec: str, count: int) -> None:
    assert parameters(spec) == count


def test_state_dict_names() -> None:
    assert list(build("lenet-300-100").state_dict()) == [
        f"fc{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")
    ]
    assert list(build("lenet-5").state_dict()) == [
        f"{layer}.{kind}"
        for layer in ("conv1", "conv2", "fc1", "fc2")
        for kind in ("weight", "bias")
    ]
    resnet = build("resnet-20").state_dict()
    assert "stage2.block1.conv1.weight" in resnet
    assert tuple(resnet["stage2.block1.conv1.weight"].shape) == (32, 16, 3, 3)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("lenet-300-100", (1, 28, 28)),
        ("lenet-5", (1, 28, 28)),
        ("resnet-20", (3, 32, 32)),
        ("mlp:12-7-10", (12,)),
    ],
)
def test_networks_trace_and_give_ten_logits(spec: str, shape: tuple[int, ...]) -> None:
    module = build(spec).eval()
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = module(x)
        assert y.shape == (3, 10)
        assert torch.equal(fx.symbolic_trace(module)(x), y)


def test_lenet_300_100_is_the_written_formula() -> None:
    module = build("lenet-300-100")
    w = {name: tensor.double() for name, tensor in module.state_dict().items()}
    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    h = x.double().reshape(4, 784)
    for i in (1, 2):
        h = (h @ w[f"fc{i}.weight"].T + w[f"fc{i}.bias"]).clamp(min=0)
    want = h @ w["fc3.weight"].T + w["fc3.bias"]
    assert torch.allclose(module(x).double(), want, atol=1e-6)


def test_mlp_with_two_sizes_is_linear() -> None:
    """No ReLU after the last layer: f(−x) − f(0) = −(f(x) − f(0))."""
    module = build("mlp:6-4").double()
    x = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    zero = module(torch.zeros_like(x))
    assert torch.allclose(module(-x) - zero, zero - module(x), atol=1e-12)


def test_resnet_shortcut_keeps_even_pixels_and_appends_zero_channels() -> None:
    block = build("resnet-20").get_submodule("stage2.block1")
    x = torch.arange(2 * 16 * 4 * 4, dtype=torch.float32).reshape(2, 16, 4, 4)
    out = block.get_submodule("shortcut")(x)
    assert out.shape == (2, 32, 2, 2)
    for i in range(2):
        for j in range(2):
            assert torch.equal(out[:, :16, i, j], x[:, :, 2 * i, 2 * j])
    assert not out[:, 16:].any()


def test_resnet_block_adds_its_input() -> None:
    block = build("resnet-20").eval().get_submodule("stage1.block2")
    with torch.no_grad():
        block.get_parameter("conv2.weight").zero_()  # and a fresh batch norm adds nothing
        x = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(4))
        assert torch.equal(block(x), x.clamp(min=0))


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, again, other = build("lenet-5", 7), build("lenet-5", 7), build("lenet-5", 8)
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        assert not torch.equal(tensor, other.state_dict()[name])


@pytest.mark.parametrize("spec", SPECS)
def test_code_and_spec_are_inverse(spec: str) -> None:
    code = zoo_code(spec)
    assert all(type(i) is int and i > 0 for i in code)
    assert zoo_spec(code) == spec
    assert zoo_spec(list(code)) == spec


def test_codes_are_frozen_and_the_mlp_stays_its_own_family() -> None:
    """These integers are in released network files: a change here breaks them."""
    assert zoo_code("lenet-300-100") == (1,)
    assert zoo_code("lenet-5") == (2,)
    assert zoo_code("mlp:784-300-100-10") == (3, 784, 300, 100, 10)
    assert zoo_code("resnet-20") == (4,)


@pytest.mark.parametrize(
    "code",
    [
        (),
        (0,),
        (1, 5),
        (3,),
        (3, 10),
        (3, 10, 0),
        (3, -1, -5),
        (5, 10, 10),
        (3, 10**9, 10**9),
        (3, 10**6000, 10),
        (3, *[1] * 10_000),
    ],
)
def test_bad_codes_are_code_errors(code: tuple[int, ...]) -> None:
    with pytest.raises(CodeError):
        zoo_spec(code)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lenet300", "lenet-300-100"),
        ("LENET-5", "lenet-5"),
        ("resnet20", "resnet-20"),
        ("mlp-784-300-10", "mlp:784-300-100-10"),
    ],
)
def test_unknown_names_suggest_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(InputError, match=rf"'{typed}'.*did you mean '{meant}'.*resnet-20") as info:
        build(typed)
    assert "\n" not in str(info.value)


def test_unknown_name_near_nothing_lists_all() -> None:
    with pytest.raises(InputError, match="lenet-300-100, lenet-5, resnet-20, mlp:") as info:
        build("zzzzzzzz")
    assert "did you mean" not in str(info.value)


@pytest.mark.parametrize(
    "spec",
    [
        "mlp:",
        "mlp:784",
        "mlp:784-",
        "mlp:784--10",
        "mlp:784-0-10",
        "mlp:784--5-10",
        "mlp:784-ten",
        "mlp:0784-10",
        "mlp:784-10\n",
        "mlp:٣-٤",
        "mlp:784-300.5-10",
        "mlp:" + "9" * 6000 + "-10",
    ],
)
def test_bad_mlp_sizes(spec: str) -> None:
    with pytest.raises(InputError, match="at least two positive integers"):
        build(spec)


@pytest.mark.parametrize("spec", ["mlp:999999999-999999999", "mlp:" + "-".join(["1"] * 5000)])
def test_gigantic_mlps_are_refused_before_memory_is_asked_for(spec: str) -> None:
    with pytest.raises(InputError, match="the zoo builds at most"):
        build(spec)
