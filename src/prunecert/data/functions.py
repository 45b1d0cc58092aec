"""A user's own function, named on the command line as `file.py:function` or `module:function`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from prunecert.types import InputError


def first_line(error: BaseException) -> str:
    """An exception on one line, for messages that must fit one."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """`folder` stands first on `sys.path`, as it would for `python file.py`."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def is_function(spec: str) -> bool:
    """True when `spec` is written as `file.py:function` or `package.module:function`."""
    module, _, name = spec.rpartition(":")
    parts = module.split(".")
    return name.isidentifier() and (
        module.endswith(".py") or all(part.isidentifier() for part in parts)
    )


def load_function(spec: str) -> tuple[Callable[..., Any], Path]:
    """The function `spec` names, and the folder that must be on `sys.path` while it is used.

    The folder of `file.py:function` is the file's; of `package.module:function`, the current one.
    Raises InputError when the file or module cannot be imported or has no such function.
    """
    module_name, _, name = spec.rpartition(":")
    is_file = module_name.endswith(".py")
    path = Path(module_name).resolve()
    folder = path.parent if is_file else Path.cwd()
    if is_file and not path.is_file():
        raise InputError(f"{spec}: no file {module_name}")
    try:
        with on_path(folder):
            module = _import_file(path) if is_file else importlib.import_module(module_name)
    except Exception as error:  # the user's code may raise anything
        raise InputError(f"{spec}: cannot import {module_name}: {first_line(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"{spec}: {module_name} has no function {name}")
    return function, folder


def _import_file(path: Path) -> ModuleType:
    name = str(path)  # cannot collide with an importable module, as the bare stem could
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is being executed
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
