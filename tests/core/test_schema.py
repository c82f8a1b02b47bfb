"""Output types: the strict form against the SDK's own, Arrow columns, dialects, and the decoding of responses."""

from __future__ import annotations

import datetime as dt
import io
import json
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, RootModel

from batch_assets.errors import SchemaError
from batch_assets.schema import OPENAI_STRICT, OutputSchema, check_dialect


class Color(Enum):
    RED = "red"
    DEEP_BLUE = "deep blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Item(BaseModel):
    """One thing to do."""

    what: str = Field(description="The thing, in a few words.", min_length=1, max_length=200)
    when: dt.datetime | None = None
    color: Color = Color.RED


class Everything(BaseModel):
    """All types at once."""

    text: str
    count: int = 3
    share: Annotated[float, Field(gt=0, le=1)]
    flag: bool
    intent: Literal["card_arrival", "lost_card"] = Field(description="What the customer wants.")
    one: Literal["only"]
    stars: Literal[1, 2, 3]
    level: Level
    color: Color
    maybe_color: Optional[Color] = Field(None, description="Color, if any.")  # noqa: UP045  # both spellings are used
    maybe: int | None = Field(None, ge=0)
    tags: list[str] = Field(min_length=1, max_length=5)
    items: list[Item]
    best: Item | None
    nested: list[list[int]]
    at: dt.datetime
    day: dt.date
    hour: dt.time
    key: UUID
    code: str = Field(pattern="^[A-Z]{2}$")
    step: int = Field(multiple_of=5)


VALID: dict[str, Any] = {
    "text": 'q"uo\u0000te 🙂\n',
    "count": 4,
    "share": 1,
    "flag": True,
    "intent": "lost_card",
    "one": "only",
    "stars": 2,
    "level": 1,
    "color": "deep blue",
    "maybe_color": None,
    "maybe": 7,
    "tags": ["a", "b"],
    "items": [{"what": "call", "when": "2026-11-23T10:00:00.123456+02:00", "color": "red"}],
    "best": None,
    "nested": [[1], [], [2, 3]],
    "at": "2026-11-23t10:00:00.1234567z",
    "day": "2026-02-28",
    "hour": "23:59:01+02:00",
    "key": "12345678-1234-5678-1234-567812345678",
    "code": "DE",
    "step": 10.0,
}


