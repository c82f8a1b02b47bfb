"""Anthropic's Message Batches API through the official SDK.

Facts relied on (SDK types of 2.12 and the batch guide, read 2026-11; nothing here was tried on Anthropic itself):
a batch holds at most 100,000 requests or 256 MB, sent inline with the create call; it carries no metadata, so a listing
shows nothing of ours; tallies stay 0 until the whole batch ends; parameters are checked later, request by request, but
a custom_id that breaks the pattern refuses the whole batch at once; there is no batch-level failure, and every request
gets a line; errored, canceled and expired requests are not billed; results are kept for 29 days.
The API version 2026-10-21, which SDK 2 speaks, refuses temperature, top_p and top_k. A schema has at most 16 unions
(the API's own error, quoted in vercel/ai #17268, 2026-07); an optional field is one.
"""

from __future__ import annotations

import os
import secrets
import weakref
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anthropic
import orjson
from anthropic.types.messages import MessageBatch

from batch_assets.admission import QueueLimits
from batch_assets.dialects import schema_nodes
from batch_assets.errors import Ambiguous, ConfigError, SchemaError, Transient
from batch_assets.model_names import check_model
from batch_assets.providers.anthropic_lines import read_custom_id, read_result
from batch_assets.providers.anthropic_parts import PARTS
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
from batch_assets.providers.params import check_beside_format, check_params
from batch_assets.records import BatchInfo, BatchPhase, InputFile, Limits, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from batch_assets.parts import PartsForm
    from batch_assets.providers.protocol import ResultLine

_START, _END = b'{"requests":[', b"]}"

LIMITS = Limits(
    max_requests=100_000,
    max_bytes=256_000_000 - len(_START) - len(_END),
    max_request_bytes=32_000_000,
    completion_window="24h",
    results_kept_days=29,
    input_files=False,
    stamped=False,
)
_PUBLIC_HOST = "api.anthropic.com"
_PHASES = {
    "in_progress": BatchPhase.RUNNING,
    "canceling": BatchPhase.CANCELING,
    "ended": BatchPhase.ENDED,
}
_REFUSED_PARAMS = {
    "stream": "a batch has no stream",
    "messages": "the prompt makes the messages",
    "system": "set `system`",
    "model": "set `model`",
    "max_tokens": "set `max_output_tokens`",
    **dict.fromkeys(
        ("speed", "store", "previous_thread_event_id", "cache_hint", "context_hint", "research_preview_2026_02"),
        "the batch API refuses it",
    ),
}
_HARMLESS_PARAMS = {"stream": (False,)}
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
_MAX_UNIONS = 16
_NO_MONEY = ("spend_limit", "credit balance is too low")
"""In the cause of a 429 (SDK 2.12), and in the words of a 400 (before 2026 it was one; now it is a 402)."""


class AnthropicEnvelope:
    """The constant part of the requests of one plan."""

    def __init__(self, request: Request, *, prompt_caching: bool) -> None:
        hole = secrets.token_hex(16)
        params = orjson.dumps(_params(request, hole, prompt_caching=prompt_caching))
        before, after = params.split(b'"' + hole.encode() + b'"')
        self._start = b'{"custom_id":"'
        self._middle = b'","params":' + before
        self._end = after + b"}\n"
        self.overhead_bytes = len(self._start) + 63 + len(self._middle) + len(self._end)
        self.parts: PartsForm | None = PARTS

    def lines(self, custom_ids: Iterable[str], contents: Iterable[bytes]) -> Iterator[bytes]:
        """The requests, each with the line feed that stands for the comma between two."""
        for custom_id, content in zip(custom_ids, contents, strict=True):
            yield b"".join((self._start, custom_id.encode(), self._middle, content, self._end))


