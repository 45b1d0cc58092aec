"""Certificates of tickets from seeded initial weights: what they are of, what they cost."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from prunecert.api import verify
from prunecert.api.certification import certify_code, located
from prunecert.api.networks import LOG_KEY, Network, architecture, network_of, read_log
from prunecert.api.runs import Recipe, fit
from prunecert.api.samples import sample_of
from prunecert.api.seeded import (
    DIFFERENCE,
    SUPERMASK,
    certify_seeded,
    near,
    seeded_initial,
    ticket,
    unseeded,
)
from prunecert.api.seeded.initial import seeded_weights
from prunecert.certificate import dump
from prunecert.types import InputError

SEED = 11
MODEL = architecture("mlp:64-40-10")
WEIGHTS = ("fc1.weight", "fc2.weight")


def drawn(seed, index, count):
    """Odd integers straight from hashlib."""
    stream = hashlib.shake_128(f"prunecert initial {seed} {index}".encode()).digest(2 * count)
    words = np.frombuffer(stream, "<u2").astype(int)
    return 2 * (words % 2**15) + 1 - 2**15


def trained_from(masks, sample, steps):
    """The initial weights where the masks keep them, trained."""
    start = {n: t * masks.get(n, 1) for n, t in seeded_initial(MODEL, SEED).items()}
    module = MODEL.build(start).train().requires_grad_()
    fit(module, sample, Recipe(steps, batch_size=32), masks=masks)
    tensors = {n: t.detach() * masks.get(n, 1) for n, t in module.state_dict().items()}
    log = {"trained_on": [located(sample)], "initial": {"seed": SEED}}
    return Network(MODEL, tensors, "level", log=log)


@pytest.fixture(scope="module")
def train():
    return sample_of("digits", "train", "train")


@pytest.fixture(scope="module")
def sample():
    return sample_of("digits", "train", "bound")


@pytest.fixture(scope="module")
def level(train):
    """The largest sixth of the weights after two epochs, trained again for five."""
    whole = {n: seeded_initial(MODEL, SEED)[n] != 0 for n in WEIGHTS}
    dense = trained_from(whole, train, "2ep")
    sizes = {n: dense.tensors[n].abs() for n in WEIGHTS}
    least = torch.cat([s.flatten() for s in sizes.values()]).quantile(5 / 6)
    masks = {n: s > least for n, s in sizes.items()}
    return trained_from(masks, train, "5ep"), masks


@pytest.fixture(scope="module")
def issued(level, sample):
    return {
        form: certify_seeded(*level, sample, form=form, delta=0.05)
        for form in (SUPERMASK, DIFFERENCE)
    }


# ----------------------------------------------------------------------------- initial values


@pytest.mark.parametrize("seed", [0, 65535])
def test_initial_weights_are_what_the_decoder_draws(seed):
    start = seeded_initial(MODEL, seed)
    for index, spec in enumerate(MODEL.specs):
        assert start[spec.name].shape == spec.shape and start[spec.name].dtype == spec.dtype
        if spec.name not in seeded_weights(MODEL):
            assert spec.name.endswith("bias") and not start[spec.name].any()
            continue
        units = drawn(seed, index, math.prod(spec.shape)).reshape(spec.shape)
        exponent = seeded_weights(MODEL)[spec.name]
        assert np.array_equal(start[spec.name].double().numpy(), units * 2.0**exponent)
        end, he = 32767 * 2.0**exponent, math.sqrt(6 / spec.shape[1])
        assert 2**-0.5 <= end / he <= 2**0.5
    coded = MODEL.encode(start, seed=seed)
    decoded = MODEL.decode(coded.data)
    assert decoded.seed == seed
    assert all(torch.equal(decoded.tensors[n], t) for n, t in start.items())
    assert coded.code.parts["values"] <= 2 * (8 + 1 + 3)


@pytest.mark.parametrize("seed", [-1, 65536])
def test_seeds_that_no_file_can_name_are_refused(seed):
    with pytest.raises(InputError, match="seed"):
        seeded_initial(MODEL, seed)


def test_convolutions_normalisations_and_what_has_no_rule():
    """Whatever a module in memory holds: its normalisations start afresh, its embedding stays."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 3, groups=1), nn.BatchNorm2d(3), nn.Flatten())
    module.add_module("last", nn.Linear(6, 2))
    module.add_module("table", nn.Embedding(4, 2))
    for tensor in module.state_dict().values():
        tensor.add_(1 if tensor.dtype == torch.long else torch.rand_like(tensor))
    model = architecture(module)
    start = seeded_initial(model, 5)
    assert seeded_weights(model) == {"0.weight": -16, "last.weight": -15}  # √(1/3), 1
    assert [start[f"1.{name}"].tolist() for name in ("weight", "bias")] == [[1.0] * 3, [0.0] * 3]
    assert [start[f"1.running_{name}"].tolist() for name in ("mean", "var")] == [[0.0] * 3, [1] * 3]
    assert start["1.num_batches_tracked"] == 0
    assert torch.equal(start["table.weight"], module.table.weight)
    assert unseeded(model) == ("table.weight",)
    assert (module[1].weight > 1).all()  # what was given is as it was