def inlined(node: Any, root: dict[str, Any]) -> Any:
    """A schema without references and titles, so that two spellings of one schema compare equal."""
    if isinstance(node, list):
        return [inlined(item, root) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return inlined(
            {**root["$defs"][node["$ref"].rpartition("/")[2]], **{k: node[k] for k in node if k != "$ref"}}, root
        )
    properties = {name: inlined(child, root) for name, child in node.get("properties", {}).items()}
    rest = {
        k: inlined(v, root) for k, v in node.items() if k not in {"$defs", "title", "default", "format", "properties"}
    }
    return {**rest, **({"properties": properties} if properties else {})}


def decode_one(schema: OutputSchema, value: object) -> tuple[dict[str, Any] | None, str | None]:
    text = value if isinstance(value, str | bytes) else orjson.dumps(value)
    decoded = schema.decoder().decode([text])
    row = {field.name: column[0].as_py() for field, column in zip(schema.fields, decoded.columns, strict=True)}
    for field, column in zip(schema.fields, decoded.columns, strict=True):
        assert column.type == field.type
    return (None if 0 in decoded.errors else row), decoded.errors.get(0)


# ---------------------------------------------------------------- the strict form


def test_the_strict_form_is_that_of_the_sdk() -> None:
    ours = OutputSchema.of(Everything).json_schema
    assert ours is not None
    sdk = to_strict_json_schema(Everything)
    assert inlined(ours, ours) == inlined(sdk, sdk)
    assert list(ours["properties"]) == list(Everything.model_fields)
    assert ours["required"] == list(Everything.model_fields)
    check_dialect(OutputSchema.of(Everything), OPENAI_STRICT)


def test_nothing_of_the_generator_is_left_in_a_schema() -> None:
    text = OutputSchema.of(Everything).identity
    for word in ("title", "default", "x-batch", "allOf", "oneOf"):
        assert f'"{word}' not in text


def test_the_same_type_gives_the_same_bytes() -> None:
    assert OutputSchema.of(Everything).identity == OutputSchema.of(Everything).identity
    a = {"type": "object", "properties": {"b": {"type": "string", "description": "x"}, "a": {"type": "integer"}}}
    b = {"properties": {"b": {"description": "x", "type": "string"}, "a": {"type": "integer"}}, "type": "object"}
    assert OutputSchema.from_json_schema(a).identity == OutputSchema.from_json_schema(b).identity
    c = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string", "description": "x"}}}
    assert OutputSchema.from_json_schema(a).identity != OutputSchema.from_json_schema(c).identity, (
        "order is the model's"
    )


def test_a_default_does_not_make_a_field_nullable() -> None:
    schema = OutputSchema.of(Everything)
    assert schema.json_schema is not None
    assert schema.json_schema["properties"]["count"] == {"type": "integer"}
    assert decode_one(schema, {**VALID, "count": None})[1]
    assert decode_one(schema, {**VALID, "maybe": None})[1] is None


def test_json_schema_documents_are_brought_into_the_strict_form() -> None:
    schema = OutputSchema.from_json_schema(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "My type!",
            "type": "object",
            "definitions": {"c": {"enum": ["a", "b"]}},
            "properties": {
                "kind": {"$ref": "#/definitions/c", "description": "The kind."},
                "plain": {"$ref": "#/definitions/c"},
                "note": {"type": ["string", "null"], "maxLength": 5, "description": "A note."},
                "either": {"enum": ["x", None]},
                "n": {"type": ["integer", "number"]},
                "one": {"allOf": [{"type": "integer", "format": "int32"}], "description": "One."},
                "nested": {"oneOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "null"}]},
            },
            "required": ["kind"],
        }
    )
    assert schema.name == "My_type_"
    assert schema.json_schema == {
        "type": "object",
        "properties": {
            "kind": {"description": "The kind.", "type": "string", "enum": ["a", "b"]},
            "plain": {"$ref": "#/$defs/c"},
            "note": {"description": "A note.", "anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]},
            "either": {"anyOf": [{"type": "string", "enum": ["x"]}, {"type": "null"}]},
            "n": {"anyOf": [{"type": "integer"}, {"type": "number"}]},
            "one": {"description": "One.", "type": "integer"},
            "nested": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["kind", "plain", "note", "either", "n", "one", "nested"],
        "additionalProperties": False,
        "$defs": {"c": {"type": "string", "enum": ["a", "b"]}},
    }
    check_dialect(schema, OPENAI_STRICT)
    choice = pa.dictionary(pa.int32(), pa.string())
    assert schema.fields.types == [choice, choice, pa.string(), choice, pa.float64(), pa.int64(), pa.string()]


class Recursive(BaseModel):
    children: list[Recursive]


class Deep(BaseModel):
    a: list[Recursive]


class Left(BaseModel):
    a: int


class Right(BaseModel):
    b: int


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


def model(annotation: Any, **keywords: Any) -> type[BaseModel]:
    return type("Made", (BaseModel,), {"__annotations__": {"field": annotation}, "field": Field(**keywords)})


@pytest.mark.parametrize(
    ("output_type", "words"),
    [
        (int, ["int", "pydantic model"]),
        (list[str], ["pydantic model"]),
        (RootModel[list[int]], ["RootModel", "named fields"]),
        (type("Empty", (BaseModel,), {}), ["without fields"]),
        (model(Any), ["'field'", "Any"]),
        (model(list[Any]), ["'field[]'", "Any"]),
        (model(list), ["'field[]'", "Any"]),
        (model(dict[str, int]), ["'field'", "dict"]),
        (model(Open), ["'field'", "extra fields"]),
        (model(tuple[int, str]), ["'field'", "tuple"]),
        (model(bytes), ["'field'", "bytes"]),
        (model(int | str), ["'field'", "union"]),
        (model(Left | Right), ["'field'", "union"]),
        (model(None), ["'field'", "null"]),
        (model(Literal[1, "a"]), ["'field'", "different types"]),
        (model(Decimal, max_digits=40), ["'field'", "40 digits"]),
        (Recursive, ["children[]", "recursive"]),
        (Deep, ["a[].children[]", "recursive"]),
        (type("Clash", (BaseModel,), {"__annotations__": {"batch_outcome": str}}), ["'batch_outcome'", "reserved"]),
    ],
)
def test_what_cannot_be_expressed_names_the_field(output_type: Any, words: list[str]) -> None:
    with pytest.raises(SchemaError) as caught:
        OutputSchema.of(output_type)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        [],
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "properties": {"a": {"$ref": "https://elsewhere"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/gone"}}},
        {"type": "object", "properties": {"a": {"type": "strng"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "["}}},
        {"type": "object", "properties": {"a": {"type": "string", "minLength": "3"}}},
        {"type": "object", "properties": {"a": {"allOf": [{"type": "string"}, {"minLength": 1}]}}},
        {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "null"}]},
    ],
)
def test_json_schemas_that_are_refused(schema: Any) -> None:
    with pytest.raises(SchemaError):
        OutputSchema.from_json_schema(schema)


@pytest.mark.parametrize(
    ("output_type", "words"),
    [
        (model(set[str]), ["'field'", "uniqueItems", "list"]),
        (model(str, examples=["a"]), ["'field'", "examples", "description"]),
        (model(list[Annotated[str, Field(json_schema_extra={"pattern": "^(?!a)b"})]]), ["'field[]'", "looks around"]),
        (model(Literal[tuple(f"{'v' * 60}{i}" for i in range(251))]), ["'field'", "251 texts", "15000"]),
        (model(Literal[tuple(f"v{i}" for i in range(1001))]), ["1,001 enum values", "1,000"]),
    ],
)
def test_what_openai_does_not_take_names_the_field(output_type: Any, words: list[str]) -> None:
    with pytest.raises(SchemaError) as caught:
        check_dialect(OutputSchema.of(output_type), OPENAI_STRICT)
    for word in (*words, "OpenAI"):
        assert word in str(caught.value)


def test_depth_and_totals_of_the_dialect() -> None:
    nested: dict[str, Any] = {"type": "string"}
    for _ in range(10):
        nested = {"type": "object", "properties": {"a": nested}}
    check_dialect(OutputSchema.from_json_schema(nested), OPENAI_STRICT)
    with pytest.raises(SchemaError, match=r"'a\.a\.a\.a\.a\.a\.a\.a\.a\.a' is nested 11 objects deep"):
        check_dialect(OutputSchema.from_json_schema({"type": "object", "properties": {"a": nested}}), OPENAI_STRICT)
    wide = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(5001)}}
    with pytest.raises(SchemaError, match="5,001 fields"):
        check_dialect(OutputSchema.from_json_schema(wide), OPENAI_STRICT)
    long = {"type": "object", "properties": {"p" * 120_001: {"type": "string"}}}
    with pytest.raises(SchemaError, match="120,001 characters"):
        check_dialect(OutputSchema.from_json_schema(long), OPENAI_STRICT)
    check_dialect(OutputSchema.of(str), OPENAI_STRICT)


