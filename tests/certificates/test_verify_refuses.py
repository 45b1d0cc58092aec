"""Nothing in a certificate folder can be altered and still be valid; nothing raises or hangs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from json_leaves import leaves, nodes, replaced, without
from kinds import KINDS, NETWORKS, checked
from safetensors.torch import load_file, save_file

from prunecert.api import open_source, verify
from prunecert.reference import TWINS
from prunecert.types import InputError

Check = Callable[[], str | None]


@pytest.fixture
def folder(request, shelf, tmp_path) -> Path:
    """A copy of a certificate to be tampered with."""
    return Path(shutil.copytree(shelf / request.param, tmp_path / request.param))


@pytest.fixture(scope="session")
def remembered() -> dict[str, Callable[..., Any]]:
    """The twins, each question answered once: they are slow, and asked the same all day."""
    answers: dict[Any, Any] = {}

    def remembering(name: str) -> Callable[..., Any]:
        def ask(**arguments: Any) -> Any:
            question = (name, *sorted(arguments.items()))
            if question not in answers:
                answers[question] = TWINS[name](**arguments)
            return answers[question]

        return ask

    return {name: remembering(name) for name in TWINS}


@pytest.fixture
def refusal(folder, shelf, workshop, remembered, monkeypatch) -> Check:
    """The sentence with which verify refuses the folder now; None where it is valid."""
    for module in ("recounting", "network_check"):
        monkeypatch.setattr(f"prunecert.api.{module}.TWINS", remembered)
    source = None
    if not folder.name.startswith("predictions"):
        source = open_source(str(shelf / "small.npz"))  # read once for many questions

    def ask() -> str | None:
        verdict = checked(folder, folder.name, shelf, workshop, source)
        assert verdict.sentence and "\n" not in verdict.sentence
        return None if verdict.valid else verdict.sentence

    return ask


def certificate(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "certificate.json").read_text())


def write(folder: Path, document: dict[str, Any]) -> None:
    (folder / "certificate.json").write_text(json.dumps(document))


QUICK = ("occam", "holdout", "per-class", "both", "predictions-select")


def kinds(names: Iterable[str]) -> pytest.MarkDecorator:
    """These kinds of certificate as `folder`; those that repeat a quick one's code are slow."""
    return pytest.mark.parametrize(
        "folder",
        [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in names],
        indirect=True,
    )


every_kind, every_network = kinds(KINDS), kinds(NETWORKS)
a_few = pytest.mark.parametrize("folder", ["occam", "holdout", "both"], indirect=True)


# --------------------------------------------------------------------------- every field

# Which versions issued it is on the record, and says nothing about the network; the target of
# `certify` is what somebody asked for, and says nothing either.
NOT_COMPUTED = [("software",), ("target",)]


def altered_up(value: Any) -> Any:
    if isinstance(value, str):
        return value[:-1] + ("1" if value[-1] == "0" else "0")
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return 0.5 if value is None else value * (1 + 1e-5) + 1e-6


def altered_down(value: Any) -> Any:
    if isinstance(value, str):
        return value[1:] or "x"
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value - 1
    return 0 if value is None else value * (1 - 1e-5) - 1e-6


def accepted_alterations(
    folder: Path, refusal: Check, alter: Callable[[Any], Any]
) -> list[tuple[Any, ...]]:
    document = certificate(folder)
    assert refusal() is None
    accepted = []
    for path, value in leaves(document):
        if path[:1] in NOT_COMPUTED and not folder.name.startswith(
            ("fixed", "simul", "both", "drop")
        ):
            continue
        write(folder, replaced(document, path, alter(value)))
        if refusal() is None:
            accepted.append((*path, value, alter(value)))
    return [item for item in accepted if item[:1] != ("software",)]


@every_kind
def test_no_field_can_be_altered(folder, refusal):
    assert accepted_alterations(folder, refusal, altered_up) == []


@pytest.mark.slow
@every_kind
def test_no_field_can_be_altered_the_other_way(folder, refusal):
    assert accepted_alterations(folder, refusal, altered_down) == []


@every_kind
def test_no_field_can_be_left_out_that_says_something(folder, refusal):
    document = certificate(folder)
    for path, value in leaves(document):
        if isinstance(path[-1], str) and value is not None and path[:1] not in NOT_COMPUTED:
            write(folder, without(document, path))
            left_to_default = (path, value) in [(("tried",), 1), (("selection_bits",), 0.0)]
            assert (refusal() is None) == left_to_default, path


@every_kind
def test_no_list_or_table_can_be_altered(folder, refusal):
    document = certificate(folder)
    for path, value in nodes(document):
        if not value or not isinstance(value, dict | list) or path == ("baselines",):
            continue  # without baselines a certificate only says less
        changes = [type(value)()]
        if isinstance(value, list):
            changes += [value[1:], value[:-1], [*value, value[-1]], value[::-1]]
        for change in changes:
            write(folder, replaced(document, path, change))
            assert refusal() is not None or change == value, (path, change)


@a_few
def test_a_smaller_count_with_everything_that_follows_from_it(folder, refusal):
    """A forger who counts one error less and computes bound and statement again, honestly."""
    from prunecert.api.claims import CLAIMS, Terms, counts_of
    from prunecert.api.recounting import selection_again
    from prunecert.certificate import dump, parse, statement

    document = certificate(folder)
    if document["method"] == "fixed-sequence":
        rows = document["details"]["sequence"]
        row = next(r for r in rows if r["sha256"] == document["details"]["selected"])
        row["errors"] -= 1
        document["errors"] -= 1
        found, claim = selection_again(parse(json.dumps(document)))
        document["details"]["sequence"] = claim.details["sequence"]
        (folder / "selection.json").write_bytes(dump(found.summary))
    else:
        document["errors"] -= 1
        terms = Terms(document["delta"], document["code_bits"])
        claim = CLAIMS[document["method"]](counts_of(document), terms)
        assert claim.risk_bound < document["risk_bound"]
        document["risk_bound"] = claim.risk_bound
    document["statement"] = statement(document)
    write(folder, document)
    assert "recount: errors" in (refusal() or "")


