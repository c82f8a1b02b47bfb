"""A decoder that parses and validates in one step, for the JSON schemas whose rules it knows exactly.

It accepts nothing that the JSON schema refuses; what it refuses, the JSON schema decides. Pure.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa

from batch_assets.strict_schema import Node, resolve

_SAID = {"type", "title", "description", "default", "examples"}
"""Keywords that ask nothing more of a value than its type."""
_BOUNDS = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}
_SCALARS: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}


class _NotFlat(Exception):  # a signal within this module
    """A rule that is not known here."""


def flat_decoder(schema: Node, fields: pa.Schema) -> msgspec.json.Decoder[Any] | None:
    """Decodes an object whose fields are plain texts, numbers, booleans, choices, null, or lists of such.

    None where a field is anything else: an object, a format, a pattern, a decimal.
    """
    if schema.get("additionalProperties") is not False or set(schema["required"]) != set(fields.names):
        return None
    if any(pa.types.is_decimal(field.type) for field in fields):
        return None  # every digit counts, and a float has not all of them
    places = {f"field_{place}": name for place, name in enumerate(fields.names)}
    try:
        kinds = [(place, _kind(schema["properties"][name], schema)) for place, name in places.items()]
        return msgspec.json.Decoder(
            msgspec.defstruct("Response", kinds, rename=places, forbid_unknown_fields=True, gc=False)
        )
    except (_NotFlat, TypeError, ValueError, OverflowError):  # the others: bounds that msgspec does not take
        return None


def _kind(node: Node, root: Node) -> Any:
    """The type of a value as msgspec has it."""
    node = resolve(node, root)
    rules = set(node) - _SAID
    kind = node.get("type")
    if rules == {"anyOf"} and kind is None:
        return reduce(or_, (_kind(each, root) for each in node["anyOf"]))
    if kind == "null" and not rules:
        return type(None)
    if kind == "array" and rules == {"items"}:
        return list[_kind(node["items"], root)]  # type: ignore[misc]  # made at run time
    if kind == "string" and rules in ({"enum"}, {"const"}):
        return Literal[tuple(node["enum"] if "enum" in node else [node["const"]])]
    if kind in {"integer", "number"} and rules <= set(_BOUNDS):
        bounds = {_BOUNDS[rule]: node[rule] for rule in rules}
        if kind == "integer":
            bounds |= {} if "ge" in bounds or "gt" in bounds else {"ge": -(1 << 63)}
            bounds |= {} if "le" in bounds or "lt" in bounds else {"le": (1 << 63) - 1}
        return Annotated[_SCALARS[kind], msgspec.Meta(**bounds)]
    if kind in _SCALARS and not rules:
        return _SCALARS[kind]
    raise _NotFlat
