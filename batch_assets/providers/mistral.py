"""Mistral's batch API through the official SDK (`mistralai` 2 and 3), an extra: `pip install "batch-assets[mistral]"`.

Facts relied on (mistral-openapi.yaml, the SDK's types of 3.7 and the batch guide, read 2026-11; nothing here was tried
on Mistral itself): a job names one model and takes uploaded files of lines {custom_id, body}; metadata takes keys of 32
and values of 512 characters; the list of jobs is newest first, and no filter of it is relied on; error lines stand in
the output file or the error file. Uncertain, since the docs contradict each other: 100,000 requests a job (the FAQ
names none), results kept for 24 h after the end (the FAQ: for ever), and whether a job that timed out or was canceled
keeps what it had finished: both files are always tried. The list goes by page number, so that a job that is created
meanwhile can only show another one twice.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from batch_assets.admission import QueueLimits
from batch_assets.dialects import OPENAI_STRICT, check_json_schema
from batch_assets.errors import Ambiguous, ConfigError, NotFound, Refused, Transient
from batch_assets.model_names import check_model
from batch_assets.providers.http import (
    Answer,
    check_address,
    check_calls,
    creating_error,
    is_at,
    is_connection_error,
    reading_error,
    retried,
    split_lines,
)
from batch_assets.providers.mistral_lines import URLS, MistralEnvelope, error_text, read_custom_id, read_result
from batch_assets.providers.params import check_params
from batch_assets.records import BatchInfo, BatchPhase, Ending, InputFile, Limits
from batch_assets.storage.scratch import scratch_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mistralai.client import Mistral
    from mistralai.client.errors import MistralError
    from mistralai.client.models import BatchJob, FileSchema

    from batch_assets.providers.protocol import ResultLine
    from batch_assets.records import Request

STAMP = "batch_assets_shard"
"""Key of the metadata pair that carries our stamp."""

LIMITS = Limits(
    max_requests=100_000,
    max_bytes=512_000_000,
    max_request_bytes=512_000_000,
    completion_window="24h",
    results_kept_days=2,  # 24 h of running and 24 h of keeping
)
_TIMEOUT_HOURS = 24
_PAGE_SIZE = 100
_PUBLIC_HOST = "api.mistral.ai"

_PHASES = {
    "QUEUED": BatchPhase.RUNNING,
    "RUNNING": BatchPhase.RUNNING,
    "CANCELLATION_REQUESTED": BatchPhase.CANCELING,
    "SUCCESS": BatchPhase.ENDED,
    "FAILED": BatchPhase.ENDED,
    "TIMEOUT_EXCEEDED": BatchPhase.ENDED,
    "CANCELLED": BatchPhase.ENDED,
}
_ENDINGS = {
    "SUCCESS": Ending.COMPLETED,
    "FAILED": Ending.FAILED,
    "TIMEOUT_EXCEEDED": Ending.EXPIRED,
    "CANCELLED": Ending.CANCELED,
}
_REFUSED_PARAMS = {
    "stream": "a batch has no stream",
    "n": "a row has one response",
    "messages": "the prompt makes the messages",
    "input": "the prompt makes the input",
    "model": "set `model`",
    "response_format": "set `output_type`",
    "max_tokens": "set `max_output_tokens`",
    "max_output_tokens": "set `max_output_tokens`",
    "seed": "Mistral calls it `random_seed`",
    "encoding_format": "embeddings are read as floats",
    "output_dtype": "embeddings are read as floats",
}
_HARMLESS_PARAMS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "chat": {"stream": (False,), "n": (1,)},
    "embeddings": {"encoding_format": ("float",), "output_dtype": ("float",)},
}
"""By endpoint: another one does not know the parameter."""
_TIERS = ("auto", "standard_only")  # the SDK's types (3.7)

# Mistral publishes no subset of JSON Schema (2026-11): the keywords that others take, and no counts.
DIALECT = replace(
    OPENAI_STRICT,
    name="Mistral's JSON schema mode",
    max_properties=None,
    max_depth=None,
    max_enum_values=None,
    large_enum_values=None,
    large_enum_characters=None,
    max_name_characters=None,
)


class MistralProvider:
    """One Mistral workspace: a key belongs to one, and lists the jobs of that one."""

    vendor = "mistral"
    host: str | None = None
    limits = LIMITS
    assumed_batch_discount: Decimal | None = Decimal("0.5")

    def __init__(
        self,
        *,
        name: str = "mistral",
        api_key: str | None = None,
        server_url: str | None = None,
        workspace: str | None = None,
        timeout_seconds: float = 300,
        max_retries: int = 2,
        queue: QueueLimits | None = None,
        listing_grace_seconds: float = 180,
    ) -> None:
        """`workspace` names the account where several keys belong to different workspaces. Raises ConfigError."""
        if server_url:
            check_address("server_url", server_url, added=("/v1",))
        check_calls(timeout_seconds, max_retries)
        self.name = name
        self.queue = queue or QueueLimits()
        self.listing_grace_seconds = listing_grace_seconds
        self._api_key = api_key or None
        self._server_url = server_url or None
        self._workspace = workspace
        self._timeout_seconds = timeout_seconds
        self._max_retries = max_retries

    def __repr__(self) -> str:
        return f"MistralProvider(name={self.name!r})"

    @cached_property
    def _client(self) -> Mistral:
        try:
            from mistralai.client import Mistral  # noqa: PLC0415  # an extra, imported when it is needed
        except ImportError as error:
            raise ConfigError(
                f"the provider {self.name!r} needs Mistral's SDK from version 2 on: "
                'pip install "batch-assets[mistral]"'
            ) from error
        key = self._api_key or os.environ.get("MISTRAL_API_KEY")
        if not key:
            raise ConfigError(
                f"the provider {self.name!r} has no API key: set `api_key` of its resource, or the environment "
                "variable MISTRAL_API_KEY"
            )
        return Mistral(api_key=key, server_url=self._server_url, timeout_ms=int(self._timeout_seconds * 1000))

    @cached_property
    def account(self) -> str:
        """Vendor, host where it is not Mistral's own, and workspace."""
        place = urlsplit(self._server_url).netloc if self._server_url else _PUBLIC_HOST
        parts = ["mistral"] if place == _PUBLIC_HOST else ["mistral", place]
        return "+".join([*parts, *([self._workspace] if self._workspace else [])])

    def check_credentials(self) -> None:
        """Raise ConfigError naming the setting if there is no key, or the install line if there is no SDK."""
        _ = self._client

    def check(self, request: Request) -> None:
        """Refuse what the batch API would refuse. Raises ConfigError."""
        if request.endpoint not in URLS:
            raise ConfigError(f"`endpoint` is {request.endpoint!r}; Mistral's batches take `chat` or `embeddings`")
        check_params(request.params, _REFUSED_PARAMS, harmless=_HARMLESS_PARAMS[request.endpoint])
        if (tier := request.params.get("service_tier", "auto")) not in _TIERS:
            raise ConfigError(f"`params` holds service_tier={tier!r}; Mistral takes `auto` or `standard_only`")
        if not request.model:
            raise ConfigError("`model` is empty; name the provider's model, `mistral-small-2603` say")
        if is_at(self._server_url, _PUBLIC_HOST):
            check_model(request.model, vendor=self.vendor, provider=self.name, endpoint=request.endpoint)
        if request.json_schema is not None:
            check_json_schema(request.json_schema, DIALECT)

    def envelope(self, request: Request) -> MistralEnvelope:
        """The constant part of the request lines."""
        return MistralEnvelope(request)

    # ------------------------------------------------------------ calls that may be repeated

    def newest(self) -> str | None:
        """Id of the newest job that the workspace lists."""
        jobs = self._page(0, 1)
        return jobs[0].id if jobs else None

    def upload(self, name: str, chunks: Iterator[bytes]) -> str | None:
        """Upload an input file and return its id."""
        with scratch_file() as scratch:
            scratch.writelines(chunks)

            def send() -> str:
                scratch.seek(0)
                with self._reading(f"uploading {name}"):
                    return self._client.files.upload(file={"file_name": name, "content": scratch}, purpose="batch").id

            return retried(send, self._max_retries)

    def batches(self) -> Iterator[BatchInfo]:
        """All jobs that the workspace lists, newest first."""
        number = 0
        while jobs := self._page(number, _PAGE_SIZE):
            yield from map(self._info, jobs)
            if len(jobs) < _PAGE_SIZE:
                return
            number += 1

    def _page(self, number: int, size: int) -> list[BatchJob]:
        def read() -> list[BatchJob]:
            with self._reading("listing its batch jobs"):
                return self._client.batch.jobs.list(page=number, page_size=size).data or []

        return retried(read, self._max_retries)

    def batch(self, batch_id: str) -> BatchInfo:
        """One job."""

        def read() -> BatchJob:
            with self._reading(f"reading batch job {batch_id}"):
                return self._client.batch.jobs.get(job_id=batch_id)

        return self._info(retried(read, self._max_retries))

    def cancel(self, batch_id: str) -> None:
        """Ask for its cancellation; one that has ended is left alone."""

        def ask() -> None:
            with self._reading(f"canceling batch job {batch_id}"):
                self._client.batch.jobs.cancel(job_id=batch_id)

        try:
            retried(ask, self._max_retries)
        except Refused:
            if self.batch(batch_id).phase is not BatchPhase.ENDED:
                raise

    def results(self, batch: BatchInfo) -> Iterator[bytes]:
        """The lines of its output and error file, streamed; NotFound only if neither is there."""
        gone: NotFound | None = None
        read = 0
        for file_id in batch.result_files:
            try:
                with self._reading(f"downloading {file_id} of batch job {batch.batch_id}"):
                    response = self._client.files.download(file_id=file_id)
                    try:
                        yield from split_lines(response.iter_bytes(1 << 20))
                    finally:
                        response.close()
                read += 1
            except NotFound as error:
                gone = error
        if gone is not None and not read:
            raise gone

    def delete_input(self, input_file: str) -> None:
        """Delete an uploaded input file."""

        def delete() -> None:
            with self._reading(f"deleting {input_file}"):
                self._client.files.delete(file_id=input_file)

        with suppress(NotFound):
            retried(delete, self._max_retries)

    def input_files(self) -> Iterator[InputFile]:
        """All input files of jobs that the workspace lists."""
        number = 0
        while True:

            def read(page: int = number) -> list[FileSchema]:
                with self._reading("listing its files"):
                    found = self._client.files.list(purpose="batch", page=page, page_size=_PAGE_SIZE)
                    return list(found.data)

            files = retried(read, self._max_retries)
            yield from (InputFile(file_id=file.id, name=file.filename) for file in files)
            if len(files) < _PAGE_SIZE:
                return
            number += 1

    def console_url(self, batch_id: str) -> str | None:  # jobs have no documented page of their own
        """Where a person looks at the batch."""
        return "https://console.mistral.ai/build/batches"

    # ------------------------------------------------------------ the one call that costs money

    def create(
        self,
        *,
        stamp: str,
        request: Request,
        input_file: str | None,
        lines: Callable[[], Iterator[bytes]],  # the requests are in the input file
        timeout_seconds: float,
    ) -> str:
        """Create the job, once: `retries=None` holds even where the client has retries set."""
        from mistralai.client.errors import MistralError, NoResponseError  # noqa: PLC0415  # an extra

        jobs = self._client.batch.jobs
        try:
            job = jobs.create(
                endpoint=URLS[request.endpoint],  # type: ignore[arg-type]  # one of the SDK's literals
                input_files=[input_file or ""],
                model=request.model,
                metadata={STAMP: stamp},
                timeout_hours=_TIMEOUT_HOURS,
                retries=None,
                timeout_ms=int(timeout_seconds * 1000),
            )
        except MistralError as error:
            raise creating_error(self._answer("creating a batch job", error)) from error
        except Exception as error:
            if not is_connection_error(error) and not isinstance(error, NoResponseError):
                raise
            raise Ambiguous(f"the reply to creating a batch job was lost: {error!r}", provider=self.name) from error
        return job.id

    # ------------------------------------------------------------ reading answers

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Class the errors of a call that may be repeated."""
        from mistralai.client.errors import MistralError, NoResponseError  # noqa: PLC0415  # an extra

        try:
            yield
        except MistralError as error:
            if error.status_code < 400:  # a body that is not what the API describes
                raise Transient(f"{self.name}: {what} gave no answer: {error}"[:500], provider=self.name) from error
            raise reading_error(self._answer(what, error)) from error
        except Exception as error:
            if not is_connection_error(error) and not isinstance(error, NoResponseError):
                raise
            raise Transient(f"{self.name}: {what} failed: {error!r}", provider=self.name) from error

    def _answer(self, what: str, error: MistralError) -> Answer:
        """Mistral's bodies are {object: error, message, type, code}, {detail: text} or {detail: [{loc, msg, type}]}."""
        try:
            body = orjson.loads(error.body)
        except orjson.JSONDecodeError:
            body = None
        own = isinstance(body, dict) and ("detail" in body or body.get("object") == "error")
        code = str(body.get("type") or body.get("code") or "error") if own else None
        return Answer(
            provider=self.name,
            what=what,
            status=error.status_code,
            code=code,
            message=error_text(body) if own else error.body[:300],
            headers=error.headers,
            unknown_model=code == "invalid_model",
        )

    def _info(self, job: BatchJob) -> BatchInfo:
        messages = [
            f"{one.message} ({one.count} requests)" if (one.count or 1) > 1 else one.message for one in job.errors
        ]
        stamp = (job.metadata or {}).get(STAMP)
        return BatchInfo(
            batch_id=job.id,
            phase=_PHASES.get(job.status, BatchPhase.UNKNOWN),
            raw_status=job.status,
            created_at=datetime.fromtimestamp(job.created_at, UTC),
            stamp=str(stamp) if stamp else None,
            input_file=job.input_files[0] if job.input_files else None,
            result_files=tuple(str(file) for file in (job.output_file, job.error_file) if file),
            total=job.total_requests or None,
            completed=job.succeeded_requests,
            failed=job.failed_requests,
            ending=_ENDINGS.get(job.status),
            ended_at=datetime.fromtimestamp(job.completed_at, UTC) if job.completed_at else None,
            error_message="; ".join(messages[:5]) or None,
        )

    def custom_id(self, line: bytes) -> str | None:
        """The custom_id of a result line; an error line may have none."""
        return read_custom_id(line)

    def parse(self, line: bytes) -> ResultLine:
        """A whole result line. Raises ValueError."""
        return read_result(line)
