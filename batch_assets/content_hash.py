"""A hash of the values of record batches: of nothing else, not their layout in memory nor Arrow's own encodings."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from hashlib import _Hash

HASHED_ROWS = 256
"""Rows that are hashed together: a hash does not depend on the batches that the rows come in."""

_OFFSETS: dict[pa.DataType, np.dtype[Any]] = {
    pa.string(): np.dtype(np.int32),
    pa.binary(): np.dtype(np.int32),
    pa.large_string(): np.dtype(np.int64),
    pa.large_binary(): np.dtype(np.int64),
}


class ContentHash:
    """Hash of the values of record batches, however the rows are cut into batches."""

    def __init__(self, schema: pa.Schema) -> None:
        self._hash = hashlib.sha256(str(schema.remove_metadata()).encode())
        self._held: list[pa.RecordBatch] = []
        """Fewer than HASHED_ROWS rows, which wait for the rest of theirs."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the next rows."""
        start = 0
        if self._held:
            start = min(batch.num_rows, HASHED_ROWS - sum(each.num_rows for each in self._held))
            self._held.append(batch.slice(0, start))
            if sum(each.num_rows for each in self._held) < HASHED_ROWS:
                return
            self._hash_held()
        while batch.num_rows - start >= HASHED_ROWS:
            self._hash_rows(batch.slice(start, HASHED_ROWS))
            start += HASHED_ROWS
        if start < batch.num_rows:
            self._held.append(batch.slice(start))

    def hexdigest(self) -> str:
        """The hash of all rows; none can be added after it."""
        if self._held:
            self._hash_held()
        return self._hash.hexdigest()

    def _hash_held(self) -> None:
        self._hash_rows(pa.concat_batches(self._held))
        self._held = []

    def _hash_rows(self, rows: pa.RecordBatch) -> None:
        for column in rows.columns:
            _add(self._hash, column)


def _add(state: _Hash, column: pa.Array) -> None:
    """Length, which values are null, and the others."""
    state.update(len(column).to_bytes(8, "little"))
    column = _plain(column)
    if column.null_count:
        state.update(np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).data)
        column = column.drop_null()
    kind = column.type
    if kind in _OFFSETS:
        _add_texts(state, column, _OFFSETS[kind])
    elif pa.types.is_boolean(kind):
        state.update(np.packbits(column.to_numpy(zero_copy_only=False)).data)
    elif pa.types.is_struct(kind):
        for child in column.flatten():
            _add(state, child)
    elif pa.types.is_map(kind):
        _add(state, column.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        state.update(pc.list_value_length(column).cast(pa.int64()).to_numpy().data)
        _add(state, column.flatten())
    elif pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind):
        width = kind.bit_width // 8
        data = column.buffers()[1]
        if data is not None and len(column):
            state.update(memoryview(data)[column.offset * width : (column.offset + len(column)) * width])
    elif not pa.types.is_null(kind):  # rare types: values as text
        state.update(repr(column.to_pylist()).encode())


def _plain(column: pa.Array) -> pa.Array:
    """The same values without dictionary, views or extension type."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type) or pa.types.is_binary_view(column.type):
        column = column.cast(pa.large_binary())
    return column


def _add_texts(state: _Hash, column: pa.Array, kind: np.dtype[Any]) -> None:
    _, offsets, data = column.buffers()
    if not len(column) or offsets is None:
        return
    places = np.frombuffer(offsets, dtype=kind)[column.offset : column.offset + len(column) + 1]
    state.update(np.diff(places).astype(np.int64).data)
    if data is not None:
        state.update(memoryview(data)[places[0] : places[-1]])
