"""Ways to a false certificate that were found by attacking the tool, each refused since."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunecert.api import architecture, certify, measure
from prunecert.api.ladder import Pruning, rung
from prunecert.api.networks import Network, network_of
from prunecert.api.posteriors import LOG_FIELD
from prunecert.api.samples import open_source, sample_of
from prunecert.data.text import seeded_text
from prunecert.types import InputError

ROWS = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 2, (300,), generator=torch.Generator().manual_seed(1))
MIRRORED = (ROWS.flip(0), LABELS.flip(0))  # the same rows, stored in another order


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 2)


def with_variances(module: nn.Module, **log) -> Network:
    network = network_of(module)
    names = [name for name, _ in module.named_parameters()]
    variances = {"exponents": dict.fromkeys(names, 20), "prior_exponent": 20}
    return Network(network.architecture, network.tensors, "Q", log={LOG_FIELD: variances, **log})


@pytest.mark.parametrize("method", ["train-and-holdout", "code-or-holdout"])
def test_a_holdout_that_repeats_the_training_rows(method):
    with pytest.raises(InputError, match="rows of test.* equal rows of"):
        certify(linear(), ((ROWS, LABELS), MIRRORED), method=method)


def test_a_prior_made_from_rows_that_stand_in_the_sample_again():
    source = open_source(((torch.cat([ROWS, MIRRORED[0]]), torch.cat([LABELS, MIRRORED[1]])),) * 2)
    whole = sample_of(source, "train", "train")
    used = {"origin": whole.origin, "split": "train", "start": 0, "stop": 300}
    used |= {"sample": "train[0:300]", "inputs_sha256": ""}
    network = with_variances(linear(), trained_on=[used])
    with pytest.raises(InputError, match="equal rows of"):
        certify(network, source, method="single-draw", prior=network)


def test_a_prior_of_which_nothing_is_known_has_no_default_sample():
    network = with_variances(linear())
    with pytest.raises(InputError, match="no run log says"):
        certify(network, ((ROWS, LABELS), MIRRORED), method="single-draw", prior=network)


class OfTheBatch(nn.Module):
    """Every row is given the class of its batch's mean; through a gate that may be shut."""

    def __init__(self, gate: float) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)
        self.gate = nn.Parameter(torch.tensor([gate]))

    def forward(self, x):
        mixed = x.mean(0, keepdim=True).expand_as(x)
        return self.fc(torch.where(self.gate != 0, mixed, x))


def test_losses_that_depend_on_the_batch():
    with pytest.raises(InputError, match="change with the rest of its batch"):
        certify(OfTheBatch(1.0), (ROWS, LABELS), method="bounded-loss", loss="brier")


@pytest.mark.parametrize("method", ["single-draw", "pac-bayes-kl"])
def test_a_gate_that_opens_when_weights_are_drawn(method):
    network = with_variances(OfTheBatch(0.0))
    with pytest.raises(InputError, match="change with the rest of its batch"):
        certify(network, (ROWS, LABELS), method=method, prior=network, draws=3, sample="train")


class Remembers(nn.Module):
    """Counts what it has seen in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen += len(x)
        return self.fc(x)


def test_losses_of_a_network_that_changes_while_it_is_evaluated():
    with pytest.raises(InputError, match="evaluation changes the model's 'seen'"):
        certify(Remembers(), (ROWS, LABELS), method="bounded-loss", loss="brier")


class OneLargeScore(OfTheBatch):
    def forward(self, x):
        return super().forward(x) + (x[:, :1] == ROWS[0, 0]) * torch.tensor([1e9, 0.0])


def test_one_large_score_does_not_hide_the_others():
    with pytest.raises(InputError, match="change with the rest of its batch"):
        certify(OneLargeScore(1.0), (ROWS, LABELS), method="holdout")


def test_rows_that_chose_the_weights_are_in_the_run_log():
    """SNIP reads labels: the rows it scored on are no hold-out afterwards."""
    built = architecture("mlp:64-16-10")
    network = network_of(built.module)
    dense = Network(built, network.tensors, "dense")
    scored = rung(dense, 0.5, Pruning("snip"), sample=sample_of("digits", "test[:300]", "train"))
    with pytest.raises(InputError, match="trained on test"):
        certify(scored, "digits", method="holdout")


# --------------------------------------------------------------------------- language


class Speaks(nn.Module):
    """Scores of a fixed distribution, but for what `cheat` makes of them."""

    def __init__(self, cheat) -> None:
        super().__init__()
        self.scores, self.cheat = nn.Parameter(torch.zeros(256)), cheat

    def forward(self, tokens):
        scores = self.scores.expand(*tokens.shape, 256).clone()
        return self.cheat(tokens, scores)


def looks_ahead(start: int, large: float = 0.0):
    def cheat(tokens, scores):
        following = torch.cat([tokens[:, 1:], tokens[:, :1]], 1)
        scores[:, start:] += 20 * nn.functional.one_hot(following, 256)[:, start:]
        scores[:, 0, 10] -= large
        return scores

    return cheat


def by_length(tokens, scores):
    scores[:, :, 97] += 20.0 * (tokens.shape[1] < 1024)
    return scores


def one_place_of_short_rows(tokens, scores):
    return scores if tokens.shape[1] == 1024 else scores[:, :1]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "long.txt"
    short = seeded_text(1, 120).replace(b"\n", b" ")
    lines = (short[i : i + 90] for i in range(0, 1800, 60))
    file.write_bytes(b"\n".join(lines) + b"\n")
    return str(file)


@pytest.mark.parametrize(
    "cheat",
    [looks_ahead(0), looks_ahead(40), looks_ahead(1, 1e9), by_length, one_place_of_short_rows],
)
def test_scores_that_know_more_than_the_tokens_before(text, cheat):
    with pytest.raises(InputError, match="later tokens|earlier tokens"):
        certify(Speaks(cheat), text)


def test_a_vocabulary_that_lacks_bytes_of_new_documents(text):
    with pytest.raises(InputError, match="expected at least 256"):
        certify(architecture("gpt:1-8-2-24-128").module, text)


def test_a_text_is_not_measured_as_images_are(text):
    with pytest.raises(InputError, match="a text is measured by"):
        measure(architecture("gpt:1-8-2-24").module, text)