# --------------------------------------------------------------------------- every file

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "first half": lambda data: data[: len(data) // 2],
    "last byte cut": lambda data: data[:-1],
    "tail": lambda data: data + b"\0",
    "twice": lambda data: data + data,
    "noise": lambda data: np.random.default_rng(0).bytes(len(data)),
    "first byte": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "last byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "one bit": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1 :]
    ),
}


@every_network
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_no_file_can_be_damaged(folder, refusal, damage):
    for file in sorted(set(folder.iterdir()) - {folder / "certificate.json"}):
        whole = file.read_bytes()
        file.write_bytes(damage(whole))
        assert file.name in (refusal() or ""), file.name
        file.write_bytes(whole)
    assert refusal() is None


@every_network
def test_no_file_can_be_missing(folder, refusal):
    for file in sorted(folder.iterdir()):
        file.rename(folder / "aside")
        assert file.name in (refusal() or ""), file.name
        (folder / "aside").rename(file)


NETWORK_FILES = [
    ("network.bin", ("network", "sha256")),
    ("dense.bin", ("details", "dense", "sha256")),
]


@a_few
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_behind_a_corrected_hash(folder, refusal, damage):
    document = certificate(folder)
    for name, path in NETWORK_FILES:
        if (folder / name).exists():
            whole = (folder / name).read_bytes()
            data = damage(whole)
            (folder / name).write_bytes(data)
            write(folder, replaced(document, path, hashlib.sha256(data).hexdigest()))
            assert refusal() is not None, name
            (folder / name).write_bytes(whole)


@pytest.mark.parametrize("folder", ["occam"], indirect=True)
def test_random_bytes_are_no_network(folder, refusal):
    document, magic = certificate(folder), b"prunecert/1\n"
    rng = np.random.default_rng(1)
    for size in [*range(20), 100, 1000, 10_000]:
        for head in (b"", magic, (folder / "network.bin").read_bytes()[:40]):
            data = head + rng.bytes(size)
            (folder / "network.bin").write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            write(folder, replaced(document, ("network", "sha256"), digest))
            assert refusal() is not None


@a_few
def test_other_weights_behind_a_corrected_hash(folder, refusal, workshop):
    document = certificate(folder)
    tensors = load_file(folder / "network.safetensors")
    tensors["fc2.bias"][3] += 1e-6
    save_file(tensors, folder / "network.safetensors")
    digest = hashlib.sha256((folder / "network.safetensors").read_bytes()).hexdigest()
    write(folder, replaced(document, ("network", "safetensors_sha256"), digest))
    assert "network.safetensors" in (refusal() or "")


@pytest.mark.parametrize("folder", ["fixed-sequence", "both"], indirect=True)
def test_the_selection_file_agrees(folder, refusal):
    found = json.loads((folder / "selection.json").read_text())
    for path, value in leaves(found):
        (folder / "selection.json").write_text(json.dumps(replaced(found, path, altered_up(value))))
        assert refusal() is not None, path


# --------------------------------------------------------------------------- model and data


@a_few
def test_another_model_is_refused(folder, shelf):
    for model in ("mlp:64-17-10", "mlp:64-16-16-10", "lenet-300-100"):
        verdict = verify(folder, model, str(shelf / "small.npz"))
        assert not verdict.valid and "model" in verdict.sentence


@a_few
@pytest.mark.parametrize("change", ["label", "pixel", "order", "fewer"])
def test_another_data_set_is_refused(folder, shelf, tmp_path, change):
    arrays = dict(np.load(shelf / "small.npz"))
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if change == "label":
            y[7] = (y[7] + 1) % 10
        elif change == "pixel":
            x[7, 0, 3, 3] += 0.5
        elif change == "order":
            x[[0, 1]], y[[0, 1]] = x[[1, 0]], y[[1, 0]]
        elif change == "fewer":
            arrays[f"x_{split}"], arrays[f"y_{split}"] = x[:-1], y[:-1]
    np.savez(tmp_path / "other.npz", **arrays)
    verdict = verify(folder, "mlp:64-16-10", str(tmp_path / "other.npz"))
    assert not verdict.valid and verdict.sentence.startswith("data: ")


@pytest.mark.parametrize("folder", ["holdout"], indirect=True)
def test_data_are_known_by_their_rows_not_by_their_place(folder):
    assert verify(folder, "mlp:64-16-10", "digits").valid


@a_few
def test_what_cannot_be_used_at_all_is_the_callers_mistake(folder, shelf, tmp_path):
    with pytest.raises(InputError, match="nowhere.npz: no such file"):
        verify(folder, "mlp:64-16-10", str(tmp_path / "nowhere.npz"))
    with pytest.raises(InputError, match="small.npz.* not built in"):
        verify(folder)
    with pytest.raises(InputError, match="no such model"):
        verify(folder, "mlp9", str(shelf / "small.npz"))


@pytest.mark.parametrize("folder", ["holdout"], indirect=True)
def test_a_strange_folder_ends_in_one_line(folder, refusal):
    (folder / "certificate.json").unlink()
    (folder / "certificate.json").mkdir()
    assert "certificate.json" in (refusal() or "")
    for name in ("network.bin", "evidence.npz"):
        shutil.move(folder / name, folder / "elsewhere")
        (folder / name).symlink_to("/dev/zero")
    assert refusal() is not None
