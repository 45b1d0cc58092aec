"""Sources: digits, .npz files and users' functions. Hugging Face folders: test_images.py."""

import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Subset, TensorDataset

from prunecert.data import in_memory, load_source, take
from prunecert.types import InputError


def one_line_error(call, *parts):
    """The message of the InputError that `call` raises: one line, holding every part."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def all_rows(sample, batch_size=1000):
    batches = list(sample.batches(batch_size))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def npz(folder, name="data.npz", **arrays):
    path = folder / name
    np.savez(path, **arrays)
    return str(path)


# --------------------------------------------------------------------------- digits


def test_digits_is_the_bundled_set_in_the_declared_order():
    source = load_source("digits")
    train, labels = all_rows(take(source, "train", "train"))
    test, test_labels = all_rows(take(source, "test", "holdout"))
    assert train.shape == (1197, 1, 8, 8) and test.shape == (600, 1, 8, 8)
    assert train.dtype == torch.float32 and labels.dtype == torch.int64
    order = np.random.RandomState(0).permutation(1797)
    bundled = load_digits()
    pixels = torch.from_numpy(bundled.data[order]).reshape(-1, 1, 8, 8)
    assert torch.equal(torch.cat([train, test]).double() * 16, pixels)  # sixteenths: exact
    assert torch.equal(torch.cat([labels, test_labels]), torch.from_numpy(bundled.target[order]))
    assert (float(train.min()), float(train.max())) == (0.0, 1.0)
    assert source.classes == 10


# --------------------------------------------------------------------------- .npz files


def test_npz_bytes_are_divided_by_255(tmp_path):
    x = np.arange(256, dtype=np.uint8).reshape(64, 4)
    spec = npz(tmp_path, x_train=x, y_train=np.arange(64, dtype=np.uint8) % 3)
    inputs, labels = all_rows(take(load_source(spec), "train", "train"), batch_size=5)
    expected = np.arange(256, dtype=np.float32).reshape(64, 4) / np.float32(255)
    assert inputs.dtype == torch.float32
    np.testing.assert_array_equal(inputs.numpy(), expected)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [i % 3 for i in range(64)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz_floats_are_not_scaled(tmp_path, dtype):
    x = np.array([[0.5, -3.0], [200.0, 0.25]], dtype=dtype)
    spec = npz(tmp_path, x_test=x, y_test=[0, 1])
    inputs, _ = all_rows(take(load_source(spec), "test", "holdout"))
    assert inputs.dtype == torch.float32
    np.testing.assert_array_equal(inputs.numpy(), x.astype(np.float64))


def test_npz_with_one_split_only(tmp_path):
    x, y = np.zeros((4, 2), np.float32), np.array([0, 1, 2, 1])
    only_test = load_source(npz(tmp_path, "a.npz", x_test=x, y_test=y))
    assert only_test.train is None and only_test.classes == 3
    assert take(only_test, "test", "holdout").n == 4
    one_line_error(lambda: take(only_test, "train", "bound"), "a.npz", "no train sample")
    only_train = load_source(npz(tmp_path, "b.npz", x_train=x, y_train=y))
    assert only_train.test is None
    one_line_error(lambda: take(only_train, "test", "holdout"), "b.npz", "no test sample")


def test_npz_reads_only_the_split_asked_for(tmp_path):
    ramp = np.arange(4000, dtype=np.float32).reshape(-1, 4)
    y = np.zeros(1000, int)
    spec = npz(tmp_path, x_train=ramp, y_train=y, x_test=ramp + 4000, y_test=y)
    path = tmp_path / "data.npz"
    content = path.read_bytes()
    damaged = content.replace(np.float32(5000).tobytes(), np.float32(5000.5).tobytes())
    assert damaged != content
    path.write_bytes(damaged)
    source = load_source(spec)
    assert take(source, "train", "train").n == 1000
    one_line_error(lambda: take(source, "test", "holdout"), "data.npz", "x_test", "cannot be read")


X, Y = np.zeros((3, 2), np.float32), np.array([0, 1, 2])

BAD_ARRAYS = {
    "no known array": ({"images": X}, ["x_train", "images"]),
    "float labels": ({"x_train": X, "y_train": Y / 1.0}, ["y_train", "integers", "float64"]),
    "one-hot labels": ({"x_train": X, "y_train": np.eye(3, dtype=int)}, ["y_train", "(3, 3)"]),
    "another length": ({"x_train": X, "y_train": Y[:2]}, ["y_train", "3 entries, found 2"]),
    "integer inputs": ({"x_train": X.astype(int), "y_train": Y}, ["x_train", "uint8", "int64"]),
    "text inputs": ({"x_train": X.astype(str), "y_train": Y}, ["x_train", "uint8"]),
    "flat inputs": ({"x_train": X[:, 0], "y_train": Y}, ["x_train", "(3,)"]),
    "pickled labels": ({"x_train": X, "y_train": np.array([1, None])}, ["y_train", "read"]),
    "no rows": ({"x_train": X[:0], "y_train": Y[:0]}, ["train", "empty"]),
    "negative label": ({"x_train": X, "y_train": Y - 1}, ["y_train", "row 0", "found -1"]),
    "no labels": ({"x_train": X}, ["y_train", "missing"]),
    "NaN": ({"x_train": X + [[0.0], [0.0], [np.nan]], "y_train": Y}, ["x_train", "row 2", "NaN"]),
    "too large": ({"x_train": X + [[0.0], [1e300], [0]], "y_train": Y}, ["x_train", "row 1"]),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
@pytest.mark.filterwarnings("error")
def test_bad_npz_names_file_and_array(tmp_path, case):
    arrays, parts = BAD_ARRAYS[case]
    spec = npz(tmp_path, **arrays)
    one_line_error(lambda: all_rows(take(load_source(spec), "train", "train")), "data.npz", *parts)


def test_test_label_that_training_never_shows_is_refused(tmp_path):
    spec = npz(tmp_path, x_train=X, y_train=Y, x_test=X, y_test=[0, 3, 1])
    sample = take(load_source(spec), "test", "holdout")
    one_line_error(lambda: sample.labels, "y_test", "row 1", "0 to 2", "found 3")


def test_files_that_are_not_npz(tmp_path):
    missing = str(tmp_path / "none.npz")
    one_line_error(lambda: load_source(missing), "none.npz", "no such file")
    (tmp_path / "text.npz").write_text("hello\nworld")
    one_line_error(lambda: load_source(str(tmp_path / "text.npz")), "text.npz", "not a readable")


@pytest.mark.parametrize("spec", ["nothing", "/no/such/folder", "../nothing/here", "x y", ""])
def test_unknown_spec_lists_what_is_possible(spec):
    one_line_error(lambda: load_source(spec), spec, "digits", "FILE.npz", "FILE.py:FUNCTION")


# --------------------------------------------------------------------------- users' functions


def user_file(folder, body, name="mine.py"):
    (folder / name).write_text("import numpy as np\nimport torch\n" + body)
    return f"{folder / name}:load"


def test_function_yields_pairs_untouched(tmp_path):
    spec = user_file(
        tmp_path,
        """
