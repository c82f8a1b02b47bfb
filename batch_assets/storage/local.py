"""A local folder (or a shared file system with hard links) as the store."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from batch_assets.errors import StoreError
from batch_assets.storage.protocol import StoredObject
from batch_assets.storage.scratch import naming_disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRATCH = ".tmp"
"""Folder of unfinished objects, on the same file system; never listed."""


class LocalStore:
    """Objects as files. A new one is written to scratch, synced, and linked to its name, which fails if that exists."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root).expanduser().absolute()
        self._scratch = self._root / SCRATCH
        self.url = str(self._root)
        try:
            self._scratch.mkdir(parents=True, exist_ok=True)
            self.now()
        except (OSError, StoreError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise StoreError(
                f"the store's root {self._root} cannot be written ({reason}); set `root` to a folder that this "
                "process may write to",
                path=self.url,
            ) from error

    def __repr__(self) -> str:
        return f"LocalStore({self.url!r})"

    def read(self, path: str) -> bytes:
        """The whole object."""
        with self._named(path, missing_ok=True):
            return self._at(path).read_bytes()

    def write_new(self, path: str, data: bytes) -> bool:
        """Create the object; False if there is one already."""
        temporary = self._scratch / secrets.token_hex(16)
        with self._named(path):
            try:
                with temporary.open("xb") as stream:
                    stream.write(data)
                    _sync(stream)
                return self._link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Create a large object by writing to a stream."""
        temporary = self._scratch / secrets.token_hex(16)
        with self._named(path):
            stream = temporary.open("xb", buffering=1 << 20)
        try:
            with naming_disk_errors(f"{path} in {self.url}", path), stream:
                yield stream
                if not stream.closed:
                    stream.flush()
            with self._named(path):
                with temporary.open("rb") as written:  # the block may have closed the stream itself
                    os.fsync(written.fileno())
                if not self._link(temporary, path):
                    raise StoreError(f"the object {path} exists already in {self.url}", path=path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    @contextmanager
    def fetch(self, path: str) -> Iterator[Path]:
        """The file itself."""
        file = self._at(path)
        if not file.is_file():
            raise FileNotFoundError(f"there is no object {path} in {self.url}")
        yield file

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below the folder `prefix`."""
        with self._named(prefix):
            yield from self._walk(self._at(prefix), prefix.strip("/"))

    def delete(self, path: str) -> None:
        """Delete the object, and the folders that it leaves empty are left."""
        with self._named(path):
            self._at(path).unlink(missing_ok=True)

    def now(self) -> datetime:
        """The file system's clock, read off a file made for that."""
        probe = self._scratch / f"clock-{secrets.token_hex(8)}"
        with self._named(SCRATCH):
            probe.touch()
            try:
                return datetime.fromtimestamp(probe.stat().st_mtime, UTC)
            finally:
                probe.unlink(missing_ok=True)

    # ------------------------------------------------------------ inside

    def _at(self, path: str) -> Path:
        target = self._root / path
        if ".." in Path(path).parts or not target.is_relative_to(self._root):
            raise StoreError(f"the path {path!r} leaves the store", path=path)
        return target

    def _walk(self, folder: Path, prefix: str) -> Iterator[StoredObject]:
        try:
            entries = [(entry, entry.is_dir(follow_symlinks=False)) for entry in os.scandir(folder)]
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry, is_folder in sorted(entries, key=lambda pair: pair[0].name + "/" * pair[1]):
            path = f"{prefix}/{entry.name}" if prefix else entry.name
            if is_folder:
                if path != SCRATCH:
                    yield from self._walk(Path(entry.path), path)
                continue
            with suppress(FileNotFoundError):  # deleted since the folder was read
                status = entry.stat()
                yield StoredObject(
                    path=path, size_bytes=status.st_size, created_at=datetime.fromtimestamp(status.st_mtime, UTC)
                )

    def _link(self, temporary: Path, path: str) -> bool:
        target = self._at(path)
        _make_folders(target.parent)
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        _sync_folder(target.parent)
        return True

    @contextmanager
    def _named(self, path: str, *, missing_ok: bool = False) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if missing_ok:
                raise FileNotFoundError(f"there is no object {path} in {self.url}") from None
            raise StoreError(f"{path} in {self.url}: a folder vanished while it was in use", path=path) from None
        except OSError as error:
            raise StoreError(
                f"{path} in {self.url} cannot be read or written: {error.strerror or error}", path=path
            ) from error


def _make_folders(folder: Path) -> None:
    """Create a folder so that it outlives a power cut: each new entry's folder is synced."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
