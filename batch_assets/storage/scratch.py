"""Local scratch files, and the errors of a disk that takes nothing more."""

from __future__ import annotations

import errno
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from batch_assets.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})


@contextmanager
def naming_disk_errors(what: str, path: str | None = None) -> Iterator[None]:
    """Turn a disk's errors into a StoreError that says what cannot be written; a block's other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:  # an error of the block, a dropped connection say
            raise
        raise StoreError(f"{what} cannot be written: {error.strerror}", path=path) from error


@contextmanager
def scratch_file() -> Iterator[IO[bytes]]:
    """A nameless local file, for the length of the block. Raises StoreError where the disk is full."""
    with (
        naming_disk_errors(f"the local scratch folder {tempfile.gettempdir()}"),
        tempfile.TemporaryFile() as scratch,
    ):
        yield scratch