# ---------------------------------------------------------------- Arrow


def test_arrow_types() -> None:
    choice = pa.dictionary(pa.int32(), pa.string())
    fields = OutputSchema.of(Everything).fields
    assert dict(zip(fields.names, fields.types, strict=True)) == {
        "text": pa.string(),
        "count": pa.int64(),
        "share": pa.float64(),
        "flag": pa.bool_(),
        "intent": choice,
        "one": choice,
        "stars": pa.int64(),
        "level": pa.int64(),
        "color": choice,
        "maybe_color": choice,
        "maybe": pa.int64(),
        "tags": pa.list_(pa.string()),
        "items": pa.list_(
            pa.struct([("what", pa.string()), ("when", pa.timestamp("us", tz="UTC")), ("color", choice)]),
        ),
        "best": pa.struct([("what", pa.string()), ("when", pa.timestamp("us", tz="UTC")), ("color", choice)]),
        "nested": pa.list_(pa.list_(pa.int64())),
        "at": pa.timestamp("us", tz="UTC"),
        "day": pa.date32(),
        "hour": pa.time64("us"),
        "key": pa.string(),
        "code": pa.string(),
        "step": pa.int64(),
    }
    assert all(field.nullable for field in fields)
    assert fields.field("intent").metadata == {b"description": b"What the customer wants."}
    assert fields.field("best").metadata == {b"description": b"One thing to do."}
    assert fields.field("items").type.value_type.field("what").metadata == {
        b"description": b"The thing, in a few words."
    }


