"""Weights files: what fits a model, what is refused, and how it is said."""

from __future__ import annotations

import copy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from prunecert.models.loading import plain
from prunecert.models.weights import apply_weights, load_weights
from prunecert.models.zoo import build
from prunecert.types import InputError

MLP = "mlp:4-6-3"


def same(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return list(given) == list(wanted) and all(
        given[k].dtype == wanted[k].dtype and torch.equal(given[k], wanted[k]) for k in wanted
    )


def in_both_formats(
    folder: Path, tensors: dict[str, Tensor]
) -> list[tuple[Path, dict[str, Tensor]]]:
    pickled, plain_file = folder / "w.pt", folder / "w.safetensors"
    torch.save(tensors, pickled)
    safetensors.torch.save_file(tensors, plain_file)
    return [(pickled, tensors), (plain_file, tensors)]


def written(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def refusal(path: Path, module: nn.Module | None = None) -> str:
    with pytest.raises(InputError) as info:
        load_weights(path, module or build(MLP))
    message = str(info.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


# --------------------------------------------------------------------------- reading


def test_both_formats_give_the_tensors_hash_and_metadata(tmp_path: Path) -> None:
    tensors = build(MLP, seed=1).state_dict()
    for path, want in in_both_formats(tmp_path, tensors):
        weights = load_weights(path, build(MLP))
        assert same(weights.tensors, want)
        assert weights.sha256 == sha256(path.read_bytes()).hexdigest()
        assert weights.notes == ()
        assert weights.metadata == {}
    safetensors.torch.save_file(tensors, tmp_path / "m.safetensors", {"origin": "here"})
    assert load_weights(tmp_path / "m.safetensors", build(MLP)).metadata == {"origin": "here"}


def test_order_is_the_models(tmp_path: Path) -> None:
    tensors = build(MLP, seed=1).state_dict()
    path = written(tmp_path / "w.pth", dict(reversed(tensors.items())))
    assert list(load_weights(path, build(MLP)).tensors) == list(tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_is_kept_and_evaluated_exactly_in_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    half = build(MLP, seed=1).to(dtype)
    path = written(tmp_path / "w.pt", half.state_dict())
    for module in (build(MLP), build(MLP).to(dtype)):
        weights = load_weights(path, module)
        assert same(weights.tensors, half.state_dict())
        evaluated = apply_weights(module, weights.tensors)
        for name, tensor in evaluated.state_dict().items():
            assert tensor.dtype is torch.float32
            assert torch.equal(tensor.double(), half.state_dict()[name].double())
        assert not evaluated.training
        assert evaluated(torch.ones(2, 4)).dtype is torch.float32


def test_float64_is_kept_and_the_rounding_is_said(tmp_path: Path) -> None:
    double = build(MLP, seed=1).double()
    with torch.no_grad():
        double.fc1.weight[0, 0] = 1 / 3
    path = written(tmp_path / "w.pt", double.state_dict())
    weights = load_weights(path, build(MLP))
    assert weights.tensors["fc1.weight"][0, 0].item() == 1 / 3
    assert weights.notes == ("4 float64 tensors are rounded to float32 for evaluation",)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "net.body."])
def test_one_prefix_is_removed_and_said(tmp_path: Path, prefix: str) -> None:
    tensors = build(MLP, seed=1).state_dict()
    longer = {prefix + name: tensor for name, tensor in tensors.items()}
    for path, _ in in_both_formats(tmp_path, longer):
        weights = load_weights(path, build(MLP))
        assert same(weights.tensors, tensors)
        assert weights.notes == (f"prefix '{prefix}' removed from every key",)


def test_one_prefix_is_added_and_said(tmp_path: Path) -> None:
    tensors = build(MLP, seed=1).state_dict()
    wrapped = nn.ModuleDict({"module": build(MLP)})
    weights = load_weights(written(tmp_path / "w.pt", tensors), wrapped)
    assert same(weights.tensors, {f"module.{k}": v for k, v in tensors.items()})
    assert weights.notes == ("prefix 'module.' added to every key",)


def test_prefix_where_the_model_has_one_of_its_own(tmp_path: Path) -> None:
    """All names of a one-layer model begin with 'fc1.': only 'module.' is too much."""
    tensors = build("mlp:4-3", seed=1).state_dict()
    longer = {f"module.{name}": tensor for name, tensor in tensors.items()}
    weights = load_weights(written(tmp_path / "w.pt", longer), build("mlp:4-3"))
    assert same(weights.tensors, tensors)
    assert weights.notes == ("prefix 'module.' removed from every key",)


def test_a_prefix_on_some_keys_only_or_another_name_is_refused(tmp_path: Path) -> None:
    tensors = build(MLP, seed=1).state_dict()
    mixed = {("module." if "fc2" in k else "") + k: v for k, v in tensors.items()}
    message = refusal(written(tmp_path / "mixed.pt", mixed))
    assert "'fc2.weight' (3, 6) of the model is missing (it has 'module.fc2.weight')" in message
    other = {k.replace("fc1", "layer"): v for k, v in build("mlp:4-3").state_dict().items()}
    message = refusal(written(tmp_path / "other.pt", other), build("mlp:4-3"))
    assert "'fc1.weight' (3, 4) of the model is missing (it has 'layer.weight')" in message


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_checkpoints_are_unwrapped_and_it_is_said(tmp_path: Path, key: str) -> None:
    tensors = build(MLP, seed=1).state_dict()
    checkpoint = {"epoch": 3, key: tensors, "optimizer": {"lr": 0.1}}
    weights = load_weights(written(tmp_path / "w.pt", checkpoint), build(MLP))
    assert same(weights.tensors, tensors)
    assert weights.notes == (f"read from the entry '{key}' of the checkpoint",)


def test_checkpoint_with_two_networks_is_refused(tmp_path: Path) -> None:
    tensors = build(MLP).state_dict()
    path = written(tmp_path / "w.pt", {"model": tensors, "state_dict": tensors})
    assert "several networks (state_dict, model)" in refusal(path)


# --------------------------------------------------------------------------- pruned, parametrized


def pruned_mlp() -> nn.Module:
    module = build(MLP, seed=1)
    prune.l1_unstructured(module.get_submodule("fc1"), "weight", amount=13)
    prune.random_unstructured(module.get_submodule("fc2"), "bias", amount=1)
    return module


@pytest.mark.parametrize("prefix", ["", "module."])
def test_masks_of_torch_prune_are_applied(tmp_path: Path, prefix: str) -> None:
    pruned = pruned_mlp()
    state = {prefix + name: tensor for name, tensor in pruned.state_dict().items()}
    assert prefix + "fc1.weight_orig" in state
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(2))
    for path, _ in in_both_formats(tmp_path, state):
        for module in (build(MLP), pruned_mlp()):  # the model itself may be pruned or not
            weights = load_weights(path, module)
            assert list(weights.tensors) == list(build(MLP).state_dict())
            assert int((weights.tensors["fc1.weight"] == 0).sum()) == 13
            assert int((weights.tensors["fc2.bias"] == 0).sum()) == 1
            assert torch.equal(apply_weights(module, weights.tensors)(x), pruned(x))
            zeros = weights.tensors["fc1.weight"][weights.tensors["fc1.weight"] == 0]
            assert not torch.signbit(zeros).any()


def test_broken_masks_are_refused(tmp_path: Path) -> None:
    state = dict(pruned_mlp().state_dict())
    half = {**state, "fc1.weight_mask": torch.full((6, 4), 0.5)}
    message = refusal(written(tmp_path / "half.pt", half))
    assert "mask 'fc1.weight_mask' holds values other than 0 and 1" in message
    wide = {**state, "fc1.weight_mask": torch.ones(1, 4)}
    message = refusal(written(tmp_path / "wide.pt", wide))
    assert "'fc1.weight_mask' has shape (1, 4), the model has (6, 4)" in message
    del state["fc1.weight_mask"]
    message = refusal(written(tmp_path / "alone.pt", state))
    assert "'fc1.weight_orig' has no 'fc1.weight_mask'" in message


def normed_mlp(scale: float) -> nn.Module:
    module = build(MLP, seed=1)
    parametrizations.weight_norm(module.get_submodule("fc1"))
    with torch.no_grad():
        module.get_parameter("fc1.parametrizations.weight.original0").mul_(scale)
    return module


def test_parametrizations_of_the_module_are_applied(tmp_path: Path) -> None:
    trained = normed_mlp(2.5)
    path = written(tmp_path / "w.pt", trained.state_dict())
    module = normed_mlp(1.0)
    weights = load_weights(path, module)
    assert same(weights.tensors, dict(plain(trained).state_dict()))
    assert weights.notes == ("weights were computed from their parametrizations",)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(2))
    assert torch.equal(apply_weights(module, weights.tensors)(x), trained(x))
    missing = "'fc1.weight' (6, 4) of the model is missing (it has 'fc1.parametrizations"
    assert missing in refusal(path)  # a model without them cannot read them
    plain_file = written(tmp_path / "plain.pt", build(MLP, seed=4).state_dict())
    assert same(load_weights(plain_file, module).tensors, build(MLP, seed=4).state_dict())


