"""What the ledger asks of a store: a handful of operations that every object store and folder has.

No rename, no update in place, no compare-and-swap. Paths are relative, their parts joined by `/`. What is written is
whole or not there at all, and durable when the call returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One entry of a listing."""

    path: str
    size_bytes: int
    created_at: datetime
    """The store's clock."""


class ObjectStore(Protocol):
    """A folder or a bucket."""

    url: str
    """Where it is, for people."""

    def read(self, path: str) -> bytes:
        """The whole object. Raises FileNotFoundError; StoreError for everything else."""
        ...

    def write_new(self, path: str, data: bytes) -> bool:
        """Create the object; False if there is one already, which is then left as it is. Raises StoreError."""
        ...

    def create(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Create a large object by writing to a stream; it appears when the block ends, or not at all if it raises.

        Raises StoreError at the end if there is one already: names of large objects are random.
        """
        ...

    def fetch(self, path: str) -> AbstractContextManager[Path]:
        """A local file with the object's content, for the length of the block; read only. Raises FileNotFoundError."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below the folder `prefix`, at any depth, in the order of their paths."""
        ...

    def delete(self, path: str) -> None:
        """Delete the object; one that is not there is no error."""
        ...

    def now(self) -> datetime:
        """The store's clock: the only one that ages are measured by."""
        ...
