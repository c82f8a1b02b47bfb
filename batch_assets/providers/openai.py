"""OpenAI's Batch API through the official SDK.

Facts relied on (OpenAPI document 2.3.0 and the SDK's types, read 2026-11; nothing here was tried on OpenAI itself):
an input file holds at most 50,000 requests and 200 MB, all of one model; the window is 24 h; the list of batches is
newest first and cannot be filtered; metadata takes 16 pairs of 64 and 512 characters; a full queue shows only after
the create call, as a batch that `failed` with `token_limit_exceeded`; `failed` means that nothing was executed;
batches that expire or are canceled keep what was finished; results are kept for 30 days.
"""

from __future__ import annotations

import secrets
import tempfile
import weakref
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import openai
import orjson

from batch_assets.admission import QueueLimits
from batch_assets.dialects import OPENAI_STRICT, check_json_schema
from batch_assets.errors import (
    Ambiguous,
    ConfigError,
    NotFound,
    Transient,
)
from batch_assets.providers.http import Answer, creating_error, is_connection_error, reading_error, split_lines
from batch_assets.providers.protocol import ResultLine
from batch_assets.records import BatchInfo, BatchPhase, Ending, Limits, Outcome, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from openai.types import Batch

STAMP = "batch_assets_shard"
"""Key of the metadata pair that carries our stamp."""

LIMITS = Limits(
    max_requests=50_000,
    max_bytes=200_000_000,
    max_request_bytes=200_000_000,
    completion_window="24h",
    results_kept_days=30,
)

_ENDINGS = {
    "completed": Ending.COMPLETED,
    "failed": Ending.FAILED,
    "expired": Ending.EXPIRED,
    "cancelled": Ending.CANCELED,
}
_PHASES = {
    "validating": BatchPhase.RUNNING,
    "in_progress": BatchPhase.RUNNING,
    "finalizing": BatchPhase.RUNNING,
    "cancelling": BatchPhase.CANCELING,
    "completed": BatchPhase.ENDED,
    "failed": BatchPhase.ENDED,
    "expired": BatchPhase.ENDED,
    "cancelled": BatchPhase.ENDED,
}
_URLS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "embeddings": "/v1/embeddings"}
_REFUSED_PARAMS = {
    "stream": "a batch has no stream",
    "n": "a row has one response",
    "messages": "the prompt makes the messages",
    "input": "the prompt makes the input",
    "model": "set `model`",
    "response_format": "set `output_type`",
    "text": "set `output_type`",
    "max_tokens": "set `max_output_tokens`",
    "max_completion_tokens": "set `max_output_tokens`",
    "max_output_tokens": "set `max_output_tokens`",
    "encoding_format": "embeddings are read as floats",
}
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


class OpenAIEnvelope:
    """The constant part of the request lines of one plan."""

    def __init__(self, request: Request) -> None:
        hole = secrets.token_hex(16)
        body = orjson.dumps(_body(request, hole))
        before, after = body.split(b'"' + hole.encode() + b'"')
        self._start = b'{"custom_id":"'
        self._middle = b'","method":"POST","url":"' + _URLS[request.endpoint].encode() + b'","body":' + before
        self._end = after + b"}\n"
        self.overhead_bytes = len(self._start) + 63 + len(self._middle) + len(self._end)

    def lines(self, custom_ids: Iterable[str], contents: Iterable[bytes]) -> Iterator[bytes]:
        """The wire lines, each with its line feed."""
        for custom_id, content in zip(custom_ids, contents, strict=True):
            yield b"".join((self._start, custom_id.encode(), self._middle, content, self._end))


