"""Every value in a JSON document, by its path, and the document with one of them replaced."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

JsonPath = tuple[str | int, ...]


def leaves(value: Any, path: JsonPath = ()) -> Iterator[tuple[JsonPath, Any]]:
    """Numbers, strings, booleans and nulls."""
    for inner, found in nodes(value, path):
        if not isinstance(found, dict | list):
            yield inner, found


def nodes(value: Any, path: JsonPath = ()) -> Iterator[tuple[JsonPath, Any]]:
    """The document itself and everything in it."""
    yield path, value
    inside = value.items() if isinstance(value, dict) else []
    inside = enumerate(value) if isinstance(value, list) else inside
    for key, item in inside:
        yield from nodes(item, (*path, key))


def replaced(document: Any, path: JsonPath, value: Any) -> Any:
    """A copy of the document with another value at the path."""
    changed = copy.deepcopy(document)
    if not path:
        return value
    owner = changed
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    return changed


def without(document: Any, path: JsonPath) -> Any:
    """A copy of the document without what stands at the path."""
    changed = copy.deepcopy(document)
    owner = changed
    for key in path[:-1]:
        owner = owner[key]
    del owner[path[-1]]
    return changed
