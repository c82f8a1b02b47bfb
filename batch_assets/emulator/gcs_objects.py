"""The objects of the emulated buckets: create, replace and delete under preconditions, read, list.

A bucket needs no creation: every name exists, but for those that begin with `nonexistent` (404) or `forbidden` (403).
"""

import base64
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import msgspec

from batch_assets.emulator.clock import Clock
from batch_assets.emulator.gcs_errors import GcsRefused
from batch_assets.emulator.store import Store

_BLOCK_BYTES = 1 << 20
_LAST = "\U0010ffff"


class GcsObject(msgspec.Struct):
    """One live object. `kind` is `upload`, or `output` for what an emulated service wrote."""

    bucket: str
    name: str
    generation: int
    size: int
    crc32c: str
    md5: str
    created_at: float
    content_type: str
    metadata: dict[str, str] = {}
    kind: str = "upload"


@dataclass(frozen=True, slots=True)
class Precondition:
    """`ifGenerationMatch` (0: there is no object) and `ifGenerationNotMatch` of a call."""

    match: int | None = None
    not_match: int | None = None

    @classmethod
    def of(cls, query: Any) -> "Precondition":
        return cls(match=_integer(query, "ifGenerationMatch"), not_match=_integer(query, "ifGenerationNotMatch"))

    def check(self, found: GcsObject | None, *, reading: bool = False) -> None:
        """Raises GcsRefused: 412, or 304 for a read of what the client has already."""
        generation = 0 if found is None else found.generation
        if self.match is not None and self.match != generation:
            raise GcsRefused(412)
        if self.not_match is not None and self.not_match == generation:
            raise GcsRefused(304 if reading else 412)


@dataclass(frozen=True, slots=True)
class Listing:
    """One page: objects and common prefixes, and where the next page begins after."""

    objects: list[GcsObject]
    prefixes: list[str]
    next_after: str | None


class Checksums:
    """CRC-32C and MD5 of bytes as they come, in base64 as the API gives them."""

    def __init__(self) -> None:
        self._crc32c = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def update(self, data: bytes) -> None:
        self._crc32c = google_crc32c.extend(self._crc32c, data)
        self._md5.update(data)
        self.size += len(data)

    @property
    def crc32c(self) -> str:
        return base64.b64encode(self._crc32c.to_bytes(4, "big")).decode()

    @property
    def md5(self) -> str:
        return base64.b64encode(self._md5.digest()).decode()


