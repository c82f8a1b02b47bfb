"""What outlives the process: records in SQLite, contents of files beside it.

Every change is one transaction, so that a SIGKILL at any instruction loses nothing that was answered. (A crash of the
machine may: the journal is not synced, since this is a test bench.)
"""

import fcntl
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from batch_assets.emulator.batches import Batch

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, provider TEXT NOT NULL, account TEXT NOT NULL,
    purpose TEXT NOT NULL, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, provider TEXT NOT NULL, account TEXT NOT NULL,
    open INTEGER NOT NULL, record BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS open_batches ON batches (open) WHERE open = 1;
CREATE TABLE IF NOT EXISTS bill (
    source TEXT NOT NULL, line INTEGER NOT NULL, provider TEXT NOT NULL, billed INTEGER NOT NULL,
    fingerprint BLOB NOT NULL, custom_id TEXT NOT NULL,
    input INTEGER NOT NULL, cached INTEGER NOT NULL, output INTEGER NOT NULL,
    PRIMARY KEY (source, line)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, name TEXT NOT NULL, generation INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (bucket, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS faults (id INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS fault_hits (
    fault INTEGER NOT NULL, fingerprint BLOB NOT NULL, hits INTEGER NOT NULL, PRIMARY KEY (fault, fingerprint));
"""


class StateInUseError(Exception):
    """Another emulator runs over this state folder; `folder` is its path."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another emulator uses the state folder {folder}")
        self.folder = folder


class StoredFile(msgspec.Struct):
    """A file at a provider. `kind` is `upload`, `output` or `errors`; the content is `Store.content_path(id)`."""

    id: str
    provider: str
    account: str
    purpose: str
    filename: str
    bytes: int
    created_at: float
    expires_at: float | None = None
    kind: str = "upload"
    batch_id: str | None = None
    wire: dict[str, Any] = {}  # what the upload said and the provider's answers repeat


class Store:
    """The state folder. Methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_file: IO[bytes] = (folder / "lock").open("wb")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock_file.close()
            raise StateInUseError(folder) from None
        self.lock = threading.RLock()
        self._depth = 0
        self.db = sqlite3.connect(folder / "state.sqlite", check_same_thread=False, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.executescript(_SCHEMA)
        if self.setting("format", _FORMAT) != _FORMAT:
            raise ValueError(f"{folder} was written by another version of the emulator")
        self.set_setting("format", _FORMAT)
        self._make_folders()

    def _make_folders(self) -> None:
        for name in ("files", "inputs", "partial"):
            (self.folder / name).mkdir(exist_ok=True)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one thread at a time; may be nested."""
        with self.lock:
            if self._depth:
                yield self.db
                return
            self._depth += 1
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            else:
                self.db.execute("COMMIT")
            finally:
                self._depth -= 1

    # -- settings ------------------------------------------------------------------------------------------------

    def setting(self, key: str, default: Any) -> Any:
        with self.lock:
            row = self.db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return default if row is None else msgspec.json.decode(row[0])

    def set_setting(self, key: str, value: Any) -> None:
        with self.lock:
            self.db.execute("REPLACE INTO settings VALUES (?, ?)", (key, msgspec.json.encode(value)))

    # -- files ---------------------------------------------------------------------------------------------------

    def content_path(self, file_id: str) -> Path:
        return self.folder / "files" / file_id

    def input_path(self, batch_id: str) -> Path:
        """The batch's own link to its input: deleting the uploaded file does not stop a running batch."""
        return self.folder / "inputs" / batch_id

    def partial_path(self, name: str) -> Path:
        """Where an upload is written before it is a file."""
        return self.folder / "partial" / name

    def add_file(self, file: StoredFile) -> None:
        with self.transaction() as db:
            db.execute(
                "INSERT INTO files (id, provider, account, purpose, record) VALUES (?, ?, ?, ?, ?)",
                (file.id, file.provider, file.account, file.purpose, msgspec.json.encode(file)),
            )

    def file(self, file_id: str) -> StoredFile | None:
        with self.lock:
            row = self.db.execute("SELECT record FROM files WHERE id = ?", (file_id,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=StoredFile)

    def files(self, provider: str, account: str) -> list[StoredFile]:
        """Oldest first."""
        with self.lock:
            rows = self.db.execute(
                "SELECT record FROM files WHERE provider = ? AND account = ? ORDER BY seq", (provider, account)
            ).fetchall()
        return [msgspec.json.decode(row[0], type=StoredFile) for row in rows]

    def delete_file(self, file_id: str) -> None:
        with self.transaction() as db:
            db.execute("DELETE FROM files WHERE id = ?", (file_id,))
        self.content_path(file_id).unlink(missing_ok=True)

    # -- batches -------------------------------------------------------------------------------------------------

    def add_batch(self, batch: Batch, source: Path) -> None:
        """Record the batch, and link its input (one request a line) to it; `source` may then go."""
        with self.transaction() as db:
            os.link(source, self.input_path(batch.id))
            db.execute(
                "INSERT INTO batches (id, provider, account, open, record) VALUES (?, ?, ?, 1, ?)",
                (batch.id, batch.provider, batch.account, msgspec.json.encode(batch)),
            )

    def batch(self, batch_id: str) -> Batch | None:
        with self.lock:
            row = self.db.execute("SELECT record FROM batches WHERE id = ?", (batch_id,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Batch)

    def save_batch(self, batch: Batch) -> None:
        with self.transaction() as db:
            db.execute(
                "UPDATE batches SET open = ?, record = ? WHERE id = ?",
                (int(batch.open), msgspec.json.encode(batch), batch.id),
            )

    def delete_batch(self, batch: Batch) -> None:
        """Forget an ended batch and its result files; the bill stays."""
        with self.transaction() as db:
            db.execute("DELETE FROM batches WHERE id = ?", (batch.id,))
        self.delete_file(batch.output_file_id)
        self.delete_file(batch.error_file_id)

    @contextmanager
    def changing(self, batch_id: str) -> Iterator[Batch | None]:
        """Read, change and save one batch in one transaction; None when it does not exist."""
        with self.transaction():
            batch = self.batch(batch_id)
            yield batch
            if batch is not None:
                self.save_batch(batch)

    def open_batches(self) -> list[Batch]:
        """Oldest first."""
        with self.lock:
            rows = self.db.execute("SELECT record FROM batches WHERE open = 1 ORDER BY seq").fetchall()
        return [msgspec.json.decode(row[0], type=Batch) for row in rows]

    def batches(self, provider: str, account: str, before: str | None = None) -> Iterator[Batch]:
        """Newest first; with `before`, those created before that batch."""
        with self.lock:
            row = self.db.execute("SELECT seq FROM batches WHERE id = ?", (before,)).fetchone()
            last = 1 << 62 if row is None else row[0]
        while True:
            with self.lock:
                rows = self.db.execute(
                    "SELECT seq, record FROM batches WHERE provider = ? AND account = ? AND seq < ?"
                    " ORDER BY seq DESC LIMIT 128",
                    (provider, account, last),
                ).fetchall()
            if not rows:
                return
            for last, record in rows:  # noqa: B007 -- the last one is where the next page starts
                yield msgspec.json.decode(record, type=Batch)

    # -- the whole -----------------------------------------------------------------------------------------------

    def wipe(self) -> None:
        """Forget everything but the format."""
        with self.transaction() as db:
            for table in ("settings", "files", "batches", "bill", "objects", "faults", "fault_hits"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608 -- the names are the ones above
            self.set_setting("format", _FORMAT)
            for name in ("files", "inputs", "partial"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            self._make_folders()

    def close(self) -> None:
        with self.lock:
            self.db.close()
            self._lock_file.close()