rows = [(torch.tensor([[i + 0.5, -300.0]], dtype=torch.float64), i % 3) for i in range(10)]
def load():
    return rows[:7], rows[7:]
""",
    )
    source = load_source(spec)
    inputs, labels = all_rows(take(source, "train[2:7]", "train"), batch_size=2)
    assert inputs.dtype == torch.float64 and inputs.shape == (5, 1, 2)
    assert inputs[:, 0, 0].tolist() == [2.5, 3.5, 4.5, 5.5, 6.5]
    assert labels.tolist() == [2, 0, 1, 2, 0]
    assert take(source, "test", "holdout").n == 3
    assert source.classes is None


@pytest.mark.parametrize("key", ["labels", "label"])
def test_function_yields_dicts(tmp_path, key):
    spec = user_file(
        tmp_path,
        f"""
class Rows(torch.utils.data.Dataset):
    def __len__(self): return 6
    def __getitem__(self, i):
        return {{"{key}": torch.tensor(i % 2), "ids": torch.tensor([i, i + 1]),
                "mask": np.array([True, False])}}
def load():
    return Rows(), None
""",
    )
    source = load_source(spec)
    sample = take(source, "train", "train")
    (inputs, labels), (tail, _) = list(sample.batches(4))
    assert set(inputs) == {"ids", "mask"}
    assert inputs["ids"].tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert inputs["mask"].dtype == torch.bool
    assert tail["ids"].tolist() == [[4, 5], [5, 6]]
    assert labels.tolist() == [0, 1, 0, 1]
    assert sample.input_shape == {"ids": (2,), "mask": (2,)}
    assert source.test is None


def test_function_may_return_arrays(tmp_path):
    spec = user_file(
        tmp_path,
        """
