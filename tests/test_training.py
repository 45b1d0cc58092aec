"""The training loop: closed forms for its arithmetic, bit equality for resuming."""

import math

import pytest
import torch
from torch import Tensor, nn

from prunecert.pruning import apply_mask, mask_of
from prunecert.training import SCHEDULES, Steps, TrainState, train
from prunecert.types import InputError


def blobs(n: int = 90) -> tuple[Tensor, Tensor]:
    """Three well separated classes in five dimensions, as bytes."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 3
    centres = torch.tensor([[200, 30, 30, 90, 9], [30, 200, 30, 90, 9], [30, 30, 200, 90, 9]])
    noise = torch.randint(0, 40, (n, 5), generator=g)
    return (centres[labels] + noise).to(torch.uint8), labels


def network(seed: int = 0) -> nn.Sequential:
    """Dropout reads the random state, batch normalisation has buffers."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )


def same_tensors(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def sum_of_outputs(outputs: Tensor, labels: Tensor, module: nn.Module) -> Tensor:
    return outputs.sum() / len(outputs)


# --------------------------------------------------------------------------- steps


@pytest.mark.parametrize(
    ("text", "iterations"), [("500it", 500), ("10ep", 40), ("10", 40), ("0it", 0), ("0ep", 0)]
)
def test_steps(text, iterations):
    steps = Steps.parse(text)
    assert steps.iterations(n=100, batch_size=32) == iterations  # four batches, the last of 4
    assert Steps.parse(str(steps)) == steps == Steps.parse(steps)


def test_an_epoch_of_full_batches_has_no_empty_one():
    assert Steps.parse("1ep").iterations(n=96, batch_size=32) == 3


@pytest.mark.parametrize("text", ["", "ep", "it", "-1it", "1.5ep", "10 ep", "10eps", "1e3", "ep10"])
def test_bad_steps(text):
    with pytest.raises(InputError, match="steps"):
        Steps.parse(text)


# --------------------------------------------------------------------------- what it computes


def test_it_learns():
    inputs, labels = blobs()
    module = network()
    log = train(module, inputs, labels, steps="30ep", batch_size=16)
    assert len(log.losses) == 30 * 6
    module.eval()
    assert torch.equal(module(inputs / 255).argmax(1), labels)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(("schedule", "total"), [("constant", 10), ("cosine", 5.5)])
def test_the_rates_add_up(schedule, total, optimizer):
    """A constant gradient of 1 on the bias: plain SGD and AdamW both move it by −Σ rates, which is
    rate·T, or rate·(T+1)/2 on the half cosine."""
    module = nn.Linear(2, 2)
    nn.init.zeros_(module.bias)
    inputs, labels = torch.zeros(20, 2), torch.zeros(20, dtype=torch.int64)
    train(
        module, inputs, labels, steps="5ep", batch_size=10, learning_rate=0.01, momentum=0,
        optimizer=optimizer, schedule=schedule, objective=sum_of_outputs,
    )  # fmt: skip
    assert module.bias.tolist() == pytest.approx([-0.01 * total] * 2, rel=1e-5)


def test_momentum_and_weight_decay_reach_the_optimizer():
    """Weight w, gradient λw: v ← μv + λw, w ← w − ηv."""
    module = nn.Linear(1, 2, bias=False)
    nn.init.ones_(module.weight)
    expected, velocity = 1.0, 0.0
    for _ in range(4):
        velocity = 0.5 * velocity + 0.2 * expected
        expected -= 0.1 * velocity
    train(
        module, torch.zeros(8, 1), torch.zeros(8, dtype=torch.int64), steps="4it", batch_size=8,
        learning_rate=0.1, momentum=0.5, weight_decay=0.2, schedule="constant",
    )  # fmt: skip
    assert module.weight.flatten().tolist() == pytest.approx([expected] * 2, rel=1e-6)


def test_every_epoch_sees_every_sample_once_in_an_order_of_its_own():
    def orders(seed: int) -> list[list[int]]:
        seen: list[int] = []

        def record(outputs: Tensor, labels: Tensor, module: nn.Module) -> Tensor:
            seen.extend(labels.tolist())
            return outputs.sum() * 0

        train(
            nn.Linear(1, 2), torch.zeros(50, 1), torch.arange(50), steps="3ep", batch_size=16,
            objective=record, seed=seed,
        )  # fmt: skip
        return [seen[i : i + 50] for i in (0, 50, 100)]

    epochs = orders(seed=0) + orders(seed=1)
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_it_trains_in_training_mode_and_puts_the_mode_back():
    inputs, labels = blobs(30)
    module = network().eval()
    train(module, inputs, labels, steps="2ep", batch_size=10)
    assert module[1].num_batches_tracked == 6  # batch normalisation counts in training mode only
    assert not module.training


def test_bytes_are_scaled_to_the_unit_interval():
    inputs, labels = blobs()
    from_bytes, from_floats = network(), network()
    train(from_bytes, inputs, labels, steps="2ep")
    train(from_floats, inputs.float() / 255, labels, steps="2ep")
    assert same_tensors(from_bytes.state_dict(), from_floats.state_dict())


def test_streamed_batches_equal_tensors_in_memory():
    inputs, labels = blobs(64)
    in_memory, streamed = network(), network()
    batches: dict[int, list[tuple[Tensor, Tensor]]] = {0: [], 1: []}

    def record(outputs: Tensor, targets: Tensor, module: nn.Module) -> Tensor:
        epoch = 0 if len(batches[0]) < 4 else 1
        batches[epoch].append((current[0].clone(), targets.clone()))
        return nn.functional.cross_entropy(outputs, targets)

    current: list[Tensor] = []
    hook = in_memory.register_forward_pre_hook(
        lambda _, args: current.__setitem__(slice(None), args)
    )
    train(in_memory, inputs, labels, steps="2ep", batch_size=16, objective=record)
    hook.remove()
    train(streamed, lambda epoch: batches[epoch], steps="2ep")  # lists have a length
    assert same_tensors(in_memory.state_dict(), streamed.state_dict())
    lazily = network()
    train(lazily, lambda epoch: iter(batches[epoch]), steps="8it")
    assert same_tensors(in_memory.state_dict(), lazily.state_dict())


class TakesKeywords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.layer(torch.cat([left, right], 1))


def test_dictionaries_of_inputs_go_to_the_module():
    module = TakesKeywords()
    before = module.layer.weight.detach().clone()
    batch = (
        {"left": torch.ones(4, 1), "right": torch.ones(4, 1)},
        torch.zeros(4, dtype=torch.int64),
    )
    train(module, lambda epoch: [batch], steps="2ep")
    assert not torch.equal(module.layer.weight, before)


# --------------------------------------------------------------------------- hooks, masks, states


def test_callbacks_see_every_step():
    inputs, labels = blobs(30)
    told, quantised = [], []
    module = network()
    log = train(
        module, inputs, labels, steps="2ep", batch_size=10,
        on_step=lambda step, total, loss: told.append((step, total, loss)),
        after_step=lambda m, step: quantised.append((m is module, step)),
    )  # fmt: skip
    assert told == [(step, 6, log.losses[step - 1]) for step in range(1, 7)]
    assert quantised == [(True, step) for step in range(1, 7)]


def test_masks_are_held():
    inputs, labels = blobs()
    module = network()
    g = torch.Generator().manual_seed(1)
    masks = {n: torch.rand(m.shape, generator=g) < 0.5 for n, m in mask_of(module).items()}
    train(module, inputs, labels, steps="5ep", weight_decay=0.01, masks=masks)
    assert all(torch.equal(mask_of(module)[n], m) for n, m in masks.items())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_masks_equal_masked_gradients_and_zeros_after_every_step(optimizer):
    """The same in the plainest way: no optimizer ever hears of a removed weight."""
    inputs, labels = blobs()
    held, by_hand = network(), network()
    g = torch.Generator().manual_seed(1)
    masks = {n: torch.rand(m.shape, generator=g) < 0.5 for n, m in mask_of(held).items()}
    apply_mask(by_hand, masks)
    for name, mask in masks.items():
        by_hand.get_parameter(name).register_hook(lambda grad, mask=mask: grad * mask)

    def run(module: nn.Module, **more) -> None:
        train(module, inputs, labels, steps="5ep", batch_size=16, weight_decay=0.01,
              optimizer=optimizer, **more)  # fmt: skip

    run(held, masks=masks)
    run(by_hand, after_step=lambda module, step: apply_mask(module, masks))
    assert same_tensors(held.state_dict(), by_hand.state_dict())


def test_checkpoints_are_the_tensors_at_that_step():
    inputs, labels = blobs(40)
    module, start = network(), network().state_dict()
    seen = {}

    def look(m: nn.Module, step: int) -> None:
        seen[step] = {k: v.clone() for k, v in m.state_dict().items()}

    log = train(
        module, inputs, labels, steps="3ep", batch_size=10, after_step=look,
        checkpoint_at=["0it", "5it", "2ep", "12it"],
    )  # fmt: skip
    assert list(log.checkpoints) == [0, 5, 8, 12]
    assert same_tensors(log.checkpoints[0], start)
    assert all(same_tensors(log.checkpoints[step], seen[step]) for step in (5, 8, 12))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop", [7, 12, 18])  # inside an epoch, at the end of one, the last step
def test_resumed_equals_uninterrupted_bit_for_bit(optimizer, stop):
    inputs, labels = blobs(70)
    masks = mask_of(network())
    masks["0.weight"][:, 2] = False

    def run(module: nn.Module, **more):
        return train(
            module, inputs, labels, steps="3ep", batch_size=12, optimizer=optimizer, seed=5,
            weight_decay=0.01, masks=masks, checkpoint_at=["3it", "15it"], **more,
        )  # fmt: skip

    straight = network()
    full_log = run(straight)
    states: list[TrainState] = []
    run(network(), on_checkpoint=states.append, checkpoint_every=stop)
    assert states[0].step == stop
    for _ in range(2):  # the state is not used up by resuming
        resumed = network(seed=99)
        log = run(resumed, resume=states[0])
        assert same_tensors(straight.state_dict(), resumed.state_dict())
        assert log.losses == full_log.losses
        assert list(log.checkpoints) == [3, 15]
        assert all(same_tensors(log.checkpoints[s], full_log.checkpoints[s]) for s in (3, 15))


@pytest.mark.parametrize("begin", [1, 4, 6, 9])  # six batches an epoch: inside and at its end
def test_training_from_a_checkpoint_equals_the_rest_of_the_run(begin):
    """SGD without momentum carries no state from step to step, nor does a network without dropout:
    the rest of a run then follows from its tensors, if rates and samples are those of its steps."""
    inputs, labels = blobs(70)

    def run(module: nn.Module, **more):
        return train(
            module, inputs, labels, steps="10it", batch_size=12, momentum=0, seed=5,
            on_step=lambda step, total, loss: told.append((step, total)), **more,
        )  # fmt: skip

    told: list[tuple[int, int]] = []
    straight = nn.Linear(5, 3)
    full = run(straight, checkpoint_at=[f"{begin}it", "9it"])
    told.clear()
    rewound = nn.Linear(5, 3)
    rewound.load_state_dict(full.checkpoints[begin])
    rest = run(rewound, begin=begin, checkpoint_at=[f"{begin}it", "9it"])
    assert same_tensors(straight.state_dict(), rewound.state_dict())
    assert rest.losses == full.losses[begin:]
    assert told == [(step, 10) for step in range(begin + 1, 11)]
    assert list(rest.checkpoints) == list(full.checkpoints)
    assert all(same_tensors(rest.checkpoints[s], full.checkpoints[s]) for s in full.checkpoints)


def test_a_lazy_stream_begins_behind_the_steps_done():
    seen = []

    def record(outputs: Tensor, labels: Tensor, module: nn.Module) -> Tensor:
        seen.append(labels.tolist())
        return outputs.sum() * 0

    def stream(epoch: int):
        return ((torch.zeros(2, 1), torch.tensor([epoch, i])) for i in range(3))

    train(nn.Linear(1, 2), stream, steps="8it", begin=4, objective=record)
    assert seen == [[1, 1], [1, 2], [2, 0], [2, 1]]


def test_a_run_that_begins_late_has_a_new_optimizer_and_resumes_bit_for_bit():
    inputs, labels = blobs(70)
    states: list[TrainState] = []

    def run(module: nn.Module, **more):
        return train(module, inputs, labels, steps="3ep", begin=7, batch_size=12, **more)

    straight, resumed = network(), network(seed=99)
    full = run(straight, on_checkpoint=states.append, checkpoint_every=5)
    assert [state.step for state in states] == [10, 15]
    for state in states:
        log = run(resumed, resume=state)
        assert same_tensors(straight.state_dict(), resumed.state_dict())
        assert log.losses == full.losses
        assert len(log.losses) == 18 - 7
    for wrong in (0, 8):
        with pytest.raises(InputError, match=f"begin: {wrong}, but the state"):
            train(
                network(), inputs, labels, steps="3ep", begin=wrong, batch_size=12,
                resume=states[0],
            )  # fmt: skip


def test_nothing_is_left_to_train_behind_the_last_step():
    inputs, labels = blobs(20)
    module, start = network(), network().state_dict()
    log = train(module, inputs, labels, steps="7it", begin=7, checkpoint_at=["7it"])
    assert log.losses == []
    assert same_tensors(log.checkpoints[7], start)
    assert same_tensors(module.state_dict(), start)


def test_a_lazy_stream_resumes_where_it_stopped():
    inputs, labels = blobs(48)
    rows = inputs / 255

    def stream(epoch: int):
        return ((rows[i : i + 8], labels[i : i + 8]) for i in range(epoch, 40, 8))

    straight, resumed = network(), network(seed=99)
    states: list[TrainState] = []
    train(straight, stream, steps="11it", on_checkpoint=states.append, checkpoint_every=7)
    train(resumed, stream, steps="11it", resume=states[0])
    assert same_tensors(straight.state_dict(), resumed.state_dict())


def test_the_seed_decides_and_the_global_state_is_put_back():
    inputs, labels = blobs()
    results = []
    for seed in (1, 1, 2):
        module = network()
        torch.manual_seed(len(results))
        before = torch.get_rng_state()
        train(module, inputs, labels, steps="2ep", seed=seed)
        assert torch.equal(before, torch.get_rng_state())
        results.append(module.state_dict())
    assert same_tensors(results[0], results[1])
    assert not torch.equal(results[0]["4.weight"], results[2]["4.weight"])


def test_an_interruption_passes_through_and_cleans_up():
    inputs, labels = blobs()
    module = network().eval()
    masks = {n: torch.zeros_like(m) for n, m in mask_of(module).items()}
    before = torch.get_rng_state()

    def interrupt(step: int, total: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(module, inputs, labels, steps="9it", masks=masks, on_step=interrupt)
    assert torch.equal(before, torch.get_rng_state())
    assert not module.training
    assert all(not p._post_accumulate_grad_hooks for p in module.parameters())


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": "ten"}, "steps 'ten'"),
        ({"optimizer": "adam"}, "sgd, adamw"),
        ({"schedule": "linear"}, ", ".join(SCHEDULES)),
        ({"checkpoint_at": ["9it"]}, "only 8"),
        ({"checkpoint_at": ["3it"], "begin": 4}, "checkpoint_at: 3 steps"),
        ({"begin": 9}, "begin: 9 steps, expected 0 to 8"),
        ({"begin": -1}, "begin: -1 steps"),
        ({"objective": lambda outputs, labels, module: outputs.sum() / 0}, "step 1: the loss is"),
    ],
)
def test_bad_requests(options, message):
    inputs, labels = blobs(64)
    with pytest.raises(InputError, match=message):
        train(nn.Linear(5, 3), inputs, labels, **{"steps": "8it", "momentum": 0.0} | options)


def test_bad_samples():
    inputs, labels = blobs(9)
    for wrong in ((inputs, labels[:8]), (inputs, None), (inputs[:0], labels[:0])):
        with pytest.raises(InputError, match="training sample"):
            train(nn.Linear(5, 3), *wrong, steps="1ep")
    with pytest.raises(InputError, match="500it"):
        train(nn.Linear(5, 3), lambda epoch: iter([(inputs / 255, labels)]), steps="1ep")
    once = iter([(inputs / 255, labels)])  # an iterator that is used up after its first epoch
    with pytest.raises(InputError, match="epoch 1 has no batches"):
        train(nn.Linear(5, 3), lambda epoch: once, steps="2it")


def test_cosine_ends_near_zero():
    assert SCHEDULES["cosine"](0.0) == 1
    assert math.isclose(SCHEDULES["cosine"](1.0), 0, abs_tol=1e-15)
