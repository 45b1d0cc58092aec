"""The layer view besides its groups: order, roles, chains, opacity, the architecture alone."""

from __future__ import annotations

import builtins

import pytest
import torch
import torch.nn.functional as F
from small_networks import NETWORKS, Attention, CaffeLeNet, FunctionalMlp, Net, randomised
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from prunecert.models.layers import layer_view

PLAIN_LEN = len

# --------------------------------------------------------------------------- layers and roles


def test_layers_come_in_order_of_execution() -> None:
    net = Net(
        lambda net, x: net.b(net.c(x).relu()),
        a=nn.Linear(9, 9), b=nn.Linear(4, 2, bias=False), c=nn.Linear(3, 4),
    )  # fmt: skip
    first, second, unused = layer_view(net).layers
    assert (first.name, first.kind, first.shape) == ("c.weight", "linear", (4, 3))
    assert (first.bias, first.module, second.bias) == ("c.bias", "c", None)
    assert (second.name, unused.name) == ("b.weight", "a.weight")


def roles(net: nn.Module) -> dict[str, tuple[str, bool]]:
    view = layer_view(net)
    assert [t.name for t in view.tensors] == list(net.state_dict())
    assert {layer.name for layer in view.layers} == {t.name for t in view.tensors if t.prunable}
    assert all(bool(t.reason) != t.prunable for t in view.tensors)
    return {tensor.name: (tensor.role, tensor.prunable) for tensor in view.tensors}


def test_roles_of_a_convolutional_network() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU(), nn.ConvTranspose2d(2, 3, 3)
    )
    assert roles(net) == {
        "0.weight": ("weight", True), "0.bias": ("bias", False), "1.weight": ("norm", False),
        "1.bias": ("norm", False), "1.running_mean": ("buffer", False),
        "1.running_var": ("buffer", False), "1.num_batches_tracked": ("buffer", False),
        "2.weight": ("other", False), "3.weight": ("weight", True), "3.bias": ("bias", False),
    }  # fmt: skip
    assert [layer.kind for layer in layer_view(net).layers] == ["conv", "transposed"]


def test_roles_of_attention() -> None:
    found = roles(Attention())
    assert found["attention.in_proj_weight"] == ("weight", True)
    assert found["attention.in_proj_bias"] == found["up.bias"] == ("bias", False)
    assert found["norm1.weight"] == ("norm", False)
    order = [(layer.name, layer.kind) for layer in layer_view(Attention()).layers]
    assert order[:3] == [
        ("embed.weight", "linear"),
        ("attention.in_proj_weight", "attention"),
        ("attention.out_proj.weight", "linear"),
    ]


class LanguageModel(nn.Module):
    def __init__(self, tie: bool, head: str = "score") -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 8), nn.Embedding(16, 8)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.add_module(head, nn.Linear(8, 50, bias=False))
        self.head = head
        if tie:
            self.get_submodule(head).weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        return self.get_submodule(self.head)(x + self.down(F.gelu(self.up(x))))


def test_heads_of_language_models_are_not_pruned() -> None:
    assert roles(LanguageModel(tie=True))["score.weight"] == ("tied", False)
    assert roles(LanguageModel(tie=False))["score.weight"] == ("head", False)
    assert roles(LanguageModel(tie=False, head="lm_head"))["lm_head.weight"] == ("head", False)
    found = roles(LanguageModel(tie=False))
    assert found["words.weight"] == found["places.weight"] == ("embedding", False)
    assert found["up.weight"] == ("weight", True)  # 16 rows, as many as places: no head
    others = {"wide": nn.Linear(8, 50), "last": nn.Linear(50, 16)}
    net = nn.ModuleDict({"words": nn.Embedding(50, 8), "places": nn.Embedding(16, 8), **others})
    assert roles(net)["wide.weight"] == roles(net)["last.weight"] == ("weight", True)
    head_first = nn.ModuleDict({"head": nn.Linear(8, 50), "words": nn.Embedding(50, 8)})
    head_first["head"].weight = head_first["words"].weight
    assert roles(head_first)["head.weight"] == ("embedding", False)


