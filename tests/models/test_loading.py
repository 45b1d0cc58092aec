"""From a spec to a module; outputs; the plain view of pruned, parametrized and tied modules."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from prunecert.models.loading import (
    load_model,
    outputs,
    plain,
    skeleton,
    tensor_specs,
)
from prunecert.types import InputError

MODEL_FILE = """
from torch import nn
from helper_beside_it import WIDTH

def build():
    import late_helper
    return nn.Sequential(nn.Linear(4, WIDTH), nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 3))

def text():
    return "no module"

def broken():
    raise RuntimeError("first line\\nsecond line")

number = 3
"""


@pytest.fixture
def model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("helper_beside_it", "late_helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "helper_beside_it.py").write_text("WIDTH = 5\n")
    (tmp_path / "late_helper.py").write_text("")
    path = tmp_path / "net.py"
    path.write_text(MODEL_FILE)
    return path


# --------------------------------------------------------------------------- specs


def test_zoo_name() -> None:
    loaded = load_model("mlp:6-5-4", seed=3)
    assert loaded.origin == "zoo"
    assert loaded.sha256 == hashlib.sha256(b"mlp:6-5-4").hexdigest()
    assert loaded.spec == "mlp:6-5-4"
    assert not any(part.training for part in loaded.module.modules())


def test_function_in_a_file(model_file: Path) -> None:
    path_before, state = list(sys.path), torch.get_rng_state()
    loaded = load_model(f"{model_file}:build")
    assert sys.path == path_before
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.origin == "python"
    assert loaded.sha256 == hashlib.sha256(MODEL_FILE.encode() + b":build").hexdigest()
    assert next(loaded.module.parameters()).shape == (5, 4)
    assert not any(part.training for part in loaded.module.modules())
    again = load_model(f"{model_file}:build").module.state_dict()
    for name, tensor in loaded.module.state_dict().items():
        assert torch.equal(tensor, again[name])


def test_a_file_rewritten_at_once_is_read_anew(model_file: Path) -> None:
    first = load_model(f"{model_file}:build")
    model_file.write_text(MODEL_FILE.replace("Linear(4,", "Linear(7,"))  # same length, same second
    second = load_model(f"{model_file}:build")
    assert next(second.module.parameters()).shape == (5, 7)
    assert second.sha256 != first.sha256


def test_function_in_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text("from torch import nn\nmake = lambda: nn.Linear(2, 3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = load_model("some_package.nets:make")
    assert loaded.origin == "python"
    text = (package / "nets.py").read_bytes()
    assert loaded.sha256 == hashlib.sha256(text + b":make").hexdigest()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("missing", "has no function 'missing'"),
        ("number", "has no function 'number'"),
        ("text", "returned a str, expected an nn.Module"),
        ("broken", "calling it failed: RuntimeError: first line$"),
    ],
)
def test_bad_functions(model_file: Path, function: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as info:
        load_model(f"{model_file}:{function}")
    assert str(model_file) in str(info.value)
    assert "\n" not in str(info.value)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_model(f"{tmp_path}/absent.py:build")
    with pytest.raises(InputError, match="name its function too"):
        load_model(f"{tmp_path}/absent.py")
    (tmp_path / "wrong.py").write_text("def (")
    path_before = list(sys.path)
    with pytest.raises(InputError, match="cannot import .*wrong.py: SyntaxError"):
        load_model(f"{tmp_path}/wrong.py:build")
    assert sys.path == path_before
    with pytest.raises(InputError, match="cannot import .*nets: ModuleNotFoundError"):
        load_model("no_such_package_anywhere.nets:make")


@pytest.mark.parametrize("spec", ["", "lenet", "mlp:abc", "mpl:784-10", ":x"])
def test_other_specs_get_the_zoo_answer(spec: str) -> None:
    with pytest.raises(InputError, match=r"lenet-300-100|positive integers"):
        load_model(spec)


# --------------------------------------------------------------------------- Hugging Face

BERT = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 20,
    "max_position_embeddings": 12,
    "num_labels": 3,
}


def folder_with(folder: Path, config: dict[str, object]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_hugging_face_folder(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = folder_with(tmp_path / "bert", BERT)
    loaded = load_model(str(folder))
    assert loaded.origin == "huggingface"
    assert type(loaded.module).__name__ == "BertForSequenceClassification"
    assert loaded.sha256 == hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    assert not loaded.module.training
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        assert outputs(loaded.module, batch).shape == (2, 3)
        again = load_model(str(folder)).module
        assert torch.equal(outputs(again, batch), outputs(loaded.module, batch))


def test_code_in_a_hugging_face_folder_is_not_run(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    trace = tmp_path / "ran"
    hostile = {
        "architectures": ["Net"],
        "model_type": "hostile",
        "auto_map": {"AutoConfig": "code.Config"},
    }
    folder = folder_with(tmp_path / "hostile", hostile)
    (folder / "code.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    with pytest.raises(InputError, match="not a usable Hugging Face folder") as info:
        load_model(str(folder))
    assert "\n" not in str(info.value)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["pipeline", "os", "BertConfig", "NoSuchModel", None])
def test_architecture_must_be_a_model_class(tmp_path: Path, name: str | None) -> None:
    pytest.importorskip("transformers")
    folder = folder_with(tmp_path / "bert", {**BERT, "architectures": name and [name]})
    with pytest.raises(InputError, match=r"config.json: architectures\[0\] is"):
        load_model(str(folder))


def test_folder_without_config_and_uncached_hub_id(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match=r"config.json: no such file"):
        load_model(str(tmp_path))
    with pytest.raises(InputError, match="nor a model in the local cache"):
        load_model("no-such-organisation/no-such-model")


def test_missing_extra_says_how_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'prunecert\[hf\]'"):
        load_model(str(folder_with(tmp_path / "bert", BERT)))


# --------------------------------------------------------------------------- outputs


class Takes(nn.Module):
    """Adds two named inputs; also takes them in one dict, by the name `features`."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + 2 * b


