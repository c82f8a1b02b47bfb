"""OpenAI's Batch API through the official SDK.

Facts relied on (OpenAPI document 2.3.0 and the SDK's types, read 2026-11; nothing here was tried on OpenAI itself):
an input file holds at most 50,000 requests and 200 MB, all of one model; the window is 24 h; the list of batches is
newest first and cannot be filtered; metadata takes 16 pairs of 64 and 512 characters; a full queue shows only after
the create call, as a batch that `failed` with `token_limit_exceeded`; `failed` means that nothing was executed;
batches that expire or are canceled keep what was finished; results are kept for 30 days.
"""

from __future__ import annotations

import os
import weakref
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai

from batch_assets.admission import QueueLimits
from batch_assets.dialects import OPENAI_STRICT, check_json_schema
from batch_assets.errors import Ambiguous, ConfigError, NotFound, Refused, Transient
from batch_assets.model_names import check_model
from batch_assets.providers.http import (
    Answer,
    check_address,
    check_calls,
    creating_error,
    id_of,
    is_at,
    is_connection_error,
    is_unreadable,
    reading_error,
    split_lines,
)
from batch_assets.providers.openai_dialects import OPENAI, OpenAIDialect
from batch_assets.providers.openai_lines import OpenAIEnvelope, read_custom_id, read_result
from batch_assets.providers.params import check_beside_format, check_params
from batch_assets.records import BatchInfo, BatchPhase, Ending, InputFile
from batch_assets.storage.scratch import scratch_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from decimal import Decimal

    from openai.types import Batch

    from batch_assets.providers.protocol import ResultLine
    from batch_assets.records import Request

STAMP = "batch_assets_shard"
"""Key of the metadata pair that carries our stamp."""

LIMITS = OPENAI.limits
_PROCESSING_SECONDS = 600.0

_REFUSED_PARAMS = {
    "stream": "a batch has no stream",
    "stream_options": "a batch has no stream",
    "instructions": "set `system`",
    "n": "a row has one response",
    "messages": "the prompt makes the messages",
    "input": "the prompt makes the input",
    "model": "set `model`",
    "response_format": "set `output_type`",
    "max_tokens": "set `max_output_tokens`",
    "max_completion_tokens": "set `max_output_tokens`",
    "max_output_tokens": "set `max_output_tokens`",
    "encoding_format": "embeddings are read as floats",
    "background": "the response is waited for, and one in the background has no text yet",
}
_HARMLESS_PARAMS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "chat": {"stream": (False, None), "n": (1,)},
    "responses": {"stream": (False, None), "background": (False,)},
    "embeddings": {"encoding_format": ("float",)},
}
"""By endpoint: another one does not know the parameter."""
_USUAL_TIERS = (None, "auto", "default")
"""The guides of flex and of priority processing are of calls one by one (read 2026-11)."""


