"""Built-in architectures by name, and the integers by which a network file names them.

Every network is a `Sequential` of named parts, so its state-dict names read well (`fc1.weight`,
`stage2.block1.conv1.weight`) and torch.fx can trace it. Inputs: (n, features) or (n, C, H, W), for
a gpt token numbers (n, T).
"""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunecert.models.chains import EXAMPLE as CHAIN_EXAMPLE
from prunecert.models.chains import PREFIX as CHAIN
from prunecert.models.chains import Misfit, build_chain, chain_code, chain_spec
from prunecert.models.gpt import EXAMPLE as GPT_EXAMPLE
from prunecert.models.gpt import GPT, gpt_sizes, gpt_spec, problem_with
from prunecert.models.gpt import PREFIX as GPT_PREFIX
from prunecert.types import CodeError, InputError

# A name can come from a stranger's certificate: what it builds must fit into memory.
MAX_WEIGHTS = 2**26
MAX_LAYERS = 1000

_MLP_EXAMPLE = "mlp:784-300-100-10"
_MLP_FORM = re.compile(r"mlp:[1-9][0-9]{0,8}(-[1-9][0-9]{0,8})+")


def _mlp(sizes: Sequence[int]) -> nn.Module:
    parts: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        if number > 1:
            parts[f"relu{number - 1}"] = nn.ReLU()
        parts[f"fc{number}"] = nn.Linear(fan_in, fan_out)
    return nn.Sequential(parts)


def _lenet_300_100() -> nn.Module:
    """LeCun et al. 1998, in the form that the pruning literature uses; (n, 784) → (n, 10)."""
    return _mlp((784, 300, 100, 10))


def _lenet_5() -> nn.Module:
    """The Caffe LeNet with a ReLU after each hidden layer; (n, 1, 28, 28) → (n, 10)."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 20, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(800, 500),
            relu3=nn.ReLU(),
            fc2=nn.Linear(500, 10),
        )
    )


class Subsample(nn.Module):
    """Every second pixel, `new_channels` zero channels appended: a shortcut without weights."""

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.new_channels = new_channels

    def forward(self, x: Tensor) -> Tensor:  # (n, C, H, W) → (n, C + new, H/2, W/2)
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.new_channels))


class ResidualBlock(nn.Module):
    """relu(x' + bn(conv(relu(bn(conv(x)))))), x' = x where shapes agree, else `Subsample`."""

    def __init__(self, fan_in: int, channels: int) -> None:
        super().__init__()
        widens = channels != fan_in
        # No biases in the convolutions: the batch normalisation that follows has one.
        self.conv1 = nn.Conv2d(fan_in, channels, 3, 2 if widens else 1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = Subsample(channels - fan_in) if widens else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu2(self.shortcut(x) + y)
        return result


def _stage(fan_in: int, channels: int) -> nn.Module:
    widths = (fan_in, channels, channels, channels)
    blocks = (ResidualBlock(before, after) for before, after in pairwise(widths))
    return nn.Sequential(OrderedDict((f"block{i}", b) for i, b in enumerate(blocks, start=1)))


def _resnet_20() -> nn.Module:
    """He et al. 2016 section 4.2 for CIFAR-10, shortcuts of option A; (n, 3, 32, 32) → (n, 10)."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 16, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(16),
            relu1=nn.ReLU(),
            stage1=_stage(16, 16),
            stage2=_stage(16, 32),
            stage3=_stage(32, 64),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64, 10),
        )
    )


# Family numbers are written into network files: add, never renumber. 0 stays free for "not here".
_FIXED: dict[str, tuple[int, Callable[[], nn.Module]]] = {
    "lenet-300-100": (1, _lenet_300_100),
    "lenet-5": (2, _lenet_5),
    "resnet-20": (4, _resnet_20),
}
_MLP_FAMILY, _CHAIN_FAMILY, _GPT_FAMILY = 3, 5, 6


