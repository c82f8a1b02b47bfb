"""Responses to Arrow columns: parsed, validated and converted by the batch; a response that does not fit is one error.

The validation asserts formats, so that what validates can nearly always be converted; what still cannot (an integer
beyond 64 bits, the year 0, a leap second, too many digits) is an error of its row. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from operator import itemgetter
from typing import Any, TypeAlias

import jsonschema_rs
import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.errors import SchemaError
from batch_assets.flat_schema import flat_decoder
from batch_assets.strict_schema import Node, variants

Converter: TypeAlias = Callable[[list[Any]], pa.Array]
"""From parsed JSON values (None is null) to an Arrow array of one type; raises one of _FAILURES on any bad value."""

Row: TypeAlias = tuple[Any, ...]
"""The values of one response, in the order of the fields; None for each where there is no response that fits."""

_FAILURES = (ValueError, OverflowError, ArithmeticError, pa.ArrowException)
_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_QUOTED_CHARACTERS = 80
_MESSAGE_CHARACTERS = 240
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The responses of one batch as columns.

    `columns` are arrays of exactly the types of the output schema's `fields`, all of one length: one entry per text,
    in order, null where there was no text or where the text does not fit.
    `errors[i]` says why text i does not fit; it quotes at most some 80 characters of the response.
    """

    columns: list[pa.Array]
    errors: dict[int, str]


class ResponseDecoder:
    """Decodes the texts of responses against one output schema; made by `OutputSchema.decoder()`, reusable.

    Raises SchemaError when the JSON schema itself is not valid (a pattern that is no regular expression).
    """

    __slots__ = ("_converters", "_diagnose", "_fields", "_flat", "_is_valid", "_nothing", "_untyped", "_values")

    def __init__(self, *, json_schema: Node | None, fields: pa.Schema) -> None:
        self._fields = fields
        self._converters: dict[str, Converter] = {}
        self._nothing: Row = (None,) * len(fields)
        self._is_valid: Callable[[Any], bool] | None = None
        self._untyped = _vectors if pa.types.is_list(fields.field(0).type) else _plain_texts
        if json_schema is None:
            return
        try:
            validator = jsonschema_rs.validator_for(json_schema, validate_formats=True, formats={"time": _is_time})
            masked = jsonschema_rs.validator_for(
                json_schema, validate_formats=True, formats={"time": _is_time}, mask="the value"
            )
        except (ValueError, jsonschema_rs.ValidationError) as error:
            message = str(getattr(error, "message", error)).splitlines()[0]
            raise SchemaError(f"the output type's JSON schema is not valid: {message}.") from None
        self._is_valid = validator.is_valid
        self._diagnose = masked.iter_errors
        for field in fields:
            self._converters[field.name] = _converter(json_schema["properties"][field.name], json_schema, field.type)
        self._values = _values_of(fields.names)
        self._flat = flat_decoder(json_schema, fields)

    def decode(self, texts: Sequence[str | bytes | None]) -> Decoded:
        """Decode one text per row; None gives a null row without an error.

        Never raises for a response. The texts of one call have to stay below 2 GiB together (Arrow's text offsets).
        """
        errors: dict[int, str] = {}
        if self._is_valid is None:
            return Decoded(columns=[self._untyped(texts, errors)], errors=errors)
        rows = self._parsed(texts, errors)
        try:
            return Decoded(columns=self._converted(rows), errors=errors)
        except _FAILURES:
            self._drop_unconvertible(rows, errors)
        return Decoded(columns=self._converted(rows), errors=errors)

    def _parsed(self, texts: Sequence[str | bytes | None], errors: dict[int, str]) -> list[Row]:
        flat, nothing = self._flat, self._nothing
        rows: list[Row] = []
        for index, text in enumerate(texts):
            if text is None:
                rows.append(nothing)
                continue
            if flat is not None:
                try:
                    rows.append(msgspec.structs.astuple(flat.decode(text)))
                    continue
                except (msgspec.MsgspecError, UnicodeError):
                    pass  # the JSON schema decides, and says why
            rows.append(self._checked(index, text, errors))
        return rows

    def _checked(self, index: int, text: str | bytes, errors: dict[int, str]) -> Row:
        """The values of one text, by the JSON schema."""
        assert self._is_valid is not None
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            errors[index] = _shortened(f"not valid JSON: {error.msg} (character {error.pos})")
            return self._nothing
        if type(value) is dict and self._is_valid(value):
            return self._values(value)
        errors[index] = self._reason(value)
        return self._nothing

    def _reason(self, value: Any) -> str:
        if type(value) is not dict:
            return f"not a JSON object: {_quoted(value)}"
        found_errors = list(self._diagnose(value))
        first, others = _innermost(found_errors[0]), found_errors[1:]
        path = _path(first.instance_path)
        found: Any = value
        for step in first.instance_path:
            found = found[step]
        where = f"{path}: " if path else ""
        quoted = f" (got {_quoted(found)})" if path else ""
        more = f"; {len(others)} more" if others else ""
        return f"{_shortened(f'{where}{first.message}')}{quoted}{more}"

    def _converted(self, rows: list[Row]) -> list[pa.Array]:
        return [convert([row[place] for row in rows]) for place, convert in enumerate(self._converters.values())]

    def _drop_unconvertible(self, rows: list[Row], errors: dict[int, str]) -> None:
        """Empty, with an error, each row that has a value which no column type can hold."""
        for place, (name, convert) in enumerate(self._converters.items()):
            values = [row[place] for row in rows]
            for index in list(_unconvertible(convert, values, 0)):
                kind = self._fields.field(name).type
                errors[index] = f"{name}: valid, but it cannot be stored as {kind} (got {_quoted(values[index])})"
                rows[index] = self._nothing


