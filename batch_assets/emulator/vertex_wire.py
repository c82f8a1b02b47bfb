"""Vertex AI's wire for batches of Gemini requests: jobs over REST, input and predictions in the emulated buckets.

Facts: aiplatform discovery revision 20261106, and notes and code of users on the prediction files (read 2026-11):
predictions stand in a new directory, sharded, not in the order of the input; `incremental_predictions.jsonl` beside
them is to be left alone; a line echoes its request; a failed line has a `status` and an empty response.
GOOGLE_VERTEX_BASE_URL carries the prefix.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from batch_assets.emulator import google_calls
from batch_assets.emulator.batches import Batch, Phase
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import Fault
from batch_assets.emulator.gcs_objects import Buckets
from batch_assets.emulator.gemini_errors import GoogleRefused
from batch_assets.emulator.gemini_replies import reply
from batch_assets.emulator.google_calls import failed, no_such_url, problems_of
from batch_assets.emulator.lines import LineFile
from batch_assets.emulator.vertex_jobs import JobCalls, output_directory
from batch_assets.emulator.vertex_limits import VertexLimits
from batch_assets.emulator.vertex_locations import LOCATIONS, no_such_host
from batch_assets.emulator.wire import Result, Strike, Verdict, fingerprint_of

PREFIX = "/vertex"
VERSIONS = ("v1beta1", "v1")

Handler = Callable[["Call"], Awaitable[Response]]


class Call:
    """One authenticated call: the request, its project and location, the faults that it asks for."""

    def __init__(self, request: Request, asked: list[Fault]) -> None:
        self.request = request
        self.account = f"projects/{request.path_params['project']}/locations/{request.path_params['location']}"
        self.asked = asked


class VertexWire:
    """See `Wire`."""

    provider = "vertex"
    error_file = False

    def __init__(self) -> None:
        self._emulation: Emulation

    def routes(self, emulation: Emulation) -> Sequence[BaseRoute]:
        self._emulation = emulation
        jobs = JobCalls(emulation, self.provider, self.limits)
        folder = "/projects/{project}/locations/{location}/batchPredictionJobs"
        table: list[tuple[str, str, str, Handler]] = [
            ("POST", folder, "batches.create", jobs.create),
            ("GET", folder, "batches.list", jobs.list_all),
            ("POST", folder + "/{id}:cancel", "batches.cancel", jobs.cancel),
            ("GET", folder + "/{id}", "batches.retrieve", jobs.retrieve),
            ("DELETE", folder + "/{id}", "batches.delete", jobs.delete),
        ]
        routes = [
            Route(f"{PREFIX}/{version}{path}", self._endpoint(operation, handler), methods=[method])
            for version in VERSIONS
            for method, path, operation, handler in table
        ]
        return [*routes, Route(PREFIX + "/{rest:path}", no_such_url, methods=["GET", "POST", "DELETE"])]

    def _endpoint(self, operation: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Authenticate, let faults strike, answer."""
        return google_calls.endpoint(
            self._emulation, self.provider, operation, handler, call_of=Call, authenticate=_authenticate
        )

    # -- limits --------------------------------------------------------------------------------------------------

    def limits(self) -> VertexLimits:
        return VertexLimits(**self._emulation.limits(self.provider))

    def check_limits(self, limits: dict[str, Any]) -> None:
        known = [each.name for each in fields(VertexLimits)]
        if unknown := sorted(limits.keys() - set(known)):
            raise ValueError(f"unknown limits {unknown}; known: {known}")

    # -- what the worker asks for --------------------------------------------------------------------------------

    def validate(self, batch: Batch, lines: LineFile) -> Verdict:
        """Unverified: what a job looks at before it starts, and in which words it complains."""
        if batch.fate == "validation_failed":
            return failed(batch.fate_params["message"], batch.fate_params["code"])
        if batch.fate == "token_limit_exceeded":
            return failed("Quota exceeded for batch prediction tokens in the queue.", "resource_exhausted")
        if message := self._objection(batch, lines):
            return failed(message)
        return Verdict(problems=problems_of(lines), model=str(batch.wire["model"]).rpartition("/")[2])

    def _objection(self, batch: Batch, lines: LineFile) -> str | None:
        """What is wrong with the input as a whole."""
        limits = self.limits()
        bucket, _, name = _source(batch).removeprefix("gs://").partition("/")
        if Buckets(self._emulation.store, self._emulation.clock).find(bucket, name) is None:
            return f"The input file {_source(batch)} was not found."
        if not len(lines):
            return "The input file has no requests."
        if len(lines) > limits.max_requests:
            return f"The input has {len(lines)} requests; a job takes {limits.max_requests}."
        if lines.total_bytes > limits.max_bytes:
            return f"The input has {lines.total_bytes} bytes; a job takes {limits.max_bytes}."
        return None

    def execute(self, batch: Batch, line: bytes, now: int, strike: Strike) -> Result:
        given = orjson.loads(line)
        request = given["request"]
        content = {key: value for key, value in request.items() if key != "labels"}
        fingerprint = fingerprint_of({**content, "model": batch.model})
        answer = reply(batch.model or "", request, fingerprint, labels=True, fault=strike(line, fingerprint))
        written = {
            "status": "" if answer.ok else f"Bad Request: {orjson.dumps(answer.body).decode()}",
            "processed_time": datetime.fromtimestamp(now, UTC).isoformat(),
            **given,
            "response": answer.body if answer.ok else {},
        }
        return Result(
            line=orjson.dumps(written, option=orjson.OPT_APPEND_NEWLINE),
            ok=answer.ok,
            billed=answer.ok,
            fingerprint=fingerprint,
            custom_id=next(iter((request.get("labels") or {}).values()), ""),
            usage=answer.usage,
        )

    def abandon(self, batch: Batch, line: bytes, outcome: Phase) -> bytes:
        """Nothing. Unverified: whether requests that were not executed have lines."""
        return b""

    def result_file(self, batch: Batch, kind: str) -> tuple[str, str, float | None]:
        return "predictions", "predictions.jsonl", None

    def finish(self, batch: Batch, output: LineFile) -> None:
        """Write the predictions into the bucket, in shards, and the file that is none of them."""
        bucket, _, folder = output_directory(batch).removeprefix("gs://").partition("/")
        buckets = Buckets(self._emulation.store, self._emulation.clock)
        count = max(1, min(self.limits().output_shards, len(output)))
        for number in range(count):
            name = "predictions.jsonl" + (f"-{number:05}-of-{count:05}" if count > 1 else "")
            buckets.write(bucket, f"{folder}/{name}", _share(output, number, count))
        buckets.write(bucket, f"{folder}/incremental_predictions.jsonl", _share(output, 0, 3))


def _share(lines: LineFile, number: int, count: int) -> Iterator[bytes]:
    """Every `count`-th line."""
    return (lines[place] + b"\n" for place in range(number, len(lines), count))


def _source(batch: Batch) -> str:
    uri: str = batch.wire["inputConfig"]["gcsSource"]["uris"][0]
    return uri


def _authenticate(request: Request) -> Response | None:
    """Any token will do, but for `sk-invalid...`; any project, but for `nonexistent...`; the locations that there are.

    A location has a host of its own, so that nobody looks at the token where there is none.
    """
    project, location = (request.path_params.get(name, "") for name in ("project", "location"))
    if location not in LOCATIONS:
        return no_such_host()
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip() or token.startswith("sk-invalid"):
        raise GoogleRefused(401)
    if project.startswith("nonexistent"):
        raise GoogleRefused(
            403,
            "Permission 'aiplatform.batchPredictionJobs.list' denied on resource "
            f"'//aiplatform.googleapis.com/projects/{project}/locations/{location}' (or it may not exist).",
        )
    return None
