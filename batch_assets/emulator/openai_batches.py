"""OpenAI's `/v1/batches` (OpenAPI spec 2.3.0 and the Batch guide, read 2026-11)."""

import re
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import JSONResponse, Response

from batch_assets.emulator.batch_access import BatchAccess
from batch_assets.emulator.batches import Batch, Phase
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.openai_errors import Refused
from batch_assets.emulator.openai_files import expiry_seconds, find_file, integer_query, new_file_id, page
from batch_assets.emulator.openai_input import OpenAILimits
from batch_assets.emulator.openai_requests import CHAT, EMBEDDINGS, RESPONSES

if TYPE_CHECKING:
    from batch_assets.emulator.openai_wire import Call

_ENDPOINTS = (RESPONSES, CHAT, EMBEDDINGS)
_STATUS = {
    Phase.VALIDATING: "validating",
    Phase.RUNNING: "in_progress",
    Phase.FINALIZING: "finalizing",
    Phase.CANCELING: "cancelling",
    Phase.COMPLETED: "completed",
    Phase.FAILED: "failed",
    Phase.EXPIRED: "expired",
    Phase.CANCELED: "cancelled",
}
_WINDOW = re.compile(r"(\d+)([hd])")
_CREATE_KEYS = frozenset({"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"})


class BatchCalls:
    """The calls on batches of one emulation."""

    def __init__(self, emulation: Emulation, provider: str, limits: Callable[[], OpenAILimits]) -> None:
        self._emulation = emulation
        self._store = emulation.store
        self._provider = provider
        self._limits = limits
        self._access = BatchAccess(emulation, provider)

    async def create(self, call: "Call") -> Response:
        given = await _json_object(call)
        compatible = call.request.url.path.startswith("/openai")
        file_id, endpoint, window_seconds = _required(given, compatible=compatible)
        metadata = check_metadata(given.get("metadata"))
        output_seconds = None
        if (after := given.get("output_expires_after")) is not None:
            after = after if isinstance(after, dict) else {}
            output_seconds = expiry_seconds(after.get("anchor"), after.get("seconds"), "output_expires_after")
        file = find_file(self._emulation, call.account, file_id)
        if file.purpose != "batch":
            message = f"Invalid file purpose: expected 'batch', but got '{file.purpose}' instead."
            raise Refused(400, message, param="input_file_id", code="invalid_value")
        enqueued_tokens = file.bytes // 4
        self._admit(call.account, enqueued_tokens)
        now = self._emulation.clock.now()
        batch = Batch(
            id=f"batch_{secrets.token_hex(16)}",
            provider=self._provider,
            account=call.account,
            created_at=now,
            latency_seconds=self._emulation.latency_seconds,
            window_seconds=window_seconds,
            wire={
                "input_file_id": file_id,
                "endpoint": endpoint,
                "completion_window": given["completion_window"],
                "metadata": metadata,
                "output_expires_after_seconds": output_seconds,
            },
            output_file_id=new_file_id(),
            error_file_id=new_file_id(),
            enqueued_tokens=enqueued_tokens,
        )
        self._access.decide_fate(call.asked, batch)
        self._store.add_batch(batch, self._store.content_path(file_id))
        answer = JSONResponse(self._rendered(batch))
        self._emulation.worker.nudge()
        return answer

    def _admit(self, account: str, enqueued_tokens: int) -> None:
        """Raises Refused (429) over the rate of batches, or over the queue where that is told at once."""
        limits = self._limits()
        since = self._emulation.clock.now() - 3600
        recent = 0
        for batch in self._store.batches(self._provider, account):
            recent += 1
            if batch.created_at < since or recent > limits.batches_per_hour:
                break
        if recent > limits.batches_per_hour or (recent == limits.batches_per_hour and batch.created_at >= since):
            message = f"Rate limit reached for batches: limit {limits.batches_per_hour} per hour."
            headers = {"retry-after": "60"}
            raise Refused(429, message, kind="requests", code="rate_limit_exceeded", headers=headers)
        if limits.enqueued_tokens is None or not limits.enqueued_tokens_refuse:
            return
        enqueued = enqueued_tokens + sum(batch.enqueued_tokens for batch in self._store.open_batches())
        if enqueued > limits.enqueued_tokens:
            message = f"Enqueued token limit reached. Limit: {limits.enqueued_tokens:,} enqueued tokens."
            raise Refused(429, message, kind="tokens", code="token_limit_exceeded")

    async def retrieve(self, call: "Call") -> Response:
        batch = await self._current(call)
        return JSONResponse(self._seen(call, "batches.retrieve", [self._rendered(batch)])[0])

    async def list_all(self, call: "Call") -> Response:
        query = call.request.query_params
        limit = integer_query(query.get("limit"), "limit", default=20, most=100)
        after = query.get("after")
        if after is not None:
            self._find(call.account, after)
        batches = await self._access.listing(call.account, after=after, limit=limit + 1)
        data = self._seen(call, "batches.list", [self._rendered(batch) for batch in batches[:limit]])
        return JSONResponse(page(data, has_more=len(batches) > limit))

    async def cancel(self, call: "Call") -> Response:
        batch = await self._current(call)
        with self._store.changing(batch.id) as fresh:
            if fresh is None:
                raise _no_such_batch(batch.id)
            if fresh.phase is not Phase.CANCELING:
                if not fresh.open:
                    message = f"Cannot cancel a batch with status '{_STATUS[fresh.phase]}'."
                    raise Refused(409, message)
                fresh.enter(Phase.CANCELING, self._emulation.clock.now())
        self._emulation.worker.nudge()
        return JSONResponse(self._rendered(fresh))

    # -- pieces --------------------------------------------------------------------------------------------------

    def _find(self, account: str, batch_id: str) -> Batch:
        batch = self._access.find(account, batch_id)
        if batch is None:
            raise _no_such_batch(batch_id)
        return batch

    async def _current(self, call: "Call") -> Batch:
        """The batch that the call names, after what is due by now has happened."""
        batch_id = call.request.path_params["id"]
        batch = await self._access.current(call.account, batch_id)
        if batch is None:
            raise _no_such_batch(batch_id)
        return batch

    def _seen(self, call: "Call", operation: str, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if data and (status := self._access.claimed_status(operation, call.asked)):
            for each in data:
                each["status"] = status
        return data

    def _rendered(self, batch: Batch) -> dict[str, Any]:
        return rendered(batch, self._store.file)


def rendered(batch: Batch, find: Callable[[str], Any]) -> dict[str, Any]:
    """The batch object; `find` tells whether a result file exists."""
    ended_with_files = batch.phase in (Phase.COMPLETED, Phase.EXPIRED, Phase.CANCELED)
    named = ended_with_files and batch.fate != "no_result_files"
    times = {phase: int(at) for phase, at in batch.times.items()}
    usage = batch.usage
    problems = [
        {"code": problem.code, "line": problem.line, "message": problem.message, "param": problem.param}
        for problem in batch.problems
    ]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.wire["endpoint"],
        "model": batch.model,
        "errors": {"object": "list", "data": problems} if problems else None,
        "input_file_id": batch.wire["input_file_id"],
        "completion_window": batch.wire["completion_window"],
        "status": _STATUS[batch.phase],
        "output_file_id": batch.output_file_id if named and batch.output_bytes else None,
        "error_file_id": batch.error_file_id if named and batch.error_bytes else None,
        "created_at": int(batch.created_at),
        "in_progress_at": times.get(Phase.RUNNING),
        "expires_at": int(batch.expires_at),
        "finalizing_at": times.get(Phase.FINALIZING),
        "completed_at": times.get(Phase.COMPLETED),
        "failed_at": times.get(Phase.FAILED),
        "expired_at": times.get(Phase.EXPIRED),
        "cancelling_at": times.get(Phase.CANCELING),
        "cancelled_at": times.get(Phase.CANCELED),
        # Unverified: whether OpenAI counts requests that were not executed as failed. Here it does not.
        "request_counts": {"total": batch.total, "completed": batch.succeeded, "failed": batch.errored},
        "usage": {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output,
        },
        "metadata": batch.wire["metadata"],
    }


