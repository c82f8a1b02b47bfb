"""The one file that `run` writes."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batch_assets.errors import ConfigError
from batch_assets.storage.scratch import naming_disk_errors
from batch_assets.tables import TableStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class OutputFile(TableStore):
    """A table at a path of the user's choice; it appears whole, and replaces what was there."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self._file = path

    def check(self, source: Path) -> None:
        """Raise ConfigError where the file cannot be written: found out before anything is sent."""
        if self._file.suffix.lower() not in {".parquet", ".pq"}:
            raise ConfigError(f"the output {self._file} is written as Parquet; give it a name that ends in .parquet")
        if self._file.is_dir():
            raise ConfigError(f"the output {self._file} is a folder; name a file")
        if source.resolve() == self._file:
            raise ConfigError(f"the output {self._file} is the input; name another file")
        if not self._file.parent.is_dir():
            raise ConfigError(f"there is no folder {self._file.parent} for the output {self._file.name}; make it first")
        try:
            with self.scratch() as probe:
                probe.touch()
        except OSError as error:
            raise ConfigError(f"the folder {self._file.parent} cannot be written ({error.strerror})") from error

    def path(self, asset: str, partition: str | None) -> str:
        """The file, whichever the plan."""
        return str(self._file)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A hidden file beside the output, on the same file system."""
        file = self._file.with_name(f".{self._file.name}.{secrets.token_hex(4)}.tmp")
        try:
            with naming_disk_errors(f"the folder {self._file.parent}"):
                yield file
        finally:
            file.unlink(missing_ok=True)

    def publish(self, file: Path, asset: str, partition: str | None, generation: int) -> bool:
        """Put the finished table in its place. Whoever runs the command wants this table there, so it always is."""
        with file.open("rb") as written:
            os.fsync(written.fileno())
        file.replace(self._file)
        return True
