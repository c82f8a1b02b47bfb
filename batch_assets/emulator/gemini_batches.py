"""The Gemini API's batches (v1beta reference "batch-mode" and a live body of 2026-08, read 2026-11).

A batch is an operation; what it is stands in its `metadata`. Requests come in a file, or inline up to 20 MB.
There is no state of canceling. An expired batch has no results (guide), and here none of it is executed; a canceled one
keeps what it had finished (unverified).
"""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import JSONResponse, Response

from batch_assets.emulator import gemini_inline
from batch_assets.emulator.batch_access import BatchAccess
from batch_assets.emulator.batches import Batch, Phase
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.gemini_errors import GoogleRefused
from batch_assets.emulator.gemini_files import FileCalls, stamp, stored_id

if TYPE_CHECKING:
    from batch_assets.emulator.gemini_wire import Call

_STATES = {
    Phase.VALIDATING: "BATCH_STATE_PENDING",
    Phase.RUNNING: "BATCH_STATE_RUNNING",
    Phase.FINALIZING: "BATCH_STATE_RUNNING",
    Phase.CANCELING: "BATCH_STATE_RUNNING",
    Phase.COMPLETED: "BATCH_STATE_SUCCEEDED",
    Phase.FAILED: "BATCH_STATE_FAILED",
    Phase.EXPIRED: "BATCH_STATE_EXPIRED",
    Phase.CANCELED: "BATCH_STATE_CANCELLED",
}
_ENDED = (Phase.COMPLETED, Phase.FAILED, Phase.EXPIRED, Phase.CANCELED)
_RPC_CODES = {"resource_exhausted": 8, "permission_denied": 7, "internal": 13}
_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiLimits:
    """Bounds per batch and account (guide, read 2026-11; the number of requests is not published)."""

    max_requests: int = 1_000_000
    max_bytes: int = 2_000_000_000
    max_inline_bytes: int = gemini_inline.MAX_BYTES
    open_batches: int = 100
    window_seconds: float = 48 * 3600.0