def _body(request: Request, content: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": request.model, **request.params}
    schema = request.json_schema
    strict = {"name": request.schema_name, "strict": True, "schema": schema}
    if request.endpoint == "chat":
        system = [] if request.system is None else [{"role": "system", "content": request.system}]
        body["messages"] = [*system, {"role": "user", "content": content}]
        if request.max_output_tokens is not None:
            body["max_completion_tokens"] = request.max_output_tokens
        if schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": strict}
    elif request.endpoint == "responses":
        if request.system is not None:
            body["instructions"] = request.system
        body["input"] = content
        if request.max_output_tokens is not None:
            body["max_output_tokens"] = request.max_output_tokens
        if schema is not None:
            body["text"] = {"format": {"type": "json_schema", **strict}}
    else:
        body["input"] = content
    return body


class OpenAIProvider:
    """One OpenAI account: host, organization, project."""

    vendor = "openai"
    host: str | None = None
    limits = LIMITS
    assumed_batch_discount: Decimal | None = Decimal("0.5")

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
        for param, cure in _REFUSED_PARAMS.items():
            if param in request.params:
                raise ConfigError(f"`params` holds {param!r}, which cannot be set there: {cure}")
        if not request.model:
            raise ConfigError("`model` is empty; name the provider's model, `gpt-5-mini` say")
        if request.json_schema is not None:
            check_json_schema(request.json_schema, OPENAI_STRICT)

    def envelope(self, request: Request) -> OpenAIEnvelope:
        """The constant part of the request lines."""
        return OpenAIEnvelope(request)

    # ------------------------------------------------------------ calls that may be repeated

    def newest(self) -> str | None:
        """Id of the newest batch that the account lists."""
        with self._reading("listing its batches"):
            page = self._client.batches.list(limit=1)
            return page.data[0].id if page.data else None

    def upload(self, name: str, chunks: Iterator[bytes]) -> str | None:
        """Upload an input file and return its id."""
        with tempfile.TemporaryFile() as scratch:  # the SDK sends it again from its start after a failure
            scratch.writelines(chunks)
            scratch.seek(0)
            with self._reading(f"uploading {name}"):
                return self._client.files.create(file=(name, scratch), purpose="batch").id

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

    def console_url(self, batch_id: str) -> str | None:
        """Where a person looks at the batch."""
        return f"https://platform.openai.com/batches/{batch_id}"

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
        try:
            batch = once.batches.create(
                input_file_id=input_file or "",
                endpoint=_URLS[request.endpoint],  # type: ignore[arg-type]  # one of the SDK's literals
                completion_window="24h",
                metadata={STAMP: stamp},
            )
        except openai.APIStatusError as error:
            raise creating_error(self._answer("creating a batch", error)) from error
        except (openai.OpenAIError, OSError) as error:
            raise Ambiguous(f"the reply to creating a batch was lost: {error}", provider=self.name) from error
        return batch.id

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
            if not is_connection_error(error):
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
            out_of_money=code in _NO_MONEY,
            unknown_model=code == "model_not_found",
        )

    def _info(self, batch: Batch) -> BatchInfo:
        counts = batch.request_counts
        errors = (batch.errors.data if batch.errors else None) or []
        first = errors[0] if errors else None
        ended = batch.completed_at or batch.failed_at or batch.expired_at or batch.cancelled_at
        return BatchInfo(
            batch_id=batch.id,
            phase=_PHASES.get(batch.status, BatchPhase.UNKNOWN),
            raw_status=batch.status,
            created_at=_time(batch.created_at),
            stamp=(batch.metadata or {}).get(STAMP),
            input_file=batch.input_file_id,
            result_files=tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
            total=counts.total if counts and counts.total else None,
            completed=counts.completed if counts else None,
            failed=counts.failed if counts else None,
            ending=_ENDINGS.get(batch.status),
            ended_at=_time(ended) if ended else None,
            expires_at=_time(batch.expires_at) if batch.expires_at else None,
            error_code=first.code if first else None,
            error_message="; ".join(
                (f"line {one.line}: " if one.line else "") + (one.message or one.code or "") for one in errors[:5]
            )
            or None,
            error_lines=tuple(one.line for one in errors if one.line),
            queue_full=batch.status == "failed" and any(one.code == "token_limit_exceeded" for one in errors),
            blocked=batch.status == "failed" and any(one.code in _NO_MONEY for one in errors),
        )

    def custom_id(self, line: bytes) -> str | None:
        """The custom_id of a result line."""
        try:
            return _ID_DECODER.decode(line).custom_id
        except msgspec.MsgspecError:
            return None

    def parse(self, line: bytes) -> ResultLine:
        """A whole result line, of any of the endpoints; the text of an embedding is its JSON."""
        read = _LINE_DECODER.decode(line)
        if read.error is not None:
            return _unexecuted(read.custom_id, read.error)
        if read.response is None:
            raise ValueError("a result line without response and error")
        body, status = read.response.body, read.response.status_code
        if status >= 400 or body.error is not None:
            error = body.error or _Error()
            return ResultLine(
                custom_id=read.custom_id,
                outcome=Outcome.ERRORED,
                error=error.message or f"status {status}",
                error_kind=error.code or error.type or str(status),
                curable=status in {408, 409, 429} or status >= 500,
            )
        return _answered(read.custom_id, body)


