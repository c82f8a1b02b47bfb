"""The part of the Google Cloud Storage JSON API (v1) that google-cloud-storage uses for objects.

No batch provider: nothing here is executed or billed. A client finds it by `STORAGE_EMULATOR_HOST` alone. In faults its
provider is `gcs`, and its operations are those of files: an insert is `files.create`, metadata `files.retrieve`, media
`files.content` (`kind` is `upload`, or `output` for what an emulated service wrote).
"""

import base64
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from batch_assets.emulator import breakage, spoil
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import HEADER, Fault, Stage, from_header
from batch_assets.emulator.gcs_errors import GcsRefused, gcs_refusal
from batch_assets.emulator.gcs_objects import Buckets, GcsObject, Precondition, check_bucket
from batch_assets.emulator.gcs_uploads import Uploads

_MOST_RESULTS = 1000
# A line of somebody else's predictions. The label is where our adapter keeps its ids, as others' could.
_FOREIGN_LINE = (
    b'{"status":"","processed_time":"2026-01-01T00:00:00+00:00","request":{"contents":[{"role":"user","parts":[{"text":'
    b'"not yours"}]}],"labels":{"batch_assets_id":"foreign-0"}},"response":{"candidates":[{"content":{"parts":[{"text":'
    b'"not yours"}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,'
    b'"candidatesTokenCount":1,"totalTokenCount":2},"modelVersion":"gemini-foreign"}}'
)
_Handler = Callable[[Request, list[Fault]], Awaitable[Response]]