def _params(request: Request, content: str, *, prompt_caching: bool) -> dict[str, Any]:
    params: dict[str, Any] = {"model": request.model, "max_tokens": request.max_output_tokens, **request.params}
    if request.system is not None:
        system: dict[str, Any] = {"type": "text", "text": request.system}
        if prompt_caching:
            system["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
        params["system"] = [system]
    if request.json_schema is not None:
        schema = anthropic.transform_schema(request.json_schema)
        form = {"format": {"type": "json_schema", "schema": schema}}
        params["output_config"] = {**params.get("output_config", {}), **form}
    params["messages"] = [{"role": "user", "content": content}]
    return params


def _check_schema(schema: dict[str, Any]) -> None:
    """Raise SchemaError for an output type that structured outputs do not take."""
    try:
        transformed = anthropic.transform_schema(schema)
    except ValueError as error:
        raise SchemaError(f"the output type cannot be expressed for Anthropic: {error}") from error
    unions = orjson.dumps(transformed).count(b'"anyOf":[')
    if unions > _MAX_UNIONS:
        named = dict.fromkeys(path for path, node, _ in schema_nodes(schema) if "anyOf" in node and path)
        raise SchemaError(
            f"the output type has {unions} optional fields or unions; Anthropic takes {_MAX_UNIONS}. Give some of them "
            f"a value that means `none`, an empty text say, or split the type: {', '.join(named)}"
        )


class AnthropicProvider:
    """One Anthropic workspace: a key belongs to one, and lists the batches of that one."""

    vendor = "anthropic"
    host: str | None = None
    limits = LIMITS
    assumed_batch_discount: Decimal | None = Decimal("0.5")

    def __init__(
        self,
        *,
        name: str = "anthropic",
        api_key: str | None = None,
        base_url: str | None = None,
        workspace: str | None = None,
        timeout_seconds: float = 600,
        max_retries: int = 2,
        prompt_caching: bool = False,
        queue: QueueLimits | None = None,
        listing_grace_seconds: float = 180,
    ) -> None:
        """`workspace` names the account where several keys of one host belong to different workspaces.

        Its id (`wrkspc_...`) is sent with every call: a key of another workspace is refused then. Raises ConfigError.
        """
        if base_url:
            check_address("base_url", base_url, added=("/v1",))
        check_calls(timeout_seconds, max_retries)
        self.name = name
        self.queue = queue or QueueLimits()
        self.listing_grace_seconds = listing_grace_seconds
        self._workspace = workspace
        self._prompt_caching = prompt_caching
        self._settings: dict[str, Any] = {
            "api_key": api_key or None,
            "base_url": base_url or None,
            "timeout": timeout_seconds,
            "max_retries": max_retries,
        }
        if workspace is not None and workspace.startswith("wrkspc_"):
            self._settings["default_headers"] = {"anthropic-workspace-id": workspace}

    def __repr__(self) -> str:
        return f"AnthropicProvider(name={self.name!r})"

    @cached_property
    def _client(self) -> anthropic.Anthropic:
        client = anthropic.Anthropic(**self._settings)
        if not client.api_key and not client.auth_token:
            raise ConfigError(
                f"the provider {self.name!r} has no API key: set `api_key` of its resource, or the environment "
                "variable ANTHROPIC_API_KEY"
            )
        weakref.finalize(self, client.close)  # its connections go with the provider
        return client

    @cached_property
    def account(self) -> str:
        """Vendor, host and workspace."""
        url = self._client.base_url
        place = url.host if url.port is None else f"{url.host}:{url.port}"
        parts = ["anthropic"] if url.host == _PUBLIC_HOST else ["anthropic", place]
        return "+".join([*parts, *([self._workspace] if self._workspace else [])])

    def check_credentials(self) -> None:
        """Raise ConfigError naming the setting if there is no key."""
        _ = self._client

    def check(self, request: Request) -> None:
        """Refuse what the batch API would refuse. Raises ConfigError."""
        if request.endpoint != "chat":
            raise ConfigError(f"`endpoint` is {request.endpoint!r}; Anthropic's batches take `chat` only")
        if not request.model:
            raise ConfigError("`model` is empty; name the provider's model, `claude-haiku-4-5` say")
        if is_at(self._settings["base_url"] or os.environ.get("ANTHROPIC_BASE_URL"), _PUBLIC_HOST):
            check_model(request.model, vendor=self.vendor, provider=self.name, endpoint=request.endpoint)
        if (tier := request.params.get("service_tier")) not in (None, "auto", "standard_only"):
            raise ConfigError(
                f"`params` holds service_tier={tier!r}; Anthropic's batches take `auto` or `standard_only`"
            )
        if not request.max_output_tokens:
            raise ConfigError("`max_output_tokens` is not set; Anthropic needs it with every request")
        check_params(request.params, _REFUSED_PARAMS, harmless=_HARMLESS_PARAMS)
        check_beside_format(request.params, "output_config", '{"effort": "low"}')
        for param in request.params:
            if param in _SAMPLING and int(anthropic.__version__.split(".")[0]) >= 2:
                raise ConfigError(
                    f"`params` holds {param!r}, which the API version 2026-10-21 of this SDK "
                    f"(anthropic {anthropic.__version__}) refuses; leave it out, or install anthropic<2"
                )
        if request.json_schema is not None:
            _check_schema(request.json_schema)

    def envelope(self, request: Request) -> AnthropicEnvelope:
        """The constant part of the requests."""
        return AnthropicEnvelope(request, prompt_caching=self._prompt_caching)

    # ------------------------------------------------------------ calls that may be repeated

    def newest(self) -> str | None:
        """Id of the newest batch of the workspace."""
        with self._reading("listing its batches"):
            page = self._client.messages.batches.list(limit=1)
            return page.data[0].id if page.data else None

    def upload(self, name: str, chunks: Iterator[bytes]) -> str | None:  # part of the protocol
        """Nothing to upload: the requests go inline."""
        return None

    def batches(self) -> Iterator[BatchInfo]:
        """All batches of the workspace, newest first."""
        with self._reading("listing its batches"):
            for batch in self._client.messages.batches.list(limit=1000):
                yield self._info(batch)

    def batch(self, batch_id: str) -> BatchInfo:
        """One batch."""
        with self._reading(f"reading batch {batch_id}"):
            return self._info(self._client.messages.batches.retrieve(batch_id))

    def cancel(self, batch_id: str) -> None:
        """Ask for its cancellation; one that has ended is left alone."""
        with self._reading(f"canceling batch {batch_id}"):
            try:
                self._client.messages.batches.cancel(batch_id)
            except (anthropic.BadRequestError, anthropic.ConflictError):
                if self.batch(batch_id).phase is not BatchPhase.ENDED:
                    raise

    def results(self, batch: BatchInfo) -> Iterator[bytes]:
        """Its result lines, streamed."""
        if not batch.result_files:
            return
        with self._reading(f"downloading the results of batch {batch.batch_id}"):
            lines = self._client.messages.batches.results(batch.batch_id)
            with closing(lines):
                yield from split_lines(lines.http_response.iter_bytes(1 << 20))

    def delete_input(self, input_file: str) -> None:
        """There are no input files."""

    def input_files(self) -> Iterator[InputFile]:
        """There are no input files."""
        return iter(())

    def console_url(self, batch_id: str) -> str | None:
        """Where a person looks at the batch."""
        return f"https://platform.claude.com/workspaces/{self._workspace or 'default'}/batches/{batch_id}"

    # ------------------------------------------------------------ the one call that costs money

    def create(
        self,
        *,
        stamp: str,  # a batch carries nothing of ours but its custom_ids
        request: Request,  # the lines hold it
        input_file: str | None,  # requests go inline
        lines: Callable[[], Iterator[bytes]],
        timeout_seconds: float,
    ) -> str:
        """Create the batch, once, its requests streamed: the SDK's own `create` holds the whole body in memory."""
        once = self._client.with_options(max_retries=0, timeout=timeout_seconds)
        try:
            batch = once.post(
                "/v1/messages/batches",
                cast_to=MessageBatch,
                content=_body(lines()),
                options={"headers": {"Content-Type": "application/json"}},
            )
        except anthropic.APIStatusError as error:
            raise creating_error(self._answer("creating a batch", error)) from error
        except (anthropic.AnthropicError, OSError) as error:
            raise Ambiguous(f"the reply to creating a batch was lost: {error}", provider=self.name) from error
        return id_of(batch, self.name)

    # ------------------------------------------------------------ reading answers

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Class the errors of a call that may be repeated."""
        try:
            yield
        except anthropic.APIStatusError as error:
            raise reading_error(self._answer(what, error)) from error
        except anthropic.AnthropicError as error:
            raise Transient(f"{self.name}: {what} failed: {error}", provider=self.name) from error
        except Exception as error:
            if not is_connection_error(error) and not is_unreadable(error):
                raise
            raise Transient(f"{self.name}: {what} was cut off: {error!r}", provider=self.name) from error

    def _answer(self, what: str, error: anthropic.APIStatusError) -> Answer:
        body = error.body if isinstance(error.body, dict) and isinstance(error.body.get("error"), dict) else None
        own = body["error"] if body else {}
        message = str(own.get("message") or error.message[:300])
        details = own.get("details")
        return Answer(
            provider=self.name,
            what=what,
            status=error.status_code,
            code=str(own["type"]) if "type" in own else None,
            message=message,
            headers=error.response.headers,
            out_of_money=any(words in f"{details} {message}" for words in _NO_MONEY),
            unknown_model=error.status_code == 404 and "model" in message,
        )

    def _info(self, batch: MessageBatch) -> BatchInfo:
        counts = batch.request_counts
        unbilled = counts.errored + counts.canceled + counts.expired
        return BatchInfo(
            batch_id=batch.id,
            phase=_PHASES.get(batch.processing_status, BatchPhase.UNKNOWN),
            raw_status=batch.processing_status,
            created_at=batch.created_at,
            stamp=None,
            result_files=(batch.results_url,) if batch.results_url else (),
            total=counts.processing + counts.succeeded + unbilled,
            completed=counts.succeeded,
            failed=unbilled,
            ended_at=batch.ended_at,
            expires_at=batch.expires_at,
        )

    def custom_id(self, line: bytes) -> str | None:
        """The custom_id of a result line."""
        return read_custom_id(line)

    def parse(self, line: bytes) -> ResultLine:
        """A whole result line."""
        return read_result(line)


def _body(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The body of a create call, some hundred kilobytes at a time."""
    held: list[bytes] = []
    size, first = 0, True
    yield _START
    for line in lines:
        held.append(line[:-1] if first else b"," + line[:-1])
        size, first = size + len(line), False
        if size > 1 << 18:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held) + _END
