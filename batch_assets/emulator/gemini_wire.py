"""The Gemini Developer API's wire: files and batches, below `/gemini`, in v1beta and v1.

GOOGLE_GEMINI_BASE_URL carries the prefix. Facts: the v1beta reference and google-genai 3.4, read 2026-11. Results stand
in any order here, though the guide says that they are in the order of the input: a client has to join by key.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from batch_assets.emulator import gemini_inline, google_calls
from batch_assets.emulator.batches import Batch, Phase
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import Fault
from batch_assets.emulator.gemini_batches import BatchCalls, GeminiLimits
from batch_assets.emulator.gemini_errors import GoogleRefused, error_body
from batch_assets.emulator.gemini_files import FileCalls
from batch_assets.emulator.gemini_replies import reply
from batch_assets.emulator.google_calls import failed, no_such_url, problems_of
from batch_assets.emulator.lines import LineFile
from batch_assets.emulator.wire import Result, Strike, Verdict, fingerprint_of

PREFIX = "/gemini"
VERSIONS = ("v1beta", "v1")
_RESULTS_LIVE_SECONDS = 42 * 86_400.0

Handler = Callable[["Call"], Awaitable[Response]]


class Call:
    """One authenticated call: the request, whose account it is, the faults that it asks for."""

    def __init__(self, request: Request, asked: list[Fault]) -> None:
        self.request = request
        self.account = "project"
        self.asked = asked


class GeminiWire:
    """See `Wire`."""

    provider = "gemini"
    error_file = False

    def __init__(self) -> None:
        self._emulation: Emulation

    def routes(self, emulation: Emulation) -> Sequence[BaseRoute]:
        self._emulation = emulation
        files = FileCalls(emulation, self.provider)
        batches = BatchCalls(emulation, self.provider, self.limits, files)
        table: list[tuple[str, str, str, Handler]] = [
            ("GET", "/{version}/files/{id}:download", "files.content", files.content),
            ("GET", "/download/{version}/files/{id}:download", "files.content", files.content),
            ("GET", "/{version}/files", "files.list", files.list_all),
            ("GET", "/{version}/files/{id}", "files.retrieve", files.retrieve),
            ("DELETE", "/{version}/files/{id}", "files.delete", files.delete),
            ("POST", "/{version}/models/{model}:batchGenerateContent", "batches.create", batches.create),
            ("GET", "/{version}/batches", "batches.list", batches.list_all),
            ("POST", "/{version}/batches/{id}:cancel", "batches.cancel", batches.cancel),
            ("GET", "/{version}/batches/{id}", "batches.retrieve", batches.retrieve),
            ("DELETE", "/{version}/batches/{id}", "batches.delete", batches.delete),
        ]
        start = self._endpoint("files.create", files.start)

        async def upload(request: Request) -> Response:
            """Faults strike where an upload starts; its chunks need no key."""
            if "start" in request.headers.get("x-goog-upload-command", "start"):
                return await start(request)
            try:
                return await files.receive(request)
            except GoogleRefused as refused:
                return refused.response()
            except ClientDisconnect:
                return Response(status_code=499)

        routes = [Route(f"{PREFIX}/upload/{version}/files", upload, methods=["POST"]) for version in VERSIONS]
        routes += [
            Route(PREFIX + path.replace("{version}", version), self._endpoint(operation, handler), methods=[method])
            for version in VERSIONS
            for method, path, operation, handler in table
        ]
        return [*routes, Route(PREFIX + "/{rest:path}", no_such_url, methods=["GET", "POST", "DELETE"])]

    def _endpoint(self, operation: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Authenticate, let faults strike, answer."""
        return google_calls.endpoint(
            self._emulation, self.provider, operation, handler, call_of=Call, authenticate=_unauthenticated
        )

    # -- limits --------------------------------------------------------------------------------------------------

    def limits(self) -> GeminiLimits:
        return GeminiLimits(**self._emulation.limits(self.provider))

    def check_limits(self, limits: dict[str, Any]) -> None:
        known = [each.name for each in fields(GeminiLimits)]
        if unknown := sorted(limits.keys() - set(known)):
            raise ValueError(f"unknown limits {unknown}; known: {known}")

    # -- what the worker asks for --------------------------------------------------------------------------------

    def validate(self, batch: Batch, lines: LineFile) -> Verdict:
        """Unverified: what a batch looks at before it starts, and in which words it complains."""
        if batch.fate == "validation_failed":
            return failed(batch.fate_params["message"], batch.fate_params["code"])
        if batch.fate == "token_limit_exceeded":
            return failed("Quota exceeded for enqueued tokens.", "resource_exhausted")
        if message := self._objection(batch, lines):
            return failed(message)
        return Verdict(problems=problems_of(lines), model=str(batch.wire["model"]).removeprefix("models/"))

    def _objection(self, batch: Batch, lines: LineFile) -> str | None:
        """What is wrong with the input as a whole."""
        limits = self.limits()
        name = str(batch.wire["inputConfig"].get("fileName", "")).removeprefix("files/")
        if name and self._emulation.store.file(f"gemini-{name}") is None:
            return f"The input file files/{name} was not found."
        if not len(lines):
            return "The input file has no requests."
        if len(lines) > limits.max_requests:
            return f"The input has {len(lines)} requests; a batch takes {limits.max_requests}."
        if lines.total_bytes > limits.max_bytes:
            return f"The input has {lines.total_bytes} bytes; a batch takes {limits.max_bytes}."
        return None

    def execute(self, batch: Batch, line: bytes, now: int, strike: Strike) -> Result:
        given = orjson.loads(line)
        request, inline = given["request"], "place" in given
        key = (given["metadata"] or {}).get("key") if inline else given.get("key")
        fingerprint = fingerprint_of({**request, "model": batch.model})
        answer = reply(batch.model or "", request, fingerprint, labels=False, fault=strike(line, fingerprint))
        body = {"response": answer.body} if answer.ok else answer.body
        written = gemini_inline.result_line(given, body) if inline else {"key": key, **body}
        return Result(
            line=orjson.dumps(written, option=orjson.OPT_APPEND_NEWLINE),
            ok=answer.ok,
            billed=answer.ok,
            fingerprint=fingerprint,
            custom_id=key or "",
            usage=answer.usage,
        )

    def abandon(self, batch: Batch, line: bytes, outcome: Phase) -> bytes:
        """Nothing. Unverified: whether requests that were not executed have lines."""
        return b""

    def result_file(self, batch: Batch, kind: str) -> tuple[str, str, float | None]:
        return "application/jsonl", "responses.jsonl", self._emulation.clock.now() + _RESULTS_LIVE_SECONDS


def _unauthenticated(request: Request) -> Response | None:
    """The answer to a call without a key, or with one that begins with `sk-invalid`: a 400, as Google's is."""
    key = request.headers.get("x-goog-api-key") or request.query_params.get("key", "")
    if not key:
        message = "Method doesn't allow unregistered callers (callers without established identity)."
        return JSONResponse(error_body(403, message), status_code=403)
    if not key.startswith("sk-invalid"):
        return None
    body = error_body(400, "API key not valid. Please pass a valid API key.")
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    body["error"]["details"] = [{**info, "domain": "googleapis.com"}]
    return JSONResponse(body, status_code=400)
