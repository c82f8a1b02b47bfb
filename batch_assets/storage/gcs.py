"""A Google Cloud Storage bucket as the store.

Facts relied on (documentation and google-cloud-storage 3.17, read 2026-11; tried on the emulator, not on Google):
reads and listings are strongly consistent with writes; `ifGenerationMatch=0` lets one of many writers create a name and
answers the others 412; listings are in the order of the names' UTF-8 bytes; a name takes about one write a second, so
none is written twice; `timeCreated` has milliseconds.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, PreconditionFailed, Unauthorized
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.retry import DEFAULT_RETRY

from batch_assets.errors import ConfigError, StoreError
from batch_assets.storage.protocol import StoredObject
from batch_assets.storage.scratch import naming_disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.cloud.storage import Blob, Client

SCRATCH = ".tmp"
"""Folder of objects that live for a moment; never listed."""
WRITER = "batch_assets_writer"
"""Key of an object's metadata that tells our own write from another's, where a reply was lost."""
CHUNK_BYTES = 8 << 20
"""What an upload holds in memory at a time."""
TIMEOUT_SECONDS = (20, 60)
"""To connect, and between two bytes."""
_CLOCK_SECONDS = 10.0
"""How long a time of the store is carried on by this process's own steady clock before the store is asked again."""
_SDK_MODULES = ("google.", "requests.", "urllib3.", "http.client")