def test_stored_and_restored_exactly() -> None:
    for schema in (OutputSchema.of(Everything), OutputSchema.of(str)):
        stored = json.loads(json.dumps(schema.to_json(), sort_keys=True))
        restored = OutputSchema.from_json(stored)
        assert restored == schema
        assert restored.identity == schema.identity
        assert restored.fields.equals(schema.fields, check_metadata=True)
        assert restored.to_json() == schema.to_json()


def test_a_stored_schema_that_cannot_be_read_says_so() -> None:
    stored = OutputSchema.of(Everything).to_json()
    with pytest.raises(SchemaError, match="format 2"):
        OutputSchema.from_json({**stored, "format": 2})
    for damage in ({"arrow": "AAAA"}, {"arrow": "%"}, {"json_schema": "{"}):
        with pytest.raises(SchemaError, match="damaged"):
            OutputSchema.from_json({**stored, **damage})


# ---------------------------------------------------------------- decoding


def test_decodes_to_exactly_the_declared_types() -> None:
    schema = OutputSchema.of(Everything)
    row, reason = decode_one(schema, VALID)
    assert reason is None
    assert row == {
        **VALID,
        "items": [{"what": "call", "when": dt.datetime(2026, 11, 23, 8, 0, 0, 123456, dt.UTC), "color": "red"}],
        "at": dt.datetime(2026, 11, 23, 10, 0, 0, 123456, dt.UTC),
        "day": dt.date(2026, 2, 28),
        "hour": dt.time(23, 59, 1),
        "step": 10,
    }