def test_masks_inside_a_parametrized_file(tmp_path: Path) -> None:
    trained = normed_mlp(2.5)
    prune.l1_unstructured(trained.get_submodule("fc2"), "weight", amount=5)
    path = written(tmp_path / "w.pt", trained.state_dict())
    weights = load_weights(path, normed_mlp(1.0))
    assert list(weights.tensors) == list(build(MLP).state_dict())
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(2))
    assert torch.equal(apply_weights(build(MLP), weights.tensors)(x), trained(x))


def test_missing_num_batches_tracked_is_tolerated_and_said(tmp_path: Path) -> None:
    tensors = build("resnet-20", seed=1).state_dict()
    short = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    weights = load_weights(written(tmp_path / "w.pt", short), build("resnet-20"))
    assert same(weights.tensors, tensors)  # at the start the default is the value: 0
    assert len(weights.notes) == 1 and weights.notes[0].startswith("19 missing num_batches_tracked")


# --------------------------------------------------------------------------- tied weights


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 5, bias=False)
        self.middle = nn.Linear(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.embed(x)))


@pytest.mark.parametrize("dropped", [None, "embed.weight", "head.weight"])
def test_tied_weights_stay_tied(tmp_path: Path, dropped: str | None) -> None:
    tensors = {name: torch.randn_like(t) for name, t in Tied().state_dict().items()}
    tensors["head.weight"] = tensors["embed.weight"]
    stored = {name: t for name, t in tensors.items() if name != dropped}
    module = Tied().half()
    weights = load_weights(written(tmp_path / "w.pt", stored), module)
    assert same(weights.tensors, tensors)
    assert weights.tensors["head.weight"] is weights.tensors["embed.weight"]
    result = apply_weights(module, weights.tensors)
    assert result.get_parameter("head.weight") is result.get_parameter("embed.weight")
    assert torch.equal(result.get_parameter("head.weight"), tensors["embed.weight"])