class TakesDict(nn.Module):
    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return features["a"] + 2 * features["b"]


class Returns(nn.Module):
    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> object:
        return self.value


class WithLogits:
    def __init__(self, logits: object) -> None:
        self.logits = logits


def test_outputs_of_tensor_and_dict() -> None:
    a, b = torch.ones(2, 3), torch.full((2, 3), 5.0)
    assert torch.equal(outputs(Takes(), {"a": a, "b": b}), a + 2 * b)
    assert torch.equal(outputs(TakesDict(), {"a": a, "b": b}), a + 2 * b)
    assert torch.equal(outputs(nn.Identity(), a), a)
    assert torch.equal(outputs(Returns(WithLogits(b)), a), b)


@pytest.mark.parametrize(
    "value",
    [
        None,
        (torch.ones(2, 3),),
        {"logits": torch.ones(2, 3)},
        WithLogits(None),
        torch.ones(2),
        torch.ones(2, 1),
        torch.ones(2, 4, 3),
    ],
)
def test_outputs_of_another_form_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="the model returned"):
        outputs(Returns(value), torch.ones(2, 3))


# --------------------------------------------------------------------------- the plain view


def small() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def test_skeleton_in_order() -> None:
    module = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)).half()
    assert [(s.name, s.shape, s.dtype, s.alias_of) for s in skeleton(module)] == [
        ("0.weight", (2, 4), torch.float16, None),
        ("0.bias", (2,), torch.float16, None),
        ("1.weight", (2,), torch.float16, None),
        ("1.bias", (2,), torch.float16, None),
        ("1.running_mean", (2,), torch.float16, None),
        ("1.running_var", (2,), torch.float16, None),
        ("1.num_batches_tracked", (), torch.int64, None),
    ]


def test_skeleton_names_ties_and_only_ties() -> None:
    flat = torch.arange(24.0)
    module = nn.ModuleDict({k: nn.Linear(4, 3, bias=False) for k in "abcd"})
    module["c"].weight = module["a"].weight
    module["b"].weight = nn.Parameter(flat[:12].view(3, 4))  # same storage, other elements
    module["d"].weight = nn.Parameter(flat[12:].view(3, 4))
    for specs in (skeleton(module), tensor_specs(module)):
        assert {s.name: s.alias_of for s in specs} == {
            "a.weight": None,
            "b.weight": None,
            "c.weight": "a.weight",
            "d.weight": None,
        }


def test_empty_tensors_are_not_ties() -> None:
    module = nn.Module()
    module.register_buffer("x", torch.empty(0))
    module.register_buffer("y", torch.empty(0))
    assert [s.alias_of for s in skeleton(module)] == [None, None]


def test_plain_applies_and_removes_pruning_masks() -> None:
    module = small()
    before = skeleton(module)
    prune.random_unstructured(module[0], "bias", amount=2)
    prune.l1_unstructured(module[0], "weight", amount=10)
    prune.l1_unstructured(module[0], "weight", amount=0.5)  # a container of two methods
    x = torch.randn(5, 4)
    want = module(x)
    result = plain(module)
    assert torch.equal(result(x), want)
    assert skeleton(module) == before
    assert int((result[0].weight == 0).sum()) == 10 + 7
    assert not result[0]._forward_pre_hooks
    assert prune.is_pruned(module)  # the original is as it was
    assert torch.equal(module(x), want)


def test_plain_applies_and_removes_parametrizations() -> None:
    module = small()
    before = skeleton(module)
    parametrizations.weight_norm(module[0])
    parametrizations.spectral_norm(module[2])
    with torch.no_grad():
        module[0].parametrizations.weight.original0.mul_(3.0)
    module.eval()
    x = torch.randn(5, 4)
    want = module(x)
    for state in (module, module.train()):  # reading spectral_norm while training would move it
        result = plain(state)
        assert torch.equal(result(x), want)
        assert skeleton(state) == before
        assert "parametrizations" not in str(list(result.state_dict()))
    assert torch.equal(module.eval()(x), want)  # the original is as it was
    assert hasattr(module[0], "parametrizations")


def test_plain_shares_nothing_with_the_original() -> None:
    module = small()
    result = plain(module)
    with torch.no_grad():
        result[0].weight.zero_()
    assert bool(module[0].weight.any())
    assert module.training and not result.training


def test_a_built_in_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    """A run called like its model leaves such a folder, with a config.json in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lenet-300-100").mkdir()
    (tmp_path / "lenet-300-100" / "config.json").write_text("{}")
    assert load_model("lenet-300-100").origin == "zoo"