def load():
    x = np.arange(12, dtype=np.uint8).reshape(6, 2)
    x.setflags(write=False)
    y = np.array([0, 1, 2, 0, 1, 2], dtype=np.int16)
    return (x, y), (torch.ones(3), torch.tensor([1, 0, 1]))
""",
    )
    source = load_source(spec)
    inputs, labels = all_rows(take(source, "train", "train"), batch_size=4)
    assert inputs.dtype == torch.uint8  # untouched: no division by 255
    assert inputs.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    assert labels.dtype == torch.int64 and labels.tolist() == [0, 1, 2, 0, 1, 2]
    test, _ = all_rows(take(source, "test", "holdout"))
    assert test.shape == (3,)


def test_only_the_rows_asked_for_are_touched(tmp_path):
    log = tmp_path / "log.txt"
    spec = user_file(
        tmp_path,
        f"""
class Spy:
    def __init__(self, name): self.name = name
    def note(self, what):
        with open({str(log)!r}, "a") as file: file.write(f"{{self.name}} {{what}}\\n")
    def __len__(self): self.note("len"); return 10
    def __getitem__(self, i): self.note(i); return torch.tensor([float(i)]), 0
def load():
    return Spy("train"), Spy("test")
""",
    )
    source = load_source(spec)
    assert not log.exists()
    sample = take(source, "train[3:6]", "train")
    assert log.read_text() == "train len\n"
    all_rows(sample, batch_size=2)
    touched = log.read_text().splitlines()
    assert sorted(touched) == ["train 3", "train 4", "train 5", "train len"]
    take(source, "test", "holdout")
    assert log.read_text().splitlines()[len(touched) :] == ["test len"]


def test_folder_is_on_the_path_during_import_and_use_only(tmp_path):
    (tmp_path / "prunecert_sibling.py").write_text("VALUE = 7\n")
    (tmp_path / "prunecert_late.py").write_text("VALUE = 8\n")
    spec = user_file(
        tmp_path,
        """
from dataclasses import dataclass
import prunecert_sibling
@dataclass
class Rows:
    n: "int"
    def __len__(self): return self.n
    def __getitem__(self, i):
        import prunecert_late
        return torch.tensor([prunecert_sibling.VALUE, prunecert_late.VALUE]), 0
def load():
    return Rows(2), None
""",
    )
    before = list(sys.path)
    inputs, _ = all_rows(take(load_source(spec), "train", "train"))
    assert inputs.tolist() == [[7, 8], [7, 8]]
    assert sys.path == before


def test_module_function(tmp_path, monkeypatch):
    (tmp_path / "package_of_rows").mkdir()
    user_file(tmp_path / "package_of_rows", "def load(): return [(torch.ones(1), 1)], None", "m.py")
    monkeypatch.chdir(tmp_path)
    source = load_source("package_of_rows.m:load")
    assert take(source, "train", "train").labels.tolist() == [1]


BAD_FUNCTIONS = {
    "no function": ("other = 1", ["has no function 'load'"]),
    "not callable": ("load = 3", ["has no function 'load'"]),
    "syntax error": ("def load(:", ["cannot import", "SyntaxError"]),
    "import error": ("import no_such_module_here", ["cannot import", "ModuleNotFoundError"]),
    "fails": ("def load(): raise ValueError('first\\nsecond')", ["failed", "ValueError: first"]),
    "one thing": ("def load(): return [1]", ["(train, test)", "list"]),
    "an iterator": ("def load(): return iter([]), None", ["map-style", "list_iterator"]),
    "iterable": (
        "class D(torch.utils.data.IterableDataset):\n  __iter__ = None\n"
        "def load(): return D(), None",
        ["map-style", "D"],
    ),
    "row fails": (
        """
