"""Supermasks: weights frozen to ±c of the seed, only scores trained, exact fractions kept."""

import hashlib
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from prunecert.api import architecture, certify, sample_of, verify
from prunecert.api.networks import open_network, read_log, with_log
from prunecert.api.runs import Recipe
from prunecert.api.supermasks import supermask_run
from prunecert.certificate import NETWORK
from prunecert.coding import decode_network
from prunecert.progress import quiet
from prunecert.supermask import Supermask, Ticket, default_learning_rate
from prunecert.training import train
from prunecert.types import InputError
from workshop import tree

MODEL = "mlp:64-100-10"
SIZES = {"fc1.weight": (100, 64), "fc2.weight": (10, 100)}
PLACE = {"fc1.weight": 0, "fc2.weight": 2}  # in the state dict; biases stand at 1 and 3
TOTAL = 100 * 64 + 10 * 100
TICKET = Ticket(0.05, seed=9)
RECIPE = Recipe("600it", batch_size=32, seed=9)


def signs(seed, index, count):
    digest = hashlib.shake_128(f"prunecert signs {seed} {index}".encode()).digest(count // 8 + 1)
    bits = [digest[i // 8] >> (i % 8) & 1 for i in range(count)]
    return torch.tensor([-1.0 if bit else 1.0 for bit in bits])


def digits():
    return sample_of("digits", "train", "train")


def run(folder, ticket=TICKET, recipe=RECIPE, stage=quiet):
    return supermask_run(architecture(MODEL), digits(), ticket, recipe, folder, stage)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("supermask") / "run"
    run(folder)
    return folder


@pytest.fixture(scope="module")
def network(trained):
    return open_network(trained / "model.safetensors", architecture(MODEL))


# ----------------------------------------------------------------------------- what is frozen


def assert_frozen(tensors, density, seed):
    """Every kept weight is ±c with the sign of the seed at its own place, c from its formula."""
    for name, shape in SIZES.items():
        weights = tensors[name].flatten()
        c = 2.0 ** round(math.log2(math.sqrt(2 / shape[1] / density)))
        expected = c * signs(seed, PLACE[name], math.prod(shape))
        kept = weights != 0
        assert weights[kept].equal(expected[kept])
        assert not weights[~kept].signbit().any()  # +0, which costs nothing
    assert not tensors["fc1.bias"].any() and not tensors["fc2.bias"].any()


@pytest.mark.parametrize("density", [0.012, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("seed", [0, 65535])
def test_before_training(density, seed):
    mask = Supermask(architecture(MODEL).module, Ticket(density, seed))
    tensors = mask.tensors()
    assert list(tensors) == list(architecture(MODEL).module.state_dict())
    assert_frozen(tensors, density, seed)
    assert sum(int((t != 0).sum()) for t in tensors.values()) == round(density * TOTAL)


def test_after_training(network):
    assert_frozen(network.tensors, TICKET.density, TICKET.seed)
    kept = {name: int((network.tensors[name] != 0).sum()) for name in SIZES}
    assert sum(kept.values()) == round(0.05 * TOTAL)


def test_the_forward_pass_is_that_of_the_tensors():
    model = architecture(MODEL)
    mask = Supermask(model.module, Ticket(0.2, 4))
    x = torch.rand(5, 64, generator=torch.Generator().manual_seed(0))
    assert mask(x).equal(model.build(mask.tensors())(x))


def test_layerwise_keeps_the_same_of_every_layer():
    mask = Supermask(architecture(MODEL).module, Ticket(0.1, 0, "layerwise"))
    assert {name: int(m.sum()) for name, m in mask.masks().items()} == {
        "fc1.weight": 640,
        "fc2.weight": 100,
    }


def test_of_equal_scores_the_earlier_is_kept():
    mask = Supermask(architecture(MODEL).module, Ticket(0.1))
    for scores in mask.scores().values():
        scores.data.fill_(-0.25)
    kept = mask.masks()["fc1.weight"].flatten()
    assert kept[:740].all() and not kept[740:].any()
    assert not mask.masks()["fc2.weight"].any()


def test_large_scores_of_either_sign_are_kept():
    mask = Supermask(architecture(MODEL).module, Ticket(2 / TOTAL))
    for scores in mask.scores().values():
        scores.data.fill_(0.1)
    mask.scores()["fc1.weight"].data[3, 5] = -2.0
    mask.scores()["fc2.weight"].data[1, 7] = 1.0
    found = [tuple(place) for m in mask.masks().values() for place in m.nonzero().tolist()]
    assert found == [(3, 5), (1, 7)]


def test_only_scores_are_trained_and_by_the_straight_through_gradient():
    """One linear layer: a score's gradient is weight · input · ∂loss/∂output, kept or not, with the
    score's sign."""
    layer = nn.Sequential(nn.Linear(6, 3))
    mask = Supermask(layer, Ticket(0.3, 2))
    (scores,) = (p for p in mask.parameters() if p.requires_grad)
    assert scores is mask.scores()["0.weight"]
    scores.data[0, 0] *= -1
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(1))
    weight_out = torch.rand(4, 3, generator=torch.Generator().manual_seed(2))
    (mask(x) * weight_out).sum().backward()
    frozen = math.sqrt(2 / 6 / 0.3)
    frozen = 2.0 ** round(math.log2(frozen)) * signs(2, 0, 18).reshape(3, 6)
    expected = frozen * (weight_out.T @ x) * scores.detach().sign()
    torch.testing.assert_close(scores.grad, expected)


def test_the_given_module_stays_as_it_was():
    module = architecture(MODEL).module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    mask = Supermask(module, TICKET)
    train(mask, torch.rand(20, 64), torch.arange(20) % 10, steps="3it", learning_rate=1.0)
    assert all(tensor.equal(before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_convolutions():
    mask = Supermask(architecture("lenet-5").module, Ticket(0.1, 1))
    assert [name for name, m in mask.masks().items() if m.dim() == 4] == [
        "conv1.weight",
        "conv2.weight",
    ]
    kernel = mask.tensors()["conv2.weight"].flatten()
    c = 2.0 ** round(math.log2(math.sqrt(2 / (20 * 25) / 0.1)))
    expected = c * signs(1, 2, kernel.numel())
    assert kernel[kernel != 0].equal(expected[kernel != 0])
    with torch.no_grad():
        assert mask(torch.rand(2, 1, 28, 28)).shape == (2, 10)


# ----------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("density", [0.0, -0.1, 1.01, math.nan])
def test_densities_out_of_range(density):
    with pytest.raises(InputError, match="density"):
        Ticket(density)


@pytest.mark.parametrize("seed", [-1, 65536])
def test_seeds_out_of_range(seed):
    with pytest.raises(InputError, match="65535"):
        Ticket(0.1, seed)


@pytest.mark.parametrize(
    ("scope", "message"), [("blobal", "global"), ("2:4", "omit"), ("7:8", "multiple")]
)
def test_scopes_that_do_not_fit(scope, message):
    with pytest.raises(InputError, match=message):
        Supermask(nn.Linear(6, 2), Ticket(0.875 if scope == "7:8" else 0.1, 0, scope))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), "1.weight"),
        (nn.Sequential(nn.ConvTranspose2d(1, 2, 3)), "0.weight"),
        (nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2)), "0.weight"),
    ],
)
def test_other_tensors_than_weights_and_biases(module, name):
    with pytest.raises(InputError, match=f"'{name}'") as error:
        Supermask(module, Ticket(0.5))
    assert "\n" not in str(error.value)


