"""Which JSON schemas Anthropic's structured outputs take, and what a model reads from their descriptions.

Facts: the structured outputs guide and what the SDK's `transform_schema` leaves out (2.12), read 2026-11.
"""

import re
from functools import lru_cache
from typing import Any

import orjson

_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"),
)
_UNSUPPORTED = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties", "patternProperties"),
    *("oneOf", "not", "if", "then", "else", "prefixItems", "contains"),
)
_MAX_UNIONS = 16  # an error of the API that users report, 2026-07
_BOUND = re.compile(
    r"\b(minimum|maximum|exclusiveMinimum|exclusiveMaximum|multipleOf|minLength|maxLength|minItems|maxItems): "
    r"(-?\d+(?:\.\d+)?)"
)
_PATTERN = re.compile(r"\bpattern: (.+?)(?=, \w+: |$)")


@lru_cache(maxsize=256)
def objection(schema: bytes) -> str | None:
    """Why structured outputs do not take `schema` (JSON), None when they do."""
    document = orjson.loads(schema)
    unions = schema.count(b'"anyOf":[')
    if unions > _MAX_UNIONS:
        return (
            f"Schemas contains too many parameters with union types ({unions} parameters with type arrays or anyOf; "
            f"limit: {_MAX_UNIONS})"
        )
    return _objection(document, document, ())


def _objection(node: Any, root: Any, above: tuple[str, ...]) -> str | None:
    """The first objection to `node` or something in it; `above` are the references that lead to it."""
    if not isinstance(node, dict):
        return "a schema is an object"
    if own := _own_objection(node):
        return own
    children = [*node.get("properties", {}).values(), *node.get("anyOf", ()), *node.get("allOf", ())]
    if "items" in node:
        children.append(node["items"])
    if (ref := node.get("$ref")) is not None:
        name = str(ref).removeprefix("#/$defs/").removeprefix("#/definitions/")
        target = {**root.get("definitions", {}), **root.get("$defs", {})}.get(name)
        if target is None:
            return f"the reference '{ref}' is not supported"
        if ref in above:
            return "recursive schemas are not supported"
        children, above = [target], (*above, ref)
    return next(filter(None, (_objection(child, root, above) for child in children)), None)


def _own_objection(node: dict[str, Any]) -> str | None:
    kind = node.get("type")
    forbidden = next((key for key in _UNSUPPORTED if key in node), None)
    checks = (
        (
            kind == "object" and node.get("additionalProperties") is not False,
            "For 'object' type, 'additionalProperties' must be explicitly set to false",
        ),
        (forbidden is not None, f"For '{kind}' type, property '{forbidden}' is not supported"),
        (
            node.get("minItems", 0) not in (0, 1),
            "For 'array' type, 'minItems' values other than 0 or 1 are not supported",
        ),
        (node.get("format", "date") not in _FORMATS, f"the string format '{node.get('format')}' is not supported"),
        (
            any(isinstance(value, dict | list) for value in node.get("enum", ())),
            "enum values are strings, numbers, booleans or null",
        ),
        (not {"type", "$ref", "anyOf", "allOf", "enum", "const"} & node.keys(), "a schema has a type"),
    )
    return next((text for objected, text in checks if objected), None)


@lru_cache(maxsize=256)
def as_read(schema: bytes) -> bytes:
    """The schema with the bounds that descriptions state as `{minimum: 1, maximum: 5}`, as a model would heed them.

    The SDK's `transform_schema` moves there what the API does not take.
    """
    return orjson.dumps(_as_read(orjson.loads(schema)))


def _as_read(node: Any) -> Any:
    if isinstance(node, list):
        return [_as_read(each) for each in node]
    if not isinstance(node, dict):
        return node
    read = {key: _as_read(value) for key, value in node.items()}
    description = node.get("description")
    if isinstance(description, str) and description.endswith("}"):
        stated = ("\n\n" + description).rpartition("\n\n{")[2].removesuffix("}")
        for name, bound in _BOUND.findall(stated):
            read[name] = float(bound) if "." in bound else int(bound)
        if match := _PATTERN.search(stated):
            read["pattern"] = match[1]
    return read