def test_a_decoded_table_survives_parquet() -> None:
    schema = OutputSchema.of(Everything)
    decoded = schema.decoder().decode([orjson.dumps(VALID), None, orjson.dumps(VALID)])
    table = pa.Table.from_arrays(decoded.columns, schema=schema.fields)
    table.validate(full=True)
    file = io.BytesIO()
    pq.write_table(table, file)
    file.seek(0)
    assert pq.read_table(file).to_pylist() == table.to_pylist()
    assert table.to_pylist()[1] == dict.fromkeys(schema.fields.names)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": 3}, ["text:", "string", "got 3"]),
        ({"intent": "other"}, ["intent:", "card_arrival", 'got "other"']),
        ({"share": 0}, ["share:", "got 0"]),
        ({"items": [{"what": "", "when": None, "color": "red"}]}, ["items[0].what:"]),
        ({"items": [{"what": "a", "when": None}]}, ["items[0]:", "color"]),
        ({"extra": 1}, ["extra"]),
        ({"maybe": -1}, ["maybe:", "minimum", "got -1"]),
        ({"best": {"what": 1, "when": None, "color": "red"}}, ["best.what:", "string", "got 1"]),
        ({"tags": ["x" * 3000, 4]}, ["tags[1]:"]),
        ({"code": "x" * 3000}, ["code:", "xxx…"]),
        ({"at": "2026-11-23T10:00:00"}, ["at:", "date-time"]),
        ({"day": "2026-02-30"}, ["day:", "date"]),
        ({"hour": "25:00:00"}, ["hour:", "time"]),
        ({"key": "nope"}, ["key:", "uuid"]),
        ({"count": 2**63}, ["count:", "int64"]),
        ({"count": 1e30}, ["count:", "int64"]),
        ({"at": "0000-01-01T00:00:00Z"}, ["at:", "cannot be stored"]),
        ({"at": "0001-01-01T00:00:00+10:00"}, ["at:", "cannot be stored"]),
        ({"at": "2016-12-31T23:59:60Z"}, ["at:", "cannot be stored"]),
        ({"day": "0000-01-01"}, ["day:", "cannot be stored"]),
    ],
)
def test_a_violation_names_the_field_and_quotes_little(change: dict[str, Any], words: list[str]) -> None:
    row, reason = decode_one(OutputSchema.of(Everything), {**VALID, **change})
    assert row is None
    assert reason is not None
    assert len(reason) < 450
    for word in words:
        assert word in reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["not valid JSON"]),
        ('{"a": 1', ["not valid JSON"]),
        (b'{"a": "\xff"}', ["not valid JSON"]),
        ('{"a": "\\ud800"}', ["not valid JSON", "surrogate"]),
        ('{"a": "\ud800"}', ["not valid JSON"]),
        ('{"a": NaN}', ["not valid JSON"]),
        ('{"a": 1e999}', ["not valid JSON"]),
        ("[" * 5000, ["not valid JSON"]),
        ("[1]", ["not a JSON object", "[1]"]),
        ("null", ["not a JSON object"]),
        ('"' + "x" * 500 + '"', ["not a JSON object", "…"]),
        ("{}", ["a", "required"]),
    ],
)
def test_what_is_no_object_is_an_error_of_the_row(text: str | bytes, words: list[str]) -> None:
    schema = OutputSchema.of(Left)
    decoded = schema.decoder().decode(['{"a": 1}', text, b' {"a": 2, "a": 3}\n', None])
    assert decoded.columns[0].to_pylist() == [1, None, 3, None]
    assert set(decoded.errors) == {1}
    assert len(decoded.errors[1]) < 350
    for word in words:
        assert word in decoded.errors[1]


def test_unconvertible_rows_do_not_touch_the_others() -> None:
    class Two(BaseModel):
        at: dt.date
        n: int

    rows = [{"at": "2026-01-01", "n": i} for i in range(100)]
    rows[7]["at"] = "0000-01-01"
    rows[40]["n"] = 2**64 - 1
    rows[99] = {"at": "0000-01-01", "n": 2**64 - 1}
    decoded = OutputSchema.of(Two).decoder().decode([orjson.dumps(row) for row in rows])
    assert set(decoded.errors) == {7, 40, 99}
    assert decoded.columns[1].to_pylist() == [None if i in {7, 40, 99} else i for i in range(100)]


def test_decimals_keep_every_digit() -> None:
    class Money(BaseModel):
        exact: Decimal
        price: Decimal = Field(max_digits=10, decimal_places=2)
        whole: Decimal | None = Field(None, max_digits=5, decimal_places=0)
        bounded: Decimal = Field(ge=0, le=100)

    schema = OutputSchema.of(Money)
    check_dialect(schema, OPENAI_STRICT)
    types = [pa.decimal128(38, 18), pa.decimal128(10, 2), pa.decimal128(5, 0), pa.decimal128(38, 18)]
    assert schema.fields.types == types
    good = {"exact": "-12345678901234567890.123456789012345678", "price": "12.5", "whole": "7", "bounded": 0.1}
    row, _ = decode_one(schema, good)
    assert row == {
        "exact": Decimal("-12345678901234567890.123456789012345678"),
        "price": Decimal("12.50"),
        "whole": Decimal(7),
        "bounded": Decimal("0.1"),
    }
    for bad in ({"exact": "1" * 21}, {"price": "1.234"}, {"whole": "1.0"}, {"bounded": -1}, {"price": "NaN"}):
        assert decode_one(schema, {**good, **bad})[1] is not None
    assert "cannot be stored" in str(decode_one(schema, {**good, "bounded": 1e-20})[1])


