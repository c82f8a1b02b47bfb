"""Time, CPU and memory of one step, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One step."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    """Highest resident memory of the process above what it had before the step."""

    def __add__(self, other: Measured) -> Measured:
        """One step after the other, each in a process of its own."""
        return Measured(
            seconds=self.seconds + other.seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            peak_mb=max(self.peak_mb, other.peak_mb),
        )


@contextmanager
def measured() -> Iterator[None]:
    """Print what the block took, as a line of JSON."""
    before = _resident_mb()
    peak = [before]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            peak[0] = max(peak[0], _resident_mb())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start, cpu = time.perf_counter(), time.process_time()
    yield
    taken = Measured(
        seconds=time.perf_counter() - start, cpu_seconds=time.process_time() - cpu, peak_mb=peak[0] - before
    )
    stop.set()
    watcher.join()
    print(json.dumps(asdict(taken)))  # noqa: T201  # read by the parent


def in_process(module: str, *arguments: str) -> Measured:
    """Run `python -m module arguments` and read what it measured."""
    done = subprocess.run(  # noqa: S603  # our own modules
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return Measured(**json.loads(done.stdout.strip().splitlines()[-1]))


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as status:  # noqa: PTH123  # read fifty times a second
        return int(status.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
