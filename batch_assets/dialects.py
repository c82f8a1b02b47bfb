"""Which part of JSON Schema a provider's structured output accepts, as data, and the check of a schema against it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batch_assets.errors import SchemaError
from batch_assets.strict_schema import Node, join_path, resolve

_LOOKAROUND = re.compile(r"(?<!\\)\(\?<?[=!]")

_CURES = {
    "uniqueItems": "use a list instead of a set and say in the prompt that items must differ",
    "examples": "put the examples into the field's description",
    "pattern": "write the pattern without lookahead and lookbehind, or describe the form in the field's description",
    "default": "remove the default, or allow null",
    "oneOf": "use anyOf",
}
_ANNOTATIONS = frozenset({"type", "properties", "required", "additionalProperties", "items", "$ref", "$defs", "anyOf"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaDialect:
    """The subset of JSON Schema that a provider's strict mode takes. A limit of None is no limit.

    Counts are over the whole schema, each definition once. Depth counts objects within objects, the root being 1.
    """

    name: str
    """As a person knows it, for messages."""
    keywords: frozenset[str]
    """Keywords allowed beside the structural ones (type, properties, required, items, anyOf, $ref, $defs)."""
    string_formats: frozenset[str]
    lookaround: bool = True
    """Whether a pattern may look ahead or behind."""
    max_properties: int | None = None
    max_depth: int | None = None
    max_enum_values: int | None = None
    large_enum_values: int | None = None
    """An enum of more texts than this may have `large_enum_characters` in all."""
    large_enum_characters: int | None = None
    max_name_characters: int | None = None
    """Property names, definition names, enum and const texts together."""


OPENAI_STRICT = SchemaDialect(
    name="OpenAI's strict mode",
    # Structured outputs guide, "Supported schemas" (stored copies of 2025-10 and 2026-02). minLength and maxLength are
    # not in its list; live requests with them were accepted and enforced (pydantic-ai #7400, 2026-08).
    keywords=frozenset(
        {
            *("description", "enum", "const", "pattern", "format", "minLength", "maxLength"),
            *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
        }
    ),
    string_formats=frozenset(
        {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"},
    ),
    # "regex lookaround is not supported", a 400 reported by several projects in 2026.
    lookaround=False,
    max_properties=5000,
    max_depth=10,
    max_enum_values=1000,
    large_enum_values=250,
    large_enum_characters=15_000,
    max_name_characters=120_000,
)


def check_json_schema(schema: Node, dialect: SchemaDialect) -> None:
    """Raise SchemaError, naming the field and the cure, if `schema` (a strict form) is outside of `dialect`."""
    for path, node, depth in schema_nodes(schema):
        _check_keywords(path, node, dialect)
        _check_enum(path, node, dialect)
        if dialect.max_depth is not None and depth > dialect.max_depth:
            raise SchemaError(
                f"output field {path!r} is nested {depth} objects deep; {dialect.name} takes {dialect.max_depth}. "
                "Flatten the model."
            )
    _check_totals(schema, dialect)


def schema_nodes(schema: Node) -> Iterator[tuple[str, Node, int]]:
    """Every node of a strict form: the path of its field, the node, its depth in objects."""
    return _nodes(schema, schema, "", 0)


def _nodes(node: Node, root: Node, path: str, depth: int) -> Iterator[tuple[str, Node, int]]:
    """Yield (path, node, depth in objects) for each schema node, following references from each use."""
    node = resolve(node, root)
    if node.get("type") == "object":
        depth += 1
    yield path, node, depth
    for name, child in node.get("properties", {}).items():
        yield from _nodes(child, root, join_path(path, name), depth)
    if "items" in node:
        yield from _nodes(node["items"], root, f"{path}[]", depth)
    for variant in node.get("anyOf", ()):
        yield from _nodes(variant, root, path, depth)


def _check_keywords(path: str, node: Node, dialect: SchemaDialect) -> None:
    field = f"output field {path!r}" if path else "the output type"
    for keyword in node:
        if keyword not in dialect.keywords and keyword not in _ANNOTATIONS:
            cure = _CURES.get(keyword, "remove it, and describe it in the field's description")
            raise SchemaError(f"{field} uses {keyword!r}, which {dialect.name} does not take; {cure}.")
    text_format = node.get("format")
    if text_format is not None and text_format not in dialect.string_formats:
        raise SchemaError(
            f"{field} has the format {text_format!r}, which {dialect.name} does not take; "
            "use str and name the format in the field's description."
        )
    pattern = node.get("pattern")
    if pattern is not None and not dialect.lookaround and _LOOKAROUND.search(pattern):
        raise SchemaError(
            f"{field} has a pattern that looks around, which {dialect.name} refuses; {_CURES['pattern']}."
        )


def _check_enum(path: str, node: Node, dialect: SchemaDialect) -> None:
    values: list[Any] = node.get("enum", [])
    large, allowed = dialect.large_enum_values, dialect.large_enum_characters
    if large is None or allowed is None or len(values) <= large:
        return
    characters = sum(len(value) for value in values if isinstance(value, str))
    if characters > allowed:
        raise SchemaError(
            f"output field {path!r} chooses among {len(values)} texts of {characters} characters in all; above {large} "
            f"texts {dialect.name} takes {allowed} characters. Shorten the texts, or choose in two steps."
        )


def _check_totals(schema: Node, dialect: SchemaDialect) -> None:
    properties = enum_values = characters = 0
    for part in (schema, *schema.get("$defs", {}).values()):
        for node in _own_nodes(part):
            names = node.get("properties", {})
            texts = [*node.get("enum", []), *([node["const"]] if "const" in node else [])]
            properties += len(names)
            enum_values += len(node.get("enum", []))
            characters += sum(len(text) for text in (*names, *texts) if isinstance(text, str))
    characters += sum(len(name) for name in schema.get("$defs", {}))
    totals = (
        ("fields", properties, dialect.max_properties),
        ("enum values", enum_values, dialect.max_enum_values),
        ("characters of field names and enum texts", characters, dialect.max_name_characters),
    )
    for what, count, limit in totals:
        if limit is not None and count > limit:
            raise SchemaError(f"the output type has {count:,} {what}; {dialect.name} takes {limit:,}. Split the type.")


def _own_nodes(node: Node) -> Iterator[Node]:
    """Yield the nodes that stand in this schema itself, without following references."""
    yield node
    for child in (*node.get("properties", {}).values(), *node.get("anyOf", ())):
        yield from _own_nodes(child)
    if "items" in node:
        yield from _own_nodes(node["items"])
