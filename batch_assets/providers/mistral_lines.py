"""The lines of Mistral's batch files: requests written, results read.

Facts (mistral-openapi.yaml and the SDK's `extra.batch`, read 2026-11): a request is {custom_id, body}; a result is
{id, custom_id, response: {status_code, body}, error}, in which an error is either, `error` or a status from 400 on.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from batch_assets.parts import Media, MediaLimits, PartsForm
from batch_assets.providers.protocol import ResultLine
from batch_assets.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batch_assets.records import Request

URLS = {"chat": "/v1/chat/completions", "embeddings": "/v1/embeddings"}


# The SDK types (3.7), read 2026-11: `image_url` and `document_url` chunks. Recalled from a page on vision: JPEG, PNG,
# WEBP and GIF up to 10 MB, by address or as a data: URL. Uncertain: whether chat completions take a PDF as a data: URL,
# as OCR does (50 MB), and what http:// does. The tokens are assumed: an image makes up to some 3,000, a page its text.
_WEB = frozenset({"https", "http", "bytes"})
MEDIA = MediaLimits(
    name="Mistral's chat completions",
    image_types=frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"}),
    image_ways=_WEB,
    pdf_ways=_WEB,
    max_image_bytes=10_000_000,
    max_pdf_bytes=50_000_000,
    image_tokens=2_000,
    page_tokens=1_500,
    cures=dict.fromkeys(("image gs", "pdf gs"), "give a signed https:// URL, or bytes"),
)


def _chunk(media: Media) -> dict[str, Any]:
    if media.kind == "image":
        return {"type": "image_url", "image_url": media.url}
    return {"type": "document_url", "document_url": media.url}


PARTS = PartsForm(limits=MEDIA, text=lambda text: {"type": "text", "text": text}, media=_chunk)


class MistralEnvelope:
    """The constant part of the request lines of one plan. The model is named by the job."""

    def __init__(self, request: Request) -> None:
        hole = secrets.token_hex(16)
        before, after = orjson.dumps(_body(request, hole)).split(b'"' + hole.encode() + b'"')
        self._start = b'{"custom_id":"'
        self._middle = b'","body":' + before
        self._end = after + b"}\n"
        self.overhead_bytes = len(self._start) + 63 + len(self._middle) + len(self._end)
        self.parts = PARTS if request.endpoint == "chat" else None

    def lines(self, custom_ids: Iterable[str], contents: Iterable[bytes]) -> Iterator[bytes]:
        """The wire lines, each with its line feed."""
        for custom_id, content in zip(custom_ids, contents, strict=True):
            yield b"".join((self._start, custom_id.encode(), self._middle, content, self._end))


def _body(request: Request, content: str) -> dict[str, Any]:
    body: dict[str, Any] = dict(request.params)
    if request.endpoint == "embeddings":
        return {**body, "input": content}
    system = [] if request.system is None else [{"role": "system", "content": request.system}]
    body["messages"] = [*system, {"role": "user", "content": content}]
    if request.max_output_tokens is not None:
        body["max_tokens"] = request.max_output_tokens
    if request.json_schema is not None:
        schema = {"name": request.schema_name, "strict": True, "schema": request.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


class _Identified(msgspec.Struct, gc=False):
    custom_id: str


class _Response(msgspec.Struct, gc=False):
    body: msgspec.Raw
    status_code: int | None = None


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    response: _Response | None = None
    error: Any = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None  # not in the OpenAPI file; read where it is there


class _Chunk(msgspec.Struct, gc=False):
    type: str
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Chunk] | None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None


class _Embedding(msgspec.Struct, gc=False):
    embedding: msgspec.Raw


class _Body(msgspec.Struct, gc=False):
    model: str | None = None
    choices: list[_Choice] | None = None
    data: list[_Embedding] | None = None
    usage: _Usage | None = None


_ID_DECODER = msgspec.json.Decoder(_Identified)
_LINE_DECODER = msgspec.json.Decoder(_Line)
_BODY_DECODER = msgspec.json.Decoder(_Body)


def read_custom_id(line: bytes) -> str | None:
    """The custom_id of a result line; an error line may have none."""
    try:
        return _ID_DECODER.decode(line).custom_id
    except msgspec.MsgspecError:
        return None


def read_result(line: bytes) -> ResultLine:
    """A whole result line; an error is a line with `error`, or with a status from 400 on, as the SDK reads it."""
    read = _LINE_DECODER.decode(line)
    response = read.response
    status = response.status_code if response else None
    if read.error is not None or (status is not None and status >= 400):
        body = read.error if read.error is not None or response is None else msgspec.json.decode(response.body)
        kind = (body.get("type") or body.get("code")) if isinstance(body, dict) else None
        return ResultLine(
            custom_id=read.custom_id,
            outcome=Outcome.ERRORED,
            error=error_text(body) or f"status {status}",
            error_kind=str(kind or status or "error"),
            curable=status is None or status in {408, 409, 429} or status >= 500,
        )
    if response is None:
        raise ValueError("a result line without response and error")
    return _answered(read.custom_id, _BODY_DECODER.decode(response.body))


def _answered(custom_id: str, body: _Body) -> ResultLine:
    text: str | None = None
    finish: str | None = None
    if body.choices:
        content, finish = body.choices[0].message.content, body.choices[0].finish_reason
        if isinstance(content, list):  # reasoning models put their thinking before the text
            content = "".join(chunk.text or "" for chunk in content if chunk.type == "text")
        text = content or None
    elif body.data:
        text = bytes(body.data[0].embedding).decode()
    usage = body.usage or _Usage()
    outcome, error, kind = Outcome.SUCCEEDED, None, None
    if finish == "error":
        outcome, error, kind = Outcome.ERRORED, "the response ended with an error", "error"
    elif text is None:
        outcome, error, kind = Outcome.ERRORED, "the response holds no text", "no_text"
    details = usage.prompt_tokens_details
    return ResultLine(
        custom_id=custom_id,
        outcome=outcome,
        text=text,
        error=error,
        error_kind=kind,
        curable=kind == "no_text",
        model=body.model,
        finish_reason="length" if finish == "model_length" else finish,
        input_tokens=usage.prompt_tokens or 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
        output_tokens=usage.completion_tokens or 0,
    )


def error_text(body: object) -> str:
    """What an error body says, for people."""
    if not isinstance(body, dict):
        return str(body or "")
    detail = body.get("detail")
    if isinstance(detail, list):
        parts = [one for one in detail if isinstance(one, dict)]
        return "; ".join(f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg')}" for one in parts)
    return str(body.get("message") or detail or "")
