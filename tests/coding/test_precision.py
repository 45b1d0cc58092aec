"""The search for precisions: never worse than its start, exact where it promises, repeatable."""

import pytest
import torch
from coded_networks import specs_of

from prunecert.coding import decode_network, encode_network
from prunecert.coding.precision import (
    FINE,
    HOPELESS,
    MANY_TENSORS,
    MATRIX_LADDER,
    VECTOR_LADDER,
    search_precision,
)
from prunecert.coding.quantize import quantize
from prunecert.models.loading import TensorSpec

N = 60_000


def sparse(seed, shape, density=0.2):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < density, values, 0)


def network():
    """Two matrices and two vectors to quantise; a ternary layer, a counter and indices to keep."""
    generator = torch.Generator().manual_seed(9)
    return {
        "a": sparse(0, (20, 30)),
        "a.bias": sparse(1, (20,), 1.0),
        "b": sparse(2, (10, 20)),
        "b.bias": sparse(3, (10,), 1.0),
        "ternary": torch.randint(-1, 2, (15, 15), generator=generator) * 0.173,
        "indices": torch.randint(0, 10**6, (300,), generator=generator),
        "count": torch.tensor(12345),
        "dead": torch.zeros(5, 5),
    }


class Task:
    """Errors grow with the distance from the given weights; the bound charges errors and bits."""

    def __init__(self, tensors, price_of_bits=1e-5):
        self.given, self.price = tensors, price_of_bits
        self.bits, self.seen = [], []

    def count_errors(self, tensors):
        self.seen.append(tensors)
        lost = sum(
            float((tensors[n].double() - t.double()).pow(2).sum()) for n, t in self.given.items()
        )
        return min(round(20 * lost), N)

    def bound_of(self, errors, bits):
        self.bits.append(bits)
        return errors / N + self.price * bits


def search(tensors, task, slots=None, **options):
    slots = specs_of(tensors) if slots is None else slots
    return search_precision(tensors, slots, [], task.count_errors, task.bound_of, **options)


def tried_bounds(tensors, task):
    """The bound of every network that was looked at; the first question was whether to look."""
    again = Task(tensors, task.price)
    return [
        again.bound_of(again.count_errors(seen), bits)
        for seen, bits in zip(task.seen, task.bits[1:], strict=True)
    ]


def test_never_worse_than_its_start_nor_than_any_rung():
    tensors = network()
    task = Task(tensors)
    best = search(tensors, task)
    tried = tried_bounds(tensors, task)
    assert best.bound == min(tried)
    assert best.bound < tried[0]  # the start, FINE everywhere: there was something to gain
    assert set(best.precisions) == {"a", "b", "a.bias", "b.bias"}
    for name, precision in best.precisions.items():
        ladder = VECTOR_LADDER if name.endswith("bias") else MATRIX_LADDER
        assert precision in (FINE, *ladder)


def test_what_is_returned_is_what_was_measured():
    tensors = network()
    best = search(tensors, Task(tensors))
    for name, precision in best.precisions.items():
        expected, choice = quantize(tensors[name], precision)
        assert torch.equal(best.tensors[name], expected)
        assert best.choices[name] == choice
    slots = specs_of(tensors)
    coded = encode_network(best.tensors, slots, [], choices=best.choices)
    decoded = decode_network(coded.data, slots, [])
    assert all(torch.equal(decoded.tensors[n], best.tensors[n]) for n in tensors)


def test_the_bits_it_weighs_are_the_bits_of_the_file():
    """Up to one flush and what two adaptive mode flags cost; integer tensors included."""
    tensors = network()
    task = Task(tensors)
    best = search(tensors, task)
    weighed = (best.bound - task.count_errors(best.tensors) / N) / task.price
    coded = encode_network(best.tensors, specs_of(tensors), [], choices=best.choices)
    assert weighed == pytest.approx(coded.code.bits, abs=100)
    assert coded.code.bits > 300 * 20  # the indices alone