# ----------------------------------------------------------------------------- runs


def test_training_learns_a_mask(network):
    """Digits, 370 of 7,400 random weights kept: far better than the mask drawn at first."""
    model = architecture(MODEL)
    x, y = (torch.cat(parts) for parts in zip(*digits().batches(500), strict=True))

    def errors(tensors):
        return int((model.build(tensors)(x).argmax(1) != y).sum())

    first = errors(Supermask(model.module, TICKET).tensors())
    assert errors(network.tensors) < 0.25 * len(y) < first


def test_the_run_log_names_the_seed(network):
    assert network.sign_seed == TICKET.seed
    assert network.log["supermask"] == {"density": 0.05, "seed": 9, "scope": "global"}
    assert network.log["trained_on"][0]["sample"].startswith("train")
    rate = default_learning_rate("sgd", 0.05)
    assert network.log["recipe"]["learning_rate"] == rate


@pytest.mark.parametrize("ticket", [7, {}, {"seed": "9"}, {"seed": 65536}, {"seed": -1}, None])
def test_a_log_with_no_usable_seed_is_no_log(ticket):
    good = {"trained_on": [], "supermask": {"seed": 9}}
    assert read_log(with_log(good)) == good
    assert read_log(with_log(good | {"supermask": ticket})) == {}


