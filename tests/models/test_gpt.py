"""The small language model: its arithmetic, its name, and what of it is pruned."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from prunecert.models.gpt import GPT, centre_tokens
from prunecert.models.layers import layer_view
from prunecert.models.loading import load_model, tensor_specs
from prunecert.models.tokens import token_outputs
from prunecert.models.zoo import build, zoo_code, zoo_spec
from prunecert.pruning import prunable_names
from prunecert.types import CodeError, InputError

SPEC = "gpt:2-8-2-16-32"


def some_tokens(rows: int, length: int, vocabulary: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, vocabulary, (rows, length), generator=generator)


def written_out(w: dict[str, torch.Tensor], tokens: list[int], heads: int) -> torch.Tensor:
    """Scores (T, V) of one document, place by place, from the published formulas."""
    width = w["wte.weight"].shape[1]
    size = width // heads
    x = torch.stack([w["wte.weight"][t] + w["wpe.weight"][i] for i, t in enumerate(tokens)])
    blocks = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blocks."))

    def norm(v: torch.Tensor, name: str) -> torch.Tensor:
        return layer_norm(v, (width,), w[f"{name}.weight"], w[f"{name}.bias"])

    def times(v: torch.Tensor, name: str) -> torch.Tensor:
        return v @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    for block in (f"blocks.{i}" for i in range(blocks)):
        q, k, v = times(norm(x, f"{block}.norm1"), f"{block}.attention.qkv").split(width, dim=1)
        mixed = torch.zeros_like(x)
        for t in range(len(tokens)):
            for h in range(heads):
                own = slice(h * size, (h + 1) * size)
                match = torch.stack([q[t, own] @ k[s, own] for s in range(t + 1)])
                share = torch.exp(match / math.sqrt(size))
                mixed[t, own] = (share / share.sum()) @ v[: t + 1, own]
        x = x + times(mixed, f"{block}.attention.project")
        inner = gelu(times(norm(x, f"{block}.norm2"), f"{block}.feed.fc1"))
        x = x + times(inner, f"{block}.feed.fc2")
    return norm(x, "norm") @ w["wte.weight"].T


def test_scores_are_the_written_formula():
    module = build(SPEC).double()
    tokens = some_tokens(3, 11)
    with torch.no_grad():
        for parameter in module.parameters():  # far from the symmetric start
            parameter.add_(
                torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)), alpha=0.3
            )
        w = dict(module.state_dict())
        expected = torch.stack([written_out(w, row.tolist(), 2) for row in tokens])
        assert torch.allclose(module(tokens), expected, rtol=0, atol=1e-9)


def test_no_score_reads_a_later_token():
    module, tokens = build(SPEC).eval(), some_tokens(2, 12)
    with torch.no_grad():
        scores = module(tokens)
        for cut in range(1, 12):
            changed = tokens.clone()
            changed[:, cut:] = (changed[:, cut:] + 7) % 32
            again = module(changed)
            assert torch.allclose(again[:, :cut], scores[:, :cut], rtol=0, atol=1e-6)
            assert not torch.allclose(again[:, cut], scores[:, cut], rtol=0, atol=1e-6)


def test_what_lies_beyond_the_context_is_not_read():
    module, tokens = build(SPEC).eval(), some_tokens(2, 20)
    with torch.no_grad():
        assert torch.equal(module(tokens), module(tokens[:, :16]))
    assert token_outputs(module, tokens).shape == (2, 16, 32)


def test_centring_leaves_every_probability():
    module, tokens = build(SPEC).double(), some_tokens(4, 16)
    with torch.no_grad():
        module.get_parameter("wte.weight").add_(0.7)
        before = module(tokens).log_softmax(dim=2)
        centre_tokens(module)
        after = module(tokens).log_softmax(dim=2)
    assert torch.allclose(before, after, rtol=0, atol=1e-12)
    assert not module.get_parameter("wte.weight").detach().median(dim=0).values.any()


# --------------------------------------------------------------------------- names


def test_parameter_count():
    """Embeddings of tokens and places, 12 width² + 13 width a block (Kaplan et al. 2020, table 1,
    biases and norms added), the last norm; the head is the embedding."""
    count = sum(p.numel() for p in build("gpt:3-16-4-32").parameters())
    assert count == (256 + 32) * 16 + 3 * (12 * 16**2 + 13 * 16) + 2 * 16


@pytest.mark.parametrize(
    ("spec", "code"),
    [("gpt:2-32-2-64", (6, 2, 32, 2, 64, 256)), (SPEC, (6, 2, 8, 2, 16, 32))],
)
def test_name_and_code_are_each_others_inverse(spec, code):
    assert zoo_code(spec) == code
    assert zoo_spec(code) == spec
    loaded = load_model(spec)
    assert (loaded.origin, type(loaded.module)) == ("zoo", GPT)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("gpt:2-32-2", "as in gpt:2-32-2-64"),
        ("gpt:2-32-0-64", "as in gpt:2-32-2-64"),
        ("gpt:2-32-3-64", "3 heads do not divide a width of 32"),
        ("gpt:2-32-2-64-1", "vocabulary of at least 2"),
        ("gpt:2-32-2-64-256", "expected gpt:2-32-2-64"),  # one architecture, one name
        ("gpt:99-65536-2-64", "at most"),
        ("gpt:2-32-2-99999999", "at most"),
    ],
)
def test_bad_names_are_refused_in_words(spec, words):
    with pytest.raises(InputError, match=words):
        build(spec)


@pytest.mark.parametrize(
    "code",
    [(6,), (6, 2, 32, 2, 64), (6, 2, 32, 3, 64, 256), (6, 1, 2**20, 1, 1, 2), (6, 0, 2, 1, 1, 2)],
)
def test_codes_from_a_file_are_checked(code):
    with pytest.raises(CodeError, match="gpt"):
        zoo_spec(code)


# --------------------------------------------------------------------------- roles


def test_only_the_linear_weights_are_pruned():
    module = build(SPEC)
    linear = [
        f"blocks.{i}.{part}.weight"
        for i in range(2)
        for part in ("attention.qkv", "attention.project", "feed.fc1", "feed.fc2")
    ]
    view = layer_view(module)
    assert list(prunable_names(module)) == linear
    assert [role.name for role in view.tensors if role.prunable] == linear
    roles = {role.name: role.role for role in view.tensors}
    assert roles["wte.weight"] == roles["wpe.weight"] == "embedding"
    assert roles["norm.weight"] == roles["blocks.0.norm1.bias"] == "norm"


def test_no_unit_is_renumbered_and_every_tensor_is_its_own():
    module = build(SPEC)
    assert layer_view(module).groups == ()
    assert all(spec.alias_of is None for spec in tensor_specs(module))


def test_other_scores_are_refused():
    class Flat(torch.nn.Module):
        def forward(self, tokens):
            return tokens.double()

    with pytest.raises(InputError, match="documents, places, vocabulary"):
        token_outputs(Flat(), some_tokens(2, 5))
