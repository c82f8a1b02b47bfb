"""Parquet files: the stored requests, results and snapshots of plans, and the tables that people read."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batch_assets.encoding import encode_key
from batch_assets.errors import CorruptObject
from batch_assets.storage.scratch import naming_disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    import pyarrow.fs as pafs
    from numpy.typing import NDArray

    from batch_assets.storage.protocol import ObjectStore

BATCH_ROWS = 8_192
"""Rows of a row group: what a reader holds at a time."""

REQUESTS = pa.schema([("request", pa.int64()), ("fingerprint", pa.binary(32)), ("content", pa.binary())])
"""Stored requests of a shard: index in the plan, fingerprint, content as a JSON literal."""

_NAME = pa.dictionary(pa.int32(), pa.string())
RESULTS = pa.schema(
    [
        ("request", pa.int64()),
        ("fingerprint", pa.binary(32)),
        ("outcome", pa.string()),
        ("curable", pa.bool_()),
        ("error", pa.string()),
        ("error_kind", pa.string()),
        ("raw", pa.string()),
        ("model", pa.string()),
        ("finish_reason", pa.string()),
        ("input_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost_pico_usd", pa.int64()),
        ("standard_pico_usd", pa.int64()),
        ("round", pa.int32()),
        ("shard_id", pa.string()),
        ("batch_id", pa.string()),
    ]
)
"""Stored results of a shard, one row a request, in the order of the shard; the output type's columns follow."""

SNAPSHOT_REQUEST = "batch_request"
SNAPSHOT_ERROR = "batch_request_error"

OUTPUT = pa.schema(
    [
        pa.field(name, kind, metadata={"description": description})
        for name, kind, description in (
            ("batch_outcome", _NAME, "succeeded, invalid, errored, expired, canceled or missing"),
            ("batch_error", pa.string(), "Why it did not succeed"),
            ("batch_model", _NAME, "The model that answered"),
            ("batch_finish_reason", _NAME, "The provider's reason to end the response"),
            ("batch_input_tokens", pa.int64(), "As the provider counted them, cached ones included"),
            ("batch_cached_tokens", pa.int64(), "Of the input, those read from a cache"),
            ("batch_output_tokens", pa.int64(), "As the provider counted them"),
            (
                "batch_cost_usd",
                pa.decimal128(18, 12),
                "What this row bought; 0 where the result was known or is shared",
            ),
            ("batch_attempts", pa.int32(), "How often its request was sent"),
            ("batch_id", _NAME, "The provider's batch"),
            ("batch_custom_id", pa.string(), "The request in it"),
            ("batch_cached", pa.bool_(), "Its result was bought by an earlier run"),
            ("batch_raw", pa.string(), "The text of a response that does not fit the output type"),
        )
    ]
)
"""The columns that every table has behind the source's and the output type's."""

GENERATION = b"batch_assets.generation"
PLAN_ID = b"batch_assets.plan_id"
LEDGER = b"batch_assets.ledger"


class TableWriter:
    """Writes record batches as row groups of a Parquet file, in a thread of its own: encoding needs no interpreter.

    A context manager. At most two batches wait to be written.
    """

    def __init__(self, stream: BinaryIO | str, schema: pa.Schema, *, compression: str = "zstd") -> None:
        packed = {"request", "fingerprint", "content", "batch_custom_id", SNAPSHOT_REQUEST}
        self._file = pq.ParquetWriter(
            stream,
            schema,
            compression=compression,
            compression_level=1 if compression == "zstd" else None,
            use_dictionary=[field.name for field in schema if field.name not in packed],
        )
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._pending: deque[Future[None]] = deque()

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the next rows. An error of an earlier batch is raised here or at the end."""
        self._pending.append(self._thread.submit(self._file.write_batch, batch))
        if len(self._pending) > 2:
            self._pending.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                while self._pending:
                    self._pending.popleft().result()
        finally:
            self._thread.shutdown(wait=True)
            self._file.close()


@contextmanager
def opened(store: ObjectStore, path: str) -> Iterator[pq.ParquetFile]:
    """A stored Parquet file, for the length of the block. Raises CorruptObject if it is none, or is gone."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(store.fetch(path))
        except FileNotFoundError as error:
            raise CorruptObject(f"{path} in {store.url} is gone; restore it from a backup", path=path) from error
        try:
            parquet = pq.ParquetFile(file, memory_map=False, pre_buffer=False)
        except pa.ArrowInvalid as error:
            raise CorruptObject(
                f"{path} in {store.url} is not a whole Parquet file ({error}); it was left as it is", path=path
            ) from error
        with parquet:
            yield parquet


