"""OpenAI's wire: files, batches, and the synchronous endpoints that need no batch.

Facts: OpenAI OpenAPI spec 2.3.0 and the Batch guide, read 2026-11; error texts partly from what users report.
Served under `/v1`, and for OpenAI-compatible hosts under `/openai/v1` (Groq, Azure) and `/openai` (Azure).
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from typing import Any
from zlib import adler32, crc32

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from batch_assets.emulator import bill, breakage
from batch_assets.emulator.batches import Batch, Phase, Problem, Usage
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import HEADER, Fault, Stage, from_header
from batch_assets.emulator.lines import LineFile
from batch_assets.emulator.openai_batches import BatchCalls
from batch_assets.emulator.openai_errors import Refused, error_body, refusal
from batch_assets.emulator.openai_files import FileCalls, result_expiry
from batch_assets.emulator.openai_input import OpenAILimits, check_input
from batch_assets.emulator.openai_replies import CHAT, EMBEDDINGS, RESPONSES, reply
from batch_assets.emulator.wire import Result, Strike, Verdict, fingerprint_of

PREFIXES = ("/v1", "/openai/v1", "/openai")
_UNFINISHED = {
    Phase.EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    Phase.CANCELED: ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}

Handler = Callable[["Call"], Awaitable[Response]]


class Call:
    """One authenticated call: the request, whose account it is, the faults that it asks for."""

    def __init__(self, request: Request, asked: list[Fault]) -> None:
        self.request = request
        self.account = _account(request)
        self.asked = asked


class OpenAIWire:
    """See `Wire`."""

    provider = "openai"
    error_file = True

    def __init__(self) -> None:
        self._emulation: Emulation

    def routes(self, emulation: Emulation) -> Sequence[BaseRoute]:
        self._emulation = emulation
        files = FileCalls(emulation, self.provider, self.limits)
        batches = BatchCalls(emulation, self.provider, self.limits)
        table: list[tuple[str, str, str, Handler]] = [
            ("POST", "/files", "files.create", files.create),
            ("GET", "/files", "files.list", files.list_all),
            ("GET", "/files/{id}", "files.retrieve", files.retrieve),
            ("DELETE", "/files/{id}", "files.delete", files.delete),
            ("GET", "/files/{id}/content", "files.content", files.content),
            ("POST", "/batches", "batches.create", batches.create),
            ("GET", "/batches", "batches.list", batches.list_all),
            ("GET", "/batches/{id}", "batches.retrieve", batches.retrieve),
            ("POST", "/batches/{id}/cancel", "batches.cancel", batches.cancel),
            ("POST", "/chat/completions", "realtime", self._realtime(CHAT)),
            ("POST", "/responses", "realtime", self._realtime(RESPONSES)),
            ("POST", "/embeddings", "realtime", self._realtime(EMBEDDINGS)),
        ]
        return [
            Route(prefix + path, self._endpoint(operation, handler), methods=[method])
            for prefix in PREFIXES
            for method, path, operation, handler in table
        ] + [Route(prefix + "/{rest:path}", _no_such_url, methods=["GET", "POST", "DELETE"]) for prefix in PREFIXES]

    def _endpoint(self, operation: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Authenticate, let faults strike, and dress the answer in the headers that the SDK reads."""
        emulation = self._emulation

        async def endpoint(request: Request) -> Response:
            try:
                asked = _asked(request, operation)
                call = Call(request, asked)

                async def work() -> Response:
                    try:
                        return await handler(call)
                    except Refused as refused:
                        return refused.response()

                response = await breakage.perform(
                    emulation.faults.take(self.provider, Stage.CALL, operation, asked),
                    request,
                    work,
                    refusal=refusal,
                    clock=emulation.clock,
                    stopping=lambda: emulation.stopping,
                )
            except Refused as refused:
                response = refused.response()
            except ClientDisconnect:
                response = Response(status_code=499)  # nobody reads it
            response.headers["x-request-id"] = f"req_{secrets.token_hex(16)}"
            response.headers["openai-organization"] = _organization(request)
            response.headers["openai-version"] = "2020-10-01"
            response.headers["openai-processing-ms"] = "5"
            return response

        return endpoint

    # -- limits --------------------------------------------------------------------------------------------------

    def limits(self) -> OpenAILimits:
        return OpenAILimits(**self._emulation.limits(self.provider))

    def check_limits(self, limits: dict[str, Any]) -> None:
        known = [each.name for each in fields(OpenAILimits)]
        if unknown := sorted(limits.keys() - set(known)):
            raise ValueError(f"unknown limits {unknown}; known: {known}")

    # -- what the worker asks for --------------------------------------------------------------------------------

    def validate(self, batch: Batch, lines: LineFile) -> Verdict:
        limits = self.limits()
        if batch.fate == "validation_failed":
            params = batch.fate_params
            problem = Problem(code=params["code"], message=params["message"], line=params["line"])
            return Verdict(problems=[problem])
        if self._emulation.store.file(batch.wire["input_file_id"]) is None:
            # Unverified: whether OpenAI notices an input that is deleted while it validates.
            return Verdict(problems=[Problem(code="input_file_not_found", message="The input file was deleted.")])
        verdict = check_input(lines, batch.wire["endpoint"], limits)
        if verdict.problems:
            return verdict
        limit = batch.fate_params["limit"] if batch.fate == "token_limit_exceeded" else limits.enqueued_tokens
        enqueued = batch.enqueued_tokens + sum(
            each.enqueued_tokens
            for each in self._emulation.store.open_batches()
            if each.provider == self.provider and each.model == verdict.model and each.id != batch.id
        )
        if batch.fate == "token_limit_exceeded" or (limit is not None and enqueued > limit):
            message = (
                f"Enqueued token limit reached for {verdict.model} in organization {batch.account.partition('/')[0]}. "
                f"Limit: {limit:,} enqueued tokens. Please try again once some in_progress batches have been completed."
            )
            return Verdict(problems=[Problem(code="token_limit_exceeded", message=message)])
        return verdict

    def execute(self, batch: Batch, line: bytes, now: int, strike: Strike) -> Result:
        request = orjson.loads(line)
        body, custom_id = request["body"], request["custom_id"]
        fingerprint = fingerprint_of(body)
        answer = reply(batch.wire["endpoint"], body, fingerprint, now, strike(line, fingerprint))
        request_id = _request_id(batch, custom_id)
        written = {
            "id": f"batch_req_{request_id}",
            "custom_id": custom_id,
            "response": {"status_code": answer.status, "request_id": request_id[::-1], "body": answer.body},
            "error": None,
        }
        return Result(
            line=orjson.dumps(written, option=orjson.OPT_APPEND_NEWLINE),
            ok=answer.ok,
            billed=answer.ok,
            fingerprint=fingerprint,
            custom_id=custom_id,
            usage=answer.usage,
        )

    def abandon(self, batch: Batch, line: bytes, outcome: Phase) -> bytes:
        custom_id = orjson.loads(line)["custom_id"]
        code, message = _UNFINISHED[outcome]
        written = {
            "id": f"batch_req_{_request_id(batch, custom_id)}",
            "custom_id": custom_id,
            "response": None,
            "error": {"code": code, "message": message},
        }
        return orjson.dumps(written, option=orjson.OPT_APPEND_NEWLINE)

    def result_file(self, batch: Batch, kind: str) -> tuple[str, str, float | None]:
        name = "output" if kind == "output" else "error"
        return "batch_output", f"{batch.id}_{name}.jsonl", result_expiry(batch, self._emulation.clock.now())

    # -- synchronous endpoints -----------------------------------------------------------------------------------

    def _realtime(self, endpoint: str) -> Handler:
        """The endpoint outside a batch, at once; billed like a request of a batch."""

        async def answer(call: Call) -> Response:
            try:
                raw = await call.request.body()
                body = orjson.loads(raw)
            except orjson.JSONDecodeError:
                raise Refused(400, "We could not parse the JSON body of your request.") from None
            if not isinstance(body, dict):
                raise Refused(400, "The body of the request is not a JSON object.")
            if isinstance(body.get("model"), str) and not self.limits().knows(body["model"]):
                message = f"The model `{body['model']}` does not exist or you do not have access to it."
                raise Refused(404, message, code="model_not_found")
            fingerprint = fingerprint_of(body)
            emulation = self._emulation
            rules = emulation.faults.rules(self.provider)
            said = reply(endpoint, body, fingerprint, int(emulation.clock.now()), rules.strike(raw, fingerprint))
            result = Result(
                line=b"",
                ok=said.ok,
                billed=said.ok,
                fingerprint=fingerprint,
                custom_id="",
                usage=said.usage if said.ok else Usage(),
            )
            source = f"realtime_{secrets.token_hex(12)}"
            with emulation.store.transaction() as db:
                bill.record(db, [bill.BillLine.of(result, source=source, line=0, provider=self.provider)])
                rules.save(db)
            return JSONResponse(said.body, status_code=said.status)

        return answer


def _request_id(batch: Batch, custom_id: str) -> str:
    """32 hex digits, the same whenever the request is executed again after a crash."""
    key = custom_id.encode()
    return f"{batch.id[-16:]}{crc32(key):08x}{adler32(key):08x}"


def _asked(request: Request, operation: str) -> list[Fault]:
    try:
        return from_header(request.headers.get(HEADER, ""), operation)
    except ValueError as error:
        raise Refused(400, f"{HEADER}: {error}") from None


def _organization(request: Request) -> str:
    return request.headers.get("openai-organization") or "org-emulator"


def _account(request: Request) -> str:
    """Organization and project; raises Refused without a key. Any key will do, but for `sk-invalid...`."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip() if kind.lower() == "bearer" else request.headers.get("api-key", "")
    if not key:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
        raise Refused(401, message)
    if key.startswith("sk-invalid"):
        raise Refused(401, "Incorrect API key provided: sk-inval***.", code="invalid_api_key")
    return f"{_organization(request)}/{request.headers.get('openai-project') or 'default'}"


async def _no_such_url(request: Request) -> Response:
    message = f"Invalid URL ({request.method} {request.url.path})"
    return JSONResponse(error_body(message, kind="invalid_request_error", param=None, code=None), status_code=404)