def test_numbers_become_the_nearest_double() -> None:
    class Number(BaseModel):
        x: float
        y: int | float

    row, _ = decode_one(OutputSchema.of(Number), b'{"x": 9007199254740993, "y": 1}')
    assert row == {"x": 9007199254740992.0, "y": 1.0}


def test_urls_and_aliases() -> None:
    class Page(BaseModel):
        url: AnyUrl = Field(description="Where it is.")
        kind: str = Field(alias="type")

    schema = OutputSchema.of(Page)
    check_dialect(schema, OPENAI_STRICT)
    assert schema.json_schema is not None
    assert schema.json_schema["properties"]["url"]["description"] == "Where it is. Format: uri."
    assert schema.fields.names == ["url", "type"]


def test_plain_text_is_kept_as_it_is() -> None:
    schema = OutputSchema.of(str)
    assert (schema.name, schema.json_schema, schema.identity) == ("response", None, "null")
    decoded = schema.decoder().decode(["", "a\x00🙂", "naïve".encode(), None, b"\xff", "\ud800"])
    assert decoded.columns[0].equals(pa.array(["", "a\x00🙂", "naïve", None, None, None], pa.string()))
    assert set(decoded.errors) == {4, 5}


class Answer(BaseModel):
    intent: Literal["a", "b"]
    n: int | None
    items: list[Item]
    best: Item | None
    x: float


plain_text = st.text(st.characters(codec="utf-8"), max_size=5)
an_item = st.fixed_dictionaries(
    {
        "what": plain_text.filter(bool),
        "when": st.none() | st.datetimes(timezones=st.just(dt.UTC)).map(lambda when: when.isoformat()),
        "color": st.sampled_from(["red", "deep blue"]),
    }
)
an_answer = st.fixed_dictionaries(
    {
        "intent": st.sampled_from(["a", "b"]),
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "items": st.lists(an_item, max_size=3),
        "best": st.none() | an_item,
        "x": st.floats(allow_nan=False, allow_infinity=False),
    }
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | plain_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.none() | an_answer, max_size=6))
def test_valid_answers_come_back_as_pydantic_reads_them(answers: list[dict[str, Any] | None]) -> None:
    schema = OutputSchema.of(Answer)
    decoded = schema.decoder().decode([None if a is None else orjson.dumps(a) for a in answers])
    assert decoded.errors == {}
    table = pa.Table.from_arrays(decoded.columns, schema=schema.fields)
    table.validate(full=True)
    expected = [
        dict.fromkeys(schema.fields.names)
        if a is None
        else Answer.model_validate(a).model_dump(mode="python", context=None)
        for a in answers
    ]
    for row in expected:
        for item in [*(row["items"] or []), row["best"]]:
            if item is not None:
                item["color"] = item["color"].value
    assert table.to_pylist() == expected


@given(st.lists(an_answer, min_size=1, max_size=3), anything, st.sampled_from(list(Answer.model_fields)))
def test_whatever_a_model_writes_never_breaks_the_batch(answers: list[dict[str, Any]], junk: Any, name: str) -> None:
    schema = OutputSchema.of(Answer)
    broken = {**answers[0], name: junk}
    texts = [json.dumps(broken), json.dumps(junk), *(orjson.dumps(answer) for answer in answers)]
    decoded = schema.decoder().decode(texts)
    table = pa.Table.from_arrays(decoded.columns, schema=schema.fields)
    table.validate(full=True)
    assert set(decoded.errors) <= {0, 1}
    assert 1 in decoded.errors
    for index in decoded.errors:
        assert all(column[index].as_py() is None for column in decoded.columns)