class D:
    def __len__(self): return 3
    def __getitem__(self, i): return torch.ones(2), 1 // (1 - i)
def load(): return D(), None
""",
        ["train", "row 1", "ZeroDivisionError"],
    ),
    "no label": ("def load(): return [torch.ones(2)] * 3, None", ["row 0", "no label"]),
    "dict, no label": ("def load(): return [{'x': torch.ones(2)}], None", ["row 0", "no label"]),
    "only a label": ("def load(): return [{'label': 1}], None", ["row 0", "besides the label"]),
    "float label": ("def load(): return [(torch.ones(2), 1.0)], None", ["row 0", "integer"]),
    "many labels": (
        "def load(): return [(torch.ones(2), torch.tensor([1, 2]))], None",
        ["row 0", "one integer"],
    ),
    "negative label": ("def load(): return [(torch.ones(2), -1)], None", ["row 0", "found -1"]),
    "list as input": ("def load(): return [([1.0], 1)], None", ["row 0", "tensor", "list"]),
    "text field": (
        "def load(): return [{'x': 'cat', 'label': 1}], None",
        ["row 0: x", "tensor", "str"],
    ),
    "ragged in a batch": (
        "def load(): return [(torch.ones(2), 1), (torch.ones(3), 1)], None",
        ["row 1", "(2,)", "(3,)"],
    ),
    "ragged across batches": (
        "def load(): return [(torch.ones(2), 1)] * 8 + [(torch.ones(3), 1)], None",
        ["row 8", "(2,)", "(3,)"],
    ),
    "infinite": (
        "def load(): return [(torch.ones(2), 1)] * 9 + [(torch.ones(2) / 0, 1)], None",
        ["row 9", "infinity"],
    ),
    "array lengths": (
        "def load(): return (np.ones((3, 2)), np.ones(2, int)), None",
        ["train", "(3, 2)", "(2,)"],
    ),
    "array float labels": (
        "def load(): return (np.ones((3, 2)), np.ones(3)), None",
        ["train", "integer labels", "float64"],
    ),
    "empty": ("def load(): return [], None", ["train", "empty"]),
}


@pytest.mark.parametrize("case", BAD_FUNCTIONS)
def test_bad_function_names_itself_and_the_row(tmp_path, case):
    body, parts = BAD_FUNCTIONS[case]
    spec = user_file(tmp_path, body)
    one_line_error(
        lambda: all_rows(take(load_source(spec), "train", "train"), batch_size=4),
        "mine.py:load",
        *parts,
    )


def test_missing_function_file():
    one_line_error(lambda: load_source("no_such_file.py:load"), "no_such_file.py", "no such file")
    one_line_error(lambda: load_source("no_such_module_x:load"), "no_such_module_x", "import")


# --------------------------------------------------------------------------- data in memory


def numbered(n):
    return TensorDataset(torch.arange(float(n))[:, None], torch.arange(n) % 3)


@pytest.mark.parametrize("wrap", [lambda part: part, lambda part: DataLoader(part, batch_size=2)])
def test_in_memory_subsets_stay_subsets(wrap):
    everything = numbered(10)
    train, test = Subset(everything, [4, 1, 2]), Subset(everything, [7, 9])
    source = in_memory((wrap(train), wrap(test)))
    inputs, labels = all_rows(take(source, "train", "train"))
    assert inputs.flatten().tolist() == [4, 1, 2] and labels.tolist() == [1, 1, 2]
    inputs, labels = all_rows(take(source, "test", "holdout"))
    assert inputs.flatten().tolist() == [7, 9] and labels.tolist() == [1, 0]


def test_in_memory_arrays_and_single_data_sets():
    x, y = np.ones((4, 2), np.uint8), np.array([0, 1, 2, 1])
    alone = in_memory((x, y))
    assert alone.test is None and take(alone, "train", "train").labels.tolist() == [0, 1, 2, 1]
    assert all_rows(take(alone, "train", "train"))[0].dtype == torch.uint8
    both = in_memory(((x, y), (x[:1], y[:1])))
    assert (take(both, "train", "train").n, take(both, "test", "holdout").n) == (4, 1)
    assert take(in_memory(numbered(5)), "train", "train").n == 5