def test_a_residual_network_starts_from_a_seed():
    model = architecture("resnet-20")
    assert unseeded(model) == ()
    logits = model.build(seeded_initial(model, 1))(torch.rand(2, 3, 32, 32))
    assert logits.isfinite().all() and logits.std() > 0.01


# ----------------------------------------------------------------------------- the supermask form


def test_a_ticket_is_masks_over_initial_weights(level):
    network, masks = level
    found = ticket(network, masks)
    start = seeded_initial(MODEL, SEED)
    for name, mask in masks.items():
        assert torch.equal(found.tensors[name], torch.where(mask, start[name], 0))
    assert found.initial_seed == SEED and found.log["trained_on"] == network.log["trained_on"]


def test_a_supermask_costs_its_masks(sample):
    """Of random masks the enumerative length is the least; the rest is the header (dialect and
    seed: 39 bits, architecture), 12 bits a tensor, length and flush."""
    generator = torch.Generator().manual_seed(3)
    shapes = {spec.name: spec.shape for spec in MODEL.specs if len(spec.shape) > 1}
    masks = {n: torch.rand(shape, generator=generator) < 0.4 for n, shape in shapes.items()}
    start = Network(MODEL, seeded_initial(MODEL, SEED), "n", log={"initial": {"seed": SEED}})
    network = ticket(start, masks)
    issued = certify_seeded(network, masks, sample, form=SUPERMASK, delta=0.05)
    decoded = MODEL.decode(issued.files["network.bin"])
    assert all(torch.equal(decoded.tensors[n], t) for n, t in network.tensors.items())
    counts = [(m.numel(), int(m.sum())) for m in masks.values()]
    least = sum(math.log2(math.comb(size, kept)) for size, kept in counts)
    bits = issued.record.code_bits
    assert least < bits <= 1.03 * least + 39 + 60 + 2 * 12 + 80
    assert issued.record.details["bits"]["values"] <= 2 * 12


# ----------------------------------------------------------------------------- the difference form


def test_the_difference_form_contains_the_supermask(level, issued):
    """Here the search sees the whole sample, so its choice is the certificate's."""
    small, moved_too = (issued[form].record for form in (SUPERMASK, DIFFERENCE))
    assert moved_too.risk_bound <= small.risk_bound
    assert moved_too.errors < small.errors  # trained weights are worth their bits


def test_weights_that_did_not_move_give_the_supermask(level, sample, monkeypatch):
    network, masks = level
    still = ticket(network, masks)
    small = certify_seeded(still, masks, sample, form=SUPERMASK, delta=0.05)
    found = certify_seeded(still, masks, sample, form=DIFFERENCE, delta=0.05)
    assert found.risk_bound <= small.risk_bound  # other short values may do better
    monkeypatch.setattr(near, "MATRIX_LADDER", ())
    found = certify_seeded(still, masks, sample, form=DIFFERENCE, delta=0.05)
    assert found.files["network.bin"] == small.files["network.bin"]


@dataclass
class Judge:
    """Stands for a Trial: the distance from these tensors, or the bits."""

    aim: dict[str, torch.Tensor]
    of_bits: float = 0.0

    def count_errors(self, tensors):
        return sum(float(((t - self.aim[n]).double() ** 2).sum()) for n, t in tensors.items())

    def bound_of(self, errors, bits):
        return self.of_bits * bits + (1 - self.of_bits) * errors


DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def searched(level, of_bits, dtype):
    model = replace(MODEL, module=copy.deepcopy(MODEL.module).to(dtype))
    aim = {name: tensor.to(dtype) for name, tensor in level[0].tensors.items()}
    judge = Judge(aim, of_bits)
    return model, aim, near.moved(model, aim, SEED, judge, 0.0, lambda: None)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_nearest_values_are_within_half_a_step(level, dtype, monkeypatch):
    monkeypatch.setattr(near, "HOPELESS", math.inf)
    monkeypatch.setattr(near, "MATRIX_LADDER", ())
    model, aim, found = searched(level, 0.0, dtype)
    for name, exponent in seeded_weights(model).items():
        kept = aim[name] != 0
        assert torch.equal(found.tensors[name] != 0, kept)
        away = (found.tensors[name].double() - aim[name].double())[kept].abs().max()
        rounding = torch.finfo(dtype).eps * aim[name].abs().max().double()
        assert away <= 2.0**exponent * 1024 / 2 + rounding
    decoded = model.decode(model.encode(found.tensors, found.choices, SEED).data)
    assert all(torch.equal(decoded.tensors[n], t) for n, t in found.tensors.items())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_where_only_bits_count_nothing_moves(level, dtype, monkeypatch):
    monkeypatch.setattr(near, "HOPELESS", math.inf)
    model, aim, found = searched(level, 1.0, dtype)
    start = seeded_initial(model, SEED)
    for name, tensor in found.tensors.items():
        kept = (aim[name] != 0) & (name in seeded_weights(model))
        assert torch.equal(tensor, torch.where(kept, start[name], 0))
    decoded = model.decode(model.encode(found.tensors, found.choices, SEED).data)
    assert all(torch.equal(decoded.tensors[n], t) for n, t in found.tensors.items())


