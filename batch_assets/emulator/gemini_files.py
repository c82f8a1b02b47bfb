"""The Gemini API's files: resumable upload under the client's own id, list, get, delete, download of results.

Facts: google-genai 3.4 against a recording server, and the files guide, read 2026-11. Uploaded files live for 48 hours.
"""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batch_assets.emulator.downloads import download
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import Stage
from batch_assets.emulator.gemini_errors import GoogleRefused
from batch_assets.emulator.store import StoredFile

if TYPE_CHECKING:
    from batch_assets.emulator.gemini_wire import Call

UPLOADS_LIVE_SECONDS = 48 * 3600.0
MAX_FILE_BYTES = 2_000_000_000
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_FOREIGN_LINE = (
    b'{"key":"foreign-0","response":{"candidates":[{"content":{"parts":[{"text":"not yours"}],"role":"model"},'
    b'"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2},'
    b'"modelVersion":"gemini-foreign"}}'
)
_DOWNLOAD_FORBIDDEN = "Only generated files can be downloaded, uploaded files can't be downloaded."


@dataclass(slots=True)
class _Session:
    """An upload under way."""

    file_id: str
    account: str
    display_name: str
    mime_type: str
    size: int
    path: Path
    received: int = 0


class FileCalls:
    """The calls on files of one emulation."""

    def __init__(self, emulation: Emulation, provider: str) -> None:
        self._emulation = emulation
        self._store = emulation.store
        self._provider = provider
        self._sessions: dict[str, _Session] = {}

    async def start(self, call: "Call") -> Response:
        """`X-Goog-Upload-Command: start`: the address that the content goes to."""
        headers = call.request.headers
        body = _json(await call.request.body())
        given = body.get("file") or {}
        name = str(given.get("name") or f"files/{secrets.token_hex(6)}").removeprefix("files/")
        if not _NAME.fullmatch(name):
            raise GoogleRefused(
                400, f"Invalid file name files/{name}: up to 40 of a-z, 0-9 and -, no dash at the ends."
            )
        if self._alive(name) is not None:  # unverified: in which words
            raise GoogleRefused(409, f"File files/{name} already exists.")
        size = int(headers.get("x-goog-upload-header-content-length") or given.get("sizeBytes") or 0)
        if size > MAX_FILE_BYTES:
            raise GoogleRefused(400, f"File size {size} is larger than {MAX_FILE_BYTES}.")
        upload_id = secrets.token_urlsafe(24)
        self._sessions[upload_id] = _Session(
            file_id=name,
            account=call.account,
            display_name=str(given.get("displayName") or given.get("display_name") or ""),
            mime_type=headers.get("x-goog-upload-header-content-type", "application/octet-stream"),
            size=size,
            path=self._store.partial_path(f"gemini-{secrets.token_hex(12)}"),
        )
        self._sessions[upload_id].path.touch()
        url = f"{str(call.request.url).partition('?')[0]}?upload_id={upload_id}&upload_protocol=resumable"
        return JSONResponse({}, headers={"x-goog-upload-url": url, "x-goog-upload-status": "active"})

    async def receive(self, request: Request) -> Response:
        """One chunk, or the last one."""
        session = self._sessions.get(request.query_params.get("upload_id", ""))
        if session is None:
            raise GoogleRefused(404, "The upload was not found.")
        at = int(request.headers.get("x-goog-upload-offset", "0"))
        if at != session.received:
            raise GoogleRefused(400, f"The upload continues at {session.received}, not at {at}.")
        with session.path.open("r+b") as target:
            target.seek(at)
            async for block in request.stream():
                target.write(block)
                at += len(block)
            target.truncate()
        session.received = at
        if "finalize" not in request.headers.get("x-goog-upload-command", ""):
            return Response(headers={"x-goog-upload-status": "active"})
        if session.received != session.size:
            raise GoogleRefused(400, f"The upload has {session.received} bytes, and was to have {session.size}.")
        del self._sessions[request.query_params["upload_id"]]
        now = self._emulation.clock.now()
        file = StoredFile(
            id=stored_id(session.file_id),
            provider=self._provider,
            account=session.account,
            purpose=session.mime_type,
            filename=session.display_name,
            bytes=session.received,
            created_at=now,
            expires_at=now + UPLOADS_LIVE_SECONDS,
            wire={"sha256": _sha256(session.path)},
        )
        self._store.delete_file(file.id)
        session.path.rename(self._store.content_path(file.id))
        self._store.add_file(file)
        return JSONResponse({"file": self._rendered(file, request)}, headers={"x-goog-upload-status": "final"})

    async def list_all(self, call: "Call") -> Response:
        query = call.request.query_params
        size = min(int(query.get("pageSize") or 10), 100)
        files = [
            file
            for file in self._store.files(self._provider, call.account)
            if file.kind == "upload" and (file.expires_at or 0) > self._emulation.clock.now()
        ][::-1]
        start = int(query.get("pageToken") or 0)
        page = [self._rendered(file, call.request) for file in files[start : start + size]]
        answer: dict[str, Any] = {"files": page} if page else {}
        if start + size < len(files):
            answer["nextPageToken"] = str(start + size)
        return JSONResponse(answer)

    async def retrieve(self, call: "Call") -> Response:
        return JSONResponse(self._rendered(self.find(call.request.path_params["id"]), call.request))

    async def delete(self, call: "Call") -> Response:
        self._store.delete_file(self.find(call.request.path_params["id"]).id)
        return JSONResponse({})

    async def content(self, call: "Call") -> Response:
        file = self.find(call.request.path_params["id"])
        if file.kind == "upload":
            raise GoogleRefused(400, _DOWNLOAD_FORBIDDEN, code="FAILED_PRECONDITION")
        fault = self._emulation.faults.take(self._provider, Stage.CONTENT, "files.content", call.asked, kind=file.kind)
        path = self._store.content_path(file.id)
        return download(path, size_bytes=file.bytes, filename=file.filename, fault=fault, foreign=_FOREIGN_LINE)

    def find(self, name: str) -> StoredFile:
        """Raises GoogleRefused: Google tells a file of others and none apart by nothing (unverified: 403 or 404)."""
        file = self._alive(name)
        if file is None:
            raise GoogleRefused(404, f"You do not have permission to access the File {name} or it may not exist.")
        return file

    def _alive(self, name: str) -> StoredFile | None:
        file = self._store.file(stored_id(name))
        expired = file is not None and file.expires_at is not None and self._emulation.clock.now() >= file.expires_at
        return None if file is None or expired or file.provider != self._provider else file

    def _rendered(self, file: StoredFile, request: Request) -> dict[str, Any]:
        name = f"files/{file.id.removeprefix(stored_id(''))}"
        root = str(request.base_url).rstrip("/")
        return {
            "name": name,
            "displayName": file.filename,
            "mimeType": file.purpose,
            "sizeBytes": str(file.bytes),
            "createTime": stamp(file.created_at),
            "updateTime": stamp(file.created_at),
            "expirationTime": stamp(file.expires_at or 0),
            "sha256Hash": file.wire["sha256"],
            "uri": f"{root}/gemini/v1beta/{name}",
            "state": "ACTIVE",
            "source": "UPLOADED",
        }


def stored_id(name: str) -> str:
    """The id of a file among those of all providers: clients choose theirs."""
    return f"gemini-{name}"


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _sha256(path: Path) -> str:
    """Base64 of the hexadecimal digits, as the API gives it."""
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return base64.b64encode(digest.encode()).decode()


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        raise GoogleRefused(400, "Invalid JSON payload received.") from None
    if not isinstance(value, dict):
        raise GoogleRefused(400, "Invalid JSON payload received.")
    return value
