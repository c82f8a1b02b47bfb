"""Result files that arrive spoiled: the lines of a download, changed on the way."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

from batch_assets.emulator.faults import Fault
from batch_assets.emulator.lines import LineFile

BLOCK_BYTES = 1 << 18


async def blocks(path: Path, first: int = 0, size: int | None = None) -> AsyncIterator[bytes]:
    """The content of a file, or `size` bytes from `first` on; it stays readable when the file is deleted meanwhile."""
    with path.open("rb") as source:
        source.seek(first)
        left = size if size is not None else 1 << 62
        while left > 0 and (block := source.read(min(left, BLOCK_BYTES))):
            left -= len(block)
            yield block


async def spoiled(path: Path, fault: Fault, *, foreign: bytes) -> AsyncIterator[bytes]:
    """The content as `fault` leaves it; the same every time for the same file. `foreign` is somebody else's line."""
    if fault.fault == "empty":
        return
    if fault.fault == "truncated":
        async for block in truncated(path, fault.params["fraction"]):
            yield block
        return
    buffer = bytearray()
    for line in _spoiled_lines(path, fault, foreign):
        buffer += line
        if len(buffer) >= BLOCK_BYTES:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)


async def truncated(path: Path, fraction: float) -> AsyncIterator[bytes]:
    """The first part of the file, ending in the middle of a line."""
    keep = max(1, int(path.stat().st_size * fraction))
    with path.open("rb") as source:
        while os.pread(source.fileno(), 1, keep - 1) == b"\n" or os.pread(source.fileno(), 1, keep) == b"\n":
            keep -= 1
        while keep > 0 and (block := source.read(min(keep, BLOCK_BYTES))):
            keep -= len(block)
            yield block


def _spoiled_lines(path: Path, fault: Fault, foreign: bytes) -> Iterator[bytes]:
    with LineFile(path) as lines:
        count = min(int(fault.params["count"]), len(lines))
        chosen = set(Random(lines.checksum).sample(range(len(lines)), count))  # noqa: S311 -- not a secret
        for position, line in enumerate(lines):
            if position not in chosen:
                yield line + b"\n"
                continue
            match fault.fault:
                case "duplicated_lines":
                    yield line + b"\n" + line + b"\n"
                case "foreign_lines":
                    yield line + b"\n" + foreign + b"\n"
                case "garbled_lines":
                    yield line[: len(line) // 3] + b"\xff\xfe<garbled>" + line[2 * len(line) // 3 :] + b"\n"
                case _:
                    pass  # dropped
