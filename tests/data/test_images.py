"""Hugging Face folders and ids: decoding, the cache, and staying off the network."""

import io
import shutil
import socket
import sys
import zipfile

import numpy as np
import pytest
import torch

from prunecert.data import load_source, take
from prunecert.types import InputError

datasets = pytest.importorskip("datasets", reason="needs the extra: pip install 'prunecert[hf]'")
Image = pytest.importorskip("PIL.Image", reason="needs the extra: pip install 'prunecert[hf]'")

GREY = np.random.default_rng(0).integers(0, 256, (12, 1, 6, 5), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (12, 3, 6, 5), dtype=np.uint8)
# More than the 4,096 bytes that zipfile reads at a time, and so checks the CRC of, regardless.
LARGE = np.random.default_rng(2).integers(0, 256, (12, 1, 40, 50), dtype=np.uint8)
LABELS = [0, 2, 1, 1, 2, 0, 0, 1, 2, 2, 1, 0]
NAMES = ["ant", "bee", "cat"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("PRUNECERT_CACHE", str(folder))
    return folder


def png(pixels, mode=None):
    """Lossless bytes of a (channels, h, w) array."""
    array = pixels.transpose(1, 2, 0)
    picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    file = io.BytesIO()
    (picture if mode is None else picture.convert(mode)).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}


