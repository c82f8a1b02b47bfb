"""Mistral's wire: files and batch jobs, below `/mistral`, since its paths are OpenAI's.

The SDK's `server_url` carries the prefix. Facts: mistral-openapi.yaml and the batch guide, read 2026-11; what is marked
as unverified is a guess.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from typing import Any
from zlib import adler32, crc32

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from batch_assets.emulator import breakage
from batch_assets.emulator.batches import Batch, Phase, Problem
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import HEADER, Fault, Stage, from_header
from batch_assets.emulator.lines import LineFile
from batch_assets.emulator.mistral_errors import Refused, refusal, refused
from batch_assets.emulator.mistral_files import FileCalls
from batch_assets.emulator.mistral_jobs import JobCalls
from batch_assets.emulator.mistral_limits import MistralLimits
from batch_assets.emulator.mistral_replies import reply
from batch_assets.emulator.wire import Result, Strike, Verdict, fingerprint_of

PREFIX = "/mistral"
_MOST_PROBLEMS = 100

Handler = Callable[["Call"], Awaitable[Response]]


class Call:
    """One authenticated call: the request, whose account it is, the faults that it asks for."""

    def __init__(self, request: Request, asked: list[Fault]) -> None:
        self.request = request
        self.account = _account(request)
        self.asked = asked


class MistralWire:
    """See `Wire`."""

    provider = "mistral"

    def __init__(self) -> None:
        self._emulation: Emulation

    @property
    def error_file(self) -> bool:
        return not self.limits().errors_in_output

    def routes(self, emulation: Emulation) -> Sequence[BaseRoute]:
        self._emulation = emulation
        files = FileCalls(emulation, self.provider, self.limits)
        jobs = JobCalls(emulation, self.provider, self.limits, files)
        table: list[tuple[str, str, str, Handler]] = [
            ("POST", "/v1/files", "files.create", files.create),
            ("GET", "/v1/files", "files.list", files.list_all),
            ("GET", "/v1/files/{id}", "files.retrieve", files.retrieve),
            ("DELETE", "/v1/files/{id}", "files.delete", files.delete),
            ("GET", "/v1/files/{id}/content", "files.content", files.content),
            ("POST", "/v1/batch/jobs", "batches.create", jobs.create),
            ("GET", "/v1/batch/jobs", "batches.list", jobs.list_all),
            ("GET", "/v1/batch/jobs/{id}", "batches.retrieve", jobs.retrieve),
            ("DELETE", "/v1/batch/jobs/{id}", "batches.delete", jobs.delete),
            ("POST", "/v1/batch/jobs/{id}/cancel", "batches.cancel", jobs.cancel),
        ]
        routes = [
            Route(PREFIX + path, self._endpoint(operation, handler), methods=[method])
            for method, path, operation, handler in table
        ]
        return [*routes, Route(PREFIX + "/{rest:path}", _no_such_url, methods=["GET", "POST", "DELETE"])]

    def _endpoint(self, operation: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Authenticate, let faults strike, answer."""
        emulation = self._emulation

        async def endpoint(request: Request) -> Response:
            try:
                call = Call(request, _asked(request, operation))

                async def work() -> Response:
                    try:
                        return await handler(call)
                    except Refused as error:
                        return error.response()

                return await breakage.perform(
                    emulation.faults.take(self.provider, Stage.CALL, operation, call.asked),
                    request,
                    work,
                    refusal=refusal,
                    clock=emulation.clock,
                    stopping=lambda: emulation.stopping,
                )
            except Refused as error:
                return error.response()
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads it

        return endpoint

    # -- limits --------------------------------------------------------------------------------------------------

    def limits(self) -> MistralLimits:
        return MistralLimits(**self._emulation.limits(self.provider))

    def check_limits(self, limits: dict[str, Any]) -> None:
        known = [each.name for each in fields(MistralLimits)]
        if unknown := sorted(limits.keys() - set(known)):
            raise ValueError(f"unknown limits {unknown}; known: {known}")

    # -- what the worker asks for --------------------------------------------------------------------------------

    def validate(self, batch: Batch, lines: LineFile) -> Verdict:
        """Unverified: what Mistral looks at before it starts, and in which words it complains."""
        limits = self.limits()
        if batch.fate in ("validation_failed", "token_limit_exceeded"):
            message = batch.fate_params.get("message") or "The job was rejected."
            return Verdict(problems=[Problem(code="invalid", message=message)])
        if not len(lines):
            return Verdict(problems=[Problem(code="invalid", message="The input has no requests.")])
        if len(lines) > limits.max_requests:
            message = f"The input has {len(lines)} requests; a job takes {limits.max_requests}."
            return Verdict(problems=[Problem(code="invalid", message=message)])
        if lines.total_bytes > limits.max_bytes:
            message = f"The input has {lines.total_bytes} bytes; a job takes {limits.max_bytes}."
            return Verdict(problems=[Problem(code="invalid", message=message)])
        problems: list[Problem] = []
        model: str | None = batch.wire["model"]
        for number, raw in enumerate(lines, start=1):
            if message := _objection(raw):
                problems.append(Problem(code="invalid", message=f"Line {number}: {message}", line=number))
                if len(problems) >= _MOST_PROBLEMS:
                    break
            elif model is None:
                model = orjson.loads(raw)["body"].get("model")
        return Verdict(problems=problems, model=model)

    def execute(self, batch: Batch, line: bytes, now: int, strike: Strike) -> Result:
        request = orjson.loads(line)
        body, custom_id = request["body"], request.get("custom_id")
        fingerprint = fingerprint_of({**body, "model": body.get("model", batch.model)})
        endpoint = batch.wire["endpoint"]
        answer = reply(endpoint, batch.model, body, fingerprint, now=now, fault=strike(line, fingerprint))
        written = {
            "id": f"batch-{_request_id(batch, line)}",
            "custom_id": custom_id,
            "response": {"status_code": answer.status, "body": answer.body},
            "error": None,
        }
        return Result(
            line=orjson.dumps(written, option=orjson.OPT_APPEND_NEWLINE),
            ok=answer.ok,
            billed=answer.ok,
            fingerprint=fingerprint,
            custom_id=custom_id or "",
            usage=answer.usage,
        )

    def abandon(self, batch: Batch, line: bytes, outcome: Phase) -> bytes:
        """Nothing. Unverified: whether Mistral writes lines for requests that it did not execute."""
        return b""

    def result_file(self, batch: Batch, kind: str) -> tuple[str, str, float | None]:
        name = "output" if kind == "output" else "errors"
        expires_at = self._emulation.clock.now() + self.limits().results_kept_seconds
        return "batch", f"{batch.id}_{name}.jsonl", expires_at


def _objection(raw: bytes) -> str | None:
    """Why a line is no request."""
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return "invalid JSON"
    if not isinstance(line, dict) or not isinstance(line.get("body"), dict):
        return "field required: body"
    if not isinstance(line.get("custom_id"), str | None):
        return "custom_id should be a string"
    return None


def _request_id(batch: Batch, line: bytes) -> str:
    """The same whenever the request is executed again after a crash."""
    return f"{batch.id[-12:]}-{crc32(line):08x}{adler32(line):08x}"


def _asked(request: Request, operation: str) -> list[Fault]:
    try:
        return from_header(request.headers.get(HEADER, ""), operation)
    except ValueError as error:
        raise refused(400, f"{HEADER}: {error}") from None


def _account(request: Request) -> str:
    """The workspace; raises Refused without a key. Any key will do, but for `sk-invalid...`."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if kind.lower() != "bearer" or not key or key.startswith("sk-invalid"):
        raise refused(401)
    return "workspace"


async def _no_such_url(request: Request) -> Response:
    return JSONResponse({"message": f"no Route matched {request.url.path}"}, status_code=404)