def check_metadata(metadata: Any) -> dict[str, str] | None:
    """Up to 16 pairs, keys up to 64 characters, values up to 512; raises Refused (400)."""
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise Refused(400, "Invalid type for 'metadata': expected an object.", param="metadata", code="invalid_type")
    if len(metadata) > 16:
        message = (
            "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an object "
            f"with {len(metadata)} properties instead."
        )
        raise Refused(400, message, param="metadata", code="object_above_max_properties")
    for key, value in metadata.items():
        param = f"metadata.{key[:64]}"
        if not isinstance(value, str):
            message = f"Invalid type for '{param}': expected a string."
            raise Refused(400, message, param=param, code="invalid_type")
        for text, most, what in ((key, 64, "key"), (value, 512, "string")):
            if len(text) > most:
                message = (
                    f"Invalid '{param}': {what} too long. Expected a string with maximum length {most}, but got a "
                    f"string with length {len(text)} instead."
                )
                raise Refused(400, message, param=param, code="string_above_max_length")
    return metadata


def _required(given: dict[str, Any], *, compatible: bool) -> tuple[str, str, float]:
    """Input file, endpoint and window in seconds. `compatible` hosts know other windows than 24h."""
    for name in ("input_file_id", "endpoint", "completion_window"):
        if given.get(name) is None:
            raise Refused(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
        if not isinstance(given[name], str):
            raise Refused(400, f"Invalid type for '{name}': expected a string.", param=name, code="invalid_type")
    if unknown := given.keys() - _CREATE_KEYS:
        name = min(unknown)
        raise Refused(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if given["endpoint"] not in _ENDPOINTS:
        supported = ", ".join(f"'{each}'" for each in _ENDPOINTS)
        message = f"Invalid value: '{given['endpoint']}'. Supported values are: {supported}."
        raise Refused(400, message, param="endpoint", code="invalid_value")
    window = _WINDOW.fullmatch(given["completion_window"])
    if window is None or (not compatible and window[0] != "24h"):
        message = f"Invalid value: '{given['completion_window']}'. Supported values are: '24h'."
        raise Refused(400, message, param="completion_window", code="invalid_value")
    if not given["input_file_id"].startswith("file-"):
        message = f"Invalid 'input_file_id': '{given['input_file_id']}'. Expected an ID that begins with 'file'."
        raise Refused(400, message, param="input_file_id", code="invalid_value")
    return given["input_file_id"], given["endpoint"], int(window[1]) * (3600.0 if window[2] == "h" else 86_400.0)


async def _json_object(call: "Call") -> dict[str, Any]:
    try:
        value = orjson.loads(await call.request.body())
    except orjson.JSONDecodeError:
        raise Refused(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(value, dict):
        raise Refused(400, "The body of the request is not a JSON object.")
    return value


def _no_such_batch(batch_id: str) -> Refused:
    return Refused(404, f"No batch found with id '{batch_id}'.", param="id")