class BatchCalls:
    """The calls on batches of one emulation."""

    def __init__(
        self, emulation: Emulation, provider: str, limits: Callable[[], GeminiLimits], files: FileCalls
    ) -> None:
        self._emulation = emulation
        self._store = emulation.store
        self._provider = provider
        self._limits = limits
        self._files = files
        self._access = BatchAccess(emulation, provider)

    async def create(self, call: "Call") -> Response:
        model = call.request.path_params["model"]
        if model.startswith("nonexistent"):
            raise GoogleRefused(404, f"models/{model} is not found for API version v1beta, or is not supported.")
        body = await call.request.body()
        try:
            given = orjson.loads(body)["batch"]
            name = given.get("displayName", given.get("display_name"))
            source = given.get("inputConfig", given.get("input_config"))
            file_name = source.get("fileName", source.get("file_name"))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise GoogleRefused(400, "Invalid JSON payload received.") from None
        if not isinstance(name, str) or not name:
            raise GoogleRefused(400, "* GenerateContentBatch.display_name: display_name is required.")
        requests = gemini_inline.requests_of(source)
        limits = self._limits()
        if requests is not None and len(body) > limits.max_inline_bytes:
            raise GoogleRefused(400, f"Request payload size exceeds the limit: {limits.max_inline_bytes} bytes.")
        if requests is None and not isinstance(file_name, str):
            raise GoogleRefused(400, "* GenerateContentBatch.input_config: an input is required.")
        config: dict[str, Any] = {"fileName": file_name} if requests is None else {"requests": {}}
        if sum(batch.provider == self._provider for batch in self._store.open_batches()) >= limits.open_batches:
            raise GoogleRefused(429, f"You have {limits.open_batches} concurrent batches, which is the limit.")
        key = secrets.token_hex(18)
        batch = Batch(
            id=key,
            provider=self._provider,
            account=call.account,
            created_at=self._emulation.clock.now(),
            latency_seconds=self._emulation.latency_seconds,
            window_seconds=limits.window_seconds,
            wire={"model": f"models/{model}", "displayName": name, "inputConfig": config},
            output_file_id=stored_id(f"batch-{key[:34]}"),
            error_file_id=stored_id(f"unused-{key[:30]}"),
        )
        self._access.decide_fate(call.asked, batch)
        if batch.fate == "expired":
            batch.fate_params = {**batch.fate_params, "fraction": 0.0}
        if requests is None:
            file = self._files.find(file_name.removeprefix("files/"))
            batch.enqueued_tokens = file.bytes // 4
            self._store.add_batch(batch, self._store.content_path(file.id))
        else:
            self._add_inline(batch, requests, size=len(body))
        answer = JSONResponse(self._rendered(batch))
        self._emulation.worker.nudge()
        return answer

    def _add_inline(self, batch: Batch, requests: list[dict[str, Any]], *, size: int) -> None:
        batch.enqueued_tokens = size // 4
        path = self._store.partial_path(f"gemini-{batch.id}")
        try:
            gemini_inline.write(requests, path)
            self._store.add_batch(batch, path)
        finally:
            path.unlink(missing_ok=True)

    def _rendered(self, batch: Batch) -> dict[str, Any]:
        return rendered(batch, self._store.content_path(batch.output_file_id))

    async def retrieve(self, call: "Call") -> Response:
        body = self._rendered(await self._current(call))
        if state := self._access.claimed_status("batches.retrieve", call.asked):
            body["metadata"]["state"] = state
        return JSONResponse(body)

    async def list_all(self, call: "Call") -> Response:
        query = call.request.query_params
        size = min(int(query.get("pageSize") or 50), 100)
        token = query.get("pageToken")
        after = base64.urlsafe_b64decode(token).decode() if token else None
        batches = await self._access.listing(call.account, after=after, limit=size + 1)
        found = [self._rendered(batch) for batch in batches[:size]]
        if found and (state := self._access.claimed_status("batches.list", call.asked)):
            for body in found:
                body["metadata"]["state"] = state
        answer: dict[str, Any] = {"operations": found} if found else {}
        if len(batches) > size:
            answer["nextPageToken"] = base64.urlsafe_b64encode(batches[size - 1].id.encode()).decode()
        return JSONResponse(answer)

    async def cancel(self, call: "Call") -> Response:
        batch = await self._current(call)
        with self._store.changing(batch.id) as fresh:
            if fresh is None:
                raise _not_found(call)
            if not fresh.open:  # unverified: whether that is an error
                raise GoogleRefused(400, "The batch has ended already.", code="FAILED_PRECONDITION")
            if fresh.phase is not Phase.CANCELING:
                fresh.enter(Phase.CANCELING, self._emulation.clock.now())
        self._emulation.worker.nudge()
        return JSONResponse({})

    async def delete(self, call: "Call") -> Response:
        batch = await self._current(call)
        if batch.open:
            raise GoogleRefused(400, "The batch is still running.", code="FAILED_PRECONDITION")
        self._store.delete_batch(batch)
        return JSONResponse({})

    async def _current(self, call: "Call") -> Batch:
        batch = await self._access.current(call.account, call.request.path_params["id"])
        if batch is None:
            raise _not_found(call)
        return batch


def rendered(batch: Batch, results: Path) -> dict[str, Any]:
    """The operation; `results` is its result file. Counts of 0 are left out, as JSON of protocol buffers does."""
    ended = batch.phase in _ENDED
    name = f"batches/{batch.id}"
    counts = {
        "requestCount": batch.total,
        "successfulRequestCount": batch.succeeded,
        "failedRequestCount": batch.errored,
        "pendingRequestCount": 0 if ended else batch.total - batch.executed,
    }
    metadata: dict[str, Any] = {
        "@type": _TYPE,
        **batch.wire,
        "createTime": stamp(batch.created_at),
        "updateTime": stamp(max([batch.created_at, *batch.times.values()])),
        "batchStats": {key: str(count) for key, count in counts.items() if count},
        "state": _STATES[batch.phase],
        "name": name,
    }
    body: dict[str, Any] = {"name": name, "metadata": metadata}
    if not ended:
        return body
    body["done"] = True
    metadata["endTime"] = stamp(batch.times[batch.phase])
    if batch.problems:
        problem = batch.problems[0]
        body["error"] = {"code": _RPC_CODES.get(problem.code, 3), "message": problem.message}
    elif batch.output_bytes and batch.phase is not Phase.EXPIRED and batch.fate != "no_result_files":
        output: dict[str, Any] = {"responsesFile": f"files/{batch.output_file_id.removeprefix(stored_id(''))}"}
        if "requests" in batch.wire["inputConfig"]:
            output = {"inlinedResponses": {"inlinedResponses": gemini_inline.inlined_responses(results)}}
        metadata["output"] = output
        body["response"] = {"@type": _TYPE.replace("Batch", "BatchOutput"), **output}
    return body


def _not_found(call: "Call") -> GoogleRefused:
    return GoogleRefused(404, f"Batch batches/{call.request.path_params['id']} was not found.")
