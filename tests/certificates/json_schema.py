"""JSON Schema as far as certificate.schema.json uses it; a keyword it does not know is an error."""

from __future__ import annotations

import re
from typing import Any

ANNOTATIONS = {"$schema", "$defs", "title", "description", "default"}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None) -> bool:
    """Whether the value is valid."""
    root = root or schema
    return all(
        _holds(keyword, wanted, schema, value, root)
        for keyword, wanted in schema.items()
        if keyword not in ANNOTATIONS
    )


def _holds(keyword: str, wanted: Any, schema: dict[str, Any], value: Any, root: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text, size = isinstance(value, str), len(value) if isinstance(value, str | list | dict) else 0
    match keyword:
        case "$ref":
            return accepts(root["$defs"][wanted.removeprefix("#/$defs/")], value, root)
        case "anyOf":
            return any(accepts(option, value, root) for option in wanted)
        case "type":
            boolean = isinstance(value, bool)
            return isinstance(value, TYPES[wanted]) and boolean == (wanted == "boolean")
        case "const":
            return bool(value == wanted)
        case "enum":
            return value in wanted
        case "minimum":
            return not number or value >= wanted
        case "maximum":
            return not number or value <= wanted
        case "exclusiveMinimum":
            return not number or value > wanted
        case "exclusiveMaximum":
            return not number or value < wanted
        case "pattern":
            return not text or _matches(wanted, value)
        case "minLength":
            return not text or size >= wanted
        case "maxLength":
            return not text or size <= wanted
        case "items":
            return not isinstance(value, list) or all(accepts(wanted, v, root) for v in value)
        case "maxItems":
            return not isinstance(value, list) or size <= wanted
    if not isinstance(value, dict):
        return True
    match keyword:
        case "required":
            return set(wanted) <= set(value)
        case "maxProperties":
            return size <= wanted
        case "propertyNames":
            return all(accepts(wanted, name, root) for name in value)
        case "properties":
            return all(accepts(wanted[n], v, root) for n, v in value.items() if n in wanted)
        case "patternProperties":
            return all(
                accepts(inner, v, root)
                for pattern, inner in wanted.items()
                for n, v in value.items()
                if _matches(pattern, n)
            )
        case "additionalProperties" if wanted is False:
            return set(value) <= set(schema["properties"])
    raise AssertionError(f"unknown keyword {keyword}: {wanted}")


def _matches(pattern: str, text: str) -> bool:
    """In JSON Schema `$` is the very end, also before a line break."""
    return re.search(pattern.replace("$", r"\Z"), text) is not None