@contextmanager
def stored_batches(
    store: ObjectStore, path: str, columns: list[str] | None = None
) -> Iterator[Iterator[pa.RecordBatch]]:
    """The record batches of a stored Parquet file, one row group at a time."""
    with opened(store, path) as parquet:
        yield parquet.iter_batches(batch_size=BATCH_ROWS, columns=columns, use_threads=False)


@contextmanager
def stored_requests(
    store: ObjectStore, path: str, columns: list[str] | None = None
) -> Iterator[Iterator[pa.RecordBatch]]:
    """The record batches of a shard's requests with their contents, as they were planned together: some megabytes."""
    with opened(store, path) as parquet:
        yield by_row_group(parquet, columns)


def by_row_group(parquet: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The record batches of a file, none with rows of two row groups: long rows stay in small batches."""
    for group in range(parquet.num_row_groups):
        yield from parquet.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False)


def fingerprint_rows(column: pa.Array) -> NDArray[np.uint8]:
    """A fixed-size binary(32) column as an array of shape (rows, 32)."""
    flat = np.frombuffer(column.buffers()[1], dtype=np.uint8)
    return flat[column.offset * 32 : (column.offset + len(column)) * 32].reshape(len(column), 32)


class TableStore:
    """Where the tables are published: `{root}/{asset key...}/{partition}.parquet`."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = str(root)

    def path(self, asset: str, partition: str | None) -> str:
        """Path of a partition's table; dimensions of a partition key (joined by `|`) are folders."""
        return str(Path(self.root, table_name(asset, partition)))

    @property
    def filesystem(self) -> pafs.FileSystem | None:
        """What reads `file`; None for the local one."""
        return None

    def file(self, asset: str, partition: str | None) -> str:
        """Path of a partition's table in `filesystem`."""
        return self.path(asset, partition)

    def exists(self, asset: str, partition: str | None) -> bool:
        """Whether a table has been published."""
        return Path(self.path(asset, partition)).is_file()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A local path to write a table to before it is published."""
        folder = Path(self.root, ".tmp")
        with naming_disk_errors(f"the folder {self.root} of the tables"):
            folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{secrets.token_hex(8)}.parquet"
        try:
            with naming_disk_errors(f"the folder {self.root} of the tables"):
                yield file
        finally:
            file.unlink(missing_ok=True)

    def publish(self, file: Path, asset: str, partition: str | None, generation: int) -> bool:
        """Put a finished table in its place, all at once. False: a table of a newer generation is there, and stays.

        Generations are compared within one ledger only (both files name theirs): a new store counts from 1 again.
        """
        target = Path(self.path(asset, partition))
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = Path(self.root, ".tmp", encode_key(f"{asset}|{partition}") + ".lock")
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if target.is_file() and _generation(target, table_facts(file).get(LEDGER)) > generation:
                return False
            with file.open("rb") as written:
                os.fsync(written.fileno())
            file.replace(target)
            return True


def _generation(table: Path, ledger: bytes | None) -> int:
    """The generation of a table of this ledger; 0 for any other file."""
    facts = table_facts(table)
    return int(facts[GENERATION]) if ledger is not None and facts.get(LEDGER) == ledger else 0


def table_name(asset: str, partition: str | None) -> str:
    """A partition's table below the root of the tables."""
    parts = [encode_key(part) for part in asset.split("/")]
    if partition is None:
        parts[-1] += ".parquet"
    else:
        dimensions = [encode_key(part) for part in partition.split("|")]
        parts += [*dimensions[:-1], f"{dimensions[-1]}.parquet"]
    return "/".join(parts)


def table_facts(table: Path) -> dict[bytes, bytes]:
    """What a table's file says of itself: GENERATION, PLAN_ID, LEDGER. Empty for a file that is not whole."""
    try:
        return pq.read_metadata(table).metadata or {}
    except pa.ArrowInvalid:
        return {}  # not a table of ours, or torn by someone else: replaced