class _Stopped(Exception):
    pass


def test_an_interrupted_run_ends_in_the_same_bytes(tmp_path, trained):
    from contextlib import contextmanager

    @contextmanager
    def stage(name, total):
        steps = iter(range(550))

        def tick(done):
            if next(steps, None) is None:
                raise _Stopped

        yield tick

    with pytest.raises(_Stopped):
        run(tmp_path / "a", stage=stage)
    assert set(tree(tmp_path / "a")) == {"config.json", "checkpoints/latest.pt"}
    run(tmp_path / "a")
    assert tree(tmp_path / "a") == tree(trained)
    first = (tmp_path / "a" / "model.safetensors").stat()
    run(tmp_path / "a")
    assert (tmp_path / "a" / "model.safetensors").stat() == first


@pytest.mark.parametrize("ticket", [Ticket(0.06, 9), Ticket(0.05, 8), Ticket(0.05, 9, "layerwise")])
def test_another_ticket_is_another_run(trained, ticket):
    with pytest.raises(InputError, match="another configuration"):
        run(trained, ticket)


# ----------------------------------------------------------------------------- certificates


@pytest.fixture(scope="module")
def issued(network):
    return certify(network, "digits")


def test_the_certificate_pays_for_the_mask_and_the_seed(issued, network):
    """From bytes: what is decoded is the network, and seeded where that is the shortest."""
    decoded = network.architecture.decode(issued.files[NETWORK])
    for name, tensor in decoded.tensors.items():
        assert int((tensor != 0).sum()) <= int((network.tensors[name] != 0).sum())
    assert issued.record.code_bits == 8 * (len(issued.files[NETWORK]) - len(b"prunecert/1\n"))
    plain = certify(replace(network, log={}), "digits")
    assert issued.record.code_bits <= plain.record.code_bits
    assert issued.record.errors == plain.record.errors


def test_verify_accepts(issued, tmp_path):
    issued.write(tmp_path / "CERT")
    verdict = verify(tmp_path / "CERT")
    assert verdict.valid, verdict.sentence


def test_a_seeded_file_is_what_certify_writes_where_units_have_no_order_to_gain(tmp_path):
    """Half of the weights kept: signs cost more than the freedom to renumber gives back."""
    dense = run(tmp_path / "run", Ticket(0.5, 3), Recipe("100it", batch_size=64, seed=3))
    issued = certify(
        open_network(tmp_path / "run" / "model.safetensors", dense.architecture), "digits"
    )
    decoded = decode_network(
        issued.files[NETWORK], dense.architecture.specs, dense.architecture.view.groups
    )
    assert decoded.seed == 3
    assert {c.values for c in decoded.choices.values()} - {None} == {"seeded"}
    plain = certify(replace(dense, log={}), "digits")
    nonzeros = sum(int((t != 0).sum()) for t in dense.tensors.values())
    assert plain.record.code_bits - issued.record.code_bits > 0.5 * nonzeros
    issued.write(tmp_path / "CERT")
    verdict = verify(tmp_path / "CERT")
    assert verdict.valid, verdict.sentence


@pytest.mark.parametrize("density", [1e-320, 1e-100, 1e-4])
def test_a_density_that_keeps_no_weight_is_refused(density):
    with pytest.raises(InputError, match="keeps none of 888 weights: expected at least 0.0011"):
        Supermask(architecture("mlp:64-12-10").module, Ticket(density))