def test_unread_buffers() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4, momentum=None))
    assert layer_view(net).unread_buffers == ("1.num_batches_tracked", "2.num_batches_tracked")
    net.register_buffer("spare", torch.zeros(2))
    net.register_buffer("passing", torch.zeros(2), persistent=False)
    assert "spare" in layer_view(net).unread_buffers
    assert "passing" not in layer_view(net).unread_buffers

    def counts(net: nn.Module, x: Tensor) -> Tensor:
        return net.norm(x) * net.norm.num_batches_tracked

    assert layer_view(Net(counts, norm=nn.BatchNorm1d(3))).unread_buffers == ()


# --------------------------------------------------------------------------- the class of chains


def fc() -> nn.Module:
    return nn.Linear(4, 4)


def linear(*parts: nn.Module | str) -> nn.Module:
    made = [fc() if part == "L" else nn.ReLU() if part == "R" else part for part in parts]
    return nn.Sequential(*made)


def test_relu_chains() -> None:
    chains = [
        linear("L"), linear("L", "R", "L"), linear(nn.Flatten(), "L", "R", "L", "R", "L"),
        linear("L", "R", nn.Dropout(), "L"), NETWORKS["mlp"][0](),
        Net(lambda net, x: net.a(F.relu(net.b(x.view(len(x), -1)))), a=fc(), b=fc()),
    ]  # fmt: skip
    others = [
        linear("L", "L"), linear("L", "R"), linear("R", "L"), linear("L", nn.GELU(), "L"),
        linear("L", "R", "R", "L"), linear("L", nn.BatchNorm1d(4), "R", "L"), FunctionalMlp(),
        linear("L", nn.Flatten(), "R", "L"), CaffeLeNet(), linear(nn.Flatten()),
        Net(lambda net, x: net.a(F.relu(net.a(x))), a=fc()),
        Net(lambda net, x: net.a(x) + x, a=fc()),
        Net(lambda net, x: net.a(x / 255), a=fc()),
    ]  # fmt: skip
    assert [layer_view(net).relu_chain for net in chains] == [True] * len(chains)
    assert [layer_view(net).relu_chain for net in others] == [False] * len(others)


def chain_and(**parts: nn.Module) -> nn.Module:
    """Linear, ReLU, Linear; `parts` are left out of forward."""
    return Net(lambda net, x: net.b(F.relu(net.a(x))), a=fc(), b=fc(), **parts)


def test_a_relu_chain_is_of_all_its_layers_and_of_no_others() -> None:
    """Whoever reads the matrices of a chain off `layers` multiplies all of them, in order."""
    headed = Net(lambda net, x: net.lm_head(F.relu(net.a(x))), a=fc(), lm_head=fc())
    sideways = Net(lambda net, x: (net.c(x), net.b(F.relu(net.a(x))))[1], a=fc(), b=fc(), c=fc())
    tied, hidden = chain_and(), chain_and()
    tied.b.weight = tied.a.weight
    bias = hidden.a.bias.detach().clone()
    del hidden.a.bias
    hidden.a.register_buffer("bias", bias)  # computed with, but no parameter
    unused = [chain_and(c=nn.Linear(4, 4)), chain_and(c=nn.Conv2d(1, 2, 3))]
    for net in (headed, sideways, tied, hidden, *unused):
        assert not layer_view(net).relu_chain

    backwards = Net(lambda net, x: net.a(F.relu(net.b(x))), a=fc(), b=fc())
    spare = chain_and(norm=nn.BatchNorm1d(3))  # no layer: nobody multiplies by it
    shared = chain_and()
    shared.b.bias = shared.a.bias
    for net, names in ((backwards, ["b", "a"]), (spare, ["a", "b"]), (shared, ["a", "b"])):
        view = layer_view(net)
        assert view.relu_chain and [layer.module for layer in view.layers] == names


