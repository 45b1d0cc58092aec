"""What a search tries next: a function of what it has seen, within its time, nothing twice."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from prunecert.api.attempts import (
    ROUNDS,
    WIDTH,
    Attempt,
    Settings,
    best_of,
    next_settings,
    read_attempts,
    table,
)

FIRST = Settings("trained", epochs=3, learning_rate=0.03, seed=7)


def attempt(made: Settings, **outcome) -> Attempt:
    usual = {
        "nonzeros": 40, "errors": 10, "n": 1000, "code_bits": 500, "delta": 0.05,
        "risk_bound": 0.3, "training_seconds": 1.0, "seconds": 1.5, "network_sha256": "ab" * 32,
    }  # fmt: skip
    return Attempt(made, **(usual | outcome))


# --------------------------------------------------------------------------- the table

OUTCOMES = st.fixed_dictionaries(
    {
        "errors": st.integers(0, 1000),
        "code_bits": st.integers(1, 10**7),
        "risk_bound": st.floats(0, 1),
        "training_seconds": st.floats(0, 1e6),
        "delta": st.floats(1e-9, 0.5),
    }
)
SETTINGS = st.builds(
    Settings,
    st.sampled_from(["trained", "as given", "refined", "fine-tuned"]),
    levels=st.integers(0, 127),
    price=st.floats(0, 1e3),
    units=st.integers(0, 500),
    learning_rate=st.floats(1e-9, 1),
    seed=st.integers(0, 2**32),
)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.builds(lambda s, o: attempt(s, **o), SETTINGS, OUTCOMES), max_size=4))
def test_a_table_comes_back(tmp_path_factory, attempts):
    file = tmp_path_factory.mktemp("t") / "attempts.csv"
    file.write_bytes(table(attempts))
    assert read_attempts(file) == attempts
    assert file.read_bytes().count(b"\n") == 1 + len(attempts)


DAMAGES = {
    "cut": lambda data: data[:-90],
    "another column": lambda data: data.replace(b"price", b"prize"),
    "no number": lambda data: data.replace(b"0.3", b"x"),
    "not text": lambda data: b"\xff\xfe" + data,
    "zero bytes": lambda data: bytes(len(data)),
    "one huge field": lambda data: data.replace(b"trained,", b"t" * 200_000 + b","),
    "a lost line": lambda data: data.replace(b"\n", b"", 1),
    "an open quote": lambda data: data.replace(b"trained", b'"trained', 1),
    "a short line": lambda data: data + b"trained,1\n",
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_table_is_none(damage, tmp_path):
    file = tmp_path / "attempts.csv"
    data = table([attempt(FIRST), attempt(replace(FIRST, seed=8))])
    assert damage(data) != data
    file.write_bytes(damage(data))
    assert read_attempts(file) == []


def test_no_table_is_none(tmp_path):
    assert read_attempts(tmp_path / "nowhere.csv") == []
    assert read_attempts(tmp_path) == []  # a folder


def test_every_number_of_the_settings_is_in_the_name_of_their_folder():
    others = [
        replace(FIRST, **{name: value})
        for name, value in {
            "origin": "refined", "levels": 2, "price": 6.5, "units": 4, "epochs": 4,
            "learning_rate": 0.031, "seed": 8,
        }.items()
    ]  # fmt: skip
    assert len({s.name for s in (FIRST, *others)}) == 1 + len(astuple(FIRST))
    assert FIRST.name == replace(FIRST).name


def test_the_best_one():
    """The smallest bound; then the fewest errors, then the fewest bits."""
    rows = [
        attempt(replace(FIRST, seed=i), risk_bound=bound, errors=errors, code_bits=bits)
        for i, (bound, errors, bits) in enumerate(
            [(0.4, 1, 9), (0.3, 50, 9), (0.3, 40, 99), (0.3, 40, 98), (0.9, 0, 1)]
        )
    ]
    assert best_of(rows).settings.seed == 3


# --------------------------------------------------------------------------- what comes next


def outcome(made: Settings, world: int, epoch: float, other: float) -> Attempt:
    """A candidate's fate in one of many worlds: its settings and the world decide it."""
    digest = hashlib.sha256(f"{world} {made}".encode()).digest()
    chance = [byte / 255 for byte in digest]
    training, rest = made.epochs * epoch, other * (0.5 + chance[0] / 2)
    return attempt(
        made,
        risk_bound=1.0 if chance[1] < 0.2 else chance[2],
        errors=int(1000 * chance[3]),
        code_bits=int(1e5 * chance[4]),
        training_seconds=training,
        seconds=training + rest,
    )


