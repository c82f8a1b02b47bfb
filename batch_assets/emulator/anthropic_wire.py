"""Anthropic's wire: Message Batches.

Facts: the official SDK (2.12: `Authorization: Bearer`, API version 2026-10-21; before: `X-Api-Key`, 2023-06-01), its
types, and the batch guide, read 2026-11.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from hashlib import sha256
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from batch_assets.emulator import breakage
from batch_assets.emulator.anthropic_batches import BatchCalls, results_expire_at
from batch_assets.emulator.anthropic_errors import Refused, refusal
from batch_assets.emulator.anthropic_intake import AnthropicLimits
from batch_assets.emulator.anthropic_replies import reply
from batch_assets.emulator.anthropic_requests import VERSIONS
from batch_assets.emulator.batches import Batch, Phase
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import HEADER, Fault, Stage, from_header
from batch_assets.emulator.lines import LineFile
from batch_assets.emulator.wire import Result, Strike, Verdict, fingerprint_of

_BATCHES = "/v1/messages/batches"

Handler = Callable[["Call"], Awaitable[Response]]


class Call:
    """One authenticated call: the request, whose workspace it is, the API version, the faults that it asks for."""

    def __init__(self, request: Request, operation: str) -> None:
        self.request = request
        self.account = _workspace(request)
        self.version = _version(request)
        try:
            self.asked: list[Fault] = from_header(request.headers.get(HEADER, ""), operation)
        except ValueError as error:
            raise Refused(400, f"{HEADER}: {error}") from None


class AnthropicWire:
    """See `Wire`."""

    provider = "anthropic"
    error_file = False

    def __init__(self) -> None:
        self._emulation: Emulation

    def routes(self, emulation: Emulation) -> Sequence[BaseRoute]:
        self._emulation = emulation
        batches = BatchCalls(emulation, self.provider, self.limits)
        table: list[tuple[str, str, str, Handler]] = [
            ("POST", "", "batches.create", batches.create),
            ("GET", "", "batches.list", batches.list_all),
            ("GET", "/{id}", "batches.retrieve", batches.retrieve),
            ("DELETE", "/{id}", "batches.delete", batches.delete),
            ("POST", "/{id}/cancel", "batches.cancel", batches.cancel),
            ("GET", "/{id}/results", "files.content", batches.results),
        ]
        return [
            *(
                Route(_BATCHES + path, self._endpoint(operation, handler), methods=[method])
                for method, path, operation, handler in table
            ),
            Route("/v1/messages{rest:path}", self._endpoint("", _not_emulated), methods=["GET", "POST", "DELETE"]),
        ]

    def _endpoint(self, operation: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Authenticate, let faults strike, and dress the answer in the headers that the SDK reads."""
        emulation = self._emulation

        async def endpoint(request: Request) -> Response:
            request_id = f"req_{secrets.token_hex(12)}"
            try:
                call = Call(request, operation)

                async def work() -> Response:
                    try:
                        return await handler(call)
                    except Refused as refused:
                        return refused.response(request_id)

                response = await breakage.perform(
                    emulation.faults.take(self.provider, Stage.CALL, operation, call.asked),
                    request,
                    work,
                    refusal=lambda fault: refusal(fault, request_id),
                    clock=emulation.clock,
                    stopping=lambda: emulation.stopping,
                )
            except Refused as refused:
                async for _ in request.stream():  # so that the client gets to read the answer
                    pass
                response = refused.response(request_id)
            except ClientDisconnect:
                response = Response(status_code=499)  # nobody reads it
            response.headers["request-id"] = request_id
            response.headers["anthropic-organization-id"] = "00000000-0000-4000-8000-000000000000"
            response.headers["anthropic-workspace-id"] = request.headers.get("anthropic-workspace-id", "wrkspc_default")
            return response

        return endpoint

    # -- limits --------------------------------------------------------------------------------------------------

    def limits(self) -> AnthropicLimits:
        return AnthropicLimits(**self._emulation.limits(self.provider))

    def check_limits(self, limits: dict[str, Any]) -> None:
        known = [each.name for each in fields(AnthropicLimits)]
        if unknown := sorted(limits.keys() - set(known)):
            raise ValueError(f"unknown limits {unknown}; known: {known}")

    # -- what the worker asks for --------------------------------------------------------------------------------

    def validate(self, batch: Batch, lines: LineFile) -> Verdict:
        return Verdict()  # what can refuse a whole batch refused its create call

    def execute(self, batch: Batch, line: bytes, now: int, strike: Strike) -> Result:
        request = orjson.loads(line)
        params, custom_id = request["params"], request["custom_id"]
        fingerprint = fingerprint_of(params)
        answer = reply(
            params,
            batch.wire["version"],
            self.limits(),
            fingerprint=fingerprint,
            key=_key(batch, custom_id),
            fault=strike(line, fingerprint),
        )
        written = {"custom_id": custom_id, "result": answer.result}
        return Result(
            line=orjson.dumps(written, option=orjson.OPT_APPEND_NEWLINE),
            ok=answer.ok,
            billed=answer.ok,
            fingerprint=fingerprint,
            custom_id=custom_id,
            usage=answer.usage,
        )

    def abandon(self, batch: Batch, line: bytes, outcome: Phase) -> bytes:
        kind = "expired" if outcome is Phase.EXPIRED else "canceled"
        written = {"custom_id": orjson.loads(line)["custom_id"], "result": {"type": kind}}
        return orjson.dumps(written, option=orjson.OPT_APPEND_NEWLINE)

    def result_file(self, batch: Batch, kind: str) -> tuple[str, str, float | None]:
        return "batch_results", f"{batch.id}_results.jsonl", results_expire_at(batch)


def _key(batch: Batch, custom_id: str) -> str:
    """24 hex digits, the same whenever the request is executed again after a crash."""
    return sha256(f"{batch.id} {custom_id}".encode()).hexdigest()[:24]


def _workspace(request: Request) -> str:
    """Whose batches; raises Refused without a key. Any key will do, but for `sk-invalid...`."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip() if kind.lower() == "bearer" else request.headers.get("x-api-key", "")
    if not key:
        raise Refused(401, "x-api-key header is required")
    if key.startswith("sk-invalid"):
        raise Refused(401, "invalid x-api-key")
    return request.headers.get("anthropic-workspace-id", "default")


def _version(request: Request) -> str:
    version = request.headers.get("anthropic-version")
    if version is None:
        raise Refused(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise Refused(400, f'anthropic-version: "{version}" is not a valid version')
    return version


async def _not_emulated(call: Call) -> Response:
    raise Refused(404, f"{call.request.method} {call.request.url.path}: not emulated")
