"""Rows in the forms that people have them in, as a stream of record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads

from batch_assets.errors import InputError

BATCH_ROWS = 8_192
"""Rows of a batch: what is held at a time of a table that is larger than memory."""

ACCEPTED = (
    "pyarrow RecordBatch, Table, RecordBatchReader or Dataset, a pandas or Polars DataFrame, a list of dicts, or an "
    "iterable of record batches, tables or dicts"
)


def record_batches(value: object) -> Iterator[pa.RecordBatch]:
    """The rows in their order. A value with columns and no rows gives one empty batch, so that its columns are known.

    Raises InputError for what does not hold rows.
    """
    if isinstance(value, pa.RecordBatch):
        yield value
    elif isinstance(value, pads.Dataset):
        yield from _or_empty(
            value.to_batches(batch_size=BATCH_ROWS, batch_readahead=4, fragment_readahead=1), value.schema
        )
    elif isinstance(value, pa.RecordBatchReader):
        yield from _or_empty(value, value.schema)
    elif isinstance(value, pa.Table):
        yield from _or_empty(value.to_batches(max_chunksize=BATCH_ROWS), value.schema)
    elif isinstance(value, pd.DataFrame):
        yield from record_batches(pa.Table.from_pandas(value, preserve_index=False))
    elif type(value).__module__.split(".")[0] == "polars" and hasattr(value, "to_arrow"):
        yield from record_batches(value.to_arrow())
    elif hasattr(value, "__arrow_c_stream__"):
        yield from record_batches(pa.RecordBatchReader.from_stream(value))
    elif isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        yield from _of_items(iter(value))
    else:
        raise InputError(f"a {type(value).__name__} does not hold rows; return a {ACCEPTED}")


def _or_empty(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    some = False
    for batch in batches:
        if batch.num_rows:
            some = True
            yield batch
    if not some:
        yield pa.RecordBatch.from_pylist([], schema=schema)


def _of_items(items: Iterator[Any]) -> Iterator[pa.RecordBatch]:
    """Batches or tables as they come; dicts in batches that all have the columns of the first."""
    for first in items:
        rest = chain([first], items)
        if isinstance(first, Mapping):
            yield from _of_dicts(rest)
        else:
            for item in rest:
                yield from record_batches(item)


def _of_dicts(rows: Iterator[Mapping[str, Any]]) -> Iterator[pa.RecordBatch]:
    schema: pa.Schema | None = None
    while chunk := list(islice(rows, BATCH_ROWS)):
        try:
            table = pa.Table.from_pylist(chunk, schema=schema)
        except (pa.ArrowException, AttributeError) as error:
            raise InputError(
                f"the rows do not fit one table: {error}. Dicts need the same keys and types in every row; a pyarrow "
                "Table with a schema says which"
            ) from error
        schema = table.schema
        yield from table.to_batches()
