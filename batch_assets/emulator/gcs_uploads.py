"""The three ways in which an object's content arrives: in one piece, with its metadata, or resumable.

Facts: the JSON API's guide to resumable uploads and google-cloud-storage 3.17, read 2026-11.
"""

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from batch_assets.emulator.gcs_errors import GcsRefused
from batch_assets.emulator.gcs_objects import Buckets, Checksums, GcsObject, Precondition, check_bucket, check_name
from batch_assets.emulator.store import Store

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(slots=True)
class _Session:
    """A resumable upload; `done` is its object once it is complete."""

    bucket: str
    resource: dict[str, Any]
    condition: Precondition
    path: Path
    content_type: str
    received: int = 0
    done: GcsObject | None = None


@dataclass(slots=True)
class Uploads:
    """The uploads of one emulation. Sessions do not survive a restart: the client then starts again (404)."""

    store: Store
    buckets: Buckets
    sessions: dict[str, _Session] = field(default_factory=dict)

    async def single(self, request: Request, bucket: str) -> GcsObject:
        """`uploadType=media`: the body is the content."""
        path = self._partial()
        try:
            with path.open("wb") as target:
                async for block in request.stream():
                    target.write(block)
            resource = {"name": request.query_params.get("name", "")}
            return self._finish(request, bucket, resource, path, request.headers.get("content-type"))
        finally:
            path.unlink(missing_ok=True)

    async def multipart(self, request: Request, bucket: str) -> GcsObject:
        """`uploadType=multipart`: multipart/related with the metadata and the content."""
        resource, content_type, content = _related(request.headers.get("content-type", ""), await request.body())
        path = self._partial()
        try:
            path.write_bytes(content)
            return self._finish(request, bucket, resource, path, content_type)
        finally:
            path.unlink(missing_ok=True)

    def _finish(
        self, request: Request, bucket: str, resource: dict[str, Any], path: Path, content_type: str | None
    ) -> GcsObject:
        _check_sums(path, resource, request.headers.get("x-goog-hash"))
        name = resource.get("name") or request.query_params.get("name", "")
        return self.buckets.insert(
            bucket,
            name,
            path,
            Precondition.of(request.query_params),
            content_type=str(resource.get("contentType") or content_type or "application/octet-stream"),
            metadata=resource.get("metadata"),
        )

    # -- resumable -----------------------------------------------------------------------------------------------

    async def start(self, request: Request, bucket: str) -> Response:
        """The session's address. A precondition that fails already is told at once."""
        body = await request.body()
        resource = _json(body) if body else {}
        resource.setdefault("name", request.query_params.get("name", ""))
        check_bucket(bucket)
        check_name(resource["name"])
        condition = Precondition.of(request.query_params)
        condition.check(self.buckets.find(bucket, resource["name"]))
        upload_id = secrets.token_urlsafe(32)
        self.sessions[upload_id] = _Session(
            bucket=bucket,
            resource=resource,
            condition=condition,
            path=self._partial(),
            content_type=str(
                resource.get("contentType") or request.headers.get("x-upload-content-type", "application/octet-stream")
            ),
        )
        self.sessions[upload_id].path.touch()
        base = str(request.base_url).rstrip("/")
        location = (
            f"{base}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&name={quote(resource['name'], safe='')}"
            f"&upload_id={upload_id}"
        )
        return Response(status_code=200, headers={"location": location, "x-guploader-uploadid": upload_id})

    async def resume(self, request: Request) -> GcsObject | Response:
        """One chunk, or the question how much has arrived; 308 while there is more to come."""
        session = self.sessions.get(request.query_params.get("upload_id", ""))
        if session is None:
            raise GcsRefused(404, "Upload session not found.")
        given = _RANGE.fullmatch(request.headers.get("content-range", "bytes 0-0/*"))
        if given is None:
            raise GcsRefused(400, "Failed to parse Content-Range header.")
        if session.done is not None:
            return session.done
        first, _, total = given.groups()
        if first is not None:
            await self._append(request, session, int(first))
        if total == "*" or session.received < int(total):
            headers = {"range": f"bytes=0-{session.received - 1}"} if session.received else {}
            return Response(status_code=308, headers=headers)
        _check_sums(session.path, session.resource, request.headers.get("x-goog-hash"))
        session.done = self.buckets.insert(
            session.bucket,
            session.resource["name"],
            session.path,
            session.condition,
            content_type=session.content_type,
            metadata=session.resource.get("metadata"),
        )
        return session.done

    async def _append(self, request: Request, session: _Session, first: int) -> None:
        """Keep what follows on what is there; whatever arrived of a broken chunk stays."""
        at = first
        with session.path.open("r+b") as target:
            async for block in request.stream():
                skip = max(0, session.received - at)
                at += len(block)
                if first > session.received or skip >= len(block):
                    continue
                target.seek(session.received)
                target.write(block[skip:])
                target.flush()
                session.received = at

    def _partial(self) -> Path:
        return self.store.partial_path(f"gcs-{secrets.token_hex(12)}")


def _related(content_type: str, body: bytes) -> tuple[dict[str, Any], str, bytes]:
    """Metadata, content type and content of a multipart/related body of two parts."""
    boundary = _BOUNDARY.search(content_type)
    if not content_type.startswith("multipart/related") or boundary is None:
        raise GcsRefused(400, "Multipart must be multipart/related with a boundary.")
    line = b"--" + boundary[1].encode()
    _, _, rest = body.partition(line + b"\r\n")
    first, _, rest = rest.partition(b"\r\n" + line + b"\r\n")
    _, _, resource = first.partition(b"\r\n\r\n")
    head, found, rest = rest.partition(b"\r\n\r\n")
    content, closed, _ = rest.rpartition(b"\r\n" + line + b"--")
    if not found or not closed:
        raise GcsRefused(400, "Missing end boundary in multipart body.")
    kind = re.search(rb"(?i)content-type:\s*([^\r\n]+)", head)
    return _json(resource), kind[1].decode() if kind else "application/octet-stream", content


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise GcsRefused(400, "Parse Error", reason="parseError") from None
    if not isinstance(value, dict):
        raise GcsRefused(400, "Parse Error", reason="parseError")
    return value


def _check_sums(path: Path, resource: dict[str, Any], header: str | None) -> None:
    """Compare with the checksums that the client sent; raises GcsRefused (400)."""
    wanted = dict(part.strip().split("=", 1) for part in (header or "").split(",") if "=" in part)
    crc32c, md5 = resource.get("crc32c") or wanted.get("crc32c"), resource.get("md5Hash") or wanted.get("md5")
    if crc32c is None and md5 is None:
        return
    sums = Checksums()
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            sums.update(block)
    for name, given, found in (("CRC32C", crc32c, sums.crc32c), ("MD5 hash", md5, sums.md5)):
        if given is not None and given != found:
            raise GcsRefused(400, f'Provided {name} "{given}" doesn\'t match calculated {name} "{found}".')