# --------------------------------------------------------------------------- tracing


def test_data_dependent_control_flow_is_opaque() -> None:
    net = Net(
        lambda net, x: net.b(net.a(x)) if x.sum() > 0 else net.b(x),
        a=nn.Linear(4, 4), b=nn.Linear(4, 2), norm=nn.BatchNorm1d(4),
    )  # fmt: skip
    view = layer_view(net)
    assert "control flow" in view.opaque_reason and "\n" not in view.opaque_reason
    assert view.groups == () and not view.relu_chain and view.unread_buffers == ()
    assert [layer.name for layer in view.layers] == ["a.weight", "b.weight"]
    assert len(view.tensors) == len(net.state_dict())
    assert builtins.len is PLAIN_LEN


def test_a_buffer_is_never_read_while_tracing() -> None:
    """Its value belongs to the weights: a branch on it is opaque, a number from it unknown."""
    parts = {"a": nn.Linear(4, 4), "b": nn.Linear(4, 2)}
    branching = Net(lambda net, x: net.b(net.a(x)) if net.flag > 0 else net.b(x), **parts)
    branching.register_buffer("flag", torch.ones(()))
    assert "control flow" in layer_view(branching).opaque_reason
    scaling = Net(lambda net, x: net.b(net.a(x) * net.scale.item()), **parts)
    scaling.register_buffer("scale", torch.ones(()))
    assert not layer_view(scaling).groups[0].renumberable


def test_hooks_and_replaced_forwards_are_not_looked_through() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net[1].register_forward_hook(lambda module, args, output: output.flip(1))
    assert not layer_view(net).groups[0].renumberable
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net[1].forward = lambda x: x.flip(1)
    assert not layer_view(net).groups[0].renumberable
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net.register_forward_hook(lambda module, args, output: output.flip(1))
    assert "hooks" in layer_view(net).opaque_reason

    class Flipping(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flip(1))

    net = nn.Sequential(nn.Linear(3, 4), Flipping(4, 2))
    assert not layer_view(net).groups[0].renumberable


ODD_MODULES = {
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))),
    "data parallel": lambda: nn.DataParallel(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))),
    "without forward": lambda: nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.Linear(4, 2)}),
    "lazy": lambda: nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2)),
    "spectral": lambda: nn.Sequential(spectral_norm(nn.Linear(3, 4)), nn.Linear(4, 2)),
    "encoder": lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2), nn.Linear(4, 2)),
    "recurrent": lambda: nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 2)),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("name", ODD_MODULES)
def test_odd_modules_raise_nothing_and_nothing_is_claimed(name: str) -> None:
    net = ODD_MODULES[name]()
    view = layer_view(net)
    assert not any(group.renumberable for group in view.groups)
    assert [t.name for t in view.tensors] == list(net.state_dict())


class WithOptions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None, features: bool = False) -> Tensor:
        x = F.relu(self.a(x * torch.ones(1)))
        if mask is not None:
            x = x.flip(1)
        if self.training:
            x = x.flip(1)
        return x if features else self.b(x)


def test_optional_arguments_keep_their_defaults_and_the_module_is_left_alone() -> None:
    net = WithOptions()
    net.a.eval()
    before, attributes = [m.training for m in net.modules()], set(vars(net))
    view = layer_view(net)
    assert view.groups[0].renumberable  # as in evaluation
    assert [m.training for m in net.modules()] == before == [True, False, True]
    assert set(vars(net)) == attributes


@pytest.mark.parametrize("name", NETWORKS)
def test_the_view_depends_on_the_architecture_alone(name: str) -> None:
    build, _ = NETWORKS[name]
    view = layer_view(build())
    with torch.device("meta"):
        skeleton = build()
    assert layer_view(skeleton) == view == layer_view(randomised(build, 5)) == layer_view(build())
