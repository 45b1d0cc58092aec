"""Unit groups of the layer view: every spelling, every reason to freeze."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from small_networks import (
    Attention,
    Grouped,
    HalfRows,
    Net,
    Residual,
    Tied,
    unpadded,
)
from torch import Tensor, nn

from prunecert.models.layers import LayerView, Slot, UnitGroup, layer_view
from prunecert.models.trace import trace


def group_of(view: LayerView, producer: str) -> UnitGroup:
    (group,) = [g for g in view.groups if producer in [slot.tensor for slot in g.producers]]
    return group


# --------------------------------------------------------------------------- groups


def test_groups_of_a_chain() -> None:
    view = layer_view(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)))
    hidden, scores = view.groups
    assert hidden.size == 4 and hidden.renumberable
    assert hidden.producers == (Slot("0.weight", 0, 1),)
    assert hidden.companions == (Slot("0.bias", 0, 1),)
    assert hidden.consumers == (Slot("2.weight", 1, 1),)
    assert [step.kind for step in hidden.paths[0].steps] == ["bias", "relu"]
    assert not hidden.foldable and "no bias" in hidden.reason
    assert scores.size == 2 and not scores.renumberable and scores.reason == "the network's output"


def test_groups_of_a_residual_network() -> None:
    view = layer_view(Residual())
    stream = group_of(view, "stem.weight")
    assert [s.tensor for s in stream.producers] == ["stem.weight", "conv2.weight"]
    assert [s.tensor for s in stream.consumers] == ["conv1.weight", "conv3.weight", "down.weight"]
    assert {s.tensor for s in stream.companions} == {"stem.bias"} | {
        f"bn2.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    }
    assert stream.renumberable and not stream.foldable and stream.paths == ()
    assert stream.reason == "a sum of several layers"
    inner, last = group_of(view, "conv1.weight"), group_of(view, "down.weight")
    assert inner.renumberable and "padding" in inner.reason
    assert [s.tensor for s in last.producers] == ["conv3.weight", "down.weight"]
    assert last.consumers == (Slot("fc.weight", 1, 1),) and last.renumberable


def convolution_then(flatten: Callable[[nn.Module, Tensor], Tensor]) -> LayerView:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        return net.fc(flatten(net, F.relu(net.conv(x), inplace=True)))

    parts = {
        "conv": nn.Conv2d(1, 4, 3),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(4 * 9, 2),
        "spare": nn.Linear(3, 3),
    }
    return layer_view(Net(forward, **parts))


FLATTENS = {
    "nn.Flatten": lambda net, x: net.flatten(x),
    "torch.flatten": lambda net, x: torch.flatten(x, 1),
    "flatten": lambda net, x: x.flatten(1),
    "start_dim": lambda net, x: torch.flatten(x, start_dim=1),
    "view(size(0), -1)": lambda net, x: x.view(x.size(0), -1),
    "view(size()[0], -1)": lambda net, x: x.view(x.size()[0], -1),
    "view((shape[0], -1))": lambda net, x: x.view((x.shape[0], -1)),
    "view(size(0), K)": lambda net, x: x.view(x.size(0), 36),
    "view(-1, K)": lambda net, x: x.view(-1, 36),
    "reshape(len, -1)": lambda net, x: x.reshape(len(x), -1),
    "reshape(shape[0], -1)": lambda net, x: x.reshape(x.shape[0], -1),
    "torch.reshape": lambda net, x: torch.reshape(x, (x.size(0), -1)),
    "unpacked": lambda net, x: x.view(unpack(x)[0], unpack(x)[1]),
}


def unpack(x: Tensor) -> tuple[int, int]:
    n, c, h, w = x.shape
    return n, c * h * w


@pytest.mark.parametrize("spelling", FLATTENS)
def test_every_spelling_of_flatten(spelling: str) -> None:
    conv = group_of(convolution_then(FLATTENS[spelling]), "conv.weight")
    assert conv.consumers == (Slot("fc.weight", 1, 9),)
    assert conv.renumberable and conv.foldable and conv.reason == ""


NOT_FLATTENS = {
    "flatten()": lambda net, x: x.flatten().view(x.size(0), -1),
    "transposed": lambda net, x: x.transpose(1, 2).flatten(1),
    "channels last": lambda net, x: x.permute(0, 2, 3, 1).reshape(x.size(0), -1),
    "view(-1, K) of other K": lambda net, x: x.view(-1, 18).view(x.size(0), -1),
    "rows of another tensor": lambda net, x: x.view(net.spare.weight.size(0), -1),
    "unfold": lambda net, x: F.unfold(x, 3).flatten(1),
}


@pytest.mark.parametrize("spelling", NOT_FLATTENS)
def test_what_is_not_a_flatten_freezes(spelling: str) -> None:
    conv = group_of(convolution_then(NOT_FLATTENS[spelling]), "conv.weight")
    assert not conv.renumberable and conv.reason


ELEMENTWISE = {
    "nn.ReLU": nn.ReLU(), "F.relu": F.relu, "torch.relu": torch.relu, "relu_": lambda x: x.relu_(),
    "nn.LeakyReLU": nn.LeakyReLU(0.2), "F.leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "nn.GELU": nn.GELU("tanh"), "F.gelu": lambda x: F.gelu(x, approximate="tanh"),
    "nn.Tanh": nn.Tanh(), "torch.tanh": torch.tanh, "tanh": lambda x: x.tanh(),
    "nn.Sigmoid": nn.Sigmoid(), "torch.sigmoid": torch.sigmoid, "sigmoid": lambda x: x.sigmoid(),
    "nn.SiLU": nn.SiLU(), "F.silu": F.silu, "nn.Hardtanh": nn.Hardtanh(-2, 2),
    "F.hardtanh": lambda x: F.hardtanh(x, -2, 2), "clamp": lambda x: x.clamp(min=0),
    "nn.Softplus": nn.Softplus(2.0), "F.softplus": lambda x: F.softplus(x, 2.0),
    "nn.Dropout": nn.Dropout(), "dropout asleep": lambda x: F.dropout(x, 0.5, False),
    "nn.Identity": nn.Identity(), "contiguous": lambda x: x.contiguous(),
    "scaled": lambda x: (2 - x / 4) * 3 + 1, "torch.mul": lambda x: torch.mul(x, 3),
}  # fmt: skip


@pytest.mark.parametrize("spelling", ELEMENTWISE)
def test_element_wise_steps_are_followed_and_computed(spelling: str) -> None:
    """The steps, run on constants, are what the function itself makes of them."""
    activation = ELEMENTWISE[spelling]
    parts = {"first": nn.Linear(3, 4), "last": nn.Linear(4, 2)}
    if isinstance(activation, nn.Module):
        parts["activation"] = activation
    net = Net(lambda net, x: net.last(activation(net.first(x))), **parts).eval()
    hidden = group_of(layer_view(net), "first.weight")
    assert hidden.renumberable and hidden.foldable
    values = torch.linspace(-3, 3, 5, dtype=torch.float64)
    followed = values.clone()
    for step in hidden.paths[0].steps:
        followed = followed if step.function is None else step.function(followed)
    assert torch.equal(followed, activation(values.clone()))


UNKNOWN = {
    "softmax": lambda x: F.softmax(x, dim=1),
    "dropout awake": lambda x: F.dropout(x, 0.5),
    "1 / x": lambda x: 1 / x,
    "cumsum": lambda x: x.cumsum(1),
    "glu": lambda x: F.glu(x),
    "flip": lambda x: x.flip(1),
    "slice": lambda x: x[:, :2],
    "cat": lambda x: torch.cat([x, x], 1),
    "sort": lambda x: x.sort(1)[0],
    "position": lambda x: x + torch.arange(4.0),
    "pool over units": lambda x: F.max_pool1d(x, 2),
    "mean over units": lambda x: x.mean(1),
    "matmul": lambda x: x @ x.t(),
    "layer norm": lambda x: F.layer_norm(x, (4,)),
    "setting nothing": lambda x: torch.where(x > 0, x, 0),
}


@pytest.mark.parametrize("spelling", UNKNOWN)
def test_unknown_operations_freeze_with_a_reason(spelling: str) -> None:
    change = UNKNOWN[spelling]
    net = Net(
        lambda net, x: net.last(change(net.first(x))), first=nn.Linear(3, 4), last=nn.Linear(4, 2)
    )
    view = layer_view(net)
    assert view.opaque_reason == ""
    hidden = group_of(view, "first.weight")
    assert not hidden.renumberable and not hidden.foldable and hidden.reason


class Scaled(nn.Module):
    """A parameter read directly: in front it is harmless, behind a layer it freezes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.scale, self.inner = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(4))
        self.first, self.second, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first((x - self.mean) / self.scale))
        return self.last(self.second(x) * self.inner)