def _values_of(names: list[str]) -> Callable[[dict[str, Any]], Row]:
    """From a JSON object to the values of these fields."""
    if len(names) == 1:
        (name,) = names
        return lambda value: (value[name],)
    return itemgetter(*names)


def _column(rows: list[dict[str, Any] | None], name: str) -> list[Any]:
    return [None if row is None else row[name] for row in rows]


def _unconvertible(convert: Converter, values: list[Any], start: int) -> Iterator[int]:
    """Yield the indexes (from `start`) of the values that make `convert` fail, by halving."""
    try:
        convert(values)
    except _FAILURES:
        if len(values) == 1:
            yield start
            return
        middle = len(values) // 2
        yield from _unconvertible(convert, values[:middle], start)
        yield from _unconvertible(convert, values[middle:], start + middle)


def _plain_texts(texts: Sequence[str | bytes | None], errors: dict[int, str]) -> pa.Array:
    values: list[str | None] = []
    for index, text in enumerate(texts):
        try:
            if isinstance(text, str):
                text.encode()
                values.append(text)
            else:
                values.append(None if text is None else bytes(text).decode())
        except UnicodeError as error:
            errors[index] = (
                f"not valid Unicode text: {error.reason if isinstance(error, UnicodeDecodeError) else error}"
            )
            values.append(None)
    return pa.array(values, pa.string())


def _vectors(texts: Sequence[str | bytes | None], errors: dict[int, str]) -> pa.Array:
    """JSON arrays of numbers as list<float32>."""
    vectors = [None if text is None else _vector(text) for text in texts]
    for index, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        if text is not None and vector is None:
            errors[index] = f"not a vector of numbers: {_quoted(text if isinstance(text, str) else bytes(text))}"
    return pa.array(vectors, pa.list_(pa.float32()))


def _vector(text: str | bytes) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """None for what is no vector."""
    try:
        value = orjson.loads(text)
        vector = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    if type(value) is not list or vector.ndim != 1 or not vector.size:
        return None
    return vector.astype(np.float32) if np.abs(vector).max() <= _LARGEST_FLOAT else None


# ---------------------------------------------------------------- messages


def _innermost(error: Any) -> Any:
    """Go into a union (an optional value) to the alternative that came furthest: that is what the model meant."""
    alternatives = [errors for errors in getattr(error.kind, "context", None) or () if errors]
    if not alternatives:
        return error
    return _innermost(max((errors[0] for errors in alternatives), key=lambda inner: len(inner.instance_path)))