class GcsCalls:
    """The calls on buckets and objects of one emulation."""

    provider = "gcs"

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._buckets = Buckets(emulation.store, emulation.clock)
        self._uploads = Uploads(emulation.store, self._buckets)

    def routes(self) -> Sequence[BaseRoute]:
        """The paths that google-cloud-storage calls."""
        one = "/storage/v1/b/{bucket}/o/{name:path}"
        table: list[tuple[str, str, str, _Handler]] = [
            ("POST", "/upload/storage/v1/b/{bucket}/o", "files.create", self._insert),
            ("PUT", "/upload/storage/v1/b/{bucket}/o", "files.create", self._resume),
            ("GET", "/download" + one, "files.content", self._media),
            ("GET", one, "files.retrieve", self._get),
            ("DELETE", one, "files.delete", self._delete),
            ("GET", "/storage/v1/b/{bucket}/o", "files.list", self._list),
            ("GET", "/storage/v1/b/{bucket}", "files.retrieve", self._bucket),
        ]
        return [
            Route(path, self._endpoint(operation, handler), methods=[method])
            for method, path, operation, handler in table
        ]

    def _endpoint(self, operation: str, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        """Authenticate, let faults strike, answer errors in the API's own form."""
        emulation = self._emulation

        async def endpoint(request: Request) -> Response:
            try:
                _authenticate(request)
                asked = _asked(request, operation)

                async def work() -> Response:
                    try:
                        return await handler(request, asked)
                    except GcsRefused as refused:
                        return refused.response()

                response = await breakage.perform(
                    emulation.faults.take(self.provider, Stage.CALL, operation, asked),
                    request,
                    work,
                    refusal=gcs_refusal,
                    clock=emulation.clock,
                    stopping=lambda: emulation.stopping,
                )
            except GcsRefused as refused:
                response = refused.response()
            except ClientDisconnect:
                response = Response(status_code=499)  # nobody reads it
            return response

        return endpoint

    # -- writing -------------------------------------------------------------------------------------------------

    async def _insert(self, request: Request, asked: list[Fault]) -> Response:
        bucket = request.path_params["bucket"]
        kind = request.query_params.get("uploadType")
        if kind == "resumable":
            return await self._uploads.start(request, bucket)
        if kind == "multipart":
            return self._rendered(request, await self._uploads.multipart(request, bucket))
        if kind == "media":
            return self._rendered(request, await self._uploads.single(request, bucket))
        raise GcsRefused(400, f"Invalid uploadType: '{kind}'")

    async def _resume(self, request: Request, asked: list[Fault]) -> Response:
        answer = await self._uploads.resume(request)
        return answer if isinstance(answer, Response) else self._rendered(request, answer)

    async def _delete(self, request: Request, asked: list[Fault]) -> Response:
        bucket, name = request.path_params["bucket"], request.path_params["name"]
        self._buckets.delete(bucket, name, Precondition.of(request.query_params), _generation(request))
        return Response(status_code=204)

    # -- reading -------------------------------------------------------------------------------------------------

    async def _bucket(self, request: Request, asked: list[Fault]) -> Response:
        bucket = request.path_params["bucket"]
        check_bucket(bucket)
        made = _stamp(0.0)
        body = {
            "kind": "storage#bucket",
            "id": bucket,
            "name": bucket,
            "location": "EU",
            "storageClass": "STANDARD",
            "timeCreated": made,
            "updated": made,
            "metageneration": "1",
            "projectNumber": "0",
        }
        return JSONResponse(body)

    async def _get(self, request: Request, asked: list[Fault]) -> Response:
        if request.query_params.get("alt") == "media":
            return await self._media(request, asked)
        found = self._found(request)
        return self._rendered(request, found)

    async def _list(self, request: Request, asked: list[Fault]) -> Response:
        query = request.query_params
        token = query.get("pageToken")
        page = self._buckets.list(
            request.path_params["bucket"],
            prefix=query.get("prefix", ""),
            delimiter=query.get("delimiter", ""),
            after=base64.urlsafe_b64decode(token).decode() if token else None,
            start=query.get("startOffset", ""),
            end=query.get("endOffset", ""),
            limit=min(int(query.get("maxResults", _MOST_RESULTS)), _MOST_RESULTS),
        )
        base = str(request.base_url).rstrip("/")
        body: dict[str, Any] = {"kind": "storage#objects"}
        if page.objects:
            body["items"] = [rendered(each, base) for each in page.objects]
        if page.prefixes:
            body["prefixes"] = page.prefixes
        if page.next_after is not None:
            body["nextPageToken"] = base64.urlsafe_b64encode(page.next_after.encode()).decode()
        return JSONResponse(body)

    async def _media(self, request: Request, asked: list[Fault]) -> Response:
        try:
            found = self._found(request)
        except GcsRefused as refused:
            raise GcsRefused(refused.status, refused.message, plain=True) from None
        fault = self._emulation.faults.take(self.provider, Stage.CONTENT, "files.content", asked, kind=found.kind)
        first, last = _wanted(request.headers.get("range"), found.size)
        headers = {
            "etag": _etag(found),
            "last-modified": format_datetime(_time(found.created_at), usegmt=True),
            "x-goog-generation": str(found.generation),
            "x-goog-metageneration": "1",
            "x-goog-storage-class": "STANDARD",
            "x-goog-stored-content-encoding": "identity",
            "x-goog-stored-content-length": str(found.size),
            "accept-ranges": "bytes",
        }
        path = self._buckets.content_path(found)
        whole = last - first + 1 == found.size
        if whole:
            headers["x-goog-hash"] = f"crc32c={found.crc32c},md5={found.md5}"
        else:
            headers["content-range"] = f"bytes {first}-{last}/{found.size}"
        if fault is not None and fault.fault != "cut":
            del headers["x-goog-hash"]  # what was spoiled, was spoiled before it was stored
            chunks = spoil.spoiled(path, fault, foreign=_FOREIGN_LINE)
            return StreamingResponse(chunks, media_type=found.content_type, headers=headers)
        chunks = spoil.blocks(path, first, last - first + 1)
        headers["content-length"] = str(last - first + 1)
        status = 200 if whole else 206
        if fault is not None:
            chunks = breakage.first_bytes(chunks, min(int(fault.params["after_bytes"]), last - first))
            return breakage.CutStream(chunks, status, headers=headers, media_type=found.content_type)
        return StreamingResponse(chunks, status, headers=headers, media_type=found.content_type)

    def _found(self, request: Request) -> GcsObject:
        found = self._buckets.get(request.path_params["bucket"], request.path_params["name"], _generation(request))
        Precondition.of(request.query_params).check(found, reading=True)
        return found

    def _rendered(self, request: Request, found: GcsObject) -> Response:
        return JSONResponse(rendered(found, str(request.base_url).rstrip("/")), headers={"etag": _etag(found)})


def rendered(found: GcsObject, base: str) -> dict[str, Any]:
    """The object resource."""
    path = f"storage/v1/b/{found.bucket}/o/{quote(found.name, safe='')}"
    made = _stamp(found.created_at)
    body: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{found.bucket}/{found.name}/{found.generation}",
        "selfLink": f"{base}/{path}",
        "mediaLink": f"{base}/download/{path}?generation={found.generation}&alt=media",
        "name": found.name,
        "bucket": found.bucket,
        "generation": str(found.generation),
        "metageneration": "1",
        "contentType": found.content_type,
        "storageClass": "STANDARD",
        "size": str(found.size),
        "md5Hash": found.md5,
        "crc32c": found.crc32c,
        "etag": _etag(found),
        "timeCreated": made,
        "updated": made,
        "timeStorageClassUpdated": made,
    }
    if found.metadata:
        body["metadata"] = found.metadata
    return body


def _authenticate(request: Request) -> None:
    """Anonymous calls are let in, as `STORAGE_EMULATOR_HOST` has clients make them; a token `invalid...` is refused."""
    if request.headers.get("authorization", "").partition(" ")[2].startswith("invalid"):
        raise GcsRefused(401)


def _asked(request: Request, operation: str) -> list[Fault]:
    try:
        return from_header(request.headers.get(HEADER, ""), operation)
    except ValueError as error:
        raise GcsRefused(400, f"{HEADER}: {error}") from None


def _generation(request: Request) -> int | None:
    text = request.query_params.get("generation")
    return int(text) if text else None


def _wanted(header: str | None, size: int) -> tuple[int, int]:
    """First and last byte that a Range header asks for. Raises GcsRefused (416)."""
    if header is None or not header.startswith("bytes="):
        return 0, size - 1
    low, _, high = header.removeprefix("bytes=").partition("-")
    first = int(low) if low else max(0, size - int(high))
    last = min(int(high), size - 1) if low and high else size - 1
    if first > last:
        raise GcsRefused(416, "The requested range cannot be satisfied.", reason="requestedRangeNotSatisfiable")
    return first, last


def _etag(found: GcsObject) -> str:
    return base64.b64encode(str(found.generation).encode()).decode()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _stamp(seconds: float) -> str:
    return _time(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