def test_tied_weights_that_differ_are_refused(tmp_path: Path) -> None:
    tensors = copy.deepcopy(Tied().state_dict())
    tensors["head.weight"] = tensors["head.weight"] + 1
    message = refusal(written(tmp_path / "w.pt", tensors), Tied())
    assert "'head.weight' and 'embed.weight' are one tensor in the model but differ" in message


def test_both_of_two_tied_names_missing(tmp_path: Path) -> None:
    tensors = {k: v for k, v in Tied().state_dict().items() if k.startswith("middle")}
    message = refusal(written(tmp_path / "w.pt", tensors), Tied())
    assert "'embed.weight' (5, 3) of the model is missing" in message


# --------------------------------------------------------------------------- applying


def test_apply_weights_leaves_the_module_alone() -> None:
    module, given = build(MLP, seed=1), build(MLP, seed=2).state_dict()
    before = copy.deepcopy(module.state_dict())
    result = apply_weights(module, given)
    assert same(result.state_dict(), given)
    assert same(module.state_dict(), before)
    assert module.training and not result.training
    with torch.no_grad():
        result.get_parameter("fc1.weight").zero_()
    assert bool(given["fc1.weight"].any())


@pytest.mark.parametrize("shape", [(1,), (6, 1), ()])
def test_apply_weights_does_not_broadcast(shape: tuple[int, ...]) -> None:
    tensors = {**build(MLP).state_dict(), "fc1.bias": torch.ones(shape)}
    with pytest.raises(InputError, match=r"'fc1.bias': the model has \(6,\), given shape"):
        apply_weights(build(MLP), tensors)
    del tensors["fc1.bias"]
    with pytest.raises(InputError, match=r"'fc1.bias': the model has \(6,\), given nothing"):
        apply_weights(build(MLP), tensors)
