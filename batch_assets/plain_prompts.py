"""Templates of constant text and plain columns, rendered by the column and not by the row. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contents import BLANK, column_values

Piece: TypeAlias = tuple[str, bool]
"""A piece of a plain template: constant text, or (True) the name of the column that stands there."""

_QUOTE, _BACKSLASH, _SPACE = b'"\\ '
_ESCAPES = {octet: orjson.dumps(chr(octet))[1:-1] for octet in (_BACKSLASH, _QUOTE, *range(_SPACE))}
"""What JSON does not take in a text as it is. The backslash is the first to be replaced: the others make new ones."""
_GROWTH = np.zeros(256, dtype=np.int64)
_GROWTH[list(_ESCAPES)] = [len(escape) - 1 for escape in _ESCAPES.values()]


def is_plain(kind: pa.DataType) -> bool:
    """Whether Jinja prints the values of this Arrow type as `str(value)` does (floats and times are left to Jinja)."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
    )


def render_plain(pieces: Sequence[Piece], batch: pa.RecordBatch) -> tuple[pa.LargeBinaryArray, dict[int, str]]:
    """The content of each row as a JSON literal, and why a row has none: it is null then."""
    errors: dict[int, str] = {}
    names = dict.fromkeys(name for name, is_column in pieces if is_column)
    texts = {name: _texts(batch.column(name), name, errors) for name in names}
    if not any(text.strip() for text, is_column in pieces if not is_column):
        for row in _blank_rows(list(texts.values()), batch.num_rows):
            errors.setdefault(row, BLANK)
    escaped = {name: _escaped(column) for name, column in texts.items()}
    parts: list[Any] = ['"']
    for text, is_column in pieces:
        parts.append(escaped[text] if is_column else orjson.dumps(text)[1:-1].decode())
    contents = _joined([*parts, '"'], batch.num_rows).cast(pa.large_binary())
    if errors:
        valid = np.ones(batch.num_rows, dtype=bool)
        valid[list(errors)] = False
        contents = pc.if_else(pa.array(valid), contents, pa.scalar(None, pa.large_binary()))
    return contents, errors


def _texts(column: pa.Array, name: str, errors: dict[int, str]) -> pa.LargeStringArray:
    """The column's values as Jinja prints them; a row that has none gets an error and an empty text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type):
        column = pc.if_else(column, "True", "False")
    elif not pa.types.is_integer(column.type):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            column = pa.array(column_values(column, name, errors), pa.large_string())
    texts = column.cast(pa.large_string())
    if texts.null_count:
        for row in np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False)).tolist():
            errors.setdefault(row, f"column {name!r} is null")
        texts = texts.fill_null("")
    return texts


def _blank_rows(columns: list[pa.LargeStringArray], rows: int) -> list[int]:
    """Rows in which no column has more than white space."""
    doubtful = np.ones(rows, dtype=bool)
    for column in columns:
        doubtful &= ~pc.match_substring_regex(column, "[!-~]").to_numpy(zero_copy_only=False)
    return [
        row for row in np.flatnonzero(doubtful).tolist() if not any(column[row].as_py().strip() for column in columns)
    ]


def _joined(parts: list[str | pa.LargeStringArray], rows: int) -> pa.LargeStringArray:
    """Constants and columns row by row. Escaping is per character, so escaped pieces concatenate."""
    kind = pa.large_string()
    if all(isinstance(part, str) for part in parts):
        return pa.repeat(pa.scalar("".join(map(str, parts)), kind), rows)
    operands = [pa.scalar(part, kind) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*operands, pa.scalar("", kind))


def _escaped(column: pa.LargeStringArray) -> pa.LargeStringArray:
    """Texts (no nulls) as they stand between the quotes of a JSON literal: byte for byte what orjson writes."""
    _, places, data = column.buffers()
    if data is None or not len(column):
        return column
    offsets = np.frombuffer(places, dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    octets = np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]]
    text = octets.tobytes()
    if not text or (octets.min() >= _SPACE and b'"' not in text and b"\\" not in text):
        return column
    special = np.flatnonzero((octets < _SPACE) | (octets == _QUOTE) | (octets == _BACKSLASH))
    found = octets[special]
    grown = np.concatenate([[0], np.cumsum(_GROWTH[found])])
    there = set(np.flatnonzero(np.bincount(found, minlength=256)).tolist())
    for octet, escape in _ESCAPES.items():
        if octet in there:
            text = text.replace(bytes([octet]), escape)
    starts = offsets - offsets[0]
    starts = starts + grown[np.searchsorted(special, starts)]
    return pa.LargeStringArray.from_buffers(len(column), pa.py_buffer(starts), pa.py_buffer(text))