class _Identified(msgspec.Struct, gc=False):
    custom_id: str


class _Error(msgspec.Struct, gc=False):
    message: str | None = None
    code: str | None = None
    type: str | None = None


class _CachedDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _CachedDetails | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _CachedDetails | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None


class _Part(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct, gc=False):
    type: str
    content: list[_Part] | None = None


class _Incomplete(msgspec.Struct, gc=False):
    reason: str | None = None


class _Embedding(msgspec.Struct, gc=False):
    embedding: msgspec.Raw


class _Body(msgspec.Struct, gc=False):
    model: str | None = None
    data: list[_Embedding] | None = None
    choices: list[_Choice] | None = None
    output: list[_Item] | None = None
    incomplete_details: _Incomplete | None = None
    usage: _Usage | None = None
    error: _Error | None = None


class _Response(msgspec.Struct, gc=False):
    status_code: int
    body: _Body


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


_ID_DECODER = msgspec.json.Decoder(_Identified)
_LINE_DECODER = msgspec.json.Decoder(_Line)


def _unexecuted(custom_id: str, error: _Error) -> ResultLine:
    """A request that was not executed: its line has an error and no response."""
    code = error.code or "unknown"
    outcome = {"batch_expired": Outcome.EXPIRED, "batch_cancelled": Outcome.CANCELED}.get(code, Outcome.ERRORED)
    return ResultLine(
        custom_id=custom_id,
        outcome=outcome,
        error=error.message or code,
        error_kind=code,
        curable=outcome is not Outcome.CANCELED,
    )


def _answered(custom_id: str, body: _Body) -> ResultLine:
    text: str | None = None
    refusal: str | None = None
    finish: str | None = None
    if body.choices:
        choice = body.choices[0]
        text, refusal, finish = choice.message.content, choice.message.refusal, choice.finish_reason
    elif body.data:
        text = bytes(body.data[0].embedding).decode()
    elif body.output is not None:
        parts = [part for item in body.output if item.type == "message" for part in item.content or ()]
        text = "".join(part.text or "" for part in parts if part.type == "output_text") or None
        refusal = "".join(part.refusal or "" for part in parts if part.type == "refusal") or None
        reason = body.incomplete_details.reason if body.incomplete_details else None
        finish = {None: "stop", "max_output_tokens": "length"}.get(reason, reason)
    usage = body.usage or _Usage()
    details = usage.prompt_tokens_details or usage.input_tokens_details
    outcome, error, kind = Outcome.SUCCEEDED, None, None
    if refusal is not None:
        outcome, error, kind = Outcome.ERRORED, f"the model refused: {refusal}", "refusal"
    elif finish == "content_filter":
        outcome, error, kind = Outcome.ERRORED, "the provider's content filter cut the response", "content_filter"
    elif text is None:
        outcome, error, kind = Outcome.ERRORED, "the response holds no text", "no_text"
    return ResultLine(
        custom_id=custom_id,
        outcome=outcome,
        text=text,
        error=error,
        error_kind=kind,
        curable=kind == "no_text",
        model=body.model,
        finish_reason=finish,
        input_tokens=usage.prompt_tokens or usage.input_tokens or 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
        output_tokens=usage.completion_tokens or usage.output_tokens or 0,
    )


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