def _size_problem(sizes: Sequence[int]) -> str | None:
    """What is wrong with the layer sizes of an mlp, in words, or None."""
    if len(sizes) < 2 or min(sizes) < 1:
        return f"expected at least two positive integers, as in {_MLP_EXAMPLE}"
    if len(sizes) > MAX_LAYERS:
        return f"the zoo builds at most {MAX_LAYERS} layers"
    if sum(a * b for a, b in pairwise(sizes)) > MAX_WEIGHTS:
        return f"the zoo builds at most {MAX_WEIGHTS} weights; give file.py:function instead"
    return None


def _mlp_sizes(spec: str) -> tuple[int, ...]:
    if not _MLP_FORM.fullmatch(spec):
        raise InputError(
            f"model '{spec}': expected at least two positive integers joined by '-', "
            f"as in {_MLP_EXAMPLE}"
        )
    sizes = tuple(int(size) for size in spec.removeprefix("mlp:").split("-"))
    if problem := _size_problem(sizes):
        raise InputError(f"model '{spec}': {problem}")
    return sizes


def _unknown(spec: str) -> InputError:
    known = [*_FIXED, _MLP_EXAMPLE, CHAIN_EXAMPLE, GPT_EXAMPLE]
    nearest = difflib.get_close_matches(spec.lower(), known, n=1)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    return InputError(
        f"model '{spec}': no such model; {hint}Known: {', '.join(known)}, or file.py:function, "
        "package.module:function, a Hugging Face folder"
    )


@contextmanager
def local_seed(seed: int) -> Iterator[None]:
    """Draw from a CPU generator seeded with `seed`; afterwards the global state is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def build(spec: str, seed: int = 0) -> nn.Module:
    """The zoo network named `spec`, freshly initialised from `seed` (global generator untouched).

    Raises InputError for an unknown name (with the nearest known one) or bad mlp sizes.
    """
    code = zoo_code(spec)
    with local_seed(seed):
        if code[0] == _CHAIN_FAMILY:
            return build_chain(code[1:])
        if code[0] == _GPT_FAMILY:
            return GPT(*code[1:])
        return _mlp(code[1:]) if code[0] == _MLP_FAMILY else _FIXED[spec][1]()


def is_zoo_name(spec: str) -> bool:
    """True where `spec` names a built-in network, whatever lies in the current folder."""
    return spec in _FIXED or spec.startswith(("mlp:", CHAIN, GPT_PREFIX))


def zoo_code(spec: str) -> tuple[int, ...]:
    """The integers that name a zoo network in a file: (family,), (3, sizes…) for an
    mlp, (5, …) for a chain, (6, sizes…) for a gpt."""
    if spec in _FIXED:
        return (_FIXED[spec][0],)
    if spec.startswith(CHAIN):
        return (_CHAIN_FAMILY, *chain_code(spec))
    if spec.startswith(GPT_PREFIX):
        try:
            return (_GPT_FAMILY, *gpt_sizes(spec))
        except ValueError as problem:
            raise InputError(f"model '{spec}': {problem}") from None
    if not spec.startswith("mlp:"):
        raise _unknown(spec)
    return (_MLP_FAMILY, *_mlp_sizes(spec))


def zoo_spec(code: Sequence[int]) -> str:
    """Inverse of `zoo_code`. Raises CodeError: the integers come from a file."""
    for name, (family, _) in _FIXED.items():
        if tuple(code) == (family,):
            return name
    if code and code[0] == _CHAIN_FAMILY:
        try:
            return chain_spec(code[1:])
        except Misfit as problem:
            raise CodeError(f"the network file names a chain that cannot be: {problem}") from None
    if code and code[0] == _GPT_FAMILY:
        if problem := problem_with(code[1:]):
            raise CodeError(f"the network file names a gpt that cannot be: {problem}")
        return gpt_spec(code[1:])
    if not code or code[0] != _MLP_FAMILY:
        raise CodeError("the network file names an architecture that the zoo does not have")
    sizes = code[1:]
    if problem := _size_problem(sizes):
        raise CodeError(f"the network file names an mlp with bad layer sizes: {problem}")
    return "mlp:" + "-".join(str(size) for size in sizes)
