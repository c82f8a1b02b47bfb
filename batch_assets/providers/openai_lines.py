"""The lines of OpenAI's batch files: requests written, results read. Hosts that speak the same API have the same ones.

Facts (OpenAPI document 2.3.0 and the batch guide, read 2026-11): a request is {custom_id, method, url, body}; a result
is {id, custom_id, response: {status_code, request_id, body}, error}, in which a request that was not executed has an
`error` and no response.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from batch_assets.parts import Media, PartsForm
from batch_assets.providers.protocol import ResultLine
from batch_assets.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batch_assets.providers.openai_dialects import OpenAIDialect
    from batch_assets.records import Request


_MINI_IMAGE_TOKENS = 25_500  # of 1024 x 1024 pixels: 2,833 and 5,667 a tile; recalled from the guide on vision
_FILE_NAME = "document.pdf"  # base64 has to come with one
_SCHEMA_TOLD = "Answer with one JSON object and nothing else. It has to fit this JSON schema:\n"


class OpenAIEnvelope:
    """The constant part of the request lines of one plan."""

    def __init__(self, request: Request, dialect: OpenAIDialect) -> None:
        hole = secrets.token_hex(16)
        before, after = orjson.dumps(body_of(request, dialect, hole)).split(b'"' + hole.encode() + b'"')
        url = dialect.urls[request.endpoint].encode()
        self._start = b'{"custom_id":"'
        self._middle = b'","method":"POST","url":"' + url + b'","body":' + before
        self._end = after + b"}\n"
        self.overhead_bytes = len(self._start) + 63 + len(self._middle) + len(self._end)
        self.parts = parts_form(request, dialect)

    def lines(self, custom_ids: Iterable[str], contents: Iterable[bytes]) -> Iterator[bytes]:
        """The wire lines, each with its line feed."""
        for custom_id, content in zip(custom_ids, contents, strict=True):
            yield b"".join((self._start, custom_id.encode(), self._middle, content, self._end))


def body_of(request: Request, dialect: OpenAIDialect, content: str) -> dict[str, Any]:
    """The body of one request."""
    body: dict[str, Any] = {"model": request.model, **request.params}
    if request.endpoint == "embeddings":
        return {**body, "input": content}
    schema, system = request.json_schema, request.system
    native = schema is not None and dialect.structured_output == "json_schema"
    strict = {"name": request.schema_name, "strict": True, "schema": schema}
    if schema is not None and not native:
        told = _SCHEMA_TOLD + orjson.dumps(schema).decode()
        system = told if system is None else f"{system}\n\n{told}"
    as_object = schema is not None and dialect.structured_output == "json_object"
    if request.endpoint == "chat":
        body["messages"] = [
            *([] if system is None else [{"role": "system", "content": system}]),
            {"role": "user", "content": content},
        ]
        if request.max_output_tokens is not None:
            body[dialect.chat_limit_param] = request.max_output_tokens
        if native:
            body["response_format"] = {"type": "json_schema", "json_schema": strict}
        elif as_object:
            body["response_format"] = {"type": "json_object"}
    else:
        if system is not None:
            body["instructions"] = system
        body["input"] = content
        if request.max_output_tokens is not None:
            body["max_output_tokens"] = request.max_output_tokens
        if native:
            body["text"] = {**body.get("text", {}), "format": {"type": "json_schema", **strict}}
        elif as_object:
            body["text"] = {**body.get("text", {}), "format": {"type": "json_object"}}
    return body


def parts_form(request: Request, dialect: OpenAIDialect) -> PartsForm | None:
    """How a content with images and PDFs is written; the guides and the SDK's types (3.54), read 2026-11."""
    limits = dialect.media.get(request.endpoint)
    if limits is None:
        return None
    if request.model.startswith("gpt-4o-mini"):
        limits = replace(limits, image_tokens=_MINI_IMAGE_TOKENS)
    if request.endpoint == "chat":
        return PartsForm(limits=limits, text=lambda text: {"type": "text", "text": text}, media=_chat_part)
    return PartsForm(
        limits=limits,
        text=lambda text: {"type": "input_text", "text": text},
        media=_responses_part,
        whole=lambda parts: [{"role": "user", "content": parts}],
    )


def _chat_part(media: Media) -> dict[str, Any]:
    if media.kind == "image":
        return {"type": "image_url", "image_url": {"url": media.url}}
    return {"type": "file", "file": {"filename": _FILE_NAME, "file_data": media.url}}


def _responses_part(media: Media) -> dict[str, Any]:
    if media.kind == "image":
        return {"type": "input_image", "detail": "auto", "image_url": media.url}
    if media.address is not None:
        return {"type": "input_file", "file_url": media.address}
    return {"type": "input_file", "filename": _FILE_NAME, "file_data": media.url}


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


def read_custom_id(line: bytes) -> str | None:
    """The custom_id of a result line."""
    try:
        return _ID_DECODER.decode(line).custom_id
    except msgspec.MsgspecError:
        return None


def read_result(line: bytes) -> ResultLine:
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