def test_parameters_read_directly() -> None:
    view = layer_view(Scaled())
    assert group_of(view, "first.weight").renumberable
    assert not group_of(view, "second.weight").renumberable
    assert view.unread_buffers == ()


def test_tied_twice_used_and_biases_that_are_not_their_own() -> None:
    view = layer_view(Tied())
    assert group_of(view, "last.weight").reason == "twin.weight is used more than once"
    assert all(not g.renumberable for g in view.groups)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[4].bias = net[2].bias
    first, second, _ = layer_view(net).groups
    assert second.reason == "2.bias is used more than once"
    assert first.renumberable and not first.foldable and "no bias of its own" in first.reason
    parts = {"first": nn.Linear(3, 4), "last": nn.Linear(4, 4), "spare": nn.Linear(4, 4)}
    parts["spare"].weight = parts["last"].weight  # never runs, but a state dict holds it twice
    hidden = layer_view(Net(lambda net, x: net.last(net.first(x)), **parts)).groups[0]
    assert hidden.reason == "last.weight is used more than once"


def test_groups_attention_and_normalisation_freeze_what_they_touch() -> None:
    view = layer_view(Attention())
    movable = [g.producers[0].tensor for g in view.groups if g.renumberable]
    assert movable == ["up.weight"]
    assert "LayerNorm" in group_of(view, "embed.weight").reason
    view = layer_view(Grouped())
    assert [g.producers[0].tensor for g in view.groups if g.renumberable] == ["mix.weight"]
    assert "depthwise" in group_of(view, "conv1.weight").reason