def test_small_codebooks_and_integers_are_left_exactly_as_they_are():
    tensors = network()
    best = search(tensors, Task(tensors))
    for name in ("ternary", "indices", "count", "dead"):
        assert best.tensors[name] is tensors[name]
        assert name not in best.choices
        assert name not in best.precisions


def test_nothing_to_quantise():
    tensors = {n: t for n, t in network().items() if n in ("ternary", "count", "dead")}
    best = search(tensors, Task(tensors))
    assert best.precisions == {}
    assert all(best.tensors[n] is t for n, t in tensors.items())


def test_hopeless_networks_come_back_as_they_are():
    """When a faultless network of one-bit weights would have a bound above HOPELESS."""
    tensors = network()
    task = Task(tensors, price_of_bits=1.0)
    best = search(tensors, task)
    assert task.seen == []  # not evaluated once
    assert (best.precisions, best.choices) == ({}, {})
    assert list(best.tensors) == list(tensors)
    assert all(best.tensors[n] is t for n, t in tensors.items())
    assert best.bound >= HOPELESS


def test_a_network_at_the_edge_of_hope_is_searched():
    tensors = network()
    first = Task(tensors, price_of_bits=0.0)
    search(tensors, first)
    one_bit_each = first.bits[0]
    for price, hopeless in ((HOPELESS * 1.001, True), (HOPELESS * 0.999, False)):
        task = Task(tensors, price / one_bit_each)
        search(tensors, task, rounds=0)
        assert (task.seen == []) is hopeless


def test_it_is_deterministic_and_leaves_its_arguments():
    tensors = network()
    before = {n: t.clone() for n, t in tensors.items()}
    results = [search(tensors, Task(tensors)) for _ in range(2)]
    assert results[0].bound == results[1].bound
    assert results[0].precisions == results[1].precisions
    assert all(torch.equal(results[0].tensors[n], results[1].tensors[n]) for n in tensors)
    assert all(torch.equal(tensors[n], before[n]) for n in tensors)


def test_tied_tensors_follow_their_first_name():
    tensors = {"a": sparse(0, (20, 30)), "tied": None, "bias": sparse(1, (20,), 1.0)}
    tensors["tied"] = tensors["a"]
    slots = specs_of(tensors)
    slots[1] = TensorSpec("tied", (20, 30), torch.float32, alias_of="a")
    task = Task(tensors)
    best = search(tensors, task, slots)
    assert "tied" not in best.precisions
    assert all(torch.equal(seen["tied"], seen["a"]) for seen in task.seen)
    assert torch.equal(best.tensors["tied"], best.tensors["a"])


def test_dear_bits_are_saved_and_cheap_bits_are_spent():
    tensors = {n: t for n, t in network().items() if n[0] in "ab"}
    results = [search(tensors, Task(tensors, price)) for price in (1e-9, 1e-4)]
    errors = [Task(tensors).count_errors(r.tensors) for r in results]
    bits = [
        encode_network(r.tensors, specs_of(tensors), [], choices=r.choices).code.bits
        for r in results
    ]
    assert errors[0] < errors[1]
    assert bits[0] > bits[1]


def test_each_step_is_announced_and_many_tensors_are_searched_together():
    steps = []
    tensors = {f"m{i}": sparse(i, (4, 6), 0.5) for i in range(MANY_TENSORS + 1)}
    task = Task(tensors)
    best = search(tensors, task, on_step=lambda: steps.append(1))
    assert len(steps) == len(task.seen) == 1 + 2 * len(MATRIX_LADDER)  # no tensor on its own
    assert len(set(best.precisions.values())) == 1
    assert best.bound == min(tried_bounds(tensors, task))
    fewer = {name: tensors[name] for name in list(tensors)[:2]}
    task = Task(fewer)
    search(fewer, task, rounds=1)
    rungs = len(MATRIX_LADDER)  # of which the two tensors may already stand on one
    assert len(task.seen) in (1 + 4 * rungs, 1 + 4 * rungs - 2)