class GCSStore:
    """Objects below `prefix` in a bucket. `client` is dagster-gcp's `GCSResource.get_client()`, or any other."""

    def __init__(self, bucket: str, prefix: str, client: Client, *, retry_seconds: float = 120.0) -> None:
        """Writes, and deletes, one tiny object. Raises StoreError naming what is wrong: bucket, rights, credentials.

        `retry_seconds`: how long a call is repeated after a 429, a 5xx or a broken connection.
        """
        self._client = client
        self._bucket = client.bucket(bucket)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._retry = DEFAULT_RETRY.with_delay(initial=0.2, maximum=20.0, multiplier=2.0).with_timeout(retry_seconds)
        self._calls: dict[str, Any] = {"retry": self._retry, "timeout": TIMEOUT_SECONDS}
        self._clock: tuple[float, datetime] | None = None
        self.url = f"gs://{bucket}/{self._prefix}".rstrip("/")
        self.now()

    @classmethod
    def at(cls, url: str, client: Client) -> GCSStore:
        """The store at `gs://bucket/prefix`. Raises ConfigError, StoreError."""
        return cls(*split_url(url), client)

    def __repr__(self) -> str:
        return f"GCSStore({self.url!r})"

    def read(self, path: str) -> bytes:
        """The whole object."""
        with self._named(path, missing_ok=True):
            content: bytes = self._blob(path).download_as_bytes(raw_download=True, **self._calls)
            return content

    def write_new(self, path: str, data: bytes) -> bool:
        """Create the object; False if there is one already, which may be ours where the reply was lost."""
        blob = self._blob(path)
        with self._named(path):
            try:
                blob.upload_from_string(data, if_generation_match=0, checksum="crc32c", **self._calls)
            except PreconditionFailed:
                return False
        self._set_clock(blob)
        return True

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Create a large object: written to local scratch, then uploaded, whole or not at all."""
        blob = self._blob(path)
        with _scratch_file() as file:
            with file.open("wb", buffering=1 << 20) as stream:
                yield stream
            writer = secrets.token_hex(8)
            with self._named(path), file.open("rb") as content:
                blob.metadata = {WRITER: writer}
                blob.chunk_size = CHUNK_BYTES
                try:
                    blob.upload_from_file(
                        content, size=file.stat().st_size, if_generation_match=0, checksum="crc32c", **self._calls
                    )
                except PreconditionFailed:
                    if not self._is_written_by(path, writer):
                        raise StoreError(f"the object {path} exists already in {self.url}", path=path) from None

    @contextmanager
    def fetch(self, path: str) -> Iterator[Path]:
        """A local copy, for the length of the block."""
        with _scratch_file() as file:
            with self._named(path, missing_ok=True), file.open("wb") as stream:
                self._blob(path).download_to_file(stream, raw_download=True, checksum="crc32c", **self._calls)
            yield file

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below the folder `prefix`, a page of 1,000 at a time."""
        folder = prefix.strip("/")
        start = self._name(f"{folder}/") if folder else self._prefix
        with self._named(prefix):
            for blob in self._client.list_blobs(
                self._bucket, prefix=start, fields="items(name,size,timeCreated),nextPageToken", **self._calls
            ):
                path = blob.name[len(self._prefix) :]
                if not path.startswith(f"{SCRATCH}/"):
                    yield StoredObject(path=path, size_bytes=blob.size, created_at=blob.time_created)

    def delete(self, path: str) -> None:
        """Delete the object."""
        with suppress(FileNotFoundError), self._named(path, missing_ok=True):
            self._blob(path).delete(**self._calls)

    def now(self) -> datetime:
        """The bucket's clock: the time of the last object written, carried on for some seconds; never too late."""
        if self._clock is None or time.monotonic() - self._clock[0] > _CLOCK_SECONDS:
            path = f"{SCRATCH}/clock-{secrets.token_hex(8)}"
            blob = self._blob(path)
            with self._named(""):
                blob.upload_from_string(b"", checksum="crc32c", **self._calls)
            self._set_clock(blob)
            with suppress(StoreError):  # a bucket with a retention policy keeps it
                self.delete(path)
        assert self._clock is not None
        return self._clock[1] + timedelta(seconds=time.monotonic() - self._clock[0])

    # ------------------------------------------------------------ inside

    def _set_clock(self, blob: Blob) -> None:
        if blob.time_created is not None:
            self._clock = (time.monotonic(), blob.time_created)

    def _is_written_by(self, path: str, writer: str) -> bool:
        blob = self._blob(path)
        blob.reload(**self._calls)
        return (blob.metadata or {}).get(WRITER) == writer

    def _name(self, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise StoreError(f"the path {path!r} leaves the store", path=path)
        return self._prefix + path

    def _blob(self, path: str) -> Blob:
        return self._bucket.blob(self._name(path))

    @contextmanager
    def _named(self, path: str, *, missing_ok: bool = False) -> Iterator[None]:
        """Name the culprit in one line. Raises StoreError, or FileNotFoundError for a missing object if that is ok."""
        with naming_errors(self._bucket.name, f"{path} in {self.url}" if path else self.url):
            try:
                yield
            except NotFound as error:
                if not missing_ok or is_bucket_missing(error):
                    raise
                raise FileNotFoundError(f"there is no object {path} in {self.url}") from None


def split_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of `gs://bucket/prefix`. Raises ConfigError."""
    bucket, _, prefix = url.removeprefix("gs://").partition("/")
    if not url.startswith("gs://") or not bucket:
        raise ConfigError(f"{url!r} is no place in Google Cloud Storage; write gs://bucket/folder")
    return bucket, prefix.strip("/")


@contextmanager
def naming_errors(bucket: str, what: str) -> Iterator[None]:
    """Turn errors of the client into one StoreError that says which: bucket, rights, credentials, network."""
    try:
        yield
    except (StoreError, FileNotFoundError):
        raise
    except Forbidden as error:
        raise StoreError(
            f"the credentials may not use {what}: {reason(error)} Grant them `roles/storage.objectUser` on the bucket "
            f"{bucket!r}, or check the bucket's name and the project",
            path=what,
        ) from error
    except (Unauthorized, GoogleAuthError) as error:
        raise StoreError(
            f"Google does not accept the credentials for {what}: {reason(error)}; run `gcloud auth application-default "
            "login`, or set GOOGLE_APPLICATION_CREDENTIALS",
            path=what,
        ) from error
    except NotFound as error:
        if not is_bucket_missing(error):
            raise StoreError(f"{what} is not there any more: {reason(error)}", path=what) from error
        raise StoreError(
            f"{what}: the bucket {bucket!r} does not exist; create it, or correct its name ({reason(error)})", path=what
        ) from error
    except Exception as error:
        if not isinstance(error, OSError) and not type(error).__module__.startswith(_SDK_MODULES):
            raise
        raise StoreError(f"{what} cannot be read or written: {reason(error)}", path=what) from error


def is_bucket_missing(error: NotFound) -> bool:
    """Whether it is the bucket that is not there, rather than an object."""
    return reason(error).startswith("The specified bucket")


def reason(error: Exception) -> str:
    """What Google said, in one line."""
    text = ""
    response = getattr(error, "response", None)
    if isinstance(error, GoogleAPICallError) and response is not None:
        try:
            text = str(response.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            text = str(response.text or "")
    return " ".join((text or str(error)).split())[:400]


@contextmanager
def _scratch_file() -> Iterator[Path]:
    """An empty local file, for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="batch-assets-") as folder:
        file = Path(folder, "object")
        file.touch()
        with naming_disk_errors(f"the local scratch folder {folder}"):
            yield file