class OpenAIProvider:
    """One OpenAI account: host, organization, project."""

    vendor = OPENAI.vendor
    host: str | None = None
    limits = LIMITS
    assumed_batch_discount: Decimal | None = OPENAI.assumed_batch_discount
    dialect: OpenAIDialect = OPENAI

    def __init__(
        self,
        *,
        name: str = "openai",
        api_key: str | None = None,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        timeout_seconds: float = 600,
        max_retries: int = 2,
        queue: QueueLimits | None = None,
        listing_grace_seconds: float = 180,
    ) -> None:
        """What is not given is taken from the environment, as the SDK does. Raises ConfigError."""
        if base_url:
            check_address("base_url", base_url, example="https://host/v1")
        check_calls(timeout_seconds, max_retries)
        self.name = name
        self.listing_grace_seconds = listing_grace_seconds
        self.queue = queue or QueueLimits()
        self._settings: dict[str, Any] = {
            "api_key": api_key or None,
            "base_url": base_url or None,
            "organization": organization or None,
            "project": project or None,
            "timeout": timeout_seconds,
            "max_retries": max_retries,
        }

    def __repr__(self) -> str:
        return f"OpenAIProvider(name={self.name!r})"

    @cached_property
    def _client(self) -> openai.OpenAI:
        try:
            client = openai.OpenAI(**self._settings)
        except openai.OpenAIError as error:
            raise ConfigError(
                f"the provider {self.name!r} has no API key: set `api_key` of its resource, or the environment "
                "variable OPENAI_API_KEY"
            ) from error
        weakref.finalize(self, client.close)  # its connections go with the provider
        return client

    @cached_property
    def account(self) -> str:
        """Vendor, host, organization and project: a rotated key is the same account."""
        client = self._client
        host = client.base_url.host
        place = host if client.base_url.port is None else f"{host}:{client.base_url.port}"
        parts = ["openai"] if host == "api.openai.com" else ["openai", place]
        return "+".join([*parts, *(part for part in (client.organization, client.project) if part)])

    def check_credentials(self) -> None:
        """Raise ConfigError naming the setting if there is no key."""
        _ = self._client

    def check(self, request: Request) -> None:
        """Refuse what the batch API would refuse. Raises ConfigError."""
        if request.endpoint not in self.dialect.urls:
            known = " or ".join(f"`{endpoint}`" for endpoint in self.dialect.urls)
            raise ConfigError(f"`endpoint` is {request.endpoint!r}; {self.dialect.name} takes {known} in batches")
        check_params(request.params, _REFUSED_PARAMS, harmless=_HARMLESS_PARAMS[request.endpoint])
        if request.endpoint == "responses":
            check_beside_format(request.params, "text", '{"verbosity": "low"}')
        elif "text" in request.params:
            raise ConfigError("`params` holds 'text', which only the Responses API knows; chat has 'verbosity'")
        if (tier := request.params.get("service_tier")) not in _USUAL_TIERS:
            raise ConfigError(
                f"`params` holds service_tier={tier!r}; costs are told, and `max_cost_usd` is kept, at the price of "
                "the standard tier: leave it out"
                if self.limits.realtime
                else f"`params` holds service_tier={tier!r}, which is of calls one by one; a batch is a tier of its "
                "own, and what it does with another is not documented: leave it out"
            )
        if request.endpoint == "responses" and "reasoning_effort" in request.params:
            raise ConfigError(
                "`params` holds 'reasoning_effort', which the Responses API calls reasoning={\"effort\": ...}"
            )
        if not request.model:
            raise ConfigError("`model` is empty; name the provider's model, `gpt-5-mini` say")
        own = urlsplit(self.dialect.base_url or "").hostname
        if own and is_at(self._settings["base_url"] or os.environ.get("OPENAI_BASE_URL"), own):
            check_model(request.model, vendor=self.vendor, provider=self.name, endpoint=request.endpoint)
        if request.json_schema is not None:
            check_json_schema(request.json_schema, OPENAI_STRICT)

    def envelope(self, request: Request) -> OpenAIEnvelope:
        """The constant part of the request lines."""
        return OpenAIEnvelope(request, self.dialect)

    # ------------------------------------------------------------ calls that may be repeated

    def newest(self) -> str | None:
        """Id of the newest batch that the account lists."""
        with self._reading("listing its batches"):
            page = self._client.batches.list(limit=1)
            return page.data[0].id if page.data else None

    def upload(self, name: str, chunks: Iterator[bytes]) -> str | None:
        """Upload an input file and return its id."""
        with scratch_file() as scratch:  # the SDK sends it again from its start after a failure
            scratch.writelines(chunks)
            scratch.seek(0)
            with self._reading(f"uploading {name}"):
                file_id = self._client.files.create(file=(name, scratch), purpose="batch").id
        if self.dialect.files_are_processed:
            self._wait_for_file(file_id)
        return file_id

    def _wait_for_file(self, file_id: str) -> None:
        with self._reading(f"waiting for {file_id} to be processed"):
            try:
                file = self._client.files.wait_for_processing(file_id, max_wait_seconds=_PROCESSING_SECONDS)
            except RuntimeError as error:  # the SDK's, after that time
                raise Transient(f"{self.name}: {error}", provider=self.name) from error
        if file.status == "error":
            raise Refused(f"{self.name}: {file_id} was not accepted: {file.status_details}", provider=self.name)

    def batches(self) -> Iterator[BatchInfo]:
        """All batches that the account lists, newest first."""
        with self._reading("listing its batches"):
            for batch in self._client.batches.list(limit=100):
                yield self._info(batch)

    def batch(self, batch_id: str) -> BatchInfo:
        """One batch."""
        with self._reading(f"reading batch {batch_id}"):
            return self._info(self._client.batches.retrieve(batch_id))

    def cancel(self, batch_id: str) -> None:
        """Ask for its cancellation; one that has ended is left alone."""
        with self._reading(f"canceling batch {batch_id}"):
            try:
                self._client.batches.cancel(batch_id)
            except (openai.BadRequestError, openai.ConflictError):
                if self.batch(batch_id).phase is not BatchPhase.ENDED:
                    raise

    def results(self, batch: BatchInfo) -> Iterator[bytes]:
        """The lines of its output and error file, streamed."""
        for file_id in batch.result_files:
            with (
                self._reading(f"downloading {file_id} of batch {batch.batch_id}"),
                self._client.files.with_streaming_response.content(file_id) as response,
            ):
                yield from split_lines(response.iter_bytes(1 << 20))

    def delete_input(self, input_file: str) -> None:
        """Delete an uploaded input file."""
        try:
            with self._reading(f"deleting {input_file}"):
                self._client.files.delete(input_file)
        except NotFound:
            pass

    def input_files(self) -> Iterator[InputFile]:
        """All input files of batches that the account lists."""
        with self._reading("listing its files"):
            for file in self._client.files.list(purpose="batch"):
                yield InputFile(file_id=file.id, name=file.filename)

    def console_url(self, batch_id: str) -> str | None:
        """Where a person looks at the batch."""
        return self.dialect.console_url.format(batch_id) if self.dialect.console_url else None

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
        """Create the batch, once: by default the SDK sends a create again after a lost reply, and pays twice."""
        once = self._client.with_options(max_retries=0, timeout=timeout_seconds)
        stamped: dict[str, Any] = {"metadata": {STAMP: stamp}} if self.dialect.metadata else {}
        try:
            batch = once.batches.create(
                input_file_id=input_file or "",
                endpoint=self.dialect.urls[request.endpoint],  # type: ignore[arg-type]  # one of the SDK's literals
                completion_window=self.limits.completion_window,  # type: ignore[arg-type]  # some hosts take others
                **stamped,
            )
        except openai.APIStatusError as error:
            raise creating_error(self._answer("creating a batch", error)) from error
        except (openai.OpenAIError, OSError) as error:
            raise Ambiguous(f"the reply to creating a batch was lost: {error}", provider=self.name) from error
        return id_of(batch, self.name)

    # ------------------------------------------------------------ reading answers

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Class the errors of a call that may be repeated."""
        try:
            yield
        except openai.APIStatusError as error:
            raise reading_error(self._answer(what, error)) from error
        except (openai.OpenAIError, OSError) as error:
            raise Transient(f"{self.name}: {what} failed: {error}", provider=self.name) from error
        except Exception as error:
            if not is_connection_error(error) and not is_unreadable(error):
                raise
            raise Transient(f"{self.name}: {what} was cut off: {error!r}", provider=self.name) from error

    def _answer(self, what: str, error: openai.APIStatusError) -> Answer:
        body = error.body if isinstance(error.body, dict) and "message" in error.body else None
        code = str(body.get("code") or body.get("type") or "error") if body else None
        return Answer(
            provider=self.name,
            what=what,
            status=error.status_code,
            code=code,
            message=str(body["message"]) if body else error.message[:300],
            headers=error.response.headers,
            out_of_money=code in self.dialect.no_money_codes,
            unknown_model=code == "model_not_found",
        )

    def _info(self, batch: Batch) -> BatchInfo:
        dialect = self.dialect
        phase, ending = dialect.statuses.get(batch.status, (BatchPhase.UNKNOWN, None))
        counts = batch.request_counts
        errors = (batch.errors.data if batch.errors else None) or []
        first = errors[0] if errors else None
        ended = batch.completed_at or batch.failed_at or batch.expired_at or batch.cancelled_at
        return BatchInfo(
            batch_id=batch.id,
            phase=phase,
            raw_status=batch.status,
            created_at=_time(batch.created_at),
            stamp=(batch.metadata or {}).get(STAMP),
            input_file=batch.input_file_id,
            result_files=tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
            total=counts.total if counts and counts.total else None,
            completed=counts.completed if counts else None,
            failed=counts.failed if counts else None,
            ending=ending,
            ended_at=_time(ended) if ended else None,
            expires_at=_time(batch.expires_at) if batch.expires_at else None,
            error_code=first.code if first else None,
            error_message="; ".join(
                (f"line {one.line}: " if one.line else "") + (one.message or one.code or "") for one in errors[:5]
            )
            or None,
            error_lines=tuple(one.line for one in errors if one.line),
            queue_full=ending is Ending.FAILED and any(one.code in dialect.queue_full_codes for one in errors),
            blocked=ending is Ending.FAILED and any(one.code in dialect.no_money_codes for one in errors),
        )

    def custom_id(self, line: bytes) -> str | None:
        """The custom_id of a result line."""
        return read_custom_id(line)

    def parse(self, line: bytes) -> ResultLine:
        """A whole result line, of any of the endpoints; the text of an embedding is its JSON."""
        return read_result(line)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