def save_split(path, images, labels, **columns):
    """One split as the hub stores it; `columns` replaces or adds {name: (values, feature)}."""
    given = {
        "image": (images, datasets.Image()),
        "label": (labels, datasets.ClassLabel(names=NAMES)),
    }
    given = {name: column for name, column in (given | columns).items() if column is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(
        {name: values for name, (values, _) in given.items()},
        features=datasets.Features({name: feature for name, (_, feature) in given.items()}),
    ).to_parquet(path)


def folder_of(tmp_path, pixels=GREY, inside="data"):
    """A data set with 9 train rows and 3 test rows."""
    images = [png(p) for p in pixels]
    folder = tmp_path / "mine"
    save_split(folder / inside / "train-00000-of-00001.parquet", images[:9], LABELS[:9])
    save_split(folder / inside / "test-00000-of-00001.parquet", images[9:], LABELS[9:])
    return folder


def error_of(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --------------------------------------------------------------------------- decoding


@pytest.mark.parametrize("inside", ["data", "."])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_folder_is_decoded_to_channels_first(tmp_path, pixels, inside):
    source = load_source(str(folder_of(tmp_path, pixels, inside)))
    train, test = take(source, "train", "train"), take(source, "test", "holdout")
    expected = torch.from_numpy(pixels.astype(np.float32) / np.float32(255))
    assert torch.equal(torch.cat([x for x, _ in train.batches(4)]), expected[:9])
    assert torch.equal(torch.cat([x for x, _ in test.batches(4)]), expected[9:])
    assert train.labels.tolist() + test.labels.tolist() == LABELS
    assert source.classes == 3 and train.input_shape == pixels.shape[1:]


def test_columns_are_found_by_type_not_by_name(tmp_path):
    images = [png(p) for p in GREY]
    save_split(
        tmp_path / "mine" / "train.parquet",
        images,
        LABELS,
        image=None,
        label=None,
        depicted=(images, datasets.Image()),
        number=(list(range(12)), datasets.Value("int64")),
        what=(LABELS, datasets.ClassLabel(names=NAMES)),
    )
    source = load_source(str(tmp_path / "mine"))
    assert take(source, "train", "train").labels.tolist() == LABELS
    assert source.test is None


def test_progress_is_reported_while_decoding_only(tmp_path, monkeypatch):
    monkeypatch.setattr("prunecert.data.images.ROWS_PER_PROGRESS", 4)
    folder = str(folder_of(tmp_path))
    seen = []
    for _ in range(2):
        take(load_source(folder, progress=lambda *what: seen.append(what)), "train", "train")
    assert seen == [(f"{folder} train", 4), (f"{folder} train", 8)]


BAD_COLUMNS = {
    "labels are plain integers": (
        {"label": (LABELS, datasets.Value("int64"))},
        ["one ClassLabel column, found 0", "label (Value)"],
    ),
    "two label columns": (
        {"coarse": (LABELS, datasets.ClassLabel(names=NAMES))},
        ["one ClassLabel column, found 2", "coarse (ClassLabel)"],
    ),
    "no image column": (
        {"image": (["text"] * 12, datasets.Value("string"))},
        ["one Image column, found 0", "image (Value)"],
    ),
    "another size": (
        {"image": ([png(p) for p in GREY[:7]] + [png(GREY[0, :, :5])] * 5, datasets.Image())},
        ["row 7", "(1, 6, 5)", "(1, 5, 5)"],
    ),
    "another kind of image": (
        {"image": ([png(p, "RGBA") for p in COLOUR], datasets.Image())},
        ["row 0", "grey or RGB", "RGBA"],
    ),
    "not an image": (
        {"image": ([{"bytes": b"nonsense", "path": None}] * 12, datasets.Image())},
        ["UnidentifiedImageError"],
    ),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_bad_columns(tmp_path, cache, case):
    columns, parts = BAD_COLUMNS[case]
    folder = tmp_path / "mine"
    save_split(folder / "train.parquet", [png(p) for p in GREY], LABELS, **columns)
    message = error_of(lambda: take(load_source(str(folder)), "train", "train"))
    for part in (str(folder), *parts):
        assert part in message
    assert not cache.exists()


def test_hidden_labels_are_refused_when_read(tmp_path):
    save_split(tmp_path / "mine" / "train.parquet", [png(p) for p in GREY], [-1] * 12)
    source = load_source(str(tmp_path / "mine"))
    assert take(source, "train", "unlabeled").n == 12
    assert len(set(take(source, "train", "unlabeled").row_digests())) == 12
    message = error_of(lambda: take(source, "train", "bound").labels)
    assert "row 0" in message and "0 to 2" in message


def test_folder_without_data(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.md").write_text("nothing here")
    message = error_of(lambda: take(load_source(str(tmp_path / "mine")), "train", "train"))
    assert str(tmp_path / "mine") in message


# --------------------------------------------------------------------------- cache


def test_second_read_needs_no_library_and_is_equal(tmp_path, monkeypatch):
    folder = str(folder_of(tmp_path))
    first = [take(load_source(folder), which, "bound") for which in ("train", "test")]
    monkeypatch.setitem(sys.modules, "datasets", None)
    second = [take(load_source(folder), which, "bound") for which in ("train", "test")]
    assert [s.sha256 for s in first] == [s.sha256 for s in second]
    assert [s.labels.tolist() for s in second] == [LABELS[:9], LABELS[9:]]
    assert [s.classes for s in second] == [3, 3]


def test_only_the_split_asked_for_is_decoded(tmp_path, cache):
    folder = folder_of(tmp_path)
    next((folder / "data").glob("test-*")).write_bytes(b"not parquet")
    source = load_source(str(folder))
    assert take(source, "train", "train").n == 9
    assert [path.name.endswith("-train.npz") for path in cache.iterdir()] == [True]
    assert str(folder) in error_of(lambda: take(source, "test", "holdout"))
    assert len(list(cache.iterdir())) == 1


def flip(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


DAMAGE = {
    "empty": lambda content: b"",
    "cut short": lambda content: content[: len(content) // 2],
    "another file": lambda content: b"hello" * 100,
    "a pixel": lambda content: flip(content, content.index(LARGE[4].tobytes()) + 3),
    "fewer rows in the header": lambda content: content.replace(
        b"(9, 1, 40, 50)", b"(9, 1, 40, 10)"
    ),
    "an array gone": lambda content: archive_of(content, lambda name: name != "classes.npy"),
}


def archive_of(content, keep):
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for name in filter(keep, old.namelist()):
            new.writestr(name, old.read(name))
    return file.getvalue()


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_cache_is_rebuilt(tmp_path, cache, damage):
    folder = str(folder_of(tmp_path, LARGE))
    expected = take(load_source(folder), "train", "train").sha256
    (path,) = cache.iterdir()
    content = path.read_bytes()
    damaged = DAMAGE[damage](content)
    assert damaged != content
    path.write_bytes(damaged)
    assert take(load_source(folder), "train", "train").sha256 == expected
    assert [p.name for p in cache.iterdir()] == [path.name]
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["images"], LARGE[:9])
        assert arrays["labels"].tolist() == LABELS[:9]


def test_cache_follows_the_content_not_the_path(tmp_path, monkeypatch):
    folder = folder_of(tmp_path)
    first = take(load_source(str(folder)), "train", "train")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "datasets", None)
        moved = shutil.copytree(folder, tmp_path / "moved")
        again = take(load_source(str(moved)), "train", "train")
    assert again.sha256 == first.sha256 and again.origin == first.origin
    train = next((folder / "data").glob("train-*"))
    save_split(train, [png(p) for p in GREY[1:]], LABELS[1:])
    changed = take(load_source(str(folder)), "train", "train")
    assert changed.labels.tolist() == LABELS[1:]
    assert changed.origin != first.origin


def test_origin_covers_names_and_contents(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    origins = []
    for name, text in [("a", "one"), ("a", "two"), ("b", "one"), ("a", "one")]:
        (folder / name).write_text(text)
        (folder / ".git").mkdir(exist_ok=True)
        (folder / ".git" / "index").write_text(str(len(origins)))
        origins.append(load_source(str(folder)).origin)
        (folder / name).unlink()
    assert origins[0] == origins[3]
    assert len(set(origins)) == 3


def test_cache_that_cannot_be_written(tmp_path, cache):
    cache.write_text("a file where the folder should be")
    message = error_of(lambda: take(load_source(str(folder_of(tmp_path))), "train", "train"))
    assert str(cache) in message and "PRUNECERT_CACHE" in message


def test_missing_library_names_the_extra(tmp_path, monkeypatch):
    source = load_source(str(folder_of(tmp_path)))
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = error_of(lambda: take(source, "train", "train"))
    assert "pip install 'prunecert[hf]'" in message


# --------------------------------------------------------------------------- network


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to reach the network is an error, and is noted."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts


def test_local_folder_never_touches_the_network(tmp_path, no_network, monkeypatch):
    import huggingface_hub.constants

    def offline():
        return [m.HF_HUB_OFFLINE for m in (datasets.config, huggingface_hub.constants)]

    during = []
    load = datasets.load_dataset
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *a, **k: during.append(offline()) or load(*a, **k)
    )
    for module in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    assert take(load_source(str(folder_of(tmp_path))), "train", "train").n == 9
    assert no_network == []
    assert during == [[True, True]]
    assert offline() == [False, False]


@pytest.mark.parametrize(
    ("name", "card"),
    [
        (
            "README.md",
            "---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files: {}\n---\n",
        ),
        (".huggingface.yaml", "configs:\n- config_name: default\n  data_files: {}\n"),
    ],
)
def test_card_that_points_elsewhere_is_refused(tmp_path, no_network, name, card):
    folder = folder_of(tmp_path)
    (folder / name).write_text(card.format("https://example.com/train.parquet"))
    message = error_of(lambda: take(load_source(str(folder)), "train", "train"))
    assert name in message and "URL" in message
    assert no_network == []


def test_card_may_mention_urls_elsewhere(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "README.md").write_text(
        "---\nlicense_link: https://example.com\n---\nSee https://example.com\n---\nmore\n"
    )
    assert take(load_source(str(folder)), "train", "train").n == 9


def test_hub_id_is_downloaded_by_the_library_and_cached(monkeypatch):
    calls = []

    def load_dataset(name, **options):
        calls.append((name, options))
        images = datasets.Dataset.from_dict(
            {"image": [png(p) for p in GREY], "label": LABELS},
            features=datasets.Features(
                {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
            ),
        )
        return {"train": images}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = load_source("someone/images")
    assert calls == []
    sample = take(source, "train", "train")
    assert sample.labels.tolist() == LABELS
    assert calls == [("someone/images", {"streaming": False, "cache_dir": None})]
    assert take(load_source("someone/images"), "train", "train").sha256 == sample.sha256
    assert len(calls) == 1


def test_hub_id_that_cannot_be_read(monkeypatch):
    def load_dataset(name, **options):
        raise ConnectionError("cannot reach the hub\nsecond line")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    message = error_of(lambda: take(load_source("someone/images"), "train", "train"))
    for part in ("someone/images", "not a folder here", "cannot reach the hub"):
        assert part in message
