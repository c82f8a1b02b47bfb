"""Vertex AI's `batchPredictionJobs` (aiplatform v1 and v1beta1, discovery revision 20261106, read 2026-11)."""

import base64
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import JSONResponse, Response

from batch_assets.emulator.batch_access import BatchAccess
from batch_assets.emulator.batches import Batch, Phase
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.gcs_errors import GcsRefused
from batch_assets.emulator.gcs_objects import Buckets
from batch_assets.emulator.gemini_errors import GoogleRefused
from batch_assets.emulator.vertex_limits import VertexLimits

if TYPE_CHECKING:
    from batch_assets.emulator.vertex_wire import Call

_STATES = {
    Phase.VALIDATING: "JOB_STATE_PENDING",
    Phase.RUNNING: "JOB_STATE_RUNNING",
    Phase.FINALIZING: "JOB_STATE_RUNNING",
    Phase.CANCELING: "JOB_STATE_CANCELLING",
    Phase.COMPLETED: "JOB_STATE_SUCCEEDED",
    Phase.FAILED: "JOB_STATE_FAILED",
    Phase.EXPIRED: "JOB_STATE_EXPIRED",
    Phase.CANCELED: "JOB_STATE_CANCELLED",
}
_ENDED = (Phase.COMPLETED, Phase.FAILED, Phase.EXPIRED, Phase.CANCELED)
_RPC_CODES = {"resource_exhausted": 8, "permission_denied": 7, "internal": 13}
_LABEL = re.compile(r"[a-z0-9_-]{0,63}")
_MODEL = re.compile(r"(?:projects/[^/]+/locations/[^/]+/)?publishers/google/models/([\w.-]+)")
_TERM = re.compile(r'\s*([\w.-]+?)\s*(>=|<=|=|>|<|:)\s*("[^"]*"|[^\s"]+)\s*')
_FIELDS = frozenset({"model", "displayName", "inputConfig", "outputConfig", "labels", "instanceConfig", "priority"})
_PAGE_SIZE = 100


class JobCalls:
    """The calls on jobs of one emulation."""

    def __init__(self, emulation: Emulation, provider: str, limits: Callable[[], VertexLimits]) -> None:
        self._emulation = emulation
        self._store = emulation.store
        self._provider = provider
        self._limits = limits
        self._access = BatchAccess(emulation, provider)
        self._buckets = Buckets(emulation.store, emulation.clock)

    async def create(self, call: "Call") -> Response:
        try:
            given = orjson.loads(await call.request.body())
        except orjson.JSONDecodeError:
            raise GoogleRefused(400, "Invalid JSON payload received.") from None
        source, wire = _checked(given)
        bucket, _, name = source.removeprefix("gs://").partition("/")
        try:
            content = self._buckets.get(bucket, name)
        except GcsRefused as refused:
            # Unverified: whether a missing input is noticed by the create call or by the job.
            message = f"Cannot read the input file {source}: {refused.message}"
            raise GoogleRefused(400, message, code="FAILED_PRECONDITION") from None
        batch = Batch(
            id=str(1 + secrets.randbelow(9 * 10**18)),
            provider=self._provider,
            account=call.account,
            created_at=self._emulation.clock.now(),
            latency_seconds=self._emulation.latency_seconds,
            window_seconds=self._limits().window_seconds,
            wire=wire,
            output_file_id=f"vertex-{secrets.token_hex(12)}",
            error_file_id=f"vertex-{secrets.token_hex(12)}",
            enqueued_tokens=content.size // 4,
        )
        self._access.decide_fate(call.asked, batch)
        self._store.add_batch(batch, self._buckets.content_path(content))
        answer = JSONResponse(rendered(batch))
        self._emulation.worker.nudge()
        return answer

    async def retrieve(self, call: "Call") -> Response:
        body = rendered(await self._current(call))
        if state := self._access.claimed_status("batches.retrieve", call.asked):
            body["state"] = state
        return JSONResponse(body)

    async def list_all(self, call: "Call") -> Response:
        query = call.request.query_params
        size = min(int(query.get("pageSize") or _PAGE_SIZE), 1000) or _PAGE_SIZE
        terms = _terms(query.get("filter", ""))
        token = query.get("pageToken")
        after = base64.urlsafe_b64decode(token).decode() if token else None
        found: list[dict[str, Any]] = []
        last = after
        more = False
        while not more and (batches := await self._access.listing(call.account, after=last, limit=size)):
            for batch in batches:
                body = rendered(batch)
                if not all(_holds(term, body) for term in terms):
                    last = batch.id
                    continue
                if len(found) == size:
                    more = True
                    break
                found.append(body)
                last = batch.id
        if found and (state := self._access.claimed_status("batches.list", call.asked)):
            found = [{**body, "state": state} for body in found]
        answer: dict[str, Any] = {"batchPredictionJobs": found} if found else {}
        if more and last is not None:
            answer["nextPageToken"] = base64.urlsafe_b64encode(last.encode()).decode()
        return JSONResponse(answer)

    async def cancel(self, call: "Call") -> Response:
        batch = await self._current(call)
        with self._store.changing(batch.id) as fresh:
            if fresh is None:
                raise _not_found(call)
            if not fresh.open:  # unverified: in which words
                raise GoogleRefused(400, f"Cannot cancel a job in {_STATES[fresh.phase]}.", code="FAILED_PRECONDITION")
            if fresh.phase is not Phase.CANCELING:
                fresh.enter(Phase.CANCELING, self._emulation.clock.now())
        self._emulation.worker.nudge()
        return JSONResponse({})

    async def delete(self, call: "Call") -> Response:
        batch = await self._current(call)
        if batch.open:
            raise GoogleRefused(400, "The job is not in a final state.", code="FAILED_PRECONDITION")
        self._store.delete_batch(batch)
        place = batch.account
        return JSONResponse({"name": f"{place}/operations/{secrets.randbelow(10**18)}", "done": True})

    async def _current(self, call: "Call") -> Batch:
        batch = await self._access.current(call.account, call.request.path_params["id"])
        if batch is None:
            raise _not_found(call)
        return batch


