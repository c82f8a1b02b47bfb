"""Mistral's `/v1/batch/jobs` (mistral-openapi.yaml and the batch guide, read 2026-11)."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import JSONResponse, Response

from batch_assets.emulator.batch_access import BatchAccess
from batch_assets.emulator.batches import Batch, Phase
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.lines import LineFile
from batch_assets.emulator.mistral_errors import error_body, invalid, no_such, refused
from batch_assets.emulator.mistral_files import FileCalls
from batch_assets.emulator.mistral_limits import MistralLimits, integer_query
from batch_assets.emulator.mistral_replies import CHAT, EMBEDDINGS

if TYPE_CHECKING:
    from pathlib import Path

    from batch_assets.emulator.mistral_wire import Call

_STATUS = {
    Phase.VALIDATING: "QUEUED",
    Phase.RUNNING: "RUNNING",
    Phase.FINALIZING: "RUNNING",
    Phase.CANCELING: "CANCELLATION_REQUESTED",
    Phase.COMPLETED: "SUCCESS",
    Phase.FAILED: "FAILED",
    Phase.EXPIRED: "TIMEOUT_EXCEEDED",
    Phase.CANCELED: "CANCELLED",
}
_CREATE_KEYS = frozenset({"endpoint", "input_files", "requests", "model", "agent_id", "metadata", "timeout_hours"})
_MOST_HOURS = 7 * 24


class JobCalls:
    """The calls on batch jobs of one emulation."""

    def __init__(
        self, emulation: Emulation, provider: str, limits: Callable[[], MistralLimits], files: FileCalls
    ) -> None:
        self._emulation = emulation
        self._store = emulation.store
        self._provider = provider
        self._limits = limits
        self._files = files
        self._access = BatchAccess(emulation, provider)

    async def create(self, call: "Call") -> Response:
        given = await _json_object(call)
        _check_create(given, self._limits())
        batch_id = str(uuid.uuid4())
        partial = self._store.partial_path(batch_id)
        try:
            requests = self._write_input(call.account, given, partial)
            self._admit(call.account, requests)
            batch = Batch(
                id=batch_id,
                provider=self._provider,
                account=call.account,
                created_at=self._emulation.clock.now(),
                latency_seconds=self._emulation.latency_seconds,
                window_seconds=given.get("timeout_hours", 24) * 3600.0,
                wire={
                    "endpoint": given["endpoint"],
                    "input_files": given.get("input_files") or [],
                    "inline": bool(given.get("requests")),
                    "model": given.get("model"),
                    "agent_id": given.get("agent_id"),
                    "metadata": given.get("metadata"),
                    "requests": requests,
                },
                output_file_id=str(uuid.uuid4()),
                error_file_id=str(uuid.uuid4()),
                enqueued_tokens=partial.stat().st_size // 4,
            )
            self._access.decide_fate(call.asked, batch)
            self._store.add_batch(batch, partial)
        finally:
            partial.unlink(missing_ok=True)
        answer = JSONResponse(rendered(batch))
        self._emulation.worker.nudge()
        return answer

    def _write_input(self, account: str, given: dict[str, Any], target: "Path") -> int:
        """The requests of all input files, or the inline ones, one a line; their number."""
        with target.open("wb") as joined:
            for each in given.get("requests") or ():
                joined.write(orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE))
            for file_id in given.get("input_files") or ():
                file = self._files.find(account, file_id)
                if file.purpose != "batch":
                    raise refused(400, f"File {file_id} has purpose {file.purpose}, expected batch")
                with self._store.content_path(file_id).open("rb") as content:
                    last = b"\n"
                    while block := content.read(1 << 20):
                        joined.write(block)
                        last = block[-1:]
                    if last != b"\n":
                        joined.write(b"\n")
        with LineFile(target) as lines:
            return len(lines)

    def _admit(self, account: str, requests: int) -> None:
        """Raises Refused (429) over the pending requests of a workspace. Unverified: that it is told like this."""
        limit = self._limits().pending_requests
        pending = sum(
            int(batch.wire["requests"])
            for batch in self._store.open_batches()
            if batch.provider == self._provider and batch.account == account
        )
        if pending + requests > limit:
            raise refused(429, f"You have {pending} pending batch requests; the limit is {limit}.")

    async def retrieve(self, call: "Call") -> Response:
        batch = await self._current(call)
        job = self._seen(call, "batches.retrieve", [rendered(batch)])[0]
        if call.request.query_params.get("inline", "false").lower() == "true" and not batch.open:
            job["outputs"] = self._outputs(batch)
        return JSONResponse(job)

    def _outputs(self, batch: Batch) -> list[dict[str, Any]]:
        """All result lines of an ended batch."""
        found = []
        for file_id in (batch.output_file_id, batch.error_file_id):
            if self._store.file(file_id) is not None:
                with LineFile(self._store.content_path(file_id)) as lines:
                    found += [orjson.loads(line) for line in lines]
        return found

    async def list_all(self, call: "Call") -> Response:
        """Newest first. Unverified: whether Mistral filters by metadata; the SDK sends `?key=value`, ignored here."""
        query = call.request.query_params
        page = integer_query(query.get("page"), "page", default=0, least=0)
        page_size = integer_query(query.get("page_size"), "page_size", default=100, least=1)
        created_after = _time_query(query.get("created_after"))
        statuses, model = set(query.getlist("status")), query.get("model")
        batches = [
            batch
            for batch in await self._access.listing(call.account, after=None, limit=1 << 62)
            if batch.created_at > created_after
            and (not statuses or _STATUS[batch.phase] in statuses)
            and (not model or _model(batch) == model)
        ]
        if query.get("order_by", "-created") == "created":
            batches.reverse()
        shown = [rendered(batch) for batch in batches[page * page_size : (page + 1) * page_size]]
        data = self._seen(call, "batches.list", shown)
        return JSONResponse({"data": data, "object": "list", "total": len(batches)})

    async def cancel(self, call: "Call") -> Response:
        batch = await self._current(call)
        with self._store.changing(batch.id) as fresh:
            if fresh is None:
                raise no_such("Job", batch.id)
            if fresh.phase is not Phase.CANCELING:
                if not fresh.open:  # unverified: what Mistral answers here
                    raise refused(400, f"Job with status {_STATUS[fresh.phase]} cannot be cancelled.")
                fresh.enter(Phase.CANCELING, self._emulation.clock.now())
        self._emulation.worker.nudge()
        return JSONResponse(rendered(fresh))

    async def delete(self, call: "Call") -> Response:
        batch = await self._current(call)
        if batch.open:  # unverified: what Mistral answers here
            raise refused(400, f"Job with status {_STATUS[batch.phase]} cannot be deleted.")
        self._store.delete_batch(batch)
        return JSONResponse({"id": batch.id, "object": "batch", "deleted": True})

    # -- pieces --------------------------------------------------------------------------------------------------

    async def _current(self, call: "Call") -> Batch:
        """The job that the call names, after what is due by now has happened."""
        job_id = call.request.path_params["id"]
        try:
            uuid.UUID(job_id)
        except ValueError:
            raise invalid("path", "job_id", msg="Input should be a valid UUID", kind="uuid_parsing") from None
        batch = await self._access.current(call.account, job_id)
        if batch is None:
            raise no_such("Job", job_id)
        return batch

    def _seen(self, call: "Call", operation: str, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if data and (status := self._access.claimed_status(operation, call.asked)):
            for each in data:
                each["status"] = status
        return data


def rendered(batch: Batch) -> dict[str, Any]:
    """The job object."""
    # Unverified: whether a job that timed out or was canceled names files with what was finished. Here it does.
    ended_with_files = batch.phase in (Phase.COMPLETED, Phase.EXPIRED, Phase.CANCELED)
    named = ended_with_files and batch.fate != "no_result_files"
    times = {phase: int(at) for phase, at in batch.times.items()}
    ended = [times[phase] for phase in (Phase.COMPLETED, Phase.FAILED, Phase.EXPIRED, Phase.CANCELED) if phase in times]
    return {
        "id": batch.id,
        "object": "batch",
        "input_files": batch.wire["input_files"],
        "metadata": batch.wire["metadata"],
        "endpoint": batch.wire["endpoint"],
        "model": _model(batch),
        "agent_id": batch.wire["agent_id"],
        "output_file": batch.output_file_id if named and batch.output_bytes else None,
        "error_file": batch.error_file_id if named and batch.error_bytes else None,
        "errors": [{"message": problem.message, "count": 1} for problem in batch.problems],
        "outputs": None,
        "status": _STATUS[batch.phase],
        "created_at": int(batch.created_at),
        "started_at": times.get(Phase.RUNNING),
        "completed_at": ended[0] if ended else None,
        "total_requests": batch.total,
        "completed_requests": batch.succeeded + batch.errored,
        "succeeded_requests": batch.succeeded,
        "failed_requests": batch.errored,
    }


def _model(batch: Batch) -> str | None:
    model: str | None = batch.wire["model"] or batch.model
    return model


def _check_create(given: dict[str, Any], limits: MistralLimits) -> None:
    """Raises Refused."""
    if unknown := sorted(given.keys() - _CREATE_KEYS):
        raise invalid("body", unknown[0], msg="Extra inputs are not permitted", kind="extra_forbidden")
    if given.get("endpoint") not in (CHAT, EMBEDDINGS):
        raise invalid("body", "endpoint", msg=f"Input should be one of {(CHAT, EMBEDDINGS)}", kind="enum")
    files, requests = given.get("input_files"), given.get("requests")
    if bool(files) == bool(requests):
        raise invalid("body", msg="Exactly one of input_files and requests must be provided")
    if files and (not isinstance(files, list) or not all(isinstance(each, str) for each in files)):
        raise invalid("body", "input_files", msg="Input should be a valid list", kind="list_type")
    if requests and (not isinstance(requests, list) or not all(isinstance(each, dict) for each in requests)):
        raise invalid("body", "requests", msg="Input should be a valid list", kind="list_type")
    if requests and len(requests) > limits.max_inline_requests:
        message = f"List should have at most {limits.max_inline_requests} items after validation"
        raise invalid("body", "requests", msg=message, kind="too_long")
    hours = given.get("timeout_hours", 24)
    if not isinstance(hours, int) or isinstance(hours, bool) or not 1 <= hours < _MOST_HOURS:
        raise invalid("body", "timeout_hours", msg=f"Input should be less than {_MOST_HOURS}", kind="less_than")
    _check_metadata(given.get("metadata"))
    model = given.get("model")
    if model is not None and (not isinstance(model, str) or not limits.knows(model)):
        body = error_body(f"Invalid model: {model}", "invalid_model", code="1500")
        raise refused(400, body["message"], kind=body["type"], code=body["code"])


def _check_metadata(metadata: Any) -> None:
    """Keys of 1 to 32 characters, values of 1 to 512. Raises Refused (422)."""
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise invalid("body", "metadata", msg="Input should be a valid dictionary", kind="dict_type")
    for key, value in metadata.items():
        for text, most in ((key, 32), (value, 512)):
            if not isinstance(text, str):
                raise invalid("body", "metadata", key, msg="Input should be a valid string", kind="string_type")
            if not 1 <= len(text) <= most:
                message = f"String should have from 1 to {most} characters"
                raise invalid("body", "metadata", key, msg=message, kind="string_too_long")


def _time_query(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        message = "Input should be a valid datetime"
        raise invalid("query", "created_after", msg=message, kind="datetime_parsing") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


async def _json_object(call: "Call") -> dict[str, Any]:
    try:
        value = orjson.loads(await call.request.body())
    except orjson.JSONDecodeError:
        raise invalid("body", msg="JSON decode error", kind="json_invalid") from None
    if not isinstance(value, dict):
        raise invalid("body", msg="Input should be a valid dictionary", kind="dict_type")
    return value
