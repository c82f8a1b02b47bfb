"""Every durable step and every call to a provider, seen from outside: proxies that count them, and die at one.

A point is a name, how often it came up, and whether it is before or after the step: `("journal submitting", 2,
"before")` is the moment before the second intent is written.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from batch_assets.providers.protocol import Provider
    from batch_assets.records import BatchInfo, Limits, Request
    from batch_assets.storage.protocol import ObjectStore, StoredObject
    from batch_assets.tables import TableStore


class Point(NamedTuple):
    """A moment in the life of a process."""

    name: str
    occurrence: int
    side: str


@dataclass(slots=True)
class Points:
    """Counts the points that a process passes. It dies, or stops, at one, or writes them all to `log`."""

    deadly: Point | None = None
    sleepy: Point | None = None
    log: Path | None = None
    _passed: dict[tuple[str, str], int] = field(default_factory=dict)

    def pass_by(self, name: str, side: str) -> None:
        """One point."""
        number = self._passed[name, side] = self._passed.get((name, side), 0) + 1
        point = Point(name, number, side)
        if self.log is not None:
            with self.log.open("a") as stream:
                stream.write(json.dumps(point) + "\n")
        if point == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if point == self.sleepy:
            os.kill(os.getpid(), signal.SIGSTOP)

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        """A step between two points."""
        self.pass_by(name, "before")
        yield
        self.pass_by(name, "after")


def step_name(path: str, data: bytes = b"") -> str:
    """A name without the random parts: `journal submitting`, `open planned`, `files results`."""
    parts = path.split("/")
    if "journal" in parts:
        return f"journal {json.loads(data)['state']}"
    known = ("plans", "drafts", "open", "batches", "lease", "waits", "files", "spec.json", "calibrations")
    kind = next((one for one in known if one in parts), parts[-1])
    leaf = parts[-1].split("-")[0].split(".")
    detail = leaf[1] if kind == "open" and "assets" not in parts and "accounts" not in parts else ""
    if kind in {"files", "drafts"}:
        detail = leaf[0]
    if kind == "lease" and data:
        detail = "released" if json.loads(data)["seconds"] == 0 else "taken"
    return f"{kind} {detail}".strip()


class PointStore:
    """An ObjectStore whose writes are points, and whose clock is `ahead` of this machine's."""

    def __init__(self, store: ObjectStore, points: Points, ahead: timedelta = timedelta()) -> None:
        self._store, self._points, self._ahead = store, points, ahead
        self.url = store.url

    def read(self, path: str) -> bytes:
        return self._store.read(path)

    def write_new(self, path: str, data: bytes) -> bool:
        with self._points.around(step_name(path, data)):
            return self._store.write_new(path, data)

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        self._points.pass_by(step_name(path), "before")
        with self._store.create(path) as stream:
            yield stream
            self._points.pass_by(step_name(path), "written")
        self._points.pass_by(step_name(path), "after")

    @contextmanager
    def fetch(self, path: str) -> Iterator[Path]:
        with self._store.fetch(path) as file:
            yield file

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for entry in self._store.list(prefix):
            yield replace(entry, created_at=entry.created_at + self._ahead)

    def delete(self, path: str) -> None:
        with self._points.around(f"delete {step_name(path) if 'journal' not in path else path}"):
            self._store.delete(path)

    def now(self) -> Any:
        return self._store.now() + self._ahead


class PointProvider:
    """A Provider whose calls are points. `limits` may be narrower than the real ones."""

    def __init__(self, provider: Provider, points: Points, limits: Limits | None = None) -> None:
        self._provider, self._points = provider, points
        self.limits = limits or provider.limits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def newest(self) -> str | None:
        with self._points.around("newest"):
            return self._provider.newest()

    def upload(self, name: str, chunks: Iterator[bytes]) -> str | None:
        with self._points.around("upload"):
            return self._provider.upload(name, chunks)

    def create(
        self,
        *,
        stamp: str,
        request: Request,
        input_file: str | None,
        lines: Callable[[], Iterator[bytes]],
        timeout_seconds: float,
    ) -> str:
        with self._points.around("create"):
            return self._provider.create(
                stamp=stamp, request=request, input_file=input_file, lines=lines, timeout_seconds=timeout_seconds
            )

    def batches(self) -> Iterator[BatchInfo]:
        self._points.pass_by("batches", "before")
        for number, batch in enumerate(self._provider.batches()):
            if not number:
                self._points.pass_by("batches", "amid")
            yield batch

    def batch(self, batch_id: str) -> BatchInfo:
        with self._points.around("batch"):
            return self._provider.batch(batch_id)

    def cancel(self, batch_id: str) -> None:
        with self._points.around("cancel"):
            self._provider.cancel(batch_id)

    def results(self, batch: BatchInfo) -> Iterator[bytes]:
        self._points.pass_by("results", "before")
        for number, line in enumerate(self._provider.results(batch)):
            if number == 1:
                self._points.pass_by("results", "amid")
            yield line
        self._points.pass_by("results", "after")

    def delete_input(self, input_file: str) -> None:
        with self._points.around("delete_input"):
            self._provider.delete_input(input_file)


class PointTables:
    """A TableStore whose publishing is a point."""

    def __init__(self, tables: TableStore, points: Points) -> None:
        self._tables, self._points = tables, points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables, name)

    def publish(self, *args: Any, **kwargs: Any) -> bool:
        with self._points.around("publish"):
            return self._tables.publish(*args, **kwargs)