def output_directory(batch: Batch) -> str:
    """Where the predictions go: `gs://.../prediction-{name}-{time}`; the same whenever it is asked for."""
    at = datetime.fromtimestamp(batch.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    prefix: str = batch.wire["outputConfig"]["gcsDestination"]["outputUriPrefix"]
    return f"{prefix.rstrip('/')}/prediction-{batch.model or 'model'}-{at}"


def rendered(batch: Batch) -> dict[str, Any]:
    """The BatchPredictionJob."""
    ended = batch.phase in _ENDED
    body: dict[str, Any] = {
        "name": f"{batch.account}/batchPredictionJobs/{batch.id}",
        **batch.wire,
        "state": _STATES[batch.phase],
        "createTime": _stamp(batch.created_at),
        "updateTime": _stamp(max([batch.created_at, *batch.times.values()])),
    }
    if Phase.RUNNING in batch.times:
        body["startTime"] = _stamp(batch.times[Phase.RUNNING])
    if ended:
        body["endTime"] = _stamp(batch.times[batch.phase])
    if batch.problems:
        problem = batch.problems[0]
        body["error"] = {"code": _RPC_CODES.get(problem.code, 3), "message": problem.message}
    if ended and batch.phase is not Phase.FAILED:
        counts = {"successfulCount": batch.succeeded, "failedCount": batch.errored}
        counts["incompleteCount"] = batch.total - batch.executed
        body["completionStats"] = {name: str(count) for name, count in counts.items()}
        if batch.output_bytes and batch.fate != "no_result_files":
            body["outputInfo"] = {"gcsOutputDirectory": output_directory(batch)}
    return body


def _checked(given: Any) -> tuple[str, dict[str, Any]]:
    """The input's URI, and what the job repeats of its create call. Raises GoogleRefused (400)."""
    if not isinstance(given, dict):
        raise GoogleRefused(400, "Invalid JSON payload received.")
    if unknown := sorted(given.keys() - _FIELDS):
        raise GoogleRefused(400, f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.')
    if not isinstance(given.get("displayName"), str) or not 1 <= len(given["displayName"]) <= 128:
        raise GoogleRefused(400, "display_name is required, and has at most 128 characters.")
    if not isinstance(given.get("model"), str) or not (model := _MODEL.fullmatch(given["model"])):
        raise GoogleRefused(400, f"Invalid model name: {given.get('model')}")
    if model[1].startswith("nonexistent"):
        raise GoogleRefused(
            404, f"Publisher Model `{given['model']}` was not found or your project has no access to it."
        )
    source, destination = given.get("inputConfig") or {}, given.get("outputConfig") or {}
    uris = (source.get("gcsSource") or {}).get("uris") or []
    prefix = (destination.get("gcsDestination") or {}).get("outputUriPrefix") or ""
    if source.get("instancesFormat") != "jsonl" or destination.get("predictionsFormat") != "jsonl":
        raise GoogleRefused(400, "The emulator takes and gives jsonl only.")
    if len(uris) != 1 or not uris[0].startswith("gs://") or not prefix.startswith("gs://"):
        raise GoogleRefused(400, "The emulator takes one gs:// input, and a gs:// output prefix.")
    labels = given.get("labels") or {}
    for name, value in labels.items():
        if not name or not _LABEL.fullmatch(name) or not isinstance(value, str) or not _LABEL.fullmatch(value):
            raise GoogleRefused(400, f"Invalid label {name!r}: {value!r}")
    if len(labels) > 64:
        raise GoogleRefused(400, "A resource has at most 64 labels.")
    return uris[0], given


def _terms(text: str) -> list[tuple[str, str, str]]:
    """The conditions of a filter: `name op value`, joined by AND. Raises GoogleRefused (400)."""
    terms = []
    for part in re.split(r"\s+AND\s+", text) if text.strip() else ():
        match = _TERM.fullmatch(part)
        if match is None:
            raise GoogleRefused(400, f"Invalid list filter: {text}")
        terms.append((match[1], match[2], match[3].strip('"')))
    return terms


def _holds(term: tuple[str, str, str], body: dict[str, Any]) -> bool:
    """Whether a condition holds for a job; the fields that the API documents for filters."""
    name, operator, wanted = term
    if name.startswith("labels."):
        value = (body.get("labels") or {}).get(name.removeprefix("labels."))
    elif name in ("display_name", "state", "create_time"):
        value = body[{"display_name": "displayName", "create_time": "createTime"}.get(name, name)]
    else:
        raise GoogleRefused(400, f"Invalid field in list filter: {name}")
    if value is None:
        return False
    if operator == "=":
        return bool(value == wanted)
    if operator == ":":
        return wanted == "*" or (value.startswith(wanted[:-1]) if wanted.endswith("*") else wanted in value)
    if name != "create_time":
        raise GoogleRefused(400, f"Invalid operator in list filter: {name}{operator}")
    try:
        at, bound = datetime.fromisoformat(value), datetime.fromisoformat(wanted)
    except ValueError:
        raise GoogleRefused(400, f"Invalid timestamp in list filter: {wanted}") from None
    return {">": at > bound, ">=": at >= bound, "<": at < bound, "<=": at <= bound}[operator]


def _not_found(call: "Call") -> GoogleRefused:
    return GoogleRefused(404, f"The BatchPredictionJob {call.request.path_params['id']} was not found.")


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
