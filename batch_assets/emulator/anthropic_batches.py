"""Anthropic's `/v1/messages/batches` (SDK 2.12 types and the batch guide, read 2026-11).

Unverified, since nobody says: the statuses of a second cancel of an ended batch, of deleting one that runs, and of
asking for results too early (400 here).
"""

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from batch_assets.emulator.anthropic_errors import Refused
from batch_assets.emulator.anthropic_intake import AnthropicLimits, cut_requests, receive_body
from batch_assets.emulator.batch_access import BatchAccess
from batch_assets.emulator.batches import Batch, Phase
from batch_assets.emulator.downloads import download
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import Stage

if TYPE_CHECKING:
    from batch_assets.emulator.anthropic_wire import Call

_DAY_SECONDS = 86_400.0
_KEPT_SECONDS = 29 * _DAY_SECONDS  # results, from the creation of the batch
_FOREIGN_LINE = (
    b'{"custom_id":"foreign-0","result":{"type":"succeeded","message":{"id":"msg_foreign","type":"message",'
    b'"role":"assistant","model":"claude-foreign","content":[{"type":"text","text":"not yours"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}}'
)


class BatchCalls:
    """The calls on batches of one emulation."""

    def __init__(self, emulation: Emulation, provider: str, limits: Callable[[], AnthropicLimits]) -> None:
        self._emulation = emulation
        self._store = emulation.store
        self._provider = provider
        self._limits = limits
        self._access = BatchAccess(emulation, provider)

    async def create(self, call: "Call") -> Response:
        batch_id = f"msgbatch_{secrets.token_hex(12)}"
        body, requests = self._store.partial_path(batch_id), self._store.partial_path(f"{batch_id}.jsonl")
        try:
            size = await receive_body(call.request, body, max_bytes=self._limits().max_bytes)
            count = await asyncio.to_thread(cut_requests, body, requests, self._limits())
            batch = self._accept(call, batch_id, requests, count, size)
        finally:
            body.unlink(missing_ok=True)
            requests.unlink(missing_ok=True)
        answer = JSONResponse(self._rendered(call, batch))
        self._emulation.worker.nudge()
        return answer

    def _accept(self, call: "Call", batch_id: str, requests: Path, count: int, size: int) -> Batch:
        queued = sum(batch.total for batch in self._store.open_batches() if batch.provider == self._provider)
        limit = self._limits().queued_requests
        if limit is not None and queued + count > limit:
            message = f"This request would exceed the limit of {limit} batch requests in the processing queue."
            raise Refused(429, message)
        batch = Batch(
            id=batch_id,
            provider=self._provider,
            account=call.account,
            created_at=self._emulation.clock.now(),
            latency_seconds=self._emulation.latency_seconds,
            window_seconds=_DAY_SECONDS,
            wire={"version": call.version},
            output_file_id=f"{batch_id}.results",
            error_file_id=f"{batch_id}.none",
            enqueued_tokens=size // 4,
            total=count,
        )
        self._access.decide_fate(call.asked, batch)
        self._store.add_batch(batch, requests)
        return batch

    async def retrieve(self, call: "Call") -> Response:
        batch = await self._current(call)
        return JSONResponse(self._seen(call, "batches.retrieve", [self._rendered(call, batch)])[0])

    async def list_all(self, call: "Call") -> Response:
        query = call.request.query_params
        limit = _limit(query.get("limit"))
        after, before = query.get("after_id"), query.get("before_id")
        if after and before:
            raise Refused(400, "after_id, before_id: only one of the two may be given")
        for named in filter(None, (after, before)):
            self._find(call.account, named)
        if before:
            newer = await self._access.listing(call.account, after=None, limit=1 << 62)
            ids = [batch.id for batch in newer]
            newer = newer[: ids.index(before)] if before in ids else newer
            batches, more = newer[-limit:], len(newer) > limit
        else:
            found = await self._access.listing(call.account, after=after or None, limit=limit + 1)
            batches, more = found[:limit], len(found) > limit
        data = self._seen(call, "batches.list", [self._rendered(call, batch) for batch in batches])
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return JSONResponse({"data": data, "has_more": more, "first_id": first, "last_id": last})

    async def cancel(self, call: "Call") -> Response:
        batch = await self._current(call)
        with self._store.changing(batch.id) as fresh:
            if fresh is None:
                raise _no_such_batch(batch.id)
            if fresh.phase is not Phase.CANCELING:
                if not fresh.open:
                    raise Refused(400, f"Message Batch {batch.id} cannot be canceled: its processing has ended.")
                fresh.enter(Phase.CANCELING, self._emulation.clock.now())
        self._emulation.worker.nudge()
        return JSONResponse(self._rendered(call, fresh))

    async def delete(self, call: "Call") -> Response:
        batch = await self._current(call)
        if batch.open:
            raise Refused(400, f"Message Batch {batch.id} cannot be deleted while it is processed; cancel it first.")
        self._store.delete_batch(batch)
        return JSONResponse({"id": batch.id, "type": "message_batch_deleted"})

    async def results(self, call: "Call") -> Response:
        batch = await self._current(call)
        if batch.open:
            raise Refused(400, f"The results of Message Batch {batch.id} are available once its processing has ended.")
        file = self._store.file(batch.output_file_id)
        if file is None or self._archived(batch):
            raise Refused(404, f"The results of Message Batch {batch.id} are not available.")
        path = self._store.content_path(file.id)
        fault = self._emulation.faults.take(self._provider, Stage.CONTENT, "files.content", call.asked, kind="output")
        return download(path, size_bytes=file.bytes, filename=file.filename, fault=fault, foreign=_FOREIGN_LINE)

    # -- pieces --------------------------------------------------------------------------------------------------

    def _find(self, account: str, batch_id: str) -> Batch:
        batch = self._access.find(account, batch_id)
        if batch is None:
            raise _no_such_batch(batch_id)
        return batch

    async def _current(self, call: "Call") -> Batch:
        batch_id = call.request.path_params["id"]
        batch = await self._access.current(call.account, batch_id)
        if batch is None:
            raise _no_such_batch(batch_id)
        return batch

    def _seen(self, call: "Call", operation: str, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if data and (status := self._access.claimed_status(operation, call.asked)):
            for each in data:
                each["processing_status"] = status
        return data

    def _archived(self, batch: Batch) -> bool:
        return self._emulation.clock.now() >= batch.created_at + _KEPT_SECONDS

    def _rendered(self, call: "Call", batch: Batch) -> dict[str, Any]:
        url = f"{str(call.request.base_url).rstrip('/')}/v1/messages/batches/{batch.id}/results"
        return rendered(batch, url, archived=self._archived(batch))


def rendered(batch: Batch, results_url: str, *, archived: bool) -> dict[str, Any]:
    """The batch object. Tallies other than `processing` are 0 until the batch has ended."""
    ended = not batch.open
    left = batch.total - batch.executed
    canceled = batch.times.get(Phase.CANCELING)
    if canceled is None and batch.phase is Phase.CANCELED:
        canceled = batch.times[Phase.CANCELED]  # by somebody else, as the fault has it
    named = ended and not archived and batch.phase is not Phase.FAILED and batch.fate != "no_result_files"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if ended else "canceling" if batch.phase is Phase.CANCELING else "in_progress",
        "request_counts": {
            "processing": 0 if ended else batch.total,
            "succeeded": batch.succeeded if ended else 0,
            "errored": batch.errored if ended else 0,
            "canceled": left if batch.phase is Phase.CANCELED else 0,
            "expired": left if batch.phase is Phase.EXPIRED else 0,
        },
        "created_at": _time(batch.created_at),
        "expires_at": _time(batch.expires_at),
        "ended_at": _time(batch.times[batch.phase]) if ended else None,
        "cancel_initiated_at": None if canceled is None else _time(canceled),
        "archived_at": _time(batch.created_at + _KEPT_SECONDS) if archived else None,
        "results_url": results_url if named else None,
    }


def results_expire_at(batch: Batch) -> float:
    """When the provider deletes the results of `batch`."""
    return batch.created_at + _KEPT_SECONDS


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _limit(text: str | None) -> int:
    if text is None:
        return 20
    if not text.lstrip("-").isdecimal():
        raise Refused(400, "limit: Input should be a valid integer")
    if not 1 <= int(text) <= 1000:
        raise Refused(400, "limit: Input should be from 1 to 1000")
    return int(text)


def _no_such_batch(batch_id: str) -> Refused:
    return Refused(404, f"Message Batch not found: {batch_id}")
