"""Tables published to a Google Cloud Storage bucket, and pyarrow's way to read them with the project's own client."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa
import pyarrow.fs as pafs
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud.storage.retry import DEFAULT_RETRY

from batch_assets.errors import StoreError
from batch_assets.storage.gcs import CHUNK_BYTES, TIMEOUT_SECONDS, WRITER, is_bucket_missing, naming_errors, split_url
from batch_assets.storage.scratch import naming_disk_errors
from batch_assets.tables import LEDGER, TableStore, table_facts, table_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.cloud.storage import Blob, Client

_GENERATION = "batch_assets_generation"
_LEDGER = "batch_assets_ledger"
_READ_BYTES = 4 << 20
"""What a reader fetches at a time."""
_ATTEMPTS = 20
"""How often a table is compared with the one that is there, when others publish the same partition meanwhile."""


class GCSTableStore(TableStore):
    """Where the tables are published: `{gs://bucket/prefix}/{asset key...}/{partition}.parquet`."""

    def __init__(self, root: str, client: Client, *, retry_seconds: float = 120.0) -> None:
        """Raises ConfigError if `root` is no gs:// URL. No network."""
        super().__init__(root.rstrip("/"))
        bucket, prefix = split_url(root)
        self._bucket = client.bucket(bucket)
        self._prefix = f"{prefix}/" if prefix else ""
        retry = DEFAULT_RETRY.with_delay(initial=0.2, maximum=20.0, multiplier=2.0).with_timeout(retry_seconds)
        self._calls: dict[str, Any] = {"retry": retry, "timeout": TIMEOUT_SECONDS}

    def path(self, asset: str, partition: str | None) -> str:
        """URL of a partition's table."""
        return f"{self.root}/{table_name(asset, partition)}"

    @property
    def filesystem(self) -> pafs.FileSystem:
        """Reads `file`, with the store's client."""
        return pafs.PyFileSystem(_Reading(self._bucket.client, self._calls))

    def file(self, asset: str, partition: str | None) -> str:
        """Bucket and name of a partition's table."""
        return f"{self._bucket.name}/{self._prefix}{table_name(asset, partition)}"

    def exists(self, asset: str, partition: str | None) -> bool:
        """Whether a table has been published. Raises StoreError."""
        return self._found(self._blob(asset, partition))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A local path to write a table to before it is published."""
        with (
            tempfile.TemporaryDirectory(prefix="batch-assets-") as folder,
            naming_disk_errors(f"the local scratch folder {folder}"),
        ):
            yield Path(folder, "table.parquet")

    def publish(self, file: Path, asset: str, partition: str | None, generation: int) -> bool:
        """Put a finished table in its place, all at once. False: a table of a newer generation is there, and stays.

        What is replaced is what was compared with, by its generation in the bucket: of two writers one looks again.
        """
        ledger = table_facts(file).get(LEDGER, b"").decode()
        writer = secrets.token_hex(8)
        for _ in range(_ATTEMPTS):
            before = self._blob(asset, partition)
            there = self._found(before)
            facts = before.metadata or {} if there else {}
            if facts.get(WRITER) == writer:
                return True  # the reply to our own write was lost
            if ledger and facts.get(_LEDGER) == ledger and int(facts.get(_GENERATION, "0")) > generation:
                return False
            blob = self._blob(asset, partition)
            blob.metadata = {WRITER: writer, _GENERATION: str(generation), _LEDGER: ledger}
            blob.chunk_size = CHUNK_BYTES
            with naming_errors(self._bucket.name, self.path(asset, partition)), file.open("rb") as content:
                try:
                    blob.upload_from_file(
                        content,
                        size=file.stat().st_size,
                        content_type="application/vnd.apache.parquet",
                        if_generation_match=before.generation if there else 0,
                        checksum="crc32c",
                        **self._calls,
                    )
                except PreconditionFailed:
                    continue
            return True
        raise StoreError(f"{self.path(asset, partition)} is being published by too many processes at once")

    def _blob(self, asset: str, partition: str | None) -> Blob:
        return self._bucket.blob(self._prefix + table_name(asset, partition))

    def _found(self, blob: Blob) -> bool:
        """Read the object's facts; False if there is none."""
        with naming_errors(self._bucket.name, f"gs://{self._bucket.name}/{blob.name}"):
            try:
                blob.reload(**self._calls)
            except NotFound as error:
                if is_bucket_missing(error):
                    raise
                return False
        return True


class _Reading(pafs.FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types
    """Read-only files `bucket/name`, for pyarrow's datasets: each range that is read is fetched when it is."""

    def __init__(self, client: Client, calls: dict[str, Any]) -> None:
        self._client = client
        self._calls = calls

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reading) and other._client is self._client

    def __hash__(self) -> int:
        return id(self._client)

    def get_type_name(self) -> str:
        return "gcs-client"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [self._info(path) for path in paths]

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Seekable."""
        blob = self._blob(path)
        with naming_errors(blob.bucket.name, f"gs://{path}"):
            blob.reload(**self._calls)  # pins the generation: a table replaced meanwhile is not mixed in
            pinned = blob.bucket.blob(blob.name, generation=blob.generation)
            return pa.PythonFile(pinned.open("rb", chunk_size=_READ_BYTES, **self._calls), mode="r")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def _info(self, path: str) -> pafs.FileInfo:
        blob = self._blob(path)
        with naming_errors(blob.bucket.name, f"gs://{path}"):
            try:
                blob.reload(**self._calls)
            except NotFound as error:
                if is_bucket_missing(error):
                    raise
                return pafs.FileInfo(path, pafs.FileType.NotFound)
        return pafs.FileInfo(path, pafs.FileType.File, size=blob.size)

    def _blob(self, path: str) -> Blob:
        bucket, _, name = path.partition("/")
        return self._client.bucket(bucket).blob(name)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("tables are only read through this file system; publish them by TableStore")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse
