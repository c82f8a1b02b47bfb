"""A store whose clock can be moved: time passes between two writes without anybody waiting for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from batch_assets.storage.protocol import ObjectStore, StoredObject


class AgeingStore:
    """An ObjectStore ahead of the real one's clock by `ahead`; each object keeps the time at which it was written."""

    def __init__(self, store: ObjectStore, *, ahead: timedelta = timedelta()) -> None:
        self._store = store
        self._written: dict[str, timedelta] = {}
        self.ahead = ahead
        self.url = store.url

    def pass_time(self, **duration: float) -> None:
        """Let `timedelta(**duration)` pass."""
        self.ahead += timedelta(**duration)

    def read(self, path: str) -> bytes:
        return self._store.read(path)

    def write_new(self, path: str, data: bytes) -> bool:
        written = self._store.write_new(path, data)
        if written:
            self._written[path] = self.ahead
        return written

    def create(self, path: str) -> AbstractContextManager[BinaryIO]:
        self._written[path] = self.ahead
        return self._store.create(path)

    def fetch(self, path: str) -> AbstractContextManager[Path]:
        return self._store.fetch(path)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for entry in self._store.list(prefix):
            yield replace(entry, created_at=entry.created_at + self._written.get(entry.path, self.ahead))

    def delete(self, path: str) -> None:
        self._store.delete(path)

    def now(self) -> datetime:
        return self._store.now() + self.ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