def _quoted(value: Any) -> str:
    return _shortened(orjson.dumps(value).decode(), _QUOTED_CHARACTERS)


def _shortened(text: str, characters: int = _MESSAGE_CHARACTERS) -> str:
    return text if len(text) <= characters else f"{text[:characters]}…"


def _path(steps: Sequence[str | int]) -> str:
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return _shortened(path, _QUOTED_CHARACTERS)


# ---------------------------------------------------------------- conversion, one function per Arrow type


def _converter(node: Node, root: Node, kind: pa.DataType) -> Converter:
    if pa.types.is_dictionary(kind):
        (choice,) = variants(node, root)
        return _choice_converter(choice["enum"] if "enum" in choice else [choice["const"]], kind)
    if pa.types.is_struct(kind):
        (model,) = variants(node, root)
        children = [(field.name, _converter(model["properties"][field.name], root, field.type)) for field in kind]
        return _struct_converter(children, kind)
    if pa.types.is_list(kind):
        (array,) = variants(node, root)
        return _list_converter(_converter(array["items"], root, kind.value_type), kind)
    if pa.types.is_decimal(kind):
        return _mapped(_decimal, kind)
    simple: dict[pa.DataType, Converter] = {
        pa.int64(): _integers,
        pa.float64(): _floats,
        pa.date32(): _mapped(date.fromisoformat, kind),
        pa.time64("us"): _mapped(_time, kind),
        pa.timestamp("us", tz="UTC"): _mapped(_timestamp, kind),
    }
    return simple.get(kind, lambda values: pa.array(values, kind))


def _mapped(parse: Callable[[Any], Any], kind: pa.DataType) -> Converter:
    return lambda values: pa.array([None if value is None else parse(value) for value in values], kind)


def _choice_converter(choices: list[str], kind: pa.DataType) -> Converter:
    """The dictionary is the schema's, in its order, in every batch."""
    dictionary = pa.array(choices, pa.string())

    def convert(values: list[Any]) -> pa.Array:
        indices = pc.index_in(pa.array(values, pa.string()), value_set=dictionary)
        return pa.DictionaryArray.from_arrays(indices.cast(kind.index_type), dictionary)

    return convert


def _struct_converter(children: list[tuple[str, Converter]], kind: pa.DataType) -> Converter:
    def convert(values: list[Any]) -> pa.Array:
        arrays = [child(_column(values, name)) for name, child in children]
        mask = pa.array([value is None for value in values], pa.bool_())
        return pa.StructArray.from_arrays(arrays, fields=list(kind), mask=mask)

    return convert


def _list_converter(items: Converter, kind: pa.DataType) -> Converter:
    def convert(values: list[Any]) -> pa.Array:
        flat: list[Any] = []
        offsets = [0]
        for value in values:
            if value is not None:
                flat.extend(value)
            offsets.append(len(flat))
        mask = pa.array([value is None for value in values], pa.bool_())
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items(flat), type=kind, mask=mask)

    return convert


def _integers(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.int64())
    except _FAILURES:  # JSON Schema takes 3.0 and 1e18 for integers
        return pa.array([None if value is None else int(value) for value in values], pa.int64())


def _floats(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.float64())
    except _FAILURES:  # an integer that no double holds exactly becomes the nearest one
        return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _decimal(value: str | float) -> Decimal:
    """A number keeps the digits of its shortest text, a text keeps all of its digits."""
    return Decimal(value if isinstance(value, str) else repr(value))


def _timestamp(value: str) -> datetime:
    """RFC 3339 with an offset (the format is asserted); digits beyond microseconds are cut off."""
    return datetime.fromisoformat(value.upper()).astimezone(UTC)


def _is_time(value: object) -> bool:
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


def _time(value: str) -> time:
    """The time of day as written; an offset, for which Arrow's time has no place, is dropped."""
    return time.fromisoformat(value.upper()).replace(tzinfo=None)
