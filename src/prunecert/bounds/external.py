"""Statements from outside: a user's file (`--bounds file.py:SPECS`) or an installed package.

They are never ours: they show as "external", and count as certified only with a twin and where
the contract suite passes with it. A name of ours cannot be taken. The suite lies in a higher
layer and arrives as an argument.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from prunecert.bounds.table import STATEMENTS
from prunecert.types import KINDS, Assumption, BoundSpec, InputError, Source
from prunecert.user_code import in_one_line, is_function, load_object, on_path

GROUP = "prunecert.bounds"  # the entry points of installed packages
EXPECTED = "expected a list of BoundSpec or of pairs (BoundSpec, twin), or a function returning one"

Twin = Callable[..., Any]
Suite = Callable[[BoundSpec, Twin | None], None]  # `prunecert.testing.check_bound`


@dataclass(frozen=True)
class ExternalBound:
    """One statement from outside; `doubt` says why it is not certified, "" where it is."""

    spec: BoundSpec
    origin: str
    doubt: str

    @property
    def standing(self) -> str:
        """What its number may be called."""
        if self.doubt:
            return f"not certified: {self.doubt}"
        return self.spec.kind


def bounds_of_file(source: str, check: Suite) -> list[ExternalBound]:
    """The statements that `file.py:SPECS` or `package.module:SPECS` names.

    Raises InputError with one line where there is no such file or name, where running it fails,
    or where what it holds is not a list of statements with names of their own.
    """
    if not is_function(source):
        raise InputError(f"--bounds {source!r}: expected file.py:NAME or package.module:NAME")
    found, folder = load_object(source)
    with on_path(folder):
        return _judged(source, found, check)


def installed_bounds(check: Suite) -> tuple[list[ExternalBound], list[str]]:
    """The statements of installed packages, and a sentence about each that cannot be read.

    A package that does not work must not keep the tool from working.
    """
    found: list[ExternalBound] = []
    sentences: list[str] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        origin = f"entry point {entry.name} ({entry.value})"
        try:
            found += distinct([*found, *_judged(origin, entry.load(), check)])[len(found) :]
        except InputError as error:
            sentences.append(str(error))
        except Exception as error:  # whatever the package raises when imported
            sentences.append(f"{origin}: cannot be imported: {in_one_line(error)}")
    return found, sentences


def distinct(found: list[ExternalBound]) -> list[ExternalBound]:
    """The same list, once no name of ours or of another is taken in it."""
    origins: dict[str, str] = dict.fromkeys(STATEMENTS, "prunecert")
    for bound in found:
        name = bound.spec.name
        if name in origins:
            taken = f"{name!r} is a statement of {origins[name]}"
            raise InputError(f"{bound.origin}: {taken}: expected a name of its own")
        origins[name] = bound.origin
    return found


# --------------------------------------------------------------------------- reading


def _judged(origin: str, holds: Any, check: Suite) -> list[ExternalBound]:
    rows = list(_rows(origin, holds))
    distinct([ExternalBound(spec, origin, "") for spec, _ in rows])
    return [
        ExternalBound(_guarded(spec, origin), origin, _doubt(spec, twin, check))
        for spec, twin in rows
    ]


def _rows(origin: str, holds: Any) -> Iterator[tuple[BoundSpec, Twin | None]]:
    if callable(holds):
        try:
            holds = holds()
        except Exception as error:  # the user's code may raise anything
            raise InputError(f"{origin}: the function failed: {in_one_line(error)}") from error
    if not isinstance(holds, (list, tuple)) or not holds:
        raise InputError(f"{origin}: {EXPECTED}, not {_briefly(holds)}")
    for number, entry in enumerate(holds, 1):
        spec, twin = entry if _is_pair(entry) else (entry, None)
        if not isinstance(spec, BoundSpec) or not (twin is None or callable(twin)):
            raise InputError(f"{origin}: entry {number} is {_briefly(entry)}: {EXPECTED}")
        for field, legal in _FIELDS.items():
            if not legal(getattr(spec, field)):
                value = _briefly(getattr(spec, field))
                raise InputError(f"{origin}: entry {number}: {field} is {value}: {_WORDS[field]}")
        yield spec, twin


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, tuple) and len(entry) == 2


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\n" not in value


def _has_plain_arguments(function: Any) -> bool:
    if not callable(function):
        return False
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return all(p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty for p in parameters)


def _all(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(isinstance(v, kind) for v in value)


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "name": lambda name: _is_text(name) and " " not in name and not name.startswith("-"),
    "function": _has_plain_arguments,
    "kind": lambda kind: isinstance(kind, str) and kind in KINDS,
    "quantity": _is_text,
    "summary": _is_text,
    "unit": _is_text,
    "source": lambda source: isinstance(source, Source),
    "needs": _all(str),
    "from_evidence": lambda reader: reader is None or callable(reader),
    "assumptions": _all(Assumption),
}
_WORDS = dict.fromkeys(("quantity", "summary", "unit"), "expected one line of text") | {
    "name": "expected one word",
    "function": "expected a function of named arguments without defaults",
    "kind": f"expected one of {', '.join(KINDS)}",
    "source": "expected a Source",
    "needs": "expected a tuple of names of evidence parts",
    "from_evidence": "expected a function of (evidence, delta), or None",
    "assumptions": "expected a tuple of Assumption",
}


def _briefly(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


# --------------------------------------------------------------------------- judging


def _doubt(spec: BoundSpec, twin: Twin | None, check: Suite) -> str:
    try:
        check(spec, twin)
    except Exception as error:  # AssertionError of the suite, or whatever the user's code raises
        return " ".join(str(error).split()) or in_one_line(error)
    if spec.kind != "order-only" and twin is None:
        return "it has no twin"
    return ""


def _guarded(spec: BoundSpec, origin: str) -> BoundSpec:
    """The same statement, whose functions raise nothing but InputError."""

    def guard(function: Callable[..., Any], numbers: bool) -> Callable[..., Any]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                answer = function(*args, **kwargs)
                return np.asarray(answer, dtype=np.float64) if numbers else answer
            except InputError:
                raise
            except Exception as error:  # the user's code may raise anything
                raise InputError(f"{origin}: {spec.name}: {in_one_line(error)}") from error

        return guarded

    reader = spec.from_evidence and guard(spec.from_evidence, numbers=False)
    return replace(spec, function=guard(spec.function, numbers=True), from_evidence=reader)