def test_a_view_that_the_output_does_not_settle_freezes() -> None:
    """Two rows per sample: the group flattened by view(-1, 72) is read by fc1, and yet frozen."""
    conv = group_of(layer_view(HalfRows()), "conv.weight")
    assert conv.consumers == (Slot("fc1.weight", 1, 18),)
    assert not conv.renumberable and "fc2" in conv.reason


def test_batch_norm_over_tokens_is_not_taken_for_one_over_units() -> None:
    """(n, 4, F): BatchNorm1d(4) normalises axis 1, which are tokens, not the 4 units."""

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        return net.last(net.norm(net.first(x))).mean(1)

    net = Net(forward, first=nn.Linear(3, 4), norm=nn.BatchNorm1d(4), last=nn.Linear(4, 2))
    assert net(torch.zeros(5, 4, 3)).shape == (5, 2)
    assert not group_of(layer_view(net), "first.weight").renumberable


def test_batch_norm_over_channels_is_not_taken_for_one_over_the_last_axis() -> None:
    """(n, 4, 6, 4): BatchNorm2d(4) normalises the channels, not the 4 units of `first`."""

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        return net.last(net.norm(net.first(net.conv(x)))).flatten(1)

    parts = {"conv": nn.Conv2d(1, 4, 3), "first": nn.Linear(6, 4), "norm": nn.BatchNorm2d(4)}
    net = Net(forward, **parts, last=nn.Linear(4, 2))
    assert net(torch.zeros(5, 1, 8, 8)).shape == (5, 48)
    assert not any(group.renumberable for group in layer_view(net).groups)


def test_circular_padding_keeps_constants() -> None:
    *hidden, _ = layer_view(unpadded()).groups
    assert [group.foldable for group in hidden] == [True, True, True]


def test_pools_keep_constants_exactly_when_they_say_so() -> None:
    """On a constant image, for every pool: `padded` is false iff the result is that constant."""
    pools = [
        nn.MaxPool2d(3, 2, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, padding=1), nn.AvgPool2d(2, ceil_mode=True), nn.AdaptiveAvgPool2d(3),
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), nn.AdaptiveMaxPool2d(2),
        nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d((2, 3), padding=(0, 1)),
    ]  # fmt: skip
    seen = []
    for pool in pools:
        pooled = pool(torch.full((1, 1, 7, 7), 0.5))
        (operation,) = [o for o in trace(nn.Sequential(pool)) if o.kind == "pool"]
        assert operation.options["padded"] == (not torch.all(pooled == 0.5))
        seen.append(operation.options["padded"])
    assert seen.count(True) == 3
