"""From any JSON Schema to its strict form, and from the strict form to Arrow.

The strict form is what structured output asks for: self-contained, every object closed, every property required,
optional values as a union with null, no defaults, no titles. Its keywords stand in one fixed order, so that the same
type gives the same bytes. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import pyarrow as pa

from batch_assets.errors import SchemaError

Node: TypeAlias = dict[str, Any]

DECIMAL = "x-batch-decimal"
"""Internal keyword on the way to Arrow: [precision, scale] of a decimal column. Never in a finished schema."""

DECIMAL_DIGITS = 38
"""The most digits of a decimal column (decimal128)."""

KEPT_FORMATS = frozenset(
    {"date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"},
)
"""Formats that stay in the schema and are checked in every response. Others (uri, ...) become words in the description:
the values are plain texts, and no provider's strict mode knows them."""

_DROPPED = frozenset(
    {
        *("title", "default", "$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly", "discriminator"),
        *("$defs", "definitions"),  # those in use are put back at the root
    }
)
_ORDER = {
    keyword: place
    for place, keyword in enumerate(
        [
            *("description", "type", "const", "enum", "format", "pattern", "minLength", "maxLength"),
            *("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
            *("items", "properties", "required", "additionalProperties", "anyOf", "$ref", "$defs"),
        ]
    )
}
_NULL = {"type": "null"}
_BINARY_FORMATS = frozenset({"binary", "base64url", "base64"})


def strict_form(schema: Mapping[str, Any]) -> Node:
    """Return the strict form of a JSON Schema whose root is an object; references stay within the schema.

    A property that was optional becomes required, and may be null only if its type allows null.
    Raises SchemaError, with the path of the field, for what has no strict form or no Arrow type: open objects (dicts),
    Any, tuples, recursion, unions of several types.
    """
    builder = _Builder(schema)
    root = builder.node(builder.resolved(dict(schema), ""), "")
    if root.get("type") != "object":
        raise SchemaError("the output type is not an object with named fields; wrap it in a model with one field.")
    if builder.definitions:
        root["$defs"] = dict(sorted(builder.definitions.items()))
    return root


class _Builder:
    """One walk over a schema from its root; definitions are made strict when first used."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._open: list[str] = []  # references being resolved, to see recursion
        self.definitions: dict[str, Node] = {}

    def resolved(self, node: Node, path: str) -> Node:
        """Merge `$ref` with siblings and single `allOf` into one node; keywords at the place of use win."""
        while True:
            if "$ref" in node:
                rest = {key: value for key, value in node.items() if key != "$ref"}
                node = {**self._target(node["$ref"], path), **rest}
            elif "allOf" in node:
                if len(node["allOf"]) != 1:
                    raise SchemaError(f"{_at(path)} combines several schemas (allOf); write one model with all fields.")
                rest = {key: value for key, value in node.items() if key != "allOf"}
                node = {**node["allOf"][0], **rest}
            else:
                return node

    def node(self, node: object, path: str) -> Node:
        """Return one schema node in its strict form. `path` names the field in messages (`items[].when`)."""
        if not isinstance(node, dict) or not node:
            raise SchemaError(f"{_at(path)} may be anything (Any); give it a type.")
        if "$ref" in node:
            return self._reference(node, path)
        if "allOf" in node:
            return self.node(self.resolved(node, path), path)
        strict = {key: value for key, value in node.items() if key not in _DROPPED}
        if "oneOf" in strict and "anyOf" not in strict:
            strict["anyOf"] = strict.pop("oneOf")
        if "anyOf" in strict:
            return self._union(strict, path)
        if "enum" in strict or "const" in strict:
            return _choice(strict, path)
        if isinstance(strict.get("type"), list):
            return self._union(_types_as_union(strict), path)
        kind = strict.get("type", "object" if "properties" in strict else None)
        if kind == "object":
            strict = self._object(strict, path)
        elif kind == "array":
            strict = self._array(strict, path)
        elif kind == "string":
            strict = _string(strict, path)
        elif kind in {"integer", "number", "boolean", "null"}:
            strict.pop("format", None)  # int64, float, ...: an annotation
        else:
            raise SchemaError(f"{_at(path)} has no type (Any, or an unknown one: {kind!r}); give it a type.")
        return _ordered(strict)

    def _target(self, reference: object, path: str) -> Node:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise SchemaError(f"{_at(path)} refers to {reference!r}; a schema may only refer to its own $defs.")
        found: Any = self._root
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise SchemaError(f"{_at(path)} refers to {reference!r}, which the schema does not have.")
            found = found[name]
        return dict(found)

    def _reference(self, node: Node, path: str) -> Node:
        reference = node["$ref"]
        if reference in self._open:
            raise SchemaError(
                f"{_at(path)} is recursive (it contains its own type), which a table column cannot be; "
                "flatten it, or bound its depth with one model per level."
            )
        self._open.append(reference)
        siblings = node.keys() - _DROPPED - {"$ref"}
        prefix, _, name = str(reference).rpartition("/")
        if siblings or prefix not in {"#/$defs", "#/definitions"}:
            strict = self.node(self.resolved(node, path), path)
        else:
            if name not in self.definitions:
                self.definitions[name] = self.node(self._target(reference, path), path)
            strict = {"$ref": f"#/$defs/{name}"}
        self._open.pop()
        return strict

    def _union(self, node: Node, path: str) -> Node:
        variants = [self.node(variant, path) for variant in node["anyOf"]]
        if len(variants) == 1:
            rest = {key: value for key, value in node.items() if key != "anyOf"}
            return self.node({**node["anyOf"][0], **rest}, path)
        flat: list[Node] = []
        for variant in variants:
            for part in variant["anyOf"] if variant.keys() == {"anyOf"} else [variant]:
                if part not in flat:
                    flat.append(part)
        return _ordered({**node, "anyOf": flat})

    def _object(self, node: Node, path: str) -> Node:
        properties = node.get("properties", {})
        if node.get("additionalProperties", False) is not False:
            raise SchemaError(
                f"{_at(path)} is an open object (a dict, or a model that allows extra fields); "
                "name its fields in a model, or use a list of models with a key and a value."
            )
        if not properties:
            raise SchemaError(f"{_at(path)} is an object without fields; name its fields in a model.")
        strict = {name: self.node(child, join_path(path, name)) for name, child in properties.items()}
        closed = {"type": "object", "properties": strict, "required": list(strict), "additionalProperties": False}
        return {**node, **closed}

    def _array(self, node: Node, path: str) -> Node:
        if "prefixItems" in node or isinstance(node.get("items"), list):
            raise SchemaError(f"{_at(path)} is a tuple; use a list of one type, or a model with a field for each item.")
        if "items" not in node:
            raise SchemaError(f"{_at(path)} is a list of anything; give its items a type (list[str]).")
        return {**node, "items": self.node(node["items"], f"{path}[]")}


def join_path(path: str, name: str) -> str:
    """Return the path of a field within another field; the root's path is empty."""
    return f"{path}.{name}" if path else name


def _at(path: str) -> str:
    return f"output field {path!r}" if path else "the output type"


def _ordered(node: Node) -> Node:
    return dict(sorted(node.items(), key=lambda item: (_ORDER.get(item[0], len(_ORDER)), item[0])))


def _types_as_union(node: Node) -> Node:
    """Rewrite `type: [a, b]` as a union; constraints stay with the types that are not null."""
    outer = {key: value for key, value in node.items() if key == "description"}
    inner = {key: value for key, value in node.items() if key not in {"description", "type"}}
    variants = [dict(_NULL) if kind == "null" else {"type": kind, **inner} for kind in node["type"]]
    return {**outer, "anyOf": variants}


_KINDS = {str: "string", bool: "boolean", int: "integer", float: "number"}


def _choice(node: Node, path: str) -> Node:
    """Return an enum or const with its one type; a null among its values becomes a union with null."""
    values = node["enum"] if "enum" in node else [node["const"]]
    present = [value for value in values if value is not None]
    kinds = {_KINDS.get(type(value)) for value in present}
    if len(kinds) != 1 or None in kinds:
        raise SchemaError(
            f"{_at(path)} chooses among values of different types; use texts only, or whole numbers only."
        )
    strict = {key: value for key, value in node.items() if key not in {"type", "format"}}
    strict["type"] = kinds.pop()
    if "enum" in node:
        strict["enum"] = present
    nullable = len(present) < len(values)
    if not nullable:
        return _ordered(strict)
    described = {"description": strict.pop("description")} if "description" in strict else {}
    return _ordered({**described, "anyOf": [_ordered(strict), dict(_NULL)]})


def _string(node: Node, path: str) -> Node:
    text_format = node.get("format")
    if text_format is None or text_format in KEPT_FORMATS:
        return node
    if text_format in _BINARY_FORMATS:
        raise SchemaError(f"{_at(path)} holds bytes, which a model cannot write; use a text (str).")
    words = [node.get("description", ""), f"Format: {text_format}."]
    strict = {key: value for key, value in node.items() if key != "format"}
    return {**strict, "description": " ".join(word for word in words if word)}


# ---------------------------------------------------------------- Arrow


def resolve(node: Node, root: Node) -> Node:
    """Follow the references of a strict schema (they are `#/$defs/name`, and never recursive)."""
    while "$ref" in node:
        node = root["$defs"][node["$ref"].removeprefix("#/$defs/")]
    return node


def variants(node: Node, root: Node) -> list[Node]:
    """Return the resolved alternatives of a strict node, without null; one for a node that is no union."""
    node = resolve(node, root)
    if "anyOf" not in node:
        return [] if node.get("type") == "null" else [node]
    return [found for variant in node["anyOf"] for found in variants(variant, root)]


def arrow_schema(strict: Node) -> pa.Schema:
    """Return the Arrow columns of a strict schema, one per property of its root, in order.

    Columns are nullable, as are the fields within them: a row without a valid response has null in all of them.
    A description becomes the field metadata `description`. Raises SchemaError where Arrow has no such type.
    """
    return pa.schema(
        [_arrow_field(name, child, strict, join_path("", name)) for name, child in strict["properties"].items()]
    )


def without_marks(node: Any) -> Any:
    """Return the schema without this module's internal keywords."""
    if isinstance(node, dict):
        return {key: without_marks(value) for key, value in node.items() if key != DECIMAL}
    if isinstance(node, list):
        return [without_marks(item) for item in node]
    return node


def _descriptions(node: Node, root: Node) -> Iterator[str]:
    """Yield descriptions from the place of use inwards."""
    if "description" in node:
        yield node["description"]
    if "$ref" in node:
        yield from _descriptions(resolve(node, root), root)
    for variant in node.get("anyOf", ()):
        yield from _descriptions(variant, root)


def _arrow_field(name: str, node: Node, root: Node, path: str) -> pa.Field:
    description = next(_descriptions(node, root), None)
    metadata = None if description is None else {"description": description}
    return pa.field(name, _arrow_type(node, root, path), nullable=True, metadata=metadata)


def _arrow_type(node: Node, root: Node, path: str) -> pa.DataType:
    alternatives = variants(node, root)
    kinds = {variant["type"] for variant in alternatives}
    if not kinds:
        raise SchemaError(f"{_at(path)} can only be null; remove it.")
    if len(alternatives) > 1 and kinds <= {"integer", "number"}:
        return pa.float64() if "number" in kinds else pa.int64()
    if len(alternatives) > 1:
        raise SchemaError(
            f"{_at(path)} is a union of several types, and a column has one; "
            "use one type, or one model with a field for each case that may be null."
        )
    (only,) = alternatives
    if only["type"] == "object":
        return pa.struct(
            [_arrow_field(name, child, root, join_path(path, name)) for name, child in only["properties"].items()]
        )
    if only["type"] == "array":
        return pa.list_(_arrow_field("item", only["items"], root, f"{path}[]"))
    return _arrow_scalar(only, path)


def _arrow_scalar(node: Node, path: str) -> pa.DataType:
    if DECIMAL in node:
        precision, scale = node[DECIMAL]
        if precision > DECIMAL_DIGITS:
            raise SchemaError(f"{_at(path)} has {precision} digits; a decimal column has {DECIMAL_DIGITS} at most.")
        return pa.decimal128(precision, scale)
    plain = {"boolean": pa.bool_(), "integer": pa.int64(), "number": pa.float64()}
    if node["type"] in plain:
        return plain[node["type"]]
    if "enum" in node or "const" in node:
        return pa.dictionary(pa.int32(), pa.string())
    formats = {"date-time": pa.timestamp("us", tz="UTC"), "date": pa.date32(), "time": pa.time64("us")}
    return formats.get(node.get("format", ""), pa.string())
