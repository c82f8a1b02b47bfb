"""The rows of a file, streamed: Parquet, CSV or JSON lines, plain or compressed.

CSV has no types, so nothing is guessed: every column is text, and an empty field without quotes is null. JSON lines are
read twice, first for the columns and their types over the whole file, then for the rows.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from batch_assets.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BATCH_ROWS = 8_192
"""Rows that are held at a time, at most."""
BLOCK_BYTES = 16 << 20
"""Bytes that are held at a time, about; a row of a CSV is not longer than that."""

_COMPRESSIONS = {".gz", ".bz2", ".zst", ".lz4"}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = {".jsonl", ".ndjson"}
_PARQUET = {".parquet", ".pq"}


@contextmanager
def open_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatchReader]:
    """The rows of a file in their order, for the length of the block; an empty file has columns and no rows.

    Of Parquet, only `columns` are read if they are given. Raises InputError naming the file, where it is known the
    line, and what to do.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    kind = _kind(path)
    with _explained(path):
        if kind in _PARQUET:
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
                schema = file.schema_arrow
                wanted = None if columns is None else [name for name in schema.names if name in columns]
                if wanted is not None:
                    schema = pa.schema([schema.field(name) for name in wanted])
                rows = _batch_rows(file.metadata)
                yield _reader(path, schema, file.iter_batches(batch_size=rows, columns=wanted, use_threads=False))
        elif kind in _DELIMITERS:
            with _csv(path, _DELIMITERS[kind]) as reader:
                yield _reader(path, reader.schema, reader)
        else:
            yield _reader(path, *_json_lines(path))


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in _COMPRESSIONS else (suffixes or [""])[-1]
    if kind not in {*_PARQUET, *_DELIMITERS, *_JSON_LINES}:
        raise InputError(
            f"{path} ends in {kind or 'nothing'!r}, which does not say what it is: the input is a .parquet, .csv, .tsv "
            "or .jsonl file (the latter three also as .gz)"
        )
    return kind


def _reader(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
    repeated = [name for name, times in Counter(schema.names).items() if times > 1]
    if repeated:
        raise InputError(f"{path} has several columns of the name {', '.join(map(repr, repeated))}; rename them")

    def explained() -> Iterator[pa.RecordBatch]:
        with _explained(path):
            yield from batches

    return pa.RecordBatchReader.from_batches(schema, explained())


def _batch_rows(metadata: pq.FileMetaData) -> int:
    """Rows of some megabytes together, going by the averages of the row groups."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    widest = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=1)
    return max(64, min(BATCH_ROWS, BLOCK_BYTES // max(1, widest)))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Arrow's own errors as ours: the file is named."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


# ---------------------------------------------------------------- CSV


@contextmanager
def _csv(path: Path, delimiter: str) -> Iterator[pacsv.CSVStreamingReader]:
    read = pacsv.ReadOptions(block_size=BLOCK_BYTES)
    parse = pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; a CSV begins with the names of its columns")
    with pacsv.open_csv(path, read_options=read, parse_options=parse) as first:
        names = first.schema.names
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with pacsv.open_csv(path, read_options=read, parse_options=parse, convert_options=convert) as reader:
        yield reader


# ---------------------------------------------------------------- JSON lines


def _json_lines(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Columns and rows; a file without rows has no columns."""
    schema = pa.schema([])
    for first_line, rows in _chunks(path):
        place = f"{path}, from line {first_line} on"
        found = _columns(place, rows)
        if not found.names:
            raise InputError(f"{place}: the rows have no columns")
        try:
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        except pa.ArrowException as error:
            raise InputError(f"{place}: a column has values of another type than before ({error})") from error
    schema = pa.schema([field if field.type != pa.null() else field.with_type(pa.string()) for field in schema])
    return schema, _json_batches(path, schema)


def _json_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for first_line, rows in _chunks(path):
        place = f"{path}, from line {first_line} on"
        columns = []
        for field in schema:
            with _several_types(place, field.name):
                columns.append(pa.array([row.get(field.name) for row in rows], field.type))
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _columns(place: str, rows: list[dict[str, Any]]) -> pa.Schema:
    """Every name that a row has, in the order of appearance, with the type that holds all its values."""
    fields = []
    for name in dict.fromkeys(name for row in rows for name in row):
        with _several_types(place, name):
            fields.append(pa.field(name, pa.infer_type([row.get(name) for row in rows])))
    return pa.schema(fields)


@contextmanager
def _several_types(place: str, column: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OverflowError) as error:
        raise InputError(f"{place}: the column {column!r} has values of several types ({error})") from error


def _chunks(path: Path) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Rows in chunks of limited size, each with the number of its first line, counted from 1."""
    with pa.input_stream(str(path), compression="detect", buffer_size=1 << 20) as stream:
        rows: list[dict[str, Any]] = []
        first = size = 0
        for number, line in enumerate(_lines(stream), start=1):
            row = _row(path, number, line)
            if row is None:
                continue
            if not rows:
                first, size = number, 0
            rows.append(row)
            size += len(line)
            if len(rows) == BATCH_ROWS or size > BLOCK_BYTES:
                yield first, rows
                rows = []
        if rows:
            yield first, rows


def _lines(stream: pa.NativeFile) -> Iterator[bytes]:
    rest: list[bytes] = []
    while block := stream.read(1 << 20):
        *lines, last = block.split(b"\n")
        if lines:
            yield b"".join((*rest, lines[0]))
            yield from lines[1:]
            rest = []
        rest.append(last)
    if any(rest):
        yield b"".join(rest)


def _row(path: Path, number: int, line: bytes) -> dict[str, Any] | None:
    """The object on a line; None for a blank one."""
    text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line  # some editors mark UTF-8 that way
    if not text.strip():
        return None
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path}, line {number}, is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise InputError(f"{path}, line {number}, is a {type(row).__name__}; each line is a JSON object, a row")
    return row
