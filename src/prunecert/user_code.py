"""A user's own function or list, named on the command line as `file.py:name` or `module:name`.

Running it runs the user's code: only what the user typed is ever loaded here.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from prunecert.types import InputError


@dataclass(frozen=True)
class UserFunction:
    """`folder` must be on `sys.path` while the function (or what it returned) is at work;
    `sha256` is of the source file's bytes, then `:name`."""

    function: Callable[..., Any]
    folder: Path
    sha256: str


def is_function(spec: str) -> bool:
    """True when `spec` is written as `file.py:function` or `package.module:function`."""
    module, _, name = spec.rpartition(":")
    parts = module.split(".")
    return name.isidentifier() and (
        module.endswith(".py") or all(part.isidentifier() for part in parts)
    )


def load_function(spec: str) -> UserFunction:
    """The function `spec` names; the folder of `package.module:function` is the current one.

    Raises InputError when the file or module cannot be imported or has no such function.
    """
    module, folder = _import(spec)
    source, _, name = spec.rpartition(":")
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"{spec}: {source} has no function '{name}'")
    if not (file := getattr(module, "__file__", None)):
        raise InputError(f"{spec}: its module has no source file, so it cannot be identified")
    digest = hashlib.sha256(Path(file).read_bytes() + f":{name}".encode()).hexdigest()
    return UserFunction(function, folder, digest)


def load_object(spec: str) -> tuple[Any, Path]:
    """Whatever `spec` names, and the folder that must be on `sys.path` while its code runs.

    Raises InputError as `load_function` does.
    """
    module, folder = _import(spec)
    source, _, name = spec.rpartition(":")
    if not hasattr(module, name):
        raise InputError(f"{spec}: {source} has no '{name}'")
    return getattr(module, name), folder


def _import(spec: str) -> tuple[ModuleType, Path]:
    """The module that `spec` speaks of, run or imported, and the folder it was found from."""
    source = spec.rpartition(":")[0]
    path = Path(source)
    is_file = source.endswith(".py")
    if is_file and not path.is_file():
        raise InputError(f"{path}: no such file (wanted for {spec})")
    folder = path.resolve().parent if is_file else Path.cwd()
    try:
        with on_path(folder):
            return _run_file(path) if is_file else importlib.import_module(source), folder
    except Exception as error:  # the user's code may raise anything
        raise InputError(f"{spec}: cannot import {source}: {in_one_line(error)}") from error


def _run_file(path: Path) -> ModuleType:
    # Compiled from the text, not imported: a byte-code cache could be older than what is hashed.
    text = path.read_bytes()
    module = ModuleType(f"{path.stem}_{hashlib.sha256(text).hexdigest()[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look their module up there
    exec(compile(text, str(path), "exec"), module.__dict__)  # asked for by the user
    return module


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """`folder` stands first on `sys.path`, as it would for `python file.py`."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def in_one_line(error: BaseException) -> str:
    """The kind and the first line of an exception's text, for messages that must fit one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
