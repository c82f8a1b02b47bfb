"""Random access to the lines of a file without holding the file in memory."""

import os
import zlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

_BLOCK_BYTES = 1 << 20
_NEAR_BYTES = 1 << 16  # what one read brings


class LineFile:
    """The lines of a file by position (0-based); trailing blank lines are not counted.

    Costs 8 bytes of memory a line. `checksum` is the CRC-32 of the whole file. Lines come without their newline.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self._starts = array("Q", [0])
        self.checksum = 0
        self.total_bytes = 0
        self._scan()

    def _scan(self) -> None:
        last = b""
        while block := os.pread(self._fd, _BLOCK_BYTES, self.total_bytes):
            self.checksum = zlib.crc32(block, self.checksum)
            at = block.find(b"\n")
            while at >= 0:
                self._starts.append(self.total_bytes + at + 1)
                at = block.find(b"\n", at + 1)
            self.total_bytes += len(block)
            last = block
        if not last.endswith(b"\n"):
            self._starts.append(self.total_bytes + 1)
        while len(self._starts) > 1 and not self[len(self) - 1].strip():
            self._starts.pop()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, position: int) -> bytes:
        start = self._starts[position]
        return os.pread(self._fd, self._starts[position + 1] - start - 1, start)

    def __iter__(self) -> Iterator[bytes]:
        with os.fdopen(os.dup(self._fd), "rb", buffering=_BLOCK_BYTES) as file:
            file.seek(0)
            for line in islice(file, len(self)):
                yield line.removesuffix(b"\n")

    def several(self, positions: Sequence[int], max_bytes: int) -> list[bytes]:
        """The lines at the first of `positions`, up to about `max_bytes` together; near ones come in one read."""
        wanted = 0
        for taken, position in enumerate(positions, start=1):
            wanted += self._starts[position + 1] - self._starts[position]
            if wanted >= max_bytes:
                positions = positions[:taken]
                break
        found: dict[int, bytes] = {}
        block, begin = b"", 0
        for position in sorted(positions):
            start, end = self._starts[position], self._starts[position + 1] - 1
            if end > begin + len(block):
                block, begin = os.pread(self._fd, max(end - start, _NEAR_BYTES), start), start
            found[position] = block[start - begin : end - begin]
        return [found[position] for position in positions]

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
