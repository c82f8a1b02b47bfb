"""Output types: from a pydantic model, a JSON Schema or `str` to what a provider is told and to Arrow columns.

    str, int, float, bool         string, int64, float64, bool
    Literal or Enum of texts      dictionary<int32, string>, the dictionary in the order of the type
    Literal or Enum of integers   int64
    datetime, date, time          timestamp[us, UTC] (the text needs an offset), date32, time64[us] (offset dropped)
    Decimal                       decimal128(38, 18), or (max_digits, decimal_places) if the field has them; asked for
                                  as a text, so that every digit survives, but as a number if the field has bounds
    UUID, URL, timedelta, ...     string, as written
    list[T], nested model         list<T>, struct
    Optional[T]                   T
    (an embedding)                list<float32>

A field's default is not sent: the provider answers every field. Aliases name the columns. A model's own validator
functions are not run: a response is validated against the JSON schema, which the plan keeps.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import orjson
import pyarrow as pa
from pydantic import BaseModel, RootModel
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import core_schema

from batch_assets.decoder import Decoded, ResponseDecoder
from batch_assets.dialects import OPENAI_STRICT, SchemaDialect, check_json_schema
from batch_assets.errors import SchemaError
from batch_assets.strict_schema import DECIMAL, DECIMAL_DIGITS, arrow_schema, strict_form, without_marks

__all__ = ["OPENAI_STRICT", "Decoded", "OutputSchema", "ResponseDecoder", "SchemaDialect", "check_dialect"]

RESERVED_PREFIX = "batch_"
"""Columns with this prefix are the product's own (batch_outcome, batch_error, ...)."""

TEXT_COLUMN = "response"
"""The one column of the output type `str`."""

EMBEDDING_COLUMN = "embedding"
"""The one column of an embedding: a vector of 32-bit floats, the precision that the vendors send."""

_FORMAT = 1
_DECIMAL_SCALE = 18
_NAME_CHARACTERS = 64  # OpenAI: "a-z, A-Z, 0-9, or underscores and dashes, with a maximum length of 64"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSchema:
    """What one response holds: the JSON schema that the provider is given, and the Arrow columns that come out."""

    name: str
    """Name of the type, in the characters that providers take (letters, digits, `_`, `-`; 64 at most)."""
    json_schema: dict[str, Any] | None
    """The strict form, self-contained; None for plain text and for embeddings."""
    fields: pa.Schema
    """The Arrow columns, all nullable; a field's description is its metadata `description`."""

    @classmethod
    def of(cls, output_type: type) -> Self:
        """Return the schema of a pydantic model class, or of `str` (plain text in the column `response`).

        Raises SchemaError, naming the field and the cure, for what a strict schema or Arrow cannot express.
        """
        if output_type is str:
            return cls(name=TEXT_COLUMN, json_schema=None, fields=pa.schema([pa.field(TEXT_COLUMN, pa.string())]))
        if not (isinstance(output_type, type) and issubclass(output_type, BaseModel)):
            raise SchemaError(f"output_type is {output_type!r}; give a pydantic model class, or str for plain text.")
        if issubclass(output_type, RootModel):
            raise SchemaError(f"output_type {output_type.__name__} is a RootModel; use a model with named fields.")
        try:
            schema = output_type.model_json_schema(schema_generator=_Generator, mode="validation")
        except PydanticUserError as error:
            raise SchemaError(f"output_type {output_type.__name__} has no JSON schema: {error.message}") from error
        return cls._built(schema, output_type.__name__)

    @classmethod
    def embedding(cls) -> Self:
        """Return the one schema of the endpoint `embeddings`: a vector in the column `embedding`."""
        fields = pa.schema([pa.field(EMBEDDING_COLUMN, pa.list_(pa.float32()))])
        return cls(name=EMBEDDING_COLUMN, json_schema=None, fields=fields)

    @property
    def is_embedding(self) -> bool:
        """Whether a response is a vector."""
        return self.json_schema is None and self.fields.names == [EMBEDDING_COLUMN]

    @classmethod
    def from_json_schema(cls, schema: Mapping[str, Any], *, name: str | None = None) -> Self:
        """Return the schema of a JSON Schema document whose root is an object; it is brought into the strict form.

        `name` defaults to the document's title. Raises SchemaError as `of` does.
        """
        if not isinstance(schema, Mapping):
            raise SchemaError(f"the JSON schema is a {type(schema).__name__}, not an object.")
        return cls._built(schema, name or str(schema.get("title") or TEXT_COLUMN))

    @classmethod
    def _built(cls, schema: Mapping[str, Any], name: str) -> Self:
        marked = strict_form(schema)
        for field in marked["properties"]:
            if field.startswith(RESERVED_PREFIX):
                raise SchemaError(
                    f"output field {field!r}: columns that begin with {RESERVED_PREFIX!r} are reserved; rename it."
                )
        fields = arrow_schema(marked)
        wire_name = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:_NAME_CHARACTERS]
        built = cls(name=wire_name, json_schema=without_marks(marked), fields=fields)
        built.decoder()  # a pattern that is no regular expression is found here
        return built

    @property
    def identity(self) -> str:
        """What a fingerprint covers: the exact JSON schema ("null" for plain text), not the type's name."""
        return orjson.dumps(self.json_schema).decode()

    def decoder(self) -> ResponseDecoder:
        """Return a decoder of responses into these columns; making one compiles the schema, so keep it."""
        return ResponseDecoder(json_schema=self.json_schema, fields=self.fields)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` restores exactly; plain JSON values. The schemas are texts: their order counts."""
        return {
            "format": _FORMAT,
            "name": self.name,
            "json_schema": self.identity,
            "arrow": base64.b64encode(self.fields.serialize().to_pybytes()).decode(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Restore what `to_json` returned. Raises SchemaError if it is damaged or of a newer format."""
        if stored.get("format") != _FORMAT:
            raise SchemaError(
                f"a stored output schema has format {stored.get('format')!r}; this version reads {_FORMAT}. Upgrade."
            )
        try:
            fields = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(stored["arrow"], validate=True)))
            return cls(name=stored["name"], json_schema=orjson.loads(stored["json_schema"]), fields=fields)
        except (KeyError, ValueError, pa.ArrowException) as error:
            raise SchemaError(f"a stored output schema is damaged: {type(error).__name__}: {error}") from error


def check_dialect(schema: OutputSchema, dialect: SchemaDialect) -> None:
    """Raise SchemaError if a provider's strict mode does not take `schema`; it names the field, why, and the cure."""
    if schema.json_schema is not None:
        check_json_schema(schema.json_schema, dialect)


class _Generator(GenerateJsonSchema):
    """pydantic's generator without made-up titles, and with decimals in one form instead of two."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"non-serializable-default"}  # noqa: RUF012  # as in the base

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        places = schema.get("decimal_places")
        scale = _DECIMAL_SCALE if places is None else places
        digits = max(schema.get("max_digits") or DECIMAL_DIGITS, scale)
        bounds = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
        keywords = {**bounds, "multiple_of": "multipleOf"}
        given = {keyword: float(schema[key]) for key, keyword in keywords.items() if schema.get(key) is not None}  # type: ignore[literal-required]  # the keys are the TypedDict's
        if given:
            return {"type": "number", **given, DECIMAL: [digits, scale]}
        whole = f"[0-9]{{1,{digits - scale}}}" if digits > scale else "0"
        fraction = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
        return {"type": "string", "pattern": f"^-?{whole}{fraction}$", DECIMAL: [digits, scale]}