@pytest.mark.parametrize("step", [0, 3 << 15, 1 << 15, 1 << 13, 1 << 10])
def test_bits_are_those_of_the_file(level, step, monkeypatch):
    monkeypatch.setattr(near, "HOPELESS", -1.0)  # the network that the search starts from
    monkeypatch.setattr(near, "FINELY", near.Near(step))
    model, _, found = searched(level, 1.0, torch.float32)
    code = model.encode(found.tensors, found.choices, SEED).code
    assert (
        0 <= code.parts["values"] - found.bound <= 4 * 3 + 1
    )  # four tensors name their value code


# ----------------------------------------------------------------------------- certificates


@pytest.mark.parametrize("form", [SUPERMASK, DIFFERENCE])
def test_both_forms_verify_and_a_changed_seed_does_not(issued, form, tmp_path):
    place = issued[form].write(tmp_path / "c")
    assert verify(place).valid
    decoded = MODEL.decode(issued[form].files["network.bin"])
    assert decoded.seed == SEED
    other = MODEL.encode(seeded_initial(MODEL, SEED + 1), seed=SEED + 1).data
    (place / "network.bin").write_bytes(other)
    assert not verify(place).valid
    document = json.loads((place / "certificate.json").read_text())
    document["network"]["sha256"] = hashlib.sha256(other).hexdigest()
    (place / "certificate.json").write_bytes(dump(document))
    assert not verify(place).valid


def test_the_values_form_is_as_ever_and_says_the_same(level, issued, sample):
    without = replace(level[0], log={"trained_on": level[0].log["trained_on"]})
    values, alone = (certify_code(n, sample, delta=0.05) for n in (level[0], without))
    assert values.files == alone.files and values.record == alone.record
    for form in (SUPERMASK, DIFFERENCE):
        record = issued[form].record
        assert (record.method, record.object) == (values.record.method, values.record.object)
        assert record.assumptions == values.record.assumptions
        assert record.data == values.record.data


# ----------------------------------------------------------------------------- refusals


def test_what_no_seed_decides_is_refused(level, sample):
    network, masks = level
    for form in (SUPERMASK, DIFFERENCE):
        with pytest.raises(InputError, match="names no seed"):
            certify_seeded(replace(network, log={}), masks, sample, form=form, delta=0.05)
    table = network_of(nn.Sequential(nn.Embedding(4, 2), nn.Flatten(), nn.Linear(128, 10)))
    table = replace(table, log={"initial": {"seed": 1}})
    with pytest.raises(InputError, match=r"supermask form is not available: '0\.weight'"):
        certify_seeded(table, {}, sample, form=SUPERMASK, delta=0.05)


def test_what_does_not_fit_is_refused(level, sample):
    network, masks = level
    name = WEIGHTS[0]
    for wrong, said in (
        ({name: torch.ones(3, 3) > 0}, "shape"),
        ({"nowhere": torch.ones(3) > 0}, "no such tensor"),
        ({name: torch.zeros_like(masks[name])}, "keeps none"),
    ):
        with pytest.raises(InputError, match=said):
            certify_seeded(network, wrong, sample, form=SUPERMASK, delta=0.05)
    with pytest.raises(InputError, match="form 'values'"):
        certify_seeded(network, masks, sample, form="values", delta=0.05)


@pytest.mark.parametrize("entry", [{"seed": 70000}, {"seed": -1}, {"seed": "1"}, {}, 3, None])
def test_a_log_with_another_entry_is_no_log(entry):
    assert read_log({LOG_KEY: json.dumps({"initial": entry})}) == {}


def test_a_log_with_a_seed_is_read():
    log = read_log({LOG_KEY: json.dumps({"initial": {"seed": 5}})})
    assert Network(MODEL, {}, "n", log=log).initial_seed == 5
    assert Network(MODEL, {}, "n").initial_seed is None