def test_time_spent_elsewhere_counts():
    """What refining took is time, too."""
    refined = attempt(replace(FIRST, origin="refined"), seconds=86.0)
    trained = outcome(FIRST, 0, 0.01, 0.1)
    assert next_settings([trained], FIRST, 100.0, 0) is not None
    assert next_settings([trained, refined], FIRST, 100.0, 0) is None


def searched(
    attempts: list[Attempt], budget: float, widest: int, world: int, epoch: float, other: float
) -> list[Attempt]:
    found = list(attempts)
    while made := next_settings(tuple(found), FIRST, budget, widest):
        assert made == next_settings(list(found), FIRST, budget, widest)
        found.append(outcome(made, world, epoch, other))
        assert len(found) < 2000
    return found


WORLDS = st.tuples(
    st.sampled_from([0, 1, 2, 16, 17, 300]),
    st.integers(0, 10**6),
    st.sampled_from([0.03, 0.1, 1.0, 5.0]),
    st.sampled_from([0.0, 0.1, 3.0]),
)


@settings(derandomize=True, deadline=None, max_examples=60, phases=[Phase.explicit, Phase.generate])
@given(WORLDS, st.sampled_from([0.1, 1.0, 3.0, 10.0, 20.0]), st.sampled_from([1, 1.5, 3]))
def test_a_search_ends_in_time_and_tries_nothing_twice(world, budget, factor):
    widest, *fate = world
    first = searched([], budget, widest, *fate)
    again = searched(first, factor * budget, widest, *fate)  # a second call with more time
    assert again[: len(first)] == first
    made = [a.settings for a in again]
    assert len(set(made)) == len(made)
    for found, given_ in ((first, budget), (again, factor * budget)):
        assert found[0].settings == replace(FIRST, units=WIDTH if widest > WIDTH else 0)
        spent = sum(a.seconds for a in found)
        late = fate[2] + 1e-6  # what coding and counting took longer than ever before
        assert len(found) == 1 or spent <= ROUNDS[-1][0] * given_ + late
    for settings_ in made:
        assert settings_.origin == FIRST.origin and settings_.price > 0
        assert 1 <= settings_.levels <= 3 and settings_.epochs >= FIRST.epochs
        assert 0 <= settings_.units < max(widest, 1) and settings_.learning_rate > 0


def test_time_left_is_used():
    """One second an epoch: an hour is spent to within one candidate of the last round."""
    found = searched([], 3600.0, 16, 0, 0.1, 0.5)
    spent = sum(a.seconds for a in found)
    until, share, most = ROUNDS[-1]
    assert until * 3600 - (most * 3 * 0.1 + 0.5) <= spent <= until * 3600
    epochs = [a.settings.epochs for a in found]
    assert epochs == sorted(epochs) and len(set(epochs)) == 1 + len(ROUNDS)


def test_the_first_candidate_is_tried_whatever_the_budget():
    assert next_settings([], FIRST, 1e-9, 0) == FIRST
    assert next_settings([attempt(replace(FIRST, origin="as given"))], FIRST, 1e-9, 300) == replace(
        FIRST, units=WIDTH
    )


def test_the_next_round_starts_from_the_best_of_the_last():
    """Best of the first round: longer, and otherwise as it was."""
    tried = [outcome(FIRST, 0, 0.1, 0.1)]
    for price, bound in ((3.0, 0.2), (12.0, 0.4)):
        made = replace(FIRST, epochs=20 * FIRST.epochs, price=price)
        tried.append(attempt(made, risk_bound=bound, training_seconds=250.0, seconds=250.0))
    made = next_settings(tried, FIRST, 1000.0, 0)  # 501 s gone: the second round
    assert made == replace(FIRST, epochs=50 * FIRST.epochs, price=3.0)