class Buckets:
    """All buckets of one emulation. Methods may be called from any thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def content_path(self, found: GcsObject) -> Path:
        return self._store.content_path(f"gcs-{found.generation}")

    def find(self, bucket: str, name: str) -> GcsObject | None:
        check_bucket(bucket)
        with self._store.lock:
            row = self._store.db.execute(
                "SELECT record FROM objects WHERE bucket = ? AND name = ?", (bucket, name)
            ).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=GcsObject)

    def get(self, bucket: str, name: str, generation: int | None = None) -> GcsObject:
        """The live object. Raises GcsRefused (404) if there is none, or it has another generation."""
        found = self.find(bucket, name)
        if found is None or generation not in (None, found.generation):
            raise GcsRefused(404, f"No such object: {bucket}/{name}")
        return found

    def insert(
        self,
        bucket: str,
        name: str,
        content: Path,
        condition: Precondition,
        *,
        content_type: str = "application/octet-stream",
        metadata: dict[str, str] | None = None,
        kind: str = "upload",
    ) -> GcsObject:
        """Make the file `content` (which is moved) the object's content. Raises GcsRefused (412, 404, 403)."""
        check_bucket(bucket)
        check_name(name)
        sums = Checksums()
        with content.open("rb") as source:
            while block := source.read(_BLOCK_BYTES):
                sums.update(block)
        with self._store.transaction() as db:
            before = self.find(bucket, name)
            condition.check(before)
            made = GcsObject(
                bucket=bucket,
                name=name,
                generation=self._next_generation(db),
                size=sums.size,
                crc32c=sums.crc32c,
                md5=sums.md5,
                created_at=self._clock.now(),
                content_type=content_type,
                metadata=metadata or {},
                kind=kind,
            )
            content.rename(self.content_path(made))
            db.execute(
                "REPLACE INTO objects VALUES (?, ?, ?, ?)", (bucket, name, made.generation, msgspec.json.encode(made))
            )
        if before is not None:
            self.content_path(before).unlink(missing_ok=True)
        return made

    def write(self, bucket: str, name: str, blocks: Iterable[bytes]) -> GcsObject:
        """What a service of the same cloud writes: without a precondition."""
        partial = self._store.partial_path(f"service-{hashlib.sha256(f'{bucket}/{name}'.encode()).hexdigest()}")
        with partial.open("wb") as target:
            target.writelines(blocks)
        return self.insert(bucket, name, partial, Precondition(), kind="output")

    def delete(self, bucket: str, name: str, condition: Precondition, generation: int | None = None) -> None:
        """Raises GcsRefused (404, 412)."""
        with self._store.transaction() as db:
            found = self.get(bucket, name, generation)
            condition.check(found)
            db.execute("DELETE FROM objects WHERE bucket = ? AND name = ?", (bucket, name))
        self.content_path(found).unlink(missing_ok=True)

    def list(
        self, bucket: str, *, prefix: str, delimiter: str, after: str | None, start: str, end: str, limit: int
    ) -> Listing:
        """Objects and prefixes in the order of their names (UTF-8 bytes), up to `limit` of both together."""
        check_bucket(bucket)
        objects: list[GcsObject] = []
        prefixes: list[str] = []
        last = after
        for found in self._from(bucket, prefix, after, start, end):
            common = _common_prefix(found.name, prefix, delimiter)
            if common is not None and (common == last or (prefixes and prefixes[-1] == common)):
                continue
            if len(objects) + len(prefixes) == limit:
                return Listing(objects, prefixes, last)
            if common is not None:
                prefixes.append(common)
                last = common
            else:
                objects.append(found)
                last = found.name
        return Listing(objects, prefixes, None)

    def _from(self, bucket: str, prefix: str, after: str | None, start: str, end: str) -> Iterator[GcsObject]:
        low = max(prefix, start)
        high = min(prefix + _LAST, end or _LAST)
        with self._store.lock:
            rows = self._store.db.execute(
                "SELECT record FROM objects WHERE bucket = ? AND name >= ? AND name > ? AND name < ? ORDER BY name",
                (bucket, low, after or "", high),
            ).fetchall()
        for row in rows:
            yield msgspec.json.decode(row[0], type=GcsObject)

    def _next_generation(self, db: sqlite3.Connection) -> int:
        """Microseconds since 1970, and higher than every one before."""
        newest = self._store.setting("gcs_generation", 0)
        generation = max(int(newest) + 1, int(self._clock.now() * 1e6))
        self._store.set_setting("gcs_generation", generation)
        return generation


def check_bucket(bucket: str) -> None:
    """Raises GcsRefused for a bucket that does not exist (404) or may not be used (403)."""
    if bucket.startswith("nonexistent"):
        raise GcsRefused(404, "The specified bucket does not exist.")
    if bucket.startswith("forbidden"):
        raise GcsRefused(
            403,
            "someone@example.iam.gserviceaccount.com does not have storage.objects.create access to the Google Cloud "
            "Storage object. Permission 'storage.objects.create' denied on resource (or it may not exist).",
        )
    if not 3 <= len(bucket) <= 222 or bucket != bucket.lower():
        raise GcsRefused(400, f"Invalid bucket name: '{bucket}'")


def check_name(name: str) -> None:
    """1 to 1024 bytes of UTF-8 without carriage return and line feed; raises GcsRefused (400)."""
    if not name:
        raise GcsRefused(400, "Required", reason="required")
    if len(name.encode()) > 1024 or "\r" in name or "\n" in name or name in (".", ".."):
        raise GcsRefused(400, "The specified object name is not valid.")


def _common_prefix(name: str, prefix: str, delimiter: str) -> str | None:
    """The name up to the first delimiter behind the prefix, None where it has none."""
    at = name.find(delimiter, len(prefix)) if delimiter else -1
    return None if at < 0 else name[: at + len(delimiter)]


def _integer(query: Any, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise GcsRefused(400, f"Invalid value for {name}: '{text}'")
    return int(text)
